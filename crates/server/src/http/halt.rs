//! What holds the gate back: the halt, limits, and the gate's own state.

use std::sync::Arc;

use axum::{Json, extract::State};
use holdpoint_app::{gate::Gate, halt};
use holdpoint_domain::{halt::ResumeStatement, signed::Signed};

use super::{
    body,
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
        horizon_ms: limits.horizon(),
    })
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
