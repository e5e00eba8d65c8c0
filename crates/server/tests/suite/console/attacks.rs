//! What nobody gets away with in a browser.

use serde_json::{Value, json};

use super::scene::{APPROVE, Console, hold, plan};
use crate::suite::browser::page::Browser;

/// Posts from the page, as its own script would; the status and the answer.
async fn post(browser: &Browser, path: &str, body: Value) -> (u64, Value) {
    let script = "const answer = await fetch(arguments[0], {method: 'POST', headers: {'Content-Type': 'application/json'}, \
        body: JSON.stringify(arguments[1])}); return {status: answer.status, said: await answer.json()};";
    let answer = browser.run(script, vec![json!(path), body]).await;
    (answer["status"].as_u64().unwrap(), answer["said"].clone())
}

/// Has the passkey sign a challenge, as the page's script does.
async fn asserted(browser: &Browser, begun: &Value, verification: &str) -> Value {
    let script = "const from = (text) => Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0));
        const to = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
        const {challenge, rp_id, allow} = arguments[0];
        const made = await navigator.credentials.get({publicKey: {challenge: from(challenge), rpId: rp_id, userVerification: arguments[1],
            allowCredentials: allow.map((id) => ({type: 'public-key', id: from(id)}))}});
        return {credential: made.id, authenticator_data: to(made.response.authenticatorData),
            client_data: to(made.response.clientDataJSON), signature: to(made.response.signature)};";
    browser.run(script, vec![begun.clone(), json!(verification)]).await
}

#[tokio::test]
async fn t11_an_assertion_is_good_once_and_for_what_it_was_made_for() {
    let console = Console::started();
    let browser = Browser::start().await;
    let passkey = console.person(&browser, "ada", "ben").await;
    let one = console.propose(&[("process.restart", "sleeper")]).await;
    let (first, plan_of_first) = (hold(&one), plan(&one));
    let two = console.propose(&[("process.restart", "sleeper")]).await;
    let (second, plan_of_second) = (hold(&two), plan(&two));
    let approve = |hold: &str| json!({"ceremony": "approve", "hold": hold});

    // The challenge of one plan, signed, and brought to the ceremony of another.
    let (_, for_first) = post(&browser, "/ceremonies", approve(&first)).await;
    let (_, for_second) = post(&browser, "/ceremonies", approve(&second)).await;
    let signed = asserted(&browser, &for_first, "required").await;
    let brought = |begun: &Value| json!({"ceremony": begun["ceremony"], "assertion": signed});
    let (status, said) = post(&browser, "/ceremonies/finish", brought(&for_second)).await;
    assert_eq!((status, said["rule"].as_str().unwrap_or_default()), (403, "statement-refused"), "{said}");
    assert!(said["detail"].as_str().unwrap().contains("challenge"), "{said}");
    // Its own ceremony takes it once.
    let (status, said) = post(&browser, "/ceremonies/finish", brought(&for_first)).await;
    assert_eq!(status, 200, "{said}");
    let (status, said) = post(&browser, "/ceremonies/finish", brought(&for_first)).await;
    assert_eq!((status, said["rule"].as_str().unwrap_or_default()), (409, "no-such-ceremony"), "{said}");
    assert_eq!(console.stage.ended(&plan_of_first).await, "succeeded");

    // Nobody was verified.
    passkey.set_user_verified(false).await;
    let (_, begun) = post(&browser, "/ceremonies", approve(&second)).await;
    let unverified = asserted(&browser, &begun, "discouraged").await;
    let body = json!({"ceremony": begun["ceremony"], "assertion": unverified});
    let (status, said) = post(&browser, "/ceremonies/finish", body).await;
    assert_eq!(status, 403, "{said}");
    assert!(said["detail"].as_str().unwrap().contains("did not verify its user"), "{said}");
    let shown = console.stage.get(&format!("/v1/plans/{plan_of_second}"), &console.stage.person("ada")).await;
    assert_eq!(shown["state"], "held");
}

