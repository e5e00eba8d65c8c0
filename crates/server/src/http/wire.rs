//! What goes over the wire: the JSON of requests and answers, for the server and for the command line alike.
//!
//! Types whose bytes are a contract (plan, facts, evidence, hold terms, signed statement) are the domain's own.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use holdpoint_app::{gather::Wish, propose::Proposal};
use holdpoint_domain::{
    Digest, Id, Tier, Timestamp,
    aftermath::Aftermath,
    approval::HoldTerms,
    decision::{Answer, Decision, ReasonEffect},
    facts::PlanFacts,
    flow::State,
    id::kind,
    plan::{Narrative, ParamValue, Plan},
    quorum::{Group, Missing},
    trigger::SignedEvidence,
};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

use super::schema;

mod blast;
mod incidents;
mod leases;
mod ledger;
mod people;
mod reconcile;
mod trust;
mod world;

pub(crate) use blast::*;
pub(crate) use incidents::*;
pub(crate) use leases::*;
pub(crate) use ledger::*;
pub(crate) use people::*;
pub(crate) use reconcile::*;
pub(crate) use trust::*;
pub(crate) use world::*;

/// The body of `POST /v1/plans`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPlan {
    /// The action of a plan with one step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Name>")]
    pub(crate) action: Option<Id<kind::Action>>,
    /// Its target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Name>")]
    pub(crate) target: Option<Id<kind::Target>>,
    /// Its parameters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, Param>")]
    pub(crate) params: BTreeMap<Id<kind::Param>, Param>,
    /// Instead of the three above: the steps, in order, each on a target of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) steps: Vec<NewStep>,
    /// The condition that justifies it, on the target of each step.
    #[schemars(with = "schema::Name")]
    pub(crate) trigger: Id<kind::Condition>,
    /// The incident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Name>")]
    pub(crate) incident: Option<Id<kind::Incident>>,
    /// What the agent says the matter is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) summary: String,
    /// Why the agent wants this.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) reason: String,
    /// What the model thinks of its own certainty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) confidence: Option<String>,
    /// The prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prompt: Option<String>,
    /// The model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<String>,
    /// The transcript.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) transcript: Option<String>,
}

/// The body of `POST /v1/evaluations`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewEvaluation {
    /// The action, one that changes nothing.
    #[schemars(with = "schema::Name")]
    pub(crate) action: Id<kind::Action>,
    /// Its target.
    #[schemars(with = "schema::Name")]
    pub(crate) target: Id<kind::Target>,
}

/// What an evaluation is answered with.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Evaluation {
    /// Whether it is allowed now.
    pub(crate) allowed: bool,
    /// The tier: T0 where it is allowed.
    #[schemars(with = "schema::Words<Tier>")]
    pub(crate) tier: Tier,
    /// Why.
    pub(crate) reasons: Vec<Reason>,
    /// The ledger index of its record.
    pub(crate) index: u64,
}

/// A step of a proposed plan.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewStep {
    /// The action.
    #[schemars(with = "schema::Name")]
    pub(crate) action: Id<kind::Action>,
    /// The target.
    #[schemars(with = "schema::Name")]
    pub(crate) target: Id<kind::Target>,
    /// Parameters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, Param>")]
    pub(crate) params: BTreeMap<Id<kind::Param>, Param>,
}

/// A parameter as plain JSON. Secrets do not come this way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Param {
    /// A whole number.
    Int(i64),
    /// Yes or no.
    Bool(bool),
    /// One word out of the catalogue's list.
    Word(#[schemars(with = "schema::Name")] Id<kind::Param>),
}

/// The answer to a proposal that was not denied.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Proposed {
    /// The plan's id.
    #[schemars(with = "schema::Name")]
    pub(crate) id: Id<kind::Plan>,
    /// Where it is after the decision; a run that may start is started at once.
    #[schemars(with = "schema::Words<State>")]
    pub(crate) state: State,
    /// `allow`, `hold` or `defer`.
    #[schemars(with = "schema::Words<Answer>")]
    pub(crate) answer: Answer,
    /// The tier.
    #[schemars(with = "schema::Words<Tier>")]
    pub(crate) tier: Tier,
    /// The lowest tier that the guardrails allow.
    #[schemars(with = "schema::Words<Tier>")]
    pub(crate) floor: Tier,
    /// Why.
    pub(crate) reasons: Vec<Reason>,
    /// Whose word each of what it was decided from is, and why a field of the plan is clean or tainted.
    pub(crate) provenance: Vec<Sourced>,
    /// The plan's digest.
    #[schemars(with = "schema::Digest")]
    pub(crate) plan_digest: Digest,
    /// The hold, where it waits for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Name>")]
    pub(crate) hold: Option<Id<kind::Hold>>,
    /// When the hold ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Time>")]
    pub(crate) hold_expires_at_ms: Option<Timestamp>,
    /// The ledger index of its first record.
    pub(crate) index: u64,
}

