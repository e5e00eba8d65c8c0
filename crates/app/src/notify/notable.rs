//! What a record means to people: a pure function of the record, and of the plan that it is about.

use holdpoint_domain::{
    Digest, Id, Timestamp,
    actor::Actor,
    approval::Choice,
    change::Control,
    decision::Answer,
    id::kind,
    plan::EMERGENCY,
    reconcile::Part,
    record::{Body, Record},
    tier::Rung,
};
use serde::{Deserialize, Serialize};

use super::{About, Event, StepCard, Subject, Why};
use crate::view::PlanView;

/// Something that waits for people until another record ends it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Concern {
    /// The hold of a plan.
    Hold(Id<kind::Plan>),
    /// A run in doubt.
    Doubt(Id<kind::Plan>),
    /// A look that is owed at a run.
    Review(Id<kind::Plan>),
    /// A look that is owed at what was done outside.
    Account(Digest),
    /// A change that waits for administrators.
    Change(Id<kind::Change>),
    /// A control input on disk that is not the one in force.
    Input(Control),
    /// Everything is halted.
    Halt,
}

impl Concern {
    /// Whether it is a look that somebody owes: it stays owed when it is overdue.
    #[must_use]
    pub const fn is_a_look(&self) -> bool {
        matches!(self, Self::Review(_) | Self::Account(_))
    }
}

/// What a record does to those who are told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// What they are told, if anything.
    pub event: Option<Event>,
    /// What waits for people from now on.
    pub opens: Option<Concern>,
    /// What does not wait any more.
    pub closes: Option<Concern>,
}

/// A record that people may want to hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notable {
    /// Its ledger index.
    pub index: u64,
    /// When, by the gate's clock.
    pub at: Timestamp,
    /// What happened.
    pub event: Event,
    /// What it is about.
    pub about: About,
    /// What waits for people since.
    pub opens: Option<Concern>,
}

impl Reading {
    const fn told(event: Event) -> Self {
        Self { event: Some(event), opens: None, closes: None }
    }

    fn opening(event: Event, concern: Option<Concern>) -> Self {
        Self { opens: concern, ..Self::told(event) }
    }

    fn closing(event: Event, concern: Option<Concern>) -> Self {
        Self { closes: concern, ..Self::told(event) }
    }

