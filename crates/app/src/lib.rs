//! Holdpoint's use cases, over ports.
//!
//! What happens, in which order, and what is recorded before it: [`propose`] freezes a plan, has it measured and decided;
//! [`approve`] takes a person's signature; [`run`] claims a permit and drives it to its end; [`recover`] picks up after a
//! crash and does what is due; [`start`] begins a log, or checks that its control inputs are in force. The crate has no runtime and touches nothing of the world: every effect
//! goes through a trait in [`port`], and every effect comes after the durable record that announces it.

mod aftermath;
pub mod approve;
pub mod audit;
pub mod brakes;
pub mod break_glass;
pub mod change;
pub mod delegate;
pub mod dependencies;
mod drive;
pub mod effect;
pub mod enrol;
pub mod evaluate;
#[cfg(any(test, feature = "fakes"))]
pub mod fake;
pub mod gate;
pub mod gather;
pub mod halt;
pub mod incidents;
pub mod introspect;
pub mod judge;
pub mod look;
pub mod narrow;
pub mod notify;
mod offboard;
pub mod port;
pub mod preview;
pub mod projection;
pub mod propose;
pub mod receipt;
pub mod reconcile;
pub mod recover;
pub mod refusal;
mod requester;
pub mod resolve;
pub mod review;
pub mod revoke;
pub mod run;
#[cfg(any(test, feature = "fakes"))]
pub mod sim;
pub mod start;
mod statement;
pub mod strangers;
pub mod view;
