//! Every question beside a plain search, over random graphs and random changes of them.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "small numbers in a test"
)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

/// The slow reference: edges in a set, and a search that knows nothing else.
#[derive(Debug, Clone, Default)]
struct Plain {
    nodes: u32,
    edges: BTreeSet<Edge>,
    critical: BTreeSet<u32>,
}

impl Plain {
    fn graph(&self, hub: u32, workers: usize) -> Graph {
        let edges: Vec<Edge> = self.edges.iter().rev().copied().collect();
        let indexing = Indexing { hub, workers: NonZeroUsize::new(workers).unwrap() };
        Graph::new(self.nodes, &edges, self.critical.iter().copied(), indexing).unwrap()
    }

    /// How far each dependent is.
    fn depths(&self, starts: &[u32]) -> BTreeMap<u32, u32> {
        let mut depths: BTreeMap<u32, u32> = starts.iter().map(|start| (*start, 0)).collect();
        for depth in 1..=self.nodes {
            let last: BTreeSet<u32> =
                depths.iter().filter(|(_, at)| **at == depth - 1).map(|(node, _)| *node).collect();
            for edge in self.edges.iter().filter(|edge| last.contains(&edge.on)) {
                depths.entry(edge.dependent).or_insert(depth);
            }
        }
        depths.retain(|_, depth| *depth > 0);
        depths
    }

    fn listed(&self, starts: &[u32]) -> Vec<Reach> {
        let depths = self.depths(starts);
        let depth_of = |node: u32| if starts.contains(&node) { Some(0) } else { depths.get(&node).copied() };
        let mut listed: Vec<Reach> = Vec::new();
        for (node, depth) in &depths {
            let nearer = self
                .edges
                .iter()
                .filter(|edge| edge.dependent == *node && depth_of(edge.on) == Some(depth - 1));
            // From the starting nodes in the order in which they were named, from others in that of their numbers.
            let place = |on: u32| starts.iter().position(|start| *start == on).unwrap_or(on as usize);
            let by = nearer.min_by_key(|edge| (place(edge.on), edge.kind)).unwrap();
            listed.push(Reach { node: *node, depth: *depth, kind: by.kind, through: by.on });
        }
        listed.sort_by_key(|one| (one.depth, one.node));
        listed
    }
}

/// Asks everything, and compares.
fn check(graph: &Graph, plain: &Plain, starts: &[u32], bound: u32, scratch: &mut Scratch) {
    let listed = plain.listed(starts);
    let critical: Vec<u32> =
        listed.iter().map(|one| one.node).filter(|node| plain.critical.contains(node)).collect();
    let all = listed.len() as u32;
    let count = Count { all, critical: critical.len() as u32 };
    assert_eq!(graph.count(starts, scratch).unwrap(), count, "dependents of {starts:?}");
    for bound in [0, bound, all.saturating_sub(1), all, u32::MAX] {
        let more = graph.more_than(starts, bound, scratch).unwrap();
        assert_eq!(more, all > bound, "{starts:?} has {all}, more than {bound}?");
    }
    for limit in [0, bound as usize, listed.len(), usize::MAX] {
        let some = graph.reached(starts, limit, u32::MAX, scratch).unwrap();
        assert_eq!(some.listed, listed[..limit.min(listed.len())]);
        assert_eq!(some.more, limit < listed.len());
        let some = graph.critical(starts, limit, scratch).unwrap();
        assert_eq!(some.listed, critical[..limit.min(critical.len())]);
        assert_eq!(some.more, limit < critical.len());
    }
    for depth in 0..4 {
        let near: Vec<Reach> = listed.iter().filter(|one| one.depth <= depth).copied().collect();
        let some = graph.reached(starts, usize::MAX, depth, scratch).unwrap();
        assert_eq!((some.more, some.listed), (near.len() < listed.len(), near));
    }
}

fn check_everywhere(graph: &Graph, plain: &Plain, bound: u32) {
    let mut scratch = Scratch::new();
    assert_eq!((graph.nodes(), graph.edges()), (plain.nodes, plain.edges.len()));
    for node in 0..plain.nodes {
        assert_eq!(graph.is_critical(node), plain.critical.contains(&node));
        check(graph, plain, &[node], bound, &mut scratch);
    }
    let some: Vec<u32> = (0..plain.nodes).filter(|node| node % 3 == bound % 3).collect();
    check(graph, plain, &some, bound, &mut scratch);
    check(graph, plain, &[], bound, &mut scratch);
}

