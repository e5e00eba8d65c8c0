//! Offboard: whoever leaves the registry, or whose registration ends, takes along what waits in their name.
//!
//! Plans that wait for a measurement, for people or for their start are void, permits with them. Leases of runs that have not
//! finished applying end; such a run stops before its next step and is undone. What is verified or undone already goes on to its
//! end: nobody is served by half an undo.

use holdpoint_domain::{
    actor::Phase,
    decision::Worse,
    flow::State,
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
/// than at the last look: between two of its changes, only a registration that ends takes anybody away.
pub(crate) async fn sweep(gate: &Gate) -> Result<(), Refusal> {
    let changed = *gate.swept() != Some(gate.inputs.registry);
    let states = vec![State::Held, State::Deferred, State::Permitted];
    let waiting = PlanFilter { states, limit: LIMIT, ..PlanFilter::default() };
    for row in gate.ports.store.plans(waiting).await? {
        if has_left(gate, &row, changed).await? {
            void(gate, &row).await?;
        }
    }
    for (plan, lease) in gate.ports.store.live_leases().await? {
        let Some(row) = gate.ports.store.plan(&plan).await?.filter(|row| is_under_way(row.state)) else {
            continue;
        };
        if has_left(gate, &row, changed).await? {
            tracing::warn!(%plan, "the requester of plan {plan} has left: its lease ends");
            revoke::end(gate, &plan, &lease).await?;
        }
    }
    *gate.swept() = Some(gate.inputs.registry);
    Ok(())
}

const fn is_under_way(state: State) -> bool {
    matches!(state, State::Claimed | State::Leased | State::Rehearsed | State::Applying | State::Stepped)
}

async fn has_left(gate: &Gate, row: &PlanRow, whole: bool) -> Result<bool, Refusal> {
    if requester::known(gate, &row.agent, Phase::Decide).is_err() {
        return Ok(true);
    }
    if !whole {
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
