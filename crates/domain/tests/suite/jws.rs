//! The compact form of a permit: one spelling, one algorithm, one type, one key.

use ed25519_dalek::{Signer as _, SigningKey};
use holdpoint_domain::{
    Rung,
    approval::SignedStatement,
    digest::canonical,
    permit::{Grant, MAX_PERMIT_LEN, MAX_RETIRED, PERMIT_TYP, Permit, PermitError, PermitKeys, RetiredKey},
};

use super::{
    approvals::changed,
    support::{base64url, gate, grant, jws, key, public},
};

const HEADER: &str = r#"{"alg":"EdDSA","kid":"permits-1","typ":"holdpoint-permit+jwt"}"#;

fn held() -> Grant {
    grant(Rung::T3, &["ada"]).unwrap()
}

fn open(jws: &str) -> Result<Permit, PermitError> {
    Permit::open(jws, &public(&gate()))
}

/// A compact JWS of any header and payload, signed correctly with `key`.
fn sign(header: &str, payload: &[u8], key: &SigningKey) -> String {
    let input = format!("{}.{}", base64url(header.as_bytes()), base64url(payload));
    format!("{input}.{}", base64url(&key.sign(input.as_bytes()).to_bytes()))
}

fn payload() -> Vec<u8> {
    canonical(&held()).unwrap()
}

#[test]
fn a_permit_opens_to_what_was_granted() {
    let text = jws(&held(), &gate());
    assert_eq!(text, sign(HEADER, &payload(), &gate()), "the header is canonical");
    let permit = open(&text).unwrap();
    assert_eq!((permit.grant(), permit.jws()), (&held(), text.as_str()));
    assert_eq!(PERMIT_TYP, "holdpoint-permit+jwt");
}

#[test]
fn inv06_t19_every_field_of_a_grant_is_under_the_signature() {
    let text = jws(&held(), &gate());
    let (header, rest) = text.split_once('.').unwrap();
    let (_, signature) = rest.split_once('.').unwrap();
    let changed = changed(&held(), &["/approvals/0/statement/type"]);
    let fields: std::collections::BTreeSet<_> =
        changed.iter().map(|(path, _)| path.split('/').nth(1).unwrap().to_owned()).collect();
    assert_eq!(fields.len(), 17, "{fields:?}");
    for (path, other) in changed {
        let other = canonical(&other).unwrap();
        let forged = format!("{header}.{}.{signature}", base64url(&other));
        assert_eq!(open(&forged), Err(PermitError::Signature), "{path}");
        for thief in [key(1), key(99)] {
            assert_eq!(open(&sign(HEADER, &other, &thief)), Err(PermitError::Signature), "{path}");
        }
    }
}

#[test]
fn t19_no_byte_of_a_permit_can_be_changed() {
    let text = jws(&held(), &gate());
    for place in 0..text.len() {
        let other = if &text[place..=place] == "A" { "B" } else { "A" };
        for other in [other, "."] {
            let forged = format!("{}{other}{}", &text[..place], &text[place + 1..]);
            assert!(forged == text || open(&forged).is_err(), "byte {place} became `{other}`");
        }
        let shorter = format!("{}{}", &text[..place], &text[place + 1..]);
        assert!(open(&shorter).is_err(), "byte {place} was left out");
    }
}

