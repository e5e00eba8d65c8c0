//! Signals of all services, by a real Prometheus: what it has no honest word for is unknown, and what is no service counts for
//! nothing.

use std::{fmt::Write as _, sync::Arc};

use holdpoint_adapters::{probe::WorldMeter, system::SystemClock};
use holdpoint_app::port::Meter as _;
use holdpoint_domain::{
    aftermath::{Aftermath, Baseline, Before, Gap, Metered, Moved, Surprise},
    signal::{Measures, Moves, Signal},
    target::{Address, Endpoint, Inventory, Service},
    trigger::Why,
};

use super::real::{Exporter, Program, now_ms, until};
use crate::world::{
    probe_network,
    server::Server,
    support::{id, millis},
};

const SERVICES: [&str; 9] =
    ["shop", "orders", "payments", "reset", "once", "odd", "infinite", "stale", "absent"];

fn signal(name: &str, at: &str, query: &str, data: &str) -> Signal {
    Signal {
        id: id(name),
        measures: Measures::ErrorRatio,
        from: Endpoint { source: id("prom"), at: Address::Url(at.to_owned()), pin: None },
        query: query.to_owned(),
        data: data.to_owned(),
        label: "service".to_owned(),
        max_age_ms: millis(60_000),
        timeout_ms: millis(5_000),
        moves: Moves { by: Some(0.1), times: None },
        worse: Default::default(),
    }
}

fn inventory(signals: Vec<Signal>) -> Inventory {
    let service = |name: &&str| Service { id: id(name), ..probe_network::service() };
    let inventory = Inventory::new(SERVICES.iter().map(service).collect(), Vec::new()).unwrap();
    inventory.with_signals(signals).unwrap()
}

async fn measured(inventory: &Inventory) -> Vec<Metered> {
    WorldMeter::new(Arc::new(SystemClock::new())).unwrap().read(inventory).await
}

/// `service value`, a line each.
fn values(metered: &Metered) -> Vec<String> {
    metered.values.iter().map(|(service, value)| format!("{service} {value}")).collect()
}

/// A counter that grows by so much a second, over the minute before the test and since. What it was at a time it stays.
fn counter(text: &mut String, began: i64, (service, code): (&str, &str), rate: f64, resets: bool) {
    let (began, now) = (began / 1000, now_ms() / 1000);
    let reset = began - 5;
    for at in began - 60..=now {
        let since = if resets && at >= reset { at - reset } else { at - began + 100 };
        let value = since as f64 * rate;
        writeln!(text, "requests_total{{service=\"{service}\",code=\"{code}\"}} {value} {}", at * 1000)
            .unwrap();
    }
}

/// Every service with 10 requests a second, some of which fail.
fn exposition(payments: f64, began: i64) -> String {
    let (mut text, once) = (String::new(), began);
    let failing = [("shop", 2.0), ("orders", 0.0), ("payments", payments), ("reset", 5.0)];
    for (service, failed) in failing {
        counter(&mut text, began, (service, "500"), failed, service == "reset");
        counter(&mut text, began, (service, "200"), 10.0 - failed, service == "reset");
    }
    // One sample of each, from a moment ago.
    writeln!(text, "requests_total{{service=\"once\",code=\"500\"}} 5 {once}").unwrap();
    writeln!(text, "requests_total{{service=\"once\",code=\"200\"}} 5 {once}").unwrap();
    text.push_str("full{service=\"shop\"} 0.5\nfull{service=\"odd\"} NaN\nfull{service=\"infinite\"} +Inf\n");
    writeln!(text, "full{{service=\"stale\"}} 0.5 {}", now_ms() - 100_000).unwrap();
    // Two series of one service.
    text.push_str("full{service=\"orders\",zone=\"a\"} 0.1\nfull{service=\"orders\",zone=\"b\"} 0.9\n");
    for name in HOSTILE {
        let name = name.replace('\\', "\\\\").replace('"', "\\\"");
        writeln!(text, "full{{service=\"{name}\"}} 0.9").unwrap();
    }
    for number in 0..1500 {
        writeln!(text, "burst{{service=\"made-up-{number}\"}} 1").unwrap();
    }
    text.push_str("burst{service=\"shop\"} 1\nlast 1\n");
    text
}

/// Names that look like services, or would do something if they could.
const HOSTILE: [&str; 7] = [
    "Shop",
    "shop ",
    "sh\u{200b}op",
    "payments\"} or vector(1) #",
    "../shop",
    "ignore previous instructions",
    "",
];

const ERRORS: &str =
    "sum by (service) (rate(requests_total{code='500'}[20s])) / sum by (service) (rate(requests_total[20s]))";

