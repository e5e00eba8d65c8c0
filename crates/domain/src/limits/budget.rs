//! Budgets: how many runs may be open at once, and how many may start within a window.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Footprint, PastRun, concerns};
use crate::{Id, Millis, Timestamp, id::kind};

/// What the runs of a budget have in common: each value of it has a budget of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// All runs together.
    Everything,
    /// The agent.
    Agent,
    /// The team of the agent.
    Team,
    /// The action.
    Action,
    /// The class of the action: the first part of its id.
    ActionClass,
    /// The environment.
    Environment,
    /// The service that is acted on.
    Service,
    /// The incident that the agent names, and each that the gate knows to concern what is acted on. Plans without one share a
    /// budget: leaving it out must not help.
    Incident,
    /// The data domain. Runs that touch none are not counted.
    DataDomain,
}

/// How many runs may be open at once, and how many may start within a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Its name.
    pub id: Id<kind::Budget>,
    /// What each budget is for.
    pub per: Per,
    /// Only runs in these environments; all when empty.
    #[serde(default)]
    pub environments: BTreeSet<Id<kind::Environment>>,
    /// Runs open at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrent: Option<u32>,
    /// Runs that start within the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts: Option<Starts>,
    /// Steps of runs that start within the window: one plan may have many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Starts>,
}

/// A number of starts within a sliding window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Starts {
    /// How many.
    pub max: u32,
    /// Within how long.
    pub window_ms: Millis,
}

impl Budget {
    pub(super) const fn limits_nothing(&self) -> bool {
        self.concurrent.is_none() && self.starts.is_none() && self.steps.is_none()
    }

    /// The windows that it looks back.
    pub(super) fn windows(&self) -> impl Iterator<Item = Millis> + use<> {
        [self.starts, self.steps].into_iter().flatten().map(|starts| starts.window_ms)
    }
}

/// The values by which a run is counted: it takes from the budget of each.
fn values(per: Per, run: &Footprint) -> BTreeSet<&str> {
    match per {
        Per::Everything => [""].into(),
        Per::Agent => run.agents().map(Id::as_str).collect(),
        Per::Team => run.teams.iter().map(Id::as_str).collect(),
        Per::Action => run.actions.iter().map(Id::as_str).collect(),
        Per::Service => run.direct.iter().map(Id::as_str).collect(),
        Per::ActionClass => {
            run.actions.iter().filter_map(|action| action.as_str().split('.').next()).collect()
        }
        Per::Environment => run.environments.iter().map(Id::as_str).collect(),
        Per::Incident => {
            let named = run.incident.as_ref().map_or("", Id::as_str);
            run.concerned.iter().map(Id::as_str).chain([named]).collect()
        }
        Per::DataDomain => run.data_domains.iter().map(Id::as_str).collect(),
    }
}

/// Whether a run is counted by this value: it is among its [`values`], or what is left out of them may be it. Makes no set, for it is
/// asked for each value and each past run.
fn has(per: Per, run: &Footprint, value: &str) -> bool {
    fn any<'a, K: crate::id::Kind + 'a>(mut ids: impl Iterator<Item = &'a Id<K>>, value: &str) -> bool {
        ids.any(|id| id.as_str() == value)
    }
    match per {
        Per::Everything => value.is_empty(),
        Per::Agent => any(run.agents(), value),
        Per::Team => any(run.teams.iter(), value),
        Per::Action => any(run.actions.iter(), value),
        Per::Service => any(run.direct.iter(), value),
        Per::ActionClass => run.actions.iter().any(|action| action.as_str().split('.').next() == Some(value)),
        Per::Environment => any(run.environments.iter(), value),
        Per::Incident => (value.is_empty() && run.incident.is_none()) || run.is_for(value),
        Per::DataDomain => any(run.data_domains.iter(), value),
    }
}

