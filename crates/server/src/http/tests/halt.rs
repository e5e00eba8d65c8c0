//! The halt, limits and the gate's own state over HTTP.

use holdpoint_app::fake::{Failure, When, signed};
use holdpoint_domain::halt::{Reach, ResumeStatement};
use serde_json::{Value, json};

use super::bench::{Bench, plan};
use crate::http::wire;

/// What a person signs to end the halt in force, as the body of a request.
pub(super) async fn end_of_halt(bench: &Bench, name: &str) -> Value {
    let shown: wire::HaltInForce = bench.get("/v1/halt", "person.alice").await.json();
    let statement = ResumeStatement::new(shown.origin, shown.halt.unwrap(), name.parse().unwrap());
    serde_json::to_value(signed(statement)).unwrap()
}

#[tokio::test]
async fn inv15_anybody_halts_and_an_administrator_resumes() {
    let bench = Bench::new().await;
    let soft = json!({"reach": "soft"});
    let done: wire::Halted = bench.post("/v1/halt", "person.alice", &soft).await.json();
    assert!(done.latched && done.recorded && done.halt.reach == Reach::Soft);
    let denied = bench.post("/v1/plans", "agent.own.decide", &plan("process.restart", "worker-1")).await;
    assert_eq!(denied.problem().decision.unwrap().allowed_with.without.len(), 1);
    let shown: wire::HaltInForce = bench.get("/v1/halt", "agent.own.decide").await.json();
    assert_eq!(shown.halt.unwrap().by.unwrap().as_str(), "alice");

    let refused =
        bench.post("/v1/resume", "person.alice", &end_of_halt(&bench, "alice").await).await.problem();
    assert_eq!((refused.status, refused.rule.as_str()), (403, "not-an-administrator"));
    assert_eq!(bench.post("/v1/resume", "person.bob", &json!({})).await.problem().status, 400);
    let signed = end_of_halt(&bench, "bob").await;
    let others = bench.post("/v1/resume", "person.carol", &signed).await.problem();
    assert_eq!((others.status, others.rule.as_str()), (403, "other-signer"));
    let resumed: wire::HaltInForce = bench.post("/v1/resume", "person.bob", &signed).await.json();
    assert_eq!(resumed.halt, None);
    assert_eq!(bench.post("/v1/resume", "person.bob", &signed).await.problem().rule, "not-halted");
    let mut more = signed.clone();
    more["a"] = 1.into();
    assert_eq!(bench.post("/v1/resume", "person.bob", &more).await.problem().status, 400);
    bench.propose("own", "process.restart", "worker-1").await;
}

#[tokio::test]
async fn inv15_a_halt_is_in_force_although_disk_and_store_fail() {
    let bench = Bench::new().await;
    bench.latch.disk_fails(true);
    bench.store.fail(When::Nth(0), Failure::Full);
    let done: wire::Halted = bench.post("/v1/halt", "person.bob", &json!({"reach": "hard"})).await.json();
    assert!(!done.latched && !done.recorded);
    let status: wire::Status = bench.get("/v1/status", "person.bob").await.json();
    assert_eq!(status.halt.unwrap().reach, Reach::Hard);
}

#[tokio::test]
async fn a_denial_says_what_would_be_allowed_instead() {
    let bench = Bench::new().await;
    bench.judge.set(holdpoint_app::fake::Policy::Deny);
    let denied = bench.post("/v1/plans", "agent.own.decide", &plan("process.restart", "worker-1")).await;
    let with = denied.problem().decision.unwrap().allowed_with;
    assert_eq!((with.tier, with.without.len()), (None, 0));
    bench.judge.set(holdpoint_app::fake::Policy::From(holdpoint_domain::Rung::T3));
    assert_eq!(bench.post("/v1/halt", "person.bob", &json!({"reach": "soft"})).await.status, 200);
    let denied = bench.post("/v1/plans", "agent.own.decide", &plan("process.restart", "worker-1")).await;
    let with = denied.problem().decision.unwrap().allowed_with;
    assert_eq!(with.tier, Some(holdpoint_domain::Tier::T3));
    assert_eq!(with.without.len(), 1, "{:?}", with.without);
}

#[tokio::test]
async fn the_state_of_the_gate_is_there_to_be_read() {
    let bench = Bench::new().await;
    let status: wire::Status = bench.get("/v1/status", "agent.own.observe").await.json();
    assert_eq!((status.halt, status.inputs, status.store_closed), (None, bench.gate.inputs, false));
    assert!(status.refused_inputs.is_empty() && status.size > 0);
    let control = holdpoint_domain::change::Control::Policy;
    holdpoint_app::change::saw_on_disk(&bench.gate, control, Err(None)).await.unwrap();
    let status: wire::Status = bench.get("/v1/status", "person.bob").await.json();
    assert_eq!(status.refused_inputs, [control].into());
    let limits: wire::Limits = bench.get("/v1/limits", "agent.own.observe").await.json();
    assert_eq!(limits.digest, bench.gate.inputs.limits);
    let brakes: wire::BrakesInForce = bench.get("/v1/brakes", "person.bob").await.json();
    let [refused] = brakes.brakes.as_slice() else { panic!("{brakes:?}") };
    assert_eq!((refused.rule.as_str(), refused.denies), ("input-refused", false));
    assert_eq!(bench.post("/v1/halt", "person.bob", &json!({"reach": "soft"})).await.status, 200);
    let brakes: wire::BrakesInForce = bench.get("/v1/brakes", "person.bob").await.json();
    let first = brakes.brakes.first().unwrap();
    assert_eq!((first.rule.as_str(), first.denies), ("halted", true));
    assert_eq!(first.fact, "everything (soft), by bob");
    assert!(first.lifted_by.contains("holdpoint resume"));
}

#[tokio::test]
async fn a_closed_store_is_not_healthy() {
    let bench = Bench::new().await;
    assert_eq!(bench.get("/healthz", "").await.status, 200);
    bench.store.fail(When::Nth(0), Failure::Closed);
    let refused = bench.post("/v1/plans", "agent.own.decide", &plan("process.restart", "worker-1")).await;
    assert_eq!(refused.problem().rule, "gate-closed");
    assert_eq!(bench.get("/healthz", "").await.problem().status, 503);
    assert!(bench.get("/v1/status", "person.bob").await.json::<wire::Status>().store_closed);
}
