//! The Prometheus text exposition format 0.0.4, read strictly: what does not parse to the last byte is garbage, because a
//! reader that skips what it does not understand may skip the sample that matters.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>

use std::collections::BTreeMap;

/// Most labels of one sample.
const MAX_LABELS: usize = 64;

/// A sample.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    pub(super) labels: BTreeMap<String, String>,
    pub(super) value: f64,
    /// Milliseconds since the epoch.
    pub(super) timestamp_ms: Option<i64>,
}

/// A text that is not an exposition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is not a sample or a comment of the text format")]
pub(super) struct ExpositionError {
    line: usize,
}

/// Reads a whole exposition and returns the samples of `metric`.
pub(super) fn samples(text: &str, metric: &str) -> Result<Vec<Sample>, ExpositionError> {
    // "The last line must end with a line feed character": without it, the answer may be cut off in the middle.
    if !text.is_empty() && !text.ends_with('\n') {
        return Err(ExpositionError { line: text.lines().count() });
    }
    let mut found = Vec::new();
    for (number, line) in text.split('\n').enumerate() {
        let line = line.trim_matches([' ', '\t']);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, sample) = sample(line).ok_or(ExpositionError { line: number.saturating_add(1) })?;
        if name == metric {
            found.push(sample);
        }
    }
    Ok(found)
}

/// `name [{labels}] value [timestamp]`
fn sample(line: &str) -> Option<(&str, Sample)> {
    let (name, rest) = split_name(line, true)?;
    let rest = rest.trim_start_matches([' ', '\t']);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inside) => labels(inside)?,
        // Without braces a blank must part the name from the value.
        None if rest.len() < line.len().saturating_sub(name.len()) => (BTreeMap::new(), rest),
        None => return None,
    };
    let mut words = rest.split([' ', '\t']).filter(|word| !word.is_empty());
    let value = number(words.next()?)?;
    let timestamp_ms = match words.next() {
        Some(word) => Some(word.parse().ok().filter(|_| !word.starts_with('+'))?),
        None => None,
    };
    if words.next().is_some() {
        return None;
    }
    Some((name, Sample { labels, value, timestamp_ms }))
}

/// The labels after `{`, and what follows the closing brace. A trailing comma is allowed.
fn labels(mut rest: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t']);
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, after) = split_name(rest, false)?;
        let after = after.trim_start_matches([' ', '\t']).strip_prefix('=')?;
        let after = after.trim_start_matches([' ', '\t']).strip_prefix('"')?;
        let (value, after) = quoted(after)?;
        // One name twice: nobody can say which one is meant.
        if labels.len() >= MAX_LABELS || labels.insert(name.to_owned(), value).is_some() {
            return None;
        }
        let after = after.trim_start_matches([' ', '\t']);
        rest = match after.strip_prefix(',') {
            Some(after) => after,
            None if after.starts_with('}') => after,
            None => return None,
        };
    }
}

/// A label value up to its closing quote: `\\`, `\"` and `\n` are the only escapes.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next()? {
            '"' => return Some((value, chars.as_str())),
            '\\' => value.push(match chars.next()? {
                '\\' => '\\',
                '"' => '"',
                'n' => '\n',
                _ => return None,
            }),
            plain => value.push(plain),
        }
    }
}