    /// Reads a record.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        let plan = |concern: fn(Id<kind::Plan>) -> Concern| record.plan.clone().map(concern);
        match &record.body {
            Body::Held { .. } => Self::opening(Event::Held, plan(Concern::Hold)),
            Body::Approved { .. } => Self::told(Event::Approved),
            Body::Rejected { .. } => Self::closing(Event::Rejected, plan(Concern::Hold)),
            Body::Expired => Self::closing(Event::Expired, plan(Concern::Hold)),
            Body::Voided { .. } | Body::Narrowed { .. } => Self::closing(Event::Voided, plan(Concern::Hold)),
            Body::Permitted { .. } => Self { closes: plan(Concern::Hold), ..Self::default() },
            Body::Decided { decision, .. } => match decision.answer {
                // An emergency opened before it was decided.
                Answer::Deny => Self::closing(Event::Denied, plan(Concern::Hold)),
                Answer::Allow | Answer::Hold | Answer::Defer => Self::default(),
            },
            Body::Succeeded { .. } => Self::told(Event::Succeeded),
            Body::Failed { .. } => Self::told(Event::Failed),
            Body::Undone { .. } => Self::told(Event::Undone),
            Body::UndoFailed { .. } => Self::opening(Event::UndoFailed, plan(Concern::Review)),
            Body::InDoubt { .. } => Self::opening(Event::InDoubt, plan(Concern::Doubt)),
            Body::Resolved { .. } => Self::closing(Event::Resolved, plan(Concern::Doubt)),
            Body::ReviewOwed { .. } => Self::opening(Event::ReviewOwed, plan(Concern::Review)),
            Body::Reviewed { .. } => Self { closes: plan(Concern::Review), ..Self::default() },
            Body::ChangeProposed { terms } => {
                Self::opening(Event::ChangeProposed, Some(Concern::Change(terms.id.clone())))
            }
            Body::ChangeDecided { statement } => match statement.statement.choice {
                Choice::Reject => {
                    let change = Concern::Change(statement.statement.terms.id.clone());
                    Self::closing(Event::ChangeRejected, Some(change))
                }
                Choice::Approve => Self::default(),
            },
            Body::Changed { change, .. } => {
                Self::closing(Event::Changed, Some(Concern::Change(change.id.clone())))
            }
            Body::InputRefused { control, .. } => {
                Self::opening(Event::InputRefused, Some(Concern::Input(*control)))
            }
            Body::InputRestored { control } => {
                Self::closing(Event::InputRestored, Some(Concern::Input(*control)))
            }
            Body::Halted { .. } => Self::opening(Event::Halted, Some(Concern::Halt)),
            Body::Resumed { .. } => Self::closing(Event::Resumed, Some(Concern::Halt)),
            Body::Reconciled { statement, .. } => {
                // Without a canonical form it would not be in the ledger.
                let account = statement.statement.account.digest().ok().map(Concern::Account);
                match statement.statement.part {
                    Part::Reported => Self::opening(Event::Reconciled, account),
                    Part::Confirmed => Self::told(Event::Reconciled),
                    Part::Reviewed | Part::Disputed => Self::closing(Event::Reconciled, account),
                }
            }
            // It waits like its hold, so that a first look tells it.
            Body::Proposed { plan: proposed, .. } if proposed.requester().is_emergency() => {
                Self::opening(Event::BreakGlass, plan(Concern::Hold))
            }
            Body::Claimed { footprint, .. } if footprint.agent.as_str() == EMERGENCY => {
                Self::told(Event::BreakGlass)
            }
            Body::Genesis { .. }
            | Body::Started { .. }
            | Body::Strangers { .. }
            | Body::Incident { .. }
            | Body::Delegated { .. }
            | Body::Invited { .. }
            | Body::Enrolling { .. }
            | Body::Proposed { .. }
            | Body::Measured { .. }
            | Body::Deferred { .. }
            | Body::Claimed { .. }
            | Body::Leased { .. }
            | Body::LeasedAgain { .. }
            | Body::RevocationAsked { .. }
            | Body::Revoked { .. }
            | Body::Rehearsed { .. }
            | Body::Baseline { .. }
            | Body::Aftermath { .. }
            | Body::Applying { .. }
            | Body::Applied { .. }
            | Body::Undoing { .. }
            | Body::Unwound { .. }
            | Body::NotUndone { .. }
            | Body::Evaluated { .. }
            | Body::Refused { .. } => Self::default(),
        }
    }
}

/// What people may be told of a record: none where the reading has no event, or where the record's plan is not at hand.
#[must_use]
pub fn notable(index: u64, record: &Record, reading: &Reading, view: Option<&PlanView>) -> Option<Notable> {
    let event = reading.event?;
    let by = match &record.actor {
        Actor::Person { person } => Some(person.clone()),
        Actor::Agent { .. } | Actor::Gate | Actor::Observer | Actor::Executor { .. } | Actor::Issuer => None,
    };
    let about = About {
        subject: subject(&record.body, view)?,
        by,
        why: why(&record.body, view),
        ends_at_ms: ends_at(&record.body),
    };
    Some(Notable { index, at: record.at_ms, event, about, opens: reading.opens.clone() })
}

