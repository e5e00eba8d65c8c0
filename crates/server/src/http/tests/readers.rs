//! Who sees which plans.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use super::bench::{Bench, plan};
use crate::http::{Limits, wire};

#[tokio::test]
async fn t22_sixty_four_agents_at_once_each_see_their_own() {
    let names: Vec<String> = (0..64).map(|number| format!("agent-{number:02}")).collect();
    let bench = Bench::with(Limits::default(), &names).await;
    let propose = |name: String| {
        let bench = &bench;
        async move {
            let mut own = BTreeSet::new();
            for target in ["worker-1", "worker-2"] {
                own.insert(bench.propose(&name, "cache.drop", target).await.id);
            }
            (name, own)
        }
    };
    let all = join_all(names.into_iter().map(propose)).await;

    let look = |(name, own): (String, BTreeSet<_>)| {
        let bench = &bench;
        async move {
            let token = format!("agent.{name}.decide");
            let list: wire::Plans = bench.get("/v1/plans?limit=200", &token).await.json();
            assert_eq!(list.plans.iter().map(|plan| plan.id.clone()).collect::<BTreeSet<_>>(), own, "{name}");
            let holds: wire::Holds = bench.get("/v1/holds?limit=200", &token).await.json();
            assert_eq!(holds.holds.iter().map(|hold| hold.plan_id.clone()).collect::<BTreeSet<_>>(), own);
            for id in &own {
                let seen: wire::PlanDetail = bench.get(&format!("/v1/plans/{id}"), &token).await.json();
                assert_eq!(seen.plan.requester().agent.as_str(), name);
            }
        }
    };
    join_all(all.clone().into_iter().map(look)).await;

    // And nobody else's, in the very words that are said of a plan that is not there.
    let foreign = all[1].1.first().unwrap();
    let token = format!("agent.{}.decide", all[0].0);
    let said = bench.get(&format!("/v1/plans/{foreign}"), &token).await;
    let nothing = bench.get("/v1/plans/plan-0", &token).await;
    assert_eq!((said.status, nothing.status), (404, 404));
    assert_eq!(said.text().replace(foreign.as_str(), "plan-0"), nothing.text());

    let everything: wire::Plans = bench.get("/v1/plans?limit=200", "person.carol").await.json();
    assert_eq!(everything.plans.len(), 128);
}

#[tokio::test]
async fn lists_are_filtered_and_bounded() {
    let bench = Bench::new().await;
    for target in ["worker-1", "worker-2", "worker-3"] {
        bench.propose("own", "cache.drop", target).await;
    }
    let list = |path: &'static str| {
        let bench = &bench;
        async move { bench.get(path, "agent.own.decide").await.json::<wire::Plans>().plans }
    };
    assert_eq!(list("/v1/plans").await.len(), 3);
    let newest = &list("/v1/plans?limit=1").await[0];
    assert_eq!(newest.target.as_str(), "worker-3");
    assert_eq!(list("/v1/plans?state=held,denied").await.len(), 3);
    assert_eq!(list("/v1/plans?state=denied").await.len(), 0);
    assert!(bench.get("/v1/plans", "agent.other.decide").await.json::<wire::Plans>().plans.is_empty());

    let bad = [
        "/v1/plans?limit=0",
        "/v1/plans?limit=201",
        "/v1/plans?limit=-1",
        "/v1/plans?limit=x",
        "/v1/plans?limit=1&limit=2",
        "/v1/plans?state=",
        "/v1/plans?state=Held",
        "/v1/plans?state=held&state=denied",
        "/v1/plans?state=%E2%80%AE",
        "/v1/plans?agent=other",
        "/v1/holds?limit=201",
        "/v1/ledger/entries?limit=1000",
        "/v1/ledger/entries?first=-1",
        "/v1/events?after=x",
        "/v1/events?token=person.alice",
    ];
    for path in bad {
        let problem = bench.get(path, "person.alice").await.problem();
        assert_eq!((problem.status, problem.rule.as_str()), (400, "bad-query"), "{path}");
        assert!(!problem.detail.contains('\u{202e}'));
    }
}

#[tokio::test]
async fn t20_an_id_has_one_spelling() {
    let bench = Bench::new().await;
    let proposed = bench.propose("own", "cache.drop", "worker-1").await;
    let id = proposed.id.as_str();
    let cases = [
        (format!("/v1/plans/{}", id.to_uppercase()), 400),
        (format!("/v1/plans/{id}%00"), 400),
        (format!("/v1/plans/%2e%2e%2f{id}"), 400),
        (format!("/v1/plans/{id}%E2%80%AE"), 400),
        (format!("/v1/plans/{id}%FF"), 400),
        (format!("/v1/plans/{id}/"), 404),
        (format!("/v1/plans//{id}"), 404),
        (format!("//v1/plans/{id}"), 404),
        (format!("/v1/../v1/plans/{id}"), 404),
        (format!("/V1/plans/{id}"), 404),
        (format!("/v1/plans;x/{id}"), 404),
    ];
    for (path, status) in cases {
        assert_eq!(bench.get(&path, "person.alice").await.problem().status, status, "{path}");
    }
    // A proposal of the same kind of thing never passes for an id either.
    let answer =
        bench.post(&format!("/v1/plans/{id}"), "agent.own.decide", &plan("cache.drop", "worker-1")).await;
    assert_eq!(answer.problem().status, 405);
    assert_eq!(answer.headers["allow"], "GET,HEAD");
}

#[tokio::test]
async fn t26_policy_says_who_reads_the_ledger() {
    let bench = Bench::new().await;
    let paths = ["/v1/ledger/entries", "/v1/ledger/tile/entries/000.p/2", "/v1/ledger/proof/0", "/v1/events"];
    bench.judge.set_readers(holdpoint_app::fake::controls::ids(&["bob"]));
    for path in paths {
        let problem = bench.get(path, "person.alice").await.problem();
        assert_eq!((problem.status, problem.rule.as_str()), (403, "may-not-read-the-ledger"), "{path}");
        let head = bench.send(super::bench::request(axum::http::Method::GET, path, "person.bob", None)).await;
        assert!(head.status() == 200 || head.status() == 404, "{path}");
    }
    // Plans and holds are another matter, and so is what anybody may see.
    assert_eq!(bench.get("/v1/plans", "person.alice").await.status, 200);
    bench.judge.set(holdpoint_app::fake::Policy::Error);
    assert_eq!(bench.get("/v1/ledger/entries", "person.bob").await.problem().status, 403);
}
