//! The streaming verifier: what it finds in the entries of a log, and what it says it cannot know.

use holdpoint_ledger::{
    Checkpoint, CheckpointError, Continuity, EMPTY_ROOT, Finding, NoteError, Report, Verifier,
};
use proptest::prelude::*;

use super::support::{ORIGIN, entries, head, keys, leaf, sign};

/// Verifies `entries` as the log that was signed over `signed`.
fn verify(signed: &[Vec<u8>], entries: &[Vec<u8>], against: &[Checkpoint]) -> Report {
    let mut verifier = Verifier::new(&sign(&head(signed)), &keys(), against).unwrap();
    entries.iter().for_each(|entry| verifier.push(entry));
    verifier.finish()
}

fn has(report: &Report, wanted: impl Fn(&Finding) -> bool) -> bool {
    report.findings().iter().any(wanted)
}

#[test]
fn a_sound_log_is_sound_at_every_size() {
    for size in [0, 1, 2, 3, 7, 8, 255, 256, 257, 600] {
        let log = entries(size);
        let report = verify(&log, &log, &[]);
        assert!(report.is_sound(), "{report}");
        assert_eq!((report.entries(), report.head()), (size as u64, Some(&head(&log))));
    }
}

#[test]
fn inv11_a_changed_dropped_reordered_or_duplicated_entry_is_found() {
    for size in [1, 2, 5, 8, 13] {
        let log = entries(size);
        for place in 0..size {
            let mut changed = log.clone();
            changed[place].push(b'!');
            let report = verify(&log, &changed, &[]);
            assert!(has(&report, |f| matches!(f, Finding::RootMismatch { .. })), "{report}");

            let mut dropped = log.clone();
            dropped.remove(place);
            let missing = Finding::EntriesMissing { expected: size as u64, got: size as u64 - 1 };
            assert_eq!(verify(&log, &dropped, &[]).findings(), [missing]);

            let mut doubled = log.clone();
            doubled.insert(place, log[place].clone());
            let report = verify(&log, &doubled, &[]);
            let extra = Finding::EntriesExtra { expected: size as u64, got: size as u64 + 1 };
            assert!(report.findings().contains(&extra), "{report}");

            let mut replaced = log.clone();
            replaced[place] = log[(place + 1) % size].clone();
            assert_eq!(verify(&log, &replaced, &[]).is_sound(), size == 1);

            for other in 0..place {
                let mut reordered = log.clone();
                reordered.swap(place, other);
                assert!(!verify(&log, &reordered, &[]).is_sound());
            }
        }
    }
}

#[test]
fn inv11_without_a_remembered_head_the_report_says_what_it_cannot_exclude() {
    let log = entries(20);
    // Whoever holds the key can shorten the log and sign it again: from inside nothing is wrong.
    let report = verify(&log[..10], &log[..10], &[]);
    assert!(report.is_sound());
    assert_eq!(report.continuity(), Continuity::NotExcluded);
    assert!(report.to_string().contains("truncation, roll-back and fork cannot be excluded"), "{report}");
    // The empty head is the beginning of every log.
    let empty = head(&[]);
    assert_eq!(verify(&log, &log, &[empty]).continuity(), Continuity::NotExcluded);
}

#[test]
fn inv11_truncation_and_roll_back_are_found_against_a_remembered_head() {
    let log = entries(20);
    for kept in 0..20 {
        let report = verify(&log[..kept], &log[..kept], &[head(&log)]);
        assert_eq!(report.findings(), [Finding::Truncated { log_size: kept as u64, head_size: 20 }]);
        assert_eq!(report.continuity(), Continuity::Contradicted);
    }
}

#[test]
fn inv11_a_fork_is_found_against_a_remembered_head() {
    let seen = entries(20);
    for forked_at in 0..20 {
        // Another branch of the same log, signed by its key, that parts at this entry.
        let mut branch = entries(30);
        branch[forked_at] = b"another history".to_vec();
        for remembered in 0..=20 {
            let report = verify(&branch, &branch, &[head(&seen[..remembered])]);
            let is_found =
                has(&report, |f| matches!(f, Finding::Fork { size, .. } if *size == remembered as u64));
            assert_eq!(is_found, remembered > forked_at, "parted at {forked_at}, remembered {remembered}");
            assert_eq!(report.is_sound(), !is_found);
        }
    }
}

#[test]
fn inv11_an_honest_log_continues_every_head_it_ever_had() {
    let log = entries(40);
    let mut heads: Vec<Checkpoint> = (0..=40).map(|size| head(&log[..size])).collect();
    heads.reverse();
    let report = verify(&log, &log, &heads);
    assert!(report.is_sound(), "{report}");
    assert_eq!(report.continuity(), Continuity::ConfirmedTo { size: 40 });

    let report = verify(&log, &log, &heads[15..]);
    assert_eq!(report.continuity(), Continuity::ConfirmedTo { size: 25 });
    assert!(report.to_string().contains("for later entries, truncation"), "{report}");
}

#[test]
fn two_heads_of_one_size_that_differ_are_a_fork() {
    let log = entries(9);
    let other = Checkpoint::new(ORIGIN, 9, leaf(77)).unwrap();
    let report = verify(&log, &log, &[head(&log), other.clone()]);
    assert_eq!(
        report.findings(),
        [Finding::Fork { size: 9, expected: other.root(), got: head(&log).root() }]
    );
}

#[test]
fn inv11_a_changed_entry_does_not_hide_a_roll_back() {
    let log = entries(20);
    let mut changed = log[..10].to_vec();
    changed[3] = b"changed".to_vec();
    let report = verify(&log[..10], &changed, &[head(&log), head(&log[..2]), head(&log[..5])]);
    let kinds: Vec<_> = report.findings().iter().map(std::mem::discriminant).collect();
    let root = EMPTY_ROOT;
    let wanted = [
        Finding::Truncated { log_size: 0, head_size: 0 },
        Finding::Fork { size: 0, expected: root, got: root },
        Finding::RootMismatch { size: 0, expected: root, got: root },
    ];
    assert_eq!(kinds, wanted.iter().map(std::mem::discriminant).collect::<Vec<_>>());
}

#[test]
fn a_head_of_another_log_is_no_comparison() {
    let log = entries(5);
    let foreign = Checkpoint::new("other.example/log", 3, leaf(0)).unwrap();
    let report = verify(&log, &log, &[foreign]);
    let want = Finding::OtherLog { expected: "other.example/log".into(), got: ORIGIN.into() };
    assert_eq!(report.findings(), [want]);
    assert_eq!(report.continuity(), Continuity::NotExcluded);
}

#[test]
fn without_an_authentic_checkpoint_nothing_begins() {
    let refused = Verifier::new(&sign(&head(&entries(3))), &[], &[]).unwrap_err();
    assert_eq!(refused, CheckpointError::Note(NoteError::NoKnownKey));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn inv11_no_other_sequence_of_entries_passes(
        signed in prop::collection::vec(prop::collection::vec(0_u8..3, 0..3), 0..9),
        shown in prop::collection::vec(prop::collection::vec(0_u8..3, 0..3), 0..9),
    ) {
        prop_assert_eq!(verify(&signed, &shown, &[]).is_sound(), signed == shown);
    }
}
