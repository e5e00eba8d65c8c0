//! What the doors share: the gate, who is calling, and the task that starts runs.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use holdpoint_adapters::cosign::Kept;
use holdpoint_app::{
    approve::{self, Decided},
    gate::Gate,
    recover,
    refusal::Refusal,
    run,
    strangers::Strangers,
};
use holdpoint_domain::{Id, actor::Identity, approval::SignedStatement, flow::State, id::kind};

use crate::links::SignInLinks;

/// Tells who a bearer token belongs to, or a certificate.
pub(crate) trait Identify: Send + Sync {
    /// Whoever showed a sound token, or why nobody did: one line, without the token.
    fn identify(&self, bearer: &str) -> Result<Identified, String>;

    /// Whoever proved a SPIFFE id of our own trust domain by an X.509-SVID, or why it names nobody here.
    fn workload(&self, id: &str) -> Result<Identified, String>;
}

/// Whoever showed a sound token.
#[derive(Debug, Clone)]
pub(crate) struct Identified {
    /// Whom it names.
    pub(crate) identity: Identity,
    /// What else is known of the workload: `spiffe_id:…`, `k8s:ns:…` and the like, in order.
    pub(crate) selectors: Arc<BTreeSet<String>>,
}

/// The gate under the control inputs in force. What has begun keeps the one that it began with.
pub(crate) struct GateCell(RwLock<Arc<Gate>>);

impl GateCell {
    /// A cell with the first gate.
    pub(crate) fn new(gate: Arc<Gate>) -> Self {
        Self(RwLock::new(gate))
    }

    /// The gate now.
    pub(crate) fn get(&self) -> Arc<Gate> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Another gate, for whoever asks from now on.
    pub(crate) fn set(&self, gate: Arc<Gate>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = gate;
    }
}

/// What the doors share.
pub(crate) struct Service {
    /// The gate.
    pub(crate) cell: Arc<GateCell>,
    /// Who is calling.
    pub(crate) identify: Arc<dyn Identify>,
    /// Starts runs.
    pub(crate) runner: Runner,
    /// Counts requests of nobody.
    pub(crate) strangers: Strangers,
    /// Links that sign browsers in.
    pub(crate) links: SignInLinks,
    /// The newest cosigned head.
    pub(crate) cosigned: Arc<Kept>,
}

impl Service {
    /// The gate under the control inputs in force now. A request asks once, and keeps it.
    pub(crate) fn gate(&self) -> Arc<Gate> {
        self.cell.get()
    }

    /// Takes a person's statement on a hold, and starts the run that it releases.
    pub(crate) async fn decide_hold(
        &self,
        identity: &Identity,
        hold: &Id<kind::Hold>,
        signed: SignedStatement,
    ) -> Result<Decided, Refusal> {
        let decided = approve::decide_hold(&self.gate(), identity, hold, signed).await?;
        // If we stop here, `recover` starts the run from its permit, or lets it expire.
        if decided.state == State::Permitted {
            self.runner.start(decided.plan.clone());
        }
        Ok(decided)
    }
}

/// Starts the run of each permitted plan, once at a time in this process. The claim in the store is what makes it once for
/// all; this only keeps us from trying twice.
#[derive(Clone)]
pub(crate) struct Runner {
    cell: Arc<GateCell>,
    running: Arc<Mutex<BTreeSet<Id<kind::Plan>>>>,
}

impl Runner {
    /// A runner of this gate's permits.
    pub(crate) fn new(cell: Arc<GateCell>) -> Self {
        Self { cell, running: Arc::default() }
    }

    /// Starts a permitted plan's run in the background, unless it is under way.
    pub(crate) fn start(&self, plan: Id<kind::Plan>) {
        self.spawn(plan, |gate, plan| async move { run::run(&gate, &plan).await });
    }

    /// Ends, in the background, an open run that nobody drives any more, unless it is under way here.
    pub(crate) fn resume(&self, plan: Id<kind::Plan>) {
        self.spawn(plan, |gate, plan| async move { recover::resume(&gate, &plan).await });
    }

    fn spawn<F>(&self, plan: Id<kind::Plan>, work: impl FnOnce(Arc<Gate>, Id<kind::Plan>) -> F)
    where
        F: Future<Output = Result<State, Refusal>> + Send + 'static,
    {
        if !self.lock().insert(plan.clone()) {
            return;
        }
        let (under_way, work) = (UnderWay(self.clone(), plan.clone()), work(self.cell.get(), plan.clone()));
        tokio::spawn(async move {
            let _under_way = under_way;
            match work.await {
                Ok(state) => tracing::info!(%plan, %state, "run of plan {plan} ended: {state}"),
                Err(refusal) => {
                    tracing::warn!(%plan, rule = refusal.rule, "run of plan {plan} did not go on: {refusal}")
                }
            }
        });
    }

    /// How many runs are under way.
    pub(crate) fn under_way(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<Id<kind::Plan>>> {
        // The set is whole at every point where a panic could happen.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A run that is under way, until it ends in whatever way, a panic included: then the clockwork finds it.
struct UnderWay(Runner, Id<kind::Plan>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.lock().remove(&self.1);
    }
}
