//! Passkeys: the one check of what they sign, held to the test vectors of Web Authentication Level 3, and to each of them with
//! one thing changed.
//!
//! One file although it is long: the vectors, their mutants and the keys that stand beside them check one function.

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1,
        ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1, ECDSA_P521_SHA512_ASN1_SIGNING, ED25519,
        EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_2048_8192_SHA256,
        RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey, VerificationAlgorithm,
    },
};
use holdpoint_domain::{
    Digest,
    passkey::{
        Algorithm, Asserted, Assertion, Authenticator, Bytes, CredentialId, Passkey, PasskeyError, challenge,
        counter_follows,
    },
};

use super::support::{CONSOLE, base64url, id};

/// The specification's authentication ceremonies.
const VECTORS: &str = include_str!("../../testdata/webauthn.txt");
/// What each of them is to a console that wants its user verified and no frames.
const VERDICTS: [(&str, Expected); 14] = [
    ("none.ES256", Expected::NotVerified),
    ("packed-self.ES256", Expected::NotVerified),
    ("none.ES256.crossOrigin", Expected::CrossOrigin),
    ("none.ES256.topOrigin", Expected::CrossOrigin),
    ("none.ES256.long-credential-id", Expected::Holds),
    ("packed.ES256", Expected::Holds),
    ("packed.ES384", Expected::Holds),
    ("packed.ES512", Expected::NotVerified),
    ("packed.RS256", Expected::NotVerified),
    ("packed.EdDSA", Expected::NotVerified),
    ("tpm.ES256", Expected::Holds),
    ("android-key.ES256", Expected::NotVerified),
    ("apple.ES256", Expected::NotVerified),
    ("fido-u2f.ES256", Expected::NotVerified),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Holds,
    NotVerified,
    CrossOrigin,
}

/// What was signed, and what it is checked with.
#[derive(Clone)]
struct Vector {
    name: String,
    passkey: Passkey,
    challenge: Vec<u8>,
    assertion: Assertion,
}

impl Vector {
    fn check(&self) -> Result<Asserted, PasskeyError> {
        self.passkey.check_challenge(&self.assertion, &self.challenge)
    }
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn vectors() -> Vec<Vector> {
    let blocks = VECTORS.split("\n\n").filter(|block| !block.starts_with('#'));
    let read = |block: &str| {
        let lines: Vec<_> = block.lines().map(|line| line.split_once(' ').unwrap()).collect();
        let [(name, algorithm), rest @ ..] = &lines[..] else { panic!("{block}") };
        let field = |at: usize, wanted: &str| {
            assert_eq!(rest[at].0, wanted, "{block}");
            hex(rest[at].1)
        };
        let credential = CredentialId::new(field(0, "id")).unwrap();
        let passkey = Passkey {
            id: credential.clone(),
            algorithm: serde_json::from_value((*algorithm).into()).unwrap(),
            key: Bytes::new(field(1, "key")),
            rp_id: "example.org".to_owned(),
            origin: "https://example.org".to_owned(),
            act: id("act-1"),
            synced: false,
        };
        assert!(passkey.is_well_formed(), "{name}");
        let assertion = Assertion {
            credential,
            authenticator_data: Bytes::new(field(3, "authenticator_data")),
            client_data: Bytes::new(field(4, "client_data")),
            signature: Bytes::new(field(5, "signature")),
        };
        Vector { name: (*name).to_owned(), passkey, challenge: field(2, "challenge"), assertion }
    };
    blocks.map(read).collect()
}

fn verifier(algorithm: Algorithm) -> &'static dyn VerificationAlgorithm {
    match algorithm {
        Algorithm::ES256 => &ECDSA_P256_SHA256_ASN1,
        Algorithm::ES384 => &ECDSA_P384_SHA384_ASN1,
        Algorithm::ES512 => &ECDSA_P521_SHA512_ASN1,
        Algorithm::EdDSA => &ED25519,
        Algorithm::RS256 => &RSA_PKCS1_2048_8192_SHA256,
    }
}

