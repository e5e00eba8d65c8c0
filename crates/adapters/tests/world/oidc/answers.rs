//! Browsers that come back, and what the provider says of itself, each wrong in one thing.

use aws_lc_rs::digest;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use holdpoint_adapters::identity::oidc::{DiscoveryError, OidcError, Prompt, QuestionError, RelyingParty};
use holdpoint_domain::Millis;
use reqwest::Url;
use serde_json::{Value, json};

use super::provider::{ACCESS_TOKEN, BACK, CLIENT, Scene, query, secret, spec};
use crate::world::support::{NOW_MS, StoppedClock};

#[tokio::test]
async fn a_browser_is_sent_with_everything_that_binds_the_answer_to_it() {
    let scene = Scene::with(|spec| {
        spec.prompt = Some(Prompt::SelectAccount);
        spec.scopes = ["groups", "openid", "email"].map(str::to_owned).to_vec();
    });
    let away = scene.away().await;
    for (name, value) in [
        ("tenant", "1"),
        ("response_type", "code"),
        ("client_id", CLIENT),
        ("redirect_uri", BACK),
        ("scope", "openid groups email"),
        ("code_challenge_method", "S256"),
        ("prompt", "select_account"),
    ] {
        assert_eq!(away.sent[name], value, "{name}");
    }
    let token = scene.token(&away, |_, _| ());
    scene.back(&away, &token).await.unwrap();

    let asked = scene.provider.asked("/token").pop().unwrap();
    let form = Url::parse(&format!("http://x/?{}", asked.body)).unwrap();
    let field =
        |name: &str| form.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    assert_eq!(field("grant_type").as_deref(), Some("authorization_code"));
    assert_eq!(field("code").as_deref(), Some("c1"));
    assert_eq!(field("redirect_uri").as_deref(), Some(BACK));
    assert_eq!(field("client_id").as_deref(), Some(CLIENT), "a public client says who it is");
    let verifier = field("code_verifier").unwrap();
    let challenge = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()));
    assert_eq!(away.sent["code_challenge"], challenge);
    assert!(!away.begun.location.contains(&verifier));
}

#[tokio::test]
async fn inv12_the_client_proves_itself_and_its_secret_shows_nowhere() {
    const SECRET: &str = "canary:of a+client";
    let encoded = format!("Basic {}", STANDARD.encode("holdpoint:canary%3Aof+a%2Bclient"));
    let scene = Scene::with(|spec| spec.client_secret = Some(secret(&format!("{SECRET}\n"))));
    let away = scene.away().await;
    let token = scene.token(&away, |_, _| ());
    scene.back(&away, &token).await.unwrap();
    let asked = scene.provider.asked("/token").pop().unwrap();
    assert!(asked.head.contains(&encoded) && !asked.body.contains("client_"), "{}", asked.head);

    // What the provider echoes stays with it too: nothing of a token or a code gets into an error.
    let echo =
        json!({"error": "invalid_client\u{202e}", "error_description": format!("{SECRET} {ACCESS_TOKEN}")});
    scene.provider.say("/token", "401 Unauthorized", &echo.to_string());
    let err = scene.party.finish(Some(&away.begun.cookie), &scene.query(&away)).await.unwrap_err();
    let said = format!("{err} {err:?} {:?}", spec("x").client_secret);
    for canary in ["canary", ACCESS_TOKEN, "c1", &away.sent["state"], "\u{202e}"] {
        assert!(!said.contains(canary), "{canary}: {said}");
    }
    assert!(said.contains("invalid_client\\u{202E}"), "{said}");

    let scene = Scene::with(|spec| spec.client_secret = Some(secret(SECRET)));
    scene.provider.describe(|it| it["token_endpoint_auth_methods_supported"] = json!(["client_secret_post"]));
    let away = scene.away().await;
    let token = scene.token(&away, |_, _| ());
    scene.back(&away, &token).await.unwrap();
    let asked = scene.provider.asked("/token").pop().unwrap();
    assert!(asked.body.contains("client_secret=canary%3Aof+a%2Bclient") && !asked.head.contains("Basic"));
}

#[tokio::test]
async fn t10_t16_an_answer_without_the_cookie_of_the_browser_that_asked_is_nothing() {
    let scene = Scene::new();
    let (ada, mallory) = (scene.away().await, scene.away().await);
    let (good, token) = (scene.query(&mallory), scene.token(&mallory, |_, _| ()));
    scene.provider.grant(&token);
    // Login CSRF: Mallory's sound answer, opened in somebody else's browser.
    for cookie in [None, Some(""), Some("x"), Some("AAAA.1.AA")] {
        let refused = scene.party.finish(cookie, &good).await.unwrap_err();
        assert!(matches!(refused, OidcError::NotBegun), "{cookie:?}: {refused:?}");
    }
    let refused = scene.party.finish(Some(&ada.begun.cookie), &good).await.unwrap_err();
    assert!(matches!(refused, OidcError::State), "{refused:?}");
    assert!(scene.provider.asked("/token").is_empty(), "the code was not even looked at");

    scene.clock.set_ms(NOW_MS + 600_000);
    let refused = scene.party.finish(Some(&mallory.begun.cookie), &good).await.unwrap_err();
    assert!(matches!(refused, OidcError::Late), "{refused:?}");
    scene.clock.set_ms(NOW_MS + 250_000);
    assert!(scene.party.finish(Some(&mallory.begun.cookie), &good).await.is_ok());
}

