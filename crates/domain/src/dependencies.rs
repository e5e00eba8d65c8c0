//! Who needs whom, by name: what several sources say, merged.
//!
//! *Merging is a union.* A source adds dependencies and raises classes; none deletes what another one says, and none lowers a class.
//! Whoever controls one source can make the blast radius look larger, never smaller than the others see it. A newer reading of the
//! *same* source replaces its older one: only what that source alone said is gone then, by its own word. A source that cannot be read
//! keeps its last reading, with the time at which it was read.
//!
//! The inventory says which services there are. A name that only others know is an unknown service, and counts as critical whatever
//! class anybody gives it.

mod heard;
mod merge;
mod reading;
mod service_graph;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    sync::Arc,
};

pub use heard::{Heard, HeardError, MAX_HEARD, Traffic};
pub use merge::Changed;
pub use reading::Reading;
pub use service_graph::{Declared, INVENTORY, Observed, ServiceGraph, Unread};

use crate::{
    Id, Timestamp,
    graph::{Count, Edge, EdgeKind, Graph, GraphError, Listed, MAX_EDGES, MAX_NODES, Reach, Scratch},
    id::{IdError, kind},
    target::Criticality,
};

/// Most sources: inventories, meshes, traces and clouds of one company.
pub const MAX_SOURCES: usize = 64;

/// That one service needs another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dependency {
    /// The service that needs the other.
    pub dependent: Id<kind::Service>,
    /// The service that is needed.
    pub on: Id<kind::Service>,
    /// How.
    pub kind: EdgeKind,
}

/// Sources that do not fit together, or a question about a service that nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DependenciesError {
    /// Too many names.
    #[error("expected at most {MAX_NODES} services in all sources, got more")]
    Services,
    /// Too many edges.
    #[error("expected at most {MAX_EDGES} dependencies in all sources, got more")]
    Dependencies,
    /// Too many sources.
    #[error("expected at most {MAX_SOURCES} sources of dependencies, got more")]
    Sources,
    /// One source twice.
    #[error("source `{0}` stands twice among the sources of dependencies")]
    DuplicateSource(Id<kind::Source>),
    /// A reading that is older than the one that is there.
    #[error("expected a reading of source `{0}` that is no older than its last one")]
    Older(Id<kind::Source>),
    /// A question about a service that neither the inventory nor any source knows: nobody knows what needs it.
    #[error("service `{0}` is known to no source of dependencies")]
    Unknown(Id<kind::Service>),
    /// A source whose name is none.
    #[error("the name of a source of dependencies is not one")]
    Name(#[from] IdError),
    /// The graph refuses it; names were numbered wrongly, which is our fault.
    #[error("the graph of dependencies refuses what was merged")]
    Graph(#[from] GraphError),
}

/// By whom an edge is known, and since when nothing newer was read from there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaidBy {
    /// The source.
    pub source: Id<kind::Source>,
    /// When it was read last.
    pub read_at: Timestamp,
}

/// A dependent by name, and one of the shortest ways to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReachedService {
    /// The dependent.
    pub service: Id<kind::Service>,
    /// The highest class that anybody gives it; critical if the inventory does not know it.
    pub criticality: Option<Criticality>,
    /// Whether the inventory knows it.
    pub known: bool,
    /// 1 where it needs one of the services that were asked for, 2 where it needs such a one, and so on.
    pub depth: u32,
    /// The service that it needs on this way; the first by name, if there are several.
    pub through: Id<kind::Service>,
    /// How it needs that one; the first kind, if there are several.
    pub kind: EdgeKind,
    /// Who says so, by the names of the sources.
    pub said_by: Vec<SaidBy>,
}

/// A dependent, and no more of it than a decision asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependent {
    /// The service.
    pub service: Id<kind::Service>,
    /// Whether anybody calls it critical, or the inventory does not know it.
    pub critical: bool,
    /// Whether the inventory knows it.
    pub known: bool,
}

/// A service that another one needs, and who says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// The service that is needed.
    pub on: Id<kind::Service>,
    /// How.
    pub kind: EdgeKind,
    /// By whom it is known, by the names of the sources.
    pub said_by: Vec<SaidBy>,
}

/// What all sources say together. A copy costs little until it is changed.
#[derive(Debug, Clone)]
pub struct Dependencies {
    names: Names,
    /// The inventory's class of each name that was there when this was made; nothing if it does not know the service.
    inventory: Arc<Vec<Option<Criticality>>>,
    // INVARIANT: the graph has exactly the union of the edges, and those nodes are critical that `is_critical` says.
    sources: BTreeMap<Id<kind::Source>, Arc<Said>>,
    graph: Graph,
}

/// The names of nodes.
#[derive(Debug, Clone)]
struct Names {
    // INVARIANT: sorted, each once. The node of a name is its position.
    sorted: Arc<Vec<Id<kind::Service>>>,
    /// Those that came later, in the order of their nodes.
    later: Vec<Id<kind::Service>>,
    numbers: BTreeMap<Id<kind::Service>, u32>,
}

