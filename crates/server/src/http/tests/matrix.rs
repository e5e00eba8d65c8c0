//! Who may call what: every endpoint by every kind of caller (T04).

use std::collections::BTreeSet;

use axum::http::Method;
use holdpoint_app::fake::{Deed, Issuing};
use holdpoint_domain::{approval::Choice, flow::State};
use serde_json::json;

use super::{
    aftercare::{resolution, review},
    bench::{Bench, plan, request},
    changes::decision,
    halt::end_of_halt,
    reconciliations::report,
};
use crate::http::{endpoint::ENDPOINTS, wire};

/// The whole matrix, as a reviewer reads it: the status that each caller gets. `{id}` is a plan, or its hold, of agent
/// `own`; `own` and `other` are its and another agent's identities for deciding, `observe` and `execute` are identities of
/// `own`. Two people may do the same, so there is one column for them.
const MATRIX: &str = "
endpoint                            nobody garbage observe own other execute person
POST /v1/plans                      401    401     403     201 201   403     403
GET  /v1/plans                      401    401     200     200 200   200     200
POST /v1/evaluations                401    401     403     200 200   403     403
GET  /v1/plans/{id}                 401    401     200     200 404   200     200
GET  /v1/holds                      401    401     200     200 200   200     200
GET  /v1/holds/{id}                 401    401     200     200 404   200     200
POST /v1/holds/{id}/decisions       401    401     403     403 403   403     200
POST /v1/plans/{id}/review          401    401     403     403 403   403     200
POST /v1/plans/{id}/resolution      401    401     403     403 403   403     200
POST /v1/reconciliations            401    401     403     403 403   403     200
GET  /v1/reconciliations            401    401     403     403 403   403     200
GET  /v1/reviews                    401    401     403     403 403   403     200
POST /v1/changes                    401    401     403     403 403   403     201
GET  /v1/changes                    401    401     403     403 403   403     200
GET  /v1/changes/{id}               401    401     403     403 403   403     200
POST /v1/changes/{id}/decisions     401    401     403     403 403   403     200
GET  /v1/leases                     401    401     403     403 403   403     200
POST /v1/leases/{id}/revocation     401    401     403     403 403   403     200
GET  /v1/halt                       401    401     200     200 200   200     200
POST /v1/halt                       401    401     403     403 403   403     200
POST /v1/resume                     401    401     403     403 403   403     200
GET  /v1/limits                     401    401     200     200 200   200     200
GET  /v1/brakes                     401    401     403     403 403   403     200
GET  /v1/incidents                  401    401     200     200 200   200     200
GET  /v1/status                     401    401     200     200 200   200     200
GET  /v1/events                     401    401     403     403 403   403     200
GET  /v1/catalogue                  401    401     200     200 200   200     200
GET  /v1/catalogue/{action}         401    401     200     200 200   200     200
GET  /v1/inventory                  401    401     200     200 200   200     200
GET  /v1/blast                      401    401     200     200 200   200     200
POST /v1/probes                     401    401     200     200 200   200     200
GET  /v1/ledger/checkpoint          200    200     200     200 200   200     200
GET  /v1/ledger/cosigned            404    404     404     404 404   404     404
GET  /v1/ledger/consistency         200    200     200     200 200   200     200
GET  /v1/ledger/tile/{*path}        401    401     403     403 403   403     200
GET  /v1/ledger/entries             401    401     403     403 403   403     200
GET  /v1/ledger/proof/{index}       401    401     403     403 403   403     200
POST /v1/invitations                401    401     403     403 403   403     201
POST /v1/sign-in-links              401    401     403     403 403   403     404
POST /v1/delegations                401    401     403     201 201   403     201
POST /v1/introspection              401    401     200     200 200   200     200
GET  /.well-known/jwks.json         200    200     200     200 200   200     200
GET  /v1/keys                       200    200     200     200 200   200     200
GET  /v1/openapi.json               200    200     200     200 200   200     200
GET  /healthz                       200    200     200     200 200   200     200
";

const TOKENS: [(&str, &str); 7] = [
    ("nobody", ""),
    ("garbage", "garbage"),
    ("observe", "agent.own.observe"),
    ("own", "agent.own.decide"),
    ("other", "agent.other.decide"),
    ("execute", "agent.own.execute"),
    ("person", "person.bob"),
];

fn rows() -> Vec<(&'static str, &'static str, Vec<u16>)> {
    let row = |line: &'static str| {
        let mut words = line.split_whitespace();
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        (method, path, words.map(|word| word.parse().unwrap()).collect())
    };
    MATRIX.trim().lines().skip(1).map(row).collect()
}

#[test]
fn t04_the_matrix_has_every_endpoint() {
    let listed: BTreeSet<_> = rows().iter().map(|(method, path, _)| (*method, *path)).collect();
    let served: BTreeSet<_> = ENDPOINTS.iter().map(|row| (row.method.as_str(), row.path)).collect();
    assert_eq!(listed, served);
    assert_eq!(ENDPOINTS.len(), served.len(), "an endpoint has two rows");
    let columns: Vec<_> = MATRIX.trim().lines().next().unwrap().split_whitespace().skip(1).collect();
    assert_eq!(columns, TOKENS.map(|(name, _)| name));
}

#[tokio::test]
async fn t04_every_endpoint_by_every_caller() {
    for (method, path, expected) in rows() {
        let mut got = Vec::new();
        for (_, token) in TOKENS {
            // A world of its own for every cell, so that no cell depends on another.
            let bench = Bench::new().await;
            got.push(call(&bench, method, path, token).await);
        }
        assert_eq!(got, expected, "{method} {path}, for {:?}", TOKENS.map(|(name, _)| name));
    }
}

