//! The contract of the `Store` port, second part: runs, budgets, changes of control inputs, halts and requests.

use holdpoint_app::{
    port::{RequestAnswer, RequestNote, Store, StoreError, Txn},
    projection::{ChangeState, RunFilter},
};
use holdpoint_domain::{
    approval::{Choice, TreeHead},
    change::{Change, ChangeStatement, ChangeStatementType, ChangeTerms, Control},
    facts::Inputs,
    flow::State,
    halt::{Halt, Reach},
    record::{Body, FailWhy, Record},
    signature::Signature,
    signed::Signed,
};
use holdpoint_ledger::key::VerifierKey;

use super::contract::append;
use super::records::{Life, NOW, at, digest, genesis, id, inputs, kept, record, resumed, started, txn};

pub(crate) async fn a_run_is_counted_from_its_claim_and_looked_at_after_its_end(
    store: &dyn Store,
    _: &VerifierKey,
) {
    let (good, bad) = (Life::new("good", 1), Life::new("bad", 2));
    let listed = async |filter: RunFilter| -> Vec<(String, State, bool)> {
        let runs = store.runs(filter).await.unwrap();
        let mut rows: Vec<_> =
            runs.into_iter().map(|run| (run.plan.to_string(), run.state, run.suspends)).collect();
        rows.sort();
        rows
    };
    let owing = || RunFilter { owing: true, ..RunFilter::default() };
    let since = |ms: u64| RunFilter { since: Some(at(ms)), ..RunFilter::default() };
    append(store, good.to_permit()).await;
    assert!(store.run(&id(&good.plan)).await.unwrap().is_none() && store.claims() == 0);
    append(store, good.to_applied()).await;
    let run = store.run(&id(&good.plan)).await.unwrap().unwrap();
    assert_eq!((run.applied, run.footprint.clone(), run.state), (1, good.footprint(), State::Applied));
    assert_eq!(listed(since(NOW + 1)).await.len(), 1, "open ones count however old");
    append(store, vec![good.succeeded()]).await;
    assert_eq!((listed(since(NOW + 1)).await.len(), listed(since(NOW)).await.len()), (0, 1));
    assert!(listed(owing()).await.is_empty());
    append(store, [bad.to_permit(), vec![bad.claimed()]].concat()).await;
    append(store, vec![bad.record(Body::Failed { why: FailWhy::NoLease })]).await;
    assert_eq!(listed(owing()).await, [(bad.plan.clone(), State::Failed, true)]);
    let owed = Body::ReviewOwed { due_at_ms: at(NOW + 5), owner: id("web-team") };
    append(store, vec![good.record(owed)]).await;
    assert_eq!(listed(owing()).await.len(), 2);
    append(store, vec![good.reviewed(true), bad.reviewed(false)]).await;
    assert_eq!(listed(owing()).await, [(bad.plan.clone(), State::Failed, true)], "a no keeps it");
    append(store, vec![bad.reviewed(true)]).await;
    assert!(listed(owing()).await.is_empty());
    assert_eq!(store.claims(), 2);
}

pub(crate) async fn inv02_a_step_is_applied_once_and_in_its_order(store: &dyn Store, _: &VerifierKey) {
    let life = Life::new("a", 1);
    let applying = |step| life.record(Body::Applying { step, before: digest("version") });
    let applied = |step, last| life.record(Body::Applied { step, after: digest("after"), last });
    let rehearsed = life.record(Body::Rehearsed { steps: 2 });
    append(store, [life.to_permit(), vec![life.claimed(), life.leased(), rehearsed]].concat()).await;
    assert!(store.append(txn(vec![applying(1)])).await.is_err(), "the first one comes first");
    append(store, vec![applying(0)]).await;
    assert!(store.append(txn(vec![applied(1, true)])).await.is_err(), "not the one at hand");
    append(store, vec![applied(0, false)]).await;
    assert!(store.append(txn(vec![applying(0)])).await.is_err(), "a second time");
    append(store, vec![applying(1)]).await;
    let failed = life.record(Body::Failed { why: FailWhy::NoEffect });
    assert!(store.append(txn(vec![failed])).await.is_err(), "something is left changed");
    let undoing = Body::Undoing { step: 0, from: digest("after"), why: FailWhy::NoEffect };
    append(store, vec![life.record(undoing), life.record(Body::Undone { version: digest("version") })]).await;
}

pub(crate) async fn a_budget_that_was_counted_before_another_claim_does_not_hold(
    store: &dyn Store,
    _: &VerifierKey,
) {
    let (a, b) = (Life::new("a", 1), Life::new("b", 2));
    append(store, [a.to_permit(), b.to_permit()].concat()).await;
    let claim = |life: &Life| Txn { expect_claims: Some(0), ..txn(vec![life.claimed()]) };
    store.append(claim(&a)).await.unwrap();
    assert_eq!(store.append(claim(&b)).await, Err(StoreError::Crowded));
    store.append(Txn { expect_claims: Some(1), ..txn(vec![b.claimed()]) }).await.unwrap();
}

