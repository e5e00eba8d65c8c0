//! Run: claim a permit once, and drive the run to its end.
//!
//! The order is the product: measure afresh → record the intent → lease → rehearse → record "applying" → effect → observe
//! → verify → record the end → revoke. Every step goes on only from the durable record of the one before.

use holdpoint_domain::{
    Id, Oversight, Rung,
    actor::Actor,
    decision::{Worse, moved, worse},
    flow::State,
    id::kind,
    permit::{Grant, Permit},
    quorum::{Approver, Quorum},
    record::{Body, Record},
};

use crate::{
    aftermath, break_glass, drive,
    gate::Gate,
    gather,
    port::{ApproveQuestion, StoreError, Txn},
    receipt::Receipt,
    refusal::{Blame, Refusal, internal},
    requester,
    view::PlanView,
};

/// How often budgets are counted again because another run was claimed at the same moment.
const MAX_TRIES: u32 = 16;

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
        Claim::Opened(run) => {
            let view = drive::to_the_end(gate, *run).await?;
            aftermath::after(gate, &view).await;
            Ok(view.state)
        }
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
        end(gate, &view, Body::Expired, State::Expired).await?;
        return Ok(Claim::Ended(State::Expired));
    }

    let mut tries: u32 = 0;
    loop {
        match attempt(gate, &view, &permit).await? {
            Attempt::Opened => return reopen(gate, id).await.map(|run| Claim::Opened(Box::new(run))),
            Attempt::Ended(state) => return Ok(Claim::Ended(state)),
            // Another run was claimed while we counted what the budgets have left: count again.
            Attempt::Crowded if tries < MAX_TRIES => tries = tries.saturating_add(1),
            Attempt::Crowded => return Err(StoreError::Crowded.into()),
        }
    }
}

/// What came of one try to claim.
enum Attempt {
    Opened,
    Ended(State),
    Crowded,
}

async fn attempt(gate: &Gate, view: &PlanView, permit: &Permit) -> Result<Attempt, Refusal> {
    let id = &view.id;
    if !requester::is_there(gate, view.plan.requester()) {
        return end(gate, view, Body::Voided { worse: vec![Worse::RequesterGone] }, State::Void).await;
    }
    let resolved = match gather::resolve_plan(gate, &view.plan) {
        Ok(found) => found,
        // What was decided on is not in the control inputs any more.
        Err(_) => return end(gate, view, Body::Voided { worse: vec![Worse::TargetGone] }, State::Void).await,
    };
    let look = gather::look(gate, &resolved).await?;
    let now = gate.now();
    if now >= permit.grant().start_before_ms {
        // Measuring took the rest of the window.
        return end(gate, view, Body::Expired, State::Expired).await;
    }
    let (_, decided) = view.decided.as_ref().ok_or_else(|| internal("a permit without a decision"))?;
    let gathered =
        gather::facts(gate, &resolved, view.plan.requester(), view.plan.incident(), &look, now).await?;
    let Obtained { oversight, approvers } = obtained(gate, view, permit)?;
    let mut differences = if !view.plan.requester().is_emergency() {
        let verdicts = gate.verdicts(&gathered.facts, &oversight);
        worse(decided, &gathered.facts, &verdicts, &oversight)
    } else if oversight.dominates(&Rung::T4.oversight()) {
        moved(decided, &gathered.facts)
    } else {
        vec![Worse::Denied]
    };
    let asked = Quorum::asked(&view.plan, &gathered.facts);
    let missing = asked.and_then(|asked| asked.missing(&approvers));
    differences.extend(missing.map(|missing| Worse::Approvals { missing }));

    let mut records = look.records(id, now);
    let ended = if differences.is_empty() {
        let grant = permit.grant();
        let intent = Body::Claimed {
            permit: grant.id.clone(),
            permit_digest: permit.digest(),
            nonce: grant.nonce.clone(),
            epoch: grant.epoch,
            executors: grant.executors.keys().cloned().collect(),
            facts: Box::new(gathered.facts),
            footprint: Box::new(gathered.footprint),
        };
        records.push(Record::new(now, executor(grant), Some(id.clone()), intent));
        None
    } else {
        records.push(gate.record(id, Body::Voided { worse: differences }));
        Some(State::Void)
    };
    let expect = Some((id.clone(), view.last_index()));
    let expect_claims = ended.is_none().then_some(gathered.claims);
    // The last look at the halt: whoever halted before this line has stopped the run.
    if ended.is_none() && gate.halted_for(&view.plan, permit.grant().granted_at_ms).is_some() {
        return end(gate, view, Body::Voided { worse: vec![Worse::held_by("halted")] }, State::Void).await;
    }
    // If we stop before this returns, nothing has started; after it, `recover` finds the intent and ends the run.
    match gate.ports.store.append(Txn { records, expect, expect_claims, ..Txn::default() }).await {
        Ok(_) => Ok(ended.map_or(Attempt::Opened, Attempt::Ended)),
        Err(StoreError::Crowded) => Ok(Attempt::Crowded),
        Err(err) => Err(claimed_before(err)),
    }
}

