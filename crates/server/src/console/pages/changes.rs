//! Changes of control inputs: what is proposed, as a difference file by file, and who must still approve.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Response};
use holdpoint_app::{
    change,
    effect::{self, Outcome},
    gate::Gate,
    port::Document,
    projection::{ChangeRow, ChangeState},
    refusal::Blame,
};
use holdpoint_domain::{Id, Tier, Timestamp, decision::Answer, id::kind};
use similar::{ChangeTag, TextDiff};

use super::{inbox::title, page};
use crate::{
    console::{
        Console,
        admit::Visitor,
        frame::Frame,
        show::{Part, When, line, list, tame},
    },
    http::{PathId, Problem},
};

/// Most changes on the list.
const MAX_CHANGES: u32 = 200;
/// Lines around a difference.
const CONTEXT: usize = 3;

#[derive(Template)]
#[template(path = "changes.html")]
struct Page {
    frame: Frame,
    changes: Vec<Change>,
}

#[derive(Template)]
#[template(path = "change.html")]
struct One {
    frame: Frame,
    change: Change,
    files: Vec<File>,
    erased: bool,
    effect: Option<Effect>,
    terms: Vec<(&'static str, String)>,
    not_you: Option<String>,
}

/// A change, as a line.
struct Change {
    id: String,
    control: &'static str,
    glyph: &'static str,
    word: &'static str,
    tone: &'static str,
    is_open: bool,
    author: String,
    approvals: String,
    count: usize,
    needed: u32,
    ends: When,
    index: u64,
}

/// What it would have made of the newest decisions; or why nobody can say.
enum Effect {
    Of { decisions: usize, older: bool, moved: Vec<Moved> },
    Unknown(String),
}

/// A decision that would come out differently.
struct Moved {
    plan: String,
    what: String,
    at: When,
    before: String,
    after: String,
    rules: String,
    tone: &'static str,
    glyph: &'static str,
    word: &'static str,
}

/// What would change in a file.
struct File {
    name: String,
    added: usize,
    removed: usize,
    hunks: Vec<Vec<Line>>,
}

struct Line {
    class: &'static str,
    sign: &'static str,
    old: String,
    new: String,
    text: Vec<Part>,
}

/// `GET /changes`.
pub(in crate::console) async fn list_all(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
) -> Result<Response, Problem> {
    let (gate, now) = (console.door.service.gate(), console.now());
    let rows = change::list(&gate, MAX_CHANGES).await?;
    let changes = rows.iter().map(|row| one(row, now)).collect();
    page(&Page { frame: Frame::new(&console, Some(&visitor), "/changes").await, changes })
}

fn one(row: &ChangeRow, now: Timestamp) -> Change {
    let terms = &row.terms;
    let (glyph, word, tone) = match row.state {
        ChangeState::Open if now >= terms.expires_at_ms => ("◇", "expired", "quiet"),
        ChangeState::Open => ("◆", "waits for administrators", "waits"),
        ChangeState::Activated => ("✓", "activated", "good"),
        ChangeState::Rejected => ("✕", "rejected", "bad"),
    };
    Change {
        id: terms.id.to_string(),
        control: terms.control.as_str(),
        glyph,
        word,
        tone,
        is_open: row.state == ChangeState::Open && now < terms.expires_at_ms,
        author: terms.author.to_string(),
        approvals: list(&row.approvals),
        count: row.approvals.len(),
        needed: terms.needed,
        ends: When::new(terms.expires_at_ms, now),
        index: row.first_index,
    }
}

/// `GET /changes/{id}`.
pub(in crate::console) async fn show(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    PathId(id): PathId<kind::Change>,
) -> Result<Response, Problem> {
    let (gate, now) = (console.door.service.gate(), console.now());
    let _turn = console.turn().await?;
    let change::Shown { row, active, proposed } = change::show(&gate, &id).await?;
    let terms = &row.terms;
    let digests = vec![
        ("Replaces", terms.old.to_string()),
        ("By", terms.new.to_string()),
        ("In force now", terms.control.of(&gate.inputs).to_string()),
        ("Content", terms.content.digest().to_string()),
        ("Log", tame(&terms.head.origin)),
        ("Log, size", terms.head.size.to_string()),
        ("Log, root", terms.head.root.to_string()),
        ("Nonce", terms.nonce.to_string()),
        ("Expires", When::new(terms.expires_at_ms, now).text),
    ];
    let change = one(&row, now);
    let open = change.is_open;
    page(&One {
        frame: Frame::new(&console, Some(&visitor), "/changes").await,
        change,
        erased: proposed.is_none(),
        files: proposed.map(|proposed| files(&active, &proposed)).unwrap_or_default(),
        effect: if open { Some(effect_of(&gate, &id, now).await?) } else { None },
        terms: digests,
        not_you: not_you(&gate, &visitor, &row),
    })
}

/// The newest decisions, made again as if the change were in force.
async fn effect_of(gate: &Gate, id: &Id<kind::Change>, now: Timestamp) -> Result<Effect, Problem> {
    let effect::Effect { decisions, moved, older } = match effect::of(gate, id).await {
        Ok(effect) => effect,
        Err(refusal) if refusal.blame == Blame::Conflict => return Ok(Effect::Unknown(tame(&refusal.fact))),
        // Whoever decides must still see the difference.
        Err(refusal) => {
            tracing::warn!("the effect of change {id} is not known: {refusal}");
            return Ok(Effect::Unknown("the newest decisions could not be made again".to_owned()));
        }
    };
    let one = |effect::Moved { row, before, after }: effect::Moved| {
        let (tone, glyph, word) = if rank(&after) > rank(&before) {
            ("good", "▲", "stricter")
        } else {
            ("waits", "▼", "looser")
        };
        Moved {
            what: format!("{} on {}", title(gate, &row.action), row.target),
            plan: row.id.to_string(),
            at: When::new(row.proposed_at, now),
            before: came_to(&before),
            rules: rules(&before, &after),
            after: came_to(&after),
            tone,
            glyph,
            word,
        }
    };
    Ok(Effect::Of { decisions, older, moved: moved.into_iter().map(one).collect() })
}

/// How strict an outcome is: what is refused is stricter than everything that is decided.
fn rank(outcome: &Outcome) -> Option<(Answer, Tier)> {
    match outcome {
        Outcome::Decided { answer, tier, .. } => Some((*answer, *tier)),
        Outcome::Refused { .. } => Some((Answer::Deny, Tier::T5)),
    }
}

fn came_to(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Decided { answer, tier, .. } => format!("{answer} at {tier}"),
        Outcome::Refused { fact, .. } => format!("refused: {}", tame(fact)),
    }
}

