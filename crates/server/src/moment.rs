//! Times for people.

use holdpoint_domain::Timestamp;

/// A time as people read it, in UTC.
pub(crate) fn clock_time(at: Timestamp) -> String {
    let ms = i64::try_from(at.ms()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(ms)
        .map_or_else(|_| format!("{} ms", at.ms()), |time| format!("{time:.3}"))
}
