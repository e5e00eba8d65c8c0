//! Every condition of the shipped catalogue in worlds that lie, begin again, explode and fall silent.
//!
//! The conditions are read from the files: one that is new, and has no world here, fails.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use holdpoint_domain::{
    target::{Address, Target},
    trigger::{Check, Comparison, Condition, HttpExpect, Probe, Reading, TcpExpect, Truth, Why, agree},
};
use serde::{Deserialize, de::IgnoredAny};

use super::{
    ANSWERS_MS, prober,
    real::{Exporter, Program, now_ms, until},
};
use crate::world::{
    probe_network::{self, measure},
    server::{Server, refusing},
    support::{id, millis},
};

use Truth::{DoesNotHold as No, Holds as Yes, Indeterminate as Unknown};

/// The shipped conditions: of the catalogue, and of the demo's stage.
fn shipped() -> Vec<Condition> {
    #[derive(Deserialize)]
    struct File {
        #[serde(default, rename = "actions")]
        _actions: IgnoredAny,
        #[serde(default)]
        conditions: Vec<Condition>,
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = fs::read_dir(root.join("catalog")).unwrap().map(|entry| entry.unwrap().path());
    let mut found = Vec::new();
    for path in folder.chain([root.join("crates/server/src/demo/stage/catalogue.yaml")]) {
        let file: File = serde_saphyr::from_str(&fs::read_to_string(&path).unwrap())
            .unwrap_or_else(|err| panic!("{}: {err}", path.display()));
        found.extend(file.conditions);
    }
    assert!(found.len() > 15, "{}", found.len());
    found
}

fn promql(condition: &Condition) -> bool {
    condition.probes.iter().any(|probe| matches!(probe.check, Check::Promql(_)))
}

/// Whether a query takes a rate of counters, or a gauge as it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rate,
    Gauge,
}

/// A series of a condition: what is beside the target among its labels, and its value (a second, where it is a counter) where the
/// condition holds and where it does not.
struct Series(&'static str, &'static str, f64, f64);

/// The series of every condition that a Prometheus evaluates.
const CASES: [(&str, Kind, &[Series]); 6] = [
    (
        "telemetry.errors-high",
        Kind::Rate,
        &[
            Series("http_requests_total", ",code=\"200\"", 8.0, 10.0),
            Series("http_requests_total", ",code=\"500\"", 2.0, 0.01),
        ],
    ),
    (
        "telemetry.errors-low",
        Kind::Rate,
        &[
            Series("http_requests_total", ",code=\"200\"", 10.0, 8.0),
            Series("http_requests_total", ",code=\"500\"", 0.01, 2.0),
        ],
    ),
    (
        "telemetry.latency-high",
        Kind::Rate,
        &[
            Series("http_request_duration_seconds_bucket", ",le=\"0.5\"", 1.0, 10.0),
            Series("http_request_duration_seconds_bucket", ",le=\"1\"", 1.0, 10.0),
            Series("http_request_duration_seconds_bucket", ",le=\"5\"", 10.0, 10.0),
            Series("http_request_duration_seconds_bucket", ",le=\"+Inf\"", 10.0, 10.0),
        ],
    ),
    (
        "telemetry.pool-saturated",
        Kind::Gauge,
        &[Series("pool_connections_used", "", 95.0, 10.0), Series("pool_connections_max", "", 100.0, 100.0)],
    ),
    ("telemetry.queue-deep", Kind::Gauge, &[Series("queue_depth", "", 5000.0, 3.0)]),
    ("telemetry.replication-lagging", Kind::Gauge, &[Series("replication_lag_seconds", "", 120.0, 0.5)]),
];

/// What can be wrong with the telemetry of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum World {
    Holds,
    Fine,
    Absent,
    OneSample,
    Reset,
    Exploded,
    NotANumber,
    Stale,
    FirstLies,
    SecondLies,
}

impl World {
    const ALL: [Self; 10] = [
        Self::Holds,
        Self::Fine,
        Self::Absent,
        Self::OneSample,
        Self::Reset,
        Self::Exploded,
        Self::NotANumber,
        Self::Stale,
        Self::FirstLies,
        Self::SecondLies,
    ];

