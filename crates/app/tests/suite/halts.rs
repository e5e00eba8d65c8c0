//! Halt wins: over starts, over further steps, over what comes back after a restart; and an armed undo goes on, unless it is hard.

use holdpoint_app::{
    fake::{Deed, Failure, Setup, Stage, When, decider, schedule::poll_at_most, session, signed, signed_by},
    halt::{HaltDone, halt, record_halt, resume},
    port::Store as _,
    refusal::Refusal,
    run::run,
};
use holdpoint_domain::{
    Millis,
    decision::{Answer, Worse},
    flow::State,
    halt::Reach,
    record::{DoubtWhy, FailWhy, Request},
};

use super::{
    steps::{THREE, WORKERS},
    support::{
        Plan, audit, count, end_of_halt, no_lease_lives, poll_until, poll_until_step, proposed, proposed_all,
        recovered, refusals, run_it, several, started, state, wait,
    },
};

fn halt_by(stage: &Stage, person: &str, reach: Reach) -> HaltDone {
    wait(halt(&stage.gate, &session(person), reach)).unwrap()
}

fn resume_by(stage: &Stage, person: &str) -> Result<(), Refusal> {
    wait(resume(&stage.gate, &session(person), end_of_halt(stage, person)))
}

fn reach(stage: &Stage) -> Option<Reach> {
    stage.gate.halted().map(|halt| halt.reach)
}

fn permitted() -> (Stage, Plan) {
    let stage = started(Setup::default());
    let plan = proposed(&stage, "flag.switch", "worker-1").id;
    (stage, plan)
}

#[test]
fn inv15_nothing_is_decided_or_started_under_a_halt() {
    for how_far in [Reach::Soft, Reach::Hard] {
        let (stage, plan) = permitted();
        let done = halt_by(&stage, "alice", how_far);
        assert!(done.latched && done.recorded && done.halt.reach == how_far);
        assert_eq!(run_it(&stage, &plan), Ok(State::Void));
        assert!(wait(stage.view(&plan)).unwrap().worse.contains(&Worse::held_by("halted")));
        let denied = proposed(&stage, "flag.switch", "worker-2");
        assert_eq!(denied.decision.answer, Answer::Deny);
        assert!(stage.world.trace().is_empty());
        resume_by(&stage, "bob").unwrap();
        let plan = proposed(&stage, "flag.switch", "worker-1").id;
        assert_eq!(run_it(&stage, &plan), Ok(State::Succeeded));
        audit(&stage);
    }
}

#[test]
fn inv15_a_read_only_plan_does_not_start_either() {
    let stage = started(Setup::default());
    let plan = proposed(&stage, "process.inspect", "worker-1").id;
    halt_by(&stage, "alice", Reach::Soft);
    assert_eq!(run_it(&stage, &plan), Ok(State::Void));
}

#[test]
fn inv15_a_run_that_has_touched_nothing_yet_fails() {
    for how_far in [Reach::Soft, Reach::Hard] {
        for word in ["claimed", "leased", "rehearsed", "applying"] {
            let (stage, plan) = permitted();
            let mut running = Box::pin(run(&stage.gate, &plan));
            poll_until(&stage, &mut running, word);
            halt_by(&stage, "bob", how_far);
            assert_eq!(wait(running), Ok(State::Failed), "{word}");
            assert_eq!(wait(stage.view(&plan)).unwrap().failed, Some(FailWhy::Halted), "{word}");
            assert_eq!(stage.world.thing("worker-1").effects, 0, "{word}");
            if matches!(word, "claimed" | "leased") {
                assert!(
                    !stage
                        .world
                        .trace()
                        .iter()
                        .any(|traced| { matches!(traced.effect, holdpoint_app::fake::Effect::Minted(_)) })
                );
            }
            no_lease_lives(&stage);
            audit(&stage);
        }
    }
}

#[test]
fn inv15_between_two_steps_a_soft_halt_undoes_and_a_hard_one_leaves_it() {
    for (how_far, end) in [(Reach::Soft, State::Undone), (Reach::Hard, State::InDoubt)] {
        for word in ["applied", "applying"] {
            let stage = started(several());
            let plan = proposed_all(&stage, &THREE).id;
            let mut running = Box::pin(run(&stage.gate, &plan));
            poll_until_step(&stage, &mut running, word, 1);
            halt_by(&stage, "bob", how_far);
            assert_eq!(wait(running), Ok(end), "{how_far} {word}");
            assert_eq!(stage.world.thing("worker-3").effects, 0);
            let as_before = WORKERS.iter().all(|worker| stage.world.thing(worker).content == 1);
            assert_eq!(as_before, end == State::Undone, "{how_far} {word}");
            let doubt = wait(stage.view(&plan)).unwrap().doubt;
            assert_eq!(doubt, (end == State::InDoubt).then_some(DoubtWhy::HaltedHard));
            no_lease_lives(&stage);
            audit(&stage);
        }
    }
}

