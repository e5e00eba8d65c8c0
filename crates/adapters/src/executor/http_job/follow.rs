//! From a start to its end: what came of a run, and what is proven about it when something broke on the way.

use std::time::Duration;

use holdpoint_app::port::ExecuteError;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::runner::{Failed, Run, RunState, Runner};

/// How long we wait before we ask a second time; each further wait is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Longest wait between two questions: a run's end is seen within this.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How often a run is looked up by its key when the lookup fails.
const FIND_TRIES: usize = 3;

/// What is started.
pub(super) struct Start<'a> {
    pub(super) job: &'a str,
    pub(super) key: &'a str,
    pub(super) params: &'a Value,
    /// An earlier attempt may have reached the runner: that this one did not proves nothing about it.
    pub(super) again: bool,
}

/// Starts a run and waits for its end. `Ok` is a run that succeeded; `NotDone` is proven; all else is unknown.
pub(super) async fn to_the_end(runner: Runner<'_>, start: &Start<'_>) -> Result<(), ExecuteError> {
    let run = match runner.start(start.job, start.key, start.params).await {
        Ok(run) => run,
        Err(failed) => settle(runner, start, failed).await?,
    };
    watch(runner, run).await
}

/// The start failed. What the runner knows by the key decides.
async fn settle(runner: Runner<'_>, start: &Start<'_>, failed: Failed) -> Result<Run, ExecuteError> {
    let proves_nothing = match &failed {
        Failed::NotSent(_) if !start.again => return Err(ExecuteError::NotDone(failed.to_string())),
        // The request may still lie in front of the runner, and be taken after it was asked.
        Failed::Silent | Failed::NotSent(_) => true,
        Failed::Broken(_) | Failed::Answer(_) => start.again,
    };
    match find(runner, start.key).await {
        Ok(Some(run)) => Ok(run),
        Ok(None) if !proves_nothing => {
            Err(ExecuteError::NotDone(format!("{failed}, and it knows of no run with our key")))
        }
        Ok(None) => Err(ExecuteError::Unknown(format!("{failed}; no run with our key has appeared yet"))),
        Err(err) => Err(ExecuteError::Unknown(format!("{failed}; when asked for the run by its key: {err}"))),
    }
}

async fn find(runner: Runner<'_>, key: &str) -> Result<Option<Run>, Failed> {
    let mut pause = FIRST_PAUSE;
    let mut found = runner.find(key).await;
    for _ in 1..FIND_TRIES {
        if found.is_ok() {
            break;
        }
        sleep(pause).await;
        pause = longer(pause);
        found = runner.find(key).await;
    }
    found
}

/// Watches a run until its end, or to the limit; then cancels it and asks what it came to.
async fn watch(runner: Runner<'_>, run: Run) -> Result<(), ExecuteError> {
    let limits = runner.job.limits();
    let run = match until_over(runner, run, Duration::from_millis(limits.run.ms())).await {
        Ok(over) => return verdict(&over),
        Err(run) => run,
    };
    // If we stop here, the run goes on: the page says `begun`, and the observer finds the run by its key.
    let cancelled = runner.cancel(&run.id).await;
    // What the answer to the cancellation says does not matter: the run may have ended before it arrived.
    match until_over(runner, run, Duration::from_millis(limits.request.ms())).await {
        Ok(over) => verdict(&over),
        Err(_) => Err(ExecuteError::Unknown(match cancelled {
            Ok(()) => format!("the run took more than {}, was cancelled, and goes on", limits.run),
            Err(err) => format!("the run took more than {} and was not cancelled: {err}", limits.run),
        })),
    }
}

/// Asks until the run is over; gives it back as it was when the limit comes first. A question that fails is asked again.
async fn until_over(runner: Runner<'_>, mut run: Run, limit: Duration) -> Result<Run, Run> {
    let began = Instant::now();
    let mut pause = FIRST_PAUSE;
    while !is_over(run.state) {
        let left = limit.saturating_sub(began.elapsed());
        if left.is_zero() {
            return Err(run);
        }
        sleep(pause.min(left)).await;
        pause = longer(pause);
        match runner.run(&run.id).await {
            Ok(seen) => run = seen,
            Err(err) => tracing::debug!(job = runner.job.name(), "a run was not seen: {err}"),
        }
    }
    Ok(run)
}

fn longer(pause: Duration) -> Duration {
    pause.saturating_mul(2).min(LONGEST_PAUSE)
}

/// Whether a run is at its end.
pub(super) const fn is_over(state: RunState) -> bool {
    match state {
        RunState::Queued | RunState::Running => false,
        RunState::Succeeded | RunState::Failed | RunState::Cancelled => true,
    }
}

fn verdict(over: &Run) -> Result<(), ExecuteError> {
    let how = match over.state {
        RunState::Succeeded => return Ok(()),
        RunState::Failed => "failed",
        RunState::Cancelled => "was cancelled",
        RunState::Queued | RunState::Running => "is not over",
    };
    match (is_over(over.state), over.touched) {
        (true, Some(false)) => {
            Err(ExecuteError::NotDone(format!("the run {how} and, by the runner's word, changed nothing")))
        }
        (true, Some(true)) => {
            Err(ExecuteError::Unknown(format!("the run {how} after it had changed something")))
        }
        (true, None) | (false, _) => {
            Err(ExecuteError::Unknown(format!("the run {how}, and the runner does not say what it changed")))
        }
    }
}
