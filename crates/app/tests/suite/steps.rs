//! Plans of several steps: in order, each announced for itself, verified together, and undone in reverse.

use holdpoint_app::{
    fake::{Deed, Effect, Setup, Stage},
    run::run,
};
use holdpoint_domain::{
    Millis, Tier,
    approval::Choice,
    decision::Answer,
    flow::State,
    record::{Body, DoubtWhy, FailWhy},
};

use super::support::{
    Plan, audit, bring, no_lease_lives, poll_until_step, proposed_all, run_it, several, started, wait,
};

pub(super) const THREE: [(&str, &str); 3] =
    [("flag.switch", "worker-1"), ("flag.switch", "worker-2"), ("flag.switch", "worker-3")];
pub(super) const WORKERS: [&str; 3] = ["worker-1", "worker-2", "worker-3"];

/// A permitted plan of three steps.
fn three(setup: Setup) -> (Stage, Plan) {
    let stage = started(setup);
    let plan = proposed_all(&stage, &THREE).id;
    (stage, plan)
}

/// What was done to targets, in order.
fn deeds(stage: &Stage) -> Vec<(Effect, String)> {
    let deed = |effect: &Effect| matches!(effect, Effect::Applied | Effect::Undone);
    let trace = stage.world.trace().into_iter().filter(|traced| deed(&traced.effect));
    trace.map(|traced| (traced.effect, traced.target.unwrap().to_string())).collect()
}

fn contents(stage: &Stage) -> [u64; 3] {
    WORKERS.map(|worker| stage.world.thing(worker).content)
}

#[test]
fn inv01_steps_run_in_order_each_after_its_own_record() {
    let (stage, plan) = three(several());
    assert_eq!(run_it(&stage, &plan), Ok(State::Succeeded));
    let applied = |worker: &str| (Effect::Applied, worker.to_owned());
    assert_eq!(deeds(&stage), WORKERS.map(applied));
    let words = wait(stage.words(&plan));
    let from = words.iter().position(|word| *word == "claimed").unwrap();
    let steps = ["applying", "applied", "applying", "applied", "applying", "applied"];
    let last = ["measured", "measured", "measured", "succeeded", "review_owed", "revoked"];
    assert_eq!(words[from..], [&["claimed", "leased", "rehearsed"], &steps[..], &last[..]].concat());
    let view = wait(stage.view(&plan)).unwrap();
    assert_eq!(view.left, WORKERS.map(|worker| stage.world.thing(worker).version()));
    let [lease] = &view.leases[..] else { panic!("one run, one lease") };
    assert_eq!(lease.scopes.len(), 3);
    no_lease_lives(&stage);
    audit(&stage);
}

#[test]
fn inv02_a_step_that_fails_undoes_the_earlier_ones_in_reverse() {
    let cases = [
        (Deed::NotDone, FailWhy::NoEffect),
        (Deed::Lies, FailWhy::NoEffect),
        (Deed::Refuses, FailWhy::Refused),
        // Applied, and it does not help: it is undone as well.
        (Deed::NoHelp, FailWhy::NotVerified),
    ];
    for (deed, why) in cases {
        for (at, worker) in WORKERS.into_iter().enumerate() {
            let (stage, plan) = three(several());
            stage.world.apply_at(worker, deed);
            let end = if at == 0 && deed != Deed::NoHelp { State::Failed } else { State::Undone };
            assert_eq!(run_it(&stage, &plan), Ok(end), "{deed:?} {worker}");
            assert_eq!(contents(&stage), [1, 1, 1], "{deed:?} {worker}");
            let applied = if deed == Deed::NoHelp { 3 } else { at };
            let undone: Vec<_> = deeds(&stage).split_off(applied);
            let reverse = WORKERS[..applied].iter().rev();
            let want: Vec<_> = reverse.map(|worker| (Effect::Undone, (*worker).to_owned())).collect();
            assert_eq!(undone, want, "{deed:?} {worker}");
            let whys: Vec<_> = stage
                .store
                .records()
                .iter()
                .filter_map(|record| match record.body {
                    Body::Undoing { why, .. } | Body::Failed { why } => Some(why),
                    _ => None,
                })
                .collect();
            assert!(!whys.is_empty() && whys.iter().all(|said| *said == why), "{deed:?} {worker} {whys:?}");
            assert!(wait(stage.view(&plan)).unwrap().review_due.is_some());
            no_lease_lives(&stage);
            audit(&stage);
        }
    }
}

