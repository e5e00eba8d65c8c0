//! Leases: a credential minted for one permit, its scope and its end.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    Id, Millis, Timestamp,
    id::kind,
    permit::Permit,
    plan::{Plan, Step},
    time::TimeError,
};

/// Longest life of a lease in this version: what the longest action with its soak and undo needs.
pub const MAX_LEASE_MS: u64 = 15 * 60 * 1000;
/// Shortest life that is worth minting a credential for. Backends count in seconds, so nothing is rounded to no life at all.
pub const MIN_LEASE_MS: u64 = 1_000;

/// How long a lease may live: more than nothing, and never for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Ttl(
    // INVARIANT: between MIN_LEASE_MS and MAX_LEASE_MS.
    Millis,
);

/// On what terms a backend leases, by its operator's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// Its name; none for the table of bearer leases on this machine.
    pub backend: Option<Id<kind::Backend>>,
    /// The longest life that the operator allows.
    pub max: Ttl,
    /// The shortest life that the backend can give.
    pub min: Ttl,
    /// The lease hangs on an object that can be removed, which ends it before the shortest life is over.
    pub ends_early: bool,
}

/// Why there is no lease.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// A life out of bounds.
    #[error("expected a life of {MIN_LEASE_MS} to {MAX_LEASE_MS} ms, got {0} ms")]
    Ttl(u64),
    /// The permit is over, or about to be.
    #[error("expected at least {MIN_LEASE_MS} ms until the permit's undo window ends, got {0} ms")]
    TooLate(u64),
    /// The backend cannot make it as short as it has to be.
    #[error("the backend leases for at least {min} ms, and the plan and its operator allow {life} ms")]
    Minimum {
        /// The backend's shortest life.
        min: u64,
        /// The longest that is allowed.
        life: u64,
    },
    /// No step to lease for.
    #[error("expected at least one step to lease for")]
    NoScope,
    /// Beyond what a clock can say.
    #[error(transparent)]
    Time(#[from] TimeError),
}

/// What a lease is good for: exactly the step of the plan, nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// The action.
    pub action: Id<kind::Action>,
    /// The target.
    pub target: Id<kind::Target>,
}

/// What everybody may know of a lease; the secret is apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseInfo {
    /// Its id.
    pub id: Id<kind::Lease>,
    /// What minted it; none for the table of bearer leases on this machine, which is all that there was at first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<Id<kind::Backend>>,
    /// The permit it was minted for.
    pub permit: Id<kind::Permit>,
    /// What it is good for, one scope a step.
    pub scopes: Vec<Scope>,
    /// When it ends by itself.
    pub expires_at_ms: Timestamp,
}

/// A leased credential's secret. Shows as `***`, is never serialised, and is overwritten by nothing but its end.
#[derive(Clone, PartialEq, Eq)]
pub struct LeaseSecret(String);

/// A lease in the hands of the executor.
#[derive(Debug, Clone)]
pub struct Lease {
    /// What everybody may know.
    pub info: LeaseInfo,
    /// What only the executor may know.
    pub secret: LeaseSecret,
}

impl LeaseSecret {
    /// Wraps a secret.
    #[must_use]
    pub const fn new(secret: String) -> Self {
        Self(secret)
    }

    /// The secret itself, for the one call that uses it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for LeaseSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Ttl {
    /// The longest life there is.
    pub const LONGEST: Self = Self(Millis::secs(15 * 60));
    /// The shortest life there is.
    pub const SHORTEST: Self = Self(Millis::secs(1));

    /// A life in milliseconds.
    pub fn new(ms: u64) -> Result<Self, LeaseError> {
        if !(MIN_LEASE_MS..=MAX_LEASE_MS).contains(&ms) {
            return Err(LeaseError::Ttl(ms));
        }
        Ok(Self(Millis::new(ms)?))
    }

    /// The life as a span.
    #[must_use]
    pub const fn span(self) -> Millis {
        self.0
    }
}

impl TryFrom<u64> for Ttl {
    type Error = LeaseError;
    fn try_from(ms: u64) -> Result<Self, LeaseError> {
        Self::new(ms)
    }
}

impl From<Ttl> for u64 {
    fn from(ttl: Ttl) -> Self {
        ttl.0.ms()
    }
}

impl Terms {
    /// The terms of the table of bearer leases on this machine.
    #[must_use]
    pub const fn local() -> Self {
        Self { backend: None, max: Ttl::LONGEST, min: Ttl::SHORTEST, ends_early: true }
    }
}

impl Scope {
    /// What a step needs.
    #[must_use]
    pub fn of(step: &Step) -> Self {
        Self { action: step.action.clone(), target: step.target.clone() }
    }
}

impl LeaseInfo {
    /// The least lease for a permit and some steps of its plan: exactly these, for as long as they `need`, as the operator
    /// allows, and as the permit's undo window is open, whichever is shortest. A backend that cannot make it that short is
    /// refused, unless the lease can be ended sooner.
    pub fn least<'a>(
        id: Id<kind::Lease>,
        permit: &Permit,
        terms: &Terms,
        steps: impl IntoIterator<Item = &'a Step>,
        need: Millis,
        now: Timestamp,
    ) -> Result<Self, LeaseError> {
        let left = permit.grant().undo_until_ms.since(now).ms();
        if left < MIN_LEASE_MS {
            return Err(LeaseError::TooLate(left));
        }
        let life = Ttl::new(need.ms().min(terms.max.span().ms()).min(left))?;
        if life < terms.min && !terms.ends_early {
            return Err(LeaseError::Minimum { min: terms.min.into(), life: life.into() });
        }
        let scopes: Vec<_> = steps.into_iter().map(Scope::of).collect();
        if scopes.is_empty() {
            return Err(LeaseError::NoScope);
        }
        let (backend, permit) = (terms.backend.clone(), permit.grant().id.clone());
        Ok(Self { id, backend, permit, scopes, expires_at_ms: now.plus(life.span())? })
    }

    /// Whether every scope is a step of `plan`, and there is one.
    #[must_use]
    pub fn is_within(&self, plan: &Plan) -> bool {
        let in_plan = |scope: &Scope| plan.steps().iter().any(|step| *scope == Scope::of(step));
        !self.scopes.is_empty() && self.scopes.len() <= plan.steps().len() && self.scopes.iter().all(in_plan)
    }

    /// Whether the lease covers a use at `now`. The end itself is too late; a lease of no length is never valid.
    #[must_use]
    pub fn covers(&self, scope: &Scope, now: Timestamp) -> bool {
        now < self.expires_at_ms && self.scopes.contains(scope)
    }
}
