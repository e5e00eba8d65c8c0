//! Resolutions: the only way out of `in_doubt`.

use holdpoint_app::{
    fake::{Deed, Issuing, Stage, controls::id, decider, session, signed, signed_by},
    port::Store as _,
    refusal::Refusal,
    resolve::resolve,
};
use holdpoint_domain::{
    Digest, Tier,
    actor::Identity,
    aftercare::{Answers, Found, ResolutionStatement, ResolutionType},
    flow::State,
    record::Request,
};

use super::{
    reviews::{next_tier, reviewed},
    support::{
        Plan, audit, no_lease_lives, proposed, recovered, refusals, run_it, several, started, state, wait,
    },
};

fn looked(stage: &Stage, who: &str, plan: &Plan, found: Found) -> ResolutionStatement {
    let view = wait(stage.view(plan)).unwrap();
    ResolutionStatement {
        r#type: ResolutionType::V1,
        plan: plan.clone(),
        digest: view.plan.digest().unwrap(),
        seen: view.last_index(),
        resolver: id(who),
        found,
    }
}

fn resolved(stage: &Stage, who: &str, plan: &Plan) -> Result<(), Refusal> {
    let statement = signed(looked(stage, who, plan, Found::PutRight));
    wait(resolve(&stage.gate, &session(who), plan, statement, Some("put right by hand")))
}

fn doubtful(issuing: Issuing) -> (Stage, Plan) {
    let stage = started(several());
    stage.world.apply_at("worker-1", Deed::Partial);
    stage.world.issuing(issuing);
    let plan = proposed(&stage, "flag.switch", "worker-1").id;
    assert_eq!(run_it(&stage, &plan), Ok(State::InDoubt));
    // Somebody put it right by hand; from now on the executor works.
    stage.world.change("worker-1", |thing| *thing = holdpoint_app::fake::Thing::default());
    stage.world.apply_at("worker-1", Deed::Works);
    (stage, plan)
}

#[test]
fn inv03_locks_are_kept_until_a_person_says_how_it_ended() {
    let (mut stage, plan) = doubtful(Issuing::default());
    let next = proposed(&stage, "process.restart", "worker-1").id;
    assert_eq!(run_it(&stage, &next).unwrap_err().rule, "target-busy");
    stage.restart();
    assert_eq!(run_it(&stage, &next).unwrap_err().rule, "target-busy");
    resolved(&stage, "bob", &plan).unwrap();
    let view = wait(stage.view(&plan)).unwrap();
    assert_eq!(view.state, State::Resolved);
    assert_eq!(view.resolution.unwrap().statement.found, Found::PutRight);
    assert!(view.review_due.is_some());
    assert_eq!(run_it(&stage, &next), Ok(State::Succeeded));
    // It was a bad end: T1 and T2 wait for a review, a restart later too.
    assert_eq!(next_tier(&stage), Tier::T3);
    stage.restart();
    assert_eq!(next_tier(&stage), Tier::T3);
    let answers = Answers { trigger_was_real: true, did_what_it_should: false, may_go_on: true };
    reviewed(&stage, "carol", &plan, answers).unwrap();
    assert_eq!(next_tier(&stage), Tier::T2);
    audit(&stage);
}

#[test]
fn inv03_a_plan_in_doubt_keeps_all_its_targets() {
    let stage = started(several());
    stage.world.apply_at("worker-2", Deed::Partial);
    let plan = super::support::proposed_all(&stage, &super::steps::THREE).id;
    assert_eq!(run_it(&stage, &plan), Ok(State::InDoubt));
    for worker in super::steps::WORKERS {
        assert_eq!(stage.store.holder(&id(worker)), Some(plan.clone()));
    }
    resolved(&stage, "carol", &plan).unwrap();
    for worker in super::steps::WORKERS {
        assert_eq!(stage.store.holder(&id(worker)), None);
    }
    audit(&stage);
}

