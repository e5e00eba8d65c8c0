//! The union of what sources say, made and kept up to date.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Dependencies, DependenciesError, MAX_SOURCES, Names, Reading, Said, reading::renumbered};
use crate::{
    Id,
    graph::{Edge, Graph, Indexing, MAX_EDGES, MAX_NODES, Scratch},
    id::kind,
    target::Criticality,
};

/// Most differences between two readings that are made one by one, at some milliseconds each; beyond that everything is made anew.
const MAX_CHANGES: usize = 256;

/// What another reading changed in the union.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Changed {
    /// Dependencies that no source named before.
    pub added: usize,
    /// Dependencies that no source names any more.
    pub removed: usize,
    /// Services that are critical now and were not, or the other way round.
    pub classes: usize,
}

impl Dependencies {
    /// Merges the last readings of all sources over the services of the inventory. What the inventory itself says about who needs
    /// whom is the reading of one of the sources.
    pub fn new(
        inventory: impl IntoIterator<Item = (Id<kind::Service>, Criticality)>,
        readings: impl IntoIterator<Item = Reading>,
        indexing: Indexing,
    ) -> Result<Self, DependenciesError> {
        let inventory: Vec<_> = inventory.into_iter().collect();
        let readings: Vec<Reading> = readings.into_iter().collect();
        if readings.len() > MAX_SOURCES {
            return Err(DependenciesError::Sources);
        }
        let lists = readings.iter().map(|reading| reading.names.as_slice());
        let mut sorted: Vec<Id<kind::Service>> = lists.flatten().cloned().collect();
        sorted.extend(inventory.iter().map(|(name, _)| name.clone()));
        // Stable, because it goes through sorted pieces quickly.
        sorted.sort();
        sorted.dedup();
        let nodes = u32::try_from(sorted.len()).unwrap_or(u32::MAX);
        if nodes > MAX_NODES {
            return Err(DependenciesError::Services);
        }
        let names = Names { sorted: Arc::new(sorted), later: Vec::new(), numbers: BTreeMap::new() };
        let mut classes: Vec<Option<Criticality>> = vec![None; nodes as usize];
        for (name, class) in inventory {
            if let Some(known) = names.number(&name).and_then(|node| classes.get_mut(node as usize)) {
                *known = (*known).max(Some(class));
            }
        }
        let mut sources = BTreeMap::new();
        for reading in readings {
            let source = reading.source.clone();
            let numbers: Vec<u32> =
                reading.names.iter().map(|name| names.number(name).unwrap_or(u32::MAX)).collect();
            if sources.insert(source.clone(), Arc::new(Said::of(reading, &numbers))).is_some() {
                return Err(DependenciesError::DuplicateSource(source));
            }
        }
        let edges = union(&sources)?;
        let mut merged =
            Self { names, inventory: Arc::new(classes), sources, graph: Graph::new(0, &[], [], indexing)? };
        let critical: Vec<u32> = (0..nodes).filter(|node| merged.is_critical(*node)).collect();
        merged.graph = Graph::new(nodes, &edges, critical, indexing)?;
        Ok(merged)
    }

    /// Takes a newer reading of a source, or the first one, instead of its last. What only the last one said is gone; whatever others
    /// say stays. Every answer has it at once. A reading that differs much has the index made anew, which takes seconds: that is for a
    /// copy, in the background. Refused readings change nothing.
    pub fn read_again(
        &mut self,
        reading: Reading,
        scratch: &mut Scratch,
    ) -> Result<Changed, DependenciesError> {
        let source = reading.source.clone();
        let last = self.sources.get(&source).cloned();
        if last.as_ref().is_some_and(|last| last.read_at > reading.read_at) {
            return Err(DependenciesError::Older(source));
        }
        if last.is_none() && self.sources.len() >= MAX_SOURCES {
            return Err(DependenciesError::Sources);
        }
        let mut next = self.clone();
        let numbers = next.take_names(&reading.names, last.as_deref())?;
        let said = Arc::new(Said::of(reading, &numbers));
        next.sources.insert(source, Arc::clone(&said));
        let none = Said { read_at: said.read_at, classes: Vec::new(), edges: Vec::new() };
        let last = last.as_deref().unwrap_or(&none);
        let differences = Differences::of(last, &said, &self.sources, &next.sources);
        let most = next.graph.edges().saturating_add(differences.added.len());
        if most > MAX_EDGES {
            return Err(DependenciesError::Dependencies);
        }
        let changed = next.apply(&differences, scratch)?;
        *self = next;
        Ok(changed)
    }

    /// The same with an index of its own and without names that nobody says any more. For a thread in the background.
    pub fn rebuilt(&self) -> Result<Self, DependenciesError> {
        Self::new(self.inventory(), self.readings(), self.graph.indexing())
    }

    /// The last reading of each source, for instance to merge them over another inventory.
    pub fn readings(&self) -> impl Iterator<Item = Reading> {
        self.sources.iter().map(|(source, said)| said.reading(source, &self.names))
    }

    /// The services of the inventory.
    pub fn inventory(&self) -> impl Iterator<Item = (Id<kind::Service>, Criticality)> {
        let known = self.names.sorted.iter().zip(self.inventory.iter());
        known.filter_map(|(name, class)| class.map(|class| (name.clone(), class)))
    }

