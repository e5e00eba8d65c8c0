//! What moved and what changed is measured, compared with the estimate and recorded, and never stands in the way of a run.

use holdpoint_app::{
    fake::{
        Deed, Failure, Metering, Setup, Stage, When,
        controls::{id, signal},
        schedule::poll_at_most,
        statement,
    },
    port::Clock as _,
    recover,
    run::run,
};
use holdpoint_domain::{
    Millis,
    aftermath::{Aftermath, Fate, Gap, Surprise},
    approval::Choice,
    flow::State,
    record::{Body, Record},
    signal::Way,
    trigger::Why,
};

use super::support::{
    Plan, audit, bring, count, held, no_lease_lives, poll_until, proposed, recovered, run_it, started, state,
    wait,
};

const ALL: [&str; 3] = ["shop", "orders", "payments"];

/// One signal, which says 0.2 of every service.
fn metered() -> Stage {
    let mut setup = Setup::default();
    setup.parts.signals = vec![signal("errors")];
    let stage = started(setup);
    ALL.iter().for_each(|service| stage.meter.set(service, 0.2));
    stage
}

/// A run, and what the meter says once it has begun.
fn ran(stage: &Stage, action: &str, then: impl FnOnce(&Stage)) -> (Plan, State) {
    let plan = proposed(stage, action, "worker-1").id;
    let mut running = Box::pin(run(&stage.gate, &plan));
    poll_until(stage, &mut running, "applying");
    then(stage);
    let end = wait(running).unwrap();
    no_lease_lives(stage);
    audit(stage);
    (plan, end)
}

fn aftermath(stage: &Stage, plan: &Plan) -> Aftermath {
    wait(stage.view(plan)).unwrap().aftermath.expect("it was measured afterwards")
}

/// `service signal way before after estimated`, a line each.
fn moved(aftermath: &Aftermath) -> Vec<String> {
    let line = |it: &holdpoint_domain::aftermath::Moved| {
        format!("{} {} {:?} {} {} {}", it.service, it.signal, it.way, it.before, it.after, it.estimated)
    };
    aftermath.moved.iter().map(line).collect()
}

fn gaps(aftermath: &Aftermath) -> Vec<(Option<String>, Gap, Option<Why>)> {
    let gap = |it: &holdpoint_domain::aftermath::Unknown| {
        (it.service.as_ref().map(ToString::to_string), it.gap, it.why)
    };
    aftermath.unknown.iter().map(gap).collect()
}

#[test]
fn what_moved_is_told_apart_by_the_estimate_and_by_the_way() {
    let stage = metered();
    let (plan, end) = ran(&stage, "process.restart", |stage| {
        stage.meter.set("shop", 0.0);
        stage.meter.set("payments", 0.9);
        stage.meter.set("orders", 0.25);
    });
    assert_eq!(end, State::Succeeded);
    let found = aftermath(&stage, &plan);
    assert_eq!(
        moved(&found),
        ["payments errors Worse 0.2 0.9 false", "shop errors Better 0.2 0 true"],
        "what nobody expected comes first"
    );
    assert_eq!((found.still, gaps(&found).len()), (1, 0));
    let outside = Surprise::MovedOutside { service: id("payments"), signal: id("errors") };
    assert_eq!(found.surprises, [outside]);
    let fates: Vec<_> = found.targets.iter().map(|it| (it.target.as_str(), it.acted_on, it.fate)).collect();
    assert_eq!(
        fates,
        [("worker-1", true, Fate::Changed), ("worker-2", false, Fate::Same), ("worker-3", false, Fate::Same)]
    );
    // A service outside that got better is told, and is no surprise.
    let stage = metered();
    let (plan, _) = ran(&stage, "process.restart", |stage| {
        stage.meter.set("shop", 0.9);
        stage.meter.set("payments", 0.0);
    });
    let found = aftermath(&stage, &plan);
    assert_eq!(moved(&found), ["shop errors Worse 0.2 0.9 true", "payments errors Better 0.2 0 false"]);
    assert_eq!(found.surprises, []);
}

