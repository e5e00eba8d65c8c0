//! The executor for HTTP jobs against a runner that breaks in every way: started once, in its version, behind its fence,
//! and in doubt rather than wrong.

pub(crate) mod runner;

use std::{fs, sync::Arc, time::Duration};

use holdpoint_adapters::executor::http_job::{Job, JobExecutor, JobLimits, JobObserver, JobSpec, Jobs};
use holdpoint_app::port::{ActedPhase, ExecuteError};
use holdpoint_domain::{Digest, plan::ParamValue};
use serde_json::json;
use tempfile::TempDir;

use super::{
    files_scene::{Param, Stage, Ticket, last, not_done, refused_by, state, unknown, write_state},
    server::refusing,
    support::{id, millis, wait_until},
};
use runner::{Course, Fault, NEVER, Runner, WELL};

/// An executor over two jobs: `cache`, which `refill` takes back, and `purge`, which nothing does.
fn stage(base: &str) -> Stage {
    stage_over(Arc::new(TempDir::new().unwrap()), base)
}

fn stage_over(dir: Arc<TempDir>, base: &str) -> Stage {
    let token = dir.path().join("token");
    fs::write(&token, "s3cret\n").unwrap();
    let spec = |target: &str, action: &str, undo_job: Option<&str>| JobSpec {
        id: id(target),
        action: id(action),
        base: base.to_owned(),
        name: "clear".to_owned(),
        undo_job: undo_job.map(str::to_owned),
        token_file: Some(token.clone()),
        lease: None,
        limits: JobLimits { request: millis(400), run: millis(800) },
    };
    let jobs = [
        spec("cache", "job.clear-cache", Some("refill")),
        spec("purge", "job.purge", None),
        spec("one-way", "job.clear-cache", None),
    ];
    let jobs = jobs.map(|spec| Job::new(spec).unwrap()).to_vec();
    let jobs = Arc::new(Jobs::open(&dir.path().join("state"), jobs).unwrap());
    Stage::over(dir, "job", &["cache", "purge", "one-way", "ghost"], |parts| {
        let observer = JobObserver::new(Arc::clone(&jobs));
        let executor = JobExecutor::new(parts.authority, parts.leases, jobs, parts.clock);
        (Box::new(executor), Box::new(observer))
    })
}

fn params() -> [Param; 3] {
    [
        ("keep", ParamValue::Int(5)),
        ("force", ParamValue::Bool(true)),
        ("scope", ParamValue::Choice(id("stale"))),
    ]
}

const ACTION: &str = "job.clear-cache";

async fn ticket(stage: &Stage, epoch: u64) -> Ticket {
    stage.ticket(ACTION, "cache", &params(), epoch).await
}

async fn phase(stage: &Stage) -> Option<(u64, ActedPhase)> {
    last(&stage.observe(ACTION, "cache").await)
}

#[tokio::test]
async fn a_job_runs_once_with_its_parameters_and_is_taken_back_once() {
    let runner = Runner::start();
    let stage = stage(&runner.base());
    let before = stage.observe(ACTION, "cache").await;
    assert!(!before.down && before.undo_computed && before.acted.is_none());
    let ticket = ticket(&stage, 3).await;
    stage.executor.rehearse(ticket.work()).await.unwrap();
    assert_eq!((runner.posts(), stage.observe(ACTION, "cache").await), (0, before.clone()));

    for _ in 0..2 {
        stage.executor.apply(ticket.work()).await.unwrap();
        assert_eq!((runner.posts(), runner.keys()), (1, vec!["nonce-3-0".to_owned()]));
    }
    let [run] = runner.runs().try_into().unwrap();
    assert_eq!(
        (run.job.as_str(), run.params),
        ("clear", json!({"keep": 5, "force": true, "scope": "stale"}))
    );
    assert!(runner.table.asked.lock().unwrap().iter().all(|line| line.ends_with(" Bearer s3cret")));
    let after = stage.observe(ACTION, "cache").await;
    assert_eq!((after.version, last(&after)), (before.version, Some((3, ActedPhase::Applied))));
    assert_eq!(after.acted.unwrap().left, Some(after.version));

    for _ in 0..2 {
        stage.executor.undo(ticket.work(), &after.version).await.unwrap();
        assert_eq!(runner.keys(), ["nonce-3-0", "nonce-3-0-undo"]);
    }
    assert_eq!(runner.runs()[1].job, "refill");
    assert_eq!(phase(&stage).await, Some((3, ActedPhase::Undone)));
    refused_by(&stage.executor.apply(ticket.work()).await, "phase");
    assert_eq!(runner.posts(), 2);
}

