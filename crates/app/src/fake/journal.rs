//! What the world remembers for whoever checks the gate from outside: every call that reached it, and every change of a target.

use holdpoint_domain::{Digest, Id, id::kind, lease::LeaseInfo, permit::Permit};

use super::world::FakeWorld;
use crate::port::{ActedPhase, Work};

/// What a port of the world was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// To mint a lease.
    Issue(LeaseInfo),
    /// To end one.
    Revoke(Id<kind::Lease>),
    /// A dry run.
    Rehearse,
    /// A step.
    Apply,
    /// To take a step back.
    Undo,
}

/// A call, at the moment when it was made: whatever it does comes later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What for.
    pub asked: Asked,
    /// Entries with a lower index were durable then.
    pub ledger_size: u64,
    /// The permit's fencing epoch; none where no permit that the gate signed came with it.
    pub epoch: Option<u64>,
    /// The digest of the plan that came with it.
    pub plan: Option<Digest>,
    /// Which step.
    pub step: usize,
}

/// Who changed a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Somebody who is not Holdpoint.
    Somebody,
    /// An executor, under the permit of this epoch; `Begun` is a change that was left half done.
    Executor(u64, ActedPhase),
}

/// A change of a target, as the target saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// The target.
    pub target: Id<kind::Target>,
    /// Who.
    pub by: By,
    /// Its content before.
    pub before: u64,
    /// Its content after.
    pub after: u64,
    /// Entries with a lower index were durable then.
    pub ledger_size: u64,
}

/// A call that is under way, until this is dropped.
pub(super) struct UnderWay<'w>(&'w FakeWorld);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.state().under_way -= 1;
    }
}

impl FakeWorld {
    /// Calls from the n-th on.
    #[must_use]
    pub fn calls_from(&self, first: usize) -> Vec<Call> {
        self.state().calls.get(first..).unwrap_or_default().to_vec()
    }

    /// Changes of targets from the n-th on.
    #[must_use]
    pub fn moments_from(&self, first: usize) -> Vec<Moment> {
        self.state().moments.get(first..).unwrap_or_default().to_vec()
    }

    pub(super) fn called_with(&self, asked: Asked, work: &Work<'_>) {
        let epoch = Permit::open(work.jws, &self.pins.gate).ok().map(|permit| permit.grant().epoch);
        let plan = work.plan.digest().ok();
        let call = Call { asked, ledger_size: self.ledger.now(), epoch, plan, step: work.step };
        self.state().calls.push(call);
    }

    /// How many calls to the issuer's mint and the executor's writes are under way. Whoever crashes now leaves them behind: the
    /// other side may still finish them.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.state().under_way
    }

    pub(super) fn enter(&self) -> UnderWay<'_> {
        self.state().under_way += 1;
        UnderWay(self)
    }

    pub(super) fn called(&self, asked: Asked, epoch: Option<u64>) {
        let call = Call { asked, ledger_size: self.ledger.now(), epoch, plan: None, step: 0 };
        self.state().calls.push(call);
    }
}
