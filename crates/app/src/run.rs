//! Run: claim a permit once, and drive the run to its end.
//!
//! The order is the product: measure afresh → record the intent → lease → rehearse → record "applying" → effect → observe
//! → verify → record the end → revoke. Every step goes on only from the durable record of the one before.

use holdpoint_domain::{
    Id, Oversight,
    actor::Actor,
    decision::{Mode, worse},
    flow::State,
    id::kind,
    permit::Permit,
    record::{Body, Record},
};

use crate::{
    drive,
    gate::Gate,
    gather,
    port::{ApproveQuestion, StoreError, Txn},
    receipt::Receipt,
    refusal::{Blame, Refusal, internal},
    view::PlanView,
};

/// A claimed permit: the run is open, its intent is in the ledger. Made only by [`claim`], which consumes the permit, and
/// by `reopen`, which finds the intent again after a restart.
pub struct Run {
    pub(crate) permit: Permit,
    pub(crate) receipt: Receipt,
    pub(crate) view: PlanView,
}

/// Starts a plan's run and drives it to its end: an outcome, or `in_doubt`. Returns the state it ended in. A permit that
/// has run out expires; one that is worse off than what was decided is void; neither starts.
pub async fn run(gate: &Gate, id: &Id<kind::Plan>) -> Result<State, Refusal> {
    match claim(gate, id).await? {
        Claim::Opened(run) => drive::to_the_end(gate, *run).await,
        Claim::Ended(state) => Ok(state),
    }
}

/// What became of a claim.
pub enum Claim {
    /// The run is open.
    Opened(Box<Run>),
    /// The permit is void or has expired.
    Ended(State),
}

/// Claims a plan's permit: an online, atomic act that succeeds once. Everything is measured and evaluated afresh, and must
/// be no worse than what was decided and approved.
pub async fn claim(gate: &Gate, id: &Id<kind::Plan>) -> Result<Claim, Refusal> {
    let store = gate.ports.store.as_ref();
    let view = PlanView::read(store, id).await?;
    if view.state != State::Permitted {
        let fact = format!("plan `{id}` is `{}` and has no permit to claim", view.state);
        return Err(Refusal::new(Blame::Conflict, "not-permitted", fact, "look at the plan as it is now"));
    }
    let permit = open(gate, &view)?;
    if gate.now() >= permit.grant().start_before_ms {
        return end(gate, &view, Body::Expired, State::Expired).await;
    }

    let (resolved, _) = match gather::resolve_plan(gate, &view.plan) {
        Ok(found) => found,
        // What was decided on is not in the control inputs any more.
        Err(_) => return end(gate, &view, Body::Voided { worse: vec![gone()] }, State::Void).await,
    };
    let evidence = gather::measure(gate, resolved.condition, resolved.target).await?;
    let seen = gather::observe(gate, resolved.action, resolved.target).await?;
    let now = gate.now();
    if now >= permit.grant().start_before_ms {
        // Measuring took the rest of the window.
        return end(gate, &view, Body::Expired, State::Expired).await;
    }
    let (_, decided) = view.decided.as_ref().ok_or_else(|| internal("a permit without a decision"))?;
    let no_choice = view.step()?.params.is_empty();
    let behalf = view.plan.requester().on_behalf_of.as_ref();
    let fresh = gather::facts(gate, resolved, behalf, no_choice, &evidence, &seen, now).await?;
    let oversight = obtained(gate, &view, &permit)?;
    let verdict = gate.ports.judge.ask(&fresh, &oversight);
    let differences = worse(decided, &fresh, &verdict, &oversight);

    let measured =
        Record::new(now, Actor::Observer, Some(id.clone()), Body::Measured { evidence: Box::new(evidence) });
    if !differences.is_empty() {
        let voided = gate.record(id, Body::Voided { worse: differences });
        append(gate, &view, vec![measured, voided]).await?;
        return Ok(Claim::Ended(State::Void));
    }
    let intent = Record::new(
        now,
        Actor::Executor { executor: permit.grant().executor.clone() },
        Some(id.clone()),
        Body::Claimed {
            permit: permit.grant().id.clone(),
            nonce: permit.grant().nonce.clone(),
            epoch: permit.grant().epoch,
            executor: permit.grant().executor.clone(),
            facts: Box::new(fresh),
        },
    );
    // If we stop before this returns, nothing has started; after it, `recover` finds the intent and ends the run.
    append(gate, &view, vec![measured, intent]).await?;
    reopen(gate, id).await.map(|run| Claim::Opened(Box::new(run)))
}

