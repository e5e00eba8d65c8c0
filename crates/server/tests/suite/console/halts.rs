//! Breaking the glass, and who halts before and after.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use tokio::sync::watch;

use super::scene::{APPROVE, Console, edit, halts};
use crate::suite::browser::page::Browser;

/// A page that the gate's probes ask, and that does not answer while it is shut.
struct Page {
    port: u16,
    open: watch::Sender<bool>,
    waiting: watch::Sender<usize>,
}

impl Page {
    async fn serve() -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let page = Arc::new(Self { port, open: watch::Sender::new(true), waiting: watch::Sender::new(0) });
        let answer = async |State(page): State<Arc<Self>>| {
            page.waiting.send_modify(|waiting| *waiting += 1);
            page.open.subscribe().wait_for(|open| *open).await.unwrap();
            page.waiting.send_modify(|waiting| *waiting -= 1);
        };
        let router = Router::new().route("/", get(answer)).with_state(Arc::clone(&page));
        tokio::spawn(axum::serve(listener, router).into_future());
        page
    }

    /// From now on nobody is answered.
    fn shut(&self) {
        self.open.send_replace(false);
    }

    /// Waits until somebody asked who is not answered.
    async fn is_asked(&self) {
        self.waiting.subscribe().wait_for(|waiting| *waiting > 0).await.unwrap();
    }

    /// Everybody is answered.
    fn open(&self) {
        self.open.send_replace(true);
    }
}

/// A console whose sleeper has the page for a second source of its condition.
fn watched(page: &Page) -> Console {
    Console::with("T1", |stage| {
        let probe =
            "\n      - endpoint: page\n        timeout_ms: 60000\n        check: {kind: http, expect: ok}\n";
        edit(stage, "catalogue.yaml", "check: {kind: process, expect: running}\n", &{
            format!("check: {{kind: process, expect: running}}{probe}")
        });
        let at = format!(
            "at: {{unit: sleeper}}}}, page: {{source: page, at: {{url: 'http://127.0.0.1:{}/'}}}}",
            page.port
        );
        edit(stage, "inventory.yaml", "at: {unit: sleeper}}", &at);
    })
}

#[tokio::test]
async fn inv15_a_halt_after_the_glass_was_broken_stops_it_whichever_was_in_force_before() {
    let page = Page::serve().await;
    let console = watched(&page);
    let (one, two) = tokio::join!(Browser::start(), Browser::start());
    let _ada = console.person(&one, "ada", "ben").await;
    let _ben = console.person(&two, "ben", "ada").await;
    // Without a halt before; in a soft one; in a hard one, which is halted again.
    for (round, reach) in ["soft", "hard", "hard"].into_iter().enumerate() {
        let held = console.breaks_glass(&one).await;
        for browser in [&one, &two] {
            browser.goto(&held).await;
        }
        one.click(APPROVE).await;
        one.until_url("approved", |url| url.contains("/plans/")).await;
        // The last look before the start takes as long as the page does. The permit is granted by then.
        page.shut();
        two.click(APPROVE).await;
        let plan = two.until_url("approved", |url| url.contains("/plans/")).await;
        let plan = plan.rsplit_once('/').unwrap().1.to_owned();
        page.is_asked().await;
        halts(&one, reach).await;
        page.open();
        assert_eq!(console.stage.ended(&plan).await, "void", "{round}");
        assert_eq!(console.stage.starts("sleeper"), 1, "{round}");
        assert_eq!(console.stage.records("claimed").await, 0, "{round}");
        console.open(&two, &format!("/plans/{plan}")).await;
        assert!(two.text("main").await.to_lowercase().contains("void"), "{round}");
    }
    // In the halt as it is now, they do it again and nobody halts: it runs.
    let held = console.breaks_glass(&two).await;
    let plan = console.released(&held, [&one, &two]).await;
    assert_eq!(console.stage.ended(&plan).await, "succeeded");
    assert_eq!(console.stage.starts("sleeper"), 2);
}
