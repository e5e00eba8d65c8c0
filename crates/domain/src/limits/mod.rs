//! Limits: budgets of runs, what one plan may disturb, the distance between runs, the breaker, and freezes. A control input: they
//! are activated by digest like the policy.

mod breaker;
mod budget;
mod calendar;
mod in_force;
mod neighbourhood;
mod plan;
mod run;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    Digest, Id, Millis, Timestamp,
    blast::Blast,
    digest::DigestError,
    facts::{Brakes, OverBudget},
    id::kind,
};

pub use breaker::Breaker;
pub use budget::{Budget, Per, Starts};
pub use calendar::{Calendar, MAX_WINDOWS, Window};
pub use in_force::InForce;
pub use neighbourhood::{MAX_AREA, Neighbourhood};
pub use plan::{ErrorBudget, PlanLimit};
pub use run::{Area, Footprint, PastRun, Touch};

/// Most budgets, and most of everything else that is listed.
pub const MAX_LIMITS: usize = 256;
/// Longest window of a budget: what the store keeps at hand of past runs.
pub const MAX_WINDOW_MS: u64 = 31 * 24 * 60 * 60 * 1000;
/// How long a run may take that still counts in the times after it.
const LONGEST_RUN: Millis = Millis::secs(24 * 60 * 60);

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

/// What an operator writes: the file `limits.yaml`. What is left out is as in [`LimitsSpec::default`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsSpec {
    /// How many runs at once and in a while.
    pub budgets: Vec<Budget>,
    /// When nothing new is changed.
    pub freezes: Vec<Freeze>,
    /// Calendars of freezes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub calendars: Vec<Calendar>,
    /// How long a deletion keeps its backup from being deleted.
    pub delete_window_ms: Millis,
    /// What one plan may disturb, beyond the caps of the catalogue.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plans: Vec<PlanLimit>,
    /// How far runs stay away from each other.
    #[serde(skip_serializing_if = "Neighbourhood::is_default")]
    pub neighbourhood: Neighbourhood,
    /// When an action is not done any more because it went badly.
    #[serde(skip_serializing_if = "Breaker::is_default")]
    pub breaker: Breaker,
    /// Conditions that must hold, or a person decides: what is left of a service's error budget.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub error_budgets: Vec<ErrorBudget>,
}

/// Limits that were checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Limits {
    // INVARIANT: ids are unique; every budget limits something; windows are within MAX_WINDOW_MS; those of calendars are in order and
    // apart from each other.
    spec: LimitsSpec,
}

/// What is wrong with limits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitsError {
    /// Two budgets, limits of plans or error budgets with one name.
    #[error("budget `{0}` stands twice")]
    DuplicateBudget(Id<kind::Budget>),
    /// Two freezes with one name.
    #[error("freeze `{0}` stands twice")]
    DuplicateFreeze(Id<kind::Freeze>),
    /// A budget that limits nothing.
    #[error("budget `{0}` limits nothing: expected {1}")]
    Nothing(Id<kind::Budget>, &'static str),
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
    /// A calendar with more events than anybody looks through.
    #[error("calendar `{0}`: expected events at no more than {MAX_WINDOWS} times, got {1}")]
    Calendar(Id<kind::Freeze>, usize),
    /// A breaker that is open from the first.
    #[error("`breaker.bad`: expected at least 1, got 0")]
    Breaker,
    /// Too many.
    #[error("expected at most {MAX_LIMITS} of each kind of limits, got {0}")]
    Size(usize),
}

impl Default for LimitsSpec {
    /// No budget and no freeze; a deletion is remembered for a week; runs stay one dependency away from each other; three bad runs
    /// within an hour stop an action in its environment.
    fn default() -> Self {
        Self {
            budgets: Vec::new(),
            freezes: Vec::new(),
            calendars: Vec::new(),
            delete_window_ms: DEFAULT_DELETE_WINDOW,
            plans: Vec::new(),
            neighbourhood: Neighbourhood::default(),
            breaker: Breaker::default(),
            error_budgets: Vec::new(),
        }
    }
}

/// How long a deletion keeps its backup from being deleted, unless the operator says otherwise: a week, so that a weekend lies
/// in it.
pub const DEFAULT_DELETE_WINDOW: Millis = Millis::secs(7 * 24 * 60 * 60);