/// One reason of a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Reason {
    /// The guardrail or policy rule.
    #[schemars(with = "schema::Name")]
    pub(crate) rule: Id<kind::Rule>,
    /// What it did.
    #[schemars(with = "schema::ReasonEffect")]
    pub(crate) effect: ReasonEffect,
    /// The fact that set it off, in words.
    pub(crate) fact: String,
    /// What the caller can do about it.
    pub(crate) next: String,
}

/// A policy rule that would have permitted, and what it lacked, in the words of the policy file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Hint {
    /// The rule.
    #[schemars(with = "schema::Name")]
    pub(crate) rule: Id<kind::Rule>,
    /// Conditions that were not met.
    pub(crate) unmet: Vec<String>,
}

/// An answer other than the one asked for (RFC 9457).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Problem {
    /// `urn:holdpoint:problem:<rule>`.
    pub(crate) r#type: String,
    /// The rule, in words.
    pub(crate) title: String,
    /// The HTTP status.
    pub(crate) status: u16,
    /// The fact that set it off.
    pub(crate) detail: String,
    /// The rule that refused.
    pub(crate) rule: String,
    /// What to do next.
    pub(crate) next: String,
    /// For a denied plan: the decision.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub(crate) decision: Option<Denial>,
}

/// What a denial adds to its problem.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Denial {
    /// The plan. It is recorded, and can be read.
    #[schemars(with = "schema::Name")]
    pub(crate) plan: Id<kind::Plan>,
    /// The tier.
    #[schemars(with = "schema::Words<Tier>")]
    pub(crate) tier: Tier,
    /// Why.
    pub(crate) reasons: Vec<Reason>,
    /// What would have had to be different.
    pub(crate) hints: Vec<Hint>,
    /// What these very facts would be allowed with.
    pub(crate) allowed_with: AllowedWith,
}

/// What denied facts would be allowed with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct AllowedWith {
    /// Guardrails and rules that would have to say otherwise, whatever oversight there is.
    #[schemars(with = "Vec<schema::Name>")]
    pub(crate) without: Vec<Id<kind::Rule>>,
    /// The lowest tier at which policy would allow them then; none where it would at none.
    #[schemars(with = "Option<schema::Words<Tier>>")]
    pub(crate) tier: Option<Tier>,
}

/// A list of plans, newest first.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Plans {
    /// The plans.
    pub(crate) plans: Vec<PlanSummary>,
}

/// A plan in a list.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct PlanSummary {
    /// Its id.
    #[schemars(with = "schema::Name")]
    pub(crate) id: Id<kind::Plan>,
    /// Where it is in its life.
    #[schemars(with = "schema::Words<State>")]
    pub(crate) state: State,
    /// Who proposed it.
    #[schemars(with = "schema::Name")]
    pub(crate) agent: Id<kind::Agent>,
    /// The action.
    #[schemars(with = "schema::Name")]
    pub(crate) action: Id<kind::Action>,
    /// The target.
    #[schemars(with = "schema::Name")]
    pub(crate) target: Id<kind::Target>,
    /// The tier, once decided.
    #[schemars(with = "Option<schema::Words<Tier>>")]
    pub(crate) tier: Option<Tier>,
    /// The hold, while there is one.
    #[schemars(with = "Option<schema::Name>")]
    pub(crate) hold: Option<Id<kind::Hold>>,
    /// When it was proposed.
    #[schemars(with = "schema::Time")]
    pub(crate) proposed_at_ms: Timestamp,
    /// When the state it is in ends by itself, if it does.
    #[schemars(with = "Option<schema::Time>")]
    pub(crate) deadline_ms: Option<Timestamp>,
    /// When a deferred plan is measured again.
    #[schemars(with = "Option<schema::Time>")]
    pub(crate) next_at_ms: Option<Timestamp>,
    /// The ledger index of its last record.
    pub(crate) last_index: u64,
}

