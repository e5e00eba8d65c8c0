//! Aftermath: what all services are like right before a run and when it is over, for the record.
//!
//! Nothing in here stops a run, undoes it, or keeps it waiting for longer than [`LIMIT`]: what cannot be measured is unknown, and
//! what cannot be recorded is missing. No decision reads any of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    pin::pin,
};

use futures_util::future::{Either, join, join_all, select};
use holdpoint_domain::{
    Digest, Id, Millis,
    action::Action,
    actor::Actor,
    aftermath::{Aftermath, Baseline, Before, Fate, MAX_BESIDE, Metered, TargetAfter},
    flow::State,
    id::kind,
    record::{Body, FailWhy, Record},
    target::Target,
    trigger::Why,
};

use crate::{
    gate::Gate,
    port::{PlanFilter, StoreError, Txn},
    refusal::Refusal,
    view::PlanView,
};

/// How long all that is measured may take together: the longest time limit of a signal, and a second.
const LIMIT: Millis = Millis::secs(6);
/// How often the record is appended again behind another one that came between.
const APPEND_TRIES: u32 = 5;
/// Most runs that are looked at after a restart, the newest ones.
const LOOK_BACK: u32 = 200;

/// What all services are like before a run; none where the operator has declared no signal, or where it is on record already.
pub(crate) async fn before(gate: &Gate, view: &PlanView) -> Option<Body> {
    let inventory = &gate.controls.inventory;
    if inventory.signals().is_empty() || view.baseline.is_some() {
        return None;
    }
    let (beside, more) = beside(gate, view);
    let (said, versions) = join(read(gate), join_all(beside.iter().map(|one| version(gate, *one)))).await;
    let signals = said.into_iter().filter_map(|said| {
        let signal = inventory.signals().iter().find(|signal| signal.id == said.signal)?;
        Some(Before { definition: signal.digest().ok()?, said })
    });
    let beside = beside.iter().map(|(_, target)| target.id.clone()).zip(versions).collect();
    let mut baseline = Baseline::new(signals.collect(), beside, &estimate(view), inventory);
    baseline.left_out = baseline.left_out.saturating_add(more);
    Some(Body::Baseline { baseline: Box::new(baseline) })
}

/// Measures again when a run is over, and records what came of it.
pub(crate) async fn after(gate: &Gate, view: &PlanView) {
    let Some(baseline) = owed(view) else { return };
    let signals = gate.controls.inventory.signals();
    let (after, targets) = join(read(gate), targets(gate, view, baseline)).await;
    let aftermath = Aftermath::new(signals, baseline, &after, &estimate(view), targets);
    if let Err(refusal) = record(gate, &view.id, aftermath).await {
        tracing::warn!(plan = %view.id, "what moved is not on record: {refusal}");
    }
}

/// A run that was picked up after an interruption is over: of it is said that nobody knows. To measure now would be to take what
/// happened meanwhile for what the run did.
pub(crate) async fn interrupted(gate: &Gate, view: &PlanView) {
    let Some(baseline) = owed(view) else { return };
    if let Err(refusal) = record(gate, &view.id, Aftermath::interrupted(baseline)).await {
        tracing::warn!(plan = %view.id, "that nobody knows what moved is not on record: {refusal}");
    }
}

/// After a restart: the same of runs that ended, and whose measurement is not on record. A plan that cannot be read or recorded
/// stands in the way of no other one.
pub async fn unmeasured(gate: &Gate) -> Result<(), Refusal> {
    let states = vec![
        State::Succeeded,
        State::Failed,
        State::Undone,
        State::UndoFailed,
        State::InDoubt,
        State::Resolved,
    ];
    let filter = PlanFilter { states, limit: LOOK_BACK, ..PlanFilter::default() };
    if gate.controls.inventory.signals().is_empty() {
        return Ok(());
    }
    for row in gate.ports.store.plans(filter).await? {
        match PlanView::read(gate.ports.store.as_ref(), &row.id).await {
            Ok(view) => interrupted(gate, &view).await,
            Err(refusal) => tracing::warn!(plan = %row.id, "what it did before the restart: {refusal}"),
        }
    }
    Ok(())
}

/// The baseline that nothing was compared with yet. Where no effect was begun, there is nothing to compare.
fn owed(view: &PlanView) -> Option<&Baseline> {
    let is_owed = view.aftermath.is_none() && view.has_begun();
    view.baseline.as_ref().filter(|_| is_owed)
}

/// The services that the decision named.
fn estimate(view: &PlanView) -> BTreeSet<Id<kind::Service>> {
    view.decided.as_ref().map(|(_, facts)| facts.first().blast.services.clone()).unwrap_or_default()
}

