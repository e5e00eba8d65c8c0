//! The blast radius: as a picture of the dependency graph, and as a list of the same.

use std::collections::BTreeMap;

use holdpoint_app::gate::Gate;
use holdpoint_domain::{
    Id,
    action::BlastCap,
    blast::{Reached, reached},
    facts::PlanFacts,
    id::kind,
};

use crate::console::show::list;

/// Most services in the picture. More would be a knot; the list has all of them.
const MAX_DRAWN: usize = 24;
/// Longest name in the picture. The list has the whole ones.
const MAX_LABEL: usize = 18;
/// From the middle to the first ring, and from ring to ring, across and up.
const RING: (f64, f64) = (165.0, 92.0);

/// What a plan can disturb.
pub(super) struct Blast {
    pub(super) rows: Vec<Row>,
    pub(super) nodes: Vec<Node>,
    pub(super) edges: Vec<Edge>,
    pub(super) view_box: String,
    pub(super) left_out: usize,
    /// What, how much, at most how much.
    pub(super) caps: Vec<(&'static str, u64, u64)>,
    pub(super) summary: String,
}

/// A service in the list.
pub(super) struct Row {
    pub(super) service: String,
    pub(super) how: String,
    pub(super) kind: Kind,
    pub(super) environment: String,
    pub(super) owner: String,
    pub(super) criticality: &'static str,
}

/// How a service is drawn, and called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It is acted on.
    Target,
    /// It is disturbed.
    Service,
    /// It is disturbed, and critical.
    Critical,
    /// The inventory does not know it: as good as critical.
    Unknown,
}

/// A service in the picture.
pub(super) struct Node {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) label: String,
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// Who needs whom.
pub(super) struct Edge {
    pub(super) from: (f64, f64),
    pub(super) to: (f64, f64),
    pub(super) unknown: bool,
}

impl Kind {
    pub(super) const fn glyph(self) -> &'static str {
        match self {
            Self::Target => "◉",
            Self::Service => "○",
            Self::Critical => "◆",
            Self::Unknown => "▢",
        }
    }

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Target => "acted on",
            Self::Service => "disturbed",
            Self::Critical => "critical",
            Self::Unknown => "unknown, counts as critical",
        }
    }

    pub(super) fn is_target(self) -> bool {
        self == Self::Target
    }

    pub(super) fn is_critical(self) -> bool {
        self == Self::Critical
    }

    pub(super) fn is_unknown(self) -> bool {
        self == Self::Unknown
    }
}

impl Blast {
    /// The blast radius that the decision was made from, with the graph of the inventory in force.
    pub(super) fn of(gate: &Gate, facts: &PlanFacts) -> Self {
        let (blast, inventory) = (&facts.first().blast, &gate.controls.inventory);
        let graph = reached(inventory, &gate.dependencies().dependencies, blast);
        let kind = |reached: &Reached| {
            if blast.unknown.contains(&reached.service) {
                Kind::Unknown
            } else if blast.critical.contains(&reached.service) {
                Kind::Critical
            } else if reached.depth == Some(0) {
                Kind::Target
            } else {
                Kind::Service
            }
        };
        let rows = graph.iter().map(|reached| row(gate, reached, kind(reached)));
        let picture = draw(&graph, kind);
        let cap = strictest(facts);
        let size = |set: usize| u64::try_from(set).unwrap_or(u64::MAX);
        let caps = vec![
            ("Targets", size(blast.targets.len()), u64::from(cap.targets)),
            ("Services", size(blast.services.len()), u64::from(cap.services)),
            ("Critical", size(blast.critical.len()), u64::from(cap.critical)),
            ("Environments", size(blast.environments.len()), u64::from(cap.environments)),
            ("Replicas, %", u64::from(blast.replica_share_percent), u64::from(cap.replica_share_percent)),
        ];
        let summary = format!(
            "The plan acts on {}. Services that it can disturb: {}. Critical or unknown among them: {}.",
            list(&blast.targets),
            list(&blast.services),
            list(&blast.critical)
        );
        Self {
            rows: rows.collect(),
            caps,
            summary,
            left_out: graph.len().saturating_sub(picture.nodes.len()),
            view_box: picture.view_box,
            nodes: picture.nodes,
            edges: picture.edges,
        }
    }
}