#[tokio::test]
async fn each_parameter_of_the_way_back_wrong() {
    let scene = Scene::new();
    let away = scene.away().await;
    let token = scene.token(&away, |_, _| ());
    scene.provider.grant(&token);
    let (issuer, state) = (scene.provider.issuer(), away.sent["state"].clone());
    type Expected = fn(&OidcError) -> bool;
    let good: [(&str, &str); 3] = [("code", "c1"), ("state", &state), ("iss", &issuer)];
    let with = |name: &str, value: &str| {
        query(&good.map(|field| if field.0 == name { (field.0, value) } else { field }))
    };
    let without = |name: &str| query(&good.into_iter().filter(|field| field.0 != name).collect::<Vec<_>>());
    let cases: &[(&str, String, Expected)] = &[
        ("no state", without("state"), |e| matches!(e, OidcError::State)),
        ("another state", with("state", "x"), |e| matches!(e, OidcError::State)),
        ("the nonce for a state", with("state", &away.sent["nonce"]), |e| matches!(e, OidcError::State)),
        ("no code", without("code"), |e| matches!(e, OidcError::Answer)),
        ("an empty code", with("code", ""), |e| matches!(e, OidcError::Answer)),
        ("two codes", format!("{}&code=c2", query(&good)), |e| matches!(e, OidcError::Answer)),
        ("two states", format!("{}&state=x", query(&good)), |e| matches!(e, OidcError::Answer)),
        ("another issuer's (mix-up)", with("iss", "https://evil.example"), |e| {
            matches!(e, OidcError::Issuer)
        }),
        ("nearly the issuer", with("iss", &format!("{issuer}/")), |e| matches!(e, OidcError::Issuer)),
        ("nobody's, where each is named", without("iss"), |e| matches!(e, OidcError::Issuer)),
        ("an error", format!("{}&error=access_denied", without("code")), |e| {
            matches!(e, OidcError::Refused(_))
        }),
        ("an error and a code", format!("{}&error=x", query(&good)), |e| matches!(e, OidcError::Refused(_))),
        ("an endless one", format!("{}&x={}", query(&good), "x".repeat(5_000)), |e| {
            matches!(e, OidcError::Answer)
        }),
        ("nothing", String::new(), |e| matches!(e, OidcError::State)),
    ];
    for (what, query, expected) in cases {
        let refused = scene.party.finish(Some(&away.begun.cookie), query).await.unwrap_err();
        assert!(expected(&refused), "{what}: {refused:?}");
    }
    assert!(scene.provider.asked("/token").is_empty(), "none of them got as far as the code");
    let more = format!("{}&session_state=x&scope=openid", query(&good));
    assert!(scene.party.finish(Some(&away.begun.cookie), &more).await.is_ok());
}

#[tokio::test]
async fn t34_metadata_that_would_lead_elsewhere_are_refused() {
    type Change = fn(&mut Value);
    let endpoints = ["authorization_endpoint", "token_endpoint", "jwks_uri"];
    for endpoint in endpoints {
        for url in [
            "http://provider.example/x",
            "http://localhost.evil.example/x",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "ssh://127.0.0.1/",
            "https://user@provider.example/",
            "https://provider.example/#x",
            "/token",
            "",
        ] {
            let scene = Scene::new();
            scene.provider.describe(|it| it[endpoint] = json!(url));
            let refused = scene.party.begin("/").await.unwrap_err();
            assert!(
                matches!(refused, OidcError::Discovery(DiscoveryError::Endpoint(which)) if which == endpoint),
                "{endpoint} {url}: {refused:?}"
            );
        }
    }
    let cases: &[(&str, Change)] = &[
        ("another issuer's", |it| it["issuer"] = json!("https://evil.example")),
        ("nearly the issuer's", |it| it["issuer"] = json!(format!("{}/", it["issuer"].as_str().unwrap()))),
        ("nobody's", |it| drop(it.as_object_mut().unwrap().remove("issuer"))),
        ("without the code flow", |it| it["response_types_supported"] = json!(["id_token"])),
        ("with plain PKCE alone", |it| it["code_challenge_methods_supported"] = json!(["plain"])),
        ("with unsigned tokens alone", |it| {
            it["id_token_signing_alg_values_supported"] = json!(["none", "HS256"])
        }),
    ];
    for (what, change) in cases {
        let scene = Scene::new();
        scene.provider.describe(change);
        let refused = scene.party.begin("/").await.unwrap_err();
        assert!(matches!(refused, OidcError::Discovery(_)), "{what}: {refused:?}");
    }
    let scene = Scene::new();
    scene
        .provider
        .describe(|it| drop(it.as_object_mut().unwrap().remove("code_challenge_methods_supported")));
    assert!(scene.party.begin("/").await.is_ok(), "some that know S256 do not say so");
}

