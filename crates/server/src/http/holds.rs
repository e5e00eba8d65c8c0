//! Holds: what waits for people, and what they decide.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use holdpoint_app::{port::PlanFilter, view::PlanView};
use holdpoint_domain::{Id, approval::SignedStatement, flow::State as PlanState, id::kind};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    body,
    caller::Caller,
    door::{Door, Place},
    extract::{Ask, PathId},
    plan, plans,
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

/// `GET /v1/holds`: what waits for people.
pub(super) async fn list(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Ask(query): Ask<ListQuery>,
) -> Result<Json<wire::Holds>, Problem> {
    let limit = plans::limit(query.limit)?;
    let mut holds = Vec::new();
    for row in plans::matching(&door, &caller, vec![PlanState::Held], limit).await? {
        holds.extend(read(&door, &row.id).await?);
    }
    Ok(Json(wire::Holds { holds }))
}

async fn read(door: &Door, plan: &Id<kind::Plan>) -> Result<Option<wire::HoldDetail>, Problem> {
    let gate = &door.service.gate();
    let view = PlanView::read(gate.ports.store.as_ref(), plan).await?;
    plan::hold_detail(gate, view).await
}

/// `GET /v1/holds/{id}`: the plan that waits under a hold, or once did.
pub(super) async fn show(
    State(door): State<Arc<Door>>,
    caller: Caller,
    PathId(id): PathId<kind::Hold>,
) -> Result<Json<wire::HoldDetail>, Problem> {
    let filter = PlanFilter { hold: Some(id.clone()), limit: 1, ..PlanFilter::default() };
    let row = door.service.gate().ports.store.plans(filter).await?.into_iter().next();
    let row = plans::visible_to(&caller, row).ok_or_else(|| no_such_hold(&id))?;
    read(&door, &row.id).await?.map(Json).ok_or_else(|| no_such_hold(&id))
}

/// Said in the same words whether the hold is of another agent's plan or of nobody's.
fn no_such_hold(id: &Id<kind::Hold>) -> Problem {
    let detail = format!("there is no hold `{id}`");
    Problem::new(StatusCode::NOT_FOUND, "no-such-hold", detail, "list the holds to find its id")
}

/// `POST /v1/holds/{id}/decisions`: a person's signed statement.
pub(super) async fn decide(
    State(door): State<Arc<Door>>,
    Caller(identity): Caller,
    PathId(id): PathId<kind::Hold>,
    place: Place,
    body::Json(signed): body::Json<SignedStatement>,
) -> Result<Json<wire::Decided>, Problem> {
    let named = &signed.statement.terms.hold;
    // Two ids, and the records could name the wrong one (T17).
    if *named != id {
        let detail = format!("the path names hold `{id}`, the statement is about `{named}`");
        return Err(Problem::malformed(
            "other-hold",
            detail,
            "send the statement to the hold that it is about",
        ));
    }
    let decided = Door::to_the_end(place, async move {
        let decided = door.service.decide_hold(&identity, &id, signed).await?;
        Ok::<_, Problem>(decided)
    })
    .await??;
    Ok(Json(wire::Decided {
        plan: decided.plan,
        state: decided.state,
        approvals: decided.approvals,
        needed: decided.needed,
        missing: decided.missing,
    }))
}
