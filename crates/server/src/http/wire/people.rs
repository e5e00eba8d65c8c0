//! What people do beside approving: changes of control inputs, reviews, resolutions, halts; and what they look at first.

use std::collections::{BTreeMap, BTreeSet};

use holdpoint_domain::{
    Digest, Id, Millis, Timestamp,
    aftercare::{ResolutionStatement, ReviewStatement},
    change::{ChangeTerms, Control},
    facts::Inputs,
    flow::State,
    halt::{Halt, Reach},
    id::kind,
    limits::{Breaker, Budget, ErrorBudget, Freeze, Neighbourhood, PlanLimit},
    signed::Signed,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::http::schema;

/// The body of `POST /v1/changes`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewChange {
    /// Which control input.
    #[schemars(with = "schema::Words<Control>")]
    pub(crate) control: Control,
    /// The whole texts of files that change, by the names that the configuration has for them. Others stay.
    pub(crate) files: BTreeMap<String, String>,
}

/// The answer to a proposed change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ProposedChange {
    /// What administrators are asked to sign.
    #[schemars(with = "schema::ChangeTerms")]
    pub(crate) terms: ChangeTerms,
}

/// Where a change is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ChangeState {
    /// It waits for administrators.
    Open,
    /// It came in force.
    Activated,
    /// An administrator rejected it.
    Rejected,
    /// Its time ran out.
    Expired,
}

/// Changes, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Changes {
    /// The changes.
    pub(crate) changes: Vec<ChangeSummary>,
}

/// A change in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ChangeSummary {
    /// The change.
    #[schemars(with = "schema::Name")]
    pub(crate) id: Id<kind::Change>,
    /// Which control input.
    #[schemars(with = "schema::Words<Control>")]
    pub(crate) control: Control,
    /// Where it is.
    pub(crate) state: ChangeState,
    /// Who wrote it.
    #[schemars(with = "schema::Name")]
    pub(crate) author: Id<kind::Person>,
    /// Administrators who approved.
    #[schemars(with = "Vec<schema::Name>")]
    pub(crate) approvals: Vec<Id<kind::Person>>,
    /// How many it needs.
    pub(crate) needed: u32,
    /// When it is given up.
    #[schemars(with = "schema::Time")]
    pub(crate) expires_at_ms: Timestamp,
    /// The ledger index of its proposal.
    pub(crate) index: u64,
}

/// A change with its files, so that whoever signs can compare them with the terms first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ChangeDetail {
    /// What administrators are asked to sign.
    #[schemars(with = "schema::ChangeTerms")]
    pub(crate) terms: ChangeTerms,
    /// Where it is.
    pub(crate) state: ChangeState,
    /// Administrators who approved.
    #[schemars(with = "Vec<schema::Name>")]
    pub(crate) approvals: Vec<Id<kind::Person>>,
    /// The files in force now, by name.
    pub(crate) active: BTreeMap<String, String>,
    /// The files proposed, by name; none when they were erased.
    pub(crate) proposed: Option<BTreeMap<String, String>>,
    /// The salt of `terms.content`, in base64 without padding: under it the canonical JSON of `{"files": proposed}` gives
    /// exactly that commitment.
    pub(crate) salt: Option<String>,
    /// The ledger index of its proposal.
    pub(crate) index: u64,
}

/// The answer to a decision on a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ChangeDecided {
    /// The change.
    #[schemars(with = "schema::Name")]
    pub(crate) id: Id<kind::Change>,
    /// Which control input.
    #[schemars(with = "schema::Words<Control>")]
    pub(crate) control: Control,
    /// Where it is now; `activated`: it is in force, without a restart.
    pub(crate) state: ChangeState,
    /// Approvals that count.
    pub(crate) approvals: u32,
    /// How many it needs.
    pub(crate) needed: u32,
    /// The digest in force after it.
    #[schemars(with = "schema::Digest")]
    pub(crate) digest: Digest,
}

/// The body of `POST /v1/plans/{id}/review`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewReview {
    /// What the person says, signed.
    #[schemars(with = "schema::SignedReviewStatement")]
    pub(crate) statement: Signed<ReviewStatement>,
    /// Their own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
}

/// The body of `POST /v1/plans/{id}/resolution`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewResolution {
    /// What the person says, signed.
    #[schemars(with = "schema::SignedResolutionStatement")]
    pub(crate) statement: Signed<ResolutionStatement>,
    /// Their own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
}

/// The answer to a review or a resolution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct LookedAfter {
    /// The plan.
    #[schemars(with = "schema::Name")]
    pub(crate) plan: Id<kind::Plan>,
    /// Where it is now.
    #[schemars(with = "schema::Words<State>")]
    pub(crate) state: State,
}

/// Runs that somebody must still look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Reviews {
    /// The runs.
    pub(crate) reviews: Vec<OwedReview>,
}

