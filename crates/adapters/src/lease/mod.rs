//! Leases: credentials minted for one permit, by the backend that the target's operator named.
//!
//! [`Backends`] is the issuer: it checks permit, approvals, receipt, scope and life itself, and then asks a [`Backend`]. The
//! one that is always there is a [`LeaseBook`] of bearer secrets that executors check at every use: it lives in the memory of
//! their process, so with that every such lease is dead. The gate leases again, under the same intent, for an undo that is
//! still owed.

mod backends;
mod bearer;
mod book;
mod desk;
mod door;
pub(crate) mod dpop;
mod local;
mod names;
mod openbao;
mod postgres;
mod sql;
mod table;

pub use backends::{Backend, Backends, Order};
pub(crate) use bearer::hidden;
pub use bearer::{BearerParts, BearerSpec, BearerSpecError, BearerTokens, Presentation, SKEW_MS, TokenJob};
pub use book::LeaseBook;
pub use desk::Desk;
pub use names::PrefixError;
pub use openbao::{OpenBaoRoles, OpenBaoSpec, OpenBaoSpecError};
pub use postgres::{PostgresRoles, PostgresSpec};
pub use table::{LeaseRefusal, LeaseTable, MAX_LEASES};
