//! Identity tokens: ES256, three parts, and a second reader of the rules beside the verifier.

use std::sync::LazyLock;

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use holdpoint_adapters::identity::{Jwks, MAX_LIFETIME, MAX_SKEW, MAX_TOKEN_LEN, Verified, Verifier};
use holdpoint_domain::{
    Timestamp,
    actor::{Identity, TrustDomain},
    time::MAX_MS,
};
use serde_json::{Map, Value, json};

use crate::Choices;

const NOW: u64 = 1_700_000_000;
const AUDIENCE: &str = "holdpoint.example.org";
const SUBJECT: &str = "spiffe://example.org/agent/holmes/decide";
/// The key of RFC 6979, appendix A.2.5: everybody has it, so it protects nothing, and failures are the same everywhere.
const PRIVATE: &str = "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721";
const PUBLIC_X: &str = "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6";
const PUBLIC_Y: &str = "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299";

static KEY: LazyLock<EcdsaKeyPair> = LazyLock::new(|| {
    let point = [vec![4], hex(PUBLIC_X), hex(PUBLIC_Y)].concat();
    let alg = &ECDSA_P256_SHA256_FIXED_SIGNING;
    EcdsaKeyPair::from_private_key_and_public_key(alg, &hex(PRIVATE), &point).unwrap()
});

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let (x, y) = (URL_SAFE_NO_PAD.encode(hex(PUBLIC_X)), URL_SAFE_NO_PAD.encode(hex(PUBLIC_Y)));
    let jwks =
        json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": "k1", "use": "jwt-svid", "x": x, "y": y}]});
    Verifier::new(Jwks::parse(&jwks.to_string()).unwrap(), domain(), AUDIENCE.to_owned())
});

/// A changed token is refused, or says what was signed; signed words are believed exactly when every rule holds; subjects and
/// key sets of strangers are read without stumbling, and have one spelling.
pub(crate) fn holds(bytes: &[u8]) {
    texts(bytes);
    let choices = &mut Choices::new(bytes);
    match choices.byte() % 3 {
        0 => changed(choices),
        1 => judged(choices),
        _ => {
            // Any two texts at all under the trusted key: accepted means that both are what the rules ask for.
            let (header, claims) = choices.rest().split_at(choices.rest().len() / 2);
            let (header, claims) = (String::from_utf8_lossy(header), String::from_utf8_lossy(claims));
            agree(&header, &claims);
        }
    }
}

fn texts(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(identity) = Identity::parse(text, &domain()) {
        assert_eq!(identity.spiffe_id(&domain()), text, "an identity has one spelling");
    }
    let _ = verify(text);
    let _ = Jwks::parse(text);
}