#[test]
fn inv15_an_armed_undo_goes_on_under_a_soft_halt_only() {
    for (how_far, end) in [(Reach::Soft, State::Undone), (Reach::Hard, State::InDoubt)] {
        for word in ["applied", "undoing", "unwound"] {
            let stage = started(several());
            stage.world.apply_at("worker-3", Deed::NoHelp);
            let plan = proposed_all(&stage, &THREE).id;
            let mut running = Box::pin(run(&stage.gate, &plan));
            poll_until_step_or(&stage, &mut running, word);
            halt_by(&stage, "bob", how_far);
            assert_eq!(wait(running), Ok(end), "{how_far} {word}");
            no_lease_lives(&stage);
            audit(&stage);
        }
    }
}

/// The third `applied`, or the first of any other word.
fn poll_until_step_or<F: Future>(stage: &Stage, running: &mut std::pin::Pin<Box<F>>, word: &str) {
    match word {
        "applied" => poll_until_step(stage, running, word, 2),
        _ => poll_until(stage, running, word),
    }
}

#[test]
fn inv15_a_hard_halt_ends_a_soak() {
    for deed in [Deed::Works, Deed::NoHelp] {
        let (stage, plan) = permitted();
        stage.world.apply(deed);
        let mut running = Box::pin(run(&stage.gate, &plan));
        poll_until(&stage, &mut running, "applied");
        for _ in 0..4 {
            assert!(holdpoint_app::fake::schedule::poll_at_most(&mut running, 1).is_none());
        }
        halt_by(&stage, "alice", Reach::Hard);
        assert_eq!(wait(running), Ok(State::InDoubt));
        assert_eq!(wait(stage.view(&plan)).unwrap().doubt, Some(DoubtWhy::HaltedHard));
        assert_eq!(stage.world.thing("worker-1").undos, 0);
        audit(&stage);
    }
}

#[test]
fn inv15_a_hard_halt_while_the_target_is_being_looked_at_stops_the_undo() {
    let (stage, plan) = permitted();
    stage.world.apply(Deed::NoHelp);
    let mut running = Box::pin(run(&stage.gate, &plan));
    poll_until(&stage, &mut running, "undoing");
    // It is dark for a while, so that the gate waits between its look at the halt and the undo.
    stage.world.change("worker-1", |thing| thing.blind = 3);
    while stage.world.thing("worker-1").blind > 1 {
        assert!(holdpoint_app::fake::schedule::poll_at_most(&mut running, 1).is_none());
    }
    halt_by(&stage, "alice", Reach::Hard);
    assert_eq!(wait(running), Ok(State::InDoubt));
    assert_eq!(stage.world.thing("worker-1").undos, 0);
    audit(&stage);
}

#[test]
fn inv15_a_halt_outlives_a_restart_by_the_latch_alone_and_by_the_ledger_alone() {
    for how_far in [Reach::Soft, Reach::Hard] {
        // The ledger had no room.
        let (mut stage, plan) = permitted();
        stage.store.fill(0);
        let done = halt_by(&stage, "alice", how_far);
        assert_eq!((done.latched, done.recorded), (true, false));
        stage.restart();
        assert_eq!(reach(&stage), Some(how_far));
        assert_eq!(stage.store.halt(), None);
        // Written down as soon as it can be, by whoever halted; once.
        wait(record_halt(&stage.gate)).unwrap();
        wait(record_halt(&stage.gate)).unwrap();
        assert_eq!(count(&stage, "halted"), 1);
        assert_eq!(stage.store.records().last().unwrap().actor, session("alice").actor());
        assert_eq!(run_it(&stage, &plan), Ok(State::Void));
        audit(&stage);

        // The disk of the latch failed.
        let (mut stage, plan) = permitted();
        stage.latch.disk_fails(true);
        let done = halt_by(&stage, "alice", how_far);
        assert_eq!((done.latched, done.recorded), (false, true));
        assert_eq!(reach(&stage), Some(how_far), "in memory all the same");
        stage.restart();
        assert_eq!(reach(&stage), Some(how_far));
        assert_eq!(run_it(&stage, &plan), Ok(State::Void));
        audit(&stage);
    }
}

