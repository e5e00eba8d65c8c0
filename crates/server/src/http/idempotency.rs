//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a request that is sent again is answered again and not done
//! again (T38). Only for callers whom the registry has; what is remembered is forgotten after a day.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use holdpoint_app::port::{RequestAnswer, RequestNote, RequestRow, Store, StoreError, Txn};
use holdpoint_domain::{Digest, actor::Identity};

use super::{
    body,
    caller::DELEGATION,
    door::{Door, Place},
    problem::Problem,
};

/// The header of a request.
const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The header of an answer that was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Endpoints that remember nothing. Halting twice is halting once, and must work when the store takes nothing; a probe is no
/// request that changes anything, and must not write; whether something is allowed is asked of the policy in force, each time,
/// on record; whether a permit is good is true now and not for a day; and no token and no secret is kept.
const FORGETS: [&str; 7] = [
    "/v1/halt",
    "/v1/probes",
    "/v1/evaluations",
    "/v1/introspection",
    "/v1/delegations",
    "/v1/invitations",
    "/v1/sign-in-links",
];
/// Longest key.
pub(super) const MAX_KEY_LEN: usize = 128;
/// Largest answer that is remembered; ours are far below.
const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// Answers a request: by its handler, once a key, or with the answer that its key was given before.
pub(super) async fn once(
    door: &Arc<Door>,
    caller: &Identity,
    request: Request,
    place: Place,
    next: Next,
) -> Response {
    match key(caller, &request) {
        Ok(_) if FORGETS.contains(&request.uri().path()) => next.run(request).await,
        Ok(None) => next.run(request).await,
        Ok(Some(key)) => {
            keyed(door, key, request, place, next).await.unwrap_or_else(IntoResponse::into_response)
        }
        Err(problem) => problem.into_response(),
    }
}

/// The digest of caller, whom they act for, endpoint and key: two callers never meet under one key.
fn key(caller: &Identity, request: &Request) -> Result<Option<Digest>, Problem> {
    let Some(key) = header(request.headers())? else { return Ok(None) };
    let behalf = request.headers().get(DELEGATION).map(HeaderValue::as_bytes).map(Digest::of_bytes);
    let of = (caller.actor(), behalf, request.method().as_str(), request.uri().path(), key);
    Digest::of(&of).map(Some).map_err(|err| Problem::internal(&err))
}

fn header(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let malformed = |detail: String| {
        Problem::malformed("bad-idempotency-key", detail, "send one key a request, such as a random UUID")
    };
    let mut values = headers.get_all(KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(malformed("expected one `Idempotency-Key` header, got more".to_owned()));
    }
    let key = value.to_str().unwrap_or_default();
    if key.is_empty() || key.len() > MAX_KEY_LEN || !key.bytes().all(|c| c.is_ascii_graphic()) {
        return Err(malformed(format!("expected 1 to {MAX_KEY_LEN} visible ASCII characters as a key")));
    }
    Ok(Some(key))
}

async fn keyed(
    door: &Arc<Door>,
    key: Digest,
    request: Request,
    place: Place,
    next: Next,
) -> Result<Response, Problem> {
    let gate = door.service.gate();
    let store = Arc::clone(&gate.ports.store);
    let body = body::digest(&request).ok_or_else(|| Problem::internal(&"a request has a key and no body"))?;
    if let Some(known) = store.request(&key).await? {
        return again(known, body);
    }
    let received = RequestNote::Received { key, body, at: gate.ports.clock.now() };
    match store.append(Txn { request: Some(received), ..Txn::default() }).await {
        Ok(_) => {}
        // Another one with this key came meanwhile.
        Err(StoreError::KnownRequest) => {
            let known = store.request(&key).await?;
            return known.map_or_else(|| Err(in_progress()), |known| again(known, body));
        }
        Err(err) => return Err(err.into()),
    }
    // If we stop here, nobody knows whether it was done: whoever asks again is told to look.
    Door::to_the_end(place, async move { remember(store.as_ref(), key, next.run(request).await).await }).await
}

/// Writes an answer down, and gives it. Where it cannot be written, whoever asks again is told to look.
async fn remember(store: &dyn Store, key: Digest, response: Response) -> Response {
    let (parts, body) = response.into_parts();
    let Ok(bytes) = axum::body::to_bytes(body, MAX_ANSWER_BYTES).await else {
        return Problem::internal(&"an answer is too large to be remembered").into_response();
    };
    if let Ok(text) = std::str::from_utf8(&bytes) {
        let answer = RequestAnswer { status: parts.status.as_u16(), body: text.to_owned() };
        let note = RequestNote::Answered { key, answer };
        if let Err(err) = store.append(Txn { request: Some(note), ..Txn::default() }).await {
            tracing::error!("the answer to a request with a key was not remembered: {err}");
        }
    }
    Response::from_parts(parts, Body::from(bytes))
}

/// What a request that is known is answered.
fn again(known: RequestRow, body: Digest) -> Result<Response, Problem> {
    if known.body != body {
        let detail = "a request with this key had another body";
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "idempotency-key-reused",
            detail,
            "send another key with another request",
        ));
    }
    let RequestAnswer { status, body } = known.answer.ok_or_else(in_progress)?;
    let status = StatusCode::from_u16(status).map_err(|err| Problem::internal(&err))?;
    let kind = if status.is_success() { "application/json" } else { "application/problem+json" };
    let mut response = (status, Bytes::from(body)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

fn in_progress() -> Problem {
    let detail = "a request with this key was received, and its answer is not known";
    let next = "it may still happen: look at the list of plans before you send another key";
    Problem::new(StatusCode::CONFLICT, "idempotency-in-progress", detail, next)
}
