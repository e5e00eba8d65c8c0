//! Drive: from an open run to its end. A loop over the plan's recorded state, so that recovery takes the same path.
//!
//! The steps of a plan are applied in order, each after its own record; the result is verified over all of them, and what did not
//! help is undone in reverse.

mod bench;
mod leases;
mod undo;
mod verify;

use holdpoint_domain::{
    actor::Actor,
    flow::State,
    halt::Reach,
    lease::Lease,
    record::{Body, DoubtWhy, FailWhy},
};

use self::{
    bench::{Bench, append},
    leases::{NoLeases, Purse, announced, least, mint},
};
use crate::{
    aftermath,
    gate::Gate,
    gather,
    port::{ActedPhase, ExecuteError},
    refusal::{Refusal, internal},
    requester,
    review::owe,
    revoke,
    run::{Run, executor, reopen},
    view::PlanView,
};

/// Drives a run until it has ended or is in doubt, and ends its leases. Returns the plan as it is then: what moved is still to be
/// recorded, by whoever knows whether the run was interrupted. If they stop before, `recover::unmeasured` says that nobody knows.
pub(crate) async fn to_the_end(gate: &Gate, mut run: Run) -> Result<PlanView, Refusal> {
    let mut purse = Purse::new();
    while !ended(run.view.state) {
        step(gate, &run, &mut purse).await?;
        run = reopen(gate, &run.view.id).await?;
    }
    // The end of the task is the end of its credentials. If we stop here, `recover` and `tick` revoke what is still alive.
    revoke::leases_of(gate, &run.view).await?;
    Ok(run.view)
}

const fn ended(state: State) -> bool {
    matches!(
        state,
        State::Succeeded
            | State::Failed
            | State::Undone
            | State::UndoFailed
            | State::InDoubt
            | State::Resolved
    )
}

async fn step(gate: &Gate, run: &Run, purse: &mut Purse) -> Result<(), Refusal> {
    let Some(bench) = Bench::of(gate, run) else { return lost(gate, &run.view).await };
    match run.view.state {
        State::Claimed => announce(&bench, run).await,
        State::Leased => rehearse(&bench, run, purse).await,
        State::Rehearsed | State::Stepped => begin(&bench).await,
        State::Applying => apply(&bench, run, purse).await,
        State::Applied => verify::verify(&bench).await,
        State::Undoing => undo::undo(&bench, run, purse).await,
        State::Unwound => undo::next(&bench).await,
        State::New
        | State::Proposed
        | State::Deferred
        | State::Denied
        | State::Held
        | State::Rejected
        | State::Expired
        | State::Void
        | State::Allowed
        | State::Permitted
        | State::Succeeded
        | State::Failed
        | State::Undone
        | State::UndoFailed
        | State::InDoubt
        | State::Resolved => Err(internal(format!("a run in state `{}` cannot be driven", run.view.state))),
    }
}

/// The control inputs do not have an action or a target any more, so nobody can look.
async fn lost(gate: &Gate, view: &PlanView) -> Result<(), Refusal> {
    let bodies = if matches!(view.state, State::Claimed | State::Leased | State::Rehearsed) {
        std::iter::once(Body::Failed { why: FailWhy::Interrupted }).chain(owe(gate, view)?).collect()
    } else {
        vec![Body::InDoubt { why: DoubtWhy::Unobservable }]
    };
    append(gate, view, Actor::Gate, bodies).await
}

/// Claimed → leased. The leases are recorded before any is minted: whatever an issuer has made by the time we stop, its id is
/// in the ledger, and `recover` ends it.
async fn announce(bench: &Bench<'_>, run: &Run) -> Result<(), Refusal> {
    if bench.halted().is_some() {
        return bench.fail(FailWhy::Halted).await;
    }
    // Before there is a credential, so that no measurement takes from its time. The next round leases.
    if let Some(baseline) = aftermath::before(bench.gate, &run.view).await {
        return bench.append(Actor::Observer, vec![baseline]).await;
    }
    match least(bench, run, run.view.plan.steps()).await {
        Ok(leases) => bench.append(Actor::Issuer, announced(&leases, |lease| Body::Leased { lease })).await,
        Err(NoLeases::Ours(refusal)) => Err(refusal),
        Err(NoLeases::Not(why)) => {
            tracing::warn!(plan = %run.view.id, "no lease: {why}");
            bench.fail(FailWhy::NoLease).await
        }
    }
}

/// Leased → rehearsed: the leases are minted for the permit and the receipt of its intent; then the dry run of each step and of
/// its undo, and a measurement of what must not get worse.
async fn rehearse(bench: &Bench<'_>, run: &Run, purse: &mut Purse) -> Result<(), Refusal> {
    if bench.halted().is_some() {
        return bench.fail(FailWhy::Halted).await;
    }
    *purse = match mint(bench, run, bench.announced()?).await {
        Some(minted) => minted,
        None => return bench.fail(FailWhy::NoLease).await,
    };
    for (step, number) in (0..bench.steps.len()).zip(0_u32..) {
        let Some(lease) = bench.lease(purse, number)? else { return bench.fail(FailWhy::NoLease).await };
        if let Err(err) = bench.gate.ports.executor.rehearse(bench.work(run, step, lease)).await {
            tracing::warn!(plan = %run.view.id, step, "rehearsal: {err}");
            let why = match err {
                ExecuteError::Refused(_) => FailWhy::Refused,
                ExecuteError::NotDone(_) | ExecuteError::Unknown(_) => FailWhy::Rehearsal,
            };
            return bench.fail(why).await;
        }
    }
    let mut bodies = Vec::new();
    for step in &bench.steps {
        for guard in &step.action.guards {
            let condition = bench.condition(guard)?;
            let evidence = Box::new(gather::measure(bench.gate, condition, step.target).await?);
            bodies.push(Body::Measured { evidence });
        }
    }
    let steps = u32::try_from(bench.steps.len()).map_err(internal)?;
    bodies.push(Body::Rehearsed { steps });
    bench.append(executor(run.permit.grant()), bodies).await
}

