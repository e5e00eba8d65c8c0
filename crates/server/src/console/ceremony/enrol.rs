//! Enrolment: somebody opens their link and registers a passkey. It counts when others have approved it.

use std::sync::Arc;

use askama::Template;
use axum::{Json, extract::State, response::Response};
use holdpoint_adapters::registration::RegistrationError;
use holdpoint_app::enrol;
use holdpoint_domain::{Id, id::kind, passkey::Bytes};
use serde::{Deserialize, Serialize};

use super::{Enrolling, What, Whose};
use crate::{
    console::{Console, form::ReceivedJson, frame::Frame, pages::page as render},
    http::{Problem, echo},
};

#[derive(Template)]
#[template(path = "enrol.html")]
struct Enrol {
    frame: Frame,
}

/// What a link says behind its `#`, which no browser sends by itself.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::console) struct Link {
    act: Id<kind::Act>,
    secret: Bytes,
}

/// What the browser is to make.
#[derive(Serialize)]
pub(in crate::console) struct Options {
    ceremony: String,
    person: Id<kind::Person>,
    options: serde_json::Value,
}

/// What the browser made.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::console) struct Made {
    ceremony: String,
    credential: serde_json::Value,
}

/// What came of it.
#[derive(Serialize)]
pub(in crate::console) struct Registered {
    change: Id<kind::Change>,
    needed: u32,
    passkey: String,
}

/// `GET /enrol`: the same page whoever opens it.
pub(in crate::console) async fn page(State(console): State<Arc<Console>>) -> Result<Response, Problem> {
    render(&Enrol { frame: Frame::new(&console, None, "").await })
}

/// `POST /enrol`.
pub(in crate::console) async fn begin(
    State(console): State<Arc<Console>>,
    ReceivedJson(Link { act, secret }): ReceivedJson<Link>,
) -> Result<Json<Options>, Problem> {
    let gate = console.door.service.gate();
    let invitation = enrol::open(&gate, &act, secret.as_slice()).await?;
    let person = invitation.person;
    let known =
        gate.controls.registry.person(&person).map(|person| person.passkeys.clone()).unwrap_or_default();
    let (options, registration) =
        console.registrar.begin(&person, act.clone(), &known).map_err(|err| refused(&err))?;
    let enrolling = Enrolling { registration, act, secret: secret.as_slice().to_vec() };
    let whose = Whose::Act(enrolling.act.clone());
    let ceremony = console.ceremonies().keep(whose, What::Enrol(Box::new(enrolling)), console.now())?;
    Ok(Json(Options { ceremony, person, options }))
}

/// `POST /enrol/finish`.
pub(in crate::console) async fn finish(
    State(console): State<Arc<Console>>,
    ReceivedJson(Made { ceremony, credential }): ReceivedJson<Made>,
) -> Result<Json<Registered>, Problem> {
    let What::Enrol(enrolling) = console.ceremonies().take_enrolment(&ceremony, console.now())? else {
        let next = "open your link again";
        return Err(Problem::malformed(
            "other-ceremony",
            "the ceremony is for something else".to_owned(),
            next,
        ));
    };
    let Enrolling { registration, act, secret } = *enrolling;
    let passkey = console.registrar.finish(&registration, credential).map_err(|err| refused(&err))?;
    let name = passkey.id.to_string();
    let terms = enrol::redeem(&console.door.service.gate(), &act, &secret, passkey).await?;
    tracing::warn!("{} registered a passkey: change {} asks for it", terms.author, terms.id);
    Ok(Json(Registered { change: terms.id, needed: terms.needed, passkey: name }))
}

fn refused(err: &RegistrationError) -> Problem {
    let source = std::error::Error::source(err).map(|source| format!(": {source}")).unwrap_or_default();
    let detail = format!("the passkey was not registered: {}", echo(&format!("{err}{source}")));
    Problem::malformed("bad-passkey", detail, "try again, or use another authenticator")
}
