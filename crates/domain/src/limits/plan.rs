//! What one plan may disturb, and error budgets.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::concerns;
use crate::{Id, blast::Blast, id::kind};

/// The most that one plan may disturb in some environments, whatever the catalogue's caps say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanLimit {
    /// Its name.
    pub id: Id<kind::Budget>,
    /// Only plans that disturb one of these environments; all when empty.
    #[serde(default)]
    pub environments: BTreeSet<Id<kind::Environment>>,
    /// Targets acted on directly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targets: Option<u32>,
    /// Services disturbed, directly or through dependencies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<u32>,
    /// Critical services among them; unknown dependants count as critical.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub critical: Option<u32>,
    /// Environments that those services run in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environments_touched: Option<u32>,
    /// Share of the replicas of a service, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica_share_percent: Option<u32>,
    /// Numbers that the steps say in parameters of these names, added up: rows, bytes, whatever an action counts by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sums: BTreeMap<Id<kind::Param>, u64>,
}

impl PlanLimit {
    pub(super) fn limits_nothing(&self) -> bool {
        self.sums.is_empty()
            && matches!(
                (
                    self.targets,
                    self.services,
                    self.critical,
                    self.environments_touched,
                    self.replica_share_percent
                ),
                (None, None, None, None, None)
            )
    }

    /// Whether a plan is too large that disturbs `blast` and says these numbers.
    #[must_use]
    pub fn is_exceeded_by(&self, blast: &Blast, said: &BTreeMap<Id<kind::Param>, u64>) -> bool {
        let is_more = |(name, most): (&Id<kind::Param>, &u64)| said.get(name).is_some_and(|sum| sum > most);
        let more = |count: usize, most: Option<u32>| {
            most.is_some_and(|most| u32::try_from(count).map_or(true, |count| count > most))
        };
        concerns(&self.environments, &blast.environments)
            && (self.sums.iter().any(is_more)
                || more(blast.targets.len(), self.targets)
                || more(blast.services.len(), self.services)
                || more(blast.critical.len(), self.critical)
                || more(blast.environments.len(), self.environments_touched)
                || self.replica_share_percent.is_some_and(|most| blast.replica_share_percent > most))
    }
}

/// A condition of the catalogue that says that enough of a service's error budget is left. It is measured on every target of these
/// services before a plan is decided, and again at the claim. Where it does not hold, or nobody can tell, a person decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorBudget {
    /// Its name.
    pub id: Id<kind::Budget>,
    /// The condition, which holds while budget is left.
    pub condition: Id<kind::Condition>,
    /// Only targets of these services; all when empty.
    #[serde(default)]
    pub services: BTreeSet<Id<kind::Service>>,
    /// Only targets in these environments; all when empty.
    #[serde(default)]
    pub environments: BTreeSet<Id<kind::Environment>>,
}

impl ErrorBudget {
    /// Whether it is one of a service in an environment.
    #[must_use]
    pub fn is_of(&self, service: &Id<kind::Service>, environment: &Id<kind::Environment>) -> bool {
        let is_among = self.services.is_empty() || self.services.contains(service);
        is_among && (self.environments.is_empty() || self.environments.contains(environment))
    }
}
