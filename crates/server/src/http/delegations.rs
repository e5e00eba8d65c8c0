//! Delegation: who acts for whom, and the token that says so.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use holdpoint_app::delegate::{self, NewDelegation};
use holdpoint_domain::delegation::Within;

use super::{body, caller::Asker, door::Door, problem::Problem, wire};

/// `POST /v1/delegations`.
pub(super) async fn delegate(
    State(door): State<Arc<Door>>,
    Asker(party): Asker,
    body::Json(asked): body::Json<wire::NewDelegation>,
) -> Result<(StatusCode, Json<wire::Delegated>), Problem> {
    let within = Within {
        actions: asked.actions.map(|actions| actions.into_iter().collect()),
        targets: asked.targets.map(|targets| targets.into_iter().collect()),
    };
    let wanted = NewDelegation { to: asked.to, within, life: asked.life_ms };
    let delegated = delegate::delegate(&door.service.gate(), &party, wanted).await?;
    let delegation = delegated.delegation;
    let answer = wire::Delegated {
        id: delegation.id,
        head: delegation.head,
        via: delegation.via,
        to: delegation.to,
        until_ms: delegation.until_ms,
        token: delegated.token,
        index: delegated.index,
    };
    Ok((StatusCode::CREATED, Json(answer)))
}