    /// The target of a condition in this world.
    fn target(self, condition: &str) -> String {
        format!("{condition}-{}", format!("{self:?}").to_lowercase())
    }

    /// What the two sources say together.
    fn truth(self, kind: Kind) -> Truth {
        match (self, kind) {
            (Self::Holds | Self::Reset, _) => Yes,
            (Self::Fine, _) => No,
            // One sample of a counter is no rate; one of a gauge is what it is.
            (Self::OneSample, Kind::Rate) => Unknown,
            (Self::OneSample, Kind::Gauge) => Yes,
            // A sum takes in every shard of a counter; which of several gauges is meant, nobody knows.
            (Self::Exploded, Kind::Rate) => Yes,
            (Self::Exploded, Kind::Gauge) => Unknown,
            (Self::Absent | Self::NotANumber | Self::Stale | Self::FirstLies | Self::SecondLies, _) => {
                Unknown
            }
        }
    }
}

/// What one of the two exporters says; what it has said of a time it goes on saying.
fn exposition(began_ms: i64, is_first: bool) -> String {
    let (mut text, began, now) = (String::new(), began_ms / 1000, now_ms() / 1000);
    for (condition, kind, series) in &CASES {
        for world in World::ALL {
            let holds = match world {
                World::Fine => false,
                World::FirstLies => is_first,
                World::SecondLies => !is_first,
                World::Absent => continue,
                World::Holds
                | World::OneSample
                | World::Reset
                | World::Exploded
                | World::NotANumber
                | World::Stale => true,
            };
            let shards = if world == World::Exploded { 20 } else { 1 };
            let times: Vec<i64> = match world {
                World::OneSample => vec![began],
                World::Stale => (began - 160..began - 100).step_by(5).collect(),
                World::Holds
                | World::Fine
                | World::Absent
                | World::Reset
                | World::Exploded
                | World::NotANumber
                | World::FirstLies
                | World::SecondLies => (began - 60..=now).filter(|at| (at - began) % 5 == 0).collect(),
            };
            for (Series(metric, labels, yes, no), shard) in
                series.iter().flat_map(|series| (0..shards).map(move |shard| (series, shard)))
            {
                let value = if holds { yes } else { no };
                let reset = began - 10;
                let shard = if shards == 1 { String::new() } else { format!(",shard=\"{shard}\"") };
                for at in &times {
                    let value = match (kind, world) {
                        (_, World::NotANumber) => f64::NAN,
                        (Kind::Gauge, _) => *value,
                        (Kind::Rate, World::Reset) if *at >= reset => (at - reset) as f64 * value,
                        (Kind::Rate, _) => (at - began + 1000) as f64 * value,
                    };
                    let (target, at) = (world.target(condition), at * 1000);
                    writeln!(text, "{metric}{{target=\"{target}\"{labels}{shard}}} {value} {at}").unwrap();
                }
            }
        }
    }
    text
}

#[tokio::test]
async fn inv16_every_promql_condition_of_the_catalogue_in_worlds_that_lie() {
    let began = now_ms();
    let exporters = [true, false].map(|is_first| Exporter::new(move || exposition(began, is_first)));
    let (first, second) =
        (Program::prometheus(&exporters[0]).await, Program::prometheus(&exporters[1]).await);
    let all: Vec<_> = shipped().into_iter().filter(promql).collect();
    let cases: BTreeMap<_, _> = CASES.iter().map(|(id, kind, _)| (*id, *kind)).collect();
    let ids: Vec<_> = all.iter().map(|condition| condition.id.as_str()).collect();
    assert!(ids.iter().all(|id| cases.contains_key(id)), "a condition without a world: {ids:?}");
    assert_eq!(ids.len(), cases.len(), "a world without a condition: {ids:?}");
    let prober = prober();
    let truth = async |condition: &Condition, world: World| {
        let at = [("prometheus", "one", &first), ("peer-prometheus", "other", &second)];
        let at = at.map(|(endpoint, source, program)| (endpoint, source, Address::Url(program.url())));
        let target = Target { id: id(&world.target(condition.id.as_str())), ..probe_network::target(&at) };
        let mut patient = condition.clone();
        patient.probes.iter_mut().for_each(|probe| probe.timeout_ms = millis(ANSWERS_MS));
        let readings = measure(&prober, &patient, &target).await;
        (agree(condition.needs, &readings).truth, readings)
    };
    for condition in &all {
        condition.check().unwrap();
        assert_eq!((condition.needs, condition.probes.len()), (2, 2), "{}", condition.id);
        until("both have scraped it", async || (truth(condition, World::Holds).await.0 == Yes).then_some(()))
            .await;
        for world in World::ALL {
            let (truth, readings) = truth(condition, world).await;
            let expected = world.truth(cases[condition.id.as_str()]);
            assert_eq!(truth, expected, "{} {world:?}: {readings:?}", condition.id);
        }
    }
}

