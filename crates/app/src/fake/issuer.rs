//! The issuer: a table of live leases. It checks for itself, and remembers what it ended.

use async_trait::async_trait;
use holdpoint_domain::{
    Id,
    id::kind,
    lease::{Lease, LeaseInfo, LeaseSecret, Scope, Terms},
    permit::Permit,
    plan::Plan,
};

use super::{
    journal::Asked,
    schedule::yield_now,
    world::{Effect, FakeWorld},
};
use crate::{
    port::{Clock, IssueError, Issuer},
    receipt::Receipt,
};

#[async_trait]
impl Issuer for FakeWorld {
    async fn terms(&self, _: &Scope) -> Result<Terms, IssueError> {
        Ok(Terms::local())
    }

    async fn issue(
        &self,
        info: LeaseInfo,
        permit: &Permit,
        receipt: &Receipt,
        plan: &Plan,
    ) -> Result<Lease, IssueError> {
        let _under_way = self.enter();
        self.called(Asked::Issue(info.clone()), Some(permit.grant().epoch));
        yield_now().await;
        let refused = |why: &str| IssueError::Refused(why.to_owned());
        // Checked from the bytes: a permit that another key signed is none here.
        let opened = Permit::open(permit.jws(), &self.pins.gate).map_err(|err| refused(&err.to_string()))?;
        opened.check_plan(plan).map_err(|err| refused(&err.to_string()))?;
        if !receipt.is_intent_of(&opened) {
            return Err(refused("the receipt is not of the permit's intent"));
        }
        let grant = opened.grant();
        let too_late = self.clock.now() >= grant.undo_until_ms || info.expires_at_ms > grant.undo_until_ms;
        if too_late || info.permit != grant.id {
            return Err(refused("the lease is not within the permit"));
        }
        {
            let mut state = self.state();
            if state.issuing.refuses {
                return Err(refused("a test said so"));
            }
            if state.ended.contains(&info.id) || state.leases.contains_key(&info.id) {
                return Err(refused("the id was used before"));
            }
            state.leases.insert(info.id.clone(), info.clone());
        }
        self.note(Effect::Minted(info.id.clone()), Some(&grant.plan_id), None);
        // Whoever stops here has minted and nobody knows the secret.
        yield_now().await;
        let secret = LeaseSecret::new(format!("secret of {}", info.id));
        Ok(Lease { info, secret })
    }

    async fn revoke(&self, _: Option<&Id<kind::Backend>>, lease: &Id<kind::Lease>) -> Result<(), IssueError> {
        self.called(Asked::Revoke(lease.clone()), None);
        yield_now().await;
        {
            let mut state = self.state();
            if state.issuing.failing_revocations > 0 {
                state.issuing.failing_revocations = state.issuing.failing_revocations.saturating_sub(1);
                return Err(IssueError::Backend("a test said so".to_owned()));
            }
            let end = state.leases.get(lease).map(|info| info.expires_at_ms);
            if state.issuing.lasting && end.is_some_and(|end| self.clock.now() < end) {
                return Err(IssueError::Lasts("a test said so".to_owned()));
            }
            state.leases.remove(lease);
            state.ended.insert(lease.clone());
        }
        self.note(Effect::Revoked(lease.clone()), None, None);
        yield_now().await;
        Ok(())
    }

    async fn backends(&self) -> Result<Vec<Id<kind::Backend>>, IssueError> {
        Ok(Vec::new())
    }

    async fn held(&self, _: &Id<kind::Backend>) -> Result<Vec<Id<kind::Lease>>, IssueError> {
        Ok(Vec::new())
    }
}
