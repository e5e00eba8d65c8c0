//! The disk under the store: full, failing, failing once, short, torn, done but not said, slow.

use std::{collections::BTreeSet, fs, sync::Arc};

use serde_json::json;

use super::super::stage::{Stage, client};
use super::outside::{audited, count, leases_are_dead};
use super::shim::{EIO, ENOSPC, Effect, Op, Rule};
use super::{health, leases_ended, propose, shimmed};

const WAL: &str = "holdpoint.db-wal";

/// What a fault of the store's disk does to the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// The request is refused, and the next one is taken once the fault is gone.
    Refused,
    /// The store closes until a restart, although the disk works again.
    Closed,
    /// Nobody notices.
    Taken,
    /// The process is gone.
    Dead,
}

/// One line a fault: the call, what becomes of it, what the gate does.
const STORE: &[(Op, Effect, Then)] = &[
    // A failed sync may have thrown away what it was asked to keep, and a second one then succeeds over nothing.
    (Op::Sync, Effect::Fail(EIO), Then::Closed),
    (Op::Sync, Effect::Fail(ENOSPC), Then::Closed),
    (Op::Sync, Effect::DoneButFailed(EIO), Then::Closed),
    (Op::Write, Effect::Fail(EIO), Then::Closed),
    (Op::Write, Effect::DoneButFailed(EIO), Then::Closed),
    (Op::Write, Effect::Fail(ENOSPC), Then::Refused),
    (Op::Write, Effect::Short, Then::Taken),
    (Op::Write, Effect::TornAndKilled, Then::Dead),
];

#[tokio::test]
async fn inv01_every_fault_of_the_stores_disk_starts_nothing_and_loses_nothing() {
    let (mut stage, shim) = shimmed();
    stage.start();
    stage.until("the units run", || stage.starts("worker") == 1 && stage.starts("sleeper") == 1);
    let mut answered = Vec::new();
    for &(op, effect, then) in STORE {
        let case = format!("{op:?} {effect:?}");
        let armed = shim.arm(Rule::once(op, WAL, effect));
        let first = propose(&stage, "sleeper").await;
        assert_eq!(shim.struck(armed), 1, "{case}: the fault did not strike");
        let healthy = health(&stage).await;
        match then {
            Then::Taken => assert_eq!((first.0, healthy), (202, 200), "{case}: {first:?}"),
            Then::Refused => {
                assert_eq!((first.0, first.1.as_str(), healthy), (503, "gate-closed", 200), "{case}");
            }
            Then::Closed => {
                assert_eq!((first.0, first.1.as_str(), healthy), (503, "gate-closed", 503), "{case}");
                // The disk works again, which nobody can know of what it was given before.
                let again = propose(&stage, "worker").await;
                assert_eq!((again.0, again.1.as_str()), (503, "gate-closed"), "{case}");
            }
            Then::Dead => assert_eq!((first.0, healthy), (0, 0), "{case}"),
        }
        if first.0 == 202 {
            answered.push(first.1);
        }
        if matches!(then, Then::Closed | Then::Dead) {
            stage.kill();
            stage.start();
        }
        let next = propose(&stage, "sleeper").await;
        assert_eq!(next.0, 202, "{case}: the gate goes on: {next:?}");
        answered.push(next.1);
    }
    let records = audited(&stage);
    for plan in &answered {
        let known = records.iter().any(|record| record["plan"] == plan.as_str());
        assert!(known, "plan {plan} was answered and is lost");
    }
    assert_eq!((count(&records, "permitted"), stage.starts("worker"), stage.starts("sleeper")), (0, 1, 1));
}

