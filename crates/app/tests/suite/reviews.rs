//! Reviews: who must look, who may, and what their answer does to T1 and T2.

use holdpoint_app::{
    fake::{
        Deed, Setup, Stage,
        controls::{id, person},
        decider, session, signed, signed_by,
    },
    refusal::Refusal,
    review::{owed, review},
    run::run,
};
use holdpoint_domain::{
    Digest, Tier,
    actor::Identity,
    aftercare::{Answers, ReviewStatement, ReviewType},
    decision::Answer,
    flow::State,
    record::Request,
};

use super::support::{
    Plan, activated, approved, audit, count, held, poll_until, proposed, recovered, refusals, run_it,
    started, state, wait,
};

pub(super) const YES: Answers = Answers { trigger_was_real: true, did_what_it_should: true, may_go_on: true };
const NO: Answers = Answers { may_go_on: false, ..YES };

/// What a person says who has read the plan as it is now.
pub(super) fn looked(stage: &Stage, who: &str, plan: &Plan, answers: Answers) -> ReviewStatement {
    let view = wait(stage.view(plan)).unwrap();
    ReviewStatement {
        r#type: ReviewType::V1,
        plan: plan.clone(),
        digest: view.plan.digest().unwrap(),
        seen: view.last_index(),
        reviewer: id(who),
        answers,
    }
}

pub(super) fn reviewed(stage: &Stage, who: &str, plan: &Plan, answers: Answers) -> Result<(), Refusal> {
    let statement = signed(looked(stage, who, plan, answers));
    wait(review(&stage.gate, &session(who), plan, statement, Some("I looked at it")))
}

fn ran(deed: Deed, end: State) -> (Stage, Plan) {
    let stage = started(Setup::default());
    stage.world.apply(deed);
    let plan = proposed(&stage, "flag.switch", "worker-1").id;
    assert_eq!(run_it(&stage, &plan), Ok(end));
    stage.world.apply(Deed::Works);
    (stage, plan)
}

/// The tier of the next plan of the same kind.
pub(super) fn next_tier(stage: &Stage) -> Tier {
    proposed(stage, "flag.switch", "worker-2").decision.tier
}

#[test]
fn a_success_without_people_owes_a_look_and_is_suspended_when_that_is_overdue() {
    let (mut stage, plan) = ran(Deed::Works, State::Succeeded);
    assert_eq!(next_tier(&stage), Tier::T2);
    assert_eq!(wait(owed(&stage.gate)).unwrap()[0].plan, plan);
    stage.clock.advance(stage.gate.settings.review_ms);
    stage.restart();
    let held = proposed(&stage, "flag.switch", "worker-2");
    assert_eq!((held.decision.answer, held.decision.tier), (Answer::Hold, Tier::T3));
    assert!(held.decision.reasons.iter().any(|reason| reason.rule.as_str() == "suspended"));
    // A late answer lifts it.
    reviewed(&stage, "bob", &plan, YES).unwrap();
    assert_eq!(next_tier(&stage), Tier::T2);
    assert_eq!(wait(owed(&stage.gate)).unwrap(), []);
    stage.restart();
    assert_eq!(next_tier(&stage), Tier::T2);
    audit(&stage);
}

#[test]
fn an_answer_in_time_keeps_it_from_being_suspended() {
    let (stage, plan) = ran(Deed::Works, State::Succeeded);
    reviewed(&stage, "carol", &plan, YES).unwrap();
    let view = wait(stage.view(&plan)).unwrap();
    assert_eq!((view.review_due, view.review.unwrap().statement.answers), (None, YES));
    stage.clock.advance(stage.gate.settings.review_ms);
    assert_eq!(next_tier(&stage), Tier::T2);
    audit(&stage);
}

#[test]
fn a_reviewer_who_does_not_let_it_go_on_suspends_it_at_once_until_somebody_does() {
    let (mut stage, plan) = ran(Deed::Works, State::Succeeded);
    reviewed(&stage, "bob", &plan, NO).unwrap();
    assert_eq!(next_tier(&stage), Tier::T3);
    stage.restart();
    assert_eq!(next_tier(&stage), Tier::T3);
    assert_eq!(wait(owed(&stage.gate)).unwrap().len(), 1, "it still needs a look");
    reviewed(&stage, "carol", &plan, YES).unwrap();
    assert_eq!(next_tier(&stage), Tier::T2);
    audit(&stage);
}

