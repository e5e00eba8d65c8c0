//! `kill -9` at every step of issue, use and revocation: whoever comes next finds the lease by its id, ends it and proves it.

use std::time::Instant;

use holdpoint_adapters::step::{Moment, Step};
use holdpoint_app::port::Issuer as _;
use serde_json::json;

use super::{
    leases::backend,
    server::{OpenBao, desk, spec},
};
use crate::world::postgres::{
    crash::{die, live},
    server::{Named, Place, named, secret, until},
};

/// What tells a child that it is the one that dies: drill, ports of database and OpenBao, folder, process id and start of a
/// session, epoch.
const VICTIM: &str = "HOLDPOINT_TEST_BAO_VICTIM";

/// The steps between a permit and the proof that its lease is dead, but for those of other modules.
const STEPS: [Step; 6] =
    [Step::BaoRenew, Step::BaoDefine, Step::BaoCreds, Step::BackendSignal, Step::BaoRevoke, Step::BaoForget];

/// No test of its own: the life of a lease, in a process that kills itself on the way.
#[tokio::test]
async fn victim() {
    let Ok(words) = std::env::var(VICTIM) else { return };
    let words: Vec<_> = words.split(' ').collect();
    let [drill, port, bao, dir, pid, started_us, epoch] = words[..] else { panic!("{words:?}") };
    let place = Place { dir: dir.into(), port: port.parse().unwrap() };
    let desk = desk(&place, spec(&place, bao.parse().unwrap()));
    live(&desk, drill, [pid, started_us, epoch]).await;
}

#[tokio::test]
async fn inv08_t26_a_lease_of_openbao_dies_after_kill_9_at_every_step_of_its_life() {
    let bao = OpenBao::start().await;
    let postgres = &bao.postgres;
    let mut spans = Vec::new();
    // No step comes after the last one, which `after` would wait for.
    let last = (Step::BaoForget, Moment::After);
    let cases = STEPS.iter().flat_map(|step| Moment::ALL.map(|moment| (*step, moment)));
    let cases = cases.filter(|case| *case != last);
    for (epoch, (step, moment)) in (1_u64..).zip(cases) {
        let what = format!("{}:{}", step.as_str(), moment.as_str());
        if step == Step::BaoRenew {
            // One that is renewed at once: it has less left than a lease of a minute needs.
            let token = bao.token(json!({"period": "2m"})).await;
            secret(&postgres.path("bao-token"), &token);
            until("the token grows older", async || {
                let path = "auth/token/lookup";
                let found = bao.root(reqwest::Method::POST, path, json!({"token": token})).await;
                (found["data"]["ttl"].as_u64().unwrap() < 120).then_some(())
            })
            .await;
        }
        let shopper = postgres.session("shop", "shopper", "shopper").await;
        let Named { pid, started_us } = named(&shopper).await;
        let (dir, port) = (postgres.dir.display(), postgres.port);
        let words = format!("{what} {port} {} {dir} {pid} {started_us} {epoch}", bao.port);
        die("world::openbao::crash::victim", VICTIM, &words);

        let began = Instant::now();
        let desk = bao.desk();
        let held = desk.issuer.held(&backend()).await.unwrap();
        let before_it = matches!(
            (step, moment),
            (Step::BaoRenew, Moment::Before | Moment::Unreported | Moment::After)
                | (Step::BaoDefine, Moment::Before)
        );
        let after_it = step == Step::BaoForget && moment == Moment::Unreported;
        assert_eq!(held.len(), usize::from(!before_it && !after_it), "{what}");
        for lease in &held {
            desk.issuer.revoke(Some(&backend()), lease).await.unwrap();
        }
        spans.push(began.elapsed());
        assert_eq!(desk.issuer.held(&backend()).await.unwrap(), [], "{what}");
        bao.assert_nothing_left(&what).await;
        let gone = shopper.run("SELECT 1").await.is_err();
        let ended = matches!(step, Step::BaoRevoke | Step::BaoForget);
        let signalled = step == Step::BackendSignal && moment != Moment::Before;
        assert_eq!(gone, ended || signalled, "{what}");
    }
    spans.sort();
    let (half, last) = (spans[spans.len() / 2], spans[spans.len() - 1]);
    println!("after kill -9: found, ended and proven in p50 {half:?}, at most {last:?} of {}", spans.len());
}
