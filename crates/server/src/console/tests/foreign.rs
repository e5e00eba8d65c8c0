//! Texts of agents and of targets, as hostile as they come: on no page do they become anything but text (T14, T15).

use holdpoint_app::{
    fake::controls::Parts,
    incidents::{Notice, hear},
};
use holdpoint_domain::{plan::Narrative, text::is_hidden};

use super::{
    bench::{Bench, parts},
    pages::outside,
};

/// Beginnings of what would run, and of what would break out of where it stands.
const SCRIPTS: [&str; 22] = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s>",
    "\"><script>alert(1)</script>",
    "' onmouseover='alert(1)",
    "\" autofocus onfocus=alert(1) x=\"",
    "<a href=javascript:alert(1)>x</a>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<math><mtext></math><script>alert(1)</script>",
    "<template><script>alert(1)</script></template>",
    "<style>@import 'https://evil.example/x.css'</style>",
    "<link rel=stylesheet href=https://evil.example/x.css>",
    "<form action=https://evil.example><button>Approve</button></form>",
    "<base href=https://evil.example/>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "{{ 7 * 7 }}{% raw %}",
    "<!--<img src=\"--><img src=x onerror=alert(1)//\">",
    "]]><script>alert(1)</script>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "<button data-ceremony=approve>Approve</button>",
];

/// What hides, reorders or imitates.
const UNICODE: [&str; 10] = [
    "approved \u{202e}toN",
    "\u{2066}a\u{2069}\u{200e}\u{200f}\u{061c}",
    "zero\u{200b}width\u{200d}\u{feff}",
    "tags \u{e0001}\u{e0041}\u{e0042}\u{e007f}",
    "bell \u{7} escape \u{1b}[2J null-ish \u{1}",
    "soft\u{ad}hyphen \u{2028}line\u{2029}",
    "p\u{0430}yments \u{0440}\u{0430}\u{0443}",
    "variation \u{fe0f}\u{e0100}",
    "filler \u{3164}\u{115f}\u{2800}",
    "interlinear \u{fff9}a\u{fffa}b\u{fffb}",
];

/// The pages that show something of everything.
const PAGES: [&str; 17] = [
    "/",
    "/runs",
    "/reviews",
    "/reconciliations",
    "/brakes",
    "/leases",
    "/changes",
    "/agents",
    "/people",
    "/catalogue",
    "/policies",
    "/settings",
    "/ledger",
    "/ledger/3",
    "/ledger/5",
    "/figures",
    "/incidents/inc-1",
];

fn hostile() -> impl Iterator<Item = &'static str> {
    SCRIPTS.into_iter().chain(UNICODE)
}

/// Everything that an agent writes.
fn words(text: &str) -> Narrative {
    Narrative { summary: text.to_owned(), reason: text.to_owned(), confidence: Some(text.to_owned()) }
}

/// Everything that operators and target systems name freely.
fn titles(text: &str) -> Parts {
    let mut parts = parts();
    for action in &mut parts.actions {
        action.title = text.to_owned();
    }
    for condition in &mut parts.conditions {
        condition.title = text.to_owned();
    }
    parts
}

#[track_caller]
fn tame(what: &str, html: &str) {
    for c in html.chars() {
        assert!(c == '\n' || !is_hidden(c), "{what}: U+{:04X} reaches the page", u32::from(c));
    }
    // What our own templates write, and nothing beside it.
    let count = |part: &str| html.matches(part).count();
    assert_eq!(count("<script"), 2, "{what}");
    for own in ["console", "passkeys"] {
        assert_eq!(count(&format!("<script src=\"/assets/{own}.js\" defer></script>")), 1, "{what}");
    }
    let tags = ["<img", "<iframe", "<style", "<base", "<math", "<template", "<animate", "<object", "<embed"];
    for part in tags.into_iter().chain([" style="]) {
        assert!(!html.contains(part), "{what}: {part}\n{html}");
    }
    for attribute in [" onerror=", " onload=", " onbegin=", " onmouseover=", " onfocus="] {
        // Inside of text they are harmless; inside of a tag they are not.
        for tag in html.split('<').skip(1).filter_map(|rest| rest.split('>').next()) {
            assert!(!tag.contains(attribute), "{what}: <{tag}>");
        }
    }
    assert!(!html.contains("<form action=https://evil"), "{what}");
    assert!(!html.contains("<button data-ceremony=approve>"), "{what}");
    for link in html.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(link.starts_with('/') || link.starts_with('#'), "{what}: a link to {link}");
    }
}

