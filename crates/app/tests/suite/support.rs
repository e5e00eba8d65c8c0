//! What the tests share: a started stage, a bounded wait, recovery as a server does it, and the audit from outside.

use std::{collections::BTreeMap, future::Future, pin::Pin};

use holdpoint_app::{
    approve::{Decided, decide_hold},
    fake::{
        Effect, Setup, Stage,
        controls::{id, limits},
        decider,
        schedule::poll_at_most,
        session, signed, statement,
    },
    port::{Clock as _, Store as _, Txn, store::root_digest},
    propose::{Proposal, Proposed, propose},
    recover,
    refusal::Refusal,
    run::run,
    start::start,
};
use holdpoint_domain::{
    Commitment, Digest, Id, Millis,
    actor::Identity,
    approval::{Choice, HoldTerms, SignedStatement, TreeHead},
    change::{Change, ChangeStatement, ChangeStatementType, ChangeTerms, Control},
    digest::Salt,
    flow::State,
    halt::{Halt, Reach, ResumeStatement},
    id::kind,
    limits::{Budget, Limits, LimitsSpec, Per},
    record::{Body, Record, Request},
    signed::Signed,
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

/// Polls until the record of a step with this word is in the ledger.
pub(crate) fn poll_until_step<F: Future>(stage: &Stage, future: &mut Pin<Box<F>>, word: &str, its: u32) {
    let is_it = |body: &Body| match body {
        Body::Applying { step, .. }
        | Body::Applied { step, .. }
        | Body::Undoing { step, .. }
        | Body::Unwound { step, .. } => body.word() == word && *step == its,
        _ => false,
    };
    for _ in 0..POLLS {
        if stage.store.records().iter().any(|record| is_it(&record.body)) {
            return;
        }
        assert!(poll_at_most(future, 1).is_none(), "it ended before it recorded `{word}` of step {its}");
    }
    panic!("it never recorded `{word}` of step {its}");
}

pub(crate) fn started(setup: Setup) -> Stage {
    let stage = Stage::new(setup);
    wait(start(&stage.gate)).unwrap();
    stage
}

/// Whoever it is proposes.
pub(crate) fn ask_as(stage: &Stage, who: &Identity, proposal: Proposal) -> Result<Proposed, Refusal> {
    wait(propose(&stage.gate, &who.clone().into(), proposal))
}

/// Proposes several steps, and expects to be heard.
pub(crate) fn proposed_all(stage: &Stage, steps: &[(&str, &str)]) -> Proposed {
    ask_as(stage, &decider("healer"), stage.proposal_of(steps)).unwrap()
}

/// Control inputs under which one plan may have several targets.
pub(crate) fn several() -> Setup {
    let mut setup = Setup::default();
    for action in &mut setup.parts.actions {
        action.cap.targets = 4;
    }
    setup
}

pub(crate) fn budgets(budgets: &[Budget]) -> Limits {
    limits(LimitsSpec { budgets: budgets.to_vec(), ..LimitsSpec::default() })
}

/// A budget of runs at once, over everything.
pub(crate) fn concurrent(name: &str, max: u32) -> Budget {
    let per = Per::Everything;
    Budget { id: id(name), per, environments: [].into(), concurrent: Some(max), starts: None, steps: None }
}

/// Terms of a change of the policy that need one approval, as nobody proposed them yet.
pub(crate) fn terms(stage: &Stage, author: &str) -> ChangeTerms {
    let head = stage.store.head();
    ChangeTerms {
        id: id("change-1"),
        head: TreeHead { origin: head.origin.clone(), size: head.size, root: root_digest(&head.root) },
        control: Control::Policy,
        old: stage.gate.inputs.policy,
        new: Digest::of_bytes(b"new"),
        content: Commitment::to(&Salt::new([0; 32]), b"new"),
        author: id(author),
        needed: 1,
        nonce: id("once-1"),
        expires_at_ms: stage.clock.now().plus(Millis::secs(60)).unwrap(),
    }
}

/// Has the ledger activate what a restart found, as if alice had proposed it and bob had approved.
pub(crate) fn activated(stage: &Stage) {
    let active = stage.store.active_inputs().unwrap();
    for control in Control::ALL {
        let (old, new) = (control.of(&active), control.of(&stage.gate.inputs));
        if old == new {
            continue;
        }
        let id = id(&format!("change-{}", stage.store.head().size));
        let terms = ChangeTerms { id: id.clone(), control, old, new, ..terms(stage, "alice") };
        let statement = Box::new(verdict("bob", &terms, Choice::Approve));
        let change = Change { id, control, old, new, author: terms.author.clone() };
        let record = |name: &str, body| Record::new(stage.clock.now(), session(name).actor(), None, body);
        let records = vec![
            record("alice", Body::ChangeProposed { terms: Box::new(terms) }),
            record("bob", Body::ChangeDecided { statement }),
            record("bob", Body::Changed { change, retired: None }),
        ];
        wait(stage.store.append(Txn { records, ..Txn::default() })).unwrap();
    }
}

/// What a person says about a change.
pub(crate) fn verdict(person: &str, terms: &ChangeTerms, choice: Choice) -> Signed<ChangeStatement> {
    let r#type = ChangeStatementType::V1;
    signed(ChangeStatement { r#type, terms: terms.clone(), approver: id(person), choice })
}

/// What a person signs to end the halt in force, or one that is not.
pub(crate) fn end_of_halt(stage: &Stage, person: &str) -> Signed<ResumeStatement> {
    let none = Halt { reach: Reach::Soft, by: None, at_ms: stage.clock.now() };
    let halt = stage.gate.halted().unwrap_or(none);
    signed(ResumeStatement::new(stage.store.head().origin.clone(), halt, id(person)))
}

/// The refusals in the ledger, in order.
pub(crate) fn refusals(stage: &Stage) -> Vec<(Request, String)> {
    let refusal = |record: Record| match record.body {
        Body::Refused { request, rule } => Some((request, rule.to_string())),
        _ => None,
    };
    stage.store.records().into_iter().filter_map(refusal).collect()
}

/// How many records have this word.
pub(crate) fn count(stage: &Stage, word: &str) -> usize {
    stage.store.records().iter().filter(|record| record.body.word() == word).count()
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
        for target in wait(stage.view(plan)).unwrap().plan.targets() {
            let holds = stage.store.holder(&target).as_ref() == Some(plan);
            assert_eq!(holds, state.is_running(), "{plan} is `{state}`, {target}");
        }
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
    let mut effects: BTreeMap<(Plan, &str, Option<Id<kind::Target>>), u32> = BTreeMap::new();
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
                let its = step_of(records, plan, traced.target.as_ref());
                ("apply", before(plan, &|body| matches!(body, Body::Applying { step, .. } if *step == its)))
            }
            (Effect::Undone, Some(plan)) => {
                let its = step_of(records, plan, traced.target.as_ref());
                ("undo", before(plan, &|body| matches!(body, Body::Undoing { step, .. } if *step == its)))
            }
            (effect, None) => panic!("{effect:?} of no plan"),
        };
        assert!(announced, "{traced:?} was not announced");
        if let Some(plan) = traced.plan.clone() {
            let decided = records_of(records, &plan).any(|(index, record)| {
                index < traced.ledger_size && matches!(record.body, Body::Claimed { .. })
            });
            assert!(decided, "{traced:?} came before its intent");
            *effects.entry((plan, what, traced.target)).or_default() += 1;
        }
    }
    for ((plan, what, _), times) in effects {
        // An undo that was begun and not finished is begun again, under the same epoch, when the version is still ours.
        assert!(times == 1 || what == "mint" || what == "undo", "{plan}: {what} happened {times} times");
    }
}

/// The number of the step that acts on a target.
fn step_of(records: &[Record], plan: &Plan, target: Option<&Id<kind::Target>>) -> u32 {
    let steps = records_of(records, plan).find_map(|(_, record)| match &record.body {
        Body::Proposed { plan, .. } => Some(plan.steps()),
        _ => None,
    });
    steps.unwrap().iter().position(|step| Some(&step.target) == target).unwrap() as u32
}

/// Nothing that was leased can be used any more.
pub(crate) fn no_lease_lives(stage: &Stage) {
    assert_eq!(stage.world.live_leases(), [], "a lease outlived its task");
    assert_eq!(wait(stage.store.live_leases()).unwrap(), [], "a lease is not recorded as dead");
}
