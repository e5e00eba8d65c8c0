//! Revoke: end leases, prove it, record it; again and again until it is proven.

use holdpoint_domain::{
    Id, Millis,
    actor::Actor,
    id::kind,
    record::{Body, Record},
};

use crate::{gate::Gate, port::Txn, refusal::Refusal, view::PlanView};

/// How often one call tries before it leaves the rest to the next tick.
const TRIES: u32 = 5;
/// The pause after the first failure; it doubles.
const FIRST_PAUSE_MS: u64 = 100;

/// Ends all leases of a plan's run that are not proven dead.
pub(crate) async fn leases_of(gate: &Gate, view: &PlanView) -> Result<(), Refusal> {
    let live = gate.ports.store.live_leases().await?;
    for (plan, lease) in live.into_iter().filter(|(plan, _)| *plan == view.id) {
        revoke(gate, &plan, &lease.id).await?;
    }
    Ok(())
}

/// Ends one lease. A lease that cannot be proven dead stays in the list of live ones, and the next tick tries again.
pub(crate) async fn revoke(
    gate: &Gate,
    plan: &Id<kind::Plan>,
    lease: &Id<kind::Lease>,
) -> Result<(), Refusal> {
    let mut pause_ms = FIRST_PAUSE_MS;
    for tried in 1..=TRIES {
        match gate.ports.issuer.revoke(lease).await {
            Ok(()) => {
                let body = Body::Revoked { lease: lease.clone() };
                let record = Record::new(gate.now(), Actor::Issuer, Some(plan.clone()), body);
                // If we stop before this returns, the lease is dead but not recorded so: it is revoked once more.
                let txn = Txn { records: vec![record], essential: true, ..Txn::default() };
                gate.ports.store.append(txn).await?;
                return Ok(());
            }
            Err(err) if tried >= 3 => {
                tracing::error!(%lease, tried, "lease {lease} cannot be revoked: {err}")
            }
            Err(err) => tracing::warn!(%lease, tried, "lease {lease} is not revoked yet: {err}"),
        }
        gate.ports.clock.sleep(Millis::new(pause_ms).unwrap_or(Millis::secs(1))).await;
        pause_ms = pause_ms.saturating_mul(2);
    }
    Ok(())
}
