//! The process is killed at every point where it waits, and started anew.

use holdpoint_app::{
    fake::{Deed, Setup, Stage, schedule::poll_at_most},
    propose::propose,
    run::run,
};
use holdpoint_domain::flow::State;

use super::support::{
    Plan, approved, audit, held, no_lease_lives, proposed, recovered, recovering, run_it, started, state,
};

struct Story {
    action: &'static str,
    apply: Deed,
    undo: Deed,
    /// What it may end as when it is killed somewhere; without a kill it is the first.
    ends: &'static [State],
}

const STORIES: &[Story] = &[
    Story {
        action: "process.restart",
        apply: Deed::Works,
        undo: Deed::Works,
        ends: &[State::Succeeded, State::Failed, State::InDoubt],
    },
    Story {
        action: "flag.switch",
        apply: Deed::NoHelp,
        undo: Deed::Works,
        ends: &[State::Undone, State::Failed, State::InDoubt],
    },
    Story {
        action: "flag.switch",
        apply: Deed::NoHelp,
        undo: Deed::UnknownAfter,
        ends: &[State::Undone, State::Failed, State::InDoubt],
    },
    Story {
        action: "flag.switch",
        apply: Deed::UnknownAfter,
        undo: Deed::Works,
        ends: &[State::Succeeded, State::Failed, State::InDoubt],
    },
    Story {
        action: "flag.switch",
        apply: Deed::Partial,
        undo: Deed::Works,
        ends: &[State::InDoubt, State::Failed],
    },
    Story { action: "flag.switch", apply: Deed::NotDone, undo: Deed::Works, ends: &[State::Failed] },
];

impl Story {
    fn begin(&self) -> (Stage, Plan) {
        let stage = started(Setup::default());
        stage.world.apply(self.apply);
        stage.world.undo(self.undo);
        let plan = proposed(&stage, self.action, "worker-1").id;
        (stage, plan)
    }

    /// The story after it was killed and picked up again.
    fn check(&self, stage: &Stage, plan: &Plan, context: &str) {
        if state(stage, plan) == State::Permitted {
            assert_eq!(stage.world.thing("worker-1").effects, 0, "{context}: an effect before its claim");
            run_it(stage, plan).unwrap();
        }
        let (end, thing) = (state(stage, plan), stage.world.thing("worker-1"));
        assert!(self.ends.contains(&end), "{context}: ended `{end}`");
        assert!(thing.effects <= 1, "{context}: {} effects", thing.effects);
        match end {
            State::Failed => assert_eq!((thing.effects, thing.content), (0, 1), "{context}"),
            State::Undone => assert_eq!((thing.effects, thing.content), (1, 1), "{context}"),
            State::Succeeded => assert!(thing.healthy && thing.effects == 1, "{context}"),
            State::InDoubt => {}
            other => panic!("{context}: ended `{other}`"),
        }
        no_lease_lives(stage);
        audit(stage);
    }
}

#[test]
fn inv02_inv03_inv08_a_run_is_killed_at_every_point() {
    for story in STORIES {
        for polls in 0.. {
            let context = format!("{} {:?}/{:?}, {polls} polls", story.action, story.apply, story.undo);
            let (mut stage, plan) = story.begin();
            let mut running = Box::pin(run(&stage.gate, &plan));
            let ended = poll_at_most(&mut running, polls);
            drop(running);
            stage.restart();
            recovered(&stage);
            story.check(&stage, &plan, &context);
            if let Some(end) = ended {
                assert_eq!(end.unwrap(), story.ends[0], "{context}");
                break;
            }
        }
    }
}

#[test]
fn inv02_inv03_inv08_a_recovery_is_killed_at_every_point() {
    for story in &STORIES[..2] {
        // Every seventh point of the run, and there every fourth point of the recovery.
        for polls in (0..).step_by(7) {
            let mut run_ended = false;
            for again in (0..).step_by(4) {
                let context = format!("{} {:?}, {polls} polls, then {again}", story.action, story.apply);
                let (mut stage, plan) = story.begin();
                let mut running = Box::pin(run(&stage.gate, &plan));
                run_ended = poll_at_most(&mut running, polls).is_some();
                drop(running);
                stage.restart();
                let mut recovering = Box::pin(recovering(&stage));
                let recovered_fully = poll_at_most(&mut recovering, again).is_some();
                drop(recovering);
                stage.restart();
                recovered(&stage);
                story.check(&stage, &plan, &context);
                if recovered_fully {
                    break;
                }
            }
            if run_ended {
                break;
            }
        }
    }
}

#[test]
fn inv01_a_proposal_is_killed_at_every_point() {
    for polls in 0.. {
        let mut stage = started(Setup::default());
        let proposal = stage.proposal("process.restart", "worker-1");
        let party = holdpoint_app::fake::decider("healer").into();
        let mut asking = Box::pin(propose(&stage.gate, &party, proposal));
        let ended = poll_at_most(&mut asking, polls).is_some();
        drop(asking);
        stage.restart();
        recovered(&stage);
        // All of it was recorded, or nothing.
        let records = stage.store.records().len();
        assert!(records == 2 || records == 6, "{polls} polls: {records} records");
        assert_eq!(stage.world.trace(), []);
        audit(&stage);
        if ended {
            break;
        }
    }
}

#[test]
fn inv02_an_approval_is_killed_at_every_point() {
    for polls in 0.. {
        let mut stage = started(Setup::default());
        let (plan, terms) = held(&stage, "cache.drop", "worker-1");
        let signed =
            holdpoint_app::fake::statement("bob", &terms, holdpoint_domain::approval::Choice::Approve);
        let identity = holdpoint_app::fake::session("bob");
        let mut deciding =
            Box::pin(holdpoint_app::approve::decide_hold(&stage.gate, &identity, &terms.hold, signed));
        let ended = poll_at_most(&mut deciding, polls).is_some();
        drop(deciding);
        stage.restart();
        recovered(&stage);
        match state(&stage, &plan) {
            State::Held => assert_eq!(approved(&stage, "bob", &terms).state, State::Permitted),
            State::Permitted => {}
            other => panic!("{polls} polls: `{other}`"),
        }
        assert_eq!(run_it(&stage, &plan), Ok(State::Succeeded));
        assert_eq!(stage.world.thing("worker-1").effects, 1);
        audit(&stage);
        if ended {
            break;
        }
    }
}
