//! Signing in with a passkey: it lets somebody look, and nothing else.

use std::sync::Arc;

use axum::{Json, extract::State, http::header, response::IntoResponse};
use holdpoint_domain::{
    agent::{Person, Registry},
    passkey::{self, Assertion, Bytes, CredentialId, Passkey, counter_follows},
};
use serde::{Deserialize, Serialize};

use super::none;
use crate::{
    console::{Console, How, admit::local, form::ReceivedJson},
    http::{Problem, echo},
};

/// What the browser is to have signed.
#[derive(Serialize)]
pub(in crate::console) struct Challenge {
    pub(super) ceremony: String,
    pub(super) challenge: Bytes,
    pub(super) rp_id: String,
    /// The passkeys that can sign; all of the site where there are none.
    pub(super) allow: Vec<CredentialId>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::console) struct Nothing {}

/// What the browser came back with.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::console) struct Signed {
    ceremony: String,
    assertion: Assertion,
    #[serde(default)]
    next: Option<String>,
}

/// Where to go on.
#[derive(Serialize)]
pub(in crate::console) struct Onward {
    pub(super) next: String,
}

impl Onward {
    /// On to a page of ours.
    pub(in crate::console) fn to(next: &str) -> Self {
        Self { next: next.to_owned() }
    }
}

/// `POST /sign-in/passkey`.
pub(in crate::console) async fn begin(
    State(console): State<Arc<Console>>,
    ReceivedJson(Nothing {}): ReceivedJson<Nothing>,
) -> Result<Json<Challenge>, Problem> {
    let ceremonies = console.ceremonies();
    let begun = ceremonies.sign_ins.begin(ceremonies.ids.as_ref(), console.now());
    let (ceremony, message) = begun.ok_or_else(none)?;
    let challenge = Bytes::new(*passkey::challenge(&message).as_bytes());
    Ok(Json(Challenge { ceremony, challenge, rp_id: console.rp_id().to_owned(), allow: Vec::new() }))
}

/// `POST /sign-in/passkey/finish`.
pub(in crate::console) async fn finish(
    State(console): State<Arc<Console>>,
    ReceivedJson(signed): ReceivedJson<Signed>,
) -> Result<impl IntoResponse, Problem> {
    let Signed { ceremony, assertion, next } = signed;
    let begun = console.ceremonies().sign_ins.find(&ceremony, console.now()).ok_or_else(none)?;
    let gate = console.door.service.gate();
    let (person, passkey) = owner(&gate.controls.registry, &assertion.credential)
        .ok_or_else(|| refused("no passkey of anybody here: is its change approved yet?".to_owned()))?;
    if passkey.origin != console.origin() {
        return Err(refused(format!("the passkey is one for {}", passkey.origin)));
    }
    let asserted =
        passkey.check(&assertion, &begun.message()).map_err(|err| refused(echo(&err.to_string())))?;
    let recorded =
        gate.ports.store.passkey_counter(&passkey.id).await.map_err(|err| Problem::internal(&err))?;
    {
        let mut counters = console.ceremonies().counters();
        let last = counters.get(&passkey.id).copied().unwrap_or(0).max(recorded);
        if !counter_follows(last, asserted.counter()) {
            let detail = format!(
                "its counter was {last}, and is {} now: there may be a copy of it",
                asserted.counter()
            );
            return Err(refused(detail));
        }
        counters.insert(passkey.id.clone(), asserted.counter());
    }
    if !console.ceremonies().sign_ins.use_up(&begun, &passkey.id, console.now()) {
        return Err(none());
    }
    let how = How::Passkey(passkey.id.clone());
    let cookie = console.sessions().open(person.id.clone(), how, console.now());
    tracing::info!("{} signed in with a passkey", person.id);
    Ok(([(header::SET_COOKIE, cookie)], Json(Onward::to(local(next.as_deref())))))
}

/// Whose passkey this is.
fn owner<'r>(registry: &'r Registry, id: &CredentialId) -> Option<(&'r Person, &'r Passkey)> {
    let of = |person: &'r Person| Some((person, person.passkeys.iter().find(|passkey| passkey.id == *id)?));
    registry.people().find_map(of)
}

fn refused(detail: String) -> Problem {
    let next = "use another passkey, or ask an administrator for an invitation";
    Problem::new(axum::http::StatusCode::FORBIDDEN, "passkey-refused", detail, next)
}
