//! Probes of telemetry against real systems of it, and against doubles of them that fail in ways that real ones cannot be made to.

mod alertmanager;
mod catalogue;
mod doubles;
mod injected;
mod json;
mod promql;
mod real;
mod service_graph;
mod signals;
mod sql;

use std::sync::Arc;

use holdpoint_adapters::{probe::WorldProber, system::SystemClock};
use holdpoint_domain::{
    target::{Address, Target},
    trigger::{Check, Comparison, PromqlCheck, Reading, Truth, Why},
};

use super::{
    probe_network::{condition, measure, probe, target},
    support::{id, millis},
};

/// How long an answer may take where one is expected: longer than any machine needs.
const ANSWERS_MS: u64 = 20_000;

/// A prober by the clock on the wall, as the systems here have it.
fn prober() -> WorldProber {
    WorldProber::new(Arc::new(SystemClock::new()), None).unwrap()
}

/// `query` is above 5, on samples of `data`.
fn promql(query: &str, data: &str) -> PromqlCheck {
    PromqlCheck {
        query: query.to_owned(),
        is: Comparison::Above(5.0),
        data: data.to_owned(),
        max_age_ms: millis(60_000),
        for_ms: None,
        step_ms: None,
        at_most_series: 1,
    }
}

/// Target `web-1` with one endpoint, and labels.
fn target_at(at: Address, labels: &[(&str, &str)]) -> Target {
    let labels = labels.iter().map(|(name, value)| (id(name), (*value).to_owned().try_into().unwrap()));
    Target { labels: labels.collect(), ..target(&[("e", "s", at)]) }
}

/// One probe of the target's one endpoint.
async fn read(check: Check, target: &Target) -> Reading {
    check.check().unwrap_or_else(|fault| panic!("{check:?}: {fault}"));
    measure(&prober(), &condition(1, vec![probe("e", ANSWERS_MS, check)]), target).await.remove(0)
}

fn said(reading: &Reading) -> (Truth, Why) {
    (reading.truth, reading.why)
}
