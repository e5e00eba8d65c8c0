//! Runs, as they happen: a page that is whole without JavaScript, and a stream that says when to look again.

use std::{convert::Infallible, future::ready, sync::Arc};

use askama::Template;
use axum::{
    extract::State,
    http::HeaderMap,
    response::{IntoResponse, Response, sse::Event},
};
use futures_util::StreamExt as _;
use holdpoint_app::{
    gate::Gate,
    port::{PlanFilter, PlanRow},
};
use holdpoint_domain::{Timestamp, flow::State as PlanState};

use super::{
    inbox::title,
    known::{self, Open},
    page,
};
use crate::{
    console::{
        Console,
        admit::Visitor,
        frame::{Frame, Shape, shape},
        show::When,
    },
    http::{self, Problem},
};

/// How many runs that are over are shown.
const MAX_OVER: u32 = 40;
/// How many that are not.
const MAX_OPEN: u32 = 100;

#[derive(Template)]
#[template(path = "runs.html")]
struct Page {
    frame: Frame,
    open: Vec<Row>,
    over: Vec<Row>,
    incidents: Vec<Open>,
}

struct Row {
    plan: String,
    what: String,
    target: String,
    agent: String,
    tier: &'static str,
    state: Shape,
    at: When,
}

/// `GET /runs`.
pub(in crate::console) async fn show(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
) -> Result<Response, Problem> {
    let (gate, now) = (console.door.service.gate(), console.now());
    let is_open =
        |state: &PlanState| state.is_running() || matches!(state, PlanState::Allowed | PlanState::Permitted);
    let open = rows(&gate, PlanState::ALL.into_iter().filter(is_open).collect(), MAX_OPEN, now).await?;
    let ended = [
        PlanState::Succeeded,
        PlanState::Failed,
        PlanState::Undone,
        PlanState::UndoFailed,
        PlanState::Resolved,
    ];
    let over = rows(&gate, ended.to_vec(), MAX_OVER, now).await?;
    let incidents = known::open(&gate, now);
    page(&Page { frame: Frame::new(&console, Some(&visitor), "/runs").await, open, over, incidents })
}

async fn rows(gate: &Gate, states: Vec<PlanState>, limit: u32, now: Timestamp) -> Result<Vec<Row>, Problem> {
    let filter = PlanFilter { states, limit, ..PlanFilter::default() };
    let one = |row: PlanRow| Row {
        plan: row.id.to_string(),
        what: title(gate, &row.action),
        target: row.target.to_string(),
        agent: row.agent.to_string(),
        tier: row.tier.map_or("", |tier| tier.as_str()),
        state: shape(row.state),
        at: When::new(row.proposed_at, now),
    };
    Ok(gate.ports.store.plans(filter).await?.into_iter().map(one).collect())
}

/// `GET /runs/events`: says that something happened, as soon as it is durable. What happened, the page tells. Ends with the session.
pub(in crate::console) async fn events(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let size = console.door.service.gate().ports.store.head().size;
    let next = http::last_event_id(&headers)?.map_or(size, |last| last.saturating_add(1).min(size));
    let entries = http::entries(&console.door, next)?;
    let is_alive = move || {
        let gate = console.door.service.gate();
        let found = console.sessions.find(&headers, console.now(), &gate.controls.registry);
        found.is_some_and(|session| session.person == visitor.session.person)
    };
    let events = entries.take_while(move |_| ready(is_alive())).map(|entry| {
        let event =
            Event::default().id(entry.index.to_string()).event("changed").data(entry.index.to_string());
        Ok::<_, Infallible>(event)
    });
    Ok(http::streamed(events).into_response())
}
