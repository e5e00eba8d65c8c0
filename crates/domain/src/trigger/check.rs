//! What probes ask: the checks of the catalogue, and what is refused when it is loaded.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{AlertMatcher, AlertmanagerCheck, HttpJsonCheck, Param, Promql, QueryFault, SqlCheck};
use crate::{Id, Millis, id::kind, target::Address};

/// What a probe asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Check {
    /// A GET of the endpoint's URL.
    Http {
        /// What must be seen.
        expect: HttpExpect,
    },
    /// A TCP connection to the endpoint's address.
    Tcp {
        /// What must be seen.
        expect: TcpExpect,
    },
    /// The operating system's view of a supervised process.
    Process {
        /// What must be seen.
        expect: ProcessExpect,
    },
    /// One sample of a Prometheus text exposition at the endpoint's URL.
    Prometheus {
        /// Metric name.
        metric: String,
        /// Labels that the sample must carry; `${target}` stands for the target's id and nothing else is replaced.
        #[serde(default)]
        labels: BTreeMap<String, String>,
        /// How the value is compared.
        is: Comparison,
        /// A sample with an older time stamp is stale; a sample without one counts as taken now.
        max_age_ms: Millis,
    },
    /// An expression that the Prometheus at the endpoint's URL evaluates.
    Promql(PromqlCheck),
    /// Alerts of the Alertmanager at the endpoint's URL.
    Alertmanager(AlertmanagerCheck),
    /// One value of the PostgreSQL database at the endpoint's address.
    Sql(SqlCheck),
    /// One value of the JSON document at the endpoint's URL.
    HttpJson(HttpJsonCheck),
}

/// What a Prometheus is asked, and what must come back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromqlCheck {
    /// The expression: [`Promql`].
    pub query: String,
    /// How its value is compared. Of several series every one must satisfy it.
    pub is: Comparison,
    /// A selector of the samples that the expression is about. Without one of them that is a number there is no data, whatever the
    /// expression says: `absent(…)` and `… or vector(0)` find an answer in nothing.
    pub data: String,
    /// The oldest that any of those samples may be.
    pub max_age_ms: Millis,
    /// It must have held for so long, at every step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<Millis>,
    /// The time between two steps of `for_ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_ms: Option<Millis>,
    /// More series than this are too many to say which one is meant.
    #[serde(default = "one")]
    pub at_most_series: u32,
}

const fn one() -> u32 {
    1
}

/// The step of `for_ms` where the catalogue names none.
pub const DEFAULT_STEP: Millis = Millis::secs(15);
/// Shortest step.
const MIN_STEP_MS: u64 = 100;
/// Most steps: what one answer can have within its limit of bytes.
const MAX_STEPS: u64 = 500;
/// Most series of one answer.
const MAX_SERIES: u32 = 20;

impl PromqlCheck {
    /// The time between two steps.
    #[must_use]
    pub fn step(&self) -> Millis {
        self.step_ms.unwrap_or(DEFAULT_STEP)
    }

    fn check(&self) -> Result<(), CheckFault> {
        finite(self.is, "query")?;
        let in_query = |fault| CheckFault::Query { field: "query", fault };
        Promql::parse(&self.query).and_then(|query| query.refuse_bare_counter()).map_err(in_query)?;
        Promql::parse(&self.data)
            .and_then(|data| data.expect_selector())
            .map_err(|fault| CheckFault::Query { field: "data", fault })?;
        age(self.max_age_ms)?;
        if self.at_most_series == 0 || self.at_most_series > MAX_SERIES {
            return Err(CheckFault::Series(self.at_most_series));
        }
        let step = self.step();
        let steps = self.for_ms.map(|span| span.ms().checked_div(step.ms()).unwrap_or(0));
        let is_odd = steps.is_some_and(|steps| steps == 0 || steps > MAX_STEPS)
            || step.ms() < MIN_STEP_MS
            || (self.for_ms.is_none() && self.step_ms.is_some());
        if is_odd { Err(CheckFault::Steps) } else { Ok(()) }
    }
}

/// Why a check of the catalogue cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckFault {
    /// A comparison with something that is not a finite number.
    #[error("expected a finite number to compare `{0}` with")]
    NotFinite(String),
    /// A query that cannot be asked.
    #[error("`{field}`: {fault}")]
    Query {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        fault: QueryFault,
    },
    /// No age, or more than a day.
    #[error("expected `max_age_ms` of 1 to {MAX_AGE_MS}, got {}", .0.ms())]
    Age(Millis),
    /// No matchers, or too many.
    #[error(
        "`{field}`: expected 1 to 16 matchers, got {got}; with `not_firing` a `heartbeat` is needed, an alert that always fires"
    )]
    Matchers {
        /// Which field.
        field: &'static str,
        /// How many.
        got: usize,
    },
    /// No text, or a long one.
    #[error("`is`: expected a text of 1 to 256 bytes, got {0}")]
    Text(usize),
    /// A text of a database.
    #[error(
        "`is`: expected `above`, `below`, `equals` or `bool`: a database answers with a number or yes or no"
    )]
    SqlText,
    /// An empty or overlong statement.
    #[error("`statement`: expected 1 to 4096 bytes without NUL, got {0}")]
    Statement(usize),
    /// Parameters that do not fit the statement.
    #[error(
        "`params`: expected at most 16, each as `$1`, `$2` … in the statement, and no `${{…}}` in it, got {0}"
    )]
    Params(usize),
    /// A path that is none, or may mean several places.
    #[error(
        "`path`: expected names and indexes alone, as in `$.checks['db'][0].ok`, got {0} bytes of something else"
    )]
    Path(usize),
    /// No series, or too many.
    #[error("expected `at_most_series` of 1 to {MAX_SERIES}, got {0}")]
    Series(u32),
    /// Steps that make no range.
    #[error(
        "expected `for_ms` of 1 to {MAX_STEPS} steps, and `step_ms` (15000 where nothing is said) of at least {MIN_STEP_MS} beside it"
    )]
    Steps,
}

