//! Words and bytes as people, logs and other programs see them, as tables.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use ed25519_dalek::Signer as _;
use holdpoint_domain::{
    Digest, Id, Tier,
    action::{Effect, State, deletes},
    actor::{Actor, Phase, TrustDomain},
    change::Control,
    digest::{Salt, base64},
    halt::Reach,
    id::kind,
    signature::{PublicKey, Purpose, Signature, SignatureError},
    target::Criticality,
    text::visible,
    trigger::Comparison,
};

use super::support::{id, key, ms, public};

const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn whoever_did_something_is_named() {
    let actors = [
        (Actor::Agent { agent: id("holmes"), phase: Phase::Decide }, "agent holmes (decide)"),
        (Actor::Person { person: id("ada") }, "person ada"),
        (Actor::Gate, "gate"),
        (Actor::Observer, "observer"),
        (Actor::Executor { executor: id("process") }, "executor process"),
        (Actor::Issuer, "issuer"),
    ];
    for (actor, shown) in actors {
        assert_eq!(actor.to_string(), shown);
    }
}

/// The word that is shown is the word that is read.
#[test]
fn a_word_in_a_message_is_the_word_in_the_file() {
    for criticality in [Criticality::Low, Criticality::Medium, Criticality::High, Criticality::Critical] {
        assert_eq!(serde_json::to_value(criticality).unwrap(), criticality.as_str());
    }
    for control in Control::ALL {
        assert_eq!(serde_json::to_value(control).unwrap(), control.to_string().as_str());
    }
    for reach in [Reach::Soft, Reach::Hard] {
        assert_eq!(serde_json::to_value(reach).unwrap(), reach.to_string().as_str());
    }
    let domain = TrustDomain::parse("example.org").unwrap();
    assert_eq!(String::from(domain.clone()), domain.as_str());
}

#[test]
fn whoever_writes_no_text_is_told_to() {
    let refused = [
        serde_json::from_str::<Digest>("5").unwrap_err(),
        serde_json::from_str::<Id<kind::Agent>>("5").unwrap_err(),
    ];
    for err in refused {
        assert!(err.to_string().contains("expected a string"), "{err}");
    }
}

#[test]
fn each_tier_means_something_else() {
    let meanings: BTreeSet<_> = Tier::ALL.into_iter().map(Tier::meaning).collect();
    assert_eq!(meanings.len(), Tier::ALL.len());
    assert_eq!(Tier::T3.meaning(), "one approver");
}

#[test]
fn a_span_is_shown_in_the_largest_unit_that_says_enough() {
    for (span, shown) in [
        (0, "0 ms"),
        (9_999, "9999 ms"),
        (10_000, "10 s"),
        (599_999, "599 s"),
        (600_000, "10 min"),
        (86_400_000, "1440 min"),
    ] {
        assert_eq!(ms(span).to_string(), shown);
    }
}

#[test]
fn ids_and_digests_are_shown_as_they_are_written() {
    let name = id::<kind::Agent>("holmes");
    assert_eq!(format!("{name:?} {name}"), "holmes holmes");
    let names: HashSet<_> = ["a", "b", "a"].map(id::<kind::Agent>).into();
    assert_eq!(names.len(), 2);
    let digest = Digest::of_bytes(b"");
    assert_eq!(format!("{digest:?}"), format!("sha256:{EMPTY}"));
    assert_eq!(digest.short(), EMPTY[..12]);
    assert_eq!(Digest::from_bytes(*digest.as_bytes()), digest);
    assert_eq!(digest.as_bytes()[..3], [0xe3, 0xb0, 0xc4]);
    assert_eq!(visible("a\tb"), "a\\tb");
}

#[test]
fn inv12_keys_signatures_and_salts_show_no_more_than_they_should() {
    let salt = Salt::new([7; 32]);
    assert_eq!((salt.as_bytes(), format!("{salt:?}").as_str()), (&[7; 32], "***"));
    let signature = Signature::from_bytes(key(1).sign(b"x").to_bytes());
    let whole = String::from(signature.clone());
    let shown = format!("{signature:?}");
    assert!(shown.starts_with(&format!("Signature({}", &whole[..8])) && shown.len() < 30, "{shown}");
    assert_eq!(Signature::from_bytes(*signature.as_bytes()), signature);
    assert_eq!(base64(signature.as_bytes()), whole);
    let public = public(&key(1));
    assert_eq!(format!("{public:?}"), format!("PublicKey({})", String::from(public.clone())));
    assert_eq!(PublicKey::from_bytes(*public.as_bytes()).unwrap(), public);
}

/// One key over one text for one purpose: with any of the three exchanged, the signature does not hold.
#[test]
fn inv06_a_signature_holds_for_its_key_its_text_and_its_purpose() {
    let signed = Purpose::Evidence.signing_bytes(b"text");
    let signature = Signature::from_bytes(key(1).sign(&signed).to_bytes());
    assert_eq!(signature.verify(&public(&key(1)), Purpose::Evidence, b"text"), Ok(()));
    let refusals = [
        signature.verify(&public(&key(2)), Purpose::Evidence, b"text"),
        signature.verify(&public(&key(1)), Purpose::Approval, b"text"),
        signature.verify(&public(&key(1)), Purpose::Evidence, b"texT"),
        signature.verify(&public(&key(1)), Purpose::Evidence, b""),
    ];
    assert_eq!(refusals, [const { Err(SignatureError::Mismatch) }; 4]);
}

#[test]
fn a_comparison_is_about_its_limit() {
    // (below the limit, the limit, above it)
    for (comparison, answers) in [
        (Comparison::Above(1.0), [false, false, true]),
        (Comparison::Below(1.0), [true, false, false]),
        (Comparison::Equals(1.0), [false, true, false]),
    ] {
        assert_eq!([0.5, 1.0, 1.5].map(|value| comparison.holds(value)), answers.map(Some), "{comparison:?}");
    }
}

#[test]
fn t23_what_deletes_is_known_by_its_effect() {
    let touches = |effect| BTreeMap::from([(State::CustomerData, effect)]);
    assert!(deletes(&touches(Effect::Deletes)));
    for effect in
        [Effect::Reads, Effect::Changes, Effect::Restores, Effect::Rotates, Effect::Grants, Effect::Refreshes]
    {
        assert!(!deletes(&touches(effect)), "{effect:?}");
    }
    assert!(!deletes(&BTreeMap::new()));
}