fn subject(body: &Body, view: Option<&PlanView>) -> Option<Subject> {
    if let Body::ChangeProposed { terms } = body {
        let approvals = Some(terms.needed);
        return Some(Subject::Change { change: terms.id.clone(), control: terms.control, approvals });
    }
    if let Body::ChangeDecided { statement } = body {
        let terms = &statement.statement.terms;
        return Some(Subject::Change { change: terms.id.clone(), control: terms.control, approvals: None });
    }
    if let Body::Changed { change, .. } = body {
        return Some(Subject::Change { change: change.id.clone(), control: change.control, approvals: None });
    }
    if let Body::InputRefused { control, .. } | Body::InputRestored { control } = body {
        return Some(Subject::Input { control: *control });
    }
    if let Body::Reconciled { statement, .. } = body {
        let (account, part) = (&statement.statement.account, statement.statement.part);
        return Some(Subject::Account {
            account: account.digest().ok()?,
            action: account.action.clone(),
            target: account.target.clone(),
            people: account.people.iter().cloned().collect(),
            part,
        });
    }
    if let Body::Halted { halt } = body {
        return Some(Subject::Gate { halt: Some(halt.reach) });
    }
    if matches!(body, Body::Resumed { .. }) {
        return Some(Subject::Gate { halt: None });
    }
    view.map(plan)
}

/// A plan, by what the gate resolved: names of the inventory, the catalogue and the registry, and nothing that anybody wrote.
fn plan(view: &PlanView) -> Subject {
    let facts = |at: usize| {
        let (_, facts) = view.decided.as_ref()?;
        facts.steps().nth(at)?.target.as_ref()
    };
    let steps = view.plan.steps().iter().enumerate().map(|(at, step)| StepCard {
        action: step.action.clone(),
        target: step.target.clone(),
        environment: facts(at).map(|target| target.environment.clone()),
        owner: facts(at).map(|target| target.owner.clone()),
    });
    let decision = view.decided.as_ref().map(|(decision, _)| decision);
    let tier = decision.map(|decision| decision.tier);
    let rungs = tier.and_then(Rung::of).filter(|_| view.terms.is_some());
    Subject::Plan {
        plan: view.id.clone(),
        hold: view.terms.as_ref().map(|terms| terms.hold.clone()),
        agent: view.plan.requester().agent.clone(),
        tier,
        approvals: rungs.map_or(0, |rung| rung.oversight().approvals),
        steps: steps.collect(),
        rules: decision
            .map(|decision| decision.reasons.iter().map(|reason| reason.rule.clone()).collect())
            .unwrap_or_default(),
    }
}

fn why(body: &Body, view: Option<&PlanView>) -> Option<Why> {
    if let Body::Failed { why } | Body::UndoFailed { why } = body {
        return Some(Why::Failed(*why));
    }
    if let Body::InDoubt { why } = body {
        return Some(Why::Doubt(*why));
    }
    // Only those of emergencies are told at all.
    if matches!(body, Body::Proposed { .. }) {
        return Some(Why::GlassAsked);
    }
    if matches!(body, Body::Claimed { .. }) {
        return Some(Why::GlassRuns);
    }
    if matches!(body, Body::Undone { .. }) {
        let undoing = |(_, record): &(u64, Record)| {
            if let Body::Undoing { why, .. } = &record.body { Some(*why) } else { None }
        };
        return view?.records.iter().rev().find_map(undoing).map(Why::Failed);
    }
    let view = view.filter(|_| matches!(body, Body::Expired))?;
    Some(match (&view.permit, &view.terms) {
        (Some(_), _) => Why::NotStarted,
        (None, Some(_)) => Why::Unanswered,
        (None, None) => Why::NotTold,
    })
}

fn ends_at(body: &Body) -> Option<Timestamp> {
    if let Body::Held { terms } = body {
        return Some(terms.expires_at_ms);
    }
    if let Body::ChangeProposed { terms } = body {
        return Some(terms.expires_at_ms);
    }
    if let Body::ReviewOwed { due_at_ms, .. } = body {
        return Some(*due_at_ms);
    }
    if let Body::Reconciled { due: Some(due), .. } = body {
        return Some(due.due_at_ms);
    }
    None
}
