//! Whole lives: from the proposal to the end, with everything that is recorded on the way.

use holdpoint_app::{
    fake::{Deed, FakeClock, Policy, Probe, Setup, Stage, controls::agent, decider, schedule::yield_now},
    judge::BundleJudge,
    port::Clock,
    recover,
};
use holdpoint_domain::{
    Millis, Rung, Tier, Timestamp,
    approval::Choice,
    decision::{Answer, ReasonEffect, rule},
    flow::State,
    record::{Body, FailWhy},
    signature::Purpose,
    trigger::Truth,
};
use holdpoint_policy::{Bundle, Schema, Source};

use super::support::{
    activated, approved, ask, ask_as, audit, decide, held, no_lease_lives, proposed, recovered, run_it,
    started, state, wait,
};

#[test]
fn a_t2_life_leaves_every_step_in_order() {
    let stage = started(Setup::default());
    let proposed = proposed(&stage, "process.restart", "worker-1");
    assert_eq!((proposed.decision.answer, proposed.decision.tier), (Answer::Allow, Tier::T2));
    assert_eq!(wait(recover::startable(&stage.gate)).unwrap(), std::slice::from_ref(&proposed.id));
    assert_eq!(run_it(&stage, &proposed.id), Ok(State::Succeeded));
    assert_eq!(
        wait(stage.words(&proposed.id)),
        [
            "proposed",
            "measured",
            "decided",
            "permitted",
            "measured",
            "claimed",
            "leased",
            "rehearsed",
            "applying",
            "applied",
            "measured",
            "succeeded",
            "review_owed",
            "revoked"
        ]
    );
    let thing = stage.world.thing("worker-1");
    assert_eq!((thing.effects, thing.healthy), (1, true));
    let view = wait(stage.view(&proposed.id)).unwrap();
    assert_eq!(view.left, [thing.version()]);
    assert!(view.review_due.is_some());
    no_lease_lives(&stage);
    audit(&stage);
}

#[test]
fn inv16_success_names_evidence_that_the_observer_signed() {
    let stage = started(Setup::default());
    let plan = proposed(&stage, "process.restart", "worker-1").id;
    run_it(&stage, &plan).unwrap();
    let key = stage.gate.ports.evidence_key.public_key();
    let mut last = None;
    for record in stage.store.records() {
        match record.body {
            Body::Measured { evidence } => {
                let bytes = evidence.evidence.bytes().unwrap();
                evidence.signature.verify(&key, Purpose::Evidence, &bytes).unwrap();
                last = Some(evidence.evidence);
            }
            Body::Succeeded { evidence } => {
                let last = last.as_ref().unwrap();
                assert_eq!(evidence, last.digest().unwrap());
                assert_eq!(last.agreement.truth, Truth::Holds);
                assert_eq!(last.condition.as_str(), "process.healthy");
            }
            _ => {}
        }
    }
}

#[test]
fn a_held_plan_runs_once_a_person_approved() {
    let stage = started(Setup::default());
    let (plan, terms) = held(&stage, "cache.drop", "worker-1");
    wait(recover::tick(&stage.gate)).unwrap();
    assert_eq!(wait(recover::startable(&stage.gate)).unwrap(), []);
    assert_eq!(run_it(&stage, &plan).unwrap_err().rule, "not-permitted");
    let decided = approved(&stage, "bob", &terms);
    assert_eq!((decided.state, decided.approvals, decided.needed), (State::Permitted, 1, 1));
    assert_eq!(run_it(&stage, &plan), Ok(State::Succeeded));
    // A person looked before: nobody owes a look afterwards.
    assert!(!wait(stage.words(&plan)).contains(&"review_owed"));
    audit(&stage);
}

#[test]
fn a_rejected_plan_never_runs() {
    let stage = started(Setup::default());
    let (plan, terms) = held(&stage, "cache.drop", "worker-1");
    assert_eq!(decide(&stage, "bob", &terms, Choice::Reject).unwrap().state, State::Rejected);
    assert_eq!(decide(&stage, "carol", &terms, Choice::Approve).unwrap_err().rule, "not-held");
    assert_eq!(run_it(&stage, &plan).unwrap_err().rule, "not-permitted");
    assert_eq!(stage.world.trace(), []);
    audit(&stage);
}

