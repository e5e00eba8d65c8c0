//! Introspect: whether a permit, or what was passed on of it, is good now (RFC 7662), for executors that are not ours.

use std::collections::BTreeSet;

use holdpoint_domain::{
    Digest, Id, Timestamp,
    flow::State,
    id::kind,
    narrow::{Chain, Holding},
    signature::Thumbprint,
};

use crate::{gate::Gate, refusal::Refusal, view::PlanView};

/// What an active permit grants to one executor.
#[derive(Debug, Clone)]
pub struct Active {
    /// The permit.
    pub permit: Id<kind::Permit>,
    /// Its plan.
    pub plan_id: Id<kind::Plan>,
    /// The plan's digest: the bytes that may run.
    pub plan: Digest,
    /// Where the plan is in its life.
    pub state: State,
    /// The fencing epoch.
    pub epoch: u64,
    /// The executor in whose name it is held.
    pub executor: Id<kind::Executor>,
    /// The key that whoever brings it must prove to have.
    pub key: Thumbprint,
    /// The steps.
    pub steps: BTreeSet<u32>,
    /// When it was granted.
    pub granted_at: Timestamp,
    /// The run must start before this.
    pub start_before: Timestamp,
    /// It ends at this.
    pub undo_until: Timestamp,
}

/// Whether a token is an active permit, and what it grants in the name of `executor`, or of the only one that it names. None for
/// everything else, without a reason: a caller who could ask why would learn from guesses.
pub async fn introspect(
    gate: &Gate,
    token: &str,
    executor: Option<&Id<kind::Executor>>,
) -> Result<Option<Active>, Refusal> {
    let Ok(chain) = Chain::open(token, &gate.permit_keys()) else { return Ok(None) };
    let grant = chain.permit().grant();
    let Some(held) = held(&chain, executor) else { return Ok(None) };
    let store = gate.ports.store.as_ref();
    if store.plan(&grant.plan_id).await?.is_none() {
        return Ok(None);
    }
    let view = PlanView::read(store, &grant.plan_id).await?;
    let now = gate.now();
    let waits = view.state == State::Permitted && now < held.start_before && gate.halted().is_none();
    let runs = view.state.is_running() && view.state != State::InDoubt;
    // The permit that the plan has, and no earlier one: an epoch that was granted anew fences the old.
    let is_the_plans = view.permit.as_deref() == Some(chain.permit().jws());
    if !is_the_plans || now >= held.undo_until || !(waits || runs) {
        return Ok(None);
    }
    Ok(Some(Active {
        permit: grant.id.clone(),
        plan_id: grant.plan_id.clone(),
        plan: grant.plan,
        state: view.state,
        epoch: grant.epoch,
        executor: held.executor,
        key: held.key,
        steps: held.steps,
        granted_at: grant.granted_at_ms,
        start_before: held.start_before,
        undo_until: held.undo_until,
    }))
}

fn held(chain: &Chain, executor: Option<&Id<kind::Executor>>) -> Option<Holding> {
    if let Some(executor) = executor {
        return chain.holding(executor);
    }
    let mut holdings = chain.permit().grant().executors.keys().filter_map(|name| chain.holding(name));
    match (holdings.next(), holdings.next()) {
        (Some(held), None) => Some(held),
        (None | Some(_), _) => None,
    }
}
