//! The HTTP API: the door through which agents propose, people decide, and everybody checks the ledger.
//!
//! Start at [`endpoint::ENDPOINTS`]: one table of every endpoint and who may call it, from which the router is built. A
//! request passes [`door`] (host, browser, time limit), then [`caller`] (who is it, may they; only then its body, and then a
//! place among those at work), then its handler. Handlers read and answer; what happens is in the use cases of `holdpoint_app`.
//!
//! Never here: a decision, a session cookie, a call without a limit, an error that is not `application/problem+json`
//! (RFC 9457), or text of an agent that is not marked and made visible.

mod aftercare;
mod aftermath;
mod blast;
pub mod bodies;
mod body;
pub(crate) mod brakes;
mod caller;
mod changes;
mod connection;
mod delegations;
mod door;
mod endpoint;
mod evaluations;
mod events;
mod extract;
mod halt;
mod holds;
mod idempotency;
mod incidents;
mod invitations;
mod leases;
mod ledger;
mod links;
pub(crate) mod openapi;
mod permits;
mod plan;
mod plans;
mod problem;
mod reconciliations;
mod schema;
#[cfg(test)]
mod tests;
pub(crate) mod wire;
mod words;
mod world;

use std::{io, sync::Arc, time::Duration};

use axum::Router;
use holdpoint_domain::lease::MAX_LEASE_MS;
use tokio::net::TcpListener;
use tokio_rustls::rustls::ServerConfig;

use crate::service::Service;

pub(crate) use aftermath::lines as aftermath_lines;
pub(crate) use blast::reached;
pub(crate) use body::{FORM, JSON, receive_as, received};
pub(crate) use caller::{DELEGATION, bearer, named};
pub(crate) use door::{Door, Limits, Place, Settings, check_host, within};
pub(crate) use events::{entries, last_event_id, streamed};
pub(crate) use extract::{Ask, PathId, PathText};
pub(crate) use problem::{Problem, echo, no_such_method};
pub(crate) use words::{doubt, failure, moment, reason, specified, worse};

/// The API of a service, with routes that pass the same door beside its table.
pub(crate) fn router(service: Arc<Service>, settings: Settings, beside: Router) -> Router {
    let door = Arc::new(door::Door::new(service, settings));
    endpoint::routes(&door)
        .with_state(Arc::clone(&door))
        .merge(beside)
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(axum::middleware::from_fn_with_state(door, door::pass))
}

/// Serves until `shutdown` comes, then lets open requests end for a few seconds.
///
/// If we stop here, nothing is lost: what was answered is in the ledger, and what was not is found by `recover`.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    connection::serve(listener, router, connection::Limits::default(), None, shutdown).await;
    Ok(())
}

/// How long a role may be silent while it works on a step: no longer than a lease lives.
const STEP: Duration = Duration::from_millis(MAX_LEASE_MS);

/// As [`serve`], for the door of a role: behind mutual TLS, and patient while a step is done.
pub(crate) async fn serve_role(
    listener: TcpListener,
    router: Router,
    tls: Arc<ServerConfig>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    let limits = connection::Limits { idle: STEP, keep_alive: false, ..connection::Limits::default() };
    connection::serve(listener, router, limits, Some(tls.into()), shutdown).await;
}

/// As [`serve`], for workloads that prove who they are by certificates.
pub(crate) async fn serve_workloads(
    listener: TcpListener,
    router: Router,
    tls: Arc<ServerConfig>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    connection::serve(listener, router, connection::Limits::default(), Some(tls.into()), shutdown).await;
}
