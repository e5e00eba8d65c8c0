//! The one integration test binary of the crate: the rules as data, and what happens to whoever bends them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "a test that goes wrong should stop where it stands"
)]

#[path = "../testdata/corpora/mod.rs"]
mod corpora;

mod suite {
    mod approvals;
    mod audits;
    mod canonical;
    mod catalogues;
    mod consents;
    mod credentials;
    mod decisions;
    mod delegations;
    mod edges;
    mod grants;
    mod inventories;
    mod jws;
    mod leases;
    mod mutations;
    mod narrow;
    mod passkeys;
    mod plans;
    mod properties;
    mod provenance;
    mod queries;
    mod quorums;
    mod records;
    mod statements;
    mod steps;
    mod support;
    mod text_is_no_fact;
    mod words;
    mod worse;
}
