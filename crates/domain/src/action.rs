//! Actions: what the catalogue says about each. These are the operator's facts, never an agent's claims.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use crate::{
    Digest, Id, Millis, Tier, Timestamp,
    digest::DigestError,
    facts::ActionFacts,
    id::kind,
    quorum::Quorum,
    time::TimeError,
    trigger::{Condition, ConditionFault},
};

/// Most actions and conditions in one catalogue; a bound on load time and schema size.
pub const MAX_CATALOGUE: usize = 2_000;

/// Longest time that an undo may stay armed: a working day and the night after it.
pub const MAX_UNDO_WINDOW_MS: u64 = 24 * 60 * 60 * 1000;

/// Longest time that a target may take to settle, and longest soak: beyond it a person should decide.
pub const MAX_SETTLE_MS: u64 = 60 * 60 * 1000;
/// Most guards of an action: the evidence of all steps of the longest plan is recorded together, in one transaction of the store.
pub const MAX_GUARDS: usize = 4;

/// Largest whole number that a parameter may have, up and down: what canonical JSON carries exactly.
pub const MAX_INT: i64 = (1 << 53) - 1;

/// Whether the effect can be taken back, in the words of OWASP AISVS 1.0 requirement 9.2.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reversibility {
    /// Nothing changes.
    ReadOnly,
    /// The gate can undo it itself.
    Reversible,
    /// Only an outside system or a person can make amends.
    ExternallyReversible,
    /// Nothing faithfully undoes it.
    Irreversible,
}

/// Trust state and guard state that an action can touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Secrets and keys.
    Secrets,
    /// Who is who.
    Authentication,
    /// Cloud identities and their rights.
    Iam,
    /// Role bindings.
    Rbac,
    /// Network segmentation.
    Network,
    /// Authorization rules.
    Authorization,
    /// Data of customers.
    CustomerData,
    /// Audit trails.
    Audit,
    /// Admission control.
    AdmissionControl,
    /// What people see of the system.
    Observability,
    /// What keeps it available: disruption budgets, quotas, cost limits.
    AvailabilityGuard,
    /// Change control.
    ChangeControl,
}

/// What an action does to a [`State`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Brings it to light.
    Reads,
    /// Has its own owner re-read or renew it; its meaning stays.
    Refreshes,
    /// Changes it.
    Changes,
    /// Replaces a secret by a new one.
    Rotates,
    /// Puts data back from a copy.
    Restores,
    /// Gives somebody more rights.
    Grants,
    /// Removes it.
    Deletes,
}

/// How an action is undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UndoKind {
    /// The opposite action.
    Inverse,
    /// The revision before.
    PreviousRevision,
    /// A copy of the state taken before.
    Snapshot,
    /// A revert commit.
    GitRevert,
    /// Removal of what the action made.
    DeleteArtifact,
    /// The system returns to its declared state by itself.
    SelfHeals,
    /// A different action makes amends.
    Compensate,
    /// Nothing does.
    None,
}

impl fmt::Display for ParamSpec {
    /// What a value may be, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int { min, max } => write!(f, "a whole number from {min} to {max}"),
            Self::Bool => f.write_str("true or false"),
            Self::Choice { of } => {
                let of: Vec<_> = of.iter().map(Id::as_str).collect();
                write!(f, "one of {}", of.join(", "))
            }
            Self::Secret => f.write_str("a secret, as a commitment"),
        }
    }
}

impl UndoKind {
    /// Whether the gate itself can put the state before back.
    #[must_use]
    pub const fn restores(self) -> bool {
        match self {
            Self::Inverse
            | Self::PreviousRevision
            | Self::Snapshot
            | Self::GitRevert
            | Self::DeleteArtifact => true,
            Self::SelfHeals | Self::Compensate | Self::None => false,
        }
    }
}

impl State {
    /// Trust state: who may do or see what. The rest is guard state: what keeps the system observable and safe.
    #[must_use]
    pub const fn is_trust(self) -> bool {
        match self {
            Self::Secrets
            | Self::Authentication
            | Self::Iam
            | Self::Rbac
            | Self::Network
            | Self::Authorization
            | Self::CustomerData
            | Self::Audit
            | Self::AdmissionControl => true,
            Self::Observability | Self::AvailabilityGuard | Self::ChangeControl => false,
        }
    }

    /// The word in the catalogue, in group names and in messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Secrets => "secrets",
            Self::Authentication => "authentication",
            Self::Iam => "iam",
            Self::Rbac => "rbac",
            Self::Network => "network",
            Self::Authorization => "authorization",
            Self::CustomerData => "customer_data",
            Self::Audit => "audit",
            Self::AdmissionControl => "admission_control",
            Self::Observability => "observability",
            Self::AvailabilityGuard => "availability_guard",
            Self::ChangeControl => "change_control",
        }
    }
}

