//! Who may open what: every route of the console by every kind of caller.

use std::collections::BTreeSet;

use axum::{
    body::Body,
    http::{Method, header},
};
use holdpoint_app::fake::controls::id;
use holdpoint_domain::agent::Registry;
use serde_json::json;

use super::bench::{Bench, ORIGIN, asked};
use crate::console::{route::ROUTES, session::COOKIE};

/// The whole matrix, as a reviewer reads it: the status that each caller gets. `person` may use the console and read the ledger,
/// `looker` may use the console alone, `barred` neither; `gone` signed in and left the registry since; `old` has a session that
/// has ended; `agent` sends its token, and no cookie. The people here have passkeys of another console, so no ceremony of theirs
/// begins.
const MATRIX: &str = "
route                       nobody agent old gone barred looker person
GET  /                      303    303   303 303  403    200    200
GET  /holds/{id}            303    303   303 303  403    200    200
GET  /plans/{id}            303    303   303 303  403    200    200
GET  /incidents/{id}        303    303   303 303  403    200    200
GET  /runs                  303    303   303 303  403    200    200
GET  /runs/events           303    303   303 303  403    200    200
GET  /reviews               303    303   303 303  403    200    200
GET  /reconciliations       303    303   303 303  403    200    200
GET  /brakes                303    303   303 303  403    200    200
GET  /leases                303    303   303 303  403    200    200
GET  /changes               303    303   303 303  403    200    200
GET  /changes/{id}          303    303   303 303  403    200    200
GET  /agents                303    303   303 303  403    200    200
GET  /people                303    303   303 303  403    200    200
GET  /catalogue             303    303   303 303  403    200    200
GET  /policies              303    303   303 303  403    200    200
GET  /settings              303    303   303 303  403    200    200
GET  /ledger                303    303   303 303  403    403    200
GET  /ledger/{index}        303    303   303 303  403    403    200
GET  /ledger/{index}/proof  303    303   303 303  403    403    200
POST /ledger/verify         401    401   401 401  403    403    200
GET  /figures               303    303   303 303  403    403    200
GET  /sign-in               200    200   200 200  200    200    200
POST /sign-in/passkey       200    200   200 200  200    200    200
POST /sign-in/passkey/finish 409   409   409 409  409    409    409
GET  /sign-in/link          200    200   200 200  200    200    200
POST /sign-in/link          403    403   403 403  403    403    403
GET  /enrol                 200    200   200 200  200    200    200
POST /enrol                 403    403   403 403  403    403    403
POST /enrol/finish          409    409   409 409  409    409    409
POST /ceremonies            401    401   401 401  403    403    403
POST /ceremonies/finish     401    401   401 401  403    409    409
GET  /break-glass           303    303   303 303  403    200    200
POST /break-glass           401    401   401 401  403    303    303
GET  /sign-in/oidc          404    404   404 404  404    404    404
GET  /sign-in/oidc/callback 404    404   404 404  404    404    404
POST /stay                  401    401   401 401  204    204    204
POST /sign-out              401    401   401 401  303    303    303
POST /sign-out/everywhere   401    401   401 401  303    303    303
POST /halt                  401    401   401 401  303    303    303
GET  /assets/{file}         200    200   200 200  200    200    200
";

const CALLERS: [&str; 7] = ["nobody", "agent", "old", "gone", "barred", "looker", "person"];

fn rows() -> Vec<(&'static str, &'static str, Vec<u16>)> {
    let row = |line: &'static str| {
        let mut words = line.split_whitespace();
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        (method, path, words.map(|word| word.parse().unwrap()).collect())
    };
    MATRIX.trim().lines().skip(1).map(row).collect()
}

#[test]
fn t04_the_matrix_has_every_route() {
    let listed: BTreeSet<_> = rows().iter().map(|(method, path, _)| (*method, *path)).collect();
    let served: BTreeSet<_> = ROUTES.iter().map(|row| (row.method.as_str(), row.path)).collect();
    assert_eq!(listed, served);
    assert_eq!(ROUTES.len(), served.len(), "a route has two rows");
    let columns: Vec<_> = MATRIX.trim().lines().next().unwrap().split_whitespace().skip(1).collect();
    assert_eq!(columns, CALLERS);
}