#[tokio::test]
async fn t15_what_an_agent_writes_is_text_on_every_page() {
    let bench = Bench::new().await;
    let cookie = bench.signed_in("bob");
    for text in hostile() {
        let proposed = bench.proposed("cache.drop", "worker-1", words(text)).await;
        let terms = proposed.terms.unwrap();
        let page = bench.page(&format!("/holds/{}", terms.hold), &cookie).await;
        assert_eq!(page.status, 200, "{text}");
        tame(text, &page.text);
        tame(text, &bench.page("/", &cookie).await.text);
        let plan = format!("/plans/{}", proposed.id);
        tame(text, &bench.page(&plan, &cookie).await.text);
    }
}

#[tokio::test]
async fn t15_what_people_say_they_did_outside_is_text() {
    for text in hostile() {
        let bench = Bench::new().await;
        let cookie = bench.signed_in("bob");
        outside(&bench, text).await;
        for path in ["/reconciliations", "/incidents/inc-7"] {
            let page = bench.page(path, &cookie).await;
            assert_eq!(page.status, 200, "{path}: {text}");
            tame(text, &page.text);
        }
    }
}

#[tokio::test]
async fn t14_t15_what_an_alert_says_is_text() {
    for text in hostile() {
        let bench = Bench::new().await;
        let cookie = bench.signed_in("bob");
        let names = [text.to_owned()].into();
        let notice = Notice { key: text.to_owned(), firing: 1, names, more: false, words: text.to_owned() };
        let source = "prod-alerts".parse().unwrap();
        let told = hear(&bench.gate, &source, &notice).await.unwrap();
        for path in [format!("/incidents/{}", told.incident), "/runs".to_owned()] {
            let page = bench.page(&path, &cookie).await;
            assert_eq!(page.status, 200, "{path}: {text}");
            assert!(page.text.contains("prod-alerts"), "{path}");
            tame(text, &page.text);
        }
    }
}

#[tokio::test]
async fn t15_what_a_change_says_is_text_in_its_difference() {
    for text in hostile() {
        let bench = Bench::new().await;
        let cookie = bench.signed_in("bob");
        let change = bench.change_to(&format!("first\n{text}\n")).await;
        for path in [format!("/changes/{change}"), "/changes".to_owned(), "/".to_owned()] {
            let page = bench.page(&path, &cookie).await;
            assert_eq!(page.status, 200, "{path}: {text}");
            tame(text, &page.text);
        }
    }
}

#[tokio::test]
async fn t15_what_catalogues_are_titled_is_text_on_every_page() {
    for text in hostile() {
        let bench = Bench::with(titles(text)).await;
        let cookie = bench.signed_in("bob");
        let terms = bench.held().await;
        let plan = bench.plan_of(&terms).await;
        let own =
            [format!("/holds/{}", terms.hold), format!("/plans/{plan}"), format!("/policies?plan={plan}")];
        for path in PAGES.into_iter().map(str::to_owned).chain(own) {
            let page = bench.page(&path, &cookie).await;
            assert_eq!(page.status, 200, "{path}: {text}");
            tame(text, &page.text);
        }
    }
}

#[tokio::test]
async fn t14_what_hides_in_an_agents_words_is_marked() {
    let bench = Bench::new().await;
    let cookie = bench.signed_in("bob");
    let proposed =
        bench.proposed("cache.drop", "worker-1", words("safe \u{202e}elif\u{e0041} p\u{0430}yments")).await;
    let page = bench.page(&format!("/holds/{}", proposed.terms.unwrap().hold), &cookie).await;
    for escape in ["\\u{202E}", "\\u{E0041}", "\\u{0430}"] {
        assert!(page.text.contains(&format!("{escape}</mark>")), "{escape}: {}", page.text);
    }
}

#[tokio::test]
async fn t13_a_long_text_is_there_as_a_whole_and_says_how_long_it_is() {
    let bench = Bench::new().await;
    let cookie = bench.signed_in("bob");
    let long = format!("{}END", "padding ".repeat(2_000));
    let summary = Narrative { summary: long.clone(), ..Narrative::default() };
    let proposed = bench.proposed("cache.drop", "worker-1", summary).await;
    let page = bench.page(&format!("/holds/{}", proposed.terms.unwrap().hold), &cookie).await;
    assert!(page.text.contains("END"), "nothing is cut");
    assert!(page.text.contains(&format!("Show all {} characters", long.chars().count())));
}

#[tokio::test]
async fn t15_paths_and_queries_come_back_as_text() {
    let bench = Bench::new().await;
    let cookie = bench.signed_in("bob");
    for path in [
        "/holds/%3Cscript%3Ealert(1)%3C%2Fscript%3E",
        "/holds/%E2%80%AE",
        "/assets/%3Cimg%20src=x%3E",
        "/sign-in?next=%22%3E%3Cscript%3Ealert(1)%3C/script%3E",
        "/sign-in?%3Cscript%3E=1",
    ] {
        let page = bench.page(path, &cookie).await;
        tame(path, &page.text);
    }
}