#[test]
fn t25_a_hold_ends_with_its_time() {
    let stage = started(Setup::default());
    let (plan, terms) = held(&stage, "cache.drop", "worker-1");
    stage.clock.advance(stage.gate.settings.hold_ms);
    // The end itself is too late, also before anybody swept.
    assert_eq!(decide(&stage, "bob", &terms, Choice::Approve).unwrap_err().rule, "statement-refused");
    recovered(&stage);
    assert_eq!(state(&stage, &plan), State::Expired);
    assert_eq!(decide(&stage, "bob", &terms, Choice::Approve).unwrap_err().rule, "not-held");
    audit(&stage);
}

#[test]
fn t25_a_permit_ends_with_its_start_window() {
    let stage = started(Setup::default());
    let plan = proposed(&stage, "process.restart", "worker-1").id;
    stage.clock.advance(stage.gate.settings.start_window_ms);
    assert_eq!(run_it(&stage, &plan), Ok(State::Expired));
    assert_eq!(stage.world.trace(), []);
    audit(&stage);
}

#[test]
fn t25_a_claim_that_is_measured_too_long_does_not_start() {
    let stage = started(Setup::default());
    let plan = proposed(&stage, "process.restart", "worker-1").id;
    stage.world.measuring_takes(stage.gate.settings.start_window_ms);
    assert_eq!(run_it(&stage, &plan), Ok(State::Expired));
    assert_eq!(stage.world.trace(), []);
    audit(&stage);
}

#[test]
fn a_refuted_trigger_needs_a_person() {
    let stage = started(Setup::default());
    stage.world.change("worker-1", |thing| thing.healthy = true);
    let proposed = proposed(&stage, "process.restart", "worker-1");
    assert_eq!((proposed.decision.answer, proposed.decision.tier), (Answer::Hold, Tier::T3));
    assert!(proposed.decision.reasons.iter().any(|reason| reason.rule.as_str() == "trigger-not-proven"));
}

#[test]
fn a_deferred_plan_is_measured_again_until_it_holds() {
    let stage = started(Setup::default());
    stage.world.probe("process.hung", Probe::Contradicts);
    let proposed = proposed(&stage, "process.restart", "worker-1");
    assert_eq!(proposed.decision.answer, Answer::Defer);
    let first_deadline = wait(stage.gate.ports.store.plan(&proposed.id)).unwrap().unwrap().deadline;
    for _ in 0..3 {
        recovered(&stage);
        stage.clock.advance(stage.gate.settings.remeasure_ms);
        recovered(&stage);
        let row = wait(stage.gate.ports.store.plan(&proposed.id)).unwrap().unwrap();
        assert_eq!((row.state, row.deadline), (State::Deferred, first_deadline));
    }
    stage.world.probe("process.hung", Probe::Says(Truth::Holds));
    stage.clock.advance(stage.gate.settings.remeasure_ms);
    wait(recover::tick(&stage.gate)).unwrap();
    assert_eq!(wait(recover::startable(&stage.gate)).unwrap(), std::slice::from_ref(&proposed.id));
    assert_eq!(run_it(&stage, &proposed.id), Ok(State::Succeeded));
    // Measured only when it was due: once at first, once a round, once more when it held, and for the claim and the end.
    let measured = wait(stage.words(&proposed.id)).iter().filter(|word| **word == "measured").count();
    assert_eq!(measured, 1 + 3 + 1 + 2);
    audit(&stage);
}

/// Nobody reads what a flood leaves, and nobody else waits for it.
#[test]
fn t30_an_agent_has_no_more_waiting_than_people_can_read() {
    let mut setup = Setup::default();
    setup.parts.agents.push(agent("mender", "alice", true));
    let stage = started(setup);
    let ask = |who: &str| ask_as(&stage, &decider(who), stage.proposal("cache.drop", "worker-1"));
    for _ in 0..stage.gate.settings.max_waiting {
        assert_eq!(ask("scout").unwrap().decision.answer, Answer::Hold);
    }
    assert_eq!(ask("scout").unwrap_err().rule, "too-many-waiting");
    assert_eq!(ask("mender").unwrap().decision.answer, Answer::Hold);
    stage.clock.advance(stage.gate.settings.hold_ms);
    recovered(&stage);
    assert_eq!(ask("scout").unwrap().decision.answer, Answer::Hold);
}

