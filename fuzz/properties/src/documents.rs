//! Everything whose bytes are a contract: read, written canonically, read again.

use holdpoint_domain::{
    Digest,
    approval::SignedStatement,
    change::ChangeTerms,
    decision::Decision,
    digest::canonical,
    facts::{Facts, PlanFacts},
    permit::Grant,
    plan::Plan,
    record::Record,
    trigger::SignedEvidence,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// Bytes that are read as one of these have one canonical form, which reads back as the same value.
pub(crate) fn holds(bytes: &[u8]) {
    round_trip::<Plan>(bytes);
    round_trip::<Record>(bytes);
    round_trip::<Facts>(bytes);
    round_trip::<PlanFacts>(bytes);
    round_trip::<Decision>(bytes);
    round_trip::<SignedStatement>(bytes);
    round_trip::<SignedEvidence>(bytes);
    round_trip::<ChangeTerms>(bytes);
    round_trip::<Grant>(bytes);
}

fn round_trip<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    let Ok(value) = serde_json::from_slice::<T>(bytes) else { return };
    let Ok(form) = canonical(&value) else { return };
    let again: T =
        serde_json::from_slice(&form).expect("the canonical form of a value reads as such a value");
    assert_eq!(again, value, "decode, canonical, decode");
    assert_eq!(canonical(&again).unwrap(), form, "a value has one canonical form");
    assert_eq!(Digest::of(&value).unwrap(), Digest::of_bytes(&form), "the digest is over the canonical form");
    let naive: Value = serde_json::from_slice(&form).unwrap();
    let mut text = String::new();
    crate::canonical::write(&naive, &mut text);
    assert_eq!(String::from_utf8_lossy(&form), text, "two readings of RFC 8785");
}