/// A sweep: in a run of a T2 plan every sync of the store fails once, one a gate. What was announced is settled by the
/// restart, and nothing is done twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv02_inv03_inv08_a_sync_that_fails_anywhere_in_a_run_is_settled_by_the_restart() {
    let mut ends = BTreeSet::new();
    for skip in 0..32 {
        let (mut stage, shim) = shimmed();
        stage.start();
        stage.until("the unit runs", || stage.starts("worker") == 1);
        let armed = shim.arm(Rule::once(Op::Sync, WAL, Effect::Fail(EIO)).after(skip));
        let answer = propose(&stage, "worker").await;
        stage.until("the fault strikes or all is done", || {
            shim.struck(armed) == 1 || stage.log().contains("run of plan") && shim.seen(armed) <= skip
        });
        let struck = shim.struck(armed) == 1;
        // A fault that found no sync in the run is not for the restart.
        shim.lift(armed);
        stage.kill();
        stage.start();
        ends.extend(settled(&stage, &answer).await);
        if !struck {
            // Every sync of the run has failed once: the sweep is whole.
            assert!(skip >= 6, "a run has more syncs than {skip}");
            assert!(ends.contains("failed") && ends.contains("succeeded"), "{ends:?}");
            return;
        }
    }
    panic!("a run of one step has fewer than 32 syncs");
}

/// A sweep: the disk is full from some write of the run on, and for a while. The gate goes on by itself when there is room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv01_inv02_a_disk_that_fills_up_within_a_run_and_is_freed_again_needs_no_restart() {
    let mut ends = BTreeSet::new();
    for skip in (0..).step_by(24) {
        let (mut stage, shim) = shimmed();
        stage.start();
        stage.until("the unit runs", || stage.starts("worker") == 1);
        let full = shim.arm(Rule::always(Op::Write, WAL, Effect::Fail(ENOSPC)).after(skip));
        let answer = propose(&stage, "worker").await;
        stage.until("the disk is full or all is done", || {
            shim.struck(full) >= 1 || stage.log().contains("ended: succeeded")
        });
        let struck = shim.struck(full) >= 1;
        if struck {
            assert_eq!(propose(&stage, "sleeper").await, (503, "gate-closed".to_owned()), "write {skip}");
        }
        shim.lift(full);
        ends.extend(settled(&stage, &answer).await);
        assert_eq!(health(&stage).await, 200, "write {skip}: a full disk closes no store");
        if !struck {
            assert!(skip >= 64, "a run has more writes than {skip}");
            assert!(ends.contains("failed") || ends.contains("succeeded"), "{ends:?}");
            return;
        }
    }
}

/// A sync that hangs: nobody is answered before it is done, and a halt waits for nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv01_inv15_while_a_sync_hangs_nothing_is_answered_and_a_halt_is_in_force() {
    let (mut stage, shim) = shimmed();
    stage.start();
    stage.until("the unit runs", || stage.starts("worker") == 1);
    let stage = Arc::new(stage);
    let hang = shim.arm(Rule::always(Op::Sync, WAL, Effect::Hold));
    let proposed = tokio::spawn({
        let stage = Arc::clone(&stage);
        async move { propose(&stage, "worker").await }
    });
    let token = stage.person("ada");
    while shim.struck(hang) == 0 {
        tokio::task::yield_now().await;
    }
    let halt = client().post(stage.url("/v1/halt")).bearer_auth(&token).json(&json!({"reach": "soft"}));
    let halted = tokio::spawn(halt.send());
    stage.until("the latch is on disk", || std::path::Path::new(&stage.path("data/halt")).exists());
    assert!(!proposed.is_finished(), "a plan was answered before its records were synced");
    let status = stage.get("/v1/status", &token).await;
    assert_eq!(status["halt"]["reach"], "soft", "{status}");
    shim.lift(hang);
    assert_eq!(halted.await.unwrap().unwrap().status(), 200);
    let (_, plan) = proposed.await.unwrap();
    // It was decided before the halt, or denied by it; in either case nothing starts any more.
    let state =
        stage.get(&format!("/v1/plans/{plan}"), &token).await["state"].as_str().unwrap_or("").to_owned();
    assert_ne!(state, "succeeded");
    assert_eq!(count(&audited(&stage), "applying"), 0);
    assert_eq!(stage.starts("worker"), 1);
}

