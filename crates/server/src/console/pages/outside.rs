//! What was done outside of Holdpoint: who says so, who confirms it, and who looked at it.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Response};
use holdpoint_app::{
    gate::Gate,
    reconcile::{self, Shown},
};
use holdpoint_domain::{Id, Timestamp, id::kind, reconcile::Part};

use super::page;
use crate::{
    console::{
        Console,
        admit::Visitor,
        frame::{Frame, Shape},
        show::{Foreign, When, foreign, list},
    },
    http::Problem,
};

/// Most that are shown.
const MAX_SHOWN: u32 = 200;

#[derive(Template)]
#[template(path = "outside.html")]
struct Page {
    frame: Frame,
    rows: Vec<Outside>,
}

/// One account.
pub(super) struct Outside {
    pub(super) digest: String,
    pub(super) what: String,
    pub(super) state: Shape,
    pub(super) from: When,
    pub(super) until: When,
    pub(super) people: String,
    pub(super) incident: Option<String>,
    pub(super) index: u64,
    pub(super) reported: String,
    pub(super) confirmed: Option<String>,
    pub(super) looked: Option<String>,
    /// The look that is owed, and by whom.
    pub(super) due: Option<(When, String)>,
    /// One of those who did it must still confirm it.
    pub(super) unconfirmed: bool,
    /// What they say; empty where it was erased.
    pub(super) words: Vec<(&'static str, Foreign)>,
}

/// `GET /reconciliations`.
pub(in crate::console) async fn show(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
) -> Result<Response, Problem> {
    let (gate, now) = (console.door.service.gate(), console.now());
    let rows = reconcile::list(&gate, MAX_SHOWN).await?;
    let rows = rows.into_iter().map(|shown| one(shown, now)).collect::<Result<_, _>>()?;
    page(&Page { frame: Frame::new(&console, Some(&visitor), "/reviews").await, rows })
}

/// Those of an incident, the first one first.
pub(super) async fn of_incident(
    gate: &Gate,
    incident: &Id<kind::Incident>,
    now: Timestamp,
) -> Result<Vec<Outside>, Problem> {
    let mut rows = reconcile::list(gate, MAX_SHOWN).await?;
    rows.retain(|shown| shown.row.account.incident.as_ref() == Some(incident));
    rows.sort_by_key(|shown| shown.row.account.from_ms);
    rows.into_iter().map(|shown| one(shown, now)).collect()
}

fn one(Shown { row, opened }: Shown, now: Timestamp) -> Result<Outside, Problem> {
    let (account, state) = (&row.account, row.state());
    let action = account.action.as_ref().map_or("something", |action| action.as_str());
    let words = opened.map(|opened| opened.words);
    let texts = |words: holdpoint_domain::reconcile::Words| {
        [
            ("What they did", words.did),
            ("Why it could not wait", words.reason),
            ("What they found", words.before),
            ("What they left", words.after),
        ]
        .map(|(what, text)| (what, foreign(&text)))
    };
    Ok(Outside {
        digest: row.digest()?.to_string(),
        what: format!("{action} on {}", account.target),
        state: shape(state),
        from: When::new(account.from_ms, now),
        until: When::new(account.until_ms, now),
        people: list(&account.people),
        incident: account.incident.as_ref().map(ToString::to_string),
        index: row.first_index,
        reported: row.reported_by.to_string(),
        confirmed: row.confirmed_by.as_ref().map(ToString::to_string),
        looked: row.look.as_ref().map(|look| look.by.to_string()),
        due: (!state.is_a_look()).then(|| (When::new(row.due.due_at_ms, now), row.due.owner.to_string())),
        unconfirmed: state == Part::Reported,
        words: words.map(texts).into_iter().flatten().collect(),
    })
}

const fn shape(state: Part) -> Shape {
    match state {
        Part::Reported => Shape { glyph: "◆", word: "reported by one", tone: "waits" },
        Part::Confirmed => Shape { glyph: "◆", word: "confirmed, to be looked at", tone: "waits" },
        Part::Reviewed => Shape { glyph: "✓", word: "as it was told", tone: "good" },
        Part::Disputed => Shape { glyph: "▲", word: "DISPUTED", tone: "alarm" },
    }
}
