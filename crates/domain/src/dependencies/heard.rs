//! What a service graph has said so far: quiet is not gone.

use std::collections::BTreeMap;

use super::{DependenciesError, Dependency, Observed, Reading};
use crate::{Id, Millis, Timestamp, id::kind};

/// Most dependencies that are kept of one service graph. Somebody who invents names fills it; then it is read no more, and decisions
/// are stricter for that.
pub const MAX_HEARD: usize = 100_000;

/// What was heard of one service graph.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    // INVARIANT: at most `MAX_HEARD`.
    last_seen: BTreeMap<Dependency, Timestamp>,
    read_at: Option<Timestamp>,
    traffic: Traffic,
}

/// Requests a second to each service, as one service graph counts them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Traffic {
    // INVARIANT: each is above 0 and finite; `all` is their sum.
    rates: BTreeMap<Id<kind::Service>, f64>,
    all: f64,
}

/// An observation that is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeardError {
    /// Too much was heard.
    #[error("expected at most {MAX_HEARD} dependencies in a service graph, got more")]
    TooMany,
    /// Nothing was seen: that nobody calls anybody is no measurement.
    #[error("the service graph shows no calls")]
    Nothing,
    /// The first observation says nothing of what was before it: what is quiet just now would be gone.
    #[error("nothing was heard of the service graph so far, and this says nothing of what it showed before")]
    NoPast,
    /// What was seen is older than what was seen before.
    #[error("what the service graph shows is older than what it showed before")]
    Older,
}

impl Heard {
    /// Takes what was seen at a time. What is not among it stays until it was not seen for `keep`. Refused observations change nothing.
    pub fn hear(&mut self, observed: Observed, at: Timestamp, keep: Millis) -> Result<(), HeardError> {
        if observed.calls.is_empty() {
            return Err(HeardError::Nothing);
        }
        if self.read_at.is_some_and(|before| before > at) {
            return Err(HeardError::Older);
        }
        if self.read_at.is_none() && observed.earlier.is_none() {
            return Err(HeardError::NoPast);
        }
        let mut last_seen = self.last_seen.clone();
        for (call, seen) in observed.earlier.into_iter().flatten() {
            let latest = last_seen.entry(call).or_insert(seen);
            *latest = seen.max(*latest);
        }
        last_seen.retain(|_, seen| at.since(*seen) <= keep);
        last_seen.extend(observed.calls.into_iter().map(|call| (call, at)));
        if last_seen.len() > MAX_HEARD {
            return Err(HeardError::TooMany);
        }
        *self = Self { last_seen, read_at: Some(at), traffic: Traffic::new(observed.rates) };
        Ok(())
    }

    /// All that is kept, as a reading of `source`; none before anything was heard.
    pub fn reading(&self, source: &Id<kind::Source>) -> Result<Option<Reading>, DependenciesError> {
        let Some(read_at) = self.read_at else { return Ok(None) };
        let calls = self.last_seen.keys().cloned();
        Reading::new(source.clone(), read_at, [], calls).map(Some)
    }

    /// Whether nothing was heard yet: the next observation has to say what was before it.
    #[must_use]
    pub const fn is_new(&self) -> bool {
        self.read_at.is_none()
    }

    /// How much is requested.
    #[must_use]
    pub const fn traffic(&self) -> &Traffic {
        &self.traffic
    }
}

impl Traffic {
    fn new(mut rates: BTreeMap<Id<kind::Service>, f64>) -> Self {
        rates.retain(|_, rate| rate.is_finite() && *rate > 0.0);
        let all = rates.values().sum();
        Self { rates, all }
    }

    /// The share of all requests that goes to `services`, in percent, rounded up; none where nothing is requested, or nobody can tell.
    #[must_use]
    pub fn share_percent<'a>(
        &self,
        services: impl IntoIterator<Item = &'a Id<kind::Service>>,
    ) -> Option<u32> {
        let some: f64 = services.into_iter().filter_map(|id| self.rates.get(id)).sum();
        let share = (some / self.all * 100.0).ceil();
        if !share.is_finite() {
            return None;
        }
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a whole number between 0 and 100"
        )]
        Some(share.clamp(0.0, 100.0) as u32)
    }
}
