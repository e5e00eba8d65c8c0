//! Statements of people on changes, reviews and doubts: a signature counts for exactly what was signed, for exactly that
//! purpose, by exactly that person.

use std::collections::BTreeSet;

use ed25519_dalek::{Signer as _, SigningKey};
use holdpoint_domain::{
    aftercare::{Answers, Found, ResolutionStatement, ResolutionType, ReviewStatement, ReviewType},
    approval::Choice,
    change::{ChangeStatement, ChangeStatementType, ChangeTerms, Control},
    digest::canonical,
    halt::{Halt, Reach, ResumeStatement},
    passkey::PasskeyError,
    proof::{Credentials, ProofError, Proven},
    reconcile::{Account, Part, ReconcileStatement},
    signature::{Purpose, Signature, SignatureError},
    signed::{Signed, Statement, StatementError},
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    approvals::changed,
    support::{NOW, at, commitment, digest, gate, head, id, key, passkey, pinned, plan, public},
};

pub(crate) fn change_terms() -> ChangeTerms {
    ChangeTerms {
        id: id("change-1"),
        head: head(),
        control: Control::Policy,
        old: digest("policy"),
        new: digest("new"),
        content: commitment("permit (principal, action, resource);"),
        author: id("ada"),
        needed: 2,
        nonce: id("nonce-3"),
        expires_at_ms: at(NOW + 60_000),
    }
}

/// Of `bob`, as are the others.
pub(crate) fn change_statement() -> ChangeStatement {
    ChangeStatement {
        r#type: ChangeStatementType::V1,
        terms: change_terms(),
        approver: id("bob"),
        choice: Choice::Approve,
    }
}

pub(crate) fn review() -> ReviewStatement {
    ReviewStatement {
        r#type: ReviewType::V1,
        plan: id("plan-1"),
        digest: plan().digest().unwrap(),
        seen: 41,
        reviewer: id("bob"),
        answers: Answers { trigger_was_real: true, did_what_it_should: true, may_go_on: false },
    }
}

pub(crate) fn resolution() -> ResolutionStatement {
    ResolutionStatement {
        r#type: ResolutionType::V1,
        plan: id("plan-1"),
        digest: plan().digest().unwrap(),
        seen: 42,
        resolver: id("bob"),
        found: Found::AsBefore,
    }
}

pub(crate) fn resume() -> ResumeStatement {
    let halt = Halt { reach: Reach::Hard, by: Some(id("cyd")), at_ms: at(NOW) };
    ResumeStatement::new(head().origin, halt, id("bob"))
}

pub(crate) fn reconcile() -> ReconcileStatement {
    let account = Account {
        origin: head().origin,
        action: Some(id("process.restart")),
        target: id("worker-1"),
        from_ms: at(NOW - 120_000),
        until_ms: at(NOW - 60_000),
        people: [id("ada"), id("bob")].into(),
        incident: Some(id("inc-1")),
        words: commitment("what they did"),
    };
    ReconcileStatement::new(account, Part::Reported, id("bob"))
}

/// A statement signed with whatever key.
pub(crate) fn stated<T: Statement>(statement: T, key: &SigningKey) -> Signed<T> {
    let signature = sign(&statement.signing_bytes().unwrap(), key);
    Signed { statement, signature: signature.into() }
}

fn sign(bytes: &[u8], key: &SigningKey) -> Signature {
    Signature::from_bytes(key.sign(bytes).to_bytes())
}

/// Every purpose, with what stands in front of the bytes that are signed for it. A new one stops this from compiling.
fn purposes() -> Vec<(Purpose, &'static [u8])> {
    let prefix = |purpose| match purpose {
        Purpose::Evidence => &b"holdpoint-evidence-v1\0"[..],
        Purpose::Observation => b"holdpoint-observation-v1\0",
        Purpose::Approval => b"holdpoint-approval-v1\0",
        Purpose::Change => b"holdpoint-change-v1\0",
        Purpose::Review => b"holdpoint-review-v1\0",
        Purpose::Resolution => b"holdpoint-resolution-v1\0",
        Purpose::Resume => b"holdpoint-resume-v1\0",
        Purpose::Narrowing => b"holdpoint-narrowing-v1\0",
        Purpose::Reconciliation => b"holdpoint-reconciliation-v1\0",
    };
    let all = [
        Purpose::Evidence,
        Purpose::Observation,
        Purpose::Approval,
        Purpose::Change,
        Purpose::Review,
        Purpose::Resolution,
        Purpose::Resume,
        Purpose::Narrowing,
        Purpose::Reconciliation,
    ];
    all.into_iter().map(|purpose| (purpose, prefix(purpose))).collect()
}

