//! Exported logs: written, verified from the files alone, and every change to a file found.

use holdpoint_ledger::bundle::{encode_bundle, read_bundle};
use holdpoint_ledger::export::export_paths;
use holdpoint_ledger::{
    Checkpoint, Continuity, ExportError, ExportSource, Exporter, Finding, Hash, Report, SourceError,
    TilePath, verify_export,
};

use super::support::{Files, entries, export, head, keys, leaf, sign};

fn verify(files: &Files) -> Report {
    verify_export(files, &keys(), &[]).unwrap()
}

fn path(text: &str) -> TilePath {
    text.parse().unwrap()
}

/// Rewrites the entries of one bundle.
fn edit_bundle(files: &mut Files, path: &str, edit: impl FnOnce(&mut Vec<Vec<u8>>)) {
    let bytes = files.0.get_mut(path).unwrap();
    let mut entries: Vec<Vec<u8>> = read_bundle(bytes).map(|entry| entry.unwrap().to_vec()).collect();
    edit(&mut entries);
    *bytes = encode_bundle(entries.iter().map(Vec::as_slice)).unwrap();
}

#[test]
fn an_export_has_exactly_the_files_of_the_layout() {
    for size in [0, 1, 255, 256, 257, 600] {
        let log = entries(size);
        let files = export(&log);
        let mut want: Vec<String> = export_paths(&head(&log)).collect();
        want.sort();
        assert_eq!(files.0.keys().cloned().collect::<Vec<_>>(), want, "size {size}");
    }
    let names: Vec<String> = export(&entries(257)).0.into_keys().collect();
    assert_eq!(
        names,
        [
            "checkpoint",
            "tile/0/000",
            "tile/0/001.p/1",
            "tile/1/000.p/1",
            "tile/entries/000",
            "tile/entries/001.p/1"
        ]
    );
}

#[test]
fn an_export_verifies_at_every_border() {
    for size in [0, 1, 2, 255, 256, 257, 511, 512, 513, 1000] {
        let report = verify(&export(&entries(size)));
        assert!(report.is_sound(), "size {size}: {report}");
        assert_eq!(report.entries(), size as u64);
    }
    let log = entries(65_800);
    let report = verify_export(&export(&log), &keys(), &[head(&log[..65_536])]).unwrap();
    assert!(report.is_sound(), "{report}");
    assert_eq!(report.continuity(), Continuity::ConfirmedTo { size: 65_536 });
}

#[test]
fn the_exporter_refuses_a_checkpoint_of_other_entries() {
    let mut exporter = Exporter::new();
    for entry in entries(4) {
        assert_eq!(exporter.push(&entry).unwrap(), []);
    }
    for other in [head(&entries(3)), head(&entries(5)), Checkpoint::new("o", 4, leaf(0)).unwrap()] {
        let refused = exporter.clone().finish(&sign(&other));
        assert!(matches!(refused, Err(ExportError::OtherHead { got_size: 4, .. })));
    }
    assert!(matches!(exporter.push(&vec![0; 65_536]), Err(ExportError::Bundle(_))));
    // The refused entry left no trace.
    assert!(exporter.finish(&sign(&head(&entries(4)))).is_ok());
}

#[test]
fn inv11_every_flipped_bit_of_a_small_export_is_found() {
    let files = export(&entries(5));
    for (name, bytes) in &files.0 {
        for bit in 0..bytes.len() * 8 {
            let mut changed = files.clone();
            changed.0.get_mut(name).unwrap()[bit / 8] ^= 1 << (bit % 8);
            assert!(!verify(&changed).is_sound(), "bit {bit} of `{name}`");
        }
    }
}

#[test]
fn inv11_flipped_bits_of_full_tiles_and_bundles_are_found() {
    let files = export(&entries(520));
    for (name, bytes) in &files.0 {
        // A prime step, so that every bit of a byte and every byte of a hash is met.
        for bit in (0..bytes.len() * 8).step_by(1009) {
            let mut changed = files.clone();
            changed.0.get_mut(name).unwrap()[bit / 8] ^= 1 << (bit % 8);
            assert!(!verify(&changed).is_sound(), "bit {bit} of `{name}`");
        }
    }
}

#[test]
fn inv11_a_missing_shorter_or_longer_file_is_found() {
    let files = export(&entries(520));
    for name in files.0.keys() {
        let mut missing = files.clone();
        missing.0.remove(name);
        let report = verify(&missing);
        assert!(!report.is_sound(), "without `{name}`");
        if let Ok(path) = name.parse() {
            assert!(report.findings().contains(&Finding::FileMissing { path }), "{report}");
        }

        let mut shorter = files.clone();
        shorter.0.get_mut(name).unwrap().pop();
        assert!(!verify(&shorter).is_sound(), "`{name}` cut");
        let mut longer = files.clone();
        longer.0.get_mut(name).unwrap().push(0);
        assert!(!verify(&longer).is_sound(), "`{name}` grown");
    }
    assert!(!verify(&Files::default()).is_sound());
}

