//! What one source says, as it was read.

use std::collections::BTreeMap;

use super::{DependenciesError, Dependency};
use crate::{
    Id, Timestamp,
    graph::{Edge, MAX_EDGES, MAX_NODES},
    id::kind,
    target::Criticality,
};

/// What one source says at a time. Made before it is merged, since naming is most of the work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    pub(super) source: Id<kind::Source>,
    pub(super) read_at: Timestamp,
    // INVARIANT: names are sorted and stand once; classes are one for each; edges name positions of names, are sorted, stand once,
    // and none is from a service to itself.
    pub(super) names: Vec<Id<kind::Service>>,
    pub(super) classes: Vec<Option<Criticality>>,
    pub(super) edges: Vec<Edge>,
}

impl Reading {
    /// What `source` said at `read_at`: the services that it knows, with a class where it has one, and who needs whom. A service that
    /// stands in it twice has the higher class. That a service needs itself says nothing, and is left out.
    pub fn new(
        source: Id<kind::Source>,
        read_at: Timestamp,
        services: impl IntoIterator<Item = (Id<kind::Service>, Option<Criticality>)>,
        dependencies: impl IntoIterator<Item = Dependency>,
    ) -> Result<Self, DependenciesError> {
        let mut numbers: BTreeMap<Id<kind::Service>, (u32, Option<Criticality>)> = BTreeMap::new();
        let mut number = |name: Id<kind::Service>, class: Option<Criticality>| {
            let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
            let (number, known) = numbers.entry(name).or_insert((next, None));
            *known = (*known).max(class);
            if next > MAX_NODES { Err(DependenciesError::Services) } else { Ok(*number) }
        };
        for (name, class) in services {
            number(name, class)?;
        }
        let mut edges = Vec::new();
        for Dependency { dependent, on, kind } in dependencies {
            let edge = Edge { dependent: number(dependent, None)?, on: number(on, None)?, kind };
            if edge.dependent != edge.on {
                edges.push(edge);
            }
            if edges.len() > MAX_EDGES {
                return Err(DependenciesError::Dependencies);
            }
        }
        // From numbers in the order of their appearance to positions in the order of names.
        let mut positions = vec![0_u32; numbers.len()];
        let (mut names, mut classes) = (Vec::new(), Vec::new());
        for (position, (name, (number, class))) in (0_u32..).zip(numbers) {
            if let Some(place) = positions.get_mut(number as usize) {
                *place = position;
            }
            names.push(name);
            classes.push(class);
        }
        let edges = renumbered(edges, &positions);
        Ok(Self { source, read_at, names, classes, edges })
    }

    /// The source.
    #[must_use]
    pub const fn source(&self) -> &Id<kind::Source> {
        &self.source
    }

    /// When it was read.
    #[must_use]
    pub const fn read_at(&self) -> Timestamp {
        self.read_at
    }
}

/// The edges with other numbers for their nodes, sorted and each once.
pub(super) fn renumbered(mut edges: Vec<Edge>, numbers: &[u32]) -> Vec<Edge> {
    let number = |old: u32| numbers.get(old as usize).copied().unwrap_or(u32::MAX);
    for edge in &mut edges {
        *edge = Edge { dependent: number(edge.dependent), on: number(edge.on), kind: edge.kind };
    }
    edges.sort_unstable();
    edges.dedup();
    edges
}
