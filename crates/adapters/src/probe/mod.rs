//! Probes: the gate's own measurements of a target.
//!
//! Unknown is never healthy and never proven. What a probe saw, and what that says about what it must see:
//!
//! | seen | http `unanswered` | http `ok` | http `server_error` | tcp `open` | tcp `refused` |
//! | --- | --- | --- | --- | --- | --- |
//! | 2xx | does not hold | **holds** | does not hold | | |
//! | 5xx | does not hold | does not hold | **holds** | | |
//! | any other status, redirects too | does not hold | does not hold | does not hold | | |
//! | connection taken | | | | **holds** | does not hold |
//! | taken, no whole answer in time | **holds** | does not hold | indeterminate | | |
//! | refused | does not hold | does not hold | indeterminate | does not hold | **holds** |
//! | no connection in time | indeterminate | does not hold | indeterminate | does not hold | indeterminate |
//! | broken off, not HTTP, too large | indeterminate | indeterminate | indeterminate | indeterminate | indeterminate |
//! | we could not ask | indeterminate | indeterminate | indeterminate | indeterminate | indeterminate |
//!
//! `unanswered` is for what hangs. What refuses connections is down, and may have been stopped on purpose: that is another
//! condition. A target that does not answer has not proven its health, so `ok` and `open` do not hold; that is measured. What its
//! status would have been nobody knows, so `server_error` is indeterminate. On this machine a connection that is not
//! taken in time is one that waits in the full queue of a program that hangs: `unanswered` holds.
//!
//! A process that is a zombie does not run. `rss_above` and `rss_at_most` do not hold for a process that does not run:
//! both begin with "it runs and". A sample of Prometheus must be the only one that matches; a value that is not a number,
//! a sample that is too old or more than five seconds from the future, and an exposition that does not parse to its last
//! byte are indeterminate. What the other checks must see, and what proves nothing to them, stands in docs/probes.md.
//! Nothing of the measured system but numbers and the words of [`Why`] gets into a [`Reading`].

mod alerts;
mod exposition;
mod fetch;
mod json;
mod meter;
mod promql;
mod service_graph;
mod sql;
mod vector;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::future::join_all;
use holdpoint_app::port::{Clock, Prober};
use holdpoint_domain::{
    Id, Millis, Timestamp,
    id::kind,
    target::{Address, Endpoint},
    trigger::{
        Check, Comparison, Condition, HttpExpect, Probe, ProcessExpect, Reading, Subject, TcpExpect, Truth,
        Why,
    },
};
use reqwest::Client;
use tokio::{net::TcpStream, time::timeout};

use crate::executor::process::UnitReader;
use fetch::Fetched;
pub use meter::WorldMeter;
pub use service_graph::ServiceGraphs;
pub use sql::{ProbeLogin, ProbeLogins};

/// Largest answer of a health check.
const MAX_HTTP_BODY: usize = 1024 * 1024;
/// Largest exposition: a busy exporter's.
const MAX_EXPOSITION: usize = 8 * 1024 * 1024;
/// How far from the future a sample may be: clocks differ.
const MAX_FUTURE: Millis = Millis::secs(5);
/// What a probe may take beyond its time limit, for a second look; the port allows a second.
const SLACK: Duration = Duration::from_millis(900);

/// Measures targets over HTTP and TCP, in `/proc`, and in what exporters of Prometheus say.
pub struct WorldProber {
    client: Client,
    units: Option<UnitReader>,
    logins: ProbeLogins,
    clock: Arc<dyn Clock>,
}

/// What one probe found.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Finding {
    truth: Truth,
    why: Why,
    value: Option<f64>,
    age: Millis,
}

impl Finding {
    const fn new(truth: Truth, why: Why) -> Self {
        Self { truth, why, value: None, age: Millis::secs(0) }
    }

    const fn unknown(why: Why) -> Self {
        Self::new(Truth::Indeterminate, why)
    }

    const fn measured(holds: bool) -> Self {
        Self::new(if holds { Truth::Holds } else { Truth::DoesNotHold }, Why::Measured)
    }
}

