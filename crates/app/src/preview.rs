//! Looks before anything is proposed: what an action would disturb, and what a condition measures now.
//!
//! Nothing here is recorded, signed or decided from: a proposal measures and computes everything afresh.

use std::{collections::BTreeSet, sync::Arc};

use holdpoint_domain::{
    Id,
    action::Action,
    blast::{self, Blast},
    id::kind,
    target::{Service, Target},
    trigger::{Evidence, Subject},
};

use crate::{
    dependencies::Snapshot,
    gate::Gate,
    refusal::{Blame, Refusal},
};

/// What an action on a target would disturb.
#[derive(Debug, Clone)]
pub struct Disturbance<'a> {
    /// The action.
    pub action: &'a Action,
    /// The target's service.
    pub service: &'a Service,
    /// The blast radius, as all sources of dependencies have it: every other replica counts as serving. A decision also counts those
    /// that do not, so it can come to more, and never to less.
    pub blast: Blast,
    /// The dependencies that it was found with.
    pub needs: Arc<Snapshot>,
}

/// What an action on a target would disturb. Asks no target.
pub fn disturbance<'a>(
    gate: &'a Gate,
    action: &Id<kind::Action>,
    target: &Id<kind::Target>,
) -> Result<Disturbance<'a>, Refusal> {
    let controls = &gate.controls;
    let action = controls.catalogue.action(action).ok_or_else(|| no_such_action(action))?;
    let (target, service) = known(gate, target)?;
    if action.executor != target.executor {
        let fact = format!(
            "action `{}` is for executor `{}`, target `{}` belongs to `{}`",
            action.id, action.executor, target.id, target.executor
        );
        let next = "name an action for this kind of target";
        return Err(Refusal::new(Blame::Caller, "executor-mismatch", fact, next));
    }
    let needs = gate.dependencies();
    let direct = [target.id.clone()].into();
    let blast = blast::radius(&controls.inventory, &needs.dependencies, &direct, &BTreeSet::new())?;
    Ok(Disturbance { action, service, blast, needs })
}

/// Measures a condition on a target, with the probes that a decision would use. Read-only and safe to repeat; takes as long
/// as the slowest probe may.
pub async fn measure(
    gate: &Gate,
    condition: &Id<kind::Condition>,
    target: &Id<kind::Target>,
) -> Result<Evidence, Refusal> {
    let found = gate.controls.catalogue.condition(condition).ok_or_else(|| {
        let fact = format!("condition `{condition}` is not in the catalogue");
        Refusal::new(Blame::NotFound, "no-such-condition", fact, "name a condition of the catalogue")
    })?;
    let (target, service) = known(gate, target)?;
    let readings = gate.ports.prober.measure(found, Subject { target, service }).await;
    // Not signed: signed evidence exists for what was recorded, and for nothing else.
    Ok(Evidence::new(found, target.id.clone(), readings, gate.now()))
}

/// The refusal of an action that is not there.
#[must_use]
pub fn no_such_action(action: &Id<kind::Action>) -> Refusal {
    let fact = format!("action `{action}` is not in the catalogue");
    Refusal::new(Blame::NotFound, "no-such-action", fact, "name an action of the catalogue")
}

fn known<'a>(gate: &'a Gate, target: &Id<kind::Target>) -> Result<(&'a Target, &'a Service), Refusal> {
    gate.controls.inventory.target(target).ok_or_else(|| {
        let fact = format!("target `{target}` is not in the inventory");
        Refusal::new(Blame::NotFound, "no-such-target", fact, "name a target of the inventory")
    })
}
