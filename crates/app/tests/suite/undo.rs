//! Undo: only what is ours, announced before, and never silently.

use holdpoint_app::{
    fake::{Deed, Issuing, Setup, Stage},
    run::run,
};
use holdpoint_domain::{
    flow::State,
    record::{DoubtWhy, FailWhy},
};

use super::support::{
    Plan, approved, audit, held, no_lease_lives, poll_until, proposed, recovered, run_it, started, state,
    wait,
};

/// A run of `flag.switch` whose effect does not help.
fn unhelpful(undo: Deed) -> (Stage, Plan) {
    let stage = started(Setup::default());
    stage.world.apply(Deed::NoHelp);
    stage.world.undo(undo);
    let plan = proposed(&stage, "flag.switch", "worker-1").id;
    (stage, plan)
}

#[test]
fn what_did_not_help_is_put_back() {
    let (stage, plan) = unhelpful(Deed::Works);
    assert_eq!(run_it(&stage, &plan), Ok(State::Undone));
    assert_eq!(stage.world.thing("worker-1").content, 1);
    let words = wait(stage.words(&plan));
    let at = |word: &str| words.iter().position(|other| *other == word).unwrap();
    assert!(at("applied") < at("undoing") && at("undoing") < at("undone"));
    assert!(at("undone") < at("review_owed") && at("review_owed") < at("revoked"));
    no_lease_lives(&stage);
    audit(&stage);
}

#[test]
fn inv03_inv16_every_way_to_undo_has_the_outcome_that_was_measured() {
    type Want = (Deed, State, Option<FailWhy>, Option<DoubtWhy>);
    let cases: [Want; 8] = [
        (Deed::Works, State::Undone, None, None),
        (Deed::UnknownAfter, State::Undone, None, None),
        (Deed::Refuses, State::UndoFailed, Some(FailWhy::NoEffect), None),
        (Deed::NotDone, State::UndoFailed, Some(FailWhy::NoEffect), None),
        (Deed::Lies, State::UndoFailed, Some(FailWhy::NoEffect), None),
        (Deed::Partial, State::InDoubt, None, Some(DoubtWhy::OtherVersion)),
        // It may still come: nobody else may have the target meanwhile.
        (Deed::UnknownBefore, State::InDoubt, None, Some(DoubtWhy::MayStillHappen)),
        (Deed::Late, State::InDoubt, None, Some(DoubtWhy::MayStillHappen)),
    ];
    for (deed, end, failed, doubt) in cases {
        let (stage, plan) = unhelpful(deed);
        assert_eq!(run_it(&stage, &plan), Ok(end), "{deed:?}");
        let view = wait(stage.view(&plan)).unwrap();
        assert_eq!((view.failed, view.doubt), (failed, doubt), "{deed:?}");
        let content = stage.world.thing("worker-1").content;
        assert_eq!(content == 1, end == State::Undone, "{deed:?}");
        no_lease_lives(&stage);
        stage.world.land();
        assert_eq!(stage.world.thing("worker-1").content, content, "{deed:?}");
        audit(&stage);
    }
}

#[test]
fn inv02_undo_never_overwrites_what_somebody_did_since() {
    for when in ["applied", "undoing"] {
        let (stage, plan) = unhelpful(Deed::Works);
        let mut running = Box::pin(run(&stage.gate, &plan));
        poll_until(&stage, &mut running, when);
        stage.world.change("worker-1", |thing| thing.content = 42);
        assert_eq!(wait(running), Ok(State::InDoubt), "{when}");
        assert_eq!(wait(stage.view(&plan)).unwrap().doubt, Some(DoubtWhy::ChangedSince), "{when}");
        assert_eq!(stage.world.thing("worker-1").content, 42, "{when}");
        no_lease_lives(&stage);
        audit(&stage);
    }
}

#[test]
fn what_heals_itself_is_watched_once_more() {
    // It recovers while it is being undone: nothing is left to do.
    let stage = started(Setup::default());
    stage.world.apply(Deed::NoHelp);
    let plan = proposed(&stage, "process.restart", "worker-1").id;
    let mut running = Box::pin(run(&stage.gate, &plan));
    poll_until(&stage, &mut running, "undoing");
    stage.world.change("worker-1", |thing| thing.healthy = true);
    assert_eq!(wait(running), Ok(State::Undone));
    audit(&stage);
    // And it does not.
    let stage = started(Setup::default());
    stage.world.apply(Deed::NoHelp);
    let plan = proposed(&stage, "process.restart", "worker-1").id;
    assert_eq!(run_it(&stage, &plan), Ok(State::UndoFailed));
    assert_eq!(wait(stage.view(&plan)).unwrap().failed, Some(FailWhy::NotVerified));
    audit(&stage);
}