/// A prober that could not be made: the machine has no usable certificate store, for instance.
#[derive(Debug, thiserror::Error)]
#[error("no HTTP client can be made for probes")]
pub struct ProberError(#[from] reqwest::Error);

impl WorldProber {
    /// A prober. Without a reader of units, probes of processes are indeterminate.
    pub fn new(clock: Arc<dyn Clock>, units: Option<UnitReader>) -> Result<Self, ProberError> {
        Ok(Self { client: fetch::client()?, units, logins: ProbeLogins::new(), clock })
    }

    /// The same, with logins for databases. Without them, probes of databases are indeterminate.
    #[must_use]
    pub fn with_logins(self, logins: ProbeLogins) -> Self {
        Self { logins, ..self }
    }

    /// One reading a probe. Always there: an endpoint's name is a source's name as well, by the grammar of ids.
    async fn read(&self, probe: &Probe, subject: Subject<'_>) -> Option<Reading> {
        let Some(endpoint) = subject.target.endpoints.get(&probe.endpoint) else {
            // A source of its own, so that it counts as one that says nothing.
            let source = Id::parse(probe.endpoint.as_str()).ok()?;
            return Some(reading(probe, source, Finding::unknown(Why::NoEndpoint)));
        };
        let limit = Duration::from_millis(probe.timeout_ms.ms());
        let asked = self.ask(&probe.check, endpoint, limit, subject);
        // Each way of asking has its own limit; this one is for what nobody thought of.
        let finding = timeout(limit.saturating_add(SLACK), asked).await;
        Some(reading(probe, endpoint.source.clone(), finding.unwrap_or(Finding::unknown(Why::TimedOut))))
    }

    async fn ask(
        &self,
        check: &Check,
        endpoint: &Endpoint,
        limit: Duration,
        subject: Subject<'_>,
    ) -> Finding {
        let client = match endpoint.pin {
            None => Some(self.client.clone()),
            Some(pin) => fetch::client_of(pin),
        };
        let Some(client) = &client else { return Finding::unknown(Why::OurFault) };
        match (check, &endpoint.at) {
            (Check::Http { expect }, Address::Url(url)) => {
                http(*expect, &fetch::get(client, url, limit, MAX_HTTP_BODY).await)
            }
            (Check::Tcp { expect }, Address::Tcp(address)) => tcp(*expect, address, limit).await,
            (Check::Process { expect }, Address::Unit(unit)) => self.process(expect, unit, limit).await,
            (Check::Prometheus { metric, labels, is, max_age_ms }, Address::Url(url)) => {
                let fetched = fetch::get(client, url, limit, MAX_EXPOSITION).await;
                // The time after the answer: an answer that took long is an older one.
                let sample = Sample { metric, labels, is: *is, max_age: *max_age_ms, now: self.clock.now() };
                sample.find(fetched, &subject.target.id)
            }
            (Check::Promql(check), Address::Url(url)) => {
                let asked = promql::Asked { client, clock: self.clock.as_ref(), check, subject };
                timeout(limit, asked.at(url)).await.unwrap_or(Finding::unknown(Why::TimedOut))
            }
            (Check::Alertmanager(check), Address::Url(url)) => {
                let asked = alerts::Asked { client, clock: self.clock.as_ref(), check, subject };
                timeout(limit, asked.at(url)).await.unwrap_or(Finding::unknown(Why::TimedOut))
            }
            (Check::HttpJson(check), Address::Url(url)) => {
                let asked = json::value(client, check, url);
                timeout(limit, asked).await.unwrap_or(Finding::unknown(Why::TimedOut))
            }
            (Check::Sql(check), Address::Postgres(database)) => {
                let asked = sql::value(&self.logins, check, subject, database, limit);
                timeout(limit, asked).await.unwrap_or(Finding::unknown(Why::TimedOut))
            }
            (
                Check::Http { .. }
                | Check::Tcp { .. }
                | Check::Process { .. }
                | Check::Prometheus { .. }
                | Check::Promql(_)
                | Check::Alertmanager(_)
                | Check::HttpJson(_)
                | Check::Sql(_),
                Address::Url(_) | Address::Tcp(_) | Address::Unit(_) | Address::Postgres(_),
            ) => Finding::unknown(Why::NoEndpoint),
        }
    }

    async fn process(&self, expect: &ProcessExpect, unit: &Id<kind::Target>, limit: Duration) -> Finding {
        let Some(reader) = self.units.clone() else { return Finding::unknown(Why::OurFault) };
        let id = unit.clone();
        let view = match timeout(limit, tokio::task::spawn_blocking(move || reader.look(&id))).await {
            Err(_) => return Finding::unknown(Why::TimedOut),
            Ok(Err(_) | Ok(Err(_))) => return Finding::unknown(Why::OurFault),
            Ok(Ok(Ok(None))) => return Finding::unknown(Why::NoData),
            Ok(Ok(Ok(Some(view)))) => view,
        };
        let compared = |holds: fn(u64, u64) -> bool, than: u64| match view.rss_bytes {
            Some(rss) => {
                // Exact below 2^53 bytes, which no machine has.
                #[allow(clippy::cast_precision_loss, reason = "resident memory is far below 2^53 bytes")]
                let value = rss as f64;
                Finding { value: Some(value), ..Finding::measured(holds(rss, than)) }
            }
            None => Finding::new(Truth::DoesNotHold, Why::NoData),
        };
        match expect {
            ProcessExpect::Running => Finding::measured(view.runs),
            ProcessExpect::NotRunning => Finding::measured(!view.runs),
            ProcessExpect::RssAbove(bytes) => compared(|rss, limit| rss > limit, *bytes),
            ProcessExpect::RssAtMost(bytes) => compared(|rss, limit| rss <= limit, *bytes),
        }
    }
}

#[async_trait]
impl Prober for WorldProber {
    async fn measure(&self, condition: &Condition, subject: Subject<'_>) -> Vec<Reading> {
        join_all(condition.probes.iter().map(|probe| self.read(probe, subject)))
            .await
            .into_iter()
            .flatten()
            .collect()
    }
}

impl fmt::Debug for WorldProber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorldProber").field("units", &self.units).finish_non_exhaustive()
    }
}

