//! Brakes: what holds a plan back whoever asks: a halt, a freeze, budgets, owed reviews, and control inputs that nobody approved.

use std::collections::BTreeSet;

use holdpoint_domain::{
    Id, Timestamp,
    action::Reversibility,
    blast::{self, Blast},
    change::Control,
    dependencies::Unread,
    facts::Brakes,
    halt::Halt,
    id::kind,
    limits::{Area, Footprint, InForce, MAX_WINDOW_MS, PastRun},
};

use crate::{
    dependencies::Snapshot,
    gate::Gate,
    projection::{RunFilter, RunRow},
    refusal::Refusal,
};

/// The brakes, and how many claims there were before they were counted: whoever claims on their word expects no other since.
pub(crate) struct Counted {
    pub(crate) brakes: Brakes,
    pub(crate) claims: u64,
}

/// Looks at everything that could hold a run back.
pub(crate) async fn gather(
    gate: &Gate,
    needs: &Snapshot,
    next: &Footprint,
    blast: &Blast,
    now: Timestamp,
) -> Result<Counted, Refusal> {
    let limits = &gate.controls.limits;
    // Before the runs: a claim that comes between is counted, and noticed.
    let claims = gate.ports.store.claims();
    // A deletion of the same incident counts beyond every window, whichever names the two have: it is looked for in all that the store
    // keeps at hand. One that named the very incident that this plan names is found however old it is.
    let since = if next.deletes.is_empty() { since(gate, now) } else { back(now, MAX_WINDOW_MS) };
    let filter = RunFilter { since: Some(since), incident: next.incident.clone(), owing: true };
    // Nothing that never was permitted has run: whoever only asks needs no look at the store.
    let runs = if claims == 0 { Vec::new() } else { gate.ports.store.runs(filter).await? };
    let runs: Vec<_> = runs.into_iter().map(|run| as_of_now(gate, needs, run, now)).collect();
    let past: Vec<PastRun<'_>> = runs.iter().map(RunRow::past).collect();
    let suspends = |run: &&RunRow| {
        run.suspends_at(now)
            && next.agents().any(|agent| run.footprint.agents().any(|other| other == agent))
            && !run.footprint.actions.is_disjoint(&next.actions)
    };
    let mut brakes = Brakes {
        halted: gate.halted().is_some(),
        suspended: runs.iter().any(|run| suspends(&run)),
        counterpart_deleted: limits.counterpart_deleted(next, &past, now, |one, other| {
            gate.controls.inventory.are_counterparts(one, other)
        }),
        input_refused: gate.has_refused_input(),
        dependencies_unread: gate.unread(needs, now),
        ..Brakes::OFF
    };
    limits.hold_back(next, blast, &past, now, &mut brakes);
    Ok(Counted { brakes, claims })
}

/// A run with the area that it has under the limits and dependencies of now, beside the one that it was claimed with: what it keeps
/// others out of grows with them and never shrinks. Those that keep nobody out any more stay as they are.
fn as_of_now(gate: &Gate, needs: &Snapshot, mut run: RunRow, now: Timestamp) -> RunRow {
    let controls = &gate.controls;
    let neighbourhood = controls.limits.neighbourhood();
    let span = neighbourhood.cool_down_ms.max(neighbourhood.soak_ms);
    let settles = |ended: Timestamp| ended.plus(span).is_ok_and(|until| now < until);
    let is_read_only = |action: &Id<kind::Action>| {
        let action = controls.catalogue.action(action);
        action.is_some_and(|action| action.reversibility == Reversibility::ReadOnly)
    };
    let keeps = run.state.is_running() || run.ended_at.is_some_and(settles);
    if !keeps || run.footprint.actions.iter().all(is_read_only) {
        return run;
    }
    let inventory = &controls.inventory;
    let of_targets = run.targets.iter().filter_map(|id| inventory.target(id));
    let direct: BTreeSet<_> = of_targets.map(|(_, service)| service.id.clone()).collect();
    let shares = inventory.sharing(&run.targets).into_keys().collect();
    let mut wider = match blast::radius(inventory, &needs.dependencies, &run.targets, &BTreeSet::new()) {
        Ok(blast) => neighbourhood.area(&needs.dependencies, &direct, shares, &blast),
        Err(_) => Area { everywhere: neighbourhood.apart, ..Area::default() },
    };
    wider.everywhere |= neighbourhood.apart && gate.unread(needs, now).is_some();
    run.footprint.area = run.footprint.area.with(wider);
    run
}

/// From when on runs matter to limits.
fn since(gate: &Gate, now: Timestamp) -> Timestamp {
    back(now, gate.controls.limits.horizon().ms())
}

fn back(now: Timestamp, ms: u64) -> Timestamp {
    Timestamp::from_ms(now.ms().saturating_sub(ms)).unwrap_or(now)
}

/// Everything that holds plans back now, whoever asks: for people who look. Error budgets are not in it: they are measured when
/// something is decided, on the targets that it is about.
#[derive(Debug, Clone)]
pub struct InForceNow {
    /// The halt.
    pub halt: Option<Halt>,
    /// Control inputs on disk that are not those in force.
    pub refused_inputs: BTreeSet<Control>,
    /// The source of dependencies whose reading is too old, or that has none.
    pub dependencies_unread: Option<Unread>,
    /// Runs for which T1 and T2 are suspended, until somebody answers their reviews.
    pub suspends: Vec<Suspension>,
    /// What limits hold back.
    pub limits: Vec<InForce>,
}

/// T1 and T2 are suspended for an agent and its actions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspension {
    /// The plan whose review is owed.
    pub plan: Id<kind::Plan>,
    /// The agents.
    pub agents: BTreeSet<Id<kind::Agent>>,
    /// The actions.
    pub actions: BTreeSet<Id<kind::Action>>,
}

/// What holds plans back now.
pub async fn in_force(gate: &Gate) -> Result<InForceNow, Refusal> {
    let now = gate.now();
    let filter = RunFilter { since: Some(since(gate, now)), incident: None, owing: true };
    let runs = gate.ports.store.runs(filter).await?;
    let needs = gate.dependencies();
    let runs: Vec<_> = runs.into_iter().map(|run| as_of_now(gate, &needs, run, now)).collect();
    let past: Vec<PastRun<'_>> = runs.iter().map(RunRow::past).collect();
    let suspension = |run: &RunRow| Suspension {
        plan: run.plan.clone(),
        agents: run.footprint.agents().cloned().collect(),
        actions: run.footprint.actions.clone(),
    };
    Ok(InForceNow {
        halt: gate.halted(),
        refused_inputs: gate.refused_inputs(),
        dependencies_unread: gate.unread(&needs, now),
        suspends: runs.iter().filter(|run| run.suspends_at(now)).map(suspension).collect(),
        limits: gate.controls.limits.in_force(&past, now),
    })
}
