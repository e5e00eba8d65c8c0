//! Cosignatures, against a checkpoint that real witnesses cosigned.

use holdpoint_ledger::{
    Checkpoint, Cosignature, CosignatureError, Ed25519NoteSigner, Hash, KeyKind, NoteSigner as _,
    SignedCheckpoint, VerifierKey, checkpoint::CheckpointError, cosignature::MAX_TIME_SECS, cosigners,
    note::NoteError,
};

use super::support::ORIGIN;

/// A head of the log `arche2025h1.staging.ct.transparency.dev`, as the log published it. The first line is of a signature
/// type that this crate does not know.
const REAL: &str = "arche2025h1.staging.ct.transparency.dev
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

— arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=
— arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=
— transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==
— witness1.smartit.nu/witness1 pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==
— remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==
— witness.stagemole.eu Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==
";
const REAL_LOG: &str =
    "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f";
const REAL_WITNESS: &str = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2";

fn key(text: &str) -> VerifierKey {
    text.parse().unwrap()
}

fn real() -> SignedCheckpoint {
    SignedCheckpoint::parse(REAL.as_bytes()).unwrap()
}

fn signer(name: &str, seed: u8) -> Ed25519NoteSigner {
    Ed25519NoteSigner::from_seed(name, &[seed; 32]).unwrap()
}

fn head(size: u64) -> SignedCheckpoint {
    let head = Checkpoint::new(ORIGIN, size, Hash::from_bytes([7; 32])).unwrap();
    SignedCheckpoint::sign(&head, &[&signer(ORIGIN, 1)]).unwrap()
}

#[test]
fn a_cosigned_head_of_a_real_log_verifies() {
    assert_eq!(key(REAL_WITNESS).kind(), KeyKind::Cosignature);
    assert_eq!(key(REAL_WITNESS).to_string(), REAL_WITNESS);
    let keys = [key(REAL_LOG), key(REAL_WITNESS)];
    assert_eq!(real().open(&keys).unwrap().size(), 1_432_088_532);
    let found = cosigners(&real(), &keys).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].key(), found[0].time_secs()), (&key(REAL_WITNESS), 0x6a12_2120));
    let line = REAL.lines().find(|line| line.contains("remora")).unwrap();
    assert_eq!(found[0].to_string(), format!("{line}\n"));
}

#[test]
fn each_changed_byte_of_what_was_cosigned_is_found() {
    let keys = [key(REAL_WITNESS)];
    for (from, to) in [
        ("1432088532\n", "1432088533\n"),
        ("U7WM79", "V7WM79"),
        ("arche2025h1.staging.ct.transparency.dev\n1432", "arche2025h2.staging.ct.transparency.dev\n1432"),
        ("C4Ro=\n", "C4Ro=\nan extension\n"),
        // One second later, and another signature.
        ("2net5wAAAABqEiEg", "2net5wAAAABqEiEh"),
        ("2net5wAAAABqEiEgPl", "2net5wAAAABqEiEgPm"),
    ] {
        let changed = REAL.replacen(from, to, 1);
        assert_ne!(changed, REAL);
        let changed = SignedCheckpoint::parse(changed.as_bytes()).unwrap();
        assert!(matches!(cosigners(&changed, &keys), Err(NoteError::BadSignature { .. })), "{from}");
    }
    // Too short for a time, and for a signature.
    for cut in ["2net5wAAAABqEiE=", "2net5wAAAABqEiEg"] {
        let line = REAL.lines().find(|line| line.contains("remora")).unwrap();
        let changed = REAL.replace(line, &format!("— remora.n621.de {cut}"));
        let changed = SignedCheckpoint::parse(changed.as_bytes()).unwrap();
        assert!(cosigners(&changed, &keys).is_err(), "{cut}");
    }
}

#[test]
fn what_is_signed_is_as_the_format_says() {
    // The message, put together by hand.
    let head = head(5);
    let signer = signer("witness.example/w1", 2);
    let made = Cosignature::sign(&head, &signer, 1_679_315_147).unwrap();
    let message = format!("cosignature/v1\ntime 1679315147\n{}", head.unverified());
    let signature = [1_679_315_147_u64.to_be_bytes().as_slice(), &signer.sign(message.as_bytes())].concat();
    let key = VerifierKey::of_cosigner(&signer).unwrap();
    let bytes = [key.id().as_bytes().as_slice(), &signature].concat();
    let encoded = base64(&bytes);
    assert_eq!(made.to_string(), format!("— witness.example/w1 {encoded}\n"));
    // The same public key has another id for notes: neither counts as the other.
    assert_ne!(VerifierKey::of(&signer).unwrap().id(), key.id());
    let cosigned = head.with_cosignatures(std::slice::from_ref(&made)).unwrap();
    assert_eq!(cosigners(&cosigned, &[VerifierKey::of(&signer).unwrap()]).unwrap(), []);
    assert_eq!(cosigners(&cosigned, &[key]).unwrap(), [made]);
}

