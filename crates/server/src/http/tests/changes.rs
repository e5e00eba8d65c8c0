//! Changes of control inputs over HTTP.

use holdpoint_app::{fake::signed, port::Document};
use holdpoint_domain::{
    approval::Choice,
    change::{ChangeStatement, ChangeStatementType, ChangeTerms},
    digest::base64,
};
use serde_json::{Value, json};

use super::bench::Bench;
use crate::http::wire::{self, ChangeState};

/// An administrator's signed statement on a change, as the body of a request.
pub(super) fn decision(name: &str, terms: &ChangeTerms, choice: Choice) -> Value {
    let (r#type, approver) = (ChangeStatementType::V1, name.parse().unwrap());
    let statement = ChangeStatement { r#type, terms: terms.clone(), approver, choice };
    serde_json::to_value(signed(statement)).unwrap()
}

async fn decide(bench: &Bench, name: &str, terms: &ChangeTerms, choice: Choice) -> super::bench::Answer {
    let path = format!("/v1/changes/{}/decisions", terms.id);
    bench.post(&path, &format!("person.{name}"), &decision(name, terms, choice)).await
}

#[tokio::test]
async fn a_change_comes_in_force_with_the_last_approval_and_the_answer_says_so() {
    let bench = Bench::new().await;
    let terms = bench.change().await;
    assert_eq!(terms.needed, 2);
    let first: wire::ChangeDecided = decide(&bench, "bob", &terms, Choice::Approve).await.json();
    assert_eq!((first.state, first.approvals, first.needed), (ChangeState::Open, 1, 2));
    let last: wire::ChangeDecided = decide(&bench, "carol", &terms, Choice::Approve).await.json();
    assert_eq!((last.state, last.digest), (ChangeState::Activated, terms.new));
    assert_eq!(bench.count("changed"), 1);
    let listed: wire::Changes = bench.get("/v1/changes", "person.bob").await.json();
    let change = &listed.changes[0];
    assert_eq!((&change.id, change.state, change.approvals.len()), (&terms.id, ChangeState::Activated, 2));
    assert_eq!(decide(&bench, "bob", &terms, Choice::Approve).await.problem().rule, "not-open");
}

#[tokio::test]
async fn inv12_whoever_signs_can_check_that_the_files_are_those_of_the_terms() {
    let bench = Bench::new().await;
    let terms = bench.change().await;
    let shown: wire::ChangeDetail =
        bench.get(&format!("/v1/changes/{}", terms.id), "person.bob").await.json();
    assert_eq!((&shown.terms, shown.state), (&terms, ChangeState::Open));
    assert_eq!(shown.active["policy"], "first");
    let files = shown.proposed.unwrap();
    assert_eq!(files["policy"], "second");
    let text = Document { files }.text().unwrap();
    let kept = holdpoint_app::port::Store::text(bench.store.as_ref(), &terms.content).await.unwrap().unwrap();
    assert_eq!(shown.salt.unwrap(), base64(kept.salt.as_bytes()));
    assert!(terms.content.opens_to(&kept.salt, text.as_bytes()));
    assert_eq!(bench.get("/v1/changes/change-0", "person.bob").await.problem().rule, "no-such-change");
}

#[tokio::test]
async fn t17_the_path_and_the_statement_name_one_change() {
    let bench = Bench::new().await;
    let (one, other) = (bench.change().await, bench.change().await);
    let path = format!("/v1/changes/{}/decisions", other.id);
    let body = decision("bob", &one, Choice::Approve);
    let problem = bench.post(&path, "person.bob", &body).await.problem();
    assert_eq!((problem.status, problem.rule.as_str()), (400, "other-change"));
    assert_eq!(bench.count("change_decided"), 0);
}

#[tokio::test]
async fn inv05_who_may_not_decide_is_refused_on_record() {
    let bench = Bench::new().await;
    let terms = bench.change().await;
    let path = format!("/v1/changes/{}/decisions", terms.id);
    let cases = [
        ("person.alice", "alice", "not-an-administrator"),
        ("person.carol", "bob", "other-signer"),
        ("agent.own.decide", "bob", "not-a-person"),
    ];
    for (token, name, rule) in cases {
        let before = bench.count("refused");
        let body = decision(name, &terms, Choice::Approve);
        let problem = bench.post(&path, token, &body).await.problem();
        assert_eq!((problem.status, problem.rule.as_str()), (403, rule));
        assert_eq!(bench.count("refused"), before + 1, "{rule}");
    }
    let mut flipped = decision("bob", &terms, Choice::Reject);
    flipped["statement"]["choice"] = json!("approve");
    assert_eq!(bench.post(&path, "person.bob", &flipped).await.problem().rule, "statement-refused");
    let rejected: wire::ChangeDecided = decide(&bench, "bob", &terms, Choice::Reject).await.json();
    assert_eq!(rejected.state, ChangeState::Rejected);
}

#[tokio::test]
async fn what_does_not_load_is_not_proposed() {
    let bench = Bench::new().await;
    let cases = [
        json!({"control": "policy", "files": {"policy": "broken"}}),
        json!({"control": "policy", "files": {"another\u{202e}": "second"}}),
    ];
    for body in cases {
        let answer = bench.post("/v1/changes", "person.bob", &body).await;
        let problem = answer.problem();
        assert_eq!((problem.status, problem.rule.as_str()), (400, "bad-change"), "{body}");
        assert!(!answer.text().contains('\u{202e}'));
    }
}

#[tokio::test]
async fn t30_only_a_change_may_be_large() {
    let bench = Bench::new().await;
    let files = |size: usize| json!({"control": "policy", "files": {"policy": "x".repeat(size)}});
    assert_eq!(bench.post("/v1/changes", "person.bob", &files(1024 * 1024)).await.status, 201);
    assert_eq!(
        bench.post("/v1/changes", "person.bob", &files(2 * 1024 * 1024)).await.problem().rule,
        "bad-change"
    );
    assert_eq!(bench.post("/v1/changes", "person.bob", &files(3 * 1024 * 1024)).await.problem().status, 413);
    let halt = json!({"reach": "x".repeat(300 * 1024)});
    assert_eq!(bench.post("/v1/halt", "person.bob", &halt).await.problem().status, 413);
}
