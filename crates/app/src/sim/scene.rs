//! The scene of a seed: control inputs, people and limits, and a stage set up with them.

use std::sync::Arc;

use holdpoint_domain::{
    Millis, Rung,
    limits::{Budget, Limits, LimitsSpec, Per},
    passkey::Passkey,
};

use super::rng::Rng;
use crate::{
    fake::{
        Policy, Setup, Stage,
        controls::{Parts, id},
    },
    gate::Gate,
};

pub(super) const TARGETS: [&str; 5] = ["worker-1", "worker-2", "worker-3", "orders-1", "payments-1"];
pub(super) const ACTIONS: [&str; 4] = ["process.restart", "flag.switch", "cache.drop", "process.inspect"];
/// The people of the registry, and one who is not.
pub(super) const PEOPLE: [&str; 4] = ["alice", "bob", "carol", "mallory"];

/// A span of milliseconds.
pub(super) fn ms(span: u64) -> Millis {
    Millis::new(span).expect("a simulation does not last for 285,000 years")
}

/// Control inputs of a seed: short soaks, so that many runs fit into it, and sometimes budgets.
pub(super) fn stage(rng: &mut Rng, seed: u64) -> Stage {
    let mut parts = Parts::default();
    for action in &mut parts.actions {
        action.cap.targets = 4;
        action.cap.services = 8;
        (action.soak_ms, action.settle_ms) = (ms(200), ms(400));
    }
    if rng.often(300) {
        let per = if rng.often(500) { Per::Everything } else { Per::Agent };
        let budget = Budget {
            id: id("all"),
            per,
            environments: [].into(),
            concurrent: Some(2),
            starts: None,
            steps: None,
        };
        parts.limits = Limits::new(LimitsSpec { budgets: vec![budget], ..LimitsSpec::default() })
            .expect("a budget of a simulation is a valid one");
    }
    // Everybody has a passkey of an act of their own, or one act enrolled all of them, or there are none: then T4 is unavailable.
    match rng.weighted(&[40, 20, 40]) {
        0 => {}
        1 => passkeys(&mut parts).for_each(|passkey| passkey.act = id("act-one")),
        _ => parts.people.iter_mut().for_each(|person| person.passkeys.clear()),
    }
    let stage = Stage::new(Setup { parts, policy: Policy::From(Rung::T1), seed });
    stage.judge.bar_owners();
    stage.clock.be_patient();
    stage
}

fn passkeys(parts: &mut Parts) -> impl Iterator<Item = &mut Passkey> {
    parts.people.iter_mut().flat_map(|person| &mut person.passkeys)
}

/// A gate over the stage as it is now, with spans that fit into a seed, under the control inputs that the ledger activated: a
/// start puts their texts in force before it serves.
pub(super) fn gate(stage: &Stage) -> Arc<Gate> {
    let mut gate = stage.fresh_gate();
    gate.settings.verify_every_ms = ms(100);
    gate.settings.hold_ms = ms(20_000);
    gate.settings.start_window_ms = ms(8_000);
    gate.settings.remeasure_ms = ms(500);
    gate.settings.defer_ms = ms(6_000);
    gate.settings.review_ms = ms(60_000);
    if let Some(inputs) = gate.ports.store.active_inputs() {
        gate.inputs = inputs;
    }
    Arc::new(gate)
}
