//! Leases that are bound to the executor's key: whoever has one without the key has nothing.

use std::fs;

use holdpoint_adapters::{lease::Presentation, system::Ed25519Key};
use holdpoint_app::port::{Executor as _, IssueError};
use reqwest::{Client, RequestBuilder};
use serde_json::Value;

use super::{
    guard::Care,
    leases::{refused, scene_of},
};
use crate::world::scene::key;

/// What a lease is bound to.
fn thumbprint(key: &Ed25519Key) -> String {
    key.public_key().thumbprint().to_string()
}

async fn status(request: RequestBuilder) -> u16 {
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn t28_a_stolen_lease_is_worth_nothing_without_the_executors_key() {
    let scene = scene_of(Presentation::Dpop);
    let ticket = scene.desk.ticket(1, 60_000).await;
    let claims = scene.trust.claims(ticket.token()).unwrap();
    assert_eq!(claims["cnf"]["jkt"], thumbprint(&key("executor")));

    // As a bearer's, without a proof, and with the proof of another key.
    let check = format!("{}/check", scene.runner.base());
    let get = || Client::new().get(&check);
    assert_eq!(status(get().bearer_auth(ticket.token())).await, 401);
    assert_eq!(status(get().header("authorization", format!("DPoP {}", ticket.token()))).await, 401);
    let failed = scene.desk.thief().apply(ticket.work()).await.unwrap_err();
    assert!(failed.to_string().contains("401"), "{failed}");
    assert!(scene.runner.keys().is_empty());

    // With the key it is good, for each request with a proof of its own.
    let executor = scene.desk.executor();
    executor.rehearse(ticket.work()).await.unwrap();
    let shown = scene.trust.proofs.lock().unwrap().len();
    executor.apply(ticket.work()).await.unwrap();
    let seen = scene.desk.observe().await;
    executor.undo(ticket.work(), &seen.version).await.unwrap();
    assert_eq!(scene.runner.keys(), ["nonce-1-0", "nonce-1-0-undo"]);
    assert!(scene.trust.proofs.lock().unwrap().len() >= shown + 4);
}

#[tokio::test]
async fn inv08_the_end_of_a_bound_lease_is_proven_without_the_executors_key() {
    let scene = scene_of(Presentation::Dpop);
    let ticket = scene.desk.ticket(1, 60_000).await;
    let Err(IssueError::Lasts(_)) = scene.desk.end(&ticket).await else { panic!("it asks nobody") };
    scene.nothing_is_active();
    scene.desk.end(&ticket).await.unwrap();
    assert_eq!(scene.desk.held().await, 0);
    // What the issuer shows for itself is bound to its own key: the executor's lease was never on the way.
    let asked = scene.runner.table.asked.lock().unwrap().clone();
    assert!(!asked.iter().any(|line| line.contains(ticket.token())));
    // A note has no key and no signature in it, and is there as long as the lease is.
    assert_eq!(fs::read_dir(scene.dir.path().join("notes")).unwrap().count(), 0);
}

#[tokio::test]
async fn t19_a_target_that_takes_bound_tokens_without_a_proof_gets_no_lease() {
    let scene = scene_of(Presentation::Dpop);
    scene.trust.is(Care::NoProof);
    let said = refused(scene.desk.try_ticket(1, 60_000).await);
    assert!(said.contains("takes a bound token without a proof"), "{said}");
    scene.trust.is(Care::Careful);
    let claims: Value = scene.trust.claims(scene.desk.ticket(1, 60_000).await.token()).unwrap();
    assert!(claims["cnf"].is_object());
}