impl Limits {
    /// Checks limits; reports every fault.
    pub fn new(mut spec: LimitsSpec) -> Result<Self, Vec<LimitsError>> {
        let sizes = [
            spec.budgets.len(),
            spec.freezes.len(),
            spec.calendars.len(),
            spec.plans.len(),
            spec.error_budgets.len(),
        ];
        if let Some(size) = sizes.into_iter().find(|size| *size > MAX_LIMITS) {
            return Err(vec![LimitsError::Size(size)]);
        }
        let mut faults = Vec::new();
        spec.check_windows(&mut faults);
        let mut names = BTreeSet::new();
        let budgets = spec.budgets.iter().map(|budget| &budget.id);
        let plans = spec.plans.iter().map(|limit| &limit.id);
        for id in budgets.chain(plans).chain(spec.error_budgets.iter().map(|budget| &budget.id)) {
            if !names.insert(id) {
                faults.push(LimitsError::DuplicateBudget(id.clone()));
            }
        }
        for budget in spec.budgets.iter().filter(|budget| budget.limits_nothing()) {
            faults.push(LimitsError::Nothing(budget.id.clone(), "`concurrent`, `starts` or `steps`"));
        }
        for limit in spec.plans.iter().filter(|limit| limit.limits_nothing()) {
            let expected =
                "`targets`, `services`, `critical`, `environments_touched` or `replica_share_percent`";
            faults.push(LimitsError::Nothing(limit.id.clone(), expected));
        }
        let mut names = BTreeSet::new();
        for freeze in &spec.freezes {
            if !names.insert(freeze.id.clone()) {
                faults.push(LimitsError::DuplicateFreeze(freeze.id.clone()));
            }
            if freeze.until_ms <= freeze.from_ms {
                faults.push(LimitsError::Backwards(freeze.id.clone()));
            }
        }
        for calendar in &mut spec.calendars {
            if !names.insert(calendar.id.clone()) {
                faults.push(LimitsError::DuplicateFreeze(calendar.id.clone()));
            }
            calendar.windows = Calendar::merged(std::mem::take(&mut calendar.windows));
            if calendar.windows.len() > MAX_WINDOWS {
                faults.push(LimitsError::Calendar(calendar.id.clone(), calendar.windows.len()));
            }
            if calendar.windows.iter().any(|window| window.until_ms <= window.from_ms) {
                faults.push(LimitsError::Backwards(calendar.id.clone()));
            }
        }
        if spec.breaker.bad == 0 {
            faults.push(LimitsError::Breaker);
        }
        if faults.is_empty() { Ok(Self { spec }) } else { Err(faults) }
    }

    /// Budgets, in the operator's order.
    #[must_use]
    pub fn budgets(&self) -> &[Budget] {
        &self.spec.budgets
    }

    /// Freezes, in the operator's order.
    #[must_use]
    pub fn freezes(&self) -> &[Freeze] {
        &self.spec.freezes
    }

    /// Calendars of freezes, in the operator's order.
    #[must_use]
    pub fn calendars(&self) -> &[Calendar] {
        &self.spec.calendars
    }

    /// What one plan may disturb, in the operator's order.
    #[must_use]
    pub fn plans(&self) -> &[PlanLimit] {
        &self.spec.plans
    }

    /// Error budgets, in the operator's order.
    #[must_use]
    pub fn error_budgets(&self) -> &[ErrorBudget] {
        &self.spec.error_budgets
    }

    /// How far runs stay away from each other.
    #[must_use]
    pub const fn neighbourhood(&self) -> &Neighbourhood {
        &self.spec.neighbourhood
    }

    /// When an action is not done any more because it went badly.
    #[must_use]
    pub const fn breaker(&self) -> &Breaker {
        &self.spec.breaker
    }

    /// How far back runs matter to anything here.
    #[must_use]
    pub fn horizon(&self) -> Millis {
        let spec = &self.spec;
        let windows = spec.budgets.iter().flat_map(Budget::windows);
        let after = spec.neighbourhood.cool_down_ms.max(spec.neighbourhood.soak_ms);
        let after = Millis::new(after.ms().saturating_add(LONGEST_RUN.ms()).min(MAX_WINDOW_MS));
        windows.chain(after).chain([spec.breaker.window_ms]).fold(spec.delete_window_ms, Millis::max)
    }

