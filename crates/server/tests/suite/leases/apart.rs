//! The same with the four roles in processes of their own: minted by the issuer, used by the executor, known to nobody else.

use std::fs;

use holdpoint_adapters::postgres::TERMINATE;

use super::{
    canary::{Canary, Haystacks},
    scene::{QUICK, Shop, login, roles},
    server::{ISSUER, OBSERVER, Postgres, named, secret, until},
};
use crate::suite::roles::scene::{OTHERS, Scene};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv07_inv12_a_lease_is_minted_by_the_issuer_used_by_the_executor_and_unknown_to_the_gate() {
    let postgres = Postgres::start().await;
    let mut shop = Shop::new(&postgres, QUICK, 300_000).await;
    shop.stage.set_environment(vec![("RUST_LOG".to_owned(), "trace".to_owned())]);
    // Each password in the folder of the one role that works with it, and nowhere else.
    let executors = fs::read_to_string(shop.stage.path("executors.yaml")).unwrap();
    let folder = format!("{}/", postgres.dir.display());
    shop.stage.write("executors.yaml", &executors.replace(&folder, ""));
    let mut shop = shop.on(Scene::of);
    let at = |shop: &Shop<Scene>, role: &str| shop.stage.root().join("roles").join(role);
    secret(&at(&shop, "issuer").join("issuer"), ISSUER);
    secret(&at(&shop, "observer").join("observer"), OBSERVER);
    for role in OTHERS {
        shop.stage.start(role, None);
    }
    shop.stage.stage.start();

    let hung = postgres.session("shop", "shopper", "shopper").await;
    let other = postgres.session("shop", "shopper", "shopper").await;
    hung.run("BEGIN; SELECT 1").await.unwrap();
    let plan = shop.proposed(TERMINATE, named(&hung).await).await;
    shop.set_stuck(true);
    let id = shop.approve(&plan).await;
    let lease = shop.announced(&id).await;
    until("the session is ended", async || hung.run("SELECT 1").await.err()).await;
    // A psql with the password, which only the issuer's key gives.
    let key = at(&shop, "issuer").join("data/keys/lease.key");
    let (role, password) = login(&key, &lease);
    let during = postgres.psql(&role, &password, "SELECT session_user").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&during.stdout).trim(), role, "{during:?}");
    // The gate dies in the middle, and with its next start ends what it never could have used.
    shop.stage.stage.kill();
    shop.set_stuck(false);
    shop.stage.stage.start();
    assert_eq!(shop.stage.ended(&id).await, "succeeded", "{}", shop.stage.stage.log());
    shop.revoked().await;
    assert!(roles(&postgres).await.is_empty());
    let after = postgres.psql(&role, &password, "SELECT 1").output().unwrap();
    assert!(String::from_utf8_lossy(&after.stderr).contains("authentication failed"), "{after:?}");
    other.run("SELECT 1").await.unwrap();

    // The issuer dies in the middle of a revocation, and the gate asks until another one has ended it.
    let hung = postgres.session("shop", "shopper", "shopper").await;
    hung.run("BEGIN; SELECT 1").await.unwrap();
    shop.stage.kill("issuer");
    shop.stage.start("issuer", Some("role-drop:before"));
    let id = shop.approve(&shop.proposed(TERMINATE, named(&hung).await).await).await;
    assert_eq!(shop.stage.ended(&id).await, "succeeded", "{}", shop.stage.stage.log());
    shop.stage.died("issuer").await;
    assert_eq!(roles(&postgres).await.len(), 1);
    shop.stage.start("issuer", None);
    shop.revoked().await;
    assert!(roles(&postgres).await.is_empty());

    // Whatever was logged, written and answered: each secret with its own role alone.
    let mut places = Haystacks::default();
    places.folder("", shop.stage.root());
    let issuers_key = Canary::key_file("the key of leases", &key, &["roles/issuer/data/keys/lease.key"]);
    let canaries = [
        Canary::text("the issuer's password", ISSUER, &["roles/issuer/issuer"]),
        Canary::text("the observer's password", OBSERVER, &["roles/observer/observer"]),
        Canary::text("the task's password", &password, &[]),
        issuers_key,
    ];
    places.search(&canaries);
}
