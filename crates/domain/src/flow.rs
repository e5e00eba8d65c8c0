//! The life of a plan: every state, every event, and an answer for every pair.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a plan is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing is recorded of it.
    New,
    /// Frozen and recorded.
    Proposed,
    /// Nobody can tell yet; the gate measures again.
    Deferred,
    /// Refused by policy or a guardrail. Final.
    Denied,
    /// Waits for people.
    Held,
    /// A person said no. Final.
    Rejected,
    /// Its time ran out before it started. Final.
    Expired,
    /// What was decided does not hold any more. Final.
    Void,
    /// Decided to run by itself.
    Allowed,
    /// A permit was granted.
    Permitted,
    /// The permit was claimed: the intent is recorded, the run is open.
    Claimed,
    /// A credential was leased.
    Leased,
    /// The dry run passed.
    Rehearsed,
    /// The effect may be happening.
    Applying,
    /// A step's effect happened, and there are more steps.
    Stepped,
    /// The last effect happened; the result is being verified.
    Applied,
    /// The undo of a step may be happening.
    Undoing,
    /// A step was undone, and there are earlier ones to undo.
    Unwound,
    /// Succeeded. Final.
    Succeeded,
    /// Failed, nothing left changed. Final.
    Failed,
    /// Undone. Final.
    Undone,
    /// The undo did not work. Final.
    UndoFailed,
    /// Nobody knows what happened. Ends only by a person.
    InDoubt,
    /// A person looked and said how it ended. Final.
    Resolved,
}

/// What can happen to a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// It was frozen and recorded.
    Propose,
    /// Decided: it may run by itself.
    Allow,
    /// Decided: it waits for people.
    Hold,
    /// Decided: no.
    Deny,
    /// Decided: nobody can tell yet.
    Defer,
    /// A person approved.
    Approve,
    /// A person rejected.
    Reject,
    /// Its time ran out.
    Expire,
    /// At the claim something was worse than what was decided.
    Void,
    /// A permit was granted.
    Permit,
    /// The permit was claimed.
    Claim,
    /// A credential was leased.
    Lease,
    /// The dry run passed.
    Rehearse,
    /// A step's effect begins.
    Apply,
    /// A step's effect was observed, and there are more steps.
    Advance,
    /// The last effect was observed.
    Observe,
    /// The result was verified.
    Succeed,
    /// It ended without an effect.
    Fail,
    /// The undo of a step begins.
    Undo,
    /// The undo of a step was observed, and there are earlier ones to undo.
    Unwind,
    /// The last undo was observed.
    FinishUndo,
    /// The undo did not work.
    FailUndo,
    /// Nobody knows what happened.
    Doubt,
    /// A person said how it ended.
    Resolve,
}

/// An event that cannot happen in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`{event}` cannot happen to a plan that is `{state}`")]
pub struct FlowError {
    /// Where the plan is.
    pub state: State,
    /// What was tried.
    pub event: Event,
}

impl State {
    /// All states.
    pub const ALL: [Self; 24] = [
        Self::New,
        Self::Proposed,
        Self::Deferred,
        Self::Denied,
        Self::Held,
        Self::Rejected,
        Self::Expired,
        Self::Void,
        Self::Allowed,
        Self::Permitted,
        Self::Claimed,
        Self::Leased,
        Self::Rehearsed,
        Self::Applying,
        Self::Stepped,
        Self::Applied,
        Self::Undoing,
        Self::Unwound,
        Self::Succeeded,
        Self::Failed,
        Self::Undone,
        Self::UndoFailed,
        Self::InDoubt,
        Self::Resolved,
    ];

    /// The word in records and messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Proposed => "proposed",
            Self::Deferred => "deferred",
            Self::Denied => "denied",
            Self::Held => "held",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Void => "void",
            Self::Allowed => "allowed",
            Self::Permitted => "permitted",
            Self::Claimed => "claimed",
            Self::Leased => "leased",
            Self::Rehearsed => "rehearsed",
            Self::Applying => "applying",
            Self::Stepped => "stepped",
            Self::Applied => "applied",
            Self::Undoing => "undoing",
            Self::Unwound => "unwound",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Undone => "undone",
            Self::UndoFailed => "undo_failed",
            Self::InDoubt => "in_doubt",
            Self::Resolved => "resolved",
        }
    }

    /// The state with this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Nothing can happen any more.
    #[must_use]
    pub fn is_final(self) -> bool {
        Event::ALL.into_iter().all(|event| next(self, event).is_err())
    }

    /// A run is open: its targets are locked. `in_doubt` keeps the locks.
    #[must_use]
    pub const fn is_running(self) -> bool {
        match self {
            Self::Claimed
            | Self::Leased
            | Self::Rehearsed
            | Self::Applying
            | Self::Stepped
            | Self::Applied
            | Self::Undoing
            | Self::Unwound
            | Self::InDoubt => true,
            Self::New
            | Self::Proposed
            | Self::Deferred
            | Self::Denied
            | Self::Held
            | Self::Rejected
            | Self::Expired
            | Self::Void
            | Self::Allowed
            | Self::Permitted
            | Self::Succeeded
            | Self::Failed
            | Self::Undone
            | Self::UndoFailed
            | Self::Resolved => false,
        }
    }
}

impl Event {
    /// All events.
    pub const ALL: [Self; 24] = [
        Self::Propose,
        Self::Allow,
        Self::Hold,
        Self::Deny,
        Self::Defer,
        Self::Approve,
        Self::Reject,
        Self::Expire,
        Self::Void,
        Self::Permit,
        Self::Claim,
        Self::Lease,
        Self::Rehearse,
        Self::Apply,
        Self::Advance,
        Self::Observe,
        Self::Succeed,
        Self::Fail,
        Self::Undo,
        Self::Unwind,
        Self::FinishUndo,
        Self::FailUndo,
        Self::Doubt,
        Self::Resolve,
    ];

