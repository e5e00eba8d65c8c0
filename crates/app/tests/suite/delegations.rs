//! Delegation: who acts for whom is on record, limits what is asked for, and counts against whoever would approve it.

use holdpoint_app::{
    delegate::{Delegated, NewDelegation, delegate, open},
    evaluate::{Question, evaluate},
    fake::{Policy, Setup, Stage, controls::id, decider, session},
    propose::{Proposed, propose},
    refusal::Refusal,
    run::{Claim, claim},
};
use holdpoint_domain::{
    Millis, Rung,
    actor::{Identity, Party, Phase},
    approval::Choice,
    decision::Answer,
    delegation::Within,
    limits::{Budget, Per},
    record::{Body, Request},
};

use super::support::{approved, audit, budgets, concurrent, count, decide, refusals, started, wait};

fn to(agent: &str, actions: Option<&[&str]>) -> NewDelegation {
    let actions = actions.map(|actions| actions.iter().map(|action| id(action)).collect());
    NewDelegation { to: id(agent), within: Within { actions, targets: None }, life: Millis::secs(600) }
}

fn given(stage: &Stage, by: &Party, wanted: NewDelegation) -> Result<Delegated, Refusal> {
    wait(delegate(&stage.gate, by, wanted))
}

/// An agent as it comes to the door with the token of what it was given.
fn acting(stage: &Stage, agent: &str, given: &Delegated) -> Party {
    let delegation = open(&stage.gate, &given.token, &id(agent)).unwrap();
    Party { delegation: Some(delegation), ..decider(agent).into() }
}

fn proposed(stage: &Stage, by: &Party, action: &str, target: &str) -> Result<Proposed, Refusal> {
    wait(propose(&stage.gate, by, stage.proposal(action, target)))
}

/// Alice has scout act for her, which has healer do it.
pub(crate) fn chain(stage: &Stage) -> Party {
    let first = given(stage, &session("alice").into(), to("scout", None)).unwrap();
    let scout = acting(stage, "scout", &first);
    let second = given(stage, &scout, to("healer", None)).unwrap();
    acting(stage, "healer", &second)
}

#[test]
fn inv05_the_head_of_the_chain_counts_as_the_requester() {
    let stage = started(Setup::default());
    let healer = chain(&stage);
    let plan = proposed(&stage, &healer, "cache.drop", "worker-1").unwrap();
    assert_eq!(plan.decision.answer, Answer::Hold);
    let requester = plan.plan.requester();
    assert_eq!((&requester.on_behalf_of, requester.via.as_slice()), (&Some(id("alice")), &[id("scout")][..]));
    let principal = &plan.facts.first().principal;
    assert_eq!((&principal.on_behalf_of, &principal.via[0].agent), (&Some(id("alice")), &id("scout")));
    let terms = plan.terms.unwrap();
    assert_eq!(decide(&stage, "alice", &terms, Choice::Approve).unwrap_err().rule, "statement-refused");
    approved(&stage, "bob", &terms);
    audit(&stage);
}

#[test]
fn inv06_what_is_allowed_is_what_is_allowed_to_everybody_in_the_chain() {
    // Without a track record an agent acts at its tiers only if that was accepted, of everybody in the chain.
    let mut setup = Setup::default();
    let unaccepted = started(setup.clone());
    let healer = chain(&unaccepted);
    let plan = proposed(&unaccepted, &healer, "process.restart", "worker-1").unwrap();
    assert_eq!(plan.decision.answer, Answer::Hold);

    setup.parts.agents.iter_mut().for_each(|agent| agent.accepted = true);
    let stage = started(setup);
    let healer = chain(&stage);
    stage.judge.set(Policy::Bars("nobody"));
    assert_eq!(
        proposed(&stage, &healer, "process.restart", "worker-1").unwrap().decision.answer,
        Answer::Allow
    );
    for barred in ["scout", "healer"] {
        stage.judge.set(Policy::Bars(barred));
        let plan = proposed(&stage, &healer, "process.restart", "worker-2").unwrap();
        assert_eq!(plan.decision.answer, Answer::Deny, "{barred}");
    }
    // The same agent by itself is not held to what others may.
    stage.judge.set(Policy::Bars("scout"));
    let alone = proposed(&stage, &decider("healer").into(), "process.restart", "worker-2").unwrap();
    assert_eq!(alone.decision.answer, Answer::Allow);
    // The door that only answers goes by the same rule.
    let question = Question { action: id("process.inspect"), target: id("worker-1") };
    let asked = wait(evaluate(&stage.gate, &healer, &question)).unwrap();
    assert_eq!(asked.decision.answer, Answer::Deny);
    stage.judge.set(Policy::From(Rung::T1));
    assert_eq!(wait(evaluate(&stage.gate, &healer, &question)).unwrap().decision.answer, Answer::Allow);
    audit(&stage);
}

