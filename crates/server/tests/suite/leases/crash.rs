//! `kill -9` of the whole gate at the decisive places of a lease's life: with the gate dead the credential is what it was, and
//! with the next start it is ended, proven dead and recorded so.

use std::time::Instant;

use holdpoint_adapters::{
    postgres::{Login, TERMINATE},
    step::{Moment, Step},
};

use super::{
    scene::{Announced, QUICK, Shop, roles},
    server::{Postgres, named},
};
use crate::suite::crash::drill;

/// Where the gate dies, and whether a real psql gets in with the lease's login while it is dead.
const PLACES: [(Step, Moment, bool); 7] = [
    // Announced, and not minted: before its life.
    (Step::RoleMint, Moment::Before, false),
    // Minted, and nobody was told its password.
    (Step::RoleMint, Moment::Unreported, true),
    (Step::BackendSignal, Moment::Before, true),
    (Step::BackendSignal, Moment::Unreported, true),
    // The task is over, and its credential is not.
    (Step::RoleBar, Moment::Before, true),
    (Step::RoleDropOwned, Moment::Unreported, false),
    // Dead, and not recorded so.
    (Step::RoleDrop, Moment::Unreported, false),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv08_t26_a_gate_killed_in_the_life_of_a_lease_ends_it_at_its_next_start() {
    let postgres = Postgres::start().await;
    for (step, moment, is_alive) in PLACES {
        let what = format!("{}:{}", step.as_str(), moment.as_str());
        let hung = postgres.session("shop", "shopper", "shopper").await;
        hung.run("BEGIN; SELECT 1").await.unwrap();
        let mut shop = Shop::new(&postgres, QUICK, 300_000).await;
        shop.stage.set_environment(vec![("HOLDPOINT_DRILL".to_owned(), drill(step, moment, 1))]);
        shop.stage.start();
        let plan = shop.proposed(TERMINATE, named(&hung).await).await;
        let id = shop.approve(&plan).await;
        shop.stage.died().await;

        // What the ledger announced is all that anybody needs to find it.
        shop.stage.set_environment(Vec::new());
        let Announced { id: lease, expires_at_ms } = shop.announced_on_disk();
        let (role, password) = shop.login(&lease);
        let psql = async || postgres.psql(&role, &password, "SELECT session_user").output().unwrap();
        let dead = psql().await;
        assert_eq!(dead.status.success(), is_alive, "{what}: {dead:?}");
        // However long the gate stays dead: the server itself knows the end, and counts from when it was told, which the issuer
        // waits ten seconds for and no longer.
        if is_alive {
            let sql = format!(
                "SELECT (rolvaliduntil <= to_timestamp({expires_at_ms} / 1000.0) + interval '10 seconds')::text FROM pg_roles WHERE rolname = '{role}'"
            );
            assert_eq!(postgres.admin("shop").await.word(&sql).await.unwrap(), "true", "{what}");
        }

        let since = Instant::now();
        shop.stage.start();
        shop.revoked().await;
        let took = since.elapsed();
        let ended = shop.stage.ended(&id).await;
        println!("{what}: proven dead {took:?} after the start, and the run {ended}");
        let login = Login::new(role.clone(), password.clone());
        assert!(postgres.server("shop").connect(&login).await.is_err(), "{what}");
        let after = psql().await;
        assert!(
            String::from_utf8_lossy(&after.stderr).contains("authentication failed"),
            "{what}: {after:?}"
        );
        assert!(roles(&postgres).await.is_empty(), "{what}");
        let story = shop.story(&id).await;
        let of_it = |kind: &str| story.iter().filter(|(known, _)| known == kind).count();
        assert_eq!((of_it("leased"), of_it("revoked"), of_it("applying") <= 1), (1, 1, true), "{what}");
        // What the ledger says of the session is what became of it.
        let gone = hung.run("SELECT 1").await.is_err();
        match ended.as_str() {
            "succeeded" => assert!(gone, "{what}"),
            "failed" => assert!(!gone, "{what}: failed means that nothing was changed"),
            "in_doubt" => assert_eq!(step, Step::BackendSignal, "{what}"),
            other => panic!("{what}: {other}"),
        }
    }
}
