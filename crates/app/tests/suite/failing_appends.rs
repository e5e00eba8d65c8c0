//! Every append of a whole life fails once, in every way. Nothing is done that was not recorded, and what was begun ends.

use holdpoint_app::fake::{Deed, Failure, Policy, Setup, Stage, When};
use holdpoint_domain::{Rung, approval::Choice, flow::State};

use super::support::{
    Plan, ask, audit, decide, no_lease_lives, recovered, recovering, run_it, started, state, wait,
};

/// One whole life; whoever is refused goes on with the next step, as a person or a server would.
struct Life {
    action: &'static str,
    setup: fn() -> Setup,
    apply: Deed,
    approvers: &'static [&'static str],
    end: State,
}

const LIVES: &[Life] = &[
    Life {
        action: "process.restart",
        setup: Setup::default,
        apply: Deed::Works,
        approvers: &[],
        end: State::Succeeded,
    },
    Life {
        action: "flag.switch",
        setup: Setup::default,
        apply: Deed::NoHelp,
        approvers: &[],
        end: State::Undone,
    },
    Life {
        action: "process.restart",
        setup: Setup::default,
        apply: Deed::NoHelp,
        approvers: &[],
        end: State::UndoFailed,
    },
    Life {
        action: "flag.switch",
        setup: || Setup { policy: Policy::From(Rung::T4), ..Setup::default() },
        apply: Deed::Works,
        approvers: &["alice", "bob"],
        end: State::Succeeded,
    },
    Life {
        action: "process.restart",
        setup: Setup::default,
        apply: Deed::Partial,
        approvers: &[],
        end: State::InDoubt,
    },
    Life {
        action: "process.restart",
        setup: Setup::default,
        apply: Deed::NotDone,
        approvers: &[],
        end: State::Failed,
    },
];

impl Life {
    /// Lives it, with a fault or without; returns the plan if there is one.
    fn live(&self, fault: Option<(u64, Failure)>) -> (Stage, Option<Plan>) {
        let mut stage = started((self.setup)());
        stage.world.apply(self.apply);
        if let Some((nth, failure)) = fault {
            stage.store.fail(When::Nth(nth), failure);
        }
        let asked = ask(&stage, self.action, "worker-1");
        let asked = self.again(&mut stage, asked, fault);
        let plan = match asked {
            Ok(proposed) => proposed.id,
            // Appended and not reported: whoever looks into the ledger finds it.
            Err(_) => match stage.store.records().iter().find_map(|record| record.plan.clone()) {
                Some(plan) => plan,
                None => return (stage, None),
            },
        };
        let terms = wait(stage.view(&plan)).and_then(|view| view.terms);
        for person in self.approvers {
            let terms = terms.as_ref().unwrap();
            let decided = decide(&stage, person, terms, Choice::Approve);
            if self.again(&mut stage, decided, fault).is_err() {
                // Once more: what was recorded is refused as a second statement, the rest is taken.
                let _ = decide(&stage, person, terms, Choice::Approve);
            }
        }
        let ran = run_it(&stage, &plan);
        let _ = self.again(&mut stage, ran, fault);
        recovered(&stage);
        if state(&stage, &plan) == State::Permitted {
            run_it(&stage, &plan).unwrap();
        }
        (stage, Some(plan))
    }

    /// After a failure that closed the store the process starts anew; after one that did not, the clockwork goes on.
    fn again<T, E>(
        &self,
        stage: &mut Stage,
        result: Result<T, E>,
        fault: Option<(u64, Failure)>,
    ) -> Result<T, E> {
        if result.is_err() {
            if fault.is_some_and(|(_, failure)| failure != Failure::Full) {
                stage.restart();
            }
            wait(recovering(stage)).unwrap();
        }
        result
    }
}

/// What the world must look like for a plan that ended so.
fn world_fits(stage: &Stage, end: State, context: &str) {
    let thing = stage.world.thing("worker-1");
    match end {
        State::Succeeded => assert_eq!((thing.effects, thing.healthy), (1, true), "{context}"),
        State::Failed | State::Denied | State::Held | State::Expired | State::Void => {
            assert_eq!((thing.effects, thing.content), (0, 1), "{context}");
        }
        State::Undone => assert_eq!((thing.effects, thing.content), (1, 1), "{context}"),
        State::UndoFailed => assert_eq!(thing.effects, 1, "{context}"),
        State::InDoubt => assert!(thing.effects <= 1, "{context}"),
        other => panic!("{context}: a life does not end `{other}`"),
    }
}

#[test]
fn inv01_each_append_fails_once_in_each_way() {
    for life in LIVES {
        let (stage, plan) = life.live(None);
        assert_eq!(state(&stage, &plan.unwrap()), life.end);
        world_fits(&stage, life.end, life.action);
        no_lease_lives(&stage);
        audit(&stage);
        for failure in [Failure::Full, Failure::Closed, Failure::DoneButClosed] {
            for nth in 0.. {
                let context = format!("{} {:?}, append {nth} {failure:?}", life.action, life.apply);
                let (stage, plan) = life.live(Some((nth, failure)));
                let end = plan.map(|plan| state(&stage, &plan));
                world_fits(&stage, end.unwrap_or(State::Void), &context);
                no_lease_lives(&stage);
                audit(&stage);
                if stage.store.faults_left() > 0 {
                    // The life ended before its n-th append: all of them have failed once.
                    assert!(nth > 3, "{context}");
                    break;
                }
            }
        }
    }
}

#[test]
fn inv01_a_full_disk_starts_nothing() {
    let stage = started(Setup::default());
    stage.store.fill(100);
    assert_eq!(ask(&stage, "process.restart", "worker-1").unwrap_err().rule, "gate-closed");
    stage.store.make_room();
    let plan = ask(&stage, "process.restart", "worker-1").unwrap().id;
    // A claim is no undo: the reserve is not for it.
    stage.store.fill(100);
    assert_eq!(run_it(&stage, &plan).unwrap_err().rule, "gate-closed");
    assert_eq!(stage.world.trace(), []);
    audit(&stage);
}
