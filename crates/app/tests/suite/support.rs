//! What the tests share: a started stage, a bounded wait, recovery as a server does it, and the audit from outside.

use std::{collections::BTreeMap, future::Future, pin::Pin};

use holdpoint_app::{
    approve::{Decided, decide_hold},
    fake::{Effect, Setup, Stage, decider, schedule::poll_at_most, session, statement},
    port::Store as _,
    propose::{Proposal, Proposed, propose},
    recover,
    refusal::Refusal,
    run::run,
    start::start,
};
use holdpoint_domain::{
    Id,
    actor::Identity,
    approval::{Choice, HoldTerms, SignedStatement},
    flow::State,
    id::kind,
    record::{Body, Record},
};
use holdpoint_ledger::{SignedCheckpoint, Verifier};

pub(crate) type Plan = Id<kind::Plan>;

/// More polls than any test needs.
const POLLS: usize = 5_000_000;

/// Waits for a future, and says so when it never ends.
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    poll_at_most(&mut Box::pin(future), POLLS).expect("the future ends")
}

/// Polls until a record with this word is in the ledger.
pub(crate) fn poll_until<F: Future>(stage: &Stage, future: &mut Pin<Box<F>>, word: &str) {
    for _ in 0..POLLS {
        if stage.store.records().iter().any(|record| record.body.word() == word) {
            return;
        }
        assert!(poll_at_most(future, 1).is_none(), "it ended before it recorded `{word}`");
    }
    panic!("it never recorded `{word}`");
}

pub(crate) fn started(setup: Setup) -> Stage {
    let stage = Stage::new(setup);
    wait(start(&stage.gate)).unwrap();
    stage
}

/// Whoever it is proposes.
pub(crate) fn ask_as(stage: &Stage, who: &Identity, proposal: Proposal) -> Result<Proposed, Refusal> {
    wait(propose(&stage.gate, who, proposal))
}

/// Whoever it is brings a statement on a hold.
pub(crate) fn bring(
    stage: &Stage,
    who: &Identity,
    terms: &HoldTerms,
    signed: SignedStatement,
) -> Result<Decided, Refusal> {
    wait(decide_hold(&stage.gate, who, &terms.hold, signed))
}

pub(crate) fn ask(stage: &Stage, action: &str, target: &str) -> Result<Proposed, Refusal> {
    ask_as(stage, &decider("healer"), stage.proposal(action, target))
}

/// Proposes, and expects to be heard.
pub(crate) fn proposed(stage: &Stage, action: &str, target: &str) -> Proposed {
    ask(stage, action, target).unwrap()
}

/// Proposes something that waits for people.
pub(crate) fn held(stage: &Stage, action: &str, target: &str) -> (Plan, HoldTerms) {
    let proposed = proposed(stage, action, target);
    (proposed.id, proposed.terms.expect("it is held"))
}

pub(crate) fn decide(
    stage: &Stage,
    person: &str,
    terms: &HoldTerms,
    choice: Choice,
) -> Result<Decided, Refusal> {
    bring(stage, &session(person), terms, statement(person, terms, choice))
}

pub(crate) fn approved(stage: &Stage, person: &str, terms: &HoldTerms) -> Decided {
    decide(stage, person, terms, Choice::Approve).unwrap()
}

pub(crate) fn run_it(stage: &Stage, plan: &Plan) -> Result<State, Refusal> {
    wait(run(&stage.gate, plan))
}

pub(crate) fn state(stage: &Stage, plan: &Plan) -> State {
    wait(stage.view(plan)).unwrap().state
}

/// What a server does at its start, and again and again: open runs first, then what is due.
pub(crate) async fn recovering(stage: &Stage) -> Result<(), Refusal> {
    for plan in recover::unfinished(&stage.gate).await? {
        recover::resume(&stage.gate, &plan).await?;
    }
    recover::tick(&stage.gate).await?;
    Ok(())
}

pub(crate) fn recovered(stage: &Stage) {
    wait(recovering(stage)).unwrap();
}

/// The records of one plan, with their indexes.
fn records_of<'a>(records: &'a [Record], plan: &'a Plan) -> impl Iterator<Item = (u64, &'a Record)> {
    (0..).zip(records).filter(move |(_, record)| record.plan.as_ref() == Some(plan))
}

