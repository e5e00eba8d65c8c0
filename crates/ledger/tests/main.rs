//! The one integration test binary of the crate: what a third party can do with its public interface.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "a test that goes wrong should stop where it stands"
)]

mod suite {
    mod checkpoints;
    mod cosignatures;
    mod edges;
    mod exports;
    mod notes;
    mod proofs;
    mod reports;
    mod support;
    mod tiles;
    mod trees;
    mod verification;
    mod witnesses;
}
