//! What the tests of the console rely on, each shown on a small site first.

use serde_json::json;

use super::{
    page::Browser,
    pictures::{MAX_PICTURE_LEN, pictures},
    site::Site,
};

/// Creates a passkey for `localhost`; answers with its type, or with the name of the error.
const CREATE: &str = "
    return navigator.credentials.create({publicKey: {
        rp: {name: 'site', id: 'localhost'},
        user: {id: new Uint8Array([1]), name: 'ada', displayName: 'Ada'},
        challenge: new Uint8Array(32),
        pubKeyCredParams: [{type: 'public-key', alg: -7}],
        authenticatorSelection: {residentKey: 'required', userVerification: 'required'},
    }}).then(key => key.type, err => err.name);";

/// Signs a challenge with it; answers with the challenge that the client signed, or with the name of the error.
const GET: &str = "
    return navigator.credentials.get({publicKey: {
        rpId: 'localhost', challenge: new Uint8Array(32).fill(arguments[0]), userVerification: 'required',
    }}).then(
        key => JSON.parse(new TextDecoder().decode(key.response.clientDataJSON)).challenge, err => err.name);";

#[tokio::test]
async fn a_passkey_is_made_and_used_and_refused_without_its_person() {
    let (site, browser) = (Site::serve().await, Browser::start().await);
    browser.goto(&site.url("/")).await;
    let authenticator = browser.authenticator().await;
    assert_eq!(browser.run(CREATE, Vec::new()).await, "public-key");
    let made = authenticator.credentials().await;
    assert_eq!(made.len(), 1);
    assert_eq!(made[0]["rpId"], "localhost");

    // 32 bytes of 7, in base64url.
    let challenge = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";
    assert_eq!(browser.run(GET, vec![json!(7)]).await, challenge);
    assert!(authenticator.credentials().await[0]["signCount"].as_u64() > made[0]["signCount"].as_u64());

    authenticator.set_user_verified(false).await;
    assert_eq!(browser.run(GET, vec![json!(7)]).await, "NotAllowedError");
    authenticator.set_user_verified(true).await;
    assert_eq!(browser.run(GET, vec![json!(7)]).await, challenge);

    authenticator.forget(made[0]["credentialId"].as_str().unwrap()).await;
    assert!(authenticator.credentials().await.is_empty());
    authenticator.add(made[0].clone()).await;
    assert_eq!(browser.run(GET, vec![json!(7)]).await, challenge, "a copy");
    authenticator.remove().await;
}

#[tokio::test]
async fn a_host_cookie_is_kept_on_localhost_and_by_one_person_alone() {
    let site = Site::serve().await;
    let (ada, ben) = tokio::join!(Browser::start(), Browser::start());
    ada.goto(&site.url("/cookie")).await;
    ben.goto(&site.url("/")).await;
    let kept = ada.cookies().await;
    assert_eq!(kept.len(), 1, "{kept:?}");
    for (name, value) in [
        ("name", json!("__Host-session")),
        ("value", json!("one")),
        ("secure", json!(true)),
        ("httpOnly", json!(true)),
        ("sameSite", json!("Strict")),
        ("path", json!("/")),
    ] {
        assert_eq!(kept[0][name], value, "{name}");
    }
    assert_eq!(ada.run("return document.cookie", Vec::new()).await, "");
    assert!(ben.cookies().await.is_empty(), "they are strangers");
}

#[tokio::test]
async fn an_inline_script_is_stopped_and_the_violation_seen() {
    let (site, browser) = (Site::serve().await, Browser::start().await);
    browser.goto(&site.url("/")).await;
    assert_eq!(browser.console().await, Vec::<String>::new());
    browser.goto(&site.url("/inline")).await;
    assert_eq!(browser.text("#said").await, "nothing ran");
    let said = browser.console().await.join("\n");
    assert!(said.contains("Content Security Policy") && said.contains("inline"), "{said}");
    assert_eq!(browser.console().await, Vec::<String>::new(), "each is told once");
}

#[tokio::test]
async fn a_person_types_and_clicks_and_reads_at_any_width() {
    let (site, browser) = (Site::serve().await, Browser::start().await);
    browser.goto(&site.url("/")).await;
    browser.type_into("[name=name]", "Ada").await;
    browser.click("button").await;
    assert_eq!(browser.text("#said").await, "Ada");
    assert!(browser.find("#wide").await.is_displayed().await.unwrap());
    browser.resize(380, 700).await;
    assert!(!browser.find("#wide").await.is_displayed().await.unwrap());
    assert_eq!((browser.count("p").await, browser.count("table").await), (2, 0));
    let at = site.url("/#here");
    browser.goto(&at).await;
    assert_eq!(browser.until_url("an anchor", |url| url == at).await, at);
}

#[tokio::test]
async fn pictures_are_taken_at_two_widths_light_and_dark() {
    let (site, browser) = (Site::serve().await, Browser::start().await);
    let dir = tempfile::tempdir().unwrap();
    let taken = pictures(&browser, &site.url(""), &[("page", "/")], dir.path()).await;
    let mut sizes = Vec::new();
    for file in &taken {
        let png = std::fs::read(file).unwrap();
        assert!(png.starts_with(b"\x89PNG\r\n") && png.len() <= MAX_PICTURE_LEN);
        // The width stands in the header (PNG, 11.2.2).
        let width = u32::from_be_bytes(png[16..20].try_into().unwrap());
        sizes.push((file.file_name().unwrap().to_str().unwrap().to_owned(), width));
    }
    let expected = [
        ("page-wide-light.png", 1280),
        ("page-wide-dark.png", 1280),
        ("page-narrow-light.png", 380),
        ("page-narrow-dark.png", 380),
    ];
    assert_eq!(sizes, expected.map(|(name, width)| (name.to_owned(), width)));
    assert_ne!(
        std::fs::read(&taken[0]).unwrap(),
        std::fs::read(&taken[1]).unwrap(),
        "dark is another picture"
    );
}
