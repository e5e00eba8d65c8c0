//! Single sign-on: to the provider, and back. What comes back opens a session, and never decides anything.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header},
    response::{AppendHeaders, IntoResponse, Redirect, Response},
};
use holdpoint_adapters::identity::oidc::{OidcError, RelyingParty, SignedIn};
use holdpoint_domain::Id;

use super::account::Back;
use crate::{
    console::{Console, How, admit::local, session::cookie_of},
    http::{Ask, Problem},
};

/// The cookie of an attempt: this host's alone, and for the way to the provider and back.
const COOKIE: &str = "__Host-holdpoint-sign-in";
/// What a person does next.
const AGAIN: &str = "open the console, and sign in there";
const ASK: &str = "ask an administrator: who is who stands in `console.oidc` and in the registry";
const LOOK: &str = "try again, and have an operator look at the gate's log if it stays";

/// `GET /sign-in/oidc`: to the provider.
pub(in crate::console) async fn leave(
    State(console): State<Arc<Console>>,
    Ask(back): Ask<Back>,
) -> Result<Response, Problem> {
    let begun = party(&console)?.begin(back.next()).await.map_err(|err| refused(&err))?;
    let kept = cookie(&begun.cookie, RelyingParty::LIFE_SECS);
    Ok(([(header::SET_COOKIE, kept)], Redirect::to(&begun.location)).into_response())
}

/// `GET /sign-in/oidc/callback`: back from it. A GET, since the provider redirects; what keeps others from using it is the
/// attempt's cookie, which is used up whatever comes of it.
pub(in crate::console) async fn come_back(
    State(console): State<Arc<Console>>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let used_up = (header::SET_COOKIE, cookie("", 0));
    match signed_in(&console, &headers, uri.query().unwrap_or_default()).await {
        Ok((session, next)) => {
            let cookies = AppendHeaders([used_up, (header::SET_COOKIE, session)]);
            (cookies, Redirect::to(&next)).into_response()
        }
        Err(problem) => (AppendHeaders([used_up]), problem).into_response(),
    }
}

/// The session's cookie, and where the person wanted to go.
async fn signed_in(console: &Console, headers: &HeaderMap, query: &str) -> Result<(String, String), Problem> {
    let SignedIn { person, denied_teams, next } =
        party(console)?.finish(cookie_of(headers, COOKIE), query).await.map_err(|err| refused(&err))?;
    let gate = console.door.service.gate();
    let registered = gate.controls.registry.person(&person);
    let registered = registered.ok_or_else(|| {
        let detail = format!("the provider's claims name `{person}`, whom the registry does not have");
        Problem::new(StatusCode::FORBIDDEN, "not-in-the-registry", detail, ASK)
    })?;
    let unconfirmed: Vec<_> = registered.teams.intersection(&denied_teams).map(Id::as_str).collect();
    if !unconfirmed.is_empty() {
        let teams = unconfirmed.join("`, `");
        let detail =
            format!("the registry has `{person}` in `{teams}`, and the provider does not confirm it");
        return Err(Problem::new(StatusCode::FORBIDDEN, "team-not-confirmed", detail, ASK));
    }
    tracing::info!("{person} signed in by single sign-on");
    let session = console.sessions().open(person, How::Sso, console.now());
    Ok((session, local(Some(&next)).to_owned()))
}

/// The relying party, if there is a provider.
fn party(console: &Console) -> Result<&RelyingParty, Problem> {
    console.party.as_ref().ok_or_else(|| {
        let detail = "this gate has no provider for single sign-on";
        Problem::new(StatusCode::NOT_FOUND, "no-single-sign-on", detail, "sign in with a passkey")
    })
}

fn cookie(value: &str, secs: u64) -> String {
    // Lax: the way back is a link from another site.
    format!("{COOKIE}={value}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={secs}")
}

/// Why nobody is signed in, for the person and in the log: no token, code or state is in either.
fn refused(err: &OidcError) -> Problem {
    tracing::warn!("single sign-on: {err}");
    let (status, rule, next) = match &err {
        OidcError::NotBegun | OidcError::Late | OidcError::State | OidcError::Answer => {
            (StatusCode::BAD_REQUEST, "not-this-sign-in", AGAIN)
        }
        OidcError::Refused(_) | OidcError::Shown(_) => (StatusCode::FORBIDDEN, "provider-refused", AGAIN),
        OidcError::Required(_) | OidcError::Nobody(_) => (StatusCode::FORBIDDEN, "nobody-of-ours", ASK),
        OidcError::Issuer
        | OidcError::Question(_)
        | OidcError::Discovery(_)
        | OidcError::Keys(_)
        | OidcError::Paused
        | OidcError::Token(_)
        | OidcError::Algorithm
        | OidcError::Party
        | OidcError::Old
        | OidcError::Nonce
        | OidcError::AccessToken => (StatusCode::BAD_GATEWAY, "provider-not-believed", LOOK),
        OidcError::Random => return Problem::internal(&err),
    };
    Problem::new(status, rule, err.to_string(), next)
}