/// The most that one plan with this action may disturb, whatever policy says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlastCap {
    /// Targets acted on directly.
    pub targets: u32,
    /// Services disturbed, directly or through dependencies.
    pub services: u32,
    /// Critical services among them; unknown dependants count as critical.
    pub critical: u32,
    /// Environments that those services run in.
    #[serde(default = "one")]
    pub environments: u32,
    /// Share of the replicas of a service, in percent.
    pub replica_share_percent: u32,
}

/// One environment: what a plan that nobody thought about may reach.
const fn one() -> u32 {
    1
}

/// A parameter of an action: typed and bounded, so that nothing needs to be escaped later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ParamSpec {
    /// A whole number within bounds, both included.
    Int {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// Yes or no.
    Bool,
    /// One word out of a list.
    Choice {
        /// The words.
        of: BTreeSet<Id<kind::Param>>,
    },
    /// A secret: stands in the plan as a salted commitment.
    Secret,
}

/// An entry of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// Dotted id, for instance `process.restart`.
    pub id: Id<kind::Action>,
    /// One line for people.
    pub title: String,
    /// Groups for policy, beside those generated from the facts below.
    #[serde(default)]
    pub groups: BTreeSet<Id<kind::ActionGroup>>,
    /// Which executor runs it.
    pub executor: Id<kind::Executor>,
    /// Whether its effect can be taken back.
    pub reversibility: Reversibility,
    /// Whether doing it twice is the same as once.
    pub idempotent: bool,
    /// Trust and guard state that it touches, and how.
    #[serde(default)]
    pub touches: BTreeMap<State, Effect>,
    /// The lowest tier it runs at.
    pub tier: Tier,
    /// Whom its plans wait for beyond the people of the tier: only at T3 and T4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvals: Option<Quorum>,
    /// Only adds (grows a volume, for instance): the named exception to "no undo needs a person".
    #[serde(default)]
    pub additive: bool,
    /// How it is undone.
    pub undo: UndoKind,
    /// How long the undo stays armed after the effect.
    pub undo_window_ms: Millis,
    /// The most that one plan may disturb.
    pub cap: BlastCap,
    /// Parameters by name. All of them are required.
    #[serde(default)]
    pub params: BTreeMap<Id<kind::Param>, ParamSpec>,
    /// Conditions that can justify it.
    pub triggers: BTreeSet<Id<kind::Condition>>,
    /// The condition that must hold on the target afterwards.
    pub verify: Id<kind::Condition>,
    /// Conditions that must not get worse: what held on the target before the first effect must hold when the run ends.
    #[serde(default)]
    pub guards: BTreeSet<Id<kind::Condition>>,
    /// How long `verify` must hold without a break before the run has succeeded.
    pub soak_ms: Millis,
    /// How long the target may take to reach `verify` before the run is undone or failed.
    pub settle_ms: Millis,
}

/// The action catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Catalogue {
    // INVARIANT: every condition that an action names exists; ids are unique; no action contradicts the guardrails.
    actions: BTreeMap<Id<kind::Action>, Action>,
    conditions: BTreeMap<Id<kind::Condition>, Condition>,
    // INVARIANT: those of each action. Every decision wants them, and a digest takes time.
    #[serde(skip)]
    facts: BTreeMap<Id<kind::Action>, ActionFacts>,
}

