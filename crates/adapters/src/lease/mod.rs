//! Leases for executors on this machine: a bearer secret that the issuer mints and the executor checks at use.
//!
//! Nothing survives a crash: the table lives in memory, so with the process every local lease is dead. The gate leases
//! again, under the same intent, for an undo that is still owed.

mod book;
mod local;
mod table;

pub use book::LeaseBook;
pub use local::LocalIssuer;
pub use table::{LeaseRefusal, LeaseTable, MAX_LEASES};
