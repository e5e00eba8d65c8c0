//! `POST /add-checkpoint`.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use holdpoint_adapters::cosign::{AddError, Cosigner};
use holdpoint_ledger::{AddCheckpoint, WitnessError, witness::MAX_REQUEST_BYTES};
use tower_http::timeout::TimeoutLayer;

/// How long a request may take, its body included.
const LIMIT: Duration = Duration::from_secs(10);

/// The door of a cosigner. It asks nobody who they are: only what a log has signed is looked at.
pub(crate) fn router(cosigner: Arc<Cosigner>) -> Router {
    Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, LIMIT))
        .with_state(cosigner)
}

async fn add_checkpoint(State(cosigner): State<Arc<Cosigner>>, body: Bytes) -> Response {
    let request = match AddCheckpoint::parse(&body) {
        Ok(request) => request,
        Err(err) => return refused(&err),
    };
    // It waits for the disk.
    match tokio::task::spawn_blocking(move || cosigner.add(&request)).await {
        Ok(Ok(cosignature)) => plain(StatusCode::OK, cosignature.to_string()),
        Ok(Err(AddError::Refused(err))) => refused(&err),
        Ok(Err(err @ (AddError::Io(_) | AddError::Sign(_)))) => {
            tracing::error!("a head was not cosigned: {err}");
            plain(StatusCode::SERVICE_UNAVAILABLE, "the cosigner cannot do this now\n".to_owned())
        }
        Err(err) => {
            tracing::error!("a head was not cosigned: {err}");
            plain(StatusCode::INTERNAL_SERVER_ERROR, "the cosigner failed\n".to_owned())
        }
    }
}

fn refused(err: &WitnessError) -> Response {
    let status = StatusCode::from_u16(err.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match err.known_size() {
        Some(size) => {
            (status, [(header::CONTENT_TYPE, "text/x.tlog.size")], format!("{size}\n")).into_response()
        }
        None => plain(status, format!("{err}\n")),
    }
}

fn plain(status: StatusCode, text: String) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}
