//! Leases of a real OpenBao: alive during the task, dead after it, and proven so.

use std::time::Instant;

use futures_util::{StreamExt as _, stream};
use holdpoint_adapters::postgres::{Login, SessionError, TERMINATE, quote_identifier};
use holdpoint_app::port::{Executor as _, IssueError, Issuer as _};
use holdpoint_domain::{Id, id::kind};
use reqwest::Method;
use serde_json::json;

use super::server::{AS_DOCUMENTED, Connection, OpenBao, ROOT, desk, spec};
use crate::world::{
    postgres::server::{ISSUER, Named, PROVER, named, secret, until},
    support::id,
};

pub(super) const NOBODY: Named = Named { pid: 1, started_us: 1 };

pub(super) fn backend() -> Id<kind::Backend> {
    id("orders-bao")
}

#[tokio::test]
async fn inv08_a_psql_uses_a_lease_of_openbao_during_its_life_and_not_after() {
    let bao = OpenBao::start().await;
    let (postgres, desk) = (&bao.postgres, bao.desk());
    let ticket = desk.ticket(1, TERMINATE, NOBODY).await;
    let (user, password) = ticket.login();
    assert_eq!(bao.list("database/roles").await, std::slice::from_ref(&user));

    let during = postgres.psql(&user, &password, "SELECT session_user").output().unwrap();
    assert_eq!(String::from_utf8(during.stdout).unwrap().trim(), user);
    assert!(!postgres.psql(&user, "wrong", "SELECT 1").output().unwrap().status.success());
    for sql in [
        "INSERT INTO holdpoint.warrant VALUES (session_user, 'terminate', 1, 1)",
        "SELECT holdpoint.cancel_backend(1, 1)",
        "CREATE TABLE public.mine (a int)",
        "SET ROLE holdpoint_issuer",
    ] {
        assert!(!postgres.psql(&user, &password, sql).output().unwrap().status.success(), "{sql}");
    }
    // Who has the issuer's token gets no second credential by the same definition.
    let token = std::fs::read_to_string(postgres.path("bao-token")).unwrap();
    let (again, _) = bao.ask(token.trim(), None, Method::GET, &format!("database/creds/{user}"), None).await;
    assert_eq!(again, 500);

    let mut open = postgres.hostile_psql(&user, &password).await;

    desk.revoke(&ticket).await.unwrap();
    assert!(!open.wait().unwrap().success());
    let after = postgres.psql(&user, &password, "SELECT 1").output().unwrap();
    assert!(String::from_utf8_lossy(&after.stderr).contains("authentication failed"));
    bao.assert_nothing_left("revoked").await;
    // Again, and for one that never was.
    desk.revoke(&ticket).await.unwrap();
    desk.issuer.revoke(Some(&backend()), &Id::fresh("lease", 99).unwrap()).await.unwrap();
    let refused = desk.issuer.revoke(Some(&backend()), &id("lease-1")).await;

    // inv12: neither password nor token in a log of statements, in OpenBao's own, in a `Debug` or in an error.
    let shown = format!("{:?} {:?} {:?} {refused:?}", desk.roles, desk.issuer, ticket.lease);
    for (place, text) in [("the database's log", postgres.log()), ("OpenBao's", bao.log()), ("ours", shown)] {
        for canary in [password.as_str(), token.trim()] {
            assert!(!text.contains(canary), "{place}: {canary}");
        }
        // The first of them has the statements in it by which this test gave the others passwords.
        let is_ours = place == "ours";
        assert!(!is_ours || ![ISSUER, PROVER, ROOT].iter().any(|canary| text.contains(canary)), "{place}");
    }
}

#[tokio::test]
async fn inv06_exactly_the_session_of_the_plan_is_ended_with_a_lease_of_openbao() {
    let bao = OpenBao::start().await;
    let (postgres, desk) = (&bao.postgres, bao.desk());
    let (victim, other) = (
        postgres.session("shop", "shopper", "shopper").await,
        postgres.session("shop", "shopper", "shopper").await,
    );
    let (session, spared) = (named(&victim).await, named(&other).await);
    let ticket = desk.ticket(1, TERMINATE, session).await;
    let (user, password) = ticket.login();
    let open = postgres.session("shop", &user, &password).await;
    let Named { pid, started_us } = spared;
    let end = open.word(&format!("SELECT holdpoint.terminate_backend({pid}, {started_us})")).await.unwrap();
    assert_eq!(end, "no_warrant");
    desk.executor().apply(ticket.work()).await.unwrap();
    victim.run("SELECT 1").await.unwrap_err();
    other.run("SELECT 1").await.unwrap();
    desk.revoke(&ticket).await.unwrap();
    bao.assert_nothing_left("revoked").await;
}

