//! Many at once: one approval, one run, one winner.

use futures_util::future::{join, join_all};
use holdpoint_app::{
    approve::decide_hold,
    fake::{Setup, Stage, session, statement},
    recover,
    refusal::{Blame, Refusal},
    run::run,
};
use holdpoint_domain::{
    approval::{Choice, HoldTerms},
    flow::State,
    record::Body,
};

use super::support::{
    Plan, approved, audit, count, held, proposed, recovering, run_it, started, state, wait,
};

const MANY: usize = 1_000;

async fn race(stage: &Stage, person: &str, terms: &HoldTerms, choice: Choice) -> Result<State, Refusal> {
    decide_hold(&stage.gate, &session(person), &terms.hold, statement(person, terms, choice))
        .await
        .map(|decided| decided.state)
}

#[test]
fn t05_a_thousand_uses_of_one_approval_start_one_run() {
    let stage = started(Setup::default());
    let (plan, terms) = held(&stage, "cache.drop", "worker-1");
    let tries = (0..MANY).map(|_| race(&stage, "bob", &terms, Choice::Approve));
    let results = wait(join_all(tries));
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    for refusal in results.into_iter().filter_map(Result::err) {
        assert_eq!(refusal.blame, Blame::Conflict, "{refusal}");
    }
    assert_eq!((count(&stage, "approved"), count(&stage, "permitted")), (1, 1));
    assert_eq!(count(&stage, "refused"), MANY - 1);

    let results = wait(join_all((0..MANY).map(|_| run(&stage.gate, &plan))));
    assert_eq!(results.iter().filter(|result| **result == Ok(State::Succeeded)).count(), 1);
    for refusal in results.into_iter().filter_map(Result::err) {
        assert_eq!(refusal.blame, Blame::Conflict, "{refusal}");
    }
    assert_eq!((count(&stage, "claimed"), count(&stage, "applying")), (1, 1));
    assert_eq!(stage.world.thing("worker-1").effects, 1);
    audit(&stage);
}

#[test]
fn t38_a_storm_of_retries_runs_a_plan_once() {
    let stage = started(Setup::default());
    let plan = proposed(&stage, "process.restart", "worker-1").id;
    let results = wait(join_all((0..10).map(|_| run(&stage.gate, &plan))));
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert_eq!(stage.world.thing("worker-1").effects, 1);
    audit(&stage);
}

#[test]
fn approve_and_reject_at_once_have_one_winner() {
    for turned in [false, true] {
        let stage = started(Setup::default());
        let (plan, terms) = held(&stage, "cache.drop", "worker-1");
        let (yes, no) =
            (race(&stage, "bob", &terms, Choice::Approve), race(&stage, "carol", &terms, Choice::Reject));
        let (yes, no) = if turned {
            let (no, yes) = wait(join(no, yes));
            (yes, no)
        } else {
            wait(join(yes, no))
        };
        let winner = if turned { State::Rejected } else { State::Permitted };
        assert_eq!(state(&stage, &plan), winner);
        assert_eq!((yes.is_ok(), no.is_ok()), (!turned, turned));
        audit(&stage);
    }
}

#[test]
fn t05_two_plans_never_run_on_one_target_at_once() {
    let stage = started(Setup::default());
    let plans: Vec<Plan> = (0..4).map(|_| proposed(&stage, "process.restart", "worker-1").id).collect();
    let results = wait(join_all(plans.iter().map(|plan| run(&stage.gate, plan))));
    assert_eq!(results.iter().filter(|result| **result == Ok(State::Succeeded)).count(), 1);
    for refusal in results.into_iter().filter_map(Result::err) {
        assert_eq!(refusal.rule, "target-busy", "{refusal}");
    }
    // Whoever was too late finds another version, and that the trouble is gone.
    let left: Vec<_> = wait(recover::startable(&stage.gate)).unwrap();
    assert_eq!(left.len(), 3);
    for plan in left {
        assert_eq!(run_it(&stage, &plan), Ok(State::Void));
    }
    assert_eq!(stage.world.thing("worker-1").effects, 1);
    audit(&stage);
}

#[test]
fn a_run_that_stands_still_keeps_its_target_from_a_newer_one() {
    let stage = started(Setup::default());
    let old = proposed(&stage, "process.restart", "worker-1").id;
    let new = proposed(&stage, "process.restart", "worker-1").id;
    // The old run stands still just before its effect: its claim holds the target against the new one.
    let mut slow = Box::pin(run(&stage.gate, &old));
    super::support::poll_until(&stage, &mut slow, "applying");
    assert_eq!(run_it(&stage, &new).unwrap_err().rule, "target-busy");
    assert_eq!(wait(slow), Ok(State::Succeeded));
    audit(&stage);
}

#[test]
fn a_tick_beside_a_run_disturbs_nothing() {
    let stage = started(Setup::default());
    let plan = proposed(&stage, "process.restart", "worker-1").id;
    let ticking = async {
        for _ in 0..50 {
            recover::tick(&stage.gate).await.unwrap();
        }
    };
    let (state, ()) = wait(join(run(&stage.gate, &plan), ticking));
    assert_eq!(state, Ok(State::Succeeded));
    audit(&stage);
}

#[test]
fn inv02_whoever_resumes_a_run_that_is_driven_never_doubles_its_effect() {
    // The caller of `resume` promises that nobody drives the run. Here that promise is broken at every step.
    for polls in 0..200 {
        let stage = started(Setup::default());
        let plan = proposed(&stage, "process.restart", "worker-1").id;
        let mut driven = Box::pin(run(&stage.gate, &plan));
        let ended = holdpoint_app::fake::schedule::poll_at_most(&mut driven, polls);
        let resumed = wait(recovering(&stage));
        if ended.is_some() {
            resumed.unwrap();
            return;
        }
        let _ = wait(driven);
        let (thing, now) = (stage.world.thing("worker-1"), state(&stage, &plan));
        assert!(thing.effects <= 1);
        assert!(now != State::Failed || thing.effects == 0, "after {polls} polls: failed, but changed");
        audit(&stage);
    }
    panic!("the run never ended");
}

#[test]
fn t05_many_holds_approved_at_once_all_get_their_permit() {
    let stage = started(Setup::default());
    let holds: Vec<_> = (0..20).map(|_| held(&stage, "cache.drop", "worker-1")).collect();
    let results = wait(join_all(holds.iter().map(|(_, terms)| race(&stage, "bob", terms, Choice::Approve))));
    assert!(results.iter().all(|result| *result == Ok(State::Permitted)), "{results:?}");
    let mut epochs = Vec::new();
    for record in stage.store.records() {
        if let Body::Permitted { epoch, .. } = record.body {
            epochs.push(epoch);
        }
    }
    assert!(epochs.is_sorted_by(|a, b| a < b));
    let (_, terms) = held(&stage, "cache.drop", "worker-2");
    approved(&stage, "bob", &terms);
}
