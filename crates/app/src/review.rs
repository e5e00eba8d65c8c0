//! Review: a person looks at a run that is over, and answers three questions about it. What they answer lifts the suspension of T1
//! and T2 for the agent and its actions, or keeps it.

use holdpoint_domain::{
    Id,
    actor::Identity,
    aftercare::ReviewStatement,
    id::kind,
    record::{Body, Record, Request},
    signed::Signed,
};

use crate::{
    gate::{Gate, after},
    port::Txn,
    projection::{RunFilter, RunRow},
    propose::{keep, record_refusal},
    refusal::{Blame, Refusal},
    statement::{looks_after, signer},
    view::PlanView,
};

/// Runs that somebody must still look at, those that are due first first.
pub async fn owed(gate: &Gate) -> Result<Vec<RunRow>, Refusal> {
    let mut runs = gate.ports.store.runs(RunFilter { owing: true, ..RunFilter::default() }).await?;
    runs.sort_by_key(|run| (run.owes.as_ref().map(|owed| owed.due_at), run.claimed_at));
    Ok(runs)
}

/// Takes a person's review of a plan's run. `note` is their own words.
pub async fn review(
    gate: &Gate,
    identity: &Identity,
    plan: &Id<kind::Plan>,
    signed: Signed<ReviewStatement>,
    note: Option<&str>,
) -> Result<(), Refusal> {
    match attempt(gate, identity, plan, signed, note).await {
        Ok(()) => Ok(()),
        Err(refusal) => {
            record_refusal(gate, identity, Request::Review, &refusal).await?;
            Err(refusal)
        }
    }
}

async fn attempt(
    gate: &Gate,
    identity: &Identity,
    plan: &Id<kind::Plan>,
    signed: Signed<ReviewStatement>,
    note: Option<&str>,
) -> Result<(), Refusal> {
    let person = signer(gate, identity, &signed)?;
    let view = PlanView::read(gate.ports.store.as_ref(), plan).await?;
    let about = &signed.statement;
    if about.plan != *plan || about.digest != view.plan.digest()? || about.seen != view.last_index() {
        let fact = "the review is about another plan, or about one that has moved on since it was read";
        return Err(Refusal::new(Blame::Conflict, "stale-review", fact, "read the plan again and sign anew"));
    }
    let run = gate.ports.store.run(plan).await?;
    if run.is_none_or(|run| run.state.is_running()) {
        let fact = format!("plan `{plan}` is `{}`: there is no run that is over", view.state);
        return Err(Refusal::new(Blame::Conflict, "nothing-to-review", fact, "wait until its run has ended"));
    }
    looks_after(gate, person, &view.plan.requester().agent, &owners(&view))?;
    let mut texts = Vec::new();
    let note = keep(gate, note, &mut texts)?;
    let body = Body::Reviewed { statement: Box::new(signed), note };
    let record = Record::new(gate.now(), identity.actor(), Some(plan.clone()), body);
    let expect = Some((plan.clone(), view.last_index()));
    gate.ports
        .store
        .append(Txn {
            records: vec![record],
            expect,
            texts,
            expect_inputs: Some(gate.inputs),
            ..Txn::default()
        })
        .await?;
    Ok(())
}

/// The look that is owed at a run that ended badly, by the team that owned its first target when it was decided.
pub(crate) fn owe(gate: &Gate, view: &PlanView) -> Result<Option<Body>, Refusal> {
    let due_at_ms = after(gate.now(), gate.settings.review_ms)?;
    let owner = owners(view).into_iter().next().cloned();
    Ok(owner.map(|owner| Body::ReviewOwed { due_at_ms, owner }))
}

/// The teams that own the targets of a plan, as they were when it was decided; by that they are known even when a target is gone.
pub(crate) fn owners(view: &PlanView) -> Vec<&Id<kind::Team>> {
    let facts = view.decided.iter().flat_map(|(_, facts)| facts.steps());
    facts.filter_map(|step| Some(&step.target.as_ref()?.owner)).collect()
}
