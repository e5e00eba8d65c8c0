//! The store's guards of runs, changes and requests: what a use case forgets, the store refuses.

use holdpoint_app::{
    fake::{Failure, Setup, Stage, When, controls::id},
    port::{Clock as _, RequestAnswer, RequestNote, RequestRow, Store as _, StoreError, Txn},
    projection::{ChangeState, RunFilter},
    run::run,
};
use holdpoint_domain::{
    Digest,
    actor::Actor,
    approval::Choice,
    change::ChangeTerms,
    flow::State,
    record::{Body, FailWhy, Record},
};

use super::{
    steps::THREE,
    support::{
        Plan, audit, poll_until, poll_until_step, proposed, proposed_all, run_it, several, started, terms,
        verdict, wait,
    },
};

fn append(stage: &Stage, plan: Option<&Plan>, body: Body) -> Result<(), StoreError> {
    let records = vec![Record::new(stage.clock.now(), Actor::Gate, plan.cloned(), body)];
    wait(stage.store.append(Txn { records, ..Txn::default() })).map(|_| ())
}

fn note(stage: &Stage, request: RequestNote) -> Result<(), StoreError> {
    wait(stage.store.append(Txn { request: Some(request), ..Txn::default() })).map(|_| ())
}

fn received(stage: &Stage, key: &[u8], body: &[u8]) -> Result<(), StoreError> {
    let (key, body) = (Digest::of_bytes(key), Digest::of_bytes(body));
    note(stage, RequestNote::Received { key, body, at: stage.clock.now() })
}

#[test]
fn t38_a_request_is_received_once_and_its_answer_is_read_back() {
    let mut stage = started(Setup::default());
    let (key, body) = (Digest::of_bytes(b"key"), Digest::of_bytes(b"body"));
    let asked = |stage: &Stage| wait(stage.store.request(&key)).unwrap();
    assert_eq!(asked(&stage), None);
    received(&stage, b"key", b"body").unwrap();
    assert_eq!(asked(&stage), Some(RequestRow { body, answer: None }));
    for other in [b"body", b"othr"] {
        assert_eq!(received(&stage, b"key", other), Err(StoreError::KnownRequest));
    }
    received(&stage, b"another key", b"body").unwrap();
    let answer = RequestAnswer { status: 201, body: "{}".to_owned() };
    note(&stage, RequestNote::Answered { key, answer: answer.clone() }).unwrap();
    let row = RequestRow { body, answer: Some(answer) };
    assert_eq!(asked(&stage), Some(row.clone()));
    assert_eq!(received(&stage, b"key", b"body"), Err(StoreError::KnownRequest));
    stage.restart();
    assert_eq!(asked(&stage), Some(row));
    assert_eq!(received(&stage, b"key", b"body"), Err(StoreError::KnownRequest));
}

#[test]
fn t38_a_request_whose_transaction_is_refused_is_not_known() {
    let stage = started(Setup::default());
    let (key, body) = (Digest::of_bytes(b"key"), Digest::of_bytes(b"body"));
    let at = stage.clock.now();
    let request = Some(RequestNote::Received { key, body, at });
    let records = vec![Record::new(at, Actor::Gate, Some(id("plan-x")), Body::Expired)];
    wait(stage.store.append(Txn { records, request: request.clone(), ..Txn::default() })).unwrap_err();
    stage.store.fail(When::Nth(0), Failure::Full);
    wait(stage.store.append(Txn { request, ..Txn::default() })).unwrap_err();
    assert_eq!(wait(stage.store.request(&key)).unwrap(), None);
    // And what is known takes its records down with it.
    received(&stage, b"key", b"body").unwrap();
    let size = stage.store.head().size;
    let records = vec![Record::new(
        at,
        Actor::Gate,
        None,
        Body::Started { inputs: stage.gate.inputs, development: false },
    )];
    let request = Some(RequestNote::Received { key, body, at });
    let again = wait(stage.store.append(Txn { records, request, ..Txn::default() }));
    assert_eq!(again, Err(StoreError::KnownRequest));
    assert_eq!(stage.store.head().size, size);
}

#[test]
fn inv02_whoever_counted_before_another_claim_is_refused() {
    let stage = started(Setup::default());
    assert_eq!(stage.store.claims(), 0);
    let txn = |claims| Txn { expect_claims: Some(claims), ..Txn::default() };
    wait(stage.store.append(txn(0))).unwrap();
    let plan = proposed(&stage, "flag.switch", "worker-1").id;
    let mut running = Box::pin(run(&stage.gate, &plan));
    poll_until(&stage, &mut running, "claimed");
    assert_eq!(stage.store.claims(), 1);
    for stale in [0, 2] {
        assert_eq!(wait(stage.store.append(txn(stale))), Err(StoreError::Crowded));
    }
    wait(running).unwrap();
    // The end of a run gives nothing back here: the count is of claims.
    assert_eq!(stage.store.claims(), 1);
    wait(stage.store.append(txn(1))).unwrap();
}

