//! Triggers: conditions, the probes that measure them, readings, and when sources agree.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub mod alerts;
pub mod check;
pub mod promql;
pub mod template;
pub mod values;

pub use alerts::{AlertExpect, AlertMatcher, AlertmanagerCheck};
pub use check::{
    Check, CheckFault, Comparison, DEFAULT_STEP, HttpExpect, ProcessExpect, PromqlCheck, TcpExpect,
};
pub use promql::Promql;
pub use template::{Param, QueryFault, Subject};
pub use values::{Expected, HttpJsonCheck, JsonPath, Scalar, SqlCheck};

use crate::{Digest, Id, Millis, Timestamp, digest::DigestError, id::kind, signature::Signature};

/// Most probes in one condition.
pub const MAX_PROBES: usize = 16;

/// A checkable condition on a target, measured by the gate's own probes. It holds when at least `needs` independent
/// sources say so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// Its id, for instance `process.hung`.
    pub id: Id<kind::Condition>,
    /// One line for people.
    pub title: String,
    /// How many independent sources must agree that it holds.
    pub needs: u32,
    /// What is measured.
    pub probes: Vec<Probe>,
}

impl Eq for Condition {}

/// One measurement. The endpoint comes from the inventory, everything else from the catalogue: an agent supplies
/// neither an address nor a query nor a threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Which endpoint of the target is asked. The inventory says which source it belongs to.
    pub endpoint: Id<kind::Endpoint>,
    /// How long an answer may take.
    pub timeout_ms: Millis,
    /// What is asked and what counts as "holds".
    pub check: Check,
}

/// What is wrong with a condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConditionFault {
    /// No probe, or too many.
    #[error("expected 1 to {MAX_PROBES} probes, got {0}")]
    Probes(usize),
    /// No agreement is needed, or more than can be had.
    #[error("`needs` is {needs}: expected 1 to {probes}, the number of its probes")]
    Needs {
        /// What the condition says.
        needs: u32,
        /// How many probes it has.
        probes: usize,
    },
    /// A time limit of nothing or of more than a minute.
    #[error("expected a probe time limit of 1 to 60000 ms, got {0}")]
    Timeout(Millis),
    /// A probe that asks what cannot be asked.
    #[error("probe {number}, of endpoint `{endpoint}`: {fault}")]
    Check {
        /// Which probe, counted from 1.
        number: usize,
        /// Its endpoint.
        endpoint: Id<kind::Endpoint>,
        /// What is wrong with it.
        fault: CheckFault,
    },
}

impl Condition {
    /// Checks what can be checked without an inventory.
    pub fn check(&self) -> Result<(), ConditionFault> {
        let probes = self.probes.len();
        if probes == 0 || probes > MAX_PROBES {
            return Err(ConditionFault::Probes(probes));
        }
        if self.needs == 0 || usize::try_from(self.needs).map_or(true, |needs| needs > probes) {
            return Err(ConditionFault::Needs { needs: self.needs, probes });
        }
        for (number, probe) in (1..).zip(&self.probes) {
            if probe.timeout_ms.ms() == 0 || probe.timeout_ms > Millis::secs(60) {
                return Err(ConditionFault::Timeout(probe.timeout_ms));
            }
            probe.check.check().map_err(|fault| {
                let endpoint = probe.endpoint.clone();
                ConditionFault::Check { number, endpoint, fault }
            })?;
        }
        Ok(())
    }
}

/// What one probe, one source, or all sources together say about a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Truth {
    /// It holds.
    Holds,
    /// It does not.
    DoesNotHold,
    /// Nobody can tell: no data, stale data, garbage, contradiction. Never healthy, never proven.
    Indeterminate,
}

/// Why a reading says what it says. A closed list: no text of the measured system gets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The measurement was made and compared.
    Measured,
    /// No answer within the time limit.
    TimedOut,
    /// The connection was refused.
    Refused,
    /// The connection or the answer broke.
    Broken,
    /// An answer that does not parse, or is larger than allowed.
    Garbage,
    /// The series or process is not there.
    NoData,
    /// Several series match where one was expected.
    Ambiguous,
    /// The value is not a number.
    NotANumber,
    /// The sample is older than allowed, or from the future.
    Stale,
    /// The clocks of the observer and of the system that answers differ by more than allowed: nobody knows how old a sample is.
    ClockSkew,
    /// The answer says of itself that something is missing from it.
    Partial,
    /// The system that was asked refuses the question.
    Rejected,
    /// An answer, but not of a kind that can be compared: a histogram, a string, a range.
    WrongType,
    /// The login that would ask could change what it reads: nobody asks with it.
    MayWrite,
    /// An alert is there, and is silenced or inhibited.
    Suppressed,
    /// Over the time that is looked at, samples are missing.
    Gap,
    /// The inventory has no such endpoint, or one of another kind, or lacks a label that the question names.
    NoEndpoint,
    /// We could not measure (out of sockets, for instance): our fault, not the target's.
    OurFault,
}

/// What one probe returned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    /// The endpoint asked.
    pub endpoint: Id<kind::Endpoint>,
    /// The source it belongs to; probes of one source count once.
    pub source: Id<kind::Source>,
    /// What it says.
    pub truth: Truth,
    /// Why.
    pub why: Why,
    /// The value, where there is a finite one.
    #[serde(skip_serializing_if = "Option::is_none", default, serialize_with = "finite")]
    pub value: Option<f64>,
    /// How old the sample was.
    pub age_ms: Millis,
}

impl Eq for Reading {}

