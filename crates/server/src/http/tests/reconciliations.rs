//! What was done outside of Holdpoint, over HTTP.

use holdpoint_app::{
    fake::signed,
    port::{Clock as _, Store as _},
};
use holdpoint_domain::{
    Timestamp,
    digest::{Salt, base64},
    reconcile::{Account, Part, ReconcileStatement, Words},
};
use serde_json::{Value, json};

use super::bench::Bench;
use crate::http::wire;

fn words() -> Words {
    Words {
        did: "restarted it by hand \u{202e} with systemctl".to_owned(),
        reason: "the gate was down, and the checkout".to_owned(),
        before: "it answered nothing at all".to_owned(),
        after: "it answers as it should".to_owned(),
    }
}

/// What alice and bob did.
fn account(bench: &Bench) -> Account {
    let ago = |ms: u64| Timestamp::from_ms(bench.clock.now().ms().saturating_sub(ms)).unwrap();
    Account {
        origin: bench.store.head().origin.clone(),
        action: Some("process.restart".parse().unwrap()),
        target: "worker-1".parse().unwrap(),
        from_ms: ago(2_000),
        until_ms: ago(1_000),
        people: ["alice", "bob"].map(|name| name.parse().unwrap()).into(),
        incident: None,
        words: words().commit(&Salt::new([7; 32])).unwrap(),
    }
}

/// A report, as the body of a request.
pub(super) fn report(bench: &Bench, name: &str) -> Value {
    let mut body = part(bench, name, Part::Reported);
    body["words"] = serde_json::to_value(words()).unwrap();
    body["salt"] = base64(&[7; 32]).into();
    body
}

fn part(bench: &Bench, name: &str, part: Part) -> Value {
    let statement = ReconcileStatement::new(account(bench), part, name.parse().unwrap());
    json!({"statement": signed(statement)})
}

const PATH: &str = "/v1/reconciliations";

#[tokio::test]
async fn an_account_is_reported_confirmed_and_looked_at() {
    let bench = Bench::new().await;
    let done: wire::Reconciled = bench.post(PATH, "person.alice", &report(&bench, "alice")).await.json();
    assert_eq!((done.digest, done.state), (account(&bench).digest().unwrap(), Part::Reported));
    let listed: wire::Reconciliations = bench.get(PATH, "person.carol").await.json();
    let row = &listed.accounts[0];
    assert_eq!((&row.account, row.words.as_ref()), (&account(&bench), Some(&words())));
    assert_eq!((row.salt.as_deref(), row.digest), (Some(base64(&[7; 32]).as_str()), done.digest));
    assert_eq!((row.reported_by.as_str(), &row.confirmed_by), ("alice", &None));
    for (who, what) in [("bob", Part::Confirmed), ("carol", Part::Disputed)] {
        let body = part(&bench, who, what);
        let done: wire::Reconciled = bench.post(PATH, &format!("person.{who}"), &body).await.json();
        assert_eq!(done.state, what);
    }
    let listed: wire::Reconciliations = bench.get(PATH, "person.carol").await.json();
    assert_eq!(listed.accounts[0].looked.as_ref().unwrap().as_str(), "carol");
    assert_eq!(bench.count("reconciled"), 3);
    assert_eq!(bench.count("permitted") + bench.count("claimed") + bench.count("proposed"), 0);
}

#[tokio::test]
async fn a_refusal_says_what_is_wrong_and_what_to_do() {
    let bench = Bench::new().await;
    let confirm = part(&bench, "bob", Part::Confirmed);
    let early = bench.post(PATH, "person.bob", &confirm).await.problem();
    assert_eq!((early.status, early.rule.as_str()), (404, "no-such-account"));
    for (field, value, rule) in [
        ("salt", json!("short"), "bad-salt"),
        ("salt", Value::Null, "bad-words"),
        ("words", Value::Null, "bad-words"),
    ] {
        let mut body = report(&bench, "alice");
        body[field] = value;
        let problem = bench.post(PATH, "person.alice", &body).await.problem();
        assert_eq!((problem.status, problem.rule.as_str()), (400, rule), "{field}");
    }
    assert_eq!(bench.post(PATH, "person.alice", &report(&bench, "alice")).await.status, 200);
    let twice = bench.post(PATH, "person.alice", &part(&bench, "alice", Part::Confirmed)).await.problem();
    assert_eq!((twice.status, twice.rule.as_str()), (409, "same-person"));
    let agent = bench.post(PATH, "agent.own.decide", &confirm).await.problem();
    assert_eq!((agent.status, agent.rule.as_str()), (403, "not-a-person"));
    assert_eq!(bench.count("reconciled"), 1);
}
