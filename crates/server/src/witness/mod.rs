//! Cosignatures: the door of whoever cosigns, and the task of the gate that asks for them.
//!
//! [`router`] answers `add-checkpoint` of C2SP `tlog-witness`; the process of `holdpoint witness` has nothing else, and each role
//! that does not believe the gate has it beside its own. [`submitting`] runs in the gate.

mod door;
mod submit;

pub(crate) use door::router;
pub(crate) use submit::{Submitting, submitting};
