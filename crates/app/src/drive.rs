//! Drive: from an open run to its end. A loop over the plan's recorded state, so that recovery takes the same path.

use holdpoint_domain::{
    Digest, Id, Tier,
    action::{Action, UndoKind},
    actor::Actor,
    flow::State,
    id::kind,
    lease::{Lease, LeaseInfo, MAX_LEASE_MS},
    record::{Body, DoubtWhy, FailWhy, Record},
    target::{Service, Target},
    trigger::{SignedEvidence, Truth},
};

use crate::{
    gate::{Gate, after},
    gather,
    port::{ActedPhase, ExecuteError, Observation, StoreError, Txn, Work},
    refusal::{Refusal, internal},
    revoke,
    run::{Run, reopen},
    view::PlanView,
};

/// How often a target that cannot be observed is asked again before the run is in doubt.
const OBSERVE_TRIES: u32 = 5;
/// How often a record is appended again behind a revocation that came between.
const APPEND_TRIES: u32 = 5;

/// Drives a run until it has ended or is in doubt, and ends its leases.
pub(crate) async fn to_the_end(gate: &Gate, mut run: Run) -> Result<State, Refusal> {
    let mut lease = None;
    while !ended(run.view.state) {
        step(gate, &run, &mut lease).await?;
        run = reopen(gate, &run.view.id).await?;
    }
    // The end of the task is the end of its credentials. If we stop here, `recover` and `tick` revoke what is still alive.
    revoke::leases_of(gate, &run.view).await?;
    Ok(run.view.state)
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

/// What a run works on: looked up once a step.
#[derive(Clone, Copy)]
struct Bench<'a> {
    gate: &'a Gate,
    view: &'a PlanView,
    action: &'a Action,
    target: &'a Target,
    service: &'a Service,
    epoch: u64,
}

