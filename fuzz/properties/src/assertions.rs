//! What a passkey signed, against a second reader of the same rules: whatever browser and authenticator say, both take it or neither.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer as _, SigningKey};
use holdpoint_domain::{
    Digest, Id,
    digest::canonical,
    passkey::{Assertion, Authenticator, Bytes, challenge},
    proof::{Credentials, Proof},
};
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use crate::Choices;

const SEED: [u8; 32] = [9; 32];
const ORIGIN: &str = "https://console.example";
const RP_ID: &str = "console.example";
const MESSAGE: &[u8] = b"what a person read and signs";

/// What the right passkey signed counts when the second reader finds nothing wrong with it, and only then; with one byte changed it
/// never does. A proof that is read has one form.
pub(crate) fn holds(bytes: &[u8]) {
    proof(bytes);
    let choices = &mut Choices::new(bytes);
    let passkey = Authenticator::new(SEED, ORIGIN, Id::parse("act").unwrap()).unwrap().passkey;
    let mut data = data(choices);
    if choices.yes() {
        choices.edit(&mut data);
    }
    let mut client = client_data().into_bytes();
    match choices.below(3) {
        0 => {}
        1 => choices.edit(&mut client),
        _ => client = choices.rest().to_vec(),
    }
    let signed = [&data[..], Digest::of_bytes(&client).as_bytes()].concat();
    let signature = SigningKey::from_bytes(&SEED).sign(&signed).to_bytes();
    let assertion = Assertion {
        credential: passkey.id.clone(),
        authenticator_data: Bytes::new(data),
        client_data: Bytes::new(client),
        signature: Bytes::new(signature),
    };
    let answer = passkey.check(&assertion, MESSAGE);
    let fault = second_reader(&assertion);
    assert_eq!(answer.is_ok(), fault.is_none(), "{answer:?}, and the second reader says {fault:?}");
    assert!(passkey.check(&assertion, b"something else").is_err());
    if answer.is_ok() {
        changed(&assertion, choices, |assertion| passkey.check(assertion, MESSAGE).is_ok());
    }
}

/// Read from its JSON, a proof reads back the same; nobody who fuzzes has our keys.
fn proof(bytes: &[u8]) {
    let Ok(proof) = serde_json::from_slice::<Proof>(bytes) else { return };
    let form = canonical(&proof).unwrap();
    assert_eq!(serde_json::from_slice::<Proof>(&form).unwrap(), proof);
    assert!(Credentials::default().check(&proof, MESSAGE).is_err());
    let _ = proof.counter();
}

/// Authenticator data with any flags, any counter, and something behind it.
fn data(choices: &mut Choices<'_>) -> Vec<u8> {
    let flags = if choices.yes() { choices.byte() } else { 0x05 };
    let counter = u32::try_from(choices.number() % (1 << 32)).unwrap();
    let after = choices.several(4, Choices::byte);
    [Digest::of_bytes(RP_ID.as_bytes()).as_bytes(), &[flags][..], &counter.to_be_bytes(), &after].concat()
}

fn client_data() -> String {
    let challenge = URL_SAFE_NO_PAD.encode(challenge(MESSAGE).as_bytes());
    format!(r#"{{"type":"webauthn.get","challenge":"{challenge}","origin":"{ORIGIN}","crossOrigin":false}}"#)
}

fn changed(assertion: &Assertion, choices: &mut Choices<'_>, counts: impl Fn(&Assertion) -> bool) {
    let parts: [fn(&mut Assertion) -> &mut Bytes; 3] =
        [|a| &mut a.authenticator_data, |a| &mut a.client_data, |a| &mut a.signature];
    for part in parts {
        let mut other = assertion.clone();
        let mut bytes = part(&mut other).as_slice().to_vec();
        let at = choices.below(bytes.len());
        bytes[at] ^= 1 << (choices.byte() % 8);
        *part(&mut other) = Bytes::new(bytes);
        assert!(!counts(&other), "byte {at} was changed, and it counts: {other:?}");
    }
}

/// What is wrong with it, as sections 6.1, 5.8.1 and 7.2 of Web Authentication Level 3 have it for a console that wants its user
/// verified and is in nobody's frame.
fn second_reader(assertion: &Assertion) -> Option<&'static str> {
    let client = assertion.client_data.as_slice();
    let Some(members) = client.starts_with(b"{").then(|| members(client)).flatten() else {
        return Some("no object");
    };
    let member = |name: &str| {
        let mut found = members.iter().filter(|(known, _)| known == name).map(|(_, value)| value);
        (found.next(), found.next().is_some())
    };
    for name in NAMES {
        if member(name).1 {
            return Some("a member twice");
        }
    }
    let is_text = |name: &str, wanted: &str| member(name).0.and_then(Value::as_str) == Some(wanted);
    let data = assertion.authenticator_data.as_slice();
    if data.len() < 37 {
        return Some("too short");
    }
    let flag = |bit: u32| data[32] >> bit & 1 == 1;
    let challenge = URL_SAFE_NO_PAD.encode(challenge(MESSAGE).as_bytes());
    let checks = [
        (is_text("type", "webauthn.get"), "the type"),
        (is_text("challenge", &challenge), "the challenge"),
        (is_text("origin", ORIGIN), "the origin"),
        (matches!(member("crossOrigin").0, None | Some(Value::Null | Value::Bool(false))), "a frame"),
        (matches!(member("topOrigin").0, None | Some(Value::Null)), "a frame's page"),
        (data[..32] == *Digest::of_bytes(RP_ID.as_bytes()).as_bytes(), "the relying party"),
        (flag(0), "nobody was there"),
        (flag(2), "nobody was verified"),
        (flag(3) || !flag(4), "backed up"),
        (!flag(6), "a credential"),
        (flag(7) == (data.len() > 37), "extensions"),
    ];
    checks.into_iter().find(|(fine, _)| !fine).map(|(_, fault)| fault)
}

const NAMES: [&str; 5] = ["type", "challenge", "origin", "crossOrigin", "topOrigin"];

/// The members that we know, each as often as it is there; none where it is no JSON object.
fn members(json: &[u8]) -> Option<Vec<(String, Value)>> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(String, Value)>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(name) = map.next_key::<String>()? {
                if NAMES.contains(&name.as_str()) {
                    let value = map.next_value()?;
                    members.push((name, value));
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(members)
        }
    }
    let mut reader = serde_json::Deserializer::from_slice(json);
    let members = reader.deserialize_map(Members).ok()?;
    reader.end().ok()?;
    Some(members)
}
