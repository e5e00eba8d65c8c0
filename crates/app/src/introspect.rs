//! Introspect: whether a permit, what was passed on of it, or a bearer lease is good now (RFC 7662), for executors and targets that
//! are not ours.

use std::collections::BTreeSet;

use holdpoint_domain::{
    Digest, Id, Timestamp,
    bearer::Claims,
    flow::State,
    halt::Reach,
    id::kind,
    narrow::{Chain, Holding},
    plan::Step,
    signature::{PublicKey, Thumbprint},
};

use crate::{
    gate::Gate,
    refusal::{Refusal, internal},
    requester, revoke,
    view::PlanView,
};

/// What a permit is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoodFor {
    /// To start, and to apply steps.
    Apply,
    /// To take back what was applied, and nothing else.
    Undo,
}

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
    /// The steps of the plan that are this executor's.
    pub steps: BTreeSet<u32>,
    /// What it is good for now.
    pub good_for: GoodFor,
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
    let Some(good_for) = good_for(gate, &view, &held, now) else { return Ok(None) };
    // Of the plan's steps, those that the catalogue gives this executor.
    let is_its = |(_, step): &(u32, &Step)| {
        gate.controls.catalogue.action(&step.action).is_some_and(|action| action.executor == held.executor)
    };
    let its = (0..).zip(view.plan.steps()).filter(is_its).map(|(number, _)| number);
    let steps: BTreeSet<u32> = its.filter(|number| held.steps.contains(number)).collect();
    // A key that was replaced is the thief's as well, and so is what it passed on.
    let bound = grant.executors.get(&held.executor).copied();
    let is_current = gate.controls.executor_keys.get(&held.executor).map(PublicKey::thumbprint) == bound;
    // The permit that the plan has, and no earlier one: an epoch that was granted anew fences the old.
    let is_the_plans = view.permit.as_deref() == Some(chain.permit().jws());
    if !is_the_plans || !is_current || steps.is_empty() || now >= held.undo_until {
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
        steps,
        good_for,
        granted_at: grant.granted_at_ms,
        start_before: held.start_before,
        undo_until: held.undo_until,
    }))
}

/// What a bearer lease says, if it is good now: announced in the ledger, its run not over, and its end neither come nor asked for. A
/// control, which opens nothing, is good for its short life. None for everything else.
pub async fn lease(gate: &Gate, token: &str) -> Result<Option<Claims>, Refusal> {
    let Some(key) = &gate.settings.lease_key else { return Ok(None) };
    let Ok(claims) = Claims::open(token, key) else { return Ok(None) };
    let now = gate.now();
    if !claims.is_in_time(now) {
        return Ok(None);
    }
    if claims.is_control() {
        return Ok(Some(claims));
    }
    let live = gate.ports.store.live_leases().await?;
    let Some((plan, info)) = live.into_iter().find(|(_, info)| info.id == claims.jti) else {
        return Ok(None);
    };
    let view = PlanView::read(gate.ports.store.as_ref(), &plan).await?;
    // Whoever stole the issuer's key can copy the id of a lease that lives, and write what they like beside it.
    if !claims.is_within(&info, &view.plan).map_err(internal)? {
        return Ok(None);
    }
    let is_halted = gate.halted().is_some_and(|halt| halt.reach == Reach::Hard);
    let is_over = now >= info.expires_at_ms || revoke::is_over(gate, &plan).await?;
    if is_halted || is_over || revoke::is_ending(gate, &claims.jti) {
        return Ok(None);
    }
    Ok(Some(claims))
}

/// What the state of the plan, the halt and the registry leave of it. Undo waits for nobody but a hard halt.
fn good_for(gate: &Gate, view: &PlanView, held: &Holding, now: Timestamp) -> Option<GoodFor> {
    let halt = gate.halted();
    let may_begin = halt.is_none() && requester::is_there(gate, view.plan.requester());
    match view.state {
        State::Permitted => (may_begin && now < held.start_before).then_some(GoodFor::Apply),
        State::Claimed | State::Leased | State::Rehearsed | State::Applying | State::Stepped => {
            may_begin.then_some(GoodFor::Apply)
        }
        State::Applied | State::Undoing | State::Unwound => {
            halt.is_none_or(|halt| halt.reach != Reach::Hard).then_some(GoodFor::Undo)
        }
        State::New
        | State::Proposed
        | State::Deferred
        | State::Denied
        | State::Held
        | State::Rejected
        | State::Expired
        | State::Void
        | State::Allowed
        | State::Succeeded
        | State::Failed
        | State::Undone
        | State::UndoFailed
        | State::InDoubt
        | State::Resolved => None,
    }
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
