//! The executor: checks permit, approvals, floor, intent, lease and halt for itself, then runs exactly the step.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    routing::post,
};
use holdpoint_adapters::{
    executor::{Dispatch, process::Supervisor},
    lease::{LeaseBook as _, LeaseTable},
    remote::{SealingKey, wire},
    system::KeyUse,
    tls::SpiffeId,
};
use holdpoint_app::port::{ExecuteError, Executor as _, Work};
use holdpoint_domain::{halt::Reach, lease::Lease, narrow::Chain, plan::Plan};

use super::{
    Apart,
    door::{Body, Problem, blocking},
};
use crate::{
    cli::{CliError, failed},
    config::{ExecutorPins, RoleConfig},
    serve,
    wiring::{self, Hands},
    witness,
};

struct Executor {
    apart: Arc<Apart>,
    dispatch: Dispatch,
    leases: Arc<LeaseTable>,
    sealing: SealingKey,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Rehearse,
    Apply,
    Undo,
}

/// The door of an executor. Starts the supervised processes.
pub(super) async fn router(
    config: &RoleConfig,
    gate: &SpiffeId,
    issuer: &SpiffeId,
) -> Result<Router, CliError> {
    let apart = Arc::new(Apart::open(config)?);
    check_own_keys(config, &apart.pinned)?;
    let leases = Arc::new(LeaseTable::new());
    let hands = Hands::open_for(config)?;
    let supervisor: Arc<Supervisor> = Arc::clone(&hands.supervisor);
    serve::start_units(Arc::clone(&supervisor)).await?;
    tokio::spawn(serve::healing(supervisor));
    let dispatch = wiring::executors(&hands, &apart.pinned, &apart.pins, &leases, &apart.clock)?;
    let sealing = SealingKey::load(&KeyUse::Sealing.path(&config.keys_dir())).map_err(failed)?;
    let cosigner = Arc::clone(apart.witnessed.cosigner());
    let state = Arc::new(Executor { apart, dispatch, leases, sealing });
    let of_gate = Router::new()
        .route("/v1/steps/rehearse", post(rehearse))
        .route("/v1/steps/apply", post(apply))
        .route("/v1/steps/undo", post(undo))
        .route("/v1/halt", post(halt))
        .layer(DefaultBodyLimit::max(wire::MAX_BODY))
        .with_state(Arc::clone(&state))
        .merge(witness::router(cosigner));
    let of_issuer = Router::new()
        .route("/v1/leases/admit", post(admit))
        .route("/v1/leases/end", post(end))
        .layer(DefaultBodyLimit::max(wire::MAX_BODY))
        .with_state(state);
    Ok(super::only(of_gate, gate).merge(super::only(of_issuer, issuer)))
}

/// Each executor's own key is here, and it is the one that permits are bound to.
fn check_own_keys(config: &RoleConfig, pinned: &ExecutorPins) -> Result<(), CliError> {
    for name in pinned.executors.keys() {
        wiring::own_key(&config.keys_dir(), name, pinned.executor_keys.get(name))?;
    }
    Ok(())
}

async fn rehearse(
    state: State<Arc<Executor>>,
    body: Body<wire::Work>,
) -> Result<Json<wire::Outcome>, Problem> {
    to_the_end(state, body, Deed::Rehearse).await
}

async fn apply(state: State<Arc<Executor>>, body: Body<wire::Work>) -> Result<Json<wire::Outcome>, Problem> {
    to_the_end(state, body, Deed::Apply).await
}

async fn undo(state: State<Arc<Executor>>, body: Body<wire::Work>) -> Result<Json<wire::Outcome>, Problem> {
    to_the_end(state, body, Deed::Undo).await
}

/// Does it in a task of its own: a gate that dies meanwhile must not leave a target half-way.
async fn to_the_end(
    State(executor): State<Arc<Executor>>,
    Body(ask): Body<wire::Work>,
    deed: Deed,
) -> Result<Json<wire::Outcome>, Problem> {
    let task = tokio::spawn(async move { executor.work(ask, deed).await });
    // A panic in the middle of a step: nobody can tell.
    let unknown = |err: tokio::task::JoinError| Ok(wire::Outcome::Unknown { why: err.to_string() });
    task.await.unwrap_or_else(unknown).map(Json)
}