/// Looks at ledger, world and locks from outside, as somebody who trusts neither the gate nor its projections.
pub(crate) fn audit(stage: &Stage) {
    let records = stage.store.records();
    audit_log(stage);
    audit_order(stage, &records);
    let mut states: BTreeMap<Plan, State> = BTreeMap::new();
    let mut claims: BTreeMap<Plan, u32> = BTreeMap::new();
    for record in &records {
        let (Some(plan), Some(event)) = (&record.plan, record.body.event()) else { continue };
        let before = states.get(plan).copied().unwrap_or(State::New);
        states.insert(plan.clone(), holdpoint_domain::flow::next(before, event).unwrap());
        if matches!(record.body, Body::Claimed { .. }) {
            *claims.entry(plan.clone()).or_default() += 1;
        }
    }
    for (plan, state) in &states {
        assert!(claims.get(plan).copied().unwrap_or(0) <= 1, "{plan} was claimed twice");
        let row = wait(stage.store.plan(plan)).unwrap().unwrap();
        assert_eq!(row.state, *state, "{plan}");
        let holds = stage.store.holder(&row.target).as_ref() == Some(plan);
        assert_eq!(holds, state.is_running(), "{plan} is `{state}`");
    }
}

/// The whole log, by its checkpoint alone.
fn audit_log(stage: &Stage) {
    let checkpoint = SignedCheckpoint::parse(stage.store.head().checkpoint.as_bytes()).unwrap();
    let mut verifier = Verifier::new(&checkpoint, &[stage.store.log_key()], &[]).unwrap();
    stage.store.all_entries().iter().for_each(|entry| verifier.push(entry));
    let report = verifier.finish();
    assert!(report.is_sound(), "{report:?}");
}

/// Invariant 1: whatever was done outside was announced by a record that was durable before.
fn audit_order(stage: &Stage, records: &[Record]) {
    let mut effects: BTreeMap<(Plan, &str), u32> = BTreeMap::new();
    for traced in stage.world.trace() {
        let before = |plan: &Plan, is_it: &dyn Fn(&Body) -> bool| {
            records_of(records, plan).any(|(index, record)| index < traced.ledger_size && is_it(&record.body))
        };
        let names = |lease: &Id<kind::Lease>, body: &Body| match body {
            Body::Leased { lease: info } | Body::LeasedAgain { lease: info } => info.id == *lease,
            _ => false,
        };
        let (what, announced) = match (&traced.effect, &traced.plan) {
            (Effect::Minted(lease), Some(plan)) => ("mint", before(plan, &|body| names(lease, body))),
            (Effect::Revoked(lease), _) => {
                let known = records.iter().take(traced.ledger_size as usize);
                ("revoke", known.into_iter().any(|record| names(lease, &record.body)))
            }
            (Effect::Rehearsed, Some(plan)) => {
                ("rehearse", before(plan, &|body| matches!(body, Body::Leased { .. })))
            }
            (Effect::Applied, Some(plan)) => {
                ("apply", before(plan, &|body| matches!(body, Body::Applying { .. })))
            }
            (Effect::Undone, Some(plan)) => {
                ("undo", before(plan, &|body| matches!(body, Body::Undoing { .. })))
            }
            (effect, None) => panic!("{effect:?} of no plan"),
        };
        assert!(announced, "{traced:?} was not announced");
        if let Some(plan) = traced.plan.clone() {
            let decided = records_of(records, &plan).any(|(index, record)| {
                index < traced.ledger_size && matches!(record.body, Body::Claimed { .. })
            });
            assert!(decided, "{traced:?} came before its intent");
            *effects.entry((plan, what)).or_default() += 1;
        }
    }
    for ((plan, what), times) in effects {
        // An undo that was begun and not finished is begun again, under the same epoch, when the version is still ours.
        assert!(times == 1 || what == "mint" || what == "undo", "{plan}: {what} happened {times} times");
    }
}

/// Nothing that was leased can be used any more.
pub(crate) fn no_lease_lives(stage: &Stage) {
    assert_eq!(stage.world.live_leases(), [], "a lease outlived its task");
    assert_eq!(wait(stage.store.live_leases()).unwrap(), [], "a lease is not recorded as dead");
}
