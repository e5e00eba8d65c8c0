//! Who needs whom, at the size of a large company: the dependents of a node among a million, exactly and at once.
//!
//! Nodes are numbers here; [`crate::dependencies`] gives them names. Edges stand in compressed lists, in both directions. Most nodes
//! have few dependents, and are answered by a search. A *hub* has so many that a search takes milliseconds: how many they are is
//! computed when the graph is made. A change of an edge is answered exactly at once: hubs whose dependents it changes are *stale*,
//! and are searched until [`Graph::rebuilt`] has made the graph anew. No answer is ever an estimate.
//!
//! The dependents of a node are all that need it, directly or through others. A node is no dependent of its own, also where it is in
//! a cycle; an edge from a node to itself says nothing and is left out.

mod change;
mod columns;
mod components;
mod hubs;
mod lists;
mod search;
mod side;
mod sweep;

use std::{num::NonZeroUsize, ops::ControlFlow, sync::Arc};

use serde::{Deserialize, Serialize};

use hubs::Known;
use lists::{Bits, Link, Lists, position};
pub use search::Scratch;
use search::{End, reach};
use side::Side;

/// Most nodes: more services than anybody has, and few enough for a node and a kind to fit into four bytes.
pub const MAX_NODES: u32 = 1 << 24;
/// Most edges: half a GiB in each direction.
pub const MAX_EDGES: usize = 1 << 27;
/// From how many dependents on a node is a hub, where nobody says otherwise: a search for so many takes some ten microseconds.
pub const DEFAULT_HUB: u32 = 2_000;

/// How one service needs another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EdgeKind {
    /// Somebody says that it needs it, and not how.
    Needs,
    /// It calls it and waits for the answer.
    Calls,
    /// It takes its messages from a queue, or sends them there.
    Messages,
    /// It keeps its data there.
    Data,
}

impl EdgeKind {
    /// All kinds, in their order.
    pub const ALL: [Self; 4] = [Self::Needs, Self::Calls, Self::Messages, Self::Data];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Needs => "needs",
            Self::Calls => "calls",
            Self::Messages => "messages",
            Self::Data => "data",
        }
    }
}

/// That one node needs another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Edge {
    /// The node that needs the other.
    pub dependent: u32,
    /// The node that is needed.
    pub on: u32,
    /// How.
    pub kind: EdgeKind,
}

/// How many dependents there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Count {
    /// All of them, without the nodes that were asked for.
    pub all: u32,
    /// The critical ones among them.
    pub critical: u32,
}

impl Count {
    const fn plus(self, other: Self) -> Self {
        Self {
            all: self.all.saturating_add(other.all),
            critical: self.critical.saturating_add(other.critical),
        }
    }

    /// Without one node, of which `critical` says whether it is critical.
    const fn without(self, critical: u32) -> Self {
        Self { all: self.all.saturating_sub(1), critical: self.critical.saturating_sub(critical) }
    }
}

/// A dependent, and one of the shortest ways to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// The dependent.
    pub node: u32,
    /// 1 where it needs one of the nodes that were asked for, 2 where it needs such a one, and so on.
    pub depth: u32,
    /// The kind of the last edge of the way. The first of them, in the order of [`EdgeKind`], if there are several.
    pub kind: EdgeKind,
    /// The node that it needs on this way.
    pub through: u32,
}

/// Some of the dependents, the nearest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// As many as were asked for, in an order that depends on nothing but the graph.
    pub listed: Vec<T>,
    /// Whether there are others.
    pub more: bool,
}

/// How the index of hubs is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Indexing {
    /// A node with more dependents than this is a hub. No answer depends on it, only how long the answer takes.
    pub hub: u32,
    /// How many threads make the index.
    pub workers: NonZeroUsize,
}

impl Default for Indexing {
    fn default() -> Self {
        Self { hub: DEFAULT_HUB, workers: NonZeroUsize::MIN }
    }
}