/// The executor that speaks for a run: the first of those that its permit names.
pub(crate) fn executor(grant: &Grant) -> Actor {
    match grant.executors.keys().next() {
        Some(executor) => Actor::Executor { executor: executor.clone() },
        None => Actor::Gate,
    }
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
    let permit = gate.permit_keys().open(jws).map_err(internal)?;
    permit.check_plan(&view.plan).map_err(internal)?;
    Ok(permit)
}

/// What people did about a plan, as it counts now.
struct Obtained<'g> {
    oversight: Oversight,
    approvers: Vec<Approver<'g>>,
}

/// The oversight that was really obtained: statements that still hold with the keys registered now, of people whom policy
/// lets decide now.
fn obtained<'g>(gate: &'g Gate, view: &PlanView, permit: &Permit) -> Result<Obtained<'g>, Refusal> {
    let grant = permit.grant();
    let (_, facts) = view.decided.as_ref().ok_or_else(|| internal("a permit without a decision"))?;
    let (mut approvals, mut strong) = (0_u32, 0_u32);
    let mut approvers = Vec::new();
    for signed in &grant.approvals {
        let (Some(terms), Some(person)) =
            (&grant.terms, gate.controls.registry.person(&signed.statement.approver))
        else {
            continue;
        };
        let Ok(consent) = signed.clone().check_signed(terms, &person.credentials(), view.plan.requester())
        else {
            continue;
        };
        let by_passkey = consent.proven().strong().is_some();
        let may = |facts| {
            let question = ApproveQuestion {
                person,
                tier: grant.tier,
                approvals,
                owns_agent: gate.owns_one_of(&person.id, view.plan.requester()),
                strong: by_passkey,
                facts,
            };
            gate.ports.judge.may_approve(question).allows()
        };
        let may = if view.plan.requester().is_emergency() {
            break_glass::may(gate, person).is_ok()
        } else {
            facts.steps().all(may)
        };
        if may {
            approvals = approvals.saturating_add(1);
            approvers.push(Approver { person: &person.id, teams: &person.teams });
            strong = strong.saturating_add(u32::from(by_passkey));
        }
    }
    let strong = approvals > 0 && strong == approvals;
    let review_promised = grant.tier >= holdpoint_domain::Tier::T2;
    let oversight = Oversight { review_promised, approvals, strong, fresh: strong };
    Ok(Obtained { oversight, approvers })
}

async fn end(gate: &Gate, view: &PlanView, body: Body, state: State) -> Result<Attempt, Refusal> {
    let expect = Some((view.id.clone(), view.last_index()));
    let records = vec![gate.record(&view.id, body)];
    match gate.ports.store.append(Txn { records, expect, ..Txn::default() }).await {
        Ok(_) => Ok(Attempt::Ended(state)),
        Err(err) => Err(claimed_before(err)),
    }
}

fn claimed_before(err: StoreError) -> Refusal {
    if matches!(err, StoreError::Conflict(_)) {
        let next = "the permit was claimed, or ended, by another";
        return Refusal::new(Blame::Conflict, "claimed-before", err.to_string(), next);
    }
    err.into()
}
