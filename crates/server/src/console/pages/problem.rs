//! What a person sees when something is not there, is not theirs, or failed: which rule, which fact, what to do next.

use askama::Template;
use axum::response::{IntoResponse, Response};

use super::page;
use crate::{
    console::{Console, admit::Visitor, frame::Frame, show::tame},
    http::Problem,
};

#[derive(Template)]
#[template(path = "problem.html")]
struct Page {
    frame: Frame,
    status: u16,
    title: String,
    detail: String,
    next: String,
    rule: &'static str,
    path: String,
}

/// The page of a problem.
pub(in crate::console) async fn page_of(
    console: &Console,
    visitor: Option<&Visitor>,
    problem: &Problem,
    path: &str,
) -> Response {
    let view = Page {
        frame: Frame::new(console, visitor, "").await,
        status: problem.status().as_u16(),
        title: problem.rule().replace('-', " "),
        detail: tame(problem.detail()),
        next: tame(problem.next()),
        rule: problem.rule(),
        path: tame(path),
    };
    match page(&view) {
        Ok(page) => (problem.status(), page).into_response(),
        Err(problem) => problem.into_response(),
    }
}
