//! The issuer: checks permit, approvals, floor and intent for itself, mints, and seals the secret to the executor.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    routing::post,
};
use holdpoint_adapters::{
    lease::Backends,
    remote::{ConsentError, Consents, RemoteBook, RoleClient, SealTo, wire},
    tls::{self, LiveSvid, SpiffeId},
};
use holdpoint_app::port::{IssueError, Issuer as _};
use holdpoint_domain::{halt::Reach, lease::Terms};

use super::{
    Apart,
    door::{Body, Problem, blocking},
};
use crate::{
    cli::{CliError, failed},
    config::{RoleConfig, spiffe},
    wiring::{IssuerSide, LeaseBackends},
    witness,
};

struct Issuer {
    apart: Arc<Apart>,
    issuer: Backends,
    consents: Arc<Consents>,
    seal_to: SealTo,
}

/// The door of an issuer.
pub(super) fn router(config: &RoleConfig, svid: &Arc<LiveSvid>, gate: &SpiffeId) -> Result<Router, CliError> {
    let apart = Arc::new(Apart::open(config)?);
    let peer = config.executor.as_ref().ok_or_else(|| CliError::Failed("there is no executor".to_owned()))?;
    let http = tls::client(svid, spiffe(&peer.id)?).map_err(failed)?;
    let book = Arc::new(RemoteBook::new(RoleClient::new(http, &peer.url)));
    let log = apart.witnessed.log().clone();
    let executors = config.text(config.executors.as_deref())?;
    let (data, keys, own) = (config.data(), config.keys_dir(), Arc::clone(&book) as _);
    let side = IssuerSide { data: &data, keys: &keys, book: own, clock: Arc::clone(&apart.clock) };
    let backends = LeaseBackends::open(&config.base, executors.as_deref(), log.name(), &side)?;
    let issuer = Backends::local(book, apart.pins.clone(), log, Arc::clone(&apart.clock));
    let issuer = backends.add_to(issuer);
    let cosigner = Arc::clone(apart.witnessed.cosigner());
    let consents = Arc::new(Consents::open(&config.data().join("consents")).map_err(failed)?);
    let state = Issuer { apart, issuer, consents, seal_to: peer.sealing_key.parse().map_err(failed)? };
    let router = Router::new()
        .route("/v1/leases", post(issue))
        .route("/v1/leases/terms", post(terms))
        .route("/v1/leases/revoke", post(revoke))
        .route("/v1/leases/backends", post(outliving))
        .route("/v1/leases/held", post(held))
        .route("/v1/halt", post(halt))
        .layer(DefaultBodyLimit::max(wire::MAX_BODY))
        .with_state(Arc::new(state))
        .merge(witness::router(cosigner));
    Ok(super::only(router, gate))
}

/// Mints a lease. A halt of this role's own stops every one of them, whatever its reach. Of the gate's, a hard one does: under a soft
/// one an undo may still be owed, which the executor tells from an apply.
async fn issue(
    State(issuer): State<Arc<Issuer>>,
    Body(ask): Body<wire::Issue>,
) -> Result<Json<wire::Sealed>, Problem> {
    let work = async move {
        if issuer.apart.halts.own().is_some() {
            return Err(Problem::refused("halt: this issuer is halted by a file of its own"));
        }
        let (apart, consents) = (Arc::clone(&issuer.apart), Arc::clone(&issuer.consents));
        let wire::Issue { info, jws, plan, intent } = ask;
        let checked = blocking(move || {
            let chain = apart.pins.open(&jws, &plan).map_err(|refusal| Problem::refused(refusal.line()))?;
            let receipt = apart.witnessed.intent(&intent, chain.permit())?;
            if apart.halts.reach_for(&chain, &plan) == Some(Reach::Hard) {
                return Err(Problem::refused("halt: a hard halt is in force here"));
            }
            consents.spend(chain.permit(), apart.clock.now())?;
            Ok::<_, Problem>((chain, receipt, plan))
        });
        let (chain, receipt, plan) = checked.await??;
        let lease = issuer.issuer.issue(info, chain.permit(), &receipt, &plan).await?;
        let sealed = issuer.seal_to.seal(&lease.info, &lease.secret);
        Ok(Json(wire::Sealed { sealed: sealed.map_err(|err| Problem::failed(err.to_string()))? }))
    };
    // What was minted must come to be known here, whoever goes away: a task of its own.
    tokio::spawn(work).await.map_err(|err| Problem::failed(err.to_string()))?
}

async fn revoke(
    State(issuer): State<Arc<Issuer>>,
    Body(ask): Body<wire::Revoke>,
) -> Result<Json<wire::Done>, Problem> {
    let work = async move { issuer.issuer.revoke(ask.backend.as_ref(), &ask.lease).await };
    let done = tokio::spawn(work).await.map_err(|err| Problem::failed(err.to_string()))?;
    done.map(|()| Json(wire::Done {})).map_err(Problem::from)
}

async fn terms(
    State(issuer): State<Arc<Issuer>>,
    Body(ask): Body<wire::AskTerms>,
) -> Result<Json<Terms>, Problem> {
    Ok(Json(issuer.issuer.terms(&ask.scope).await?))
}

async fn outliving(
    State(issuer): State<Arc<Issuer>>,
    Body(wire::AskBackends {}): Body<wire::AskBackends>,
) -> Result<Json<wire::Outliving>, Problem> {
    Ok(Json(wire::Outliving { backends: issuer.issuer.backends().await? }))
}

async fn held(
    State(issuer): State<Arc<Issuer>>,
    Body(ask): Body<wire::AskHeld>,
) -> Result<Json<wire::Held>, Problem> {
    Ok(Json(wire::Held { leases: issuer.issuer.held(&ask.backend).await? }))
}

impl From<IssueError> for Problem {
    fn from(err: IssueError) -> Self {
        match err {
            IssueError::Refused(why) => Self::refused(why),
            IssueError::Lasts(why) => Self::new(StatusCode::CONFLICT, wire::LASTS, why),
            // The gate tries again.
            IssueError::Backend(why) => {
                tracing::warn!("the lease backend failed: {why}");
                Self::new(StatusCode::BAD_GATEWAY, "backend", why)
            }
        }
    }
}

impl From<ConsentError> for Problem {
    fn from(err: ConsentError) -> Self {
        match err {
            ConsentError::Spent(_) => {
                tracing::error!("A SECOND PERMIT OF THE SAME CONSENTS: {err}");
                Self::refused(format!("approvals: {err}"))
            }
            ConsentError::Time(_) => Self::refused(format!("approvals: {err}")),
            ConsentError::Memory { .. } | ConsentError::Io { .. } => Self::failed(err.to_string()),
        }
    }
}

async fn halt(
    State(issuer): State<Arc<Issuer>>,
    Body(ask): Body<wire::Tell>,
) -> Result<Json<wire::Done>, Problem> {
    super::executor::told(Arc::clone(&issuer.apart), ask).await
}
