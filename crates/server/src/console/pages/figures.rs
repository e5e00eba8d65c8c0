//! Figures: what people would rather see than read. Made from the newest entries of the ledger, each time anew.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Response};
use holdpoint_app::audit::{self, Figures, Said};
use holdpoint_domain::{Id, Millis, Tier, decision::Answer, id::kind};

use super::page;
use crate::{
    console::{Console, admit::Visitor, frame::Frame, show::span},
    http::Problem,
};

/// How many of somebody's last decisions the fatigue flag looks at.
const LOOKED_AT: usize = 20;
/// From this share of approvals on, in percent,
const MOSTLY_PERCENT: usize = 95;
/// and at a median below this, somebody may not be reading.
const QUICK_MS: u64 = 30_000;
/// The rightmost bar of the histogram begins here: its bars are [1/2, 1) minutes and so on.
const BARS_MS: [(u64, &str); 8] = [
    (30_000, "30 s"),
    (60_000, "1 min"),
    (120_000, "2 min"),
    (300_000, "5 min"),
    (600_000, "10 min"),
    (900_000, "15 min"),
    (3_600_000, "1 h"),
    (u64::MAX, "more"),
];

#[derive(Template)]
#[template(path = "figures.html")]
struct Page {
    frame: Frame,
    first: u64,
    last: u64,
    decisions: Vec<TierBar>,
    waits: Histogram,
    people: Vec<Person>,
    runs: Vec<Share>,
    ran: u32,
    undo_rate: String,
    expired: u32,
    rule: String,
}

/// Decisions at a tier, as one bar in parts.
struct TierBar {
    tier: &'static str,
    meaning: &'static str,
    total: u32,
    parts: Vec<Segment>,
}

struct Segment {
    word: &'static str,
    class: &'static str,
    count: u32,
    x: f64,
    width: f64,
}

/// How long people took.
struct Histogram {
    bars: Vec<Bar>,
    count: usize,
    p50: String,
    p95: String,
    words: String,
}

struct Bar {
    label: &'static str,
    count: usize,
    x: f64,
    y: f64,
    height: f64,
}

struct Person {
    name: String,
    decisions: usize,
    approved: usize,
    rate: String,
    width: f64,
    median: String,
    tired: bool,
}

struct Share {
    word: &'static str,
    class: &'static str,
    count: u32,
    width: f64,
}

/// `GET /figures`.
pub(in crate::console) async fn show(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
) -> Result<Response, Problem> {
    let turn = console.turn().await?;
    let figures = audit::figures(&console.door.service.gate()).await?;
    drop(turn);
    let frame = Frame::new(&console, Some(&visitor), "/figures").await;
    let ran = [figures.succeeded, figures.undone, figures.undo_failed, figures.failed, figures.in_doubt];
    let ran = ran.into_iter().fold(0_u32, u32::saturating_add);
    let undone = figures.undone.saturating_add(figures.undo_failed);
    page(&Page {
        frame,
        first: figures.first,
        last: figures.end.saturating_sub(1),
        decisions: decisions(&figures),
        waits: histogram(&figures.waits_ms),
        people: figures.people.iter().map(|(id, said)| person(id, said)).collect(),
        runs: shares(&figures, ran),
        ran,
        undo_rate: percent(undone, ran),
        expired: figures.expired,
        rule: format!(
            "Flagged is whoever approved at least {MOSTLY_PERCENT} % of their last {LOOKED_AT} decisions, in a median of less \
             than {} after the hold began. It says nothing about anybody but that somebody should ask.",
            span(Millis::new(QUICK_MS).unwrap_or(Millis::secs(30)))
        ),
    })
}

/// A part of a whole as a width, of at most `full`.
fn width(part: u32, whole: u32, full: f64) -> f64 {
    let share = f64::from(part) / f64::from(whole.max(1));
    (share * full * 10.0).round() / 10.0
}

fn percent(part: u32, whole: u32) -> String {
    if whole == 0 {
        "none".to_owned()
    } else {
        format!("{:.0} %", f64::from(part) * 100.0 / f64::from(whole))
    }
}

fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn decisions(figures: &Figures) -> Vec<TierBar> {
    let total = |tier: &Tier| {
        figures
            .decisions
            .get(tier)
            .map_or(0, |answers| answers.values().fold(0_u32, |sum, count| sum.saturating_add(*count)))
    };
    let most = Tier::ALL.iter().map(total).max().unwrap_or(0);
    let bar = |tier: Tier| {
        let mut x = 0.0;
        let part = |answer: Answer| {
            let count =
                figures.decisions.get(&tier).and_then(|answers| answers.get(&answer)).copied().unwrap_or(0);
            let wide = width(count, most, 400.0);
            let (word, class) = match answer {
                Answer::Allow => ("allow", "bar-allow"),
                Answer::Hold => ("hold", "bar-hold"),
                Answer::Defer => ("defer", "bar-defer"),
                Answer::Deny => ("deny", "bar-deny"),
            };
            let segment = Segment { word, class, count, x, width: wide };
            x += wide;
            segment
        };
        let parts = [Answer::Allow, Answer::Hold, Answer::Defer, Answer::Deny].map(part);
        let parts = parts.into_iter().filter(|part| part.count > 0).collect();
        TierBar { tier: tier.as_str(), meaning: tier.meaning(), total: total(&tier), parts }
    };
    Tier::ALL.into_iter().map(bar).collect()
}