#[test]
fn inv03_a_step_that_nobody_knows_the_end_of_stops_everything() {
    for (deed, why) in [
        (Deed::UnknownBefore, DoubtWhy::MayStillHappen),
        (Deed::Late, DoubtWhy::MayStillHappen),
        (Deed::Partial, DoubtWhy::OtherVersion),
    ] {
        let (stage, plan) = three(several());
        stage.world.apply_at("worker-2", deed);
        assert_eq!(run_it(&stage, &plan), Ok(State::InDoubt), "{deed:?}");
        assert_eq!(wait(stage.view(&plan)).unwrap().doubt, Some(why), "{deed:?}");
        // Nothing more is done, forth or back, and all three stay locked.
        assert_eq!(stage.world.thing("worker-3").effects, 0, "{deed:?}");
        assert_ne!(stage.world.thing("worker-1").content, 1, "{deed:?}");
        no_lease_lives(&stage);
        audit(&stage);
    }
}

#[test]
fn inv02_an_undo_that_fails_in_the_middle_says_so() {
    let cases = [
        (Deed::NotDone, State::UndoFailed),
        (Deed::Lies, State::UndoFailed),
        (Deed::UnknownBefore, State::InDoubt),
        (Deed::Partial, State::InDoubt),
    ];
    for (deed, end) in cases {
        let (stage, plan) = three(several());
        stage.world.apply_at("worker-3", Deed::NoHelp);
        stage.world.undo_at("worker-2", deed);
        assert_eq!(run_it(&stage, &plan), Ok(end), "{deed:?}");
        assert_eq!(stage.world.thing("worker-3").content, 1, "the last was undone first");
        // What cannot be undone is no reason to leave the earlier ones changed; what nobody knows is.
        assert_eq!(stage.world.thing("worker-1").content == 1, end == State::UndoFailed, "{deed:?}");
        no_lease_lives(&stage);
        audit(&stage);
    }
}

#[test]
fn t08_the_version_of_a_later_step_is_looked_at_when_its_turn_comes() {
    for (step, worker) in [(0, "worker-2"), (1, "worker-3")] {
        let (stage, plan) = three(several());
        let mut running = Box::pin(run(&stage.gate, &plan));
        poll_until_step(&stage, &mut running, "applied", step);
        stage.world.change(worker, |thing| thing.content = 42);
        assert_eq!(wait(running), Ok(State::Undone), "{worker}");
        let thing = stage.world.thing(worker);
        assert_eq!((thing.content, thing.effects), (42, 0), "{worker} is left as somebody made it");
        for other in WORKERS.into_iter().filter(|other| *other != worker) {
            assert_eq!(stage.world.thing(other).content, 1, "{other}");
        }
        audit(&stage);
    }
}

#[test]
fn inv02_work_of_others_on_an_earlier_target_is_not_overwritten() {
    // Found by the verification where all goes well, and by the undo where a later step fails.
    for deed in [Deed::Works, Deed::NotDone, Deed::NoHelp] {
        let (stage, plan) = three(several());
        stage.world.apply_at("worker-3", deed);
        let mut running = Box::pin(run(&stage.gate, &plan));
        poll_until_step(&stage, &mut running, "applied", 1);
        stage.world.change("worker-1", |thing| thing.content = 42);
        assert_eq!(wait(running), Ok(State::InDoubt), "{deed:?}");
        assert_eq!(wait(stage.view(&plan)).unwrap().doubt, Some(DoubtWhy::ChangedSince), "{deed:?}");
        assert_eq!(stage.world.thing("worker-1").content, 42, "{deed:?}");
        no_lease_lives(&stage);
        audit(&stage);
    }
}

