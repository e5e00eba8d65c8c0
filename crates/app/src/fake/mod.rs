//! Fakes of all ports, for tests and for the seeded simulation: in memory, deterministic, without threads and without a
//! real clock. They never leave a build that ships: the module exists only under the feature `fakes`.
//!
//! Start at [`Stage`], which sets a gate up over all of them. Every fake port yields once before and once after what it
//! does, so that a test can stop a use case at each of these points with [`schedule::poll_at_most`].
#![allow(
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    reason = "a fake that is set up wrongly should stop the test where it stands"
)]

mod clock;
pub mod controls;
mod executor;
mod inputs;
mod issuer;
mod journal;
mod judge;
mod latch;
mod meter;
pub mod schedule;
mod stage;
mod store;
mod world;

pub use clock::{FakeClock, FakeIds, FakeSigner};
pub use inputs::{BROKEN, FakeInputs, Loading};
pub use journal::{Asked, By, Call, Moment};
pub use judge::{FakeJudge, Policy};
pub use latch::FakeLatch;
pub use meter::{FakeMeter, Metering};
pub(crate) use stage::{EXECUTOR_SEED, PERMIT_SEED};
pub use stage::{
    LEASE_SEED, Setup, Stage, asserted_with, decider, session, signed, signed_by, signed_with, statement,
};
pub use store::{Failure, LedgerSize, MemStore, When};
pub use world::{Deed, Effect, FakeWorld, Issuing, Pins, Probe, Thing, Traced};
