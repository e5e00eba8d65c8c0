//! Signing in and out. How somebody proves who they are is no matter of this page: its script, or a provider, does that.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use super::page;
use crate::{
    console::{
        Console,
        admit::{Visitor, encoded, local},
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

/// `GET /sign-in`.
pub(in crate::console) async fn sign_in(
    State(console): State<Arc<Console>>,
    Ask(back): Ask<Back>,
) -> Result<Response, Problem> {
    let next = back.next().to_owned();
    let provider = console.party.as_ref().map(|_| format!("/sign-in/oidc?next={}", encoded(&next)));
    page(&SignIn { frame: Frame::new(&console, None, "").await, next, provider })
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
