//! What people do in the console, from their invitation on.

use super::scene::{Console, hold, plan};
use crate::suite::browser::page::Browser;

const APPROVE: &str = "button[data-ceremony=approve]";

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
    console.signs(&browser, "button[data-ceremony=reject]", &format!("/plans/{plan}")).await;
    assert_eq!(console.stage.ended(&plan).await, "rejected");
    assert_eq!(console.stage.starts("sleeper"), 1);
}

#[tokio::test]
async fn inv15_anybody_halts_in_two_clicks_and_a_passkey_of_an_administrator_resumes() {
    let console = Console::started();
    let browser = Browser::start().await;
    let _ada = console.person(&browser, "ada", "ben").await;
    browser.click(".halt-switch summary").await;
    browser.click(".halt-switch form button").await;
    let banner = browser.text(".halted").await;
    assert!(banner.contains("Halted") && banner.contains("ada"), "{banner}");
    let refused = console.stage.propose("worker").await;
    assert_eq!(refused.0, 403, "{}", refused.1);

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
    one.click(".halt-switch summary").await;
    one.click(".halt-switch form button").await;

    console.open(&one, "/break-glass").await;
    one.type_into("input[name=action]", "process.restart").await;
    one.type_into("input[name=target]", "sleeper").await;
    one.type_into("textarea[name=reason]", "the sleeper hangs and nobody can wait for the halt to end").await;
    one.click("form.fields button").await;
    let held = one.until_url("held", |url| url.contains("/holds/")).await;
    assert_eq!(console.stage.starts("sleeper"), 1);
    for browser in [&one, &two] {
        browser.goto(&held).await;
        browser.click(APPROVE).await;
        browser.until_url("approved", |url| url.contains("/plans/")).await;
    }
    let plan = one.url().await.rsplit_once('/').unwrap().1.to_owned();
    assert_eq!(console.stage.ended(&plan).await, "succeeded");
    assert_eq!(console.stage.starts("sleeper"), 2);
    let owed = console.stage.get("/v1/reviews", &console.stage.person("ada")).await;
    assert!(owed.to_string().contains(&plan), "it is reviewed: {owed}");
}