/// The bytes that are signed (section 6.3.3).
fn signed_bytes(assertion: &Assertion) -> Vec<u8> {
    let client = Digest::of_bytes(assertion.client_data.as_slice());
    [assertion.authenticator_data.as_slice(), client.as_bytes()].concat()
}

#[test]
fn inv05_the_vectors_of_the_specification() {
    let vectors = vectors();
    let names: Vec<_> = vectors.iter().map(|vector| vector.name.as_str()).collect();
    assert_eq!(names, VERDICTS.map(|(name, _)| name));
    for (vector, (name, expected)) in vectors.iter().zip(VERDICTS) {
        let (passkey, assertion) = (&vector.passkey, &vector.assertion);
        match expected {
            Expected::Holds => {
                let asserted = vector.check().unwrap_or_else(|err| panic!("{name}: {err}"));
                assert_eq!((asserted.credential(), asserted.act()), (&passkey.id, &passkey.act));
                assert_eq!((asserted.counter(), assertion.counter()), (0, Some(0)));
            }
            Expected::NotVerified => assert_eq!(vector.check(), Err(PasskeyError::NotVerified), "{name}"),
            Expected::CrossOrigin => assert_eq!(vector.check(), Err(PasskeyError::CrossOrigin), "{name}"),
        }
        // Whatever we think of the ceremony: it is only that, and the signature holds.
        UnparsedPublicKey::new(verifier(passkey.algorithm), passkey.key.as_slice())
            .verify(&signed_bytes(assertion), assertion.signature.as_slice())
            .unwrap_or_else(|_| panic!("{name}: the signature"));
    }
}

/// A part of an assertion.
type Part = fn(&mut Vector) -> &mut Bytes;

/// What is signed with keys of our own, of every algorithm, beside the vectors: those whose user was verified are few.
fn samples() -> Vec<Vector> {
    let holds = |vector: &Vector| vector.check().is_ok();
    vectors().into_iter().filter(holds).chain(Key::all().iter().map(Key::vector)).collect()
}

#[test]
fn inv05_t11_every_changed_bit_of_an_assertion_is_refused() {
    for vector in samples() {
        let name = &vector.name;
        let parts: [(&str, Part); 3] = [
            ("authenticator data", |vector| &mut vector.assertion.authenticator_data),
            ("client data", |vector| &mut vector.assertion.client_data),
            ("signature", |vector| &mut vector.assertion.signature),
        ];
        for (part, of) in parts {
            let bytes = of(&mut vector.clone()).as_slice().to_vec();
            let refused = |changed: Vec<u8>, what: &str| {
                let mut mutant = vector.clone();
                *of(&mut mutant) = Bytes::new(changed);
                assert!(mutant.check().is_err(), "{name}: {part}: {what}");
            };
            for at in 0..bytes.len() {
                for bit in 0..8 {
                    let mut changed = bytes.clone();
                    changed[at] ^= 1 << bit;
                    refused(changed, &format!("bit {bit} of byte {at}"));
                }
                refused(bytes[..at].to_vec(), &format!("cut at {at}"));
            }
            for more in [0, 0xff] {
                refused([&bytes[..], &[more]].concat(), "a byte more");
                refused([&[more], &bytes[..]].concat(), "a byte in front");
            }
        }
    }
}

