//! The inbox: what waits for people, the most urgent first.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Response};
use holdpoint_app::{
    approve, change,
    gate::Gate,
    port::{PlanFilter, PlanRow},
    projection::{ChangeState, RunRow},
    review,
    view::PlanView,
};
use holdpoint_domain::{Timestamp, flow::State as PlanState};

use super::{
    page,
    request::{disturbed, sentence, undo_of_all},
};
use crate::{
    console::{
        Console,
        admit::Visitor,
        frame::{Frame, Shape, shape},
        show::{When, list},
    },
    http::Problem,
};

/// Most requests on the page. Whoever has more has another problem.
const MAX_ROWS: u32 = 100;
/// Less than this, and it is urgent.
const URGENT_MS: u64 = 3 * 60 * 1000;

#[derive(Template)]
#[template(path = "inbox.html")]
struct Page {
    frame: Frame,
    held: Vec<Held>,
    more: bool,
    deferred: Vec<Row>,
    doubts: Vec<Row>,
    reviews: Vec<Review>,
    changes: Vec<Change>,
}

/// A plan that waits for people.
struct Held {
    hold: String,
    what: String,
    who: String,
    tier: &'static str,
    meaning: &'static str,
    disturbs: String,
    undo: &'static str,
    environment: String,
    ends: Option<When>,
    urgent: bool,
    approvals: usize,
    needed: u32,
    tainted: bool,
}

/// A plan that waits for something else.
struct Row {
    plan: String,
    what: String,
    target: String,
    agent: String,
    state: Shape,
    at: When,
    next: Option<When>,
}

/// A review that somebody owes.
pub(super) struct Review {
    pub(super) plan: String,
    pub(super) what: String,
    pub(super) targets: String,
    pub(super) agent: String,
    pub(super) state: Shape,
    pub(super) owner: String,
    pub(super) due: Option<When>,
    pub(super) overdue: bool,
    pub(super) suspends: bool,
}

/// A change of a control input that waits for administrators.
struct Change {
    id: String,
    control: &'static str,
    author: String,
    approvals: usize,
    needed: u32,
    ends: When,
}

/// `GET /`.
pub(in crate::console) async fn show(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
) -> Result<Response, Problem> {
    let gate = console.door.service.gate();
    let now = console.now();
    let mut rows = plans(&gate, PlanState::Held).await?;
    let more = rows.len() >= usize::try_from(MAX_ROWS).unwrap_or(usize::MAX);
    rows.sort_by_key(|row| row.deadline);
    let mut held = Vec::new();
    for row in &rows {
        held.push(waits(&gate, row, now).await?);
    }
    let row = |row: PlanRow| Row {
        plan: row.id.to_string(),
        what: title(&gate, &row.action),
        target: row.target.to_string(),
        agent: row.agent.to_string(),
        state: shape(row.state),
        at: When::new(row.proposed_at, now),
        next: row.next_at.map(|at| When::new(at, now)),
    };
    let deferred = plans(&gate, PlanState::Deferred).await?.into_iter().map(row).collect();
    let doubts = plans(&gate, PlanState::InDoubt).await?.into_iter().map(row).collect();
    let reviews = review::owed(&gate).await?.into_iter().filter(|run| run.state != PlanState::InDoubt);
    let reviews = reviews.map(|run| owed(&gate, run, now)).collect();
    let changes = open_changes(&gate, now).await?;
    let frame = Frame::new(&console, Some(&visitor), "/").await;
    page(&Page { frame, held, more, deferred, doubts, reviews, changes })
}

async fn plans(gate: &Gate, state: PlanState) -> Result<Vec<PlanRow>, Problem> {
    // What waits for longest ends first: a flood of new ones pushes none of it off the page.
    let states = vec![state];
    let filter = PlanFilter { states, limit: MAX_ROWS, oldest_first: true, ..PlanFilter::default() };
    Ok(gate.ports.store.plans(filter).await?)
}

/// What the catalogue calls an action, or its id where it has none any more.
pub(super) fn title(
    gate: &Gate,
    action: &holdpoint_domain::Id<holdpoint_domain::id::kind::Action>,
) -> String {
    let title = gate.controls.catalogue.action(action).map(|action| action.title.clone());
    title.map_or_else(|| action.to_string(), |title| crate::console::show::tame(&title))
}

async fn waits(gate: &Gate, row: &PlanRow, now: Timestamp) -> Result<Held, Problem> {
    let view = PlanView::read(gate.ports.store.as_ref(), &row.id).await?;
    let tier = view.tier().unwrap_or(holdpoint_domain::Tier::T4);
    let facts = view.decided.as_ref().map(|(_, facts)| facts);
    let environments = facts.map(|facts| list(&facts.first().blast.environments)).unwrap_or_default();
    Ok(Held {
        hold: row.hold.as_ref().map(ToString::to_string).unwrap_or_default(),
        what: sentence(gate, &view.plan),
        who: view.plan.requester().words(),
        tier: tier.as_str(),
        meaning: tier.meaning(),
        disturbs: facts.map(|facts| disturbed(&facts.first().blast)).unwrap_or_default(),
        undo: facts.map_or("unknown", undo_of_all),
        environment: environments,
        urgent: row.deadline.is_some_and(|end| end.since(now).ms() < URGENT_MS),
        ends: row.deadline.map(|end| When::new(end, now)),
        approvals: view.statements.len(),
        needed: approve::quorum(&view).map_or(1, |quorum| quorum.needed()),
        tainted: facts.is_some_and(|facts| facts.steps().any(|step| step.provenance.tainted())),
    })
}

pub(super) fn owed(gate: &Gate, run: RunRow, now: Timestamp) -> Review {
    let titles = run.footprint.actions.iter().map(|action| title(gate, action));
    let (due, owner) = run.owes.map(|owed| (owed.due_at, owed.owner.to_string())).unzip();
    Review {
        plan: run.plan.to_string(),
        what: list(titles),
        targets: list(&run.targets),
        agent: run.footprint.agent.to_string(),
        state: shape(run.state),
        owner: owner.unwrap_or_else(|| "an administrator".to_owned()),
        overdue: due.is_some_and(|due| due <= now),
        due: due.map(|due| When::new(due, now)),
        suspends: run.suspends,
    }
}

async fn open_changes(gate: &Gate, now: Timestamp) -> Result<Vec<Change>, Problem> {
    let rows = change::list(gate, MAX_ROWS).await?.into_iter();
    let open = rows.filter(|row| row.state == ChangeState::Open && row.terms.expires_at_ms > now);
    let one = |row: holdpoint_app::projection::ChangeRow| Change {
        id: row.terms.id.to_string(),
        control: row.terms.control.as_str(),
        author: row.terms.author.to_string(),
        approvals: row.approvals.len(),
        needed: row.terms.needed,
        ends: When::new(row.terms.expires_at_ms, now),
    };
    Ok(open.map(one).collect())
}

impl Page {
    fn is_empty(&self) -> bool {
        self.held.is_empty()
            && self.deferred.is_empty()
            && self.doubts.is_empty()
            && self.reviews.is_empty()
            && self.changes.is_empty()
    }
}