/// Finds an open run again from its intent record: permit and receipt are checked anew.
pub(crate) async fn reopen(gate: &Gate, id: &Id<kind::Plan>) -> Result<Run, Refusal> {
    let view = PlanView::read(gate.ports.store.as_ref(), id).await?;
    let permit = open(gate, &view)?;
    let intent = view.intent.ok_or_else(|| internal("a run without an intent"))?;
    let receipt =
        Receipt::fetch(gate.ports.store.as_ref(), intent, &gate.ports.log_key).await.map_err(internal)?;
    if !receipt.is_intent_of(&permit) {
        return Err(internal(format!("entry {intent} is not the intent of permit `{}`", permit.grant().id)));
    }
    Ok(Run { permit, receipt, view })
}

fn open(gate: &Gate, view: &PlanView) -> Result<Permit, Refusal> {
    let jws = view.permit.as_deref().ok_or_else(|| internal("a permitted plan without a permit"))?;
    let permit = Permit::open(jws, &gate.ports.permit_key.public_key()).map_err(internal)?;
    permit.check_plan(&view.plan).map_err(internal)?;
    Ok(permit)
}

/// The oversight that was really obtained: statements that still hold with the keys registered now, of people whom policy
/// lets decide now.
fn obtained(gate: &Gate, view: &PlanView, permit: &Permit) -> Result<Oversight, Refusal> {
    let grant = permit.grant();
    let (_, facts) = view.decided.as_ref().ok_or_else(|| internal("a permit without a decision"))?;
    let owner = gate.controls.registry.agent(&view.plan.requester().agent).map(|agent| &agent.owner);
    // The permit's word for it is not enough: a gate that is in production now does not take it from one in development.
    let development = grant.development && gate.settings.mode == Mode::Development;
    let mut approvals: u32 = 0;
    for signed in &grant.approvals {
        let (Some(terms), Some(person)) =
            (&grant.terms, gate.controls.registry.person(&signed.statement.approver))
        else {
            continue;
        };
        let holds = signed.clone().check_signed(terms, &person.approval_key, view.plan.requester()).is_ok();
        let question = ApproveQuestion {
            person,
            tier: grant.tier,
            approvals,
            owns_agent: owner == Some(&person.id),
            development,
            facts,
        };
        if holds && gate.ports.judge.may_approve(question).allows() {
            approvals = approvals.saturating_add(1);
        }
    }
    let strong = development && approvals > 0;
    Ok(Oversight {
        review_promised: grant.tier >= holdpoint_domain::Tier::T2,
        approvals,
        strong,
        fresh: strong,
    })
}

fn gone() -> holdpoint_domain::decision::Worse {
    holdpoint_domain::decision::Worse::TargetGone
}

async fn end(gate: &Gate, view: &PlanView, body: Body, state: State) -> Result<Claim, Refusal> {
    append(gate, view, vec![gate.record(&view.id, body)]).await?;
    Ok(Claim::Ended(state))
}

async fn append(gate: &Gate, view: &PlanView, records: Vec<Record>) -> Result<(), Refusal> {
    let expect = Some((view.id.clone(), view.last_index()));
    match gate.ports.store.append(Txn { records, expect, ..Txn::default() }).await {
        Ok(_) => Ok(()),
        Err(err) if matches!(err, StoreError::Conflict(_)) => Err(Refusal::new(
            Blame::Conflict,
            "claimed-before",
            err.to_string(),
            "the permit was claimed, or ended, by another",
        )),
        Err(err) => Err(err.into()),
    }
}
