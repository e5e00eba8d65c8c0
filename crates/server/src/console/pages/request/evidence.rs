//! What the gate's own probes measured: per source, with truth, value and age, and over time where there was more than one look.

use std::collections::BTreeMap;

use holdpoint_app::{gate::Gate, view::PlanView};
use holdpoint_domain::{
    Millis, Timestamp,
    facts::Facts,
    record::Body,
    trigger::{Agreement, Reading, SignedEvidence, Truth},
};

use super::operators;
use crate::console::show::{When, span, word_of};

/// The size of a small plot.
const PLOT: (f64, f64) = (120.0, 28.0);

/// Whether the trigger is proven, in words.
pub(super) struct Trigger {
    pub(super) condition: String,
    pub(super) title: String,
    pub(super) glyph: &'static str,
    pub(super) word: &'static str,
    pub(super) tone: &'static str,
    pub(super) holding: u32,
    pub(super) sources: u32,
    pub(super) needed: u32,
}

/// One condition, measured.
pub(super) struct Measured {
    pub(super) trigger: Trigger,
    pub(super) target: String,
    pub(super) at: When,
    pub(super) looks: usize,
    pub(super) readings: Vec<Line>,
}

/// What one probe says.
pub(super) struct Line {
    pub(super) source: String,
    pub(super) endpoint: String,
    pub(super) glyph: &'static str,
    pub(super) word: &'static str,
    pub(super) tone: &'static str,
    pub(super) why: String,
    pub(super) value: String,
    pub(super) age: String,
    pub(super) plot: Option<Plot>,
}

/// The values of a probe, look by look.
pub(super) struct Plot {
    pub(super) points: String,
    pub(super) last: (f64, f64),
    pub(super) words: String,
}

impl Trigger {
    /// The trigger of a plan, as the decision saw it.
    pub(super) fn of(gate: &Gate, facts: &Facts) -> Self {
        Self::new(gate, &facts.trigger.condition, &facts.trigger.agreement)
    }

    fn new(
        gate: &Gate,
        condition: &holdpoint_domain::Id<holdpoint_domain::id::kind::Condition>,
        agreement: &Agreement,
    ) -> Self {
        let found = gate.controls.catalogue.condition(condition);
        let (glyph, word, tone) = truth(agreement.truth);
        Self {
            condition: condition.to_string(),
            title: found.map_or_else(|| condition.to_string(), |found| operators(&found.title)),
            glyph,
            word,
            tone,
            holding: agreement.holding,
            sources: agreement.sources,
            needed: agreement.needed,
        }
    }
}

/// The last measurement of each condition on each target.
pub(super) fn all(gate: &Gate, view: &PlanView, now: Timestamp) -> Vec<Measured> {
    view.evidence.iter().map(|signed| one(gate, view, signed, now)).collect()
}

fn one(gate: &Gate, view: &PlanView, signed: &SignedEvidence, now: Timestamp) -> Measured {
    let evidence = &signed.evidence;
    let series = series(view, signed);
    Measured {
        trigger: Trigger::new(gate, &evidence.condition, &evidence.agreement),
        target: evidence.target.to_string(),
        at: When::new(evidence.measured_at_ms, now),
        looks: looks(view, signed).count(),
        readings: evidence.readings.iter().map(|reading| line(reading, &series)).collect(),
    }
}

/// All looks at the same condition on the same target, in order.
fn looks<'v>(view: &'v PlanView, of: &'v SignedEvidence) -> impl Iterator<Item = &'v SignedEvidence> {
    view.records.iter().filter_map(move |(_, record)| {
        let Body::Measured { evidence } = &record.body else { return None };
        let (one, other) = (&evidence.evidence, &of.evidence);
        (one.condition == other.condition && one.target == other.target).then_some(evidence.as_ref())
    })
}

/// The values of each probe, look by look.
fn series(view: &PlanView, of: &SignedEvidence) -> BTreeMap<String, Vec<f64>> {
    let mut series: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for reading in looks(view, of).flat_map(|signed| &signed.evidence.readings) {
        if let Some(value) = reading.value.filter(|value| value.is_finite()) {
            series.entry(reading.endpoint.to_string()).or_default().push(value);
        }
    }
    series
}

fn line(reading: &Reading, series: &BTreeMap<String, Vec<f64>>) -> Line {
    let (glyph, word, tone) = truth(reading.truth);
    let plot = series.get(reading.endpoint.as_str()).and_then(|values| plot(values));
    Line {
        source: reading.source.to_string(),
        endpoint: reading.endpoint.to_string(),
        glyph,
        word,
        tone,
        why: word_of(&reading.why),
        value: reading.value.map_or_else(|| "none".to_owned(), number),
        age: if reading.age_ms == Millis::secs(0) {
            "just measured".to_owned()
        } else {
            format!("{} old", span(reading.age_ms))
        },
        plot,
    }
}

/// A line of the values; none for fewer than two.
pub(in crate::console) fn plot(values: &[f64]) -> Option<Plot> {
    let (first, last) = (values.first()?, values.last()?);
    let steps = u32::try_from(values.len().checked_sub(1).filter(|steps| *steps > 0)?).ok()?;
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let height = if high > low { high - low } else { 1.0 };
    let (width, inner) = (PLOT.0 - 8.0, PLOT.1 - 8.0);
    let at = |(step, value): (u32, &f64)| {
        let x = 4.0 + width * f64::from(step) / f64::from(steps);
        let y = 4.0 + inner * (1.0 - (value - low) / height);
        (x, y)
    };
    let places: Vec<_> = (0..=steps).zip(values).map(at).collect();
    let points: Vec<_> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    Some(Plot {
        points: points.join(" "),
        last: places.last().copied()?,
        words: format!("{} values, from {} to {}", values.len(), number(*first), number(*last)),
    })
}

/// A value without the noise of its last digits.
fn number(value: f64) -> String {
    let rounded = (value * 1_000.0).round() / 1_000.0;
    if value.abs() < 1e12 && (value == 0.0 || rounded != 0.0) {
        rounded.to_string()
    } else {
        format!("{value:e}")
    }
}

const fn truth(truth: Truth) -> (&'static str, &'static str, &'static str) {
    match truth {
        Truth::Holds => ("●", "holds", "good"),
        Truth::DoesNotHold => ("○", "does not hold", "bad"),
        Truth::Indeterminate => ("◐", "cannot be told", "waits"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_stays_inside_and_needs_two_values() {
        assert!(plot(&[]).is_none() && plot(&[1.0]).is_none());
        for values in [vec![1.0, 1.0], vec![f64::MIN_POSITIVE, 1e300, -5.0], vec![0.0, 10.0, 5.0]] {
            let plot = plot(&values).unwrap();
            for point in plot.points.split(' ') {
                let (x, y) = point.split_once(',').unwrap();
                let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
                assert!((4.0..=PLOT.0 - 4.0).contains(&x) && (4.0..=PLOT.1 - 4.0).contains(&y), "{point}");
            }
        }
        assert_eq!(number(0.1 + 0.2), "0.3");
    }
}
