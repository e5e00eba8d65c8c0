//! Changes of a graph, visible at once.
//!
//! A change of the edge from `a` to `b` concerns whatever `b` depends on, and `b`: they gain or lose `a` and its dependents. Whatever
//! `a` depends on without that edge is not concerned: it has `a` and all of its dependents either way.

use super::{
    Edge, Graph, GraphError, MAX_EDGES, MAX_NODES,
    lists::{Bits, Link},
    search::{End, Scratch, below},
};

/// How many edges are followed to find out which hubs a change makes stale: some milliseconds. Beyond that all of them are.
const MAX_FOLLOWED: usize = 100_000;

impl Graph {
    /// Adds a node that needs nothing and that nobody needs; its number is the next one.
    pub fn add_node(&mut self, critical: bool) -> Result<u32, GraphError> {
        let node = self.nodes;
        if node >= MAX_NODES {
            return Err(GraphError::Nodes);
        }
        self.nodes = node.saturating_add(1);
        self.critical.set(node, critical);
        Ok(node)
    }

    /// Adds an edge; whether it was not there. From then on every answer has it.
    pub fn add(&mut self, edge: Edge, scratch: &mut Scratch) -> Result<bool, GraphError> {
        self.check(&[edge.dependent, edge.on])?;
        if self.edges >= MAX_EDGES {
            return Err(GraphError::Edges);
        }
        if edge.dependent == edge.on {
            return Ok(false);
        }
        // Before the edge is there: afterwards its dependent depends on everything that is concerned.
        if self.up.of(edge.on).binary_search(&Link::new(edge.dependent, edge.kind)).is_err() {
            self.make_stale(edge, scratch);
        }
        let added = self.up.add(edge.on, Link::new(edge.dependent, edge.kind));
        self.down.add(edge.dependent, Link::new(edge.on, edge.kind));
        self.edges = self.edges.saturating_add(usize::from(added));
        Ok(added)
    }

    /// Takes an edge out; whether it was there. From then on no answer has it.
    pub fn remove(&mut self, edge: Edge, scratch: &mut Scratch) -> Result<bool, GraphError> {
        self.check(&[edge.dependent, edge.on])?;
        let removed = self.up.remove(edge.on, Link::new(edge.dependent, edge.kind));
        self.down.remove(edge.dependent, Link::new(edge.on, edge.kind));
        if removed {
            self.edges = self.edges.saturating_sub(1);
            self.make_stale(edge, scratch);
        }
        Ok(removed)
    }

    /// Says whether a node is critical; whether that is new.
    pub fn set_critical(
        &mut self,
        node: u32,
        critical: bool,
        scratch: &mut Scratch,
    ) -> Result<bool, GraphError> {
        self.check(&[node])?;
        if self.critical.has(node) == critical {
            return Ok(false);
        }
        self.critical.set(node, critical);
        // What it depends on has it among its dependents.
        let Scratch { reached, queue, .. } = scratch;
        let end = below(&self.down, node, MAX_FOLLOWED, &Bits::default(), reached, queue);
        self.mark_stale(end, queue);
        Ok(true)
    }

    /// How many nodes are answered by a search that were not when the graph was made; nothing if all are.
    #[must_use]
    pub fn stale(&self) -> Option<u32> {
        (!self.all_stale).then(|| self.stale.count())
    }

    /// The same graph with an index of its own and nothing stale. Takes as long as making one: for a thread in the background. What
    /// is changed meanwhile has to be changed in the new one, too.
    pub fn rebuilt(&self) -> Result<Self, GraphError> {
        let edges: Vec<Edge> = self.all_edges().collect();
        let critical = (0..self.nodes).filter(|node| self.critical.has(*node));
        Self::new(self.nodes, &edges, critical, self.indexing)
    }

    /// The edges of those that need a node directly, by dependent and kind; none for a node that is not there.
    pub fn edges_on(&self, on: u32) -> impl Iterator<Item = Edge> {
        self.up.of(on).iter().map(move |link| Edge { dependent: link.node(), on, kind: link.kind() })
    }

    /// The edges of a node to those that it needs directly; none for a node that is not there.
    pub fn edges_of(&self, dependent: u32) -> impl Iterator<Item = Edge> {
        self.down.of(dependent).iter().map(move |link| Edge { dependent, on: link.node(), kind: link.kind() })
    }

    /// All edges, by what is needed, then by dependent and kind.
    pub fn all_edges(&self) -> impl Iterator<Item = Edge> {
        (0..self.nodes).flat_map(|on| self.edges_on(on))
    }

    /// Marks what a change of the edge concerns, while the graph does not have it.
    fn make_stale(&mut self, edge: Edge, scratch: &mut Scratch) {
        if self.all_stale {
            return;
        }
        let Scratch { except, reached, queue, .. } = scratch;
        // If this stops early, more than necessary becomes stale.
        let _ = below(&self.down, edge.dependent, MAX_FOLLOWED, &Bits::default(), except, queue);
        let end = below(&self.down, edge.on, MAX_FOLLOWED, except, reached, queue);
        self.mark_stale(end, queue);
    }

    fn mark_stale(&mut self, end: End, nodes: &[u32]) {
        match end {
            End::Whole => nodes.iter().for_each(|node| self.stale.set(*node, true)),
            End::Bound => {
                self.all_stale = true;
                self.stale.clear();
            }
        }
    }
}
