//! Who calls whom, as a Prometheus has it from the service graph connector of OpenTelemetry.
//!
//! The metric is `traces_service_graph_request_total`, with the labels `client`, `server` and `connection_type`. What it shows adds
//! dependencies and takes none away. An answer without a call, one by another clock, one of more calls than are read, and one that is
//! not whole are no readings: the last one stays, and ages.
//!
//! <https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/connector/servicegraphconnector>

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use holdpoint_app::port::Clock;
use holdpoint_domain::{
    Timestamp,
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
/// When each call was counted last: the time of the sample itself, not of this evaluation.
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

    /// What a service graph shows now, and of when the newest of it is. Changes nothing; may be asked by many at once.
    pub async fn read(&self, graph: &ServiceGraph) -> Result<(Observed, Timestamp), Why> {
        let client = match graph.pin {
            None => self.client.clone(),
            Some(pin) => fetch::client_of(pin).ok_or(Why::OurFault)?,
        };
        let (calls, at) = timeout(LIMIT, self.calls(&client, graph)).await.map_err(|_| Why::TimedOut)??;
        // Whoever looks at a share can do without it; nothing is decided from it.
        let rates = timeout(LIMIT, rates(&client, graph)).await.ok().and_then(Result::ok);
        Ok((Observed { calls: calls.into_iter().collect(), rates: rates.unwrap_or_default() }, at))
    }

    async fn calls(
        &self,
        client: &Client,
        graph: &ServiceGraph,
    ) -> Result<(Vec<Dependency>, Timestamp), Why> {
        let before = self.clock.now();
        let fetched = ask(client, &graph.url, "query", &[("query", CALLS)], MAX_ANSWER).await;
        let after = self.clock.now();
        let (mut calls, mut newest_ms) = (Vec::new(), None);
        for (labels, point) in labelled(fetched, MAX_CALLS)? {
            if !is_near(point.at_ms, ms(before), ms(after)) {
                return Err(Why::ClockSkew);
            }
            newest_ms = newest_ms.max(Some(millis(point.value).ok_or(Why::Garbage)?));
            let service = |label: &str| {
                graph.service(labels.get(label).map_or("", String::as_str)).ok_or(Why::OurFault)
            };
            calls.push(Dependency {
                dependent: service("client")?,
                on: service("server")?,
                kind: kind(labels.get("connection_type").map(String::as_str)),
            });
        }
        let newest_ms = newest_ms.and_then(|ms| u64::try_from(ms).ok()).ok_or(Why::NoData)?;
        // A sample from the future is as young as can be, and no younger.
        let at = Timestamp::from_ms(newest_ms.min(after.ms())).map_err(|_| Why::Garbage)?;
        Ok((calls, at))
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