#[test]
fn what_was_not_measured_before_or_after_is_unknown() {
    let stage = metered();
    stage.meter.forget("shop");
    let (plan, _) = ran(&stage, "process.restart", |stage| {
        stage.meter.set("shop", 0.9);
        stage.meter.forget("payments");
    });
    let found = aftermath(&stage, &plan);
    let no_data = Some(Why::NoData);
    assert_eq!(
        gaps(&found),
        // Those of the estimate come first.
        [(Some("shop".to_owned()), Gap::Before, no_data), (Some("payments".to_owned()), Gap::After, no_data)]
    );
    assert_eq!((moved(&found).len(), found.still, found.surprises.len()), (0, 1, 0));
    // Whom the estimate does not name, either: a service without errors before has no series in many an expression.
    let stage = metered();
    stage.meter.forget("payments");
    let (plan, _) = ran(&stage, "process.restart", |stage| stage.meter.set("payments", 0.9));
    let found = aftermath(&stage, &plan);
    assert_eq!(gaps(&found), [(Some("payments".to_owned()), Gap::Before, no_data)]);
    assert_eq!((moved(&found).len(), found.still, found.left_out), (0, 2, 0));
}

#[test]
fn a_meter_that_fails_or_hangs_changes_nothing_about_the_run() {
    let cases =
        [(Metering::Fails, Why::Refused), (Metering::Hangs, Why::TimedOut), (Metering::Nothing, Why::NoData)];
    for (metering, why) in cases {
        // Before.
        let stage = metered();
        stage.meter.metering(metering);
        let (plan, end) = ran(&stage, "process.restart", |stage| stage.meter.metering(Metering::Works));
        assert_eq!(end, State::Succeeded, "{metering:?}");
        assert_eq!(gaps(&aftermath(&stage, &plan)), [(None, Gap::Before, Some(why))], "{metering:?}");
        // After.
        let stage = metered();
        let (plan, end) = ran(&stage, "process.restart", |stage| stage.meter.metering(metering));
        assert_eq!(end, State::Succeeded, "{metering:?}");
        assert_eq!(gaps(&aftermath(&stage, &plan)), [(None, Gap::After, Some(why))], "{metering:?}");
    }
}

#[test]
fn a_meter_that_hangs_takes_no_more_than_its_time_and_none_of_a_credential() {
    let stage = metered();
    stage.meter.metering(Metering::Hangs);
    let plan = proposed(&stage, "process.restart", "worker-1").id;
    let before = stage.clock.elapsed();
    let mut running = Box::pin(run(&stage.gate, &plan));
    poll_until(&stage, &mut running, "baseline");
    assert_eq!(stage.world.live_leases(), []);
    assert_eq!(count(&stage, "leased"), 0);
    // Signals and the two replicas beside, each for as long as it may take: the fake's clock adds up what is beside each other.
    let limit = Millis::secs(6).ms() * 3;
    assert!(stage.clock.elapsed().ms() - before.ms() <= limit);
    assert_eq!(wait(running), Ok(State::Succeeded));
}

#[test]
fn a_neighbour_that_changes_at_the_same_time_is_a_surprise() {
    let stage = metered();
    let (plan, _) =
        ran(&stage, "process.restart", |stage| stage.world.change("worker-2", |thing| thing.content = 9));
    let found = aftermath(&stage, &plan);
    assert_eq!(found.surprises, [Surprise::ChangedBeside { target: id("worker-2") }]);
}

#[test]
fn a_target_that_was_to_change_and_did_not_is_a_surprise() {
    let stage = metered();
    stage.world.apply(Deed::Lies);
    let (plan, end) = ran(&stage, "process.restart", |_| {});
    assert_eq!(end, State::Failed);
    assert_eq!(aftermath(&stage, &plan).surprises, [Surprise::NotChanged { target: id("worker-1") }]);
    // What was refused was not to change.
    let stage = metered();
    stage.world.apply(Deed::Refuses);
    let (plan, _) = ran(&stage, "process.restart", |_| {});
    assert_eq!(aftermath(&stage, &plan).surprises, []);
}