#[test]
fn inv05_t03_an_assertion_counts_for_its_passkey_its_site_and_its_challenge() {
    let samples = samples();
    for vector in &samples {
        let name = &vector.name;
        let refused = |change: fn(&mut Vector), expected: PasskeyError| {
            let mut mutant = vector.clone();
            change(&mut mutant);
            assert_eq!(mutant.check(), Err(expected), "{name}");
        };
        let other_id = || CredentialId::new(*b"another").unwrap();
        refused(|mutant| mutant.challenge[0] ^= 1, PasskeyError::Challenge);
        refused(|mutant| mutant.challenge.truncate(31), PasskeyError::Challenge);
        refused(|mutant| mutant.challenge.push(0), PasskeyError::Challenge);
        refused(|mutant| mutant.challenge.clear(), PasskeyError::Challenge);
        let mut mutant = vector.clone();
        mutant.assertion.credential = other_id();
        assert_eq!(mutant.check(), Err(PasskeyError::OtherCredential), "{name}");
        let mut mutant = vector.clone();
        mutant.passkey.id = other_id();
        assert_eq!(mutant.check(), Err(PasskeyError::OtherCredential), "{name}");
        for rp_id in ["www.example.org", "org", "example.org.", "EXAMPLE.org", ""] {
            let mut mutant = vector.clone();
            mutant.passkey.rp_id = rp_id.to_owned();
            assert_eq!(mutant.check(), Err(PasskeyError::RelyingParty(rp_id.to_owned())), "{name}");
        }
        let mut mutant = vector.clone();
        mutant.passkey.origin = "https://www.example.org".to_owned();
        assert!(matches!(mutant.check(), Err(PasskeyError::Origin { .. })), "{name}");
        // Its key under another algorithm, and every other key under its id.
        for algorithm in
            [Algorithm::ES256, Algorithm::ES384, Algorithm::ES512, Algorithm::EdDSA, Algorithm::RS256]
        {
            let mut mutant = vector.clone();
            mutant.passkey.algorithm = algorithm;
            assert_eq!(
                mutant.check().is_ok(),
                algorithm == vector.passkey.algorithm,
                "{name}: {algorithm:?}"
            );
        }
        for other in samples.iter().filter(|other| other.name != *name) {
            let mut mutant = vector.clone();
            (mutant.passkey.key, mutant.passkey.algorithm) =
                (other.passkey.key.clone(), other.passkey.algorithm);
            assert_eq!(mutant.check(), Err(PasskeyError::Signature), "{name} with the key of {}", other.name);
            let mut mutant = vector.clone();
            mutant.assertion.signature = other.assertion.signature.clone();
            assert_eq!(mutant.check(), Err(PasskeyError::Signature), "{name} signed as {}", other.name);
        }
    }
}

/// ECDSA has two signatures for each, and authenticators make both: the first vector of the specification has the one that some
/// others refuse. Both say the same of the same bytes, and nobody counts twice.
#[test]
fn a_signature_is_der_and_its_twin_says_the_same() {
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
        0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let vector = vectors().into_iter().find(|vector| vector.name == "packed.ES256").unwrap();
    let signature = vector.assertion.signature.as_slice();
    let r_len = usize::from(signature[3]);
    let (r, s) = (&signature[4..4 + r_len], &signature[6 + r_len..]);
    let mut value = [0_u8; 32];
    let digits: Vec<u8> = s.iter().copied().skip_while(|byte| *byte == 0).collect();
    value[32 - digits.len()..].copy_from_slice(&digits);
    let mut twin = [0_u8; 32];
    let mut borrow = 0_i16;
    for at in (0..32).rev() {
        let digit = i16::from(ORDER[at]) - i16::from(value[at]) - borrow;
        borrow = i16::from(digit < 0);
        twin[at] = u8::try_from(digit.rem_euclid(256)).unwrap();
    }
    let integer = |digits: &[u8]| {
        let digits: Vec<u8> = digits.iter().copied().skip_while(|byte| *byte == 0).collect();
        let sign = if digits[0] >= 0x80 { vec![0] } else { vec![] };
        [vec![2, u8::try_from(sign.len() + digits.len()).unwrap()], sign, digits].concat()
    };
    let sequence = |inner: Vec<u8>| [vec![0x30, u8::try_from(inner.len()).unwrap()], inner].concat();
    let check = |signature: Vec<u8>| {
        let mut other = vector.clone();
        other.assertion.signature = Bytes::new(signature);
        other.check().map(drop)
    };
    assert_eq!(sequence([integer(r), integer(s)].concat()), signature);
    assert_eq!(check(sequence([integer(r), integer(&twin)].concat())), Ok(()));
    let zero = vec![2, 1, 0];
    let long = [vec![0x30, 0x81, signature[1]], signature[2..].to_vec()].concat();
    let mut padded = vec![2, u8::try_from(r_len + 1).unwrap(), 0];
    padded.extend(r);
    for (what, signature) in [
        ("numbers in plain", [&[0; 32][..], &value].concat()),
        ("a long length", long),
        ("a zero in front", sequence([padded, integer(s)].concat())),
        ("nothing", vec![]),
        ("r is zero", sequence([zero.clone(), integer(s)].concat())),
        ("s is zero", sequence([integer(r), zero.clone()].concat())),
        ("both are zero", sequence([zero.clone(), zero].concat())),
        ("the order", sequence([integer(r), integer(&ORDER)].concat())),
    ] {
        assert_eq!(check(signature), Err(PasskeyError::Signature), "{what}");
    }
}

