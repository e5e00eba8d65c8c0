//! Every property over every kept input: what a fuzzer found once is looked for here, without a fuzzer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::arithmetic_side_effects,
    reason = "a test that goes wrong should stop where it stands"
)]

mod suite {
    mod corpus;
    mod seeds;
}
