//! The circuit breaker: an action that went badly often enough is not done any more in that environment, whoever asks.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Footprint, PastRun};
use crate::{Id, Millis, Timestamp, facts::Tripped, id::kind};

/// After so many bad runs of an action in an environment within a window, there are no more of it until the window is over or
/// people have looked at them and let the like go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Breaker {
    /// How many runs that failed, were undone, could not be undone, or are in doubt.
    pub bad: u32,
    /// Within how long.
    pub window_ms: Millis,
}

impl Default for Breaker {
    /// Three within an hour.
    fn default() -> Self {
        Self { bad: 3, window_ms: Millis::secs(60 * 60) }
    }
}

impl Breaker {
    /// Whether the operator said nothing.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The first action and environment of a plan for which it is open.
    pub(super) fn tripped(&self, next: &Footprint, past: &[PastRun<'_>], now: Timestamp) -> Option<Tripped> {
        let pairs = next
            .actions
            .iter()
            .flat_map(|action| next.environments.iter().map(move |environment| (action, environment)));
        pairs.into_iter().find_map(|(action, environment)| self.open_for(action, environment, past, now))
    }

    /// Those actions and environments for which it is open.
    pub(super) fn open(&self, past: &[PastRun<'_>], now: Timestamp) -> Vec<Tripped> {
        let of = |run: &PastRun<'_>| {
            let Footprint { actions, environments, .. } = run.footprint.clone();
            actions.into_iter().flat_map(move |action| {
                environments.clone().into_iter().map(move |one| (action.clone(), one))
            })
        };
        let pairs: BTreeSet<_> = past.iter().filter(|run| run.bad).flat_map(of).collect();
        let open = |(action, environment): &(_, _)| self.open_for(action, environment, past, now);
        pairs.iter().filter_map(open).collect()
    }

    fn open_for(
        &self,
        action: &Id<kind::Action>,
        environment: &Id<kind::Environment>,
        past: &[PastRun<'_>],
        now: Timestamp,
    ) -> Option<Tripped> {
        // From its end: a run that took an hour to go badly went badly just now. One in doubt has no end yet.
        let went_badly_at =
            |run: &PastRun<'_>| if run.open { now } else { run.ended_at.unwrap_or(run.claimed_at) };
        let counts = |run: &&PastRun<'_>| {
            let at = went_badly_at(run);
            run.bad
                && (at > now || now.since(at) < self.window_ms)
                && run.footprint.actions.contains(action)
                && run.footprint.environments.contains(environment)
        };
        let mut times: Vec<_> = past.iter().filter(counts).map(went_badly_at).collect();
        times.sort_unstable();
        let bad = u32::try_from(times.len()).unwrap_or(u32::MAX);
        if bad < self.bad {
            return None;
        }
        let leaving = usize::try_from(bad.saturating_sub(self.bad)).unwrap_or(usize::MAX);
        let until_ms = times.get(leaving).and_then(|time| time.plus(self.window_ms).ok());
        // One in doubt stays until people say how it ended.
        let waits = past.iter().filter(counts).filter(|run| run.open).count();
        let until_ms = until_ms.filter(|_| u32::try_from(waits).map_or(true, |waits| waits < self.bad));
        Some(Tripped { action: action.clone(), environment: environment.clone(), bad, until_ms })
    }
}
