//! Leases: dead at the end of the task, and proven so.

use holdpoint_app::{
    fake::{Deed, Effect, Failure, Issuing, Setup, When, decider, schedule::poll_at_most, session},
    port::Clock as _,
    recover, revoke,
    run::run,
};
use holdpoint_domain::{
    Id, Millis, actor::Identity, flow::State, id::kind, lease::MAX_LEASE_MS, record::Body,
};

use super::support::{audit, no_lease_lives, poll_until, proposed, recovered, run_it, started, state, wait};

#[test]
fn inv08_revocation_is_tried_until_it_is_proven() {
    let stage = started(Setup::default());
    stage.world.issuing(Issuing { failing_revocations: 3, ..Issuing::default() });
    let plan = proposed(&stage, "process.restart", "worker-1").id;
    assert_eq!(run_it(&stage, &plan), Ok(State::Succeeded));
    no_lease_lives(&stage);
    audit(&stage);
}

#[test]
fn inv08_what_a_run_cannot_revoke_a_tick_does() {
    let stage = started(Setup::default());
    stage.world.issuing(Issuing { failing_revocations: 12, ..Issuing::default() });
    let plan = proposed(&stage, "process.restart", "worker-1").id;
    assert_eq!(run_it(&stage, &plan), Ok(State::Succeeded));
    assert!(!wait(stage.words(&plan)).contains(&"revoked"), "not recorded before it was proven");
    for failed in 5..12 {
        assert_eq!(stage.world.live_leases().len(), 1);
        let [lease] = &wait(revoke::live(&stage.gate)).unwrap()[..] else { panic!("one lease") };
        let trouble = lease.trouble.as_ref().unwrap();
        assert_eq!((trouble.tries, trouble.is_alarm()), (failed, true));
        // Not before its turn: a backend that refuses is not asked all the time.
        wait(recover::tick(&stage.gate)).unwrap();
        assert_eq!(wait(revoke::live(&stage.gate)).unwrap()[0].trouble.as_ref().unwrap().tries, failed);
        stage.clock.advance(Millis::new(revoke::MAX_PAUSE_MS).unwrap());
        wait(recover::tick(&stage.gate)).unwrap();
    }
    stage.clock.advance(Millis::new(revoke::MAX_PAUSE_MS).unwrap());
    wait(recover::tick(&stage.gate)).unwrap();
    assert!(revoke::troubles(&stage.gate).is_empty());
    no_lease_lives(&stage);
    assert_eq!(wait(stage.words(&plan)).iter().filter(|word| **word == "revoked").count(), 1);
    wait(recover::tick(&stage.gate)).unwrap();
    assert_eq!(wait(stage.words(&plan)).iter().filter(|word| **word == "revoked").count(), 1);
    audit(&stage);
}

#[test]
fn inv08_a_lease_that_lasts_alarms_nobody_and_is_ended_when_it_can_be() {
    let stage = started(Setup::default());
    stage.world.issuing(Issuing { lasting: true, ..Issuing::default() });
    let plan = proposed(&stage, "process.restart", "worker-1").id;
    assert_eq!(run_it(&stage, &plan), Ok(State::Succeeded));
    let revoked = || wait(stage.words(&plan)).iter().filter(|word| **word == "revoked").count();
    let end = wait(revoke::live(&stage.gate)).unwrap()[0].info.expires_at_ms;
    while stage.clock.now() < end {
        // It is said to live, for that it does, and nobody has to look.
        assert_eq!(revoked(), 0);
        let [lease] = &wait(revoke::live(&stage.gate)).unwrap()[..] else { panic!("one lease") };
        let trouble = lease.trouble.as_ref().unwrap();
        assert_eq!((trouble.tries, trouble.is_alarm()), (0, false));
        stage.clock.advance(Millis::new(revoke::MAX_PAUSE_MS).unwrap());
        wait(recover::tick(&stage.gate)).unwrap();
    }
    assert_eq!(revoked(), 1);
    no_lease_lives(&stage);
    audit(&stage);
}

#[test]
fn inv08_a_revocation_that_was_not_recorded_is_done_again() {
    let stage = started(Setup::default());
    let is_revoked = |txn: &holdpoint_app::port::Txn| {
        txn.records.iter().any(|record| matches!(record.body, Body::Revoked { .. }))
    };
    stage.store.fail(When::Matching(Box::new(is_revoked)), Failure::Full);
    let plan = proposed(&stage, "process.restart", "worker-1").id;
    assert_eq!(run_it(&stage, &plan).unwrap_err().rule, "gate-closed");
    assert_eq!(state(&stage, &plan), State::Succeeded);
    recovered(&stage);
    no_lease_lives(&stage);
    audit(&stage);
}

#[test]
fn inv08_a_lease_whose_record_failed_was_never_minted() {
    for failure in [Failure::Full, Failure::Closed, Failure::DoneButClosed] {
        let mut stage = started(Setup::default());
        let is_leased = |txn: &holdpoint_app::port::Txn| {
            txn.records.iter().any(|record| matches!(record.body, Body::Leased { .. }))
        };
        stage.store.fail(When::Matching(Box::new(is_leased)), failure);
        let plan = proposed(&stage, "process.restart", "worker-1").id;
        run_it(&stage, &plan).unwrap_err();
        let minted = stage.world.trace().iter().any(|traced| matches!(traced.effect, Effect::Minted(_)));
        assert!(!minted, "{failure:?}: a credential without a record");
        if failure != Failure::Full {
            stage.restart();
        }
        recovered(&stage);
        assert_eq!(state(&stage, &plan), State::Failed);
        no_lease_lives(&stage);
        audit(&stage);
    }
}

