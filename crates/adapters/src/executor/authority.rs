//! What an executor, and an issuer, check for themselves: without any policy engine and without believing the gate.
//!
//! A stolen gate key can sign a permit. It cannot forge the approvals in it, lower the floor of an action, reach a target
//! that is not on this executor's list, or act without a lease.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use holdpoint_app::port::{ExecuteError, Work};
use holdpoint_domain::{
    Digest, Id, Tier, Timestamp,
    action::{Action, Catalogue},
    digest::DigestError,
    guardrail::static_floors,
    id::kind,
    lease::Scope,
    narrow::{Chain, Holding, NarrowError},
    permit::{MAX_START_MS, Permit, PermitError, PermitKeys},
    plan::{Plan, PlanError, Step, check_params},
    proof::Credentials,
    quorum::Quorum,
    signature::PublicKey,
};

/// What is pinned apart from the gate.
#[derive(Debug, Clone)]
pub struct Pins {
    /// The gate's permit keys.
    pub gate: PermitKeys,
    /// The keys and passkeys that people approve with.
    pub approvers: BTreeMap<Id<kind::Person>, Credentials>,
    /// A copy of the catalogue of one's own.
    pub catalogue: Arc<Catalogue>,
}

/// How far a gate's clock may be ahead of that of an executor or an issuer.
const MAX_AHEAD_MS: u64 = 60 * 1000;

/// The policy-free check of one executor. Every executor asks it before it does anything.
#[derive(Debug, Clone)]
pub struct Authority {
    /// The executor's own name.
    pub name: Id<kind::Executor>,
    /// Its own key, which permits and what is passed on of them must be bound to.
    pub key: PublicKey,
    /// What it pinned.
    pub pins: Pins,
    /// The actions that it runs, whatever a permit says.
    pub actions: BTreeSet<Id<kind::Action>>,
    /// The targets that it touches, whatever a permit says.
    pub targets: BTreeSet<Id<kind::Target>>,
}

/// What a permit is used for: each has an end of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// To rehearse or apply: the first step that is held before `start_before`, later ones before `undo_until`.
    Apply,
    /// To undo, before `undo_until`.
    Undo,
}

/// A step whose permit, plan, approvals, lease and scope were checked. Nobody can make one but [`Authority::check`].
/// Time goes on: [`Warrant::in_time`] is asked again right before the write.
#[derive(Debug, Clone)]
pub struct Warrant {
    // INVARIANT: every check of `Authority::check` passed for exactly this step and use.
    permit: Permit,
    held: Holding,
    step: Step,
    for_use: Use,
}

