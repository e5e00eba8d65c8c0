//! ID tokens, each wrong in one thing.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use holdpoint_adapters::identity::{MAX_ISSUER_LIFETIME, TokenError, oidc::OidcError};
use holdpoint_domain::Millis;
use serde_json::{Value, json};

use super::provider::{CLIENT, Scene};
use crate::world::{
    forge::{Forge, NOW},
    support::{NOW_MS, at},
};

#[tokio::test]
async fn a_sound_answer_names_one_person_and_where_they_were() {
    let scene = Scene::new();
    let away = scene.away().await;
    let token = scene.token(&away, |_, _| ());
    let who = scene.back(&away, &token).await.unwrap();
    assert_eq!((who.person.as_str(), who.next.as_str()), ("ada", "/holds/hold-1"));
    assert!(who.denied_teams.is_empty());
}

#[tokio::test]
async fn t18_t19_each_word_of_an_id_token_wrong() {
    type Change = fn(&mut Value, &mut Value);
    type Expected = fn(&OidcError) -> bool;
    let cases: &[(&str, Change, Expected)] = &[
        (
            "the nonce of another attempt",
            |_, c| c["nonce"] = json!("other"),
            |e| matches!(e, OidcError::Nonce),
        ),
        ("no nonce", |_, c| c["nonce"] = Value::Null, |e| matches!(e, OidcError::Nonce)),
        ("a list of nonces", |_, c| c["nonce"] = json!([c["nonce"]]), |e| matches!(e, OidcError::Nonce)),
        (
            "another issuer",
            |_, c| c["iss"] = json!("https://evil.example"),
            |e| matches!(e, OidcError::Issuer),
        ),
        (
            "nearly the issuer",
            |_, c| c["iss"] = json!(format!("{}/", c["iss"].as_str().unwrap())),
            |e| matches!(e, OidcError::Issuer),
        ),
        ("no issuer", |_, c| c["iss"] = Value::Null, |e| matches!(e, OidcError::Issuer)),
        ("another audience", |_, c| c["aud"] = json!("other"), is_audience),
        ("others too", |_, c| c["aud"] = json!([CLIENT, "other"]), is_audience),
        ("no audience", |_, c| c["aud"] = Value::Null, is_audience),
        ("another party", |_, c| c["azp"] = json!("other"), |e| matches!(e, OidcError::Party)),
        ("a list of parties", |_, c| c["azp"] = json!([CLIENT]), |e| matches!(e, OidcError::Party)),
        ("over", |_, c| c["exp"] = json!(NOW), |e| matches!(e, OidcError::Token(TokenError::Expired))),
        ("an end of another type", |_, c| c["exp"] = json!("never"), is_claim),
        ("no end", |_, c| c["exp"] = Value::Null, is_claim),
        (
            "for longer than any token",
            |_, c| c["exp"] = json!(NOW + 86_401),
            |e| matches!(e, OidcError::Token(TokenError::Lifetime(life)) if *life == MAX_ISSUER_LIFETIME),
        ),
        ("no time of issue", |_, c| drop(c.as_object_mut().unwrap().remove("iat")), is_claim),
        (
            "from the future",
            |_, c| c["iat"] = json!(NOW + 31),
            |e| matches!(e, OidcError::Token(TokenError::Future)),
        ),
        ("from before the sign-in", |_, c| c["iat"] = json!(NOW - 31), |e| matches!(e, OidcError::Old)),
        (
            "another access token's",
            |_, c| c["at_hash"] = json!("AAAA"),
            |e| matches!(e, OidcError::AccessToken),
        ),
        (
            "no hash, but something",
            |_, c| c["at_hash"] = Value::Null,
            |e| matches!(e, OidcError::AccessToken),
        ),
        ("nobody", |_, c| c["sub"] = json!("1"), |e| matches!(e, OidcError::Nobody(_))),
        ("a number", |_, c| c["sub"] = json!(248_289_761_001_u64), |e| matches!(e, OidcError::Nobody(_))),
        ("alg none", |h, _| h["alg"] = json!("none"), is_algorithm),
        ("a shared secret", |h, _| h["alg"] = json!("HS256"), is_algorithm),
        (
            "an algorithm that the provider does not use",
            |h, _| h["alg"] = json!("PS256"),
            |e| matches!(e, OidcError::Algorithm),
        ),
        (
            "an access token",
            |h, _| h["typ"] = json!("at+jwt"),
            |e| matches!(e, OidcError::Token(TokenError::Type)),
        ),
        ("keys of its own", |h, _| h["jku"] = json!("https://evil.example"), is_header),
        ("something critical", |h, _| h["crit"] = json!(["b64"]), is_header),
        ("an unknown key", |h, _| h["kid"] = json!("k2"), is_unknown_key),
        ("no key", |h, _| drop(h.as_object_mut().unwrap().remove("kid")), is_unknown_key),
    ];
    let scene = Scene::new();
    for (what, change, expected) in cases {
        let away = scene.away().await;
        let token = scene.token(&away, change);
        let refused = scene.back(&away, &token).await.unwrap_err();
        assert!(expected(&refused), "{what}: {refused:?}");
        let good = scene.token(&away, |_, _| ());
        assert!(scene.back(&away, &good).await.is_ok(), "{what}: the attempt itself was sound");
    }
}