#[test]
fn an_undo_is_measured_when_it_is_over() {
    let stage = metered();
    stage.world.apply(Deed::NoHelp);
    let (plan, end) = ran(&stage, "flag.switch", |stage| stage.meter.set("shop", 0.9));
    assert_eq!(end, State::Undone);
    let found = aftermath(&stage, &plan);
    assert_eq!((moved(&found).len(), found.moved[0].way), (1, Way::Worse));
    let words: Vec<_> = stage.store.records().iter().map(|record| record.body.word()).collect();
    let place = |word: &str| words.iter().position(|it| *it == word).unwrap();
    assert!(place("baseline") < place("leased") && place("undone") < place("aftermath"));
    assert!(place("revoked") < place("aftermath"), "the credential ends first");
}

#[test]
fn where_no_effect_was_begun_nothing_is_compared() {
    let stage = metered();
    stage.world.rehearse(Deed::Refuses);
    let plan = proposed(&stage, "process.restart", "worker-1").id;
    assert_eq!(run_it(&stage, &plan), Ok(State::Failed));
    assert_eq!((count(&stage, "baseline"), count(&stage, "aftermath")), (1, 0));
}

#[test]
fn without_signals_nothing_is_asked_and_nothing_is_recorded() {
    let stage = started(Setup::default());
    let plan = proposed(&stage, "process.restart", "worker-1").id;
    assert_eq!(run_it(&stage, &plan), Ok(State::Succeeded));
    assert_eq!((count(&stage, "baseline"), count(&stage, "aftermath"), stage.meter.asked()), (0, 0, 0));
}

#[test]
fn inv02_a_kill_at_any_point_neither_loses_nor_doubles_what_was_measured() {
    for polls in 0.. {
        let mut stage = metered();
        let plan = proposed(&stage, "process.restart", "worker-1").id;
        let mut running = Box::pin(run(&stage.gate, &plan));
        let ended = poll_at_most(&mut running, polls).is_some();
        drop(running);
        stage.restart();
        wait(recover::unmeasured(&stage.gate)).unwrap();
        recovered(&stage);
        wait(recover::unmeasured(&stage.gate)).unwrap();
        if state(&stage, &plan) == State::Permitted {
            run_it(&stage, &plan).unwrap();
        }
        let view = wait(stage.view(&plan)).unwrap();
        assert!(count(&stage, "baseline") <= 1, "{polls} polls");
        let expected = usize::from(view.has_begun());
        assert_eq!(count(&stage, "aftermath"), expected, "{polls} polls, `{}`", view.state);
        let unknown = |found: &Aftermath| found.unknown.iter().any(|it| it.gap == Gap::Interrupted);
        let is_honest = |found: &Aftermath| unknown(found) || found.still == 3;
        assert!(view.aftermath.as_ref().is_none_or(is_honest), "{polls} polls: {:?}", view.aftermath);
        audit(&stage);
        if ended {
            break;
        }
    }
}

#[test]
fn what_happened_while_nobody_drove_a_run_is_not_taken_for_what_it_did() {
    for word in ["applying", "applied"] {
        let mut stage = metered();
        let plan = proposed(&stage, "process.restart", "worker-1").id;
        let mut running = Box::pin(run(&stage.gate, &plan));
        poll_until(&stage, &mut running, word);
        drop(running);
        let asked = stage.meter.asked();
        ALL.iter().for_each(|service| stage.meter.set(service, 0.9));
        stage.world.change("worker-2", |thing| thing.content = 9);
        stage.clock.advance(Millis::secs(3600));
        stage.restart();
        recovered(&stage);
        let found = aftermath(&stage, &plan);
        assert_eq!(gaps(&found), [(None, Gap::Interrupted, None)], "{word}");
        assert_eq!((found.moved.len(), found.surprises.len(), found.targets.len()), (0, 0, 0), "{word}");
        assert_eq!(stage.meter.asked(), asked, "{word}: nobody asks again");
        audit(&stage);
    }
}

