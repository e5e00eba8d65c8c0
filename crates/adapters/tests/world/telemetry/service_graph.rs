//! Service graphs of a real Prometheus: calls appear and vanish, labels are hostile, and the Prometheus goes away.

use std::{fmt::Write as _, sync::Arc};

use holdpoint_adapters::{probe::ServiceGraphs, system::SystemClock};
use holdpoint_domain::{
    Millis, Timestamp,
    dependencies::{Dependency, Heard, HeardError, Observed, Reading, ServiceGraph},
    graph::EdgeKind,
    trigger::Why,
};

use super::real::{Exporter, Program, now_ms, until};
use crate::world::{server::Server, support::id};

fn graph(url: String) -> ServiceGraph {
    ServiceGraph {
        source: id("traces"),
        url,
        pin: None,
        every_ms: Millis::secs(1),
        max_age_ms: Millis::secs(60),
        keep_ms: Millis::secs(3_600),
        names: [("Shop Frontend".to_owned(), id("web"))].into(),
    }
}

async fn read(graph: &ServiceGraph) -> Result<(Observed, Timestamp), Why> {
    read_with(graph, false).await
}

async fn read_with(graph: &ServiceGraph, past: bool) -> Result<(Observed, Timestamp), Why> {
    ServiceGraphs::new(Arc::new(SystemClock::new())).unwrap().read(graph, past).await
}

fn call(dependent: &str, on: &str, kind: EdgeKind) -> Dependency {
    Dependency { dependent: id(dependent), on: id(on), kind }
}

fn line(client: &str, server: &str, more: &str, count: i64) -> String {
    format!("traces_service_graph_request_total{{client=\"{client}\",server=\"{server}\"{more}}} {count}\n")
}

/// As long as nothing else is said: `web`, under another name, calls `api`, which uses a database and a queue.
fn shop() -> String {
    let ticks = now_ms() / 100;
    [
        line("Shop Frontend", "api", "", ticks * 3),
        line("api", "orders-db", ",connection_type=\"database\"", ticks),
        line("api", "mails", ",connection_type=\"messaging_system\"", ticks),
    ]
    .concat()
}

#[tokio::test]
async fn inv10_a_real_service_graph_appears_goes_quiet_and_goes_away() {
    let exporter = Exporter::new(shop);
    let mut prometheus = Some(Program::prometheus(&exporter).await);
    let graph = graph(prometheus.as_ref().unwrap().url());
    let mut heard = Heard::default();
    let (observed, at) = until("the first calls", async || read_with(&graph, true).await.ok()).await;
    let calls = [
        call("web", "api", EdgeKind::Calls),
        call("api", "orders-db", EdgeKind::Data),
        call("api", "mails", EdgeKind::Messages),
    ];
    assert_eq!(observed.calls, calls.clone().into());
    let age = now_ms() - i64::try_from(at.ms()).unwrap();
    assert!((0..60_000).contains(&age), "{age} ms old");
    heard.hear(observed, at, graph.keep_ms).unwrap();

    // The share of what is requested, once two samples of each are there.
    let (observed, at) = until("rates", async || {
        read(&graph).await.ok().filter(|(observed, _)| observed.rates.values().any(|rate| *rate > 0.0))
    })
    .await;
    heard.hear(observed, at, graph.keep_ms).unwrap();
    let share = heard.traffic().share_percent(&[id("api")]).unwrap();
    assert!((50..=70).contains(&share), "three of five requests, got {share} %");

    // One call is not counted any more, and another one begins: both are there.
    exporter.says(|| line("worker", "api", "", now_ms() / 100));
    let (observed, at) = until("the new call", async || {
        let (observed, at) = read(&graph).await.ok()?;
        let only = [call("worker", "api", EdgeKind::Calls)].into();
        (observed.calls == only).then_some((observed, at))
    })
    .await;
    heard.hear(observed, at, graph.keep_ms).unwrap();
    // Whoever begins now knows the same: what is quiet is in the past.
    let (observed, begun) = read_with(&graph, true).await.unwrap();
    let mut anew = Heard::default();
    assert_eq!(
        anew.hear(Observed { earlier: None, ..observed.clone() }, begun, graph.keep_ms),
        Err(HeardError::NoPast)
    );
    anew.hear(observed, begun, graph.keep_ms).unwrap();
    let all = calls.into_iter().chain([call("worker", "api", EdgeKind::Calls)]);
    let all: Vec<_> = all.collect();
    let expected = Reading::new(id("traces"), at, [], all.clone()).unwrap();
    assert_eq!(heard.reading(&id("traces")).unwrap().unwrap(), expected);
    let anew = anew.reading(&id("traces")).unwrap().unwrap();
    assert_eq!(anew, Reading::new(id("traces"), begun, [], all).unwrap(), "a restart forgets nothing");

    // The page is gone: no calls are no reading. Then the Prometheus itself is gone.
    exporter.vanish();
    until("nothing is there", async || (read(&graph).await == Err(Why::NoData)).then_some(())).await;
    assert!(heard.hear(Observed::default(), at, graph.keep_ms).is_err());
    drop(prometheus.take());
    assert_eq!(read(&graph).await, Err(Why::Refused));
    assert_eq!(heard.reading(&id("traces")).unwrap().unwrap(), expected, "what was read last stays");
}