/// What must be true of every kind of statement, whatever it says.
fn check_kind<T>(statement: &T)
where
    T: Statement + Clone + PartialEq + Serialize + DeserializeOwned,
{
    let bob = pinned()[&id("bob")].clone();
    let good = stated(statement.clone(), &key(2));
    assert_eq!(good.check(&bob), Ok(Proven::Key));
    let asserted = |bytes: &[u8]| Signed {
        statement: statement.clone(),
        signature: passkey("bob").sign(bytes, 0).into(),
    };
    let by_passkey = asserted(&statement.signing_bytes().unwrap());
    assert!(matches!(by_passkey.check(&bob), Ok(Proven::Passkey(_))));
    assert_eq!(*statement.by(), id("bob"));
    let refused = |by: &T, err: ProofError| Err(StatementError::Signature(by.by().clone(), err));
    let broken = |by: &T| refused(by, SignatureError::Mismatch.into());
    let other_challenge = |by: &T| refused(by, PasskeyError::Challenge.into());

    // Each field changed once, signer and choice among them; the type tag has one value.
    let all = changed(statement, &["/type"]);
    let fields: BTreeSet<_> = all.iter().filter_map(|(path, _)| path.split('/').nth(1)).collect();
    let value = serde_json::to_value(statement).unwrap();
    let names: BTreeSet<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    assert!(names.iter().all(|name| *name == "type" || fields.contains(name)), "{fields:?} of {names:?}");
    for (path, other) in all {
        for (proof, refusal) in [(&good, broken(&other)), (&by_passkey, other_challenge(&other))] {
            let forged = Signed { statement: other.clone(), signature: proof.signature.clone() };
            assert_eq!(forged.check(&bob), refusal, "{path}");
        }
    }

    // For each purpose but its own, and for none.
    let bytes = canonical(statement).unwrap();
    for (purpose, prefix) in purposes() {
        let signing = purpose.signing_bytes(&bytes);
        assert_eq!(signing, [prefix, &bytes].concat(), "{purpose:?}");
        let forged = Signed { statement: statement.clone(), signature: sign(&signing, &key(2)).into() };
        let own = purpose == T::PURPOSE;
        let expected = if own { Ok(Proven::Key) } else { broken(statement) };
        assert_eq!(forged.check(&bob), expected, "signed for {purpose:?}");
        let expected = if own { by_passkey.check(&bob) } else { other_challenge(statement) };
        assert_eq!(asserted(&signing).check(&bob), expected, "asserted for {purpose:?}");
    }
    let digested = holdpoint_domain::Digest::of(statement).unwrap();
    for bare in [&bytes[..], digested.as_bytes()] {
        let forged = Signed { statement: statement.clone(), signature: sign(bare, &key(2)).into() };
        assert_eq!(forged.check(&bob), broken(statement), "signed without a purpose");
        assert_eq!(asserted(bare).check(&bob), other_challenge(statement), "asserted without a purpose");
    }

    // By nobody else, and for nobody else.
    for (who, other) in [("the gate", gate()), ("ada", key(1)), ("a stranger", key(50))] {
        assert_eq!(stated(statement.clone(), &other).check(&bob), broken(statement), "signed by {who}");
        let theirs: Credentials = public(&other).into();
        assert_eq!(good.check(&theirs), broken(statement), "with the key of {who}");
        let unknown = refused(statement, ProofError::UnknownPasskey);
        assert_eq!(by_passkey.check(&theirs), unknown, "with the key of {who}");
    }
}

