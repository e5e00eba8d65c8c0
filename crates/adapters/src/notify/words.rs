//! The words of messages, for people. Whatever goes into a sentence is made visible first: identifiers cannot hide anything by
//! their grammar, and nothing here relies on that.

use std::fmt::Display;

use holdpoint_app::notify::{Event, Message, StepCard, Subject, Why};
use holdpoint_domain::{Timestamp, halt::Reach, plan::EMERGENCY, reconcile::Part, text::visible};
use serde::Serialize;

/// Longest title. Two chats cut their own at 150; one that we cut shows that it was.
const MAX_TITLE: usize = 140;

/// A line of facts: what, and its value.
pub(super) type Line = (&'static str, String);

/// A time as people and programs read it, in UTC.
pub(super) fn time(at: Timestamp) -> String {
    let ms = i64::try_from(at.ms()).unwrap_or(i64::MAX);
    let shown = jiff::Timestamp::from_millisecond(ms).map(|time| format!("{time:.0}"));
    shown.unwrap_or_else(|_| format!("{} ms", at.ms()))
}

/// Why, as the ledger's word.
pub(super) fn why(why: Why) -> String {
    match why {
        Why::Failed(why) => word(&why),
        Why::Doubt(why) => word(&why),
        Why::Unanswered => "unanswered".to_owned(),
        Why::NotStarted => "not_started".to_owned(),
        Why::NotTold => "not_told".to_owned(),
        Why::GlassAsked => "glass_asked".to_owned(),
        Why::GlassRuns => "glass_runs".to_owned(),
    }
}

/// The word that stands for a value of a closed list.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(_) | Err(_) => String::new(),
    }
}

fn shown(text: impl Display) -> String {
    visible(&text.to_string())
}

/// One line that says what happened. Never more than 140 characters.
pub(super) fn title(message: &Message) -> String {
    let again =
        message.after_minutes.map_or_else(String::new, |minutes| format!("Unanswered for {minutes} min: "));
    let full = format!("{again}{}", what(message));
    if full.chars().count() <= MAX_TITLE {
        return full;
    }
    let cut: String = full.chars().take(MAX_TITLE.saturating_sub(1)).collect();
    format!("{cut}…")
}

fn what(message: &Message) -> String {
    let by = message.about.by.as_ref().map_or_else(|| "the gate".to_owned(), shown);
    let verb = match message.event {
        Event::Held => "Approval needed",
        Event::Approved => "Approved",
        Event::Rejected => "Rejected",
        Event::Expired => "Expired",
        Event::Voided => "Approvals void",
        Event::Denied => "Denied",
        Event::Succeeded => "Succeeded",
        Event::Failed => "Failed, nothing left changed",
        Event::Undone => "Undone",
        Event::UndoFailed => "UNDO FAILED",
        Event::InDoubt => "IN DOUBT",
        Event::Resolved => "Resolved",
        Event::ReviewOwed => "Review due",
        Event::ReviewOverdue => "Review overdue",
        Event::ChangeProposed => "Change to approve",
        Event::ChangeRejected => "Change rejected",
        Event::Changed => "Changed",
        Event::InputRefused => "Not in force",
        Event::InputRestored => "In force again",
        Event::Halted => "HALTED",
        Event::Resumed => "Resumed",
        Event::BreakGlass if message.about.why == Some(Why::GlassRuns) => "BREAK-GLASS runs",
        Event::BreakGlass => "BREAK-GLASS asked for",
        Event::Reconciled => "Done outside of Holdpoint",
        Event::Test => "Test of a channel",
    };
    match &message.about.subject {
        Subject::Plan { steps, .. } => {
            let (first, more) = match steps.as_slice() {
                [] => (String::new(), 0),
                [first, rest @ ..] => (step(first), rest.len()),
            };
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            format!("{verb}: {first}{more}")
        }
        Subject::Change { control, .. } => format!("{verb}: {} by {by}", shown(control)),
        Subject::Account { action, target, part, .. } => {
            let action = action.as_ref().map_or_else(|| "something".to_owned(), shown);
            let part = if *part == Part::Disputed { "DISPUTED" } else { part.as_str() };
            format!("{verb}, {part}: {action} on {}", shown(target))
        }
        Subject::Input { control } => format!("{verb}: the {} on disk", shown(control)),
        Subject::Gate { halt: Some(Reach::Hard) } => format!("{verb}: nothing starts, and no undo goes on"),
        Subject::Gate { halt: Some(Reach::Soft) } => format!("{verb}: nothing starts"),
        Subject::Gate { halt: None } if message.event == Event::Test => {
            format!("{verb}: nothing happened, nothing is asked")
        }
        Subject::Gate { halt: None } => format!("{verb}: nothing is halted any more"),
    }
}