#[test]
fn inv02_steps_are_recorded_in_order_each_once() {
    let stage = started(several());
    let plan = proposed_all(&stage, &THREE).id;
    let mut running = Box::pin(run(&stage.gate, &plan));
    let version = Digest::of_bytes(b"any");
    let applying = |step| Body::Applying { step, before: version };
    let applied = |step, last| Body::Applied { step, after: version, last };
    poll_until(&stage, &mut running, "rehearsed");
    for step in [1, 2, 3] {
        assert!(matches!(append(&stage, Some(&plan), applying(step)), Err(StoreError::Flow(_))));
    }
    poll_until_step(&stage, &mut running, "applying", 0);
    for step in [1, 2] {
        assert!(matches!(append(&stage, Some(&plan), applied(step, false)), Err(StoreError::Flow(_))));
    }
    poll_until_step(&stage, &mut running, "applied", 0);
    for step in [0, 2] {
        assert!(matches!(append(&stage, Some(&plan), applying(step)), Err(StoreError::Flow(_))));
    }
    poll_until_step(&stage, &mut running, "applying", 1);
    // Once a step was applied nobody says that nothing changed.
    let failed = append(&stage, Some(&plan), Body::Failed { why: FailWhy::NoEffect });
    assert!(matches!(failed, Err(StoreError::Flow(_))));
    assert_eq!(wait(running), Ok(State::Succeeded));
    let row = wait(stage.store.run(&plan)).unwrap().unwrap();
    assert_eq!((row.applied, row.state, row.targets.len()), (3, State::Succeeded, 3));
    audit(&stage);
}

#[test]
fn runs_are_found_by_time_incident_and_debt() {
    let mut stage = started(Setup::default());
    let plan = proposed(&stage, "flag.switch", "worker-1").id;
    assert_eq!(wait(stage.store.run(&plan)).unwrap(), None);
    run_it(&stage, &plan).unwrap();
    stage.restart();
    let found = |filter| wait(stage.store.runs(filter)).unwrap().len();
    let claimed_at = wait(stage.store.run(&plan)).unwrap().unwrap().claimed_at;
    assert_eq!(found(RunFilter::default()), 0);
    assert_eq!(found(RunFilter { since: Some(claimed_at), ..RunFilter::default() }), 1);
    let row = wait(stage.store.run(&plan)).unwrap().unwrap();
    assert_eq!(found(RunFilter { since: Some(row.last_at()), ..RunFilter::default() }), 1);
    let after = row.last_at().plus(holdpoint_domain::Millis::new(1).unwrap()).unwrap();
    assert_eq!(found(RunFilter { since: Some(after), ..RunFilter::default() }), 0);
    assert_eq!(found(RunFilter { owing: true, ..RunFilter::default() }), 1);
    assert_eq!(found(RunFilter { incident: Some(id("inc-1")), ..RunFilter::default() }), 0);
    // Nobody owes a look at what never ran.
    let other = proposed(&stage, "flag.switch", "worker-2").id;
    let owed = Body::ReviewOwed { due_at_ms: after, owner: id("shop-team") };
    assert!(matches!(append(&stage, Some(&other), owed), Err(StoreError::Flow(_))));
}

/// Has a change proposed, past every use case.
fn propose_change(stage: &Stage, terms: &ChangeTerms) -> Result<(), StoreError> {
    append(stage, None, Body::ChangeProposed { terms: Box::new(terms.clone()) })
}

fn decide_change(stage: &Stage, who: &str, terms: &ChangeTerms, choice: Choice) -> Result<(), StoreError> {
    append(stage, None, Body::ChangeDecided { statement: Box::new(verdict(who, terms, choice)) })
}

#[test]
fn inv13_the_store_counts_approvals_for_itself() {
    let mut stage = started(Setup::default());
    let terms = ChangeTerms { needed: 2, ..terms(&stage, "alice") };
    let open = |result: Result<(), StoreError>| assert!(matches!(result, Err(StoreError::NotOpen(_))));
    open(decide_change(&stage, "bob", &terms, Choice::Approve));
    propose_change(&stage, &terms).unwrap();
    open(propose_change(&stage, &terms));
    // Neither the author nor anybody twice.
    open(decide_change(&stage, "alice", &terms, Choice::Approve));
    decide_change(&stage, "bob", &terms, Choice::Approve).unwrap();
    open(decide_change(&stage, "bob", &terms, Choice::Approve));
    let row = wait(stage.store.input_change(&terms.id)).unwrap().unwrap();
    assert_eq!((row.state, row.approvals.len(), row.signatures.len()), (ChangeState::Open, 1, 1));
    stage.restart();
    assert_eq!(wait(stage.store.input_change(&terms.id)).unwrap(), Some(row));
    decide_change(&stage, "carol", &terms, Choice::Reject).unwrap();
    open(decide_change(&stage, "dave", &terms, Choice::Approve));
    assert_eq!(wait(stage.store.input_changes(10)).unwrap()[0].state, ChangeState::Rejected);
    audit(&stage);
}
