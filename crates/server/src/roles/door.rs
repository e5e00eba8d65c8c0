//! What the doors of the roles share.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{FromRequest, Request, State},
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse, Response},
};
use holdpoint_adapters::{
    remote::{IntentError, wire},
    tls::{Peer, SpiffeId},
};
use holdpoint_app::port::Clock;
use serde::de::DeserializeOwned;

/// Who may ask.
#[derive(Clone)]
pub(super) struct Allowed {
    pub(super) peer: SpiffeId,
    pub(super) clock: Arc<dyn Clock>,
}

/// Lets one peer through. The connection may be of another one that has paths of its own here.
pub(super) async fn admit(
    State(Allowed { peer, clock }): State<Allowed>,
    request: Request,
    next: Next,
) -> Response {
    match request.extensions().get::<Peer>() {
        Some(Peer { until, .. }) if clock.now() >= *until => {
            let detail = "the certificate of this connection has ended: connect with the new one";
            Problem::new(StatusCode::FORBIDDEN, "ended-certificate", detail).into_response()
        }
        Some(Peer { id, .. }) if *id == peer => next.run(request).await,
        Some(Peer { id, .. }) => {
            tracing::warn!(path = request.uri().path(), "`{id}` asked for what only `{peer}` may ask for");
            Problem::new(StatusCode::FORBIDDEN, "other-peer", format!("this is for `{peer}`")).into_response()
        }
        None => Problem::new(StatusCode::FORBIDDEN, "no-peer", "there is no certificate").into_response(),
    }
}

/// Every answer that is not the one asked for.
pub(super) struct Problem {
    status: StatusCode,
    body: wire::Problem,
}

impl Problem {
    pub(super) fn new(status: StatusCode, rule: &str, detail: impl Into<String>) -> Self {
        Self { status, body: wire::Problem { rule: rule.to_owned(), detail: detail.into(), size: None } }
    }

    /// The permit, its plan, its approvals, its intent or its lease does not stand. Nothing was done.
    pub(super) fn refused(detail: impl Into<String>) -> Self {
        let detail = detail.into();
        tracing::warn!("refused: {detail}");
        Self::new(StatusCode::FORBIDDEN, "refused", detail)
    }

    /// This role failed.
    pub(super) fn failed(detail: impl Into<String>) -> Self {
        let detail = detail.into();
        tracing::error!("failed: {detail}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", detail)
    }
}

impl From<IntentError> for Problem {
    fn from(err: IntentError) -> Self {
        if let IntentError::Behind(size) = err {
            let mut problem = Self::new(StatusCode::CONFLICT, wire::BEHIND, err.to_string());
            problem.body.size = Some(size);
            return problem;
        }
        let mut line = err.to_string();
        let mut source = std::error::Error::source(&err);
        while let Some(cause) = source {
            line = format!("{line}: {cause}");
            source = cause.source();
        }
        Self::refused(format!("intent: {line}"))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}

/// A body of JSON: whole, small, and of the type asked for.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let malformed = |detail: String| Problem::new(StatusCode::BAD_REQUEST, "malformed", detail);
        let bytes = Bytes::from_request(request, state).await.map_err(|err| malformed(err.body_text()))?;
        serde_json::from_slice(&bytes).map(Self).map_err(|err| malformed(err.to_string()))
    }
}

/// Runs what blocks, to its end, whoever goes away.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|err| Problem::failed(err.to_string()))
}