fn changed(choices: &mut Choices<'_>) {
    let claims = json!({"sub": SUBJECT, "aud": AUDIENCE, "exp": NOW + 300, "iat": NOW}).to_string();
    let token = sign(r#"{"alg":"ES256","kid":"k1","typ":"JWT"}"#, &claims);
    let sound = verify(&token).expect("a sound token");
    let mut bytes = token.clone().into_bytes();
    choices.edit(&mut bytes);
    let Ok(text) = String::from_utf8(bytes) else { return };
    let Some(verified) = verify(&text) else {
        assert_ne!(text, token);
        return;
    };
    // ECDSA has two signatures for one message, so a token is not its own fingerprint; its words are what is bound.
    let words = |token: &str| token.rsplit_once('.').map(|(words, _)| words.to_owned());
    assert_eq!(words(&text), words(&token), "other words under a signature that holds");
    assert_eq!(verified, sound);
}

/// Claims and header out of lists in which the wrong ones are many.
fn judged(choices: &mut Choices<'_>) {
    let mut header = json!({"alg": "ES256", "kid": "k1"});
    let mut claims = json!({"sub": SUBJECT, "aud": AUDIENCE, "exp": NOW + 300});
    for _ in 0..choices.below(4) {
        let (name, value) = header_word(choices);
        put(&mut header, name, value);
    }
    for _ in 0..choices.below(6) {
        let (name, value) = claim(choices);
        put(&mut claims, name, value);
    }
    agree(&header.to_string(), &claims.to_string());
}

fn put(object: &mut Value, name: &str, value: Option<Value>) {
    let object = object.as_object_mut().unwrap();
    match value {
        Some(value) => object.insert(name.to_owned(), value),
        None => object.remove(name),
    };
}

fn header_word(choices: &mut Choices<'_>) -> (&'static str, Option<Value>) {
    let name = choices.one_of(&["typ", "alg", "kid", "crit", "jwk", "typ"]);
    (
        name,
        choices.yes().then(|| word(choices, &["JWT", "JOSE", "ES256", "k1", "none", "HS256", "k2", "jwt"])),
    )
}

fn claim(choices: &mut Choices<'_>) -> (&'static str, Option<Value>) {
    let name = choices.one_of(&["exp", "iat", "nbf", "aud", "sub", "iss", "exp", "iat"]);
    if !choices.yes() {
        return (name, None);
    }
    let subjects = [
        SUBJECT,
        "spiffe://example.org/person/ada",
        "spiffe://example.org/agent/x/other",
        "spiffe://example.org/agent/holmes/decide/pod-7",
        "spiffe://example.org/agent/holmes/decide/execute",
        "spiffe://b/person/ada",
    ];
    let value = match name {
        "exp" | "iat" | "nbf" => time(choices),
        "aud" => word(choices, &[AUDIENCE, "other.example.org"]),
        "sub" => word(choices, &subjects),
        _ => word(choices, &["https://issuer.example.org"]),
    };
    (name, Some(value))
}

fn word(choices: &mut Choices<'_>, of: &[&str]) -> Value {
    let one = choices.one_of(of);
    match choices.byte() % 8 {
        0 => json!([one]),
        1 => json!([one, choices.one_of(of)]),
        2 => Value::Null,
        3 => json!(1),
        4 => json!({ one: one }),
        _ => json!(one),
    }
}

fn time(choices: &mut Choices<'_>) -> Value {
    let near = |offset: u64| (NOW + offset).saturating_sub(8_000);
    match choices.byte() % 8 {
        0 => json!(choices.number()),
        1 => json!(NOW.to_string()),
        2 => json!(NOW as f64 + 0.5),
        3 => json!(-1),
        4 => Value::Null,
        // The edges: a second around each limit.
        5 => json!(NOW + choices.one_of(&[0, 1, 29, 30, 31, 3_599, 3_600, 3_601, 3_629, 3_630, 3_631])),
        _ => json!(near(choices.number() % 16_000)),
    }
}

/// The verifier's answer to a token of these words is the second reader's.
fn agree(header: &str, claims: &str) {
    let token = sign(header, claims);
    let expected = believe(&token, header, claims);
    let got = verify(&token);
    let shown = got.as_ref().map(|verified| (verified.identity().clone(), verified.expires_at()));
    assert_eq!(shown, expected, "{header} {claims}");
}

/// The rules once more, the slow way: numbers as wide as they need to be, and no early end.
fn believe(token: &str, header: &str, claims: &str) -> Option<(Identity, Timestamp)> {
    let (header, claims) = (object(header)?, object(claims)?);
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let known = header.keys().all(|name| ["alg", "kid", "typ"].contains(&name.as_str()));
    let typ = header.get("typ").is_none()
        || ["JWT", "JOSE"].map(|it| Some(it.to_owned())).contains(&text(header.get("typ")));
    let named = text(header.get("alg")).as_deref() == Some("ES256")
        && text(header.get("kid")).as_deref() == Some("k1");
    let audience =
        claims.get("aud") == Some(&json!(AUDIENCE)) || claims.get("aud") == Some(&json!([AUDIENCE]));
    let issuer = claims.get("iss").is_none_or(Value::is_string);
    let seconds = |name: &str| match claims.get(name) {
        None => Some(None),
        Some(value) => value.as_u64().map(i128::from).filter(|it| it * 1000 <= i128::from(MAX_MS)).map(Some),
    };
    let (expires, issued, before) = (seconds("exp")??, seconds("iat")?, seconds("nbf")?);
    let (now, life, skew) =
        (i128::from(NOW), i128::from(MAX_LIFETIME.ms() / 1000), i128::from(MAX_SKEW.ms() / 1000));
    let timely = now < expires
        && expires - now <= life + skew
        && [issued, before].into_iter().flatten().all(|time| time - now <= skew)
        && issued.is_none_or(|issued| expires - issued <= life);
    let identity = identity_of(claims.get("sub")?.as_str()?)?;
    let believed = known && typ && named && audience && issuer && timely && token.len() <= MAX_TOKEN_LEN;
    believed.then(|| (identity, Timestamp::from_ms(u64::try_from(expires * 1000).unwrap()).unwrap()))
}

/// The identity of an id with or without an instance, which is a segment of letters, digits, `.`, `-` and `_` and no phase.
fn identity_of(subject: &str) -> Option<Identity> {
    let parts: Vec<_> = subject.split('/').collect();
    if let [_, _, _, "agent", _, phase, instance] = parts.as_slice() {
        let letters = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        let fits = (1..=128).contains(&instance.len()) && instance.chars().all(letters);
        let dots = [".", ".."].contains(instance);
        let phases = ["observe", "decide", "execute"];
        if !fits || dots || phases.contains(instance) || !phases.contains(phase) {
            return None;
        }
        return Identity::parse(&parts[..6].join("/"), &domain()).ok();
    }
    Identity::parse(subject, &domain()).ok()
}

/// An object in which no name stands twice: reading and writing it keeps every name.
fn object(text: &str) -> Option<Map<String, Value>> {
    let map: Map<String, Value> = serde_json::from_str(text).ok()?;
    let names = |value: &Value| names(value);
    let kept: usize = map.values().map(names).sum::<usize>() + map.len();
    (kept == names_written(text)).then_some(map)
}

fn names(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(names).sum(),
        Value::Object(map) => map.len() + map.values().map(names).sum::<usize>(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// Colons outside of texts: one for each name that was written.
fn names_written(json: &str) -> usize {
    let (mut inside, mut escaped, mut count) = (false, false, 0);
    for c in json.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = inside,
            '"' => inside = !inside,
            ':' if !inside => count += 1,
            _ => {}
        }
    }
    count
}

fn verify(token: &str) -> Option<Verified> {
    VERIFIER.verify(token, Timestamp::from_ms(NOW * 1000).unwrap()).ok()
}

fn sign(header: &str, claims: &str) -> String {
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = KEY.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
}

fn domain() -> TrustDomain {
    TrustDomain::parse("example.org").unwrap()
}

fn hex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}
