//! What the executor says is a claim; what is recorded is what was measured.

use holdpoint_app::{
    fake::{Deed, Issuing, Probe, Setup, schedule::poll_at_most},
    port::{Acted, ActedPhase},
    recover,
    run::run,
};
use holdpoint_domain::{
    flow::State,
    record::{Body, DoubtWhy, FailWhy},
    trigger::Truth,
};

use super::support::{
    audit, no_lease_lives, poll_until, proposed, recovered, recovering, run_it, started, state, wait,
};

struct Case {
    deed: Deed,
    state: State,
    failed: Option<FailWhy>,
    doubt: Option<DoubtWhy>,
    effects: u32,
}

#[test]
fn inv03_inv16_every_way_to_apply_has_the_outcome_that_was_measured() {
    let ended = |deed, state, failed, effects| Case { deed, state, failed, doubt: None, effects };
    let doubted = |deed, doubt, effects| Case {
        deed,
        state: State::InDoubt,
        failed: None,
        doubt: Some(doubt),
        effects,
    };
    let cases = [
        ended(Deed::Works, State::Succeeded, None, 1),
        ended(Deed::UnknownAfter, State::Succeeded, None, 1),
        ended(Deed::Refuses, State::Failed, Some(FailWhy::Refused), 0),
        ended(Deed::NotDone, State::Failed, Some(FailWhy::NoEffect), 0),
        ended(Deed::Lies, State::Failed, Some(FailWhy::NoEffect), 0),
        doubted(Deed::UnknownBefore, DoubtWhy::MayStillHappen, 0),
        doubted(Deed::Late, DoubtWhy::MayStillHappen, 0),
        doubted(Deed::Partial, DoubtWhy::OtherVersion, 1),
    ];
    for case in cases {
        let stage = started(Setup::default());
        stage.world.apply(case.deed);
        let plan = proposed(&stage, "flag.switch", "worker-1").id;
        assert_eq!(run_it(&stage, &plan), Ok(case.state), "{:?}", case.deed);
        let view = wait(stage.view(&plan)).unwrap();
        assert_eq!((view.failed, view.doubt), (case.failed, case.doubt), "{:?}", case.deed);
        assert_eq!(stage.world.thing("worker-1").effects, case.effects, "{:?}", case.deed);
        no_lease_lives(&stage);
        // An effect that was put off finds its lease dead.
        stage.world.land();
        assert_eq!(stage.world.thing("worker-1").effects, case.effects, "{:?}", case.deed);
        audit(&stage);
    }
}

#[test]
fn inv16_an_executor_that_says_nothing_happened_is_not_believed_over_the_target() {
    // It answers as if nothing had been touched; the target remembers that our run began, in the version that it had.
    for deed in [Deed::NotDone, Deed::Lies, Deed::Refuses] {
        let stage = started(Setup::default());
        stage.world.apply(deed);
        let plan = proposed(&stage, "process.restart", "worker-1").id;
        let mut running = Box::pin(run(&stage.gate, &plan));
        poll_until(&stage, &mut running, "applying");
        let epoch = stage.store.records().iter().find_map(|record| match record.body {
            Body::Claimed { epoch, .. } => Some(epoch),
            _ => None,
        });
        let acted = Acted { epoch: epoch.unwrap(), phase: ActedPhase::Begun, left: None };
        stage.world.change("worker-1", |thing| thing.acted = Some(acted));
        assert_eq!(wait(running), Ok(State::InDoubt), "{deed:?}");
        audit(&stage);
    }
}

#[test]
fn inv03_doubt_keeps_the_lock_revokes_the_lease_and_waits_for_a_person() {
    let mut stage = started(Setup::default());
    stage.world.apply(Deed::Partial);
    let (plan, next) =
        (proposed(&stage, "process.restart", "worker-1").id, proposed(&stage, "flag.switch", "worker-1").id);
    assert_eq!(run_it(&stage, &plan), Ok(State::InDoubt));
    no_lease_lives(&stage);
    stage.world.apply(Deed::Works);
    stage.world.change("worker-1", |thing| {
        // Back as it was, so that only the lock stands in the way.
        thing.content = 1;
        thing.healthy = false;
    });
    assert_eq!(run_it(&stage, &next).unwrap_err().rule, "target-busy");
    // Neither a restart nor time ends it.
    stage.restart();
    recovered(&stage);
    stage.clock.advance(holdpoint_domain::Millis::secs(24 * 60 * 60));
    recovered(&stage);
    assert_eq!(state(&stage, &plan), State::InDoubt);
    assert!(!wait(recover::startable(&stage.gate)).unwrap().contains(&plan));
    audit(&stage);
}

#[test]
fn inv03_a_target_that_cannot_be_seen_after_the_effect_is_in_doubt() {
    let stage = started(Setup::default());
    let plan = proposed(&stage, "process.restart", "worker-1").id;
    let mut running = Box::pin(run(&stage.gate, &plan));
    poll_until(&stage, &mut running, "applying");
    stage.world.change("worker-1", |thing| thing.blind = u32::MAX);
    assert_eq!(wait(running), Ok(State::InDoubt));
    assert_eq!(wait(stage.view(&plan)).unwrap().doubt, Some(DoubtWhy::Unobservable));
    no_lease_lives(&stage);
    audit(&stage);
}

#[test]
fn a_target_that_is_dark_for_a_moment_is_asked_again() {
    let stage = started(Setup::default());
    let plan = proposed(&stage, "process.restart", "worker-1").id;
    let mut running = Box::pin(run(&stage.gate, &plan));
    poll_until(&stage, &mut running, "applying");
    stage.world.change("worker-1", |thing| thing.blind = 3);
    assert_eq!(wait(running), Ok(State::Succeeded));
}

