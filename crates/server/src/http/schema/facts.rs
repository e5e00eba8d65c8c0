//! Facts and evidence: what a decision is made from.

use std::collections::{BTreeMap, BTreeSet};

use holdpoint_domain::{Tier, action, actor, facts, fate, target, trigger};
use schemars::JsonSchema;

use super::{Blast, BlastCap, Digest, Name, Quorum, Signature, Span, Time, Words};

/// Everything a decision is made from. No text of an agent or of a monitored system is in here.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct Facts {
    /// The type tag.
    r#type: Words<facts::FactsType>,
    /// Who asks.
    principal: Principal,
    /// What for.
    action: ActionFacts,
    /// On what; none when the inventory does not know the target.
    target: Option<TargetFacts>,
    /// Whether the gate's own probes prove the trigger.
    trigger: TriggerFacts,
    /// What it can disturb.
    blast: Blast,
    /// Whether it can be undone.
    undo: UndoFacts,
    /// Which plan fields the gate derived itself.
    provenance: Provenance,
    /// The track record.
    standing: Standing,
    /// What holds things back.
    brakes: Brakes,
    /// The control inputs that this was decided under.
    inputs: Inputs,
    /// When.
    at_ms: Time,
}

/// Who asks, from the verified identity and the agent registry.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct Principal {
    /// The agent.
    agent: Name,
    /// Its team.
    team: Name,
    /// The phase of the identity that asked.
    phase: Words<actor::Phase>,
    /// The digest of model, prompt and tools, when the operator attested it.
    attested_build: Option<Digest>,
    /// Its owner's team accepted in the registry that it acts without a track record.
    accepted: bool,
    /// The person at the head of the delegation chain.
    on_behalf_of: Option<Name>,
    /// The teams that this person is in.
    #[schemars(default, skip_serializing_if = "BTreeSet::is_empty")]
    on_behalf_of_teams: BTreeSet<Name>,
    /// The agents between that person and the one that asks, the first one first.
    #[schemars(default, skip_serializing_if = "Vec::is_empty")]
    via: Vec<Deputy>,
}

/// An agent in the middle of a delegation chain.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct Deputy {
    /// The agent.
    agent: Name,
    /// Its team.
    team: Name,
}

/// What the catalogue says about the action.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct ActionFacts {
    /// The action.
    id: Name,
    /// The digest of its catalogue entry.
    entry: Digest,
    /// Whether its effect can be taken back.
    reversibility: Words<action::Reversibility>,
    /// Whether doing it twice is the same as once.
    idempotent: bool,
    /// State that it touches, and how.
    touches: BTreeMap<String, Words<action::Effect>>,
    /// The catalogue's tier.
    tier: Words<Tier>,
    /// Whom the catalogue asks for beyond the people of the tier.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    approvals: Option<Quorum>,
    /// Only adds.
    additive: bool,
    /// How it is undone.
    undo: Words<action::UndoKind>,
    /// The most that one plan may disturb.
    cap: BlastCap,
}

/// What the inventory and the observer say about the target.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct TargetFacts {
    /// The target.
    id: Name,
    /// Its service.
    service: Name,
    /// Where it runs.
    environment: Name,
    /// The team that owns it.
    owner: Name,
    /// How much depends on it.
    criticality: Words<target::Criticality>,
    /// Classes of data that it holds.
    data_classes: BTreeSet<Name>,
    /// The set of data that it keeps, or keeps a copy of.
    data_domain: Option<Name>,
    /// Whether an instance can be lost without losing state.
    stateless: bool,
    /// Instances of the service.
    replicas: u32,
    /// The observer found it down.
    down: bool,
    /// Its relevant version: a digest of what the action depends on.
    version: Digest,
    /// What the version is made of, for people; left out where the observer says no more than the version.
    #[schemars(default, skip_serializing_if = "BTreeMap::is_empty")]
    parts: BTreeMap<String, String>,
}

/// Whether the trigger is proven.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct TriggerFacts {
    /// The condition that the plan names.
    condition: Name,
    /// What the gate's own probes say about it.
    agreement: Agreement,
    /// The digest of the evidence.
    evidence: Digest,
}

/// Whether the effect can be undone.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct UndoFacts {
    /// The inverse is known and the state before was captured, or the target heals itself.
    computed: bool,
}

/// The origin of the fields that decide what happens.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct Provenance {
    /// The target.
    target: Words<facts::Origin>,
    /// The action.
    action: Words<facts::Origin>,
    /// Parameters and extent.
    scope: Words<facts::Origin>,
}

