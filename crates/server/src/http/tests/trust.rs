//! Permits and delegations at the door.

use axum::http::{HeaderValue, Method};
use holdpoint_domain::{flow::State, permit::PERMIT_TYP, record::Body};
use serde_json::json;

use super::bench::{Answer, Bench, plan, request};
use crate::http::wire;

const OWN: &str = "agent.own.decide";
const OTHER: &str = "agent.other.decide";

/// The permit of a plan, as its record has it.
fn permit(bench: &Bench) -> String {
    let jws = bench.store.records().into_iter().rev().find_map(|record| {
        let Body::Permitted { jws, .. } = record.body else { return None };
        Some(jws)
    });
    jws.expect("a permit was granted")
}

async fn introspected(bench: &Bench, token: &str) -> serde_json::Value {
    let answer = bench.post("/v1/introspection", OTHER, &json!({"token": token})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[tokio::test]
async fn inv02_a_permit_is_active_until_its_run_has_ended() {
    let bench = Bench::new().await;
    let done = bench.ended("process.restart", "worker-2", State::Succeeded).await;
    assert_eq!(done.state, State::Succeeded);
    assert_eq!(introspected(&bench, &permit(&bench)).await, json!({"active": false}), "its run is over");
    for garbage in ["", "a.b.c", "~", "a.b.c~d.e.f"] {
        assert_eq!(introspected(&bench, garbage).await, json!({"active": false}), "{garbage}");
    }
}

#[tokio::test]
async fn the_keys_are_a_jwk_set_that_permits_name() {
    let bench = Bench::new().await;
    bench.ended("process.restart", "worker-2", State::Succeeded).await;
    let answer = bench.get("/.well-known/jwks.json", "").await;
    let set: wire::JwkSet = answer.json();
    assert_eq!(answer.headers["content-type"], "application/jwk-set+json");
    let jws = permit(&bench);
    let header = jws.split('.').next().unwrap();
    use base64::Engine as _;
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).unwrap();
    let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
    assert_eq!((&header["alg"], &header["typ"]), (&"EdDSA".into(), &PERMIT_TYP.into()));
    let named: Vec<_> = set.keys.iter().filter(|key| header["kid"] == key.kid.as_str()).collect();
    assert_eq!(named.len(), 1, "{set:?}");
    assert_eq!((named[0].purpose.as_str(), named[0].crv.as_str()), ("holdpoint:permits", "Ed25519"));
    let purposes: Vec<_> = set.keys.iter().map(|key| key.purpose.as_str()).collect();
    assert_eq!(purposes, ["holdpoint:permits", "holdpoint:delegations", "holdpoint:leases"]);
    assert_ne!(set.keys[0].x, set.keys[1].x, "a key for each purpose");
}

async fn delegated(bench: &Bench, by: &str, token: Option<&str>, to: &str) -> Answer {
    let body = json!({"to": to, "life_ms": 60_000});
    let mut asked = request(Method::POST, "/v1/delegations", by, Some(&body));
    if let Some(token) = token {
        asked.headers_mut().insert("holdpoint-delegation", HeaderValue::from_str(token).unwrap());
    }
    bench.answer(asked).await
}

async fn proposed(bench: &Bench, by: &str, tokens: &[&str]) -> Answer {
    let mut asked = request(Method::POST, "/v1/plans", by, Some(&plan("cache.drop", "worker-1")));
    for token in tokens {
        asked.headers_mut().append("holdpoint-delegation", HeaderValue::from_str(token).unwrap());
    }
    bench.answer(asked).await
}

#[tokio::test]
async fn inv05_a_plan_says_for_whom_it_was_proposed() {
    let bench = Bench::new().await;
    let first: wire::Delegated = delegated(&bench, "person.alice", None, "own").await.json();
    assert_eq!((first.head.as_ref().unwrap().as_str(), first.via.len()), ("alice", 0));
    let second: wire::Delegated = delegated(&bench, OWN, Some(&first.token), "other").await.json();
    assert_eq!((second.via[0].as_str(), second.to.as_str()), ("own", "other"));

    let answer = proposed(&bench, OTHER, &[&second.token]).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let shown = bench.plan(&answer.json()).await;
    let requester = shown.plan.requester();
    assert_eq!(requester.on_behalf_of.as_ref().unwrap().as_str(), "alice");
    assert_eq!((requester.agent.as_str(), requester.via[0].as_str()), ("other", "own"));
}

#[tokio::test]
async fn t19_a_delegation_is_worth_nothing_in_other_hands() {
    let bench = Bench::new().await;
    let given: wire::Delegated = delegated(&bench, "person.alice", None, "own").await.json();
    let cases: [(&str, &[&str], u16); 5] = [
        (OWN, &[&given.token], 202),
        (OTHER, &[&given.token], 403),
        (OWN, &["a.b.c"], 403),
        (OWN, &[&given.token, &given.token], 400),
        ("person.alice", &[&given.token], 400),
    ];
    for (by, tokens, status) in cases {
        let answer = proposed(&bench, by, tokens).await;
        assert_eq!(answer.status, status, "{by}: {}", answer.text());
        if status != 202 {
            assert_eq!(answer.problem().rule, "bad-delegation");
        }
    }
    // By itself it is no credential.
    assert_eq!(bench.get("/v1/plans", &given.token).await.status, 401);
}