#[test]
fn inv15_a_latch_file_that_somebody_put_there_halts_the_next_start() {
    let (mut stage, plan) = permitted();
    let at_ms = stage.gate.ports.clock.now();
    stage.latch.put_on_disk(Some(holdpoint_domain::halt::Halt { reach: Reach::Soft, by: None, at_ms }));
    stage.restart();
    wait(record_halt(&stage.gate)).unwrap();
    assert_eq!(count(&stage, "halted"), 1);
    assert_eq!(run_it(&stage, &plan), Ok(State::Void));
}

#[test]
fn inv15_a_hard_halt_is_never_made_soft() {
    for lose_the_latch in [false, true] {
        let mut stage = started(Setup::default());
        halt_by(&stage, "alice", Reach::Hard);
        if lose_the_latch {
            stage.latch.put_on_disk(None);
            stage.restart();
        }
        let done = halt_by(&stage, "carol", Reach::Soft);
        assert_eq!(done.halt.reach, Reach::Hard, "lost: {lose_the_latch}");
        assert_eq!(reach(&stage), Some(Reach::Hard));
        stage.restart();
        assert_eq!(reach(&stage), Some(Reach::Hard));
        stage.latch.put_on_disk(None);
        stage.restart();
        assert_eq!(reach(&stage), Some(Reach::Hard), "and not by the ledger alone either");
        audit(&stage);
    }
}

#[test]
fn inv15_a_soft_halt_can_be_made_hard() {
    let (stage, _) = permitted();
    halt_by(&stage, "alice", Reach::Soft);
    assert_eq!(halt_by(&stage, "bob", Reach::Hard).halt.reach, Reach::Hard);
    assert_eq!((reach(&stage), stage.store.halt().unwrap().reach), (Some(Reach::Hard), Reach::Hard));
}

#[test]
fn inv15_the_end_of_a_halt_is_recorded_and_so_is_its_beginning() {
    let (stage, _) = permitted();
    stage.store.fill(0);
    assert!(!halt_by(&stage, "alice", Reach::Soft).recorded);
    assert_eq!(resume_by(&stage, "bob").unwrap_err().rule, "gate-closed");
    assert_eq!(reach(&stage), Some(Reach::Soft), "without a record it goes on");
    stage.store.make_room();
    // The record of the halt alone fails: its end is not recorded without it.
    let halted = |txn: &holdpoint_app::port::Txn| txn.records.iter().any(|r| r.body.word() == "halted");
    stage.store.fail(When::Matching(Box::new(halted)), Failure::Full);
    assert_eq!(resume_by(&stage, "bob").unwrap_err().rule, "gate-closed");
    assert_eq!((count(&stage, "halted"), count(&stage, "resumed")), (0, 0));
    resume_by(&stage, "bob").unwrap();
    assert_eq!((count(&stage, "halted"), count(&stage, "resumed")), (1, 1));
    assert_eq!(reach(&stage), None);
    audit(&stage);
}

#[test]
fn inv15_a_latch_that_cannot_be_cleared_goes_on() {
    let (mut stage, _) = permitted();
    halt_by(&stage, "alice", Reach::Soft);
    stage.latch.disk_fails(true);
    assert_eq!(resume_by(&stage, "bob").unwrap_err().rule, "still-halted");
    assert_eq!(reach(&stage), Some(Reach::Soft));
    stage.restart();
    assert_eq!(reach(&stage), Some(Reach::Soft));
    resume_by(&stage, "bob").unwrap();
    assert_eq!(reach(&stage), None);
}

/// Between the record of its end and the end of the latch, a halt looks like one that nobody wrote down.
#[test]
fn inv15_a_halt_is_not_recorded_again_while_it_is_lifted() {
    let (stage, _) = permitted();
    halt_by(&stage, "alice", Reach::Soft);
    let bob = session("bob");
    let mut lifting = Box::pin(resume(&stage.gate, &bob, end_of_halt(&stage, "bob")));
    poll_until(&stage, &mut lifting, "resumed");
    wait(record_halt(&stage.gate)).unwrap();
    assert_eq!(wait(lifting), Ok(()));
    assert_eq!((reach(&stage), count(&stage, "halted")), (None, 1));
    // Whoever lifts it and goes away in between leaves it in force, and on record.
    halt_by(&stage, "alice", Reach::Hard);
    let mut lifting = Box::pin(resume(&stage.gate, &bob, end_of_halt(&stage, "bob")));
    while count(&stage, "resumed") < 2 {
        assert!(poll_at_most(&mut lifting, 1).is_none());
    }
    drop(lifting);
    wait(record_halt(&stage.gate)).unwrap();
    assert_eq!((reach(&stage), count(&stage, "halted")), (Some(Reach::Hard), 3));
    resume_by(&stage, "bob").unwrap();
    assert_eq!(reach(&stage), None);
    audit(&stage);
}