#[tokio::test]
async fn inv08_after_a_restart_orphans_are_found_by_their_names_and_nothing_else_is_ours() {
    let bao = OpenBao::start().await;
    let ticket = bao.desk().ticket(7, TERMINATE, NOBODY).await;
    let own = ticket.login().0;
    let (start, unique) = own.rsplit_once('_').unwrap();
    let admin = bao.postgres.admin("shop").await;
    let strangers = [
        format!("{start}_{}", &unique[1..]),
        format!("{start}_{unique}0"),
        format!("hp_00000000_{unique}"),
        "hp_somebody".to_owned(),
    ];
    for name in &strangers {
        let role = json!({"db_name": "orders", "creation_statements": ["SELECT 1"]});
        bao.root(Method::PUT, &format!("database/roles/{name}"), role).await;
        admin.run(&format!("CREATE ROLE {}", quote_identifier(name))).await.unwrap();
    }
    // Another issuer, which knows nothing but the ledger's origin: no password, no name of OpenBao's lease.
    let desk = bao.desk();
    assert_eq!(desk.issuer.held(&backend()).await.unwrap(), std::slice::from_ref(&ticket.lease.info.id));
    desk.revoke(&ticket).await.unwrap();
    assert_eq!(desk.issuer.held(&backend()).await.unwrap(), []);
    let after = bao.postgres.server("shop").connect(&Login::of(&ticket.lease.secret).unwrap()).await;
    assert!(matches!(after, Err(SessionError::NoLogin(_))));
    assert_eq!(bao.list("database/roles").await.len(), strangers.len());
    let left = "SELECT count(*)::text FROM pg_roles WHERE rolname LIKE 'hp%'";
    assert_eq!(admin.word(left).await.unwrap(), strangers.len().to_string());
}

#[tokio::test]
async fn t25_with_everything_of_ours_dead_openbao_ends_the_role_and_its_open_sessions() {
    let bao = OpenBao::start().await;
    let ticket = bao.desk().try_ticket(1, TERMINATE, NOBODY, 3_000).await.unwrap();
    let (user, password) = ticket.login();
    let open = bao.postgres.session("shop", &user, &password).await;
    open.run("SET statement_timeout = 0; SET idle_session_timeout = 0").await.unwrap();
    until("the open session is ended", async || open.run("SELECT 1").await.err()).await;
    let desk = bao.desk();
    let admin = bao.postgres.admin("shop").await;
    let roles = "SELECT count(*)::text FROM pg_roles WHERE rolname LIKE 'hp%'";
    until("the role is dropped", async || (admin.word(roles).await.unwrap() == "0").then_some(())).await;
    // The definition is left, and no credential comes of it that outlives its second.
    desk.revoke(&ticket).await.unwrap();
    bao.assert_nothing_left("expired").await;
    for life_ms in [0, 300_001] {
        assert!(desk.try_ticket(2, TERMINATE, NOBODY, life_ms).await.is_err(), "{life_ms}");
    }
}

#[tokio::test]
async fn inv08_nobody_slips_in_while_the_sessions_of_a_role_are_ended() {
    let bao = OpenBao::start().await;
    let desk = bao.desk();
    for epoch in 1..=5 {
        let ticket = desk.ticket(epoch, TERMINATE, NOBODY).await;
        let (server, login) = (bao.postgres.server("shop"), Login::of(&ticket.lease.secret).unwrap());
        let first = server.connect(&login).await.unwrap();
        let knocking = tokio::spawn(async move {
            let mut open = vec![first];
            loop {
                match server.connect(&login).await {
                    Ok(session) => open.push(session),
                    Err(SessionError::NoLogin(_)) => return open,
                    // Four at a time are let in; and the server ends some while they come in.
                    Err(_) => open.truncate(1),
                }
            }
        });
        desk.revoke(&ticket).await.unwrap();
        for session in knocking.await.unwrap() {
            session.run("SELECT 1").await.unwrap_err();
        }
        let admin = bao.postgres.admin("shop").await;
        let nameless =
            "SELECT count(*)::text FROM pg_stat_activity WHERE usesysid IS NOT NULL AND usename IS NULL";
        assert_eq!(admin.word(nameless).await.unwrap(), "0");
    }
    bao.assert_nothing_left("knocked").await;
}

