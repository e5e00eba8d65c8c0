//! What a witness answers, against requests of the format's first implementation and each clause of its text.

use holdpoint_ledger::{
    AddCheckpoint, Checkpoint, EMPTY_ROOT, Hash, Head, SignedCheckpoint, Tree, VerifierKey, WitnessError,
    leaf_hash, witness::MAX_PROOF_LINES,
};

use super::support::ORIGIN;

/// The log of the format's first implementation's own tests, and three requests of those tests.
const LOG: &str = "sigsum.org/v1/tree/4d6d8825a6bb689d459628312889dfbb0bcd41b5211d9e1ce768b0ff0309e562";
const LOG_KEY: &str = "ffdc2d4d98e4124d3feaf788c0c2f9abfd796083d1f0495437f302ec79cf100f";
const FIRST: &str = "old 0

sigsum.org/v1/tree/4d6d8825a6bb689d459628312889dfbb0bcd41b5211d9e1ce768b0ff0309e562
1
KgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=

— sigsum.org/v1/tree/4d6d8825a6bb689d459628312889dfbb0bcd41b5211d9e1ce768b0ff0309e562 UgIom7fPZTqpxWWhyjWduBvTvGVqsokMbqTArsQilegKoFBJQjUFAmQ0+YeSPM3wfUQMFSzVnnNuWRTYrajXpNUbIQY=
";
const TO_THREE: &str = "old 1
KgEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
KgIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=

sigsum.org/v1/tree/4d6d8825a6bb689d459628312889dfbb0bcd41b5211d9e1ce768b0ff0309e562
3
RcCI1Nk56ZcSmIEfIn0SleqtV7uvrlXNccFx595Iwl0=

— sigsum.org/v1/tree/4d6d8825a6bb689d459628312889dfbb0bcd41b5211d9e1ce768b0ff0309e562 UgIom2VbtIcdFbwFAy1n7s6IkAxIY6J/GQOTuZF2ORV39d75cbAj2aQYwyJre36kezNobZs4SUUdrcawfAB8WVrx6go=
";
const TO_FIVE: &str = "old 1
KgEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
+fUDV+k970B4I3uKrqJM4aP1lloPZP8mvr2Z4wRw2LI=
KgQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=

sigsum.org/v1/tree/4d6d8825a6bb689d459628312889dfbb0bcd41b5211d9e1ce768b0ff0309e562
5
QrtXrQZCCvpIgsSmOsah7HdICzMLLyDfxToMql9WTjY=

— sigsum.org/v1/tree/4d6d8825a6bb689d459628312889dfbb0bcd41b5211d9e1ce768b0ff0309e562 UgIomw/EOJmWi0i1FQsOj+etB7F8IccFam/jgd6wzRns4QPVmyEZtdvl1U2KEmLOZ/ASRcWJi0tW90dJWAShei7sDww=
";

fn request(body: &str) -> AddCheckpoint {
    AddCheckpoint::parse(body.as_bytes()).unwrap()
}

fn head_of(checkpoint: &Checkpoint) -> Head {
    Head { size: checkpoint.size(), root: checkpoint.root() }
}

#[test]
fn requests_of_the_first_implementation_are_answered_as_there() {
    let public = super::support::unhex(LOG_KEY).try_into().unwrap();
    let keys = [VerifierKey::new(LOG, &public).unwrap()];
    for body in [FIRST, TO_THREE, TO_FIVE] {
        assert_eq!(request(body).to_string(), body);
        assert_eq!(request(body).origin(), LOG);
    }
    let one = request(FIRST).check(&keys, None).unwrap();
    let last = Some(head_of(&one));
    assert_eq!(request(TO_THREE).check(&keys, last).unwrap().size(), 3);
    let five = request(TO_FIVE).check(&keys, last).unwrap();
    assert_eq!(five.size(), 5);
    // Whoever came second asked to continue a head that is not the last one any more.
    let conflict = request(TO_THREE).check(&keys, Some(head_of(&five))).unwrap_err();
    assert_eq!(conflict, WitnessError::Conflict { size: 5, got: 1 });
    assert_eq!((conflict.status(), conflict.known_size()), (409, Some(5)));
}

/// A log of `size` entries that differ from those of others by `seed`.
fn log(seed: u8, size: u64) -> Vec<Hash> {
    (0..size).map(|index| leaf_hash(format!("{seed} {index}").as_bytes())).collect()
}

