//! The table of live leases: who holds a secret, for what, until when. Only hashes of secrets are in it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use holdpoint_domain::{
    Digest, Id, Millis, Timestamp,
    id::kind,
    lease::{Lease, LeaseInfo, MAX_LEASE_MS, Scope},
};

use crate::step::Taken;

/// Most leases at one time: one a run, and far more runs than a machine has.
pub const MAX_LEASES: usize = 4096;
/// Most ended leases that are remembered: a few megabytes.
const MAX_ENDED: usize = 65_536;

/// Leases that local executors take. Shared by the issuer, which writes it, and the executors, which ask it at every
/// use: expiry needs no sweeper.
#[derive(Debug, Default)]
pub struct LeaseTable {
    rows: Mutex<Rows>,
}

#[derive(Debug, Default)]
struct Rows {
    /// What was minted, and the SHA-256 of its secret.
    live: BTreeMap<Id<kind::Lease>, (LeaseInfo, Digest)>,
    /// What ended, perhaps before it was minted, and until when it is remembered.
    ended: BTreeMap<Id<kind::Lease>, Timestamp>,
}

/// Why a lease is no good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeaseRefusal {
    /// Revoked, from before a restart, or never minted.
    #[error("the lease is not known here: it was revoked, or it is from before a restart")]
    Unknown,
    /// Another secret, or other words about the lease than were minted.
    #[error("the lease is not the one that was minted")]
    Forged,
    /// Over, or for something else.
    #[error("the lease is over, or is not for this action and target")]
    NotCovered,
}

impl LeaseTable {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a lease may be used for `scope` at `now`: its secret, its words, its scope and its end.
    pub fn check(&self, lease: &Lease, scope: &Scope, now: Timestamp) -> Result<(), LeaseRefusal> {
        let rows = self.rows();
        let (info, secret) = rows.live.get(&lease.info.id).ok_or(LeaseRefusal::Unknown)?;
        let shown = Digest::of_bytes(lease.secret.expose().as_bytes());
        let same = verify_slices_are_equal(shown.as_bytes(), secret.as_bytes()).is_ok();
        if !same || *info != lease.info {
            return Err(LeaseRefusal::Forged);
        }
        // What counts is what was minted, not what the bearer says.
        if info.covers(scope, now) { Ok(()) } else { Err(LeaseRefusal::NotCovered) }
    }

    /// Adds a lease; false when its id was used before or the table is full.
    pub(super) fn insert(&self, info: LeaseInfo, secret: Digest, now: Timestamp, _: &Taken) -> bool {
        let mut rows = self.rows();
        if rows.live.len() >= MAX_LEASES {
            rows.live.retain(|_, (info, _)| now < info.expires_at_ms);
        }
        let used = rows.live.contains_key(&info.id) || rows.ended.contains_key(&info.id);
        if used || rows.live.len() >= MAX_LEASES {
            return false;
        }
        rows.live.insert(info.id.clone(), (info, secret));
        true
    }

    /// Ends a lease, known or not. An id that is revoked while its lease is being minted stays dead.
    pub(super) fn end(&self, id: &Id<kind::Lease>, now: Timestamp, _: &Taken) {
        let mut rows = self.rows();
        rows.live.remove(id);
        if rows.ended.len() >= MAX_ENDED {
            rows.ended.retain(|_, forget_at| now < *forget_at);
        }
        if rows.ended.len() < MAX_ENDED {
            // Longer than any request to mint it can still be under way.
            let forget_at = Millis::new(MAX_LEASE_MS).and_then(|span| now.plus(span)).unwrap_or(now);
            rows.ended.insert(id.clone(), forget_at);
        }
    }

    /// Whether a use of this lease would get past the first check.
    pub(super) fn is_live(&self, id: &Id<kind::Lease>) -> bool {
        self.rows().live.contains_key(id)
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        // Every change is one insert or one removal: a panic leaves no row half-made.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
