//! What holds the gate back: the halt, limits, and the gate's own state.

use std::sync::Arc;

use axum::{Json, extract::State};
use holdpoint_app::{brakes as app_brakes, gate::Gate, halt};
use holdpoint_domain::{
    Timestamp,
    halt::ResumeStatement,
    limits::{Calendar, Window},
    signed::Signed,
};

use super::{
    body, brakes,
    caller::Caller,
    door::{Door, Place},
    problem::Problem,
    wire,
};

/// `GET /v1/halt`.
pub(super) async fn show(State(door): State<Arc<Door>>) -> Json<wire::HaltInForce> {
    Json(in_force(&door.service.gate()))
}

/// `POST /v1/halt`: in force when this answers, whatever the disk and the store do.
pub(super) async fn halt(
    State(door): State<Arc<Door>>,
    Caller(identity): Caller,
    place: Place,
    body::Json(new): body::Json<wire::NewHalt>,
) -> Result<Json<wire::Halted>, Problem> {
    let done =
        Door::to_the_end(place, async move { halt::halt(&door.service.gate(), &identity, new.reach).await })
            .await??;
    Ok(Json(wire::Halted { halt: done.halt, latched: done.latched, recorded: done.recorded }))
}

/// `POST /v1/resume`.
pub(super) async fn resume(
    State(door): State<Arc<Door>>,
    Caller(identity): Caller,
    place: Place,
    body::Json(signed): body::Json<Signed<ResumeStatement>>,
) -> Result<Json<wire::HaltInForce>, Problem> {
    let left = Door::to_the_end(place, async move {
        let gate = door.service.gate();
        halt::resume(&gate, &identity, signed).await.map(|()| in_force(&gate))
    })
    .await??;
    Ok(Json(left))
}

fn in_force(gate: &Gate) -> wire::HaltInForce {
    wire::HaltInForce { halt: gate.halted(), origin: gate.ports.store.head().origin.clone() }
}

/// `GET /v1/limits`.
pub(super) async fn limits(State(door): State<Arc<Door>>) -> Json<wire::Limits> {
    let gate = &door.service.gate();
    let limits = &gate.controls.limits;
    Json(wire::Limits {
        digest: gate.inputs.limits,
        budgets: limits.budgets().to_vec(),
        freezes: limits.freezes().to_vec(),
        calendars: limits.calendars().iter().map(|one| calendar(one, gate.ports.clock.now())).collect(),
        plans: limits.plans().to_vec(),
        neighbourhood: limits.neighbourhood().clone(),
        breaker: limits.breaker().clone(),
        error_budgets: limits.error_budgets().to_vec(),
        horizon_ms: limits.horizon(),
    })
}

fn calendar(calendar: &Calendar, now: Timestamp) -> wire::Calendar {
    let next = calendar.next(now);
    wire::Calendar {
        id: calendar.id.clone(),
        file: calendar.file.clone(),
        environments: calendar.environments.clone(),
        next: next.map(|Window { from_ms, until_ms }| wire::Window { from_ms, until_ms }),
    }
}

/// `GET /v1/brakes`.
pub(super) async fn brakes(State(door): State<Arc<Door>>) -> Result<Json<wire::BrakesInForce>, Problem> {
    let gate = &door.service.gate();
    Ok(Json(wire::BrakesInForce { brakes: brakes::told(app_brakes::in_force(gate).await?) }))
}

/// `GET /v1/status`.
pub(super) async fn status(State(door): State<Arc<Door>>) -> Json<wire::Status> {
    let gate = &door.service.gate();
    Json(wire::Status {
        halt: gate.halted(),
        refused_inputs: gate.refused_inputs(),
        inputs: gate.inputs,
        size: gate.ports.store.head().size,
        store_closed: gate.ports.store.closed().is_some(),
    })
}
