//! Cosigning heads of ledgers: as a witness or a role that does not believe the gate ([`Cosigner`]), and asking those who do
//! ([`Witness`]).
//!
//! A cosigner remembers the last head of a log durably, and signs only what continues it (C2SP `tlog-witness` and
//! `tlog-cosignature`). Never here: a cosignature that somebody sees before the head is remembered, and trust in a head that
//! no configured key of its log signed.

mod ask;
mod cosigner;
mod kept;

pub use ask::{AskError, Asked, Witness};
pub use cosigner::{AddError, Cosigner, OpenCosignerError};
pub use kept::Kept;
