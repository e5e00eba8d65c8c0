//! The executor for supervised processes of this machine: `process.restart` and `process.stop`.
//!
//! There is no shell and no free text: what can be started stands in the operator's [`Unit`]s, and a step names one of
//! them. The state file of a unit is the target's own memory: the highest fencing epoch, and how far the last run got.
//! Each effect comes between two durable writes of it:
//!
//! | written | then | if we stop here |
//! | --- | --- | --- |
//! | `begun`, epoch, mark of the next start | stop and start | the observer sees `begun`; the version says whether anything happened; a started process is found by its mark |
//! | `applied` or `undone` | | the effect is complete |

mod proc;
mod reader;
mod state;
mod supervisor;
mod unit;

use std::{io, sync::Arc};

use async_trait::async_trait;
use holdpoint_app::port::{Clock, ExecuteError, Executor, Observation, ObserveError, Observer, Work};
use holdpoint_domain::{Digest, Id, Timestamp, action::Action, id::kind, lease::Lease, target::Target};

pub use reader::{UnitReader, UnitView};
pub use supervisor::{Supervisor, SupervisorError};
pub use unit::{MAX_STOP_GRACE, SPAWN_VARIABLE, Unit, UnitError};

use super::{
    authority::{Authority, Use, Warrant},
    chain,
};
use crate::lease::LeaseTable;
use state::{ActedBy, PhaseWord, UnitState};
use supervisor::{Locked, fresh_mark};

/// What this executor can do. Everything else is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Restart,
    Stop,
}

impl Operation {
    fn of(action: &Id<kind::Action>) -> Option<Self> {
        match action.as_str() {
            "process.restart" => Some(Self::Restart),
            "process.stop" => Some(Self::Stop),
            _ => None,
        }
    }
}

/// Runs permitted steps on supervised processes. Each call runs to its end even if nobody waits for it any more, so a
/// caller that gives up never leaves a unit half-way.
pub struct ProcessExecutor {
    authority: Authority,
    leases: Arc<LeaseTable>,
    supervisor: Arc<Supervisor>,
    clock: Arc<dyn Clock>,
}

/// A step that the authority let through, on its way to the unit's lock.
struct Order {
    warrant: Warrant,
    operation: Operation,
    lease: Lease,
    leases: Arc<LeaseTable>,
    clock: Arc<dyn Clock>,
    asked_at: Timestamp,
}

/// What the fence says about an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fence {
    /// Go on.
    Open,
    /// It was done before, under the same permit and epoch.
    Done,
}

impl ProcessExecutor {
    /// An executor over a supervisor's units. `leases` is the table that the issuer of its leases writes.
    #[must_use]
    pub fn new(
        authority: Authority,
        leases: Arc<LeaseTable>,
        supervisor: Arc<Supervisor>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { authority, leases, supervisor, clock }
    }

    fn order(&self, work: &Work<'_>, for_use: Use) -> Result<Order, ExecuteError> {
        let asked_at = self.clock.now();
        let warrant = self.authority.check(work, for_use, asked_at)?;
        let action = &warrant.step().action;
        let operation = Operation::of(action)
            .ok_or_else(|| refused("operation", format!("there is no operation for action `{action}`")))?;
        if !warrant.step().params.is_empty() {
            return Err(refused("parameters", format!("action `{action}` takes none here")));
        }
        Ok(Order {
            warrant,
            operation,
            lease: work.lease.clone(),
            leases: Arc::clone(&self.leases),
            clock: Arc::clone(&self.clock),
            asked_at,
        })
    }

    /// Runs `effect` under the unit's lock, on a thread that may block.
    async fn under_lock(
        &self,
        order: Order,
        effect: impl FnOnce(&Order, &mut Locked<'_>) -> Result<(), ExecuteError> + Send + 'static,
    ) -> Result<(), ExecuteError> {
        let supervisor = Arc::clone(&self.supervisor);
        let run = move || {
            let target = &order.warrant.step().target;
            let mut unit = supervisor
                .lock(target)
                .ok_or_else(|| refused("unit", format!("there is no unit `{target}` here")))?;
            effect(&order, &mut unit)
        };
        let ended = tokio::task::spawn_blocking(run).await;
        ended.unwrap_or_else(|err| Err(ExecuteError::Unknown(format!("the work broke off: {err}"))))
    }
}

#[async_trait]
impl Executor for ProcessExecutor {
    async fn rehearse(&self, work: Work<'_>) -> Result<(), ExecuteError> {
        let order = self.order(&work, Use::Apply)?;
        self.under_lock(order, |order, unit| match order.ready(unit)? {
            Fence::Done => Ok(()),
            Fence::Open => {
                order.possible(unit)?;
                order.expects(unit, &order.warrant.step().expected_version)
            }
        })
        .await
    }

