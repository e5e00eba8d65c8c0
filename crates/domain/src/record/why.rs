//! The words of records: what was asked for, why a run failed, why nobody knows how it ended.

use serde::{Deserialize, Serialize};

/// Requests that change something, for [`Body::Refused`](super::Body::Refused).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// To propose a plan.
    Propose,
    /// To approve or reject.
    Decide,
    /// To narrow a plan that waits for people.
    Narrow,
    /// To act beyond policy.
    BreakGlass,
    /// To claim a permit.
    Claim,
    /// To propose a change of a control input.
    Change,
    /// To decide on a change.
    DecideChange,
    /// To answer a review.
    Review,
    /// To resolve a run in doubt.
    Resolve,
    /// To record what was done outside.
    Reconcile,
    /// To halt.
    Halt,
    /// To let it go on after a halt.
    Resume,
    /// To have an agent act for somebody.
    Delegate,
    /// To invite somebody to register a passkey.
    Invite,
    /// To register a passkey.
    Enrol,
    /// To have an action evaluated without a plan.
    Evaluate,
    /// To end a lease.
    Revoke,
}

/// Why a run, or its undo, failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailWhy {
    /// The executor refused the permit.
    Refused,
    /// No credential could be leased.
    NoLease,
    /// The dry run failed.
    Rehearsal,
    /// The target was not in the expected version.
    Version,
    /// The executor tried, and the observer saw that nothing changed.
    NoEffect,
    /// The process was interrupted before the effect began.
    Interrupted,
    /// The result did not verify within its time.
    NotVerified,
    /// A condition that held before does not hold any more.
    Regressed,
    /// Somebody halted everything.
    Halted,
    /// Between two steps a brake, a version or the trigger had changed.
    Braked,
    /// Nothing can undo it.
    NoUndo,
}

/// Why nobody knows what happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DoubtWhy {
    /// The target is neither as it was nor as our effect leaves it.
    OtherVersion,
    /// Somebody changed the target after our effect, so the undo would overwrite their work.
    ChangedSince,
    /// The target cannot be observed.
    Unobservable,
    /// The executor did not say how it ended, and the effect may still come.
    MayStillHappen,
    /// Somebody halted everything, undos included.
    HaltedHard,
}
