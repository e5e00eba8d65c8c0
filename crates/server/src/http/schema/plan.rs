//! Plans, decisions, and what people sign.

use std::collections::BTreeMap;

use holdpoint_domain::{Tier, action, approval, decision, plan};
use schemars::JsonSchema;

use super::{Digest, Name, Proof, Time, Words};

/// A plan: who asked, why, and the steps. Immutable: a change makes another plan with another digest.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct Plan {
    /// The type tag.
    r#type: Words<plan::PlanType>,
    /// Who asked.
    requester: Requester,
    /// The incident.
    incident: Option<Name>,
    /// The condition that justifies it.
    trigger: Name,
    /// What is done.
    steps: Vec<Step>,
}

/// Who asked for a plan. None of them may approve it.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct Requester {
    /// The agent that proposed it.
    agent: Name,
    /// The person at the head of the agent's delegation chain.
    on_behalf_of: Option<Name>,
    /// The agents between them, the first one first.
    #[schemars(default, skip_serializing_if = "Vec::is_empty")]
    via: Vec<Name>,
    /// The attested build of the agent that proposed it.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    build: Option<Digest>,
    /// People who narrowed a larger plan to this one.
    #[schemars(default, skip_serializing_if = "Vec::is_empty")]
    narrowed_by: Vec<Name>,
    /// The person who asks for it beyond policy; then the agent is `break-glass`, which nobody is.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    opened_by: Option<Name>,
}

/// One step: an action on a target in a known version.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct Step {
    /// The action.
    action: Name,
    /// The digest of its catalogue entry.
    entry: Digest,
    /// The target.
    target: Name,
    /// The relevant version that the target must have when the step begins.
    expected_version: Digest,
    /// Parameters.
    params: BTreeMap<String, ParamValue>,
    /// How it is undone.
    undo: Words<action::UndoKind>,
}

/// The value of a parameter.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub(in crate::http) enum ParamValue {
    /// A whole number.
    Int(i64),
    /// Yes or no.
    Bool(bool),
    /// One word out of the catalogue's list.
    Choice(Name),
    /// A secret, as a salted commitment.
    Secret(Digest),
}

/// The decision. Its canonical bytes are recorded, and approvals name their digest.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct Decision {
    /// The type tag.
    r#type: Words<decision::DecisionType>,
    /// The answer.
    answer: Words<decision::Answer>,
    /// The tier; the floor where the answer is not allow or hold.
    tier: Words<Tier>,
    /// The lowest tier that the guardrails allow.
    floor: Words<Tier>,
    /// Why.
    reasons: Vec<DecisionReason>,
    /// What it was decided from.
    facts: Digest,
    /// The policy bundle it was decided under.
    policy: Digest,
}

/// One reason: which rule, and what it did.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct DecisionReason {
    /// The guardrail or policy rule.
    rule: Name,
    /// What it did.
    effect: ReasonEffect,
}

/// What a rule did to the decision.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub(in crate::http) enum ReasonEffect {
    /// A guardrail raised the tier to this.
    Raised(Words<Tier>),
    /// A guardrail denied.
    Denied,
    /// Nobody can tell yet.
    Deferred,
    /// A policy rule permitted on the rung of the tier.
    Permitted,
    /// A policy rule forbade on the highest rung.
    Forbade,
    /// A policy rule could not be evaluated.
    Failed,
}

/// A point in the ledger that a signature names.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct TreeHead {
    /// The log's origin line.
    origin: String,
    /// How many entries it had.
    size: u64,
    /// The root hash over them (RFC 6962).
    root: Digest,
}

/// What a hold asks people to sign.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct HoldTerms {
    /// The hold.
    hold: Name,
    /// The head of the ledger when the hold was made.
    head: TreeHead,
    /// The plan's digest.
    plan: Digest,
    /// The commitment to the requester's words.
    narrative: Digest,
    /// The digest of the facts.
    facts: Digest,
    /// The digest of the decision.
    decision: Digest,
    /// The policy bundle.
    policy: Digest,
    /// The tier.
    tier: Words<Tier>,
    /// Used once.
    nonce: Name,
    /// When the hold ends; a statement signed for it ends with it.
    expires_at_ms: Time,
}

/// What a person signs: the terms of the hold, who they are, and their choice.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct Statement {
    /// The type tag.
    r#type: Words<approval::StatementType>,
    /// The terms.
    terms: HoldTerms,
    /// Who signs.
    approver: Name,
    /// Yes or no.
    choice: Words<approval::Choice>,
}

/// A statement with the approver's signature over its canonical JSON (RFC 8785), with the domain separation of approvals.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct SignedStatement {
    /// What was signed.
    statement: Statement,
    /// By the approver's key.
    signature: Proof,
}