/// After a failed sync the system shows bytes that the disk does not have, and never writes them: whoever goes on from them
/// after a restart acts on a record that the next loss of power takes away.
#[tokio::test]
async fn inv01_what_a_failed_sync_left_is_written_anew_before_anything_is_done_on_it() {
    let (mut stage, shim) = shimmed();
    stage.start();
    stage.until("the unit runs", || stage.starts("worker") == 1);
    let wal = stage.path(&format!("data/{WAL}"));
    let synced = fs::metadata(&wal).unwrap().len();
    let armed = shim.arm(Rule::once(Op::Sync, WAL, Effect::Fail(EIO)));
    assert_eq!(propose(&stage, "worker").await, (503, "gate-closed".to_owned()));
    assert_eq!(shim.struck(armed), 1);
    stage.kill();
    let log = fs::read(&wal).unwrap();
    let (start, lost) = (usize::try_from(synced).unwrap(), &log[usize::try_from(synced).unwrap()..]);
    assert!(!lost.is_empty(), "the batch that was not synced is in the file");
    // The restart finds the plan, and runs it.
    stage.start();
    stage.until("the plan runs", || stage.log().contains("ended: succeeded"));
    let size = stage.get("/v1/status", &stage.person("ada")).await["size"].as_u64().unwrap();
    stage.kill();

    // The power fails: what was never written is not there. What was written since, and synced, is.
    let mut log = fs::read(&wal).unwrap();
    if log.get(start..start + lost.len()) == Some(lost) {
        log[start..start + lost.len()].fill(0);
        fs::write(&wal, &log).unwrap();
        let _ = fs::remove_file(stage.path("data/holdpoint.db-shm"));
    }
    stage.start();
    let records = audited(&stage);
    assert!(u64::try_from(records.len()).unwrap() > size, "records were lost");
    assert_eq!((count(&records, "applying"), stage.starts("worker")), (1, 2));
}

/// How a plan ended that was answered like this, after everything that must hold was looked at.
async fn settled(stage: &Stage, (status, id): &(u16, String)) -> Option<String> {
    let state = if *status == 201 {
        Some(stage.ended(id).await)
    } else {
        assert_eq!((*status, id.as_str()), (503, "gate-closed"));
        None
    };
    leases_ended(stage).await;
    let starts = stage.starts("worker");
    match state.as_deref() {
        Some("succeeded") => assert_eq!(starts, 2),
        // Killed between the stop and the start: it was done once at most.
        Some("in_doubt") => assert!(starts <= 2),
        Some("failed" | "expired" | "void") => assert_eq!(starts, 1, "{state:?}, and something ran"),
        // What was not reported may be there after all, and then it is a plan like any other.
        None => assert!(starts <= 2),
        Some(other) => panic!("ended as {other}"),
    }
    let records = audited(stage);
    assert!(count(&records, "applying") <= 1);
    leases_are_dead(&records);
    state
}

/// A store that cannot be read says so: an error of the disk is no plan that is not there, and no sound log.
#[tokio::test]
async fn inv01_inv11_a_store_that_cannot_be_read_is_no_empty_one() {
    let (mut stage, shim) = shimmed();
    stage.start();
    let (status, plan) = propose(&stage, "sleeper").await;
    assert_eq!(status, 202, "{plan}");
    let token = stage.person("ada");
    let broken = [Op::Read, Op::Open].map(|op| shim.arm(Rule::always(op, "holdpoint.db", Effect::Fail(EIO))));
    let url = stage.url(&format!("/v1/plans/{plan}"));
    let answer = client().get(&url).bearer_auth(&token).send().await.unwrap();
    // From memory it may still be right; wrong it may not be.
    assert!([200, 503].contains(&answer.status().as_u16()), "{}", answer.status());
    stage.kill();
    assert!(!stage.starts_at_all(), "a gate started over a store that it cannot read");
    assert!(broken.iter().any(|rule| shim.struck(*rule) > 0));
    broken.iter().for_each(|rule| shim.lift(*rule));
    stage.start();
    assert_eq!(stage.get(&format!("/v1/plans/{plan}"), &token).await["state"], "held");
}
