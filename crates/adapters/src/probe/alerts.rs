//! Alerts of an Alertmanager: how many there are, in which state, and how fresh. Their labels and annotations are passed over.
//!
//! <https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml>

use holdpoint_app::port::Clock;
use holdpoint_domain::{
    Timestamp,
    trigger::{AlertExpect, AlertMatcher, AlertmanagerCheck, Subject, Truth, Why},
};
use reqwest::{Client, header};
use serde::{Deserialize, de::IgnoredAny};

use super::{
    Finding,
    fetch::{self, Fetched},
    vector::whole,
};

/// Largest answer.
const MAX_ANSWER: usize = 1024 * 1024;
/// Most alerts that one check may mean.
const MAX_ALERTS: usize = 1000;
/// How far two clocks may be apart; a `Date` has whole seconds.
const MAX_SKEW_MS: i64 = 6000;

/// One check, about to be made.
pub(super) struct Asked<'a> {
    pub(super) client: &'a Client,
    pub(super) clock: &'a dyn Clock,
    pub(super) check: &'a AlertmanagerCheck,
    pub(super) subject: Subject<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Alert {
    starts_at: String,
    ends_at: String,
    updated_at: String,
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    state: State,
    silenced_by: Vec<IgnoredAny>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// Nobody has looked yet whether it is silenced.
    Unprocessed,
    Active,
    Suppressed,
}

/// What was seen of the alerts that are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Seen {
    active: u32,
    suppressed: u32,
    /// Of the suppressed ones.
    silenced: u32,
    unprocessed: u32,
    stale: u32,
    /// The age of the youngest that counts.
    age_ms: u64,
}

impl Asked<'_> {
    /// Asks the Alertmanager at this base address. The time limit is the caller's.
    pub(super) async fn at(&self, base: &str) -> Finding {
        self.measure(base).await.unwrap_or_else(Finding::unknown)
    }

    async fn measure(&self, base: &str) -> Result<Finding, Why> {
        let seen = self.alerts(base, &self.check.matchers).await?;
        // What is there needs no heartbeat.
        let there = seen.active.saturating_add(seen.suppressed);
        if there == 0 && seen.stale > 0 {
            return Err(Why::Stale);
        }
        if seen.unprocessed > 0 {
            return Err(Why::Partial);
        }
        let (truth, count) = match self.check.expect {
            AlertExpect::Firing if seen.active > 0 => (Truth::Holds, seen.active),
            AlertExpect::Silenced if seen.silenced > 0 => (Truth::Holds, seen.silenced),
            AlertExpect::NotFiring if seen.active > 0 => (Truth::DoesNotHold, seen.active),
            // Somebody did not want to hear of it: that it is over, nobody says.
            AlertExpect::NotFiring if there > 0 => return Err(Why::Suppressed),
            AlertExpect::Firing | AlertExpect::Silenced if there > 0 => (Truth::DoesNotHold, 0),
            AlertExpect::Firing | AlertExpect::Silenced => {
                self.heartbeat(base).await?;
                (Truth::DoesNotHold, 0)
            }
            AlertExpect::NotFiring => {
                self.heartbeat(base).await?;
                // What came between the two questions was not seen by the first.
                let again = self.alerts(base, &self.check.matchers).await?;
                if again != Seen::default() {
                    return Err(Why::Partial);
                }
                (Truth::Holds, 0)
            }
        };
        let age = seen.age_ms.try_into().map_err(|_| Why::Garbage)?;
        Ok(Finding { value: Some(f64::from(count)), age, ..Finding::new(truth, Why::Measured) })
    }

    /// Whether alerts arrive at all.
    async fn heartbeat(&self, base: &str) -> Result<(), Why> {
        if self.check.heartbeat.is_empty() {
            return Err(Why::NoData);
        }
        let seen = self.alerts(base, &self.check.heartbeat).await?;
        match (seen.active.saturating_add(seen.suppressed), seen.stale) {
            (0, 0) => Err(Why::NoData),
            (0, _) => Err(Why::Stale),
            _ => Ok(()),
        }
    }

    async fn alerts(&self, base: &str, matchers: &[String]) -> Result<Seen, Why> {
        let mut url =
            fetch::parse(&format!("{}/api/v2/alerts", base.trim_end_matches('/'))).ok_or(Why::OurFault)?;
        for matcher in matchers {
            // The catalogue was checked when it was loaded: what does not parse here is our fault.
            let matcher = AlertMatcher::parse(matcher).map_err(|_| Why::OurFault)?;
            let filter = matcher.about(self.subject).ok_or(Why::NoEndpoint)?;
            url.query_pairs_mut().append_pair("filter", &filter);
        }
        for kind in ["active", "silenced", "inhibited", "unprocessed"] {
            url.query_pairs_mut().append_pair(kind, "true");
        }
        let before = ms(self.clock.now());
        let request = self.client.get(url).header(header::ACCEPT, "application/json");
        let fetched = fetch::whole_answer(request, MAX_ANSWER).await;
        let now = ms(self.clock.now());
        let mut date_ms = None;
        if let Fetched::Answer { status, date_ms: date, .. } = &fetched {
            if status.is_client_error() {
                return Err(Why::Rejected);
            }
            date_ms = *date;
        }
        let body = match whole(fetched)? {
            (true, body) => body,
            (false, _) => return Err(Why::Broken),
        };
        let is_near = date_ms.is_some_and(|date| {
            date >= before.saturating_sub(MAX_SKEW_MS) && date <= now.saturating_add(MAX_SKEW_MS)
        });
        if !is_near {
            return Err(Why::ClockSkew);
        }
        let alerts: Vec<Alert> = serde_json::from_slice(&body).map_err(|_| Why::Garbage)?;
        if alerts.len() > MAX_ALERTS {
            return Err(Why::Ambiguous);
        }
        self.count(&alerts, now)
    }

    fn count(&self, alerts: &[Alert], now: i64) -> Result<Seen, Why> {
        let max_age = i64::try_from(self.check.max_age_ms.ms()).unwrap_or(i64::MAX);
        let (mut seen, mut youngest) = (Seen::default(), None::<i64>);
        for alert in alerts {
            let [starts, ends, updated] =
                [&alert.starts_at, &alert.ends_at, &alert.updated_at].map(|text| time(text));
            let (starts, ends, updated) =
                (starts.ok_or(Why::Garbage)?, ends.ok_or(Why::Garbage)?, updated.ok_or(Why::Garbage)?);
            let ahead = now.saturating_add(MAX_SKEW_MS);
            if starts > ahead || updated > ahead {
                return Err(Why::ClockSkew);
            }
            let age = now.saturating_sub(updated).max(0);
            let counter = match alert.status.state {
                _ if age > max_age || ends < now.saturating_sub(MAX_SKEW_MS) => &mut seen.stale,
                State::Unprocessed => &mut seen.unprocessed,
                State::Active => &mut seen.active,
                State::Suppressed => {
                    let silenced = u32::from(!alert.status.silenced_by.is_empty());
                    seen.silenced = seen.silenced.saturating_add(silenced);
                    &mut seen.suppressed
                }
            };
            *counter = counter.saturating_add(1);
            if age <= max_age {
                youngest = Some(youngest.map_or(age, |other| other.min(age)));
            }
        }
        seen.age_ms = youngest.and_then(|age| u64::try_from(age).ok()).unwrap_or(0);
        Ok(seen)
    }
}

fn ms(time: Timestamp) -> i64 {
    i64::try_from(time.ms()).unwrap_or(i64::MAX)
}

/// Milliseconds since the epoch of a time as RFC 3339 has it.
fn time(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
}