#[tokio::test]
async fn a_provider_that_is_away_or_answers_badly_signs_nobody_in() {
    let scene = Scene::new();
    scene.provider.say("/.well-known/openid-configuration", "503 Service Unavailable", "");
    let refused = scene.party.begin("/").await.unwrap_err();
    assert!(matches!(refused, OidcError::Question(QuestionError::Status(_))), "{refused:?}");
    scene.provider.describe(|_| ());
    assert!(
        matches!(scene.party.begin("/").await.unwrap_err(), OidcError::Paused),
        "strangers cannot make us ask at will"
    );
    scene.clock.set_ms(NOW_MS + 2_000);
    let away = scene.away().await;

    let elsewhere = "302 Found\r\nLocation: http://127.0.0.1:1/";
    let token = scene.token(&away, |_, _| ());
    let answer = |change: fn(&mut Value)| {
        let mut answer = json!({"access_token": ACCESS_TOKEN, "token_type": "bearer", "id_token": token});
        change(&mut answer);
        answer.to_string()
    };
    let twice = format!("{{\"id_token\":\"x\",{}", &answer(|_| ())[1..]);
    for (what, status, body) in [
        ("a redirection", elsewhere, answer(|_| ())),
        ("another status", "500 Internal Server Error", answer(|_| ())),
        ("no JSON", "200 OK", "<html>".to_owned()),
        ("a name twice", "200 OK", twice),
        ("no ID token", "200 OK", answer(|it| drop(it.as_object_mut().unwrap().remove("id_token")))),
        ("no access token", "200 OK", answer(|it| drop(it.as_object_mut().unwrap().remove("access_token")))),
        ("another kind of token", "200 OK", answer(|it| it["token_type"] = json!("DPoP"))),
        ("too much", "200 OK", answer(|it| it["x"] = json!("x".repeat(300_000)))),
        ("a used code", "400 Bad Request", r#"{"error":"invalid_grant"}"#.to_owned()),
    ] {
        scene.provider.say("/token", status, &body);
        let refused = scene.party.finish(Some(&away.begun.cookie), &scene.query(&away)).await.unwrap_err();
        assert!(matches!(refused, OidcError::Question(_)), "{what}: {refused:?}");
    }
    scene.provider.say("/token", "200 OK", &answer(|_| ()));
    assert!(scene.party.finish(Some(&away.begun.cookie), &scene.query(&away)).await.is_ok());
}

#[test]
fn a_provider_that_could_not_be_trusted_is_refused_before_it_is_asked() {
    type Change = fn(&mut holdpoint_adapters::identity::oidc::OidcSpec);
    let refused = |change: Change| {
        let mut spec = spec("https://provider.example/tenant");
        change(&mut spec);
        let party = RelyingParty::new(spec, std::sync::Arc::new(StoppedClock::new()));
        party.map(|_| ()).unwrap_err().join("\n")
    };
    let cases: &[(Change, &str)] = &[
        (|it| it.issuer = "http://provider.example".to_owned(), "`issuer`"),
        (|it| it.issuer = "http://localhost:1".to_owned(), "`issuer`"),
        (|it| it.issuer = "https://provider.example/?x".to_owned(), "`issuer`"),
        (|it| it.issuer = "https://me@provider.example/".to_owned(), "`issuer`"),
        (|it| it.issuer = "provider.example".to_owned(), "`issuer`"),
        (|it| it.client_id = String::new(), "`client_id`"),
        (|it| it.client_id = "a b".to_owned(), "`client_id`"),
        (|it| it.redirect_uri = "http://holdpoint.example/x".to_owned(), "way back"),
        (|it| it.scopes = vec!["a b".to_owned()], "scopes"),
        (|it| it.max_age = Some(Millis::secs(0)), "`max_age`"),
        (|it| it.people.named.clear(), "`people` is empty"),
        (|it| it.ca_file = Some("/nonexistent.pem".into()), "/nonexistent.pem"),
    ];
    for (change, why) in cases {
        assert!(refused(*change).contains(why), "{why}: {}", refused(*change));
    }
    let fine = |issuer: &str, back: &str| {
        let mut spec = spec(issuer);
        spec.redirect_uri = back.to_owned();
        RelyingParty::new(spec, std::sync::Arc::new(StoppedClock::new())).is_ok()
    };
    assert!(fine("https://provider.example/tenant", "http://localhost:7070/sign-in/oidc/callback"));
    assert!(fine("http://127.0.0.1:9", BACK) && fine("http://[::1]:9", BACK));
}
