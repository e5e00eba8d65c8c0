//! The request: everything that a person must know before they decide, in the order in which they need it.
//!
//! All of it comes from the canonical plan, from the facts that the decision was made from, and from the gate's own control inputs.
//! The one exception is the box with the agent's words, which says so.

mod blast;
mod evidence;
mod oversight;
mod steps;
mod terms;
pub(in crate::console) mod why;

pub(in crate::console) use steps::undo_of_all;

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Response};
use holdpoint_app::{approve, gate::Gate, view::PlanView};
use holdpoint_domain::{
    Timestamp,
    flow::State as PlanState,
    id::kind,
    plan::{Narrative, Plan},
    text::visible,
};

use super::{inbox::title, page};
use crate::{
    console::{
        Console,
        admit::Visitor,
        frame::{Frame, Shape, shape},
        show::{Foreign, When, count, foreign, list, span},
    },
    http::{PathId, Problem, doubt, failure, worse},
    picture::Kind,
};

#[derive(Template)]
#[template(path = "request.html")]
struct Page {
    frame: Frame,
    hold: String,
    plan: String,
    incident: Option<String>,
    state: Shape,
    is_open: bool,
    what: String,
    who: String,
    place: String,
    tier: &'static str,
    meaning: &'static str,
    answer: &'static str,
    ends: Option<When>,
    proposed: Option<When>,
    nobody: String,
    /// People ask for it, beyond policy.
    emergency: bool,
    outcome: Vec<String>,
    undo: &'static str,
    has_undo: bool,
    disturbed: String,
    trigger: evidence::Trigger,
    oversight: oversight::Oversight,
    steps: Vec<steps::Step>,
    blast: blast::Blast,
    evidence: Vec<evidence::Measured>,
    reasons: Vec<why::Reason>,
    ladder: Vec<why::Rung>,
    same_policy: bool,
    provenance: Vec<why::Origin>,
    tainted: bool,
    similar: Vec<oversight::Similar>,
    words: Option<Words>,
    withheld: bool,
    terms: terms::Terms,
}