#[tokio::test]
async fn t08_another_version_of_the_job_or_of_its_undo_is_refused() {
    let runner = Runner::start();
    let stage = stage(&runner.base());
    for revisions in [["r2", "u1"], ["r1", "u2"]] {
        runner.revisions(["r1", "u1"]);
        let ticket = ticket(&stage, if revisions[0] == "r2" { 1 } else { 2 }).await;
        runner.revisions(revisions);
        refused_by(&stage.executor.rehearse(ticket.work()).await, "version");
        refused_by(&stage.executor.apply(ticket.work()).await, "version");
    }
    assert_eq!((runner.posts(), phase(&stage).await), (0, None));

    // What was changed since our run is not run over by our undo.
    runner.revisions(["r1", "u1"]);
    let ticket = ticket(&stage, 3).await;
    let left = stage.observe(ACTION, "cache").await.version;
    refused_by(&stage.executor.undo(ticket.work(), &left).await, "phase");
    stage.executor.apply(ticket.work()).await.unwrap();
    refused_by(&stage.executor.undo(ticket.work(), &Digest::of_bytes(b"another")).await, "version");
    runner.revisions(["r2", "u1"]);
    refused_by(&stage.executor.undo(ticket.work(), &left).await, "version");
    assert_eq!((runner.posts(), phase(&stage).await), (1, Some((3, ActedPhase::Applied))));
}

#[tokio::test]
async fn t09_an_older_permit_is_fenced_also_after_a_restart() {
    let runner = Runner::start();
    let stage = stage(&runner.base());
    let (older, newer) = (ticket(&stage, 7).await, ticket(&stage, 8).await);
    let version = stage.observe(ACTION, "cache").await.version;
    stage.executor.apply(newer.work()).await.unwrap();
    let twin = stage.twin(&newer).await;
    refused_by(&stage.executor.apply(older.work()).await, "epoch");
    // The fence outlives the gate, and one that was restored from a copy meets it, too.
    let dir = Arc::clone(&stage.dir);
    drop(stage);
    let stage = stage_over(dir, &runner.base());
    for ticket in [stage.lease_again(&older).await, stage.lease_again(&twin).await] {
        refused_by(&stage.executor.rehearse(ticket.work()).await, "epoch");
        refused_by(&stage.executor.apply(ticket.work()).await, "epoch");
        refused_by(&stage.executor.undo(ticket.work(), &version).await, "epoch");
    }
    assert_eq!(runner.keys(), ["nonce-8-0"]);
}

/// What comes of a start that goes wrong.
#[derive(Debug, PartialEq)]
enum Outcome {
    Done,
    NotDone,
    Unknown,
}

