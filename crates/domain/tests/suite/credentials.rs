//! Proofs and credentials: their spellings, whose they are, and which a registry takes.

use std::collections::BTreeSet;

use holdpoint_domain::{
    agent::{Person, Registry, RegistryError},
    digest::canonical,
    passkey::{Algorithm, Assertion, Authenticator, Bytes, CredentialId, Passkey, PasskeyError},
    proof::{Credentials, MAX_PASSKEYS, Proof, ProofError, Proven},
    signature::{PublicKey, Signature, SignatureError},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::support::{CONSOLE, id, key, passkey, public};

fn text<T: serde::Serialize>(value: &T) -> String {
    String::from_utf8(canonical(value).unwrap()).unwrap()
}

fn reads<T: DeserializeOwned>(text: &str) -> bool {
    serde_json::from_str::<T>(text).is_ok()
}

fn asserted() -> Assertion {
    passkey("ada").sign(b"message", 3)
}

/// What stands in a ledger stays readable: a line that differs is a change of the format.
#[test]
fn inv11_a_proof_has_one_spelling_in_the_ledger() {
    let by_key: Proof = Signature::from_bytes([7; 64]).into();
    let by_passkey: Proof = asserted().into();
    for proof in [&by_key, &by_passkey] {
        let bytes = text(proof);
        assert_eq!(serde_json::from_str::<Proof>(&bytes).unwrap(), *proof);
        assert_eq!(text(&serde_json::from_str::<Proof>(&bytes).unwrap()), bytes);
    }
    assert_eq!(
        text(&by_key),
        "\"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBw\""
    );
    assert_eq!(
        text(&by_passkey),
        "{\"authenticator_data\":\"SZYN5YgOjGh0NBcPZHZgW4_krrmihjLHmVzzuoMdl2MFAAAAAw\",\
         \"client_data\":\"eyJ0eXBlIjoid2ViYXV0aG4uZ2V0IiwiY2hhbGxlbmdlIjoicTFNS0UtUlpGSmdyZWZtMzRfdXBsTV9SOF9zaTl4enFHdnZ3SzBZ\
         TWJSMCIsIm9yaWdpbiI6Imh0dHA6Ly9sb2NhbGhvc3Q6NzA3MCIsImNyb3NzT3JpZ2luIjpmYWxzZX0\",\
         \"credential\":\"CukONg4K3oTq-JN_7-cp0tgeIccH-AxVABSVQhw9rHg\",\
         \"signature\":\"dpeaW7yX8GILMicV6fpKzz4kZZEnFmca6__J5sCTOQ2g0B80Nb1KD1bgFwAy_koo3g33gyVic3c6m-2aupLTCw\"}"
    );
}

#[test]
fn t19_a_proof_in_another_spelling_is_refused() {
    let good = text(&Proof::from(asserted()));
    assert!(reads::<Proof>(&good));
    let value: Value = serde_json::from_str(&good).unwrap();
    let members = value.as_object().unwrap();
    let inner = &good[1..good.len() - 1];
    let mut bad = vec![("an unknown member".to_owned(), format!("{{{inner},\"zz\":1}}"))];
    for (name, value) in members {
        let member = format!("\"{name}\":{value}");
        assert!(good.contains(&member));
        bad.push((format!("{name} twice"), format!("{{{inner},{member}}}")));
        let mut without = members.clone();
        without.remove(name);
        bad.push((format!("no {name}"), json!(without).to_string()));
        let bytes = value.as_str().unwrap();
        for other in [
            Value::Null,
            json!(1),
            json!(""),
            json!(format!("{bytes}=")),
            json!(format!(" {bytes}")),
            json!("A"),
            json!("/+/+"),
        ] {
            bad.push((format!("{name} is {other}"), good.replace(&member, &format!("\"{name}\":{other}"))));
        }
    }
    for (what, other) in [
        ("null", "null".to_owned()),
        ("nothing", "{}".to_owned()),
        ("a list of proofs", format!("[{good}]")),
        ("a short signature", "\"BwcH\"".to_owned()),
        ("a variant's name", format!("{{\"Passkey\":{good}}}")),
    ] {
        bad.push((what.to_owned(), other));
    }
    for (what, text) in bad {
        assert_ne!(text, good, "{what}");
        assert!(!reads::<Proof>(&text), "{what} was read: {text}");
    }
    // A derived reader takes a list of the values as well; it is never the canonical form.
    let list = json!(members.values().collect::<Vec<_>>()).to_string();
    assert!(serde_json::from_str::<Proof>(&list).map_or(true, |proof| text(&proof) != list));
}

#[test]
fn t19_bytes_have_one_spelling_and_a_limit() {
    let read = |text: &str| serde_json::from_value::<Bytes>(text.into());
    assert_eq!(read("-_8").unwrap().as_slice(), [0xfb, 0xff]);
    for bad in ["", "-_8=", "-_9", "+/8", "-_8 ", "-", "-_8\n", "\u{430}AAA"] {
        assert!(read(bad).is_err(), "{bad:?}");
    }
    assert_eq!(read(&"A".repeat(5462)).unwrap().as_slice().len(), 4096);
    assert!(read(&"A".repeat(5463)).is_err());
    for len in [1, 16, 32, 1023] {
        let id = CredentialId::new(vec![9; len]).unwrap();
        assert_eq!(id.to_string().parse::<CredentialId>().unwrap(), id);
    }
    for len in [0, 1024] {
        let refusal = CredentialId::new(vec![9; len]);
        assert!(matches!(refusal, Err(PasskeyError::Malformed { .. })), "{len}");
    }
}

#[test]
fn credentials_have_two_spellings() {
    let (key, passkeys) = (public(&key(1)), vec![passkey("ada").passkey]);
    let alone = Credentials::from(key.clone());
    let both = Credentials { key: Some(key.clone()), passkeys: passkeys.clone() };
    let no_key = Credentials { key: None, passkeys };
    // As every registry and ledger had them before there were passkeys.
    assert_eq!(text(&alone), text(&key));
    assert!(text(&both).starts_with("{\"key\":\"") && text(&no_key).starts_with("{\"passkeys\":[{"));
    for credentials in [&alone, &both, &no_key, &Credentials::default()] {
        assert_eq!(serde_json::from_str::<Credentials>(&text(credentials)).unwrap(), *credentials);
    }
    let long = json!({"key": key, "passkeys": []}).to_string();
    assert_eq!(serde_json::from_str::<Credentials>(&long).unwrap(), alone);
    for bad in ["null", "7", "\"\"", "{\"zz\":1}", "{\"key\":1}", "{\"passkeys\":{}}", "{\"passkeys\":[1]}"] {
        assert!(!reads::<Credentials>(bad), "{bad}");
    }
    let twice = text(&both).replacen('{', &format!("{{\"key\":{},", text(&key)), 1);
    assert!(!reads::<Credentials>(&twice), "{twice}");
    let mut unknown = serde_json::to_value(&no_key).unwrap();
    unknown["passkeys"][0]["counter"] = 1.into();
    assert!(!reads::<Credentials>(&unknown.to_string()));
}

#[test]
fn inv05_a_proof_counts_for_its_credentials_alone() {
    use ed25519_dalek::Signer as _;
    let ada = Credentials { key: Some(public(&key(1))), passkeys: vec![passkey("ada").passkey] };
    let signature: Proof = Signature::from_bytes(key(1).sign(b"message").to_bytes()).into();
    let assertion: Proof = asserted().into();
    assert_eq!(ada.check(&signature, b"message"), Ok(Proven::Key));
    let proven = ada.check(&assertion, b"message").unwrap();
    assert_eq!(proven.strong().map(|asserted| asserted.counter()), Some(3));
    assert!(Proven::Key.strong().is_none(), "whoever copies a file can sign");
    assert_eq!(assertion.counter(), Some((&passkey("ada").passkey.id, 3)));
    assert_eq!(signature.counter(), None);

    assert_eq!(ada.check(&signature, b"other"), Err(SignatureError::Mismatch.into()));
    assert_eq!(ada.check(&assertion, b"other"), Err(PasskeyError::Challenge.into()));
    let none = Credentials::default();
    assert_eq!(none.check(&signature, b"message"), Err(ProofError::NoKey));
    assert_eq!(none.check(&assertion, b"message"), Err(ProofError::UnknownPasskey));
    let bob = Credentials { key: Some(public(&key(2))), passkeys: vec![passkey("bob").passkey] };
    assert_eq!(bob.check(&signature, b"message"), Err(SignatureError::Mismatch.into()));
    assert_eq!(bob.check(&assertion, b"message"), Err(ProofError::UnknownPasskey));
    // Of several, the one that the assertion names.
    let several = Credentials { key: None, passkeys: [bob.passkeys, ada.passkeys].concat() };
    assert!(several.check(&assertion, b"message").is_ok());
}

fn person(name: &str, passkeys: Vec<Passkey>) -> Person {
    Person { id: id(name), teams: BTreeSet::new(), administrator: false, approval_key: None, passkeys }
}

/// A passkey of a seed that an act enrolled.
fn enrolled(seed: u8, act: &str) -> Passkey {
    Authenticator::new([seed; 32], CONSOLE, id(act)).unwrap().passkey
}

fn registry(people: Vec<Person>) -> Result<Registry, Vec<RegistryError>> {
    Registry::new(vec![], people)
}

#[test]
fn inv05_t11_a_passkey_stands_once_in_a_registry() {
    let (one, two) = (enrolled(1, "act-1"), enrolled(2, "act-2"));
    let shared = |person: &str, passkey: &Passkey| {
        vec![RegistryError::SharedPasskey { person: id(person), passkey: passkey.id.clone() }]
    };
    assert!(registry(vec![person("ada", vec![one.clone()]), person("bob", vec![two.clone()])]).is_ok());
    let faults = registry(vec![person("ada", vec![one.clone()]), person("bob", vec![one.clone()])]);
    assert_eq!(faults, Err(shared("bob", &one)));
    let faults = registry(vec![person("ada", vec![one.clone(), two.clone(), one.clone()])]);
    assert_eq!(faults, Err(shared("ada", &one)));
    // One authenticator under two ids would be two people's.
    let renamed = Passkey { id: CredentialId::new(*b"another").unwrap(), ..one.clone() };
    let faults = registry(vec![person("ada", vec![one.clone()]), person("bob", vec![renamed.clone()])]);
    assert_eq!(faults, Err(shared("bob", &renamed)));
    // And one id with two keys: nobody could tell which it names.
    let rekeyed = Passkey { key: two.key.clone(), ..one.clone() };
    let faults = registry(vec![person("ada", vec![one]), person("bob", vec![rekeyed.clone()])]);
    assert_eq!(faults, Err(shared("bob", &rekeyed)));
}

#[test]
fn t11_a_passkey_in_a_registry_has_a_key_of_its_algorithm() {
    let with = |algorithm, key: Vec<u8>| {
        let passkey = Passkey { algorithm, key: Bytes::new(key), ..enrolled(1, "act-1") };
        registry(vec![person("ada", vec![passkey])]).map(drop)
    };
    let malformed = RegistryError::MalformedPasskey { person: id("ada"), passkey: enrolled(1, "act-1").id };
    let good = public(&key(1)).as_bytes().to_vec();
    assert_eq!(with(Algorithm::EdDSA, good.clone()), Ok(()));
    for (algorithm, key) in [
        (Algorithm::EdDSA, vec![]),
        (Algorithm::EdDSA, good[1..].to_vec()),
        (Algorithm::EdDSA, [good.clone(), vec![0]].concat()),
        // A point of small order: a signature of its fits every message.
        (Algorithm::EdDSA, vec![0; 32]),
        (Algorithm::ES256, good.clone()),
        (Algorithm::ES256, vec![4; 97]),
        (Algorithm::ES384, vec![4; 65]),
        (Algorithm::ES512, vec![4; 97]),
        (Algorithm::RS256, vec![0x30; 140]),
        (Algorithm::RS256, vec![0x30; 1101]),
    ] {
        let len = key.len();
        assert_eq!(with(algorithm, key), Err(vec![malformed.clone()]), "{algorithm:?} of {len} bytes");
    }
    assert!(PublicKey::from_bytes([0; 32]).is_err());
}

#[test]
fn a_person_has_so_many_passkeys() {
    let many = |count: u8| (0..count).map(|seed| enrolled(seed, "act-1")).collect::<Vec<_>>();
    let most = u8::try_from(MAX_PASSKEYS).unwrap();
    assert!(registry(vec![person("ada", many(most))]).is_ok());
    let faults = registry(vec![person("ada", many(most + 1))]);
    assert_eq!(faults, Err(vec![RegistryError::TooManyPasskeys(id("ada"))]));
}

/// Against the plain meaning of the words, for every way to spread two acts over three people.
#[test]
fn inv05_t11_two_people_with_passkeys_of_different_acts() {
    const HELD: [&[&str]; 4] = [&[], &["one"], &["two"], &["one", "two"]];
    for all in 0..HELD.len().pow(3) {
        let held: Vec<&[&str]> = (0..3).map(|at| HELD[all / HELD.len().pow(at) % HELD.len()]).collect();
        let people = held.iter().enumerate().map(|(at, acts)| {
            let seed = |act: usize| u8::try_from(10 * at + act).unwrap();
            let passkeys = acts.iter().enumerate().map(|(number, act)| enrolled(seed(number), act)).collect();
            person(["ada", "bob", "cyd"][at], passkeys)
        });
        let registry = registry(people.collect()).unwrap();
        let differ = |a: &[&str], b: &[&str]| a.iter().any(|one| b.iter().any(|two| one != two));
        let expected = differ(held[0], held[1]) || differ(held[0], held[2]) || differ(held[1], held[2]);
        assert_eq!(registry.has_two_with_passkeys(), expected, "{held:?}");
    }
    assert!(!registry(vec![]).unwrap().has_two_with_passkeys());
}