#[test]
fn what_nothing_undoes_says_so() {
    let stage = started(Setup::default());
    stage.world.apply(Deed::NoHelp);
    let (plan, terms) = held(&stage, "cache.drop", "worker-1");
    approved(&stage, "bob", &terms);
    assert_eq!(run_it(&stage, &plan), Ok(State::UndoFailed));
    assert_eq!(wait(stage.view(&plan)).unwrap().failed, Some(FailWhy::NoUndo));
    audit(&stage);
}

#[test]
fn inv02_an_undo_after_a_restart_never_overwrites_what_somebody_did_meanwhile() {
    for word in ["applied", "undoing"] {
        let (stage, plan) = killed_after(word);
        stage.world.change("worker-1", |thing| thing.content = 42);
        recovered(&stage);
        assert_eq!(state(&stage, &plan), State::InDoubt, "{word}");
        assert_eq!(stage.world.thing("worker-1").content, 42, "{word}");
        no_lease_lives(&stage);
        audit(&stage);
    }
}

/// The gate is killed while `word` is the last that it recorded, and starts again.
fn killed_after(word: &str) -> (Stage, Plan) {
    let (mut stage, plan) = unhelpful(Deed::Works);
    let mut running = Box::pin(run(&stage.gate, &plan));
    poll_until(&stage, &mut running, word);
    drop(running);
    stage.restart();
    (stage, plan)
}

#[test]
fn inv02_an_undo_after_a_restart_needs_one_recovery_and_a_lease_of_its_own() {
    for word in ["applied", "undoing"] {
        let (stage, plan) = killed_after(word);
        recovered(&stage);
        assert_eq!(state(&stage, &plan), State::Undone, "{word}");
        assert_eq!(stage.world.thing("worker-1").content, 1);
        assert!(wait(stage.words(&plan)).contains(&"leased_again"), "{word}");
        no_lease_lives(&stage);
        audit(&stage);
    }
}

#[test]
fn an_undo_after_a_restart_that_gets_no_lease_fails_and_says_so() {
    let (stage, plan) = killed_after("undoing");
    stage.world.issuing(Issuing { refuses: true, ..Issuing::default() });
    recovered(&stage);
    assert_eq!(state(&stage, &plan), State::UndoFailed);
    assert_eq!(wait(stage.view(&plan)).unwrap().failed, Some(FailWhy::NoLease));
    no_lease_lives(&stage);
    audit(&stage);
}

#[test]
fn inv02_an_undo_does_not_wait_for_policy_or_for_the_agents_entry() {
    let (mut stage, plan) = killed_after("applied");
    stage.judge.set(holdpoint_app::fake::Policy::Error);
    stage.setup.parts.agents.remove(0);
    stage.restart();
    recovered(&stage);
    assert_eq!(state(&stage, &plan), State::Undone);
    audit(&stage);
}

#[test]
fn inv03_a_target_that_left_the_inventory_after_the_effect_is_in_doubt() {
    let (mut stage, plan) = killed_after("applied");
    stage.setup.parts.targets.remove(0);
    stage.restart();
    recovered(&stage);
    assert_eq!(state(&stage, &plan), State::InDoubt);
    no_lease_lives(&stage);
    audit(&stage);
}

#[test]
fn inv01_undo_finds_room_on_a_full_disk() {
    let (stage, plan) = unhelpful(Deed::Works);
    let mut running = Box::pin(run(&stage.gate, &plan));
    poll_until(&stage, &mut running, "applied");
    stage.store.fill(8);
    assert_eq!(wait(running), Ok(State::Undone));
    no_lease_lives(&stage);
    // Nothing new begins.
    let asked = super::support::ask(&stage, "process.restart", "worker-2");
    assert_eq!(asked.unwrap_err().rule, "gate-closed");
    stage.store.make_room();
    proposed(&stage, "process.restart", "worker-2");
    audit(&stage);
}