#[test]
fn inv11_the_changed_entry_is_named() {
    let files = export(&entries(600));
    for index in [0, 1, 255, 256, 300, 511, 512, 599] {
        let mut changed = files.clone();
        let bundle = index / 256;
        let name =
            if bundle < 2 { format!("tile/entries/00{bundle}") } else { "tile/entries/002.p/88".into() };
        edit_bundle(&mut changed, &name, |entries| entries[index % 256].push(b'!'));
        let report = verify(&changed);
        assert_eq!(report.findings()[0], Finding::EntryChanged { index: index as u64, more: 0 }, "{report}");
        assert!(matches!(report.findings()[1..], [Finding::RootMismatch { size: 600, .. }]), "{report}");
    }
}

#[test]
fn inv11_the_first_of_dropped_reordered_or_doubled_entries_is_named() {
    let files = export(&entries(600));
    let name = "tile/entries/001";
    let verify_edited = |edit: fn(&mut Vec<Vec<u8>>)| {
        let mut changed = files.clone();
        edit_bundle(&mut changed, name, edit);
        verify(&changed).findings().to_vec()
    };
    let count = |got| Finding::BundleCount { path: path(name), expected: 256, got };

    let dropped = verify_edited(|entries| drop(entries.remove(10)));
    assert!(dropped.contains(&count(255)), "{dropped:?}");
    assert!(dropped.contains(&Finding::EntryChanged { index: 266, more: 244 }), "{dropped:?}");

    let doubled = verify_edited(|entries| entries.insert(10, entries[10].clone()));
    assert!(doubled.contains(&count(257)), "{doubled:?}");
    assert!(doubled.contains(&Finding::EntryChanged { index: 267, more: 244 }), "{doubled:?}");

    let reordered = verify_edited(|entries| entries.swap(10, 20));
    assert!(reordered.contains(&Finding::EntryChanged { index: 266, more: 1 }), "{reordered:?}");

    // The last one dropped, so that all others keep their place.
    let last = verify_edited(|entries| drop(entries.pop()));
    assert_eq!(last, [count(255)]);

    // One too many at the end: it takes nobody's place.
    let longer = verify_edited(|entries| entries.push(b"one more".to_vec()));
    assert_eq!(longer, [count(257), Finding::EntriesExtra { expected: 600, got: 601 }]);
}

#[test]
fn inv11_a_changed_tile_is_told_from_a_changed_entry() {
    let files = export(&entries(600));
    for name in ["tile/0/000", "tile/0/002.p/88", "tile/1/000.p/2"] {
        let mut changed = files.clone();
        changed.0.get_mut(name).unwrap()[40] ^= 1;
        assert_eq!(verify(&changed).findings(), [Finding::TileChanged { path: path(name) }]);
    }
}

#[test]
fn inv11_tiles_rewritten_to_match_a_changed_entry_prove_nothing() {
    // The attacker changes an entry and rebuilds every tile, but cannot sign the new root.
    let mut log = entries(600);
    let checkpoint = export(&log).0.remove("checkpoint").unwrap();
    log[300] = b"forged".to_vec();
    let mut forged = export(&log);
    forged.0.insert("checkpoint".into(), checkpoint);
    let report = verify(&forged);
    assert!(matches!(report.findings(), [Finding::RootMismatch { size: 600, .. }]), "{report}");

    // A tile altered together with its entry is no witness: the tile above does not hold its root.
    let mut paired = export(&entries(600));
    edit_bundle(&mut paired, "tile/entries/001", |entries| entries[44].push(b'!'));
    paired.0.get_mut("tile/0/001").unwrap()[44 * 32] ^= 1;
    let findings = verify(&paired).findings().to_vec();
    assert!(findings.contains(&Finding::EntryUnproven { index: 300, more: 0 }), "{findings:?}");

    // With the entry alone changed but a tile above altered too, no tile proves which is right.
    let mut mixed = export(&entries(600));
    edit_bundle(&mut mixed, "tile/entries/001", |entries| entries[44].push(b'!'));
    mixed.0.get_mut("tile/1/000.p/2").unwrap()[40] ^= 1;
    let findings = verify(&mixed).findings().to_vec();
    assert!(findings.contains(&Finding::EntryUnproven { index: 300, more: 0 }), "{findings:?}");
    assert!(findings.contains(&Finding::TileChanged { path: path("tile/1/000.p/2") }), "{findings:?}");
}

#[test]
fn a_missing_bundle_does_not_hide_a_later_change() {
    let mut files = export(&entries(600));
    files.0.remove("tile/entries/000");
    edit_bundle(&mut files, "tile/entries/001", |entries| entries[44].push(b'!'));
    let findings = verify(&files).findings().to_vec();
    assert!(findings.contains(&Finding::FileMissing { path: path("tile/entries/000") }), "{findings:?}");
    assert!(findings.contains(&Finding::EntryChanged { index: 300, more: 0 }), "{findings:?}");
}

#[test]
fn entries_that_have_no_place_any_more_are_not_looked_at() {
    // Without its entries and without their hashes, a bundle may have held anything: what follows cannot be proven.
    let mut files = export(&entries(600));
    let (bundle, tile) = (path("tile/entries/001"), path("tile/0/001"));
    for path in [bundle, tile] {
        files.0.remove(&path.to_string());
    }
    let report = verify(&files);
    assert_eq!(report.entries(), 256, "{report}");
    let first = &report.findings()[..2];
    assert_eq!(first, [Finding::FileMissing { path: tile }, Finding::FileMissing { path: bundle }]);
}

