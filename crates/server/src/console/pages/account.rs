//! Signing in and out. How somebody proves who they are is no matter of this page: its script, or a provider, does that.

use std::sync::Arc;

use askama::Template;
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use holdpoint_domain::passkey::Bytes;
use serde::Deserialize;

use super::page;
use crate::{
    console::{
        Console, How,
        admit::{Visitor, encoded, local},
        ceremony::Onward,
        form::ReceivedJson,
        frame::Frame,
    },
    http::{Ask, Problem},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::console) struct Back {
    /// Where to go afterwards.
    next: Option<String>,
}

impl Back {
    /// Where to go afterwards, of ours.
    pub(super) fn next(&self) -> &str {
        local(self.next.as_deref())
    }
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn {
    frame: Frame,
    next: String,
    /// The way to the provider, if there is one.
    provider: Option<String>,
}

#[derive(Template)]
#[template(path = "link.html")]
struct Linked {
    frame: Frame,
}

/// What a link says behind its `#`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::console) struct Link {
    secret: Bytes,
}

/// `GET /sign-in`.
pub(in crate::console) async fn sign_in(
    State(console): State<Arc<Console>>,
    Ask(back): Ask<Back>,
) -> Result<Response, Problem> {
    let next = back.next().to_owned();
    let provider = console.party.as_ref().map(|_| format!("/sign-in/oidc?next={}", encoded(&next)));
    page(&SignIn { frame: Frame::new(&console, None, "").await, next, provider })
}

/// `GET /sign-in/link`: the same page whoever opens it. The secret stands behind `#` in the address, which no browser sends.
pub(in crate::console) async fn link(State(console): State<Arc<Console>>) -> Result<Response, Problem> {
    page(&Linked { frame: Frame::new(&console, None, "").await })
}

/// `POST /sign-in/link`.
pub(in crate::console) async fn follow(
    State(console): State<Arc<Console>>,
    ReceivedJson(Link { secret }): ReceivedJson<Link>,
) -> Result<impl IntoResponse, Problem> {
    let (service, now) = (&console.door.service, console.now());
    let person = service.links.redeem(secret.as_slice(), now);
    let known = person.filter(|person| service.gate().controls.registry.person(person).is_some());
    let person = known.ok_or_else(|| {
        let detail = "this link is none, was used, or has ended";
        let next = "run `holdpoint console` again, and open what it prints";
        Problem::new(StatusCode::FORBIDDEN, "no-such-link", detail, next)
    })?;
    tracing::info!("{person} signed in with a link of the command line");
    let cookie = console.sessions().open(person, How::Link, now);
    Ok(([(header::SET_COOKIE, cookie)], Json(Onward::to("/"))))
}

/// `POST /stay`: somebody is still there. That they asked has put the idle timeout off already.
pub(in crate::console) async fn stay() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// `POST /sign-out`.
pub(in crate::console) async fn sign_out(
    State(console): State<Arc<Console>>,
    headers: HeaderMap,
) -> Response {
    let gone = console.sessions().sign_out(&headers);
    ([(header::SET_COOKIE, gone)], Redirect::to("/sign-in")).into_response()
}

/// `POST /sign-out/everywhere`.
pub(in crate::console) async fn sign_out_everywhere(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    headers: HeaderMap,
) -> Response {
    let ended = console.sessions().sign_out_everywhere(&visitor.session.person);
    tracing::info!("{} signed out everywhere: {ended} sessions ended", visitor.session.person);
    sign_out(State(console), headers).await
}
