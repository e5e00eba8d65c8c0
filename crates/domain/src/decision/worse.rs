//! What is worse at the claim than it was when the decision was taken.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    Digest, Id, Tier,
    blast::Blast,
    facts::{Brakes, TargetFacts},
    id::{Kind, kind},
    parts::Changed,
    quorum::Missing,
};

/// Most names in one difference.
const MOST_NAMES: usize = 16;

/// What is worse at the claim than it was when the decision was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Worse {
    /// The target is not known any more.
    TargetGone,
    /// The agent, or somebody whom it acts for, is not in the registry any more, or not in this role.
    RequesterGone,
    /// The target's relevant version is another.
    Version {
        /// At the decision.
        decided: Digest,
        /// Now.
        now: Digest,
        /// What of it is another, where the observer says.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        parts: Vec<Changed>,
    },
    /// The catalogue entry is another.
    CatalogueEntry {
        /// At the decision.
        decided: Digest,
        /// Now.
        now: Digest,
    },
    /// More would be disturbed: a step more, or what older records do not say.
    Blast,
    /// More would be disturbed.
    Disturbs {
        /// Services that were not among those decided on; not more than are worth reading.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        services: BTreeSet<Id<kind::Service>>,
        /// Targets that were not.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        targets: BTreeSet<Id<kind::Target>>,
        /// Environments that were not.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        environments: BTreeSet<Id<kind::Environment>>,
        /// The share of replicas, where it is larger: decided on, and now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replica_share_percent: Option<(u32, u32)>,
    },
    /// The target is of another class: it is another service's, runs elsewhere, or more depends on it.
    Class {
        /// What of it.
        what: Class,
        /// At the decision.
        decided: String,
        /// Now.
        now: String,
    },
    /// The trigger was proven and is not any more.
    TriggerGone,
    /// Policy does not allow it with the oversight obtained.
    Denied,
    /// Guardrails deny it now.
    Held {
        /// Which ones.
        rules: Vec<Id<kind::Rule>>,
        /// What holds it back: which run, which budget. None where nothing does but what the rules are about.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        brakes: Option<Box<Brakes>>,
    },
    /// Approvals that the catalogue asks for do not count any more: their people, keys or teams are others now.
    Approvals {
        /// What is missing.
        missing: Missing,
    },
    /// The tier is above the oversight obtained.
    Tier {
        /// The oversight obtained is enough for this.
        obtained: Tier,
        /// This is needed now.
        now: Tier,
    },
}

/// What of a target says how careful one has to be with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The service that it is an instance of.
    Service,
    /// Where it runs.
    Environment,
    /// How much depends on it.
    Criticality,
    /// The classes of data that it holds.
    DataClasses,
    /// Whether an instance can be lost without losing state.
    State,
}

/// How a target is of another class, or of a higher one, than it was.
pub(super) fn higher_class(before: &TargetFacts, now: &TargetFacts) -> Vec<Worse> {
    let mut found = Vec::new();
    let mut note =
        |what: Class, decided: String, now: String| found.push(Worse::Class { what, decided, now });
    if before.service != now.service {
        note(Class::Service, before.service.to_string(), now.service.to_string());
    }
    if before.environment != now.environment {
        note(Class::Environment, before.environment.to_string(), now.environment.to_string());
    }
    if now.criticality > before.criticality {
        note(Class::Criticality, before.criticality.as_str().to_owned(), now.criticality.as_str().to_owned());
    }
    if !now.data_classes.is_subset(&before.data_classes) {
        note(Class::DataClasses, list(&before.data_classes), list(&now.data_classes));
    }
    if before.stateless && !now.stateless {
        note(Class::State, "stateless".to_owned(), "stateful".to_owned());
    }
    found
}

/// What a blast radius has that was not in the one decided on.
pub(super) fn more_disturbed(before: &Blast, now: &Blast) -> Option<Worse> {
    if now.within(before) {
        return None;
    }
    let services = [
        new(&now.services, &before.services),
        new(&now.critical, &before.critical),
        new(&now.unknown, &before.unknown),
    ];
    let (share, was) = (now.replica_share_percent, before.replica_share_percent);
    Some(Worse::Disturbs {
        services: services.into_iter().flatten().take(MOST_NAMES).collect(),
        targets: new(&now.targets, &before.targets).take(MOST_NAMES).collect(),
        environments: new(&now.environments, &before.environments).take(MOST_NAMES).collect(),
        replica_share_percent: (share > was).then_some((was, share)),
    })
}

impl Worse {
    /// Held back by one guardrail of the table.
    #[must_use]
    pub fn held_by(guardrail: &str) -> Self {
        Self::Held { rules: Id::parse(guardrail).into_iter().collect(), brakes: None }
    }

    /// Held back by these guardrails, with these brakes on.
    pub(super) fn held(rules: Vec<Id<kind::Rule>>, brakes: &Brakes) -> Self {
        Self::Held { rules, brakes: brakes.name_something().then(|| Box::new(brakes.clone())) }
    }
}

fn new<'a, K: Kind>(
    now: &'a BTreeSet<Id<K>>,
    before: &'a BTreeSet<Id<K>>,
) -> impl Iterator<Item = Id<K>> + 'a {
    now.difference(before).cloned()
}

fn list<'a, K: Kind + 'a>(ids: impl IntoIterator<Item = &'a Id<K>>) -> String {
    let names: Vec<_> = ids.into_iter().map(|id| format!("`{id}`")).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Service => "service",
            Self::Environment => "environment",
            Self::Criticality => "criticality",
            Self::DataClasses => "data",
            Self::State => "state",
        })
    }
}

impl fmt::Display for Worse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TargetGone => f.write_str("the target is not in the inventory any more"),
            Self::RequesterGone => {
                f.write_str("the agent, or somebody whom it acts for, is not in the registry any more")
            }
            Self::Version { decided, now, parts } => {
                write!(
                    f,
                    "the target changed: version {} was decided on, it is {} now",
                    decided.short(),
                    now.short()
                )?;
                parts.iter().try_for_each(|changed| write!(f, "; {changed}"))
            }
            Self::CatalogueEntry { decided, now } => {
                write!(
                    f,
                    "the catalogue entry changed: {} was decided on, it is {} now",
                    decided.short(),
                    now.short()
                )
            }
            Self::Blast => f.write_str("more would be disturbed than was decided on"),
            Self::Disturbs { services, targets, environments, replica_share_percent } => {
                f.write_str("more would be disturbed than was decided on")?;
                let named = [
                    ("services", services.is_empty(), list(services)),
                    ("targets", targets.is_empty(), list(targets)),
                    ("environments", environments.is_empty(), list(environments)),
                ];
                for (what, _, names) in named.into_iter().filter(|(_, none, _)| !none) {
                    write!(f, "; {what} {names}")?;
                }
                replica_share_percent
                    .map_or(Ok(()), |(before, now)| write!(f, "; {now} % of the replicas, it was {before} %"))
            }
            Self::Class { what, decided, now } => {
                write!(f, "the target's {what} was {decided} when it was decided on, it is {now} now")
            }
            Self::TriggerGone => f.write_str("the trigger does not hold any more"),
            Self::Denied => f.write_str("policy denies it now"),
            Self::Held { rules, .. } => write!(f, "it is held back now by {}", list(rules)),
            Self::Approvals { missing } => {
                write!(f, "approvals do not count any more; the catalogue asks for {missing}")
            }
            Self::Tier { obtained, now } => {
                write!(f, "the tier is {now} now, the oversight obtained is enough for {obtained}")
            }
        }
    }
}
