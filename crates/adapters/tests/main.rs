//! The one integration test binary of the crate: each adapter against the contract of its port, and against the machine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test that goes wrong should stop where it stands"
)]

#[path = "../../domain/testdata/corpora/mod.rs"]
mod corpora;
mod store;
mod world;
