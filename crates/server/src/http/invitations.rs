//! Invitations to register a passkey.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use holdpoint_app::enrol;

use super::{body, caller::Caller, door::Door, problem::Problem, wire};

/// `POST /v1/invitations`.
pub(super) async fn invite(
    State(door): State<Arc<Door>>,
    Caller(identity): Caller,
    body::Json(asked): body::Json<wire::NewInvitation>,
) -> Result<(StatusCode, Json<wire::Invited>), Problem> {
    let invited = enrol::invite(&door.service.gate(), &identity, &asked.person).await?;
    let answer = wire::Invited {
        act: invited.invitation.act,
        person: invited.invitation.person,
        expires_at_ms: invited.invitation.expires_at_ms,
        secret: URL_SAFE_NO_PAD.encode(invited.secret),
        console: door.console().map(ToOwned::to_owned),
    };
    Ok((StatusCode::CREATED, Json(answer)))
}
