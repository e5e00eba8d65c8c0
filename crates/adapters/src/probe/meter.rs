//! Signals: one question to a Prometheus about all services at once.
//!
//! 1. When the oldest of the samples was taken that are a number, for each service. One without any has no value, whatever the
//!    expression says of it.
//! 2. The expression at that time. A service with two series, with a value that is not finite, or with samples that are too old
//!    is left out; what is no service of the inventory is counted and forgotten.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use futures_util::future::join_all;
use holdpoint_app::port::{Clock, Meter};
use holdpoint_domain::{
    Id,
    aftermath::Metered,
    id::kind,
    signal::Signal,
    target::{Address, Inventory},
    trigger::Why,
};
use reqwest::Client;
use tokio::time::timeout;

use super::{
    ProberError, fetch,
    promql::{MAX_ANSWER, ask, is_near, is_young, ms, seconds, taken},
    vector::{Labels, MAX_SERIES, Point, labelled, millis},
};

/// Measures signals at the Prometheus that the inventory names.
pub struct WorldMeter {
    client: Client,
    clock: Arc<dyn Clock>,
}

impl WorldMeter {
    /// A meter.
    pub fn new(clock: Arc<dyn Clock>) -> Result<Self, ProberError> {
        Ok(Self { client: fetch::client()?, clock })
    }

    async fn one(&self, signal: &Signal, inventory: &Inventory) -> Metered {
        let limit = Duration::from_millis(signal.timeout_ms.ms());
        let measured = timeout(limit, self.measure(signal, inventory)).await;
        let unknown = |why| Metered::unknown(signal.id.clone(), why);
        measured.unwrap_or(Err(Why::TimedOut)).unwrap_or_else(unknown)
    }

    async fn measure(&self, signal: &Signal, inventory: &Inventory) -> Result<Metered, Why> {
        let client = match signal.from.pin {
            None => self.client.clone(),
            Some(pin) => fetch::client_of(pin).ok_or(Why::OurFault)?,
        };
        let Address::Url(base) = &signal.from.at else { return Err(Why::NoEndpoint) };
        let Signal { label, data, query, .. } = signal;
        let oldest = format!("min by ({label}) ({})", taken(data));
        let before = ms(self.clock.now());
        let fetched = ask(&client, base, "query", &[("query", &oldest)], MAX_ANSWER).await;
        let after = ms(self.clock.now());
        let ages = of_label(labelled(fetched, MAX_SERIES)?, label);
        let at_ms = ages.first().ok_or(Why::NoData)?.1.at_ms;
        if ages.iter().any(|(_, point)| point.at_ms != at_ms) {
            return Err(Why::Garbage);
        }
        if !is_near(at_ms, before, after) {
            return Err(Why::ClockSkew);
        }
        let is_fresh = |point: &Point| {
            let age = millis(point.value).map(|taken| at_ms.max(after).saturating_sub(taken));
            age.is_some_and(|age| is_young(age, signal.max_age_ms))
        };
        let fresh: BTreeSet<String> =
            ages.into_iter().filter(|(_, point)| is_fresh(point)).filter_map(|(name, _)| name).collect();
        if fresh.is_empty() {
            return Err(Why::Stale);
        }
        let form = [("query", query.as_str()), ("time", &seconds(at_ms))];
        let fetched = ask(&client, base, "query", &form, MAX_ANSWER).await;
        let series = of_label(labelled(fetched, MAX_SERIES)?, label);
        if series.iter().any(|(_, point)| point.at_ms != at_ms) {
            return Err(Why::Garbage);
        }
        Ok(sorted(signal, inventory, &fresh, series))
    }
}

/// Each series with the text of one label; none where it does not have it.
fn of_label(series: Vec<(Labels, Point)>, label: &str) -> Vec<(Option<String>, Point)> {
    series.into_iter().map(|(mut labels, point)| (labels.remove(label), point)).collect()
}

/// The values of services that are known and whose samples are young; how many others there are.
fn sorted(
    signal: &Signal,
    inventory: &Inventory,
    fresh: &BTreeSet<String>,
    series: Vec<(Option<String>, Point)>,
) -> Metered {
    let mut found: BTreeMap<Id<kind::Service>, Vec<f64>> = BTreeMap::new();
    let mut strangers: u32 = 0;
    for (name, point) in series {
        // A text of the measured system is a service only where the inventory has exactly that one.
        let known = name.as_deref().and_then(|name| Id::parse(name).ok());
        match known.filter(|service| inventory.service(service).is_some()) {
            Some(service) => found.entry(service).or_default().push(point.value),
            None => strangers = strangers.saturating_add(1),
        }
    }
    let one = |(service, values): (Id<kind::Service>, Vec<f64>)| match values.as_slice() {
        [value] if value.is_finite() && fresh.contains(service.as_str()) => Some((service, *value)),
        _ => None,
    };
    let values = found.into_iter().filter_map(one).collect();
    Metered { signal: signal.id.clone(), why: Why::Measured, values, strangers }
}

#[async_trait]
impl Meter for WorldMeter {
    async fn read(&self, inventory: &Inventory) -> Vec<Metered> {
        join_all(inventory.signals().iter().map(|signal| self.one(signal, inventory))).await
    }
}

impl fmt::Debug for WorldMeter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorldMeter").finish_non_exhaustive()
    }
}
