//! What an action on a target would disturb: a look before anything is proposed.

use std::{collections::BTreeSet, sync::Arc};

use axum::{Json, extract::State};
use holdpoint_app::{dependencies::Snapshot, gate::Gate, preview};
use holdpoint_domain::{
    Id, Timestamp,
    blast::{Blast, Reached, reached as nearest},
    dependencies::Need,
    fate::Shared,
    id::kind,
    target::Inventory,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{door::Door, extract::Ask, problem::Problem, schema, wire};

/// Most services that an answer lists; beyond it there are numbers. A graph may have a million.
const MAX_LISTED: usize = 200;
/// Most services that are named of those that share one thing.
const MAX_SHARING: usize = 50;

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
    let mut shared = sharing(&gate.controls.inventory, &blast.targets);
    let more_shared = left(shared.len(), MAX_LISTED);
    shared.truncate(MAX_LISTED);
    wire::Reached {
        shared,
        more_shared,
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

/// What targets share with targets of services that are not acted on.
fn sharing(inventory: &Inventory, targets: &BTreeSet<Id<kind::Target>>) -> Vec<wire::SharedFate> {
    let direct: BTreeSet<_> =
        targets.iter().filter_map(|id| inventory.target(id)).map(|(_, service)| &service.id).collect();
    let fate = |(shared, services): (Shared, &BTreeSet<Id<kind::Service>>)| {
        let others: Vec<_> = services.iter().filter(|id| !direct.contains(id)).collect();
        let more = left(others.len(), MAX_SHARING);
        let services: Vec<_> = others.into_iter().take(MAX_SHARING).cloned().collect();
        (!services.is_empty()).then_some(wire::SharedFate {
            kind: shared.kind,
            name: shared.name,
            services,
            more,
        })
    };
    inventory.sharing(targets).into_iter().filter_map(fate).collect()
}

fn left(all: usize, listed: usize) -> u64 {
    u64::try_from(all.saturating_sub(listed)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use holdpoint_app::fake::controls::{Parts, id, ids};
    use holdpoint_domain::{
        fate::SharedKind,
        target::{Service, Target},
    };

    use super::*;

    #[test]
    fn what_falls_with_a_target_is_named_with_the_other_services_that_it_takes_along() {
        let mut parts = Parts::default();
        let share = |parts: &mut Parts, target: &str, kind: SharedKind, name: &str| {
            let target = parts.targets.iter_mut().find(|one| one.id == id(target)).unwrap();
            target.shares.entry(kind).or_default().extend(ids(&[name]));
        };
        share(&mut parts, "worker-1", SharedKind::Node, "n1");
        share(&mut parts, "worker-2", SharedKind::Node, "n1");
        share(&mut parts, "worker-1", SharedKind::BackupDomain, "vault");
        share(&mut parts, "payments-1", SharedKind::BackupDomain, "vault");
        share(&mut parts, "orders-1", SharedKind::BackupDomain, "vault");
        // So many others that not all of them are named.
        share(&mut parts, "worker-1", SharedKind::Secret, "tls");
        let (service, target) = (parts.services[0].clone(), parts.targets[0].clone());
        for number in 0..60 {
            let name = format!("tenant-{number:02}");
            parts.services.push(Service { id: id(&name), ..service.clone() });
            let target = Target { id: id(&name), service: id(&name), shares: [].into(), ..target.clone() };
            parts.targets.push(target);
            share(&mut parts, &name, SharedKind::Secret, "tls");
        }
        let inventory = Inventory::new(parts.services, parts.targets).unwrap();
        let words = |targets: &[&str]| -> Vec<String> {
            sharing(&inventory, &ids(targets)).iter().map(wire::SharedFate::words).collect()
        };
        // Instances of one service on one node take nobody else along.
        let [secret, vault] = words(&["worker-1"]).try_into().unwrap();
        assert!(secret.starts_with("secret tls, with tenant-00, tenant-01, "), "{secret}");
        assert!(secret.ends_with(", tenant-49 and 10 more"), "{secret}");
        assert_eq!(vault, "backup domain vault, with orders and payments");
        assert_eq!(words(&["payments-1", "worker-1"])[1], "backup domain vault, with orders");
        assert_eq!(words(&["payments-1", "orders-1"]), ["backup domain vault, with shop"]);
        assert!(words(&["worker-2"]).is_empty());
    }
}