#[test]
fn inv15_a_halt_that_comes_while_another_is_lifted_stays() {
    let (stage, plan) = permitted();
    halt_by(&stage, "alice", Reach::Soft);
    let bob = session("bob");
    let mut lifting = Box::pin(resume(&stage.gate, &bob, end_of_halt(&stage, "bob")));
    poll_until(&stage, &mut lifting, "resumed");
    // Carol is told that hers is in force; the ledger has no room for it, so only the latch has it.
    stage.store.fail(When::Nth(0), Failure::Full);
    let done = halt_by(&stage, "carol", Reach::Soft);
    assert!(done.latched && !done.recorded);
    assert_eq!(wait(lifting).unwrap_err().rule, "halted-again");
    assert_eq!(reach(&stage), Some(Reach::Soft));
    assert_eq!(run_it(&stage, &plan), Ok(State::Void));
    wait(record_halt(&stage.gate)).unwrap();
    assert_eq!(count(&stage, "halted"), 2);
    audit(&stage);
}

#[test]
fn inv15_people_halt_and_administrators_resume() {
    let (stage, _) = permitted();
    // Agents do neither; strangers leave nothing.
    for (who, rule) in [(decider("healer"), "not-a-person"), (session("mallory"), "unknown-person")] {
        assert_eq!(wait(halt(&stage.gate, &who, Reach::Hard)).unwrap_err().rule, rule);
    }
    assert_eq!(reach(&stage), None);
    assert_eq!(refusals(&stage), [(Request::Halt, "not-a-person".to_owned())]);
    assert_eq!(resume_by(&stage, "bob").unwrap_err().rule, "not-halted");
    // Alice is no administrator: she may halt, and not resume.
    halt_by(&stage, "alice", Reach::Soft);
    assert_eq!(resume_by(&stage, "alice").unwrap_err().rule, "not-an-administrator");
    let bobs = end_of_halt(&stage, "bob");
    assert_eq!(wait(resume(&stage.gate, &decider("healer"), bobs)).unwrap_err().rule, "not-a-person");
    assert_eq!(reach(&stage), Some(Reach::Soft));
    let last: Vec<_> = refusals(&stage).into_iter().skip(2).collect();
    let refused = |rule: &str| (Request::Resume, rule.to_owned());
    assert_eq!(last, [refused("not-an-administrator"), refused("not-a-person")]);
    resume_by(&stage, "carol").unwrap();
    assert_eq!(reach(&stage), None);
}

/// What somebody signed to end a halt ends that one: not a later one, not that of another log, not in another's name, and not a
/// harder one that came in between.
#[test]
fn inv15_t01_the_end_of_one_halt_is_none_of_another() {
    let (stage, _) = permitted();
    halt_by(&stage, "alice", Reach::Soft);
    let first = end_of_halt(&stage, "bob");
    resume_by(&stage, "bob").unwrap();
    stage.clock.advance(Millis::secs(1));
    halt_by(&stage, "alice", Reach::Soft);
    let bob = session("bob");
    let refused = |signed| wait(resume(&stage.gate, &bob, signed)).unwrap_err().rule;
    assert_eq!(refused(first), "other-halt");
    let soft = end_of_halt(&stage, "bob");
    let mut elsewhere = soft.statement.clone();
    elsewhere.origin = "other.example/log".to_owned();
    assert_eq!(refused(signed(elsewhere)), "other-halt");
    assert_eq!(refused(end_of_halt(&stage, "carol")), "other-signer");
    assert_eq!(refused(signed_by(13, soft.statement.clone())), "statement-refused");
    halt_by(&stage, "carol", Reach::Hard);
    assert_eq!(refused(soft), "other-halt");
    assert_eq!(reach(&stage), Some(Reach::Hard));
    resume_by(&stage, "bob").unwrap();
    assert_eq!(reach(&stage), None);
    audit(&stage);
}

#[test]
fn inv15_a_run_that_comes_back_under_a_halt() {
    let cases = [
        (Reach::Soft, "leased", State::Failed),
        (Reach::Soft, "applied", State::Undone),
        (Reach::Hard, "applied", State::InDoubt),
        (Reach::Hard, "undoing", State::InDoubt),
        (Reach::Soft, "undoing", State::Undone),
    ];
    for (how_far, word, end) in cases {
        let (mut stage, plan) = permitted();
        stage.world.apply(Deed::NoHelp);
        let mut running = Box::pin(run(&stage.gate, &plan));
        poll_until(&stage, &mut running, word);
        drop(running);
        halt_by(&stage, "alice", how_far);
        stage.restart();
        recovered(&stage);
        assert_eq!(state(&stage, &plan), end, "{how_far} {word}");
        no_lease_lives(&stage);
        audit(&stage);
    }
}