fn step(step: &StepCard) -> String {
    let environment = step.environment.as_ref().map_or_else(|| "unknown".to_owned(), shown);
    format!("{} on {} ({environment})", shown(&step.action), shown(&step.target))
}

/// The facts, one a line, as they are when the message is sent.
pub(super) fn lines(message: &Message, now: Timestamp) -> Vec<Line> {
    let (about, mut lines) = (&message.about, Vec::new());
    match &about.subject {
        Subject::Plan { plan, agent, tier, approvals, steps, rules, .. } => {
            for card in steps {
                let owner = card
                    .owner
                    .as_ref()
                    .map_or_else(String::new, |owner| format!(", owned by {}", shown(owner)));
                lines.push(("Step", format!("{}{owner}", step(card))));
            }
            if let Some(tier) = tier {
                lines.push(("Tier", format!("{tier}: {}", tier.meaning())));
            }
            if message.event == Event::Held {
                let people = if *approvals == 1 { "person" } else { "people" };
                lines.push(("Needs", format!("{approvals} {people} to approve")));
            }
            if !rules.is_empty() && matches!(message.event, Event::Held | Event::Denied) {
                let rules: Vec<_> = rules.iter().map(shown).collect();
                lines.push(("Asked for by", rules.join(", ")));
            }
            // Whoever asked stands under `By`.
            if agent.as_str() != EMERGENCY {
                lines.push(("Proposed by", format!("agent {}", shown(agent))));
            }
            lines.push(("Plan", shown(plan)));
        }
        Subject::Change { change, control, approvals } => {
            lines.push(("Control input", shown(control)));
            if let Some(needed) = approvals {
                lines.push(("Needs", format!("{needed} to approve, none of them the author")));
            }
            lines.push(("Change", shown(change)));
        }
        Subject::Account { account, people, part, .. } => {
            let people: Vec<_> = people.iter().map(shown).collect();
            lines.push(("Done by", people.join(", ")));
            lines.push(("State", said(*part).to_owned()));
            lines.push(("Account", account.to_string()));
        }
        Subject::Input { control } => {
            lines.push(("Control input", shown(control)));
            if message.event == Event::InputRefused {
                lines.push((
                    "Meanwhile",
                    "what was activated stays in force; T1 and T2 are suspended".to_owned(),
                ));
            }
        }
        Subject::Gate { .. } => {}
    }
    if let Some(by) = &about.by {
        lines.push(("By", shown(by)));
    }
    if let Some(reason) = about.why {
        lines.push(("Why", sentence(reason)));
    }
    if let Some(end) = about.ends_at_ms {
        lines.push((
            if message.event == Event::ReviewOverdue { "Was due" } else { "Until" },
            until(message.event, end, now),
        ));
    }
    lines.push(("When", time(message.at_ms)));
    if !message.to.is_empty() {
        let people: Vec<_> = message.to.iter().map(shown).collect();
        lines.push(("For", people.join(", ")));
    }
    lines
}

const fn said(part: Part) -> &'static str {
    match part {
        Part::Reported => "one of them says so; another one must confirm it, and somebody else look at it",
        Part::Confirmed => "two of them say so; somebody else must look at it",
        Part::Reviewed => "somebody else looked, and found it as it was told",
        Part::Disputed => "somebody else looked, and found it otherwise",
    }
}

fn sentence(reason: Why) -> String {
    match reason {
        Why::Failed(_) | Why::Doubt(_) => why(reason).replace('_', " "),
        Why::Unanswered => "nobody answered in time, which denies".to_owned(),
        Why::NotStarted => "it was not started in time".to_owned(),
        Why::NotTold => "whether its trigger holds could not be told in time".to_owned(),
        Why::GlassAsked => "somebody asks for it beyond policy; two people must release it".to_owned(),
        Why::GlassRuns => "two people released it beyond policy".to_owned(),
    }
}

/// The end, and what is left until then. What stands here moves nothing: the end is the one in the ledger.
fn until(event: Event, end: Timestamp, now: Timestamp) -> String {
    let left = end.since(now);
    let left = match (left.ms(), event) {
        (0, Event::Held) => "over: denied".to_owned(),
        (0, _) => "over".to_owned(),
        (_, Event::Held) => format!("{left} left, then it is denied"),
        (_, _) => format!("{left} left"),
    };
    format!("{} ({left})", time(end))
}