/// A run that somebody must still look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct OwedReview {
    /// The plan.
    #[schemars(with = "schema::Name")]
    pub(crate) plan: Id<kind::Plan>,
    /// Where it is in its life.
    #[schemars(with = "schema::Words<State>")]
    pub(crate) state: State,
    /// Whose run it was.
    #[schemars(with = "schema::Name")]
    pub(crate) agent: Id<kind::Agent>,
    /// Its actions.
    #[schemars(with = "BTreeSet<schema::Name>")]
    pub(crate) actions: BTreeSet<Id<kind::Action>>,
    /// Its targets.
    #[schemars(with = "BTreeSet<schema::Name>")]
    pub(crate) targets: BTreeSet<Id<kind::Target>>,
    /// When it was claimed.
    #[schemars(with = "schema::Time")]
    pub(crate) claimed_at_ms: Timestamp,
    /// When the look is due; none where nobody owes it.
    #[schemars(with = "Option<schema::Time>")]
    pub(crate) due_at_ms: Option<Timestamp>,
    /// The team that owes it.
    #[schemars(with = "Option<schema::Name>")]
    pub(crate) owner: Option<Id<kind::Team>>,
    /// T1 and T2 are suspended for the agent and these actions until somebody lets it go on.
    pub(crate) suspends: bool,
}

/// The body of `POST /v1/halt`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewHalt {
    /// `soft`: starts and further steps; `hard`: undos as well.
    #[schemars(with = "schema::Words<Reach>")]
    pub(crate) reach: Reach,
}

/// The halt in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct HaltInForce {
    /// The halt; none when there is none.
    #[schemars(with = "Option<schema::Halt>")]
    pub(crate) halt: Option<Halt>,
    /// The log that the gate writes: whoever ends a halt signs both.
    pub(crate) origin: String,
}

/// The answer to a halt. It is in force, whatever the two other fields say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Halted {
    /// The halt in force.
    #[schemars(with = "schema::Halt")]
    pub(crate) halt: Halt,
    /// It is on disk: in force across a restart.
    pub(crate) latched: bool,
    /// It is in the ledger. Where it is not yet, the gate goes on trying.
    pub(crate) recorded: bool,
}

/// The limits in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Limits {
    /// The digest of all of them.
    #[schemars(with = "schema::Digest")]
    pub(crate) digest: Digest,
    /// Budgets.
    #[schemars(with = "Vec<schema::Budget>")]
    pub(crate) budgets: Vec<Budget>,
    /// Freezes, past ones included.
    #[schemars(with = "Vec<schema::Freeze>")]
    pub(crate) freezes: Vec<Freeze>,
    /// Calendars of freezes.
    pub(crate) calendars: Vec<Calendar>,
    /// What one plan may disturb.
    #[schemars(with = "Vec<schema::PlanLimit>")]
    pub(crate) plans: Vec<PlanLimit>,
    /// How far runs stay away from each other.
    #[schemars(with = "schema::Neighbourhood")]
    pub(crate) neighbourhood: Neighbourhood,
    /// When an action is not done any more because it went badly.
    #[schemars(with = "schema::Breaker")]
    pub(crate) breaker: Breaker,
    /// Error budgets, which are measured when something is decided.
    #[schemars(with = "Vec<schema::ErrorBudget>")]
    pub(crate) error_budgets: Vec<ErrorBudget>,
    /// How far back runs are remembered for budgets.
    #[schemars(with = "schema::Span")]
    pub(crate) horizon_ms: Millis,
}

/// A calendar of freezes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Calendar {
    /// Its name.
    #[schemars(with = "schema::Name")]
    pub(crate) id: Id<kind::Freeze>,
    /// Its file.
    pub(crate) file: String,
    /// Only these environments; all when empty.
    #[schemars(with = "BTreeSet<schema::Name>")]
    pub(crate) environments: BTreeSet<Id<kind::Environment>>,
    /// The freeze that lasts, or else the next one; none when all are over.
    pub(crate) next: Option<Window>,
}

/// A span of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Window {
    /// From when.
    #[schemars(with = "schema::Time")]
    pub(crate) from_ms: Timestamp,
    /// Until when; the end itself is free.
    #[schemars(with = "schema::Time")]
    pub(crate) until_ms: Timestamp,
}

/// Everything that holds plans back now, whoever asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct BrakesInForce {
    /// What holds back: what denies first.
    pub(crate) brakes: Vec<Brake>,
}

/// Something that holds plans back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Brake {
    /// The rule that answers with it.
    pub(crate) rule: String,
    /// Whether it denies; else it asks for a person.
    pub(crate) denies: bool,
    /// What holds back, and what it concerns.
    pub(crate) fact: String,
    /// The plan whose run it is.
    #[schemars(with = "Option<schema::Name>")]
    pub(crate) plan: Option<Id<kind::Plan>>,
    /// Until when; none for what no clock ends.
    #[schemars(with = "Option<schema::Time>")]
    pub(crate) until_ms: Option<Timestamp>,
    /// Who or what lifts it.
    pub(crate) lifted_by: String,
}

/// What holds the gate back, and what it works by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Status {
    /// The halt in force.
    #[schemars(with = "Option<schema::Halt>")]
    pub(crate) halt: Option<Halt>,
    /// Control inputs on disk that are not those in force: T1 and T2 are suspended.
    #[schemars(with = "BTreeSet<schema::Words<Control>>")]
    pub(crate) refused_inputs: BTreeSet<Control>,
    /// The digests in force.
    #[schemars(with = "schema::Inputs")]
    pub(crate) inputs: Inputs,
    /// How many entries the ledger has.
    pub(crate) size: u64,
    /// The store takes nothing more: nothing starts until an operator has looked at it.
    pub(crate) store_closed: bool,
}