/// A graph that is none, or a question about a node that is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// Too many nodes.
    #[error("expected at most {MAX_NODES} services in the graph, got more")]
    Nodes,
    /// Too many edges.
    #[error("expected at most {MAX_EDGES} dependencies in the graph, got more")]
    Edges,
    /// A node that is not there.
    #[error("expected a node below {nodes}, got {node}")]
    Node {
        /// What was named.
        node: u32,
        /// How many there are.
        nodes: u32,
    },
}

/// Who needs whom. A copy shares what never changes, and costs little.
#[derive(Debug, Clone)]
pub struct Graph {
    // INVARIANT: both sides have the same edges; every node in them is below `nodes`; none has an edge to itself.
    /// The dependents of each node.
    up: Side,
    /// What each node depends on.
    down: Side,
    nodes: u32,
    edges: usize,
    critical: Bits,
    /// Of each node that was there when the graph was made.
    known: Arc<Vec<Known>>,
    // INVARIANT: a node whose count changed since the graph was made is stale.
    stale: Bits,
    all_stale: bool,
    indexing: Indexing,
}

impl Graph {
    /// A graph of nodes from 0 on. Edges may stand in it more than once; parallel ones of different kinds are kept apart.
    pub fn new(
        nodes: u32,
        edges: &[Edge],
        critical: impl IntoIterator<Item = u32>,
        indexing: Indexing,
    ) -> Result<Self, GraphError> {
        if nodes > MAX_NODES {
            return Err(GraphError::Nodes);
        }
        if edges.len() > MAX_EDGES {
            return Err(GraphError::Edges);
        }
        let check = |node: u32| if node < nodes { Ok(node) } else { Err(GraphError::Node { node, nodes }) };
        for edge in edges {
            check(edge.dependent)?;
            check(edge.on)?;
        }
        let mut is_critical = Bits::default();
        for node in critical {
            is_critical.set(check(node)?, true);
        }
        let others = || edges.iter().filter(|edge| edge.dependent != edge.on);
        let up = Lists::of_pairs(nodes as usize, || {
            others().map(|edge| (edge.on, Link::new(edge.dependent, edge.kind)))
        });
        let down = Lists::of_pairs(nodes as usize, || {
            others().map(|edge| (edge.dependent, Link::new(edge.on, edge.kind)))
        });
        let known = hubs::known(&up, &is_critical, indexing);
        Ok(Self {
            nodes,
            edges: up.items(),
            up: Side::new(up),
            down: Side::new(down),
            critical: is_critical,
            known: Arc::new(known),
            stale: Bits::default(),
            all_stale: false,
            indexing,
        })
    }

    /// How many nodes there are.
    #[must_use]
    pub const fn nodes(&self) -> u32 {
        self.nodes
    }

    /// How many different edges there are.
    #[must_use]
    pub const fn edges(&self) -> usize {
        self.edges
    }

    /// How the index is made.
    #[must_use]
    pub const fn indexing(&self) -> Indexing {
        self.indexing
    }

    /// Whether a node is critical.
    #[must_use]
    pub fn is_critical(&self, node: u32) -> bool {
        self.critical.has(node)
    }

