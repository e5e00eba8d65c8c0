//! Writes pages to look at.
use super::bench::Bench;
use holdpoint_domain::{Millis, approval::Choice, plan::Narrative};
#[tokio::test]
async fn dump() {
    let Ok(dir) = std::env::var("PAGES_DIR") else { return };
    let bench = Bench::new().await;
    let earlier = bench.held().await;
    bench.decide("bob", &earlier, Choice::Reject).await;
    let words = Narrative { summary: "worker-1 of shop hangs since the 12:40 deploy; p99 is 14 s.\nThe cache is full of \u{202e}stale\u{202c} entries, p\u{0430}yments is next.".to_owned(), reason: "Dropping the cache frees the heap. ".repeat(30), confidence: Some("very high (0.97)".to_owned()) };
    let terms = bench.proposed("cache.drop", "worker-1", words).await.terms.unwrap();
    bench.clock.advance(Millis::secs(13 * 60 + 10));
    let two = bench.proposed("flag.switch", "orders-1", Narrative::default()).await;
    eprintln!("{:?}", two.decision.answer);
    bench.proposed("cache.drop", "orders-1", Narrative::default()).await;
    bench.proposed("cache.drop", "worker-3", Narrative::default()).await;
    let cookie = bench.signed_in("bob");
    let mut pages = vec![
        ("inbox".to_owned(), "/".to_owned()),
        ("request".to_owned(), format!("/holds/{}", terms.hold)),
        ("signin".to_owned(), "/sign-in".to_owned()),
        ("missing".to_owned(), "/holds/nothing".to_owned()),
    ];
    for (name, path) in std::mem::take(&mut pages) {
        let cookie = if name == "signin" { "" } else { &cookie };
        let html = bench.page(&path, cookie).await.text.replace("/assets/", "assets/");
        std::fs::write(format!("{dir}/{name}.html"), html).unwrap();
    }
    bench.form("/halt", &cookie, "reach=soft").await;
    let html = bench.page("/", &cookie).await.text.replace("/assets/", "assets/");
    std::fs::write(format!("{dir}/halted.html"), html).unwrap();
}
