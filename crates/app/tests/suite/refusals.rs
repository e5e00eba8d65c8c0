//! Refusals: who may ask for what, and the record that every refused request leaves.

use holdpoint_app::{
    fake::{
        Setup, Stage,
        controls::{id, ids},
        decider, session, signed_with, statement,
    },
    propose::{MAX_TEXT_LEN, Proposal},
    refusal::{Blame, Refusal},
};
use holdpoint_domain::{
    actor::{Identity, Phase},
    approval::{Choice, HoldTerms},
    plan::ParamValue,
    record::{Body, Request},
};

use super::support::{approved, ask_as, audit, bring, held, started};

fn agent(name: &str, phase: Phase) -> Identity {
    Identity::Agent { agent: id(name), phase }
}

/// The refusal stands in the ledger once, by whoever asked, and moves no plan. Strangers, who have a token and stand in no
/// registry, leave nothing: they could fill the disk.
fn is_recorded(stage: &Stage, before: usize, identity: &Identity, request: Request, refusal: &Refusal) {
    let records = stage.store.records();
    let registry = &stage.gate.controls.registry;
    let known = match identity {
        Identity::Agent { agent, .. } => registry.agent(agent).is_some(),
        Identity::Person { person } => registry.person(person).is_some(),
    };
    if !known {
        assert_eq!(records.len(), before, "a stranger wrote to the ledger: {refusal}");
        return;
    }
    let [record] = &records[before..] else { panic!("expected one record more, for {refusal}") };
    assert_eq!(record.body, Body::Refused { request, rule: id(refusal.rule) });
    assert_eq!((&record.actor, &record.plan), (&identity.actor(), &None));
}

