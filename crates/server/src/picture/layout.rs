//! Where everything in a picture stands.

use std::collections::BTreeMap;

use holdpoint_domain::{Id, blast::fitting, graph::EdgeKind, id::kind};

use super::{Kind, left_out};
use crate::http::wire::{Reached, ReachedService};

/// Most services in a picture. More would be a knot; the list beside it has them.
const MAX_DRAWN: usize = 24;
/// Longest name in a picture, in characters. The list has the whole ones.
const MAX_LABEL: usize = 20;
/// Most services one above the other. A layer with more has several columns.
const MAX_ROWS: usize = 8;
/// The last layer that is drawn for itself: it has all that are further away, too.
const LAST_LAYER: u32 = 6;

/// A card, in pixels.
const CARD: (f64, f64) = (184.0, 42.0);
/// Between the columns of one layer, and between the rows.
const GAP: (f64, f64) = (12.0, 14.0);
/// Between layers: room for the lines.
const BETWEEN: f64 = 62.0;
/// Around the cards of a layer, and above them for its name.
const PAD: f64 = 10.0;
const TITLE: f64 = 28.0;
/// Around everything.
const MARGIN: f64 = 12.0;
/// What says how many are left out.
const MORE: f64 = 30.0;

/// A picture.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Picture {
    pub(crate) layers: Vec<Layer>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) edges: Vec<Edge>,
    pub(crate) width: f64,
    pub(crate) height: f64,
    /// What is left out, in words; nothing where all are drawn.
    pub(crate) more: Option<String>,
}

/// Services that are equally far from those that are acted on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Layer {
    pub(crate) x: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
    pub(crate) title: String,
}

/// A service.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) label: String,
    pub(crate) sub: String,
    pub(crate) name: String,
    pub(crate) words: String,
    pub(crate) kind: Kind,
}

/// That a disturbance gets from one service to another: a curve, and the tip of its arrow.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Edge {
    pub(crate) curve: String,
    pub(crate) tip: String,
    /// It comes from a service that is as far away, or further: how it could also get there.
    pub(crate) aside: bool,
    pub(crate) unknown: bool,
}

/// The cards of services, by name, as they are placed: in which layer, and where.
type Places<'a> = BTreeMap<&'a Id<kind::Service>, (u32, f64, f64)>;

impl Picture {
    /// The picture of a blast radius.
    pub(crate) fn of(reached: &Reached) -> Self {
        let drawn = fitting(reached.services.clone(), MAX_DRAWN, |one| one.critical);
        let deepest = drawn.iter().filter_map(|one| one.depth).max().unwrap_or(0).min(LAST_LAYER);
        let mut layers: BTreeMap<u32, Vec<&ReachedService>> = BTreeMap::new();
        for one in &drawn {
            // What is not connected any more stands beyond all others.
            let layer = one.depth.map_or_else(|| deepest.saturating_add(1), |depth| depth.min(LAST_LAYER));
            layers.entry(layer).or_default().push(one);
        }
        let mut picture = Self::default();
        let mut places = Places::new();
        let mut x = MARGIN;
        for (layer, services) in layers {
            let title = title(layer, services.iter().all(|one| one.depth.is_none()));
            let (width, height) = picture.place((layer, x), &sorted(services, &places), &mut places);
            picture.layers.push(Layer { x, width, height, title });
            picture.height = picture.height.max(height);
            x += width + BETWEEN;
        }
        picture.layers.iter_mut().for_each(|layer| layer.height = picture.height);
        picture.edges = drawn.iter().flat_map(|one| edges(one, &places)).collect();
        picture.width = x - BETWEEN + MARGIN;
        picture.more = match left_out(reached, &drawn) {
            (0, _) => None,
            (more, critical) => Some(format!("and {more} more, {critical} of them critical")),
        };
        picture.height += MARGIN * 2.0 + if picture.more.is_some() { MORE } else { 0.0 };
        picture
    }

