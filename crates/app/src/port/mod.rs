//! The ports: what the use cases need from the world. Each states durability, idempotency and concurrency.

pub mod judge;
pub mod store;
pub mod world;

pub use judge::{ApproveQuestion, Hint, Judge};
pub use store::{Appended, Entry, Head, KeptText, PlanFilter, PlanRow, Store, StoreError, Txn};
pub use world::{
    Acted, ActedPhase, Clock, ExecuteError, Executor, Ids, IssueError, Issuer, Observation, ObserveError,
    Observer, Prober, Signer, Work,
};