#[test]
fn inv08_nothing_is_resolved_while_a_credential_may_be_alive() {
    // The run tries five times, the first resolution five times more.
    let (stage, plan) = doubtful(Issuing { failing_revocations: 10, ..Issuing::default() });
    assert_eq!(resolved(&stage, "bob", &plan).unwrap_err().rule, "lease-alive");
    assert_eq!(state(&stage, &plan), State::InDoubt);
    resolved(&stage, "bob", &plan).unwrap();
    assert_eq!(state(&stage, &plan), State::Resolved);
    no_lease_lives(&stage);
    audit(&stage);
}

#[test]
fn a_revocation_after_the_person_looked_is_in_nobodys_way() {
    let (stage, plan) = doubtful(Issuing { failing_revocations: 5, ..Issuing::default() });
    let statement = signed(looked(&stage, "bob", &plan, Found::AsBefore));
    recovered(&stage);
    wait(resolve(&stage.gate, &session("bob"), &plan, statement, None)).unwrap();
    audit(&stage);
}

struct Case {
    rule: &'static str,
    who: Identity,
    signer: &'static str,
    seed: u8,
    alter: fn(&mut ResolutionStatement),
}

#[test]
fn inv03_inv05_every_resolution_that_does_not_count_is_refused_and_recorded() {
    let case = |rule, who, signer, seed, alter| Case { rule, who, signer, seed, alter };
    let same: fn(&mut ResolutionStatement) = |_| {};
    let cases = [
        case("not-a-person", decider("healer"), "bob", 12, same),
        case("unknown-person", session("mallory"), "mallory", 99, same),
        case("other-signer", session("carol"), "bob", 12, same),
        case("statement-refused", session("bob"), "bob", 13, same),
        case("may-not-look-after", session("alice"), "alice", 11, same),
        case("stale-resolution", session("bob"), "bob", 12, |said| said.digest = Digest::of_bytes(b"x")),
        case("stale-resolution", session("bob"), "bob", 12, |said| said.plan = id("plan-x")),
        case("stale-resolution", session("bob"), "bob", 12, |said| said.seen += 1),
        // Before it was in doubt.
        case("stale-resolution", session("bob"), "bob", 12, |said| said.seen -= 2),
    ];
    for case in cases {
        let (stage, plan) = doubtful(Issuing::default());
        let mut statement = looked(&stage, case.signer, &plan, Found::AsBefore);
        (case.alter)(&mut statement);
        let statement = signed_by(case.seed, statement);
        let refusal = wait(resolve(&stage.gate, &case.who, &plan, statement, None)).unwrap_err();
        assert_eq!(refusal.rule, case.rule, "{refusal}");
        let known = case.rule != "unknown-person";
        let recorded: Vec<_> = known.then(|| (Request::Resolve, case.rule.to_owned())).into_iter().collect();
        assert_eq!(refusals(&stage), recorded);
        assert_eq!(state(&stage, &plan), State::InDoubt);
        audit(&stage);
    }
}

#[test]
fn inv03_only_what_is_in_doubt_is_resolved_and_only_once() {
    let (stage, plan) = doubtful(Issuing::default());
    let statement = signed(looked(&stage, "bob", &plan, Found::AsBefore));
    wait(resolve(&stage.gate, &session("bob"), &plan, statement.clone(), None)).unwrap();
    for again in [statement, signed(looked(&stage, "bob", &plan, Found::AsBefore))] {
        let refusal = wait(resolve(&stage.gate, &session("bob"), &plan, again, None)).unwrap_err();
        assert_eq!(refusal.rule, "not-in-doubt");
    }
    let other = proposed(&stage, "process.restart", "worker-2").id;
    assert_eq!(resolved(&stage, "bob", &other).unwrap_err().rule, "not-in-doubt");
    assert_eq!(run_it(&stage, &other), Ok(State::Succeeded));
    assert_eq!(resolved(&stage, "bob", &other).unwrap_err().rule, "not-in-doubt");
    assert!(wait(stage.store.run(&plan)).unwrap().unwrap().owes.is_some());
    audit(&stage);
}
