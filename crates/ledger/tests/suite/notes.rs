//! Signed notes and keys, against the vectors of the format's first implementation.

use holdpoint_ledger::note::open;
use holdpoint_ledger::{Ed25519NoteSigner, KeyError, NoteError, NoteSigner, SignedNote, VerifierKey};
use proptest::prelude::*;

const PETER_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
/// Seed in `PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz`.
const PETER_SEED: &str = "810a1402d5146c8d84f2443330f54080ebf98ee17d9c74f6252fc5d5c7283173";
const ENOCH_KEY: &str = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop";
const TEXT: &str = "If you think cryptography is the answer to your problem,\n\
                    then you don't know what your problem is.\n";
const PETER_LINE: &str = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
const ENOCH_LINE: &str = "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n";

fn key(text: &str) -> VerifierKey {
    text.parse().unwrap()
}

fn peter() -> Ed25519NoteSigner {
    let seed = super::support::unhex(PETER_SEED).try_into().unwrap();
    Ed25519NoteSigner::from_seed("PeterNeumann", &seed).unwrap()
}

fn names(note: &str, keys: &[VerifierKey]) -> Result<Vec<String>, NoteError> {
    let note = open(note.as_bytes(), keys)?;
    Ok(note.signed_by().iter().map(|key| key.name().to_owned()).collect())
}

#[test]
fn verifier_keys_round_trip() {
    for text in [PETER_KEY, ENOCH_KEY] {
        assert_eq!(key(text).to_string(), text);
    }
    assert_eq!(VerifierKey::of(&peter()), Ok(key(PETER_KEY)));
    assert_eq!(key(PETER_KEY).public_key(), &peter().public_key());
    let id = key(PETER_KEY).id();
    assert_eq!((id.to_string(), format!("{id:?}")), ("c74f20a3".to_owned(), "KeyId(c74f20a3)".to_owned()));
}

#[test]
fn mangled_verifier_keys_are_refused() {
    for start in 0..PETER_KEY.len() {
        for end in start + 1..=PETER_KEY.len() {
            if (start, end) != (0, PETER_KEY.len()) {
                assert!(PETER_KEY[start..end].parse::<VerifierKey>().is_err(), "{start}..{end}");
            }
        }
    }
    for place in 0..PETER_KEY.len() {
        let mut bytes = PETER_KEY.as_bytes().to_vec();
        bytes[place] += 1;
        let mangled = String::from_utf8(bytes).unwrap();
        assert!(mangled.parse::<VerifierKey>().is_err(), "{mangled}");
    }
    for (text, want) in [
        ("PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==", None),
        (
            "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            Some(KeyError::SignatureType { got: 0x65 }),
        ),
        ("PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", Some(KeyError::Malformed)),
        ("PeterNeumann+c74f20a3", Some(KeyError::Malformed)),
        ("Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", Some(KeyError::Name)),
    ] {
        let got = text.parse::<VerifierKey>().unwrap_err();
        assert!(want.is_none_or(|want| got == want), "{text}");
    }
}

#[test]
fn weak_public_keys_are_refused() {
    // The neutral point: a signature under it is valid for every message.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    assert_eq!(VerifierKey::new("x", &neutral), Err(KeyError::PublicKey));
    assert_eq!(VerifierKey::new("x", &[0; 32]), Err(KeyError::PublicKey));
}

#[test]
fn key_names_are_checked() {
    for bad in ["", "a b", "a+b", "a\tb", "a\nb", "a\u{2003}b", "a\u{a0}b", "a\u{0}b", &"n".repeat(257)] {
        assert_eq!(Ed25519NoteSigner::from_seed(bad, &[1; 32]).unwrap_err(), KeyError::Name, "{bad:?}");
    }
}

#[test]
fn signing_gives_the_published_note() {
    let note = SignedNote::sign(TEXT, &[&peter()]).unwrap();
    assert_eq!(note.to_string(), format!("{TEXT}\n{PETER_LINE}"));
    // A second signature by the same key takes the place of the first.
    assert_eq!(note.clone().cosign(&peter()).unwrap(), note);
}

#[test]
fn known_keys_verify_and_unknown_ones_are_ignored() {
    let both = format!("{TEXT}\n{PETER_LINE}{ENOCH_LINE}");
    let (peter, enoch) = (key(PETER_KEY), key(ENOCH_KEY));
    assert_eq!(names(&both, std::slice::from_ref(&peter)), Ok(vec!["PeterNeumann".into()]));
    assert_eq!(
        names(&both, &[enoch.clone(), peter.clone()]),
        Ok(vec!["PeterNeumann".into(), "EnochRoot".into()])
    );
    assert_eq!(names(&both, &[]), Err(NoteError::NoKnownKey));
    // The same name with another key, and the same key under another name, are other keys.
    let namesake = VerifierKey::new("PeterNeumann", enoch.public_key()).unwrap();
    let renamed = VerifierKey::new("PeterNeuman", peter.public_key()).unwrap();
    assert_eq!(names(&both, &[namesake, renamed]), Err(NoteError::NoKnownKey));
    // A key configured twice is one key; a repeated signature is one signature.
    assert_eq!(names(&both, &[peter.clone(), peter.clone()]), Ok(vec!["PeterNeumann".into()]));
    let repeated = format!("{TEXT}\n{PETER_LINE}{PETER_LINE}");
    assert_eq!(names(&repeated, &[peter]), Ok(vec!["PeterNeumann".into()]));
}