#[test]
fn inv16_health_without_sight_of_the_target_is_no_success() {
    let stage = started(Setup::default());
    let plan = proposed(&stage, "flag.switch", "worker-1").id;
    let mut running = Box::pin(run(&stage.gate, &plan));
    poll_until(&stage, &mut running, "applied");
    // The probes go on saying that all is well, but nobody can tell on which version.
    stage.world.change("worker-1", |thing| thing.blind = u32::MAX);
    assert_eq!(wait(running), Ok(State::InDoubt));
    assert_eq!(wait(stage.view(&plan)).unwrap().doubt, Some(DoubtWhy::Unobservable));
    audit(&stage);
}

#[test]
fn inv16_no_data_is_no_success() {
    let stage = started(Setup::default());
    stage.world.probe("process.healthy", Probe::Says(Truth::Indeterminate));
    let plan = proposed(&stage, "flag.switch", "worker-1").id;
    assert_eq!(run_it(&stage, &plan), Ok(State::Undone));
    audit(&stage);
}

#[test]
fn inv16_the_soak_begins_anew_when_the_target_fails_in_between() {
    let stage = started(Setup::default());
    let plan = proposed(&stage, "process.restart", "worker-1").id;
    let mut running = Box::pin(run(&stage.gate, &plan));
    poll_until(&stage, &mut running, "applied");
    let end = loop {
        if let Some(end) = poll_at_most(&mut running, 1) {
            break end;
        }
        // Well for a second, never for two.
        let second = stage.gate.ports.clock.elapsed().ms() / 1_000;
        stage.world.change("worker-1", |thing| thing.healthy = second.is_multiple_of(2));
    };
    assert_eq!(end, Ok(State::UndoFailed));
    audit(&stage);
}

#[test]
fn a_target_that_changed_before_the_effect_is_left_alone() {
    let stage = started(Setup::default());
    let plan = proposed(&stage, "process.restart", "worker-1").id;
    let mut running = Box::pin(run(&stage.gate, &plan));
    poll_until(&stage, &mut running, "leased");
    stage.world.change("worker-1", |thing| thing.content = 5);
    assert_eq!(wait(running), Ok(State::Failed));
    assert_eq!(wait(stage.view(&plan)).unwrap().failed, Some(FailWhy::Version));
    assert_eq!(stage.world.thing("worker-1").effects, 0);
    audit(&stage);
}

#[test]
fn t08_a_target_that_changes_at_the_last_moment_is_left_alone_by_the_executor() {
    let stage = started(Setup::default());
    let plan = proposed(&stage, "process.restart", "worker-1").id;
    let mut running = Box::pin(run(&stage.gate, &plan));
    poll_until(&stage, &mut running, "applying");
    stage.world.change("worker-1", |thing| thing.content = 5);
    assert_eq!(wait(running), Ok(State::InDoubt));
    assert_eq!((stage.world.thing("worker-1").content, stage.world.thing("worker-1").effects), (5, 0));
    audit(&stage);
}

#[test]
fn no_lease_no_run() {
    let stage = started(Setup::default());
    stage.world.issuing(Issuing { refuses: true, ..Issuing::default() });
    let plan = proposed(&stage, "process.restart", "worker-1").id;
    assert_eq!(run_it(&stage, &plan), Ok(State::Failed));
    assert_eq!(wait(stage.view(&plan)).unwrap().failed, Some(FailWhy::NoLease));
    assert_eq!(stage.world.thing("worker-1").effects, 0);
    no_lease_lives(&stage);
    audit(&stage);
}

/// A run whose effect was put off and whose doubt could not be recorded: the disk was full.
fn unrecorded_doubt() -> (holdpoint_app::fake::Stage, super::support::Plan) {
    let stage = started(Setup::default());
    stage.world.apply(Deed::Late);
    stage.store.fail(
        holdpoint_app::fake::When::Matching(Box::new(|txn| {
            txn.records.iter().any(|record| record.body.word() == "in_doubt")
        })),
        holdpoint_app::fake::Failure::Full,
    );
    let plan = proposed(&stage, "flag.switch", "worker-1").id;
    assert_eq!(run_it(&stage, &plan).unwrap_err().rule, "gate-closed");
    (stage, plan)
}

#[test]
fn inv03_whoever_resumes_ends_the_lease_before_saying_that_nothing_happened() {
    let (stage, plan) = unrecorded_doubt();
    let mut resuming = Box::pin(recovering(&stage));
    poll_until(&stage, &mut resuming, "failed");
    // The effect that the executor had put off tries to come, right after the record that says it did not.
    stage.world.land();
    wait(resuming).unwrap();
    assert_eq!(state(&stage, &plan), State::Failed);
    assert_eq!(stage.world.thing("worker-1").effects, 0);
    audit(&stage);
}

#[test]
fn inv03_while_the_lease_may_live_the_effect_may_still_happen() {
    let (stage, plan) = unrecorded_doubt();
    stage.world.issuing(Issuing { failing_revocations: 7, ..Issuing::default() });
    recovered(&stage);
    assert_eq!(state(&stage, &plan), State::InDoubt);
    assert_eq!(wait(stage.view(&plan)).unwrap().doubt, Some(DoubtWhy::MayStillHappen));
    recovered(&stage);
    no_lease_lives(&stage);
    audit(&stage);
}