pub(crate) async fn t38_a_request_is_known_by_its_key(store: &dyn Store, _: &VerifierKey) {
    let (key, body) = (digest("key"), digest("body"));
    let received = |at_ms: u64| Txn {
        request: Some(RequestNote::Received { key, body, at: at(at_ms) }),
        ..Txn::default()
    };
    assert_eq!(store.request(&key).await.unwrap(), None);
    store.append(received(NOW)).await.unwrap();
    assert_eq!(store.append(received(NOW)).await, Err(StoreError::KnownRequest));
    let row = store.request(&key).await.unwrap().unwrap();
    assert_eq!((row.body, row.answer), (body, None));
    let answer = RequestAnswer { status: 201, body: "{}".to_owned() };
    let request = Some(RequestNote::Answered { key, answer: answer.clone() });
    store.append(Txn { request, ..Txn::default() }).await.unwrap();
    assert_eq!(store.request(&key).await.unwrap().unwrap().answer, Some(answer));
    assert_eq!(store.head().size, 0, "what is remembered of a request is no entry");
}

pub(crate) async fn inv15_a_halt_is_in_force_until_somebody_resumes(store: &dyn Store, _: &VerifierKey) {
    let halt = Halt { reach: Reach::Soft, by: Some(id("ada")), at_ms: at(NOW) };
    assert_eq!(store.halt(), None);
    append(store, vec![record(None, Body::Halted { halt: halt.clone() })]).await;
    assert_eq!(store.halt(), Some(halt.clone()));
    append(store, vec![resumed(&halt)]).await;
    assert_eq!(store.halt(), None);
}

pub(crate) async fn inv13_nothing_is_decided_under_inputs_that_were_replaced(
    store: &dyn Store,
    _: &VerifierKey,
) {
    let life = Life::new("a", 1);
    append(store, [vec![genesis()], life.to_permit()].concat()).await;
    append(store, replaced("change-1", "policy", "new", &["bob"])).await;
    assert_eq!(store.append(txn(vec![life.claimed()])).await, Err(StoreError::StaleInputs));
    let judged_by = |inputs: Inputs| Txn { expect_inputs: Some(inputs), ..txn(vec![started()]) };
    assert_eq!(store.append(judged_by(inputs())).await, Err(StoreError::StaleInputs));
    store.append(judged_by(Inputs { policy: digest("new"), ..inputs() })).await.unwrap();
}

/// A change of the policy from its proposal to its activation.
fn replaced(change: &str, old: &str, new: &str, approvers: &[&str]) -> Vec<Record> {
    let terms = ChangeTerms {
        id: id(change),
        head: TreeHead { origin: "gate.example/log".to_owned(), size: 0, root: digest("root") },
        control: Control::Policy,
        old: digest(old),
        new: digest(new),
        content: kept("permit").commitment,
        author: id("ada"),
        needed: 1,
        nonce: id("once-1"),
        expires_at_ms: at(NOW + 60_000),
    };
    let mut records = vec![record(None, Body::ChangeProposed { terms: Box::new(terms.clone()) })];
    records.extend(approvers.iter().map(|approver| {
        let statement = ChangeStatement {
            r#type: ChangeStatementType::V1,
            terms: terms.clone(),
            approver: id(approver),
            choice: Choice::Approve,
        };
        let signed = Signed { statement, signature: Signature::from_bytes([0; 64]).into() };
        record(None, Body::ChangeDecided { statement: Box::new(signed) })
    }));
    let change = Change {
        id: id(change),
        control: Control::Policy,
        old: digest(old),
        new: digest(new),
        author: id("ada"),
    };
    records.push(record(None, Body::Changed { change, retired: None }));
    records
}

pub(crate) async fn inv13_inputs_change_only_by_a_change_of_what_is_in_force(
    store: &dyn Store,
    _: &VerifierKey,
) {
    let all = async |records: Vec<Record>| store.append(txn(records)).await;
    assert!(
        all(replaced("c-1", "policy", "new", &["bob"])).await.is_err(),
        "before genesis nothing is in force"
    );
    append(store, vec![genesis()]).await;
    assert_eq!(store.active_inputs(), Some(inputs()));
    let bare = replaced("c-2", "policy", "new", &["bob"]).pop().unwrap();
    assert!(all(vec![bare]).await.is_err(), "nobody proposed it");
    assert!(all(replaced("c-3", "policy", "new", &[])).await.is_err(), "nobody approved it");
    assert!(all(replaced("c-4", "policy", "new", &["ada"])).await.is_err(), "its author approved it");
    assert!(all(replaced("c-5", "policy", "new", &["bob", "bob"])).await.is_err(), "one person twice");
    append(store, replaced("c-6", "policy", "new", &["bob"])).await;
    assert_eq!(store.active_inputs(), Some(Inputs { policy: digest("new"), ..inputs() }));
    assert!(all(replaced("c-6", "new", "third", &["bob"])).await.is_err(), "a change comes once");
    assert!(
        all(replaced("c-7", "policy", "third", &["bob"])).await.is_err(),
        "it replaces what was in force"
    );
    let row = store.input_change(&id("c-6")).await.unwrap().unwrap();
    assert_eq!((row.state, row.approvals), (ChangeState::Activated, vec![id("bob")]));
    assert_eq!(store.input_changes(10).await.unwrap().len(), 1);
}
