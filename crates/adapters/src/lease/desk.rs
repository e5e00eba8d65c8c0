//! What every issuer checks before it mints anything, whatever the backend.

use std::{fmt, sync::Arc};

use holdpoint_app::{port::Clock, receipt::Receipt};
use holdpoint_domain::{
    Timestamp,
    lease::{LeaseInfo, MAX_LEASE_MS},
    permit::Permit,
    plan::Plan,
};
use holdpoint_ledger::key::VerifierKey;

use crate::executor::Pins;

/// The issuer's own check. It believes nobody: the permit is opened again with the pinned key, the intent's receipt is checked
/// again with the log's, and scope and life are bounded by the plan.
#[derive(Clone)]
pub struct Desk {
    pins: Pins,
    log: VerifierKey,
    clock: Arc<dyn Clock>,
}

impl Desk {
    /// A desk with pins of its own and the key of the ledger's checkpoints.
    #[must_use]
    pub const fn new(pins: Pins, log: VerifierKey, clock: Arc<dyn Clock>) -> Self {
        Self { pins, log, clock }
    }

    /// Whether a lease may be minted, and since when: the time of the check.
    pub(super) fn check(
        &self,
        info: &LeaseInfo,
        permit: &Permit,
        receipt: &Receipt,
        plan: &Plan,
    ) -> Result<Timestamp, String> {
        let chain = self.pins.open(permit.jws(), plan).map_err(|refusal| refusal.line())?;
        self.check_receipt(receipt, chain.permit())?;
        let grant = chain.permit().grant();
        if info.permit != grant.id {
            return Err(format!("lease: expected permit `{}`, got `{}`", grant.id, info.permit));
        }
        if !info.is_within(plan) {
            return Err("scope: expected scopes that are steps of the plan, and at least one".to_owned());
        }
        let now = self.clock.now();
        Pins::check_grant(chain.permit(), now).map_err(|refusal| refusal.line())?;
        // Zero is no life, and never one without end.
        if info.expires_at_ms <= now {
            return Err("life: expected an end in the future".to_owned());
        }
        if info.expires_at_ms.since(now).ms() > MAX_LEASE_MS {
            return Err(format!("life: expected at most {MAX_LEASE_MS} ms"));
        }
        if info.expires_at_ms > grant.undo_until_ms {
            return Err("life: expected an end within the permit's undo window".to_owned());
        }
        Ok(now)
    }

    /// The intent is in the ledger, by the log's own key and not by the caller's word.
    fn check_receipt(&self, receipt: &Receipt, permit: &Permit) -> Result<(), String> {
        let entry = receipt.record().bytes().map_err(|err| format!("receipt: {err}"))?;
        let (checkpoint, proof) = receipt.evidence();
        let receipt = Receipt::check(&entry, receipt.index(), proof.to_vec(), checkpoint, &self.log)
            .map_err(|err| format!("receipt: {}", crate::executor::chain(&err)))?;
        if receipt.is_intent_of(permit) {
            return Ok(());
        }
        Err("receipt: the record is not the intent of this permit's run".to_owned())
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}
