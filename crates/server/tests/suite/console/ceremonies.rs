//! What people do in the console, from their invitation on.

use super::scene::{APPROVE, Console, REJECT, halts, hold, plan};
use crate::suite::browser::page::Browser;

#[tokio::test]
async fn inv05_people_enrol_and_approve_exactly_what_they_see() {
    let console = Console::started();
    let browser = Browser::start().await;
    let _passkey = console.person(&browser, "ada", "ben").await;

    let proposed = console.propose(&[("process.restart", "sleeper")]).await;
    let (hold, plan) = (hold(&proposed), plan(&proposed));
    console.open(&browser, &format!("/holds/{hold}")).await;
    console.signs(&browser, APPROVE, &format!("/plans/{plan}")).await;
    assert_eq!(console.stage.ended(&plan).await, "succeeded");
    assert_eq!(console.stage.starts("sleeper"), 2);

    // Anybody can check it later, without the gate: who signed which bytes.
    let (copy, config) = (console.stage.path("copy"), console.stage.path("holdpoint.yaml"));
    console.stage.must(&["ledger", "export", &copy, "--config", &config, "--as", "ada"]);
    let key = console.stage.path("log.vkey");
    let said = console.stage.must(&["ledger", "verify", &copy, "--key", &key, "--consents"]);
    assert!(said.contains("ada approved a plan at T3") && said.contains("with passkey"), "{said}");
    assert!(said.contains("2 consents: each holds"), "{said}");
}

#[tokio::test]
async fn inv05_what_needs_two_people_waits_for_two_passkeys() {
    let console = Console::at("T4");
    let (one, two) = tokio::join!(Browser::start(), Browser::start());
    let _ada = console.person(&one, "ada", "ben").await;
    let proposed = console.propose(&[("process.restart", "sleeper")]).await;
    console.open(&one, &format!("/holds/{}", hold(&proposed))).await;
    let said = console.refused(&one, APPROVE).await;
    assert!(said.contains("fewer than two people have passkeys"), "{said}");

    let _ben = console.person(&two, "ben", "ada").await;
    let (hold, plan) = (hold(&proposed), plan(&proposed));
    for browser in [&one, &two] {
        console.open(browser, &format!("/holds/{hold}")).await;
        console.signs(browser, APPROVE, &format!("/plans/{plan}")).await;
    }
    assert_eq!(console.stage.ended(&plan).await, "succeeded");
}

#[tokio::test]
async fn inv05_one_rejection_ends_a_hold() {
    let console = Console::started();
    let browser = Browser::start().await;
    let _ada = console.person(&browser, "ada", "ben").await;
    let proposed = console.propose(&[("process.restart", "sleeper")]).await;
    let (hold, plan) = (hold(&proposed), plan(&proposed));
    console.open(&browser, &format!("/holds/{hold}")).await;
    console.signs(&browser, REJECT, &format!("/plans/{plan}")).await;
    assert_eq!(console.stage.ended(&plan).await, "rejected");
    assert_eq!(console.stage.starts("sleeper"), 1);
}

#[tokio::test]
async fn inv15_anybody_halts_in_two_clicks_and_a_passkey_of_an_administrator_resumes() {
    let console = Console::started();
    let browser = Browser::start().await;
    let _ada = console.person(&browser, "ada", "ben").await;
    halts(&browser, "soft").await;
    let banner = browser.text(".halted").await;
    assert!(banner.contains("Halted") && banner.contains("ada"), "{banner}");
    let refused = console.stage.propose("worker").await;
    assert_eq!(refused.0, 403, "{}", refused.1);

    // Ben halts as well, and harder; her page still shows her own.
    let config = console.stage.path("holdpoint.yaml");
    console.stage.must(&["halt", "--hard", "--config", &config, "--as", "ben"]);
    browser.click("button[data-ceremony=resume]").await;
    let said = browser
        .until("a refusal", async || {
            Some(browser.text(".halted [role=alert]").await).filter(|said| !said.is_empty())
        })
        .await;
    assert!(said.contains("another halt is in force than the one on this page"), "{said}");
    assert_eq!(console.stage.propose("worker").await.0, 403);

    browser.goto(&console.origin).await;
    assert!(browser.text(".halted").await.contains("ben"));
    browser.click("button[data-ceremony=resume]").await;
    browser.until("resumed", async || (browser.count(".halted").await == 0).then_some(())).await;
    assert_eq!(console.stage.propose("worker").await.0, 201);
}

