//! The issuer: checks permit, approvals, floor and intent for itself, mints, and seals the secret to the executor.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    routing::post,
};
use holdpoint_adapters::{
    lease::LocalIssuer,
    remote::{RemoteBook, RoleClient, SealTo, wire},
    tls::{self, LiveSvid, SpiffeId},
};
use holdpoint_app::port::{IssueError, Issuer as _};

use super::{
    Apart,
    door::{Body, Problem, blocking},
};
use crate::{
    cli::{CliError, failed},
    config::{RoleConfig, spiffe},
    witness,
};

struct Issuer {
    apart: Arc<Apart>,
    issuer: LocalIssuer,
    seal_to: SealTo,
}

/// The door of an issuer.
pub(super) fn router(config: &RoleConfig, svid: &Arc<LiveSvid>, gate: &SpiffeId) -> Result<Router, CliError> {
    let apart = Arc::new(Apart::open(config)?);
    let peer = config.executor.as_ref().ok_or_else(|| CliError::Failed("there is no executor".to_owned()))?;
    let http = tls::client(svid, spiffe(&peer.id)?).map_err(failed)?;
    let book = RemoteBook::new(RoleClient::new(http, &peer.url));
    let log = apart.witnessed.log().clone();
    let issuer = LocalIssuer::new(Arc::new(book), apart.pins.clone(), log, Arc::clone(&apart.clock));
    let cosigner = Arc::clone(apart.witnessed.cosigner());
    let state = Issuer { apart, issuer, seal_to: peer.sealing_key.parse().map_err(failed)? };
    let router = Router::new()
        .route("/v1/leases", post(issue))
        .route("/v1/leases/revoke", post(revoke))
        .route("/v1/halt", post(halt))
        .layer(DefaultBodyLimit::max(wire::MAX_BODY))
        .with_state(Arc::new(state))
        .merge(witness::router(cosigner));
    Ok(super::only(router, gate))
}

/// Mints a lease. Nothing is minted while a halt is in force, except for an undo that is still owed, which a soft halt lets go on:
/// the permit's own life ends both.
async fn issue(
    State(issuer): State<Arc<Issuer>>,
    Body(ask): Body<wire::Issue>,
) -> Result<Json<wire::Sealed>, Problem> {
    let work = async move {
        if issuer.apart.halts.reach() == Some(holdpoint_domain::halt::Reach::Hard) {
            return Err(Problem::refused("halt: a hard halt is in force here"));
        }
        let (apart, wire::Issue { info, jws, plan, intent }) = (Arc::clone(&issuer.apart), ask);
        let checked = blocking(move || {
            let permit = apart.pins.open(&jws, &plan).map_err(|refusal| Problem::refused(refusal.line()))?;
            let receipt = apart.witnessed.intent(&intent, &permit)?;
            Ok::<_, Problem>((permit, receipt, plan))
        });
        let (permit, receipt, plan) = checked.await??;
        let lease = issuer.issuer.issue(info, &permit, &receipt, &plan).await.map_err(|err| match err {
            IssueError::Refused(why) => Problem::refused(why),
            IssueError::Backend(why) => backend(&why),
        })?;
        let sealed = issuer.seal_to.seal(&lease.info, &lease.secret);
        Ok(Json(wire::Sealed { sealed: sealed.map_err(|err| Problem::failed(err.to_string()))? }))
    };
    // What was minted must come to be known here, whoever goes away: a task of its own.
    tokio::spawn(work).await.map_err(|err| Problem::failed(err.to_string()))?
}

async fn revoke(
    State(issuer): State<Arc<Issuer>>,
    Body(ask): Body<wire::End>,
) -> Result<Json<wire::Done>, Problem> {
    let work = async move { issuer.issuer.revoke(&ask.lease).await };
    let done = tokio::spawn(work).await.map_err(|err| Problem::failed(err.to_string()))?;
    done.map(|()| Json(wire::Done {})).map_err(|err| backend(&err.to_string()))
}

/// The backend did not do it; the gate tries again.
fn backend(why: &str) -> Problem {
    tracing::warn!("the lease backend failed: {why}");
    Problem::new(StatusCode::BAD_GATEWAY, "backend", why)
}

async fn halt(
    State(issuer): State<Arc<Issuer>>,
    Body(ask): Body<wire::Tell>,
) -> Result<Json<wire::Done>, Problem> {
    super::executor::told(Arc::clone(&issuer.apart), ask).await
}
