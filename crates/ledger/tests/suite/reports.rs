//! What a report says, word for word: people act on it.

use holdpoint_ledger::{Finding, Report, TilePath, verify_export};

use super::support::{Files, ORIGIN, entries, export, head, keys, leaf};

const NOT_EXCLUDED: &str = "truncation, roll-back and fork cannot be excluded: bring a head from a receipt, a \
                            permit, an approval or a witness";

fn verify(files: &Files) -> Report {
    verify_export(files, &keys(), &[]).unwrap()
}

#[test]
fn of_a_sound_log() {
    let log = entries(300);
    let root = head(&log).root();
    let first = format!(
        "log `{ORIGIN}`: 300 entries signed, 300 read, root `{root}`\n\
         sound: no entry was changed, dropped, reordered or duplicated\n"
    );
    let report = verify(&export(&log));
    assert_eq!(report.to_string(), format!("{first}{NOT_EXCLUDED}"));
    assert_eq!((report.head(), report.findings_omitted()), (Some(&head(&log)), 0));

    let report = verify_export(&export(&log), &keys(), &[head(&log[..200])]).unwrap();
    let confirmed = "the log continues the head of 200 entries that you brought; for later entries, truncation, \
                     roll-back and fork cannot be excluded";
    assert_eq!(report.to_string(), format!("{first}{confirmed}"));
}

#[test]
fn inv11_of_a_log_that_is_not_sound() {
    let log = entries(3);
    let mut files = export(&log);
    files.0.remove("tile/0/000.p/3");
    let later = head(&entries(4));
    let report = verify_export(&files, &keys(), &[later]).unwrap();
    let root = head(&log).root();
    assert_eq!(
        report.to_string(),
        format!(
            "log `{ORIGIN}`: 3 entries signed, 3 read, root `{root}`\n\
             not sound:\n\
             - the log has 3 entries, but you hold a head of 4: it was truncated or rolled back\n\
             - `tile/0/000.p/3` is missing: the export is incomplete, or a part of it was removed\n\
             the log contradicts a head that you brought"
        )
    );
}

#[test]
fn inv11_of_a_log_that_nobody_signed() {
    let files = export(&entries(3));
    let report = verify_export(&files, &[], &[]).unwrap();
    assert_eq!(
        report.to_string(),
        format!(
            "log without an authentic checkpoint\n\
             not sound:\n\
             - the checkpoint is not validly signed (checkpoint is not a validly signed note: note is not signed by \
             any known key): it was altered, or is not of the log whose key you trust; nothing below it was checked\n\
             {NOT_EXCLUDED}"
        )
    );
    let mut files = files;
    files.0.remove("checkpoint");
    let report = verify(&files).to_string();
    let said = "- the checkpoint cannot be read (`checkpoint` is missing): nothing below it was checked\n";
    assert!(report.contains(said), "{report}");
}

#[test]
fn each_finding_has_its_own_words() {
    let path: TilePath = "tile/0/000".parse().unwrap();
    let (expected, got) = (leaf(0), leaf(1));
    let cases = [
        (
            Finding::OtherLog { expected: "a".into(), got: "b".into() },
            "you brought a head of the log `a`, this is the log `b`".to_owned(),
        ),
        (Finding::Fork { size: 7, expected, got }, format!("the first 7 entries have the root `{got}`")),
        (Finding::RootMismatch { size: 7, expected, got }, format!("the 7 entries have the root `{got}`")),
        (
            Finding::EntryChanged { index: 5, more: 0 },
            "entry 5 is not the one that was signed: it was changed".into(),
        ),
        (
            Finding::EntryChanged { index: 5, more: 2 },
            "entry 5 is not the one that was signed, nor are 2 more in its bundle".into(),
        ),
        (
            Finding::EntryUnproven { index: 5, more: 2 },
            "entry 5 and 2 more in its bundle contradict their tile".into(),
        ),
        (Finding::EntriesMissing { expected: 5, got: 4 }, "5 entries were signed, 4 are there".into()),
        (Finding::EntriesExtra { expected: 4, got: 5 }, "4 entries were signed, 5 are there".into()),
        (
            Finding::BundleCount { path, expected: 5, got: 4 },
            "bundle `tile/0/000` must hold 5 entries and holds 4".into(),
        ),
        (
            Finding::BundleMalformed { path, reason: "too short".into() },
            "bundle `tile/0/000` cannot be read (too short)".into(),
        ),
        (Finding::TileChanged { path }, "tile `tile/0/000` is not the one that was signed".into()),
    ];
    for (finding, words) in cases {
        assert!(finding.to_string().starts_with(&words), "expected `{words}`, got `{finding}`");
    }
}
