//! Limits: budgets of runs, and freezes. A control input: they are activated by digest like the policy.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{Digest, Id, Millis, Timestamp, digest::DigestError, id::kind};

/// Most budgets, and most freezes.
pub const MAX_LIMITS: usize = 256;
/// Longest window of a budget: what the store keeps at hand of past runs.
pub const MAX_WINDOW_MS: u64 = 31 * 24 * 60 * 60 * 1000;

/// What the runs of a budget have in common: each value of it has a budget of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// All runs together.
    Everything,
    /// The agent.
    Agent,
    /// The class of the action: the first part of its id.
    ActionClass,
    /// The environment.
    Environment,
    /// The incident. Plans without one share a budget: leaving it out must not help.
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

/// A time in which nothing new is changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Freeze {
    /// Its name.
    pub id: Id<kind::Freeze>,
    /// Only these environments; all when empty.
    #[serde(default)]
    pub environments: BTreeSet<Id<kind::Environment>>,
    /// From when.
    pub from_ms: Timestamp,
    /// Until when; the end itself is free.
    pub until_ms: Timestamp,
}

/// Budgets and freezes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Limits {
    // INVARIANT: ids are unique; every budget limits something; windows are within MAX_WINDOW_MS.
    budgets: Vec<Budget>,
    freezes: Vec<Freeze>,
    delete_window_ms: Millis,
}

/// What is wrong with limits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitsError {
    /// Two budgets with one name.
    #[error("budget `{0}` stands twice")]
    DuplicateBudget(Id<kind::Budget>),
    /// Two freezes with one name.
    #[error("freeze `{0}` stands twice")]
    DuplicateFreeze(Id<kind::Freeze>),
    /// A budget that limits nothing.
    #[error("budget `{0}` limits nothing: expected `concurrent`, `starts` or both")]
    Nothing(Id<kind::Budget>),
    /// A window of nothing, or longer than what the store keeps at hand.
    #[error("{what}: expected a window of 1 to {MAX_WINDOW_MS} ms, got {got}")]
    Window {
        /// Of what.
        what: String,
        /// What it says.
        got: Millis,
    },
    /// A freeze that ends before it begins.
    #[error("freeze `{0}` ends before it begins")]
    Backwards(Id<kind::Freeze>),
    /// Too many.
    #[error("expected at most {MAX_LIMITS} budgets and freezes, got {0}")]
    Size(usize),
}

/// A run as budgets see it: one that was claimed, or one that would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Footprint {
    /// Who asked.
    pub agent: Id<kind::Agent>,
    /// The agents that it acts for: what is held against one of them is held against the plan.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub via: BTreeSet<Id<kind::Agent>>,
    /// For which incident.
    pub incident: Option<Id<kind::Incident>>,
    /// Its actions.
    pub actions: BTreeSet<Id<kind::Action>>,
    /// Environments of its targets.
    pub environments: BTreeSet<Id<kind::Environment>>,
    /// Data domains of its targets.
    pub data_domains: BTreeSet<Id<kind::DataDomain>>,
    /// Services whose data it deletes.
    pub deletes: BTreeSet<Id<kind::Service>>,
}

impl Footprint {
    /// Everybody in whose name it is asked for.
    pub fn agents(&self) -> impl Iterator<Item = &Id<kind::Agent>> {
        std::iter::once(&self.agent).chain(&self.via)
    }
}

/// A run that was claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastRun<'a> {
    /// What it touches.
    pub footprint: &'a Footprint,
    /// When it was claimed.
    pub claimed_at: Timestamp,
    /// It has not ended.
    pub open: bool,
    /// It ended and left nothing changed, so that it deleted nothing.
    pub without_effect: bool,
}

impl Default for Limits {
    /// No budget and no freeze; a deletion is remembered for a week.
    fn default() -> Self {
        Self { budgets: Vec::new(), freezes: Vec::new(), delete_window_ms: DEFAULT_DELETE_WINDOW }
    }
}

/// How long a deletion keeps its backup from being deleted, unless the operator says otherwise: a week, so that a weekend lies
/// in it.
pub const DEFAULT_DELETE_WINDOW: Millis = Millis::secs(7 * 24 * 60 * 60);

impl Limits {
    /// Checks budgets and freezes; reports every fault.
    pub fn new(
        budgets: Vec<Budget>,
        freezes: Vec<Freeze>,
        delete_window_ms: Millis,
    ) -> Result<Self, Vec<LimitsError>> {
        let mut faults = Vec::new();
        let size = budgets.len().max(freezes.len());
        if size > MAX_LIMITS {
            return Err(vec![LimitsError::Size(size)]);
        }
        let is_window = |window: Millis| (1..=MAX_WINDOW_MS).contains(&window.ms());
        if !is_window(delete_window_ms) {
            faults.push(LimitsError::Window { what: "`delete_window_ms`".to_owned(), got: delete_window_ms });
        }
        let mut names = BTreeSet::new();
        for budget in &budgets {
            if !names.insert(&budget.id) {
                faults.push(LimitsError::DuplicateBudget(budget.id.clone()));
            }
            if budget.concurrent.is_none() && budget.starts.is_none() {
                faults.push(LimitsError::Nothing(budget.id.clone()));
            }
            if let Some(starts) = budget.starts.filter(|starts| !is_window(starts.window_ms)) {
                let what = format!("budget `{}`", budget.id);
                faults.push(LimitsError::Window { what, got: starts.window_ms });
            }
        }
        let mut names = BTreeSet::new();
        for freeze in &freezes {
            if !names.insert(&freeze.id) {
                faults.push(LimitsError::DuplicateFreeze(freeze.id.clone()));
            }
            if freeze.until_ms <= freeze.from_ms {
                faults.push(LimitsError::Backwards(freeze.id.clone()));
            }
        }
        if faults.is_empty() { Ok(Self { budgets, freezes, delete_window_ms }) } else { Err(faults) }
    }