#[test]
fn every_bad_end_owes_a_look_at_any_tier() {
    for (deed, end) in [(Deed::NotDone, State::Failed), (Deed::NoHelp, State::Undone)] {
        let (stage, plan) = ran(deed, end);
        assert_eq!(next_tier(&stage), Tier::T3, "{deed:?}");
        assert!(wait(stage.view(&plan)).unwrap().review_due.is_some());
        reviewed(&stage, "bob", &plan, YES).unwrap();
        assert_eq!(next_tier(&stage), Tier::T2, "{deed:?}");
        audit(&stage);
    }
    // A person approved before; it went wrong all the same.
    let stage = started(Setup::default());
    stage.world.apply(Deed::NoHelp);
    let (plan, terms) = held(&stage, "cache.drop", "worker-1");
    approved(&stage, "bob", &terms);
    assert_eq!(run_it(&stage, &plan), Ok(State::UndoFailed));
    assert!(wait(stage.view(&plan)).unwrap().review_due.is_some());
    reviewed(&stage, "bob", &plan, YES).unwrap();
    audit(&stage);
}

#[test]
fn a_run_that_was_interrupted_or_lost_its_target_owes_a_look_too() {
    for lost in [false, true] {
        for word in ["claimed", "leased", "rehearsed"] {
            let mut stage = started(Setup::default());
            let plan = proposed(&stage, "flag.switch", "worker-1").id;
            let mut running = Box::pin(run(&stage.gate, &plan));
            poll_until(&stage, &mut running, word);
            drop(running);
            if lost {
                stage.setup.parts.targets.remove(0);
            }
            stage.restart();
            recovered(&stage);
            assert_eq!(state(&stage, &plan), State::Failed);
            assert!(wait(stage.view(&plan)).unwrap().review_due.is_some(), "{word}");
            audit(&stage);
        }
    }
}

struct Case {
    rule: &'static str,
    who: Identity,
    signer: &'static str,
    seed: u8,
    alter: fn(&mut ReviewStatement),
}

#[test]
fn inv05_every_review_that_does_not_count_is_refused_and_recorded() {
    let case = |rule, who, signer, seed, alter| Case { rule, who, signer, seed, alter };
    let same: fn(&mut ReviewStatement) = |_| {};
    let cases = [
        case("not-a-person", decider("healer"), "bob", 12, same),
        case("not-a-person", decider("bob"), "bob", 12, same),
        case("unknown-person", session("mallory"), "mallory", 99, same),
        case("other-signer", session("carol"), "bob", 12, same),
        // The right name, another's key.
        case("statement-refused", session("bob"), "bob", 13, same),
        // The agent is alice's.
        case("may-not-look-after", session("alice"), "alice", 11, same),
        // In no team that owns the target, and no administrator.
        case("may-not-look-after", session("dave"), "dave", 14, same),
        case("stale-review", session("bob"), "bob", 12, |said| said.seen -= 1),
        case("stale-review", session("bob"), "bob", 12, |said| said.seen += 1),
        case("stale-review", session("bob"), "bob", 12, |said| said.digest = Digest::of_bytes(b"other")),
        case("stale-review", session("bob"), "bob", 12, |said| said.plan = id("plan-of-somebody")),
    ];
    for case in cases {
        let mut setup = Setup::default();
        let mut dave = person("dave", 14);
        (dave.administrator, dave.teams) = (false, holdpoint_app::fake::controls::ids(&["oncall"]));
        setup.parts.people.push(dave);
        let stage = started(setup);
        let plan = proposed(&stage, "flag.switch", "worker-1").id;
        assert_eq!(run_it(&stage, &plan), Ok(State::Succeeded));
        let mut statement = looked(&stage, case.signer, &plan, YES);
        (case.alter)(&mut statement);
        let statement = signed_by(case.seed, statement);
        let refusal = wait(review(&stage.gate, &case.who, &plan, statement, None)).unwrap_err();
        assert_eq!(refusal.rule, case.rule, "{refusal}");
        let recorded: &[_] = match case.rule {
            "unknown-person" => &[],
            rule => &[(Request::Review, rule.to_owned())],
        };
        let stranger = case.who == decider("bob");
        assert_eq!(refusals(&stage), if stranger { &[] } else { recorded }, "{refusal}");
        assert_eq!(count(&stage, "reviewed"), 0);
        assert!(wait(stage.view(&plan)).unwrap().review_due.is_some());
        audit(&stage);
    }
}