#[tokio::test]
async fn t28_whoever_renews_a_lease_bars_its_role() {
    let bao = OpenBao::start().await;
    let desk = bao.desk();
    let ticket = desk.ticket(1, TERMINATE, NOBODY).await;
    let lease = bao.lease_of(&ticket.login().0).await;
    let login = Login::of(&ticket.lease.secret).unwrap();
    drop(bao.postgres.server("shop").connect(&login).await.unwrap());
    let increment = json!({"lease_id": lease, "increment": 86_400});
    // The issuer's own token may not.
    let token = std::fs::read_to_string(bao.postgres.path("bao-token")).unwrap();
    let refused = bao.ask(token.trim(), None, Method::PUT, "sys/leases/renew", Some(increment.clone())).await;
    assert_eq!(refused.0, 403);
    bao.root(Method::PUT, "sys/leases/renew", increment).await;
    let after = bao.postgres.server("shop").connect(&login).await;
    assert!(matches!(after, Err(SessionError::NoLogin(_))), "{after:?}");
    let found = bao.root(Method::PUT, "sys/leases/lookup", json!({"lease_id": lease})).await;
    assert!(found["data"]["ttl"].as_u64().unwrap() <= 60, "{found}");
    desk.revoke(&ticket).await.unwrap();
    bao.assert_nothing_left("renewed").await;
}

#[tokio::test]
async fn t27_the_issuers_token_reaches_nothing_but_tasks() {
    let bao = OpenBao::start().await;
    let role = json!({"db_name": "orders", "creation_statements": ["SELECT 1"]});
    bao.root(Method::PUT, "database/roles/payroll", role.clone()).await;
    bao.root(Method::POST, "sys/mounts/other", json!({"type": "kv"})).await;
    let token = std::fs::read_to_string(bao.postgres.path("bao-token")).unwrap();
    for (method, path, body) in [
        (Method::GET, "database/creds/payroll", None),
        (Method::GET, "database/roles/payroll", None),
        (Method::PUT, "database/roles/payroll", Some(role.clone())),
        (Method::DELETE, "database/roles/payroll", None),
        (Method::GET, "database/config/orders", None),
        (Method::PUT, "database/config/orders", Some(json!({"username": "x"}))),
        (Method::POST, "database/rotate-root/orders", Some(json!({}))),
        (Method::GET, "sys/leases/lookup/other?list=true", None),
        (Method::PUT, "sys/leases/lookup", Some(json!({"lease_id": "database/creds/payroll/x"}))),
        (Method::PUT, "sys/leases/revoke", Some(json!({"lease_id": "database/creds/payroll/x"}))),
        (Method::PUT, "sys/leases/revoke-prefix/database/creds/payroll", Some(json!({}))),
        (Method::PUT, "sys/leases/revoke-prefix/database/creds", Some(json!({}))),
        (Method::PUT, "sys/leases/revoke-force/database/creds/hp_x", Some(json!({}))),
        (Method::POST, "auth/token/create", Some(json!({}))),
        (Method::GET, "sys/mounts", None),
        (Method::PUT, "sys/policies/acl/holdpoint", Some(json!({"policy": ""}))),
    ] {
        let what = format!("{method} {path}");
        let (status, _) = bao.ask(token.trim(), None, method, path, body).await;
        assert_eq!(status, 403, "{what}");
    }
}