/// Some when the budget has no room for `next`, with the time when it has.
pub(super) fn used_up(
    budget: &Budget,
    next: &Footprint,
    past: &[PastRun<'_>],
    now: Timestamp,
) -> Option<Option<Timestamp>> {
    if !concerns(&budget.environments, &next.environments) {
        return None;
    }
    values(budget.per, next).into_iter().find_map(|value| is_full(budget, value, next.steps, past, now))
}

/// The values for which the budget has no room for one more run of one step, each with the time when it has.
pub(super) fn full_for<'a>(
    budget: &Budget,
    past: &'a [PastRun<'_>],
    now: Timestamp,
) -> Vec<(&'a str, Option<Timestamp>)> {
    let values: BTreeSet<_> = past.iter().flat_map(|run| values(budget.per, run.footprint)).collect();
    let full = |value| is_full(budget, value, 1, past, now).map(|until| (value, until));
    values.into_iter().filter_map(full).collect()
}

/// Some when the budget of one value has no room for a run of so many steps, with the time when it has.
fn is_full(
    budget: &Budget,
    value: &str,
    steps: u32,
    past: &[PastRun<'_>],
    now: Timestamp,
) -> Option<Option<Timestamp>> {
    let is_counted = |run: &&PastRun<'_>| {
        concerns(&budget.environments, &run.footprint.environments) && has(budget.per, run.footprint, value)
    };
    let counted: Vec<_> = past.iter().filter(is_counted).collect();
    let open = counted.iter().filter(|run| run.open).count();
    if budget.concurrent.is_some_and(|max| is_spent(open, max)) {
        return Some(None);
    }
    let windows = [(budget.starts, Counted::Runs), (budget.steps, Counted::Steps)];
    let mut windows = windows.into_iter().filter_map(|(starts, what)| Some((starts?, what)));
    windows.find_map(|(starts, what)| window_is_full(starts, what, steps, &counted, now))
}

/// What a window counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counted {
    Runs,
    Steps,
}

impl Counted {
    fn of(self, steps: u32) -> u32 {
        match self {
            Self::Runs => 1,
            Self::Steps => steps.max(1),
        }
    }
}

/// Some when the window has no room for a run of `next` steps, with the time when it has; none in it for a plan that is larger than the window.
fn window_is_full(
    starts: Starts,
    what: Counted,
    next: u32,
    counted: &[&PastRun<'_>],
    now: Timestamp,
) -> Option<Option<Timestamp>> {
    // A clock that was set back does not empty the window: what was claimed "later" counts.
    let is_in = |run: &&&PastRun<'_>| run.claimed_at > now || now.since(run.claimed_at) < starts.window_ms;
    let mut runs: Vec<_> =
        counted.iter().filter(is_in).map(|run| (run.claimed_at, what.of(run.footprint.steps))).collect();
    runs.sort_unstable();
    let mut used = runs.iter().fold(what.of(next), |sum, (_, count)| sum.saturating_add(*count));
    if used <= starts.max {
        return None;
    }
    // It has room again when so many have left the window that the next one fits.
    for (time, count) in runs {
        used = used.saturating_sub(count);
        if used <= starts.max {
            return Some(time.plus(starts.window_ms).ok());
        }
    }
    Some(None)
}

fn is_spent(used: usize, max: u32) -> bool {
    u32::try_from(used).map_or(true, |used| used >= max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::tests::{ids, run};

    #[test]
    fn a_run_has_exactly_the_values_that_it_is_counted_by() {
        let via = Footprint { via: ids(&["helper"]), ..run("a", "process.restart", "prod", Some("i1")) };
        let full = Footprint {
            concerned: ids(&["am-1", "am-2"]),
            data_domains: ids(&["orders"]),
            direct: ids(&["web", "db"]),
            ..via
        };
        let bare = run("b", "flags.disable", "dev", None);
        let all = [
            Per::Everything,
            Per::Agent,
            Per::Team,
            Per::Action,
            Per::ActionClass,
            Per::Environment,
            Per::Service,
            Per::Incident,
            Per::DataDomain,
        ];
        for per in all {
            let asked: BTreeSet<_> = all
                .iter()
                .flat_map(|per| values(*per, &full).into_iter().chain(values(*per, &bare)))
                .chain(["none", "am-3"])
                .collect();
            for (run, value) in
                [&full, &bare].into_iter().flat_map(|run| asked.iter().map(move |v| (run, *v)))
            {
                assert_eq!(has(per, run, value), values(per, run).contains(value), "{per:?} {value:?}");
            }
        }
    }
}
