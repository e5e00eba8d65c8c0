//! What the pages say.

use holdpoint_app::{
    fake::controls::ids,
    port::{Field, Preview},
};
use holdpoint_domain::{
    Digest, Millis,
    approval::Choice,
    plan::Narrative,
    quorum::{Group, Quorum},
};

use super::bench::{Bench, parts};

/// A page without its marks, blanks folded: what is read.
pub(super) fn read(html: &str) -> String {
    let mut text = String::new();
    let mut inside = true;
    for c in html.chars() {
        match c {
            '<' => inside = false,
            '>' => {
                inside = true;
                text.push(' ');
            }
            _ if inside => text.push(c),
            _ => {}
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn t13_the_request_says_everything_in_the_words_of_the_gate() {
    let bench = Bench::new().await;
    // Something like it was asked for before.
    let earlier = bench.held().await;
    bench.decide("bob", &earlier, Choice::Reject).await;
    let terms = bench.held().await;
    let cookie = bench.signed_in("bob");
    let page = bench.page(&format!("/holds/{}", terms.hold), &cookie).await;
    assert_eq!(page.status, 200, "{}", page.text);
    let text = read(&page.text);
    for part in [
        "Drop the cache of a process on worker-1",
        "Asked by agent healer",
        "service shop, production",
        "T3 one approver",
        "15 min left",
        "Silence is a no",
        "legacy-billing",
        "unknown, counts as critical",
        "needs shop",
        "nothing would undo it",
        "2 of 2 independent sources say that it holds",
        "blackbox",
        "exporter",
        "not below T3",
        "rule no-undo",
        "0 of 1",
        "May decide alice",
        "carol",
        "Written by the agent. Not checked. Not part of the decision.",
        "it hangs",
        "the same action on the same target",
        "rejected",
        "This is the plan’s tier",
    ] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    for digest in [terms.plan.to_string(), terms.facts.to_string(), terms.nonce.to_string()] {
        assert!(text.contains(&digest), "{digest}");
    }
    assert!(page.text.contains(&format!("data-ceremony=\"approve\" data-hold=\"{}\"", terms.hold)));
}

#[tokio::test]
async fn t10_looking_at_a_request_decides_nothing() {
    let bench = Bench::new().await;
    let terms = bench.held().await;
    let (cookie, before) = (bench.signed_in("bob"), bench.store.records().len());
    for query in ["", "?approve=1", "?choice=approve", "?decision=approve&confirm=yes"] {
        assert_eq!(bench.page(&format!("/holds/{}{query}", terms.hold), &cookie).await.status, 200);
    }
    assert_eq!(bench.store.records().len(), before, "a GET writes nothing");
}

#[tokio::test]
async fn a_request_that_is_over_says_so_and_offers_nothing() {
    let bench = Bench::new().await;
    let terms = bench.held().await;
    bench.decide("carol", &terms, Choice::Reject).await;
    let page = bench.page(&format!("/holds/{}", terms.hold), &bench.signed_in("bob")).await;
    assert!(read(&page.text).contains("✕ rejected") && read(&page.text).contains("✕ carol rejected"));
    assert!(!page.text.contains("data-ceremony=\"approve\""), "{}", page.text);

    let terms = bench.held().await;
    bench.clock.advance(Millis::secs(16 * 60));
    let page = bench.page(&format!("/holds/{}", terms.hold), &bench.signed_in("bob")).await;
    assert!(!page.text.contains("data-ceremony=\"approve\""), "its time is over");
}

#[tokio::test]
async fn whoever_may_not_decide_is_told_why() {
    let bench = Bench::new().await;
    let terms = bench.held().await;
    // His passkeys are of another console.
    let page = bench.page(&format!("/holds/{}", terms.hold), &bench.signed_in("bob")).await;
    let text = read(&page.text);
    assert!(text.contains("You cannot decide on this: you have no passkey for this console"), "{text}");
    bench.judge.set_approvers([holdpoint_app::fake::controls::id("carol")].into());
    let page = bench.page(&format!("/holds/{}", terms.hold), &bench.signed_in("bob")).await;
    let text = read(&page.text);
    assert!(text.contains("You cannot decide on this: no rule of the policy permits it."), "{text}");
    assert!(page.text.contains(" disabled"), "{}", page.text);
}

#[tokio::test]
async fn t13_before_and_after_are_read_from_the_target_and_say_when_they_are_not_what_was_decided() {
    let bench = Bench::new().await;
    let terms = bench.held().await;
    let path = format!("/holds/{}", terms.hold);
    let cookie = bench.signed_in("bob");
    let text = read(&bench.page(&path, &cookie).await.text);
    assert!(text.contains("not as their text"), "a reader that tells no more than a version: {text}");

    let seen = |version, refused: Option<&str>| {
        let field = Field {
            name: "pool_size".to_owned(),
            before: "8\u{202e}".to_owned(),
            after: "<b>16</b>".to_owned(),
        };
        Preview { version, fields: vec![field], refused: refused.map(str::to_owned) }
    };
    let version = bench.world.thing("worker-1").version();
    bench.world.preview_is(seen(version, None));
    let page = bench.page(&path, &cookie).await.text;
    let text = read(&page);
    assert!(text.contains("pool_size − Before: 8\\u{202E} + After: &#60;b&#62;16&#60;/b&#62;"), "{text}");
    assert!(!text.contains("would refuse") && text.contains("the plan is bound to it"), "{text}");

    bench.world.preview_is(seen(version, Some("it is so already")));
    let text = read(&bench.page(&path, &cookie).await.text);
    assert!(text.contains("As the target is now, the executor would refuse: it is so already."), "{text}");
    bench.world.preview_is(seen(Digest::of_bytes(b"another state"), None));
    let text = read(&bench.page(&path, &cookie).await.text);
    assert!(text.contains("The target has changed since this was decided"), "{text}");
    // What is over is shown as it was recorded: nobody looks any more.
    bench.clock.advance(Millis::secs(16 * 60));
    let text = read(&bench.page(&path, &cookie).await.text);
    assert!(!text.contains("has changed since"), "{text}");
}

/// Whom the catalogue asks for, and who of them is missing, before and after somebody approved.
#[tokio::test]
async fn the_request_says_whom_it_waits_for() {
    let mut parts = parts();
    let group = |teams: &[&str]| Group::try_from(ids(teams)).unwrap();
    let groups = vec![group(&["dba", "shop-team"]), group(&["security"])];
    parts.action("cache.drop").approvals = Some(Quorum::new(3, groups).unwrap());
    let bench = Bench::with(parts).await;
    let terms = bench.held().await;
    let cookie = bench.signed_in("bob");
    let shown = async || read(&bench.page(&format!("/holds/{}", terms.hold), &cookie).await.text);
    let asked = "Waits for 3 approvals: at least one of dba or shop-team, at least one of security";
    let says = |text: &str, parts: &[&str]| {
        for part in parts {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
    };
    let missing = "Missing 3 more approvals: at least one of security, at least one of dba or shop-team";
    says(&shown().await, &["0 of 3", asked, missing, "If 3 more approvals are not given by then"]);
    bench.decide("bob", &terms, Choice::Approve).await;
    let missing = "Missing 2 more approvals: at least one of security";
    says(&shown().await, &["1 of 3", asked, missing, "If 2 more approvals are not given by then"]);
    says(&read(&bench.page("/", &cookie).await.text), &["1 of 3"]);
    let catalogue = read(&bench.page("/catalogue", &cookie).await.text);
    says(&catalogue, &[asked, "Waits for the people of the tier"]);
    bench.decide("carol", &terms, Choice::Reject).await;
    assert!(!shown().await.contains("Missing"), "it waits for nobody any more");
}

#[tokio::test]
async fn the_inbox_has_the_most_urgent_first() {
    let bench = Bench::new().await;
    let cookie = bench.signed_in("bob");
    assert!(read(&bench.page("/", &cookie).await.text).contains("Nothing waits for you."));
    let first = bench.held().await;
    bench.clock.advance(Millis::secs(13 * 60));
    let words = Narrative::default();
    let second = bench.proposed("cache.drop", "orders-1", words).await.terms.unwrap();
    let page = bench.page("/", &cookie).await;
    let at = |hold: &str| page.text.find(&format!("/holds/{hold}")).unwrap();
    assert!(at(first.hold.as_str()) < at(second.hold.as_str()));
    let text = read(&page.text);
    assert!(
        text.contains("Urgent: 2 min") && text.contains("Drop the cache of a process on orders-1"),
        "{text}"
    );
    assert!(text.contains("Inbox 2"), "the badge: {text}");
}

#[tokio::test]
async fn inv15_a_halt_is_two_clicks_on_every_page_and_says_what_is_in_flight() {
    let bench = Bench::new().await;
    let cookie = bench.signed_in("alice");
    for path in ["/", "/holds/no-such"] {
        let page = bench.page(path, &cookie).await;
        assert!(
            page.text.contains("action=\"/halt\"") && page.text.contains("name=\"reach\" value=\"soft\""),
            "{path}"
        );
    }
    let page = bench.page("/runs", &cookie).await;
    assert!(page.text.contains("name=\"back\" value=\"/runs\""), "{}", page.text);
    let answer = bench.form("/halt", &cookie, "reach=hard&back=//evil.example").await;
    assert_eq!((answer.status, answer.header("location")), (303, "/"));
    let page = bench.page("/runs", &cookie).await;
    assert!(!page.text.contains("value=\"soft\""), "one that is hard is not made soft");
    let text = read(&page.text);
    assert!(text.contains("Halted hard By alice"), "{text}");
    assert!(text.contains("Nothing is in flight") && text.contains("Resume with a passkey"), "{text}");
    assert!(bench.store.records().iter().any(|record| record.body.word() == "halted"));
}

#[tokio::test]
async fn whoever_may_not_look_may_still_halt() {
    let bench = Bench::new().await;
    bench.judge.set_visitors([].into());
    let cookie = bench.signed_in("alice");
    let page = bench.page("/", &cookie).await;
    assert_eq!(page.status, 403);
    assert!(read(&page.text).contains("no rule of the policy lets `alice` do that"), "{}", page.text);
    assert!(page.text.contains("action=\"/halt\""));
    assert_eq!(bench.form("/halt", &cookie, "reach=soft").await.status, 303);
    assert!(bench.gate.halted().is_some());
}