/// Why an executor or an issuer refuses. Whoever made the permit, or brought it, is at fault.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Signature, plan digest or approvals.
    #[error("the permit, its plan or its approvals do not stand")]
    Permit(#[from] PermitError),
    /// A chain of narrowed permits that does not hold.
    #[error("what was passed on of the permit does not stand")]
    Narrowed(#[source] NarrowError),
    /// A permit that is bound to another key.
    #[error("the permit is bound to another key than that of executor `{0}` here")]
    OtherKey(Id<kind::Executor>),
    /// A step that whoever passed the permit on kept.
    #[error("step {0} was not passed on with the permit")]
    NotPassedOn(usize),
    /// Start too long after the grant, or an undo that ends before the start or later than the catalogue gives the steps.
    #[error(
        "expected granted < start_before <= undo_until, a start within {MAX_START_MS} ms, and an undo no later than the \
         catalogue here gives the steps"
    )]
    Life,
    /// Granted in the future.
    #[error(
        "the permit says that it was granted {ahead_ms} ms from now: the clocks differ by at most {MAX_AHEAD_MS} ms"
    )]
    Ahead {
        /// How far ahead.
        ahead_ms: u64,
    },
    /// Not in one's own catalogue.
    #[error("action `{0}` is not in the catalogue here")]
    UnknownAction(Id<kind::Action>),
    /// Another entry than the plan was made from.
    #[error("action `{0}` has another entry in the catalogue here than in the plan")]
    OtherEntry(Id<kind::Action>),
    /// The plan contradicts the catalogue entry that it names.
    #[error("the plan's undo or trigger is not one that action `{0}` has")]
    OtherUndo(Id<kind::Action>),
    /// Parameters out of bounds.
    #[error("a parameter is not within what the catalogue here allows")]
    Params(#[from] PlanError),
    /// Tier T5.
    #[error("action `{0}` is never run by an agent")]
    Never(Id<kind::Action>),
    /// A permit for less oversight than the action needs.
    #[error("the permit has tier {tier}, below the floor {floor} of the catalogue here")]
    BelowFloor {
        /// In the permit.
        tier: Tier,
        /// By the catalogue.
        floor: Tier,
    },
    /// Another executor's permit or action.
    #[error("expected executor `{expected}`, got `{got}`")]
    OtherExecutor {
        /// This executor.
        expected: Id<kind::Executor>,
        /// In the permit or the catalogue.
        got: Id<kind::Executor>,
    },
    /// No such step.
    #[error("the plan has no step {0}")]
    NoStep(usize),
    /// Not on the list of actions.
    #[error("action `{0}` is not on this executor's list")]
    ActionNotListed(Id<kind::Action>),
    /// Not on the list of targets.
    #[error("target `{0}` is not on this executor's list")]
    TargetNotListed(Id<kind::Target>),
    /// A lease for another permit.
    #[error("the lease is for permit `{got}`, expected `{expected}`")]
    OtherLease {
        /// The permit at hand.
        expected: Id<kind::Permit>,
        /// In the lease.
        got: Id<kind::Permit>,
    },
    /// A lease that is over, or that is good for something else.
    #[error("the lease is over or does not cover action `{action}` on target `{target}`")]
    NotCovered {
        /// The action.
        action: Id<kind::Action>,
        /// The target.
        target: Id<kind::Target>,
    },
    /// Too late.
    #[error("the permit ended at {} ms, it is {} ms now", end.ms(), now.ms())]
    TooLate {
        /// When it ended for this use.
        end: Timestamp,
        /// The time now.
        now: Timestamp,
    },
    /// No canonical form.
    #[error("a catalogue entry has no digest")]
    Digest(#[from] DigestError),
}

impl Refusal {
    /// The name of the check that failed.
    #[must_use]
    pub const fn check(&self) -> &'static str {
        match self {
            Self::Permit(PermitError::OtherPlan { .. }) => "plan",
            Self::Permit(
                PermitError::Approvals { .. }
                | PermitError::Missing(_)
                | PermitError::Rejected(_)
                | PermitError::NotStrong { .. }
                | PermitError::OneAct
                | PermitError::OtherDecision
                | PermitError::Approval(_)
                | PermitError::UnknownApprover(_),
            ) => "approvals",
            Self::Narrowed(_) => "chain",
            Self::OtherKey(_) => "key",
            Self::Permit(
                PermitError::NotAllowed(_)
                | PermitError::Times
                | PermitError::Malformed
                | PermitError::Signature
                | PermitError::Retired
                | PermitError::Digest(_),
            ) => "permit",
            Self::Life | Self::Ahead { .. } | Self::TooLate { .. } => "time",
            Self::UnknownAction(_) | Self::OtherEntry(_) | Self::OtherUndo(_) | Self::Digest(_) => {
                "catalogue"
            }
            Self::Params(_) => "parameters",
            Self::Never(_) | Self::BelowFloor { .. } => "floor",
            Self::OtherExecutor { .. } => "executor",
            Self::NoStep(_) | Self::NotPassedOn(_) => "step",
            Self::ActionNotListed(_) | Self::TargetNotListed(_) => "allow-list",
            Self::OtherLease { .. } | Self::NotCovered { .. } => "lease",
        }
    }

    /// One line: the check, and what was wrong.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{}: {}", self.check(), crate::executor::chain(self))
    }
}

impl From<NarrowError> for Refusal {
    fn from(err: NarrowError) -> Self {
        match err {
            NarrowError::Permit(err) => Self::Permit(err),
            NarrowError::TooLong
            | NarrowError::Malformed(_)
            | NarrowError::OtherParent(_)
            | NarrowError::NotTheHolder(_)
            | NarrowError::Wider { .. }
            | NarrowError::Digest(_) => Self::Narrowed(err),
        }
    }
}

impl From<Refusal> for ExecuteError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal.line())
    }
}

impl Pins {
    /// Opens a permit, or what was passed on of it, with the pinned key, and checks plan, catalogue entries, floors and approvals
    /// against what is pinned here.
    pub fn open(&self, jws: &str, plan: &Plan) -> Result<Chain, Refusal> {
        let chain = Chain::open(jws, &self.gate)?;
        let permit = chain.permit();
        permit.check_plan(plan)?;
        let grant = permit.grant();
        let (granted, start, end) = (grant.granted_at_ms, grant.start_before_ms, grant.undo_until_ms);
        // A stolen key could otherwise date a permit back to when its old approvals were fresh.
        if granted >= start || start > end || start.since(granted).ms() > MAX_START_MS {
            return Err(Refusal::Life);
        }
        let (mut floor, mut longest) = (Tier::T0, start);
        let mut asked = Vec::new();
        for step in plan.steps() {
            floor = floor.max(self.floor_of(plan, step)?);
            let entry = self.entry(step)?;
            longest = entry.undoable_until(longest).map_err(|_| Refusal::Life)?;
            asked.extend(&entry.approvals);
        }
        // Later steps start until the end of the undo, so it is no longer than the catalogue here gives these steps.
        if end > longest {
            return Err(Refusal::Life);
        }
        let mut people = Quorum::union(asked).map_or(0, |asked| asked.needed());
        // What people ask for beyond policy has no other floor than two of them, with passkeys.
        if plan.requester().is_emergency() {
            (floor, people) = (Tier::T4, 0);
        }
        if grant.tier < floor {
            return Err(Refusal::BelowFloor { tier: grant.tier, floor });
        }
        // Who is in which team is not pinned here: that the right ones approved is the gate's word, that so many did is not.
        permit.check_consents(plan, floor, people, &self.approvers)?;
        Ok(chain)
    }