/// A key of one of the algorithms.
enum Key {
    Ecdsa(Algorithm, EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl Key {
    fn all() -> Vec<Self> {
        let ecdsa = |algorithm, signing: &'static EcdsaSigningAlgorithm| {
            Self::Ecdsa(algorithm, EcdsaKeyPair::generate(signing).unwrap())
        };
        vec![
            ecdsa(Algorithm::ES256, &ECDSA_P256_SHA256_ASN1_SIGNING),
            ecdsa(Algorithm::ES384, &ECDSA_P384_SHA384_ASN1_SIGNING),
            ecdsa(Algorithm::ES512, &ECDSA_P521_SHA512_ASN1_SIGNING),
            Self::Ed25519(Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap()),
            Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()),
        ]
    }

    fn public(&self) -> (Algorithm, Vec<u8>) {
        match self {
            Self::Ecdsa(algorithm, key) => (*algorithm, key.public_key().as_ref().to_vec()),
            Self::Ed25519(key) => (Algorithm::EdDSA, key.public_key().as_ref().to_vec()),
            Self::Rsa(key) => (Algorithm::RS256, key.public_key().as_ref().to_vec()),
        }
    }

    fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Ecdsa(_, key) => key.sign(&SystemRandom::new(), bytes).unwrap().as_ref().to_vec(),
            Self::Ed25519(key) => key.sign(bytes).as_ref().to_vec(),
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), bytes, &mut signature).unwrap();
                signature
            }
        }
    }

    /// What a browser makes of a challenge.
    fn vector(&self) -> Vector {
        let challenge = vec![0x5a; 32];
        let client = client_data(&challenge, "https://example.org");
        let data = data("example.org", 0x05, &[]);
        self.signs(&challenge, client.as_bytes(), &data)
    }

    fn signs(&self, challenge: &[u8], client_data: &[u8], data: &[u8]) -> Vector {
        let (algorithm, key) = self.public();
        let credential = CredentialId::new(*b"own").unwrap();
        let mut assertion = Assertion {
            credential: credential.clone(),
            authenticator_data: Bytes::new(data),
            client_data: Bytes::new(client_data),
            signature: Bytes::new(Vec::new()),
        };
        assertion.signature = Bytes::new(self.sign(&signed_bytes(&assertion)));
        let passkey = Passkey {
            id: credential,
            algorithm,
            key: Bytes::new(key),
            rp_id: "example.org".to_owned(),
            origin: "https://example.org".to_owned(),
            act: id("act-1"),
            synced: false,
        };
        assert!(passkey.is_well_formed());
        Vector { name: format!("own {algorithm:?}"), passkey, challenge: challenge.to_vec(), assertion }
    }
}

