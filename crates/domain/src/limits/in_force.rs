//! What limits hold against whoever comes next: for people who look. Nothing is decided from it.

use std::collections::BTreeSet;

use super::{Area, Freeze, Limits, PastRun, budget};
use crate::{
    Id, Timestamp,
    facts::{Nearness, Tripped},
    id::kind,
};

/// A limit that holds something back now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InForce {
    /// A freeze.
    Frozen {
        /// Its name.
        freeze: Id<kind::Freeze>,
        /// Only these environments; all when empty.
        environments: BTreeSet<Id<kind::Environment>>,
        /// Its end.
        until_ms: Timestamp,
    },
    /// A budget without room for one more run of one step.
    OverBudget {
        /// Its name.
        budget: Id<kind::Budget>,
        /// The agent, service, incident and so on whose budget it is; empty for everything, and for plans without an incident.
        of: String,
        /// When it has room; none for when that waits for runs to end.
        until_ms: Option<Timestamp>,
    },
    /// A run that keeps others out of its area.
    Busy {
        /// Its plan.
        plan: Id<kind::Plan>,
        /// The area.
        area: Area,
        /// Why.
        why: Nearness,
        /// Until when; none while it has not ended.
        until_ms: Option<Timestamp>,
    },
    /// A run that may be the cause of what is seen in its area.
    Soaking {
        /// Its plan.
        plan: Id<kind::Plan>,
        /// The area.
        area: Area,
        /// Until when.
        until_ms: Timestamp,
    },
    /// An open breaker.
    Broken(Tripped),
}

impl Limits {
    /// What they hold back at `now`, after the runs of `past`: freezes, then budgets, then breakers, then areas.
    #[must_use]
    pub fn in_force(&self, past: &[PastRun<'_>], now: Timestamp) -> Vec<InForce> {
        let frozen = self.frozen(now).map(|freeze| {
            let Freeze { id: freeze, environments, until_ms, .. } = freeze;
            InForce::Frozen { freeze, environments, until_ms }
        });
        let mut found: Vec<_> = frozen.collect();
        for budget in self.budgets() {
            let full = budget::full_for(budget, past, now);
            found.extend(full.into_iter().map(|(of, until_ms)| InForce::OverBudget {
                budget: budget.id.clone(),
                of: of.to_owned(),
                until_ms,
            }));
        }
        found.extend(self.breaker().open(past, now).into_iter().map(InForce::Broken));
        let neighbourhood = self.neighbourhood();
        for run in past.iter().filter(|run| !run.footprint.area.is_empty()) {
            let (plan, area) = (run.plan.clone(), run.footprint.area.clone());
            if let Some((why, until_ms)) = neighbourhood.keeps(run, now) {
                found.push(InForce::Busy { plan, area, why, until_ms });
            } else if let Some(until_ms) = neighbourhood.soaks(run, now) {
                found.push(InForce::Soaking { plan, area, until_ms });
            }
        }
        found
    }
}