#[tokio::test]
async fn t10_a_link_that_a_signed_in_approver_opens_decides_nothing() {
    let console = Console::started();
    let browser = Browser::start().await;
    let _ada = console.person(&browser, "ada", "ben").await;
    let proposed = console.propose(&[("process.restart", "sleeper")]).await;
    let (hold, plan) = (hold(&proposed), plan(&proposed));
    for path in [
        format!("/holds/{hold}"),
        format!("/holds/{hold}?approve=yes"),
        format!("/ceremonies?ceremony=approve&hold={hold}"),
        "/ceremonies/finish".to_owned(),
        "/halt?reach=soft".to_owned(),
    ] {
        console.open(&browser, &path).await;
    }
    let shown = console.stage.get(&format!("/v1/plans/{plan}"), &console.stage.person("ada")).await;
    assert_eq!(shown["state"], "held");
    assert_eq!(console.stage.get("/v1/halt", &console.stage.person("ada")).await["halt"], Value::Null);
}

#[tokio::test]
async fn t10_a_look_without_a_body_and_a_question_what_is_allowed_decide_nothing() {
    let console = Console::started();
    let browser = Browser::start().await;
    let _ada = console.person(&browser, "ada", "ben").await;
    let proposed = console.propose(&[("process.restart", "sleeper")]).await;
    let (hold, plan) = (hold(&proposed), plan(&proposed));
    console.open(&browser, &format!("/holds/{hold}")).await;
    let before = console.stage.ledger().await.len();
    let asked =
        "const [path, method] = arguments; return (await fetch(path, {method, redirect: 'manual'})).status;";
    // A link checker, a preview and a prefetch ask with the session's cookie, as she does.
    for (path, has_page) in [
        (format!("/holds/{hold}"), true),
        (format!("/holds/{hold}?approve=yes"), true),
        (format!("/ceremonies?ceremony=approve&hold={hold}"), false),
        ("/ceremonies/finish".to_owned(), false),
        ("/break-glass?action=process.restart&target=sleeper&reason=nobody+can+wait".to_owned(), true),
        ("/halt?reach=soft".to_owned(), false),
        (format!("/v1/holds/{hold}/decisions"), false),
    ] {
        for (method, expected) in [("HEAD", if has_page { 200 } else { 405 }), ("OPTIONS", 405)] {
            let status = browser.run(asked, vec![json!(path), json!(method)]).await;
            assert_eq!(status, json!(expected), "{method} {path}");
        }
    }
    let shown = console.stage.get(&format!("/v1/plans/{plan}"), &console.stage.person("ada")).await;
    assert_eq!(shown["state"], "held");
    assert_eq!(console.stage.get("/v1/halt", &console.stage.person("ada")).await["halt"], Value::Null);
    assert_eq!(console.stage.ledger().await.len(), before, "nothing was recorded");
}

#[tokio::test]
async fn t05_a_double_click_approves_once() {
    let console = Console::started();
    let browser = Browser::start().await;
    let _ada = console.person(&browser, "ada", "ben").await;
    let proposed = console.propose(&[("process.restart", "sleeper")]).await;
    let (hold, plan) = (hold(&proposed), plan(&proposed));
    console.open(&browser, &format!("/holds/{hold}")).await;
    let twice =
        format!("const button = document.querySelector('{APPROVE}'); button.click(); button.click();");
    browser.run(&twice, Vec::new()).await;
    let path = format!("{}/plans/{plan}", console.origin);
    browser.until_url("approved", |url| url == path).await;
    assert_eq!(console.stage.ended(&plan).await, "succeeded");
    assert_eq!(console.stage.records("approved").await, 1);
    assert_eq!(console.stage.starts("sleeper"), 2);
}

#[tokio::test]
async fn t16_a_page_of_somebody_else_changes_nothing() {
    let console = Console::started();
    let browser = Browser::start().await;
    let _ada = console.person(&browser, "ada", "ben").await;
    // The same host under another port is another origin, and a sibling as far as cookies go.
    let other = console.stage.url("/v1/ledger/checkpoint");
    browser.goto(&other).await;
    let script = "const [url, kind, body] = arguments; try { const answer = await fetch(url, {method: 'POST', mode: 'no-cors', \
        credentials: 'include', headers: {'Content-Type': kind}, body}); return answer.type; } catch (error) { return String(error); }";
    let halt = format!("{}/halt", console.origin);
    let form = vec![json!(halt), json!("application/x-www-form-urlencoded"), json!("reach=hard")];
    browser.run(script, form).await;
    assert_eq!(console.stage.get("/v1/halt", &console.stage.person("ada")).await["halt"], Value::Null);
}
