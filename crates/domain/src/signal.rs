//! Signals: what is measured of all services at once, right before a run and when it is over.
//!
//! The operator writes them into the inventory. One query answers for every service, so that those are seen, too, that nobody
//! expected to move. Nothing is decided from a signal.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    Digest, Id, Millis,
    digest::DigestError,
    id::kind,
    target::{Address, AddressFault, Endpoint},
    trigger::{CheckFault, Promql, QueryFault, check::age},
};

/// Most signals of an inventory: what a run's records have room for, and what a Prometheus is asked at once.
pub const MAX_SIGNALS: usize = 8;
/// Longest name of a label, in bytes.
const MAX_LABEL_NAME: usize = 64;
/// Longest time limit: a run waits for it before its first effect.
pub const MAX_TIMEOUT: Millis = Millis::secs(5);

/// What a signal measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measures {
    /// The share of requests that fail.
    ErrorRatio,
    /// How long an answer takes.
    Latency,
    /// How full it is.
    Saturation,
}

impl Measures {
    /// The words for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ErrorRatio => "error ratio",
            Self::Latency => "latency",
            Self::Saturation => "saturation",
        }
    }
}

impl fmt::Display for Measures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which way is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// More is worse.
    #[default]
    Higher,
    /// Less is worse.
    Lower,
}

/// When a value counts as moved. Whatever is named must be exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moves {
    /// By more than this, in the signal's own unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<f64>,
    /// To more than so many times as much, or to less than the so many-th part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<f64>,
}

/// Which way a value moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// For the worse.
    Worse,
    /// For the better.
    Better,
}

/// A signal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signal {
    /// Its name.
    pub id: Id<kind::Signal>,
    /// What it measures.
    pub measures: Measures,
    /// The Prometheus that is asked.
    pub from: Endpoint,
    /// The expression: [`Promql`] without parameters. One series a service.
    pub query: String,
    /// A selector of the samples that the expression is about: the oldest one of a service says how old its value is.
    pub data: String,
    /// The label that has the service's name, as the inventory writes it.
    pub label: String,
    /// The oldest that any of those samples may be.
    pub max_age_ms: Millis,
    /// How long the answers may take.
    #[serde(default = "timeout")]
    pub timeout_ms: Millis,
    /// When it counts as moved.
    pub moves: Moves,
    /// Which way is worse.
    #[serde(default)]
    pub worse: Direction,
}

impl Eq for Signal {}

const fn timeout() -> Millis {
    Millis::secs(3)
}

/// Why a signal cannot be measured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignalFault {
    /// Too many.
    #[error("expected at most {MAX_SIGNALS} signals, got {0}")]
    Count(usize),
    /// Two with one name.
    #[error("signal `{0}` stands twice in the inventory")]
    Duplicate(Id<kind::Signal>),
    /// What is wrong with one of them.
    #[error("signal `{signal}`: {fault}")]
    One {
        /// The signal.
        signal: Id<kind::Signal>,
        /// What is wrong with it.
        fault: OneFault,
    },
}

/// What is wrong with one signal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OneFault {
    /// An address that nobody may ask.
    #[error("`from`: {0}")]
    Address(AddressFault),
    /// An address of something else.
    #[error("`from`: expected the URL of a Prometheus")]
    NoUrl,
    /// A query that cannot be asked.
    #[error("`{field}`: {fault}")]
    Query {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        fault: QueryFault,
    },
    /// A parameter, where nothing is asked about one target.
    #[error("`{0}`: expected no `${{…}}`: one query is about all services")]
    Param(&'static str),
    /// A label that no series can have.
    #[error(
        "`label`: expected 1 to {MAX_LABEL_NAME} letters, digits and `_`, beginning with a letter or `_`"
    )]
    Label,
    /// An age that nobody may allow.
    #[error(transparent)]
    Age(CheckFault),
    /// No time, or too much.
    #[error("expected `timeout_ms` of 1 to {}, got {}", MAX_TIMEOUT.ms(), .0.ms())]
    Timeout(Millis),
    /// A threshold that says nothing.
    #[error("`moves`: expected `by` of 0 or more, `times` of more than 1, or both")]
    Moves,
}