#[tokio::test]
async fn inv08_a_connection_that_is_not_as_documented_leases_nothing_and_leaves_nothing() {
    let bao = OpenBao::start().await;
    let desk = bao.desk();
    let plain = Connection { password_authentication: "password", ..AS_DOCUMENTED };
    let named = Connection { username_template: "", ..AS_DOCUMENTED };
    for (epoch, (connection, why)) in
        (1..).zip([(plain, "password_authentication"), (named, "username_template")])
    {
        bao.connect(None, connection).await;
        match desk.try_ticket(epoch, TERMINATE, NOBODY, 60_000).await.map(|ticket| ticket.login()) {
            Err(IssueError::Refused(text)) => assert!(text.contains(why), "{text}"),
            other => panic!("{why}: {other:?}"),
        }
        for lease in desk.issuer.held(&backend()).await.unwrap() {
            desk.issuer.revoke(Some(&backend()), &lease).await.unwrap();
        }
        bao.assert_nothing_left(why).await;
    }
    bao.connect(None, AS_DOCUMENTED).await;
    let ticket = desk.ticket(3, TERMINATE, NOBODY).await;
    desk.revoke(&ticket).await.unwrap();
    // A server that lets in everybody is refused as well, by a backend that has not asked it yet.
    let version = desk.observe().await.version;
    drop(desk);
    let desk = bao.desk();
    bao.postgres.trust_everybody().await;
    until("the server trusts", async || {
        let login = Login::new("shopper".to_owned(), "wrong".to_owned());
        bao.postgres.server("shop").connect(&login).await.ok()
    })
    .await;
    match desk.ticket_for(4, TERMINATE, NOBODY, 60_000, version).await.map(|ticket| ticket.login()) {
        Err(IssueError::Refused(why)) => assert!(why.contains("any password"), "{why}"),
        other => panic!("{other:?}"),
    }
    bao.assert_nothing_left("trust").await;
}

#[tokio::test]
async fn the_issuers_token_is_renewed_and_leases_nothing_that_it_would_not_outlive() {
    let bao = OpenBao::start().await;
    let (file, desk) = (bao.postgres.path("bao-token"), bao.desk());
    for (epoch, (life, why)) in (1..).zip([
        (json!({"ttl": "90s", "explicit_max_ttl": "90s"}), "periodic"),
        (json!({"ttl": "90s", "renewable": false}), "periodic"),
        (json!({"ttl": "1h", "num_uses": 50}), "any number of uses"),
    ]) {
        secret(&file, &bao.token(life).await);
        match desk.try_ticket(epoch, TERMINATE, NOBODY, 60_000).await.map(|ticket| ticket.login()) {
            Err(IssueError::Refused(text)) => assert!(text.contains(why), "{text}"),
            other => panic!("{why}: {other:?}"),
        }
    }
    secret(&file, ROOT);
    match desk.try_ticket(4, TERMINATE, NOBODY, 60_000).await.map(|ticket| ticket.login()) {
        Err(IssueError::Refused(text)) => {
            assert!(text.contains("not root's") && !text.contains(ROOT), "{text}")
        }
        other => panic!("{other:?}"),
    }
    secret(&file, "s.nobody");
    let unknown = desk.try_ticket(5, TERMINATE, NOBODY, 60_000).await.map(|ticket| ticket.login());
    assert!(matches!(&unknown, Err(IssueError::Backend(why)) if why.contains("403")), "{unknown:?}");
    bao.assert_nothing_left("refused").await;
    // One that is renewed: it has less left than the lease needs, and gets its whole period again.
    let short = bao.token(json!({"period": "3m"})).await;
    secret(&file, &short);
    let ttl = async || {
        let found = bao.root(Method::POST, "auth/token/lookup", json!({"token": short})).await;
        found["data"]["ttl"].as_u64().unwrap()
    };
    until("the token grows older", async || (ttl().await < 178).then_some(())).await;
    let ticket = desk.try_ticket(6, TERMINATE, NOBODY, 119_000).await.unwrap();
    assert!(ttl().await >= 178);
    desk.revoke(&ticket).await.unwrap();
}

