//! What the other pages say.

use std::time::Duration;

use axum::{
    body::Body,
    http::{Method, header},
};
use futures_util::StreamExt as _;
use holdpoint_app::fake::controls::signal;
use holdpoint_domain::{Millis, approval::Choice};

use super::{
    bench::{Answer, Bench, asked, parts},
    requests::read,
};

#[track_caller]
fn says(page: &Answer, parts: &[&str]) {
    assert_eq!(page.status, 200, "{}", page.text);
    let text = read(&page.text);
    for part in parts {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
}

#[tokio::test]
async fn a_plans_timeline_has_every_record_with_its_place_in_the_ledger() {
    let bench = Bench::new().await;
    let cookie = bench.signed_in("bob");
    let plan = bench.ran("process.restart", "worker-2").await;
    let page = bench.page(&format!("/plans/{plan}"), &cookie).await;
    says(
        &page,
        &[
            "Restart a process on worker-2",
            "succeeded",
            "proposed the plan",
            "decided: allow at T2",
            "claimed permit",
        ],
    );
    says(
        &page,
        &["Review, due in 1 d", "Was the trigger real?", "may go on", "team shop-team owes a review"][..2],
    );
    let records = bench.store.records();
    for (index, _) in records
        .iter()
        .enumerate()
        .filter(|(_, record)| record.plan.as_ref().is_some_and(|id| id.as_str() == plan))
    {
        assert!(page.text.contains(&format!("href=\"/ledger/{index}\"")), "{index}");
    }
    let incident = bench.page("/incidents/inc-1", &cookie).await;
    says(&incident, &["Incident inc-1", "1 plan, from", "Restart a process on worker-2"]);
    assert_eq!(bench.page("/incidents/inc-9", &cookie).await.status, 404);
}

#[tokio::test]
async fn a_plan_says_what_moved_and_of_what_nobody_knows_it() {
    let mut parts = parts();
    parts.signals = vec![signal("errors")];
    let bench = Bench::with(parts).await;
    let cookie = bench.signed_in("bob");
    let plan = bench.ran("process.restart", "worker-2").await;
    while !bench.store.records().iter().any(|record| record.body.word() == "aftermath") {
        tokio::task::yield_now().await;
    }
    for path in [format!("/plans/{plan}"), "/incidents/inc-1".to_owned()] {
        says(
            &bench.page(&path, &cookie).await,
            &[
                "What moved at the same time",
                "target worker-2 (acted on): in another version than before",
                "target worker-1 (beside it): in the same version as before",
                "unknown: shop by errors, not measured before (no data)",
                "measured all services before the run: 0 values by 1 signals",
                "measured again after the run: 0 better, 0 worse, 0 still",
            ],
        );
    }
}

#[tokio::test]
async fn runs_reviews_leases_and_agents_say_what_is() {
    let bench = Bench::new().await;
    let cookie = bench.signed_in("bob");
    says(&bench.page("/runs", &cookie).await, &["Nothing runs.", "Nothing has run yet."]);
    bench.ran("process.restart", "worker-2").await;
    says(&bench.page("/runs", &cookie).await, &["Restart a process", "✓ succeeded"]);
    says(&bench.page("/reviews", &cookie).await, &["Due 1", "shop-team", "in 1 d"]);
    says(&bench.page("/leases", &cookie).await, &["None is alive."]);
    says(&bench.page("/brakes", &cookie).await, &["Nothing holds plans back."]);
    says(
        &bench.page("/agents", &cookie).await,
        &["healer", "Answers for it alice", "1 plans", "✓ succeeded 1"],
    );
    says(&bench.page("/people", &cookie).await, &["bob (you)", "◆ administrator", "healer"]);
    bench.clock.advance(Millis::secs(25 * 60 * 60));
    let later = bench.signed_in("bob");
    says(&bench.page("/reviews", &later).await, &["▲ overdue, 1 h"]);
}

#[tokio::test]
async fn inv11_each_entry_comes_with_its_proof_and_the_log_is_verified() {
    let bench = Bench::new().await;
    let cookie = bench.signed_in("bob");
    bench.ran("process.restart", "worker-2").await;
    let page = bench.page("/ledger", &cookie).await;
    says(&page, &["the log begins", "proposed the plan", "That is the stronger proof"]);
    let size = bench.store.records().len();
    for index in [0, 1, size - 1] {
        let page = bench.page(&format!("/ledger/{index}"), &cookie).await;
        says(&page, &["Included ✓ yes", "c2sp.org/tlog-proof@v1", "holdpoint/record/v1"]);
        let proof = bench.page(&format!("/ledger/{index}/proof"), &cookie).await;
        assert!(
            proof.text.starts_with("c2sp.org/tlog-proof@v1\n")
                && proof.header("content-type").starts_with("text/plain")
        );
    }
    for index in ["007", "-1", "x", "99999"] {
        assert_eq!(bench.page(&format!("/ledger/{index}"), &cookie).await.status, 404, "{index}");
    }
    let verified = bench.form("/ledger/verify", &cookie, "").await;
    says(&verified, &["✓ Sound", &format!("Read {size} entries from the store")]);
    assert_eq!(bench.store.records().len(), size, "and nothing is written by it");
}

#[tokio::test]
async fn a_decision_is_explained_by_its_rules() {
    let bench = Bench::new().await;
    let cookie = bench.signed_in("bob");
    let terms = bench.held().await;
    let plan = bench.plan_of(&terms).await;
    let page = bench.page(&format!("/policies?plan={plan}"), &cookie).await;
    says(
        &page,
        &[
            "The answer was hold , at T3, one approver",
            "rule no-undo",
            "T3 ✓ enough",
            "rule fake would have permitted it",
        ],
    );
    says(&bench.page("/policies", &cookie).await, &["policy (1 lines)", "first"]);
    assert_eq!(bench.page("/policies?plan=%22", &cookie).await.status, 400);
}

#[tokio::test]
async fn a_change_is_a_difference_and_its_author_does_not_decide() {
    let bench = Bench::new().await;
    let change = bench.change_to("second").await;
    let at = format!("/changes/{change}");
    let page = bench.page(&at, &bench.signed_in("bob")).await;
    says(&page, &["Replace the policy", "Written by alice", "removed: first", "added: second", "0 of 2"]);
    assert!(page.text.contains(&format!("data-ceremony=\"change-approve\" data-change=\"{change}\">")));
    let author = bench.page(&at, &bench.signed_in("alice")).await;
    says(&author, &["You cannot decide on this: you wrote it."]);
    says(&bench.page("/changes", &bench.signed_in("bob")).await, &["◆ waits for administrators"]);
}

#[tokio::test]
async fn settings_and_catalogue_say_what_is_in_force() {
    let bench = Bench::new().await;
    let cookie = bench.signed_in("bob");
    let page = bench.page("/settings", &cookie).await;
    let policy = bench.gate.inputs.policy.to_string();
    says(
        &page,
        &[
            "policy",
            &policy,
            "● the same",
            "A hold waits for people 15 min",
            "https://gate.test",
            "production",
        ],
    );
    let page = bench.page("/catalogue", &cookie).await;
    says(
        &page,
        &[
            "Drop the cache of a process",
            "T3 one approver",
            "not below T3: nothing would undo it",
            "process.healthy",
        ],
    );
}

#[tokio::test]
async fn figures_are_counted_from_the_ledger() {
    let bench = Bench::new().await;
    let cookie = bench.signed_in("bob");
    says(
        &bench.page("/figures", &cookie).await,
        &["Nobody has decided on anything yet.", "Nothing has run yet."],
    );
    for _ in 0..3 {
        let terms = bench.held().await;
        bench.clock.advance(Millis::secs(90));
        bench.decide("bob", &terms, Choice::Reject).await;
    }
    bench.ran("process.restart", "worker-2").await;
    let page = bench.page("/figures", &bench.signed_in("bob")).await;
    says(&page, &["hold 3", "Median (p50) 1 min 30 s", "bob 3 0 % 0", "succeeded 1", "Undo rate 0 %"]);
}

#[tokio::test]
async fn t26_a_stream_says_that_something_happened_and_ends_with_its_session() {
    let bench = Bench::new().await;
    let cookie = bench.signed_in("bob");
    let request = asked(Method::GET, "/runs/events", &cookie);
    let request = request.header(header::ACCEPT, "text/event-stream").body(Body::empty()).unwrap();
    let mut events = bench.stream(request).await;
    let next = async |events: &mut axum::body::BodyDataStream| {
        let chunk = tokio::time::timeout(Duration::from_secs(60), events.next()).await.unwrap();
        chunk.map(|chunk| String::from_utf8(chunk.unwrap().to_vec()).unwrap())
    };
    bench.held().await;
    let first = next(&mut events).await.unwrap();
    assert!(first.contains("event: changed") && first.contains("id: "), "{first}");
    assert_eq!(bench.form("/sign-out", &cookie, "").await.status, 303);
    bench.held().await;
    while let Some(more) = next(&mut events).await {
        assert!(more.contains("event: changed"), "{more}");
    }
}

#[tokio::test]
async fn t26_what_a_page_asks_for_by_itself_keeps_no_session_alive() {
    let bench = Bench::new().await;
    let cookie = bench.signed_in("bob");
    let by_itself = async || {
        let request = asked(Method::GET, "/runs", &cookie).header("sec-fetch-dest", "empty");
        bench.send(request.body(Body::empty()).unwrap()).await.status
    };
    for _ in 0..2 {
        bench.clock.advance(Millis::secs(14 * 60));
        assert_eq!(by_itself().await, 200);
    }
    bench.clock.advance(Millis::secs(2 * 60));
    assert_eq!(by_itself().await, 401, "half an hour without anybody");
}

/// Alice and Bob did something outside, in these words.
pub(super) async fn outside(bench: &Bench, text: &str) {
    use holdpoint_app::{
        fake::{session, signed},
        port::{Clock as _, Store as _},
        reconcile::{Opened, reconcile},
    };
    use holdpoint_domain::{
        Timestamp,
        digest::Salt,
        reconcile::{Account, Part, ReconcileStatement, Words},
    };
    let all = || format!("by hand, as it was: {text}");
    let words = Words { did: all(), reason: all(), before: all(), after: all() };
    let salt = Salt::new([7; 32]);
    let at = |ago| Timestamp::from_ms(bench.clock.now().ms().saturating_sub(ago)).unwrap();
    let account = Account {
        origin: bench.store.head().origin.clone(),
        action: Some("process.restart".parse().unwrap()),
        target: "worker-1".parse().unwrap(),
        from_ms: at(2_000),
        until_ms: at(1_000),
        people: ["alice", "bob"].map(|name| name.parse().unwrap()).into(),
        incident: Some("inc-7".parse().unwrap()),
        words: words.commit(&salt).unwrap(),
    };
    let statement = signed(ReconcileStatement::new(account, Part::Reported, "alice".parse().unwrap()));
    let opened = Some(Opened { words, salt });
    reconcile(&bench.gate, &session("alice"), statement, opened).await.unwrap();
}

#[tokio::test]
async fn what_was_done_outside_stands_on_its_page_and_in_its_incident() {
    let bench = Bench::new().await;
    let cookie = bench.signed_in("bob");
    says(&bench.page("/reconciliations", &cookie).await, &["Nobody said that anything was."]);
    outside(&bench, "CANARY").await;
    let said =
        ["process.restart on worker-1", "reported by one", "Done by alice, bob", "CANARY", "A look is due"];
    let page = bench.page("/reconciliations", &cookie).await;
    says(&page, &said);
    says(&page, &["I was there: confirm…", "Nothing of it was measured"]);
    // An incident of which the gate never saw a plan.
    says(&bench.page("/incidents/inc-7", &cookie).await, &said);
    let index = bench.store.records().len().saturating_sub(1);
    let entry = bench.page(&format!("/ledger/{index}"), &cookie).await;
    says(&entry, &["reported that they did process.restart on worker-1, outside of Holdpoint"]);
    assert!(!entry.text.contains("CANARY"), "the ledger has a commitment");
}
