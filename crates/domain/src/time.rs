//! Points in time and spans, in whole milliseconds; arithmetic that cannot overflow silently.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Largest time and span: what a JSON number carries exactly (RFC 8785 section 3.2.2.3), about the year 287396.
pub const MAX_MS: u64 = (1 << 53) - 1;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Timestamp(u64);

/// A span in milliseconds. Zero is a span of nothing; it never means "without limit".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Millis(u64);

/// A time or span that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected at most {MAX_MS} milliseconds, got more")]
pub struct TimeError(());

impl Timestamp {
    /// The beginning of Unix time: for what has no time of its own.
    pub const EPOCH: Self = Self(0);

    /// A time from milliseconds since the epoch.
    pub const fn from_ms(ms: u64) -> Result<Self, TimeError> {
        if ms > MAX_MS { Err(TimeError(())) } else { Ok(Self(ms)) }
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn ms(self) -> u64 {
        self.0
    }

    /// This time plus a span; an error instead of a wrapped or capped time.
    pub fn plus(self, span: Millis) -> Result<Self, TimeError> {
        self.0.checked_add(span.0).ok_or(TimeError(())).and_then(Self::from_ms)
    }

    /// How long ago `earlier` was. A clock that went backwards gives zero.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}

impl Millis {
    /// A span of milliseconds.
    pub const fn new(ms: u64) -> Result<Self, TimeError> {
        if ms > MAX_MS { Err(TimeError(())) } else { Ok(Self(ms)) }
    }

    /// A span of whole seconds; any 32-bit number of them fits.
    #[must_use]
    pub const fn secs(secs: u32) -> Self {
        // u32::MAX * 1000 is far below MAX_MS.
        Self((secs as u64).saturating_mul(1000))
    }

    /// The span in milliseconds.
    #[must_use]
    pub const fn ms(self) -> u64 {
        self.0
    }
}

impl TryFrom<u64> for Timestamp {
    type Error = TimeError;
    fn try_from(ms: u64) -> Result<Self, TimeError> {
        Self::from_ms(ms)
    }
}

impl From<Timestamp> for u64 {
    fn from(time: Timestamp) -> Self {
        time.0
    }
}

impl TryFrom<u64> for Millis {
    type Error = TimeError;
    fn try_from(ms: u64) -> Result<Self, TimeError> {
        Self::new(ms)
    }
}

impl From<Millis> for u64 {
    fn from(span: Millis) -> Self {
        span.0
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ms if ms < 10_000 => write!(f, "{ms} ms"),
            ms if ms < 600_000 => write!(f, "{} s", ms / 1000),
            ms => write!(f, "{} min", ms / 60_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t25_time_never_wraps_and_zero_is_not_forever() {
        let last = Timestamp::from_ms(MAX_MS).unwrap();
        assert!(last.plus(Millis::new(1).unwrap()).is_err());
        assert!(Timestamp::from_ms(u64::MAX).is_err());
        assert!(Millis::new(u64::MAX).is_err());
        let now = Timestamp::from_ms(5).unwrap();
        assert_eq!(now.plus(Millis::new(0).unwrap()).unwrap(), now);
        assert_eq!(now.since(last).ms(), 0);
    }

    #[test]
    fn t18_a_time_of_the_wrong_json_type_is_refused() {
        for bad in ["\"1\"", "1.5", "-1", "null", "1e400", "18446744073709551615"] {
            assert!(serde_json::from_str::<Timestamp>(bad).is_err(), "{bad} was accepted");
        }
    }
}
