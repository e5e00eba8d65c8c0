//! The bench: what a run works on, looked up once a step, and the records that it ends in.

use std::collections::BTreeSet;

use holdpoint_domain::{
    Digest, Id, Millis, Tier, Timestamp,
    action::Action,
    actor::Actor,
    halt::Halt,
    id::kind,
    lease::{Lease, LeaseInfo},
    plan::Step,
    record::{Body, DoubtWhy, FailWhy, Record},
    target::{Service, Target},
    trigger::{Condition, SignedEvidence},
};

use crate::{
    gate::{Gate, after},
    port::{Observation, StoreError, Txn, Work},
    refusal::{Refusal, internal},
    run::Run,
    view::PlanView,
};

/// How often a target that cannot be observed is asked again before the run is in doubt.
const OBSERVE_TRIES: u32 = 5;
/// How often a record is appended again behind a revocation that came between.
const APPEND_TRIES: u32 = 5;

/// What a step works on.
#[derive(Clone, Copy)]
pub(super) struct BenchStep<'a> {
    pub(super) action: &'a Action,
    pub(super) target: &'a Target,
    pub(super) service: &'a Service,
}

/// What a run works on.
#[derive(Clone)]
pub(super) struct Bench<'a> {
    pub(super) gate: &'a Gate,
    pub(super) view: &'a PlanView,
    pub(super) steps: Vec<BenchStep<'a>>,
    pub(super) epoch: u64,
    pub(super) granted_at: Timestamp,
}

impl<'a> Bench<'a> {
    /// Looks up what a run works on; none when the control inputs do not have all of it any more. The agent is not asked for:
    /// whoever takes it out of the registry must not stop the undo of what it began.
    pub(super) fn of(gate: &'a Gate, run: &'a Run) -> Option<Self> {
        let found = |step: &Step| {
            let action = gate.controls.catalogue.action(&step.action)?;
            let (target, service) = gate.controls.inventory.target(&step.target)?;
            Some(BenchStep { action, target, service })
        };
        let steps = run.view.plan.steps().iter().map(found).collect::<Option<Vec<_>>>()?;
        Some(Self {
            gate,
            view: &run.view,
            steps,
            epoch: run.permit.grant().epoch,
            granted_at: run.permit.grant().granted_at_ms,
        })
    }

    /// The halt that stops this run.
    pub(super) fn halted(&self) -> Option<Halt> {
        self.gate.halted_for(&self.view.plan, self.granted_at)
    }

