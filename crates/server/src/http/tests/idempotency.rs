//! Requests with an `Idempotency-Key` (T38).

use std::sync::Arc;

use axum::http::{HeaderValue, Method};
use holdpoint_app::fake::{Failure, When};
use serde_json::{Value, json};

use super::bench::{Answer, Bench, plan, request};
use crate::http::wire;

const OWN: &str = "agent.own.decide";

async fn keyed(bench: &Bench, token: &str, key: &str, body: &Value) -> Answer {
    let mut request = request(Method::POST, "/v1/plans", token, Some(body));
    request.headers_mut().insert("idempotency-key", HeaderValue::from_str(key).unwrap());
    bench.answer(request).await
}

fn is_replayed(answer: &Answer) -> bool {
    answer.headers.get("idempotency-replayed").is_some_and(|value| value == "true")
}

#[tokio::test]
async fn t38_a_request_that_is_sent_again_is_answered_again() {
    let bench = Bench::new().await;
    let body = plan("cache.drop", "worker-1");
    let first = keyed(&bench, OWN, "key-1", &body).await;
    assert!(first.status == 202 && !is_replayed(&first));
    let again = keyed(&bench, OWN, "key-1", &body).await;
    assert!(is_replayed(&again));
    assert_eq!((again.status, again.text()), (first.status, first.text()));
    assert_eq!(bench.count("proposed"), 1);
    // A refusal is an answer, too.
    let refused = keyed(&bench, OWN, "key-2", &plan("no.such", "worker-1")).await;
    let again = keyed(&bench, OWN, "key-2", &plan("no.such", "worker-1")).await;
    assert!(is_replayed(&again));
    assert_eq!((again.problem().rule, again.status), (refused.problem().rule, refused.status));
}

#[tokio::test]
async fn t38_a_key_belongs_to_one_caller_one_endpoint_and_one_body() {
    let bench = Bench::new().await;
    let body = plan("cache.drop", "worker-1");
    let first: wire::Proposed = keyed(&bench, OWN, "key", &body).await.json();
    let problem = keyed(&bench, OWN, "key", &plan("cache.drop", "worker-2")).await.problem();
    assert_eq!((problem.status, problem.rule.as_str()), (409, "idempotency-key-reused"));
    let other = keyed(&bench, "agent.other.decide", "key", &body).await;
    assert!(!is_replayed(&other));
    assert_ne!(other.json::<wire::Proposed>().id, first.id);
    let probe = json!({"condition": "process.hung", "target": "worker-1"});
    let mut probe = request(Method::POST, "/v1/probes", OWN, Some(&probe));
    probe.headers_mut().insert("idempotency-key", HeaderValue::from_static("key"));
    assert!(!is_replayed(&bench.answer(probe).await));
    assert_eq!(bench.count("proposed"), 2);
}

/// What is allowed is asked of the policy in force: no key brings back what was allowed before.
#[tokio::test]
async fn inv13_an_evaluation_is_never_answered_again() {
    let bench = Bench::new().await;
    let body = json!({"action": "process.inspect", "target": "worker-1"});
    for count in 1..=2 {
        let mut asked = request(Method::POST, "/v1/evaluations", OWN, Some(&body));
        asked.headers_mut().insert("idempotency-key", HeaderValue::from_static("key"));
        let answer = bench.answer(asked).await;
        assert!(answer.status == 200 && !is_replayed(&answer));
        assert_eq!(bench.count("evaluated"), count);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t38_a_hundred_at_once_are_one_plan() {
    let bench = Arc::new(Bench::new().await);
    let calls = (0..100).map(|_| {
        let bench = Arc::clone(&bench);
        tokio::spawn(async move { keyed(&bench, OWN, "key", &plan("cache.drop", "worker-1")).await })
    });
    let mut fresh = 0;
    for call in calls.collect::<Vec<_>>() {
        let answer = call.await.unwrap();
        match answer.status {
            202 if is_replayed(&answer) => {}
            202 => fresh += 1,
            409 => assert_eq!(answer.problem().rule, "idempotency-in-progress"),
            other => panic!("{other}: {}", answer.text()),
        }
    }
    assert_eq!((fresh, bench.count("proposed")), (1, 1));
}

#[tokio::test]
async fn t38_a_request_whose_answer_was_lost_is_not_done_again() {
    let bench = Bench::new().await;
    // The first append is that it was received, the second the plan.
    bench.store.fail(When::Nth(1), Failure::Full);
    let body = plan("cache.drop", "worker-1");
    let lost = keyed(&bench, OWN, "key", &body).await;
    assert_eq!(lost.problem().status, 503);
    let again = keyed(&bench, OWN, "key", &body).await;
    assert!(again.status == 503 || again.status == 409, "{}", again.text());
    assert_eq!(bench.count("proposed"), 0);
}

#[tokio::test]
async fn t38_a_key_has_a_form() {
    let bench = Bench::new().await;
    let body = plan("cache.drop", "worker-1");
    let long = "k".repeat(129);
    for bad in ["", "a b", "k\u{e9}", &long] {
        let mut request = request(Method::POST, "/v1/plans", OWN, Some(&body));
        request.headers_mut().insert("idempotency-key", HeaderValue::from_bytes(bad.as_bytes()).unwrap());
        assert_eq!(bench.answer(request).await.problem().rule, "bad-idempotency-key", "{bad}");
    }
    let mut request = request(Method::POST, "/v1/plans", OWN, Some(&body));
    request.headers_mut().append("idempotency-key", HeaderValue::from_static("a"));
    request.headers_mut().append("idempotency-key", HeaderValue::from_static("b"));
    assert_eq!(bench.answer(request).await.problem().rule, "bad-idempotency-key");
    assert_eq!(bench.count("proposed"), 0);
    assert_eq!(keyed(&bench, OWN, &"k".repeat(128), &body).await.status, 202);
}

#[tokio::test]
async fn t38_strangers_are_not_remembered() {
    let bench = Bench::new().await;
    for _ in 0..2 {
        let answer = keyed(&bench, "agent.nobody.decide", "key", &plan("cache.drop", "worker-1")).await;
        assert!(answer.status == 403 && !is_replayed(&answer));
    }
}

#[tokio::test]
async fn inv15_a_halt_with_a_key_does_not_wait_for_the_store() {
    let bench = Bench::new().await;
    bench.store.fill(0);
    let halt = || {
        let mut halt = request(Method::POST, "/v1/halt", "person.bob", Some(&json!({"reach": "soft"})));
        halt.headers_mut().insert("idempotency-key", HeaderValue::from_static("key"));
        halt
    };
    for _ in 0..2 {
        let answer = bench.answer(halt()).await;
        assert!(answer.status == 200 && !is_replayed(&answer), "{}", answer.text());
    }
}
