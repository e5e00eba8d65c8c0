//! Changes: people replace a control input, on the record.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use holdpoint_app::{
    change,
    gate::Gate,
    projection::{ChangeRow, ChangeState},
};
use holdpoint_domain::{
    Timestamp,
    change::{ChangeStatement, ChangeTerms},
    digest::base64,
    id::kind,
    signed::Signed,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    body,
    caller::Caller,
    door::{Door, Place},
    extract::{Ask, PathId},
    plans,
    problem::Problem,
    wire,
};

/// The query of a list.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(inline)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// At most this many.
    limit: Option<u32>,
}

/// `POST /v1/changes`.
pub(super) async fn propose(
    State(door): State<Arc<Door>>,
    Caller(identity): Caller,
    place: Place,
    body::Json(new): body::Json<wire::NewChange>,
) -> Result<Response, Problem> {
    let terms = Door::to_the_end(place, async move {
        change::propose(&door.service.gate(), &identity, new.control, new.files).await
    })
    .await??;
    let location = format!("/v1/changes/{}", terms.id);
    let answer = (StatusCode::CREATED, [(header::LOCATION, location)], Json(wire::ProposedChange { terms }));
    Ok(answer.into_response())
}

/// `GET /v1/changes`.
pub(super) async fn list(
    State(door): State<Arc<Door>>,
    Ask(query): Ask<ListQuery>,
) -> Result<Json<wire::Changes>, Problem> {
    let gate = &door.service.gate();
    let rows = change::list(gate, plans::limit(query.limit)?).await?;
    Ok(Json(wire::Changes { changes: rows.into_iter().map(|row| summary(gate, row)).collect() }))
}

fn summary(gate: &Gate, row: ChangeRow) -> wire::ChangeSummary {
    let state = state(row.state, &row.terms, gate.ports.clock.now());
    let ChangeTerms { id, control, author, needed, expires_at_ms, .. } = row.terms;
    let (approvals, index) = (row.approvals, row.first_index);
    wire::ChangeSummary { id, control, state, author, approvals, needed, expires_at_ms, index }
}

/// Nothing is recorded when the time of a change runs out: it cannot be decided on any more.
fn state(state: ChangeState, terms: &ChangeTerms, now: Timestamp) -> wire::ChangeState {
    match state {
        ChangeState::Open if now >= terms.expires_at_ms => wire::ChangeState::Expired,
        ChangeState::Open => wire::ChangeState::Open,
        ChangeState::Activated => wire::ChangeState::Activated,
        ChangeState::Rejected => wire::ChangeState::Rejected,
    }
}

/// `GET /v1/changes/{id}`.
pub(super) async fn show(
    State(door): State<Arc<Door>>,
    PathId(id): PathId<kind::Change>,
) -> Result<Json<wire::ChangeDetail>, Problem> {
    let gate = &door.service.gate();
    let change::Shown { row, active, proposed } = change::show(gate, &id).await?;
    // With its salt, whoever reads the files can tell that they are what the terms name.
    let kept = gate.ports.store.text(&row.terms.content).await?;
    Ok(Json(wire::ChangeDetail {
        state: state(row.state, &row.terms, gate.ports.clock.now()),
        terms: row.terms,
        approvals: row.approvals,
        active: active.files,
        proposed: proposed.map(|document| document.files),
        salt: kept.map(|kept| base64(kept.salt.as_bytes())),
        index: row.first_index,
    }))
}

/// `POST /v1/changes/{id}/decisions`: an administrator's signed statement.
pub(super) async fn decide(
    State(door): State<Arc<Door>>,
    Caller(identity): Caller,
    PathId(id): PathId<kind::Change>,
    place: Place,
    body::Json(signed): body::Json<Signed<ChangeStatement>>,
) -> Result<Json<wire::ChangeDecided>, Problem> {
    let terms = &signed.statement.terms;
    // Two ids, and the records could name the wrong one (T17).
    if terms.id != id {
        let detail = format!("the path names change `{id}`, the statement is about `{}`", terms.id);
        let next = "send the statement to the change that it is about";
        return Err(Problem::malformed("other-change", detail, next));
    }
    let (control, digest, terms) = (terms.control, terms.new, terms.clone());
    let service = Arc::clone(&door.service);
    let decided =
        Door::to_the_end(place, async move { change::decide(&service.gate(), &identity, &id, signed).await })
            .await??;
    let state = state(decided.state, &terms, door.service.gate().ports.clock.now());
    let (id, approvals, needed) = (decided.id, decided.approvals, decided.needed);
    Ok(Json(wire::ChangeDecided { id, control, state, approvals, needed, digest }))
}
