//! Approvals: a signature counts for exactly the terms that were signed, by exactly that person, in time.

use std::collections::BTreeSet;

use holdpoint_domain::{
    Rung,
    approval::{ApprovalError, Choice, HoldTerms, SignedStatement, Statement},
    passkey::PasskeyError,
    plan::Requester,
    proof::{Credentials, ProofError},
    signature::{Purpose, Signature, SignatureError},
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    mutations::{leaves, mutations},
    support::{
        NOW, asserted_by, assertion, at, decision, gate, id, key, passkey, pinned, plan, public, signed,
        signed_by, terms,
    },
};

fn hold() -> HoldTerms {
    terms(&decision(Rung::T4))
}

/// A hold whose approvers sign with their keys, with how a signature over something else fails there; and one of T4, whose
/// approvers sign with passkeys.
fn holds() -> [(HoldTerms, ApprovalError); 2] {
    [(terms(&decision(Rung::T3)), SignatureError::Mismatch.into()), (hold(), PasskeyError::Challenge.into())]
        .map(|(terms, err): (_, ProofError)| (terms, err.into()))
}

/// Checks a statement in the name of `ada` against the hold's terms.
fn check(statement: SignedStatement, terms: &HoldTerms) -> Result<(), ApprovalError> {
    statement.check(terms, &pinned()[&id("ada")], plan().requester(), at(NOW)).map(drop)
}

/// Every value that `value` becomes by one change, and that still is of its type; `fixed` are leaves with one value.
pub(crate) fn changed<T: Serialize + DeserializeOwned + PartialEq>(
    value: &T,
    fixed: &[&str],
) -> Vec<(String, T)> {
    let json = serde_json::to_value(value).unwrap();
    let found: Vec<(String, T)> = mutations(&json)
        .into_iter()
        .filter_map(|(path, other)| serde_json::from_value(other).ok().map(|other| (path, other)))
        .filter(|(_, other)| other != value)
        .collect();
    let paths: BTreeSet<_> = found.iter().map(|(path, _)| path.clone()).collect();
    let untouched: BTreeSet<_> = leaves(&json).into_iter().filter(|leaf| !paths.contains(leaf)).collect();
    let fixed = fixed.iter().map(|leaf| (*leaf).to_owned()).collect();
    assert_eq!(untouched, fixed, "leaves that no change reached");
    found
}

#[test]
fn inv04_t01_every_field_of_the_terms_is_bound() {
    for (terms, broken) in holds() {
        let good = signed(&terms, "ada", Choice::Approve);
        assert_eq!(check(good.clone(), &terms), Ok(()));

        let changed = changed(&terms, &[]);
        let fields: BTreeSet<_> =
            changed.iter().map(|(path, _)| path.split('/').nth(1).unwrap().to_owned()).collect();
        assert_eq!(fields.len(), 10, "{fields:?}");
        for (path, other) in changed {
            let field = path.split('/').nth(1).unwrap();
            // The hold is another than the one that was signed.
            let refusal = check(good.clone(), &other).unwrap_err();
            assert!(matches!(refusal, ApprovalError::OtherTerms(name) if name == field), "{path}: {refusal}");
            // The statement was changed after it was signed.
            let mut forged = good.clone();
            forged.statement.terms = other.clone();
            let refusal = check(forged.clone(), &terms).unwrap_err();
            assert!(matches!(refusal, ApprovalError::OtherTerms(name) if name == field), "{path}: {refusal}");
            // Both were changed alike, as a gate could that keeps the holds.
            assert_eq!(check(forged, &other), Err(broken.clone()), "{path}");
        }
    }
}