fn histogram(waits_ms: &[u64]) -> Histogram {
    let mut from = 0_u64;
    let counts = BARS_MS.map(|(until, label)| {
        let count = waits_ms.iter().filter(|wait| (from..until).contains(*wait)).count();
        from = until;
        (label, count)
    });
    let most = counts.iter().map(|(_, count)| *count).max().unwrap_or(0);
    let mut x = 0.0;
    let bars = counts.map(|(label, count)| {
        let height = width(small(count), small(most), 90.0);
        let bar = Bar { label, count, x, y: 100.0 - height, height };
        x += 60.0;
        bar
    });
    let words: Vec<_> = bars.iter().map(|bar| format!("up to {}: {}", bar.label, bar.count)).collect();
    Histogram {
        count: waits_ms.len(),
        p50: quantile(waits_ms, 50),
        p95: quantile(waits_ms, 95),
        words: words.join("; "),
        bars: bars.into(),
    }
}

/// The smallest of these sorted values that so many percent of them do not exceed.
fn quantile(sorted_ms: &[u64], percent: usize) -> String {
    let rank = sorted_ms.len().saturating_mul(percent).div_ceil(100).saturating_sub(1);
    let found = sorted_ms.get(rank).and_then(|ms| Millis::new(*ms).ok());
    found.map_or_else(|| "none".to_owned(), span)
}

fn person(id: &Id<kind::Person>, said: &[Said]) -> Person {
    let approved = said.iter().filter(|said| said.approved).count();
    let mut after: Vec<_> = said.iter().map(|said| said.after_ms).collect();
    after.sort_unstable();
    Person {
        name: id.to_string(),
        decisions: said.len(),
        approved,
        rate: percent(small(approved), small(said.len())),
        width: width(small(approved), small(said.len()), 160.0),
        median: quantile(&after, 50),
        tired: is_tired(said),
    }
}

/// Whether somebody approves nearly everything, faster than it can be read.
fn is_tired(said: &[Said]) -> bool {
    let Some(last) = said.len().checked_sub(LOOKED_AT).and_then(|from| said.get(from..)) else {
        return false;
    };
    let approved = last.iter().filter(|said| said.approved).count();
    let mut after: Vec<_> = last.iter().map(|said| said.after_ms).collect();
    after.sort_unstable();
    let median = after.get(LOOKED_AT.checked_div(2).unwrap_or(0)).copied().unwrap_or(u64::MAX);
    approved.saturating_mul(100) >= LOOKED_AT.saturating_mul(MOSTLY_PERCENT) && median < QUICK_MS
}

fn shares(figures: &Figures, ran: u32) -> Vec<Share> {
    let share = |(word, class, count): (&'static str, &'static str, u32)| Share {
        word,
        class,
        count,
        width: width(count, ran, 400.0),
    };
    let all = [
        ("succeeded", "bar-allow", figures.succeeded),
        ("undone", "bar-hold", figures.undone),
        ("failed, nothing changed", "bar-defer", figures.failed),
        ("undo failed", "bar-deny", figures.undo_failed),
        ("in doubt", "bar-deny", figures.in_doubt),
    ];
    all.map(share).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fatigue_flag_needs_many_quick_approvals() {
        let said = |approved, after_ms| Said { approved, after_ms };
        assert!(!is_tired(&vec![said(true, 1_000); 19]), "too few to tell");
        assert!(is_tired(&vec![said(true, 1_000); 20]));
        assert!(!is_tired(&vec![said(true, 40_000); 20]), "slow enough to read");
        let mut mixed = vec![said(true, 1_000); 20];
        mixed[3].approved = false;
        assert!(is_tired(&mixed), "95 %");
        mixed[4].approved = false;
        assert!(!is_tired(&mixed), "90 %");
        mixed.extend(vec![said(true, 1_000); 20]);
        assert!(is_tired(&mixed), "only the last ones count");
    }

    #[test]
    fn quantiles_are_values_that_were_there() {
        assert_eq!(quantile(&[], 50), "none");
        assert_eq!(quantile(&[1_000], 95), "1 s");
        let hundred: Vec<u64> = (1..=100).map(|n| n * 1_000).collect();
        assert_eq!(
            (quantile(&hundred, 50).as_str(), quantile(&hundred, 95).as_str()),
            ("50 s", "1 min 35 s")
        );
        let bars = histogram(&[0, 29_999, 30_000, 10_000_000]);
        assert_eq!(bars.bars.iter().map(|bar| bar.count).collect::<Vec<_>>(), [2, 1, 0, 0, 0, 0, 0, 1]);
    }
}