/// All of them are signed with the gate's own key: only the header is at fault.
#[test]
fn t19_headers_that_are_not_ours() {
    let refused = [
        ("alg none", r#"{"alg":"none","kid":"permits-1","typ":"holdpoint-permit+jwt"}"#),
        ("alg HS256", r#"{"alg":"HS256","kid":"permits-1","typ":"holdpoint-permit+jwt"}"#),
        ("alg ES256", r#"{"alg":"ES256","kid":"permits-1","typ":"holdpoint-permit+jwt"}"#),
        ("alg RS256", r#"{"alg":"RS256","kid":"permits-1","typ":"holdpoint-permit+jwt"}"#),
        ("alg Ed25519", r#"{"alg":"Ed25519","kid":"permits-1","typ":"holdpoint-permit+jwt"}"#),
        ("alg in lower case", r#"{"alg":"eddsa","kid":"permits-1","typ":"holdpoint-permit+jwt"}"#),
        ("alg with a space", r#"{"alg":"EdDSA ","kid":"permits-1","typ":"holdpoint-permit+jwt"}"#),
        ("alg as a list", r#"{"alg":["EdDSA"],"kid":"permits-1","typ":"holdpoint-permit+jwt"}"#),
        ("alg null", r#"{"alg":null,"kid":"permits-1","typ":"holdpoint-permit+jwt"}"#),
        ("no alg", r#"{"kid":"permits-1","typ":"holdpoint-permit+jwt"}"#),
        ("alg twice", r#"{"alg":"none","alg":"EdDSA","kid":"permits-1","typ":"holdpoint-permit+jwt"}"#),
        (
            "alg twice alike",
            r#"{"alg":"EdDSA","alg":"EdDSA","kid":"permits-1","typ":"holdpoint-permit+jwt"}"#,
        ),
        ("typ JWT", r#"{"alg":"EdDSA","kid":"permits-1","typ":"JWT"}"#),
        ("typ at+jwt", r#"{"alg":"EdDSA","kid":"permits-1","typ":"at+jwt"}"#),
        ("typ in upper case", r#"{"alg":"EdDSA","kid":"permits-1","typ":"HOLDPOINT-PERMIT+JWT"}"#),
        (
            "typ as a media type",
            r#"{"alg":"EdDSA","kid":"permits-1","typ":"application/holdpoint-permit+jwt"}"#,
        ),
        ("no typ", r#"{"alg":"EdDSA","kid":"permits-1"}"#),
        ("typ twice", r#"{"alg":"EdDSA","kid":"permits-1","typ":"JWT","typ":"holdpoint-permit+jwt"}"#),
        ("crit", r#"{"alg":"EdDSA","crit":["b64"],"kid":"permits-1","typ":"holdpoint-permit+jwt"}"#),
        ("b64", r#"{"alg":"EdDSA","b64":false,"kid":"permits-1","typ":"holdpoint-permit+jwt"}"#),
        ("jwk", r#"{"alg":"EdDSA","jwk":{},"kid":"permits-1","typ":"holdpoint-permit+jwt"}"#),
        ("jku", r#"{"alg":"EdDSA","jku":"https://x","kid":"permits-1","typ":"holdpoint-permit+jwt"}"#),
        ("x5c", r#"{"alg":"EdDSA","kid":"permits-1","typ":"holdpoint-permit+jwt","x5c":[]}"#),
        ("cty", r#"{"alg":"EdDSA","cty":"JWT","kid":"permits-1","typ":"holdpoint-permit+jwt"}"#),
        ("no kid", r#"{"alg":"EdDSA","typ":"holdpoint-permit+jwt"}"#),
        ("kid twice", r#"{"alg":"EdDSA","kid":"a","kid":"b","typ":"holdpoint-permit+jwt"}"#),
        ("kid as a number", r#"{"alg":"EdDSA","kid":1,"typ":"holdpoint-permit+jwt"}"#),
        ("kid as a list", r#"{"alg":"EdDSA","kid":["permits-1"],"typ":"holdpoint-permit+jwt"}"#),
        ("kid null", r#"{"alg":"EdDSA","kid":null,"typ":"holdpoint-permit+jwt"}"#),
        ("two values", r#"{"alg":"EdDSA","kid":"permits-1","typ":"holdpoint-permit+jwt"}{}"#),
        ("an array", r#"["EdDSA","permits-1","holdpoint-permit+jwt","x"]"#),
        ("nothing", ""),
        ("not JSON", "alg=EdDSA"),
    ];
    for (name, header) in refused {
        assert_eq!(open(&sign(header, &payload(), &gate())), Err(PermitError::Malformed), "{name}");
    }
    assert!(open(&sign(HEADER, &payload(), &gate())).is_ok());
}

/// There is one permit key. A key id is for people: it neither finds a key nor a file nor a row.
#[test]
fn t19_a_key_id_selects_nothing() {
    for kid in ["", "../../etc/passwd", "' or 1=1 --", "permits-2", "http://x/key", "\\u0000"] {
        let header = HEADER.replace("permits-1", kid);
        assert_eq!(open(&sign(&header, &payload(), &gate())).unwrap().grant(), &held(), "{kid}");
        assert_eq!(open(&sign(&header, &payload(), &key(1))), Err(PermitError::Signature), "{kid}");
    }
}

/// All of them are signed with the gate's own key: only the payload is at fault.
#[test]
fn t19_payloads_in_another_spelling_or_shape() {
    let good = String::from_utf8(payload()).unwrap();
    assert!(good.contains(r#""epoch":7"#) && good.starts_with(r#"{"approvals":["#), "{good}");
    let mut reordered = good.clone();
    reordered.truncate(good.len() - 1);
    let reordered = format!("{},\"approvals\":{}", "{\"zz\":0", &reordered[13..]);
    let cases = [
        ("a space", good.replace(r#""epoch":7"#, r#""epoch": 7"#)),
        ("a line end", format!("{good}\n")),
        ("a byte order mark", format!("\u{feff}{good}")),
        ("a number in another form", good.replace(r#""epoch":7"#, r#""epoch":7.0"#)),
        ("a number with an exponent", good.replace(r#""epoch":7"#, r#""epoch":7e0"#)),
        ("a number as a text", good.replace(r#""epoch":7"#, r#""epoch":"7""#)),
        ("an escape", good.replace(r#""epoch""#, r#""epoc\u0068""#)),
        ("a key twice", good.replace(r#""epoch":7"#, r#""epoch":6,"epoch":7"#)),
        ("a key twice, alike", good.replace(r#""epoch":7"#, r#""epoch":7,"epoch":7"#)),
        ("a key twice, inside", good.replace(r#""tier":"T3""#, r#""tier":"T4","tier":"T3""#)),
        ("an unknown key", good.replace(r#""epoch":7"#, r#""epoch":7,"extra":1"#)),
        ("a missing key", good.replace(r#""epoch":7,"#, "")),
        ("a missing option", good.replace("\"terms\":{", "\"zterms\":{")),
        ("keys in another order", reordered),
        ("a negative epoch", good.replace(r#""epoch":7"#, r#""epoch":-7"#)),
        ("an epoch beyond what JSON carries", good.replace(r#""epoch":7"#, r#""epoch":9007199254740993"#)),
        ("two values", format!("{good}{good}")),
        ("an array", format!("[{good}]")),
        ("null", "null".to_owned()),
        ("nothing", String::new()),
    ];
    for (name, payload) in cases {
        assert_ne!(payload, good, "{name}");
        let opened = open(&sign(HEADER, payload.as_bytes(), &gate()));
        assert_eq!(opened, Err(PermitError::Malformed), "{name}");
    }
    let mut bytes = payload();
    bytes[20] = 0xff;
    assert_eq!(open(&sign(HEADER, &bytes, &gate())), Err(PermitError::Malformed), "not UTF-8");
}

#[test]
fn t19_shapes_that_are_no_compact_jws() {
    let text = jws(&held(), &gate());
    let parts: Vec<_> = text.split('.').collect();
    let (header, payload, signature) = (parts[0], parts[1], parts[2]);
    let none = base64url(HEADER.replace("EdDSA", "none").as_bytes());
    let cases = [
        ("nothing", String::new()),
        ("dots", "..".to_owned()),
        ("a trailing dot", format!("{text}.")),
        ("a leading dot", format!(".{text}")),
        ("a fourth part", format!("{text}.x")),
        ("two parts", format!("{header}.{payload}")),
        ("no signature", format!("{header}.{payload}.")),
        ("alg none and no signature", format!("{none}.{payload}.")),
        ("no payload", format!("{header}..{signature}")),
        ("no header", format!(".{payload}.{signature}")),
        ("a line end", format!("{text}\n")),
        ("a space", format!(" {text}")),
        ("padding after the signature", format!("{text}==")),
        ("padding after the payload", format!("{header}.{payload}=.{signature}")),
        ("parts in another order", format!("{payload}.{header}.{signature}")),
        ("a shorter signature", text[..text.len() - 2].to_owned()),
        ("JSON serialisation", format!("{{\"payload\":\"{payload}\",\"signature\":\"{signature}\"}}")),
        ("32 bytes as of HMAC-SHA256", format!("{header}.{payload}.{}", base64url(&[7; 32]))),
        ("bits that no byte needs", odd_bits(&text)),
    ];
    for (name, forged) in cases {
        assert!(
            matches!(open(&forged), Err(PermitError::Malformed | PermitError::Signature)),
            "{name} was opened"
        );
    }
    let standard = text.replace('-', "+").replace('_', "/");
    assert!(standard == text || open(&standard).is_err(), "the standard alphabet");
}

/// The same signature with the two unused bits of its last character set: another spelling of the same bytes.
fn odd_bits(text: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = text.as_bytes()[text.len() - 1];
    let value = ALPHABET.iter().position(|c| *c == last).unwrap();
    assert_eq!(value % 16, 0, "64 bytes leave 4 bits unused");
    format!("{}{}", &text[..text.len() - 1], char::from(ALPHABET[value + 1]))
}

#[test]
fn t19_a_signature_belongs_to_one_permit() {
    let (one, mut other) = (held(), held());
    other.epoch += 1;
    let (one, other) = (jws(&one, &gate()), jws(&other, &gate()));
    let signature = |text: &str| text.rsplit_once('.').unwrap().1.to_owned();
    let swapped = format!("{}.{}", one.rsplit_once('.').unwrap().0, signature(&other));
    assert_eq!(open(&swapped), Err(PermitError::Signature));
    assert!(open(&one).is_ok() && open(&other).is_ok());
    // An approver's signature, even one over the same bytes, is none of the gate's.
    assert_eq!(open(&jws(&held(), &key(1))), Err(PermitError::Signature));
}

/// RFC 8032 section 5.1.7: the scalar is below the group's order, else every signature has a second spelling.
#[test]
fn t19_a_signature_has_one_spelling() {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let text = jws(&held(), &gate());
    let input = text.rsplit_once('.').unwrap().0;
    let mut bytes = gate().sign(input.as_bytes()).to_bytes();
    let mut carry = 0;
    for (byte, add) in bytes[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        (*byte, carry) = ((sum & 0xff) as u8, sum >> 8);
    }
    assert_eq!(carry, 0);
    assert_eq!(open(&format!("{input}.{}", base64url(&bytes))), Err(PermitError::Signature));
}

#[test]
fn t30_a_permit_has_a_largest_size() {
    let mut large = held();
    let one: SignedStatement = large.approvals[0].clone();
    let size = |grant: &Grant| jws(grant, &gate()).len();
    while size(&large) <= MAX_PERMIT_LEN {
        large.approvals.push(one.clone());
    }
    assert_eq!(open(&jws(&large, &gate())), Err(PermitError::Malformed));
    large.approvals.pop();
    assert!(size(&large) <= MAX_PERMIT_LEN && open(&jws(&large, &gate())).is_ok());
    // Depth and length do not bring it down either.
    for body in ["[".repeat(100_000), "{\"a\":".repeat(100_000), ".".repeat(1_000_000)] {
        assert!(open(&body).is_err());
        assert_eq!(open(&sign(HEADER, body.as_bytes(), &gate())), Err(PermitError::Malformed));
    }
}

#[test]
fn t26_a_retired_key_opens_what_it_signed_in_its_time() {
    let (old, new) = (key(7), key(8));
    let permit = super::support::jws(&held(), &old);
    let granted = held().granted_at_ms;
    let keys = |granted_before_ms| {
        PermitKeys::new(public(&new), vec![RetiredKey { key: public(&old), granted_before_ms }])
    };
    assert_eq!(PermitKeys::from(public(&new)).open(&permit), Err(PermitError::Signature));
    let after = granted.plus(super::support::ms(1)).unwrap();
    assert_eq!(keys(after).open(&permit).map(|permit| permit.grant().clone()), Ok(held()));
    assert_eq!(keys(granted).open(&permit), Err(PermitError::Retired), "granted at the end of its time");
    assert!(keys(granted).open(&super::support::jws(&held(), &new)).is_ok(), "the current key has no end");
    assert_eq!(keys(after).open(&super::support::jws(&held(), &key(9))), Err(PermitError::Signature));
    let many = vec![RetiredKey { key: public(&key(9)), granted_before_ms: after }; MAX_RETIRED];
    let one_more =
        many.into_iter().chain([RetiredKey { key: public(&old), granted_before_ms: after }]).collect();
    assert_eq!(PermitKeys::new(public(&new), one_more).open(&permit), Err(PermitError::Signature));
}