#[tokio::test]
async fn t27_leases_of_a_namespace_are_its_own() {
    let bao = OpenBao::start().await;
    bao.root(Method::POST, "sys/namespaces/team", json!({})).await;
    let team = Some("team");
    let policy = include_str!("../../../../../deploy/openbao/holdpoint.hcl");
    for (path, body) in [
        ("sys/policies/acl/holdpoint", json!({"policy": policy})),
        ("sys/mounts/database", json!({"type": "database"})),
    ] {
        let done = bao.ask(ROOT, team, Method::POST, path, Some(body)).await;
        assert_eq!(done.0, 204, "{}", done.1);
    }
    bao.connect(team, AS_DOCUMENTED).await;
    let ask =
        json!({"policies": ["holdpoint"], "no_default_policy": true, "no_parent": true, "period": "1h"});
    let (_, made) = bao.ask(ROOT, team, Method::POST, "auth/token/create", Some(ask)).await;
    secret(&bao.postgres.path("team-token"), made["auth"]["client_token"].as_str().unwrap());

    let mut there = spec(&bao.postgres, bao.port);
    there.namespace = Some("team".to_owned());
    there.token_file = bao.postgres.path("team-token");
    let desk = desk(&bao.postgres, there.clone());
    let ticket = desk.ticket(1, TERMINATE, NOBODY).await;
    let (user, password) = ticket.login();
    drop(bao.postgres.session("shop", &user, &password).await);
    assert_eq!(bao.list("database/roles").await, Vec::<String>::new());
    // The token of the one is none of the other's.
    drop(desk);
    let mut astray = spec(&bao.postgres, bao.port);
    astray.namespace = Some("team".to_owned());
    let astray = super::server::desk(&bao.postgres, astray);
    assert!(matches!(astray.issuer.held(&backend()).await, Err(IssueError::Backend(_))));
    drop(astray);
    let desk = super::server::desk(&bao.postgres, there);
    assert_eq!(desk.issuer.held(&backend()).await.unwrap(), std::slice::from_ref(&ticket.lease.info.id));
    desk.revoke(&ticket).await.unwrap();
    assert_eq!(desk.issuer.held(&backend()).await.unwrap(), []);
    bao.assert_nothing_left("a namespace").await;
}

#[tokio::test]
async fn over_tls_only_the_named_authoritys_server_is_told_the_token() {
    let bao = OpenBao::start_with_tls().await;
    let mut right = spec(&bao.postgres, bao.port);
    (right.url, right.ca_file) = (bao.url(), Some(bao.postgres.path("bao-tls/vault-ca.pem")));
    let right = desk(&bao.postgres, right);
    let ticket = right.ticket(1, TERMINATE, NOBODY).await;
    right.revoke(&ticket).await.unwrap();
    drop(right);
    let stranger = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap().cert.pem();
    std::fs::write(bao.postgres.path("stranger.pem"), stranger).unwrap();
    let mut wrong = spec(&bao.postgres, bao.port);
    (wrong.url, wrong.ca_file) = (bao.url(), Some(bao.postgres.path("stranger.pem")));
    let wrong = desk(&bao.postgres, wrong);
    let refused = wrong.issuer.held(&backend()).await;
    assert!(matches!(&refused, Err(IssueError::Backend(why)) if why.contains("ertificate")), "{refused:?}");
    bao.assert_nothing_left("tls").await;
}

#[tokio::test]
async fn t22_64_agents_at_once_have_each_their_own_of_openbao() {
    let bao = OpenBao::start().await;
    let desk = bao.desk();
    let version = desk.observe().await.version;
    let began = Instant::now();
    let tickets: Vec<_> = stream::iter(1..=64_u64)
        .map(async |epoch| {
            let session = Named { pid: i64::try_from(epoch).unwrap(), started_us: 1 };
            let ticket = desk.ticket_for(epoch, TERMINATE, session, 60_000, version).await.unwrap();
            let (user, password) = ticket.login();
            let open = bao.postgres.session("shop", &user, &password).await;
            let end = async |pid: u64| {
                open.word(&format!("SELECT holdpoint.terminate_backend({pid}, 1)")).await.unwrap()
            };
            assert_eq!(
                (end(epoch).await.as_str(), end(epoch % 64 + 1).await.as_str()),
                ("gone", "no_warrant")
            );
            ticket
        })
        .buffer_unordered(8)
        .collect()
        .await;
    println!("64 leases of OpenBao made and used in {:?}", began.elapsed());
    let mut spans: Vec<_> = stream::iter(&tickets)
        .map(async |ticket| {
            let began = Instant::now();
            desk.revoke(ticket).await.unwrap();
            began.elapsed()
        })
        .buffer_unordered(4)
        .collect()
        .await;
    spans.sort();
    println!("64, four at a time, revoked and proven: p50 {:?}, p99 {:?}", spans[32], spans[63]);
    bao.assert_nothing_left("64").await;
}