#[test]
fn inv04_who_signed_and_what_they_chose_is_bound() {
    for (terms, broken) in holds() {
        let made = signed(&terms, "ada", Choice::Reject);
        for (path, other) in changed(&made.statement, &["/type"]) {
            let forged = SignedStatement { statement: other, signature: made.signature.clone() };
            assert!(check(forged, &terms).is_err(), "{path}");
        }
        // A rejection never becomes a consent, nor the other way about.
        for (made, wanted) in [(Choice::Approve, Choice::Reject), (Choice::Reject, Choice::Approve)] {
            let mut forged = signed(&terms, "ada", made);
            forged.statement.choice = wanted;
            assert_eq!(check(forged, &terms), Err(broken.clone()));
        }
    }
}

#[test]
fn inv05_a_statement_counts_for_the_key_of_its_approver_only() {
    let terms = hold();
    for (who, key) in [("the gate", gate()), ("bob", key(2)), ("a stranger", key(50))] {
        let forged = signed_by(&terms, "ada", Choice::Approve, &key);
        assert_eq!(
            check(forged, &terms),
            Err(ProofError::from(SignatureError::Mismatch).into()),
            "signed by {who} in the name of ada"
        );
    }
    // Nor does a passkey of somebody else, or one that calls itself by the name of hers.
    let bobs_passkey = asserted_by(&terms, "ada", Choice::Approve, &passkey("bob"));
    assert_eq!(check(bobs_passkey.clone(), &terms), Err(ProofError::UnknownPasskey.into()));
    let mut renamed = bobs_passkey;
    assertion(&mut renamed).credential = passkey("ada").passkey.id;
    assert_eq!(check(renamed, &terms), Err(ProofError::from(PasskeyError::Signature).into()));
    // And nothing counts for whom nothing of the kind is registered.
    let nothing = Credentials::default();
    let requester = plan().requester().clone();
    let refusal = signed(&terms, "ada", Choice::Approve).check(&terms, &nothing, &requester, at(NOW));
    assert_eq!(refusal, Err(ProofError::UnknownPasskey.into()));
    let refusal =
        signed_by(&terms, "ada", Choice::Approve, &key(1)).check(&terms, &nothing, &requester, at(NOW));
    assert_eq!(refusal, Err(ProofError::NoKey.into()));
    let bobs = signed(&terms, "bob", Choice::Approve);
    assert!(check(bobs.clone(), &terms).is_err(), "bob's statement against ada's key");
    let mut renamed = bobs;
    renamed.statement.approver = id("ada");
    assert!(check(renamed, &terms).is_err(), "bob's signature under ada's name");
}

#[test]
fn inv05_whoever_asked_cannot_decide() {
    let terms = hold();
    let own = signed(&terms, "dee", Choice::Approve);
    let requester = plan().requester().clone();
    assert_eq!(requester.on_behalf_of, Some(id("dee")));
    let key = &pinned()[&id("dee")];
    assert_eq!(own.clone().check(&terms, key, &requester, at(NOW)), Err(ApprovalError::Requester(id("dee"))));
    assert_eq!(own.clone().check_signed(&terms, key, &requester), Err(ApprovalError::Requester(id("dee"))));
    // The same statement counts for a plan that somebody else asked for.
    let other = Requester { on_behalf_of: Some(id("ada")), ..Requester::alone(id("holmes")) };
    assert_eq!(
        own.check(&terms, key, &other, at(NOW)).map(|consent| consent.approver().clone()),
        Ok(id("dee"))
    );
}

#[test]
fn inv05_t25_a_statement_ends_with_its_hold() {
    let terms = hold();
    let end = terms.expires_at_ms.ms();
    let check_at = |now: u64| {
        signed(&terms, "ada", Choice::Approve)
            .check(&terms, &pinned()[&id("ada")], plan().requester(), at(now))
            .map(drop)
    };
    assert_eq!(check_at(end - 1), Ok(()));
    for late in [end, end + 1, end * 2] {
        assert_eq!(
            check_at(late),
            Err(ApprovalError::Expired { expired: terms.expires_at_ms, now: at(late) })
        );
    }
    // Zero is a time long gone, never "without end".
    let mut endless = terms.clone();
    endless.expires_at_ms = at(0);
    assert!(matches!(
        check(signed(&endless, "ada", Choice::Approve), &endless),
        Err(ApprovalError::Expired { .. })
    ));
}

