//! What people sign beside approvals of plans, halts, and limits.

use std::collections::{BTreeMap, BTreeSet};

use holdpoint_domain::{aftercare, approval, change, halt, limits};
use schemars::JsonSchema;

use super::{Digest, Name, Proof, Span, Time, TreeHead, Words};

/// What a proposed change asks administrators to sign.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct ChangeTerms {
    /// The change.
    id: Name,
    /// The head of the ledger when it was proposed.
    head: TreeHead,
    /// Which input.
    control: Words<change::Control>,
    /// The digest in force, which it replaces.
    old: Digest,
    /// The digest that will be in force.
    new: Digest,
    /// The commitment to the content, as it was sent.
    content: Digest,
    /// Who wrote it.
    author: Name,
    /// How many other administrators must approve.
    needed: u32,
    /// Used once.
    nonce: Name,
    /// When it is given up; a statement signed for it ends with it.
    expires_at_ms: Time,
}

/// What an administrator signs: the terms, who they are, and their choice.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct ChangeStatement {
    /// The type tag.
    r#type: Words<change::ChangeStatementType>,
    /// The terms.
    terms: ChangeTerms,
    /// Who signs.
    approver: Name,
    /// Yes or no. One rejection ends the change.
    choice: Words<approval::Choice>,
}

/// A statement on a change with the signature over its canonical JSON (RFC 8785), with the domain separation of changes.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct SignedChangeStatement {
    /// What was signed.
    statement: ChangeStatement,
    /// By the administrator's key.
    signature: Proof,
}

/// The three questions of a review.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct Answers {
    /// Was the trigger what the probes said it was?
    trigger_was_real: bool,
    /// Did the action do what it should, and nothing else?
    did_what_it_should: bool,
    /// Should this agent go on doing this by itself?
    may_go_on: bool,
}

/// What a person says about a run that they looked at.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct ReviewStatement {
    /// The type tag.
    r#type: Words<aftercare::ReviewType>,
    /// The plan whose run it was.
    plan: Name,
    /// The plan's digest.
    digest: Digest,
    /// The ledger index of the last record of the plan that the person has seen.
    seen: u64,
    /// Who looked.
    reviewer: Name,
    /// What they found.
    answers: Answers,
}

/// A review with the signature over its canonical JSON (RFC 8785), with the domain separation of reviews.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct SignedReviewStatement {
    /// What was signed.
    statement: ReviewStatement,
    /// By the reviewer's key.
    signature: Proof,
}

/// What a person says about a run in doubt.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct ResolutionStatement {
    /// The type tag.
    r#type: Words<aftercare::ResolutionType>,
    /// The plan whose run it is.
    plan: Name,
    /// The plan's digest.
    digest: Digest,
    /// The ledger index of the last record of the plan that the person has seen.
    seen: u64,
    /// Who looked.
    resolver: Name,
    /// What they found.
    found: Words<aftercare::Found>,
}

/// A resolution with the signature over its canonical JSON (RFC 8785), with the domain separation of resolutions.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct SignedResolutionStatement {
    /// What was signed.
    statement: ResolutionStatement,
    /// By the resolver's key.
    signature: Proof,
}

/// What an administrator signs to end a halt.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct ResumeStatement {
    /// The type tag.
    r#type: Words<halt::ResumeType>,
    /// The log that the gate writes.
    origin: String,
    /// The halt in force.
    halt: Halt,
    /// Who ends it.
    by: Name,
}

/// The end of a halt with the proof over its canonical JSON (RFC 8785), with the domain separation of resumptions.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct SignedResumeStatement {
    /// What was signed.
    statement: ResumeStatement,
    /// By the administrator's key or passkey.
    signature: Proof,
}

/// A halt that is in force.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct Halt {
    /// How much stops.
    reach: Words<halt::Reach>,
    /// Who said so; none for whoever wrote the latch file on the machine.
    by: Option<Name>,
    /// When, by the gate's clock.
    at_ms: Time,
}

/// How many runs may be open at once, and how many may start within a window.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct Budget {
    /// Its name.
    id: Name,
    /// What each budget is for.
    per: Words<limits::Per>,
    /// Only runs in these environments; all when empty.
    environments: BTreeSet<Name>,
    /// Runs open at once.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    concurrent: Option<u32>,
    /// Runs that start within the window.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    starts: Option<Starts>,
    /// Steps of runs that start within the window.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    steps: Option<Starts>,
}

/// A number of starts within a sliding window.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct Starts {
    /// How many.
    max: u32,
    /// Within how long.
    window_ms: Span,
}

/// A time in which nothing new is changed.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct Freeze {
    /// Its name.
    id: Name,
    /// Only these environments; all when empty.
    environments: BTreeSet<Name>,
    /// From when.
    from_ms: Time,
    /// Until when; the end itself is free.
    until_ms: Time,
}

/// The most that one plan may disturb.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct PlanLimit {
    /// Its name.
    id: Name,
    /// Only plans that disturb one of these environments; all when empty.
    environments: BTreeSet<Name>,
    /// Targets acted on directly.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    targets: Option<u32>,
    /// Services disturbed, directly or through dependencies.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    services: Option<u32>,
    /// Critical services among them; unknown dependants count as critical.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    critical: Option<u32>,
    /// Environments that those services run in.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    environments_touched: Option<u32>,
    /// Share of the replicas of a service, in percent.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    replica_share_percent: Option<u32>,
    /// Numbers that the steps say in parameters of these names, added up.
    #[schemars(default, skip_serializing_if = "BTreeMap::is_empty")]
    sums: BTreeMap<Name, u64>,
}

/// How far runs stay away from each other.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct Neighbourhood {
    /// Whether runs stay apart at all.
    apart: bool,
    /// How many dependencies away a service still belongs to the area of a run.
    depth: u32,
    /// For how long after a run nothing else runs in its area.
    cool_down_ms: Span,
    /// For how long after a run a plan in its area needs a person.
    soak_ms: Span,
}

/// After so many bad runs of an action in an environment within a window, there are no more of it.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct Breaker {
    /// How many.
    bad: u32,
    /// Within how long.
    window_ms: Span,
}

/// A condition that must hold, or a person decides: what is left of a service's error budget.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct ErrorBudget {
    /// Its name.
    id: Name,
    /// The condition, which holds while budget is left.
    condition: Name,
    /// Only targets of these services; all when empty.
    services: BTreeSet<Name>,
    /// Only targets in these environments; all when empty.
    environments: BTreeSet<Name>,
}
