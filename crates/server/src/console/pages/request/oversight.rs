//! People: who may decide, who has, how many are needed; and how the like of it ended before.

use holdpoint_app::{
    approve,
    gate::Gate,
    look::{self, Bar},
    port::PlanRow,
    view::PlanView,
};
use holdpoint_domain::{
    Id, Timestamp,
    approval::Choice,
    id::kind,
    quorum::{Missing, Quorum},
    record::Body,
};

use super::super::inbox::title;
use crate::{
    console::{
        admit::Visitor,
        frame::{Shape, shape},
        show::{When, list},
    },
    http::{Problem, named},
};

/// How many similar plans are shown.
const MAX_SIMILAR: usize = 6;

/// Who decides.
pub(super) struct Oversight {
    pub(super) needed: u32,
    /// How many, and of which teams.
    pub(super) waits_for: String,
    /// What of that is missing; none where nothing waits.
    pub(super) missing: Option<String>,
    pub(super) approvals: usize,
    pub(super) said: Vec<Said>,
    pub(super) people: Vec<Person>,
    pub(super) barred: Vec<Person>,
    /// Why the one who looks may not decide; none where they may.
    pub(super) not_you: Option<String>,
}

/// What somebody said.
pub(super) struct Said {
    pub(super) who: String,
    pub(super) glyph: &'static str,
    pub(super) word: &'static str,
    pub(super) at: Option<When>,
}

/// Somebody of the registry.
pub(super) struct Person {
    pub(super) name: String,
    pub(super) teams: String,
    pub(super) why: String,
    pub(super) you: bool,
}

/// An earlier plan.
pub(super) struct Similar {
    pub(super) plan: String,
    pub(super) what: String,
    pub(super) target: String,
    pub(super) agent: String,
    pub(super) state: Shape,
    pub(super) at: When,
    pub(super) same: bool,
}

impl Oversight {
    /// Who may decide on a plan that waits, and who has.
    pub(super) fn of(
        origin: &str,
        gate: &Gate,
        view: &PlanView,
        visitor: &Visitor,
        missing: Option<Missing>,
        now: Timestamp,
    ) -> Self {
        let quorum = approve::quorum(view);
        let needed = quorum.as_ref().map_or(1, Quorum::needed);
        let waits_for = quorum.map_or_else(String::new, |quorum| quorum.to_string());
        let missing = missing.map(|missing| missing.to_string());
        let you = &visitor.session.person;
        let (mut people, mut barred, mut not_you) = (Vec::new(), Vec::new(), None);
        let mut found = false;
        for (person, bar) in look::approvers(gate, view) {
            let shown = Person {
                name: person.id.to_string(),
                teams: list(&person.teams),
                why: bar.as_ref().map(told).unwrap_or_default(),
                you: person.id == *you,
            };
            found |= shown.you;
            if shown.you {
                not_you = bar.as_ref().map(told);
            }
            if bar.is_none() { &mut people } else { &mut barred }.push(shown);
        }
        if not_you.is_none() && found && !has_passkey(gate, you, origin) {
            not_you = Some(
                "you have no passkey for this console; an administrator invites you, and below T4 the command line signs, too"
                    .to_owned(),
            );
        }
        if !found {
            not_you = Some("you are not in the registry".to_owned());
        }
        let statements = view.records.iter().filter_map(|(_, record)| {
            let (Body::Approved { statement } | Body::Rejected { statement }) = &record.body else {
                return None;
            };
            Some((statement, record.at_ms))
        });
        let said = statements.map(|(signed, at)| {
            let (glyph, word) = match signed.statement.choice {
                Choice::Approve => ("✓", "approved"),
                Choice::Reject => ("✕", "rejected"),
            };
            let who = signed.statement.approver.to_string();
            Said { who, glyph, word, at: Some(When::new(at, now)) }
        });
        let said: Vec<_> = said.collect();
        let approvals = said.iter().filter(|said| said.word == "approved").count();
        Self { needed, waits_for, missing, approvals, said, people, barred, not_you }
    }
}

/// Whether somebody has a passkey that signs on this console's pages.
fn has_passkey(gate: &Gate, person: &Id<kind::Person>, origin: &str) -> bool {
    let person = gate.controls.registry.person(person);
    person.is_some_and(|person| person.passkeys.iter().any(|passkey| passkey.origin == origin))
}

fn told(bar: &Bar) -> String {
    match bar {
        Bar::Requester => "one of those who ask: a requester never approves".to_owned(),
        Bar::DecidedBefore => "has decided already".to_owned(),
        Bar::NoPasskey => "no passkey, and from T4 on nothing else counts".to_owned(),
        Bar::Policy(rules) if rules.is_empty() => "no rule of the policy permits it".to_owned(),
        Bar::Policy(rules) => format!("the policy forbids it: {}", named(rules)),
        Bar::PolicyFailed(rules) => format!("the policy could not be evaluated: {}", named(rules)),
    }
}

/// The last plans like this one, and how they ended.
pub(super) async fn similar(gate: &Gate, view: &PlanView, now: Timestamp) -> Result<Vec<Similar>, Problem> {
    let action = view.plan.steps().first().map(|step| &step.action);
    let target = view.plan.steps().first().map(|step| &step.target);
    let one = |row: PlanRow| Similar {
        plan: row.id.to_string(),
        what: title(gate, &row.action),
        same: Some(&row.action) == action && Some(&row.target) == target,
        target: row.target.to_string(),
        agent: row.agent.to_string(),
        state: shape(row.state),
        at: When::new(row.proposed_at, now),
    };
    Ok(look::similar(gate, view, MAX_SIMILAR).await?.into_iter().map(one).collect())
}
