//! Evaluations: the door that only answers, for what changes nothing.

use holdpoint_app::{
    evaluate::{Evaluated, Question, evaluate},
    fake::{Policy, Setup, Stage, controls::id, decider, session},
    refusal::Refusal,
};
use holdpoint_domain::{
    Rung, Tier,
    actor::{Identity, Phase},
    decision::{Answer, rule},
    record::{Body, Request},
    trigger::Truth,
};

use super::support::{audit, refusals, started, wait};

fn asked(stage: &Stage, who: &Identity, action: &str, target: &str) -> Result<Evaluated, Refusal> {
    wait(evaluate(&stage.gate, &who.clone().into(), &Question { action: id(action), target: id(target) }))
}

#[test]
fn inv01_an_answer_stands_in_the_ledger_with_its_facts_and_nothing_runs() {
    let stage = started(Setup::default());
    stage.judge.set(Policy::From(Rung::T1));
    let evaluated = asked(&stage, &decider("healer"), "process.inspect", "worker-1").unwrap();
    assert_eq!((evaluated.decision.answer, evaluated.decision.tier), (Answer::Allow, Tier::T0));
    let record = &stage.store.records()[usize::try_from(evaluated.index).unwrap()];
    let Body::Evaluated { decision, facts } = &record.body else { panic!("{record:?}") };
    assert_eq!((decision.as_ref(), &record.plan), (&evaluated.decision, &None));
    assert_eq!(decision.facts, facts.digest().unwrap());
    // What nobody looked at is unknown, and what the agent chose is tainted.
    let facts = facts.first();
    assert_eq!(facts.trigger.agreement.truth, Truth::Indeterminate);
    assert!(facts.provenance.tainted() && !facts.undo.computed);
    assert!(facts.blast.services.contains(&id("shop")));
    audit(&stage);
}

/// Nobody looked at the target, so no rule is asked that would go by what is filled in.
#[test]
fn inv09_what_only_a_look_at_the_target_tells_needs_a_plan() {
    let stage = started(Setup::default());
    stage.judge.set(Policy::LooksAtTarget);
    let refusal = asked(&stage, &decider("healer"), "process.inspect", "worker-1").unwrap_err();
    assert_eq!(refusal.rule, "needs-a-plan");
    assert_eq!(refusals(&stage), [(Request::Evaluate, "needs-a-plan".to_owned())]);
}

/// There is nobody to approve or to review here: whatever needs more than nothing is a no.
#[test]
fn inv09_what_policy_wants_people_for_is_denied() {
    for (policy, because) in [
        (Policy::From(Rung::T2), None),
        (Policy::From(Rung::T3), None),
        (Policy::From(Rung::T4), None),
        (Policy::Deny, Some(rule::NOTHING_PERMITS)),
        (Policy::Error, None),
        (Policy::NotMonotone, Some(rule::NOT_MONOTONE)),
    ] {
        let stage = started(Setup::default());
        stage.judge.set(policy);
        let evaluated = asked(&stage, &decider("healer"), "process.inspect", "worker-1").unwrap();
        assert_eq!(evaluated.decision.answer, Answer::Deny, "{policy:?}");
        let reasons = &evaluated.decision.reasons;
        assert!(
            because.is_none_or(|because| reasons.iter().any(|reason| reason.rule.as_str() == because)),
            "{policy:?}: {reasons:?}"
        );
    }
}

#[test]
fn inv07_whoever_may_not_ask_is_refused_on_record() {
    let agent = |name: &str, phase| Identity::Agent { agent: id(name), phase };
    for (who, action, target, rule) in [
        // Whatever changes something needs a plan, at whatever tier it would run.
        (decider("healer"), "process.restart", "worker-1", "needs-a-plan"),
        (decider("healer"), "rm.rf", "worker-1", "unknown-action"),
        (decider("healer"), "process.inspect", "worker-9", "unknown-target"),
        (agent("scout", Phase::Observe), "process.inspect", "worker-1", "wrong-phase"),
        (agent("healer", Phase::Execute), "process.inspect", "worker-1", "wrong-phase"),
        (session("alice"), "process.inspect", "worker-1", "not-an-agent"),
    ] {
        let stage = started(Setup::default());
        let refusal = asked(&stage, &who, action, target).unwrap_err();
        assert_eq!(refusal.rule, rule);
        assert_eq!(refusals(&stage), [(Request::Evaluate, rule.to_owned())]);
    }
    // Of whom nobody knows, nothing is written down.
    let stage = started(Setup::default());
    let before = stage.store.records().len();
    assert_eq!(
        asked(&stage, &decider("mallory"), "process.inspect", "worker-1").unwrap_err().rule,
        "unknown-agent"
    );
    assert_eq!(stage.store.records().len(), before);
}

/// What was worked out under inputs that were replaced meanwhile is not answered.
#[test]
fn inv13_nothing_is_answered_under_inputs_that_are_not_in_force() {
    let stage = started(Setup::default());
    let mut inputs = stage.gate.inputs;
    inputs.policy = holdpoint_domain::Digest::of_bytes(b"another policy");
    let parts = Stage::new(Setup::default());
    let mut stale = stage.gate.under(stage.gate.ports.clone(), parts.gate.controls).unwrap();
    stale.inputs = inputs;
    let question = Question { action: id("process.inspect"), target: id("worker-1") };
    let before = stage.store.records().len();
    let refusal = wait(evaluate(&stale, &decider("healer").into(), &question)).unwrap_err();
    assert_eq!(refusal.rule, "too-late");
    assert!(stage.store.records()[before..].iter().all(|record| record.body.word() == "refused"));
}
