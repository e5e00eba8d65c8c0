//! Who calls whom, as a Prometheus has it from the service graph connector of OpenTelemetry.
//!
//! The metric is `traces_service_graph_request_total`, with the labels `client`, `server` and `connection_type`. What it shows adds
//! dependencies and takes none away. An answer without a call, one by another clock, one of more calls than are read, and one that is
//! not whole are no readings: the last one stays, and ages. A reading is as old as the newest sample of a call that was counted: the
//! connector gives each series the time of its own clock with every flush, whether anybody called or not, and drops one after a quarter of
//! an hour without a call. What was called before is looked up in the past of the same metric.
//!
//! <https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/connector/servicegraphconnector>

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use holdpoint_app::port::Clock;
use holdpoint_domain::{
    Millis, Timestamp,
    dependencies::{Dependency, Observed, ServiceGraph},
    graph::EdgeKind,
    trigger::Why,
};
use reqwest::Client;
use tokio::time::timeout;

use super::{
    ProberError, fetch,
    promql::{ask, is_near, ms},
    vector::{labelled, millis},
};

/// Largest answer.
const MAX_ANSWER: usize = 16 * 1024 * 1024;
/// Most calls that are read.
const MAX_CALLS: usize = 20_000;
/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(10);
/// How long an answer about the past may take.
const PAST_LIMIT: Duration = Duration::from_secs(60);
/// How far back it is looked: what the gate keeps longer, it knows only if it did not start meanwhile.
const MOST_PAST: Millis = Millis::secs(14 * 24 * 60 * 60);
/// Between two looks into the past, in seconds: Prometheus takes a sample for the present for as long as this, so none is between them.
const PAST_STEP: u64 = 300;
/// The calls, with the times of their samples.
const CALLS: &str =
    "max by (client, server, connection_type) (timestamp(traces_service_graph_request_total))";
/// How often each service is called.
const RATES: &str = "sum by (server) (rate(traces_service_graph_request_total[5m]))";

/// Reads service graphs.
pub struct ServiceGraphs {
    client: Client,
    clock: Arc<dyn Clock>,
}

impl ServiceGraphs {
    /// A reader.
    pub fn new(clock: Arc<dyn Clock>) -> Result<Self, ProberError> {
        Ok(Self { client: fetch::client()?, clock })
    }

    /// What a service graph shows now, and of when the newest of it is; `with_past` also what it showed before. Changes nothing; may be
    /// asked by many at once.
    pub async fn read(&self, graph: &ServiceGraph, with_past: bool) -> Result<(Observed, Timestamp), Why> {
        let client = match graph.pin {
            None => self.client.clone(),
            Some(pin) => fetch::client_of(pin).ok_or(Why::OurFault)?,
        };
        let limited = |limit, ask| async move { timeout(limit, ask).await.map_err(|_| Why::TimedOut)? };
        let earlier = if with_past {
            let seconds = graph.keep_ms.min(MOST_PAST).ms().div_ceil(1000);
            let over = |seconds: u64, step: u64| {
                format!("max_over_time(timestamp(traces_service_graph_request_total)[{seconds}s:{step}s])")
            };
            // What began and ended since the last of the long steps is in the short ones.
            let (long, short) = (over(seconds, PAST_STEP), over(PAST_STEP, 1));
            let past = format!("max by (client, server, connection_type) ({long} or {short})");
            Some(limited(PAST_LIMIT, self.calls(&client, graph, past)).await?)
        } else {
            None
        };
        let calls = limited(LIMIT, self.calls(&client, graph, CALLS.to_owned())).await?;
        let at = timeout(LIMIT, self.counted_at(&client, graph)).await.map_err(|_| Why::TimedOut)??;
        // Whoever looks at a share can do without it; nothing is decided from it.
        let rates = timeout(LIMIT, rates(&client, graph)).await.ok().and_then(Result::ok);
        Ok((Observed { calls: calls.into_keys().collect(), earlier, rates: rates.unwrap_or_default() }, at))
    }

    /// The calls of a query, with the times of their newest samples.
    async fn calls(
        &self,
        client: &Client,
        graph: &ServiceGraph,
        query: String,
    ) -> Result<BTreeMap<Dependency, Timestamp>, Why> {
        let mut calls = BTreeMap::new();
        for (labels, at) in self.times(client, graph, &query).await? {
            let service = |label: &str| {
                graph.service(labels.get(label).map_or("", String::as_str)).ok_or(Why::OurFault)
            };
            let call = Dependency {
                dependent: service("client")?,
                on: service("server")?,
                kind: kind(labels.get("connection_type").map(String::as_str)),
            };
            let latest = calls.entry(call).or_insert(at);
            *latest = at.max(*latest);
        }
        if calls.is_empty() { Err(Why::NoData) } else { Ok(calls) }
    }

    /// Of when the newest sample of a call is that was counted within the time for which a reading counts, or that is new.
    async fn counted_at(&self, client: &Client, graph: &ServiceGraph) -> Result<Timestamp, Why> {
        let (metric, seconds) = ("traces_service_graph_request_total", graph.max_age_ms.ms().div_ceil(1000));
        let query = format!(
            "max(timestamp({metric}) and \
             ((changes({metric}[{seconds}s]) > 0) or ({metric} unless {metric} offset {seconds}s)))"
        );
        let times = self.times(client, graph, &query).await?;
        times.into_iter().map(|(_, at)| at).max().ok_or(Why::NoData)
    }

    /// The series of a query whose values are times. One from the future is as young as can be, and no younger.
    async fn times(
        &self,
        client: &Client,
        graph: &ServiceGraph,
        query: &str,
    ) -> Result<Vec<(BTreeMap<String, String>, Timestamp)>, Why> {
        let before = self.clock.now();
        let fetched = ask(client, &graph.url, "query", &[("query", query)], MAX_ANSWER).await;
        let after = self.clock.now();
        let mut times = Vec::new();
        for (labels, point) in labelled(fetched, MAX_CALLS)? {
            if !is_near(point.at_ms, ms(before), ms(after)) {
                return Err(Why::ClockSkew);
            }
            let at = millis(point.value).and_then(|ms| u64::try_from(ms).ok()).ok_or(Why::Garbage)?;
            times.push((labels, Timestamp::from_ms(at.min(after.ms())).map_err(|_| Why::Garbage)?));
        }
        Ok(times)
    }
}

async fn rates(
    client: &Client,
    graph: &ServiceGraph,
) -> Result<BTreeMap<holdpoint_domain::Id<holdpoint_domain::id::kind::Service>, f64>, Why> {
    let fetched = ask(client, &graph.url, "query", &[("query", RATES)], MAX_ANSWER).await;
    let mut rates = BTreeMap::new();
    for (labels, point) in labelled(fetched, MAX_CALLS)? {
        let service = graph.service(labels.get("server").map_or("", String::as_str)).ok_or(Why::OurFault)?;
        *rates.entry(service).or_insert(0.0) += point.value;
    }
    Ok(rates)
}

/// What `connection_type` says; a plain call has none.
fn kind(connection_type: Option<&str>) -> EdgeKind {
    match connection_type {
        Some("messaging_system") => EdgeKind::Messages,
        Some("database") => EdgeKind::Data,
        Some(_) | None => EdgeKind::Calls,
    }
}
