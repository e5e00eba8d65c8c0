//! Narrow: an approver asks for less than a hold asks them to approve. The hold ends, with every approval that it had; what is left
//! is a plan of its own, measured and decided afresh, and whoever narrowed it is one of its requesters.

use holdpoint_domain::{
    Id,
    actor::{Identity, Phase},
    agent::Person,
    flow::State,
    id::kind,
    narrowing::NarrowStatement,
    record::{Body, Record, Request},
    signed::Signed,
};

use crate::{
    approve::{self, permitted_by_policy},
    gate::Gate,
    gather::{self, Wish},
    port::{StoreError, Txn},
    propose::{Frozen, Proposed, Stopped, freeze_and_decide, record_refusal},
    refusal::{Blame, Refusal, internal},
    statement::signer,
    view::PlanView,
};

/// Takes a person's narrowing of the plan under a hold.
pub async fn narrow_hold(
    gate: &Gate,
    identity: &Identity,
    hold: &Id<kind::Hold>,
    signed: Signed<NarrowStatement>,
) -> Result<Proposed, Refusal> {
    match attempt(gate, identity, hold, signed).await {
        Ok(proposed) => Ok(proposed),
        Err(refusal) => {
            record_refusal(gate, identity, Request::Narrow, &refusal).await?;
            Err(refusal)
        }
    }
}

async fn attempt(
    gate: &Gate,
    identity: &Identity,
    hold: &Id<kind::Hold>,
    signed: Signed<NarrowStatement>,
) -> Result<Proposed, Refusal> {
    let person = signer(gate, identity, &signed)?;
    let view = approve::find(gate, hold).await?;
    eligible(gate, person, &view, &signed)?;
    let wishes: Vec<Wish> = signed
        .statement
        .kept
        .iter()
        .filter_map(|kept| {
            let step = view.plan.steps().get(usize::try_from(kept.step).ok()?)?;
            let (action, target) = (step.action.clone(), step.target.clone());
            Some(Wish { action, target, params: kept.params.clone() })
        })
        .collect();
    let mut requester = view.plan.requester().clone();
    requester.narrowed_by.insert(person.id.clone());
    let trigger = view.plan.trigger();
    let resolved = gather::resolve(gate, &requester, Phase::Decide, trigger, &wishes)?;
    let frozen = Frozen {
        actor: identity.actor(),
        id: gate.fresh("plan")?,
        narrative: view.narrative,
        context: view.context,
        texts: Vec::new(),
    };
    let ended = Body::Narrowed { statement: Box::new(signed), into: frozen.id.clone() };
    let txn = Txn {
        records: vec![Record::new(gate.now(), identity.actor(), Some(view.id.clone()), ended)],
        expect: Some((view.id.clone(), view.last_index())),
        ..Txn::default()
    };
    let incident = view.plan.incident().cloned();
    freeze_and_decide(gate, &resolved, &wishes, requester, incident, frozen, txn).await.map_err(|err| {
        match err {
            // Somebody decided meanwhile: what they said stands.
            Stopped::Store(StoreError::Conflict(_)) => {
                let fact = "somebody decided on this hold meanwhile";
                Refusal::new(Blame::Conflict, "too-late", fact, "look at the plan as it is now")
            }
            other @ (Stopped::Store(_) | Stopped::Refused(_)) => other.into(),
        }
    })
}

/// Everything that makes a narrowing count: the hold waits, the statement is about its terms and about less of its plan, and
/// whoever narrows could have approved.
fn eligible(
    gate: &Gate,
    person: &Person,
    view: &PlanView,
    signed: &Signed<NarrowStatement>,
) -> Result<(), Refusal> {
    let refuse = |blame, rule, fact: String, next: &'static str| Err(Refusal::new(blame, rule, fact, next));
    if view.state != State::Held {
        let fact = format!("plan `{}` is `{}` and does not wait for people", view.id, view.state);
        return refuse(Blame::Conflict, "not-held", fact, "look at the plan as it is now");
    }
    let terms = view.terms.as_ref().ok_or_else(|| internal("a hold without terms"))?;
    if signed.statement.terms != *terms || gate.now() >= terms.expires_at_ms {
        let fact = "the statement is about other terms than the hold's, or the hold has ended".to_owned();
        return refuse(Blame::Conflict, "statement-refused", fact, "read the hold again and sign anew");
    }
    if view.plan.requester().is_one(&person.id) {
        let fact = format!("`{}` is a requester of this plan and cannot decide on it", person.id);
        return refuse(Blame::Forbidden, "requester-decides", fact, "another person must decide");
    }
    if view.plan.requester().is_emergency() {
        let fact = "what people ask for beyond policy is approved or rejected as it is".to_owned();
        return refuse(Blame::Forbidden, "not-narrowed", fact, "reject it, and ask for less");
    }
    let strong = signed.signature.counter().is_some();
    permitted_by_policy(gate, person, view, strong)?;
    signed.statement.check(&view.plan).or_else(|err| {
        refuse(Blame::Caller, "not-narrower", err.to_string(), "leave out steps, or make one smaller")
    })
}
