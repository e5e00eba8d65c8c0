//! OpenBao and the database, each down, sealed, silent or forgetful: a lease is called dead when it is, and not before.

use std::time::Duration;

use holdpoint_adapters::postgres::{Login, SessionError, TERMINATE, quote_identifier};
use holdpoint_app::port::{IssueError, Issuer as _};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::json;

use super::{
    leases::{NOBODY, backend},
    server::OpenBao,
};
use crate::world::{
    postgres::server::{secret, until},
    support::id,
};

fn failed<T: std::fmt::Debug>(done: &Result<T, IssueError>, why: &str) {
    match done {
        Err(IssueError::Backend(text)) => assert!(text.contains(why), "{text}"),
        other => panic!("expected a failure of the backend about {why}, got {other:?}"),
    }
}

#[tokio::test]
async fn inv08_a_sealed_openbao_leases_nothing_and_revokes_later() {
    let bao = OpenBao::start().await;
    let desk = bao.desk();
    let ticket = desk.ticket(1, TERMINATE, NOBODY).await;
    bao.root(Method::PUT, "sys/seal", json!({})).await;
    failed(&desk.revoke(&ticket).await, "503");
    failed(&desk.issuer.held(&backend()).await, "503");
    let refused = desk.try_ticket(2, TERMINATE, NOBODY, 60_000).await.map(|ticket| ticket.login());
    failed(&refused, "503");
    drop(bao.postgres.server("shop").connect(&Login::of(&ticket.lease.secret).unwrap()).await.unwrap());
    // It serves before it has said how it is unsealed.
    let key = until("it says the key", async || {
        let log = bao.log();
        log.lines().find_map(|line| line.trim().strip_prefix("Unseal Key: ").map(str::to_owned))
    })
    .await;
    bao.root(Method::PUT, "sys/unseal", json!({"key": key})).await;
    until("it is unsealed", async || desk.issuer.held(&backend()).await.ok()).await;
    desk.revoke(&ticket).await.unwrap();
    bao.assert_nothing_left("sealed").await;
}

#[tokio::test]
async fn inv08_an_openbao_that_never_answers_is_given_up_in_time() {
    let bao = OpenBao::start().await;
    let desk = bao.desk();
    let ticket = desk.ticket(1, TERMINATE, NOBODY).await;
    bao.signal(Signal::STOP);
    let silent = tokio::time::timeout(Duration::from_secs(60), desk.revoke(&ticket)).await;
    // Another backend is not kept waiting.
    desk.issuer.revoke(None, &id("lease-of-another")).await.unwrap();
    bao.signal(Signal::CONT);
    failed(&silent.unwrap(), "");
    until("it goes on", async || desk.issuer.held(&backend()).await.ok()).await;
    desk.revoke(&ticket).await.unwrap();
    bao.assert_nothing_left("stopped").await;
}

#[tokio::test]
async fn inv08_a_role_that_openbao_forgot_is_found_in_the_database_and_ended() {
    let mut bao = OpenBao::start().await;
    let desk = bao.desk();
    let ticket = desk.ticket(1, TERMINATE, NOBODY).await;
    let (user, password) = ticket.login();
    let open = bao.postgres.session("shop", &user, &password).await;
    bao.lose_everything().await;
    assert_eq!(bao.list("database/roles").await, Vec::<String>::new());
    open.run("SELECT 1").await.unwrap();
    // A restart of ours as well: nobody knows anything but the name.
    let desk = {
        drop(desk);
        bao.desk()
    };
    assert_eq!(desk.issuer.held(&backend()).await.unwrap(), std::slice::from_ref(&ticket.lease.info.id));
    desk.revoke(&ticket).await.unwrap();
    open.run("SELECT 1").await.unwrap_err();
    let after = bao.postgres.server("shop").connect(&Login::of(&ticket.lease.secret).unwrap()).await;
    assert!(matches!(after, Err(SessionError::NoLogin(_))));
    bao.assert_nothing_left("forgotten").await;
}

#[tokio::test]
async fn inv08_a_role_that_the_database_keeps_is_barred_and_not_called_dead() {
    let bao = OpenBao::start().await;
    let desk = bao.desk();
    let ticket = desk.ticket(1, TERMINATE, NOBODY).await;
    let (user, password) = ticket.login();
    let open = bao.postgres.session("shop", &user, &password).await;
    // What a third one allowed to the task's role only they take back.
    let (admin, role) = (bao.postgres.admin("postgres").await, quote_identifier(&user));
    admin.run("CREATE DATABASE other").await.unwrap();
    admin.run(&format!("GRANT CREATE ON DATABASE other TO {role}")).await.unwrap();
    for _ in 0..2 {
        failed(&desk.revoke(&ticket).await, "");
    }
    open.run("SELECT 1").await.unwrap_err();
    let login = Login::of(&ticket.lease.secret).unwrap();
    let barred = bao.postgres.server("shop").connect(&login).await;
    assert!(matches!(barred, Err(SessionError::NoLogin(_))));
    assert_eq!(desk.issuer.held(&backend()).await.unwrap().len(), 1, "not called dead before it is");
    admin.run(&format!("REVOKE CREATE ON DATABASE other FROM {role}")).await.unwrap();
    desk.revoke(&ticket).await.unwrap();
    bao.assert_nothing_left("kept").await;
}

#[tokio::test]
async fn inv08_a_definition_that_somebody_removed_leaves_no_lease_behind() {
    let bao = OpenBao::start().await;
    let desk = bao.desk();
    let ticket = desk.ticket(1, TERMINATE, NOBODY).await;
    let (user, _) = ticket.login();
    bao.root(Method::DELETE, &format!("database/roles/{user}"), json!({})).await;
    assert_eq!(desk.issuer.held(&backend()).await.unwrap(), std::slice::from_ref(&ticket.lease.info.id));
    desk.revoke(&ticket).await.unwrap();
    bao.assert_nothing_left("removed").await;
}

#[tokio::test]
async fn inv08_with_the_issuers_token_ends_what_was_leased_with_it() {
    let bao = OpenBao::start().await;
    let desk = bao.desk();
    let ticket = desk.ticket(1, TERMINATE, NOBODY).await;
    let (user, password) = ticket.login();
    let open = bao.postgres.session("shop", &user, &password).await;
    let token = std::fs::read_to_string(bao.postgres.path("bao-token")).unwrap();
    bao.root(Method::POST, "auth/token/revoke", json!({"token": token.trim()})).await;
    until("the open session is ended", async || open.run("SELECT 1").await.err()).await;
    failed(&desk.revoke(&ticket).await, "403");
    secret(&bao.postgres.path("bao-token"), &bao.token(json!({"period": "1h"})).await);
    desk.revoke(&ticket).await.unwrap();
    bao.assert_nothing_left("a token").await;
}
