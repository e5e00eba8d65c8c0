//! The table of endpoints. The router and the API's documentation are built from it and from nothing else, so that no
//! endpoint can be without a row, and no row without the answer to who may call it and what it says.
//!
//! To add an endpoint: a row here, a line in the matrix of `tests/matrix.rs`, a line in `docs/http.md`. Tests fail until
//! all three are there.

use std::sync::Arc;

use axum::{
    Router,
    middleware::from_fn_with_state,
    routing::{MethodFilter, MethodRouter, on},
};

use super::{
    caller::{Guard, Who, admit},
    door::Door,
    events, holds, ledger, openapi, plans,
    schema::{self, SchemaOf},
    wire, world,
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
    /// The body, which every `POST` has and no `GET`.
    pub(super) body: Option<SchemaOf>,
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
    /// Statuses of problems beside those that [`openapi`] knows from the rest of the row.
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

/// All endpoints.
pub(super) const ENDPOINTS: &[Endpoint] = &[
    post(
        "/v1/plans",
        Who::Proposer,
        |method| on(method, plans::propose),
        schema::of::<wire::NewPlan>,
        Doc {
            summary: "Propose a plan: the gate measures, decides and records before it answers",
            answers: &[
                json(201, "allowed: the run starts", schema::of::<wire::Proposed>),
                json(202, "waits for people, or is measured again", schema::of::<wire::Proposed>),
            ],
            fails: &[409, 502],
            ..Doc::NONE
        },
    ),
    get(
        "/v1/plans",
        Who::Reader,
        |method| on(method, plans::list),
        Doc {
            summary: "List plans, newest first",
            query: Some(schema::of::<plans::ListQuery>),
            answers: &[json(200, "the plans", schema::of::<wire::Plans>)],
            ..Doc::NONE
        },
    ),
    get(
        "/v1/plans/{id}",
        Who::Reader,
        |method| on(method, plans::show),
        Doc {
            summary: "Show everything about a plan",
            at: Some(("the plan's id", schema::of::<schema::Name>)),
            answers: &[json(200, "the plan", schema::of::<wire::PlanDetail>)],
            ..Doc::NONE
        },
    ),
    get(
        "/v1/holds",
        Who::Reader,
        |method| on(method, holds::list),
        Doc {
            summary: "List what waits for people, newest first",
            query: Some(schema::of::<holds::ListQuery>),
            answers: &[json(200, "the holds", schema::of::<wire::Holds>)],
            ..Doc::NONE
        },
    ),
    get(
        "/v1/holds/{id}",
        Who::Reader,
        |method| on(method, holds::show),
        Doc {
            summary: "Show a hold with everything that its terms name by digest",
            at: Some(("the hold's id", schema::of::<schema::Name>)),
            answers: &[json(200, "the hold", schema::of::<wire::HoldDetail>)],
            ..Doc::NONE
        },
    ),
    post(
        "/v1/holds/{id}/decisions",
        Who::Approver,
        |method| on(method, holds::decide),
        schema::of::<schema::SignedStatement>,
        Doc {
            summary: "Approve or reject a hold with a signed statement",
            at: Some(("the hold's id", schema::of::<schema::Name>)),
            answers: &[json(200, "recorded", schema::of::<wire::Decided>)],
            fails: &[409],
            ..Doc::NONE
        },
    ),
    get(
        "/v1/events",
        Who::Person,
        |method| on(method, events::follow),
        Doc {
            summary: "Follow the ledger as server-sent events; resume with `Last-Event-ID` or `after`",
            query: Some(schema::of::<events::FollowQuery>),
            answers: &[other(
                "one event a record, once it is durable: `id` is its index, `event` its kind, `data` the record",
                "text/event-stream",
            )],
            fails: &[409],
            ..Doc::NONE
        },
    ),
    get(
        "/v1/catalogue",
        Who::Reader,
        |method| on(method, world::catalogue),
        Doc {
            summary: "List the actions in force, with the floors that guardrails give them",
            query: Some(schema::of::<world::PageQuery>),
            answers: &[json(200, "a page of the catalogue", schema::of::<wire::Catalogue>)],
            ..Doc::NONE
        },
    ),
    get(
        "/v1/catalogue/{action}",
        Who::Reader,
        |method| on(method, world::action),
        Doc {
            summary: "Show an action with its conditions",
            at: Some(("the action's id", schema::of::<schema::Name>)),
            answers: &[json(200, "the action", schema::of::<wire::CatalogueAction>)],
            ..Doc::NONE
        },
    ),
    get(
        "/v1/inventory",
        Who::Reader,
        |method| on(method, world::inventory),
        Doc {
            summary: "List the targets in force and their services",
            query: Some(schema::of::<world::PageQuery>),
            answers: &[json(200, "a page of the inventory", schema::of::<wire::Inventory>)],
            ..Doc::NONE
        },
    ),
    get(
        "/v1/blast",
        Who::Reader,
        |method| on(method, world::blast),
        Doc {
            summary: "Say what an action on a target would disturb",
            query: Some(schema::of::<world::BlastQuery>),
            answers: &[json(200, "the blast radius", schema::of::<wire::Disturbance>)],
            fails: &[404],
            ..Doc::NONE
        },
    ),
    post(
        "/v1/probes",
        Who::Reader,
        |method| on(method, world::probe),
        schema::of::<wire::NewProbe>,
        Doc {
            summary: "Measure a condition on a target now; read-only, nothing is recorded",
            answers: &[json(200, "what the probes saw", schema::of::<schema::Evidence>)],
            fails: &[404],
            ..Doc::NONE
        },
    ),
    get(
        "/v1/ledger/checkpoint",
        Who::Anyone,
        |method| on(method, ledger::checkpoint),
        Doc {
            summary: "The latest signed checkpoint (C2SP tlog-checkpoint)",
            answers: &[other("the checkpoint", "text/plain; charset=utf-8")],
            ..Doc::NONE
        },
    ),
    get(
        "/v1/ledger/consistency",
        Who::Anyone,
        |method| on(method, ledger::consistency),
        Doc {
            summary: "Prove that the tree of `old` is a prefix of the tree of `new` (RFC 6962)",
            query: Some(schema::of::<ledger::ConsistencyQuery>),
            answers: &[json(200, "the proof", schema::of::<wire::Consistency>)],
            fails: &[404],
            ..Doc::NONE
        },
    ),
    get(
        "/v1/ledger/tile/{*path}",
        Who::Person,
        |method| on(method, ledger::tile),
        Doc {
            summary: "A tile of hashes or a bundle of entries (C2SP tlog-tiles)",
            at: Some(("the rest of a tile's path, slashes included", schema::of::<String>)),
            answers: &[other("the tile", "application/octet-stream")],
            ..Doc::NONE
        },
    ),
    get(
        "/v1/ledger/entries",
        Who::Person,
        |method| on(method, ledger::entries),
        Doc {
            summary: "Entries as JSON, in order",
            query: Some(schema::of::<ledger::EntriesQuery>),
            answers: &[json(200, "the entries", schema::of::<wire::Entries>)],
            ..Doc::NONE
        },
    ),
    get(
        "/v1/ledger/proof/{index}",
        Who::Person,
        |method| on(method, ledger::proof),
        Doc {
            summary: "Prove that an entry is in the latest checkpoint (C2SP tlog-proof)",
            at: Some(("the entry's index", schema::of::<u64>)),
            answers: &[other("the proof", "text/plain; charset=utf-8")],
            ..Doc::NONE
        },
    ),
    get(
        "/v1/keys",
        Who::Anyone,
        |method| on(method, ledger::keys),
        Doc {
            summary: "The gate's public keys, by purpose",
            answers: &[json(200, "the keys", schema::of::<wire::Keys>)],
            ..Doc::NONE
        },
    ),
    get(
        "/v1/openapi.json",
        Who::Anyone,
        |method| on(method, openapi::serve),
        Doc {
            summary: "This document (OpenAPI 3.1)",
            answers: &[other("the document", "application/json")],
            ..Doc::NONE
        },
    ),
    get(
        "/healthz",
        Who::Anyone,
        |method| on(method, ledger::health),
        Doc {
            summary: "The process answers and the store has a head",
            answers: &[json(200, "all is well", schema::of::<wire::Health>)],
            ..Doc::NONE
        },
    ),
];

const fn get(
    path: &'static str,
    who: Who,
    handler: fn(MethodFilter) -> MethodRouter<Arc<Door>>,
    doc: Doc,
) -> Endpoint {
    Endpoint { method: Method::Get, path, who, body: None, doc, handler }
}

const fn post(
    path: &'static str,
    who: Who,
    handler: fn(MethodFilter) -> MethodRouter<Arc<Door>>,
    body: SchemaOf,
    doc: Doc,
) -> Endpoint {
    Endpoint { method: Method::Post, path, who, body: Some(body), doc, handler }
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
        let guard = Guard { door: Arc::clone(door), who: endpoint.who };
        let route = (endpoint.handler)(filter).route_layer(from_fn_with_state(guard, admit));
        router.route(endpoint.path, route)
    })
}
