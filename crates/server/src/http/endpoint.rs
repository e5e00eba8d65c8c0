//! The table of endpoints. The router and the API's documentation are built from it and from nothing else, so that no
//! endpoint can be without a row, and no row without the answer to who may call it and what it says.
//!
//! To add an endpoint: a row in [`rows`], a line in the matrix of `tests/matrix.rs`, a line in `docs/http.md`. Tests fail until
//! all three are there.

use std::sync::Arc;

use axum::{
    Router,
    middleware::from_fn_with_state,
    routing::{MethodFilter, MethodRouter},
};

use super::{
    body::MAX_BODY_BYTES,
    caller::{Guard, Who, admit},
    door::Door,
    schema::SchemaOf,
};

mod rows;

pub(super) use rows::ENDPOINTS;

/// The methods that endpoints have. `GET` answers `HEAD` too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Method {
    /// Reads.
    Get,
    /// Changes.
    Post,
}

/// An endpoint.
pub(super) struct Endpoint {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) who: Who,
    /// The body, which every `POST` has and no `GET`.
    pub(super) body: Option<SchemaOf>,
    /// The largest body that it takes.
    pub(super) max_body: usize,
    pub(super) doc: Doc,
    handler: fn(MethodFilter) -> MethodRouter<Arc<Door>>,
}

/// What the documentation says of an endpoint, beside what its row says anyway.
pub(super) struct Doc {
    /// One line.
    pub(super) summary: &'static str,
    /// What the name in the path means, and its form.
    pub(super) at: Option<(&'static str, SchemaOf)>,
    /// The fields of the query.
    pub(super) query: Option<SchemaOf>,
    /// What it answers when all is well.
    pub(super) answers: &'static [Answer],
    /// Statuses of problems beside those that [`super::openapi`] knows from the rest of the row.
    pub(super) fails: &'static [u16],
}

/// A good answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) what: &'static str,
    /// The content type, and the schema where it is JSON.
    pub(super) content: (&'static str, Option<SchemaOf>),
}

impl Doc {
    const NONE: Self = Self { summary: "", at: None, query: None, answers: &[], fails: &[] };
}

const fn json(status: u16, what: &'static str, schema: SchemaOf) -> Answer {
    Answer { status, what, content: ("application/json", Some(schema)) }
}

const fn other(what: &'static str, kind: &'static str) -> Answer {
    Answer { status: 200, what, content: (kind, None) }
}

const fn get(
    path: &'static str,
    who: Who,
    handler: fn(MethodFilter) -> MethodRouter<Arc<Door>>,
    doc: Doc,
) -> Endpoint {
    Endpoint { method: Method::Get, path, who, body: None, max_body: 0, doc, handler }
}

const fn post(
    path: &'static str,
    who: Who,
    handler: fn(MethodFilter) -> MethodRouter<Arc<Door>>,
    body: SchemaOf,
    doc: Doc,
) -> Endpoint {
    Endpoint { method: Method::Post, path, who, body: Some(body), max_body: MAX_BODY_BYTES, doc, handler }
}

impl Method {
    /// The method's name.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

/// The routes of the table, each behind its own guard.
pub(super) fn routes(door: &Arc<Door>) -> Router<Arc<Door>> {
    ENDPOINTS.iter().fold(Router::new(), |router, endpoint| {
        let filter = match endpoint.method {
            Method::Get => MethodFilter::GET,
            Method::Post => MethodFilter::POST,
        };
        let (door, max_body) = (Arc::clone(door), endpoint.max_body);
        let guard = Guard { door, who: endpoint.who, max_body };
        let route = (endpoint.handler)(filter).route_layer(from_fn_with_state(guard, admit));
        router.route(endpoint.path, route)
    })
}
