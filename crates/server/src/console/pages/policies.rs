//! The policy in force, to be read, and a decision, to be explained.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Response};
use holdpoint_app::{
    gate::Gate,
    port::{PlanFilter, PlanRow},
    view::PlanView,
};
use holdpoint_domain::{Id, Timestamp, change::Control, id::kind};
use serde::Deserialize;

use super::{
    inbox::title,
    page,
    request::{
        sentence,
        why::{Reason, Rung, ladder, reasons},
    },
};
use crate::{
    console::{
        Console,
        admit::Visitor,
        frame::{Frame, Shape, shape},
        show::{Part, When, line, tame},
    },
    http::{Ask, Problem},
};

/// How many plans one can choose from.
const MAX_CHOICE: u32 = 30;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::console) struct Query {
    /// The plan whose decision is explained.
    plan: Option<String>,
}

#[derive(Template)]
#[template(path = "policies.html")]
struct Page {
    frame: Frame,
    digest: String,
    files: Vec<(String, Vec<Vec<Part>>)>,
    choices: Vec<Choice>,
    explained: Option<Explained>,
}

struct Choice {
    plan: String,
    what: String,
    state: Shape,
    at: When,
    chosen: bool,
}

struct Explained {
    plan: String,
    what: String,
    answer: &'static str,
    tier: String,
    floor: String,
    reasons: Vec<Reason>,
    ladder: Vec<Rung>,
    unmet: Vec<(String, Vec<String>)>,
    same_policy: bool,
}

/// `GET /policies`.
pub(in crate::console) async fn show(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    Ask(query): Ask<Query>,
) -> Result<Response, Problem> {
    let (gate, now) = (console.door.service.gate(), console.now());
    let chosen: Option<Id<kind::Plan>> =
        match query.plan.as_deref().filter(|plan| !plan.is_empty()) {
            None => None,
            Some(text) => Some(Id::parse(text).map_err(|err| {
                Problem::malformed("bad-id", err.to_string(), "choose a plan out of the list")
            })?),
        };
    let explained = match &chosen {
        None => None,
        Some(plan) => explained(&gate, plan).await?,
    };
    let files = gate.ports.inputs.active(Control::Policy).files.into_iter();
    let files = files.map(|(name, text)| {
        (tame(&name), text.lines().map(|text| line(&text.replace('\t', "    "))).collect())
    });
    page(&Page {
        frame: Frame::new(&console, Some(&visitor), "/policies").await,
        digest: gate.inputs.policy.to_string(),
        files: files.collect(),
        choices: choices(&gate, chosen.as_ref(), now).await?,
        explained,
    })
}

/// A line of a file, with its indentation kept and what is hidden escaped.
fn code(line: &str) -> String {
    tame(&line.replace('\t', "    "))
}

async fn choices(
    gate: &Gate,
    chosen: Option<&Id<kind::Plan>>,
    now: Timestamp,
) -> Result<Vec<Choice>, Problem> {
    let rows = gate.ports.store.plans(PlanFilter { limit: MAX_CHOICE, ..PlanFilter::default() }).await?;
    let one = |row: PlanRow| Choice {
        what: format!("{} on {}", title(gate, &row.action), row.target),
        state: shape(row.state),
        at: When::new(row.proposed_at, now),
        chosen: Some(&row.id) == chosen,
        plan: row.id.to_string(),
    };
    Ok(rows.into_iter().map(one).collect())
}

async fn explained(gate: &Gate, plan: &Id<kind::Plan>) -> Result<Option<Explained>, Problem> {
    let view = PlanView::read(gate.ports.store.as_ref(), plan).await?;
    let Some((decision, facts)) = &view.decided else { return Ok(None) };
    let same_policy = decision.policy == gate.ports.judge.digest();
    let hints = if same_policy { gate.hints(facts) } else { Vec::new() };
    let unmet = hints
        .into_iter()
        .filter(|hint| !hint.unmet.is_empty())
        .map(|hint| (hint.rule.to_string(), hint.unmet.iter().map(|condition| code(condition)).collect()));
    Ok(Some(Explained {
        plan: view.id.to_string(),
        what: sentence(gate, &view.plan),
        answer: decision.answer.as_str(),
        tier: format!("{}, {}", decision.tier, decision.tier.meaning()),
        floor: decision.floor.to_string(),
        reasons: reasons(gate, decision, facts),
        ladder: ladder(gate, decision, facts),
        unmet: unmet.collect(),
        same_policy,
    }))
}