/// How edges are drawn from pairs of numbers.
#[derive(Debug, Clone, Copy)]
enum Shape {
    /// Any pair: cycles, and with many edges one giant component.
    Any,
    /// A dependent has a larger number: no cycles.
    Layered,
    /// A few are needed by most.
    Popular,
    /// Rings of five, and some edges between them.
    Rings,
}

impl Shape {
    fn edge(self, nodes: u32, (one, other, kind): (u32, u32, EdgeKind)) -> Edge {
        let (one, other) = (one % nodes, other % nodes);
        let (dependent, on) = match self {
            Self::Any => (one, other),
            Self::Layered => (one.max(other), one.min(other)),
            Self::Popular => (one, other * other / nodes / 4),
            Self::Rings if other % 4 > 0 => (one, (one / 5 * 5 + (one + 1) % 5).min(nodes - 1)),
            Self::Rings => (one, other),
        };
        Edge { dependent, on, kind }
    }
}

const MAX: u32 = 40;

fn a_pair() -> impl Strategy<Value = (u32, u32, EdgeKind)> {
    (0..1_000_u32, 0..1_000_u32, select(EdgeKind::ALL.to_vec()))
}

fn plains() -> impl Strategy<Value = (Shape, Plain)> {
    let shape = select(vec![Shape::Any, Shape::Layered, Shape::Popular, Shape::Rings]);
    (shape, 1..MAX, vec(a_pair(), 0..90), vec(0..MAX, 0..9)).prop_map(|(shape, nodes, pairs, critical)| {
        // An edge of a node to itself is given to the graph as well, which leaves it out.
        let edges = pairs.into_iter().map(|pair| shape.edge(nodes, pair)).collect();
        let critical = critical.into_iter().filter(|node| *node < nodes).collect();
        (shape, Plain { nodes, edges, critical })
    })
}

#[derive(Debug, Clone)]
enum Change {
    Add((u32, u32, EdgeKind)),
    /// The edge at this place of those that are there.
    Remove(usize),
    Critical(u32, bool),
    Node(bool),
    Rebuild,
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    vec(
        prop_oneof![
            4 => a_pair().prop_map(Change::Add),
            4 => any::<usize>().prop_map(Change::Remove),
            1 => (0..MAX, any::<bool>()).prop_map(|(node, critical)| Change::Critical(node, critical)),
            1 => any::<bool>().prop_map(Change::Node),
            1 => Just(Change::Rebuild),
        ],
        0..12,
    )
}

