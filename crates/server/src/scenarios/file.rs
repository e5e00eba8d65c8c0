//! The form of a scenario's file.

use std::collections::{BTreeMap, BTreeSet};

use holdpoint_domain::{
    Id, Tier,
    decision::Answer,
    flow::State,
    id::kind,
    plan::ParamValue,
    trigger::{Truth, Why},
};
use serde::Deserialize;

/// A fault that a benchmark injects, what is measured of it, and what agents propose.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scenario {
    /// The name of its file.
    pub(super) id: String,
    pub(super) source: Source,
    /// The site that it is played at: a configuration in `sites/`.
    pub(super) application: String,
    /// What the benchmark breaks.
    pub(super) fault: String,
    /// What ends it, as the benchmark sees it.
    pub(super) mitigation: String,
    /// The text of the alert, and a line of a log: an agent has them from the monitored system and hands them on.
    pub(super) alert: String,
    pub(super) log: String,
    /// What the gate's own probes read. Whatever is not in here is measured, and is as it should be.
    #[serde(default)]
    pub(super) measured: Measured,
    /// Targets that are down.
    #[serde(default)]
    pub(super) down: BTreeSet<Id<kind::Target>>,
    pub(super) proposals: Vec<Act>,
}

/// By target, condition and endpoint.
pub(super) type Measured =
    BTreeMap<Id<kind::Target>, BTreeMap<Id<kind::Condition>, BTreeMap<Id<kind::Endpoint>, Seen>>>;

/// Where it was published.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
    pub(super) benchmark: Benchmark,
    /// The file in its repository.
    pub(super) path: String,
    /// Its name there.
    pub(super) problem: String,
}

/// A public benchmark; its repository and licence are in `docs/scenarios.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Benchmark {
    ItBench,
    AiOpsLab,
    SreGym,
    OpenRca,
}

impl Benchmark {
    pub(super) const ALL: [Self; 4] = [Self::ItBench, Self::AiOpsLab, Self::SreGym, Self::OpenRca];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::ItBench => "ITBench",
            Self::AiOpsLab => "AIOpsLab",
            Self::SreGym => "SREGym",
            Self::OpenRca => "OpenRCA",
        }
    }
}

/// What one endpoint says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Seen {
    Fires,
    Quiet,
    NoData,
    Stale,
    TimedOut,
}

impl Seen {
    pub(super) const fn reading(self) -> (Truth, Why) {
        match self {
            Self::Fires => (Truth::Holds, Why::Measured),
            Self::Quiet => (Truth::DoesNotHold, Why::Measured),
            Self::NoData => (Truth::Indeterminate, Why::NoData),
            Self::Stale => (Truth::Indeterminate, Why::Stale),
            Self::TimedOut => (Truth::Indeterminate, Why::TimedOut),
        }
    }
}

/// What an agent proposes, and what must become of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Act {
    /// Whether the benchmark would call it a mitigation.
    pub(super) is: Judgement,
    #[serde(default = "healer")]
    pub(super) agent: String,
    /// Why, in the agent's words.
    pub(super) words: String,
    pub(super) steps: Vec<Wanted>,
    pub(super) trigger: Id<kind::Condition>,
    pub(super) expect: Expected,
    /// How it goes on; whatever is allowed does.
    #[serde(default)]
    pub(super) then: Option<Then>,
}

fn healer() -> String {
    "healer".to_owned()
}

/// What a proposal is worth, beyond what any gate can know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Judgement {
    /// It ends the fault, or would.
    Right,
    /// It does not, or does harm.
    Wrong,
}

/// A step.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    pub(super) action: Id<kind::Action>,
    pub(super) target: Id<kind::Target>,
    #[serde(default)]
    pub(super) params: BTreeMap<Id<kind::Param>, ParamValue>,
}

/// The gate's answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expected {
    pub(super) answer: Outcome,
    /// Of what is allowed or held.
    #[serde(default)]
    pub(super) tier: Option<Tier>,
    /// The ids of all reasons but the catalogue's own tier; of a refusal, the one rule.
    pub(super) reasons: BTreeSet<String>,
}

/// A decision's answer, or a refusal before there is anything to decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    Allow,
    Hold,
    Defer,
    Deny,
    Refuse,
}

impl From<Answer> for Outcome {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Allow => Self::Allow,
            Answer::Hold => Self::Hold,
            Answer::Defer => Self::Defer,
            Answer::Deny => Self::Deny,
        }
    }
}

/// From the decision to the end.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Then {
    /// Who approves, where it waits for people.
    #[serde(default)]
    pub(super) approved_by: Vec<String>,
    /// What is measured from then on, in the place of what was.
    #[serde(default)]
    pub(super) measured: Option<Measured>,
    /// What the action does to the target.
    #[serde(default)]
    pub(super) effect: Effect,
    /// The state of the plan at its end.
    pub(super) ends: State,
}

/// Whether an action helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Effect {
    #[default]
    Helps,
    DoesNotHelp,
}
