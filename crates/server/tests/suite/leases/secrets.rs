//! Every kind of secret that the product handles goes through a gate that logs all it can, with servers that refuse, people who
//! err and a crash; then each is looked for wherever something was written, logged or answered.

use std::fs;

use holdpoint_adapters::postgres::TERMINATE;
use serde_json::{Value, json};

use super::{
    canary::{Canary, Haystacks},
    scene::{QUICK, Shop},
    server::{ISSUER, Named, OBSERVER, Postgres, named, secret, until},
};
use crate::suite::stage::client;

/// A password that the server does not take.
const WRONG: &str = "canary-wrong-50d1c7";
/// Where the ledger is, with the permits in it.
const LEDGER: [&str; 3] = ["answer to ada: /v1/ledger/", "data/holdpoint.db", "export/tile/entries/"];

/// What is asked for by id, and the id.
fn filled(path: &str, ids: &[(&str, &str)]) -> Option<String> {
    if !path.contains('{') {
        return Some(path.to_owned());
    }
    let (at, id) = ids.iter().find(|(at, _)| path.starts_with(at))?;
    let (_, after) = path.split_once('}')?;
    (!after.contains('{')).then(|| format!("{at}{id}{after}"))
}

/// Everything that the gate answers to somebody who only asks, by the gate's own list of what there is.
async fn asked(shop: &Shop, who: &str, token: &str, ids: &[(&str, &str)], places: &mut Haystacks) -> usize {
    let openapi = shop.stage.get("/v1/openapi.json", token).await;
    let mut count = 0;
    for (path, operations) in openapi["paths"].as_object().unwrap() {
        let Some(answers) = operations["get"]["responses"].as_object() else { continue };
        // A stream does not end.
        let is_stream = answers.values().any(|answer| answer["content"]["text/event-stream"].is_object());
        let Some(path) = filled(path, ids).filter(|_| !is_stream) else { continue };
        let answer = client().get(shop.stage.url(&path)).bearer_auth(token).send().await.unwrap();
        let head = format!("{:?}", answer.headers()).into_bytes();
        let body = answer.bytes().await.unwrap().to_vec();
        places.add(format!("answer to {who}: {path}"), &[head, body].concat());
        count += 1;
    }
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv12_t29_no_secret_of_any_kind_is_anywhere_but_at_home() {
    let postgres = Postgres::start().await;
    let set_up = postgres.log().len();
    let mut shop = Shop::new(&postgres, QUICK, 300_000).await;
    shop.stage.set_environment(vec![("RUST_LOG".to_owned(), "trace".to_owned())]);
    shop.stage.start();
    let mut places = Haystacks::default();
    let (ada, agent) = (shop.stage.person("ada"), shop.stage.agent());
    let config = shop.stage.path("holdpoint.yaml");
    let delegation = shop.stage.must(&["delegate", "--to", "medic", "--config", &config, "--as", "ben"]);
    let delegation = delegation.trim();

    // Proposed on somebody's behalf, with and without what it needs, and by tokens that are none.
    let hung = postgres.session("shop", "shopper", "shopper").await;
    hung.run("BEGIN; SELECT 1").await.unwrap();
    let Named { pid, started_us } = named(&hung).await;
    let body = json!({
        "action": TERMINATE, "target": "orders-db", "trigger": "postgres.session-blocks",
        "params": {"pid": pid, "started_us": started_us},
    });
    let propose = async |token: &str, delegation: &str| {
        let request = client().post(shop.stage.url("/v1/plans")).bearer_auth(token).json(&body);
        let answer = request.header("holdpoint-delegation", delegation).send().await.unwrap();
        (answer.status().as_u16(), answer.bytes().await.unwrap().to_vec())
    };
    let half = &agent[..agent.len() - 20];
    for (what, token, delegation) in [
        ("half a token", half, delegation),
        ("a person's token", ada.as_str(), delegation),
        ("half a delegation", &agent, &delegation[..delegation.len() - 20]),
        ("a token for a delegation", &agent, ada.as_str()),
        ("a delegation for a token", delegation, delegation),
    ] {
        let (status, said) = propose(token, delegation).await;
        assert!((400..500).contains(&status), "{what}: {status} {}", String::from_utf8_lossy(&said));
        places.add(format!("answer: {what}"), &said);
    }
    // The observer's server does not take its password: nothing is decided.
    secret(&postgres.path("observer"), WRONG);
    let (status, said) = propose(&agent, delegation).await;
    assert_eq!(status, 502, "{}", String::from_utf8_lossy(&said));
    places.add("answer: no observer", &said);
    secret(&postgres.path("observer"), OBSERVER);
    let (status, said) = propose(&agent, delegation).await;
    assert_eq!(status, 202, "{}", String::from_utf8_lossy(&said));
    places.add("answer: proposed", &said);
    let plan: Value = serde_json::from_slice(&said).unwrap();

    // The issuer's server does not take its password at the end: the revocation fails, loudly.
    shop.set_stuck(true);
    let id = shop.approve(&plan).await;
    let lease = shop.announced(&id).await;
    until("the session is ended", async || hung.run("SELECT 1").await.err()).await;
    let (role, password) = shop.login(&lease);
    assert!(postgres.psql(&role, &password, "SELECT 1").output().unwrap().status.success());
    let hold = plan["hold"].as_str().unwrap();
    let permit = shop.story(&id).await;
    let permit = permit.into_iter().find(|(kind, _)| kind == "permitted").unwrap().1["jws"].clone();
    let permit = permit.as_str().unwrap();
    let ids = [("/v1/plans/", id.as_str()), ("/v1/holds/", hold), ("/v1/leases/", lease.as_str())];
    secret(&postgres.path("issuer"), WRONG);
    shop.set_stuck(false);
    assert_eq!(shop.stage.ended(&id).await, "succeeded");
    until("somebody is called", async || shop.stage.log().contains("ALARM").then_some(())).await;
    for words in [&["ls"][..], &["show", &lease], &["ls", "-o", "json"]] {
        let said = shop.leases(words).unwrap();
        places.add(format!("said: leases {words:?}"), said.as_bytes());
    }
    let mut asked_for = asked(&shop, "ada", &ada, &ids, &mut places).await;
    asked_for += asked(&shop, "the agent", &agent, &ids, &mut places).await;
    assert!(asked_for >= 30, "{asked_for}");
    // It dies over that, and the next one can revoke.
    shop.stage.kill();
    secret(&postgres.path("issuer"), ISSUER);
    shop.stage.start();
    shop.revoked().await;
    // And one with a lease of this machine.
    let (status, restart) = shop.stage.propose("worker").await;
    assert_eq!(status, 201, "{restart}");
    assert_eq!(shop.stage.ended(restart["id"].as_str().unwrap()).await, "succeeded");
    asked(&shop, "ada", &ada, &ids, &mut places).await;
    shop.stage.must(&["ledger", "export", &shop.stage.path("export"), "--config", &config, "--as", "ada"]);

    assert!(shop.stage.log().contains(" TRACE "), "it does not log all it can");
    let log = postgres.log();
    places.add("postgres's log", log.get(set_up..).unwrap().as_bytes());
    places.folder("", shop.stage.root());
    let mut canaries = vec![
        Canary::text("the issuer's password", ISSUER, &[]),
        Canary::text("the observer's password", OBSERVER, &[]),
        Canary::text("a password that is not taken", WRONG, &[]),
        Canary::text("the task's password", &password, &[]),
        Canary::key_file("a person's key", &shop.stage.root().join("people/ada.key"), &["people/ada.key"]),
        Canary::text("a delegation", end(delegation), &[]),
        Canary::text("the agent's token", end(&agent), &[]),
        Canary::text("a person's token", end(&ada), &[]),
        // Every other token of this machine's issuer has the same head.
        Canary::text("a token of anybody's", ada.split('.').next().unwrap(), &[]),
        Canary::text("a permit", end(permit), &LEDGER),
    ];
    for file in fs::read_dir(shop.stage.root().join("data/keys")).unwrap().flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        if name.ends_with(".key") {
            let home = format!("data/keys/{name}");
            canaries.push(Canary::key_file(&name, &file.path(), &[&home]));
        }
    }
    assert!(canaries.len() >= 15, "lease.key and the gate's own are among them");
    places.search(&canaries);
}

/// What only whoever has a token can know of it: its signature.
fn end(token: &str) -> &str {
    token.rsplit('.').next().unwrap()
}
