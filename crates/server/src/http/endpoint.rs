//! The table of endpoints. The router is built from it and from nothing else, so that no endpoint can be without a row, and
//! no row without the answer to who may call it.

use std::sync::Arc;

use axum::{
    Router,
    middleware::from_fn_with_state,
    routing::{MethodFilter, MethodRouter, on},
};

use super::{
    caller::{Guard, Who, admit},
    door::Door,
    events, holds, ledger, plans,
};

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
    handler: fn(MethodFilter) -> MethodRouter<Arc<Door>>,
}

/// All endpoints.
pub(super) const ENDPOINTS: &[Endpoint] = &[
    post("/v1/plans", Who::Proposer, |method| on(method, plans::propose)),
    get("/v1/plans", Who::Reader, |method| on(method, plans::list)),
    get("/v1/plans/{id}", Who::Reader, |method| on(method, plans::show)),
    get("/v1/holds", Who::Reader, |method| on(method, holds::list)),
    get("/v1/holds/{id}", Who::Reader, |method| on(method, holds::show)),
    post("/v1/holds/{id}/decisions", Who::Approver, |method| on(method, holds::decide)),
    get("/v1/events", Who::Person, |method| on(method, events::follow)),
    get("/v1/ledger/checkpoint", Who::Anyone, |method| on(method, ledger::checkpoint)),
    get("/v1/ledger/consistency", Who::Anyone, |method| on(method, ledger::consistency)),
    get("/v1/ledger/tile/{*path}", Who::Person, |method| on(method, ledger::tile)),
    get("/v1/ledger/entries", Who::Person, |method| on(method, ledger::entries)),
    get("/v1/ledger/proof/{index}", Who::Person, |method| on(method, ledger::proof)),
    get("/v1/keys", Who::Anyone, |method| on(method, ledger::keys)),
    get("/healthz", Who::Anyone, |method| on(method, ledger::health)),
];

const fn get(path: &'static str, who: Who, handler: fn(MethodFilter) -> MethodRouter<Arc<Door>>) -> Endpoint {
    Endpoint { method: Method::Get, path, who, handler }
}

const fn post(
    path: &'static str,
    who: Who,
    handler: fn(MethodFilter) -> MethodRouter<Arc<Door>>,
) -> Endpoint {
    Endpoint { method: Method::Post, path, who, handler }
}

/// The routes of the table, each behind its own guard.
pub(super) fn routes(door: &Arc<Door>) -> Router<Arc<Door>> {
    ENDPOINTS.iter().fold(Router::new(), |router, endpoint| {
        let filter = match endpoint.method {
            Method::Get => MethodFilter::GET,
            Method::Post => MethodFilter::POST,
        };
        let guard = Guard { door: Arc::clone(door), who: endpoint.who };
        let route = (endpoint.handler)(filter).route_layer(from_fn_with_state(guard, admit));
        router.route(endpoint.path, route)
    })
}
