//! Leases: what is alive, and its end by a person's word.

use std::sync::Arc;

use axum::{Json, extract::State};
use holdpoint_app::revoke::{self, LiveLease};
use holdpoint_domain::id::kind;

use super::{
    body,
    caller::Caller,
    door::{Door, Place},
    extract::PathId,
    problem::Problem,
    wire,
};

/// `GET /v1/leases`: credentials that are not proven dead. Never a secret.
pub(super) async fn list(State(door): State<Arc<Door>>) -> Result<Json<wire::Leases>, Problem> {
    let live = revoke::live(&door.service.gate()).await?;
    Ok(Json(wire::Leases { leases: live.into_iter().map(one).collect() }))
}

fn one(live: LiveLease) -> wire::Lease {
    let LiveLease { plan, info, asked, trouble } = live;
    let scopes = info.scopes.into_iter();
    wire::Lease {
        id: info.id,
        plan,
        permit: info.permit,
        backend: info.backend,
        scopes: scopes.map(|scope| wire::LeaseScope { action: scope.action, target: scope.target }).collect(),
        expires_at_ms: info.expires_at_ms,
        revocation_asked: asked,
        failed_revocations: trouble.as_ref().map_or(0, |trouble| trouble.tries),
        alarm: trouble.as_ref().is_some_and(revoke::Trouble::is_alarm),
        last_failure: trouble.map(|trouble| trouble.why),
    }
}

/// `POST /v1/leases/{id}/revocation`: recorded before it is done. The run fails safe.
pub(super) async fn revoke(
    State(door): State<Arc<Door>>,
    Caller(identity): Caller,
    PathId(lease): PathId<kind::Lease>,
    place: Place,
    body::Json(wire::NewRevocation {}): body::Json<wire::NewRevocation>,
) -> Result<Json<wire::Revocation>, Problem> {
    Door::to_the_end(place, async move {
        let proven = revoke::ask(&door.service.gate(), &identity, &lease).await?;
        Ok(Json(wire::Revocation { lease, proven }))
    })
    .await?
}
