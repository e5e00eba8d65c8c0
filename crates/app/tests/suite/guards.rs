//! Guards: what held before must hold after.

use holdpoint_app::{
    fake::{
        Probe, Setup, Stage,
        controls::{condition, ids},
    },
    run::run,
};
use holdpoint_domain::{
    action::{Catalogue, CatalogueError},
    flow::State,
    record::{Body, FailWhy},
    trigger::Truth,
};

use super::support::{
    Plan, audit, no_lease_lives, poll_until, proposed, recovered, run_it, several, started, state, wait,
};

fn guarded() -> Setup {
    let mut setup = several();
    setup.parts.conditions.push(condition("queue.short", 1));
    setup.parts.action("flag.switch").guards = ids(&["queue.short"]);
    setup
}

fn says(truth: Truth) -> Probe {
    Probe::Says(truth)
}

/// It holds as long as nothing was done to the target.
fn regresses() -> Probe {
    Probe::Of(Box::new(|thing| if thing.effects == 0 { Truth::Holds } else { Truth::DoesNotHold }))
}

fn staged(probe: Probe) -> (Stage, Plan) {
    let stage = started(guarded());
    stage.world.probe("queue.short", probe);
    let plan = proposed(&stage, "flag.switch", "worker-1").id;
    (stage, plan)
}

fn undone_because(stage: &Stage) -> Option<FailWhy> {
    stage.store.records().into_iter().find_map(|record| match record.body {
        Body::Undoing { why, .. } => Some(why),
        _ => None,
    })
}

#[test]
fn inv16_what_held_before_must_hold_after() {
    let (stage, plan) = staged(regresses());
    assert_eq!(run_it(&stage, &plan), Ok(State::Undone));
    assert_eq!(undone_because(&stage), Some(FailWhy::Regressed));
    assert_eq!(stage.world.thing("worker-1").content, 1);
    no_lease_lives(&stage);
    audit(&stage);
}

#[test]
fn what_holds_all_the_time_or_did_not_hold_before_is_in_nobodys_way() {
    for before in [Truth::Holds, Truth::DoesNotHold, Truth::Indeterminate] {
        let (stage, plan) = staged(says(before));
        assert_eq!(run_it(&stage, &plan), Ok(State::Succeeded), "{before:?}");
        audit(&stage);
    }
}

#[test]
fn inv16_a_guard_that_cannot_be_measured_any_more_does_not_hold() {
    let (stage, plan) = staged(says(Truth::Holds));
    let mut running = Box::pin(run(&stage.gate, &plan));
    poll_until(&stage, &mut running, "rehearsed");
    stage.world.probe("queue.short", says(Truth::Indeterminate));
    assert_eq!(wait(running), Ok(State::Undone));
    assert_eq!(undone_because(&stage), Some(FailWhy::Regressed));
}

#[test]
fn inv16_what_held_before_is_known_after_a_restart() {
    for word in ["applying", "applied"] {
        let (mut stage, plan) = staged(regresses());
        let mut running = Box::pin(run(&stage.gate, &plan));
        poll_until(&stage, &mut running, word);
        if word == "applying" {
            // The effect has come, and nobody has recorded it.
            while stage.world.thing("worker-1").effects == 0 {
                assert!(holdpoint_app::fake::schedule::poll_at_most(&mut running, 1).is_none());
            }
        }
        drop(running);
        stage.restart();
        recovered(&stage);
        assert_eq!(state(&stage, &plan), State::Undone, "{word}");
        assert_eq!(undone_because(&stage), Some(FailWhy::Regressed), "{word}");
        no_lease_lives(&stage);
        audit(&stage);
    }
}

#[test]
fn inv16_the_guards_of_every_step_count() {
    let stage = started(guarded());
    stage.world.probe("queue.short", regresses());
    let steps = [("process.restart", "worker-1"), ("flag.switch", "worker-2")];
    let plan = super::support::proposed_all(&stage, &steps).id;
    run_it(&stage, &plan).unwrap();
    assert_eq!(undone_because(&stage), Some(FailWhy::Regressed));
    assert_eq!(stage.world.thing("worker-2").content, 1);
    audit(&stage);
}

#[test]
fn the_evidence_of_the_longest_plan_fits_into_one_transaction() {
    let mut setup = several();
    let names: Vec<_> =
        (0..holdpoint_domain::action::MAX_GUARDS).map(|number| format!("guard.{number}")).collect();
    for name in &names {
        setup.parts.conditions.push(condition(name, 1));
    }
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    for action in &mut setup.parts.actions {
        action.guards = ids(&names);
    }
    let stage = started(setup);
    for name in names {
        stage.world.probe(name, says(Truth::Holds));
    }
    let workers = ["worker-1", "worker-2", "worker-3", "payments-1"];
    let steps = workers.map(|worker| ("flag.switch", worker));
    let plan = super::support::proposed_all(&stage, &steps).id;
    assert_eq!(run_it(&stage, &plan), Ok(State::Succeeded));
    audit(&stage);
}

#[test]
fn an_action_with_more_guards_than_fit_is_refused_with_the_catalogue() {
    let mut parts = several().parts;
    let names: Vec<_> =
        (0..=holdpoint_domain::action::MAX_GUARDS).map(|number| format!("guard.{number}")).collect();
    parts.conditions.extend(names.iter().map(|name| condition(name, 1)));
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    parts.action("flag.switch").guards = ids(&names);
    let faults = Catalogue::new(parts.actions, parts.conditions).unwrap_err();
    assert!(matches!(&faults[..], [CatalogueError::Guards { got: 5, .. }]), "{faults:?}");
}
