//! Leases: a credential minted for one permit, its scope and its end.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Id, Millis, Timestamp, id::kind, permit::Permit, plan::Plan, time::TimeError};

/// Longest life of a lease in this version: what the longest action with its soak and undo needs.
pub const MAX_LEASE_MS: u64 = 15 * 60 * 1000;

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

impl LeaseInfo {
    /// The least lease for a permit and its plan: the plan's exact steps, ending after `ttl` or with the permit's undo
    /// window, whichever comes first.
    pub fn least(
        id: Id<kind::Lease>,
        permit: &Permit,
        plan: &Plan,
        ttl: Millis,
        now: Timestamp,
    ) -> Result<Self, TimeError> {
        let ttl = Millis::new(ttl.ms().min(MAX_LEASE_MS))?;
        let scopes = plan.steps().iter();
        Ok(Self {
            id,
            permit: permit.grant().id.clone(),
            scopes: scopes
                .map(|step| Scope { action: step.action.clone(), target: step.target.clone() })
                .collect(),
            expires_at_ms: now.plus(ttl)?.min(permit.grant().undo_until_ms),
        })
    }

    /// Whether the lease covers a use at `now`. The end itself is too late; a lease of no length is never valid.
    #[must_use]
    pub fn covers(&self, scope: &Scope, now: Timestamp) -> bool {
        now < self.expires_at_ms && self.scopes.contains(scope)
    }
}