/// The statistical track record of this attested build with this action in this environment.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub(in crate::http) enum Standing {
    /// Nothing was earned.
    None,
    /// The track record has earned this tier, and people granted it.
    Earned(Words<Tier>),
}

/// What holds things back, whoever asks.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct Brakes {
    /// Somebody halted everything.
    halted: bool,
    /// A freeze window is open.
    frozen: bool,
    /// T1 and T2 are suspended for this action and agent until a person has looked.
    suspended: bool,
    /// A budget is used up.
    over_budget: Option<OverBudget>,
    /// Data that this deletes has a backup, or is one, whose other half was or would be deleted as well.
    counterpart_deleted: bool,
    /// A control input on disk is not the one in force.
    input_refused: bool,
    /// The operator's limit for one plan that it exceeds.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    plan_limit: Option<Name>,
    /// Another run is too near.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    neighbour: Option<Neighbour>,
    /// A run of ours in the same neighbourhood, whose doing this may be.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    own_doing: Option<Name>,
    /// The action went badly too often.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    breaker: Option<Tripped>,
    /// An error budget of which nothing is left, or nobody knows.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    error_budget: Option<Name>,
    /// A source of dependencies that was not read for too long, or never.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    dependencies_unread: Option<Unread>,
}

/// A source of dependencies that was not read for too long, or never.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct Unread {
    /// The source.
    source: Name,
    /// Of when its last reading is; none where there is none.
    read_at_ms: Option<Time>,
}

/// A run that is too near.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct Neighbour {
    /// Its plan.
    plan: Name,
    /// The first service that both of them touch; none where they touch in something else.
    service: Option<Name>,
    /// What targets of both have in common where no service is; none here and no service where one of them touches more services than
    /// are listed.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    shared: Option<Shared>,
    /// In which way.
    why: Nearness,
    /// When it is over; none when that waits for the run to end.
    until_ms: Option<Time>,
}

/// A thing that targets of several services fall with.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct Shared {
    /// What it is.
    kind: Words<fate::SharedKind>,
    /// Its name.
    name: Name,
}

/// In which way a run is too near.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub(in crate::http) enum Nearness {
    /// It is under way, or in doubt.
    Running,
    /// It ended, and what it touched settles.
    CoolingDown,
}

/// An action that went badly too often in an environment.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct Tripped {
    /// The action.
    action: Name,
    /// The environment.
    environment: Name,
    /// How many bad runs there were.
    bad: u32,
    /// When so many of them have left the window that it is done again, unless people let it go on before.
    until_ms: Option<Time>,
}

/// A budget that is used up.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct OverBudget {
    /// Which one.
    budget: Name,
    /// When it frees up; none when that waits for runs to end.
    until_ms: Option<Time>,
}

/// Digests of the control inputs in force.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct Inputs {
    /// The policy bundle.
    policy: Digest,
    /// The catalogue.
    catalogue: Digest,
    /// The inventory.
    inventory: Digest,
    /// People, agents and trust roots.
    registry: Digest,
    /// Budgets and freezes.
    limits: Digest,
}

/// What one probe returned.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct Reading {
    /// The endpoint asked.
    endpoint: Name,
    /// The source it belongs to; probes of one source count once.
    source: Name,
    /// What it says.
    truth: Words<trigger::Truth>,
    /// Why.
    why: Words<trigger::Why>,
    /// The value, where there is a finite one.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
    /// How old the sample was.
    age_ms: Span,
}

/// What a condition's sources say together.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct Agreement {
    /// The verdict.
    truth: Words<trigger::Truth>,
    /// Sources that must agree.
    needed: u32,
    /// Sources that say it holds.
    holding: u32,
    /// Sources that were asked.
    sources: u32,
}

/// What the gate measured.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct Evidence {
    /// The type tag.
    r#type: Words<trigger::EvidenceType>,
    /// The condition.
    condition: Name,
    /// The target.
    target: Name,
    /// When the measurement ended.
    measured_at_ms: Time,
    /// What was measured.
    readings: Vec<Reading>,
    /// What it comes to.
    agreement: Agreement,
}

/// Evidence with the observer's signature over its canonical JSON (RFC 8785).
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct SignedEvidence {
    /// What was measured.
    evidence: Evidence,
    /// By the observer's key.
    signature: Signature,
}