/// The strictest cap of all steps.
fn strictest(facts: &PlanFacts) -> BlastCap {
    let caps = facts.steps().map(|step| step.action.cap);
    caps.fold(facts.first().action.cap, |one, other| BlastCap {
        targets: one.targets.min(other.targets),
        services: one.services.min(other.services),
        critical: one.critical.min(other.critical),
        environments: one.environments.min(other.environments),
        replica_share_percent: one.replica_share_percent.min(other.replica_share_percent),
    })
}

fn row(gate: &Gate, reached: &Reached, kind: Kind) -> Row {
    let service = gate.controls.inventory.service(&reached.service);
    let how = match reached.depth {
        Some(0) if kind == Kind::Target => "a target of the plan is an instance of it".to_owned(),
        Some(0) => "a target of the plan is an instance of it, and it is critical".to_owned(),
        Some(_) => format!("needs {}", list(reached.through())),
        None => "no source of dependencies connects it to the targets any more".to_owned(),
    };
    Row {
        service: reached.service.to_string(),
        how,
        kind,
        environment: service.map_or_else(|| "unknown".to_owned(), |service| service.environment.to_string()),
        owner: service.map_or_else(|| "unknown".to_owned(), |service| service.owner.to_string()),
        criticality: service.map_or("unknown", |service| service.criticality.as_str()),
    }
}

struct Picture {
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    view_box: String,
}

/// The targets' services in the middle, and around them, ring by ring, whoever needs them.
fn draw(graph: &[Reached], kind: impl Fn(&Reached) -> Kind) -> Picture {
    let drawn = graph.get(..graph.len().min(MAX_DRAWN)).unwrap_or_default();
    let deepest = drawn.iter().filter_map(|reached| reached.depth).max().unwrap_or(0);
    // What is not connected any more stands outside of all rings.
    let ring = |reached: &Reached| reached.depth.unwrap_or_else(|| deepest.saturating_add(1));
    let mut sizes: BTreeMap<u32, u32> = BTreeMap::new();
    for reached in drawn {
        let size = sizes.entry(ring(reached)).or_default();
        *size = size.saturating_add(1);
    }
    let mut placed: BTreeMap<u32, u32> = BTreeMap::new();
    let mut places: BTreeMap<&Id<kind::Service>, (f64, f64)> = BTreeMap::new();
    let mut nodes = Vec::new();
    for reached in drawn {
        let at = ring(reached);
        let number = placed.entry(at).or_default();
        let (x, y) = place(at, *number, sizes.get(&at).copied().unwrap_or(1));
        *number = number.saturating_add(1);
        places.insert(&reached.service, (x, y));
        let name = reached.service.to_string();
        nodes.push(Node { x, y, label: label(&name), name, kind: kind(reached) });
    }
    let edges = drawn.iter().flat_map(|reached| {
        let unknown = kind(reached) == Kind::Unknown;
        reached.through().into_iter().filter_map({
            let places = &places;
            move |id| {
                let (from, to) = (places.get(id)?, places.get(&reached.service)?);
                Some(Edge { from: *from, to: *to, unknown })
            }
        })
    });
    let edges = edges.collect();
    let rings =
        f64::from(sizes.keys().copied().max().unwrap_or(0)).max(if sizes.len() > 1 { 1.0 } else { 0.4 });
    let (half_width, half_height) = (RING.0 * rings + 95.0, RING.1 * rings + 52.0);
    Picture {
        nodes,
        edges,
        view_box: format!(
            "{:.0} {:.0} {:.0} {:.0}",
            -half_width,
            -half_height,
            half_width * 2.0,
            half_height * 2.0
        ),
    }
}

/// A place on a ring. One alone in the middle is in the very middle; the first of an outer ring is at its right.
fn place(ring: u32, number: u32, size: u32) -> (f64, f64) {
    if ring == 0 && size == 1 {
        return (0.0, 0.0);
    }
    let radius = if ring == 0 { 0.35 } else { f64::from(ring) };
    let turn =
        std::f64::consts::TAU * (f64::from(number) / f64::from(size.max(1)) + f64::from(ring) * 0.07 - 0.12);
    let round = |value: f64| (value * 10.0).round() / 10.0;
    (round(RING.0 * radius * turn.cos()), round(RING.1 * radius * turn.sin()))
}

fn label(name: &str) -> String {
    if name.chars().count() <= MAX_LABEL {
        return name.to_owned();
    }
    let head: String = name.chars().take(MAX_LABEL.saturating_sub(1)).collect();
    format!("{head}…")
}
