//! What moved and what changed.

use holdpoint_domain::{aftermath, signal, trigger};
use schemars::JsonSchema;

use super::{Name, Words};

/// What changed and which services moved, measured when the run was over, beside the estimate. That something moved at the same
/// time does not say that the run moved it.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct Aftermath {
    /// Services that moved: surprising ones first, then for the worse, then the others.
    moved: Vec<Moved>,
    /// How many values stayed where they were.
    still: u32,
    /// Of what nobody knows it.
    unknown: Vec<Unknown>,
    /// The targets, and those beside them.
    targets: Vec<TargetAfter>,
    /// What nobody expected.
    surprises: Vec<Surprise>,
    /// Series of what the inventory does not have, at most of one signal.
    strangers: u32,
    /// What there was no room for.
    left_out: u32,
}

/// A service that moved.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct Moved {
    /// The service.
    service: Name,
    /// By which signal.
    signal: Name,
    /// What it measures.
    measures: Words<signal::Measures>,
    /// The value before.
    before: f64,
    /// The value after.
    after: f64,
    /// Which way.
    way: Words<signal::Way>,
    /// The estimate of the decision named the service.
    estimated: bool,
}

/// Of what nobody knows whether it moved.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct Unknown {
    /// The signal.
    signal: Name,
    /// The service; none where it is about all of them.
    service: Option<Name>,
    /// What is missing.
    gap: Words<aftermath::Gap>,
    /// Why; none where nobody asked.
    why: Option<Words<trigger::Why>>,
}

/// A target afterwards.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct TargetAfter {
    /// The target.
    target: Name,
    /// The plan acts on it.
    acted_on: bool,
    /// It was to be in another version afterwards.
    expected: bool,
    /// How it is.
    fate: Words<aftermath::Fate>,
}

/// What nobody expected.
#[derive(JsonSchema)]
#[schemars(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(in crate::http) enum Surprise {
    /// A service that the estimate did not name moved for the worse at the same time.
    MovedOutside {
        /// The service.
        service: Name,
        /// By which signal.
        signal: Name,
    },
    /// A target that nobody acted on changed at the same time.
    ChangedBeside {
        /// The target.
        target: Name,
    },
    /// A target that was to change did not.
    NotChanged {
        /// The target.
        target: Name,
    },
}
