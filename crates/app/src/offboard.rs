//! Offboard: whoever leaves the registry, or whose registration ends, takes along what waits in their name.
//!
//! Plans that wait for a measurement, for people or for their start are void, permits with them. Leases of runs that have not
//! finished applying end; such a run stops before its next step and is undone. What is verified or undone already goes on to its
//! end: nobody is served by half an undo.

use holdpoint_domain::{
    Timestamp,
    actor::Phase,
    decision::Worse,
    flow::State,
    lease::LeaseInfo,
    plan::EMERGENCY,
    record::{Body, Record},
};

use crate::{
    gate::Gate,
    port::{PlanFilter, PlanRow, StoreError, Txn},
    refusal::Refusal,
    requester, revoke,
    view::PlanView,
};

/// Most plans looked at at once; the rest comes with the next look.
const LIMIT: u32 = 1_000;

/// Ends what waits in the name of somebody who is not there any more. Whole plans are only read when the registry is another
/// than at the last look, or when a registration has ended since: nothing else takes anybody away.
pub(crate) async fn sweep(gate: &Gate) -> Result<(), Refusal> {
    let (now, last) = (gate.now(), *gate.swept());
    let ended = |since: Timestamp| {
        let ends = gate.controls.registry.agents().filter_map(|agent| agent.expires_at_ms);
        ends.into_iter().any(|end| since < end && end <= now)
    };
    let whole = last.is_none_or(|(registry, at)| registry != gate.inputs.registry || ended(at));
    let states = vec![State::Held, State::Deferred, State::Permitted];
    let waiting = PlanFilter { states, limit: LIMIT, ..PlanFilter::default() };
    let waiting = gate.ports.store.plans(waiting).await?;
    // Where there are more, the next look is a whole one again.
    let mut all = u32::try_from(waiting.len()).is_ok_and(|count| count < LIMIT);
    for row in waiting {
        all &= done(&row, &void_if_gone(gate, &row, whole).await);
    }
    for (plan, lease) in gate.ports.store.live_leases().await? {
        let row = gate.ports.store.plan(&plan).await?;
        let Some(row) = row.filter(|row| is_under_way(row.state)) else { continue };
        all &= done(&row, &end_if_gone(gate, &row, &lease, whole).await);
    }
    if all {
        *gate.swept() = Some((gate.inputs.registry, now));
    }
    Ok(())
}

/// One plan that cannot be looked at keeps nobody else's.
fn done(row: &PlanRow, result: &Result<(), Refusal>) -> bool {
    if let Err(err) = result {
        tracing::warn!(plan = %row.id, "whether the requester of plan {} has left is not known: {err}", row.id);
    }
    result.is_ok()
}

async fn void_if_gone(gate: &Gate, row: &PlanRow, whole: bool) -> Result<(), Refusal> {
    if has_left(gate, row, whole).await? { void(gate, row).await } else { Ok(()) }
}

async fn end_if_gone(gate: &Gate, row: &PlanRow, lease: &LeaseInfo, whole: bool) -> Result<(), Refusal> {
    if has_left(gate, row, whole).await? {
        tracing::warn!(plan = %row.id, "the requester of plan {} has left: lease {} ends", row.id, lease.id);
        revoke::end(gate, &row.id, lease).await?;
    }
    Ok(())
}

const fn is_under_way(state: State) -> bool {
    matches!(state, State::Claimed | State::Leased | State::Rehearsed | State::Applying | State::Stepped)
}

async fn has_left(gate: &Gate, row: &PlanRow, whole: bool) -> Result<bool, Refusal> {
    let by_people = row.agent.as_str() == EMERGENCY;
    if !by_people && requester::known(gate, &row.agent, Phase::Decide).is_err() {
        return Ok(true);
    }
    if !whole && !by_people {
        return Ok(false);
    }
    let view = PlanView::read(gate.ports.store.as_ref(), &row.id).await?;
    Ok(!requester::is_there(gate, view.plan.requester()))
}

async fn void(gate: &Gate, row: &PlanRow) -> Result<(), Refusal> {
    let body = Body::Voided { worse: vec![Worse::RequesterGone] };
    let records: Vec<Record> = vec![gate.record(&row.id, body)];
    let expect = Some((row.id.clone(), row.last_index));
    match gate.ports.store.append(Txn { records, expect, ..Txn::default() }).await {
        // It moved on meanwhile: the next look, or its claim, sees the same.
        Ok(_) | Err(StoreError::Conflict(_)) => Ok(()),
        Err(err) => Err(err.into()),
    }
}