    /// Refuses a permit that says that it was granted in the future: its bounds would be counted from there.
    pub(crate) fn check_grant(permit: &Permit, now: Timestamp) -> Result<(), Refusal> {
        let ahead = permit.grant().granted_at_ms.since(now).ms();
        if ahead > MAX_AHEAD_MS { Err(Refusal::Ahead { ahead_ms: ahead }) } else { Ok(()) }
    }

    /// The entry of a step's action, if the plan was made from the same one.
    fn entry(&self, step: &Step) -> Result<&Action, Refusal> {
        let action =
            self.catalogue.action(&step.action).ok_or_else(|| Refusal::UnknownAction(step.action.clone()))?;
        let digest: Digest = action.digest()?;
        if digest == step.entry { Ok(action) } else { Err(Refusal::OtherEntry(step.action.clone())) }
    }

    /// The lowest tier that a step may run at, by the catalogue here and its guardrails.
    fn floor_of(&self, plan: &Plan, step: &Step) -> Result<Tier, Refusal> {
        let action = self.entry(step)?;
        if action.undo != step.undo || !action.triggers.contains(plan.trigger()) {
            return Err(Refusal::OtherUndo(step.action.clone()));
        }
        check_params(action, &step.params)?;
        if action.tier >= Tier::T5 && !plan.requester().is_emergency() {
            return Err(Refusal::Never(step.action.clone()));
        }
        Ok(static_floors(action).into_iter().fold(action.tier, |floor, (_, tier)| floor.max(tier)))
    }
}

impl Authority {
    /// Checks everything about a piece of work that can be checked before the target is looked at.
    /// `now` is by the executor's own clock.
    pub fn check(&self, work: &Work<'_>, for_use: Use, now: Timestamp) -> Result<Warrant, Refusal> {
        let chain = self.pins.open(work.jws, work.plan)?;
        let permit = chain.permit();
        Pins::check_grant(permit, now)?;
        let grant = permit.grant();
        let Some(held) = chain.holding(&self.name) else {
            let got = grant.executors.keys().next().cloned().unwrap_or_else(|| self.name.clone());
            return Err(Refusal::OtherExecutor { expected: self.name.clone(), got });
        };
        if held.key != self.key.thumbprint() {
            return Err(Refusal::OtherKey(self.name.clone()));
        }
        let step = work.plan.steps().get(work.step).ok_or(Refusal::NoStep(work.step))?;
        if !u32::try_from(work.step).is_ok_and(|number| held.steps.contains(&number)) {
            return Err(Refusal::NotPassedOn(work.step));
        }
        self.is_ours(&self.pins.entry(step)?.executor)?;
        if !self.actions.contains(&step.action) {
            return Err(Refusal::ActionNotListed(step.action.clone()));
        }
        if !self.targets.contains(&step.target) {
            return Err(Refusal::TargetNotListed(step.target.clone()));
        }
        let lease = &work.lease.info;
        if lease.permit != grant.id {
            return Err(Refusal::OtherLease { expected: grant.id.clone(), got: lease.permit.clone() });
        }
        let scope = Scope { action: step.action.clone(), target: step.target.clone() };
        if !lease.covers(&scope, now) {
            return Err(Refusal::NotCovered { action: scope.action, target: scope.target });
        }
        // The run must start in its window; a later step comes when the ones before it have settled.
        let first = held.steps.first().and_then(|first| usize::try_from(*first).ok()).unwrap_or(0);
        let for_use = if for_use == Use::Apply && work.step > first { Use::Undo } else { for_use };
        let warrant = Warrant { step: step.clone(), permit: permit.clone(), held, for_use };
        warrant.in_time(now)?;
        Ok(warrant)
    }

    fn is_ours(&self, executor: &Id<kind::Executor>) -> Result<(), Refusal> {
        if *executor == self.name {
            return Ok(());
        }
        Err(Refusal::OtherExecutor { expected: self.name.clone(), got: executor.clone() })
    }
}

impl Warrant {
    /// Whether the permit is still good for this use. The end itself is too late.
    pub fn in_time(&self, now: Timestamp) -> Result<(), Refusal> {
        let end = match self.for_use {
            Use::Apply => self.held.start_before,
            Use::Undo => self.held.undo_until,
        };
        if now < end { Ok(()) } else { Err(Refusal::TooLate { end, now }) }
    }

    /// The permit.
    #[must_use]
    pub const fn permit(&self) -> &Permit {
        &self.permit
    }

    /// The step.
    #[must_use]
    pub const fn step(&self) -> &Step {
        &self.step
    }

    /// What the lease must be good for.
    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope { action: self.step.action.clone(), target: self.step.target.clone() }
    }
}