fn reading(probe: &Probe, source: Id<kind::Source>, finding: Finding) -> Reading {
    Reading {
        endpoint: probe.endpoint.clone(),
        source,
        truth: finding.truth,
        why: finding.why,
        value: finding.value.filter(|value| value.is_finite()),
        age_ms: finding.age,
    }
}

fn http(expect: HttpExpect, fetched: &Fetched) -> Finding {
    let silent = |truths: [Truth; 3], why: Why| {
        let [unanswered, ok, server_error] = truths;
        let truth = match expect {
            HttpExpect::Unanswered => unanswered,
            HttpExpect::Ok => ok,
            HttpExpect::ServerError => server_error,
        };
        Finding::new(truth, why)
    };
    match fetched {
        Fetched::Answer { status, .. } => Finding::measured(match expect {
            HttpExpect::Unanswered => false,
            HttpExpect::Ok => status.is_success(),
            HttpExpect::ServerError => status.is_server_error(),
        }),
        Fetched::Unanswered => {
            silent([Truth::Holds, Truth::DoesNotHold, Truth::Indeterminate], Why::TimedOut)
        }
        Fetched::Refused => {
            silent([Truth::DoesNotHold, Truth::DoesNotHold, Truth::Indeterminate], Why::Refused)
        }
        Fetched::Unreachable => {
            silent([Truth::Indeterminate, Truth::DoesNotHold, Truth::Indeterminate], Why::TimedOut)
        }
        Fetched::Broken => Finding::unknown(Why::Broken),
        Fetched::Garbage => Finding::unknown(Why::Garbage),
        Fetched::OurFault => Finding::unknown(Why::OurFault),
    }
}

