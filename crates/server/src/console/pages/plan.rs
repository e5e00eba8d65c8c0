//! The timeline of a plan, and of all plans of an incident: every record in order, from observation to review.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};
use holdpoint_app::{gate::Gate, look, view::PlanView};
use holdpoint_domain::{Timestamp, flow::State as PlanState, id::kind, record::Record};

use super::{
    known::{Known, known},
    outside::{Outside, of_incident},
    page,
    request::sentence,
};
use crate::{
    console::{
        Console,
        admit::Visitor,
        frame::{Frame, Shape, shape},
        show::{When, span, tame},
    },
    http::{PathId, Problem, aftermath_lines, doubt, failure, moment, worse},
};

#[derive(Template)]
#[template(path = "plan.html")]
struct Page {
    frame: Frame,
    plan: Plan,
}

#[derive(Template)]
#[template(path = "incident.html")]
struct Incident {
    frame: Frame,
    id: String,
    known: Option<Known>,
    plans: Vec<Plan>,
    outside: Vec<Outside>,
    older: bool,
}

/// A plan with its records.
struct Plan {
    id: String,
    what: String,
    who: String,
    state: Shape,
    tier: String,
    hold: Option<String>,
    incident: Option<String>,
    outcome: Vec<String>,
    /// What changed and which services moved.
    aftermath: Vec<String>,
    moments: Vec<Moment>,
    digest: String,
    /// It ran, and nobody has answered the review of it yet.
    owes: Option<When>,
    in_doubt: bool,
    seen: u64,
}

/// A record, as a line.
struct Moment {
    index: u64,
    at: When,
    /// Since the line before.
    after: String,
    actor: String,
    what: String,
    part: &'static str,
}

/// `GET /plans/{id}`.
pub(in crate::console) async fn show(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    PathId(id): PathId<kind::Plan>,
) -> Result<Response, Problem> {
    let gate = console.door.service.gate();
    let view = PlanView::read(gate.ports.store.as_ref(), &id).await?;
    let frame = Frame::new(&console, Some(&visitor), "/runs").await;
    page(&Page { frame, plan: one(&gate, &view, console.now())? })
}

/// `GET /incidents/{id}`.
pub(in crate::console) async fn incident(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    PathId(id): PathId<kind::Incident>,
) -> Result<Response, Problem> {
    let gate = console.door.service.gate();
    let _turn = console.turn().await?;
    let (rows, older) = look::of_incident(&gate, &id).await?;
    let outside = of_incident(&gate, &id, console.now()).await?;
    let known = known(&gate, &id, console.now()).await?;
    if rows.is_empty() && outside.is_empty() && known.is_none() {
        let detail = format!("no plan of those that were searched belongs to incident `{id}`");
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "no-such-incident",
            detail,
            "look at its plans one by one",
        ));
    }
    let mut plans = Vec::new();
    for row in rows {
        let view = PlanView::read(gate.ports.store.as_ref(), &row.id).await?;
        plans.push(one(&gate, &view, console.now())?);
    }
    let frame = Frame::new(&console, Some(&visitor), "/runs").await;
    page(&Incident { frame, id: id.to_string(), known, plans, outside, older })
}

fn one(gate: &Gate, view: &PlanView, now: Timestamp) -> Result<Plan, Problem> {
    let mut outcome: Vec<_> = view.worse.iter().map(worse).collect();
    outcome.extend(view.failed.map(|why| failure(why).to_owned()));
    outcome.extend(view.doubt.map(|why| doubt(why).to_owned()));
    Ok(Plan {
        id: view.id.to_string(),
        what: sentence(gate, &view.plan),
        who: view.plan.requester().words(),
        state: shape(view.state),
        tier: view.tier().map(|tier| format!("{tier}, {}", tier.meaning())).unwrap_or_default(),
        hold: view.terms.as_ref().map(|terms| terms.hold.to_string()),
        incident: view.plan.incident().map(ToString::to_string),
        outcome,
        aftermath: view.aftermath.iter().flat_map(aftermath_lines).map(|line| tame(&line)).collect(),
        moments: moments(&view.records, now),
        digest: view.plan.digest().map_err(|err| Problem::internal(&err))?.to_string(),
        owes: view.review_due.map(|due| When::new(due, now)),
        in_doubt: view.state == PlanState::InDoubt,
        seen: view.last_index(),
    })
}

fn moments(records: &[(u64, Record)], now: Timestamp) -> Vec<Moment> {
    let mut before: Option<Timestamp> = None;
    let line = |(index, record): &(u64, Record)| {
        let since = before.map(|before| record.at_ms.since(before)).filter(|since| since.ms() > 0);
        let after = since.map(|since| format!("+{}", span(since))).unwrap_or_default();
        before = Some(record.at_ms);
        Moment {
            index: *index,
            at: When::new(record.at_ms, now),
            after,
            actor: record.actor.to_string(),
            what: tame(&moment(&record.body)),
            part: part(record.body.word()),
        }
    };
    records.iter().map(line).collect()
}

/// The part of a plan's life that a record belongs to.
pub(super) fn part(word: &str) -> &'static str {
    match word {
        "proposed" | "measured" | "decided" | "deferred" | "evaluated" => "decide",
        "held" | "approved" | "rejected" | "expired" | "refused" => "people",
        "permitted" | "claimed" | "baseline" | "rehearsed" | "applying" | "applied" | "succeeded"
        | "failed" | "voided" => "run",
        "undoing" | "unwound" | "not_undone" | "undone" | "undo_failed" | "in_doubt" => "undo",
        "leased" | "leased_again" | "revocation_asked" | "revoked" => "credential",
        "aftermath" | "review_owed" | "reviewed" | "resolved" | "reconciled" => "aftercare",
        "halted" | "resumed" => "halt",
        _ => "gate",
    }
}
