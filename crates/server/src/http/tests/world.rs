//! The control inputs, and looks at the world.

use std::sync::Arc;

use futures_util::FutureExt as _;
use holdpoint_app::fake::Probe;
use holdpoint_domain::trigger::{Evidence, Truth};
use serde_json::json;
use tokio::sync::Notify;

use super::bench::Bench;
use crate::http::{Limits, wire};

const OWN: &str = "agent.own.decide";

#[tokio::test]
async fn an_action_is_shown_with_what_follows_from_its_facts() {
    let bench = Bench::new().await;
    let found: wire::CatalogueAction = bench.get("/v1/catalogue/cache.drop", OWN).await.json();
    let floors: Vec<_> =
        found.entry.floors.iter().map(|floor| (floor.rule.as_str(), floor.tier.as_str())).collect();
    assert_eq!(floors, [("no-undo", "T3"), ("irreversible", "T2")]);
    assert!(found.entry.floors.iter().all(|floor| floor.fact != floor.rule));
    assert_eq!(found.entry.digest, found.entry.action.digest().unwrap());
    assert!(found.entry.groups.iter().any(|group| group.as_str() == "no-undo"));
    let conditions: Vec<_> = found.conditions.iter().map(|condition| condition.id.as_str()).collect();
    assert_eq!(conditions, ["process.healthy", "process.hung"]);
    for (path, status, rule) in
        [("/v1/catalogue/process.explode", 404, "no-such-action"), ("/v1/catalogue/Process", 400, "bad-id")]
    {
        let problem = bench.get(path, OWN).await.problem();
        assert_eq!((problem.status, problem.rule.as_str()), (status, rule), "{path}");
    }
}

#[tokio::test]
async fn lists_are_read_page_by_page() {
    let bench = Bench::new().await;
    let (mut actions, mut after) = (Vec::new(), String::new());
    loop {
        let page: wire::Catalogue =
            bench.get(&format!("/v1/catalogue?limit=3&after={after}"), OWN).await.json();
        assert_eq!(page.digest, bench.gate.inputs.catalogue);
        actions.extend(page.actions.into_iter().map(|entry| entry.action.id.to_string()));
        match page.next {
            Some(next) => after = next.to_string(),
            None => break,
        }
    }
    assert_eq!(actions, ["cache.drop", "flag.switch", "process.inspect", "process.restart"]);

    let first: wire::Inventory = bench.get("/v1/inventory?limit=2", OWN).await.json();
    assert_eq!(first.targets.len(), 2);
    let rest: wire::Inventory =
        bench.get(&format!("/v1/inventory?after={}", first.next.unwrap()), OWN).await.json();
    assert_eq!((rest.targets.len(), rest.next), (3, None));
    let shop = rest.services.iter().find(|service| service.id.as_str() == "shop").unwrap();
    assert_eq!(shop.replicas, 3);
    // Where a target can be reached is not told.
    assert!(!bench.get("/v1/inventory", "person.bob").await.text().contains("fake:1"));
    for path in ["/v1/inventory?limit=201", "/v1/catalogue?limit=0", "/v1/catalogue?page=2"] {
        assert_eq!(bench.get(path, OWN).await.problem().rule, "bad-query", "{path}");
    }
}

#[tokio::test]
async fn a_blast_radius_can_be_seen_before_anything_is_proposed() {
    let bench = Bench::new().await;
    let seen: wire::Disturbance =
        bench.get("/v1/blast?action=process.restart&target=worker-1", OWN).await.json();
    assert_eq!((seen.service.as_str(), seen.blast.replica_share_percent, seen.cap.services), ("shop", 34, 4));
    // The decision's own answer, where everything serves.
    let proposed = bench.propose("own", "process.restart", "worker-1").await;
    assert_eq!(bench.plan(&proposed).await.facts.unwrap().first().blast, seen.blast);
    let cases = [
        ("action=process.explode&target=worker-1", 404, "no-such-action"),
        ("action=process.restart&target=worker-9", 404, "no-such-target"),
        ("action=process.restart", 400, "bad-query"),
        ("action=A&target=worker-1", 400, "bad-query"),
    ];
    for (query, status, rule) in cases {
        let problem = bench.get(&format!("/v1/blast?{query}"), OWN).await.problem();
        assert_eq!((problem.status, problem.rule.as_str()), (status, rule), "{query}");
    }
}

#[tokio::test]
async fn a_condition_is_measured_and_nothing_is_recorded() {
    let bench = Bench::new().await;
    let before = bench.store.records().len();
    let ask = json!({"condition": "process.hung", "target": "worker-1"});
    let seen: Evidence = bench.post("/v1/probes", OWN, &ask).await.json();
    assert_eq!((seen.agreement.truth, seen.readings.len()), (Truth::Holds, 2));
    bench.world.probe("process.hung", Probe::Contradicts);
    let seen: Evidence = bench.post("/v1/probes", "person.bob", &ask).await.json();
    assert_eq!(seen.agreement.truth, Truth::Indeterminate);
    let cases = [
        (json!({"condition": "process.gone", "target": "worker-1"}), 404, "no-such-condition"),
        (json!({"condition": "process.hung", "target": "worker-9"}), 404, "no-such-target"),
        (json!({"condition": "process.hung", "target": "worker-1", "at": "http://evil"}), 400, "bad-body"),
    ];
    for (body, status, rule) in cases {
        let problem = bench.post("/v1/probes", OWN, &body).await.problem();
        assert_eq!((problem.status, problem.rule.as_str()), (status, rule), "{body}");
    }
    assert_eq!(bench.store.records().len(), before);
    assert!(bench.world.trace().is_empty());
}

#[tokio::test]
async fn t30_measurements_that_nobody_proposed_for_are_few_at_once() {
    let go = Arc::new(Notify::new());
    let bench = Bench::slow(Limits { probes: 1, ..Limits::default() }, Arc::clone(&go)).await;
    let ask = json!({"condition": "process.hung", "target": "worker-1"});
    let first = bench.post("/v1/probes", OWN, &ask);
    tokio::pin!(first);
    assert!(first.as_mut().now_or_never().is_none());
    let problem = bench.post("/v1/probes", OWN, &ask).await.problem();
    assert_eq!((problem.status, problem.rule.as_str()), (503, "too-busy"));
    go.notify_one();
    assert_eq!(first.await.status, 200);
}