    /// Puts the services of a layer into columns, and says how much room they take.
    fn place<'a>(
        &mut self,
        (layer, x): (u32, f64),
        services: &[&'a ReachedService],
        places: &mut Places<'a>,
    ) -> (f64, f64) {
        let columns = services.len().div_ceil(MAX_ROWS).max(1);
        let rows = services.len().div_ceil(columns).max(1);
        for (column, part) in (0_u32..).zip(services.chunks(rows)) {
            for (row, one) in (0_u32..).zip(part) {
                let at = (
                    x + PAD + f64::from(column) * (CARD.0 + GAP.0),
                    MARGIN + TITLE + f64::from(row) * (CARD.1 + GAP.1),
                );
                places.insert(&one.service, (layer, at.0, at.1));
                self.nodes.push(node(one, at));
            }
        }
        let size = |count: usize| u32::try_from(count).map_or(0.0, f64::from);
        (
            size(columns) * (CARD.0 + GAP.0) - GAP.0 + PAD * 2.0,
            TITLE + size(rows) * (CARD.1 + GAP.1) - GAP.1 + PAD,
        )
    }

    /// Below what is drawn, where it says what is left out.
    pub(crate) fn more_y(&self) -> f64 {
        self.height - MARGIN - 6.0
    }
}

fn title(layer: u32, unconnected: bool) -> String {
    match layer {
        _ if unconnected => "not connected any more".to_owned(),
        0 => "acted on".to_owned(),
        LAST_LAYER => format!("{LAST_LAYER} away and more"),
        near => format!("{near} away"),
    }
}

/// Services in an order in which few lines cross: each beside those that it needs.
fn sorted<'a>(mut services: Vec<&'a ReachedService>, places: &Places<'_>) -> Vec<&'a ReachedService> {
    let middle = |one: &&ReachedService| {
        let needed: Vec<f64> =
            one.needs.iter().filter_map(|need| places.get(&need.on)).map(|(_, _, y)| *y).collect();
        let count = u32::try_from(needed.len()).map_or(0.0, f64::from);
        if needed.is_empty() { f64::MAX } else { needed.iter().sum::<f64>() / count }
    };
    services.sort_by(|one, other| middle(one).total_cmp(&middle(other)));
    services
}

fn node(one: &ReachedService, (x, y): (f64, f64)) -> Node {
    let kind = Kind::of(one);
    let mut kinds: Vec<EdgeKind> = one.needs.iter().map(|need| need.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let how = kinds.into_iter().map(EdgeKind::as_str).collect::<Vec<_>>().join(", ");
    let class = if one.unknown { "unknown" } else { one.criticality.as_str() };
    let sub =
        if one.depth == Some(0) || how.is_empty() { class.to_owned() } else { format!("{class} · {how}") };
    let mut words = kind.word().to_owned();
    if one.depth != Some(0) && !one.needs.is_empty() {
        words = format!("{words}; {}", one.through());
    }
    if let Some(owner) = &one.owner {
        words = format!("{words}; owner {owner}");
    }
    if let Some(percent) = one.traffic_percent {
        words = format!("{words}; {percent} % of all requests");
    }
    let name = one.service.to_string();
    Node { x, y, label: cut(&name, MAX_LABEL), sub: cut(&sub, 26), name, words, kind }
}

/// The lines to a service from those that it needs.
fn edges(one: &ReachedService, places: &Places<'_>) -> Vec<Edge> {
    let Some(&(layer, x, y)) = places.get(&one.service) else { return Vec::new() };
    let unknown = one.unknown;
    let end = (x, y + CARD.1 / 2.0);
    let edge = |&(from, left, top): &(u32, f64, f64)| {
        let is_before = from < layer;
        // From the right side of a card to the left one of another; around the left sides of two in one layer.
        let start = (if is_before { left + CARD.0 } else { left }, top + CARD.1 / 2.0);
        let (one, other) = if is_before {
            let bend = (end.0 - start.0) / 2.0;
            (start.0 + bend, end.0 - bend)
        } else {
            (start.0 - BETWEEN / 2.0, end.0 - BETWEEN / 2.0)
        };
        Edge {
            curve: format!(
                "M{:.1} {:.1}C{one:.1} {:.1} {other:.1} {:.1} {:.1} {:.1}",
                start.0,
                start.1,
                start.1,
                end.1,
                end.0 - 5.0,
                end.1
            ),
            tip: format!("M{:.1} {:.1}l-8 -4v8z", end.0 - 1.0, end.1),
            aside: !is_before,
            unknown,
        }
    };
    let mut on: Vec<_> = one.needs.iter().map(|need| &need.on).collect();
    on.sort_unstable();
    on.dedup();
    on.into_iter().filter(|on| **on != one.service).filter_map(|on| places.get(on)).map(edge).collect()
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let head: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{head}…")
}
