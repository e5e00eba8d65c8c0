//! The life of a session's end: by a credential that lives as long as the task, and does what people approved.

use std::process::Stdio;

use holdpoint_adapters::postgres::{CANCEL, Session, TERMINATE};

use super::{
    scene::{BUILTIN, Shop, roles},
    server::{Postgres, found, named, until},
};

/// Whether a session is still there.
async fn lives(session: &Session) -> bool {
    session.run("SELECT 1").await.is_ok()
}

/// Where a kind of record stands in a story.
fn at(story: &[(String, serde_json::Value)], kind: &str) -> usize {
    story.iter().position(|(known, _)| known == kind).unwrap_or_else(|| panic!("no `{kind}` in {story:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv04_inv08_a_hanging_session_is_ended_by_a_credential_that_lives_as_long_as_the_task() {
    let postgres = Postgres::start().await;
    let mut shop = Shop::new(&postgres, BUILTIN, 300_000).await;
    shop.stage.start();
    let hung = postgres.session("shop", "shopper", "shopper").await;
    let session = named(&hung).await;
    let other = postgres.session("shop", "shopper", "shopper").await;
    let auditor = postgres.session("shop", "auditor", "auditor").await;
    hung.run("BEGIN; SELECT 1").await.unwrap();

    let plan = shop.proposed(TERMINATE, session).await;
    assert!(roles(&postgres).await.is_empty(), "a credential before anybody approved");
    assert!(shop.leases(&["ls"]).unwrap().contains("no credential is alive"));
    // For the exporter it hangs until we have looked: the run verifies, and its credential lives.
    shop.set_stuck(true);
    let id = shop.approve(&plan).await;
    let lease = shop.announced(&id).await;
    until("the session is ended", async || (!lives(&hung).await).then_some(())).await;

    let (role, password) = shop.login(&lease);
    assert_eq!(roles(&postgres).await, std::slice::from_ref(&role));
    let during = postgres.psql(&role, &password, "SELECT session_user").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&during.stdout).trim(), role, "{during:?}");
    assert!(!postgres.psql(&role, "wrong", "SELECT 1").output().unwrap().status.success());
    let others = named(&other).await;
    let words =
        |function: &str| format!("SELECT holdpoint.{function}({}, {})", others.pid, others.started_us);
    let may = postgres.psql(&role, &password, &words("terminate_backend")).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&may.stdout).trim(), "no_warrant", "{may:?}");
    for sql in [
        format!("SELECT pg_terminate_backend({})", others.pid),
        words("cancel_backend"),
        "TABLE holdpoint.may_end".to_owned(),
        "TABLE holdpoint.warrant".to_owned(),
        "CREATE TABLE public.mine (a int)".to_owned(),
        "COPY (SELECT 1) TO PROGRAM 'true'".to_owned(),
        "SET ROLE holdpoint_issuer".to_owned(),
    ] {
        let mut psql = postgres.psql(&role, &password, &sql);
        let tried = psql.args(["-v", "VERBOSITY=sqlstate"]).output().unwrap();
        // insufficient_privilege
        assert!(String::from_utf8_lossy(&tried.stderr).contains("42501"), "{sql}: {tried:?}");
    }
    let listed = shop.leases(&["ls"]).unwrap();
    for word in [lease.as_str(), &id, "orders-pg", TERMINATE, "orders-db", "none"] {
        assert!(listed.contains(word), "{word}: {listed}");
    }
    let shown = shop.leases(&["show", &lease]).unwrap();
    for word in [lease.as_str(), &id, "orders-pg", TERMINATE, "orders-db", "permit"] {
        assert!(shown.contains(word), "{word}: {shown}");
    }
    for text in [&listed, &shown] {
        assert!(!text.contains(&password));
    }

    shop.set_stuck(false);
    assert_eq!(shop.stage.ended(&id).await, "succeeded", "{}", shop.stage.log());
    shop.revoked().await;
    // The ledger tells it in order, and the lease by its id.
    let story = shop.story(&id).await;
    let order =
        ["permitted", "claimed", "leased", "rehearsed", "applying", "applied", "succeeded", "revoked"];
    let places = order.map(|kind| at(&story, kind));
    assert!(places.is_sorted(), "{story:?}");
    assert_eq!(story[at(&story, "leased")].1["lease"]["backend"], "orders-pg");
    assert_eq!(story[at(&story, "revoked")].1["lease"], lease.as_str());
    // That session is gone, and no other; the credential is gone.
    assert!(!lives(&hung).await && lives(&other).await && lives(&auditor).await);
    assert!(roles(&postgres).await.is_empty());
    let after = postgres.psql(&role, &password, "SELECT 1").output().unwrap();
    assert!(!after.status.success());
    assert!(String::from_utf8_lossy(&after.stderr).contains("authentication failed"), "{after:?}");
    assert!(shop.leases(&["ls"]).unwrap().contains("no credential is alive"));
    assert!(shop.leases(&["show", &lease]).unwrap_err().contains("there is no live lease"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv04_a_statement_is_cancelled_and_its_session_goes_on() {
    let postgres = Postgres::start().await;
    let mut shop = Shop::new(&postgres, BUILTIN, 300_000).await;
    shop.stage.start();
    let mut hung = postgres.psql("shopper", "shopper", "SELECT pg_sleep(600)");
    hung.args(["-c", "SELECT 'goes on'"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let hung = hung.spawn().unwrap();
    until("the statement runs", async || shop.hangs().await.then_some(())).await;
    let session = found(&postgres.admin("shop").await, "query = 'SELECT pg_sleep(600)'").await;
    let id = shop.approve(&shop.proposed(CANCEL, session).await).await;
    let hung = hung.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&hung.stderr).contains("canceling statement"), "{hung:?}");
    assert_eq!(String::from_utf8_lossy(&hung.stdout).trim(), "goes on");
    assert_eq!(shop.stage.ended(&id).await, "succeeded", "{}", shop.stage.log());
    shop.revoked().await;
    assert!(roles(&postgres).await.is_empty());
    // Somebody else's session is nobody's to end, whoever approves it.
    let auditor = postgres.session("shop", "auditor", "auditor").await;
    shop.set_stuck(true);
    let plan = shop.proposed(TERMINATE, named(&auditor).await).await;
    let id = shop.approve(&plan).await;
    assert_eq!(shop.stage.ended(&id).await, "failed", "{}", shop.stage.log());
    assert!(lives(&auditor).await);
    shop.revoked().await;
    assert!(roles(&postgres).await.is_empty());
}