    /// Bytes of memory that the graph and its index take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let known = self.known.capacity().saturating_mul(size_of::<Known>());
        [self.up.bytes(), self.down.bytes(), self.critical.bytes(), self.stale.bytes()]
            .into_iter()
            .fold(known, usize::saturating_add)
    }

    /// How many need one of `starts`, which are not counted themselves. Of one node: at once, or by a short search; by a whole one if
    /// it is a stale hub. Of several: by a search, for what they have in common counts once.
    pub fn count(&self, starts: &[u32], scratch: &mut Scratch) -> Result<Count, GraphError> {
        self.check(starts)?;
        if let [start] = starts
            && let Some(Known::Exactly(count)) = self.fresh(*start)
        {
            return Ok(count);
        }
        reach(&self.up, starts, usize::MAX, self.nodes, scratch);
        let others = scratch.reached();
        let critical = others.iter().filter(|node| self.critical.has(**node)).count();
        Ok(Count { all: position(others.len()), critical: position(critical) })
    }

    /// Whether more than `at_most` need one of `starts`, which are not counted themselves. Never costs more than a search that stops
    /// at the bound.
    pub fn more_than(&self, starts: &[u32], at_most: u32, scratch: &mut Scratch) -> Result<bool, GraphError> {
        self.check(starts)?;
        if let [start] = starts {
            match self.fresh(*start) {
                Some(Known::Exactly(count)) => return Ok(count.all > at_most),
                Some(Known::Few { at_least, .. }) if at_least > at_most => return Ok(true),
                Some(Known::Few { at_most: known, .. }) if known <= at_most => return Ok(false),
                Some(Known::Few { .. } | Known::Many) | None => {}
            }
        }
        Ok(reach(&self.up, starts, at_most as usize, self.nodes, scratch) == End::Bound)
    }

    /// The dependents of `starts` down to a depth, the nearest first and then by their numbers.
    pub fn reached(
        &self,
        starts: &[u32],
        limit: usize,
        depth: u32,
        scratch: &mut Scratch,
    ) -> Result<Listed<Reach>, GraphError> {
        let mut listed = Vec::new();
        let stopped = self.levels(starts, scratch, |level| {
            let room = limit.saturating_sub(listed.len());
            if level.first().is_some_and(|one| one.depth > depth) || room == 0 {
                return ControlFlow::Break(());
            }
            listed.extend(level.iter().take(room));
            if level.len() > room { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(Listed { listed, more: stopped.is_break() })
    }

    /// The critical dependents of `starts`, the nearest first and then by their numbers.
    pub fn critical(
        &self,
        starts: &[u32],
        limit: usize,
        scratch: &mut Scratch,
    ) -> Result<Listed<u32>, GraphError> {
        self.check(starts)?;
        let all = match starts {
            [start] => match self.fresh(*start) {
                Some(Known::Exactly(count)) => Some(count.critical as usize),
                Some(Known::Few { .. } | Known::Many) | None => None,
            },
            _ => None,
        };
        let mut listed = Vec::new();
        if all == Some(0) {
            return Ok(Listed { listed, more: false });
        }
        let mut more = false;
        let _ = self.levels(starts, scratch, |level| {
            for one in level.iter().filter(|one| self.critical.has(one.node)) {
                if listed.len() >= limit {
                    more = true;
                    return ControlFlow::Break(());
                }
                listed.push(one.node);
            }
            // Whoever knows how many there are need not look for others.
            if all == Some(listed.len()) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(Listed { listed, more })
    }

    /// Shows the dependents of `starts` level by level: first those that need one of them, and so on. A level is sorted by number;
    /// if `visit` sorts it otherwise, ways of equal length go through what then comes first.
    pub fn levels<B>(
        &self,
        starts: &[u32],
        scratch: &mut Scratch,
        mut visit: impl FnMut(&mut [Reach]) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, GraphError> {
        self.check(starts)?;
        scratch.begin(self.nodes);
        let mut level: Vec<u32> = starts.iter().copied().filter(|start| scratch.mark(*start)).collect();
        let mut depth = 0_u32;
        while !level.is_empty() {
            depth = depth.saturating_add(1);
            let mut next: Vec<Reach> = Vec::new();
            for through in level.iter().copied() {
                for link in self.up.of(through) {
                    if scratch.mark(link.node()) {
                        next.push(Reach { node: link.node(), depth, kind: link.kind(), through });
                    }
                }
            }
            next.sort_unstable_by_key(|one| one.node);
            if !next.is_empty()
                && let ControlFlow::Break(stopped) = visit(&mut next)
            {
                return Ok(ControlFlow::Break(stopped));
            }
            level = next.into_iter().map(|one| one.node).collect();
        }
        Ok(ControlFlow::Continue(()))
    }

    /// What is known of a node and still true.
    fn fresh(&self, node: u32) -> Option<Known> {
        let stale = self.all_stale || self.stale.has(node);
        self.known.get(node as usize).copied().filter(|_| !stale)
    }

    fn check(&self, nodes: &[u32]) -> Result<(), GraphError> {
        match nodes.iter().find(|node| **node >= self.nodes) {
            Some(node) => Err(GraphError::Node { node: *node, nodes: self.nodes }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
