//! The table itself.

use axum::routing::on;

use super::{Answer, Doc, Endpoint, get, json, other, post};
use crate::http::{
    aftercare, blast,
    body::{MAX_CHANGE_BYTES, MAX_FLAT_BYTES},
    caller::Who,
    changes, delegations, evaluations, events, halt, holds, incidents, invitations, leases, ledger, links,
    openapi, permits, plans, reconciliations, schema, wire, world,
};

/// All endpoints.
pub(in crate::http) const ENDPOINTS: &[Endpoint] = &[
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
    Endpoint {
        max_body: MAX_FLAT_BYTES,
        ..post(
            "/v1/evaluations",
            Who::Proposer,
            |method| on(method, evaluations::evaluate),
            schema::of::<wire::NewEvaluation>,
            Doc {
                summary: "Ask whether an action that changes nothing is allowed now; nothing runs",
                answers: &[json(200, "the answer, which is recorded", schema::of::<wire::Evaluation>)],
                fails: &[403],
                ..Doc::NONE
            },
        )
    },
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
    post(
        "/v1/plans/{id}/review",
        Who::Approver,
        |method| on(method, aftercare::review),
        schema::of::<wire::NewReview>,
        Doc {
            summary: "Say with a signed statement what you found when you looked at a run that is over",
            at: Some(("the plan's id", schema::of::<schema::Name>)),
            answers: &[json(200, "recorded", schema::of::<wire::LookedAfter>)],
            fails: &[409],
            ..Doc::NONE
        },
    ),
    post(
        "/v1/plans/{id}/resolution",
        Who::Approver,
        |method| on(method, aftercare::resolve),
        schema::of::<wire::NewResolution>,
        Doc {
            summary: "Say with a signed statement how a run in doubt ended",
            at: Some(("the plan's id", schema::of::<schema::Name>)),
            answers: &[json(200, "recorded", schema::of::<wire::LookedAfter>)],
            fails: &[409],
            ..Doc::NONE
        },
    ),
    get(
        "/v1/reviews",
        Who::Person,
        |method| on(method, aftercare::owed),
        Doc {
            summary: "List runs that somebody must still look at, those that are due first first",
            answers: &[json(200, "the runs", schema::of::<wire::Reviews>)],
            ..Doc::NONE
        },
    ),
    post(
        "/v1/reconciliations",
        Who::Approver,
        |method| on(method, reconciliations::say),
        schema::of::<wire::NewReconciliation>,
        Doc {
            summary: "Report, confirm or review what was done outside of Holdpoint, signed; it permits nothing",
            answers: &[json(200, "recorded", schema::of::<wire::Reconciled>)],
            fails: &[404, 409],
            ..Doc::NONE
        },
    ),
    get(
        "/v1/reconciliations",
        Who::Person,
        |method| on(method, reconciliations::list),
        Doc {
            summary: "List what was done outside of Holdpoint, newest first",
            answers: &[json(200, "the accounts", schema::of::<wire::Reconciliations>)],
            ..Doc::NONE
        },
    ),
    Endpoint {
        max_body: MAX_CHANGE_BYTES,
        ..post(
            "/v1/changes",
            Who::Approver,
            |method| on(method, changes::propose),
            schema::of::<wire::NewChange>,
            Doc {
                summary: "Propose other files for a control input",
                answers: &[json(201, "it waits for administrators", schema::of::<wire::ProposedChange>)],
                ..Doc::NONE
            },
        )
    },
    get(
        "/v1/changes",
        Who::Person,
        |method| on(method, changes::list),
        Doc {
            summary: "List changes of control inputs, newest first",
            query: Some(schema::of::<changes::ListQuery>),
            answers: &[json(200, "the changes", schema::of::<wire::Changes>)],
            ..Doc::NONE
        },
    ),
    get(
        "/v1/changes/{id}",
        Who::Person,
        |method| on(method, changes::show),
        Doc {
            summary: "Show a change with the files in force and those proposed",
            at: Some(("the change's id", schema::of::<schema::Name>)),
            answers: &[json(200, "the change", schema::of::<wire::ChangeDetail>)],
            ..Doc::NONE
        },
    ),
    post(
        "/v1/changes/{id}/decisions",
        Who::Approver,
        |method| on(method, changes::decide),
        schema::of::<schema::SignedChangeStatement>,
        Doc {
            summary: "Approve or reject a change with a signed statement; the last approval needed puts it in force",
            at: Some(("the change's id", schema::of::<schema::Name>)),
            answers: &[json(200, "recorded", schema::of::<wire::ChangeDecided>)],
            fails: &[409],
            ..Doc::NONE
        },
    ),
    get(
        "/v1/leases",
        Who::Person,
        |method| on(method, leases::list),
        Doc {
            summary: "List credentials that are not proven dead, and how their end goes; never a secret",
            answers: &[json(200, "the leases", schema::of::<wire::Leases>)],
            ..Doc::NONE
        },
    ),
    post(
        "/v1/leases/{id}/revocation",
        Who::Approver,
        |method| on(method, leases::revoke),
        schema::of::<wire::NewRevocation>,
        Doc {
            summary: "End a credential, whatever its run is doing; the run fails safe",
            at: Some(("the lease's id", schema::of::<schema::Name>)),
            answers: &[json(200, "recorded, and ended or about to be", schema::of::<wire::Revocation>)],
            ..Doc::NONE
        },
    ),
    get(
        "/v1/halt",
        Who::Reader,
        |method| on(method, halt::show),
        Doc {
            summary: "Show the halt in force",
            answers: &[json(200, "the halt, if there is one", schema::of::<wire::HaltInForce>)],
            ..Doc::NONE
        },
    ),
    post(
        "/v1/halt",
        Who::Approver,
        |method| on(method, halt::halt),
        schema::of::<wire::NewHalt>,
        Doc {
            summary: "Halt everything: starts and further steps (soft), or undos as well (hard)",
            answers: &[json(200, "it is in force", schema::of::<wire::Halted>)],
            ..Doc::NONE
        },
    ),
    post(
        "/v1/resume",
        Who::Approver,
        |method| on(method, halt::resume),
        schema::of::<schema::SignedResumeStatement>,
        Doc {
            summary: "End the halt; for administrators",
            answers: &[json(200, "it goes on", schema::of::<wire::HaltInForce>)],
            fails: &[409],
            ..Doc::NONE
        },
    ),
    get(
        "/v1/limits",
        Who::Reader,
        |method| on(method, halt::limits),
        Doc {
            summary: "Show the limits in force",
            answers: &[json(200, "the limits", schema::of::<wire::Limits>)],
            ..Doc::NONE
        },
    ),
    get(
        "/v1/brakes",
        Who::Person,
        |method| on(method, halt::brakes),
        Doc {
            summary: "Show what holds plans back now, until when, and who lifts it",
            answers: &[json(200, "the brakes", schema::of::<wire::BrakesInForce>)],
            ..Doc::NONE
        },
    ),
    get(
        "/v1/incidents",
        Who::Reader,
        |method| on(method, incidents::list),
        Doc {
            summary: "List the incidents that sources outside told of",
            answers: &[json(200, "the incidents", schema::of::<wire::Incidents>)],
            ..Doc::NONE
        },
    ),
    get(
        "/v1/status",
        Who::Reader,
        |method| on(method, halt::status),
        Doc {
            summary: "Show what holds the gate back, the digests in force, and the size of the log",
            answers: &[json(200, "the status", schema::of::<wire::Status>)],
            ..Doc::NONE
        },
    ),
    get(
        "/v1/events",
        Who::Auditor,
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
        |method| on(method, blast::blast),
        Doc {
            summary: "Say what an action on a target would disturb",
            query: Some(schema::of::<blast::BlastQuery>),
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
        "/v1/ledger/cosigned",
        Who::Anyone,
        |method| on(method, ledger::cosigned),
        Doc {
            summary: "The newest checkpoint that enough witnesses cosigned (C2SP tlog-cosignature)",
            answers: &[other("the checkpoint with its cosignatures", "text/plain; charset=utf-8")],
            fails: &[404],
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
        Who::Auditor,
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
        Who::Auditor,
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
        Who::Auditor,
        |method| on(method, ledger::proof),
        Doc {
            summary: "Prove that an entry is in the latest checkpoint (C2SP tlog-proof)",
            at: Some(("the entry's index", schema::of::<u64>)),
            answers: &[other("the proof", "text/plain; charset=utf-8")],
            ..Doc::NONE
        },
    ),
    post(
        "/v1/invitations",
        Who::Approver,
        |method| on(method, invitations::invite),
        schema::of::<wire::NewInvitation>,
        Doc {
            summary: "Invite somebody of the registry to register a passkey; for administrators",
            answers: &[json(201, "the invitation, with its secret", schema::of::<wire::Invited>)],
            fails: &[404],
            ..Doc::NONE
        },
    ),
    post(
        "/v1/sign-in-links",
        Who::Person,
        |method| on(method, links::make),
        schema::of::<wire::NewSignInLink>,
        Doc {
            summary: "Make a link that signs your browser in to the console, once; for people",
            answers: &[json(201, "the link, with its secret", schema::of::<wire::SignInLink>)],
            fails: &[404],
            ..Doc::NONE
        },
    ),
    post(
        "/v1/delegations",
        Who::Delegator,
        |method| on(method, delegations::delegate),
        schema::of::<wire::NewDelegation>,
        Doc {
            summary: "Have an agent act for you: a token for the header `Holdpoint-Delegation`",
            answers: &[json(201, "the delegation, which is recorded", schema::of::<wire::Delegated>)],
            fails: &[403],
            ..Doc::NONE
        },
    ),
    post(
        "/v1/introspection",
        Who::Reader,
        |method| on(method, permits::introspect),
        schema::of::<wire::NewIntrospection>,
        Doc {
            summary: "Ask whether a permit, what was passed on of one, or a bearer lease is good now",
            answers: &[json(200, "whether it is, and what it grants", schema::of::<wire::Introspection>)],
            ..Doc::NONE
        },
    ),
    get(
        "/.well-known/jwks.json",
        Who::Anyone,
        |method| on(method, permits::jwks),
        Doc {
            summary: "The keys that permits, delegations and bearer leases are checked with (RFC 7517)",
            answers: &[Answer {
                status: 200,
                what: "the keys",
                content: ("application/jwk-set+json", Some(schema::of::<wire::JwkSet>)),
            }],
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
            summary: "The process answers and the store can be written and read",
            answers: &[json(200, "all is well", schema::of::<wire::Health>)],
            ..Doc::NONE
        },
    ),
];