#[tokio::test]
async fn t04_every_route_by_every_caller() {
    for (method, path, expected) in rows() {
        let mut got = Vec::new();
        for caller in CALLERS {
            // A world of its own for every cell, so that no cell depends on another.
            got.push(call(method, path, caller).await);
        }
        assert_eq!(got, expected, "{method} {path}, for {CALLERS:?}");
    }
}

async fn call(method: &str, path: &str, caller: &str) -> u16 {
    let bench = Bench::new().await;
    let terms = bench.held().await;
    let cookie = cookie(&bench, caller);
    let change = bench.change().await;
    let id = match path {
        "/plans/{id}" => bench.plan_of(&terms).await,
        "/incidents/{id}" => "inc-1".to_owned(),
        "/changes/{id}" => change,
        _ => terms.hold.to_string(),
    };
    let at = path.replace("{id}", &id).replace("{file}", "console.css").replace("{index}", "1");
    let method: Method = method.parse().unwrap();
    let mut request = asked(method.clone(), &at, &cookie);
    if caller == "agent" {
        request = request.header(header::AUTHORIZATION, "Bearer healer");
    }
    let hold = terms.hold.to_string();
    let assertion =
        json!({"credential": "AA", "authenticator_data": "AA", "client_data": "AA", "signature": "AA"});
    let json = match path {
        "/sign-in/passkey" => Some(json!({})),
        "/sign-in/passkey/finish" | "/ceremonies/finish" => {
            Some(json!({"ceremony": "none", "assertion": assertion}))
        }
        "/sign-in/link" => Some(json!({"secret": "AA"})),
        "/enrol" => Some(json!({"act": "act-1", "secret": "AA"})),
        "/enrol/finish" => Some(json!({"ceremony": "none", "credential": {}})),
        "/ceremonies" => Some(json!({"ceremony": "approve", "hold": hold})),
        _ => None,
    };
    let body = match (method == Method::POST, json) {
        (false, _) => Body::empty(),
        (true, Some(json)) => {
            request = request.header(header::ORIGIN, ORIGIN).header(header::CONTENT_TYPE, "application/json");
            Body::from(json.to_string())
        }
        (true, None) => {
            request = request
                .header(header::ORIGIN, ORIGIN)
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
            Body::from(match path {
                "/halt" => "reach=soft",
                "/break-glass" => "action=process.restart&target=worker-2&reason=nothing+else+helps+any+more",
                _ => "",
            })
        }
    };
    let answer = bench.head(request.body(body).unwrap()).await;
    if answer.status == 303 && method == Method::GET {
        assert!(answer.header("location").starts_with("/sign-in"), "{}", answer.header("location"));
    }
    answer.status
}

/// What the caller's browser sends.
fn cookie(bench: &Bench, caller: &str) -> String {
    let everybody = ["alice", "bob", "carol"].map(id);
    match caller {
        "nobody" | "agent" => String::new(),
        "old" => {
            let cookie = bench.signed_in("alice");
            bench.clock.advance(holdpoint_domain::Millis::secs(60 * 60));
            cookie
        }
        "gone" => {
            let cookie = bench.signed_in("carol");
            leaves(bench, "carol");
            cookie
        }
        "barred" => {
            bench
                .judge
                .set_visitors(everybody.into_iter().filter(|person| person.as_str() != "bob").collect());
            bench.signed_in("bob")
        }
        "looker" => {
            bench
                .judge
                .set_readers(everybody.into_iter().filter(|person| person.as_str() != "bob").collect());
            bench.signed_in("bob")
        }
        _ => bench.signed_in("bob"),
    }
}

/// Takes a person out of the registry.
pub(super) fn leaves(bench: &Bench, name: &str) {
    let now = bench.cell.get();
    let people = now.controls.registry.people().filter(|person| person.id.as_str() != name).cloned();
    let registry =
        Registry::new(now.controls.registry.agents().cloned().collect(), people.collect()).unwrap();
    let mut controls = super::bench::parts().check();
    controls.registry = registry;
    bench.cell.set(std::sync::Arc::new(now.under(now.ports.clone(), controls).unwrap()));
}

#[tokio::test]
async fn t26_a_page_sends_whoever_is_not_signed_in_to_sign_in_and_back() {
    let bench = Bench::new().await;
    let answer = bench.page("/holds/hold-1?a=b", "").await;
    assert_eq!((answer.status, answer.header("location")), (303, "/sign-in?next=/holds/hold-1%3Fa%3Db"));
    let page = bench.page("/sign-in?next=//evil.example/", "").await;
    assert!(page.text.contains("data-next=\"/\"") && !page.text.contains("evil"), "{}", page.text);
    let page = bench.page("/sign-in?next=/holds/hold-1", "").await;
    assert!(page.text.contains("data-next=\"/holds/hold-1\""), "{}", page.text);
}