/// Rehearsed or stepped → applying: nothing brakes, the target is still as it was, and the effect is announced before it
/// begins.
async fn begin(bench: &Bench<'_>) -> Result<(), Refusal> {
    let number = bench.view.applied();
    let expected = bench.planned(number)?.expected_version;
    if let Some(halt) = bench.halted() {
        return bench.stop(FailWhy::Halted, Some(halt.reach)).await;
    }
    // Other limits, pins or a policy than the run began under: what is still to come must be judged by those in force.
    if bench.gate.ports.store.active_inputs() != Some(bench.gate.inputs) {
        return bench.stop(FailWhy::Braked, None).await;
    }
    // Whoever asked may have left since it began: their registration can end without a change.
    if !requester::is_there(bench.gate, bench.view.plan.requester()) {
        return bench.stop(FailWhy::Braked, None).await;
    }
    let now = bench.gate.now();
    let frozen = bench.gate.controls.limits.freeze(&bench.environments(), now).is_some();
    if frozen && !bench.view.plan.requester().is_emergency() {
        return bench.stop(FailWhy::Braked, None).await;
    }
    match bench.observe(bench.step(number)?).await {
        Some(seen) if seen.version == expected => {
            bench.append(Actor::Gate, vec![Body::Applying { step: number, before: expected }]).await
        }
        Some(_) | None => bench.stop(FailWhy::Version, None).await,
    }
}

/// Applying → stepped, applied, failed, undoing or in doubt. What the executor says is a claim; what the observer sees decides.
///
/// Without a lease this is a recovery: the executor is not asked again, and the target itself tells what happened, once the
/// lease that it may still be using is dead.
async fn apply(bench: &Bench<'_>, run: &Run, purse: &[Lease]) -> Result<(), Refusal> {
    let number = bench.view.applied();
    let (step, before) = (bench.step(number)?, bench.planned(number)?.expected_version);
    let claim = match bench.lease(purse, number)? {
        // The last look: nothing was touched yet, so a halt leaves nothing to undo in this step.
        Some(_) if bench.halted().is_some() => {
            let reach = bench.halted().map(|halt| halt.reach);
            return bench.stop(FailWhy::Halted, reach).await;
        }
        Some(lease) => Some(bench.gate.ports.executor.apply(bench.work_at(run, number, lease)?).await),
        None => {
            revoke::leases_of(bench.gate, bench.view).await?;
            None
        }
    };
    if let Some(Err(err)) = &claim {
        tracing::warn!(plan = %run.view.id, "apply: {err}");
    }
    let Some(seen) = bench.observe(step).await else { return bench.doubt(DoubtWhy::Unobservable).await };
    let ours = seen.acted.filter(|acted| acted.is(bench.epoch, ActedPhase::Applied));
    if let Some(after) = ours.and_then(|acted| acted.left) {
        // The version that our effect left, not the one that is there now: if somebody changed the target since, the
        // verification sees it, and no undo overwrites their work.
        let last = bench.steps.len() == usize::try_from(number).map_err(internal)?.saturating_add(1);
        return bench.append(Actor::Observer, vec![Body::Applied { step: number, after, last }]).await;
    }
    if seen.version != before {
        return bench.doubt(DoubtWhy::OtherVersion).await;
    }
    if seen.acted.is_some_and(|acted| acted.epoch == bench.epoch) {
        // It began: the target knows better than whoever says that nothing was touched.
        return bench.doubt(DoubtWhy::MayStillHappen).await;
    }
    match claim {
        // Nothing is under way any more: the target is exactly as it was.
        Some(Err(ExecuteError::Refused(_))) => bench.stop(FailWhy::Refused, None).await,
        Some(Ok(()) | Err(ExecuteError::NotDone(_))) => bench.stop(FailWhy::NoEffect, None).await,
        // Nothing can come any more: whoever wanted to act has no credential.
        None if bench.is_disarmed(&[]).await? => bench.stop(FailWhy::Interrupted, None).await,
        Some(Err(ExecuteError::Unknown(_))) | None => bench.doubt(DoubtWhy::MayStillHappen).await,
    }
}

impl Bench<'_> {
    /// Ends the run before the step at hand has an effect: it fails where nothing was applied, and what was applied is undone,
    /// unless a hard halt forbids that too.
    async fn stop(&self, why: FailWhy, halt: Option<Reach>) -> Result<(), Refusal> {
        let applied = self.view.applied();
        match applied.checked_sub(1) {
            None => self.fail(why).await,
            Some(_) if halt == Some(Reach::Hard) => self.doubt(DoubtWhy::HaltedHard).await,
            Some(last) => self.append(Actor::Gate, vec![self.undoing(last, why)?]).await,
        }
    }
}