/// What the agent says.
struct Words {
    fields: Vec<(&'static str, Foreign)>,
    chars: usize,
    escaped: usize,
}

/// `GET /holds/{id}`.
pub(in crate::console) async fn show(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    PathId(id): PathId<kind::Hold>,
) -> Result<Response, Problem> {
    let gate = console.door.service.gate();
    let view = approve::find(&gate, &id).await?;
    let frame = Frame::new(&console, Some(&visitor), "/").await;
    page(&whole(&gate, console.origin(), &visitor, view, frame, console.now()).await?)
}

async fn whole(
    gate: &Gate,
    origin: &str,
    visitor: &Visitor,
    view: PlanView,
    frame: Frame,
    now: Timestamp,
) -> Result<Page, Problem> {
    let broken = || Problem::internal(&"a hold without its terms or its decision");
    let terms = view.terms.as_ref().ok_or_else(broken)?;
    let (decision, facts) = view.decided.as_ref().ok_or_else(broken)?;
    let blast = &facts.first().blast;
    let is_open = view.state == PlanState::Held && now < terms.expires_at_ms;
    let emergency = view.plan.requester().is_emergency();
    let missing = approve::missing(gate, &view);
    let words = words(gate, &view).await?;
    let places = facts.steps().filter_map(|step| step.target.as_ref());
    let mut places: Vec<_> =
        places.map(|target| format!("service {}, {}", target.service, target.environment)).collect();
    places.dedup();
    Ok(Page {
        frame,
        hold: terms.hold.to_string(),
        plan: view.id.to_string(),
        incident: view.plan.incident().map(ToString::to_string),
        state: shape(view.state),
        is_open,
        what: sentence(gate, &view.plan),
        who: view.plan.requester().words(),
        place: list(places),
        tier: terms.tier.as_str(),
        meaning: terms.tier.meaning(),
        answer: decision.answer.as_str(),
        ends: Some(When::new(terms.expires_at_ms, now)),
        proposed: view.proposed_at().map(|at| When::new(at, now)),
        nobody: nobody(missing.as_ref().map_or(1, |missing| missing.approvals), emergency),
        emergency,
        outcome: outcome(&view),
        undo: steps::undo_of_all(facts),
        has_undo: facts.steps().all(holdpoint_domain::facts::Facts::has_undo),
        disturbed: disturbed(blast),
        trigger: evidence::Trigger::of(gate, facts.first()),
        oversight: oversight::Oversight::of(origin, gate, &view, visitor, missing.filter(|_| is_open), now),
        steps: steps::all(gate, &view, facts, is_open).await,
        blast: blast::Blast::of(gate, facts, now),
        evidence: evidence::all(gate, &view, now),
        reasons: why::reasons(gate, decision, facts),
        // Beyond policy means that policy is not asked.
        ladder: if emergency { Vec::new() } else { why::ladder(gate, decision, facts) },
        same_policy: decision.policy == gate.ports.judge.digest(),
        provenance: why::provenance(facts),
        tainted: facts.steps().any(|step| step.provenance.tainted()),
        similar: oversight::similar(gate, &view, now).await?,
        withheld: words.is_none(),
        words: words.filter(|words| words.chars > 0),
        terms: terms::Terms::of(terms, &view)?,
    })
}

/// What a plan does, in one sentence of the gate: the catalogue's titles and the targets of the inventory.
pub(in crate::console) fn sentence(gate: &Gate, plan: &Plan) -> String {
    let one =
        |step: &holdpoint_domain::plan::Step| format!("{} on {}", title(gate, &step.action), step.target);
    plan.steps().iter().map(one).collect::<Vec<_>>().join(", then ")
}

/// What happens when nobody answers.
fn nobody(missing: u32, emergency: bool) -> String {
    let missing = match missing {
        1 => "one more approval is".to_owned(),
        more => format!("{more} more approvals are"),
    };
    let asks = if emergency { "somebody" } else { "the agent" };
    format!(
        "If {missing} not given by then, the plan expires: nothing runs, and {asks} must ask anew. Silence is a no."
    )
}

/// How much a plan can disturb, in short.
pub(in crate::console) fn disturbed(blast: &holdpoint_domain::blast::Blast) -> String {
    let critical = match blast.critical.len() {
        0 => "none critical".to_owned(),
        some => format!("{some} critical"),
    };
    format!(
        "{} on {}, {critical}",
        count(blast.services.len(), "service"),
        count(blast.targets.len(), "target")
    )
}

/// How it ended, if it has.
fn outcome(view: &PlanView) -> Vec<String> {
    let mut lines: Vec<_> = view.worse.iter().map(worse).collect();
    lines.extend(view.failed.map(|why| failure(why).to_owned()));
    lines.extend(view.doubt.map(|why| doubt(why).to_owned()));
    lines
}

/// The requester's words from beside the ledger, if they are still there and still what was committed to.
async fn words(gate: &Gate, view: &PlanView) -> Result<Option<Words>, Problem> {
    let Some(kept) = gate.ports.store.text(&view.narrative).await? else { return Ok(None) };
    if !view.narrative.opens_to(&kept.salt, kept.text.as_bytes()) {
        return Err(Problem::internal(&"a kept text does not open its commitment"));
    }
    let narrative: Narrative = serde_json::from_str(&kept.text).map_err(|err| Problem::internal(&err))?;
    let fields = [
        ("Summary", narrative.summary),
        ("Reason", narrative.reason),
        ("Its own confidence", narrative.confidence.unwrap_or_default()),
    ];
    let fields: Vec<_> = fields
        .into_iter()
        .map(|(name, text)| (name, foreign(&text)))
        .filter(|(_, text)| !text.is_empty())
        .collect();
    let chars = fields.iter().map(|(_, text)| text.chars).sum();
    let escaped = fields.iter().map(|(_, text)| text.escaped).sum();
    Ok(Some(Words { fields, chars, escaped }))
}

/// A span in words, or that there is none.
fn window(span_of: holdpoint_domain::Millis) -> String {
    if span_of.ms() == 0 { "no time".to_owned() } else { span(span_of) }
}

/// An operator's title, on one line.
fn operators(text: &str) -> String {
    visible(text)
}
