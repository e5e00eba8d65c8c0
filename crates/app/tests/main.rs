//! The one integration test binary of the crate: the use cases over fakes, failed, stopped and raced at every step.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    clippy::cloned_ref_to_slice_refs,
    reason = "a test that goes wrong should stop where it stands"
)]

#[path = "../../domain/testdata/corpora/mod.rs"]
mod corpora;

mod suite {
    mod aftermath;
    mod binding;
    mod break_glass;
    mod budgets;
    mod changes;
    mod containment;
    mod crashes;
    mod delegations;
    mod dependencies;
    mod effects;
    mod enrolment;
    mod evaluations;
    mod failing_appends;
    mod guards;
    mod halts;
    mod incidents;
    mod introspections;
    mod leases;
    mod life;
    mod neighbourhoods;
    mod notifications;
    mod offboarding;
    mod outcomes;
    mod passkeys;
    mod quorums;
    mod races;
    mod reconciliations;
    mod refusals;
    mod resolutions;
    mod reviews;
    mod simulation;
    mod start;
    mod steps;
    mod steps_crashes;
    mod store;
    mod store_contract;
    mod strangers;
    mod support;
    mod texts;
    mod tiers;
    mod told_everybody;
    mod undo;
}
