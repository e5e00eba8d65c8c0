//! Halt: everything stops, at once, without policy and without the store.

use serde::{Deserialize, Serialize};

use crate::{Id, Timestamp, id::kind};

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
