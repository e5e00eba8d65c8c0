//! Aftercare: what people owe to runs that are over, and to those that nobody knows the end of.

use std::sync::Arc;

use axum::{Json, extract::State};
use holdpoint_app::{gate::Gate, projection::RunRow, resolve, review};
use holdpoint_domain::{Id, id::kind};

use super::{
    body,
    caller::Caller,
    door::{Door, Place},
    extract::PathId,
    problem::Problem,
    wire,
};

/// `GET /v1/reviews`: runs that somebody must still look at.
pub(super) async fn owed(State(door): State<Arc<Door>>) -> Result<Json<wire::Reviews>, Problem> {
    let runs = review::owed(&door.service.gate()).await?;
    Ok(Json(wire::Reviews { reviews: runs.into_iter().map(one).collect() }))
}

fn one(run: RunRow) -> wire::OwedReview {
    let (due_at_ms, owner) = run.owes.map(|owed| (owed.due_at, owed.owner)).unzip();
    wire::OwedReview {
        plan: run.plan,
        state: run.state,
        agent: run.footprint.agent,
        actions: run.footprint.actions,
        targets: run.targets,
        claimed_at_ms: run.claimed_at,
        due_at_ms,
        owner,
        suspends: run.suspends,
    }
}

/// `POST /v1/plans/{id}/review`: a person's signed answers.
pub(super) async fn review(
    State(door): State<Arc<Door>>,
    Caller(identity): Caller,
    PathId(id): PathId<kind::Plan>,
    place: Place,
    body::Json(new): body::Json<wire::NewReview>,
) -> Result<Json<wire::LookedAfter>, Problem> {
    same_plan(&id, &new.statement.statement.plan)?;
    Door::to_the_end(place, async move {
        let gate = door.service.gate();
        review::review(&gate, &identity, &id, new.statement, new.note.as_deref()).await?;
        looked_after(&gate, id).await
    })
    .await?
}

/// `POST /v1/plans/{id}/resolution`: a person's signed word on how a run in doubt ended.
pub(super) async fn resolve(
    State(door): State<Arc<Door>>,
    Caller(identity): Caller,
    PathId(id): PathId<kind::Plan>,
    place: Place,
    body::Json(new): body::Json<wire::NewResolution>,
) -> Result<Json<wire::LookedAfter>, Problem> {
    same_plan(&id, &new.statement.statement.plan)?;
    Door::to_the_end(place, async move {
        let gate = door.service.gate();
        resolve::resolve(&gate, &identity, &id, new.statement, new.note.as_deref()).await?;
        looked_after(&gate, id).await
    })
    .await?
}

async fn looked_after(gate: &Gate, plan: Id<kind::Plan>) -> Result<Json<wire::LookedAfter>, Problem> {
    let row = gate.ports.store.plan(&plan).await?;
    let row = row.ok_or_else(|| Problem::internal(&"a plan that was looked after is not there"))?;
    Ok(Json(wire::LookedAfter { plan, state: row.state }))
}

/// Two ids, and the records could name the wrong one (T17).
fn same_plan(path: &Id<kind::Plan>, statement: &Id<kind::Plan>) -> Result<(), Problem> {
    if path == statement {
        return Ok(());
    }
    let detail = format!("the path names plan `{path}`, the statement is about `{statement}`");
    Err(Problem::malformed("other-plan", detail, "send the statement to the plan that it is about"))
}
