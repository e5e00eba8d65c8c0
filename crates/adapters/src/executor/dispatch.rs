//! Sends each step to the executor, and each look to the reader, that its action names.

use std::{collections::BTreeMap, fmt, sync::Arc};

use async_trait::async_trait;
use holdpoint_app::port::{ExecuteError, Executor, Observation, ObserveError, Observer, Preview, Work};
use holdpoint_domain::{
    Digest, Id,
    action::{Action, Catalogue},
    id::kind,
    plan::Step,
    target::Target,
};

/// Executors and readers by name. What has no executor is refused, what has no reader cannot be observed.
pub struct Dispatch {
    catalogue: Arc<Catalogue>,
    executors: BTreeMap<Id<kind::Executor>, Arc<dyn Executor>>,
    observers: BTreeMap<Id<kind::Executor>, Arc<dyn Observer>>,
}

impl Dispatch {
    /// Nothing yet; the catalogue says which executor runs which action.
    #[must_use]
    pub const fn new(catalogue: Arc<Catalogue>) -> Self {
        Self { catalogue, executors: BTreeMap::new(), observers: BTreeMap::new() }
    }

    /// Adds an executor; one of the same name is replaced.
    #[must_use]
    pub fn with_executor(mut self, name: Id<kind::Executor>, executor: Arc<dyn Executor>) -> Self {
        self.executors.insert(name, executor);
        self
    }

    /// Adds a reader; one of the same name is replaced.
    #[must_use]
    pub fn with_observer(mut self, name: Id<kind::Executor>, observer: Arc<dyn Observer>) -> Self {
        self.observers.insert(name, observer);
        self
    }

    /// The executor of a step. It checks for itself whether it is the right one: this only finds it.
    fn executor(&self, work: &Work<'_>) -> Result<&dyn Executor, ExecuteError> {
        let refused = |why: String| ExecuteError::Refused(why);
        let step = work.plan.steps().get(work.step);
        let step = step.ok_or_else(|| refused(format!("step: the plan has no step {}", work.step)))?;
        let action = self.catalogue.action(&step.action);
        let action = action.ok_or_else(|| {
            refused(format!("catalogue: action `{}` is not in the catalogue here", step.action))
        })?;
        let executor = self.executors.get(&action.executor);
        executor
            .map(AsRef::as_ref)
            .ok_or_else(|| refused(format!("executor: there is no executor `{}` here", action.executor)))
    }
}

#[async_trait]
impl Executor for Dispatch {
    async fn rehearse(&self, work: Work<'_>) -> Result<(), ExecuteError> {
        self.executor(&work)?.rehearse(work).await
    }

    async fn apply(&self, work: Work<'_>) -> Result<(), ExecuteError> {
        self.executor(&work)?.apply(work).await
    }

    async fn undo(&self, work: Work<'_>, from: &Digest) -> Result<(), ExecuteError> {
        self.executor(&work)?.undo(work, from).await
    }
}

#[async_trait]
impl Observer for Dispatch {
    async fn observe(&self, action: &Action, target: &Target) -> Result<Observation, ObserveError> {
        // An action of one executor on a target of another is nobody's to read.
        let reader = self.observers.get(&target.executor).filter(|_| action.executor == target.executor);
        let reader = reader.ok_or_else(|| ObserveError::NoReader(action.executor.clone()))?;
        reader.observe(action, target).await
    }

    async fn preview(
        &self,
        action: &Action,
        target: &Target,
        step: &Step,
    ) -> Result<Option<Preview>, ObserveError> {
        let reader = self.observers.get(&target.executor).filter(|_| action.executor == target.executor);
        let reader = reader.ok_or_else(|| ObserveError::NoReader(action.executor.clone()))?;
        reader.preview(action, target, step).await
    }
}

impl fmt::Debug for Dispatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatch")
            .field("executors", &self.executors.keys().collect::<Vec<_>>())
            .field("observers", &self.observers.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