    async fn apply(&self, work: Work<'_>) -> Result<(), ExecuteError> {
        let order = self.order(&work, Use::Apply)?;
        self.under_lock(order, |order, unit| order.apply(unit)).await
    }

    async fn undo(&self, work: Work<'_>, from: &Digest) -> Result<(), ExecuteError> {
        let order = self.order(&work, Use::Undo)?;
        let from = *from;
        self.under_lock(order, move |order, unit| order.undo(unit, &from)).await
    }
}

impl Order {
    /// The checks at the moment of the write: time, lease and fence may have changed while we waited for the lock.
    fn current(&self) -> Result<(), ExecuteError> {
        // A clock that was set back while we waited does not make a permit young again.
        let now = self.clock.now().max(self.asked_at);
        self.warrant.in_time(now)?;
        let used = self.leases.check(&self.lease, &self.warrant.scope(), now);
        used.map_err(|err| refused("lease", err))
    }

    /// Refuses an epoch that the unit has left behind, and one that another permit used.
    fn fenced(&self, unit: &Locked<'_>) -> Result<(), ExecuteError> {
        let (grant, state) = (self.warrant.permit().grant(), unit.state());
        if grant.epoch < state.highest_epoch {
            let highest = state.highest_epoch;
            return Err(refused("epoch", format!("expected at least {highest}, got {}", grant.epoch)));
        }
        let ours = |acted: &ActedBy| acted.permit == grant.id && acted.epoch == grant.epoch;
        if grant.epoch == state.highest_epoch && !state.acted.as_ref().is_none_or(ours) {
            return Err(refused("epoch", format!("{} was used by another permit", grant.epoch)));
        }
        Ok(())
    }

    /// How far this permit got with the unit.
    fn phase(&self, unit: &Locked<'_>) -> Option<PhaseWord> {
        let grant = self.warrant.permit().grant();
        let acted = unit.state().acted.as_ref()?;
        (acted.permit == grant.id && acted.epoch == grant.epoch).then_some(acted.phase)
    }

    /// Everything before the version, for an apply.
    fn ready(&self, unit: &Locked<'_>) -> Result<Fence, ExecuteError> {
        self.current()?;
        self.fenced(unit)?;
        match self.phase(unit) {
            Some(PhaseWord::Applied) => Ok(Fence::Done),
            Some(PhaseWord::Undone) => Err(refused("phase", "this run was undone already")),
            Some(PhaseWord::Begun) | None => Ok(Fence::Open),
        }
    }

    /// Whether the operation and what would undo it can be done. Stopping what does not run would leave an undo that
    /// starts what was down before.
    fn possible(&self, unit: &Locked<'_>) -> Result<(), ExecuteError> {
        let runs = unit.runs().map_err(|err| not_done("the unit cannot be looked at", &err))?;
        if self.operation == Operation::Stop && !runs {
            return Err(refused("operation", "the unit does not run, so it cannot be stopped"));
        }
        unit.could_start().map_err(|err| not_done("the unit could not be started again", &err))
    }

    fn expects(&self, unit: &Locked<'_>, wanted: &Digest) -> Result<(), ExecuteError> {
        let version = unit.version().map_err(|err| not_done("the unit cannot be looked at", &err))?;
        if version == *wanted {
            return Ok(());
        }
        Err(refused("version", format!("expected {wanted}, got {version}")))
    }

    fn apply(&self, unit: &mut Locked<'_>) -> Result<(), ExecuteError> {
        if self.ready(unit)? == Fence::Done {
            return Ok(());
        }
        self.possible(unit)?;
        self.expects(unit, &self.warrant.step().expected_version)?;
        let starts = self.operation == Operation::Restart;
        // If we stop after this write, nothing has happened yet and the version says so.
        self.begin(unit, starts)?;
        unit.stop().map_err(|err| unknown("the unit may not have stopped", &err))?;
        // If we stop here, the unit is down and its state says `begun`: in doubt, and an undo starts it.
        let after = match self.operation {
            Operation::Restart => {
                unit.start().map_err(|err| unknown("the unit was stopped and not started", &err))?
            }
            Operation::Stop => UnitState { stopped: true, ..unit.state().clone() },
        };
        self.finish(unit, after, PhaseWord::Applied)
    }

