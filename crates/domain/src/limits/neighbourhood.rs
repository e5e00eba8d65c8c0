//! How far runs stay away from each other, whichever agents ask.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Area, Footprint, PastRun, Touch};
use crate::{
    Id, Millis, Timestamp,
    blast::Blast,
    dependencies::Dependencies,
    facts::{Nearness, Neighbour},
    fate::Shared,
    graph::Scratch,
    id::kind,
};

/// Most services that an area lists. A run that disturbs more touches every other run.
pub const MAX_AREA: usize = 512;

/// No two runs at once whose areas touch; none for a while after one; and for a longer while a person looks first, because what the
/// next one wants to mend may be what the last one did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Neighbourhood {
    /// Whether runs stay apart at all.
    pub apart: bool,
    /// How many dependencies away a service still belongs to the area. Critical ones belong to it at any distance.
    pub depth: u32,
    /// For how long after a run nothing else runs in its area.
    pub cool_down_ms: Millis,
    /// For how long after a run a plan in its area needs a person.
    pub soak_ms: Millis,
}

impl Default for Neighbourhood {
    /// One dependency away, half a minute of nothing, and five minutes in which a person looks.
    fn default() -> Self {
        Self { apart: true, depth: 1, cool_down_ms: Millis::secs(30), soak_ms: Millis::secs(5 * 60) }
    }
}

impl Neighbourhood {
    /// Runs do not stay apart: only one and the same target is acted on by one of them at a time.
    pub const OFF: Self =
        Self { apart: false, depth: 0, cool_down_ms: Millis::secs(0), soak_ms: Millis::secs(0) };

    /// Whether the operator said nothing.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The area of a plan that acts on `direct`, whose targets name `shares`, and that disturbs `blast`. Where nobody knows what needs a service, it is everywhere.
    #[must_use]
    pub fn area(
        &self,
        dependencies: &Dependencies,
        direct: &BTreeSet<Id<kind::Service>>,
        shares: BTreeSet<Shared>,
        blast: &Blast,
    ) -> Area {
        if !self.apart {
            return Area::default();
        }
        let mut services: BTreeSet<_> = direct.union(&blast.critical).cloned().collect();
        let starts: Vec<_> = direct.iter().cloned().collect();
        // One more than there may be: whether that is too many is seen below.
        let limit = MAX_AREA.saturating_add(1);
        let near = dependencies.reached(&starts, limit, self.depth, &mut Scratch::new());
        let Ok(near) = near else { return Area { services: direct.clone(), shares, everywhere: true } };
        services.extend(near.listed.into_iter().map(|one| one.service));
        if services.len() > MAX_AREA {
            return Area { services: direct.clone(), shares, everywhere: true };
        }
        Area { services, shares, everywhere: false }
    }

    /// The run that is too near: one that is open, or one that ended just now.
    pub(super) fn neighbour(
        &self,
        next: &Footprint,
        past: &[PastRun<'_>],
        now: Timestamp,
    ) -> Option<Neighbour> {
        let near = |run: &PastRun<'_>| {
            let (service, shared) = match next.area.touches(&run.footprint.area)? {
                Touch::Service(service) => (Some(service.clone()), None),
                Touch::Shared(shared) => (None, Some(shared.clone())),
                Touch::Everywhere => (None, None),
            };
            let (why, until_ms) = self.keeps(run, now)?;
            Some(Neighbour { plan: run.plan.clone(), service, shared, why, until_ms })
        };
        // Those that are open first, then whichever frees up last: the answer says when it is worth trying again.
        past.iter().filter_map(near).max_by_key(|near| (near.why == Nearness::Running, near.until_ms))
    }

    /// The run that ended last in the area, where its soak is not over: what is seen there may be its doing.
    pub(super) fn own_doing(
        &self,
        next: &Footprint,
        past: &[PastRun<'_>],
        now: Timestamp,
    ) -> Option<Id<kind::Plan>> {
        let soaks = |run: &&PastRun<'_>| {
            self.soaks(run, now).is_some() && next.area.touches(&run.footprint.area).is_some()
        };
        past.iter().filter(soaks).max_by_key(|run| run.ended_at).map(|run| run.plan.clone())
    }

    /// Whether a run keeps others out of its area, why, and until when.
    pub(super) fn keeps(&self, run: &PastRun<'_>, now: Timestamp) -> Option<(Nearness, Option<Timestamp>)> {
        if run.open {
            return Some((Nearness::Running, None));
        }
        within(run, self.cool_down_ms, now).map(|until| (Nearness::CoolingDown, Some(until)))
    }

    /// Until when what is seen in a run's area may be its doing.
    pub(super) fn soaks(&self, run: &PastRun<'_>, now: Timestamp) -> Option<Timestamp> {
        if run.open { None } else { within(run, self.soak_ms, now) }
    }
}

/// The end of a span after a run that had an effect, where it is not over. A clock that was set back ends none.
fn within(run: &PastRun<'_>, span: Millis, now: Timestamp) -> Option<Timestamp> {
    let ended_at = run.ended_at.filter(|_| !run.without_effect)?;
    let until = ended_at.plus(span).ok()?;
    (now < until).then_some(until)
}
