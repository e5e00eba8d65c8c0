//! Freezes out of a calendar.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{Id, Timestamp, id::kind};

/// Most windows of one calendar.
pub const MAX_WINDOWS: usize = 4_096;

/// A calendar: nothing new is changed while one of its events lasts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calendar {
    /// Its name: that of each of its freezes.
    pub id: Id<kind::Freeze>,
    /// The file, by the name that the configuration has for it.
    pub file: String,
    /// Only these environments; all when empty.
    #[serde(default)]
    pub environments: BTreeSet<Id<kind::Environment>>,
    /// The time zone of what says none, by its IANA name.
    #[serde(default = "utc")]
    pub zone: String,
    /// When its events last, in order and apart from each other: what the file says, and part of the digest of the limits. Nobody
    /// writes them by hand.
    #[serde(skip_deserializing)]
    pub windows: Vec<Window>,
}

/// A span of time. The end itself is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// From when.
    pub from_ms: Timestamp,
    /// Until when.
    pub until_ms: Timestamp,
}

fn utc() -> String {
    "UTC".to_owned()
}

impl Calendar {
    /// The window that lasts at `now`, or else the next one.
    #[must_use]
    pub fn next(&self, now: Timestamp) -> Option<Window> {
        let over = self.windows.partition_point(|window| window.until_ms <= now);
        self.windows.get(over).copied()
    }

    /// The window that lasts at `now`.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Option<Window> {
        self.next(now).filter(|window| window.from_ms <= now)
    }

    /// Puts windows into the form that [`Self::windows`] has: those that touch are one.
    #[must_use]
    pub fn merged(mut windows: Vec<Window>) -> Vec<Window> {
        windows.sort_unstable();
        let mut merged: Vec<Window> = Vec::new();
        for window in windows {
            match merged.last_mut().filter(|last| window.from_ms <= last.until_ms) {
                Some(last) => last.until_ms = last.until_ms.max(window.until_ms),
                None => merged.push(window),
            }
        }
        merged
    }
}
