//! The executor: checks permit, plan, approvals, lease, time and epoch for itself, then does (or does not do) the work.

use async_trait::async_trait;
use holdpoint_domain::{Digest, Tier, lease::Scope, permit::Permit, plan::Step};

use super::{
    EXECUTOR_SEED, FakeSigner,
    journal::{Asked, By, Moment},
    schedule::yield_now,
    world::{Deed, Effect, FakeWorld, Late},
};
use crate::port::{Acted, ActedPhase, Clock, ExecuteError, Executor, Signer as _, Work};

/// Which end of the permit counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Apply,
    Undo,
}

impl FakeWorld {
    /// Everything that an executor checks before it looks at the target.
    fn check<'w>(&self, work: &Work<'w>, for_use: Use) -> Result<(Permit, &'w Step), ExecuteError> {
        let refused = |why: String| ExecuteError::Refused(why);
        let permit = Permit::open(work.jws, &self.pins.gate).map_err(|err| refused(err.to_string()))?;
        permit
            .check_consents(work.plan, Tier::T0, 0, &self.pins.approvers)
            .map_err(|err| refused(err.to_string()))?;
        let grant = permit.grant();
        let step = work.plan.steps().get(work.step).ok_or_else(|| refused("no such step".to_owned()))?;
        let now = self.clock.now();
        let end = match for_use {
            Use::Apply if work.step == 0 => grant.start_before_ms,
            Use::Apply | Use::Undo => grant.undo_until_ms,
        };
        let scope = Scope { action: step.action.clone(), target: step.target.clone() };
        let state = self.state();
        let lease = state.leases.get(&work.lease.info.id);
        let checks = [
            (
                grant.executors.get(&self.pins.executor)
                    == Some(&FakeSigner::new(EXECUTOR_SEED).public_key().thumbprint()),
                "the permit names another executor or another key",
            ),
            (now < end, "the permit has ended"),
            (work.lease.info.permit == grant.id, "the lease is for another permit"),
            (lease.is_some_and(|lease| lease.covers(&scope, now)), "the lease is dead or too narrow"),
        ];
        match checks.into_iter().find(|(holds, _)| !holds) {
            Some((_, why)) => Err(refused(why.to_owned())),
            None => {
                drop(state);
                Ok((permit, step))
            }
        }
    }

    /// The write, as one step or (when stopped in between) as two.
    async fn write(
        &self,
        work: &Work<'_>,
        permit: &Permit,
        step: &Step,
        from: &Digest,
        phase: ActedPhase,
    ) -> Result<(), ExecuteError> {
        let epoch = permit.grant().epoch;
        let unknown = || ExecuteError::Unknown("a test said so".to_owned());
        let deed = {
            let mut state = self.state();
            let (own, all) = if phase == ActedPhase::Undone {
                (state.undo_at.get(&step.target), state.undo)
            } else {
                (state.apply_at.get(&step.target), state.apply)
            };
            let deed = own.copied().unwrap_or(all);
            let thing = state
                .things
                .get_mut(&step.target)
                .ok_or_else(|| ExecuteError::Refused("no such target".to_owned()))?;
            if epoch < thing.epoch {
                return Err(ExecuteError::Refused(format!("epoch {} was seen before {epoch}", thing.epoch)));
            }
            thing.epoch = epoch;
            if thing.acted.is_some_and(|acted| acted.is(epoch, phase)) {
                return Ok(());
            }
            if thing.version() != *from {
                return Err(ExecuteError::Refused("the target has another version".to_owned()));
            }
            match deed {
                Deed::Refuses => return Err(ExecuteError::Refused("a test said so".to_owned())),
                Deed::NotDone => return Err(ExecuteError::NotDone("a test said so".to_owned())),
                Deed::UnknownBefore => return Err(unknown()),
                Deed::Lies => return Ok(()),
                Deed::Late => {
                    thing.late = Some(Late { lease: work.lease.info.id.clone(), epoch, phase });
                    return Err(unknown());
                }
                Deed::Works | Deed::NoHelp | Deed::UnknownAfter | Deed::Partial => {
                    thing.acted = Some(Acted { epoch, phase: ActedPhase::Begun, left: None });
                    deed
                }
            }
        };
        let effect = if phase == ActedPhase::Undone { Effect::Undone } else { Effect::Applied };
        self.note(effect, Some(&permit.grant().plan_id), Some(&step.target));
        // Whoever stops here has begun, and the target remembers it.
        yield_now().await;
        let mut state = self.state();
        let thing = state
            .things
            .get_mut(&step.target)
            .ok_or_else(|| ExecuteError::Unknown("the target is gone".to_owned()))?;
        // The write is one act that compares: whoever changed the target since, keeps their work.
        if thing.version() != *from {
            return Err(unknown());
        }
        let before = thing.content;
        let (target, ledger_size) = (step.target.clone(), self.ledger.now());
        if deed == Deed::Partial {
            thing.content = thing.content.wrapping_add(7);
            thing.effects = thing.effects.saturating_add(1);
            let (by, after) = (By::Executor(epoch, ActedPhase::Begun), thing.content);
            state.moments.push(Moment { target, by, before, after, ledger_size });
            return Err(unknown());
        }
        thing.land(epoch, phase);
        if deed != Deed::NoHelp {
            thing.healthy = phase == ActedPhase::Applied;
        }
        let (by, after) = (By::Executor(epoch, phase), thing.content);
        state.moments.push(Moment { target, by, before, after, ledger_size });
        drop(state);
        if deed == Deed::UnknownAfter { Err(unknown()) } else { Ok(()) }
    }
}

#[async_trait]
impl Executor for FakeWorld {
    async fn rehearse(&self, work: Work<'_>) -> Result<(), ExecuteError> {
        self.called_with(Asked::Rehearse, &work);
        yield_now().await;
        let (permit, step) = self.check(&work, Use::Apply)?;
        self.note(Effect::Rehearsed, Some(&permit.grant().plan_id), Some(&step.target));
        let deed = self.state().rehearse;
        match deed {
            Deed::Works | Deed::NoHelp | Deed::Lies => Ok(()),
            Deed::Refuses => Err(ExecuteError::Refused("a test said so".to_owned())),
            Deed::NotDone => Err(ExecuteError::NotDone("a test said so".to_owned())),
            Deed::UnknownBefore | Deed::UnknownAfter | Deed::Late | Deed::Partial => {
                Err(ExecuteError::Unknown("a test said so".to_owned()))
            }
        }
    }

    async fn apply(&self, work: Work<'_>) -> Result<(), ExecuteError> {
        let _under_way = self.enter();
        self.called_with(Asked::Apply, &work);
        yield_now().await;
        let (permit, step) = self.check(&work, Use::Apply)?;
        let done = self.write(&work, &permit, step, &step.expected_version, ActedPhase::Applied).await;
        // Whoever stops here has done it, and nobody was told.
        yield_now().await;
        done
    }

    async fn undo(&self, work: Work<'_>, from: &Digest) -> Result<(), ExecuteError> {
        let _under_way = self.enter();
        self.called_with(Asked::Undo, &work);
        yield_now().await;
        let (permit, step) = self.check(&work, Use::Undo)?;
        let done = self.write(&work, &permit, step, from, ActedPhase::Undone).await;
        yield_now().await;
        done
    }
}