    pub(super) fn step(&self, number: u32) -> Result<&BenchStep<'a>, Refusal> {
        let step = usize::try_from(number).ok().and_then(|at| self.steps.get(at));
        step.ok_or_else(|| internal(format!("there is no step {number}")))
    }

    /// The step as it was planned.
    pub(super) fn planned(&self, number: u32) -> Result<&'a Step, Refusal> {
        let step = usize::try_from(number).ok().and_then(|at| self.view.plan.steps().get(at));
        step.ok_or_else(|| internal(format!("there is no step {number}")))
    }

    /// The version that a step's effect left.
    pub(super) fn left(&self, number: u32) -> Result<Digest, Refusal> {
        let left = usize::try_from(number).ok().and_then(|at| self.view.left.get(at));
        left.copied().ok_or_else(|| internal(format!("step {number} left no version")))
    }

    pub(super) fn condition(&self, id: &Id<kind::Condition>) -> Result<&'a Condition, Refusal> {
        let condition = self.gate.controls.catalogue.condition(id);
        condition.ok_or_else(|| internal(format!("there is no condition `{id}`")))
    }

    pub(super) fn environments(&self) -> BTreeSet<Id<kind::Environment>> {
        self.steps.iter().map(|step| step.service.environment.clone()).collect()
    }

    pub(super) fn work<'w>(&'w self, run: &'w Run, step: usize, lease: &'w Lease) -> Work<'w> {
        Work { jws: run.permit.jws(), plan: &self.view.plan, step, lease }
    }

    pub(super) fn work_at<'w>(
        &'w self,
        run: &'w Run,
        number: u32,
        lease: &'w Lease,
    ) -> Result<Work<'w>, Refusal> {
        Ok(self.work(run, usize::try_from(number).map_err(internal)?, lease))
    }

    /// A target as it is, or none when it cannot be seen for a while.
    pub(super) async fn observe(&self, step: &BenchStep<'_>) -> Option<Observation> {
        for _ in 0..OBSERVE_TRIES {
            match self.gate.ports.observer.observe(step.action, step.target).await {
                Ok(seen) => return Some(seen),
                Err(err) => tracing::warn!(plan = %self.view.id, "observe: {err}"),
            }
            self.gate.ports.clock.sleep(self.gate.settings.verify_every_ms).await;
        }
        None
    }

    /// The record that announces the undo of a step.
    pub(super) fn undoing(&self, number: u32, why: FailWhy) -> Result<Body, Refusal> {
        Ok(Body::Undoing { step: number, from: self.left(number)?, why })
    }

    pub(super) async fn undo_failed(&self, why: FailWhy) -> Result<(), Refusal> {
        self.append(Actor::Gate, vec![Body::UndoFailed { why }, self.review()?]).await
    }

    pub(super) async fn fail(&self, why: FailWhy) -> Result<(), Refusal> {
        self.append(Actor::Gate, vec![Body::Failed { why }, self.review()?]).await
    }

    pub(super) async fn doubt(&self, why: DoubtWhy) -> Result<(), Refusal> {
        self.append(Actor::Gate, vec![Body::InDoubt { why }]).await
    }

    /// The look that somebody owes afterwards.
    pub(super) fn review(&self) -> Result<Body, Refusal> {
        let within = if self.view.plan.requester().is_emergency() {
            self.gate.settings.review_ms.min(Millis::secs(24 * 60 * 60))
        } else {
            self.gate.settings.review_ms
        };
        let due_at_ms = after(self.gate.now(), within)?;
        Ok(Body::ReviewOwed { due_at_ms, owner: self.step(0)?.service.owner.clone() })
    }

    /// The look that is owed to a run without a person before it, although it went well.
    pub(super) fn review_of_success(&self) -> Result<Option<Body>, Refusal> {
        let alone = self.view.tier().is_some_and(|tier| tier <= Tier::T2)
            || self.view.plan.requester().is_emergency();
        if alone { self.review().map(Some) } else { Ok(None) }
    }

    pub(super) async fn with_evidence(
        &self,
        evidence: Vec<SignedEvidence>,
        bodies: Vec<Body>,
    ) -> Result<(), Refusal> {
        let measured = evidence.into_iter().map(|evidence| Body::Measured { evidence: Box::new(evidence) });
        self.append(Actor::Observer, measured.chain(bodies).collect()).await
    }

    /// Whether no credential of this run can be in use, but for `mine`.
    pub(super) async fn is_disarmed(&self, mine: &[Lease]) -> Result<bool, Refusal> {
        let live = self.gate.ports.store.live_leases().await?;
        let other = |lease: &LeaseInfo| mine.iter().all(|mine| mine.info.id != lease.id);
        Ok(!live.iter().any(|(plan, lease)| *plan == self.view.id && other(lease)))
    }

    pub(super) async fn append(&self, actor: Actor, bodies: Vec<Body>) -> Result<(), Refusal> {
        append(self.gate, self.view, actor, bodies).await
    }
}

/// Appends records of this run, expecting that nobody else moved the plan. They may use the reserved room: what is under way
/// must be recorded to its end.
///
/// A revocation that came between moves nothing (the sweep ends a lease at its TTL, whatever the run is doing), so it does
/// not stop the run either.
pub(super) async fn append(
    gate: &Gate,
    view: &PlanView,
    actor: Actor,
    bodies: Vec<Body>,
) -> Result<(), Refusal> {
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
                if !since.all(|(_, record)| record.body.is_end_of_lease()) {
                    break;
                }
                seen = fresh.last_index();
            }
            Err(err) => return Err(err.into()),
        }
    }
    Err(StoreError::Conflict(plan.clone()).into())
}
