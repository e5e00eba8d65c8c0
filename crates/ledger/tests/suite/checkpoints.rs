//! Checkpoints, and receipts that carry one.

use holdpoint_ledger::{
    Checkpoint, CheckpointError, EMPTY_ROOT, Ed25519NoteSigner, LogProof, NoteError, ProofError,
    SignedCheckpoint, VerifierKey,
};
use proptest::prelude::*;

use super::support::{ORIGIN, entries, grow, head, keys, leaf, sign, signer};

const ROOT: &str = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";

#[test]
fn the_example_of_the_specification_is_read_and_written() {
    let note = format!(
        "example.com/behind-the-sofa\n20852163\n{ROOT}\n\n— example.com/behind-the-sofa \
         Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    );
    let signed = SignedCheckpoint::parse(note.as_bytes()).unwrap();
    let head = signed.unverified();
    assert_eq!((head.origin(), head.size()), ("example.com/behind-the-sofa", 20_852_163));
    assert_eq!(head.root().to_string(), ROOT);
    assert_eq!(signed.to_string(), note);
    assert_eq!(signed.open(&keys()), Err(CheckpointError::Note(NoteError::NoKnownKey)));
}

#[test]
fn text_has_one_spelling() {
    let ok = [
        format!("o\n7\n{ROOT}\n"),
        format!("o\n7\n{ROOT}\next\nsecond ext\n"),
        format!("o\n0\n{EMPTY_ROOT}\n"),
    ];
    for text in ok {
        assert_eq!(text.parse::<Checkpoint>().map(|head| head.to_string()), Ok(text));
    }
    for (text, want) in [
        ("".into(), Some(CheckpointError::Lines)),
        (format!("o\n7\n{ROOT}"), Some(CheckpointError::Lines)),
        ("o\n7\n".into(), Some(CheckpointError::Lines)),
        (format!("\n7\n{ROOT}\n"), Some(CheckpointError::Origin)),
        (format!("{}\n7\n{ROOT}\n", "o".repeat(257)), Some(CheckpointError::Origin)),
        (format!("o\n07\n{ROOT}\n"), Some(CheckpointError::Size)),
        (format!("o\n+7\n{ROOT}\n"), Some(CheckpointError::Size)),
        (format!("o\n-7\n{ROOT}\n"), Some(CheckpointError::Size)),
        (format!("o\n\n{ROOT}\n"), Some(CheckpointError::Size)),
        (format!("o\n7 \n{ROOT}\n"), Some(CheckpointError::Size)),
        (format!("o\n7\r\n{ROOT}\n"), Some(CheckpointError::Size)),
        (format!("o\n18446744073709551616\n{ROOT}\n"), Some(CheckpointError::Size)),
        (format!("o\n7\n{}\n", &ROOT[1..]), None),
        ("o\n7\nAAAA\n".into(), None),
        (format!("o\n7\n{ROOT}\n\n"), Some(CheckpointError::Extension)),
        (format!("o\n7\n{ROOT}\next\n\nmore\n"), Some(CheckpointError::Extension)),
        (format!("o\n0\n{ROOT}\n"), Some(CheckpointError::EmptyRoot { got: ROOT.parse().unwrap() })),
    ] {
        let got = text.parse::<Checkpoint>().unwrap_err();
        assert!(want.is_none_or(|want| got == want), "{text:?}: {got:?}");
    }
    assert_eq!(Checkpoint::new("a\nb", 7, leaf(0)), Err(CheckpointError::Origin));
}

#[test]
fn a_signed_checkpoint_opens_to_what_was_signed() {
    let head = head(&entries(5)).with_extension("ext").unwrap();
    let signed = sign(&head);
    assert_eq!(holdpoint_ledger::checkpoint::open(signed.to_string().as_bytes(), &keys()), Ok(head));
}

#[test]
fn inv11_only_the_log_itself_can_vouch_for_its_head() {
    let head = head(&entries(5));
    let witness = Ed25519NoteSigner::from_seed("witness.example", &[2; 32]).unwrap();
    let witness_key = VerifierKey::of(&witness).unwrap();
    let by_witness = SignedCheckpoint::sign(&head, &[&witness]).unwrap();
    assert_eq!(
        by_witness.open(std::slice::from_ref(&witness_key)),
        Err(CheckpointError::NotSignedByLog { origin: ORIGIN.into() })
    );
    let by_both = by_witness.cosign(&signer()).unwrap();
    assert_eq!(by_both.open(&[witness_key, keys().remove(0)]), Ok(head));

    // Another log's key, trusted for that log, cannot sign for this one.
    let imposter = Ed25519NoteSigner::from_seed("other.example/log", &[3; 32]).unwrap();
    let forged = SignedCheckpoint::sign(&super::support::head(&entries(4)), &[&imposter]).unwrap();
    assert!(forged.open(&[VerifierKey::of(&imposter).unwrap()]).is_err());
}

fn receipt() -> LogProof {
    let leaves: Vec<_> = (0..300).map(leaf).collect();
    let (tree, tiles) = grow(&leaves);
    let proof = tree.inclusion_proof(&tiles, 257, 300).unwrap();
    LogProof::new(257, proof, sign(&head(&entries(300)))).unwrap()
}

#[test]
fn a_receipt_round_trips_and_proves_its_entry_alone() {
    for receipt in [receipt(), receipt().with_extra(b"hint").unwrap()] {
        let text = receipt.to_string();
        let read: LogProof = text.parse().unwrap();
        assert_eq!(read, receipt);
        assert_eq!(read.verify(leaf(257), &keys()).map(|head| head.size()), Ok(300));
        assert!(matches!(read.verify(leaf(256), &keys()), Err(ProofError::RootMismatch { .. })));
        assert!(matches!(read.verify(leaf(257), &[]), Err(ProofError::Checkpoint(_))));
    }
    let receipt = receipt().with_extra(b"hint").unwrap();
    assert_eq!((receipt.index(), receipt.unauthenticated_extra()), (257, Some(b"hint".as_slice())));
    assert_eq!(
        LogProof::new(257, receipt.hashes().to_vec(), receipt.checkpoint().clone()),
        Ok(self::receipt())
    );
    let lone = LogProof::new(0, vec![], sign(&head(&entries(1)))).unwrap();
    assert!(lone.to_string().starts_with("c2sp.org/tlog-proof@v1\nindex 0\n\ngate.example/log\n1\n"));
    assert_eq!(
        lone.to_string().parse::<LogProof>().unwrap().verify(leaf(0), &keys()).map(|h| h.size()),
        Ok(1)
    );
}

#[test]
fn inv11_no_changed_receipt_proves_anything() {
    let text = receipt().to_string();
    for place in 0..text.len() {
        for bit in 0..8 {
            let mut bytes = text.clone().into_bytes();
            bytes[place] ^= 1 << bit;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            let verified = changed.parse::<LogProof>().and_then(|proof| proof.verify(leaf(257), &keys()));
            assert!(verified.is_err(), "bit {bit} of byte {place}");
        }
    }
}

#[test]
fn malformed_receipts_are_refused() {
    let text = receipt().with_extra(b"hint").unwrap().to_string();
    for (from, to) in [
        ("c2sp.org/tlog-proof@v1", "c2sp.org/tlog-proof@v2"),
        ("c2sp.org/tlog-proof@v1\n", ""),
        ("index 257", "index 0257"),
        ("index 257", "index +257"),
        ("index 257", "Index 257"),
        ("index 257\n", ""),
        ("extra aGludA==", "extra "),
        ("extra aGludA==", "extra aGludA"),
        ("extra aGludA==\n", "extra aGludA==\nextra aGludA==\n"),
        ("\n\ngate", "\ngate"),
        ("\n\ngate", "\n\n\ngate"),
        ("index 257\n", "index 257\nAAAA\n"),
    ] {
        assert!(text.contains(from), "{from:?}");
        assert!(text.replace(from, to).parse::<LogProof>().is_err(), "{from:?} to {to:?}");
    }
    assert!(receipt().with_extra(&[]).is_err() && receipt().with_extra(&[0; 65_537]).is_err());
    assert!(LogProof::new(0, vec![EMPTY_ROOT; 65], sign(&head(&entries(1)))).is_err());
    let longest = receipt().with_extra(&[0; 65_536]).unwrap();
    assert_eq!(longest.to_string().parse(), Ok(longest));
}

proptest! {
    #[test]
    fn whatever_is_read_is_written_the_same(
        origin in "[a-z./ ]{0,9}", size in "[0-9]{0,4}", rest in "(\n|[a-z]{1,3}){0,4}",
    ) {
        let text = format!("{origin}\n{size}\n{ROOT}\n{rest}");
        if let Ok(head) = text.parse::<Checkpoint>() {
            prop_assert_eq!(head.to_string(), text);
        }
    }
}