fn signed(leaves: &[Hash], key: u8) -> SignedCheckpoint {
    let mut tree = Tree::new();
    tree.append_all(leaves).unwrap();
    let head = Checkpoint::new(ORIGIN, tree.size(), tree.root()).unwrap();
    let signer = holdpoint_ledger::Ed25519NoteSigner::from_seed(ORIGIN, &[key; 32]).unwrap();
    SignedCheckpoint::sign(&head, &[&signer]).unwrap()
}

#[test]
fn inv11_each_clause_has_its_answer() {
    let keys =
        [VerifierKey::of(&holdpoint_ledger::Ed25519NoteSigner::from_seed(ORIGIN, &[1; 32]).unwrap())
            .unwrap()];
    let (three, seven) = (log(0, 3), log(0, 7));
    let proof = super::support::reference::proof(3, &seven);
    let last = Some(head_of(signed(&three, 1).unverified()));
    let sound = AddCheckpoint { old_size: 3, proof: proof.clone(), checkpoint: signed(&seven, 1) };
    assert_eq!(sound.check(&keys, last).unwrap().size(), 7);
    let status = |request: &AddCheckpoint, last| request.check(&keys, last).err().map(|err| err.status());
    let with = |change: fn(&mut AddCheckpoint)| {
        let mut request = sound.clone();
        change(&mut request);
        status(&request, last)
    };
    assert_eq!(sound.check(&[], last).unwrap_err().status(), 404);
    assert_eq!(with(|request| request.checkpoint = signed(&log(0, 7), 2)), Some(403));
    assert_eq!(with(|request| request.old_size = 2), Some(409));
    assert_eq!(with(|request| request.old_size = 0), Some(409));
    assert_eq!(with(|request| request.proof.clear()), Some(422));
    assert_eq!(with(|request| request.proof.reverse()), Some(422));
    assert_eq!(with(|request| request.proof.push(EMPTY_ROOT)), Some(422));
    assert_eq!(with(|request| request.checkpoint = signed(&log(1, 7), 1)), Some(422));
    // The same head once more is cosigned once more; a fork at the same size is not.
    let again = AddCheckpoint { old_size: 3, proof: Vec::new(), checkpoint: signed(&three, 1) };
    assert_eq!(status(&again, last), None);
    let fork = AddCheckpoint { checkpoint: signed(&log(1, 3), 1), ..again };
    let err = fork.check(&keys, last).unwrap_err();
    assert_eq!((err.status(), err.known_size(), err.is_evidence()), (409, Some(3), true));
    // The first head needs no proof, and takes none.
    let first = AddCheckpoint { old_size: 0, proof: Vec::new(), checkpoint: signed(&seven, 1) };
    assert_eq!(status(&first, None), None);
    assert_eq!(status(&AddCheckpoint { proof: vec![EMPTY_ROOT], ..first.clone() }, None), Some(422));
    let empty = AddCheckpoint { checkpoint: signed(&[], 1), ..first };
    assert_eq!(status(&empty, None), None);
}

#[test]
fn bodies_that_are_none() {
    let lines =
        |count: usize| format!("old 0\n{}\n", "KgEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n".repeat(count));
    let note = FIRST.split_once("\n\n").unwrap().1;
    assert!(AddCheckpoint::parse((lines(MAX_PROOF_LINES) + note).as_bytes()).is_ok());
    let too_many = lines(MAX_PROOF_LINES + 1) + note;
    let huge = format!("{FIRST}{}", "x".repeat(holdpoint_ledger::witness::MAX_REQUEST_BYTES));
    for body in [
        "",
        "\n\n",
        "old 0",
        "old 0\n",
        "old 0\n\n",
        &FIRST.replacen("old 0", "old 2", 1),
        &FIRST.replacen("old 0", "old  0", 1),
        &FIRST.replacen("old 0", "old 00", 1),
        &FIRST.replacen("old 0", "old -0", 1),
        &FIRST.replacen("old 0", "old 18446744073709551616", 1),
        &FIRST.replacen("old 0", "old 0\r", 1),
        &FIRST.replacen("old 0\n", "old 0\nAAAA\n", 1),
        &FIRST.replacen("old 0\n", "old 0\nKgEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n", 1),
        &FIRST.replacen("\n1\n", "\n01\n", 1),
        &too_many,
        &huge,
    ] {
        let err = AddCheckpoint::parse(body.as_bytes()).unwrap_err();
        assert_eq!(err.status(), 400, "{:?}", body.get(..40));
    }
    assert_eq!(AddCheckpoint::parse(b"old 0\n\n\xff").unwrap_err().status(), 400);
}
