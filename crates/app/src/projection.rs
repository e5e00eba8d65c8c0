//! What a record does to the projections. Every store applies these, inside the transaction that appends the record, and
//! again when it folds the log at start-up; so a projection never says anything that the records do not.

use holdpoint_domain::{
    Id, Tier, Timestamp,
    facts::Inputs,
    flow::Event,
    id::kind,
    lease::LeaseInfo,
    record::{Body, Record},
};

/// One change to the projections, with the guard that it implies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A new plan. Guard: no plan with this id.
    NewPlan {
        /// Who proposed it.
        agent: Id<kind::Agent>,
        /// The first step's action.
        action: Id<kind::Action>,
        /// The first step's target.
        target: Id<kind::Target>,
        /// When.
        at: Timestamp,
    },
    /// The plan moves. Guard: [`holdpoint_domain::flow::next`] allows it. Deadline and next measurement are cleared.
    Move(Event),
    /// The plan has a tier.
    SetTier(Tier),
    /// The plan waits under a hold until a deadline.
    SetHold {
        /// The hold.
        hold: Id<kind::Hold>,
        /// When it ends.
        until: Timestamp,
    },
    /// A person decided on a hold. Guard: not before.
    DecidedOn {
        /// The hold.
        hold: Id<kind::Hold>,
        /// The person.
        person: Id<kind::Person>,
    },
    /// The plan is measured again at a time, and given up at a later one.
    SetNext {
        /// When it is measured again.
        next_at: Timestamp,
        /// When it is given up.
        until: Timestamp,
    },
    /// A permit was granted. Guards: its epoch is above every earlier one; its nonce is new.
    GrantNonce {
        /// The nonce.
        nonce: Id<kind::Nonce>,
        /// The fencing epoch.
        epoch: u64,
    },
    /// The permit is claimed. Guards: the nonce was granted to this plan and is unused; no other run holds the target.
    UseNonce {
        /// The nonce.
        nonce: Id<kind::Nonce>,
    },
    /// The plan's run holds its target from now on.
    Lock,
    /// The plan's run holds nothing any more.
    Unlock,
    /// A lease is alive.
    LeaseBegins(LeaseInfo),
    /// A lease is proven dead.
    LeaseEnds(Id<kind::Lease>),
    /// The plan's agent and action have a bad outcome that nobody looked at.
    BadOutcome,
    /// The control inputs in force.
    SetInputs(Inputs),
    /// One control input is another now. Guard: it replaces what is in force.
    ChangeInput(holdpoint_domain::change::Change),
}

/// The changes that a record makes, in order.
#[must_use]
pub fn changes(record: &Record) -> Vec<Change> {
    let mut changes = Vec::new();
    if let Body::Proposed { plan, .. } = &record.body
        && let Some(step) = plan.steps().first()
    {
        changes.push(Change::NewPlan {
            agent: plan.requester().agent.clone(),
            action: step.action.clone(),
            target: step.target.clone(),
            at: record.at_ms,
        });
    }
    changes.extend(record.body.event().map(Change::Move));
    if let Body::Approved { statement } = &record.body {
        // The hold goes on waiting for the others, and ends when it would have.
        let terms = &statement.statement.terms;
        changes.push(Change::SetHold { hold: terms.hold.clone(), until: terms.expires_at_ms });
    }
    match &record.body {
        Body::Genesis { inputs, .. } => changes.push(Change::SetInputs(*inputs)),
        Body::Changed { change } => changes.push(Change::ChangeInput(change.clone())),
        Body::Decided { decision, .. } => changes.push(Change::SetTier(decision.tier)),
        Body::Deferred { next_at_ms, expires_at_ms } => {
            changes.push(Change::SetNext { next_at: *next_at_ms, until: *expires_at_ms });
        }
        Body::Held { terms } => {
            changes.push(Change::SetHold { hold: terms.hold.clone(), until: terms.expires_at_ms });
        }
        Body::Approved { statement } | Body::Rejected { statement } => changes.push(Change::DecidedOn {
            hold: statement.statement.terms.hold.clone(),
            person: statement.statement.approver.clone(),
        }),
        Body::Permitted { nonce, epoch, .. } => {
            changes.push(Change::GrantNonce { nonce: nonce.clone(), epoch: *epoch });
        }
        Body::Claimed { nonce, .. } => {
            changes.extend([Change::UseNonce { nonce: nonce.clone() }, Change::Lock]);
        }
        Body::Leased { lease } | Body::LeasedAgain { lease } => {
            changes.push(Change::LeaseBegins(lease.clone()))
        }
        Body::Revoked { lease } => changes.push(Change::LeaseEnds(lease.clone())),
        Body::Succeeded { .. } => changes.push(Change::Unlock),
        Body::Failed { .. } | Body::Undone { .. } | Body::UndoFailed { .. } => {
            changes.extend([Change::BadOutcome, Change::Unlock]);
        }
        // Nobody knows how the target is: the lock stays until a person has looked.
        Body::InDoubt { .. } => changes.push(Change::BadOutcome),
        Body::Started { .. }
        | Body::Proposed { .. }
        | Body::Measured { .. }
        | Body::Expired
        | Body::Voided { .. }
        | Body::Rehearsed { .. }
        | Body::Applying { .. }
        | Body::Applied { .. }
        | Body::Undoing { .. }
        | Body::ReviewOwed { .. }
        | Body::Refused { .. } => {}
    }
    changes
}