    /// Starts the unit again if it is down. After a restart that is all there is to undo; after a stop it is the
    /// inverse.
    fn undo(&self, unit: &mut Locked<'_>, from: &Digest) -> Result<(), ExecuteError> {
        self.current()?;
        self.fenced(unit)?;
        match self.phase(unit) {
            Some(PhaseWord::Undone) => return Ok(()),
            Some(PhaseWord::Begun | PhaseWord::Applied) => {}
            None => return Err(refused("phase", "this run did nothing that could be undone")),
        }
        let runs = unit.runs().map_err(|err| not_done("the unit cannot be looked at", &err))?;
        if !runs {
            unit.could_start().map_err(|err| not_done("the unit could not be started", &err))?;
        }
        self.expects(unit, from)?;
        // If we stop after this write, an undo of the same version begins again here.
        self.begin(unit, !runs)?;
        let after = if runs {
            UnitState { stopped: false, ..unit.state().clone() }
        } else {
            unit.start().map_err(|err| unknown("the unit was not started", &err))?
        };
        self.finish(unit, after, PhaseWord::Undone)
    }

    /// The durable announcement of the effect.
    fn begin(&self, unit: &mut Locked<'_>, starts: bool) -> Result<(), ExecuteError> {
        let state = UnitState {
            highest_epoch: self.warrant.permit().grant().epoch,
            starting: starts.then(fresh_mark),
            acted: Some(self.acted(PhaseWord::Begun, None)),
            ..unit.state().clone()
        };
        unit.write(state).map_err(|err| not_done("the unit's state was not written", &err))
    }

    /// The durable end of the effect. If we stop before it, the state says `begun`.
    fn finish(&self, unit: &mut Locked<'_>, after: UnitState, phase: PhaseWord) -> Result<(), ExecuteError> {
        let left = unit
            .version_of(&after)
            .map_err(|err| unknown("the effect was made and cannot be looked at", &err))?;
        let state = UnitState { acted: Some(self.acted(phase, Some(left))), ..after };
        unit.write(state).map_err(|err| unknown("the effect was made and not written down", &err))
    }

    fn acted(&self, phase: PhaseWord, left: Option<Digest>) -> ActedBy {
        let grant = self.warrant.permit().grant();
        ActedBy { epoch: grant.epoch, permit: grant.id.clone(), phase, left }
    }
}

fn refused(check: &str, why: impl std::fmt::Display) -> ExecuteError {
    ExecuteError::Refused(format!("{check}: {why}"))
}

fn not_done(what: &str, err: &io::Error) -> ExecuteError {
    ExecuteError::NotDone(format!("{what}: {err}"))
}

fn unknown(what: &str, err: &dyn std::error::Error) -> ExecuteError {
    ExecuteError::Unknown(format!("{what}: {}", chain(err)))
}

/// Observes supervised processes.
#[derive(Debug, Clone)]
pub struct ProcessObserver {
    reader: UnitReader,
}

impl ProcessObserver {
    /// An observer over a reader of units.
    #[must_use]
    pub const fn new(reader: UnitReader) -> Self {
        Self { reader }
    }
}

#[async_trait]
impl Observer for ProcessObserver {
    async fn observe(&self, action: &Action, target: &Target) -> Result<Observation, ObserveError> {
        let (reader, id) = (self.reader.clone(), target.id.clone());
        let failed = |why: String| ObserveError::Failed { target: target.id.clone(), why };
        let looked = tokio::task::spawn_blocking(move || reader.look(&id)).await;
        let view = looked.map_err(|err| failed(err.to_string()))?.map_err(|err| failed(err.to_string()))?;
        let view = view.ok_or_else(|| ObserveError::Unknown(target.id.clone()))?;
        let undo_computed = match Operation::of(&action.id) {
            // The unit is configured, so its declared state is known: it runs, and heals itself. One that a permitted stop
            // left stopped does not: whoever starts it reverses what was permitted, and a person must want that.
            Some(Operation::Restart) => !view.stopped,
            // The inverse of a stop is a start, and there is something to start only if it ran.
            Some(Operation::Stop) => view.runs,
            None => false,
        };
        Ok(Observation { version: view.version, down: !view.runs, undo_computed, acted: view.acted })
    }
}