#[test]
fn inv11_changes_below_a_full_upper_tile_are_named() {
    let log = entries(65_800);
    let files = export(&log);
    assert!(files.0.contains_key("tile/1/000"));

    let mut changed = files.clone();
    edit_bundle(&mut changed, "tile/entries/200", |entries| entries[9].push(b'!'));
    let report = verify(&changed);
    assert_eq!(report.findings()[0], Finding::EntryChanged { index: 200 * 256 + 9, more: 0 }, "{report}");
    assert_eq!(report.findings().len(), 2, "{report}");

    let mut changed = files;
    changed.0.get_mut("tile/1/000").unwrap()[40] ^= 1;
    assert_eq!(verify(&changed).findings(), [Finding::TileChanged { path: path("tile/1/000") }]);
}

#[test]
fn inv11_an_older_copy_of_the_export_is_found_against_a_remembered_head() {
    let (older, newer) = (entries(300), entries(400));
    let report = verify_export(&export(&older), &keys(), &[head(&newer)]).unwrap();
    assert_eq!(report.findings(), [Finding::Truncated { log_size: 300, head_size: 400 }]);
    // Alone it is sound, and the report says what that is worth.
    let report = verify(&export(&older));
    assert!(report.is_sound());
    assert!(report.to_string().contains("cannot be excluded"), "{report}");
}

#[test]
fn inv11_a_flood_of_findings_is_bounded_and_hides_no_roll_back() {
    let size = 300 * 256;
    let mut files = export(&entries(size));
    for bundle in 0..300 {
        let name = format!("tile/entries/{bundle:03}");
        edit_bundle(&mut files, &name, |entries| entries[0].push(b'!'));
    }
    let later = Checkpoint::new(super::support::ORIGIN, size as u64 + 1, leaf(0)).unwrap();
    let report = verify_export(&files, &keys(), &[later]).unwrap();
    // 256 entries, the roll-back and the root; not listed are 44 entries and the 3 tiles above them.
    assert_eq!(report.findings().len(), 256 + 2);
    assert_eq!(report.findings_omitted(), 44 + 3);
    assert!(report.to_string().contains("\n- and 47 places more that differ\n"));
    assert!(report.findings().iter().any(|finding| matches!(finding, Finding::Truncated { .. })));
    assert!(report.findings().iter().any(|finding| matches!(finding, Finding::RootMismatch { .. })));
    assert_eq!(report.continuity(), Continuity::Contradicted);

    // Nor do files that are gone hide it: the roll-back was listed first and does not count.
    files.0.retain(|name, _| !name.starts_with("tile/entries/"));
    let later = Checkpoint::new(super::support::ORIGIN, size as u64 + 1, leaf(0)).unwrap();
    let report = verify_export(&files, &keys(), &[later]).unwrap();
    assert!(matches!(report.findings()[0], Finding::Truncated { .. }), "{}", report.findings()[0]);
    assert_eq!((report.findings().len(), report.findings_omitted()), (1 + 256, 44));
}

#[test]
fn inv11_a_checkpoint_that_is_not_of_the_log_stops_everything() {
    let mut files = export(&entries(5));
    let report = verify_export(&files, &[], &[]).unwrap();
    assert!(matches!(report.findings(), [Finding::BadSignature { .. }]), "{report}");
    assert!(report.head().is_none());

    files.0.insert("checkpoint".into(), b"not a note".to_vec());
    assert!(matches!(verify(&files).findings(), [Finding::CheckpointUnreadable { .. }]));
}

/// A disk that fails on one file.
struct BrokenDisk(Files, &'static str);

impl ExportSource for BrokenDisk {
    fn file(&self, path: &str) -> Result<Option<Vec<u8>>, SourceError> {
        if path == self.1 { Err(SourceError::new("disk on fire")) } else { self.0.file(path) }
    }
}

#[test]
fn a_failing_storage_is_an_error_and_not_a_verdict() {
    let files = export(&entries(300));
    for name in ["checkpoint", "tile/0/000", "tile/entries/001.p/44", "tile/1/000.p/1"] {
        let failed = verify_export(&BrokenDisk(files.clone(), name), &keys(), &[]);
        assert!(matches!(failed, Err(ExportError::Source(_))), "`{name}`");
    }
}

#[test]
fn findings_say_what_they_mean_on_one_line() {
    let findings = [
        Finding::EntryChanged { index: 3, more: 0 },
        Finding::Truncated { log_size: 3, head_size: 4 },
        Finding::Fork { size: 3, expected: leaf(0), got: leaf(1) },
        Finding::FileMissing { path: path("tile/0/000") },
        Finding::RootMismatch { size: 3, expected: leaf(0), got: Hash::from_bytes([0; 32]) },
    ];
    for finding in findings {
        let text = finding.to_string();
        assert!(text.contains(": ") && !text.contains('\n'), "{text}");
    }
}
