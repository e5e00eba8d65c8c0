//! A run of three steps is killed, or loses an append, at every point; also while it is undone in reverse.

use holdpoint_app::{
    fake::{Deed, Failure, Stage, When, schedule::poll_at_most},
    run::run,
};
use holdpoint_domain::flow::State;

use super::{
    steps::{THREE, WORKERS},
    support::{
        Plan, audit, no_lease_lives, proposed_all, recovered, recovering, run_it, several, started, state,
        wait,
    },
};

struct Story {
    /// How the third step is applied, the others always well.
    third: Deed,
    /// How the second is undone.
    undo: Deed,
    end: State,
}

const STORIES: &[Story] = &[
    Story { third: Deed::Works, undo: Deed::Works, end: State::Succeeded },
    Story { third: Deed::NoHelp, undo: Deed::Works, end: State::Undone },
    Story { third: Deed::NotDone, undo: Deed::UnknownAfter, end: State::Undone },
];

impl Story {
    fn begin(&self) -> (Stage, Plan) {
        let stage = started(several());
        stage.world.apply_at("worker-3", self.third);
        stage.world.undo_at("worker-2", self.undo);
        let plan = proposed_all(&stage, &THREE).id;
        (stage, plan)
    }

    fn check(&self, stage: &Stage, plan: &Plan, context: &str) {
        if state(stage, plan) == State::Permitted {
            assert!(stage.world.trace().is_empty(), "{context}: an effect before its claim");
            run_it(stage, plan).unwrap();
        }
        let end = state(stage, plan);
        let things = WORKERS.map(|worker| stage.world.thing(worker));
        for (worker, thing) in WORKERS.iter().zip(&things) {
            assert!(thing.effects <= 1 && thing.undos <= 1, "{context}: {worker} {thing:?}");
        }
        let as_before = things.iter().all(|thing| thing.content == 1);
        match end {
            State::Succeeded => assert!(things.iter().all(|thing| thing.effects == 1), "{context}"),
            State::Failed => assert!(things.iter().all(|thing| thing.effects == 0), "{context}"),
            State::Undone => assert!(as_before, "{context}: undone, but {things:?}"),
            // Killed between the beginning of a write and its end.
            State::InDoubt => {}
            other => panic!("{context}: ended `{other}`"),
        }
        no_lease_lives(stage);
        audit(stage);
    }
}

#[test]
fn inv02_inv03_inv08_a_run_of_three_steps_is_killed_at_many_points() {
    // Every fifth point, from another one on in each story; that of each append is below.
    for (first, story) in STORIES.iter().enumerate() {
        for polls in (first..).step_by(5) {
            let context = format!("{:?}/{:?}, {polls} polls", story.third, story.undo);
            let (mut stage, plan) = story.begin();
            let mut running = Box::pin(run(&stage.gate, &plan));
            let ended = poll_at_most(&mut running, polls);
            drop(running);
            stage.restart();
            recovered(&stage);
            story.check(&stage, &plan, &context);
            if let Some(end) = ended {
                assert_eq!(end, Ok(story.end), "{context}");
                break;
            }
        }
    }
}

#[test]
fn inv02_inv03_inv08_the_recovery_of_a_reverse_undo_is_killed_too() {
    let story = &STORIES[1];
    // Every 17th point of the run, and there every eleventh point of the recovery.
    for polls in (0..).step_by(17) {
        let mut run_ended = false;
        for again in (0..).step_by(11) {
            let context = format!("{polls} polls, then {again}");
            let (mut stage, plan) = story.begin();
            let mut running = Box::pin(run(&stage.gate, &plan));
            run_ended = poll_at_most(&mut running, polls).is_some();
            drop(running);
            stage.restart();
            let mut recovery = Box::pin(recovering(&stage));
            let done = poll_at_most(&mut recovery, again).is_some();
            drop(recovery);
            stage.restart();
            recovered(&stage);
            story.check(&stage, &plan, &context);
            if done {
                break;
            }
        }
        if run_ended {
            break;
        }
    }
}

#[test]
fn inv01_inv02_each_append_of_a_run_of_three_steps_fails_once_in_each_way() {
    for story in STORIES {
        for failure in [Failure::Full, Failure::Closed, Failure::DoneButClosed] {
            for nth in 0.. {
                let context = format!("{:?}/{:?}, append {nth} {failure:?}", story.third, story.undo);
                let (mut stage, plan) = story.begin();
                stage.store.fail(When::Nth(nth), failure);
                let ran = run_it(&stage, &plan);
                if ran.is_err() && failure != Failure::Full {
                    stage.restart();
                }
                recovered(&stage);
                story.check(&stage, &plan, &context);
                assert_ne!(state(&stage, &plan), State::InDoubt, "{context}");
                if stage.store.faults_left() > 0 {
                    assert!(nth > 8, "{context}");
                    break;
                }
            }
        }
    }
}

#[test]
fn inv02_whoever_resumes_a_run_of_three_steps_that_is_driven_doubles_nothing() {
    for story in &STORIES[..2] {
        for polls in (0..).step_by(5) {
            let (stage, plan) = story.begin();
            let mut driven = Box::pin(run(&stage.gate, &plan));
            if poll_at_most(&mut driven, polls).is_some() {
                break;
            }
            let _ = wait(recovering(&stage));
            let _ = wait(driven);
            let things = WORKERS.map(|worker| stage.world.thing(worker));
            assert!(things.iter().all(|thing| thing.effects <= 1), "{polls} polls: {things:?}");
            let end = state(&stage, &plan);
            let fits = match end {
                State::Failed => things.iter().all(|thing| thing.effects == 0),
                State::Undone => things.iter().all(|thing| thing.content == 1),
                State::Succeeded => things.iter().all(|thing| thing.effects == 1),
                _ => true,
            };
            assert!(fits, "{polls} polls: `{end}`, but {things:?}");
            audit(&stage);
        }
    }
}