async fn tcp(expect: TcpExpect, address: &str, limit: Duration) -> Finding {
    // `host:port` and nothing else; what has no port was not meant as an address.
    if !address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok()) {
        return Finding::unknown(Why::OurFault);
    }
    let holds = |wanted: TcpExpect| if expect == wanted { Truth::Holds } else { Truth::DoesNotHold };
    match timeout(limit, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Finding::new(holds(TcpExpect::Open), Why::Measured),
        Ok(Err(err)) => match fetch::connect_failure(&err) {
            Fetched::Refused => Finding::new(holds(TcpExpect::Refused), Why::Refused),
            // No number: the name could not be resolved.
            _ if err.raw_os_error().is_none() => Finding::unknown(Why::OurFault),
            Fetched::OurFault => Finding::unknown(Why::OurFault),
            Fetched::Broken
            | Fetched::Garbage
            | Fetched::Unanswered
            | Fetched::Unreachable
            | Fetched::Answer { .. } => Finding::unknown(Why::Broken),
        },
        Err(_) => match expect {
            TcpExpect::Open => Finding::new(Truth::DoesNotHold, Why::TimedOut),
            TcpExpect::Refused => Finding::unknown(Why::TimedOut),
        },
    }
}

/// What a probe of Prometheus looks for.
struct Sample<'a> {
    metric: &'a str,
    labels: &'a BTreeMap<String, String>,
    is: Comparison,
    max_age: Millis,
    now: Timestamp,
}

impl Sample<'_> {
    fn find(&self, fetched: Fetched, target: &Id<kind::Target>) -> Finding {
        let body = match fetched {
            Fetched::Answer { status, body, open_metrics: false, .. } if status.is_success() => body,
            // OpenMetrics counts its time stamps in seconds: read as milliseconds they would be lies.
            Fetched::Answer { status, .. } if status.is_success() => return Finding::unknown(Why::Garbage),
            Fetched::Answer { .. } | Fetched::Broken => return Finding::unknown(Why::Broken),
            Fetched::Unanswered | Fetched::Unreachable => return Finding::unknown(Why::TimedOut),
            Fetched::Refused => return Finding::unknown(Why::Refused),
            Fetched::Garbage => return Finding::unknown(Why::Garbage),
            Fetched::OurFault => return Finding::unknown(Why::OurFault),
        };
        let text = String::from_utf8(body).ok();
        let Some(samples) = text.and_then(|text| exposition::samples(&text, self.metric).ok()) else {
            return Finding::unknown(Why::Garbage);
        };
        let matches = |sample: &exposition::Sample| {
            self.labels.iter().all(|(name, value)| {
                sample.labels.get(name) == Some(&value.replace("${target}", target.as_str()))
            })
        };
        let mut matching = samples.into_iter().filter(matches);
        match (matching.next(), matching.next()) {
            (None, _) => Finding::unknown(Why::NoData),
            (Some(_), Some(_)) => Finding::unknown(Why::Ambiguous),
            (Some(sample), None) => self.compare(&sample),
        }
    }

    fn compare(&self, sample: &exposition::Sample) -> Finding {
        let Some(age) = self.age(sample.timestamp_ms) else { return Finding::unknown(Why::Stale) };
        match self.is.holds(sample.value) {
            None => Finding { age, ..Finding::unknown(Why::NotANumber) },
            Some(holds) => Finding { age, value: Some(sample.value), ..Finding::measured(holds) },
        }
    }

    /// How old a sample is; none when it is too old, or from the future.
    fn age(&self, timestamp_ms: Option<i64>) -> Option<Millis> {
        let Some(timestamp_ms) = timestamp_ms else { return Some(Millis::secs(0)) };
        let taken = Timestamp::from_ms(u64::try_from(timestamp_ms).ok()?).ok()?;
        let age = self.now.since(taken);
        (age <= self.max_age && taken.since(self.now) <= MAX_FUTURE).then_some(age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_cannot_be_reached_does_not_hang_and_is_not_healthy() {
        // No test can make a network swallow connections; the rest of the table is tested on real sockets.
        let seen = [HttpExpect::Unanswered, HttpExpect::Ok, HttpExpect::ServerError]
            .map(|expect| http(expect, &Fetched::Unreachable));
        let truths = [Truth::Indeterminate, Truth::DoesNotHold, Truth::Indeterminate];
        assert_eq!(seen.map(|finding| finding.truth), truths);
        assert!(seen.iter().all(|finding| finding.why == Why::TimedOut));
    }
}
