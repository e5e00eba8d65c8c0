//! Reviews and resolutions over HTTP.

use holdpoint_app::fake::{Deed, signed};
use holdpoint_domain::{
    aftercare::{Answers, Found, ResolutionStatement, ResolutionType, ReviewStatement, ReviewType},
    flow::State,
};
use serde_json::{Value, json};

use super::bench::Bench;
use crate::http::wire;

/// A person's review of a plan, as the body of a request.
pub(super) fn review(name: &str, plan: &wire::PlanDetail, may_go_on: bool) -> Value {
    let statement = ReviewStatement {
        r#type: ReviewType::V1,
        plan: plan.id.clone(),
        digest: plan.plan_digest,
        seen: plan.timeline.last().unwrap().index,
        reviewer: name.parse().unwrap(),
        answers: Answers { trigger_was_real: true, did_what_it_should: true, may_go_on },
    };
    json!({"statement": signed(statement), "note": "it was fine"})
}

/// A person's word on a plan in doubt, as the body of a request.
pub(super) fn resolution(name: &str, plan: &wire::PlanDetail) -> Value {
    let statement = ResolutionStatement {
        r#type: ResolutionType::V1,
        plan: plan.id.clone(),
        digest: plan.plan_digest,
        seen: plan.timeline.last().unwrap().index,
        resolver: name.parse().unwrap(),
        found: Found::PutRight,
    };
    json!({"statement": signed(statement)})
}

#[tokio::test]
async fn a_run_without_a_person_is_reviewed() {
    let bench = Bench::new().await;
    let plan = bench.ended("process.restart", "worker-1", State::Succeeded).await;
    let owed: wire::Reviews = bench.get("/v1/reviews", "person.bob").await.json();
    assert_eq!(owed.reviews.len(), 1);
    let owed = &owed.reviews[0];
    assert_eq!((&owed.plan, owed.state, owed.suspends), (&plan.id, State::Succeeded, false));
    assert!(owed.due_at_ms.is_some() && owed.owner.is_some());

    let path = format!("/v1/plans/{}/review", plan.id);
    // Whoever answers for the agent does not say whether it may go on.
    let problem = bench.post(&path, "person.alice", &review("alice", &plan, true)).await.problem();
    assert_eq!(problem.rule, "may-not-look-after");
    let done: wire::LookedAfter = bench.post(&path, "person.bob", &review("bob", &plan, true)).await.json();
    assert_eq!((done.plan, done.state), (plan.id.clone(), State::Succeeded));
    assert!(bench.get("/v1/reviews", "person.bob").await.json::<wire::Reviews>().reviews.is_empty());
    // What was signed was about the plan as it was then.
    let again = bench.post(&path, "person.carol", &review("carol", &plan, false)).await.problem();
    assert_eq!((again.status, again.rule.as_str()), (409, "stale-review"));
}

#[tokio::test]
async fn a_plan_in_doubt_is_resolved_by_a_person() {
    let bench = Bench::new().await;
    bench.world.apply_at("worker-1", Deed::Partial);
    let plan = bench.ended("flag.switch", "worker-1", State::InDoubt).await;
    let path = format!("/v1/plans/{}/resolution", plan.id);
    let done: wire::LookedAfter = bench.post(&path, "person.bob", &resolution("bob", &plan)).await.json();
    assert_eq!(done.state, State::Resolved);
    let again = bench.post(&path, "person.bob", &resolution("bob", &plan)).await.problem();
    assert_eq!((again.status, again.rule.as_str()), (409, "not-in-doubt"));
    let owed: wire::Reviews = bench.get("/v1/reviews", "person.bob").await.json();
    assert!(owed.reviews[0].suspends);
}

#[tokio::test]
async fn t17_the_path_and_the_statement_name_one_plan() {
    let bench = Bench::new().await;
    let one = bench.ended("process.restart", "worker-1", State::Succeeded).await;
    let other = bench.ended("process.restart", "worker-2", State::Succeeded).await;
    let path = format!("/v1/plans/{}/review", other.id);
    assert_eq!(
        bench.post(&path, "person.bob", &review("bob", &one, true)).await.problem().rule,
        "other-plan"
    );
    let path = format!("/v1/plans/{}/resolution", other.id);
    assert_eq!(bench.post(&path, "person.bob", &resolution("bob", &one)).await.problem().rule, "other-plan");
    assert_eq!(bench.count("reviewed"), 0);
}

#[tokio::test]
async fn inv05_agents_never_look_after_runs() {
    let bench = Bench::new().await;
    let plan = bench.ended("process.restart", "worker-1", State::Succeeded).await;
    let before = bench.count("refused");
    let path = format!("/v1/plans/{}/review", plan.id);
    let problem = bench.post(&path, "agent.own.decide", &review("bob", &plan, true)).await.problem();
    assert_eq!((problem.status, problem.rule.as_str()), (403, "not-a-person"));
    assert_eq!((bench.count("reviewed"), bench.count("refused")), (0, before + 1));
}
