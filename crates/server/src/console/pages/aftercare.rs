//! What people owe to runs that are over: reviews, and runs that nobody knows the end of.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Response};
use holdpoint_app::review;
use holdpoint_domain::flow::State as PlanState;

use super::{
    inbox::{Review, owed},
    page,
};
use crate::{
    console::{Console, admit::Visitor, frame::Frame, show::span},
    http::Problem,
};

#[derive(Template)]
#[template(path = "reviews.html")]
struct Page {
    frame: Frame,
    doubts: Vec<Review>,
    reviews: Vec<Review>,
    due: String,
}

/// `GET /reviews`.
pub(in crate::console) async fn show(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
) -> Result<Response, Problem> {
    let (gate, now) = (console.door.service.gate(), console.now());
    let (doubts, reviews): (Vec<_>, Vec<_>) =
        review::owed(&gate).await?.into_iter().partition(|run| run.state == PlanState::InDoubt);
    let shown = |runs: Vec<_>| runs.into_iter().map(|run| owed(&gate, run, now)).collect();
    page(&Page {
        frame: Frame::new(&console, Some(&visitor), "/reviews").await,
        doubts: shown(doubts),
        reviews: shown(reviews),
        due: span(gate.settings.review_ms),
    })
}