/// What one probe is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Holds,
    Fine,
    Absent,
    Exploded,
    NotANumber,
    Stale,
    Garbage,
}

/// A page with the sample that a probe looks for.
fn page(metric: &str, labels: &BTreeMap<String, String>, is: Comparison, shown: Shown) -> String {
    let labels: Vec<_> = labels
        .iter()
        .map(|(name, value)| format!("{name}=\"{}\"", value.replace("${target}", "web-1")))
        .collect();
    let (more, less) = match is {
        Comparison::Above(limit) => (limit + 1.0, limit),
        Comparison::Below(limit) => (limit / 2.0, limit),
        Comparison::Equals(limit) => (limit, limit + 1.0),
    };
    let line = |value: f64, more: &str| {
        let all = labels.iter().cloned().chain((!more.is_empty()).then(|| more.to_owned()));
        format!("{metric}{{{}}} {value}", all.collect::<Vec<_>>().join(","))
    };
    let text = match shown {
        Shown::Holds => line(more, ""),
        Shown::Fine => line(less, ""),
        Shown::Absent => "another 1".to_owned(),
        Shown::Exploded => {
            let shards = (0..50).map(|shard| line(more, &format!("shard=\"{shard}\"")));
            shards.collect::<Vec<_>>().join("\n")
        }
        Shown::NotANumber => line(f64::NAN, ""),
        Shown::Stale => line(more, "") + " 1",
        Shown::Garbage => line(more, "") + "\n<html>",
    };
    text + "\n"
}

#[tokio::test]
async fn inv16_every_page_of_metrics_in_the_catalogue_in_worlds_that_lie() {
    let worlds = [
        (Shown::Holds, Yes, Why::Measured),
        (Shown::Fine, No, Why::Measured),
        (Shown::Absent, Unknown, Why::NoData),
        (Shown::Exploded, Unknown, Why::Ambiguous),
        (Shown::NotANumber, Unknown, Why::NotANumber),
        (Shown::Stale, Unknown, Why::Stale),
        (Shown::Garbage, Unknown, Why::Garbage),
    ];
    let mut seen = 0;
    for condition in shipped() {
        for probe in &condition.probes {
            let Check::Prometheus { metric, labels, is, .. } = &probe.check else { continue };
            seen += 1;
            for (shown, truth, why) in worlds {
                let server = Server::status("200 OK", &page(metric, labels, *is, shown));
                let at = Address::Url(server.url());
                let reading = probe_network::read(probe.check.clone(), at, ANSWERS_MS).await;
                assert_eq!((reading.truth, reading.why), (truth, why), "{} {shown:?}", condition.id);
            }
        }
    }
    assert!(seen > 5, "{seen}");
}

/// Something that one probe asks, and that says what it is told to. It ends with this.
enum Source {
    Server(Server),
    Refusing(String),
    /// What the supervisor says of a process: its probe has tests of its own (`probe_process`).
    Process,
}

