//! The table of the console's pages. The router is built from it and from nothing else, so that no page is without an answer to who
//! may open it.
//!
//! To add a page: a row here and a line in the matrix of `tests/matrix.rs`. Tests fail until both are there.

use std::sync::Arc;

use axum::{
    Router,
    middleware::from_fn_with_state,
    routing::{MethodFilter, MethodRouter, on},
};

use super::{
    Console,
    admit::{Guard, Who, admit},
    assets, ceremony, pages,
};

/// The methods of pages. `GET` changes nothing, ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// Shows.
    Get,
    /// Changes.
    Post,
}

/// A page, or something that a page sends.
pub(super) struct Route {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) who: Who,
    handler: fn(MethodFilter) -> MethodRouter<Arc<Console>>,
}

impl Method {
    /// The method's name.
    #[cfg(test)]
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

const fn get(path: &'static str, who: Who, handler: fn(MethodFilter) -> MethodRouter<Arc<Console>>) -> Route {
    Route { method: Method::Get, path, who, handler }
}

const fn post(
    path: &'static str,
    who: Who,
    handler: fn(MethodFilter) -> MethodRouter<Arc<Console>>,
) -> Route {
    Route { method: Method::Post, path, who, handler }
}

/// All of them.
pub(super) const ROUTES: &[Route] = &[
    get("/", Who::User, |method| on(method, pages::inbox::show)),
    get("/holds/{id}", Who::User, |method| on(method, pages::request::show)),
    get("/plans/{id}", Who::User, |method| on(method, pages::plan::show)),
    get("/incidents/{id}", Who::User, |method| on(method, pages::plan::incident)),
    get("/runs", Who::User, |method| on(method, pages::runs::show)),
    get("/runs/events", Who::User, |method| on(method, pages::runs::events)),
    get("/reviews", Who::User, |method| on(method, pages::aftercare::show)),
    get("/reconciliations", Who::User, |method| on(method, pages::outside::show)),
    get("/brakes", Who::User, |method| on(method, pages::brakes::show)),
    get("/leases", Who::User, |method| on(method, pages::leases::show)),
    get("/changes", Who::User, |method| on(method, pages::changes::list_all)),
    get("/changes/{id}", Who::User, |method| on(method, pages::changes::show)),
    get("/agents", Who::User, |method| on(method, pages::registry::agents)),
    get("/people", Who::User, |method| on(method, pages::registry::people)),
    get("/catalogue", Who::User, |method| on(method, pages::catalogue::show)),
    get("/policies", Who::User, |method| on(method, pages::policies::show)),
    get("/settings", Who::User, |method| on(method, pages::settings::show)),
    get("/ledger", Who::Reader, |method| on(method, pages::ledger::show)),
    get("/ledger/{index}", Who::Reader, |method| on(method, pages::ledger::entry)),
    get("/ledger/{index}/proof", Who::Reader, |method| on(method, pages::ledger::proof)),
    post("/ledger/verify", Who::Reader, |method| on(method, pages::ledger::verify)),
    get("/figures", Who::Reader, |method| on(method, pages::figures::show)),
    get("/sign-in", Who::Anyone, |method| on(method, pages::account::sign_in)),
    post("/sign-in/passkey", Who::Anyone, |method| on(method, ceremony::sign_in_begin)),
    post("/sign-in/passkey/finish", Who::Anyone, |method| on(method, ceremony::sign_in_finish)),
    get("/sign-in/link", Who::Anyone, |method| on(method, pages::account::link)),
    post("/sign-in/link", Who::Anyone, |method| on(method, pages::account::follow)),
    get("/enrol", Who::Anyone, |method| on(method, ceremony::enrol_page)),
    post("/enrol", Who::Anyone, |method| on(method, ceremony::enrol_begin)),
    post("/enrol/finish", Who::Anyone, |method| on(method, ceremony::enrol_finish)),
    post("/ceremonies", Who::User, |method| on(method, ceremony::begin)),
    post("/ceremonies/finish", Who::User, |method| on(method, ceremony::finish)),
    get("/break-glass", Who::User, |method| on(method, pages::emergency::show)),
    post("/break-glass", Who::User, |method| on(method, pages::emergency::ask)),
    get("/sign-in/oidc", Who::Anyone, |method| on(method, pages::sso::leave)),
    get("/sign-in/oidc/callback", Who::Anyone, |method| on(method, pages::sso::come_back)),
    post("/stay", Who::SignedIn, |method| on(method, pages::account::stay)),
    post("/sign-out", Who::SignedIn, |method| on(method, pages::account::sign_out)),
    post("/sign-out/everywhere", Who::SignedIn, |method| on(method, pages::account::sign_out_everywhere)),
    post("/halt", Who::SignedIn, |method| on(method, pages::halt::halt)),
    get("/assets/{file}", Who::Anyone, |method| on(method, assets::show)),
];

/// The routes of the table, each behind its own guard.
pub(super) fn routes(console: &Arc<Console>) -> Router<Arc<Console>> {
    ROUTES.iter().fold(Router::new(), |router, row| {
        let filter = match row.method {
            Method::Get => MethodFilter::GET,
            Method::Post => MethodFilter::POST,
        };
        let guard = Guard { console: Arc::clone(console), who: row.who };
        router.route(row.path, (row.handler)(filter).route_layer(from_fn_with_state(guard, admit)))
    })
}
