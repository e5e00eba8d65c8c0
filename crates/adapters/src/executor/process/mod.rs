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

use std::sync::Arc;

use async_trait::async_trait;
use holdpoint_app::port::{
    Clock, ExecuteError, Executor, Field, Observation, ObserveError, Observer, Preview, Work,
};
use holdpoint_domain::{Digest, Id, action::Action, id::kind, plan, target::Target};

pub use reader::{UnitReader, UnitView};
pub use supervisor::{Supervisor, SupervisorError};
pub use unit::{MAX_STOP_GRACE, SPAWN_VARIABLE, Unit, UnitError};

use super::{
    authority::{Authority, Use},
    memory::{Fence, Mandate, PhaseWord, blocking, expects, not_done, refused, unknown},
};
use crate::{lease::LeaseTable, step::Step};
use state::UnitState;
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

/// A step on its way to the unit's lock.
struct Order {
    mandate: Mandate,
    operation: Operation,
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
        let mandate = Mandate {
            warrant,
            lease: work.lease.clone(),
            leases: Arc::clone(&self.leases).into(),
            clock: Arc::clone(&self.clock),
            asked_at,
        };
        Ok(Order { mandate, operation })
    }

    /// Runs `effect` under the unit's lock, on a thread that may block.
    async fn under_lock(
        &self,
        order: Order,
        effect: impl FnOnce(&Order, &mut Locked<'_>) -> Result<(), ExecuteError> + Send + 'static,
    ) -> Result<(), ExecuteError> {
        let supervisor = Arc::clone(&self.supervisor);
        blocking(move || {
            let target = &order.step().target;
            let mut unit = supervisor
                .lock(target)
                .ok_or_else(|| refused("unit", format!("there is no unit `{target}` here")))?;
            effect(&order, &mut unit)
        })
        .await
    }
}

#[async_trait]
impl Executor for ProcessExecutor {
    async fn rehearse(&self, work: Work<'_>) -> Result<(), ExecuteError> {
        let order = self.order(&work, Use::Apply)?;
        self.under_lock(order, |order, unit| match order.mandate.ready(unit.state().memory())? {
            Fence::Done => Ok(()),
            Fence::Open => {
                order.possible(unit)?;
                order.expects(unit, &order.step().expected_version)
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
    const fn step(&self) -> &plan::Step {
        self.mandate.warrant.step()
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
        expects(wanted, &version)
    }

    fn apply(&self, unit: &mut Locked<'_>) -> Result<(), ExecuteError> {
        if self.mandate.ready(unit.state().memory())? == Fence::Done {
            return Ok(());
        }
        self.possible(unit)?;
        self.expects(unit, &self.step().expected_version)?;
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
        let memory = unit.state().memory();
        self.mandate.current()?;
        self.mandate.fenced(memory)?;
        match self.mandate.phase(memory) {
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
            highest_epoch: self.mandate.warrant.permit().grant().epoch,
            starting: starts.then(fresh_mark),
            acted: Some(self.mandate.acted(PhaseWord::Begun, None)),
            ..unit.state().clone()
        };
        unit.write(Step::MemoryBegin, state).map_err(|err| not_done("the unit's state was not written", &err))
    }

    /// The durable end of the effect. If we stop before it, the state says `begun`.
    fn finish(&self, unit: &mut Locked<'_>, after: UnitState, phase: PhaseWord) -> Result<(), ExecuteError> {
        let left = unit
            .version_of(&after)
            .map_err(|err| unknown("the effect was made and cannot be looked at", &err))?;
        let state = UnitState { acted: Some(self.mandate.acted(phase, Some(left))), ..after };
        unit.write(Step::MemoryFinish, state)
            .map_err(|err| unknown("the effect was made and not written down", &err))
    }
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
        let UnitView { version, parts, runs, acted, .. } = view;
        Ok(Observation { version, parts, down: !runs, undo_computed, acted })
    }

    async fn preview(
        &self,
        action: &Action,
        target: &Target,
        _: &plan::Step,
    ) -> Result<Option<Preview>, ObserveError> {
        let Some(operation) = Operation::of(&action.id) else { return Ok(None) };
        let (reader, id) = (self.reader.clone(), target.id.clone());
        let failed = |why: String| ObserveError::Failed { target: target.id.clone(), why };
        let looked = tokio::task::spawn_blocking(move || reader.look(&id)).await;
        let view = looked.map_err(|err| failed(err.to_string()))?.map_err(|err| failed(err.to_string()))?;
        let view = view.ok_or_else(|| ObserveError::Unknown(target.id.clone()))?;
        let before = match (view.runs, view.rss_bytes) {
            (true, Some(bytes)) => {
                format!("runs, with {} MiB in memory", bytes.checked_div(1024 * 1024).unwrap_or(0))
            }
            (true, None) => "runs".to_owned(),
            (false, _) if view.stopped => "does not run: a permitted stop left it stopped".to_owned(),
            (false, _) => "does not run".to_owned(),
        };
        let after = match operation {
            Operation::Restart => "a new one runs; what the old one had in memory is gone",
            Operation::Stop => "does not run",
        };
        let fields = vec![Field { name: "Process".to_owned(), before, after: after.to_owned() }];
        Ok(Some(Preview { version: view.version, fields, refused: None }))
    }
}
