//! What a gate that serves does again and again, beside each other: nothing waits for a probe, a backend or a disk that does not answer.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use holdpoint_adapters::probe::ServiceGraphs;
use holdpoint_app::{dependencies, halt, recover, revoke};
use holdpoint_domain::{Id, Millis, Timestamp, dependencies::ServiceGraph, id::kind};
use tokio::task::JoinHandle;

use crate::{
    service::{GateCell, Runner, Service},
    wiring::InForce,
};

/// The pause between two looks at what is due.
const TICK: Duration = Duration::from_millis(500);
/// The pause between two looks at the control inputs on disk.
const WATCH: Duration = Duration::from_secs(2);
/// The pause between two comparisons of lease backends with the ledger.
const GLEAN: Duration = Duration::from_secs(30);
/// The shortest time between two measurements of one deferred plan.
const REMEASURE: Millis = Millis::secs(5);
/// Most deferred plans that are measured beside each other.
const MEASURED_AT_ONCE: usize = 8;

/// The rounds of a gate.
pub(crate) struct Rounds {
    starting: [JoinHandle<()>; 2],
    settling: [JoinHandle<()>; 4],
}

impl Rounds {
    /// Goes round from now on.
    pub(crate) fn begin(
        service: &Arc<Service>,
        cell: &Arc<GateCell>,
        runner: &Runner,
        graphs: ServiceGraphs,
        in_force: Arc<InForce>,
    ) -> Self {
        Self {
            starting: [
                tokio::spawn(clockwork(Arc::clone(service), runner.clone())),
                tokio::spawn(remeasuring(Arc::clone(cell))),
            ],
            settling: [
                tokio::spawn(sweeping(Arc::clone(cell))),
                tokio::spawn(gleaning(Arc::clone(cell))),
                tokio::spawn(hearing(Arc::clone(cell), Arc::new(graphs))),
                tokio::spawn(watching(Arc::clone(cell), in_force)),
            ],
        }
    }

    /// Starts nothing any more.
    pub(crate) fn start_nothing(&self) {
        self.starting.iter().for_each(JoinHandle::abort);
    }

    /// Does nothing any more.
    pub(crate) fn end(&self) {
        self.start_nothing();
        self.settling.iter().for_each(JoinHandle::abort);
    }
}

/// Does what is due, and starts what has a permit, for ever.
async fn clockwork(service: Arc<Service>, runner: Runner) {
    loop {
        let gate = service.gate();
        if let Err(refusal) = halt::record_halt(&gate).await {
            tracing::error!("the gate's clockwork: {refusal}");
        }
        // Open runs first: whatever was interrupted is settled before anything new begins.
        match recover::unfinished(&gate).await {
            Ok(open) => open.into_iter().for_each(|plan| runner.resume(plan)),
            Err(refusal) => tracing::error!("the gate's clockwork: {refusal}"),
        }
        match recover::startable(&gate).await {
            Ok(startable) => startable.into_iter().for_each(|plan| runner.start(plan)),
            Err(refusal) => tracing::error!("the gate's clockwork: {refusal}"),
        }
        if let Err(refusal) = recover::due(&gate).await {
            tracing::error!("the gate's clockwork: {refusal}");
        }
        if let Err(refusal) = service.strangers.seal(&gate).await {
            tracing::error!("the gate's clockwork: {refusal}");
        }
        tokio::time::sleep(TICK).await;
    }
}