#[test]
fn what_could_not_be_recorded_keeps_no_other_plan_from_being_told() {
    let mut stage = metered();
    let is_aftermath = |txn: &holdpoint_app::port::Txn| {
        txn.records.iter().any(|record| matches!(record.body, Body::Aftermath { .. }))
    };
    // Two runs end, and neither gets on record what moved.
    let plans = ["worker-1", "worker-2"].map(|target| {
        stage.store.fail(When::Matching(Box::new(is_aftermath)), Failure::Full);
        let plan = proposed(&stage, "process.restart", target).id;
        assert_eq!(run_it(&stage, &plan), Ok(State::Succeeded));
        plan
    });
    assert_eq!((count(&stage, "aftermath"), stage.store.faults_left()), (0, 0));
    stage.restart();
    stage.store.fail(When::Matching(Box::new(is_aftermath)), Failure::Full);
    wait(recover::unmeasured(&stage.gate)).unwrap();
    assert_eq!((count(&stage, "aftermath"), stage.store.faults_left()), (1, 0), "one of two");
    wait(recover::unmeasured(&stage.gate)).unwrap();
    for plan in &plans {
        assert_eq!(gaps(&aftermath(&stage, plan)), [(None, Gap::Interrupted, None)]);
    }
    audit(&stage);
}

#[test]
fn a_review_signed_before_it_was_measured_is_asked_for_again() {
    // A hold, so that a person is in it: what they sign names the last record that they have seen.
    let stage = metered();
    let (plan, terms) = held(&stage, "cache.drop", "worker-1");
    bring(&stage, &holdpoint_app::fake::session("bob"), &terms, statement("bob", &terms, Choice::Approve))
        .unwrap();
    assert_eq!(run_it(&stage, &plan), Ok(State::Succeeded));
    let last = wait(stage.view(&plan)).unwrap().records.last().unwrap().1.body.word();
    assert_eq!(last, "aftermath", "whoever reads the plan from now on sees what moved");
}

/// What decisions are made of and what they say, in bytes.
fn decisions(stage: &Stage) -> Vec<Vec<u8>> {
    // A permit names the head of the ledger, in which the measurements stand: what it is granted for is in the facts.
    let bytes = |record: Record| match &record.body {
        Body::Decided { .. } => Some(record.bytes().unwrap()),
        Body::Claimed { facts, .. } => Some(holdpoint_domain::digest::canonical(facts).unwrap()),
        _ => None,
    };
    stage.store.records().into_iter().filter_map(bytes).collect()
}

#[test]
fn inv10_whatever_the_meter_says_no_decision_is_another_one() {
    let told = |say: fn(&Stage)| {
        let stage = metered();
        say(&stage);
        stage.clock.freeze(true);
        for target in ["worker-1", "worker-2"] {
            let plan = proposed(&stage, "process.restart", target).id;
            assert_eq!(run_it(&stage, &plan), Ok(State::Succeeded));
            stage.meter.set("shop", 1.0e9);
        }
        decisions(&stage)
    };
    let usual = told(|_| {});
    assert_eq!(usual.len(), 4);
    let others: [fn(&Stage); 4] = [
        |stage| stage.meter.metering(Metering::Fails),
        |stage| stage.meter.metering(Metering::Nothing),
        |stage| ALL.iter().for_each(|service| stage.meter.set(service, -1.0)),
        |stage| ALL.iter().for_each(|service| stage.meter.forget(service)),
    ];
    for (number, other) in others.into_iter().enumerate() {
        assert!(told(other) == usual, "meter {number}");
    }
}
