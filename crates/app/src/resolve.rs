//! Resolve: the only way out of `in_doubt`. A person looks at the targets and says how the run ended; until then it keeps its locks.

use holdpoint_domain::{
    Id,
    actor::Identity,
    aftercare::ResolutionStatement,
    flow::State,
    id::kind,
    record::{Body, Record, Request},
    signed::Signed,
};

use crate::{
    gate::Gate,
    port::Txn,
    propose::{keep, record_refusal},
    refusal::{Blame, Refusal},
    review::{owe, owners},
    revoke,
    statement::{looks_after, signer},
    view::PlanView,
};

/// Takes a person's word on how a run in doubt ended. `note` is their own words.
pub async fn resolve(
    gate: &Gate,
    identity: &Identity,
    plan: &Id<kind::Plan>,
    signed: Signed<ResolutionStatement>,
    note: Option<&str>,
) -> Result<(), Refusal> {
    match attempt(gate, identity, plan, signed, note).await {
        Ok(()) => Ok(()),
        Err(refusal) => {
            record_refusal(gate, identity, Request::Resolve, &refusal).await?;
            Err(refusal)
        }
    }
}

async fn attempt(
    gate: &Gate,
    identity: &Identity,
    plan: &Id<kind::Plan>,
    signed: Signed<ResolutionStatement>,
    note: Option<&str>,
) -> Result<(), Refusal> {
    let person = signer(gate, identity, &signed)?;
    let view = PlanView::read(gate.ports.store.as_ref(), plan).await?;
    if view.state != State::InDoubt {
        let fact = format!("plan `{plan}` is `{}` and not in doubt", view.state);
        return Err(Refusal::new(Blame::Conflict, "not-in-doubt", fact, "look at the plan as it is now"));
    }
    let about = &signed.statement;
    // A revocation moves nothing: it may have come since the person looked.
    let moved = view.records.iter().rev().take_while(|(index, _)| *index > about.seen);
    let moved = moved.into_iter().any(|(_, record)| !record.body.is_end_of_lease());
    if about.plan != *plan || about.digest != view.plan.digest()? || moved || about.seen > view.last_index() {
        let fact = "the resolution is about another plan, or about one that has moved on since it was read";
        return Err(Refusal::new(
            Blame::Conflict,
            "stale-resolution",
            fact,
            "read the plan again and sign anew",
        ));
    }
    let owners = owners(&view);
    looks_after(gate, person, &view.plan.requester().agent, &owners)?;
    // Whoever could still change the target must not be able to after somebody said how it is.
    revoke::leases_of(gate, &view).await?;
    if gate.ports.store.live_leases().await?.iter().any(|(of, _)| of == plan) {
        let fact = "a credential of the run is not proven dead, so it could still change its targets";
        let next = "try again when it is revoked; the gate goes on trying";
        return Err(Refusal::new(Blame::Conflict, "lease-alive", fact, next));
    }
    let view = PlanView::read(gate.ports.store.as_ref(), plan).await?;
    let mut texts = Vec::new();
    let note = keep(gate, note, &mut texts)?;
    let now = gate.now();
    let resolved = Body::Resolved { statement: Box::new(signed), note };
    let mut records = vec![Record::new(now, identity.actor(), Some(plan.clone()), resolved)];
    records.extend(owe(gate, &view)?.map(|owed| gate.record(plan, owed)));
    let expect = Some((plan.clone(), view.last_index()));
    gate.ports
        .store
        .append(Txn { records, expect, texts, expect_inputs: Some(gate.inputs), ..Txn::default() })
        .await?;
    Ok(())
}
