//! Attacks in every text that a measured system can put beside a number: what is read of it is the same, byte for byte.

use std::{collections::BTreeMap, sync::Arc};

use holdpoint_adapters::probe::WorldProber;
use holdpoint_app::{fake::FakeClock, port::Clock as _};
use holdpoint_domain::{
    digest::canonical,
    target::Address,
    trigger::{
        AlertExpect, AlertmanagerCheck, Check, Comparison, Expected, HttpExpect, HttpJsonCheck, Truth,
    },
};
use serde_json::json;

use super::{ANSWERS_MS, promql, target_at};
use crate::{
    corpora::attacks,
    world::{
        probe_network::{condition, measure, probe},
        server::Server,
        support::millis,
    },
};

/// What a probe of `check` reads from a server that says this, as evidence has it.
async fn bytes(check: &Check, answer: String) -> Vec<u8> {
    let server = Server::respond(move |_, _| answer.clone());
    let prober = WorldProber::new(Arc::new(FakeClock::default()), None).unwrap();
    let target = target_at(Address::Url(server.url()), &[]);
    let reading =
        measure(&prober, &condition(1, vec![probe("e", ANSWERS_MS, check.clone())]), &target).await.remove(0);
    assert_ne!(reading.truth, Truth::Indeterminate, "{check:?}: {reading:?}");
    canonical(&reading).unwrap()
}

/// An answer at the time of the fake clock.
fn answer(body: &str) -> String {
    let date = "Date: Tue, 14 Nov 2023 22:13:20 GMT";
    format!("HTTP/1.1 200 OK\r\n{date}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A text as exporters write it into a label or a comment.
fn exported(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn exposition(text: &str) -> String {
    let text = exported(text);
    format!(
        "# HELP errors {text}\n# TYPE errors counter\nerrors{{node=\"n1\",why=\"{text}\"}} 6\nerrors{{node=\"n2\",why=\"{text}\"}} 7\nother{{x=\"{text}\"}} 8\n"
    )
}

fn prometheus(text: &str) -> String {
    let now = FakeClock::default().now().ms() / 1000;
    // One sample that is now, taken now: it answers both questions of a check.
    let series =
        json!({"metric": {"__name__": text, "job": text, "approved": text}, "value": [now, now.to_string()]});
    json!({"status": "success", "data": {"resultType": "vector", "result": [series]}, "traceId": text})
        .to_string()
}

fn document(text: &str) -> String {
    json!({"lag": 6, "message": text, "log": [text, {"tier": text}], "more": {text: text}}).to_string()
}

fn alerts(text: &str) -> String {
    let now = "2023-11-14T22:13:20.000Z";
    json!([{
        "labels": {"alertname": text, "severity": text},
        "annotations": {"summary": text, "runbook_url": text, "description": text},
        "startsAt": now, "endsAt": "2023-11-14T23:13:20.000Z", "updatedAt": now,
        "generatorURL": text, "fingerprint": text, "receivers": [{"name": text}],
        "status": {"state": "active", "silencedBy": [], "inhibitedBy": []},
    }])
    .to_string()
}

#[tokio::test]
async fn inv10_t35_no_text_beside_a_measured_value_changes_a_byte_of_what_is_read() {
    let labels = BTreeMap::from([("node".to_owned(), "n1".to_owned())]);
    let alertmanager = AlertmanagerCheck {
        matchers: vec!["team=\"sre\"".to_owned()],
        expect: AlertExpect::Firing,
        heartbeat: Vec::new(),
        max_age_ms: millis(600_000),
    };
    let metric = Check::Prometheus {
        metric: "errors".to_owned(),
        labels,
        is: Comparison::Above(5.0),
        max_age_ms: millis(60_000),
    };
    let json = HttpJsonCheck { path: "$.lag".to_owned(), is: Expected::Above(5.0) };
    type Body = fn(&str) -> String;
    let places: [(&str, Check, Body); 5] = [
        ("exposition", metric, exposition),
        ("PromQL", Check::Promql(promql("steady", "steady")), prometheus),
        ("JSON", Check::HttpJson(json), document),
        ("Alertmanager", Check::Alertmanager(alertmanager), alerts),
        ("page", Check::Http { expect: HttpExpect::Ok }, str::to_owned),
    ];
    for (place, check, body) in places {
        let clean = bytes(&check, answer(&body("the queue grows"))).await;
        for attack in attacks() {
            let injected = bytes(&check, answer(&body(&attack.text))).await;
            assert!(clean == injected, "{place}: {}: {:?}", attack.family, attack.text);
            let read = String::from_utf8(injected).unwrap();
            assert!(attack.is_word() || !read.contains(&attack.text), "{place}: {:?} is in it", attack.text);
        }
    }
}
