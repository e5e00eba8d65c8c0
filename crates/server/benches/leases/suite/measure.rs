//! The measurements.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use holdpoint_adapters::postgres::{Login, Session, TERMINATE};
use serde_json::Value;

use super::{
    scene::{QUICK, Shop},
    server::{Postgres, named},
    stage::{PATIENCE, client},
};

/// Where a gate dies, in the words of its drill.
const PLACES: [&str; 6] = [
    "role-mint:before",
    "role-mint:unreported",
    "backend-signal:unreported",
    "role-bar:before",
    "role-sessions:unreported",
    "role-drop:unreported",
];
/// The longest life of a lease that nobody ends.
const SHORT_MS: u64 = 5_000;
/// The pause between two looks from outside.
const LOOK: Duration = Duration::from_millis(5);

/// Prints a key and a value on each line.
pub(crate) async fn all(tasks: usize, rounds: usize) {
    let postgres = Postgres::start().await;
    report("lease_proof", proofs(&postgres, tasks).await);
    let (mut restarts, mut dead) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        for place in PLACES {
            restarts.push(restart(&postgres, place).await);
        }
        dead.push(all_dead(&postgres).await);
    }
    report("lease_restart", restarts);
    report("lease_dead", dead);
}

/// Median, 99th percentile and worst of some times.
fn report(what: &str, mut times_ms: Vec<i64>) {
    times_ms.sort_unstable();
    let at = |quantile: f64| times_ms[((times_ms.len() - 1) as f64 * quantile).ceil() as usize];
    println!("{what}_of {}", times_ms.len());
    println!("{what}_p50_ms {}", at(0.5));
    println!("{what}_p99_ms {}", at(0.99));
    println!("{what}_worst_ms {}", at(1.0));
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}

/// Has a session ended: a plan for it is approved. The session's client, which goes away with what is returned.
async fn approved(postgres: &Postgres, shop: &Shop) -> Session {
    let hung = postgres.session("shop", "shopper", "shopper").await;
    hung.run("BEGIN; SELECT 1").await.unwrap();
    let plan = shop.proposed(TERMINATE, named(&hung).await).await;
    shop.approve(&plan).await;
    hung
}

/// The first record of a kind from outside, and how many records there were before it.
async fn read(shop: &Shop, token: &str, first: usize, kind: &str) -> (usize, Value) {
    let (http, since) = (client(), Instant::now());
    let mut first = first;
    loop {
        let url = shop.stage.url(&format!("/v1/ledger/entries?first={first}&limit=200"));
        let page: Value = http.get(url).bearer_auth(token).send().await.unwrap().json().await.unwrap();
        for entry in page["entries"].as_array().unwrap() {
            if entry["record"]["body"]["kind"] == kind {
                return (first, entry["record"].clone());
            }
            first += 1;
        }
        assert!(since.elapsed() < PATIENCE, "no `{kind}`: {}", shop.stage.log());
        tokio::time::sleep(LOOK).await;
    }
}

/// One task after the other, with the gate up.
async fn proofs(postgres: &Postgres, tasks: usize) -> Vec<i64> {
    let mut shop = Shop::new(postgres, QUICK, 300_000).await;
    shop.stage.start();
    let token = shop.stage.person("ada");
    let (mut times, mut first) = (Vec::new(), 0);
    for _ in 0..tasks {
        let _hung = approved(postgres, &shop).await;
        let (at, end) = read(&shop, &token, first, "succeeded").await;
        let (after, _) = read(&shop, &token, at, "revoked").await;
        times.push(now_ms() - end["at_ms"].as_i64().unwrap());
        first = after + 1;
    }
    times
}

/// A gate that died in the life of a lease, and the next one.
async fn restart(postgres: &Postgres, place: &str) -> i64 {
    let mut shop = Shop::new(postgres, QUICK, 300_000).await;
    shop.stage.set_environment(vec![("HOLDPOINT_DRILL".to_owned(), place.to_owned())]);
    shop.stage.start();
    let token = shop.stage.person("ada");
    let _hung = approved(postgres, &shop).await;
    shop.stage.died().await;
    shop.stage.set_environment(Vec::new());
    let since = Instant::now();
    shop.stage.start();
    read(&shop, &token, 0, "revoked").await;
    since.elapsed().as_millis().try_into().unwrap()
}

/// Nothing of ours runs any more.
async fn all_dead(postgres: &Postgres) -> i64 {
    let mut shop = Shop::new(postgres, QUICK, SHORT_MS).await;
    shop.stage.set_environment(vec![("HOLDPOINT_DRILL".to_owned(), "role-mint:unreported".to_owned())]);
    shop.stage.start();
    let _hung = approved(postgres, &shop).await;
    shop.stage.died().await;
    let lease = shop.announced_on_disk();
    let (role, password) = shop.login(&lease.id);
    let login = Login::new(role, password);
    let server = postgres.server("shop");
    assert!(server.connect(&login).await.is_ok(), "it does not work while it lives");
    while server.connect(&login).await.is_ok() {
        tokio::time::sleep(LOOK).await;
    }
    let late = now_ms() - lease.expires_at_ms;
    // Taken down, so that the next gate begins with nothing.
    shop.stage.set_environment(Vec::new());
    shop.stage.start();
    shop.revoked().await;
    late
}