async fn record(gate: &Gate, plan: &Id<kind::Plan>, aftermath: Aftermath) -> Result<(), Refusal> {
    let store = gate.ports.store.as_ref();
    for _ in 0..APPEND_TRIES {
        let view = PlanView::read(store, plan).await?;
        if view.aftermath.is_some() {
            return Ok(());
        }
        let body = Body::Aftermath { aftermath: Box::new(aftermath.clone()) };
        let record = Record::new(gate.now(), Actor::Observer, Some(plan.clone()), body);
        let expect = Some((plan.clone(), view.last_index()));
        match store.append(Txn { records: vec![record], expect, ..Txn::default() }).await {
            Ok(_) => return Ok(()),
            // A review or the end of a lease came between, which moves nothing here.
            Err(StoreError::Conflict(_)) => {}
            Err(err) => return Err(err.into()),
        }
    }
    Err(StoreError::Conflict(plan.clone()).into())
}

/// Every signal, once: what is missing in the answer is unknown, and what was not asked for is dropped.
async fn read(gate: &Gate) -> Vec<Metered> {
    let inventory = &gate.controls.inventory;
    let said = within(gate, gate.ports.meter.read(inventory)).await;
    let missing = if said.is_some() { Why::NoData } else { Why::TimedOut };
    let mut said = said.unwrap_or_default();
    let one = |signal: &Id<kind::Signal>| match said.iter().position(|it| it.signal == *signal) {
        Some(at) => said.swap_remove(at),
        None => Metered::unknown(signal.clone(), missing),
    };
    inventory.signals().iter().map(|signal| &signal.id).map(one).collect()
}

/// What is acted on and what is beside it, with the action that says what a version is.
type Looked<'a> = (&'a Action, &'a Target);

/// The targets of a plan; those that the control inputs do not have any more are left out.
fn direct<'a>(gate: &'a Gate, view: &'a PlanView) -> Vec<(Looked<'a>, Digest)> {
    let found = view.plan.steps().iter().filter_map(|step| {
        let action = gate.controls.catalogue.action(&step.action)?;
        let (target, _) = gate.controls.inventory.target(&step.target)?;
        Some(((action, target), step.expected_version))
    });
    found.collect()
}

/// Replicas of the same services for the same executors that nobody acts on, and how many there are beyond what is looked at.
fn beside<'a>(gate: &'a Gate, view: &'a PlanView) -> (Vec<Looked<'a>>, u32) {
    let acted_on = view.plan.targets();
    let mut found: BTreeMap<&Id<kind::Target>, Looked<'a>> = BTreeMap::new();
    for ((action, target), _) in direct(gate, view) {
        let is_beside = |other: &&Target| {
            other.service == target.service
                && other.executor == target.executor
                && !acted_on.contains(&other.id)
        };
        for other in gate.controls.inventory.targets().filter(is_beside) {
            found.entry(&other.id).or_insert((action, other));
        }
    }
    let more = found.len().saturating_sub(MAX_BESIDE);
    (found.into_values().take(MAX_BESIDE).collect(), u32::try_from(more).unwrap_or(u32::MAX))
}

/// How the targets are, compared with how they were.
async fn targets(gate: &Gate, view: &PlanView, baseline: &Baseline) -> Vec<TargetAfter> {
    let began: BTreeSet<u32> = view
        .records
        .iter()
        .filter_map(|(_, record)| {
            let Body::Applying { step, .. } = record.body else { return None };
            Some(step)
        })
        .collect();
    // Where something was undone, stopped or lost, nobody expects another version than before.
    let was_to_change = view.state == State::Succeeded || view.failed == Some(FailWhy::NoEffect);
    let direct = direct(gate, view);
    let acted_on = direct.iter().zip(0_u32..).map(|((looked, before), step)| {
        let expected = was_to_change && began.contains(&step);
        (*looked, Some(*before), true, expected)
    });
    let (others, _) = beside(gate, view);
    let others = others.into_iter().filter_map(|looked| {
        let (_, target) = looked;
        baseline.beside.get(&target.id).map(|before| (looked, *before, false, false))
    });
    let all: Vec<_> = acted_on.chain(others).collect();
    let now = join_all(all.iter().map(|(looked, ..)| version(gate, *looked))).await;
    let one = |(((_, target), before, acted_on, expected), now): ((Looked<'_>, _, _, _), _)| TargetAfter {
        target: target.id.clone(),
        acted_on,
        expected,
        fate: fate(before, now),
    };
    all.into_iter().zip(now).map(one).collect()
}

fn fate(before: Option<Digest>, now: Option<Digest>) -> Fate {
    match (before, now) {
        (Some(before), Some(now)) if before == now => Fate::Same,
        (Some(_), Some(_)) => Fate::Changed,
        (None, _) | (_, None) => Fate::Unseen,
    }
}

/// The version of a target; none where it is not seen in time.
async fn version(gate: &Gate, (action, target): Looked<'_>) -> Option<Digest> {
    within(gate, gate.ports.observer.observe(action, target)).await?.ok().map(|seen| seen.version)
}

/// What comes of it in time.
async fn within<T>(gate: &Gate, what: impl Future<Output = T>) -> Option<T> {
    match select(pin!(what), gate.ports.clock.sleep(LIMIT)).await {
        Either::Left((done, _)) => Some(done),
        Either::Right(_) => None,
    }
}