fn apply(change: &Change, shape: Shape, plain: &mut Plain, graph: &mut Graph, scratch: &mut Scratch) {
    match change {
        Change::Add(pair) => {
            let edge = shape.edge(plain.nodes, *pair);
            let new = edge.dependent != edge.on && plain.edges.insert(edge);
            assert_eq!(graph.add(edge, scratch).unwrap(), new);
        }
        Change::Remove(at) => {
            let Some(edge) = plain.edges.iter().nth(at % plain.edges.len().max(1)).copied() else { return };
            plain.edges.remove(&edge);
            assert!(graph.remove(edge, scratch).unwrap());
            assert!(!graph.remove(edge, scratch).unwrap());
        }
        Change::Critical(node, critical) => {
            let node = node % plain.nodes;
            let new = if *critical { plain.critical.insert(node) } else { plain.critical.remove(&node) };
            assert_eq!(graph.set_critical(node, *critical, scratch).unwrap(), new);
        }
        Change::Node(critical) => {
            let node = graph.add_node(*critical).unwrap();
            assert_eq!(node, plain.nodes);
            plain.nodes += 1;
            plain.critical.extend(critical.then_some(node));
        }
        Change::Rebuild => {
            *graph = graph.rebuilt().unwrap();
            assert_eq!(graph.stale(), Some(0));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_answer_is_that_of_a_plain_search((_, mut plain) in plains(), hub in 0..9_u32, workers in 1..3_usize, bound in 0..MAX) {
        let graph = plain.graph(hub, workers);
        plain.edges.retain(|edge| edge.dependent != edge.on);
        check_everywhere(&graph, &plain, bound);
    }

    #[test]
    fn every_answer_is_right_at_once_after_every_change(
        (shape, mut plain) in plains(), changes in changes(), hub in 0..5_u32, bound in 0..MAX
    ) {
        let mut graph = plain.graph(hub, 1);
        plain.edges.retain(|edge| edge.dependent != edge.on);
        let mut scratch = Scratch::new();
        for change in &changes {
            apply(change, shape, &mut plain, &mut graph, &mut scratch);
            for node in 0..plain.nodes {
                let listed = plain.depths(&[node]);
                let critical = listed.keys().filter(|node| plain.critical.contains(node)).count() as u32;
                let count = Count { all: listed.len() as u32, critical };
                prop_assert_eq!(graph.count(&[node], &mut scratch).unwrap(), count);
            }
        }
        check_everywhere(&graph, &plain, bound);
        let edges: Vec<_> = graph.all_edges().collect();
        prop_assert_eq!(edges.into_iter().collect::<BTreeSet<_>>(), plain.edges);
    }
}

fn edge(dependent: u32, on: u32) -> Edge {
    Edge { dependent, on, kind: EdgeKind::Needs }
}

fn graph(nodes: u32, edges: &[(u32, u32)], hub: u32) -> Graph {
    let edges: Vec<Edge> = edges.iter().map(|(dependent, on)| edge(*dependent, *on)).collect();
    Graph::new(nodes, &edges, [0], Indexing { hub, ..Indexing::default() }).unwrap()
}

fn all(graph: &Graph, node: u32) -> u32 {
    graph.count(&[node], &mut Scratch::new()).unwrap().all
}

/// Sweeps of several batches, with more than one row each, by one worker and by two.
#[test]
fn more_hubs_than_one_sweep_takes_are_counted_exactly() {
    let nodes = 5_000;
    // Two each on the next ones below: nearly everything is a hub with more than one dependent.
    let edges: Vec<Edge> = (2..nodes).flat_map(|node| [edge(node, node - 1), edge(node, node - 2)]).collect();
    for workers in [1, 2] {
        let indexing = Indexing { hub: 10, workers: NonZeroUsize::new(workers).unwrap() };
        let critical = (0..nodes).filter(|node| node % 10 == 0);
        let graph = Graph::new(nodes, &edges, critical, indexing).unwrap();
        for node in 1..nodes {
            let expected = Count { all: nodes - 1 - node, critical: (nodes - 1) / 10 - node / 10 };
            assert!(matches!(graph.fresh(node), Some(Known::Exactly(_))) || expected.all <= 10);
            assert_eq!(graph.count(&[node], &mut Scratch::new()).unwrap(), expected, "node {node}");
        }
    }
}

/// Where the index could not be made whole, answers are slower and the same.
#[test]
fn hubs_that_nobody_counted_are_searched() {
    let mut graph = graph(5, &[(1, 0), (2, 0), (3, 1), (3, 2), (4, 3)], 0);
    let counted: Vec<u32> = (0..5).map(|node| all(&graph, node)).collect();
    graph.known = Arc::new(vec![Known::Many; 5]);
    assert_eq!((0..5).map(|node| all(&graph, node)).collect::<Vec<_>>(), counted);
    assert!(graph.more_than(&[0], 3, &mut Scratch::new()).unwrap());
    assert!(!graph.more_than(&[0], 4, &mut Scratch::new()).unwrap());
    assert!(graph.critical(&[1], 9, &mut Scratch::new()).unwrap().listed.is_empty());
}

#[test]
fn a_cycle_is_reached_once_and_nobody_depends_on_itself() {
    for hub in [0, 100] {
        // 0 → 1 → 2 → 0 is a cycle, 3 needs 0 and itself, and 0 needs 4.
        let graph = graph(5, &[(0, 1), (1, 2), (2, 0), (3, 0), (3, 3), (0, 4)], hub);
        assert_eq!([0, 1, 2, 3, 4].map(|node| all(&graph, node)), [3, 3, 3, 0, 4]);
        let of_4 = graph.count(&[4], &mut Scratch::new()).unwrap();
        let of_0 = graph.count(&[0], &mut Scratch::new()).unwrap();
        assert_eq!((of_4.critical, of_0.critical), (1, 0), "the critical node 0 does not count for itself");
    }
}

#[test]
fn a_chain_of_a_hundred_thousand_needs_no_stack() {
    let nodes = 100_000;
    let edges: Vec<Edge> = (1..nodes).map(|node| edge(node, node - 1)).collect();
    let graph = Graph::new(nodes, &edges, [], Indexing::default()).unwrap();
    assert_eq!(all(&graph, 0), nodes - 1);
    assert_eq!(graph.fresh(0), Some(Known::Exactly(Count { all: nodes - 1, critical: 0 })));
}

#[test]
fn an_edge_to_what_depends_on_it_already_makes_nothing_stale() {
    let mut scratch = Scratch::new();
    let mut graph = graph(4, &[(1, 0), (2, 1), (3, 2)], 0);
    assert!(graph.add(edge(3, 0), &mut scratch).unwrap());
    assert!(graph.remove(edge(3, 0), &mut scratch).unwrap());
    assert_eq!(graph.stale(), Some(0));
    // Without its only way, 3 is lost to all three.
    assert!(graph.remove(edge(3, 2), &mut scratch).unwrap());
    assert_eq!(graph.stale(), Some(3));
    assert_eq!([0, 1, 2].map(|node| all(&graph, node)), [2, 1, 0]);
    assert_eq!(graph.rebuilt().unwrap().stale(), Some(0));
}

#[test]
fn a_copy_does_not_see_changes_of_the_original() {
    let mut original = graph(3, &[(1, 0)], 0);
    let copy = original.clone();
    assert!(original.add(edge(2, 1), &mut Scratch::new()).unwrap());
    assert_eq!((all(&original, 0), all(&copy, 0)), (2, 1));
}

#[test]
fn what_does_not_fit_or_is_not_there_is_refused() {
    let new = |nodes, edges: &[Edge], critical: Option<u32>| {
        Graph::new(nodes, edges, critical, Indexing::default()).map(|graph| graph.nodes())
    };
    assert_eq!(new(MAX_NODES + 1, &[], None), Err(GraphError::Nodes));
    assert_eq!(new(2, &[edge(0, 2)], None), Err(GraphError::Node { node: 2, nodes: 2 }));
    assert_eq!(new(2, &[edge(7, 0)], None), Err(GraphError::Node { node: 7, nodes: 2 }));
    assert_eq!(new(2, &[], Some(2)), Err(GraphError::Node { node: 2, nodes: 2 }));
    assert_eq!(new(0, &[], None), Ok(0));
    let mut graph = graph(2, &[(1, 0)], 0);
    let mut scratch = Scratch::new();
    let missing = GraphError::Node { node: 2, nodes: 2 };
    assert_eq!(graph.count(&[0, 2], &mut scratch), Err(missing.clone()));
    assert_eq!(graph.more_than(&[2], 0, &mut scratch), Err(missing.clone()));
    assert_eq!(graph.reached(&[2], 1, 1, &mut scratch), Err(missing.clone()));
    assert_eq!(graph.critical(&[2], 1, &mut scratch), Err(missing.clone()));
    assert_eq!(graph.add(edge(0, 2), &mut scratch), Err(missing.clone()));
    assert_eq!(graph.remove(edge(2, 0), &mut scratch), Err(missing.clone()));
    assert_eq!(graph.set_critical(2, true, &mut scratch), Err(missing));
    assert_eq!(MAX_NODES.checked_mul(4), Some(1 << 26), "a node and its kind fit into a link");
}

/// Beyond what is followed after a change, everything is stale, and right all the same.
#[test]
fn a_change_that_concerns_too_many_makes_everything_stale() {
    let nodes = 500_000;
    let edges: Vec<Edge> = (1..nodes).map(|node| edge(node, node - 1)).collect();
    let mut graph = Graph::new(nodes, &edges, [], Indexing::default()).unwrap();
    let mut scratch = Scratch::new();
    assert!(graph.remove(edge(nodes - 1, nodes - 2), &mut scratch).unwrap());
    assert_eq!(graph.stale(), None);
    assert_eq!(graph.count(&[0], &mut scratch).unwrap().all, nodes - 2);
    assert!(graph.more_than(&[0], nodes - 3, &mut scratch).unwrap());
    assert!(!graph.more_than(&[0], nodes - 2, &mut scratch).unwrap());
}

#[test]
fn the_words_of_kinds_are_those_of_json() {
    for kind in EdgeKind::ALL {
        assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{}\"", kind.as_str()));
        assert_eq!(
            (Link::new(MAX_NODES - 1, kind).kind(), Link::new(MAX_NODES - 1, kind).node()),
            (kind, MAX_NODES - 1)
        );
    }
}
