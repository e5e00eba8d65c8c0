//! What was true when somebody opened the page, and is not any more when their signature comes.

use super::scene::{APPROVE, Console, edit, hold, plan, read};
use crate::suite::{browser::page::Browser, faults::shim::Shim, stage::Stage};

const MINUTE: i64 = 60 * 1_000;

/// A console whose clock is in the test's hand. Holds last two minutes, or as long as they do by themselves.
fn with_a_clock(hold_ms: &str) -> (Console, Shim) {
    let mut shim = None;
    let console = Console::with("T1", |stage| {
        edit(stage, "holdpoint.yaml", "timings: {", &format!("timings: {{{hold_ms}"));
        let made = Shim::new(stage.root());
        stage.set_environment(made.environment());
        shim = Some(made);
    });
    (console, shim.unwrap())
}

/// Nothing of a plan was approved, permitted or started.
async fn nothing_happened(stage: &Stage) {
    for kind in ["approved", "permitted", "claimed", "applying"] {
        assert_eq!(stage.records(kind).await, 0, "{kind}");
    }
    assert_eq!(stage.starts("sleeper"), 1);
}

#[tokio::test]
async fn inv05_t25_a_signature_that_comes_after_the_end_of_its_hold_approves_nothing() {
    let (console, shim) = with_a_clock("hold_ms: 120000, ");
    let browser = Browser::start().await;
    let _ada = console.person(&browser, "ada", "ben").await;
    let proposed = console.propose(&[("process.restart", "sleeper")]).await;
    let (hold, plan) = (hold(&proposed), plan(&proposed));
    console.open(&browser, &format!("/holds/{hold}")).await;
    console.holds_back(&browser, APPROVE).await;
    shim.set_clocks(2 * MINUTE, 2 * MINUTE);
    let said = console.lets_go(&browser).await.unwrap_err();
    // Whichever of them comes first: the signature to the hold, or the clockwork that ends it.
    let ended =
        said.contains("the hold ended at") || said.contains("is `expired` and does not wait for people");
    assert!(ended && said.contains("What to do: "), "{said}");
    assert_eq!(console.stage.ended(&plan).await, "expired");
    nothing_happened(&console.stage).await;
    // Whoever comes later reads it at the top, and has nothing to press.
    console.open(&browser, &format!("/holds/{hold}")).await;
    assert!(browser.text("header.hero").await.to_lowercase().contains("expired"));
    assert_eq!(browser.count("button[data-ceremony=approve]").await, 0);
}

#[tokio::test]
async fn inv05_t25_a_ceremony_ends_before_its_hold_and_another_one_begins_anew() {
    let (console, shim) = with_a_clock("");
    let browser = Browser::start().await;
    let _ada = console.person(&browser, "ada", "ben").await;
    let proposed = console.propose(&[("process.restart", "sleeper")]).await;
    let (hold, plan) = (hold(&proposed), plan(&proposed));
    console.open(&browser, &format!("/holds/{hold}")).await;
    console.holds_back(&browser, APPROVE).await;
    shim.set_clocks(5 * MINUTE, 5 * MINUTE);
    let said = console.lets_go(&browser).await.unwrap_err();
    assert!(said.contains("there is no such ceremony") && said.contains("took too long"), "{said}");
    assert!(said.contains("What to do: begin again"), "{said}");
    nothing_happened(&console.stage).await;
    console.open(&browser, &format!("/holds/{hold}")).await;
    console.signs(&browser, APPROVE, &format!("/plans/{plan}")).await;
    assert_eq!(console.stage.ended(&plan).await, "succeeded");
}

/// Who may approve at first: Ada, who is on call, and is no administrator. Ben and Cleo are administrators.
fn with_three_people() -> Console {
    Console::with("T1", |stage| {
        let made = stage.must(&["keygen", "--out", &stage.path("people/cleo.key")]);
        let cleo =
            format!("  - {{id: cleo, teams: [], approval_key: {}, administrator: true}}\n", made.trim());
        let registry = read(stage, "registry.yaml").replacen(", administrator: true", "", 1);
        stage.write("registry.yaml", &(registry + &cleo));
    })
}

