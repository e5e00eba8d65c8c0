//! Waiting for a plan, and what its end means for the exit code.

use std::time::Duration;

use clap::Args;
use holdpoint_domain::{Id, flow::State, id::kind};

use super::{
    CliError,
    client::Client,
    output::{Print, read},
    watch,
};
use crate::http::wire::PlanDetail;

/// The pause between two looks.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The options of commands that can wait for a plan.
#[derive(Debug, Clone, Args)]
pub(crate) struct WaitOptions {
    /// Wait until the plan has ended, or, without --timeout, waits for people
    #[arg(long)]
    wait: bool,
    /// As --wait, and show each record of the plan as it comes
    #[arg(long)]
    watch: bool,
    /// As --wait, for people too, but no longer than this, for instance 60s or 5m
    #[arg(long, value_name = "SPAN", value_parser = span)]
    timeout: Option<Duration>,
}

impl WaitOptions {
    /// Whether to wait at all.
    pub(crate) const fn waits(&self) -> bool {
        self.wait || self.watch || self.timeout.is_some()
    }

    /// Whether to show records as they come.
    pub(crate) const fn watches(&self) -> bool {
        self.watch
    }

    /// How long to wait at most.
    pub(crate) const fn timeout(&self) -> Option<Duration> {
        self.timeout
    }
}

/// A span of time as people write it.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    let expected = || "expected a span such as `60s`, `5m` or `1h 30m`".to_owned();
    let span: jiff::SignedDuration = text.parse().map_err(|_| expected())?;
    Duration::try_from(span).map_err(|_| expected())
}

/// Looks at a plan until it has ended, there is nothing to wait for, or the time is up; returns what was seen last.
pub(crate) async fn settled(
    client: &Client,
    id: &Id<kind::Plan>,
    options: &WaitOptions,
    print: &Print,
) -> Result<PlanDetail, CliError> {
    let end = tokio::time::sleep(options.timeout.unwrap_or(Duration::MAX));
    tokio::pin!(end);
    let mut seen = None;
    loop {
        let plan: PlanDetail = read(&client.get(&format!("/v1/plans/{id}")).await?)?;
        if options.watch {
            for moment in plan.timeline.iter().filter(|moment| seen.is_none_or(|seen| moment.index > seen)) {
                watch::moment(moment, print)?;
            }
            seen = plan.timeline.last().map(|moment| moment.index);
        }
        if plan.state.is_final() || (options.timeout.is_none() && stands_still(plan.state)) {
            return Ok(plan);
        }
        tokio::select! {
            () = &mut end => return Ok(plan),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Whether nothing happens to a plan by itself before somebody acts, or before the world changes.
pub(crate) const fn stands_still(state: State) -> bool {
    matches!(state, State::Held | State::InDoubt | State::Deferred)
}

/// What the state of a plan that was waited for means to whoever waited.
pub(crate) fn outcome(id: &Id<kind::Plan>, state: State) -> Result<(), CliError> {
    let said = |what: &str| format!("plan {id} {what}");
    match state {
        State::Succeeded | State::Resolved => Ok(()),
        State::Denied => Err(CliError::Denied(said("was denied: see `holdpoint explain`"))),
        State::Rejected => Err(CliError::Denied(said("was rejected by a person"))),
        State::Void => Err(CliError::Denied(said("is void: what was decided did not hold any more"))),
        State::Expired => Err(CliError::Expired(said("expired: its time ran out before it started"))),
        State::Undone => Err(CliError::Undone(said("did not help, and was undone"))),
        State::UndoFailed => Err(CliError::UndoFailed(said("did not help, and its undo failed"))),
        State::Failed => Err(CliError::Failed(said("failed, and nothing is left changed"))),
        State::InDoubt => Err(CliError::Failed(said("is in doubt: a person must look at the target"))),
        State::Held => Err(CliError::Pending(said("waits for people"))),
        State::Deferred => Err(CliError::Pending(said("is measured again by the gate"))),
        State::New
        | State::Proposed
        | State::Allowed
        | State::Permitted
        | State::Claimed
        | State::Leased
        | State::Rehearsed
        | State::Applying
        | State::Stepped
        | State::Applied
        | State::Undoing
        | State::Unwound => Err(CliError::Pending(said(&format!("is still `{state}`")))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_what_people_write() {
        for (text, secs) in [("60s", 60), ("5m", 300), ("1h 30m", 5_400), ("0s", 0)] {
            assert_eq!(span(text), Ok(Duration::from_secs(secs)), "{text}");
        }
        for bad in ["", "60", "-5s", "soon", "1 year"] {
            assert!(span(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_end_has_its_code() {
        let plan = Id::parse("plan-1").unwrap();
        let code = |state| outcome(&plan, state).err().map_or(0, |err| err.code());
        let cases = [
            (State::Succeeded, 0),
            (State::Resolved, 0),
            (State::Failed, 1),
            (State::InDoubt, 1),
            (State::Denied, 3),
            (State::Rejected, 3),
            (State::Void, 3),
            (State::Held, 4),
            (State::Deferred, 4),
            (State::Applying, 4),
            (State::Expired, 5),
            (State::Undone, 6),
            (State::UndoFailed, 7),
        ];
        for (state, wanted) in cases {
            assert_eq!(code(state), wanted, "{state}");
        }
    }
}
