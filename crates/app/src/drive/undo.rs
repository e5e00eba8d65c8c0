//! Undo: what did not help is taken back, step by step in reverse, and only where nobody else was at work since.

use holdpoint_domain::{
    Digest,
    action::UndoKind,
    actor::Actor,
    halt::Reach,
    record::{Body, DoubtWhy, FailWhy},
    trigger::SignedEvidence,
};

use super::{
    bench::{Bench, BenchStep},
    leases::{NoLeases, Purse, announced, least, mint},
    verify::{Soaked, Versions, soak},
};
use crate::{
    port::{ActedPhase, ExecuteError, Observation},
    refusal::{Refusal, internal},
    revoke,
    run::Run,
    view::PlanView,
};

/// Unwound → undoing: the step before the one that was undone is next.
pub(super) async fn next(bench: &Bench<'_>) -> Result<(), Refusal> {
    let undone = bench.view.undoing.ok_or_else(|| internal("unwound without a step"))?;
    let number = undone.checked_sub(1).ok_or_else(|| internal("there is no step before the first"))?;
    if bench.halted().is_some_and(|halt| halt.reach == Reach::Hard) {
        return bench.doubt(DoubtWhy::HaltedHard).await;
    }
    let why = why(bench).ok_or_else(|| internal("an undo without a reason"))?;
    bench.append(Actor::Gate, vec![bench.undoing(number, why)?]).await
}

/// Undoing → unwound, undone, undo failed or in doubt.
pub(super) async fn undo(bench: &Bench<'_>, run: &Run, purse: &mut Purse) -> Result<(), Refusal> {
    let number = bench.view.undoing.ok_or_else(|| internal("undoing without a step"))?;
    let step = bench.step(number)?;
    if bench.halted().is_some_and(|halt| halt.reach == Reach::Hard) {
        return bench.doubt(DoubtWhy::HaltedHard).await;
    }
    match bench.planned(number)?.undo {
        UndoKind::SelfHeals => match soak(bench, std::slice::from_ref(step), Versions::Any).await? {
            Soaked::Held(evidence) => undone(bench, number, step, evidence).await,
            Soaked::Changed | Soaked::Failed(..) => not_undone(bench, number, FailWhy::NotVerified).await,
            Soaked::Halted => bench.doubt(DoubtWhy::HaltedHard).await,
        },
        UndoKind::Compensate | UndoKind::None => not_undone(bench, number, FailWhy::NoUndo).await,
        UndoKind::Inverse
        | UndoKind::PreviousRevision
        | UndoKind::Snapshot
        | UndoKind::GitRevert
        | UndoKind::DeleteArtifact => put_back(bench, run, purse, number).await,
    }
}

async fn put_back(bench: &Bench<'_>, run: &Run, purse: &mut Purse, number: u32) -> Result<(), Refusal> {
    let (step, from): (_, Digest) = (bench.step(number)?, bench.left(number)?);
    let got = |seen: &Observation, phase| seen.acted.is_some_and(|acted| acted.is(bench.epoch, phase));
    let Some(seen) = bench.observe(step).await else { return bench.doubt(DoubtWhy::Unobservable).await };
    if got(&seen, ActedPhase::Undone) {
        return undone(bench, number, step, Vec::new()).await;
    }
    if seen.version != from {
        return bench.doubt(DoubtWhy::ChangedSince).await;
    }
    let now = bench.gate.now();
    let usable = bench.lease(purse, number)?.filter(|lease| now < lease.info.expires_at_ms);
    let Some(lease) = usable else { return rearm(bench, run, purse, number).await };
    // The last look: to see the target may have taken a while.
    if bench.halted().is_some_and(|halt| halt.reach == Reach::Hard) {
        return bench.doubt(DoubtWhy::HaltedHard).await;
    }
    let claim = bench.gate.ports.executor.undo(bench.work_at(run, number, lease)?, &from).await;
    if let Err(err) = &claim {
        tracing::warn!(plan = %run.view.id, "undo: {err}");
    }
    let Some(seen) = bench.observe(step).await else { return bench.doubt(DoubtWhy::Unobservable).await };
    if got(&seen, ActedPhase::Undone) {
        return undone(bench, number, step, Vec::new()).await;
    }
    if seen.version != from {
        return bench.doubt(DoubtWhy::OtherVersion).await;
    }
    match claim {
        Ok(()) | Err(ExecuteError::Refused(_) | ExecuteError::NotDone(_))
            if !got(&seen, ActedPhase::Begun) && bench.is_disarmed(purse).await? =>
        {
            not_undone(bench, number, FailWhy::NoEffect).await
        }
        Ok(()) | Err(_) => bench.doubt(DoubtWhy::MayStillHappen).await,
    }
}

/// After a restart, after a long soak, or when a person ended it, the old lease is dead or about to be; the same intent
/// authorises one for the undo. It is recorded before it is minted, as the first one was.
async fn rearm(bench: &Bench<'_>, run: &Run, purse: &mut Purse, number: u32) -> Result<(), Refusal> {
    purse.clear();
    revoke::leases_of(bench.gate, bench.view).await?;
    let owed = bench.view.plan.steps().iter().zip(0_u32..).filter(|(_, at)| *at <= number);
    let owed: Vec<_> = owed.map(|(step, _)| step.clone()).collect();
    let leases = match least(bench, run, &owed).await {
        Ok(leases) => leases,
        Err(NoLeases::Ours(refusal)) => return Err(refusal),
        Err(NoLeases::Not(why)) => {
            tracing::warn!(plan = %run.view.id, "no lease for the undo: {why}");
            return bench.undo_failed(FailWhy::NoLease).await;
        }
    };
    bench.append(Actor::Issuer, announced(&leases, |lease| Body::LeasedAgain { lease })).await?;
    if let Some(minted) = mint(bench, run, &leases).await {
        *purse = minted;
        return Ok(());
    }
    let view = PlanView::read(bench.gate.ports.store.as_ref(), &bench.view.id).await?;
    Bench { view: &view, ..bench.clone() }.undo_failed(FailWhy::NoLease).await
}

/// A step cannot be undone. The earlier ones are undone all the same: one step left changed is better than all of them.
async fn not_undone(bench: &Bench<'_>, number: u32, why: FailWhy) -> Result<(), Refusal> {
    if number == 0 {
        return bench.undo_failed(bench.view.not_undone.unwrap_or(why)).await;
    }
    bench.append(Actor::Gate, vec![Body::NotUndone { step: number, why }]).await
}

/// A step was undone, as the observer or a measurement saw.
async fn undone(
    bench: &Bench<'_>,
    number: u32,
    step: &BenchStep<'_>,
    evidence: Vec<SignedEvidence>,
) -> Result<(), Refusal> {
    let Some(seen) = bench.observe(step).await else { return bench.doubt(DoubtWhy::Unobservable).await };
    let version = seen.version;
    let bodies = match (number, bench.view.not_undone) {
        (0, None) => vec![Body::Undone { version }, bench.review()?],
        (0, Some(why)) => vec![Body::UndoFailed { why }, bench.review()?],
        _ => vec![Body::Unwound { step: number, version }],
    };
    bench.with_evidence(evidence, bodies).await
}

/// Why the run is being undone: what the first record of the undo says.
fn why(bench: &Bench<'_>) -> Option<FailWhy> {
    bench.view.records.iter().find_map(|(_, record)| {
        let Body::Undoing { why, .. } = record.body else { return None };
        Some(why)
    })
}