#[tokio::test]
async fn t16_no_other_site_changes_anything_with_a_visitors_cookie() {
    let bench = Bench::new().await;
    let cookie = bench.signed_in("bob");
    let send = async |origin: Option<&str>, site: Option<&str>, kind: &str| {
        let mut request = asked(Method::POST, "/halt", &cookie).header(header::CONTENT_TYPE, kind);
        if let Some(origin) = origin {
            request = request.header(header::ORIGIN, origin);
        }
        if let Some(site) = site {
            request = request.header("sec-fetch-site", site);
        }
        bench.send(request.body(Body::from("reach=soft")).unwrap()).await.status
    };
    let form = "application/x-www-form-urlencoded";
    for origin in [
        None,
        Some("null"),
        Some("https://evil.gate.test"),
        Some("https://gate.test:8443"),
        Some("http://gate.test"),
    ] {
        assert_eq!(send(origin, None, form).await, 403, "{origin:?}");
    }
    for site in ["cross-site", "same-site", "none"] {
        assert_eq!(send(Some(ORIGIN), Some(site), form).await, 403, "{site}");
    }
    for kind in ["text/plain", "multipart/form-data; boundary=x", "application/xml"] {
        assert_eq!(send(Some(ORIGIN), Some("same-origin"), kind).await, 415, "{kind}");
    }
    assert!(bench.gate.halted().is_none(), "and nothing was halted");
    assert_eq!(send(Some(ORIGIN), Some("same-origin"), form).await, 303);
    assert!(bench.gate.halted().is_some());
}

#[tokio::test]
async fn t16_a_cookie_opens_nothing_of_the_api() {
    let bench = Bench::new().await;
    let cookie = bench.signed_in("bob");
    for path in ["/v1/plans", "/v1/holds", "/v1/ledger/entries"] {
        assert_eq!(bench.page(path, &cookie).await.status, 401, "{path}");
    }
    let answer = bench.form("/v1/halt", &cookie, "").await;
    assert_eq!(answer.status, 403, "{}", answer.text);
    assert!(answer.text.contains("no page may change anything here"), "{}", answer.text);
}

#[tokio::test]
async fn t34_the_console_answers_to_its_own_names_and_is_framed_by_nobody() {
    let bench = Bench::new().await;
    let cookie = bench.signed_in("bob");
    for path in ["/", "/sign-in", "/assets/console.css", "/holds/nothing"] {
        let answer = bench.page(path, &cookie).await;
        let csp = answer.header("content-security-policy");
        assert!(csp.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"), "{path}: {csp}");
        assert!(
            csp.contains("frame-ancestors 'none'")
                && csp.contains("form-action 'self'")
                && !csp.contains("unsafe")
        );
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        let kept = answer.header("cache-control");
        assert_eq!(kept, if path.starts_with("/assets") { "no-cache" } else { "no-store" }, "{path}");
    }
    let other = axum::http::Request::builder().uri("/").header(header::HOST, "evil.example");
    let other = other.header(header::COOKIE, &cookie).body(Body::empty()).unwrap();
    assert_eq!(bench.send(other).await.status, 421);
    // The API keeps a policy of its own.
    let api = bench.page("/v1/keys", "").await;
    assert!(api.header("content-security-policy").starts_with("default-src 'none'; frame-ancestors"));
}

#[tokio::test]
async fn t26_signing_out_ends_the_session() {
    let bench = Bench::new().await;
    let (one, two) = (bench.signed_in("bob"), bench.signed_in("bob"));
    let out = bench.form("/sign-out", &one, "").await;
    assert_eq!((out.status, out.header("location")), (303, "/sign-in"));
    assert!(
        out.header("set-cookie").starts_with(&format!("{COOKIE}=;"))
            && out.header("set-cookie").contains("Max-Age=0")
    );
    assert_eq!(bench.page("/", &one).await.status, 303);
    assert_eq!(bench.page("/", &two).await.status, 200);
    let three = bench.signed_in("bob");
    assert_eq!(bench.form("/sign-out/everywhere", &three, "").await.status, 303);
    for cookie in [two, three] {
        assert_eq!(bench.page("/", &cookie).await.status, 303);
    }
}