#[test]
fn inv06_a_lease_is_good_for_one_step_and_ends_within_the_permit() {
    let stage = started(Setup::default());
    let plan = proposed(&stage, "process.restart", "worker-1").id;
    run_it(&stage, &plan).unwrap();
    let view = wait(stage.view(&plan)).unwrap();
    let [lease] = &view.leases[..] else { panic!("one run, one lease") };
    let [scope] = &lease.scopes[..] else { panic!("one step, one scope") };
    assert_eq!((scope.action.as_str(), scope.target.as_str()), ("process.restart", "worker-1"));
    let leased = view.records.iter().find(|(_, record)| record.body.word() == "leased").unwrap();
    assert!(lease.expires_at_ms.since(leased.1.at_ms).ms() <= MAX_LEASE_MS);
}

/// A run that soaks for longer than any lease lives, beside the clockwork that ends expired leases.
fn long_run(deed: Deed) -> (State, holdpoint_app::fake::Stage) {
    let mut setup = Setup::default();
    let action = setup.parts.action("flag.switch");
    (action.soak_ms, action.settle_ms) = (Millis::secs(20 * 60), Millis::secs(60));
    let stage = started(setup);
    stage.world.apply(deed);
    let plan = proposed(&stage, "flag.switch", "worker-1").id;
    let mut running = Box::pin(run(&stage.gate, &plan));
    let end = loop {
        if let Some(end) = poll_at_most(&mut running, 10) {
            break end;
        }
        wait(recover::tick(&stage.gate)).unwrap();
    };
    drop(running);
    (end.unwrap(), stage)
}

#[test]
fn inv08_a_run_outlives_its_lease_and_not_the_other_way_round() {
    let (end, stage) = long_run(Deed::Works);
    assert_eq!(end, State::Succeeded);
    no_lease_lives(&stage);
    audit(&stage);
}

#[test]
fn inv02_an_undo_after_the_lease_ended_gets_another() {
    let (end, stage) = long_run(Deed::NoHelp);
    assert_eq!(end, State::Undone);
    assert_eq!(stage.world.thing("worker-1").content, 1);
    no_lease_lives(&stage);
    audit(&stage);
}

/// A run that was polled until it recorded `word`, whose lease a person then ended.
fn revoked_at(word: &str, deed: Deed) -> (holdpoint_app::fake::Stage, State, Vec<&'static str>) {
    let stage = started(Setup::default());
    stage.world.apply(deed);
    let plan = proposed(&stage, "flag.switch", "worker-1").id;
    let mut running = Box::pin(run(&stage.gate, &plan));
    poll_until(&stage, &mut running, word);
    let lease = wait(revoke::live(&stage.gate)).unwrap()[0].info.id.clone();
    assert_eq!(wait(revoke::ask(&stage.gate, &session("bob"), &lease)), Ok(true), "{word}");
    let end = wait(running).unwrap();
    recovered(&stage);
    no_lease_lives(&stage);
    audit(&stage);
    let words = wait(stage.words(&plan));
    (stage, end, words)
}

#[test]
fn inv08_a_person_ends_a_lease_and_its_run_fails_safe() {
    for word in ["leased", "rehearsed", "applying"] {
        let (stage, end, words) = revoked_at(word, Deed::Works);
        let effects = stage.world.thing("worker-1").effects;
        // Whatever was under way: nothing was changed, or it is known that it was.
        assert!(
            end == State::Failed && effects == 0 || end == State::Succeeded && effects == 1,
            "{word}: {end}"
        );
        assert!(words.contains(&"revocation_asked"), "{word}");
    }
    // After the effect a run needs its lease for nothing but the undo, which gets one of its own.
    let (_, end, words) = revoked_at("applied", Deed::NoHelp);
    assert_eq!(end, State::Undone);
    assert!(words.contains(&"leased_again"));
}

#[test]
fn t27_whoever_is_nobody_and_a_lease_that_is_none_end_nothing() {
    let stage = started(Setup::default());
    stage.world.issuing(Issuing { failing_revocations: 100, ..Issuing::default() });
    let plan = proposed(&stage, "process.restart", "worker-1").id;
    assert_eq!(run_it(&stage, &plan), Ok(State::Succeeded));
    let lease = wait(revoke::live(&stage.gate)).unwrap()[0].info.id.clone();
    let ask = |who: &Identity, lease: &Id<kind::Lease>| wait(revoke::ask(&stage.gate, who, lease));
    assert_eq!(ask(&decider("holmes"), &lease).unwrap_err().rule, "not-a-person");
    assert_eq!(ask(&session("mallory"), &lease).unwrap_err().rule, "unknown-person");
    assert_eq!(ask(&session("bob"), &"lease-none".parse().unwrap()).unwrap_err().rule, "no-such-lease");
    assert!(!wait(stage.words(&plan)).contains(&"revocation_asked"));
    assert_eq!(ask(&session("bob"), &lease), Ok(false), "the backend still refuses");
    assert!(wait(revoke::live(&stage.gate)).unwrap()[0].asked);
}
