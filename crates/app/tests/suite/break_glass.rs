//! What people ask for beyond policy: who may, which halt stops it and which does not, and what still binds it.

use std::collections::BTreeMap;

use holdpoint_app::{
    break_glass::{Emergency, break_glass},
    fake::{
        Policy, Setup, Stage,
        controls::{id, ids},
        decider, session,
    },
    halt::halt,
    propose::Proposed,
    refusal::Refusal,
    run::run,
};
use holdpoint_domain::{
    Millis, Tier,
    approval::{Choice, HoldTerms},
    decision::{Answer, Worse},
    flow::State,
    halt::Reach,
    record::{FailWhy, Request},
};

use super::support::{
    Plan, approved, ask_as, audit, count, decide, no_lease_lives, poll_until, refusals, run_it, started,
    state, wait,
};

const WHY: &str = "the worker hangs and nobody can wait";

/// A stage whose policy lets no agent do anything.
fn strict() -> Stage {
    started(Setup { policy: Policy::Deny, ..Setup::default() })
}

fn asked_as(stage: &Stage, who: &str, reason: &str) -> Result<Proposed, Refusal> {
    let (action, target) = (id("flag.switch"), id("worker-1"));
    let params = BTreeMap::new();
    let wanted = Emergency { action, target, params, incident: None, reason: reason.to_owned() };
    wait(break_glass(&stage.gate, &session(who), wanted))
}

fn asked(stage: &Stage) -> (Plan, HoldTerms) {
    let proposed = asked_as(stage, "alice", WHY).unwrap();
    (proposed.id, proposed.terms.unwrap())
}

/// A millisecond passes: no two things of a test happen at one time by accident.
fn later(stage: &Stage) {
    stage.clock.advance(Millis::new(1).unwrap());
}

fn halted(stage: &Stage, reach: Reach) {
    later(stage);
    wait(halt(&stage.gate, &session("carol"), reach)).unwrap();
    later(stage);
}

/// Asked for and released, in a halt of this reach if there is one.
fn granted_in(halt: Option<Reach>) -> (Stage, Plan) {
    let stage = strict();
    if let Some(reach) = halt {
        halted(&stage, reach);
    }
    let (plan, terms) = asked(&stage);
    approved(&stage, "alice", &terms);
    assert_eq!(approved(&stage, "bob", &terms).state, State::Permitted);
    (stage, plan)
}

const BEFORE: [Option<Reach>; 3] = [None, Some(Reach::Soft), Some(Reach::Hard)];

#[test]
fn inv05_inv15_two_people_run_what_no_policy_permits_also_in_a_halt_that_was_there_before() {
    for before in BEFORE {
        let (stage, plan) = granted_in(before);
        assert_eq!(run_it(&stage, &plan), Ok(State::Succeeded), "{before:?}");
        assert_eq!(stage.world.thing("worker-1").effects, 1);
        // No agent gets in behind them.
        let proposal = stage.proposal("flag.switch", "worker-2");
        assert_eq!(ask_as(&stage, &decider("healer"), proposal).unwrap().decision.answer, Answer::Deny);
        no_lease_lives(&stage);
        audit(&stage);
    }
}

#[test]
fn inv15_a_halt_after_the_grant_stops_it_before_its_start_whichever_was_in_force() {
    for before in BEFORE {
        for reach in [Reach::Soft, Reach::Hard] {
            let (stage, plan) = granted_in(before);
            halted(&stage, reach);
            assert_eq!(run_it(&stage, &plan), Ok(State::Void), "{before:?} {reach}");
            assert!(wait(stage.view(&plan)).unwrap().worse.contains(&Worse::held_by("halted")));
            assert!(stage.world.trace().is_empty(), "{before:?} {reach}");
            audit(&stage);
        }
    }
}

#[test]
fn inv15_a_halt_after_the_grant_stops_it_before_its_effect_whichever_was_in_force() {
    for before in BEFORE {
        for word in ["claimed", "leased", "rehearsed", "applying"] {
            let (stage, plan) = granted_in(before);
            let mut running = Box::pin(run(&stage.gate, &plan));
            poll_until(&stage, &mut running, word);
            halted(&stage, Reach::Soft);
            assert_eq!(wait(running), Ok(State::Failed), "{before:?} {word}");
            assert_eq!(wait(stage.view(&plan)).unwrap().failed, Some(FailWhy::Halted), "{before:?} {word}");
            assert_eq!(stage.world.thing("worker-1").effects, 0, "{before:?} {word}");
            no_lease_lives(&stage);
            audit(&stage);
        }
    }
}

#[test]
fn inv15_a_halt_in_the_very_moment_of_the_grant_stops_it() {
    // Nobody can tell which came first, so the halt did.
    let (stage, plan) = granted_in(None);
    wait(halt(&stage.gate, &session("carol"), Reach::Soft)).unwrap();
    assert_eq!(run_it(&stage, &plan), Ok(State::Void));
    assert!(stage.world.trace().is_empty());
}

#[test]
fn inv15_a_halt_between_the_first_and_the_last_signature_is_one_that_the_last_one_knew() {
    let stage = strict();
    let (plan, terms) = asked(&stage);
    approved(&stage, "alice", &terms);
    halted(&stage, Reach::Hard);
    approved(&stage, "bob", &terms);
    assert_eq!(run_it(&stage, &plan), Ok(State::Succeeded));
    audit(&stage);
}

#[test]
fn inv05_one_no_ends_it_and_one_person_is_not_two() {
    let stage = strict();
    let (plan, terms) = asked(&stage);
    assert_eq!(terms.tier, Tier::T4);
    approved(&stage, "alice", &terms);
    let again = decide(&stage, "alice", &terms, Choice::Approve).unwrap_err();
    assert_eq!(again.rule, "decided-before");
    assert_eq!(decide(&stage, "bob", &terms, Choice::Reject).unwrap().state, State::Rejected);
    assert_eq!(state(&stage, &plan), State::Rejected);
    assert_eq!(count(&stage, "permitted"), 0);
    audit(&stage);
}

#[test]
fn t02_whoever_may_not_break_the_glass_any_more_does_not_count_at_the_start() {
    let (stage, plan) = granted_in(None);
    stage.judge.set_approvers(ids(&["alice", "carol"]));
    assert_eq!(run_it(&stage, &plan), Ok(State::Void));
    assert!(stage.world.trace().is_empty());
    audit(&stage);
}

#[test]
fn inv05_every_refused_emergency_is_recorded() {
    let stage = strict();
    assert_eq!(asked_as(&stage, "alice", "now").unwrap_err().rule, "no-reason");
    stage.judge.set_approvers(ids(&["bob"]));
    assert_eq!(asked_as(&stage, "alice", WHY).unwrap_err().rule, "may-not-break-glass");
    let wanted = Emergency {
        action: id("flag.switch"),
        target: id("worker-1"),
        params: BTreeMap::new(),
        incident: None,
        reason: WHY.to_owned(),
    };
    let agent = wait(break_glass(&stage.gate, &decider("healer"), wanted)).unwrap_err();
    assert_eq!(agent.rule, "not-a-person");
    let rules = ["no-reason", "may-not-break-glass", "not-a-person"];
    let expected = rules.map(|rule| (Request::BreakGlass, rule.to_owned()));
    assert_eq!(refusals(&stage), expected);
}
