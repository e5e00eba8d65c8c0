//! The real binary, from outside: a gate in a process of its own, real processes under it, HTTP, the command line, and
//! `kill -9`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm
)]

mod suite;