#[test]
fn t03_an_approval_never_counts_again() {
    let first = hold();
    let approval = signed(&first, "ada", Choice::Approve);
    let mut again = first.clone();
    (again.hold, again.nonce) = (id("hold-2"), id("nonce-9"));
    let mut nonce = first.clone();
    nonce.nonce = id("nonce-9");
    let mut log = first.clone();
    log.head.size += 1;
    let mut other_log = first.clone();
    other_log.head.origin = "other.example/log".into();
    for (what, terms, field) in [
        ("the same plan in a new hold", again, "hold"),
        ("the same hold with a new nonce", nonce, "nonce"),
        ("a later head", log, "head"),
        ("another deployment's log", other_log, "head"),
    ] {
        assert_eq!(check(approval.clone(), &terms), Err(ApprovalError::OtherTerms(field)), "{what}");
    }
}

/// A person's key may sign other things; none of them is an approval.
#[test]
fn t19_a_signature_for_another_purpose_is_no_approval() {
    use ed25519_dalek::Signer as _;
    let terms = hold();
    let statement = Statement::new(terms.clone(), id("ada"), Choice::Approve);
    let canonical = holdpoint_domain::digest::canonical(&statement).unwrap();
    let approval = Purpose::Approval.signing_bytes(&canonical);
    assert_eq!(statement.signing_bytes().unwrap(), approval);
    assert!(approval.starts_with(b"holdpoint-approval-v1\0"));
    for (what, bytes) in [
        ("bare bytes", canonical.clone()),
        ("evidence", Purpose::Evidence.signing_bytes(&canonical)),
        ("the digest", holdpoint_domain::Digest::of_bytes(&approval).as_bytes().to_vec()),
    ] {
        let signature = Signature::from_bytes(key(1).sign(&bytes).to_bytes());
        let forged = SignedStatement { statement: statement.clone(), signature: signature.into() };
        assert_eq!(check(forged, &terms), Err(ProofError::from(SignatureError::Mismatch).into()), "{what}");
        let asserted = SignedStatement {
            statement: statement.clone(),
            signature: passkey("ada").sign(&bytes, 0).into(),
        };
        assert_eq!(
            check(asserted, &terms),
            Err(ProofError::from(PasskeyError::Challenge).into()),
            "{what}, by a passkey"
        );
    }
}

#[test]
fn t19_weak_keys_and_odd_spellings_of_signatures_are_refused() {
    use holdpoint_domain::signature::PublicKey;
    // Points of small order (all zeros, one, and -1): a signature of theirs fits any message.
    let mut minus_one = [0xff_u8; 32];
    (minus_one[0], minus_one[31]) = (0xec, 0x7f);
    let mut one = [0_u8; 32];
    one[0] = 1;
    for weak in [[0; 32], one, minus_one] {
        assert_eq!(PublicKey::from_bytes(weak), Err(SignatureError::BadKey), "{weak:?}");
    }
    let by_key = signed_by(&hold(), "ada", Choice::Approve, &key(1));
    let text = serde_json::to_string(&by_key.signature).unwrap();
    assert!(serde_json::from_str::<Signature>(&text).is_ok());
    let inner = text.trim_matches('"');
    for bad in [
        format!("\"{inner}==\""),
        format!("\" {inner}\""),
        format!("\"{inner}A\""),
        format!("\"{}\"", &inner[1..]),
        "\"\"".to_owned(),
        "null".to_owned(),
    ] {
        assert!(serde_json::from_str::<Signature>(&bad).is_err(), "{bad} was read");
    }
    let key = serde_json::to_string(&public(&key(1))).unwrap();
    assert_eq!(serde_json::from_str::<PublicKey>(&key).unwrap(), public(&super::support::key(1)));
    assert!(serde_json::from_str::<PublicKey>(&key.replace('"', "=\"")).is_err());
}