/// Writes a finite number, and refuses others. Inside a struct, serde_json writes them as `null`: the evidence would be
/// signed and recorded without its value, and the record could not be read back.
#[allow(clippy::ref_option, reason = "the signature that serde asks for")]
fn finite<S: serde::Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(number) if !number.is_finite() => Err(serde::ser::Error::custom("expected a finite value")),
        Some(_) | None => value.serialize(serializer),
    }
}

/// What a condition's sources say together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agreement {
    /// The verdict.
    pub truth: Truth,
    /// Sources that must agree.
    pub needed: u32,
    /// Sources that say it holds.
    pub holding: u32,
    /// Sources that were asked.
    pub sources: u32,
}

/// N of M across independent sources.
///
/// A source whose own probes disagree is indeterminate. With at least `needed` sources holding, the condition holds.
/// When the undecided ones could still make it hold, or when some say yes and some say no, nobody can tell. Only when no
/// source says yes and the undecided ones could not change that, it does not hold.
#[must_use]
pub fn agree(needed: u32, readings: &[Reading]) -> Agreement {
    let mut by_source: BTreeMap<&Id<kind::Source>, Truth> = BTreeMap::new();
    for reading in readings {
        by_source
            .entry(&reading.source)
            .and_modify(|truth| {
                if *truth != reading.truth {
                    *truth = Truth::Indeterminate;
                }
            })
            .or_insert(reading.truth);
    }
    let count = |wanted: Truth| {
        u32::try_from(by_source.values().filter(|truth| **truth == wanted).count()).unwrap_or(u32::MAX)
    };
    let (holding, unknown) = (count(Truth::Holds), count(Truth::Indeterminate));
    let truth = if needed > 0 && holding >= needed {
        Truth::Holds
    } else if by_source.is_empty() || holding > 0 || holding.saturating_add(unknown) >= needed {
        Truth::Indeterminate
    } else {
        Truth::DoesNotHold
    };
    Agreement { truth, needed, holding, sources: u32::try_from(by_source.len()).unwrap_or(u32::MAX) }
}

/// What the observer measured, in the form that it signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// `holdpoint/evidence/v1`.
    pub r#type: EvidenceType,
    /// The condition.
    pub condition: Id<kind::Condition>,
    /// The target.
    pub target: Id<kind::Target>,
    /// When the measurement ended.
    pub measured_at_ms: Timestamp,
    /// What was measured.
    pub readings: Vec<Reading>,
    /// What it comes to.
    pub agreement: Agreement,
}

/// The type tag of [`Evidence`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EvidenceType {
    /// Version 1.
    #[serde(rename = "holdpoint/evidence/v1")]
    V1,
}

/// Evidence with the observer's signature over its canonical bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedEvidence {
    /// What was measured.
    pub evidence: Evidence,
    /// By the observer's key.
    pub signature: Signature,
}

impl Evidence {
    /// Sums up the readings of a condition.
    #[must_use]
    pub fn new(
        condition: &Condition,
        target: Id<kind::Target>,
        readings: Vec<Reading>,
        now: Timestamp,
    ) -> Self {
        let agreement = agree(condition.needs, &readings);
        Self {
            r#type: EvidenceType::V1,
            condition: condition.id.clone(),
            target,
            measured_at_ms: now,
            readings,
            agreement,
        }
    }

    /// The bytes that the observer signs.
    pub fn bytes(&self) -> Result<Vec<u8>, DigestError> {
        crate::digest::canonical(self)
    }

    /// The digest of those bytes.
    pub fn digest(&self) -> Result<Digest, DigestError> {
        Digest::of(self)
    }
}

/// The endpoints that a condition asks, for checking it against an inventory.
#[must_use]
pub fn endpoints(condition: &Condition) -> BTreeSet<&Id<kind::Endpoint>> {
    condition.probes.iter().map(|probe| &probe.endpoint).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Truth::{DoesNotHold as No, Holds as Yes, Indeterminate as Unknown};

    fn reading(source: &str, truth: Truth) -> Reading {
        Reading {
            endpoint: Id::parse("e").unwrap(),
            source: Id::parse(source).unwrap(),
            truth,
            why: Why::Measured,
            value: None,
            age_ms: Millis::secs(0),
        }
    }

    #[test]
    fn n_of_m_independent_sources() {
        type Case = (u32, &'static [(&'static str, Truth)], Truth);
        let cases: &[Case] = &[
            (1, &[("a", Yes)], Yes),
            (1, &[("a", No)], No),
            (1, &[("a", Unknown)], Unknown),
            (1, &[], Unknown),
            (2, &[], Unknown),
            (2, &[("a", Yes), ("b", Yes)], Yes),
            (2, &[("a", Yes), ("a", Yes)], Unknown),
            (2, &[("a", Yes), ("b", No)], Unknown),
            (2, &[("a", Yes), ("b", Unknown)], Unknown),
            (2, &[("a", No), ("b", Unknown)], No),
            (2, &[("a", No), ("b", No)], No),
            (2, &[("a", Yes), ("b", Yes), ("c", No)], Yes),
            (2, &[("a", Yes), ("a", No), ("b", Yes)], Unknown),
            (2, &[("a", Unknown), ("b", Unknown), ("c", No)], Unknown),
            (0, &[("a", Yes)], Unknown),
        ];
        for (needed, sources, want) in cases {
            let readings: Vec<_> = sources.iter().map(|(source, truth)| reading(source, *truth)).collect();
            assert_eq!(agree(*needed, &readings).truth, *want, "{needed} of {sources:?}");
        }
    }

    #[test]
    fn no_data_never_proves_and_never_refutes() {
        let readings = [reading("a", Unknown), reading("b", Unknown)];
        for needed in 1..=2 {
            assert_eq!(agree(needed, &readings).truth, Unknown);
        }
    }
}