/// Oldest that a sample may be allowed to be.
const MAX_AGE_MS: u64 = 86_400_000;

pub(crate) fn age(max_age: Millis) -> Result<(), CheckFault> {
    if max_age.ms() == 0 || max_age.ms() > MAX_AGE_MS { Err(CheckFault::Age(max_age)) } else { Ok(()) }
}

pub(super) fn finite(is: Comparison, what: &str) -> Result<(), CheckFault> {
    let (Comparison::Above(limit) | Comparison::Below(limit) | Comparison::Equals(limit)) = is;
    if limit.is_finite() { Ok(()) } else { Err(CheckFault::NotFinite(what.to_owned())) }
}

impl Check {
    /// Checks what can be checked without an inventory.
    pub fn check(&self) -> Result<(), CheckFault> {
        match self {
            Self::Http { .. } | Self::Tcp { .. } | Self::Process { .. } => Ok(()),
            Self::Prometheus { metric, is, .. } => finite(*is, metric),
            Self::Promql(check) => check.check(),
            Self::Alertmanager(check) => check.check(),
            Self::Sql(check) => check.check(),
            Self::HttpJson(check) => check.check(),
        }
    }

    /// Whether it can be asked at an address: the table of checks and kinds of endpoint.
    #[must_use]
    pub const fn fits(&self, at: &Address) -> bool {
        match self {
            Self::Http { .. }
            | Self::Prometheus { .. }
            | Self::Promql(_)
            | Self::Alertmanager(_)
            | Self::HttpJson(_) => matches!(at, Address::Url(_)),
            Self::Sql(_) => matches!(at, Address::Postgres(_)),
            Self::Tcp { .. } => matches!(at, Address::Tcp(_)),
            Self::Process { .. } => matches!(at, Address::Unit(_)),
        }
    }

    /// The labels that a target must have to be asked.
    #[must_use]
    pub fn labels(&self) -> Vec<Id<kind::Label>> {
        let params: Vec<Param> = match self {
            Self::Http { .. } | Self::Tcp { .. } | Self::Process { .. } | Self::Prometheus { .. } => {
                Vec::new()
            }
            Self::HttpJson(_) => Vec::new(),
            Self::Sql(SqlCheck { params, .. }) => params.clone(),
            Self::Promql(PromqlCheck { query, data, .. }) => {
                let queries = [query, data].into_iter().filter_map(|query| Promql::parse(query).ok());
                queries.flat_map(|query| query.params().cloned().collect::<Vec<_>>()).collect()
            }
            Self::Alertmanager(AlertmanagerCheck { matchers, heartbeat, .. }) => {
                let matchers =
                    matchers.iter().chain(heartbeat).filter_map(|text| AlertMatcher::parse(text).ok());
                matchers.flat_map(|matcher| matcher.params().cloned().collect::<Vec<_>>()).collect()
            }
        };
        params
            .into_iter()
            .filter_map(|param| match param {
                Param::Label(name) => Some(name),
                Param::Target | Param::Service | Param::Environment => None,
            })
            .collect()
    }
}

/// What an HTTP probe must see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpExpect {
    /// No answer within the time limit although the port takes connections. A refused connection is not that: what is down
    /// does not hang.
    Unanswered,
    /// A 2xx answer.
    Ok,
    /// A 5xx answer.
    ServerError,
}

/// What a TCP probe must see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TcpExpect {
    /// The port takes connections.
    Open,
    /// The port refuses connections.
    Refused,
}

/// What a process probe must see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessExpect {
    /// It runs.
    Running,
    /// It does not.
    NotRunning,
    /// It runs and its resident memory is above so many bytes.
    RssAbove(u64),
    /// It runs and its resident memory is at most so many bytes.
    RssAtMost(u64),
}

/// A comparison with a finite number.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// Above.
    Above(f64),
    /// Below.
    Below(f64),
    /// Exactly equal.
    Equals(f64),
}

impl Comparison {
    /// Whether a value satisfies the comparison; none when the value is not a number.
    #[must_use]
    pub fn holds(self, value: f64) -> Option<bool> {
        #[allow(clippy::float_cmp, reason = "`equals` means equal: meant for flags such as 0 and 1")]
        (!value.is_nan()).then_some(match self {
            Self::Above(limit) => value > limit,
            Self::Below(limit) => value < limit,
            Self::Equals(limit) => value == limit,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_compares_to_nothing() {
        for is in [Comparison::Above(0.0), Comparison::Below(0.0), Comparison::Equals(0.0)] {
            assert_eq!(is.holds(f64::NAN), None);
        }
        assert_eq!(Comparison::Above(1.0).holds(f64::INFINITY), Some(true));
    }
}