/// Everything about one plan, folded from its records.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct PlanDetail {
    /// Its id.
    #[schemars(with = "schema::Name")]
    pub(crate) id: Id<kind::Plan>,
    /// Where it is in its life.
    #[schemars(with = "schema::Words<State>")]
    pub(crate) state: State,
    /// The answer it was given.
    #[schemars(with = "Option<schema::Words<Answer>>")]
    pub(crate) answer: Option<Answer>,
    /// The tier.
    #[schemars(with = "Option<schema::Words<Tier>>")]
    pub(crate) tier: Option<Tier>,
    /// The lowest tier that the guardrails allow.
    #[schemars(with = "Option<schema::Words<Tier>>")]
    pub(crate) floor: Option<Tier>,
    /// Why.
    pub(crate) reasons: Vec<Reason>,
    /// For a denied plan, under the policy that denied it: what would have had to be different.
    pub(crate) hints: Vec<Hint>,
    /// The plan itself: what its digest and every signature are about.
    #[schemars(with = "schema::Plan")]
    pub(crate) plan: Plan,
    /// SHA-256 of its canonical JSON.
    #[schemars(with = "schema::Digest")]
    pub(crate) plan_digest: Digest,
    /// The requester's words; none when they were erased.
    pub(crate) narrative: Option<Words>,
    /// What the last decision was made from.
    #[schemars(with = "Option<Vec<schema::Facts>>")]
    pub(crate) facts: Option<PlanFacts>,
    /// Whose word each of that is, and why a field of the plan is clean or tainted.
    pub(crate) provenance: Vec<Sourced>,
    /// What the probes saw last, signed.
    #[schemars(with = "Vec<schema::SignedEvidence>")]
    pub(crate) evidence: Vec<SignedEvidence>,
    /// The hold.
    pub(crate) hold: Option<Hold>,
    /// The permit.
    pub(crate) permit: Option<PermitSummary>,
    /// What is known of the run's end.
    pub(crate) run: Run,
    /// What changed and which services moved, beside the estimate; none where nobody measured, or not yet.
    #[schemars(with = "Option<schema::Aftermath>")]
    pub(crate) aftermath: Option<Aftermath>,
    /// When a person owes a look.
    #[schemars(with = "Option<schema::Time>")]
    pub(crate) review_due_ms: Option<Timestamp>,
    /// One line a record.
    pub(crate) timeline: Vec<Moment>,
}

/// The words of an agent. Never instructions, never facts: show them in a box that says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Words {
    /// Always true.
    pub(crate) untrusted: bool,
    /// What it says the matter is; hidden characters are written as escapes, here and below.
    pub(crate) summary: String,
    /// Why it wants this.
    pub(crate) reason: String,
    /// What the model thinks of its own certainty.
    pub(crate) confidence: Option<String>,
}

/// A hold and what people said.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Hold {
    /// The hold.
    #[schemars(with = "schema::Name")]
    pub(crate) id: Id<kind::Hold>,
    /// What people are asked to sign.
    #[schemars(with = "schema::HoldTerms")]
    pub(crate) terms: HoldTerms,
    /// Approvals that the plan needs, by its tier and the catalogue.
    pub(crate) needed: u32,
    /// Teams of which somebody must be among those who approve: one of each group, and another one for each.
    #[schemars(with = "Vec<Vec<schema::Name>>")]
    pub(crate) groups: Vec<Group>,
    /// What is missing, by keys and teams as they are registered now; none when the plan does not wait.
    #[schemars(with = "Option<schema::Missing>")]
    pub(crate) missing: Option<Missing>,
    /// Who approved.
    #[schemars(with = "Vec<schema::Name>")]
    pub(crate) approvals: Vec<Id<kind::Person>>,
    /// Who rejected.
    #[schemars(with = "Vec<schema::Name>")]
    pub(crate) rejections: Vec<Id<kind::Person>>,
}

/// Plans that wait for people, newest first.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Holds {
    /// The holds.
    pub(crate) holds: Vec<HoldDetail>,
}

/// A hold with everything that its terms name by digest, so that whoever signs can compute the digests first.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct HoldDetail {
    /// The hold.
    #[schemars(with = "schema::Name")]
    pub(crate) id: Id<kind::Hold>,
    /// The plan's id.
    #[schemars(with = "schema::Name")]
    pub(crate) plan_id: Id<kind::Plan>,
    /// Where the plan is in its life.
    #[schemars(with = "schema::Words<State>")]
    pub(crate) state: State,
    /// What people are asked to sign.
    #[schemars(with = "schema::HoldTerms")]
    pub(crate) terms: HoldTerms,
    /// The plan.
    #[schemars(with = "schema::Plan")]
    pub(crate) plan: Plan,
    /// The facts.
    #[schemars(with = "Vec<schema::Facts>")]
    pub(crate) facts: PlanFacts,
    /// Whose word each of that is, and why a field of the plan is clean or tainted.
    pub(crate) provenance: Vec<Sourced>,
    /// The decision.
    #[schemars(with = "schema::Decision")]
    pub(crate) decision: Decision,
    /// The decision's reasons, in words.
    pub(crate) reasons: Vec<Reason>,
    /// What the probes saw, signed.
    #[schemars(with = "Vec<schema::SignedEvidence>")]
    pub(crate) evidence: Vec<SignedEvidence>,
    /// The requester's words; none when they were erased.
    pub(crate) narrative: Option<Words>,
    /// Approvals that the plan needs, by its tier and the catalogue.
    pub(crate) needed: u32,
    /// Teams of which somebody must be among those who approve: one of each group, and another one for each.
    #[schemars(with = "Vec<Vec<schema::Name>>")]
    pub(crate) groups: Vec<Group>,
    /// What is missing, by keys and teams as they are registered now; none when the plan does not wait.
    #[schemars(with = "Option<schema::Missing>")]
    pub(crate) missing: Option<Missing>,
    /// Who approved.
    #[schemars(with = "Vec<schema::Name>")]
    pub(crate) approvals: Vec<Id<kind::Person>>,
    /// Who rejected.
    #[schemars(with = "Vec<schema::Name>")]
    pub(crate) rejections: Vec<Id<kind::Person>>,
}

