//! Answers of Prometheus' HTTP API, read strictly: what is not whole, or is not numbers, is not an answer.
//!
//! <https://prometheus.io/docs/prometheus/latest/querying/api/>

use std::collections::BTreeMap;

use holdpoint_domain::trigger::Why;
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::value::RawValue;

use super::{exposition::number, fetch::Fetched};

/// Most series that are read. A catalogue allows fewer; one more than it allows is too many already.
pub(super) const MAX_SERIES: usize = 1000;

/// A sample: when, in milliseconds since the epoch, and what.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub(super) at_ms: i64,
    pub(super) value: f64,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    status: String,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    warnings: Option<Vec<IgnoredAny>>,
    #[serde(default)]
    infos: Option<Vec<IgnoredAny>>,
    /// Of those who answer for several servers, VictoriaMetrics for instance, when one of them did not.
    #[serde(default, rename = "isPartial")]
    is_partial: Option<bool>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(rename = "resultType")]
    result_type: String,
    #[serde(borrow)]
    result: &'a RawValue,
}

/// A series. Its labels are text of the measured system: most are passed over, and only their being there is looked at.
#[derive(Deserialize)]
struct Series<L> {
    #[serde(rename = "metric")]
    labels: L,
    value: Option<(f64, String)>,
    values: Option<Vec<(f64, String)>>,
    histogram: Option<IgnoredAny>,
    histograms: Option<IgnoredAny>,
}

/// Labels that nobody looks at.
type Passed = BTreeMap<String, IgnoredAny>;

/// The series of an instant query, one point each.
pub(super) fn vector(fetched: Fetched) -> Result<Vec<Point>, Why> {
    let series = series::<Passed>(fetched, "vector", MAX_SERIES)?;
    series.into_iter().map(|it| point(it.value.ok_or(Why::Garbage)?)).collect()
}

/// The series of a range query, each with its points in order.
pub(super) fn matrix(fetched: Fetched) -> Result<Vec<Vec<Point>>, Why> {
    let series = series::<Passed>(fetched, "matrix", MAX_SERIES)?;
    let points = |it: Series<Passed>| it.values.ok_or(Why::Garbage)?.into_iter().map(point).collect();
    series.into_iter().map(points).collect()
}

/// The series of an instant query with their labels, which are text of the measured system.
pub(super) fn labelled(fetched: Fetched, at_most: usize) -> Result<Vec<(Labels, Point)>, Why> {
    let series = series::<Labels>(fetched, "vector", at_most)?;
    series.into_iter().map(|it| Ok((it.labels, point(it.value.ok_or(Why::Garbage)?)?))).collect()
}

/// What a series is called.
pub(super) type Labels = BTreeMap<String, String>;

/// What a whole and successful answer has of the expected type.
fn series<L: DeserializeOwned>(
    fetched: Fetched,
    expected: &str,
    at_most: usize,
) -> Result<Vec<Series<L>>, Why> {
    let (status, body) = whole(fetched)?;
    let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(&body) else {
        return Err(if status { Why::Garbage } else { Why::Broken });
    };
    match (envelope.status.as_str(), status) {
        ("success", true) => {}
        ("error", _) => return Err(Why::Rejected),
        _ => return Err(if status { Why::Garbage } else { Why::Broken }),
    }
    let says = |texts: Option<Vec<IgnoredAny>>| texts.is_some_and(|texts| !texts.is_empty());
    if says(envelope.warnings) || says(envelope.infos) || envelope.is_partial == Some(true) {
        return Err(Why::Partial);
    }
    let data = envelope.data.ok_or(Why::Garbage)?;
    let data: Data<'_> = serde_json::from_str(data.get()).map_err(|_| Why::Garbage)?;
    if data.result_type != expected {
        return Err(Why::WrongType);
    }
    let series: Vec<Series<L>> = serde_json::from_str(data.result.get()).map_err(|_| Why::Garbage)?;
    if series.iter().any(|it| it.histogram.is_some() || it.histograms.is_some()) {
        return Err(Why::WrongType);
    }
    if series.len() > at_most { Err(Why::Ambiguous) } else { Ok(series) }
}

/// Whether an answer is a success, and its bytes.
pub(super) fn whole(fetched: Fetched) -> Result<(bool, Vec<u8>), Why> {
    match fetched {
        // Nobody is followed anywhere: a redirect is no answer.
        Fetched::Answer { status, .. } if status.is_redirection() => Err(Why::Broken),
        Fetched::Answer { status, body, .. } => Ok((status.is_success(), body)),
        Fetched::Broken => Err(Why::Broken),
        Fetched::Unanswered | Fetched::Unreachable => Err(Why::TimedOut),
        Fetched::Refused => Err(Why::Refused),
        Fetched::Garbage => Err(Why::Garbage),
        Fetched::OurFault => Err(Why::OurFault),
    }
}

fn point((seconds, value): (f64, String)) -> Result<Point, Why> {
    let at_ms = millis(seconds).ok_or(Why::Garbage)?;
    Ok(Point { at_ms, value: number(&value).ok_or(Why::Garbage)? })
}

/// Whole milliseconds of a time in seconds, between 1970 and the year 10000.
pub(super) fn millis(seconds: f64) -> Option<i64> {
    let ms = (seconds * 1000.0).round();
    if !(0.0..253_402_300_800_000.0).contains(&ms) {
        return None;
    }
    #[allow(clippy::cast_possible_truncation, reason = "a whole number far below 2^53")]
    Some(ms as i64)
}