    /// The word in messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Propose => "propose",
            Self::Allow => "allow",
            Self::Hold => "hold",
            Self::Deny => "deny",
            Self::Defer => "defer",
            Self::Approve => "approve",
            Self::Reject => "reject",
            Self::Expire => "expire",
            Self::Void => "void",
            Self::Permit => "permit",
            Self::Claim => "claim",
            Self::Lease => "lease",
            Self::Rehearse => "rehearse",
            Self::Apply => "apply",
            Self::Advance => "advance",
            Self::Observe => "observe",
            Self::Succeed => "succeed",
            Self::Fail => "fail",
            Self::Undo => "undo",
            Self::Unwind => "unwind",
            Self::FinishUndo => "finish_undo",
            Self::FailUndo => "fail_undo",
            Self::Doubt => "doubt",
            Self::Resolve => "resolve",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The state after an event, or the refusal. The store asks this inside the transaction that appends the record.
pub const fn next(state: State, event: Event) -> Result<State, FlowError> {
    use Event as E;
    use State as S;
    let after = match (event, state) {
        (E::Propose, S::New) => S::Proposed,

        (E::Allow, S::Proposed | S::Deferred) => S::Allowed,
        (E::Hold, S::Proposed | S::Deferred) => S::Held,
        (E::Deny, S::Proposed | S::Deferred) => S::Denied,
        (E::Defer, S::Proposed | S::Deferred) => S::Deferred,

        (E::Approve, S::Held) => S::Held,
        (E::Reject, S::Held) => S::Rejected,
        (E::Expire, S::Deferred | S::Held | S::Allowed | S::Permitted) => S::Expired,
        (E::Void, S::Deferred | S::Held | S::Permitted) => S::Void,
        (E::Permit, S::Allowed | S::Held) => S::Permitted,

        (E::Claim, S::Permitted) => S::Claimed,
        (E::Lease, S::Claimed) => S::Leased,
        (E::Rehearse, S::Leased) => S::Rehearsed,
        (E::Apply, S::Rehearsed | S::Stepped) => S::Applying,
        (E::Advance, S::Applying) => S::Stepped,
        (E::Observe, S::Applying) => S::Applied,
        (E::Succeed, S::Applied) => S::Succeeded,
        // Nothing was touched yet, or it was observed that nothing changed. The store refuses it once a step was applied.
        (E::Fail, S::Claimed | S::Leased | S::Rehearsed | S::Applying) => S::Failed,
        // From `applying`: the step at hand had no effect, and those before it are undone.
        (E::Undo, S::Applying | S::Stepped | S::Applied | S::Unwound) => S::Undoing,
        (E::Unwind, S::Undoing) => S::Unwound,
        (E::FinishUndo, S::Undoing) => S::Undone,
        (E::FailUndo, S::Undoing | S::Unwound) => S::UndoFailed,
        (E::Doubt, S::Applying | S::Stepped | S::Applied | S::Undoing | S::Unwound) => S::InDoubt,
        (E::Resolve, S::InDoubt) => S::Resolved,

        (
            E::Propose
            | E::Allow
            | E::Hold
            | E::Deny
            | E::Defer
            | E::Approve
            | E::Reject
            | E::Expire
            | E::Void
            | E::Permit
            | E::Claim
            | E::Lease
            | E::Rehearse
            | E::Apply
            | E::Advance
            | E::Observe
            | E::Succeed
            | E::Fail
            | E::Undo
            | E::Unwind
            | E::FinishUndo
            | E::FailUndo
            | E::Doubt
            | E::Resolve,
            _,
        ) => return Err(FlowError { state, event }),
    };
    Ok(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole table, as a reviewer reads it: `state: event → state, …`. Every pair that is not in it is refused.
    const TABLE: &str = include_str!("../testdata/flow.txt");

    #[test]
    fn every_state_and_event_has_an_answer() {
        let mut table = String::new();
        for state in State::ALL {
            let row: Vec<_> = Event::ALL
                .into_iter()
                .filter_map(|event| next(state, event).ok().map(|after| format!("{event} → {after}")))
                .collect();
            let row = if row.is_empty() { "(final)".to_owned() } else { row.join(", ") };
            table.push_str(&format!("{state}: {row}\n"));
        }
        assert_eq!(table, TABLE, "crates/domain/testdata/flow.txt is the reviewed table");
    }

    #[test]
    fn words_are_unique_and_parse() {
        for state in State::ALL {
            assert_eq!(State::parse(state.as_str()), Some(state));
            assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{state}\""));
        }
    }

    #[test]
    fn inv02_nothing_applies_after_the_last_step_or_an_undo() {
        // From `applied` and from `undoing` on, no sequence of events leads back to a state from which `apply` is legal. That a
        // step comes once, and in its order, is the store's guard on its number.
        let mut reach = vec![State::Applied, State::Undoing];
        let mut at = 0;
        while let Some(state) = reach.get(at).copied() {
            at += 1;
            for after in Event::ALL.into_iter().filter_map(|event| next(state, event).ok()) {
                assert!(next(after, Event::Apply).is_err(), "{after} can apply again");
                if !reach.contains(&after) {
                    reach.push(after);
                }
            }
        }
    }

    #[test]
    fn inv03_doubt_ends_only_by_a_person() {
        let ways: Vec<_> =
            Event::ALL.into_iter().filter(|event| next(State::InDoubt, *event).is_ok()).collect();
        assert_eq!(ways, [Event::Resolve]);
        assert!(State::InDoubt.is_running());
    }
}
