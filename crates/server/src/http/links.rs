//! Sign-in links of the console, for people who are known here.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use holdpoint_domain::actor::Identity;

use super::{body, caller::Caller, door::Door, problem::Problem, wire};
use crate::links;

/// `POST /v1/sign-in-links`.
pub(super) async fn make(
    State(door): State<Arc<Door>>,
    Caller(identity): Caller,
    body::Json(wire::NewSignInLink {}): body::Json<wire::NewSignInLink>,
) -> Result<(StatusCode, Json<wire::SignInLink>), Problem> {
    let Identity::Person { person } = identity else {
        let detail = "a session of the console is for people";
        return Err(Problem::new(StatusCode::FORBIDDEN, "not-a-person", detail, "ask as a person"));
    };
    let origin = door.console().ok_or_else(|| {
        let detail = "this gate has no console";
        let next = "have an operator add `console:` to the gate's configuration";
        Problem::new(StatusCode::NOT_FOUND, "no-console", detail, next)
    })?;
    let gate = door.service.gate();
    let now = gate.ports.clock.now();
    let until = now.plus(links::LIFE).map_err(|err| Problem::internal(&err))?;
    let secret = door.service.links.issue(&gate.ports.ids, person, now, until);
    // Behind `#`: no server and no proxy sees it in an address.
    let link = wire::SignInLink { link: format!("{origin}/sign-in/link#{secret}"), expires_at_ms: until };
    Ok((StatusCode::CREATED, Json(link)))
}