async fn step(gate: &Gate, run: &Run, lease: &mut Option<Lease>) -> Result<(), Refusal> {
    let step = run.view.step()?;
    // The agent is not asked for: whoever takes it out of the registry must not stop the undo of what it began.
    let found = (gate.controls.catalogue.action(&step.action), gate.controls.inventory.target(&step.target));
    let (Some(action), Some((target, service))) = found else { return lost(gate, &run.view).await };
    let bench = Bench { gate, view: &run.view, action, target, service, epoch: run.permit.grant().epoch };
    match run.view.state {
        State::Claimed => announce(&bench, run).await,
        State::Leased => rehearse(&bench, run, lease).await,
        State::Rehearsed => begin(&bench).await,
        State::Applying => apply(&bench, run, lease.as_ref()).await,
        State::Applied => verify(&bench).await,
        State::Undoing => undo(&bench, run, lease).await,
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

/// The control inputs do not have the action or the target any more, so nobody can look.
async fn lost(gate: &Gate, view: &PlanView) -> Result<(), Refusal> {
    let body = if matches!(view.state, State::Applying | State::Applied | State::Undoing) {
        Body::InDoubt { why: DoubtWhy::Unobservable }
    } else {
        Body::Failed { why: FailWhy::Interrupted }
    };
    append(gate, view, Actor::Gate, vec![body]).await
}

/// Claimed → leased. The lease is recorded before it is minted: whatever the issuer has made by the time we stop, its id is
/// in the ledger, and `recover` ends it.
async fn announce(bench: &Bench<'_>, run: &Run) -> Result<(), Refusal> {
    let lease = least(bench, run)?;
    bench.append(Actor::Issuer, vec![Body::Leased { lease }]).await
}

/// Leased → rehearsed: the lease is minted for the permit and the receipt of its intent; then the dry run of the step and of
/// its undo.
async fn rehearse(bench: &Bench<'_>, run: &Run, lease: &mut Option<Lease>) -> Result<(), Refusal> {
    let info = bench.view.leases.last().ok_or_else(|| internal("leased without a lease"))?;
    let minted = match mint(bench, run, info).await {
        // If we stop before this returns, `recover` ends the lease by its recorded id.
        Some(minted) => lease.insert(minted),
        None => return bench.fail(FailWhy::NoLease).await,
    };
    match bench.gate.ports.executor.rehearse(bench.work(run, minted)).await {
        Ok(()) => bench.append(bench.executor(run), vec![Body::Rehearsed { step: 0 }]).await,
        Err(err) => {
            tracing::warn!(plan = %run.view.id, "rehearsal: {err}");
            let why = match err {
                ExecuteError::Refused(_) => FailWhy::Refused,
                ExecuteError::NotDone(_) | ExecuteError::Unknown(_) => FailWhy::Rehearsal,
            };
            bench.fail(why).await
        }
    }
}

/// Mints a lease that the ledger announced, or says why there is none.
async fn mint(bench: &Bench<'_>, run: &Run, info: &LeaseInfo) -> Option<Lease> {
    let issuer = &bench.gate.ports.issuer;
    match issuer.issue(info.clone(), &run.permit, &run.receipt, &run.view.plan).await {
        Ok(minted) => Some(minted),
        Err(err) => {
            tracing::warn!(plan = %run.view.id, "no lease: {err}");
            None
        }
    }
}

/// Rehearsed → applying: the target is still as it was, and the effect is announced before it begins.
async fn begin(bench: &Bench<'_>) -> Result<(), Refusal> {
    let expected = bench.view.step()?.expected_version;
    match bench.observe().await {
        Some(seen) if seen.version == expected => {
            bench.append(Actor::Gate, vec![Body::Applying { step: 0, before: expected }]).await
        }
        Some(_) | None => bench.fail(FailWhy::Version).await,
    }
}

/// Applying → applied, failed or in doubt. What the executor says is a claim; what the observer sees decides.
///
/// Without a lease this is a recovery: the executor is not asked again, and the target itself tells what happened, once the
/// lease that it may still be using is dead.
async fn apply(bench: &Bench<'_>, run: &Run, lease: Option<&Lease>) -> Result<(), Refusal> {
    let before = bench.view.step()?.expected_version;
    let claim = match lease {
        Some(lease) => Some(bench.gate.ports.executor.apply(bench.work(run, lease)).await),
        None => {
            revoke::leases_of(bench.gate, bench.view).await?;
            None
        }
    };
    if let Some(Err(err)) = &claim {
        tracing::warn!(plan = %run.view.id, "apply: {err}");
    }
    let Some(seen) = bench.observe().await else { return bench.doubt(DoubtWhy::Unobservable).await };
    let ours = seen.acted.filter(|acted| acted.is(bench.epoch, ActedPhase::Applied));
    if let Some(after) = ours.and_then(|acted| acted.left) {
        // The version that our effect left, not the one that is there now: if somebody changed the target since, the
        // verification sees it, and no undo overwrites their work.
        return bench.append(Actor::Observer, vec![Body::Applied { step: 0, after }]).await;
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
        Some(Err(ExecuteError::Refused(_))) => bench.fail(FailWhy::Refused).await,
        Some(Ok(()) | Err(ExecuteError::NotDone(_))) => bench.fail(FailWhy::NoEffect).await,
        // Nothing can come any more: whoever wanted to act has no credential.
        None if bench.is_disarmed(None).await? => bench.fail(FailWhy::Interrupted).await,
        Some(Err(ExecuteError::Unknown(_))) | None => bench.doubt(DoubtWhy::MayStillHappen).await,
    }
}

/// Applied → succeeded, or → undoing. The condition must hold without a break for the soak time, on the version that our
/// effect left.
async fn verify(bench: &Bench<'_>) -> Result<(), Refusal> {
    let left = bench.view.after.ok_or_else(|| internal("applied without a version"))?;
    match bench.soak(Some(left)).await? {
        Soaked::Held(evidence) => bench.succeed(&evidence).await,
        Soaked::Changed => bench.doubt(DoubtWhy::ChangedSince).await,
        Soaked::Failed(evidence) => {
            let bodies = [Body::Undoing { step: 0, from: left }];
            bench.with_evidence(evidence, bodies.into()).await
        }
    }
}

/// Undoing → undone, undo failed or in doubt.
async fn undo(bench: &Bench<'_>, run: &Run, lease: &mut Option<Lease>) -> Result<(), Refusal> {
    let from = bench.view.after.ok_or_else(|| internal("undoing without a version"))?;
    match bench.view.step()?.undo {
        UndoKind::SelfHeals => match bench.soak(None).await? {
            Soaked::Held(evidence) => bench.undone(Some(evidence)).await,
            Soaked::Changed | Soaked::Failed(_) => bench.undo_failed(FailWhy::NotVerified).await,
        },
        UndoKind::Compensate | UndoKind::None => bench.undo_failed(FailWhy::NoUndo).await,
        UndoKind::Inverse
        | UndoKind::PreviousRevision
        | UndoKind::Snapshot
        | UndoKind::GitRevert
        | UndoKind::DeleteArtifact => put_back(bench, run, lease, &from).await,
    }
}

async fn put_back(
    bench: &Bench<'_>,
    run: &Run,
    lease: &mut Option<Lease>,
    from: &Digest,
) -> Result<(), Refusal> {
    let got = |seen: &Observation, phase| seen.acted.is_some_and(|acted| acted.is(bench.epoch, phase));
    let Some(seen) = bench.observe().await else { return bench.doubt(DoubtWhy::Unobservable).await };
    if got(&seen, ActedPhase::Undone) {
        return bench.undone(None).await;
    }
    if seen.version != *from {
        return bench.doubt(DoubtWhy::ChangedSince).await;
    }
    let now = bench.gate.now();
    let Some(lease) = lease.as_ref().filter(|lease| now < lease.info.expires_at_ms) else {
        return rearm(bench, run, lease).await;
    };
    let claim = bench.gate.ports.executor.undo(bench.work(run, lease), from).await;
    if let Err(err) = &claim {
        tracing::warn!(plan = %run.view.id, "undo: {err}");
    }
    let Some(seen) = bench.observe().await else { return bench.doubt(DoubtWhy::Unobservable).await };
    if got(&seen, ActedPhase::Undone) {
        return bench.undone(None).await;
    }
    if seen.version != *from {
        return bench.doubt(DoubtWhy::OtherVersion).await;
    }
    match claim {
        Ok(()) | Err(ExecuteError::Refused(_) | ExecuteError::NotDone(_))
            if !got(&seen, ActedPhase::Begun) && bench.is_disarmed(Some(lease)).await? =>
        {
            bench.undo_failed(FailWhy::NoEffect).await
        }
        Ok(()) | Err(_) => bench.doubt(DoubtWhy::MayStillHappen).await,
    }
}

/// After a restart, or after a long soak, the old lease is dead or about to be; the same intent authorises one for the undo.
/// It is recorded before it is minted, as the first one was.
async fn rearm(bench: &Bench<'_>, run: &Run, lease: &mut Option<Lease>) -> Result<(), Refusal> {
    revoke::leases_of(bench.gate, bench.view).await?;
    let info = least(bench, run)?;
    bench.append(Actor::Issuer, vec![Body::LeasedAgain { lease: info.clone() }]).await?;
    *lease = mint(bench, run, &info).await;
    if lease.is_some() {
        return Ok(());
    }
    let view = PlanView::read(bench.gate.ports.store.as_ref(), &bench.view.id).await?;
    Bench { view: &view, ..*bench }.undo_failed(FailWhy::NoLease).await
}

fn least(bench: &Bench<'_>, run: &Run) -> Result<LeaseInfo, Refusal> {
    let ttl = holdpoint_domain::Millis::new(MAX_LEASE_MS).map_err(internal)?;
    LeaseInfo::least(bench.gate.fresh("lease")?, &run.permit, &run.view.plan, ttl, bench.gate.now())
        .map_err(internal)
}

/// What came of a soak.
enum Soaked {
    Held(SignedEvidence),
    Failed(SignedEvidence),
    Changed,
}

impl Bench<'_> {
    fn work<'w>(&'w self, run: &'w Run, lease: &'w Lease) -> Work<'w> {
        Work { jws: run.permit.jws(), plan: &self.view.plan, step: 0, lease }
    }

    fn executor(&self, run: &Run) -> Actor {
        Actor::Executor { executor: run.permit.grant().executor.clone() }
    }

    /// The target as it is, or none when it cannot be seen for a while.
    async fn observe(&self) -> Option<Observation> {
        for _ in 0..OBSERVE_TRIES {
            match self.gate.ports.observer.observe(self.action, self.target).await {
                Ok(seen) => return Some(seen),
                Err(err) => tracing::warn!(plan = %self.view.id, "observe: {err}"),
            }
            self.gate.ports.clock.sleep(self.gate.settings.verify_every_ms).await;
        }
        None
    }

    /// Measures the action's verification until it has held for the soak time, the settle time is over, or the target is
    /// not in `version` any more.
    async fn soak(&self, version: Option<Digest>) -> Result<Soaked, Refusal> {
        let condition = self.gate.controls.catalogue.condition(&self.action.verify);
        let condition = condition.ok_or_else(|| internal("an action without a verification"))?;
        let clock = &self.gate.ports.clock;
        let began = clock.elapsed().ms();
        let spent = |from: u64| clock.elapsed().ms().saturating_sub(from);
        let mut holding_since = None;
        loop {
            let evidence = gather::measure(self.gate, condition, self.target).await?;
            let seen = match version {
                Some(_) => self.observe().await.map(|seen| seen.version),
                None => None,
            };
            if seen.is_some() && seen != version {
                return Ok(Soaked::Changed);
            }
            // A target that cannot be seen does not hold: nobody could say on which version.
            if evidence.evidence.agreement.truth == Truth::Holds && seen == version {
                let since = *holding_since.get_or_insert_with(|| clock.elapsed().ms());
                if spent(since) >= self.action.soak_ms.ms() {
                    return Ok(Soaked::Held(evidence));
                }
            } else {
                holding_since = None;
            }
            let limit = self.action.settle_ms.ms().saturating_add(self.action.soak_ms.ms());
            if spent(began) > limit {
                return Ok(Soaked::Failed(evidence));
            }
            clock.sleep(self.gate.settings.verify_every_ms.min(self.action.soak_ms.max(MIN_PAUSE))).await;
        }
    }

    async fn succeed(&self, evidence: &SignedEvidence) -> Result<(), Refusal> {
        let digest = evidence.evidence.digest()?;
        let mut bodies = vec![Body::Succeeded { evidence: digest }];
        bodies.extend(self.review()?);
        self.with_evidence(evidence.clone(), bodies).await
    }

    async fn undone(&self, evidence: Option<SignedEvidence>) -> Result<(), Refusal> {
        let Some(seen) = self.observe().await else { return self.doubt(DoubtWhy::Unobservable).await };
        let mut bodies = vec![Body::Undone { version: seen.version }];
        bodies.extend(self.review()?);
        match evidence {
            Some(evidence) => self.with_evidence(evidence, bodies).await,
            None => self.append(Actor::Observer, bodies).await,
        }
    }

    async fn undo_failed(&self, why: FailWhy) -> Result<(), Refusal> {
        let mut bodies = vec![Body::UndoFailed { why }];
        bodies.extend(self.review()?);
        self.append(Actor::Gate, bodies).await
    }

    async fn fail(&self, why: FailWhy) -> Result<(), Refusal> {
        let mut bodies = vec![Body::Failed { why }];
        bodies.extend(self.review()?);
        self.append(Actor::Gate, bodies).await
    }

    async fn doubt(&self, why: DoubtWhy) -> Result<(), Refusal> {
        self.append(Actor::Gate, vec![Body::InDoubt { why }]).await
    }

    /// A run without a person before it owes a look afterwards.
    fn review(&self) -> Result<Option<Body>, Refusal> {
        if self.view.tier().is_none_or(|tier| tier > Tier::T2) {
            return Ok(None);
        }
        let due_at_ms = after(self.gate.now(), self.gate.settings.review_ms)?;
        Ok(Some(Body::ReviewOwed { due_at_ms, owner: self.service.owner.clone() }))
    }

    async fn with_evidence(&self, evidence: SignedEvidence, bodies: Vec<Body>) -> Result<(), Refusal> {
        let measured = Body::Measured { evidence: Box::new(evidence) };
        self.append(Actor::Observer, [vec![measured], bodies].concat()).await
    }

    /// Whether no credential of this run can be in use, but for `mine`.
    async fn is_disarmed(&self, mine: Option<&Lease>) -> Result<bool, Refusal> {
        let live = self.gate.ports.store.live_leases().await?;
        let other = |lease: &LeaseInfo| mine.is_none_or(|mine| mine.info.id != lease.id);
        Ok(!live.iter().any(|(plan, lease)| *plan == self.view.id && other(lease)))
    }

    async fn append(&self, actor: Actor, bodies: Vec<Body>) -> Result<(), Refusal> {
        append(self.gate, self.view, actor, bodies).await
    }
}