/// What is due without a look at the world is done without one: a probe that hangs keeps nothing.
#[test]
fn nothing_that_is_due_waits_for_a_deferred_plan_to_be_measured() {
    let stage = started(Setup::default());
    let held = held(&stage, "cache.drop", "worker-1").0;
    stage.world.probe("process.hung", Probe::Contradicts);
    let deferred = ["worker-1", "worker-2"].map(|target| {
        stage.clock.advance(Millis::secs(1));
        proposed(&stage, "process.restart", target).id
    });
    let at_first = wait(stage.words(&deferred[0]));
    stage.clock.advance(stage.gate.settings.remeasure_ms);
    wait(recover::due(&stage.gate)).unwrap();
    assert_eq!(wait(stage.words(&deferred[0])), at_first, "nothing was measured");
    let waits: Vec<_> =
        wait(recover::undecided(&stage.gate)).unwrap().into_iter().map(|row| row.id).collect();
    assert_eq!(waits, deferred, "the one that waits for longest comes first");
    stage.clock.advance(stage.gate.settings.hold_ms);
    wait(recover::due(&stage.gate)).unwrap();
    assert_eq!(state(&stage, &held), State::Expired);
}

#[test]
fn a_deferred_plan_expires_when_it_said_so_at_first() {
    let stage = started(Setup::default());
    stage.world.probe("process.hung", Probe::Says(Truth::Indeterminate));
    let plan = proposed(&stage, "process.restart", "worker-1").id;
    let rounds = stage.gate.settings.defer_ms.ms() / stage.gate.settings.remeasure_ms.ms();
    for _ in 0..rounds {
        assert_eq!(state(&stage, &plan), State::Deferred);
        stage.clock.advance(stage.gate.settings.remeasure_ms);
        recovered(&stage);
    }
    assert_eq!(state(&stage, &plan), State::Expired);
    assert_eq!(stage.world.trace(), []);
    audit(&stage);
}

#[test]
fn t08_a_deferred_plan_expires_when_its_target_changes() {
    let stage = started(Setup::default());
    stage.world.probe("process.hung", Probe::Says(Truth::Indeterminate));
    let plan = proposed(&stage, "process.restart", "worker-1").id;
    stage.world.probe("process.hung", Probe::Says(Truth::Holds));
    stage.world.change("worker-1", |thing| thing.content = 2);
    stage.clock.advance(stage.gate.settings.remeasure_ms);
    recovered(&stage);
    assert_eq!(state(&stage, &plan), State::Expired);
}

#[test]
fn inv09_a_policy_that_fails_or_contradicts_itself_denies() {
    let cases = [
        (Policy::Error, rule::POLICY_FAILED, ReasonEffect::Failed),
        (Policy::NotMonotone, rule::NOT_MONOTONE, ReasonEffect::Failed),
        (Policy::Deny, rule::NOTHING_PERMITS, ReasonEffect::Forbade),
    ];
    for (policy, because, effect) in cases {
        let stage = started(Setup { policy, ..Setup::default() });
        let proposed = proposed(&stage, "process.restart", "worker-1");
        assert_eq!(proposed.decision.answer, Answer::Deny, "{policy:?}");
        let reason = proposed.decision.reasons.last().unwrap();
        assert_eq!((reason.rule.as_str(), reason.effect), (because, effect));
        assert!(!proposed.hints.is_empty());
        assert_eq!(wait(stage.words(&proposed.id)), ["proposed", "measured", "decided"]);
        assert_eq!(run_it(&stage, &proposed.id).unwrap_err().rule, "not-permitted");
        assert_eq!(stage.world.trace(), []);
        audit(&stage);
    }
}

/// A clock on which every look takes half a second.
struct SlowClock(FakeClock);