fn outcome(result: &Result<(), ExecuteError>) -> Outcome {
    match result {
        Ok(()) => Outcome::Done,
        Err(ExecuteError::NotDone(_)) => Outcome::NotDone,
        Err(ExecuteError::Unknown(_)) => Outcome::Unknown,
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn t38_a_start_that_breaks_is_looked_up_and_never_made_twice() {
    use ActedPhase::{Applied, Begun};
    use Outcome::{Done, NotDone, Unknown};
    let cases = [
        // The key proves that nothing was started, ...
        (Fault::BreakBefore, NotDone, None),
        (Fault::StatusBefore(500), NotDone, None),
        (Fault::StatusBefore(404), NotDone, None),
        (Fault::StatusBefore(307), NotDone, None),
        // ... but not that nothing will be, while the request lies there.
        (Fault::HangBefore, Unknown, Some(Begun)),
        // What was started is found by its key and watched to its end.
        (Fault::BreakAfter, Done, Some(Applied)),
        (Fault::HangAfter, Done, Some(Applied)),
        (Fault::StatusAfter(500), Done, Some(Applied)),
        (Fault::GarbageAfter, Done, Some(Applied)),
        (Fault::FloodAfter, Done, Some(Applied)),
    ];
    for (fault, want, acted) in cases {
        let runner = Runner::start();
        let stage = stage(&runner.base());
        let ticket = ticket(&stage, 1).await;
        runner.fails(fault);
        let result = stage.executor.apply(ticket.work()).await;
        assert_eq!(outcome(&result), want, "{fault:?}: {result:?}");
        assert!(!format!("{result:?}").contains("\\u{1b}["), "{fault:?}: {result:?}");
        assert_eq!(phase(&stage).await, acted.map(|phase| (1, phase)), "{fault:?}");
        // The same permit again, and nothing is broken any more: exactly one run, whatever happened.
        runner.fails(None);
        stage.executor.apply(ticket.work()).await.unwrap();
        assert_eq!(runner.keys(), ["nonce-1-0"], "{fault:?}");
    }
}

#[tokio::test]
async fn t38_what_nobody_can_look_up_is_unknown() {
    for fault in [Fault::BreakBefore, Fault::BreakAfter, Fault::StatusBefore(500), Fault::HangAfter] {
        let runner = Runner::start();
        let stage = stage(&runner.base());
        let ticket = ticket(&stage, 1).await;
        runner.fails(fault);
        *runner.table.blind.lock().unwrap() = true;
        unknown(&stage.executor.apply(ticket.work()).await);
        assert_eq!(state(stage.dir.path(), "cache")["acted"]["phase"], "begun", "{fault:?}");
        // An attempt that breaks before the runner proves nothing about the one before it.
        runner.fails(Fault::BreakBefore);
        *runner.table.blind.lock().unwrap() = false;
        let again = stage.executor.apply(ticket.work()).await;
        let entered = !runner.runs().is_empty();
        assert_eq!(outcome(&again), if entered { Outcome::Done } else { Outcome::Unknown }, "{fault:?}");
    }
}

#[tokio::test]
async fn t38_the_run_of_another_key_proves_nothing() {
    let runner = Runner::start();
    let stage = stage(&runner.base());
    let (first, second) = (ticket(&stage, 1).await, ticket(&stage, 2).await);
    stage.executor.apply(first.work()).await.unwrap();
    *runner.table.deaf.lock().unwrap() = true;
    runner.fails(Fault::BreakBefore);
    unknown(&stage.executor.apply(second.work()).await);
    assert!(stage.try_observe(ACTION, "cache").await.is_err(), "what became of the run cannot be asked");
    assert_eq!(runner.keys(), ["nonce-1-0"]);
}

#[tokio::test]
async fn t38_a_run_that_takes_too_long_is_cancelled_and_asked_what_it_did() {
    use Outcome::{Done, NotDone, Unknown};
    let cases = [
        (Some(("cancelled", Some(false))), NotDone),
        (Some(("cancelled", Some(true))), Unknown),
        (Some(("cancelled", None)), Unknown),
        (Some(("failed", Some(false))), NotDone),
        (Some(("succeeded", None)), Done),
        (None, Unknown),
    ];
    for (cancelled, want) in cases {
        let runner = Runner::start();
        let stage = stage(&runner.base());
        let ticket = ticket(&stage, 1).await;
        runner.goes(Course { cancelled, ..NEVER });
        let result = stage.executor.apply(ticket.work()).await;
        assert_eq!(outcome(&result), want, "{cancelled:?}: {result:?}");
        // Asked again, it says the same of the same run.
        if want != Done {
            assert_eq!(outcome(&stage.executor.apply(ticket.work()).await), want, "{cancelled:?}");
        }
        assert_eq!(runner.keys(), ["nonce-1-0"], "{cancelled:?}");
        let held = (want == Unknown).then_some((1, ActedPhase::Begun));
        let held = if want == Done { Some((1, ActedPhase::Applied)) } else { held };
        assert_eq!(phase(&stage).await, held, "{cancelled:?}");
    }
}

#[tokio::test]
async fn a_run_that_fails_says_whether_it_changed_anything() {
    use Outcome::{NotDone, Unknown};
    for (touched, want) in [(Some(false), NotDone), (Some(true), Unknown), (None, Unknown)] {
        let runner = Runner::start();
        let stage = stage(&runner.base());
        let ticket = ticket(&stage, 1).await;
        runner.goes(Course { end: ("failed", touched), ..WELL });
        assert_eq!(outcome(&stage.executor.apply(ticket.work()).await), want, "{touched:?}");
        // A part of an effect is not taken back by guess: only after what was applied, or what is over.
        if want == NotDone {
            let version = stage.observe(ACTION, "cache").await.version;
            refused_by(&stage.executor.undo(ticket.work(), &version).await, "phase");
        }
        assert_eq!(runner.posts(), 1);
    }
}

#[tokio::test]
async fn a_failed_undo_can_be_tried_again_and_leaves_what_was_applied() {
    let runner = Runner::start();
    let stage = stage(&runner.base());
    let ticket = ticket(&stage, 1).await;
    stage.executor.apply(ticket.work()).await.unwrap();
    let left = stage.observe(ACTION, "cache").await.version;
    runner.fails(Fault::StatusBefore(503));
    not_done(&stage.executor.undo(ticket.work(), &left).await);
    assert_eq!(phase(&stage).await, Some((1, ActedPhase::Applied)));
    runner.fails(None);
    runner.goes(Course { end: ("failed", Some(true)), ..WELL });
    unknown(&stage.executor.undo(ticket.work(), &left).await);
    assert_eq!(phase(&stage).await, Some((1, ActedPhase::Begun)));
    refused_by(&stage.executor.apply(ticket.work()).await, "phase");
    assert_eq!(runner.keys(), ["nonce-1-0", "nonce-1-0-undo"]);
}

#[tokio::test]
async fn inv03_after_a_crash_the_runner_is_asked_what_became_of_the_run() {
    let runner = Runner::start();
    let stage = stage(&runner.base());
    let ticket = ticket(&stage, 1).await;
    stage.executor.apply(ticket.work()).await.unwrap();
    let left = stage.observe(ACTION, "cache").await.version;
    // What was on disk while the run was under way.
    let mut begun = state(stage.dir.path(), "cache");
    begun["acted"] = json!({"epoch": 1, "permit": "permit-1", "phase": "begun", "left": null});
    let dir = Arc::clone(&stage.dir);
    drop(stage);
    write_state(dir.path(), "cache", &begun);
    let stage = stage_over(dir, &runner.base());
    let seen = stage.observe(ACTION, "cache").await;
    assert_eq!((last(&seen), seen.acted.unwrap().left), (Some((1, ActedPhase::Applied)), Some(left)));

    // The run is not over yet, or never came to the runner: nobody knows.
    runner.table.runs.lock().unwrap()[0].course = NEVER;
    assert_eq!(phase(&stage).await, Some((1, ActedPhase::Begun)));
    let again = stage.lease_again(&ticket).await;
    refused_by(&stage.executor.undo(again.work(), &left).await, "phase");
    runner.table.runs.lock().unwrap().clear();
    assert_eq!(phase(&stage).await, Some((1, ActedPhase::Begun)));
    refused_by(&stage.executor.undo(again.work(), &left).await, "phase");

    // A memory that does not parse is no empty memory.
    write_state(stage.dir.path(), "cache", &json!({"type": "holdpoint/target-memory/v2"}));
    assert!(stage.try_observe(ACTION, "cache").await.is_err());
    not_done(&stage.executor.apply(again.work()).await);
}

#[tokio::test]
async fn a_runner_that_is_not_there_was_not_asked() {
    let runner = Runner::start();
    let stage = stage(&runner.base());
    let ticket = ticket(&stage, 1).await;
    let dir = Arc::clone(&stage.dir);
    drop(stage);
    let stage = stage_over(dir, &format!("http://{}/api", refusing()));
    let again = stage.lease_again(&ticket).await;
    not_done(&stage.executor.apply(again.work()).await);
    assert!(stage.try_observe(ACTION, "cache").await.is_err());
    // Neither is one whose token cannot be read.
    let dir = Arc::clone(&stage.dir);
    drop(stage);
    let stage = stage_over(dir, &runner.base());
    fs::write(stage.path("token"), "two\nlines").unwrap();
    let again = stage.lease_again(&ticket).await;
    let why = not_done(&stage.executor.apply(again.work()).await);
    assert!(why.contains("token file") && !why.contains("lines\""), "{why}");
    assert_eq!(runner.posts(), 0);
}

#[tokio::test]
async fn what_nobody_here_can_do_is_refused() {
    let runner = Runner::start();
    let stage = stage(&runner.base());
    let version = stage.observe(ACTION, "cache").await.version;
    let ghost = stage.ticket_for(ACTION, "ghost", &params(), 1, version).await;
    refused_by(&stage.executor.apply(ghost.work()).await, "job");
    // The same job at the runner under an action with another floor.
    let other = stage.ticket_for(ACTION, "purge", &params(), 2, version).await;
    refused_by(&stage.executor.apply(other.work()).await, "operation");
    // Nothing takes this one back, and the catalogue says that something does.
    let one_way = stage.ticket(ACTION, "one-way", &params(), 3).await;
    assert!(!stage.observe(ACTION, "one-way").await.undo_computed);
    refused_by(&stage.executor.rehearse(one_way.work()).await, "undo");
    stage.executor.apply(one_way.work()).await.unwrap();
    let left = stage.observe(ACTION, "one-way").await.version;
    refused_by(&stage.executor.undo(one_way.work(), &left).await, "undo");
    assert_eq!(runner.posts(), 1);
}

#[tokio::test]
async fn inv08_the_lease_is_checked_at_the_use() {
    let runner = Runner::start();
    let stage = stage(&runner.base());
    let ticket = ticket(&stage, 1).await;
    let version = stage.observe(ACTION, "cache").await.version;
    stage.revoke(&ticket).await;
    refused_by(&stage.executor.rehearse(ticket.work()).await, "lease");
    refused_by(&stage.executor.apply(ticket.work()).await, "lease");
    refused_by(&stage.executor.undo(ticket.work(), &version).await, "lease");
    assert_eq!((runner.posts(), phase(&stage).await), (0, None));
}

#[tokio::test]
async fn inv01_nothing_is_started_when_the_memory_cannot_be_written() {
    let runner = Runner::start();
    let stage = stage(&runner.base());
    let ticket = ticket(&stage, 1).await;
    // Writing the temporary file fails for any user, root included: a directory is in its place.
    let blocker = stage.path("state/.cache.json.tmp");
    fs::create_dir(&blocker).unwrap();
    not_done(&stage.executor.apply(ticket.work()).await);
    assert_eq!(runner.posts(), 0);
    fs::remove_dir(&blocker).unwrap();
    stage.executor.apply(ticket.work()).await.unwrap();
}

#[tokio::test]
async fn a_caller_that_gives_up_leaves_no_run_unwatched() {
    let runner = Runner::start();
    let stage = Arc::new(stage(&runner.base()));
    let ticket = ticket(&stage, 1).await;
    let (shared, work) = (Arc::clone(&stage), ticket.clone());
    let waiting = tokio::spawn(async move { shared.executor.apply(work.work()).await });
    while runner.posts() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    waiting.abort();
    let dir = stage.dir.path().to_owned();
    tokio::task::spawn_blocking(move || {
        wait_until("the run is written down", || state(&dir, "cache")["acted"]["phase"] == "applied");
    })
    .await
    .unwrap();
}