fn client_data(challenge: &[u8], origin: &str) -> String {
    let challenge = base64url(challenge);
    format!(r#"{{"type":"webauthn.get","challenge":"{challenge}","origin":"{origin}","crossOrigin":false}}"#)
}

/// Authenticator data with these flags, a counter of 5, and what comes after it.
fn data(rp_id: &str, flags: u8, after: &[u8]) -> Vec<u8> {
    let hash = Digest::of_bytes(rp_id.as_bytes());
    [hash.as_bytes(), &[flags][..], &5_u32.to_be_bytes(), after].concat()
}

/// All of it is signed by the right passkey: only what the browser says of its page is at fault.
#[test]
fn inv05_t11_what_the_client_data_says_is_checked() {
    let key = Key::Ed25519(Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap());
    // Its challenge has letters in which the two alphabets of base64 differ.
    let challenge = [0xfb_u8; 32];
    let good = client_data(&challenge, "https://example.org");
    let check =
        |client: &[u8]| key.signs(&challenge, client, &data("example.org", 0x05, &[])).check().map(drop);
    let text = base64url(&challenge);
    let (kind, signed) = (r#""type":"webauthn.get""#, format!(r#""challenge":"{text}""#));
    let (origin, cross) = (r#""origin":"https://example.org""#, r#""crossOrigin":false"#);
    let with = |from: &str, to: &str| {
        let changed = good.replace(from, to);
        assert_ne!(changed, good, "{from}");
        changed
    };

    assert_eq!(check(good.as_bytes()), Ok(()));
    for (what, fine) in [
        (
            "more members",
            with(cross, r#""crossOrigin":false,"extraData":"of browsers to come","deep":{"a":[1]}"#),
        ),
        ("no crossOrigin", with(&format!(",{cross}"), "")),
        ("another order", format!("{{{cross},{origin},{signed},{kind}}}")),
        ("space", with(",", " ,\n ")),
        ("an escape", with("webauthn.get", r"webauthn\u002eget")),
    ] {
        assert_eq!(check(fine.as_bytes()), Ok(()), "{what}");
    }

    for other in
        ["webauthn.create", "payment.get", "Webauthn.get", "webauthn.get ", "webauthn.get\\u0000", ""]
    {
        let refusal = check(with("webauthn.get", other).as_bytes());
        assert!(matches!(refusal, Err(PasskeyError::Ceremony { .. })), "type {other}: {refusal:?}");
    }
    let of_other = base64url(&[0xfa; 32]);
    for (what, other) in [
        ("of another statement", of_other.clone()),
        ("padded", format!("{text}=")),
        ("in the other alphabet", text.replace('-', "+").replace('_', "/")),
        ("with unused bits", format!("{}9", &text[..42])),
        ("cut", text[..40].to_owned()),
        ("longer", format!("{text}AAAA")),
        ("with space", format!(" {text}")),
        ("in hexadecimal", "fb".repeat(32)),
        ("empty", String::new()),
    ] {
        assert_ne!(other, text, "{what}");
        let refusal = check(with(&text, &other).as_bytes());
        assert_eq!(refusal, Err(PasskeyError::Challenge), "a challenge {what}");
    }
    for other in [
        "https://www.example.org",
        "https://evil.example.org",
        "https://example.org.evil",
        "https://example.organic",
        "https://xample.org",
        "https://example.com",
        "http://example.org",
        "https://example.org:443",
        "https://example.org:8443",
        "https://EXAMPLE.org",
        "HTTPS://example.org",
        "https://example.org/",
        "https://example.org/console",
        "https://example.org#",
        "https://example.org?",
        "https://user@example.org",
        "https://example.org.",
        "https://ex\u{430}mple.org",
        "https://example.org\u{200b}",
        " https://example.org",
        "example.org",
        "android:apk-key-hash:abc",
        "null",
        "",
    ] {
        let refusal = check(with("https://example.org", other).as_bytes());
        assert!(matches!(refusal, Err(PasskeyError::Origin { .. })), "origin {other}: {refusal:?}");
    }
    for (what, framed) in [
        ("crossOrigin", with("false", "true")),
        ("topOrigin of another site", with(cross, r#""crossOrigin":true,"topOrigin":"https://example.com""#)),
        ("topOrigin alone", with(cross, r#""topOrigin":"https://example.com""#)),
        (
            "topOrigin of the site itself",
            with(cross, r#""crossOrigin":false,"topOrigin":"https://example.org""#),
        ),
    ] {
        assert_eq!(check(framed.as_bytes()), Err(PasskeyError::CrossOrigin), "{what}");
    }

    // Each member twice, missing, and of another kind.
    let mut malformed: Vec<(String, Vec<u8>)> = Vec::new();
    for (name, member) in [("type", kind), ("challenge", &signed), ("origin", origin), ("crossOrigin", cross)]
    {
        malformed.push((format!("{name} twice"), with(member, &format!("{member},{member}")).into()));
        let (first, rest) = name.split_at(name.len() - 1);
        let hidden = format!("\"{first}\\u{:04x}\"", u32::from(rest.as_bytes()[0]));
        let hidden = member.replacen(&format!("\"{name}\""), &hidden, 1);
        malformed.push((
            format!("{name} twice, once escaped"),
            with(member, &format!("{hidden},{member}")).into(),
        ));
        for value in ["1", "[]", "{}", "[\"webauthn.get\"]"] {
            malformed
                .push((format!("{name} is {value}"), with(member, &format!("\"{name}\":{value}")).into()));
        }
        if name != "crossOrigin" {
            let none = if name == "type" {
                with(&format!("{member},"), "")
            } else {
                with(&format!(",{member}"), "")
            };
            malformed.push((format!("no {name}"), none.into()));
            malformed.push((format!("{name} is null"), with(member, &format!("\"{name}\":null")).into()));
        }
    }
    malformed.extend(
        [
            ("crossOrigin is a word", with("false", "\"false\"")),
            ("a topOrigin that is a number", with("false", "false,\"topOrigin\":1")),
            (
                "a list of the values",
                format!(r#"["webauthn.get","{text}","https://example.org",false,null]"#),
            ),
            ("something in front", format!(" {good}")),
            ("a byte order mark", format!("\u{feff}{good}")),
            ("something behind", format!("{good}x")),
            ("two of them", format!("{good}{good}")),
            ("cut", good[..good.len() - 1].to_owned()),
            ("a comma behind", with("}", ",}")),
            ("single quotes", good.replace('"', "'")),
            ("null", "null".to_owned()),
            ("an empty object", "{}".to_owned()),
            ("nothing", String::new()),
            ("a deep value", with("false", &format!("false,\"a\":{}", "[".repeat(500)))),
        ]
        .map(|(what, text)| (what.to_owned(), text.into_bytes())),
    );
    malformed.push(("no UTF-8".to_owned(), good.replace("crossOrigin", "\u{1}").into_bytes()));
    malformed.push(("half a letter".to_owned(), [good.as_bytes(), &[0xc3]].concat()));
    for (what, client) in malformed {
        let refusal = check(&client);
        assert!(matches!(refusal, Err(PasskeyError::ClientData(_))), "{what}: {refusal:?}");
    }
}

/// All of it is signed by the right passkey: only what the authenticator says is at fault.
#[test]
fn inv05_t11_what_the_authenticator_says_is_checked() {
    let key = Key::Ed25519(Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap());
    let challenge = [0x5a_u8; 32];
    let client = client_data(&challenge, "https://example.org");
    let check = |data: &[u8]| {
        key.signs(&challenge, client.as_bytes(), data).check().map(|asserted| asserted.counter())
    };
    let of = |flags, after: &[u8]| check(&data("example.org", flags, after));
    let good = data("example.org", 0x05, &[]);

    assert_eq!(check(&good), Ok(5));
    // Present and verified; may be backed up; is backed up; bits that mean nothing yet; extensions.
    for (flags, after) in
        [(0x0d, &[][..]), (0x1d, &[]), (0x05 | 0x22, &[]), (0x85, &[0xa0]), (0x9d, &[0xa1, 0x60, 0xf5])]
    {
        assert_eq!(of(flags, after), Ok(5), "{flags:#04x}");
    }
    assert_eq!(of(0x00, &[]), Err(PasskeyError::NotPresent));
    assert_eq!(of(0x04, &[]), Err(PasskeyError::NotPresent));
    assert_eq!(of(0x1c, &[]), Err(PasskeyError::NotPresent));
    for not_verified in [0x01, 0x09, 0x19, 0x23] {
        assert_eq!(of(not_verified, &[]), Err(PasskeyError::NotVerified), "{not_verified:#04x}");
    }
    for rp_id in ["www.example.org", "org", "https://example.org", "Example.org", ""] {
        let refusal = PasskeyError::RelyingParty("example.org".to_owned());
        assert_eq!(check(&data(rp_id, 0x05, &[])), Err(refusal), "{rp_id}");
    }
    let malformed = |bytes: &[u8], what: &str| {
        let refusal = check(bytes);
        assert!(matches!(refusal, Err(PasskeyError::AuthenticatorData(_))), "{what}: {refusal:?}");
    };
    for len in 0..good.len() {
        malformed(&good[..len], &format!("cut at {len}"));
    }
    // A credential that it brings along belongs to a registration.
    malformed(&data("example.org", 0x45, &[]), "a credential that is not there");
    malformed(&data("example.org", 0x45, &[0; 55]), "a credential");
    malformed(&data("example.org", 0x15, &[]), "backed up, and must not be");
    malformed(&data("example.org", 0x85, &[]), "extensions that are not there");
    malformed(&data("example.org", 0x05, &[0]), "a byte more");
    malformed(&data("example.org", 0x05, &[0xa0]), "extensions that nobody announced");
    let zero: Vec<u8> = [&good[..33], &[0; 4]].concat();
    assert_eq!(check(&zero), Ok(0));
    let most: Vec<u8> = [&good[..33], &[0xff; 4]].concat();
    assert_eq!(check(&most), Ok(u32::MAX));
}

/// The authenticator in software is one that a browser could be in front of, and says what it is told.
#[test]
fn a_software_passkey_signs_as_a_browser_does() {
    let mut ada = Authenticator::new([1; 32], CONSOLE, id("act-ada")).unwrap();
    assert_eq!((ada.passkey.rp_id.as_str(), ada.passkey.origin.as_str()), ("localhost", CONSOLE));
    assert!(ada.passkey.is_well_formed());
    let message = b"what is signed";
    assert_eq!(ada.passkey.check(&ada.sign(message, 7), message).unwrap().counter(), 7);
    assert_eq!(ada.passkey.check(&ada.sign(message, 0), b"else"), Err(PasskeyError::Challenge));
    let given = challenge(message);
    assert!(ada.passkey.check_challenge(&ada.sign(message, 0), given.as_bytes()).is_ok());
    for (flags, refusal) in [(0x01, PasskeyError::NotVerified), (0x04, PasskeyError::NotPresent)] {
        ada.flags = flags;
        assert_eq!(ada.passkey.check(&ada.sign(message, 0), message), Err(refusal));
    }
    let elsewhere = Authenticator::new([1; 32], "https://console.example", id("act-ada")).unwrap();
    assert_eq!(elsewhere.passkey.rp_id, "console.example");
    assert_eq!(elsewhere.passkey.id, ada.passkey.id, "the same key");
    let refusal = ada.passkey.check(&elsewhere.sign(message, 0), message);
    assert!(matches!(refusal, Err(PasskeyError::Origin { .. })), "{refusal:?}");
}

#[test]
fn t11_a_counter_grows_or_is_none() {
    for (last, counter, follows) in [
        (0, 0, true),
        (0, 1, true),
        (0, u32::MAX, true),
        (1, 2, true),
        (1, 1, false),
        (2, 1, false),
        (1, 0, false),
        (u32::MAX, u32::MAX, false),
        (u32::MAX, 0, false),
    ] {
        assert_eq!(counter_follows(last, counter), follows, "{last} then {counter}");
    }
    let mut assertion = Authenticator::new([1; 32], CONSOLE, id("act-ada")).unwrap().sign(b"x", 9);
    assert_eq!(assertion.counter(), Some(9));
    assertion.authenticator_data = Bytes::new(*b"short");
    assert_eq!(assertion.counter(), None);
}