/// Measures deferred plans again when that is due, for ever: a few beside each other, each once at a time, and one that could not be
/// measured not before [`REMEASURE`] is over. A probe that does not answer keeps nothing else.
async fn remeasuring(cell: Arc<GateCell>) {
    let mut under_way: BTreeMap<Id<kind::Plan>, (Timestamp, JoinHandle<()>)> = BTreeMap::new();
    loop {
        let gate = cell.get();
        let now = gate.ports.clock.now();
        let waits = |since: Timestamp| since <= now && now.since(since) < REMEASURE;
        under_way.retain(|_, (since, task)| !task.is_finished() || waits(*since));
        let busy = under_way.values().filter(|(_, task)| !task.is_finished()).count();
        let due = recover::undecided(&gate).await.unwrap_or_else(|refusal| {
            tracing::error!("the measuring of deferred plans: {refusal}");
            Vec::new()
        });
        let due = due.into_iter().filter(|row| !under_way.contains_key(&row.id));
        for row in due.take(MEASURED_AT_ONCE.saturating_sub(busy)).collect::<Vec<_>>() {
            let (gate, id) = (Arc::clone(&gate), row.id.clone());
            let task = tokio::spawn(async move {
                if let Err(refusal) = recover::remeasure(&gate, &row).await {
                    tracing::warn!(plan = %row.id, "a deferred plan was not measured again: {refusal}");
                }
            });
            under_way.insert(id, (now, task));
        }
        drop(gate);
        tokio::time::sleep(TICK).await;
    }
}

/// Ends leases that are due, for ever. Each look is a task of its own: one that waits for a backend does not keep the next one
/// from ending the leases of another.
async fn sweeping(cell: Arc<GateCell>) {
    loop {
        let gate = cell.get();
        tokio::spawn(async move {
            if let Err(refusal) = revoke::sweep(&gate).await {
                tracing::error!("the sweep of leases: {refusal}");
            }
        });
        tokio::time::sleep(TICK).await;
    }
}

/// Ends what lease backends hold and the ledger does not know to be alive: at once after a start, and now and then.
async fn gleaning(cell: Arc<GateCell>) {
    loop {
        revoke::orphans(&cell.get()).await;
        tokio::time::sleep(GLEAN).await;
    }
}

/// Reads the service graphs of the inventory in force when they are due, for ever. One that hangs does not keep the others.
async fn hearing(cell: Arc<GateCell>, graphs: Arc<ServiceGraphs>) {
    let mut under_way: BTreeMap<Id<kind::Source>, (Timestamp, JoinHandle<()>)> = BTreeMap::new();
    loop {
        let gate = cell.get();
        let now = gate.ports.clock.now();
        for graph in gate.controls.inventory.service_graphs() {
            let waits = |(since, task): &(Timestamp, JoinHandle<()>)| {
                !task.is_finished() || (*since <= now && now.since(*since) < graph.every_ms)
            };
            if !under_way.get(&graph.source).is_some_and(waits) {
                let task = tokio::spawn(hear(Arc::clone(&cell), Arc::clone(&graphs), graph.clone()));
                under_way.insert(graph.source.clone(), (now, task));
            }
        }
        drop(gate);
        tokio::time::sleep(TICK).await;
    }
}

/// Reads a service graph once, and has decisions made with it from then on.
async fn hear(cell: Arc<GateCell>, graphs: Arc<ServiceGraphs>, graph: ServiceGraph) {
    let is_new = dependencies::is_new(&cell.get(), &graph);
    let (observed, at) = match graphs.read(&graph, is_new).await {
        Ok(read) => read,
        Err(why) => {
            tracing::warn!("service graph `{}` was not read: {why:?}", graph.source);
            return;
        }
    };
    // Making the index anew takes its time.
    let heard = tokio::task::spawn_blocking(move || {
        let gate = cell.get();
        if let Err(err) = dependencies::hear(&gate, &graph, observed, at) {
            tracing::warn!("service graph `{}` was read, and not taken: {err}", graph.source);
        }
        if let Err(err) = dependencies::settle(&gate) {
            tracing::error!("the index of dependencies: {err}");
        }
    });
    if let Err(err) = heard.await {
        tracing::error!("a service graph was not taken: {err}");
    }
}

/// Looks whether the control inputs on disk are those in force, for ever.
async fn watching(cell: Arc<GateCell>, in_force: Arc<InForce>) {
    loop {
        in_force.look_at_disk(&cell.get()).await;
        tokio::time::sleep(WATCH).await;
    }
}