    /// The freezes that are in force, those of calendars after the others.
    pub fn frozen(&self, now: Timestamp) -> impl Iterator<Item = Freeze> {
        let lasts = move |freeze: &&Freeze| freeze.from_ms <= now && now < freeze.until_ms;
        let of = move |calendar: &Calendar| {
            let Window { from_ms, until_ms } = calendar.at(now)?;
            let (id, environments) = (calendar.id.clone(), calendar.environments.clone());
            Some(Freeze { id, environments, from_ms, until_ms })
        };
        let spec = &self.spec;
        spec.freezes.iter().filter(lasts).cloned().chain(spec.calendars.iter().filter_map(of))
    }

    /// The freeze that is in force for any of these environments.
    #[must_use]
    pub fn freeze(&self, environments: &BTreeSet<Id<kind::Environment>>, now: Timestamp) -> Option<Freeze> {
        self.frozen(now).find(|freeze| concerns(&freeze.environments, environments))
    }

    /// The first budget that has no room for one more run, and when it frees up; none for when that waits for runs to end.
    #[must_use]
    pub fn used_up(
        &self,
        next: &Footprint,
        past: &[PastRun<'_>],
        now: Timestamp,
    ) -> Option<(&Budget, Option<Timestamp>)> {
        let mut budgets = self.spec.budgets.iter();
        budgets.find_map(|budget| budget::used_up(budget, next, past, now).map(|until| (budget, until)))
    }

    /// Puts into `brakes` what these limits hold against one more run that would disturb `blast`, after the runs of `past`.
    /// Everything else in them stays as it is.
    pub fn hold_back(
        &self,
        next: &Footprint,
        blast: &Blast,
        past: &[PastRun<'_>],
        now: Timestamp,
        brakes: &mut Brakes,
    ) {
        brakes.frozen = self.freeze(&next.environments, now).is_some();
        brakes.over_budget = self
            .used_up(next, past, now)
            .map(|(budget, until_ms)| OverBudget { budget: budget.id.clone(), until_ms });
        let mut plans = self.spec.plans.iter();
        brakes.plan_limit =
            plans.find(|limit| limit.is_exceeded_by(blast, &next.sums)).map(|limit| limit.id.clone());
        brakes.neighbour = self.spec.neighbourhood.neighbour(next, past, now);
        brakes.own_doing = self.spec.neighbourhood.own_doing(next, past, now);
        brakes.breaker = self.spec.breaker.tripped(next, past, now);
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
        let window = self.spec.delete_window_ms;
        let since = |run: &&PastRun<'_>| {
            let same_incident = run.footprint.shares_incident(next);
            let recent = now.since(run.claimed_at) < window || run.claimed_at > now;
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

impl LimitsSpec {
    fn check_windows(&self, faults: &mut Vec<LimitsError>) {
        let named = |what: &str, window: Millis| (what.to_owned(), window);
        let budgets = self.budgets.iter().flat_map(|budget| {
            budget.windows().map(|window| (format!("budget `{}`", budget.id), window)).collect::<Vec<_>>()
        });
        let mut windows = vec![
            named("`delete_window_ms`", self.delete_window_ms),
            named("`breaker.window_ms`", self.breaker.window_ms),
        ];
        // None of these two is a way of saying that there is none.
        let after = [
            named("`neighbourhood.cool_down_ms`", self.neighbourhood.cool_down_ms),
            named("`neighbourhood.soak_ms`", self.neighbourhood.soak_ms),
        ];
        windows.extend(after.into_iter().filter(|(_, window)| window.ms() > 0));
        for (what, got) in windows.into_iter().chain(budgets) {
            if !(1..=MAX_WINDOW_MS).contains(&got.ms()) {
                faults.push(LimitsError::Window { what, got });
            }
        }
    }
}

fn concerns(only: &BTreeSet<Id<kind::Environment>>, environments: &BTreeSet<Id<kind::Environment>>) -> bool {
    only.is_empty() || !only.is_disjoint(environments)
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod distance_tests;
