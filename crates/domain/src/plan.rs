//! Plans: what would be done, frozen. The plan's digest is what approvals and permits bind.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    Commitment, Digest, Id,
    action::{Action, MAX_INT, ParamSpec, UndoKind},
    digest::DigestError,
    id::kind,
};

/// Most steps in a plan. What needs more is several plans, each with a decision and a verification of its own.
pub const MAX_STEPS: usize = 4;

/// A plan: who asked, why, and the steps. Immutable; a change makes another plan with another digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawPlan")]
pub struct Plan {
    // INVARIANT: 1 to MAX_STEPS steps, each on a target of its own; whole numbers within MAX_INT.
    r#type: PlanType,
    requester: Requester,
    incident: Option<Id<kind::Incident>>,
    trigger: Id<kind::Condition>,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPlan {
    r#type: PlanType,
    requester: Requester,
    incident: Option<Id<kind::Incident>>,
    trigger: Id<kind::Condition>,
    steps: Vec<Step>,
}

/// The type tag of [`Plan`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlanType {
    /// Version 1.
    #[serde(rename = "holdpoint/plan/v1")]
    V1,
}

/// Who asked for a plan. None of them may approve it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requester {
    /// The agent that proposed it.
    pub agent: Id<kind::Agent>,
    /// The person at the head of the agent's delegation chain.
    pub on_behalf_of: Option<Id<kind::Person>>,
    /// The agents between that person and the agent that proposed it, the first one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub via: Vec<Id<kind::Agent>>,
    /// The attested build of the agent that proposed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<Digest>,
    /// People who were asked to approve a larger plan, and narrowed it to this one.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub narrowed_by: BTreeSet<Id<kind::Person>>,
    /// The person who asks for it beyond policy; then the agent is [`EMERGENCY`], which nobody is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened_by: Option<Id<kind::Person>>,
}

/// The word that stands in the place of an agent where people break the glass. No agent may have it for a name.
pub const EMERGENCY: &str = "break-glass";

impl Requester {
    /// Whether a person is among those who ask: then they approve nothing of it. Agents have no person's name.
    #[must_use]
    pub fn is_one(&self, person: &Id<kind::Person>) -> bool {
        self.on_behalf_of.as_ref() == Some(person) || self.narrowed_by.contains(person)
    }

    /// Who asked, in words: the agent, whom it acts for, and by way of whom.
    #[must_use]
    pub fn words(&self) -> String {
        if let Some(person) = &self.opened_by {
            return format!("person {person}, who breaks the glass");
        }
        let head = self.on_behalf_of.as_ref().map(|head| format!(" for person {head}")).unwrap_or_default();
        let via: Vec<_> = self.via.iter().map(|agent| format!(" by way of agent {agent}")).collect();
        let build = self.build.map(|build| format!(", build {}", build.short())).unwrap_or_default();
        let narrowed: Vec<_> =
            self.narrowed_by.iter().map(|person| format!(", narrowed by person {person}")).collect();
        format!("agent {}{head}{}{build}{}", self.agent, via.concat(), narrowed.concat())
    }

    /// A person who breaks the glass. Whoever opened it may be one of the two who approve it: nobody asks but them.
    pub fn in_emergency(person: Id<kind::Person>) -> Result<Self, crate::id::IdError> {
        Ok(Self { opened_by: Some(person), ..Self::alone(Id::parse(EMERGENCY)?) })
    }

    /// Whether people ask for this beyond policy.
    #[must_use]
    pub fn is_emergency(&self) -> bool {
        self.opened_by.is_some()
    }

    /// An agent that acts for nobody, and whose build nobody attests.
    #[must_use]
    pub const fn alone(agent: Id<kind::Agent>) -> Self {
        Self {
            agent,
            on_behalf_of: None,
            via: Vec::new(),
            build: None,
            narrowed_by: BTreeSet::new(),
            opened_by: None,
        }
    }
}

/// One step: an action on a target in a known version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The action.
    pub action: Id<kind::Action>,
    /// The digest of its catalogue entry.
    pub entry: Digest,
    /// The target.
    pub target: Id<kind::Target>,
    /// The relevant version that the target must have when the step begins.
    pub expected_version: Digest,
    /// Parameters.
    pub params: BTreeMap<Id<kind::Param>, ParamValue>,
    /// How it is undone.
    pub undo: UndoKind,
}

/// The value of a parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParamValue {
    /// A whole number.
    Int(i64),
    /// Yes or no.
    Bool(bool),
    /// One word out of the catalogue's list.
    Choice(Id<kind::Param>),
    /// A secret, as a salted commitment.
    Secret(Commitment),
}