/// The rules that speak on one side alone.
fn rules(before: &Outcome, after: &Outcome) -> String {
    let (Outcome::Decided { rules: before, .. }, Outcome::Decided { rules: after, .. }) = (before, after)
    else {
        return String::new();
    };
    list(before.symmetric_difference(after).cloned())
}

/// Why the one who looks may not decide on a change; none where they may.
fn not_you(gate: &Gate, visitor: &Visitor, row: &ChangeRow) -> Option<String> {
    let you = &visitor.session.person;
    if row.terms.author == *you {
        Some("you wrote it".to_owned())
    } else if !gate.controls.registry.is_administrator(you) {
        Some("you are not an administrator".to_owned())
    } else if row.approvals.contains(you) {
        Some("you have decided already".to_owned())
    } else {
        None
    }
}

/// The files that differ, against what is in force now.
fn files(active: &Document, proposed: &Document) -> Vec<File> {
    let names: std::collections::BTreeSet<_> = active.files.keys().chain(proposed.files.keys()).collect();
    let text = |document: &Document, name: &String| document.files.get(name).cloned().unwrap_or_default();
    let differing = names.into_iter().filter(|name| active.files.get(*name) != proposed.files.get(*name));
    differing.map(|name| file(name, &text(active, name), &text(proposed, name))).collect()
}

fn file(name: &str, old: &str, new: &str) -> File {
    let diff = TextDiff::from_lines(old, new);
    let number =
        |index: Option<usize>| index.map(|index| index.saturating_add(1).to_string()).unwrap_or_default();
    let (mut added, mut removed) = (0_usize, 0_usize);
    let mut hunks = Vec::new();
    for group in diff.grouped_ops(CONTEXT) {
        let mut lines = Vec::new();
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let (class, sign) = match change.tag() {
                ChangeTag::Equal => ("same", " "),
                ChangeTag::Delete => ("removed", "−"),
                ChangeTag::Insert => ("added", "+"),
            };
            added = added.saturating_add(usize::from(change.tag() == ChangeTag::Insert));
            removed = removed.saturating_add(usize::from(change.tag() == ChangeTag::Delete));
            // What hides, and what imitates letters of another script: a rule that never matches again must not look as before.
            let text = line(&change.value().trim_end_matches('\n').replace('\t', "    "));
            lines.push(Line {
                class,
                sign,
                old: number(change.old_index()),
                new: number(change.new_index()),
                text,
            });
        }
        hunks.push(lines);
    }
    File { name: tame(name), added, removed, hunks }
}
