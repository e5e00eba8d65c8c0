//! Halt: everything stops, at once, without policy and without the store.

use serde::{Deserialize, Serialize};

use crate::{Id, Timestamp, id::kind, signature::Purpose, signed::Statement};

/// How much stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// Starts, and further steps. An undo that is armed goes on.
    Soft,
    /// Undos as well: a run that is under way becomes `in_doubt`.
    Hard,
}

/// A halt that is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Halt {
    /// How much stops.
    pub reach: Reach,
    /// Who said so; none for whoever wrote the latch file on the machine.
    pub by: Option<Id<kind::Person>>,
    /// When, by the gate's clock.
    pub at_ms: Timestamp,
}

/// What an administrator signs to end a halt: exactly that one, so that a signature ends no later one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResumeStatement {
    /// `holdpoint/resume/v1`.
    pub r#type: ResumeType,
    /// The log that the gate writes.
    pub origin: String,
    /// The halt in force.
    pub halt: Halt,
    /// Who ends it.
    pub by: Id<kind::Person>,
}

/// The type tag of [`ResumeStatement`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResumeType {
    /// Version 1.
    #[serde(rename = "holdpoint/resume/v1")]
    V1,
}

impl ResumeStatement {
    /// The end of this halt, said by this person.
    #[must_use]
    pub const fn new(origin: String, halt: Halt, by: Id<kind::Person>) -> Self {
        Self { r#type: ResumeType::V1, origin, halt, by }
    }
}

impl Statement for ResumeStatement {
    const PURPOSE: Purpose = Purpose::Resume;

    fn by(&self) -> &Id<kind::Person> {
        &self.by
    }
}

impl Halt {
    /// Whether it stops what people asked for beyond policy and were granted at `granted`: when it did not come before that, or when
    /// nobody said it to the gate, as of a file that somebody put there by hand: its time is worth little.
    #[must_use]
    pub fn stops_emergency(&self, granted: Timestamp) -> bool {
        self.at_ms >= granted || self.by.is_none()
    }
}

impl Reach {
    /// The word in records and messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Soft => "soft",
            Self::Hard => "hard",
        }
    }
}

impl std::fmt::Display for Reach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inv15_a_halt_of_later_or_of_nobody_stops_an_emergency() {
        let at = |ms| Timestamp::from_ms(ms).unwrap();
        let halt = |ms, by: Option<&str>| Halt {
            reach: Reach::Soft,
            by: by.map(|by| Id::parse(by).unwrap()),
            at_ms: at(ms),
        };
        assert!(halt(8, Some("ada")).stops_emergency(at(7)));
        assert!(halt(7, Some("ada")).stops_emergency(at(7)), "in the same millisecond");
        assert!(halt(0, None).stops_emergency(at(7)) && halt(6, None).stops_emergency(at(7)));
        assert!(!halt(6, Some("ada")).stops_emergency(at(7)));
    }
}
