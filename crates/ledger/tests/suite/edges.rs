//! Limits of the formats, at exactly the limit.

use holdpoint_ledger::key::MAX_KEY_NAME_BYTES;
use holdpoint_ledger::note::MAX_NOTE_BYTES;
use holdpoint_ledger::tlog_proof::MAX_TLOG_PROOF_BYTES;
use holdpoint_ledger::{
    Checkpoint, Ed25519NoteSigner, KeyError, LogProof, NoteError, ProofError, SignedNote, VerifierKey,
    leaf_hash,
};

use super::support::{ORIGIN, keys, signer};

#[test]
fn t30_a_note_of_the_largest_size_is_read() {
    let rest = SignedNote::sign("\n", &[&signer()]).unwrap().to_string().len() - 1;
    let text = |less: usize| "x".repeat(MAX_NOTE_BYTES - rest - 1 - less) + "\n";
    let note = SignedNote::sign(&text(0), &[&signer()]).unwrap();
    assert_eq!(note.to_string().len(), MAX_NOTE_BYTES);
    let read = SignedNote::parse(note.to_string().as_bytes()).unwrap();
    assert!(read.verify(&keys()).is_ok());
    let larger = SignedNote::sign(&format!("x{}", text(0)), &[&signer()]);
    assert_eq!(larger, Err(NoteError::TooLarge { got: MAX_NOTE_BYTES + 1 }));
    let larger = format!("x{note}");
    assert_eq!(SignedNote::parse(larger.as_bytes()), Err(NoteError::TooLarge { got: MAX_NOTE_BYTES + 1 }));
}

/// Before anything of it is read.
#[test]
fn t30_a_receipt_has_a_largest_size() {
    let refused = |len: usize| "x".repeat(len).parse::<LogProof>().unwrap_err();
    let because = |reason| ProofError::Malformed { reason };
    assert_eq!(refused(MAX_TLOG_PROOF_BYTES), because("no empty line before checkpoint"));
    assert_eq!(refused(MAX_TLOG_PROOF_BYTES + 1), because("text is too large"));
    assert_eq!(refused(MAX_TLOG_PROOF_BYTES + 2), because("text is too large"));
}

#[test]
fn t30_a_key_has_a_longest_name() {
    assert_eq!(MAX_KEY_NAME_BYTES, 256);
    let named = |len: usize| Ed25519NoteSigner::from_seed(&"k".repeat(len), &[1; 32]);
    let longest = VerifierKey::of(&named(256).unwrap()).unwrap();
    assert_eq!(longest.to_string().parse(), Ok(longest));
    assert_eq!(named(257).err(), Some(KeyError::Name));
}

#[test]
fn extensions_are_shown_in_their_order() {
    let head = Checkpoint::new(ORIGIN, 7, leaf_hash(b"root")).unwrap();
    assert!(head.extensions().is_empty());
    let head = head.with_extension("one").unwrap().with_extension("two").unwrap();
    assert_eq!(head.extensions(), ["one", "two"]);
    assert_eq!(head.to_string().parse(), Ok(head));
}

#[test]
fn t30_the_limits_are_those_that_were_decided_on() {
    assert_eq!(MAX_NOTE_BYTES, 131_072);
    // Extra data twice as long as it may be (base64 needs less), 64 lines of a hash, a note, and the short lines.
    assert_eq!(MAX_TLOG_PROOF_BYTES, 131_072 + 2_880 + 131_072 + 128);
}
