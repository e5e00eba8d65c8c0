//! Recover: pick up runs that nobody drives any more, and do what is due.

use holdpoint_domain::{
    Id,
    decision::decide,
    flow::State,
    id::kind,
    record::{Body, FailWhy, Record},
};

pub use crate::aftermath::unmeasured;
use crate::{
    aftermath, drive,
    gate::Gate,
    gather, offboard,
    port::{PlanFilter, PlanRow, StoreError, Txn},
    propose::Case,
    refusal::Refusal,
    review::owe,
    revoke,
    run::reopen,
    view::PlanView,
};

/// Most plans looked at in one tick; the rest comes with the next.
const TICK_LIMIT: u32 = 1_000;

/// Runs that are open and that nobody drives any more, after a crash or after the store had no room: all open runs at
/// start-up, and later those that the caller does not know to be under way.
pub async fn unfinished(gate: &Gate) -> Result<Vec<Id<kind::Plan>>, Refusal> {
    let states = vec![
        State::Claimed,
        State::Leased,
        State::Rehearsed,
        State::Applying,
        State::Stepped,
        State::Applied,
        State::Undoing,
        State::Unwound,
    ];
    let filter = PlanFilter { states, limit: TICK_LIMIT, ..PlanFilter::default() };
    Ok(gate.ports.store.plans(filter).await?.into_iter().map(|row| row.id).collect())
}

/// Ends a run that nobody drives. The caller makes sure of that; where it is mistaken, the store refuses one of the two.
///
/// A run whose effect had not begun fails with nothing changed. One whose effect may have begun is settled by what the
/// target itself shows, without asking the executor to apply anything. What moved is not measured: nobody knows what happened
/// while nobody drove it.
pub async fn resume(gate: &Gate, id: &Id<kind::Plan>) -> Result<State, Refusal> {
    let run = reopen(gate, id).await?;
    if !matches!(run.view.state, State::Claimed | State::Leased | State::Rehearsed) {
        let view = drive::to_the_end(gate, run).await?;
        aftermath::interrupted(gate, &view).await;
        return Ok(view.state);
    }
    let bodies = std::iter::once(Body::Failed { why: FailWhy::Interrupted }).chain(owe(gate, &run.view)?);
    let txn = Txn {
        records: bodies.map(|body| gate.record(id, body)).collect(),
        expect: Some((id.clone(), run.view.last_index())),
        essential: true,
        ..Txn::default()
    };
    gate.ports.store.append(txn).await?;
    revoke::leases_of(gate, &run.view).await?;
    Ok(State::Failed)
}

/// Does everything that is due. A gate that serves does the three beside each other: nothing waits for a probe or a backend that
/// does not answer.
pub async fn tick(gate: &Gate) -> Result<(), Refusal> {
    revoke::sweep(gate).await?;
    due(gate).await?;
    for row in undecided(gate).await? {
        if let Err(err) = remeasure(gate, &row).await {
            tracing::warn!(plan = %row.id, "tick: {err}");
        }
    }
    Ok(())
}

/// Does what is due with plans and needs no look at the world: expires holds, permits and deferrals.
pub async fn due(gate: &Gate) -> Result<(), Refusal> {
    offboard::sweep(gate).await?;
    let states = vec![State::Held, State::Deferred, State::Permitted];
    let filter = PlanFilter { states, limit: TICK_LIMIT, ..PlanFilter::default() };
    let now = gate.now();
    for row in gate.ports.store.plans(filter).await? {
        if row.deadline.is_some_and(|deadline| now >= deadline)
            && let Err(err) = expire(gate, &row).await
        {
            tracing::warn!(plan = %row.id, "tick: {err}");
        }
    }
    Ok(())
}

/// Deferred plans that are due to be measured again, those that wait for longest first.
pub async fn undecided(gate: &Gate) -> Result<Vec<PlanRow>, Refusal> {
    let filter = PlanFilter { states: vec![State::Deferred], limit: TICK_LIMIT, ..PlanFilter::default() };
    let now = gate.now();
    let mut rows = gate.ports.store.plans(filter).await?;
    let is_over = |row: &PlanRow| row.deadline.is_some_and(|deadline| now >= deadline);
    rows.retain(|row| !is_over(row) && row.next_at.is_none_or(|next| now >= next));
    rows.sort_by_key(|row| row.next_at);
    Ok(rows)
}

/// Plans with a permit that nobody claimed yet.
pub async fn startable(gate: &Gate) -> Result<Vec<Id<kind::Plan>>, Refusal> {
    let filter = PlanFilter { states: vec![State::Permitted], limit: TICK_LIMIT, ..PlanFilter::default() };
    Ok(gate.ports.store.plans(filter).await?.into_iter().map(|row| row.id).collect())
}

async fn expire(gate: &Gate, row: &PlanRow) -> Result<(), Refusal> {
    append(gate, row, vec![gate.record(&row.id, Body::Expired)]).await
}

/// Measures a deferred plan again and decides anew. A plan whose target changed meanwhile expires: it was made for a
/// version that is gone.
pub async fn remeasure(gate: &Gate, row: &PlanRow) -> Result<(), Refusal> {
    let view = PlanView::read(gate.ports.store.as_ref(), &row.id).await?;
    let Ok(resolved) = gather::resolve_plan(gate, &view.plan) else {
        return expire(gate, row).await;
    };
    let look = gather::look(gate, &resolved).await?;
    let expected = view.plan.steps().iter().map(|step| step.expected_version);
    if !look.seen.iter().map(|seen| seen.version).eq(expected) {
        return expire(gate, row).await;
    }
    let now = gate.now();
    let facts =
        gather::facts(gate, &resolved, view.plan.requester(), view.plan.incident(), &look, now).await?.facts;
    let decision = decide(&facts, &gate.ladders(&facts))?;
    let mut records = look.records(&row.id, now);
    let (id, plan, narrative) = (&row.id, &view.plan, &view.narrative);
    Case { id, plan, narrative, resolved: &resolved }.conclude(gate, &decision, &facts, &mut records)?;
    // A deferral does not grow by being repeated: the plan expires when the first one said so.
    if let (Some(deadline), Some(Record { body: Body::Deferred { expires_at_ms, .. }, .. })) =
        (row.deadline, records.last_mut())
    {
        *expires_at_ms = deadline;
    }
    append(gate, row, records).await
}

async fn append(gate: &Gate, row: &PlanRow, records: Vec<Record>) -> Result<(), Refusal> {
    let expect = Some((row.id.clone(), row.last_index));
    match gate.ports.store.append(Txn { records, expect, ..Txn::default() }).await {
        // Somebody was faster; whatever they did stands. Under inputs that were replaced it is decided anew with the next tick.
        Ok(_) | Err(StoreError::Conflict(_) | StoreError::Flow(_) | StoreError::StaleInputs) => Ok(()),
        Err(err) => Err(err.into()),
    }
}
