//! Times for people.

use holdpoint_domain::{Millis, Timestamp};

/// A time as people read it, in UTC.
pub(crate) fn clock_time(at: Timestamp) -> String {
    let ms = i64::try_from(at.ms()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(ms)
        .map_or_else(|_| format!("{} ms", at.ms()), |time| format!("{time:.3}"))
}

/// A span in its two largest units: `14 min 5 s`.
pub(crate) fn span(span: Millis) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let secs = span.ms().checked_div(1_000).unwrap_or(0);
    if secs == 0 {
        return if span.ms() == 0 { "0 s".to_owned() } else { format!("{} ms", span.ms()) };
    }
    let (mut left, mut words) = (secs, Vec::new());
    for (size, unit) in UNITS {
        let count = left.checked_div(size).unwrap_or(0);
        left = left.checked_rem(size).unwrap_or(0);
        if count > 0 {
            words.push(format!("{count} {unit}"));
        } else if !words.is_empty() {
            break;
        }
        if words.len() == 2 {
            break;
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_two_units_at_most() {
        let cases = [
            (0, "0 s"),
            (300, "300 ms"),
            (1_000, "1 s"),
            (61_000, "1 min 1 s"),
            (840_000, "14 min"),
            (3_600_000, "1 h"),
            (3_601_000, "1 h"),
            (90_061_000, "1 d 1 h"),
        ];
        for (ms, words) in cases {
            assert_eq!(span(Millis::new(ms).unwrap()), words);
        }
    }
}
