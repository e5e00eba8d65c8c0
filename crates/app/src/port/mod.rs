//! The ports: what the use cases need from the world. Each states durability, idempotency and concurrency.

pub mod inputs;
pub mod judge;
pub mod latch;
pub mod notify;
pub mod store;
pub mod world;

pub use inputs::{Document, Inputs, Loaded};
pub use judge::{ApproveQuestion, Hint, Judge};
pub use latch::Latch;
pub use notify::{MemoryError, Notifier, NotifyMemory, SendError};
pub use store::{
    Appended, Entry, Head, KeptText, PlanFilter, PlanRow, RequestAnswer, RequestNote, RequestRow, Store,
    StoreError, Txn,
};
pub use world::{
    Acted, ActedPhase, Clock, ExecuteError, Executor, Field, Ids, IssueError, Issuer, MeasureError, Meter,
    Observation, ObserveError, Observer, Preview, Prober, Signer, Work,
};
