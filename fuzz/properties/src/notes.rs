//! Signed notes, checkpoints and keys as text, and exports with a byte changed.

use std::collections::BTreeMap;

use holdpoint_ledger::{
    Checkpoint, Ed25519NoteSigner, ExportSource, Exporter, SignedCheckpoint, SignedNote, SourceError,
    VerifierKey, leaf_hash, verify_export,
};

use crate::{Choices, proofs};

const ORIGIN: &str = "gate.example/log";

/// One value has one spelling; what was changed is verified with the text that was signed, or not at all.
pub(crate) fn holds(bytes: &[u8]) {
    spellings(bytes);
    let choices = &mut Choices::new(bytes);
    if choices.yes() { export(choices) } else { note(choices) }
}

fn signer(number: u8) -> Ed25519NoteSigner {
    Ed25519NoteSigner::from_seed(if number == 1 { ORIGIN } else { "witness.example" }, &[number; 32]).unwrap()
}

fn keys() -> Vec<VerifierKey> {
    [1, 2].map(|number| VerifierKey::of(&signer(number)).unwrap()).into()
}

/// Parse, print: the same bytes.
fn spellings(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        assert!(SignedNote::parse(bytes).is_err(), "a note that is no text");
        return;
    };
    if let Ok(note) = SignedNote::parse(bytes) {
        assert_eq!(note.to_string(), text);
        // Nobody who fuzzes has our keys.
        if let Ok(verified) = note.verify(&keys()) {
            assert_eq!(verified.text(), note.unverified_text());
        }
    }
    if let Ok(signed) = SignedCheckpoint::parse(bytes) {
        assert_eq!(signed.to_string(), text);
    }
    if let Ok(head) = text.parse::<Checkpoint>() {
        assert_eq!(head.to_string(), text);
    }
    if let Ok(key) = text.parse::<VerifierKey>() {
        assert_eq!(key.to_string(), text);
    }
}

fn note(choices: &mut Choices<'_>) {
    let size = choices.number().max(1);
    let head = Checkpoint::new(ORIGIN, size, leaf_hash(&[choices.byte()])).unwrap();
    let (log, witness) = (signer(1), signer(2));
    let note = SignedNote::sign(&head.to_string(), &[&log, &witness]).unwrap();
    let mut bytes = note.to_string().into_bytes();
    choices.edit(&mut bytes);
    let Ok(changed) = SignedNote::parse(&bytes) else { return };
    if let Ok(verified) = changed.verify(&keys()) {
        assert_eq!(verified.text(), note.unverified_text(), "another text under our signature");
        assert!(!verified.signed_by().is_empty());
    }
    let opened = SignedCheckpoint::parse(&bytes).and_then(|signed| signed.open(&keys()[..1]));
    if let Ok(opened) = opened {
        assert_eq!(opened, head, "another head under our signature");
    }
    // The witness alone does not speak for the log.
    let alone = SignedNote::sign(&head.to_string(), &[&witness]).unwrap().to_string();
    let alone = SignedCheckpoint::parse(alone.as_bytes()).unwrap();
    assert!(alone.open(&keys()).is_err(), "a witness spoke for the log");
}

struct Files(BTreeMap<String, Vec<u8>>);

impl ExportSource for Files {
    fn file(&self, path: &str) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(self.0.get(path).cloned())
    }
}

/// A log as files: sound as it was written; with any file of it changed or gone, not sound, and never with another head.
fn export(choices: &mut Choices<'_>) {
    let entries: Vec<Vec<u8>> = choices.several(6, |choices| vec![choices.byte(); choices.below(5)]);
    let leaves: Vec<_> = entries.iter().map(|entry| leaf_hash(entry)).collect();
    let head = Checkpoint::new(ORIGIN, leaves.len() as u64, proofs::root(&leaves)).unwrap();
    let signed = SignedCheckpoint::sign(&head, &[&signer(1)]).unwrap();
    let mut exporter = Exporter::new();
    let mut files = Vec::new();
    for entry in &entries {
        files.extend(exporter.push(entry).unwrap());
    }
    files.extend(exporter.finish(&signed).unwrap());
    let mut files = Files(files.into_iter().map(|file| (file.path, file.bytes)).collect());
    let honest = verify_export(&files, &keys()[..1], &[]).unwrap();
    assert!(honest.is_sound() && honest.entries() == head.size(), "{honest}");

    let names: Vec<String> = files.0.keys().cloned().collect();
    let name = &names[choices.below(names.len())];
    let before = files.0[name].clone();
    if choices.yes() {
        files.0.remove(name);
    } else {
        choices.edit(files.0.get_mut(name).unwrap());
    }
    let changed = files.0.get(name) != Some(&before);
    let report = verify_export(&files, &keys()[..1], &[]).unwrap();
    // Signatures of strangers beside ours change the file of the checkpoint and nothing that anybody relies on.
    let only_signatures = name == "checkpoint" && report.head() == Some(&head);
    assert!(!report.is_sound() || !changed || only_signatures, "a changed `{name}` is sound: {report}");
    assert!(report.head().is_none_or(|got| *got == head), "another head");
}
