//! Who needs whom now: what was approved, and what service graphs show on top of it.
//!
//! A decision takes one [`Snapshot`] and looks at nothing else. Another reading makes another snapshot, which the next decision takes.
//! What was heard outlives a change of the control inputs, and not the process: until a source was read again, and with it what it showed
//! before, decisions are stricter.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use holdpoint_domain::{
    Id, Timestamp,
    dependencies::{
        Dependencies, DependenciesError, Heard, HeardError, Observed, ServiceGraph, Traffic, Unread,
    },
    graph::Scratch,
    id::kind,
    target::Inventory,
};

use crate::gate::Gate;

/// What all sources say at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Who needs whom.
    pub dependencies: Dependencies,
    /// What each service graph counts.
    pub traffic: BTreeMap<Id<kind::Source>, Traffic>,
}

/// What service graphs have said so far. The gates before and after a change share it.
#[derive(Debug, Default)]
pub(crate) struct AllHeard(Mutex<BTreeMap<Id<kind::Source>, (ServiceGraph, Heard)>>);

/// The newest snapshot under one inventory.
#[derive(Debug)]
pub(crate) struct Now {
    snapshot: RwLock<Arc<Snapshot>>,
    // Held by whoever makes the next snapshot of the last one.
    next: Mutex<()>,
}

/// A reading that was not taken. What was there before stays.
#[derive(Debug, thiserror::Error)]
pub enum HearError {
    /// It is none.
    #[error(transparent)]
    Heard(#[from] HeardError),
    /// It does not fit to the others.
    #[error(transparent)]
    Merged(#[from] DependenciesError),
    /// The inventory in force has no such service graph.
    #[error("the inventory in force does not name it")]
    Gone,
}

impl Now {
    /// The snapshot of an inventory, with what was heard of its service graphs.
    pub(crate) fn new(
        inventory: &Inventory,
        heard: &AllHeard,
        at: Timestamp,
    ) -> Result<Self, DependenciesError> {
        let heard = heard.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut dependencies, mut traffic) = (inventory.dependencies(at)?, BTreeMap::new());
        for graph in inventory.service_graphs() {
            // Whoever reads another address has heard nothing yet.
            let Some((_, known)) = heard.get(&graph.source).filter(|(of, _)| of == graph) else { continue };
            if let Some(reading) = known.reading(&graph.source)? {
                dependencies.read_again(reading, &mut Scratch::new())?;
                traffic.insert(graph.source.clone(), known.traffic().clone());
            }
        }
        let snapshot = RwLock::new(Arc::new(Snapshot { dependencies, traffic }));
        Ok(Self { snapshot, next: Mutex::default() })
    }

    fn get(&self) -> Arc<Snapshot> {
        // It is one value: whole at every point where a panic could happen.
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, next: Snapshot) {
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
    }
}

impl Gate {
    /// Who needs whom now. One decision takes it once.
    #[must_use]
    pub fn dependencies(&self) -> Arc<Snapshot> {
        self.needs().get()
    }

    /// The source of dependencies whose reading is too old, or that has none.
    #[must_use]
    pub fn unread(&self, snapshot: &Snapshot, now: Timestamp) -> Option<Unread> {
        Unread::first(&self.controls.inventory, &snapshot.dependencies, now)
    }
}

/// Whether nothing was heard of a service graph yet: its next observation has to say what was before it.
#[must_use]
pub fn is_new(gate: &Gate, graph: &ServiceGraph) -> bool {
    let all = gate.heard().0.lock().unwrap_or_else(PoisonError::into_inner);
    all.get(&graph.source).is_none_or(|(of, heard)| of != graph || heard.is_new())
}

/// Takes what was seen of a service graph of the inventory in force, at the time of what was seen. The next decision has it. May take
/// as long as making the graph anew where much differs: for a thread of its own.
pub fn hear(gate: &Gate, graph: &ServiceGraph, observed: Observed, at: Timestamp) -> Result<(), HearError> {
    if !gate.controls.inventory.service_graphs().contains(graph) {
        return Err(HearError::Gone);
    }
    let (reading, counted) = {
        let mut all = gate.heard().0.lock().unwrap_or_else(PoisonError::into_inner);
        let (of, heard) =
            all.entry(graph.source.clone()).or_insert_with(|| (graph.clone(), Heard::default()));
        if of != graph {
            (*of, *heard) = (graph.clone(), Heard::default());
        }
        heard.hear(observed, at, graph.keep_ms)?;
        (heard.reading(&graph.source)?, heard.traffic().clone())
    };
    let Some(reading) = reading else { return Ok(()) };
    let now = gate.needs();
    let _next = now.next.lock().unwrap_or_else(PoisonError::into_inner);
    let mut next = Snapshot::clone(&now.get());
    next.dependencies.read_again(reading, &mut Scratch::new())?;
    next.traffic.insert(graph.source.clone(), counted);
    now.set(next);
    Ok(())
}

/// Makes the index anew where changes made parts of it stale: answers are the same, and faster. Takes as long as making the graph: for a
/// thread in the background, while others read.
pub fn settle(gate: &Gate) -> Result<(), DependenciesError> {
    let now = gate.needs();
    let before = now.get();
    if before.dependencies.graph().stale() == Some(0) {
        return Ok(());
    }
    let dependencies = before.dependencies.rebuilt()?;
    let _next = now.next.lock().unwrap_or_else(PoisonError::into_inner);
    // Something newer has come meanwhile: it is settled the next time.
    if Arc::ptr_eq(&before, &now.get()) {
        now.set(Snapshot { dependencies, traffic: before.traffic.clone() });
    }
    Ok(())
}