/// Appends records of this run, expecting that nobody else moved the plan. They may use the reserved room: what is under way
/// must be recorded to its end.
///
/// A revocation that came between moves nothing (the sweep ends a lease at its TTL, whatever the run is doing), so it does
/// not stop the run either.
async fn append(gate: &Gate, view: &PlanView, actor: Actor, bodies: Vec<Body>) -> Result<(), Refusal> {
    let plan: &Id<kind::Plan> = &view.id;
    let store = gate.ports.store.as_ref();
    let now = gate.now();
    let records: Vec<_> =
        bodies.into_iter().map(|body| Record::new(now, actor.clone(), Some(plan.clone()), body)).collect();
    let mut seen = view.last_index();
    for _ in 0..APPEND_TRIES {
        let expect = Some((plan.clone(), seen));
        let txn = Txn { records: records.clone(), expect, essential: true, ..Txn::default() };
        match store.append(txn).await {
            Ok(_) => return Ok(()),
            Err(StoreError::Conflict(_)) => {
                let fresh = PlanView::read(store, plan).await?;
                let mut since = fresh.records.iter().filter(|(index, _)| *index > seen);
                if !since.all(|(_, record)| matches!(record.body, Body::Revoked { .. })) {
                    break;
                }
                seen = fresh.last_index();
            }
            Err(err) => return Err(err.into()),
        }
    }
    Err(StoreError::Conflict(plan.clone()).into())
}

/// Shortest pause between two measurements of a verification.
const MIN_PAUSE: holdpoint_domain::Millis = match holdpoint_domain::Millis::new(50) {
    Ok(pause) => pause,
    Err(_) => holdpoint_domain::Millis::secs(1),
};