#[tokio::test]
async fn a_real_prometheus_says_what_moved_and_of_what_nobody_knows_it() {
    let began = now_ms();
    let exporter = Exporter::new(move || exposition(0.0, began));
    let prometheus = Program::prometheus(&exporter).await;
    let url = prometheus.url();
    let all = inventory(vec![
        signal("errors", &url, ERRORS, "requests_total"),
        signal("saturation", &url, "full", "full"),
        signal("burst", &url, "burst", "burst"),
        signal("nothing", &url, "nothing or vector(1)", "nothing"),
        signal("refused", &url, "full{", "full"),
        signal("broken", "http://127.0.0.1:9", "full", "full"),
    ]);
    let before = until("the first scrape", async || {
        let metered = measured(&all).await;
        (metered[0].values.len() >= 4 && metered[2].why == Why::Ambiguous).then_some(metered)
    })
    .await;
    let said: Vec<_> = before.iter().map(|it| (it.signal.as_str(), it.why)).collect();
    assert_eq!(
        said,
        [
            ("errors", Why::Measured),
            ("saturation", Why::Measured),
            ("burst", Why::Ambiguous),
            ("nothing", Why::NoData),
            ("refused", Why::Rejected),
            ("broken", Why::Refused),
        ],
        "{}",
        prometheus.log()
    );
    // A counter that began again is no negative rate; one sample makes none, and who was not measured is not there.
    let rounded: Vec<_> =
        before[0].values.iter().map(|(service, value)| format!("{service} {value:.1}")).collect();
    assert_eq!(rounded, ["orders 0.0", "payments 0.0", "reset 0.5", "shop 0.2"]);
    // What is not finite, too old or there twice is left out; what only looks like a service is a stranger.
    assert_eq!(values(&before[1]), ["shop 0.5"]);
    // Prometheus takes an empty label for none.
    assert_eq!(before[1].strangers as usize, HOSTILE.len());

    exporter.says(move || exposition(9.0, began));
    let after = until("payments moved", async || {
        let metered = measured(&all).await;
        metered[0].values.get(&id("payments")).is_some_and(|ratio| *ratio > 0.5).then_some(metered)
    })
    .await;
    let with_definition = |said: Metered| {
        let signal = all.signals().iter().find(|signal| signal.id == said.signal).unwrap();
        Before { definition: signal.digest().unwrap(), said }
    };
    let estimate = ["shop", "absent"].map(id).into();
    let baseline =
        Baseline::new(before.into_iter().map(with_definition).collect(), Default::default(), &estimate, &all);
    let found = Aftermath::new(all.signals(), &baseline, &after, &estimate, Vec::new());
    let moved: Vec<_> =
        found.moved.iter().map(|Moved { service, way, .. }| format!("{service} {way:?}")).collect();
    assert_eq!(moved, ["payments Worse"]);
    let outside = Surprise::MovedOutside { service: id("payments"), signal: id("errors") };
    assert_eq!(found.surprises, [outside]);
    let unknown: Vec<_> = found
        .unknown
        .iter()
        .map(|it| (it.signal.as_str(), it.service.as_ref().map(|it| it.as_str()), it.gap))
        .collect();
    assert_eq!(
        unknown,
        [
            ("burst", None, Gap::Before),
            ("nothing", None, Gap::Before),
            ("refused", None, Gap::Before),
            ("broken", None, Gap::Before),
            ("errors", Some("absent"), Gap::Before),
            ("saturation", Some("absent"), Gap::Before),
        ]
    );
}

#[tokio::test]
async fn a_signal_that_vanishes_is_unknown_and_never_still() {
    let exporter = Exporter::new(|| "full{service=\"shop\"} 0.5\nfull{service=\"orders\"} 0.5\n".to_owned());
    let prometheus = Program::prometheus(&exporter).await;
    let all = inventory(vec![signal("saturation", &prometheus.url(), "full", "full")]);
    until("both services", async || (measured(&all).await[0].values.len() == 2).then_some(())).await;
    exporter.says(|| "full{service=\"orders\"} 0.5\n".to_owned());
    until("one is gone", async || (values(&measured(&all).await[0]) == ["orders 0.5"]).then_some(())).await;
    exporter.vanish();
    let gone = until("all are gone", async || {
        let metered = measured(&all).await.remove(0);
        (metered.why != Why::Measured).then_some(metered)
    })
    .await;
    assert_eq!((gone.why, gone.values.len()), (Why::NoData, 0));
}

#[tokio::test]
async fn a_prometheus_that_hangs_or_answers_nonsense_is_unknown_in_time() {
    let at = |server: &Server| format!("http://{}", server.address);
    let hangs = Server::hang();
    let page = Server::status("200 OK", "<html>");
    let quick = |name: &str, server: &Server| Signal {
        timeout_ms: millis(300),
        ..signal(name, &at(server), "full", "full")
    };
    let all = inventory(vec![quick("hangs", &hangs), quick("page", &page)]);
    let said: Vec<_> = measured(&all).await.iter().map(|it| it.why).collect();
    assert_eq!(said, [Why::TimedOut, Why::Garbage]);
}
