//! `GET /v1/incidents`.

use std::{cmp::Reverse, sync::Arc};

use axum::{Json, extract::State};
use holdpoint_app::incidents;

use super::{door::Door, wire};

/// `GET /v1/incidents`: all that are known, the newest first.
pub(super) async fn list(State(door): State<Arc<Door>>) -> Json<wire::Incidents> {
    let gate = door.service.gate();
    let now = gate.ports.clock.now();
    let all = incidents::all(&gate);
    let mut incidents: Vec<_> = all
        .all()
        .map(|known| wire::Incident {
            id: known.told.incident.clone(),
            source: known.told.source.clone(),
            open: known.is_open(now),
            firing: known.told.firing,
            everywhere: known.told.everywhere,
            services: known.told.services.clone(),
            opened_at_ms: known.opened_at,
            heard_at_ms: known.heard_at,
            resolved_at_ms: known.resolved_at,
        })
        .collect();
    incidents.sort_by_key(|incident| Reverse((incident.open, incident.opened_at_ms)));
    Json(wire::Incidents { incidents })
}