#[async_trait::async_trait]
impl Clock for SlowClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn elapsed(&self) -> Millis {
        self.0.advance(Millis::new(500).unwrap());
        self.0.elapsed()
    }

    async fn sleep(&self, _: Millis) {
        yield_now().await;
    }
}

/// The stage with a real bundle that allows everything, read by this clock.
fn judged_by_bundle(clock: std::sync::Arc<dyn Clock>) -> Stage {
    let mut stage = started(Setup::default());
    let controls = &stage.gate.controls;
    let schema = Schema::new(&controls.catalogue, &controls.inventory, &controls.registry).unwrap();
    let text = "@id(\"all\") permit (principal is Agent, action, resource);".to_owned();
    let source = Source { name: "all.cedar".to_owned(), text };
    let (bundle, _) = Bundle::load(&[source], &[], schema).unwrap();
    stage.gate.ports.judge = std::sync::Arc::new(BundleJudge::new(bundle.into(), clock));
    stage.gate.inputs.policy = stage.gate.ports.judge.digest();
    activated(&stage);
    stage
}

#[test]
fn t37_a_slow_policy_denies_and_a_fast_one_does_not() {
    let fast = judged_by_bundle(std::sync::Arc::new(FakeClock::default()));
    assert_eq!(proposed(&fast, "process.restart", "worker-1").decision.answer, Answer::Allow);
    let slow = judged_by_bundle(std::sync::Arc::new(SlowClock(FakeClock::default())));
    let proposed = proposed(&slow, "process.restart", "worker-1");
    assert_eq!(proposed.decision.answer, Answer::Deny);
    assert_eq!(proposed.decision.reasons.last().unwrap().effect, ReasonEffect::Failed);
}

#[test]
fn inv09_a_policy_that_fails_at_the_claim_stops_the_run() {
    let stage = started(Setup::default());
    let plan = proposed(&stage, "process.restart", "worker-1").id;
    stage.judge.set(Policy::Error);
    assert_eq!(run_it(&stage, &plan), Ok(State::Void));
    assert_eq!(stage.world.trace(), []);
}

#[test]
fn a_target_that_cannot_be_seen_is_not_decided_about() {
    let stage = started(Setup::default());
    stage.world.change("worker-1", |thing| thing.blind = 1);
    assert_eq!(ask(&stage, "process.restart", "worker-1").unwrap_err().rule, "target-unobservable");
    // And at the claim the permit stays: nothing was found to be worse.
    let plan = proposed(&stage, "process.restart", "worker-1").id;
    stage.world.change("worker-1", |thing| thing.blind = 1);
    assert_eq!(run_it(&stage, &plan).unwrap_err().rule, "target-unobservable");
    assert_eq!(run_it(&stage, &plan), Ok(State::Succeeded));
    audit(&stage);
}

#[test]
fn looking_needs_nobody() {
    let stage = started(Setup::default());
    let proposed = proposed(&stage, "process.inspect", "payments-1");
    assert_eq!((proposed.decision.answer, proposed.decision.tier), (Answer::Allow, Tier::T0));
}

#[test]
fn a_rehearsal_that_fails_ends_the_run_with_nothing_changed() {
    let cases = [
        (Deed::Refuses, FailWhy::Refused),
        (Deed::NotDone, FailWhy::Rehearsal),
        (Deed::UnknownBefore, FailWhy::Rehearsal),
    ];
    for (deed, why) in cases {
        let stage = started(Setup::default());
        stage.world.rehearse(deed);
        let plan = proposed(&stage, "process.restart", "worker-1").id;
        assert_eq!(run_it(&stage, &plan), Ok(State::Failed));
        assert_eq!(wait(stage.view(&plan)).unwrap().failed, Some(why));
        assert_eq!(stage.world.thing("worker-1").effects, 0);
        no_lease_lives(&stage);
        audit(&stage);
    }
}

#[test]
fn policy_from_a_higher_rung_raises_the_tier() {
    for (rung, tier) in [(Rung::T1, Tier::T2), (Rung::T2, Tier::T2), (Rung::T3, Tier::T3)] {
        let stage = started(Setup { policy: Policy::From(rung), ..Setup::default() });
        assert_eq!(proposed(&stage, "process.restart", "worker-1").decision.tier, tier);
    }
}
