//! The pages: each makes a view of what the gate knows, and renders its template.

pub(super) mod account;
pub(super) mod aftercare;
pub(super) mod brakes;
pub(super) mod catalogue;
pub(super) mod changes;
pub(super) mod emergency;
pub(super) mod figures;
pub(super) mod halt;
pub(super) mod inbox;
mod known;
pub(super) mod leases;
pub(super) mod ledger;
pub(super) mod outside;
pub(super) mod plan;
pub(super) mod policies;
pub(super) mod problem;
pub(super) mod registry;
pub(super) mod request;
pub(super) mod runs;
pub(super) mod settings;
pub(super) mod sso;

use askama::Template;
use axum::response::{Html, IntoResponse, Response};

use crate::http::Problem;

/// A page out of its template.
pub(super) fn page(template: &impl Template) -> Result<Response, Problem> {
    template.render().map(|html| Html(html).into_response()).map_err(|err| Problem::internal(&err))
}
