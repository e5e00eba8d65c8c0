//! Roles in processes of their own: the ports of observer, issuer and executor over mutual TLS, from the gate's side, and what
//! the other side checks for itself.
//!
//! [`RemoteObserver`], [`RemoteIssuer`] and [`RemoteExecutor`] are adapters of the ports; [`wire`] is what goes between, and a role's
//! own door is in the server. A role believes nothing that the gate merely says: [`Witnessed::intent`] checks that the intent of a
//! permit's run is in a head of the ledger that continues the last one that this role saw, and leases are sealed to the executor
//! ([`SealTo`]), so that the gate passes on what it cannot read.
//!
//! Never here: a second try of anything that has an effect.

mod book;
mod call;
mod consents;
mod executor;
mod intent;
mod issuer;
mod latch;
mod observer;
mod seal;
pub mod wire;

pub use book::RemoteBook;
pub use call::{CallError, RoleClient};
pub use consents::{ConsentError, Consents};
pub use executor::RemoteExecutor;
pub use intent::{IntentError, Witnessed};
pub use issuer::RemoteIssuer;
pub use latch::TellingLatch;
pub use observer::{PublicOnly, RemoteObserver};
pub use seal::{SealError, SealTo, SealingKey};
