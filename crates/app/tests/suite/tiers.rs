//! Tiers: what needs how many people, and what a bad outcome does to autonomy.

use holdpoint_app::{
    fake::{
        Deed, Policy, Setup,
        controls::{PEOPLE, id},
        decider, session, signed_with,
    },
    recover,
};
use holdpoint_domain::{Rung, Tier, approval::Choice, decision::Answer, flow::State};

use super::support::{approved, ask_as, audit, bring, decide, held, proposed, run_it, started, state, wait};

#[test]
fn t4_cannot_be_released_from_the_command_line() {
    let stage = started(Setup { policy: Policy::From(Rung::T4), ..Setup::default() });
    let (plan, terms) = held(&stage, "process.restart", "worker-1");
    assert_eq!(terms.tier, Tier::T4);
    for (person, seed) in PEOPLE {
        let by_key = signed_with(seed, person, &terms, Choice::Approve);
        assert_eq!(bring(&stage, &session(person), &terms, by_key).unwrap_err().rule, "needs-a-passkey");
    }
    assert_eq!(approved(&stage, "alice", &terms).approvals, 1, "what was refused does not count");
    assert_eq!(state(&stage, &plan), State::Held);
    assert_eq!(run_it(&stage, &plan).unwrap_err().rule, "not-permitted");
    let no = signed_with(13, "carol", &terms, Choice::Reject);
    assert_eq!(
        bring(&stage, &session("carol"), &terms, no).unwrap().state,
        State::Rejected,
        "a no needs none"
    );
    audit(&stage);
}

#[test]
fn t4_needs_two_people_with_passkeys() {
    let stage = started(Setup { policy: Policy::From(Rung::T4), ..Setup::default() });
    let (plan, terms) = held(&stage, "process.restart", "worker-1");
    let first = approved(&stage, "alice", &terms);
    assert_eq!((first.state, first.approvals, first.needed), (State::Held, 1, 2));
    assert_eq!(decide(&stage, "alice", &terms, Choice::Approve).unwrap_err().rule, "decided-before");
    assert_eq!(run_it(&stage, &plan).unwrap_err().rule, "not-permitted");
    assert_eq!(approved(&stage, "bob", &terms).state, State::Permitted);
    assert_eq!(run_it(&stage, &plan), Ok(State::Succeeded));
    audit(&stage);
}

#[test]
fn inv05_a_hold_with_half_its_approvals_ends_when_it_said() {
    let stage = started(Setup { policy: Policy::From(Rung::T4), ..Setup::default() });
    let (plan, terms) = held(&stage, "process.restart", "worker-1");
    approved(&stage, "alice", &terms);
    stage.clock.advance(stage.gate.settings.hold_ms);
    wait(recover::tick(&stage.gate)).unwrap();
    assert_eq!(state(&stage, &plan), State::Expired);
}

#[test]
fn t02_an_approval_of_somebody_whom_policy_lets_no_more_does_not_count() {
    let stage = started(Setup { policy: Policy::From(Rung::T4), ..Setup::default() });
    let (plan, terms) = held(&stage, "process.restart", "worker-1");
    approved(&stage, "alice", &terms);
    stage.judge.set_approvers([id("bob"), id("carol")].into());
    let second = approved(&stage, "bob", &terms);
    assert_eq!((second.state, second.approvals), (State::Held, 1), "alice lost the role");
    assert_eq!(approved(&stage, "carol", &terms).state, State::Permitted);
    assert_eq!(run_it(&stage, &plan), Ok(State::Succeeded));
    audit(&stage);
}

/// Policy knows how many approved before; asked again, each is asked with as many as then.
#[test]
fn whoever_may_be_the_first_alone_counts_as_the_first() {
    let stage = started(Setup { policy: Policy::From(Rung::T4), ..Setup::default() });
    stage.judge.set_only_first([id("alice")].into());
    let (plan, terms) = held(&stage, "process.restart", "worker-1");
    approved(&stage, "alice", &terms);
    assert_eq!(approved(&stage, "bob", &terms).state, State::Permitted);
    assert_eq!(run_it(&stage, &plan), Ok(State::Succeeded));
    let (_, terms) = held(&stage, "process.restart", "worker-2");
    approved(&stage, "bob", &terms);
    assert_eq!(decide(&stage, "alice", &terms, Choice::Approve).unwrap_err().rule, "may-not-approve");
}

#[test]
fn one_no_of_two_ends_it() {
    let stage = started(Setup { policy: Policy::From(Rung::T4), ..Setup::default() });
    let (plan, terms) = held(&stage, "process.restart", "worker-1");
    approved(&stage, "alice", &terms);
    assert_eq!(decide(&stage, "bob", &terms, Choice::Reject).unwrap().state, State::Rejected);
    assert_eq!(state(&stage, &plan), State::Rejected);
}

#[test]
fn a_bad_outcome_suspends_what_ran_without_people() {
    let bad = [
        (Deed::NotDone, "flag.switch", State::Failed),
        (Deed::NoHelp, "flag.switch", State::Undone),
        (Deed::NoHelp, "process.restart", State::UndoFailed),
        (Deed::UnknownBefore, "process.restart", State::InDoubt),
    ];
    for (deed, action, end) in bad {
        let stage = started(Setup::default());
        stage.world.apply(deed);
        let plan = proposed(&stage, action, "worker-1").id;
        assert_eq!(run_it(&stage, &plan), Ok(end), "{deed:?}");
        let next = proposed(&stage, action, "worker-2");
        assert_eq!((next.decision.answer, next.decision.tier), (Answer::Hold, Tier::T3), "{deed:?}");
        assert!(next.decision.reasons.iter().any(|reason| reason.rule.as_str() == "suspended"));
        // Another action of the same agent goes on, and so does the same action of another agent.
        let other = if action == "flag.switch" { "process.restart" } else { "flag.switch" };
        assert_eq!(proposed(&stage, other, "worker-2").decision.tier, Tier::T2);
        audit(&stage);
    }
}

#[test]
fn inv02_a_permit_from_before_the_bad_outcome_is_void() {
    let stage = started(Setup::default());
    let (first, second) = (
        proposed(&stage, "process.restart", "worker-1").id,
        proposed(&stage, "process.restart", "worker-2").id,
    );
    stage.world.apply(Deed::NotDone);
    assert_eq!(run_it(&stage, &first), Ok(State::Failed));
    stage.world.apply(Deed::Works);
    assert_eq!(run_it(&stage, &second), Ok(State::Void));
    assert_eq!(stage.world.thing("worker-2").effects, 0);
    audit(&stage);
}

#[test]
fn a_newcomer_stands_one_rung_higher() {
    let stage = started(Setup::default());
    let asked = ask_as(&stage, &decider("scout"), stage.proposal("process.restart", "worker-1"));
    let proposed = asked.unwrap();
    assert_eq!((proposed.decision.answer, proposed.decision.tier), (Answer::Hold, Tier::T3));
}

#[test]
fn what_nothing_would_undo_needs_a_person() {
    let stage = started(Setup::default());
    for target in ["orders-1", "payments-1"] {
        // One keeps state, the other has no second replica.
        assert_eq!(proposed(&stage, "process.restart", target).decision.tier, Tier::T3, "{target}");
    }
}