#[tokio::test]
async fn inv05_two_people_break_the_glass_in_a_halt_and_an_agent_never_does() {
    let console = Console::started();
    let (one, two) = tokio::join!(Browser::start(), Browser::start());
    let _ada = console.person(&one, "ada", "ben").await;
    let _ben = console.person(&two, "ben", "ada").await;
    halts(&one, "soft").await;

    let held = console.breaks_glass(&one).await;
    assert_eq!(console.stage.starts("sleeper"), 1);
    let plan = console.released(&held, [&one, &two]).await;
    assert_eq!(console.stage.ended(&plan).await, "succeeded");
    assert_eq!(console.stage.starts("sleeper"), 2);
    let owed = console.stage.get("/v1/reviews", &console.stage.person("ada")).await;
    assert!(owed.to_string().contains(&plan), "it is reviewed: {owed}");
}

#[tokio::test]
async fn inv05_whoever_narrows_a_plan_asks_for_it_and_somebody_else_approves() {
    let console = Console::started();
    let (one, two) = tokio::join!(Browser::start(), Browser::start());
    let _ada = console.person(&one, "ada", "ben").await;
    let _ben = console.person(&two, "ben", "ada").await;
    let proposed = console.propose(&[("process.restart", "sleeper"), ("process.restart", "worker")]).await;
    let (wide, first) = (plan(&proposed), hold(&proposed));
    console.open(&one, &format!("/holds/{first}")).await;
    one.click(".narrowing summary").await;
    one.click("fieldset[data-step='1'] input[type=checkbox]").await;
    one.click("button[data-ceremony=narrow]").await;
    let there = one.until_url("narrowed", |url| url.contains("/plans/")).await;
    let narrow = there.rsplit_once('/').unwrap().1.to_owned();
    assert_ne!(narrow, wide);
    let ada = console.stage.person("ada");
    assert_eq!(console.stage.get(&format!("/v1/plans/{wide}"), &ada).await["state"], "void");
    let shown = console.stage.get(&format!("/v1/plans/{narrow}"), &ada).await;
    assert_eq!(shown["plan"]["steps"].as_array().unwrap().len(), 1, "{shown}");
    let holds = console.stage.get("/v1/holds", &ada).await;
    let hold = holds["holds"][0]["terms"]["hold"].as_str().unwrap().to_owned();

    console.open(&one, &format!("/holds/{hold}")).await;
    assert!(one.text(".not-you").await.contains("cannot decide"), "whoever narrowed asks for it");
    console.open(&two, &format!("/holds/{hold}")).await;
    console.signs(&two, APPROVE, &format!("/plans/{narrow}")).await;
    assert_eq!(console.stage.ended(&narrow).await, "succeeded");
    assert_eq!((console.stage.starts("sleeper"), console.stage.starts("worker")), (2, 1));
}

#[tokio::test]
async fn a_run_without_a_person_is_reviewed_afterwards_with_a_passkey() {
    let console = Console::started();
    let browser = Browser::start().await;
    let _ada = console.person(&browser, "ada", "ben").await;
    let (status, proposed) = console.stage.propose("worker").await;
    assert_eq!(status, 201, "{proposed}");
    let plan = plan(&proposed);
    assert_eq!(console.stage.ended(&plan).await, "succeeded");
    console.open(&browser, &format!("/plans/{plan}")).await;
    for question in ["trigger_was_real", "did_what_it_should", "may_go_on"] {
        browser.click(&format!("input[name={question}][value=true]")).await;
    }
    browser.click("button[data-ceremony=review]").await;
    browser.until("reviewed", async || (console.stage.records("reviewed").await == 1).then_some(())).await;
}

#[tokio::test]
async fn inv13_a_change_is_read_as_a_difference_and_approved_by_somebody_else() {
    let console = Console::started();
    let browser = Browser::start().await;
    let _ada = console.person(&browser, "ada", "ben").await;
    let stage = &console.stage;
    let policy = std::fs::read_to_string(stage.root().join("policy.cedar")).unwrap();
    std::fs::create_dir(stage.root().join("new")).unwrap();
    let more = "@id(\"nobody\") forbid (principal == Agent::\"medic\", action in Action::\"restart\", resource) \
        when { resource.replicas > 100 };\n";
    stage.write("new/policy.cedar", &format!("{policy}{more}"));
    let (config, new) = (stage.path("holdpoint.yaml"), stage.path("new/policy.cedar"));
    let said =
        stage.must(&["change", "propose", "policy", &new, "--config", &config, "--as", "ben", "-o", "json"]);
    let terms: serde_json::Value = serde_json::from_str(&said).unwrap();
    let change = terms["terms"]["id"].as_str().unwrap();
    console.open(&browser, &format!("/changes/{change}")).await;
    assert!(browser.text("main").await.contains("@id(\"nobody\")"), "the difference is shown");
    browser.click("button[data-ceremony=change-approve]").await;
    browser.until("in force", async || (stage.records("changed").await == 2).then_some(())).await;
}