    /// Budgets, in the operator's order.
    #[must_use]
    pub fn budgets(&self) -> &[Budget] {
        &self.budgets
    }

    /// Freezes, in the operator's order.
    #[must_use]
    pub fn freezes(&self) -> &[Freeze] {
        &self.freezes
    }

    /// How far back runs matter to anything here.
    #[must_use]
    pub fn horizon(&self) -> Millis {
        let windows = self.budgets.iter().filter_map(|budget| budget.starts).map(|starts| starts.window_ms);
        windows.fold(self.delete_window_ms, Millis::max)
    }

    /// The freeze that is in force for any of these environments.
    #[must_use]
    pub fn freeze(&self, environments: &BTreeSet<Id<kind::Environment>>, now: Timestamp) -> Option<&Freeze> {
        self.freezes.iter().find(|freeze| {
            freeze.from_ms <= now && now < freeze.until_ms && concerns(&freeze.environments, environments)
        })
    }

    /// The first budget that has no room for one more run, and when it frees up; none for when that waits for runs to end.
    #[must_use]
    pub fn used_up(
        &self,
        next: &Footprint,
        past: &[PastRun<'_>],
        now: Timestamp,
    ) -> Option<(&Budget, Option<Timestamp>)> {
        self.budgets.iter().find_map(|budget| used_up(budget, next, past, now).map(|until| (budget, until)))
    }

    /// Whether a run that deletes the data of `deletes` would leave neither data nor backup: the other half was deleted in the
    /// same incident or within the window, or is deleted by the same plan.
    pub fn counterpart_deleted(
        &self,
        next: &Footprint,
        past: &[PastRun<'_>],
        now: Timestamp,
        are_counterparts: impl Fn(&Id<kind::Service>, &Id<kind::Service>) -> bool,
    ) -> bool {
        let since = |run: &&PastRun<'_>| {
            let same_incident = next.incident.is_some() && run.footprint.incident == next.incident;
            let recent = now.since(run.claimed_at) < self.delete_window_ms || run.claimed_at > now;
            (same_incident || recent || run.open) && !run.without_effect
        };
        let gone = past.iter().filter(since).flat_map(|run| &run.footprint.deletes);
        gone.chain(&next.deletes).any(|gone| next.deletes.iter().any(|one| are_counterparts(one, gone)))
    }

    /// The digest of all of it.
    pub fn digest(&self) -> Result<Digest, DigestError> {
        Digest::of(self)
    }
}

fn concerns(only: &BTreeSet<Id<kind::Environment>>, environments: &BTreeSet<Id<kind::Environment>>) -> bool {
    only.is_empty() || !only.is_disjoint(environments)
}

/// The values by which a run is counted: it takes from the budget of each.
fn values(per: Per, run: &Footprint) -> BTreeSet<&str> {
    match per {
        Per::Everything => [""].into(),
        Per::Agent => run.agents().map(Id::as_str).collect(),
        Per::ActionClass => {
            run.actions.iter().filter_map(|action| action.as_str().split('.').next()).collect()
        }
        Per::Environment => run.environments.iter().map(Id::as_str).collect(),
        Per::Incident => [run.incident.as_ref().map_or("", Id::as_str)].into(),
        Per::DataDomain => run.data_domains.iter().map(Id::as_str).collect(),
    }
}

/// Some when the budget has no room for `next`, with the time when it has.
fn used_up(
    budget: &Budget,
    next: &Footprint,
    past: &[PastRun<'_>],
    now: Timestamp,
) -> Option<Option<Timestamp>> {
    if !concerns(&budget.environments, &next.environments) {
        return None;
    }
    for value in values(budget.per, next) {
        let counted: Vec<_> = past
            .iter()
            .filter(|run| {
                concerns(&budget.environments, &run.footprint.environments)
                    && values(budget.per, run.footprint).contains(value)
            })
            .collect();
        let open = counted.iter().filter(|run| run.open).count();
        if budget.concurrent.is_some_and(|max| is_spent(open, max)) {
            return Some(None);
        }
        let Some(starts) = budget.starts else { continue };
        // A clock that was set back does not empty the window: what was claimed "later" counts.
        let is_in =
            |run: &&&PastRun<'_>| run.claimed_at > now || now.since(run.claimed_at) < starts.window_ms;
        let mut times: Vec<_> = counted.iter().filter(is_in).map(|run| run.claimed_at).collect();
        if is_spent(times.len(), starts.max) {
            times.sort_unstable();
            // It has room again when so many have left the window that fewer than `max` are in it.
            let leaving = times.len().saturating_sub(usize::try_from(starts.max).unwrap_or(usize::MAX));
            return Some(times.get(leaving).and_then(|time| time.plus(starts.window_ms).ok()));
        }
    }
    None
}

fn is_spent(used: usize, max: u32) -> bool {
    u32::try_from(used).map_or(true, |used| used >= max)
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