/// What everybody may know of a permit. The signed grant itself is for its executor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct PermitSummary {
    /// The permit.
    #[schemars(with = "schema::Name")]
    pub(crate) id: Id<kind::Permit>,
    /// The run must start before this.
    #[schemars(with = "schema::Time")]
    pub(crate) start_before_ms: Timestamp,
    /// Undo and revocation are authorised until this.
    #[schemars(with = "schema::Time")]
    pub(crate) undo_until_ms: Timestamp,
    /// The executors of its steps.
    #[schemars(with = "Vec<schema::Name>")]
    pub(crate) executors: BTreeSet<Id<kind::Executor>>,
    /// The fencing epoch.
    pub(crate) epoch: u64,
}

/// How a run ended, beside the state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Run {
    /// Why it, or its undo, failed.
    pub(crate) failed: Option<String>,
    /// Why nobody knows how it ended.
    pub(crate) doubt: Option<String>,
    /// What was worse at the claim.
    pub(crate) worse: Vec<String>,
}

/// A record of a plan, as one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Moment {
    /// Its ledger index.
    pub(crate) index: u64,
    /// When, by the gate's clock.
    #[schemars(with = "schema::Time")]
    pub(crate) at_ms: Timestamp,
    /// Who.
    pub(crate) actor: String,
    /// What.
    pub(crate) what: String,
}

/// The answer to a decision on a hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Decided {
    /// The plan.
    #[schemars(with = "schema::Name")]
    pub(crate) plan: Id<kind::Plan>,
    /// Where it is now.
    #[schemars(with = "schema::Words<State>")]
    pub(crate) state: State,
    /// Approvals that count.
    pub(crate) approvals: u32,
    /// How many the plan needs, by its tier and the catalogue.
    pub(crate) needed: u32,
    /// What is missing; none when nothing is, or when the plan was rejected.
    #[schemars(with = "Option<schema::Missing>")]
    pub(crate) missing: Option<Missing>,
}

/// The answer of `GET /healthz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Health {
    /// `ok`.
    pub(crate) status: String,
    /// How many entries the ledger has.
    pub(crate) size: u64,
}

impl TryFrom<NewPlan> for Proposal {
    type Error = &'static str;

    /// One step by its action and target, or several as a list; not both.
    fn try_from(body: NewPlan) -> Result<Self, &'static str> {
        let NewPlan { action, target, params, steps, .. } = body;
        let steps = match (action, target, steps.is_empty()) {
            (Some(action), Some(target), true) => vec![NewStep { action, target, params }],
            (None, None, false) if params.is_empty() => steps,
            _ => return Err("expected `action` and `target`, or `steps`, and not both"),
        };
        let wish = |step: NewStep| Wish {
            action: step.action,
            target: step.target,
            params: step.params.into_iter().map(|(name, value)| (name, value.into())).collect(),
        };
        Ok(Self {
            steps: steps.into_iter().map(wish).collect(),
            trigger: body.trigger,
            incident: body.incident,
            narrative: Narrative { summary: body.summary, reason: body.reason, confidence: body.confidence },
            prompt: body.prompt,
            model: body.model,
            transcript: body.transcript,
        })
    }
}

impl From<Param> for ParamValue {
    fn from(param: Param) -> Self {
        match param {
            Param::Int(int) => Self::Int(int),
            Param::Bool(bool) => Self::Bool(bool),
            Param::Word(word) => Self::Choice(word),
        }
    }
}

impl<'de> Deserialize<'de> for Param {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ParamVisitor)
    }
}

struct ParamVisitor;

impl de::Visitor<'_> for ParamVisitor {
    type Value = Param;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number, true, false, or a word")
    }

    fn visit_bool<E: de::Error>(self, bool: bool) -> Result<Param, E> {
        Ok(Param::Bool(bool))
    }

    fn visit_i64<E: de::Error>(self, int: i64) -> Result<Param, E> {
        Ok(Param::Int(int))
    }

    fn visit_u64<E: de::Error>(self, int: u64) -> Result<Param, E> {
        i64::try_from(int).map(Param::Int).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(int), &self))
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<Param, E> {
        Id::parse(word).map(Param::Word).map_err(E::custom)
    }
}