#[tokio::test]
async fn t19_whatever_the_provider_did_not_sign_is_nobodys() {
    let scene = Scene::new();
    let away = scene.away().await;
    let good = scene.token(&away, |_, _| ());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    let text = |part: &str| String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
    let twice = URL_SAFE_NO_PAD.encode(text(claims).replacen('{', r#"{"sub":"1","#, 1));
    for (what, token) in [
        ("unsigned", format!("{signed}.")),
        ("unsigned, and says so", format!("{none}.{claims}.")),
        ("signed by another issuer", Forge::new().sign(&text(header), &text(claims))),
        ("with claims of another token", format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode("{}"))),
        ("with a claim twice", format!("{header}.{twice}.{signature}")),
        ("encrypted", format!("{good}.x.y")),
        ("nothing", String::new()),
        ("endless", "x".repeat(200_000)),
    ] {
        let refused = scene.back(&away, &token).await.unwrap_err();
        assert!(matches!(refused, OidcError::Token(_)), "{what}: {refused:?}");
    }
    assert!(scene.back(&away, &good).await.is_ok());
}

#[tokio::test]
async fn a_person_whom_the_provider_has_not_seen_for_too_long_is_asked_again() {
    let scene = Scene::with(|spec| spec.max_age = Some(Millis::secs(60)));
    let away = scene.away().await;
    assert_eq!(away.sent["max_age"], "60");
    for (shown, is_fine) in [
        (json!(NOW), true),
        (json!(NOW - 90), true),
        (json!(NOW - 91), false),
        (Value::Null, false),
        (json!(NOW.to_string()), false),
    ] {
        let token = scene.token(&away, |_, claims| claims["auth_time"] = shown.clone());
        assert_eq!(scene.back(&away, &token).await.is_ok(), is_fine, "{shown}");
    }
    let silent = scene.token(&away, |_, _| ());
    assert!(
        is_claim(&scene.back(&away, &silent).await.unwrap_err()),
        "it was asked for, so it must be there"
    );
}

#[tokio::test]
async fn a_new_key_of_the_provider_is_believed_and_an_old_one_is_forgotten() {
    let scene = Scene::new();
    let away = scene.away().await;
    let token = scene.token(&away, |_, _| ());
    assert!(scene.back(&away, &token).await.is_ok());
    assert!(scene.back(&away, &token).await.is_ok());
    assert_eq!(scene.provider.asked("/keys").len(), 1, "known keys are not asked for again");

    let renamed = scene.token(&away, |header, _| header["kid"] = json!("k2"));
    scene.provider.say("/keys", "200 OK", &scene.provider.forge.jwks("k2"));
    assert!(scene.back(&away, &renamed).await.is_ok());
    assert!(is_unknown_key(&scene.back(&away, &token).await.unwrap_err()));

    // An hour later nothing is believed without asking, and a provider without keys names nobody.
    scene.clock.set_ms(NOW_MS + 3_600_000);
    assert_eq!(holdpoint_app::port::Clock::now(scene.clock.as_ref()), at(NOW_MS + 3_600_000));
    scene.provider.say("/keys", "200 OK", r#"{"keys": []}"#);
    let later = scene.away().await;
    let token = scene.token(&later, |header, claims| {
        header["kid"] = json!("k2");
        (claims["iat"], claims["exp"]) = (json!(NOW + 3_600), json!(NOW + 3_900));
    });
    assert!(is_unknown_key(&scene.back(&later, &token).await.unwrap_err()));
}

fn is_audience(err: &OidcError) -> bool {
    matches!(err, OidcError::Token(TokenError::Audience))
}

fn is_claim(err: &OidcError) -> bool {
    matches!(err, OidcError::Token(TokenError::Claim { .. }))
}

fn is_algorithm(err: &OidcError) -> bool {
    matches!(err, OidcError::Token(TokenError::Algorithm))
}

fn is_header(err: &OidcError) -> bool {
    matches!(err, OidcError::Token(TokenError::Header))
}

fn is_unknown_key(err: &OidcError) -> bool {
    matches!(err, OidcError::Token(TokenError::UnknownKey))
}
