//! Decisions of people on holds.

use axum::http::Method;
use holdpoint_domain::{approval::Choice, flow::State};
use serde_json::json;

use super::bench::{Bench, request};
use crate::http::wire;

#[tokio::test]
async fn an_approved_plan_runs() {
    let bench = Bench::new().await;
    let held = bench.propose("own", "cache.drop", "worker-1").await;
    let waiting: wire::Holds = bench.get("/v1/holds", "person.bob").await.json();
    assert_eq!(waiting.holds.len(), 1);
    assert_eq!(Some(&waiting.holds[0].id), held.hold.as_ref());

    let path = format!("/v1/holds/{}/decisions", held.hold.as_ref().unwrap());
    let approval = bench.statement("bob", &held, Choice::Approve).await;
    let answer = bench.post(&path, "person.bob", &approval).await;
    let decided: wire::Decided = answer.json();
    assert_eq!((decided.state, decided.approvals, decided.needed), (State::Permitted, 1, 1));

    let ended = loop {
        let plan = bench.plan(&held).await;
        if plan.state == State::Succeeded {
            break plan;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(ended.hold.unwrap().approvals[0].as_str(), "bob");
    assert!(bench.get("/v1/holds", "person.bob").await.json::<wire::Holds>().holds.is_empty());
    // The hold can still be looked at, and not decided on any more.
    let path = format!("/v1/holds/{}", held.hold.as_ref().unwrap());
    assert_eq!(bench.get(&path, "person.bob").await.status, 200);
    let again = bench.statement("carol", &held, Choice::Approve).await;
    let answer = bench.post(&format!("{path}/decisions"), "person.carol", &again).await;
    assert_eq!(answer.problem().status, 409);
}

#[tokio::test]
async fn a_rejected_plan_ends() {
    let bench = Bench::new().await;
    let held = bench.propose("own", "cache.drop", "worker-1").await;
    let path = format!("/v1/holds/{}/decisions", held.hold.as_ref().unwrap());
    let rejection = bench.statement("carol", &held, Choice::Reject).await;
    let decided: wire::Decided = bench.post(&path, "person.carol", &rejection).await.json();
    assert_eq!(decided.state, State::Rejected);
    let hold = bench.plan(&held).await.hold.unwrap();
    assert_eq!((hold.approvals.len(), hold.rejections[0].as_str()), (0, "carol"));
}

#[tokio::test]
async fn t17_the_path_and_the_statement_name_one_hold() {
    let bench = Bench::new().await;
    let held = bench.propose("own", "cache.drop", "worker-1").await;
    let other = bench.propose("own", "cache.drop", "worker-2").await;
    let approval = bench.statement("bob", &held, Choice::Approve).await;
    let path = format!("/v1/holds/{}/decisions", other.hold.as_ref().unwrap());
    let problem = bench.post(&path, "person.bob", &approval).await.problem();
    assert_eq!((problem.status, problem.rule.as_str()), (400, "other-hold"));
    assert_eq!(bench.count("approved"), 0);
    for proposed in [&held, &other] {
        assert_eq!(bench.plan(proposed).await.state, State::Held);
    }
    // Nor does a plan's id pass for a hold's.
    let path = format!("/v1/holds/{}/decisions", held.id);
    assert_eq!(bench.post(&path, "person.bob", &approval).await.problem().rule, "other-hold");
}

#[tokio::test]
async fn t16_nothing_is_decided_by_opening_a_link_or_from_a_page() {
    let bench = Bench::new().await;
    let held = bench.propose("own", "cache.drop", "worker-1").await;
    let path = format!("/v1/holds/{}/decisions", held.hold.as_ref().unwrap());
    assert_eq!(bench.get(&path, "person.bob").await.problem().status, 405);
    let approval = bench.statement("bob", &held, Choice::Approve).await;
    let headers = [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", "http://gate.test"),
        ("sec-fetch-site", "same-origin"),
    ];
    for (name, value) in headers {
        let mut request = request(Method::POST, &path, "person.bob", Some(&approval));
        request.headers_mut().insert(name, value.parse().unwrap());
        let problem = bench.answer(request).await.problem();
        assert_eq!((problem.status, problem.rule.as_str()), (403, "browser"), "{name}: {value}");
    }
    assert_eq!(bench.count("approved"), 0);
}

#[tokio::test]
async fn a_changed_statement_is_refused() {
    let bench = Bench::new().await;
    let held = bench.propose("own", "cache.drop", "worker-1").await;
    let path = format!("/v1/holds/{}/decisions", held.hold.as_ref().unwrap());
    let good = bench.statement("bob", &held, Choice::Reject).await;
    let mut flipped = good.clone();
    flipped["statement"]["choice"] = json!("approve");
    let mut widened = good.clone();
    widened["statement"]["terms"]["tier"] = json!("T1");
    for body in [flipped, widened] {
        let problem = bench.post(&path, "person.bob", &body).await.problem();
        assert_eq!((problem.status, problem.rule.as_str()), (403, "statement-refused"));
    }
    assert_eq!(bench.plan(&held).await.state, State::Held);
}