impl Signal {
    /// Checks signals against each other and each for itself; reports every fault.
    pub fn check_all(signals: &[Self]) -> Result<(), Vec<SignalFault>> {
        if signals.len() > MAX_SIGNALS {
            return Err(vec![SignalFault::Count(signals.len())]);
        }
        let (mut faults, mut seen) = (Vec::new(), BTreeSet::new());
        for signal in signals {
            if !seen.insert(&signal.id) {
                faults.push(SignalFault::Duplicate(signal.id.clone()));
            }
            if let Err(fault) = signal.check() {
                faults.push(SignalFault::One { signal: signal.id.clone(), fault });
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    fn check(&self) -> Result<(), OneFault> {
        self.from.check().map_err(OneFault::Address)?;
        if !matches!(self.from.at, Address::Url(_)) {
            return Err(OneFault::NoUrl);
        }
        let parsed = |field, text: &str| {
            let query = Promql::parse(text).map_err(|fault| OneFault::Query { field, fault })?;
            if query.params().next().is_some() { Err(OneFault::Param(field)) } else { Ok(query) }
        };
        parsed("query", &self.query)?
            .refuse_bare_counter()
            .map_err(|fault| OneFault::Query { field: "query", fault })?;
        parsed("data", &self.data)?
            .expect_selector()
            .map_err(|fault| OneFault::Query { field: "data", fault })?;
        let inside = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let starts_well = self.label.chars().next().is_some_and(|c| inside(c) && !c.is_ascii_digit());
        if !starts_well || self.label.len() > MAX_LABEL_NAME || !self.label.chars().all(inside) {
            return Err(OneFault::Label);
        }
        age(self.max_age_ms).map_err(OneFault::Age)?;
        if self.timeout_ms.ms() == 0 || self.timeout_ms > MAX_TIMEOUT {
            return Err(OneFault::Timeout(self.timeout_ms));
        }
        let Moves { by, times } = self.moves;
        let is_sound = by.is_none_or(|by| by.is_finite() && by >= 0.0)
            && times.is_none_or(|times| times.is_finite() && times > 1.0)
            && (by.is_some() || times.is_some());
        if is_sound { Ok(()) } else { Err(OneFault::Moves) }
    }

    /// Which way a value moved; none where it stayed where it was.
    #[must_use]
    pub fn way(&self, before: f64, after: f64) -> Option<Way> {
        let Moves { by, times } = self.moves;
        let is_far = by.is_none_or(|by| (after - before).abs() > by);
        let is_other = times.is_none_or(|times| {
            let (less, more) = (before.abs().min(after.abs()), before.abs().max(after.abs()));
            // From nothing to something is more than any number of times as much.
            more > less * times || (before < 0.0) != (after < 0.0)
        });
        if !is_far || !is_other {
            return None;
        }
        let rises = after > before;
        let is_worse = rises == (self.worse == Direction::Higher);
        Some(if is_worse { Way::Worse } else { Way::Better })
    }

    /// The digest of the whole definition: values are compared with those of the same one alone.
    pub fn digest(&self) -> Result<Digest, DigestError> {
        Digest::of(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal() -> Signal {
        let text = r#"{"id": "errors", "measures": "error_ratio", "label": "service", "max_age_ms": 30000,
            "from": {"source": "prom", "at": {"url": "http://127.0.0.1:9090"}},
            "query": "sum by (service) (rate(failed_total[1m]))", "data": "failed_total", "moves": {"by": 0.1}}"#;
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn what_counts_as_moved() {
        use Way::{Better, Worse};
        let cases = [
            (Some(0.1), None, 0.0, 0.1, None),
            (Some(0.1), None, 0.0, 0.11, Some(Worse)),
            (Some(0.1), None, 0.5, 0.3, Some(Better)),
            (None, Some(2.0), 1.0, 2.0, None),
            (None, Some(2.0), 1.0, 2.1, Some(Worse)),
            (None, Some(2.0), 2.1, 1.0, Some(Better)),
            (None, Some(2.0), 0.0, 0.001, Some(Worse)),
            (None, Some(2.0), 0.0, 0.0, None),
            (None, Some(2.0), -1.0, 1.0, Some(Worse)),
            // Both: what is small stays small, however many times it grew.
            (Some(0.1), Some(2.0), 0.001, 0.01, None),
            (Some(0.1), Some(2.0), 0.9, 1.1, None),
            (Some(0.1), Some(2.0), 0.2, 0.9, Some(Worse)),
        ];
        for (by, times, before, after, way) in cases {
            let signal = Signal { moves: Moves { by, times }, ..signal() };
            assert_eq!(signal.way(before, after), way, "{by:?} {times:?} {before} {after}");
            let lower = Signal { worse: Direction::Lower, ..signal };
            let other = way.map(|way| if way == Worse { Better } else { Worse });
            assert_eq!(lower.way(before, after), other, "{by:?} {times:?} {before} {after}");
        }
    }

    #[test]
    fn what_cannot_be_asked_is_refused_when_it_is_loaded() {
        assert_eq!(Signal::check_all(&[signal()]), Ok(()));
        let with = |change: fn(&mut Signal)| {
            let mut signal = signal();
            change(&mut signal);
            signal.check().unwrap_err().to_string()
        };
        let faults = [
            with(|it| it.from.at = Address::Tcp("127.0.0.1:9090".to_owned())),
            with(|it| it.from.at = Address::Url("http://me:hunter2@prom".to_owned())),
            with(|it| it.query = "rate(failed_total{service=\"${service}\"}[1m])".to_owned()),
            with(|it| it.query = "failed_total".to_owned()),
            with(|it| it.data = "rate(failed_total[1m])".to_owned()),
            with(|it| it.label = "ser vice".to_owned()),
            with(|it| it.label = "a) or vector(1".to_owned()),
            with(|it| it.max_age_ms = Millis::secs(0)),
            with(|it| it.timeout_ms = Millis::secs(6)),
            with(|it| it.moves = Moves { by: None, times: None }),
            with(|it| it.moves = Moves { by: Some(f64::NAN), times: None }),
            with(|it| it.moves = Moves { by: None, times: Some(1.0) }),
        ];
        let words = [
            "URL of a Prometheus",
            "without user",
            "all services",
            "only ever grows",
            "selector",
            "label",
            "label",
            "max_age_ms",
            "timeout_ms",
            "moves",
            "moves",
            "moves",
        ];
        for (fault, word) in faults.iter().zip(words) {
            assert!(fault.contains(word), "{fault}");
            assert!(!fault.contains("hunter2"), "{fault}");
        }
        let twice = Signal::check_all(&[signal(), signal()]).unwrap_err();
        assert_eq!(twice, [SignalFault::Duplicate(signal().id)]);
        assert_eq!(Signal::check_all(&vec![signal(); 9]), Err(vec![SignalFault::Count(9)]));
    }
}
