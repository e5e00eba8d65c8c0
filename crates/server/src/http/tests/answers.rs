//! What a proposal is answered with, and what a plan looks like.

use axum::http::header;
use holdpoint_app::fake::{Policy, Probe};
use holdpoint_domain::{decision::Answer as Said, flow::State};
use serde_json::{Value, json};

use super::bench::{Bench, plan};
use crate::http::wire;

const OWN: &str = "agent.own.decide";

#[tokio::test]
async fn an_allowed_plan_is_created_and_runs() {
    let bench = Bench::new().await;
    let answer = bench.post("/v1/plans", OWN, &plan("process.restart", "worker-1")).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let proposed: wire::Proposed = answer.json();
    assert_eq!((proposed.answer, proposed.state), (Said::Allow, State::Permitted));
    assert_eq!(answer.headers[header::LOCATION], format!("/v1/plans/{}", proposed.id));

    let ended = loop {
        let plan = bench.plan(&proposed).await;
        if plan.state == State::Succeeded {
            break plan;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(ended.plan_digest, ended.plan.digest().unwrap());
    assert_eq!(ended.plan_digest, proposed.plan_digest);
    assert_eq!(ended.run, wire::Run::default());
    assert_eq!(ended.timeline[0].index, proposed.index);
    assert_eq!(ended.timeline[0].actor, "agent own (decide)");
    let records = bench.store.records();
    assert_eq!(
        ended.timeline.len(),
        records.iter().filter(|r| r.plan.as_ref() == Some(&proposed.id)).count()
    );
}

#[tokio::test]
async fn a_plan_shows_everything_but_the_permit_itself() {
    let bench = Bench::new().await;
    let proposed = bench.propose("own", "process.restart", "worker-1").await;
    let answer = bench.get(&format!("/v1/plans/{}", proposed.id), OWN).await;
    let value: Value = answer.json();
    assert_eq!(value["permit"]["executors"][0], "fake-executor");
    assert_eq!(value["facts"][0]["type"], "holdpoint/facts/v1");
    assert_eq!(value["evidence"][0]["evidence"]["target"], "worker-1");
    // A JWS begins with the base64 of `{"alg"`.
    assert!(!answer.text().contains("eyJhbGci"));
}

#[tokio::test]
async fn t14_the_words_of_an_agent_are_marked_and_visible() {
    let bench = Bench::new().await;
    let proposed = bench.propose("own", "cache.drop", "worker-1").await;
    let words = bench.plan(&proposed).await.narrative.unwrap();
    assert!(words.untrusted);
    assert_eq!(words.reason, "a restart \\u{202E}helps");
    let hold: wire::HoldDetail =
        bench.get(&format!("/v1/holds/{}", proposed.hold.unwrap()), "person.bob").await.json();
    assert_eq!(hold.narrative, Some(words));
    assert_eq!(hold.terms.decision, hold.decision.digest().unwrap());
    assert_eq!(hold.terms.facts, hold.facts.digest().unwrap());
    assert_eq!(hold.terms.plan, hold.plan.digest().unwrap());
}

#[tokio::test]
async fn a_denied_plan_is_a_problem_that_says_why() {
    let bench = Bench::new().await;
    bench.judge.set(Policy::Deny);
    let answer = bench.post("/v1/plans", OWN, &plan("process.restart", "worker-1")).await;
    let problem = answer.problem();
    assert_eq!((problem.status, problem.rule.as_str()), (403, "nothing-permits-it"));
    assert_eq!(problem.title, "nothing permits it");
    let denial = problem.decision.unwrap();
    assert_eq!(denial.hints[0].rule.as_str(), "fake");
    assert!(denial.reasons.iter().all(|reason| !reason.fact.is_empty() && !reason.next.is_empty()));
    // It is recorded, and its agent can read it.
    let seen: wire::PlanDetail = bench.get(&format!("/v1/plans/{}", denial.plan), OWN).await.json();
    assert_eq!((seen.state, seen.answer), (State::Denied, Some(Said::Deny)));
}

#[tokio::test]
async fn a_plan_whose_trigger_nobody_can_tell_is_deferred() {
    let bench = Bench::new().await;
    bench.world.probe("process.hung", Probe::Contradicts);
    let answer = bench.post("/v1/plans", OWN, &plan("process.restart", "worker-1")).await;
    let proposed: wire::Proposed = answer.json();
    assert_eq!((answer.status, proposed.answer, proposed.state), (202, Said::Defer, State::Deferred));
    let list: wire::Plans = bench.get("/v1/plans?state=deferred", OWN).await.json();
    assert_eq!(list.plans[0].id, proposed.id);
    assert!(list.plans[0].next_at_ms.is_some());
}

#[tokio::test]
async fn a_proposal_is_exactly_what_is_documented() {
    let bench = Bench::new().await;
    let good = plan("process.restart", "worker-1");
    let with = |name: &str, value: Value| {
        let mut body = good.clone();
        body[name] = value;
        body
    };
    let cases = [
        (with("severity", json!("high")), "bad-body", "unknown field"),
        (with("on_behalf_of", json!("alice")), "bad-body", "unknown field"),
        (with("target", json!("wor\u{202e}ker")), "bad-body", "\\\\u{202E}"),
        (with("target", json!(["worker-1"])), "bad-body", "expected"),
        (with("params", json!({"count": 1.5})), "bad-body", "a whole number"),
        (with("params", json!({"count": null})), "bad-body", "a whole number"),
        (with("params", json!({"count": {"int": 1}})), "bad-body", "a whole number"),
        (with("params", json!({"count": 9_223_372_036_854_775_808_u64})), "bad-body", "a whole number"),
        (with("params", json!({"count": "Two Words"})), "bad-body", "parameter name"),
        (with("params", json!({"count": 1})), "bad-parameter", "no parameter `count`"),
        (with("action", json!("process.explode")), "unknown-action", "`process.explode`"),
        (with("target", json!("worker-9")), "unknown-target", "`worker-9`"),
        (with("trigger", json!("process.healthy")), "trigger-not-for-action", "`process.healthy`"),
        (with("prompt", json!("x".repeat(40_000))), "text-too-long", "40000 bytes"),
        (json!([]), "bad-body", "expected"),
        (json!("x"), "bad-body", "expected"),
        (json!(null), "bad-body", "expected"),
    ];
    for (body, rule, said) in cases {
        let problem = bench.post("/v1/plans", OWN, &body).await.problem();
        assert_eq!((problem.status, problem.rule.as_str()), (400, rule), "{}", problem.detail);
        assert!(problem.detail.contains(said), "expected `{said}` in {}", problem.detail);
        assert!(!problem.detail.contains('\u{202e}'));
    }
    assert_eq!(bench.count("proposed"), 0);
}

#[tokio::test]
async fn inv01_a_gate_that_cannot_record_says_so_and_tells_no_details() {
    let bench = Bench::new().await;
    bench.store.fill(0);
    let answer = bench.post("/v1/plans", OWN, &plan("process.restart", "worker-1")).await;
    let problem = answer.problem();
    assert_eq!((problem.status, problem.rule.as_str()), (503, "gate-closed"));
    assert!(!problem.detail.contains("disk"), "{}", problem.detail);
    assert!(bench.world.trace().is_empty());
}