/// A collector that gives what it once counted the time of its own clock, again and again, counts nothing.
#[tokio::test]
async fn inv10_calls_that_nobody_counts_any_more_make_no_reading_young() {
    let exporter = Exporter::new(|| line("web", "api", "", now_ms() / 100));
    let prometheus = Program::prometheus(&exporter).await;
    let graph = ServiceGraph { max_age_ms: Millis::secs(3), ..graph(prometheus.url()) };
    until("calls", async || read(&graph).await.ok()).await;
    exporter.says(|| line("web", "api", "", 7));
    until("nothing is counted", async || (read(&graph).await == Err(Why::NoData)).then_some(())).await;
    // Scraped it is all the time.
    let wider = ServiceGraph { max_age_ms: Millis::secs(3_600), ..graph };
    assert_eq!(read(&wider).await.unwrap().0.calls, [call("web", "api", EdgeKind::Calls)].into());
}

#[tokio::test]
async fn t35_hostile_labels_are_services_that_nobody_knows_and_never_too_many() {
    let exporter = Exporter::new(|| {
        let mut text = String::new();
        for name in ["a\\nb", "\\\"}", "", "../../etc", "Ünïcödé 漢字", "\u{202e}oop", &"x".repeat(4_000)]
        {
            text.push_str(&line(name, "api", "", 1));
        }
        for number in 0..3_000 {
            writeln!(text, "{}", line(&format!("EVIL {number}"), "api", "", 1).trim_end()).unwrap();
        }
        text
    });
    let prometheus = Program::prometheus(&exporter).await;
    let graph = graph(prometheus.url());
    let (observed, _) = until("all calls", async || {
        read(&graph).await.ok().filter(|(observed, _)| observed.calls.len() == 3_007)
    })
    .await;
    for Dependency { dependent, on, .. } in &observed.calls {
        assert!(dependent.as_str().starts_with("unnamed-") && dependent.as_str().len() == 40, "{dependent}");
        assert_eq!(on.as_str(), "api");
    }
}

#[tokio::test]
async fn what_is_not_a_whole_answer_of_our_time_is_no_reading() {
    let says = |text: String| {
        Server::respond(move |_, _| {
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len())
        })
    };
    let answer = |result: &str| {
        format!("{{\"status\":\"success\",\"data\":{{\"resultType\":\"vector\",\"result\":{result}}}}}")
    };
    let series = |count: usize, at: i64| {
        let one = format!("{{\"metric\":{{\"client\":\"a\",\"server\":\"b\"}},\"value\":[{at},\"{at}\"]}}");
        answer(&format!("[{}]", vec![one; count].join(",")))
    };
    let now = now_ms() / 1000;
    let cases = [
        (answer("[]"), Why::NoData),
        (answer("[{\"metric\":{\"client\":7},\"value\":[1,\"1\"]}]"), Why::Garbage),
        (answer("[{\"metric\":{},\"value\":[1,\"NaN\"]}]"), Why::ClockSkew),
        (series(1, now - 3_600), Why::ClockSkew),
        (series(20_001, now), Why::Ambiguous),
        ("{\"status\":\"success\",\"warnings\":[\"half\"],\"data\":null}".to_owned(), Why::Partial),
        ("{".to_owned(), Why::Garbage),
    ];
    for (text, why) in cases {
        let shown: String = text.chars().take(80).collect();
        let server = says(text);
        let url = format!("http://{}", server.address);
        assert_eq!(read(&graph(url)).await, Err(why), "{shown}");
    }
}