/// Takes something from Ada: the new texts of the registry's files, from those in force.
type Loss = fn(&str, &str) -> [String; 2];

const LOSSES: [(&str, Loss, &[&str], &str); 3] = [
    (
        "her role",
        |registry, passkeys| [registry.replacen("teams: [oncall]", "teams: []", 1), passkeys.to_owned()],
        &["policy does not let `ada` decide on this hold", "no rule permits it"],
        "may-not-approve",
    ),
    (
        "her passkey",
        |registry, _| [registry.to_owned(), "people: {}\n".to_owned()],
        // With the passkey end the sessions that it opened.
        &["nobody is signed in, or the session has ended"],
        "",
    ),
    (
        "her place",
        |registry, _| {
            let others = registry.lines().filter(|line| !line.contains("id: ada"));
            [others.collect::<Vec<_>>().join("\n") + "\n", "people: {}\n".to_owned()]
        },
        &["nobody is signed in, or the session has ended"],
        "",
    ),
];

#[tokio::test]
async fn inv05_t02_whoever_lost_role_passkey_or_place_while_they_looked_approves_nothing() {
    for (what, loss, words, rule) in LOSSES {
        let console = with_three_people();
        let browser = Browser::start().await;
        let _ada = console.enrolled(&browser, "ada", "ben", &["ben", "cleo"]).await;
        let proposed = console.propose(&[("process.restart", "sleeper")]).await;
        let (hold, plan) = (hold(&proposed), plan(&proposed));
        console.open(&browser, &format!("/holds/{hold}")).await;
        console.holds_back(&browser, APPROVE).await;

        // Meanwhile others take it from her.
        let stage = &console.stage;
        let new = loss(&read(stage, "registry.yaml"), &read(stage, "passkeys.yaml"));
        std::fs::create_dir(stage.root().join("new")).unwrap();
        let files = ["registry.yaml", "passkeys.yaml"].map(|name| format!("new/{name}"));
        files.iter().zip(&new).for_each(|(name, text)| stage.write(name, text));
        let [registry, passkeys] = files.map(|name| stage.path(&name));
        let config = stage.config();
        let change = ["change", "propose", "registry", &registry, &passkeys, "-o", "json"];
        let said = stage.must(&[&change[..], &["--config", &config, "--as", "ben"]].concat());
        let terms: serde_json::Value = serde_json::from_str(&said).unwrap();
        console.approve_change(terms["terms"]["id"].as_str().unwrap(), "cleo");

        let said = console.lets_go(&browser).await.unwrap_err();
        assert!(words.iter().all(|word| said.contains(word)), "{what}: {said}");
        assert!(said.contains("What to do: "), "{what}: {said}");
        let records = stage_records(stage).await;
        let of = |kind: &str| records.iter().filter(|body| body["kind"] == kind).count();
        assert_eq!((of("approved"), of("permitted"), of("claimed")), (0, 0, 0), "{what}");
        let refused = records.iter().any(|body| body["kind"] == "refused" && body["rule"] == rule);
        assert_eq!(refused, !rule.is_empty(), "{what}: the ledger says why");
        let shown = stage.get(&format!("/v1/plans/{plan}"), &stage.person("ben")).await;
        assert_eq!(shown["state"], "held", "{what}: it waits for somebody else");
        assert_eq!(stage.starts("sleeper"), 1, "{what}");
    }
}

/// What the ledger holds, as Ben reads it: Ada may be nobody by now.
async fn stage_records(stage: &Stage) -> Vec<serde_json::Value> {
    let page = stage.get("/v1/ledger/entries?first=0&limit=200", &stage.person("ben")).await;
    page["entries"].as_array().unwrap().iter().map(|entry| entry["record"]["body"].clone()).collect()
}
