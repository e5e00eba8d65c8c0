//! What people do in the console, from their invitation on.

use super::scene::{Console, hold, plan};
use crate::suite::browser::page::Browser;

#[tokio::test]
async fn inv05_people_enrol_and_approve_exactly_what_they_see() {
    let console = Console::started();
    let browser = Browser::start().await;
    let _passkey = console.person(&browser, "ada", "ben").await;

    let proposed = console.propose(&[("process.restart", "sleeper")]).await;
    let (hold, plan) = (hold(&proposed), plan(&proposed));
    console.open(&browser, &format!("/holds/{hold}")).await;
    browser.click("button[data-ceremony=approve]").await;
    let path = format!("{}/plans/{plan}", console.origin);
    browser.until_url("approved", |url| url == path).await;
    assert_eq!(console.stage.ended(&plan).await, "succeeded");
    assert_eq!(console.stage.starts("sleeper"), 2);
}

#[tokio::test]
async fn inv05_what_needs_two_people_waits_for_two_passkeys() {
    let console = Console::started();
    let (one, two) = tokio::join!(Browser::start(), Browser::start());
    let _ada = console.person(&one, "ada", "ben").await;
    let _ben = console.person(&two, "ben", "ada").await;

    let proposed = console.propose(&[("process.replace", "sleeper")]).await;
    let (hold, plan) = (hold(&proposed), plan(&proposed));
    for browser in [&one, &two] {
        console.open(browser, &format!("/holds/{hold}")).await;
        browser.click("button[data-ceremony=approve]").await;
        let path = format!("{}/plans/{plan}", console.origin);
        browser.until_url("approved", |url| url == path).await;
    }
    assert_eq!(console.stage.ended(&plan).await, "succeeded");
}
