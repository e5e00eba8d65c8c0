//! Looks for people who decide: who may, and how the like ended before.
//!
//! Nothing here decides anything, and nothing is decided from it: who may approve is asked again when somebody does.

use std::collections::BTreeMap;

use holdpoint_domain::{
    Id, Tier,
    agent::Person,
    decision::Verdict,
    flow::State,
    id::kind,
    record::{Body, Record},
};

use crate::{
    approve,
    gate::Gate,
    port::{PlanFilter, PlanRow, StoreError},
    view::PlanView,
};

/// How many of the newest plans are searched for those that are like another one.
const MAX_SEARCH: u32 = 1_000;

/// Why a person may not decide on a hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bar {
    /// The agent acts for them, or they narrowed the plan.
    Requester,
    /// They have decided already.
    DecidedBefore,
    /// The tier takes passkeys alone, and they have none.
    NoPasskey,
    /// Rules of the policy forbid it, or none permits it.
    Policy(Vec<Id<kind::Rule>>),
    /// The policy could not be evaluated.
    PolicyFailed(Vec<Id<kind::Rule>>),
}

/// Who of the registry may decide on the plan that waits, and why the others may not. Empty for a plan that never waited.
#[must_use]
pub fn approvers<'g>(gate: &'g Gate, view: &PlanView) -> Vec<(&'g Person, Option<Bar>)> {
    gate.controls.registry.people().map(|person| (person, bar(gate, view, person))).collect()
}

/// What keeps a person from deciding on a plan that waits; none where nothing does.
#[must_use]
pub fn bar(gate: &Gate, view: &PlanView, person: &Person) -> Option<Bar> {
    if view.plan.requester().is_one(&person.id) {
        return Some(Bar::Requester);
    }
    if view.statements.iter().any(|signed| signed.statement.approver == person.id) {
        return Some(Bar::DecidedBefore);
    }
    if view.tier().is_some_and(|tier| tier >= Tier::T4) && person.passkeys.is_empty() {
        return Some(Bar::NoPasskey);
    }
    match approve::verdict(gate, person, view, approve::counted(gate, view), !person.passkeys.is_empty()) {
        Verdict::Allow { .. } => None,
        Verdict::Deny { rules } => Some(Bar::Policy(rules)),
        Verdict::Error { rules } => Some(Bar::PolicyFailed(rules)),
    }
}

/// The newest plans with the same first action, or on the same target or service, that were proposed before this one.
pub async fn similar(gate: &Gate, view: &PlanView, most: usize) -> Result<Vec<PlanRow>, StoreError> {
    let Some(step) = view.plan.steps().first() else { return Ok(Vec::new()) };
    let inventory = &gate.controls.inventory;
    let service = inventory.target(&step.target).map(|(_, service)| &service.id);
    let first = view.records.first().map_or(u64::MAX, |(index, _)| *index);
    let filter = PlanFilter { limit: MAX_SEARCH, ..PlanFilter::default() };
    let is_like = |row: &PlanRow| {
        let same_service = || {
            let other = inventory.target(&row.target).map(|(_, service)| &service.id);
            service.is_some() && other == service
        };
        row.first_index < first && (row.action == step.action || row.target == step.target || same_service())
    };
    let mut rows: Vec<_> = gate.ports.store.plans(filter).await?.into_iter().filter(is_like).collect();
    // The same action on the same target says most.
    rows.sort_by_key(|row| (row.action != step.action, row.target != step.target));
    rows.truncate(most);
    Ok(rows)
}

/// Whether a plan belongs to an incident, by its first record.
async fn is_of(gate: &Gate, row: &PlanRow, incident: &Id<kind::Incident>) -> Result<bool, StoreError> {
    let first = gate.ports.store.entries(row.first_index, 1).await?;
    let first = first.first().and_then(|entry| Record::parse(&entry.bytes).ok());
    Ok(first.is_some_and(
        |record| matches!(record.body, Body::Proposed { plan, .. } if plan.incident() == Some(incident)),
    ))
}

/// The plans of an incident among the newest ones, the first one first, and whether older ones were not looked at.
pub async fn of_incident(
    gate: &Gate,
    incident: &Id<kind::Incident>,
) -> Result<(Vec<PlanRow>, bool), StoreError> {
    let filter = PlanFilter { limit: MAX_SEARCH, ..PlanFilter::default() };
    let rows = gate.ports.store.plans(filter).await?;
    let older = rows.len() >= usize::try_from(MAX_SEARCH).unwrap_or(usize::MAX);
    let mut found = Vec::new();
    for row in rows.into_iter().rev() {
        if is_of(gate, &row, incident).await? {
            found.push(row);
        }
    }
    Ok((found, older))
}

/// How the newest plans of each agent ended: how many are in each state.
pub async fn track_records(
    gate: &Gate,
) -> Result<BTreeMap<Id<kind::Agent>, BTreeMap<State, u32>>, StoreError> {
    let filter = PlanFilter { limit: MAX_SEARCH, ..PlanFilter::default() };
    let mut records: BTreeMap<_, BTreeMap<State, u32>> = BTreeMap::new();
    for row in gate.ports.store.plans(filter).await? {
        let count = records.entry(row.agent).or_default().entry(row.state).or_default();
        *count = count.saturating_add(1);
    }
    Ok(records)
}