    /// The nodes of names, which are sorted; makes nodes of those that are new. Most stand in the source's last reading, in the same
    /// order: going along it is much less than a search among all names for each.
    fn take_names(
        &mut self,
        names: &[Id<kind::Service>],
        last: Option<&Said>,
    ) -> Result<Vec<u32>, DependenciesError> {
        let sorted = Arc::clone(&self.names.sorted);
        let nodes = last.into_iter().flat_map(|said| &said.classes);
        let named = nodes.filter_map(|(node, _)| Some((*node, sorted.get(*node as usize)?)));
        let mut along = named.peekable();
        let mut numbers = Vec::with_capacity(names.len());
        for name in names {
            while along.next_if(|(_, before)| *before < name).is_some() {}
            let known = match along.peek() {
                Some((node, before)) if *before == name => Some(*node),
                Some(_) | None => self.names.number(name),
            };
            numbers.push(match known {
                Some(node) => node,
                None => self.take_name(name)?,
            });
        }
        Ok(numbers)
    }

    /// Makes a node of a name that the inventory does not know.
    fn take_name(&mut self, name: &Id<kind::Service>) -> Result<u32, DependenciesError> {
        let node = self.graph.add_node(true).map_err(|_| DependenciesError::Services)?;
        self.names.later.push(name.clone());
        self.names.numbers.insert(name.clone(), node);
        Ok(node)
    }

    fn apply(
        &mut self,
        differences: &Differences,
        scratch: &mut Scratch,
    ) -> Result<Changed, DependenciesError> {
        let mut changed =
            Changed { added: differences.added.len(), removed: differences.removed.len(), classes: 0 };
        let classes: Vec<(u32, bool)> = differences
            .classes
            .iter()
            .map(|node| (*node, self.is_critical(*node)))
            .filter(|(node, critical)| self.graph.is_critical(*node) != *critical)
            .collect();
        changed.classes = classes.len();
        let count = changed.added.saturating_add(changed.removed).saturating_add(changed.classes);
        if count > MAX_CHANGES {
            *self = self.rebuilt()?;
            return Ok(changed);
        }
        for edge in &differences.added {
            self.graph.add(*edge, scratch)?;
        }
        for edge in &differences.removed {
            self.graph.remove(*edge, scratch)?;
        }
        for (node, critical) in classes {
            self.graph.set_critical(node, critical, scratch)?;
        }
        Ok(changed)
    }

    fn is_critical(&self, node: u32) -> bool {
        self.class(node) == Some(Criticality::Critical)
    }
}

/// What differs between the unions before and after a reading.
struct Differences {
    added: Vec<Edge>,
    removed: Vec<Edge>,
    /// Nodes whose class may differ.
    classes: BTreeSet<u32>,
}

impl Differences {
    fn of(last: &Said, next: &Said, before: &Sources, after: &Sources) -> Self {
        // What stands in both readings differs in neither: most of it, and the others' edges are many more to search.
        let missing = |edges: &[Edge], other: &[Edge], sources: &Sources| -> Vec<Edge> {
            let said = |edge: &Edge| sources.values().any(|said| said.edges.binary_search(edge).is_ok());
            let differing = edges.iter().filter(|edge| other.binary_search(edge).is_err());
            differing.filter(|edge| !said(edge)).copied().collect()
        };
        let differ = |one: &Said, other: &Said| -> BTreeSet<u32> {
            let classes = one.classes.iter().filter(|(node, class)| other.class(*node) != *class);
            classes.map(|(node, _)| *node).collect()
        };
        Self {
            added: missing(&next.edges, &last.edges, before),
            removed: missing(&last.edges, &next.edges, after),
            classes: &differ(last, next) | &differ(next, last),
        }
    }
}

type Sources = BTreeMap<Id<kind::Source>, Arc<Said>>;

/// Every edge that any source names, once.
fn union(sources: &Sources) -> Result<Vec<Edge>, DependenciesError> {
    let total = sources.values().fold(0_usize, |total, said| total.saturating_add(said.edges.len()));
    let mut edges: Vec<Edge> = Vec::with_capacity(total);
    edges.extend(sources.values().flat_map(|said| said.edges.iter()));
    // Stable, because it goes through sorted pieces quickly.
    edges.sort();
    edges.dedup();
    if edges.len() > MAX_EDGES { Err(DependenciesError::Dependencies) } else { Ok(edges) }
}

impl Said {
    /// A reading whose names have these numbers, one for each.
    fn of(reading: Reading, numbers: &[u32]) -> Self {
        let mut classes: Vec<_> = numbers.iter().copied().zip(reading.classes).collect();
        classes.sort_unstable_by_key(|(node, _)| *node);
        Self { read_at: reading.read_at, classes, edges: renumbered(reading.edges, numbers) }
    }

    /// The reading again. Its own names are numbered anew.
    fn reading(&self, source: &Id<kind::Source>, names: &Names) -> Reading {
        let mut named: Vec<_> = self
            .classes
            .iter()
            .filter_map(|(node, class)| Some((names.name(*node)?.clone(), *node, *class)))
            .collect();
        named.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        let mut numbers: BTreeMap<u32, u32> = BTreeMap::new();
        let mut reading = Reading {
            source: source.clone(),
            read_at: self.read_at,
            names: Vec::with_capacity(named.len()),
            classes: Vec::with_capacity(named.len()),
            edges: Vec::new(),
        };
        for (position, (name, node, class)) in (0_u32..).zip(named) {
            numbers.insert(node, position);
            reading.names.push(name);
            reading.classes.push(class);
        }
        let number = |node: u32| numbers.get(&node).copied().unwrap_or(u32::MAX);
        let edges = self.edges.iter();
        reading.edges = edges
            .map(|edge| Edge { dependent: number(edge.dependent), on: number(edge.on), kind: edge.kind })
            .collect();
        reading.edges.sort_unstable();
        reading
    }
}