impl Executor {
    async fn work(&self, ask: wire::Work, deed: Deed) -> Result<wire::Outcome, Problem> {
        let wire::Work { jws, plan, step, lease: info, sealed, from, intent } = ask;
        let (apart, jws, plan) = (Arc::clone(&self.apart), Arc::new(jws), Arc::new(plan));
        let (own_jws, own_plan) = (Arc::clone(&jws), Arc::clone(&plan));
        let chain = blocking(move || {
            let chain =
                apart.pins.open(&own_jws, &own_plan).map_err(|refusal| Problem::refused(refusal.line()))?;
            apart.witnessed.intent(&intent, chain.permit())?;
            Ok::<_, Problem>(chain)
        })
        .await??;
        // After everything that takes time, right before the deed.
        if let Some(why) = self.halted(deed, &chain, &plan) {
            tracing::warn!("refused: {why}");
            return Ok(Err(ExecuteError::Refused(why)).into());
        }
        let secret =
            self.sealing.open(&info, &sealed).map_err(|err| Problem::refused(format!("lease: {err}")))?;
        let lease = Lease { info, secret };
        let work = Work { jws: &jws, plan: &plan, step, lease: &lease };
        let done = match (deed, from) {
            (Deed::Rehearse, _) => self.dispatch.rehearse(work).await,
            (Deed::Apply, _) => self.dispatch.apply(work).await,
            (Deed::Undo, Some(from)) => self.dispatch.undo(work, &from).await,
            (Deed::Undo, None) => {
                Err(ExecuteError::Refused("undo: expected the version to undo from".to_owned()))
            }
        };
        if let Err(err) = &done {
            tracing::warn!("{deed:?}: {err}");
        }
        Ok(done.into())
    }

    /// Whether a halt forbids it: a soft one every apply, a hard one undo as well. A rehearsal touches nothing.
    fn halted(&self, deed: Deed, chain: &Chain, plan: &Plan) -> Option<String> {
        let reach = self.apart.halts.reach_for(chain, plan)?;
        let forbidden = match deed {
            Deed::Rehearse => false,
            Deed::Apply => true,
            Deed::Undo => reach == Reach::Hard,
        };
        forbidden.then(|| format!("halt: a {reach} halt is in force here"))
    }
}

async fn admit(
    State(executor): State<Arc<Executor>>,
    Body(ask): Body<wire::Admit>,
) -> Result<Json<wire::Live>, Problem> {
    let now = executor.apart.clock.now();
    let live = executor.leases.admit(&ask.info, ask.secret, now).await.map_err(Problem::failed)?;
    Ok(Json(wire::Live { live }))
}

async fn end(
    State(executor): State<Arc<Executor>>,
    Body(ask): Body<wire::End>,
) -> Result<Json<wire::Live>, Problem> {
    let now = executor.apart.clock.now();
    let live = executor.leases.end(&ask.lease, now).await.map_err(Problem::failed)?;
    Ok(Json(wire::Live { live }))
}

async fn halt(
    State(executor): State<Arc<Executor>>,
    Body(ask): Body<wire::Tell>,
) -> Result<Json<wire::Done>, Problem> {
    told(Arc::clone(&executor.apart), ask).await
}

/// Takes over what the gate says of a halt.
pub(super) async fn told(apart: Arc<Apart>, ask: wire::Tell) -> Result<Json<wire::Done>, Problem> {
    let halted = ask.halt.is_some();
    blocking(move || apart.halts.told(ask.halt.as_ref(), ask.at_ms)).await?.map_err(Problem::failed)?;
    tracing::info!("the gate says that there is {}", if halted { "a halt" } else { "no halt" });
    Ok(Json(wire::Done {}))
}