fn source(check: &Check, holds: bool) -> Source {
    let pick = |yes: Source, no: Source| if holds { yes } else { no };
    let status = |status: &str| Source::Server(Server::status(status, ""));
    let (well, ill) = ("200 OK", "503 Service Unavailable");
    let refuses = || Source::Refusing(refusing().to_string());
    match check {
        Check::Http { expect: HttpExpect::Ok } => pick(status(well), status(ill)),
        Check::Http { expect: HttpExpect::ServerError } => pick(status(ill), status(well)),
        Check::Http { expect: HttpExpect::Unanswered } => pick(Source::Server(Server::hang()), status(well)),
        Check::Tcp { expect: TcpExpect::Open } => pick(status(well), refuses()),
        Check::Tcp { expect: TcpExpect::Refused } => pick(refuses(), status(well)),
        Check::Prometheus { metric, labels, is, .. } => {
            let shown = if holds { Shown::Holds } else { Shown::Fine };
            Source::Server(Server::status("200 OK", &page(metric, labels, *is, shown)))
        }
        Check::Process { .. } => Source::Process,
        Check::Promql(_) | Check::Alertmanager(_) | Check::Sql(_) | Check::HttpJson(_) => {
            panic!("a condition without a world: {check:?}")
        }
    }
}

async fn reading(number: usize, probe: &Probe, holds: bool) -> Reading {
    let (endpoint, name) = (probe.endpoint.as_str(), format!("source-{number}"));
    let source = source(&probe.check, holds);
    let at = match (&source, &probe.check) {
        (Source::Server(server), Check::Tcp { .. }) => Address::Tcp(server.address.to_string()),
        (Source::Server(server), _) => Address::Url(server.url()),
        (Source::Refusing(address), _) => Address::Tcp(address.clone()),
        (Source::Process, _) => {
            let truth = if holds { Yes } else { No };
            let (why, age_ms) = (Why::Measured, millis(0));
            return Reading { endpoint: id(endpoint), source: id(&name), truth, why, value: None, age_ms };
        }
    };
    // Where something must not answer, nobody waits for long.
    let hangs = matches!(probe.check, Check::Http { expect: HttpExpect::Unanswered }) && holds;
    let limit = if hangs { 300 } else { ANSWERS_MS };
    let alone = probe_network::condition(1, vec![probe_network::probe(endpoint, limit, probe.check.clone())]);
    let target = probe_network::target(&[(endpoint, name.as_str(), at)]);
    measure(probe_network::prober(), &alone, &target).await.remove(0)
}

/// A source that lies beside honest ones makes nobody act: where two must agree, one alone proves nothing, and refutes nothing.
#[tokio::test]
async fn inv16_no_condition_of_the_catalogue_holds_by_the_word_of_one_liar() {
    let mut seen = 0;
    for condition in shipped().into_iter().filter(|condition| !promql(condition)) {
        let all = condition.probes.len();
        let says = async |holds: &dyn Fn(usize) -> bool| {
            let mut readings = Vec::new();
            for (number, probe) in condition.probes.iter().enumerate() {
                readings.push(reading(number, probe, holds(number)).await);
            }
            (agree(condition.needs, &readings).truth, readings)
        };
        let (truth, readings) = says(&|_| true).await;
        assert_eq!(truth, Yes, "{}: {readings:?}", condition.id);
        let (truth, readings) = says(&|_| false).await;
        assert_eq!(truth, No, "{}: {readings:?}", condition.id);
        if condition.needs < 2 {
            // The operator's word is that one source is enough.
            assert_eq!(all, 1, "{}: a second source that nobody needs", condition.id);
            continue;
        }
        seen += 1;
        for liar in 0..all {
            let (truth, readings) = says(&|number| number == liar).await;
            assert_eq!(truth, Unknown, "{}, {liar} lies: {readings:?}", condition.id);
            let (truth, readings) = says(&|number| number != liar).await;
            let expected = if all > condition.needs as usize { Yes } else { Unknown };
            assert_eq!(truth, expected, "{}, {liar} denies: {readings:?}", condition.id);
        }
    }
    assert!(seen > 8, "{seen}");
}

/// What the supervisor cannot say is unknown, whatever is asked of it.
#[tokio::test]
async fn inv16_every_process_condition_of_the_catalogue_without_a_process() {
    for condition in shipped() {
        for probe in condition.probes.iter().filter(|it| matches!(it.check, Check::Process { .. })) {
            let reading = probe_network::read(probe.check.clone(), Address::Unit(id("web-1")), 1000).await;
            assert_eq!(reading.truth, Unknown, "{}: {reading:?}", condition.id);
        }
    }
}