#[test]
fn t21_what_was_not_passed_on_cannot_be_asked_for() {
    let stage = started(Setup::default());
    let alice = session("alice").into();
    let given_some = given(&stage, &alice, to("scout", Some(&["process.restart"]))).unwrap();
    let scout = acting(&stage, "scout", &given_some);
    assert_eq!(proposed(&stage, &scout, "cache.drop", "worker-1").unwrap_err().rule, "beyond-delegation");
    assert!(proposed(&stage, &scout, "process.restart", "worker-1").is_ok());
    let question = Question { action: id("process.inspect"), target: id("worker-1") };
    assert_eq!(wait(evaluate(&stage.gate, &scout, &question)).unwrap_err().rule, "beyond-delegation");
    // Nor passed on further.
    let wider = given(&stage, &scout, to("healer", Some(&["process.restart", "cache.drop"])));
    assert_eq!(wider.unwrap_err().rule, "bad-delegation");
    let expected = [
        (Request::Propose, "beyond-delegation".to_owned()),
        (Request::Evaluate, "beyond-delegation".to_owned()),
        (Request::Delegate, "bad-delegation".to_owned()),
    ];
    assert_eq!(refusals(&stage), expected);
}

#[test]
fn inv11_a_delegation_is_on_record_before_its_token_is_given_out() {
    let stage = started(Setup::default());
    let made = given(&stage, &session("alice").into(), to("scout", None)).unwrap();
    let record = &stage.store.records()[usize::try_from(made.index).unwrap()];
    let Body::Delegated { delegation } = &record.body else { panic!("{record:?}") };
    assert_eq!((delegation.as_ref(), &record.plan), (&made.delegation, &None));
    assert_eq!(record.actor, session("alice").actor());
    let text = String::from_utf8(record.bytes().unwrap()).unwrap();
    assert!(!text.contains(&made.token), "the token itself stands nowhere");
    audit(&stage);
}

#[test]
fn inv07_who_is_not_there_delegates_nothing() {
    let stage = started(Setup::default());
    let cases: [(Party, &str, &str); 5] = [
        (session("mallory").into(), "scout", "unknown-delegator"),
        (decider("mallory").into(), "scout", "unknown-agent"),
        (session("alice").into(), "mallory", "unknown-agent"),
        (Identity::Agent { agent: id("scout"), phase: Phase::Observe }.into(), "healer", "wrong-phase"),
        (decider("scout").into(), "scout", "bad-delegation"),
    ];
    for (by, agent, rule) in cases {
        assert_eq!(given(&stage, &by, to(agent, None)).unwrap_err().rule, rule, "{by:?} to {agent}");
    }
    assert_eq!(count(&stage, "delegated"), 0);
}

#[test]
fn t19_a_token_is_worth_nothing_without_the_agent_that_it_names() {
    let stage = started(Setup::default());
    let made = given(&stage, &session("alice").into(), to("scout", None)).unwrap();
    assert_eq!(open(&stage.gate, &made.token, &id("healer")).unwrap_err().rule, "bad-delegation");
    assert_eq!(open(&stage.gate, "a.b.c", &id("scout")).unwrap_err().rule, "bad-delegation");
    stage.clock.advance(Millis::secs(600));
    assert_eq!(
        open(&stage.gate, &made.token, &id("scout")).unwrap_err().rule,
        "bad-delegation",
        "it is over"
    );
}

/// Whatever is held against one agent of the chain is held against the plan.
#[test]
fn inv06_a_budget_of_an_agent_counts_what_others_do_for_it() {
    let mut setup = Setup::default();
    setup.parts.agents.iter_mut().for_each(|agent| agent.accepted = true);
    let budget = Budget { per: Per::Agent, ..concurrent("one-at-a-time", 1) };
    setup.parts.limits = budgets(&[budget]);
    let stage = started(setup);
    let healer = chain(&stage);
    let first = proposed(&stage, &healer, "process.restart", "worker-1").unwrap();
    let Claim::Opened(_run) = wait(claim(&stage.gate, &first.id)).unwrap() else { panic!("it is not open") };
    for agent in ["scout", "healer"] {
        let next = proposed(&stage, &decider(agent).into(), "process.restart", "worker-2").unwrap();
        assert_eq!(next.decision.answer, Answer::Deny, "{agent}");
    }
}

#[test]
fn inv05_whoever_owns_an_agent_of_the_chain_counts_as_its_owner() {
    let stage = started(Setup::default());
    stage.judge.bar_owners();
    // Healer is Alice's; scout, for which it asks, is Bob's.
    let healer = chain(&stage);
    let terms = proposed(&stage, &healer, "cache.drop", "worker-1").unwrap().terms.unwrap();
    assert!(decide(&stage, "bob", &terms, Choice::Approve).is_err());
    assert!(decide(&stage, "carol", &terms, Choice::Approve).is_ok());
}
