//! Leases of a real server: alive during the task, dead after it, and proven so.

use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use holdpoint_adapters::postgres::{CANCEL, Login, SessionError, TERMINATE, quote_identifier};
use holdpoint_app::port::{IssueError, Issuer as _};
use holdpoint_domain::Id;

use super::{
    desk::Desk,
    server::{ADMIN, ISSUER, Named, OBSERVER, Postgres, named, until},
};
use crate::world::support::id;

const NOBODY: Named = Named { pid: 1, started_us: 1 };

async fn roles(postgres: &Postgres) -> Vec<String> {
    let sql = "SELECT rolname FROM pg_roles WHERE rolname LIKE 'hp%' ORDER BY 1";
    postgres.admin("shop").await.run(sql).await.unwrap().into_iter().flatten().collect()
}

#[tokio::test]
async fn inv08_a_psql_uses_a_lease_during_its_life_and_neither_before_nor_after() {
    let postgres = Postgres::start().await;
    let desk = Desk::new(&postgres);
    let ticket = desk.ticket(1, TERMINATE, NOBODY).await;
    let (user, password) = ticket.login();
    assert_eq!(roles(&postgres).await, std::slice::from_ref(&user));

    let during = postgres.psql(&user, &password, "SELECT session_user").output().unwrap();
    assert_eq!(String::from_utf8(during.stdout).unwrap().trim(), user);
    let wrong = postgres.psql(&user, "wrong", "SELECT 1").output().unwrap();
    assert!(!wrong.status.success(), "a lease without its password");
    // What it was not given it cannot do.
    for sql in [
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres'",
        "INSERT INTO holdpoint.warrant VALUES (session_user, 'terminate', 1, 1)",
        "SELECT holdpoint.cancel_backend(1, 1)",
        "SELECT holdpoint.reap('hp')",
        "CREATE TABLE public.mine (a int)",
        "CREATE ROLE hp_more LOGIN",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "SET ROLE holdpoint_owner",
    ] {
        let tried = postgres
            .psql(&user, &password, &format!("DO $$ BEGIN PERFORM 1; END $$; {sql}"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&tried.stderr).into_owned();
        // Nobody's session is visible to it as one that it may end.
        assert!(!tried.status.success() || tried.stdout.is_empty(), "{sql}: {said}");
    }
    // One that was open before is ended, whatever limits it gave itself.
    let mut open = postgres.hostile_psql(&user, &password).await;
    let admin = postgres.admin("shop").await;

    desk.revoke(&ticket).await.unwrap();
    assert!(!open.wait().unwrap().success());
    let after = postgres.psql(&user, &password, "SELECT 1").output().unwrap();
    assert!(!after.status.success());
    assert!(String::from_utf8_lossy(&after.stderr).contains("authentication failed"));
    assert!(roles(&postgres).await.is_empty());
    assert_eq!(admin.word("SELECT count(*)::text FROM holdpoint.warrant").await.unwrap(), "0");
    // Again, and for one that never was.
    desk.revoke(&ticket).await.unwrap();
    desk.issuer.revoke(Some(&id("orders-pg")), &Id::fresh("lease", 99).unwrap()).await.unwrap();

    // inv12: no password in the server's log of all statements, in no `Debug` and in no error.
    let shown = format!(
        "{:?} {:?} {:?} {:?}",
        desk.roles,
        desk.issuer,
        ticket.lease,
        Login::of(&ticket.lease.secret)
    );
    let refused = desk.issuer.revoke(Some(&id("orders-pg")), &id("lease-1")).await;
    for text in [postgres.log(), shown, format!("{refused:?}")] {
        for canary in [password.as_str(), ADMIN] {
            assert!(!text.contains(canary), "{canary} is shown");
        }
    }
    assert!(!format!("{:?} {:?}", desk.roles, desk.databases).contains(ISSUER));
    assert!(!format!("{:?} {:?}", desk.roles, desk.databases).contains(OBSERVER));
}

#[tokio::test]
async fn t24_hostile_names_neither_stop_a_revocation_nor_are_run() {
    let postgres = Postgres::start().await;
    let desk = Desk::new(&postgres);
    let names = [
        "we\"ird".to_owned(),
        "x\"; DROP ROLE holdpoint_owner; --".to_owned(),
        "new\nline'\\quote".to_owned(),
        "n".repeat(63),
        "\u{202e}größe-数据".to_owned(),
        "'); SELECT pg_sleep(600); --".to_owned(),
    ];
    let ticket = desk.ticket(1, TERMINATE, NOBODY).await;
    let role = quote_identifier(&ticket.login().0);
    let admin = postgres.admin("postgres").await;
    for name in &names {
        let quoted = quote_identifier(name);
        admin.run(&format!("CREATE DATABASE {quoted}")).await.unwrap();
        let there = postgres.admin(name).await;
        for sql in [
            format!("CREATE SCHEMA {quoted} AUTHORIZATION {role}"),
            format!("CREATE TABLE {quoted}.{quoted} (a int)"),
            format!("ALTER TABLE {quoted}.{quoted} OWNER TO {role}"),
            format!("CREATE ROLE {quoted}"),
            format!("GRANT {quoted} TO {role}"),
        ] {
            there.run(&sql).await.unwrap();
        }
    }
    // What a third one allowed to the task's role only they take back: the role is barred, and is not called dead before it is gone.
    let (user, password) = ticket.login();
    let third = quote_identifier(&names[0]);
    admin.run(&format!("GRANT CREATE ON DATABASE {third} TO {role}")).await.unwrap();
    let refused = desk.revoke(&ticket).await.unwrap_err();
    assert!(refused.to_string().contains("2BP01"), "{refused}");
    let barred = postgres.server("shop").connect(&Login::new(user, password)).await;
    assert!(matches!(barred, Err(SessionError::NoLogin(_))));
    admin.run(&format!("REVOKE CREATE ON DATABASE {third} FROM {role}")).await.unwrap();
    desk.revoke(&ticket).await.unwrap();
    assert!(roles(&postgres).await.is_empty());
    let count = "SELECT count(*)::text FROM pg_roles WHERE rolname = 'holdpoint_owner'";
    assert_eq!(admin.word(count).await.unwrap(), "1");
    for name in &names {
        let there = postgres.admin(name).await;
        let sql = format!(
            "SELECT count(*)::text FROM pg_namespace WHERE nspname = {}",
            holdpoint_adapters::postgres::quote_literal(name)
        );
        assert_eq!(there.word(&sql).await.unwrap(), "0", "{name:?} is left");
    }
}

#[tokio::test]
async fn inv08_orphans_are_found_by_their_names_and_nothing_else_is_ours() {
    let postgres = Postgres::start().await;
    let desk = Desk::new(&postgres);
    let ticket = desk.ticket(7, TERMINATE, NOBODY).await;
    let own = ticket.login().0;
    let admin = postgres.admin("shop").await;
    let (start, unique) = own.rsplit_once('_').unwrap();
    let strangers = [
        format!("{start}_{}", &unique[1..]),
        format!("{start}_{unique}0"),
        format!("{start}_{}", unique.replace('0', "G")),
        format!("hp_00000000_{unique}"),
        start.to_string(),
    ];
    for name in &strangers {
        admin.run(&format!("CREATE ROLE {}", quote_identifier(name))).await.unwrap();
    }
    // A restart: another issuer over the same server, which knows nothing but the ledger's origin and its key.
    let held = desk.issuer.held(&id("orders-pg")).await.unwrap();
    assert_eq!(held, std::slice::from_ref(&ticket.lease.info.id));
    desk.issuer.revoke(Some(&id("orders-pg")), &held[0]).await.unwrap();
    assert_eq!(desk.issuer.held(&id("orders-pg")).await.unwrap(), []);
    assert_eq!(roles(&postgres).await.len(), strangers.len());
    let after = postgres.server("shop").connect(&Login::of(&ticket.lease.secret).unwrap()).await;
    assert!(matches!(after, Err(SessionError::NoLogin(_))));
}

#[tokio::test]
async fn inv08_nobody_else_at_the_server_keeps_a_lease_from_its_end() {
    let postgres = Postgres::start().await;
    let desk = Desk::new(&postgres);
    let ticket = desk.ticket(1, CANCEL, NOBODY).await;
    // Whoever can log in can hold advisory locks: tasks once waited for this one.
    let shopper = postgres.session("shop", "shopper", "shopper").await;
    shopper.run("SELECT pg_advisory_lock(7310203581247395)").await.unwrap();
    // What they wait for now only the issuer may take.
    let (task, password) = ticket.login();
    for (user, password) in
        [("shopper", "shopper"), ("holdpoint_observer", OBSERVER), (&task, password.as_str())]
    {
        let session = postgres.session("shop", user, password).await;
        for mode in ["ACCESS SHARE", "ROW EXCLUSIVE", "SHARE ROW EXCLUSIVE", "ACCESS EXCLUSIVE"] {
            let lock = format!("BEGIN; LOCK TABLE holdpoint.warrant IN {mode} MODE");
            let refused = session.run(&lock).await.unwrap_err();
            assert!(refused.to_string().contains("42501"), "{user} {mode}: {refused}");
            session.run("ROLLBACK").await.unwrap();
        }
    }
    let another = desk.ticket(2, CANCEL, NOBODY).await;
    desk.revoke(&ticket).await.unwrap();
    desk.revoke(&another).await.unwrap();
    assert!(roles(&postgres).await.is_empty());
}

#[tokio::test]
async fn inv08_a_server_that_trusts_everybody_leases_nothing() {
    let postgres = Postgres::start().await;
    let desk = Desk::new(&postgres);
    let version = desk.observe().await.version;
    std::fs::write(postgres.path("data/pg_hba.conf"), "host all all 127.0.0.1/32 trust\n").unwrap();
    postgres.admin("postgres").await.run("SELECT pg_reload_conf()").await.unwrap();
    until("the server trusts", async || {
        let login = Login::new("shopper".to_owned(), "wrong".to_owned());
        postgres.server("shop").connect(&login).await.ok()
    })
    .await;
    match desk.ticket_for(1, TERMINATE, NOBODY, 60_000, version).await.map(|ticket| ticket.login()) {
        Err(IssueError::Refused(why)) => assert!(why.contains("any password"), "{why}"),
        other => panic!("{other:?}"),
    }
    // What was made before it was noticed is ended.
    let made = desk.issuer.held(&id("orders-pg")).await.unwrap();
    desk.issuer.revoke(Some(&id("orders-pg")), &made[0]).await.unwrap();
}

#[tokio::test]
async fn t22_64_agents_at_once_have_each_their_own() {
    let postgres = Postgres::start().await;
    let desk = Desk::new(&postgres);
    let version = desk.observe().await.version;
    let began = Instant::now();
    let numbers = 1..=64_u64;
    // Sixteen at a time: more would wait for each other's turn at the server for longer than a call may take on a slow machine.
    let tickets: Vec<_> = stream::iter(numbers)
        .map(async |epoch| {
            let session = Named { pid: i64::try_from(epoch).unwrap(), started_us: 1 };
            let ticket = desk.ticket_for(epoch, TERMINATE, session, 60_000, version).await.unwrap();
            let (user, password) = ticket.login();
            let open = postgres.session("shop", &user, &password).await;
            assert_eq!(open.word("SELECT session_user::text").await.unwrap(), user);
            // Its own warrant is found, that of its neighbour is not.
            let end = async |pid: u64| {
                open.word(&format!("SELECT holdpoint.terminate_backend({pid}, 1)")).await.unwrap()
            };
            assert_eq!(
                (end(epoch).await.as_str(), end(epoch % 64 + 1).await.as_str()),
                ("gone", "no_warrant")
            );
            drop(open);
            ticket
        })
        .buffer_unordered(16)
        .collect()
        .await;
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
    println!(
        "64 leases made and used in {:?}; 64, four at a time, revoked and proven: p50 {:?}, p99 {:?}",
        began.elapsed(),
        spans[32],
        spans[63]
    );
    assert!(roles(&postgres).await.is_empty());
    let secrets: std::collections::BTreeSet<_> = tickets.iter().map(super::desk::Ticket::login).collect();
    assert_eq!(secrets.len(), 64);
}

#[tokio::test]
async fn inv08_a_server_that_refuses_revokes_later_and_one_that_never_answers_is_given_up_in_time() {
    let postgres = Postgres::start().await;
    let desk = Desk::new(&postgres);
    let ticket = desk.ticket(1, CANCEL, NOBODY).await;
    let (user, _) = ticket.login();
    let blocker = postgres.admin("shop").await;
    blocker.run(&format!("BEGIN; ALTER ROLE {} CONNECTION LIMIT 3", quote_identifier(&user))).await.unwrap();
    assert!(matches!(desk.revoke(&ticket).await, Err(IssueError::Backend(_))));
    assert_eq!(roles(&postgres).await.len(), 1, "not called dead before it is");
    blocker.run("COMMIT").await.unwrap();
    desk.revoke(&ticket).await.unwrap();

    // A stopped server takes connections and says nothing.
    let pid = std::fs::read_to_string(postgres.path("data/postmaster.pid")).unwrap();
    let pid = rustix::process::Pid::from_raw(pid.lines().next().unwrap().parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    let silent = tokio::time::timeout(Duration::from_secs(60), desk.revoke(&ticket)).await;
    // Another backend is not kept waiting.
    desk.issuer.revoke(None, &id("lease-of-another")).await.unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    assert!(matches!(silent, Ok(Err(IssueError::Backend(_)))));
}

#[tokio::test]
async fn t25_with_everything_dead_new_logins_end_and_the_reaper_ends_open_sessions() {
    let postgres = Postgres::start().await;
    let desk = Desk::new(&postgres);
    let ticket = desk.try_ticket(1, TERMINATE, NOBODY, 1_500).await.unwrap();
    let (user, password) = ticket.login();
    let open = postgres.session("shop", &user, &password).await;
    open.run("SET statement_timeout = 0; SET idle_session_timeout = 0").await.unwrap();
    let login = Login::new(user.clone(), password);
    until("the password ends", async || postgres.server("shop").connect(&login).await.err()).await;
    // The documented bound: an open session of a hostile holder goes on until somebody ends it.
    open.run("SELECT 1").await.unwrap();
    let shopper = postgres.session("shop", "shopper", "shopper").await;
    let admin = postgres.admin("shop").await;
    assert_eq!(admin.word("SELECT holdpoint.reap('hp')::text").await.unwrap(), "1");
    open.run("SELECT 1").await.unwrap_err();
    shopper.run("SELECT 1").await.unwrap();
    for prefix in ["", "hp_", "%", ".*", "HP"] {
        let sql = format!("SELECT holdpoint.reap('{prefix}')::text");
        admin.run(&sql).await.unwrap_err();
    }
    // Nothing was dropped: that is the issuer's.
    desk.revoke(&ticket).await.unwrap();
    assert_eq!(desk.terms().max.span().ms(), 300_000);
    for life_ms in [0, 300_001] {
        assert!(desk.try_ticket(2, TERMINATE, NOBODY, life_ms).await.is_err(), "{life_ms}");
    }
    let _ = named(&shopper).await;
}
