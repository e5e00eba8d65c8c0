//! What a record does to the projections. Every store applies these, inside the transaction that appends the record, and
//! again when it folds the log at start-up; so a projection never says anything that the records do not.

pub mod apply;
pub mod memory;
mod rows;

use holdpoint_domain::{
    Id, Tier, Timestamp,
    approval::Choice,
    change::ChangeTerms,
    enrol::Invitation,
    facts::Inputs,
    flow::{Event, State},
    halt::Halt,
    id::kind,
    incident::Told,
    lease::LeaseInfo,
    passkey::CredentialId,
    proof::Proof,
    reconcile::{Account, Due, Part},
    record::{Body, Record},
};

pub use rows::{AccountRow, ChangeRow, ChangeState, Look, Owed, RunFilter, RunRow};

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
    /// Decided under these control inputs. Guard: they are in force.
    UnderInputs(Inputs),
    /// The permit is claimed, and its run holds its targets from now on. Guards: the nonce was granted to this plan and is unused;
    /// no other run holds a target.
    Claim {
        /// The nonce.
        nonce: Id<kind::Nonce>,
        /// The run.
        run: Box<RunRow>,
    },
    /// A step begins. Guard: it is the next one.
    BeginStep(u32),
    /// A step was applied. Guard: it is the one at hand.
    EndStep(u32),
    /// The run ended without an effect. Guard: no step was applied.
    NothingApplied,
    /// The plan's run is over, and holds nothing any more.
    Unlock(Timestamp),
    /// A lease is alive.
    LeaseBegins(LeaseInfo),
    /// A lease is proven dead.
    LeaseEnds(Id<kind::Lease>),
    /// The run ended badly: T1 and T2 are suspended for its agent and actions until a person has looked.
    BadOutcome,
    /// Somebody owes a look at the run.
    OweReview {
        /// By when.
        due_at: Timestamp,
        /// The team.
        owner: Id<kind::Team>,
    },
    /// A person looked at the run.
    Review {
        /// The agent may go on doing this by itself.
        may_go_on: bool,
    },
    /// The control inputs in force.
    SetInputs(Inputs),
    /// A change of a control input was proposed. Guard: its id is new.
    NewInputChange(Box<ChangeTerms>),
    /// An administrator decided on it. Guards: it is open; not before, and not the author.
    DecideInputChange {
        /// The change.
        id: Id<kind::Change>,
        /// Who.
        person: Id<kind::Person>,
        /// The signature of an approval; none for a rejection.
        approval: Option<Proof>,
    },
    /// One control input is another now. Guards: an open change says so, enough administrators approved it, and it replaces what
    /// is in force.
    ChangeInput(holdpoint_domain::change::Change),
    /// A halt is in force, or none.
    SetHalt(Option<Halt>),
    /// A source told of an incident.
    Hear {
        /// What it told.
        told: Box<Told>,
        /// When.
        at: Timestamp,
    },
    /// Somebody is invited to register a passkey.
    Invite(Box<Invitation>),
    /// An invitation is redeemed. Guard: it is there, and was not redeemed before.
    Redeem(Id<kind::Act>),
    /// A person said something of what was done outside. Guards: a report is new and has its due; whoever confirms is another one of
    /// those whom it names, and the only one; whoever looks is none of them, and the first.
    Account {
        /// What was done.
        account: Box<Account>,
        /// What they said.
        part: Part,
        /// Who.
        by: Id<kind::Person>,
        /// When.
        at: Timestamp,
        /// The look that is owed.
        due: Option<Due>,
    },
    /// A passkey signed, and counted. Guard: its counter grew, or it has none.
    Asserted {
        /// The passkey.
        credential: CredentialId,
        /// Its counter.
        counter: u32,
    },
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
    if let Body::Failed { .. } = &record.body {
        changes.push(Change::NothingApplied);
    }
    changes.extend(record.body.event().map(Change::Move));
    if let (Body::Claimed { nonce, footprint, facts, .. }, Some(plan)) = (&record.body, &record.plan) {
        let targets = facts.steps().filter_map(|step| Some(step.target.as_ref()?.id.clone())).collect();
        let run = RunRow {
            plan: plan.clone(),
            claimed_at: record.at_ms,
            ended_at: None,
            footprint: footprint.as_ref().clone(),
            targets,
            applied: 0,
            state: State::Claimed,
            owes: None,
            suspends: false,
        };
        changes.push(Change::UnderInputs(facts.first().inputs));
        changes.push(Change::Claim { nonce: nonce.clone(), run: Box::new(run) });
    }
    if let Body::Approved { statement } = &record.body {
        // The hold goes on waiting for the others, and ends when it would have.
        let terms = &statement.statement.terms;
        changes.push(Change::SetHold { hold: terms.hold.clone(), until: terms.expires_at_ms });
    }
    if let Some((credential, counter)) = record.body.proof().and_then(Proof::counter) {
        changes.push(Change::Asserted { credential: credential.clone(), counter });
    }
    match &record.body {
        Body::Genesis { inputs, .. } => changes.push(Change::SetInputs(*inputs)),
        Body::ChangeProposed { terms } => changes.push(Change::NewInputChange(terms.clone())),
        Body::ChangeDecided { statement } => changes.push(Change::DecideInputChange {
            id: statement.statement.terms.id.clone(),
            person: statement.statement.approver.clone(),
            approval: (statement.statement.choice == Choice::Approve).then(|| statement.signature.clone()),
        }),
        Body::Changed { change, .. } => changes.push(Change::ChangeInput(change.clone())),
        Body::Incident { told } => changes.push(Change::Hear { told: told.clone(), at: record.at_ms }),
        Body::Invited { invitation } => changes.push(Change::Invite(Box::new(invitation.clone()))),
        Body::Enrolling { act, .. } => changes.push(Change::Redeem(act.clone())),
        Body::Reconciled { statement, due } => changes.push(Change::Account {
            account: Box::new(statement.statement.account.clone()),
            part: statement.statement.part,
            by: statement.statement.by.clone(),
            at: record.at_ms,
            due: due.clone(),
        }),
        Body::Halted { halt } => changes.push(Change::SetHalt(Some(halt.clone()))),
        Body::Resumed { .. } => changes.push(Change::SetHalt(None)),
        Body::Decided { decision, facts } => {
            changes.extend([Change::UnderInputs(facts.first().inputs), Change::SetTier(decision.tier)]);
        }
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
        Body::Applying { step, .. } => changes.push(Change::BeginStep(*step)),
        Body::Applied { step, .. } => changes.push(Change::EndStep(*step)),
        Body::Leased { lease } | Body::LeasedAgain { lease } => {
            changes.push(Change::LeaseBegins(lease.clone()))
        }
        Body::Revoked { lease } => changes.push(Change::LeaseEnds(lease.clone())),
        Body::Succeeded { .. } | Body::Resolved { .. } => changes.push(Change::Unlock(record.at_ms)),
        Body::Failed { .. } | Body::Undone { .. } | Body::UndoFailed { .. } => {
            changes.extend([Change::BadOutcome, Change::Unlock(record.at_ms)]);
        }
        // Nobody knows how the target is: the lock stays until a person has looked.
        Body::InDoubt { .. } => changes.push(Change::BadOutcome),
        // Answered under inputs that are in force, or not at all.
        Body::Evaluated { facts, .. } => changes.push(Change::UnderInputs(facts.first().inputs)),
        Body::ReviewOwed { due_at_ms, owner } => {
            changes.push(Change::OweReview { due_at: *due_at_ms, owner: owner.clone() });
        }
        Body::Reviewed { statement, .. } => {
            changes.push(Change::Review { may_go_on: statement.statement.answers.may_go_on });
        }
        Body::Started { .. }
        | Body::Proposed { .. }
        | Body::Measured { .. }
        | Body::Expired
        | Body::Narrowed { .. }
        | Body::Voided { .. }
        | Body::Rehearsed { .. }
        | Body::Baseline { .. }
        | Body::Aftermath { .. }
        | Body::Claimed { .. }
        | Body::Undoing { .. }
        | Body::Unwound { .. }
        | Body::NotUndone { .. }
        | Body::InputRefused { .. }
        | Body::InputRestored { .. }
        | Body::RevocationAsked { .. }
        | Body::Strangers { .. }
        | Body::Delegated { .. }
        | Body::Refused { .. } => {}
    }
    changes
}
