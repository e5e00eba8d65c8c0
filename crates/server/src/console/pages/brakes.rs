//! What holds plans back now: which rule, until when, and who lifts it.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Response};
use holdpoint_app::brakes as app_brakes;
use holdpoint_domain::Timestamp;

use super::page;
use crate::{
    console::{Console, admit::Visitor, frame::Frame, show::When},
    http::{Problem, brakes, wire},
};

#[derive(Template)]
#[template(path = "brakes.html")]
struct Page {
    frame: Frame,
    brakes: Vec<Brake>,
    /// Error budgets, which nobody measures until something is decided.
    error_budgets: Vec<String>,
}

struct Brake {
    rule: String,
    denies: bool,
    fact: String,
    plan: String,
    until: Option<When>,
    lifted_by: String,
}

/// `GET /brakes`.
pub(in crate::console) async fn show(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
) -> Result<Response, Problem> {
    let (gate, now) = (console.door.service.gate(), console.now());
    let told = brakes::told(app_brakes::in_force(&gate).await?);
    let budgets = gate.controls.limits.error_budgets().iter();
    page(&Page {
        frame: Frame::new(&console, Some(&visitor), "/brakes").await,
        brakes: told.into_iter().map(|brake| one(brake, now)).collect(),
        error_budgets: budgets.map(|budget| format!("{}, by {}", budget.id, budget.condition)).collect(),
    })
}

fn one(brake: wire::Brake, now: Timestamp) -> Brake {
    Brake {
        rule: brake.rule,
        denies: brake.denies,
        fact: brake.fact,
        plan: brake.plan.map(|plan| plan.to_string()).unwrap_or_default(),
        until: brake.until_ms.map(|until| When::new(until, now)),
        lifted_by: brake.lifted_by,
    }
}
