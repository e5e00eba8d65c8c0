//! The rows of the projections, beside [`PlanRow`](crate::port::PlanRow): what runs, changes and requests look like in a store.

use std::collections::BTreeSet;

use holdpoint_domain::{
    Id, Timestamp,
    change::ChangeTerms,
    flow::State,
    id::kind,
    limits::{Footprint, PastRun},
    proof::Proof,
    reconcile::{Account, Due, Part},
};
use serde::{Deserialize, Serialize};

/// A run: from its claim on, for ever. Budgets count them, reviews are owed for them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRow {
    /// The plan.
    pub plan: Id<kind::Plan>,
    /// When it was claimed.
    pub claimed_at: Timestamp,
    /// When it ended; none while it is open.
    pub ended_at: Option<Timestamp>,
    /// What it counts as.
    pub footprint: Footprint,
    /// The targets that it holds while it is open.
    pub targets: BTreeSet<Id<kind::Target>>,
    /// How many steps were applied.
    pub applied: u32,
    /// Where its plan is.
    pub state: State,
    /// The review that nobody has answered yet.
    pub owes: Option<Owed>,
    /// It ended badly, or a reviewer did not let the agent go on: T1 and T2 are suspended for its agent and actions.
    pub suspends: bool,
}

/// A review that is owed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owed {
    /// By when. After it T1 and T2 are suspended as well.
    pub due_at: Timestamp,
    /// The team that owes it.
    pub owner: Id<kind::Team>,
}

impl RunRow {
    /// When it ended, or was claimed where it has not.
    #[must_use]
    pub fn last_at(&self) -> Timestamp {
        self.ended_at.map_or(self.claimed_at, |ended| ended.max(self.claimed_at))
    }

    /// The run as budgets see it.
    #[must_use]
    pub fn past(&self) -> PastRun<'_> {
        PastRun {
            plan: &self.plan,
            footprint: &self.footprint,
            claimed_at: self.claimed_at,
            ended_at: self.ended_at,
            open: self.state.is_running(),
            without_effect: self.state == State::Failed,
            bad: self.suspends,
        }
    }

    /// Whether somebody must still look at it.
    #[must_use]
    pub const fn needs_a_look(&self) -> bool {
        self.owes.is_some() || self.suspends
    }

    /// Whether it suspends T1 and T2 for its agent and actions at `now`.
    #[must_use]
    pub fn suspends_at(&self, now: Timestamp) -> bool {
        self.suspends || self.owes.as_ref().is_some_and(|owed| owed.due_at <= now)
    }
}

/// Where a change of a control input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeState {
    /// It waits for administrators, until it expires.
    Open,
    /// It is in force, or was.
    Activated,
    /// An administrator rejected it.
    Rejected,
}

/// A change of a control input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeRow {
    /// What was proposed.
    pub terms: ChangeTerms,
    /// The ledger index of its proposal.
    pub first_index: u64,
    /// Where it is.
    pub state: ChangeState,
    /// Administrators who approved, in order.
    pub approvals: Vec<Id<kind::Person>>,
    /// What each of them signed with, in the same order: whoever lost their key since does not count.
    pub signatures: Vec<Proof>,
}

/// What was done outside of Holdpoint, and who said what about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountRow {
    /// What was done.
    pub account: Account,
    /// The ledger index of the report.
    pub first_index: u64,
    /// Who reported it.
    pub reported_by: Id<kind::Person>,
    /// When, by the gate's clock.
    pub reported_at: Timestamp,
    /// The look that it owes.
    pub due: Due,
    /// Another one of those who did it, who says the same.
    pub confirmed_by: Option<Id<kind::Person>>,
    /// The look that somebody else had.
    pub look: Option<Look>,
}

/// The look of somebody who was not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Look {
    /// Who looked.
    pub by: Id<kind::Person>,
    /// What they found.
    pub found: Part,
}

impl AccountRow {
    /// How far it is.
    #[must_use]
    pub fn state(&self) -> Part {
        match (&self.look, &self.confirmed_by) {
            (Some(look), _) => look.found,
            (None, Some(_)) => Part::Confirmed,
            (None, None) => Part::Reported,
        }
    }
}

/// Which runs to list: those that match any of these.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Open ones, and those that ended at this time or later: one that was in doubt for long settles for as long as any other.
    pub since: Option<Timestamp>,
    /// Those of this incident.
    pub incident: Option<Id<kind::Incident>>,
    /// Those that somebody must still look at.
    pub owing: bool,
}

impl RunFilter {
    /// Whether a run is among them.
    #[must_use]
    pub fn wants(&self, run: &RunRow) -> bool {
        self.since.is_some_and(|since| run.state.is_running() || run.last_at() >= since)
            || (self.incident.is_some() && run.footprint.incident == self.incident)
            || (self.owing && run.needs_a_look())
    }
}