#[test]
fn inv13_t01_t19_a_decision_on_a_change_is_bound_to_its_terms_and_its_purpose() {
    check_kind(&change_statement());
    check_kind(&ChangeStatement { choice: Choice::Reject, ..change_statement() });
}

#[test]
fn inv05_t01_t19_a_review_is_bound_to_its_run_and_its_purpose() {
    check_kind(&review());
}

#[test]
fn inv05_inv03_t01_t19_a_resolution_is_bound_to_its_run_and_its_purpose() {
    for found in [Found::AsBefore, Found::AsPlanned, Found::PutRight] {
        check_kind(&ResolutionStatement { found, ..resolution() });
    }
}

#[test]
fn inv15_t01_t19_the_end_of_a_halt_is_bound_to_that_halt_and_its_purpose() {
    check_kind(&resume());
}

#[test]
fn inv05_t01_t19_what_was_done_outside_is_bound_to_its_account_and_its_purpose() {
    for part in Part::ALL {
        check_kind(&ReconcileStatement { part, ..reconcile() });
    }
}

/// A yes never becomes a no, nor the other way about; nor does one finding become another.
#[test]
fn t01_what_was_said_is_not_turned_round() {
    let bob = pinned()[&id("bob")].clone();
    for (said, wanted) in [(Choice::Approve, Choice::Reject), (Choice::Reject, Choice::Approve)] {
        let mut forged = stated(ChangeStatement { choice: said, ..change_statement() }, &key(2));
        forged.statement.choice = wanted;
        assert!(forged.check(&bob).is_err(), "{wanted:?}");
    }
    let mut forged = stated(review(), &key(2));
    forged.statement.answers.may_go_on = true;
    assert!(forged.check(&bob).is_err(), "may go on");
    let mut forged = stated(resolution(), &key(2));
    forged.statement.found = Found::AsPlanned;
    assert!(forged.check(&bob).is_err(), "as planned");
    let mut forged = stated(reconcile(), &key(2));
    forged.statement.part = Part::Reviewed;
    assert!(forged.check(&bob).is_err(), "reviewed");
}

/// Words in front of the bytes: none twice, and none the beginning of another.
#[test]
fn t19_no_purpose_is_the_beginning_of_another() {
    let all = purposes();
    for (place, (purpose, prefix)) in all.iter().enumerate() {
        for (other, longer) in all.iter().skip(place + 1) {
            assert!(!longer.starts_with(prefix) && !prefix.starts_with(longer), "{purpose:?} and {other:?}");
        }
    }
}

/// No kind of statement is read as another, and none takes what it does not know.
#[test]
fn t19_a_statement_is_read_as_what_it_is() {
    fn reads<T: DeserializeOwned>(value: &serde_json::Value) -> bool {
        serde_json::from_value::<Signed<T>>(value.clone()).is_ok()
    }
    let values = [
        serde_json::to_value(stated(change_statement(), &key(2))).unwrap(),
        serde_json::to_value(stated(review(), &key(2))).unwrap(),
        serde_json::to_value(stated(resolution(), &key(2))).unwrap(),
        serde_json::to_value(stated(resume(), &key(2))).unwrap(),
        serde_json::to_value(stated(reconcile(), &key(2))).unwrap(),
    ];
    for (place, value) in values.iter().enumerate() {
        let read = |value: &serde_json::Value| {
            [
                reads::<ChangeStatement>(value),
                reads::<ReviewStatement>(value),
                reads::<ResolutionStatement>(value),
                reads::<ResumeStatement>(value),
                reads::<ReconcileStatement>(value),
            ]
        };
        let mut only = [false; 5];
        only[place] = true;
        assert_eq!(read(value), only);
        for path in ["", "/statement"] {
            let mut more = value.clone();
            more.pointer_mut(path).unwrap().as_object_mut().unwrap().insert("zz".into(), 0.into());
            assert_eq!(read(&more), [false; 5], "`{path}/zz` was read");
        }
        let mut unsigned = value.clone();
        unsigned.as_object_mut().unwrap().remove("signature");
        assert_eq!(read(&unsigned), [false; 5]);
    }
}