/// A metric name (`[a-zA-Z_:][a-zA-Z0-9_:]*`) or a label name (the same without colons), and the rest.
fn split_name(text: &str, colons: bool) -> Option<(&str, &str)> {
    let inside = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colons && c == ':');
    let end = text.find(|c: char| !inside(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(end)?;
    let starts_well = name.chars().next().is_some_and(|c| !c.is_ascii_digit());
    starts_well.then_some((name, rest))
}

/// A number as Go's `ParseFloat` reads it, without hexadecimal digits and underscores, which no exporter writes.
pub(super) fn number(word: &str) -> Option<f64> {
    let plain = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E');
    let unsigned = word.strip_prefix(['+', '-']).unwrap_or(word);
    let named = ["inf", "infinity", "nan"].iter().any(|name| unsigned.eq_ignore_ascii_case(name));
    if !named && !word.chars().all(plain) {
        return None;
    }
    // What is too large for the type is no infinity that anybody wrote.
    word.parse().ok().filter(|value: &f64| named || value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the format's documentation, word for word.
    const DOCUMENTED: &str = r##"# HELP http_requests_total The total number of HTTP requests.
# TYPE http_requests_total counter
http_requests_total{method="post",code="200"} 1027 1395066363000
http_requests_total{method="post",code="400"}    3 1395066363000

# Escaping in label values:
msdos_file_access_time_seconds{path="C:\\DIR\\FILE.TXT",error="Cannot find file:\n\"FILE.TXT\""} 1.458255915e9

# Minimalistic line:
metric_without_timestamp_and_labels 12.47

# A weird metric from before the epoch:
something_weird{problem="division by zero"} +Inf -3982045

# A histogram, which has a pretty complex representation in the text format:
# HELP http_request_duration_seconds A histogram of the request duration.
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{le="0.05"} 24054
http_request_duration_seconds_bucket{le="0.1"} 33444
http_request_duration_seconds_bucket{le="+Inf"} 144320
http_request_duration_seconds_sum 53423
http_request_duration_seconds_count 144320

# Finally a summary, which has a complex representation, too:
# HELP rpc_duration_seconds A summary of the RPC duration in seconds.
# TYPE rpc_duration_seconds summary
rpc_duration_seconds{quantile="0.01"} 3102
rpc_duration_seconds{quantile="0.05"} 3272
rpc_duration_seconds_sum 1.7560473e+07
rpc_duration_seconds_count 2693
"##;

    #[test]
    fn the_documented_example() {
        let one = |metric: &str| {
            let found = samples(DOCUMENTED, metric).unwrap();
            assert_eq!(found.len(), 1, "{metric}");
            found.into_iter().next().unwrap()
        };
        let requests = samples(DOCUMENTED, "http_requests_total").unwrap();
        assert_eq!(requests.len(), 2);
        assert_eq!((requests[0].value, requests[0].timestamp_ms), (1027.0, Some(1_395_066_363_000)));
        assert_eq!(requests[1].labels["code"], "400");
        let escaped = one("msdos_file_access_time_seconds");
        assert_eq!(escaped.labels["path"], "C:\\DIR\\FILE.TXT");
        assert_eq!(escaped.labels["error"], "Cannot find file:\n\"FILE.TXT\"");
        let minimal = one("metric_without_timestamp_and_labels");
        assert_eq!((minimal.value, minimal.timestamp_ms), (12.47, None));
        let weird = one("something_weird");
        assert_eq!((weird.value, weird.timestamp_ms), (f64::INFINITY, Some(-3_982_045)));
        assert_eq!(samples(DOCUMENTED, "http_request_duration_seconds_bucket").unwrap().len(), 3);
        assert_eq!(samples(DOCUMENTED, "rpc_duration_seconds").unwrap().len(), 2);
        assert_eq!(samples(DOCUMENTED, "absent").unwrap(), []);
    }

    #[test]
    fn what_the_format_allows() {
        let allowed = [
            "up 1\n",
            "up  1 \n",
            "\tup\t1\t5\n",
            "up{} 1\n",
            "up {a=\"b\"} 1\n",
            "up{ a = \"b\" , } 1\n",
            "up{a=\"b\",} 1\n",
            "up 1e9\n",
            "up -0\n",
            "up NaN\n",
            "up -Inf\n",
            "up .5\n",
            "up{a=\"\"} 1\n",
            "up{a=\"ü}{,=\"} 1\n",
            "\n\nup 1\n",
            "#\n# anything \u{1}\nup 1\n",
            "up{a=\"b\"}1\n",
        ];
        for text in allowed {
            assert_eq!(samples(text, "up").map(|found| found.len()), Ok(1), "{text:?}");
        }
        assert_eq!(samples("", "up"), Ok(Vec::new()));
    }

    #[test]
    fn what_is_garbage() {
        let garbage = [
            "up 1",
            "up\n",
            "up one\n",
            "up 1 2 3\n",
            "up 1 2.5\n",
            "up 1 +2\n",
            "up 0x10\n",
            "up 1e999\n",
            "up 1_000\n",
            "1up 1\n",
            "up{a=\"b\" 1\n",
            "up{a=b} 1\n",
            "up{a=\"b\"\n",
            "up{a=\"\\t\"} 1\n",
            "up{a=\"b\",a=\"c\"} 1\n",
            "up{,} 1\n",
            "up{a=\"b\",,} 1\n",
            "up{a:b=\"c\"} 1\n",
            "up{a=\"b\"c=\"d\"} 1\n",
            "up-1\n",
            "up+1\n",
            "{\"up\"} 1\n",
            "up 1 # {id=\"x\"} 1\n",
            "<html>\n",
            "up 1\r\n",
            "up 1 9223372036854775808\n",
            "up 1\nother one\n",
            "up ∞\n",
            "úp 1\n",
        ];
        for text in garbage {
            assert!(samples(text, "up").is_err(), "{text:?} was read");
        }
        let error = samples("up 1\n\nup x\n", "up").unwrap_err();
        assert_eq!(error, ExpositionError { line: 3 });
    }
}