#[test]
fn t25_later_steps_may_come_after_the_start_window_and_not_after_the_undo_window() {
    let (stage, plan) = three(several());
    let mut running = Box::pin(run(&stage.gate, &plan));
    poll_until_step(&stage, &mut running, "applied", 0);
    stage.clock.advance(stage.gate.settings.start_window_ms);
    assert_eq!(wait(running), Ok(State::Succeeded));
    audit(&stage);

    let (stage, plan) = three(several());
    let mut running = Box::pin(run(&stage.gate, &plan));
    poll_until_step(&stage, &mut running, "applied", 0);
    stage.clock.advance(Millis::secs(24 * 60 * 60));
    // Neither forth nor back: nothing authorises it any more, and the record says that something is left.
    assert_eq!(wait(running), Ok(State::UndoFailed));
    assert_eq!(WORKERS.map(|worker| stage.world.thing(worker).effects), [1, 0, 0]);
    no_lease_lives(&stage);
    audit(&stage);
}

#[test]
fn t25_the_first_step_does_not_come_after_the_start_window() {
    let (stage, plan) = three(several());
    let mut running = Box::pin(run(&stage.gate, &plan));
    super::support::poll_until(&stage, &mut running, "rehearsed");
    stage.clock.advance(stage.gate.settings.start_window_ms);
    assert_eq!(wait(running), Ok(State::Failed));
    assert_eq!(WORKERS.map(|worker| stage.world.thing(worker).effects), [0, 0, 0]);
    audit(&stage);
}

#[test]
fn a_plan_has_the_strictest_answer_of_its_steps() {
    let stage = started(several());
    let steps = [("flag.switch", "worker-1"), ("cache.drop", "worker-2"), ("process.inspect", "worker-3")];
    let proposed = proposed_all(&stage, &steps);
    assert_eq!((proposed.decision.answer, proposed.decision.tier), (Answer::Hold, Tier::T3));
    assert_eq!(proposed.evidence.len(), 3);
    let terms = proposed.terms.unwrap();
    bring(
        &stage,
        &holdpoint_app::fake::session("bob"),
        &terms,
        holdpoint_app::fake::statement("bob", &terms, Choice::Approve),
    )
    .unwrap();
    assert_eq!(run_it(&stage, &proposed.id), Ok(State::Succeeded));
    audit(&stage);
    // Each step's trigger is measured on its own target.
    let stage = started(several());
    stage.world.change("worker-2", |thing| thing.healthy = true);
    let proposed = proposed_all(&stage, &THREE);
    assert_eq!((proposed.decision.answer, proposed.decision.tier), (Answer::Hold, Tier::T3));
}

#[test]
fn t05_a_plan_locks_all_its_targets_or_none() {
    let stage = started(several());
    let plan = proposed_all(&stage, &THREE).id;
    let other = proposed_all(&stage, &[("flag.switch", "worker-3")]).id;
    let mut running = Box::pin(run(&stage.gate, &plan));
    poll_until_step(&stage, &mut running, "applied", 0);
    assert_eq!(run_it(&stage, &other).unwrap_err().rule, "target-busy");
    assert_eq!(wait(running), Ok(State::Succeeded));
    audit(&stage);
    // And the other way round: one busy target keeps all three free.
    let stage = started(several());
    let plan = proposed_all(&stage, &THREE).id;
    let other = proposed_all(&stage, &[("flag.switch", "worker-3")]).id;
    let mut running = Box::pin(run(&stage.gate, &other));
    super::support::poll_until(&stage, &mut running, "claimed");
    assert_eq!(run_it(&stage, &plan).unwrap_err().rule, "target-busy");
    assert_eq!(wait(running), Ok(State::Succeeded));
    assert_eq!(stage.world.thing("worker-1").effects, 0);
    audit(&stage);
}
