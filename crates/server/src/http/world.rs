//! The control inputs in force, and looks at the world before anything is proposed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::{Json, extract::State, http::StatusCode};
use holdpoint_app::{gate::Gate, preview};
use holdpoint_domain::{
    Id,
    action::Action,
    guardrail::{GUARDRAILS, static_floors},
    id::kind,
    target::{Service, Target},
    trigger::{Condition, Evidence},
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    body,
    door::Door,
    extract::{Ask, PathId},
    plans,
    problem::Problem,
    wire,
};

/// The query of a list that is read page by page, in the order of ids.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(inline)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    /// Begin after this id.
    after: Option<String>,
    /// At most this many.
    limit: Option<u32>,
}

/// `GET /v1/catalogue`.
pub(super) async fn catalogue(
    State(door): State<Arc<Door>>,
    Ask(query): Ask<PageQuery>,
) -> Result<Json<wire::Catalogue>, Problem> {
    let gate = &door.service.gate();
    let (page, more) = page(gate.controls.catalogue.actions(), |action| action.id.as_str(), &query)?;
    let next = page.last().filter(|_| more).map(|action| action.id.clone());
    Ok(Json(wire::Catalogue {
        digest: gate.inputs.catalogue,
        conditions: conditions(gate, &page),
        actions: page.into_iter().map(entry).collect::<Result<_, _>>()?,
        next,
    }))
}

/// `GET /v1/catalogue/{action}`.
pub(super) async fn action(
    State(door): State<Arc<Door>>,
    PathId(id): PathId<kind::Action>,
) -> Result<Json<wire::CatalogueAction>, Problem> {
    let gate = &door.service.gate();
    let action = gate.controls.catalogue.action(&id).ok_or_else(|| preview::no_such_action(&id))?;
    Ok(Json(wire::CatalogueAction { entry: entry(action)?, conditions: conditions(gate, &[action]) }))
}

/// `GET /v1/inventory`.
pub(super) async fn inventory(
    State(door): State<Arc<Door>>,
    Ask(query): Ask<PageQuery>,
) -> Result<Json<wire::Inventory>, Problem> {
    let gate = &door.service.gate();
    let (page, more) = page(gate.controls.inventory.targets(), |target| target.id.as_str(), &query)?;
    let next = page.last().filter(|_| more).map(|target| target.id.clone());
    // Counted in one pass: asked service by service, a large inventory would be walked a few hundred times.
    let mut replicas: BTreeMap<&Id<kind::Service>, u32> =
        page.iter().map(|target| (&target.service, 0)).collect();
    for target in gate.controls.inventory.targets() {
        if let Some(count) = replicas.get_mut(&target.service) {
            *count = count.saturating_add(1);
        }
    }
    let services = replicas
        .iter()
        .filter_map(|(id, count)| gate.controls.inventory.service(id).map(|found| service(found, *count)));
    Ok(Json(wire::Inventory {
        digest: gate.inputs.inventory,
        services: services.collect(),
        targets: page.into_iter().map(target).collect(),
        next,
    }))
}

/// `POST /v1/probes`. Changes nothing, and asks a target: so it has places of its own, fewer than the rest.
pub(super) async fn probe(
    State(door): State<Arc<Door>>,
    body::Json(asked): body::Json<wire::NewProbe>,
) -> Result<Json<Evidence>, Problem> {
    let _place = Arc::clone(&door.probes).try_acquire_owned().map_err(|_| {
        let detail = "too many measurements are under way";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too-busy", detail, "try again in a moment")
    })?;
    Ok(Json(preview::measure(&door.service.gate(), &asked.condition, &asked.target).await?))
}

/// The part of a list that was asked for, and whether there is more. The list is in the order of its ids.
fn page<'a, T>(
    all: impl Iterator<Item = &'a T>,
    id: fn(&T) -> &str,
    query: &PageQuery,
) -> Result<(Vec<&'a T>, bool), Problem> {
    let limit = usize::try_from(plans::limit(query.limit)?).unwrap_or(usize::MAX);
    let after = query.after.as_deref().unwrap_or_default();
    let mut rest = all.filter(|item| id(item) > after);
    let page = rest.by_ref().take(limit).collect();
    Ok((page, rest.next().is_some()))
}

fn entry(action: &Action) -> Result<wire::CatalogueEntry, Problem> {
    let floors = static_floors(action).into_iter().map(|(rule, tier)| {
        let guardrail = GUARDRAILS.iter().find(|guardrail| guardrail.id == rule);
        let fact = guardrail.map_or(rule, |guardrail| guardrail.fact).to_owned();
        wire::Floor { rule: rule.to_owned(), tier, fact }
    });
    Ok(wire::CatalogueEntry {
        digest: action.digest().map_err(|err| Problem::internal(&err))?,
        groups: action.all_groups(),
        floors: floors.collect(),
        action: action.clone(),
    })
}

/// The conditions that actions name, each once.
fn conditions(gate: &Gate, actions: &[&Action]) -> Vec<Condition> {
    let named: BTreeSet<_> =
        actions.iter().flat_map(|action| action.triggers.iter().chain([&action.verify])).collect();
    named.into_iter().filter_map(|id| gate.controls.catalogue.condition(id).cloned()).collect()
}

fn target(target: &Target) -> wire::InventoryTarget {
    let endpoints = target.endpoints.iter().map(|(name, endpoint)| wire::InventoryEndpoint {
        name: name.clone(),
        source: endpoint.source.clone(),
    });
    wire::InventoryTarget {
        id: target.id.clone(),
        service: target.service.clone(),
        executor: target.executor.clone(),
        endpoints: endpoints.collect(),
    }
}

fn service(service: &Service, replicas: u32) -> wire::InventoryService {
    wire::InventoryService {
        id: service.id.clone(),
        environment: service.environment.clone(),
        owner: service.owner.clone(),
        criticality: service.criticality,
        data_classes: service.data_classes.clone(),
        stateless: service.stateless,
        replicas,
        depends_on: service.depends_on.clone(),
        dependents: service.dependents.clone(),
    }
}