/// The last reading of a source, in numbers.
#[derive(Debug)]
struct Said {
    read_at: Timestamp,
    // INVARIANT: both sorted, each once.
    classes: Vec<(u32, Option<Criticality>)>,
    edges: Vec<Edge>,
}

impl Dependencies {
    /// How many need one of `services`, at any distance; these are not counted themselves.
    pub fn count(
        &self,
        services: &[Id<kind::Service>],
        scratch: &mut Scratch,
    ) -> Result<Count, DependenciesError> {
        Ok(self.graph.count(&self.numbers(services)?, scratch)?)
    }

    /// Whether more than `at_most` need one of `services`. Never costs more than a search that stops there.
    pub fn more_than(
        &self,
        services: &[Id<kind::Service>],
        at_most: u32,
        scratch: &mut Scratch,
    ) -> Result<bool, DependenciesError> {
        Ok(self.graph.more_than(&self.numbers(services)?, at_most, scratch)?)
    }

    /// Those that need one of `services`, down to a depth: the nearest first, then by name.
    pub fn reached(
        &self,
        services: &[Id<kind::Service>],
        limit: usize,
        depth: u32,
        scratch: &mut Scratch,
    ) -> Result<Listed<ReachedService>, DependenciesError> {
        let mut listed = Vec::new();
        let stopped = self.levels(services, scratch, |level| {
            let room = limit.saturating_sub(listed.len());
            if level.first().is_some_and(|one| one.depth > depth) || room == 0 {
                return ControlFlow::Break(());
            }
            listed.extend(level.iter().take(room).filter_map(|one| self.named(*one)));
            if level.len() > room { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(Listed { listed, more: stopped.is_break() })
    }

    /// The critical ones among those that need one of `services`, unknown ones included: the nearest first, then by name.
    pub fn critical(
        &self,
        services: &[Id<kind::Service>],
        limit: usize,
        scratch: &mut Scratch,
    ) -> Result<Listed<Id<kind::Service>>, DependenciesError> {
        if self.names.later.is_empty() {
            // The numbers are in the order of names, and the graph knows when it has them all.
            let Listed { listed, more } = self.graph.critical(&self.numbers(services)?, limit, scratch)?;
            let listed = listed.into_iter().filter_map(|node| self.names.name(node).cloned());
            return Ok(Listed { listed: listed.collect(), more });
        }
        let mut listed = Vec::new();
        let stopped = self.levels(services, scratch, |level| {
            for one in level.iter().filter(|one| self.graph.is_critical(one.node)) {
                if listed.len() >= limit {
                    return ControlFlow::Break(());
                }
                listed.extend(self.names.name(one.node).cloned());
            }
            ControlFlow::Continue(())
        })?;
        Ok(Listed { listed, more: stopped.is_break() })
    }

    /// All that need one of `services`: the nearest first, then by name.
    pub fn dependents(
        &self,
        services: &[Id<kind::Service>],
        scratch: &mut Scratch,
    ) -> Result<Vec<Dependent>, DependenciesError> {
        let mut found = Vec::new();
        let _whole = self.levels(services, scratch, |level| {
            found.extend(level.iter().filter_map(|one| {
                Some(Dependent {
                    service: self.names.name(one.node)?.clone(),
                    critical: self.graph.is_critical(one.node),
                    known: self.in_inventory(one.node).is_some(),
                })
            }));
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    /// How far those of `among` that need one of `services` are away from it. Whoever is not there does not need any.
    pub fn depths(
        &self,
        services: &[Id<kind::Service>],
        among: &BTreeSet<Id<kind::Service>>,
        scratch: &mut Scratch,
    ) -> Result<BTreeMap<Id<kind::Service>, u32>, DependenciesError> {
        let mut depths = BTreeMap::new();
        let _stopped = self.levels(services, scratch, |level| {
            let named = level.iter().filter_map(|one| Some((self.names.name(one.node)?, one.depth)));
            depths.extend(
                named.filter(|(name, _)| among.contains(*name)).map(|(name, depth)| (name.clone(), depth)),
            );
            if depths.len() >= among.len() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(depths)
    }

    /// What a service itself needs of those whose distance is known, at most `limit`, and how many more: the nearest first, then by name
    /// and by kind.
    #[must_use]
    pub fn needs(
        &self,
        service: &Id<kind::Service>,
        distances: &BTreeMap<Id<kind::Service>, u32>,
        limit: usize,
    ) -> (Vec<Need>, usize) {
        let Some(dependent) = self.names.number(service) else { return (Vec::new(), 0) };
        let near = |edge: Edge| {
            let on = self.names.name(edge.on)?;
            Some((distances.get(on)?, on, edge.kind, edge))
        };
        let mut near: Vec<_> = self.graph.edges_of(dependent).filter_map(near).collect();
        near.sort_unstable();
        let more = near.len().saturating_sub(limit);
        let need = |(_, on, kind, edge): (_, &Id<kind::Service>, EdgeKind, Edge)| Need {
            on: on.clone(),
            kind,
            said_by: self.sources_of(edge),
        };
        (near.into_iter().take(limit).map(need).collect(), more)
    }

    /// When a source was read last; none where it never was.
    #[must_use]
    pub fn read_at(&self, source: &Id<kind::Source>) -> Option<Timestamp> {
        self.sources.get(source).map(|said| said.read_at)
    }

    /// The highest class that anybody gives a service; critical if the inventory does not know it, whoever else does or not.
    #[must_use]
    pub fn criticality(&self, service: &Id<kind::Service>) -> Option<Criticality> {
        self.names.number(service).map_or(Some(Criticality::Critical), |node| self.class(node))
    }

    /// Whether the inventory knows a service.
    #[must_use]
    pub fn is_known(&self, service: &Id<kind::Service>) -> bool {
        self.names.number(service).is_some_and(|node| self.in_inventory(node).is_some())
    }

    /// Who says that one service needs another in this way, by the names of the sources.
    #[must_use]
    pub fn said_by(&self, dependency: &Dependency) -> Vec<SaidBy> {
        let ends = (self.names.number(&dependency.dependent), self.names.number(&dependency.on));
        let (Some(dependent), Some(on)) = ends else { return Vec::new() };
        self.sources_of(Edge { dependent, on, kind: dependency.kind })
    }

    /// The sources, and when each was read last.
    pub fn sources(&self) -> impl Iterator<Item = SaidBy> {
        self.sources.iter().map(|(source, said)| SaidBy { source: source.clone(), read_at: said.read_at })
    }

    /// The graph of numbers below the names.
    #[must_use]
    pub const fn graph(&self) -> &Graph {
        &self.graph
    }

    /// [`Graph::levels`] with each level sorted by name.
    fn levels(
        &self,
        services: &[Id<kind::Service>],
        scratch: &mut Scratch,
        mut visit: impl FnMut(&[Reach]) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, DependenciesError> {
        let mut starts = self.numbers(services)?;
        starts.sort_unstable_by_key(|node| self.names.name(*node));
        Ok(self.graph.levels(&starts, scratch, |level| {
            // The numbers are in the order of names as long as none came later.
            if !self.names.later.is_empty() {
                level.sort_unstable_by_key(|one| self.names.name(one.node));
            }
            visit(level)
        })?)
    }

    fn named(&self, reach: Reach) -> Option<ReachedService> {
        let edge = Edge { dependent: reach.node, on: reach.through, kind: reach.kind };
        Some(ReachedService {
            service: self.names.name(reach.node)?.clone(),
            criticality: self.class(reach.node),
            known: self.in_inventory(reach.node).is_some(),
            depth: reach.depth,
            through: self.names.name(reach.through)?.clone(),
            kind: reach.kind,
            said_by: self.sources_of(edge),
        })
    }

    fn sources_of(&self, edge: Edge) -> Vec<SaidBy> {
        let saying = self.sources.iter().filter(|(_, said)| said.edges.binary_search(&edge).is_ok());
        saying.map(|(source, said)| SaidBy { source: source.clone(), read_at: said.read_at }).collect()
    }

    fn numbers(&self, services: &[Id<kind::Service>]) -> Result<Vec<u32>, DependenciesError> {
        let number = |name| self.names.number(name).ok_or_else(|| DependenciesError::Unknown(name.clone()));
        services.iter().map(number).collect()
    }

    fn in_inventory(&self, node: u32) -> Option<Criticality> {
        self.inventory.get(node as usize).copied().flatten()
    }

    /// The highest class that anybody gives a node.
    fn class(&self, node: u32) -> Option<Criticality> {
        let Some(class) = self.in_inventory(node) else { return Some(Criticality::Critical) };
        let others = self.sources.values().filter_map(|said| said.class(node));
        others.chain([class]).max()
    }
}

impl Names {
    fn number(&self, name: &Id<kind::Service>) -> Option<u32> {
        match self.sorted.binary_search(name) {
            Ok(at) => u32::try_from(at).ok(),
            Err(_) => self.numbers.get(name).copied(),
        }
    }

    fn name(&self, node: u32) -> Option<&Id<kind::Service>> {
        let node = node as usize;
        self.sorted.get(node).or_else(|| self.later.get(node.checked_sub(self.sorted.len())?))
    }
}

impl Said {
    fn class(&self, node: u32) -> Option<Criticality> {
        let at = self.classes.binary_search_by_key(&node, |(node, _)| *node).ok()?;
        self.classes.get(at).and_then(|(_, class)| *class)
    }
}

#[cfg(test)]
mod tests;