/// What is wrong with a catalogue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueError {
    /// Two entries with one id.
    #[error("action `{0}` stands twice in the catalogue")]
    DuplicateAction(Id<kind::Action>),
    /// Two conditions with one id.
    #[error("condition `{0}` stands twice in the catalogue")]
    DuplicateCondition(Id<kind::Condition>),
    /// A condition that nobody wrote.
    #[error("action `{action}` names condition `{condition}`, which the catalogue does not have")]
    UnknownCondition {
        /// The action.
        action: Id<kind::Action>,
        /// What it names.
        condition: Id<kind::Condition>,
    },
    /// Nothing could ever justify the action.
    #[error("action `{0}` has no trigger: expected at least one condition that can justify it")]
    NoTrigger(Id<kind::Action>),
    /// Its tier is below what the guardrails ask of its facts.
    #[error("action `{action}` has tier {tier}, below the {floor} that guardrail `{rule}` asks for")]
    BelowGuardrail {
        /// The action.
        action: Id<kind::Action>,
        /// What the entry says.
        tier: Tier,
        /// What the guardrail asks for.
        floor: Tier,
        /// The guardrail.
        rule: &'static str,
    },
    /// Approvals are asked for where nobody is asked, or where no number of them is enough.
    #[error(
        "action `{action}` asks for `approvals` and has tier {tier}: expected T3 or T4, for below them it could run without \
         people, and at T5 no agent may run it"
    )]
    ApprovalsUnasked {
        /// The action.
        action: Id<kind::Action>,
        /// What the entry says.
        tier: Tier,
    },
    /// An action that changes nothing but touches state, or one that is T0 and changes something.
    #[error("action `{0}` contradicts itself: tier T0 goes with `read_only`, and only with it")]
    ReadOnlyMismatch(Id<kind::Action>),
    /// A parameter that cannot have a value, or one that JSON cannot carry exactly.
    #[error(
        "parameter `{param}` of action `{action}`: expected bounds min <= max within ±{MAX_INT}, or a list of words"
    )]
    EmptyParam {
        /// The action.
        action: Id<kind::Action>,
        /// The parameter.
        param: Id<kind::Param>,
    },
    /// A condition that cannot be decided.
    #[error("condition `{condition}`: {fault}")]
    Condition {
        /// The condition.
        condition: Id<kind::Condition>,
        /// What is wrong with it.
        fault: ConditionFault,
    },
    /// A time that outlives every lease, or that nobody would wait for.
    #[error("`{field}` of action `{action}`: expected at most {limit} ms, got {got}")]
    Time {
        /// The action.
        action: Id<kind::Action>,
        /// Which time.
        field: &'static str,
        /// The most.
        limit: u64,
        /// What the entry says.
        got: u64,
    },
    /// Too many guards.
    #[error("action `{action}`: expected at most {MAX_GUARDS} guards, got {got}")]
    Guards {
        /// The action.
        action: Id<kind::Action>,
        /// How many.
        got: usize,
    },
    /// Nothing in it, or too much.
    #[error("expected 1 to {MAX_CATALOGUE} actions and at most as many conditions, got {0}")]
    Size(usize),
}

impl Action {
    /// Until when a step with this action that starts before `start` may have to be undone: it may take its time to settle, forth
    /// and back; the soak comes between, and the undo window after it.
    ///
    /// # Errors
    /// A time beyond what can be written.
    pub fn undoable_until(&self, start: Timestamp) -> Result<Timestamp, TimeError> {
        let run = [self.settle_ms, self.soak_ms, self.settle_ms, self.undo_window_ms];
        run.into_iter().try_fold(start, Timestamp::plus)
    }

    /// The groups of this action in policy: its own, and those generated from its facts.
    #[must_use]
    pub fn all_groups(&self) -> BTreeSet<Id<kind::ActionGroup>> {
        let mut names: Vec<String> = vec![match self.reversibility {
            Reversibility::ReadOnly => "read-only".to_owned(),
            Reversibility::Reversible => "reversible".to_owned(),
            Reversibility::ExternallyReversible => "externally-reversible".to_owned(),
            Reversibility::Irreversible => "irreversible".to_owned(),
        }];
        for (state, effect) in &self.touches {
            names.push(format!("touches-{}", state.as_str().replace('_', "-")));
            match (state.is_trust(), effect) {
                (true, Effect::Reads | Effect::Refreshes) => {}
                (true, Effect::Changes | Effect::Deletes) => names.push("changes-trust-state".to_owned()),
                (true, Effect::Rotates | Effect::Restores | Effect::Grants) => {
                    names.push("changes-trust-state".to_owned());
                    names.push("needs-step-up".to_owned());
                }
                (false, _) => names.push("changes-guard-state".to_owned()),
            }
        }
        // A value that nobody can inspect.
        if self.params.values().any(|spec| *spec == ParamSpec::Secret) {
            names.push("needs-step-up".to_owned());
        }
        if self.undo == UndoKind::None || self.undo == UndoKind::Compensate {
            names.push("no-undo".to_owned());
        }
        // Names built here follow the grammar (tested), so nothing is lost by `ok`.
        self.groups.iter().cloned().chain(names.iter().filter_map(|name| Id::parse(name).ok())).collect()
    }

    /// The class of actions that budgets count together: the first part of the id, for instance `process`.
    #[must_use]
    pub fn class(&self) -> &str {
        self.id.as_str().split('.').next().unwrap_or_default()
    }

    /// Whether it deletes data.
    #[must_use]
    pub fn deletes(&self) -> bool {
        deletes(&self.touches)
    }

    /// The digest of the entry: a changed entry is another action as far as a plan is concerned.
    pub fn digest(&self) -> Result<Digest, DigestError> {
        Digest::of(self)
    }
}

