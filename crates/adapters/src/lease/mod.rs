//! Leases: credentials minted for one permit, by the backend that the target's operator named.
//!
//! [`Backends`] is the issuer: it checks permit, approvals, receipt, scope and life itself, and then asks a [`Backend`]. The
//! one that is always there is a table of bearer secrets that executors on this machine check at every use: it lives in
//! memory, so with the process every local lease is dead. The gate leases again, under the same intent, for an undo that is
//! still owed.

mod backends;
mod desk;
mod local;
mod postgres;
mod table;

pub use backends::{Backend, Backends, Order};
pub use desk::Desk;
pub use postgres::{PostgresRoles, PostgresSpec, PostgresSpecError};
pub use table::{LeaseRefusal, LeaseTable, MAX_LEASES};
