//! The picture of a blast radius: in layers from left to right, by how far services are from those that are acted on.
//!
//! The request page draws it into itself; `holdpoint blast --svg` prints it as a document that refers to nothing else. What a service
//! is, is seen by its shape, its frame and a word, and by its colour last.

mod layout;
#[cfg(test)]
mod tests;

use askama::Template;

use crate::http::wire::{Disturbance, Reached, ReachedService};

pub(crate) use layout::Picture;

/// How a service is drawn, and called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It is acted on.
    Target,
    /// It is disturbed.
    Service,
    /// It is disturbed, and critical.
    Critical,
    /// The inventory does not know it: as good as critical.
    Unknown,
}

impl Kind {
    /// All of them, in the order of a legend.
    pub(crate) const ALL: [Self; 4] = [Self::Target, Self::Service, Self::Critical, Self::Unknown];

    /// What a service is.
    pub(crate) fn of(service: &ReachedService) -> Self {
        match (service.unknown, service.critical, service.depth) {
            (true, _, _) => Self::Unknown,
            (false, true, _) => Self::Critical,
            (false, false, Some(0)) => Self::Target,
            (false, false, _) => Self::Service,
        }
    }

    /// The shape, in a line of text.
    pub(crate) const fn glyph(self) -> &'static str {
        match self {
            Self::Target => "◉",
            Self::Service => "○",
            Self::Critical => "◆",
            Self::Unknown => "▢",
        }
    }

    /// What it means.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Target => "acted on",
            Self::Service => "disturbed",
            Self::Critical => "critical",
            Self::Unknown => "unknown, counts as critical",
        }
    }

    /// Its class in the style sheet.
    pub(crate) const fn class(self) -> &'static str {
        match self {
            Self::Target => "is-target",
            Self::Service => "is-service",
            Self::Critical => "is-critical",
            Self::Unknown => "is-unknown",
        }
    }
}

/// A document of its own.
#[derive(Template)]
#[template(path = "picture.svg", escape = "html")]
struct Document<'a> {
    picture: &'a Picture,
    style: &'static str,
    title: String,
    lines: Vec<String>,
    legend: Vec<(f64, Kind)>,
    width: f64,
    height: f64,
    legend_y: f64,
}

/// The colours, and how a picture is drawn. Neither has a character that means something to XML.
const STYLE: &str =
    concat!(include_str!("../../assets/palette.css"), include_str!("../../assets/picture.css"));
/// What stands above the picture, and below it, in pixels.
const HEAD: f64 = 64.0;
const FOOT: f64 = 44.0;
/// From one line to the next.
const LINE: f64 = 18.0;
/// Narrower than this, the legend has no room.
const MIN_WIDTH: f64 = 640.0;

impl Picture {
    /// The picture as one SVG document, with what it is a picture of.
    pub(crate) fn document(&self, of: &Disturbance) -> Result<String, askama::Error> {
        let lines = said(of);
        let rows = lines.len().saturating_sub(1);
        let head = HEAD + LINE * u32::try_from(rows).map_or(0.0, f64::from);
        let legend = [0.0, 100.0, 210.0, 310.0].into_iter().zip(Kind::ALL);
        Document {
            picture: self,
            style: STYLE,
            title: format!("{} on {}", of.action, of.target),
            legend: legend.collect(),
            width: self.width.max(MIN_WIDTH),
            height: head + self.height + FOOT,
            legend_y: head + self.height + 24.0,
            lines,
        }
        .render()
    }
}

/// What the picture is of, in numbers, against the most that one plan may disturb.
fn said(of: &Disturbance) -> Vec<String> {
    let (blast, cap) = (&of.blast, &of.cap);
    let mut lines = vec![format!(
        "{} services of at most {}, {} critical of at most {}, {} % of replicas of at most {} %",
        blast.services.len(),
        cap.services,
        blast.critical.len(),
        cap.critical,
        blast.replica_share_percent,
        cap.replica_share_percent,
    )];
    let traffic = of.reached.traffic.iter();
    let known = traffic.filter_map(|share| share.percent.map(|percent| (&share.source, percent)));
    lines.extend(known.map(|(source, percent)| format!("{percent} % of the requests that {source} counts")));
    lines
}

/// How many services a picture leaves out, and how many of them are critical.
fn left_out(reached: &Reached, drawn: &[ReachedService]) -> (u64, u64) {
    let critical = |services: &[ReachedService]| services.iter().filter(|one| one.critical).count();
    let not_drawn = reached.services.len().saturating_sub(drawn.len());
    let critical = critical(&reached.services).saturating_sub(critical(drawn));
    let and = |more: u64, also: usize| more.saturating_add(u64::try_from(also).unwrap_or(u64::MAX));
    (and(reached.more, not_drawn), and(reached.more_critical, critical))
}
