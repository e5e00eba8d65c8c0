//! What moved and what changed, in words for people.

use holdpoint_domain::{
    aftermath::{Aftermath, Baseline, Fate, Gap, Moved, Surprise, TargetAfter, Unknown},
    signal::Way,
    trigger::Why,
};

/// What is said below every list: what moves at the same time need not have been moved.
const SAME_TIME: &str = "that something moved at the same time does not say that the run moved it";

/// A baseline as a line of a timeline.
pub(super) fn before(baseline: &Baseline) -> String {
    let values: usize = baseline.signals.iter().map(|it| it.said.values.len()).fold(0, usize::saturating_add);
    let unknown = baseline.signals.iter().filter(|it| it.said.why != Why::Measured).count();
    let signals = baseline.signals.len();
    let unknown = if unknown == 0 { String::new() } else { format!(", {unknown} of them unknown") };
    format!("measured all services before the run: {values} values by {signals} signals{unknown}")
}

/// An aftermath as a line of a timeline.
pub(super) fn after(aftermath: &Aftermath) -> String {
    let worse = aftermath.moved.iter().filter(|it| it.way == Way::Worse).count();
    let better = aftermath.moved.len().saturating_sub(worse);
    let (still, unknown) = (aftermath.still, aftermath.unknown.len());
    let surprises = match aftermath.surprises.len() {
        0 => "no surprise".to_owned(),
        1 => "1 SURPRISE".to_owned(),
        more => format!("{more} SURPRISES"),
    };
    format!(
        "measured again after the run: {better} better, {worse} worse, {still} still, {unknown} unknown; {surprises}"
    )
}

/// Everything that is known, a line each; surprises first.
pub(crate) fn lines(aftermath: &Aftermath) -> Vec<String> {
    let mut lines: Vec<String> = aftermath.surprises.iter().map(surprise).collect();
    lines.extend(aftermath.moved.iter().map(moved));
    lines.extend(aftermath.targets.iter().map(target));
    if aftermath.still > 0 {
        lines.push(format!("{} values stayed where they were", aftermath.still));
    }
    lines.extend(aftermath.unknown.iter().map(unknown));
    if aftermath.strangers > 0 {
        let count = aftermath.strangers;
        lines.push(format!("{count} series name no service of the inventory, and count for nothing"));
    }
    if aftermath.left_out > 0 {
        lines.push(format!("{} more are left out: a record has no room for them", aftermath.left_out));
    }
    if !aftermath.moved.is_empty() || !aftermath.surprises.is_empty() {
        lines.push(SAME_TIME.to_owned());
    }
    lines
}

fn surprise(surprise: &Surprise) -> String {
    match surprise {
        Surprise::MovedOutside { service, signal } => {
            format!("SURPRISE: {service} moved for the worse by {signal}, and the estimate did not name it")
        }
        Surprise::ChangedBeside { target } => {
            format!("SURPRISE: {target} changed at the same time, and the run did not act on it")
        }
        Surprise::NotChanged { target } => format!("SURPRISE: {target} was to change, and did not"),
    }
}

fn moved(it: &Moved) -> String {
    let Moved { service, signal, measures, before, after, way, estimated } = it;
    let way = match way {
        Way::Worse => "worse",
        Way::Better => "better",
    };
    let named = if *estimated { "in the estimate" } else { "not in the estimate" };
    format!("{service} {way}: {measures} ({signal}) {} -> {}, {named}", short(*before), short(*after))
}

fn target(it: &TargetAfter) -> String {
    let whose = if it.acted_on { "acted on" } else { "beside it" };
    let fate = match it.fate {
        Fate::Changed => "in another version than before",
        Fate::Same => "in the same version as before",
        Fate::Unseen => "not seen: nobody knows whether it changed",
    };
    format!("target {} ({whose}): {fate}", it.target)
}

fn unknown(it: &Unknown) -> String {
    let what = match &it.service {
        Some(service) => format!("{service} by {}", it.signal),
        None => format!("every service by {}", it.signal),
    };
    let gap = match it.gap {
        Gap::Before => "not measured before",
        Gap::After => "not measured after",
        Gap::Redefined => "measured by another definition before",
        Gap::Interrupted => "interrupted before what was measured got on record",
    };
    let why = it.why.map(|why| format!(" ({})", said(why))).unwrap_or_default();
    format!("unknown: {what}, {gap}{why}")
}

fn said(why: Why) -> String {
    let word = serde_json::to_value(why).ok();
    word.as_ref().and_then(|word| word.as_str()).unwrap_or("unknown").replace('_', " ")
}

/// A number with four digits that say something.
fn short(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 || (0.001..100_000.0).contains(&size) {
        let text = format!("{value:.4}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        format!("{value:.3e}")
    }
}

#[cfg(test)]
mod tests {
    use holdpoint_domain::{Id, signal::Measures};

    use super::*;

    #[test]
    fn surprises_come_first_and_a_coincidence_is_named() {
        let id = |text: &str| Id::parse(text).unwrap();
        let aftermath = Aftermath {
            moved: vec![Moved {
                service: id("payments"),
                signal: Id::parse("errors").unwrap(),
                measures: Measures::ErrorRatio,
                before: 0.01,
                after: 0.25,
                way: Way::Worse,
                estimated: false,
            }],
            still: 3,
            unknown: vec![Unknown {
                signal: Id::parse("latency").unwrap(),
                service: None,
                gap: Gap::After,
                why: Some(Why::TimedOut),
            }],
            surprises: vec![Surprise::MovedOutside {
                service: id("payments"),
                signal: Id::parse("errors").unwrap(),
            }],
            strangers: 2,
            ..Aftermath::default()
        };
        let lines = lines(&aftermath);
        assert_eq!(
            lines,
            [
                "SURPRISE: payments moved for the worse by errors, and the estimate did not name it",
                "payments worse: error ratio (errors) 0.01 -> 0.25, not in the estimate",
                "3 values stayed where they were",
                "unknown: every service by latency, not measured after (timed out)",
                "2 series name no service of the inventory, and count for nothing",
                SAME_TIME,
            ]
        );
        assert!(after(&aftermath).ends_with("0 better, 1 worse, 3 still, 1 unknown; 1 SURPRISE"));
        assert_eq!([0.0, 1.0, -0.5, 123_456.7, 1.0e-9].map(short), ["0", "1", "-0.5", "1.235e5", "1.000e-9"]);
    }
}