fn base64(bytes: &[u8]) -> String {
    // By way of a hash's text, three bytes at a time, would be obscure: the alphabet is short.
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = usize::try_from(bits >> (18 - 6 * place) & 63).unwrap();
            text.push(if place <= chunk.len() { char::from(ALPHABET[digit]) } else { '=' });
        }
    }
    text
}

#[test]
fn times_have_an_end() {
    let signer = signer("w", 2);
    assert!(Cosignature::sign(&head(5), &signer, MAX_TIME_SECS).is_ok());
    let late = Cosignature::sign(&head(5), &signer, MAX_TIME_SECS + 1);
    assert_eq!(late, Err(CosignatureError::Time { got: MAX_TIME_SECS + 1 }));
    // One that somebody signed all the same is none.
    let key = VerifierKey::of_cosigner(&signer).unwrap();
    let message = format!("cosignature/v1\ntime {}\n{}", u64::MAX, head(5).unverified());
    let bytes =
        [key.id().as_bytes().as_slice(), &u64::MAX.to_be_bytes(), &signer.sign(message.as_bytes())].concat();
    let line = format!("— w {}\n", base64(&bytes));
    assert!(Cosignature::read(&head(5), &line, &[key]).is_err());
}

#[test]
fn a_quorum_is_of_parties_not_of_names() {
    let one = signer("w1", 2);
    let keys = [("w1", 2), ("w2", 2), ("w3", 3), ("absent", 4)]
        .map(|(name, seed)| VerifierKey::of_cosigner(&signer(name, seed)).unwrap());
    let made: Vec<_> = [("w1", 2), ("w2", 2), ("w3", 3), ("stranger", 9)]
        .map(|(name, seed)| Cosignature::sign(&head(5), &signer(name, seed), 7).unwrap())
        .into();
    let cosigned = head(5).with_cosignatures(&made).unwrap();
    let names: Vec<_> = cosigners(&cosigned, &keys).unwrap();
    let names: Vec<_> = names.iter().map(|made| made.key().name()).collect();
    assert_eq!(names, ["w1", "w3"]);
    // A cosignature in place of the earlier one of the same key.
    let later = Cosignature::sign(&head(5), &one, 8).unwrap();
    let cosigned = cosigned.with_cosignatures(&[later]).unwrap();
    let times: Vec<_> =
        cosigners(&cosigned, &keys[..1]).unwrap().iter().map(Cosignature::time_secs).collect();
    assert_eq!(times, [8]);
    // One of another head is not taken.
    assert!(head(6).with_cosignatures(&made).is_err());
}

#[test]
fn inv11_a_cosigner_cannot_speak_for_the_log() {
    // A witness that took the log's name, and signed a head of its own.
    let witness = signer(ORIGIN, 2);
    let key = VerifierKey::of_cosigner(&witness).unwrap();
    let other = Checkpoint::new(ORIGIN, 9, Hash::from_bytes([9; 32])).unwrap();
    let by_witness = SignedCheckpoint::sign(&other, &[&signer("another", 3)]).unwrap();
    let made = Cosignature::sign(&by_witness, &witness, 7).unwrap();
    let cosigned = by_witness.with_cosignatures(&[made]).unwrap();
    let log = VerifierKey::of(&signer(ORIGIN, 1)).unwrap();
    assert!(matches!(cosigned.open(&[log, key]), Err(CheckpointError::NotSignedByLog { .. })));
}

#[test]
fn lines_of_strangers_are_left_out_and_forged_ones_refused() {
    let made = Cosignature::sign(&head(5), &signer("w1", 2), 7).unwrap();
    let stranger = Cosignature::sign(&head(5), &signer("w2", 3), 7).unwrap();
    let keys = [VerifierKey::of_cosigner(&signer("w1", 2)).unwrap()];
    let lines = format!("{stranger}{made}");
    assert_eq!(Cosignature::read(&head(5), &lines, &keys).unwrap(), std::slice::from_ref(&made));
    assert_eq!(Cosignature::read(&head(5), &stranger.to_string(), &keys).unwrap(), []);
    assert!(Cosignature::read(&head(6), &made.to_string(), &keys).is_err());
    for bad in ["", "no line\n", "— w1 AAAA", "\n"] {
        assert!(Cosignature::read(&head(5), bad, &keys).is_err(), "{bad:?}");
    }
}