type Proposing = (&'static str, Blame, Identity, fn(&Stage) -> Proposal);

#[test]
fn inv05_inv07_every_refused_proposal_is_recorded() {
    let fine: fn(&Stage) -> Proposal = |stage| stage.proposal("process.restart", "worker-1");
    let cases: Vec<Proposing> = vec![
        ("not-an-agent", Blame::Forbidden, session("alice"), fine),
        ("wrong-phase", Blame::Forbidden, agent("healer", Phase::Observe), fine),
        ("wrong-phase", Blame::Forbidden, agent("healer", Phase::Execute), fine),
        ("wrong-phase", Blame::Forbidden, agent("scout", Phase::Observe), fine),
        ("unknown-agent", Blame::Forbidden, decider("mallory"), fine),
        ("unknown-agent", Blame::Forbidden, decider("alice"), fine),
        ("unknown-action", Blame::Caller, decider("healer"), |stage| stage.proposal("rm.rf", "worker-1")),
        ("unknown-target", Blame::Caller, decider("healer"), |stage| {
            stage.proposal("process.restart", "worker-4")
        }),
        ("trigger-not-for-action", Blame::Caller, decider("healer"), |stage| Proposal {
            trigger: id("process.healthy"),
            ..stage.proposal("process.restart", "worker-1")
        }),
        ("trigger-not-for-action", Blame::Caller, decider("healer"), |stage| Proposal {
            trigger: id("no.such.condition"),
            ..stage.proposal("process.restart", "worker-1")
        }),
        ("bad-parameter", Blame::Caller, decider("healer"), |stage| {
            let mut proposal = stage.proposal("process.restart", "worker-1");
            proposal.steps[0].params.insert(id("replicas"), ParamValue::Int(0));
            proposal
        }),
        ("bad-steps", Blame::Caller, decider("healer"), |stage| stage.proposal_of(&[])),
        ("bad-steps", Blame::Caller, decider("healer"), |stage| {
            stage.proposal_of(&[("process.restart", "worker-1"); 5])
        }),
        ("bad-steps", Blame::Caller, decider("healer"), |stage| {
            stage.proposal_of(&[("process.restart", "worker-1"), ("flag.switch", "worker-1")])
        }),
        ("unknown-target", Blame::Caller, decider("healer"), |stage| {
            stage.proposal_of(&[("process.restart", "worker-1"), ("process.restart", "worker-4")])
        }),
        ("text-too-long", Blame::Caller, decider("healer"), |stage| Proposal {
            prompt: Some("a".repeat(MAX_TEXT_LEN + 1)),
            ..stage.proposal("process.restart", "worker-1")
        }),
    ];
    for (rule, blame, identity, proposal) in cases {
        let stage = started(Setup::default());
        let before = stage.store.records().len();
        let refusal = ask_as(&stage, &identity, proposal(&stage)).unwrap_err();
        assert_eq!((refusal.rule, refusal.blame), (rule, blame), "{refusal}");
        is_recorded(&stage, before, &identity, Request::Propose, &refusal);
        assert_eq!(stage.world.trace(), []);
        audit(&stage);
    }
}

#[test]
fn an_action_for_another_executor_is_refused_and_recorded() {
    let mut setup = Setup::default();
    setup.parts.action("process.restart").executor = id("another");
    let stage = started(setup);
    let before = stage.store.records().len();
    let identity = decider("healer");
    let refusal = ask_as(&stage, &identity, stage.proposal("process.restart", "worker-1")).unwrap_err();
    assert_eq!(refusal.rule, "executor-mismatch");
    is_recorded(&stage, before, &identity, Request::Propose, &refusal);
}

#[test]
fn an_observing_identity_is_refused_even_for_an_agent_without_the_phase() {
    let mut setup = Setup::default();
    setup.parts.agents[1].phases = [Phase::Observe].into();
    let stage = started(setup);
    let asked = ask_as(&stage, &decider("scout"), stage.proposal("process.restart", "worker-1"));
    assert_eq!(asked.unwrap_err().rule, "wrong-phase");
}

struct Deciding {
    rule: &'static str,
    blame: Blame,
    identity: Identity,
    signer: &'static str,
    seed: u8,
    alter: fn(&mut HoldTerms),
}

#[test]
fn inv05_every_refused_statement_is_recorded() {
    let case =
        |rule, blame, identity, signer, seed, alter| Deciding { rule, blame, identity, signer, seed, alter };
    let same: fn(&mut HoldTerms) = |_| {};
    let cases = [
        case("approver-is-an-agent", Blame::Forbidden, decider("healer"), "alice", 11, same),
        case("approver-is-an-agent", Blame::Forbidden, agent("healer", Phase::Execute), "alice", 11, same),
        case("approver-is-an-agent", Blame::Forbidden, agent("alice", Phase::Decide), "alice", 11, same),
        case("other-approver", Blame::Forbidden, session("bob"), "alice", 11, same),
        case("other-approver", Blame::Forbidden, session("mallory"), "alice", 11, same),
        case("unknown-person", Blame::Forbidden, session("mallory"), "mallory", 99, same),
        case("unknown-person", Blame::Forbidden, session("healer"), "healer", 99, same),
        // The right name, another's key.
        case("statement-refused", Blame::Forbidden, session("alice"), "alice", 12, same),
        case("statement-refused", Blame::Forbidden, session("alice"), "alice", 99, same),
        case("may-not-approve", Blame::Forbidden, session("carol"), "carol", 13, same),
        case("no-such-hold", Blame::NotFound, session("alice"), "alice", 11, |terms| terms.hold = id("h")),
    ];
    for case in cases {
        let stage = started(Setup::default());
        stage.judge.set_approvers(ids(&["alice", "bob"]));
        let (_, mut terms) = held(&stage, "cache.drop", "worker-1");
        (case.alter)(&mut terms);
        let before = stage.store.records().len();
        let signed = signed_with(case.seed, case.signer, &terms, Choice::Approve);
        let refusal = bring(&stage, &case.identity, &terms, signed).unwrap_err();
        assert_eq!((refusal.rule, refusal.blame), (case.rule, case.blame), "{refusal}");
        is_recorded(&stage, before, &case.identity, Request::Decide, &refusal);
        audit(&stage);
    }
}

#[test]
fn inv05_nobody_counts_twice() {
    let stage = started(Setup::default());
    stage.judge.set(holdpoint_app::fake::Policy::From(holdpoint_domain::Rung::T4));
    let (_, terms) = held(&stage, "cache.drop", "worker-1");
    let first = approved(&stage, "bob", &terms);
    assert_eq!((first.approvals, first.needed), (1, 2));
    let before = stage.store.records().len();
    for choice in [Choice::Approve, Choice::Reject] {
        let again = bring(&stage, &session("bob"), &terms, statement("bob", &terms, choice));
        assert_eq!(again.unwrap_err().rule, "decided-before");
    }
    assert_eq!(stage.store.records().len(), before + 2);
    audit(&stage);
}

#[test]
fn a_refusal_that_cannot_be_recorded_is_still_a_refusal() {
    let stage = started(Setup::default());
    stage.store.fill(0);
    let asked = ask_as(&stage, &session("alice"), stage.proposal("process.restart", "worker-1"));
    assert_eq!(asked.unwrap_err().rule, "gate-closed");
}