impl Catalogue {
    /// Checks entries and conditions against each other and against the guardrails; reports every fault.
    pub fn new(actions: Vec<Action>, conditions: Vec<Condition>) -> Result<Self, Vec<CatalogueError>> {
        let mut faults = Vec::new();
        if actions.is_empty() || actions.len() > MAX_CATALOGUE {
            faults.push(CatalogueError::Size(actions.len()));
        }
        if conditions.len() > MAX_CATALOGUE {
            faults.push(CatalogueError::Size(conditions.len()));
        }
        let mut catalogue =
            Self { actions: BTreeMap::new(), conditions: BTreeMap::new(), facts: BTreeMap::new() };
        for condition in conditions {
            if let Err(fault) = condition.check() {
                faults.push(CatalogueError::Condition { condition: condition.id.clone(), fault });
            }
            if let Some(old) = catalogue.conditions.insert(condition.id.clone(), condition) {
                faults.push(CatalogueError::DuplicateCondition(old.id));
            }
        }
        for action in actions {
            faults.extend(action_faults(&action, &catalogue.conditions));
            // An entry that cannot be digested has a number that is too large, which is among the faults.
            if let Ok(facts) = ActionFacts::of(&action) {
                catalogue.facts.insert(action.id.clone(), facts);
            }
            if let Some(old) = catalogue.actions.insert(action.id.clone(), action) {
                faults.push(CatalogueError::DuplicateAction(old.id));
            }
        }
        if faults.is_empty() { Ok(catalogue) } else { Err(faults) }
    }

    /// What decisions are told of the entry with this id.
    #[must_use]
    pub fn facts(&self, id: &Id<kind::Action>) -> Option<&ActionFacts> {
        self.facts.get(id)
    }

    /// The entry with this id.
    #[must_use]
    pub fn action(&self, id: &Id<kind::Action>) -> Option<&Action> {
        self.actions.get(id)
    }

    /// All entries, by id.
    pub fn actions(&self) -> impl Iterator<Item = &Action> {
        self.actions.values()
    }

    /// The condition with this id.
    #[must_use]
    pub fn condition(&self, id: &Id<kind::Condition>) -> Option<&Condition> {
        self.conditions.get(id)
    }

    /// The digest of the whole catalogue.
    pub fn digest(&self) -> Result<Digest, DigestError> {
        Digest::of(self)
    }
}

/// Whether an action that touches this deletes data.
#[must_use]
pub fn deletes(touches: &BTreeMap<State, Effect>) -> bool {
    touches.values().any(|effect| *effect == Effect::Deletes)
}

fn action_faults(
    action: &Action,
    conditions: &BTreeMap<Id<kind::Condition>, Condition>,
) -> Vec<CatalogueError> {
    let mut faults = Vec::new();
    let named = action.triggers.iter().chain([&action.verify]).chain(&action.guards);
    for condition in named.filter(|id| !conditions.contains_key(*id)) {
        faults.push(CatalogueError::UnknownCondition {
            action: action.id.clone(),
            condition: condition.clone(),
        });
    }
    if action.guards.len() > MAX_GUARDS {
        faults.push(CatalogueError::Guards { action: action.id.clone(), got: action.guards.len() });
    }
    if action.triggers.is_empty() {
        faults.push(CatalogueError::NoTrigger(action.id.clone()));
    }
    if (action.tier == Tier::T0) != (action.reversibility == Reversibility::ReadOnly) {
        faults.push(CatalogueError::ReadOnlyMismatch(action.id.clone()));
    }
    if action.approvals.is_some() && !Quorum::fits(action.tier) {
        let (action, tier) = (action.id.clone(), action.tier);
        faults.push(CatalogueError::ApprovalsUnasked { action, tier });
    }
    let times = [
        ("undo_window_ms", action.undo_window_ms, MAX_UNDO_WINDOW_MS),
        ("soak_ms", action.soak_ms, MAX_SETTLE_MS),
        ("settle_ms", action.settle_ms, MAX_SETTLE_MS),
    ];
    for (field, time, limit) in times.into_iter().filter(|(_, time, limit)| time.ms() > *limit) {
        faults.push(CatalogueError::Time { action: action.id.clone(), field, limit, got: time.ms() });
    }
    for (param, spec) in &action.params {
        let empty = match spec {
            // RFC 8785 carries whole numbers exactly only up to 2^53: beyond, two values would share a digest.
            ParamSpec::Int { min, max } => min > max || *min < -MAX_INT || *max > MAX_INT,
            ParamSpec::Choice { of } => of.is_empty(),
            ParamSpec::Bool | ParamSpec::Secret => false,
        };
        if empty {
            faults.push(CatalogueError::EmptyParam { action: action.id.clone(), param: param.clone() });
        }
    }
    for (rule, floor) in crate::guardrail::static_floors(action) {
        if action.tier < floor {
            faults.push(CatalogueError::BelowGuardrail {
                action: action.id.clone(),
                tier: action.tier,
                floor,
                rule,
            });
        }
    }
    faults
}