/// What is wrong with a plan or its parameters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Too few or too many steps.
    #[error("expected 1 to {MAX_STEPS} steps, got {0}")]
    Steps(usize),
    /// Two steps on one target: what the second one expects would be what the first one leaves, which nobody can approve yet.
    #[error("two steps act on target `{0}`: expected a target of its own for each step")]
    SameTarget(Id<kind::Target>),
    /// A whole number that canonical JSON does not carry exactly: two plans would share a digest.
    #[error("parameter `{0}`: expected a whole number between -{MAX_INT} and {MAX_INT}")]
    Number(Id<kind::Param>),
    /// A parameter that the action does not have.
    #[error("action `{action}` has no parameter `{param}`")]
    UnknownParam {
        /// The action.
        action: Id<kind::Action>,
        /// The parameter.
        param: Id<kind::Param>,
    },
    /// A parameter that the action needs.
    #[error("action `{action}` needs parameter `{param}`")]
    MissingParam {
        /// The action.
        action: Id<kind::Action>,
        /// The parameter.
        param: Id<kind::Param>,
    },
    /// A value of another type, out of bounds, or not in the list.
    #[error("parameter `{param}` of action `{action}`: the value is not within what the catalogue allows")]
    BadParam {
        /// The action.
        action: Id<kind::Action>,
        /// The parameter.
        param: Id<kind::Param>,
    },
}

impl TryFrom<RawPlan> for Plan {
    type Error = PlanError;
    fn try_from(raw: RawPlan) -> Result<Self, PlanError> {
        let RawPlan { r#type: PlanType::V1, requester, incident, trigger, steps } = raw;
        Self::new(requester, incident, trigger, steps)
    }
}

impl Plan {
    /// Freezes a plan.
    pub fn new(
        requester: Requester,
        incident: Option<Id<kind::Incident>>,
        trigger: Id<kind::Condition>,
        steps: Vec<Step>,
    ) -> Result<Self, PlanError> {
        if steps.is_empty() || steps.len() > MAX_STEPS {
            return Err(PlanError::Steps(steps.len()));
        }
        let mut seen = BTreeSet::new();
        if let Some(step) = steps.iter().find(|step| !seen.insert(&step.target)) {
            return Err(PlanError::SameTarget(step.target.clone()));
        }
        let is_exact = |value: &ParamValue| match value {
            ParamValue::Int(int) => (-MAX_INT..=MAX_INT).contains(int),
            ParamValue::Bool(_) | ParamValue::Choice(_) | ParamValue::Secret(_) => true,
        };
        if let Some((param, _)) =
            steps.iter().flat_map(|step| &step.params).find(|(_, value)| !is_exact(value))
        {
            return Err(PlanError::Number(param.clone()));
        }
        Ok(Self { r#type: PlanType::V1, requester, incident, trigger, steps })
    }

    /// SHA-256 over the canonical JSON (RFC 8785) of what the plan does.
    pub fn digest(&self) -> Result<Digest, DigestError> {
        Digest::of(self)
    }

    /// Who asked for it.
    #[must_use]
    pub const fn requester(&self) -> &Requester {
        &self.requester
    }

    /// The incident it belongs to.
    #[must_use]
    pub const fn incident(&self) -> Option<&Id<kind::Incident>> {
        self.incident.as_ref()
    }

    /// The condition that justifies it.
    #[must_use]
    pub const fn trigger(&self) -> &Id<kind::Condition> {
        &self.trigger
    }

    /// Its steps, in order.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The targets that it acts on directly.
    #[must_use]
    pub fn targets(&self) -> BTreeSet<Id<kind::Target>> {
        self.steps.iter().map(|step| step.target.clone()).collect()
    }
}

/// Checks parameters against the catalogue: all that the action needs, none that it does not have, each within bounds.
pub fn check_params(
    action: &Action,
    params: &BTreeMap<Id<kind::Param>, ParamValue>,
) -> Result<(), PlanError> {
    if let Some(param) = params.keys().find(|param| !action.params.contains_key(*param)) {
        return Err(PlanError::UnknownParam { action: action.id.clone(), param: param.clone() });
    }
    for (param, spec) in &action.params {
        let Some(value) = params.get(param) else {
            return Err(PlanError::MissingParam { action: action.id.clone(), param: param.clone() });
        };
        let fits = match (spec, value) {
            (ParamSpec::Int { min, max }, ParamValue::Int(int)) => min <= int && int <= max,
            (ParamSpec::Bool, ParamValue::Bool(_)) | (ParamSpec::Secret, ParamValue::Secret(_)) => true,
            (ParamSpec::Choice { of }, ParamValue::Choice(word)) => of.contains(word),
            (ParamSpec::Int { .. } | ParamSpec::Bool | ParamSpec::Choice { .. } | ParamSpec::Secret, _) => {
                false
            }
        };
        if !fits {
            return Err(PlanError::BadParam { action: action.id.clone(), param: param.clone() });
        }
    }
    Ok(())
}

/// The words of whoever proposed a plan. Cosmetic: they are shown in a marked box and digested apart from the plan.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Narrative {
    /// What the agent says the matter is.
    #[serde(default)]
    pub summary: String,
    /// Why the agent wants this.
    #[serde(default)]
    pub reason: String,
    /// What the model thinks of its own certainty. Recorded, never an input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<String>,
}
