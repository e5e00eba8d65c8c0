//! Requests of nobody that the gate knows are in the ledger, and cannot fill it (T30).

use holdpoint_app::strangers::INTERVAL;
use holdpoint_domain::{Millis, record::Body};
use serde_json::json;

use super::bench::{Bench, plan};

#[tokio::test]
async fn t30_a_thousand_requests_of_nobody_are_one_record() {
    let bench = Bench::new().await;
    let strangers = &bench.service.strangers;
    strangers.seal(&bench.gate).await.unwrap();
    let before = bench.store.records().len();
    for number in 0..1_000 {
        let token = if number < 400 { "" } else { "garbage" };
        assert_eq!(bench.get("/v1/plans", token).await.status, 401);
    }
    assert_eq!(bench.get("/v1/plans", "person.mallory").await.problem().rule, "not-registered");
    let refused = bench.post("/v1/plans", "agent.nobody.decide", &plan("process.restart", "worker-1")).await;
    assert_eq!(refused.problem().rule, "unknown-agent");
    let refused = bench.post("/v1/halt", "person.mallory", &json!({"reach": "soft"})).await;
    assert_eq!(refused.problem().rule, "unknown-person");
    assert_eq!(bench.store.records().len(), before);

    bench.clock.advance(Millis::new(INTERVAL.ms()).unwrap());
    strangers.seal(&bench.gate).await.unwrap();
    let records = bench.store.records();
    assert_eq!(records.len(), before + 1);
    let Body::Strangers { turned_away, .. } = &records.last().unwrap().body else { panic!("no count") };
    let counted = |rule: &str| turned_away[&rule.parse().unwrap()];
    assert_eq!((counted("unauthenticated"), counted("invalid-token")), (400, 600));
    assert_eq!((counted("not-registered"), counted("unknown-agent"), counted("unknown-person")), (1, 1, 1));
    // Whoever is known and refused is on record by name, not counted.
    bench.post("/v1/halt", "agent.own.decide", &json!({"reach": "soft"})).await;
    bench.clock.advance(Millis::new(INTERVAL.ms()).unwrap());
    strangers.seal(&bench.gate).await.unwrap();
    assert_eq!(bench.count("strangers"), 1);
}
