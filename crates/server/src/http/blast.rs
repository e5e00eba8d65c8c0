//! What an action on a target would disturb: a look before anything is proposed.

use std::sync::Arc;

use axum::{Json, extract::State};
use holdpoint_app::{dependencies::Snapshot, gate::Gate, preview};
use holdpoint_domain::{
    Id, Timestamp,
    blast::{Blast, Reached, reached as nearest},
    dependencies::Need,
    id::kind,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{door::Door, extract::Ask, problem::Problem, schema, wire};

/// Most services that an answer lists; beyond it there are numbers. A graph may have a million.
const MAX_LISTED: usize = 200;

/// The query of a look at a blast radius.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(inline)]
#[serde(deny_unknown_fields)]
pub(super) struct BlastQuery {
    /// The action.
    #[schemars(with = "schema::Name")]
    action: Id<kind::Action>,
    /// The target.
    #[schemars(with = "schema::Name")]
    target: Id<kind::Target>,
}

/// `GET /v1/blast`.
pub(super) async fn blast(
    State(door): State<Arc<Door>>,
    Ask(query): Ask<BlastQuery>,
) -> Result<Json<wire::Disturbance>, Problem> {
    let gate = door.service.gate();
    let found = preview::disturbance(&gate, &query.action, &query.target)?;
    Ok(Json(wire::Disturbance {
        action: query.action,
        target: query.target,
        service: found.service.id.clone(),
        reached: reached(&gate, &found.needs, &found.blast, gate.ports.clock.now()),
        blast: found.blast,
        cap: found.action.cap,
    }))
}

/// A blast radius as a graph, by the dependencies of one snapshot.
pub(crate) fn reached(gate: &Gate, needs: &Snapshot, blast: &Blast, now: Timestamp) -> wire::Reached {
    let graph = nearest(&gate.controls.inventory, &needs.dependencies, blast, MAX_LISTED);
    let services: Vec<_> = graph.into_iter().map(|one| service(gate, needs, blast, one, now)).collect();
    let critical = services.iter().filter(|one| one.critical).count();
    wire::Reached {
        more: left(blast.services.len(), services.len()),
        more_critical: left(blast.critical.len(), critical),
        services,
        traffic: needs
            .traffic
            .iter()
            .map(|(source, traffic)| wire::TrafficShare {
                source: source.clone(),
                percent: traffic.share_percent(&blast.services),
            })
            .collect(),
    }
}

fn service(
    gate: &Gate,
    needs: &Snapshot,
    blast: &Blast,
    reached: Reached,
    now: Timestamp,
) -> wire::ReachedService {
    let known = gate.controls.inventory.service(&reached.service);
    let need = |need: Need| wire::ReachedNeed {
        on: need.on,
        kind: need.kind,
        said_by: need
            .said_by
            .into_iter()
            .map(|said| wire::NeedSaidBy { source: said.source, age_ms: now.since(said.read_at) })
            .collect(),
    };
    let shares = needs.traffic.values().map(|traffic| traffic.share_percent([&reached.service]));
    wire::ReachedService {
        traffic_percent: shares.flatten().max(),
        depth: reached.depth,
        needs: reached.needs.into_iter().map(need).collect(),
        more_needs: u64::try_from(reached.more_needs).unwrap_or(u64::MAX),
        environment: known.map(|service| service.environment.clone()),
        owner: known.map(|service| service.owner.clone()),
        criticality: reached.criticality,
        critical: blast.critical.contains(&reached.service),
        unknown: blast.unknown.contains(&reached.service),
        service: reached.service,
    }
}

fn left(all: usize, listed: usize) -> u64 {
    u64::try_from(all.saturating_sub(listed)).unwrap_or(u64::MAX)
}