#[test]
fn an_invalid_signature_of_a_known_key_refuses_the_note() {
    let keys = [key(PETER_KEY), key(ENOCH_KEY)];
    let bad = |note: String| matches!(names(&note, &keys), Err(NoteError::BadSignature { .. }));
    assert!(bad(format!("{}\n{PETER_LINE}", TEXT.replace("answer", "Answer"))));
    assert!(bad(format!("{TEXT}\n{}ABCD{}{ENOCH_LINE}", &PETER_LINE[..60], &PETER_LINE[60..])));
    assert!(bad(format!("{TEXT}\n{ENOCH_LINE}{}", PETER_LINE.replace("KE6Ry", "KE6Rz"))));
}

#[test]
fn malformed_notes_are_refused() {
    let keys = [key(PETER_KEY)];
    let seventeen = format!("{TEXT}\n{}", PETER_LINE.repeat(17));
    let sixteen = format!("{TEXT}\n{}", PETER_LINE.repeat(16));
    assert_eq!(names(&sixteen, &keys), Ok(vec!["PeterNeumann".into()]));
    assert_eq!(names(&seventeen, &keys), Err(NoteError::TooManySignatures { got: 17 }));
    let large = format!("{}\n\n{PETER_LINE}", "x".repeat(128 * 1024));
    assert!(matches!(names(&large, &keys), Err(NoteError::TooLarge { .. })));
    assert_eq!(open(b"\xff\n\n\xe2\x80\x94 a AAAA\n", &keys), Err(NoteError::NotPlainText));

    let line = PETER_LINE.trim_end();
    for bad in [
        String::new(),
        "\n".into(),
        "\n\n".into(),
        TEXT.into(),
        format!("{TEXT}\n"),
        format!("{TEXT}{PETER_LINE}"),
        format!("{TEXT}\n{line}"),
        format!("{TEXT}\n{line}\r\n"),
        format!("{TEXT}\n{PETER_LINE}\n"),
        format!("\u{1}{TEXT}\n{PETER_LINE}"),
        format!("{TEXT}\n{}", PETER_LINE.replace("PeterNeumann", "Bad Name")),
        format!("{TEXT}\n{}", PETER_LINE.replace("PeterNeumann", "Bad+Name")),
        format!("{TEXT}\n{}", PETER_LINE.replace("PeterNeumann", "")),
        format!("{TEXT}\n{}", PETER_LINE.replace('—', "-")),
        format!("{TEXT}\n{}", PETER_LINE.replace("AM=", "AM")),
        format!("{TEXT}\n{PETER_LINE}Unexpected line.\n"),
        format!("{TEXT}\n— PeterNeumann x08gow==\n"),
    ] {
        let got = names(&bad, &keys);
        assert!(got.is_err() && got != Err(NoteError::NoKnownKey), "{bad:?}: {got:?}");
    }
}

#[test]
fn text_may_have_empty_lines() {
    // The example of the specification.
    let note = "Ognuno sta solo sul cuor della terra\n\
                trafitto da un raggio di sole:\n\
                \n\
                ed è subito sera.\n\
                \n\
                — quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n";
    let parsed = SignedNote::parse(note.as_bytes()).unwrap();
    assert!(parsed.unverified_text().ends_with("\n\ned è subito sera.\n"));
    assert_eq!(parsed.to_string(), note);
}

#[test]
fn what_cannot_be_read_back_is_not_signed() {
    for bad in ["", "no newline", "a\r\n", "a\u{0}\n", &format!("{}\n", "x".repeat(128 * 1024))] {
        assert!(SignedNote::sign(bad, &[&peter()]).is_err());
    }
    assert_eq!(SignedNote::sign(TEXT, &[]), Err(NoteError::NoSignatures));
}

/// A token that breaks: it answers, but with something else than a signature.
struct BrokenToken;

impl NoteSigner for BrokenToken {
    fn name(&self) -> &str {
        "broken"
    }

    fn public_key(&self) -> [u8; 32] {
        peter().public_key()
    }

    fn sign(&self, _: &[u8]) -> [u8; 64] {
        [0; 64]
    }
}

#[test]
fn a_broken_signer_signs_nothing() {
    let refused = SignedNote::sign(TEXT, &[&peter(), &BrokenToken]);
    assert_eq!(refused, Err(NoteError::SignerFailed { name: "broken".into() }));
}

#[test]
fn the_seed_is_not_printed() {
    let printed = format!("{:?}", peter());
    assert!(printed.contains("***") && !printed.contains("129") && !printed.contains("810a"), "{printed}");
}

proptest! {
    #[test]
    fn whatever_is_signed_opens(lines in prop::collection::vec("[^\\p{Cc}]{0,40}", 1..6)) {
        let text = format!("{}\n", lines.join("\n"));
        let note = SignedNote::sign(&text, &[&peter()]).unwrap().to_string();
        let opened = open(note.as_bytes(), &[key(PETER_KEY)]).unwrap();
        prop_assert_eq!(opened.text(), text);
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>, text in "(.|\n|— ){0,60}") {
        prop_assert!(open(&bytes, &[key(PETER_KEY)]).is_err());
        prop_assert!(open(text.as_bytes(), &[key(PETER_KEY)]).is_err());
    }
}