async fn call(bench: &Bench, method: &str, path: &str, token: &str) -> u16 {
    let held = bench.propose("own", "cache.drop", "worker-1").await;
    let mut id = if path.starts_with("/v1/holds") {
        held.hold.as_ref().unwrap().to_string()
    } else {
        held.id.to_string()
    };
    let mut body = match path {
        "/v1/plans" => Some(plan("process.restart", "worker-2")),
        "/v1/evaluations" => Some(json!({"action": "process.inspect", "target": "worker-2"})),
        "/v1/delegations" => Some(json!({"to": "healer", "life_ms": 60_000})),
        "/v1/sign-in-links" => Some(json!({})),
        "/v1/invitations" => Some(json!({"person": "bob"})),
        "/v1/introspection" => Some(json!({"token": "a.b.c"})),
        "/v1/probes" => Some(json!({"condition": "process.hung", "target": "worker-1"})),
        "/v1/holds/{id}/decisions" => Some(bench.statement("bob", &held, Choice::Approve).await),
        "/v1/changes" => Some(json!({"control": "policy", "files": {"policy": "second"}})),
        "/v1/leases/{id}/revocation" => Some(json!({})),
        "/v1/halt" => Some(json!({"reach": "soft"})),
        _ => None,
    };
    match path {
        "/v1/plans/{id}/review" => {
            let plan = bench.ended("process.restart", "worker-2", State::Succeeded).await;
            (id, body) = (plan.id.to_string(), Some(review("bob", &plan, true)));
        }
        "/v1/plans/{id}/resolution" => {
            bench.world.apply_at("worker-2", Deed::Partial);
            let plan = bench.ended("flag.switch", "worker-2", State::InDoubt).await;
            (id, body) = (plan.id.to_string(), Some(resolution("bob", &plan)));
        }
        "/v1/reconciliations" if method == "POST" => {
            body = Some(report(bench, "bob"));
        }
        "/v1/changes/{id}" | "/v1/changes/{id}/decisions" => {
            let terms = bench.change().await;
            (id, body) = (terms.id.to_string(), Some(decision("bob", &terms, Choice::Approve)));
        }
        "/v1/leases/{id}/revocation" => {
            bench.world.issuing(Issuing { failing_revocations: 100, ..Issuing::default() });
            bench.ended("process.restart", "worker-2", State::Succeeded).await;
            let leases: wire::Leases = bench.get("/v1/leases", "person.bob").await.json();
            assert!(leases.leases[0].failed_revocations > 0);
            id = leases.leases[0].id.to_string();
        }
        "/v1/resume" => {
            let halt = json!({"reach": "hard"});
            assert_eq!(bench.post("/v1/halt", "person.alice", &halt).await.status, 200);
            body = Some(end_of_halt(bench, "bob").await);
        }
        _ => {}
    }
    let query = match path {
        "/v1/ledger/consistency" => "?old=1&new=2",
        "/v1/blast" => "?action=process.restart&target=worker-1",
        _ => "",
    };
    let at = path
        .replace("{id}", &id)
        .replace("{action}", "process.restart")
        .replace("{index}", "1")
        .replace("{*path}", "entries/000.p/2")
        + query;
    let method: Method = method.parse().unwrap();
    // Only the head is read: the stream of events has no end.
    let response =
        bench.send(request(method.clone(), &at, token, body.as_ref().filter(|_| method == "POST"))).await;
    response.status().as_u16()
}

#[tokio::test]
async fn inv11_a_refused_request_to_change_something_is_on_record() {
    let bench = Bench::new().await;
    let held = bench.propose("own", "cache.drop", "worker-1").await;
    let statement = bench.statement("bob", &held, Choice::Approve).await;
    let decisions = format!("/v1/holds/{}/decisions", held.hold.as_ref().unwrap());
    let cases = [
        ("/v1/plans", "agent.own.observe", plan("process.restart", "worker-2"), "wrong-phase"),
        ("/v1/plans", "agent.own.execute", plan("process.restart", "worker-2"), "wrong-phase"),
        ("/v1/plans", "agent.nobody.decide", plan("process.restart", "worker-2"), "unknown-agent"),
        ("/v1/plans", "person.bob", plan("process.restart", "worker-2"), "not-an-agent"),
        (&decisions, "agent.own.decide", statement.clone(), "approver-is-an-agent"),
        (&decisions, "person.carol", statement, "other-approver"),
    ];
    for (path, token, body, rule) in cases {
        let before = bench.count("refused");
        let answer = bench.post(path, token, &body).await;
        assert_eq!((answer.status, answer.problem().rule.as_str()), (403, rule), "{token}");
        // A stranger who has a token and stands in no registry writes nothing: they could fill the disk.
        let stranger = usize::from(rule == "unknown-agent");
        assert_eq!(bench.count("refused") + stranger, before + 1, "{token}");
    }
    assert_eq!(bench.count("approved"), 0);
}

#[tokio::test]
async fn t26_a_good_token_of_somebody_who_left_opens_nothing() {
    let bench = Bench::new().await;
    // `healer` is registered for deciding only.
    for token in ["person.mallory", "agent.gone.decide", "agent.healer.observe"] {
        for path in ["/v1/plans", "/v1/holds", "/v1/events", "/v1/ledger/entries"] {
            assert_eq!(bench.get(path, token).await.problem().status, 403, "{path} by {token}");
        }
    }
}