#[test]
fn inv05_the_owner_of_an_agent_does_not_look_even_as_an_administrator() {
    let mut setup = Setup::default();
    setup.parts.people[0].administrator = true;
    let stage = started(setup);
    let plan = proposed(&stage, "flag.switch", "worker-1").id;
    assert_eq!(run_it(&stage, &plan), Ok(State::Succeeded));
    assert_eq!(reviewed(&stage, "alice", &plan, YES).unwrap_err().rule, "may-not-look-after");
}

#[test]
fn a_member_of_the_owning_team_may_look_without_being_an_administrator() {
    let mut setup = Setup::default();
    setup.parts.people[1].administrator = false;
    let stage = started(setup);
    let plan = proposed(&stage, "flag.switch", "worker-1").id;
    assert_eq!(run_it(&stage, &plan), Ok(State::Succeeded));
    reviewed(&stage, "bob", &plan, YES).unwrap();
}

#[test]
fn inv02_a_review_counts_once_and_for_one_run() {
    let (stage, plan) = ran(Deed::NotDone, State::Failed);
    let statement = signed(looked(&stage, "bob", &plan, YES));
    wait(review(&stage.gate, &session("bob"), &plan, statement.clone(), None)).unwrap();
    let again = wait(review(&stage.gate, &session("bob"), &plan, statement.clone(), None));
    assert_eq!(again.unwrap_err().rule, "stale-review");
    // Nor for the next run of the same plan's kind.
    stage.world.apply(Deed::NotDone);
    let next = proposed(&stage, "flag.switch", "worker-1").id;
    assert_eq!(run_it(&stage, &next), Ok(State::Failed));
    let reused = wait(review(&stage.gate, &session("bob"), &next, statement, None));
    assert_eq!(reused.unwrap_err().rule, "stale-review");
    assert_eq!(next_tier(&stage), Tier::T3);
    audit(&stage);
}

#[test]
fn what_is_not_over_or_never_ran_cannot_be_reviewed() {
    let stage = started(Setup::default());
    let plan = proposed(&stage, "flag.switch", "worker-1").id;
    assert_eq!(reviewed(&stage, "bob", &plan, YES).unwrap_err().rule, "nothing-to-review");
    let mut running = Box::pin(run(&stage.gate, &plan));
    poll_until(&stage, &mut running, "applied");
    assert_eq!(reviewed(&stage, "bob", &plan, YES).unwrap_err().rule, "nothing-to-review");
    assert_eq!(wait(running), Ok(State::Succeeded));
    let statement = signed(looked(&stage, "bob", &plan, YES));
    let unknown = wait(review(&stage.gate, &session("bob"), &id("plan-x"), statement, None));
    assert_eq!(unknown.unwrap_err().rule, "no-such-plan");
    // In doubt: a review is no way out.
    stage.world.apply(Deed::Partial);
    let plan = proposed(&stage, "flag.switch", "worker-2").id;
    stage.world.change("worker-2", |thing| thing.healthy = false);
    assert_eq!(run_it(&stage, &plan), Ok(State::InDoubt));
    assert_eq!(reviewed(&stage, "bob", &plan, YES).unwrap_err().rule, "nothing-to-review");
    audit(&stage);
}

#[test]
fn a_reviewer_with_a_new_key_signs_with_the_new_one() {
    let (mut stage, plan) = ran(Deed::Works, State::Succeeded);
    stage.setup.parts.people[1] = person("bob", 77);
    stage.restart();
    activated(&stage);
    assert_eq!(reviewed(&stage, "bob", &plan, YES).unwrap_err().rule, "statement-refused");
    let statement = signed_by(77, looked(&stage, "bob", &plan, YES));
    wait(review(&stage.gate, &session("bob"), &plan, statement, None)).unwrap();
}
