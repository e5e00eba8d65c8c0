//! Brakes: what holds a plan back whoever asks: a halt, a freeze, budgets, owed reviews, and control inputs that nobody approved.

use holdpoint_domain::{
    Timestamp,
    blast::Blast,
    facts::Brakes,
    limits::{Footprint, PastRun},
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
    let since = Timestamp::from_ms(now.ms().saturating_sub(limits.horizon().ms())).unwrap_or(now);
    let filter = RunFilter { since: Some(since), incident: next.incident.clone(), owing: true };
    // Nothing that never was permitted has run: whoever only asks needs no look at the store.
    let runs = if claims == 0 { Vec::new() } else { gate.ports.store.runs(filter).await? };
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
