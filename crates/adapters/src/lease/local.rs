//! The issuer of leases for executors on this machine.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use holdpoint_app::{
    port::{Clock, IssueError, Issuer},
    receipt::Receipt,
};
use holdpoint_domain::{
    Digest, Id,
    id::kind,
    lease::{Lease, LeaseInfo, LeaseSecret, MAX_LEASE_MS},
    permit::Permit,
    plan::Plan,
};
use holdpoint_ledger::key::VerifierKey;

use super::book::LeaseBook;
use crate::{executor::Pins, system::random};

/// Mints bearer secrets of 256 bits into a [`LeaseBook`]. It believes nobody: the permit is opened again with the
/// pinned key, the intent's receipt is checked again with the log's, and scope and life are bounded by the plan.
pub struct LocalIssuer {
    book: Arc<dyn LeaseBook>,
    pins: Pins,
    log: VerifierKey,
    clock: Arc<dyn Clock>,
}

impl LocalIssuer {
    /// An issuer over `book`, with its own pins and the key of the ledger's checkpoints.
    #[must_use]
    pub fn new(book: Arc<dyn LeaseBook>, pins: Pins, log: VerifierKey, clock: Arc<dyn Clock>) -> Self {
        Self { book, pins, log, clock }
    }

    fn check(&self, info: &LeaseInfo, permit: &Permit, receipt: &Receipt, plan: &Plan) -> Result<(), String> {
        let permit = self.pins.open(permit.jws(), plan).map_err(|refusal| refusal.line())?;
        self.check_receipt(receipt, &permit)?;
        let grant = permit.grant();
        if info.permit != grant.id {
            return Err(format!("lease: expected permit `{}`, got `{}`", grant.id, info.permit));
        }
        let in_plan = |scope: &holdpoint_domain::lease::Scope| {
            plan.steps().iter().any(|step| step.action == scope.action && step.target == scope.target)
        };
        if info.scopes.is_empty()
            || info.scopes.len() > plan.steps().len()
            || !info.scopes.iter().all(in_plan)
        {
            return Err("scope: expected scopes that are steps of the plan, and at least one".to_owned());
        }
        let now = self.clock.now();
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
        Ok(())
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

#[async_trait]
impl Issuer for LocalIssuer {
    async fn issue(
        &self,
        info: LeaseInfo,
        permit: &Permit,
        receipt: &Receipt,
        plan: &Plan,
    ) -> Result<Lease, IssueError> {
        self.check(&info, permit, receipt, plan).map_err(IssueError::Refused)?;
        let secret = URL_SAFE_NO_PAD.encode(random::<32>());
        let digest = Digest::of_bytes(secret.as_bytes());
        if !self.book.admit(&info, digest, self.clock.now()).await.map_err(IssueError::Backend)? {
            return Err(IssueError::Refused(format!(
                "lease: `{}` was used before, or too many are live",
                info.id
            )));
        }
        Ok(Lease { info, secret: LeaseSecret::new(secret) })
    }

    async fn revoke(&self, lease: &Id<kind::Lease>) -> Result<(), IssueError> {
        if self.book.end(lease, self.clock.now()).await.map_err(IssueError::Backend)? {
            return Err(IssueError::Backend(format!("lease `{lease}` still works")));
        }
        Ok(())
    }
}

impl fmt::Debug for LocalIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalIssuer").finish_non_exhaustive()
    }
}
