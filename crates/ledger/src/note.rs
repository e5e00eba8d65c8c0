//! Notes of C2SP `signed-note`: text signed by one or more keys.

use std::fmt;

use crate::key::{KeyId, NoteSigner, VerifierKey, check_name};
use crate::text::{decode_base64, encode_base64};

/// Most signatures on a note: the number that `signed-note` obliges a verifier to accept.
pub const MAX_SIGNATURES: usize = 16;
/// Largest note in bytes: 16 post-quantum signatures of 5 kB in base64, and text.
pub const MAX_NOTE_BYTES: usize = 128 * 1024;

const LINE_START: &str = "\u{2014} ";

/// A note as it was read or made. Its text must not be used before [`SignedNote::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedNote {
    // INVARIANT: `text` ends in a newline and has no other control character.
    text: String,
    // INVARIANT: 1 to 16.
    signatures: Vec<NoteSignature>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct NoteSignature {
    name: String,
    key_id: KeyId,
    signature: Vec<u8>,
}

/// The text of a note that at least one known key signed, and those keys. Only verification makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedNote {
    text: String,
    signed_by: Vec<VerifierKey>,
}

/// Why a note is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Larger than we read.
    #[error("note is too large, expected at most 131072 bytes, got {got}")]
    TooLarge {
        /// Its length in bytes.
        got: usize,
    },
    /// Not UTF-8, or with a control character other than newline.
    #[error("note is not plain text, expected utf-8 without control characters other than newline")]
    NotPlainText,
    /// The text does not end in a newline, or no empty line divides it from signatures.
    #[error("note has no signatures, expected text, an empty line and signature lines")]
    NoSignatures,
    /// A line among the signatures is none.
    #[error("signature line {line} is malformed, expected an em dash, a key name and base64")]
    SignatureLine {
        /// Which one, from 1.
        line: usize,
    },
    /// More than 16.
    #[error("note has too many signatures, expected at most 16, got {got}")]
    TooManySignatures {
        /// How many.
        got: usize,
    },
    /// Two of the verifier's own keys share name and id.
    #[error("verifier key `{name}+{key_id}` is configured twice with different keys")]
    AmbiguousKey {
        /// Name of the keys.
        name: String,
        /// Id of the keys.
        key_id: KeyId,
    },
    /// A known key stands on a signature that is not its own over this text: the note was altered.
    #[error("signature of `{name}+{key_id}` is invalid")]
    BadSignature {
        /// Name of the key.
        name: String,
        /// Id of the key.
        key_id: KeyId,
    },
    /// Nobody whom the verifier knows signed it.
    #[error("note is not signed by any known key")]
    NoKnownKey,
    /// Our own signer returned a signature that does not verify, or has an unusable name or key.
    #[error("signer `{name}` did not produce a valid signature")]
    SignerFailed {
        /// Name of the signer.
        name: String,
    },
}

impl SignedNote {
    /// Signs `text`, which must end in a newline.
    ///
    /// # Errors
    /// Text that a note cannot carry, no signer or more than 16, or a signer whose signature is invalid.
    pub fn sign(text: &str, signers: &[&dyn NoteSigner]) -> Result<Self, NoteError> {
        check_plain(text)?;
        if signers.is_empty() || !text.ends_with('\n') {
            return Err(NoteError::NoSignatures);
        }
        let note = Self { text: text.to_owned(), signatures: Vec::new() };
        signers.iter().try_fold(note, |note, signer| note.cosign(*signer))
    }

    /// Adds a signature, in place of an earlier one by the same key.
    ///
    /// # Errors
    /// A 17th signature, a note that grows too large, or a signer whose signature is invalid.
    pub fn cosign(self, signer: &dyn NoteSigner) -> Result<Self, NoteError> {
        let failed = || NoteError::SignerFailed { name: signer.name().to_owned() };
        let key = VerifierKey::of(signer).map_err(|_| failed())?;
        let signature = signer.sign(self.text.as_bytes()).to_vec();
        // A fault in a token would otherwise leave a head in the store that nobody can verify.
        if !key.verifies(self.text.as_bytes(), &signature) {
            return Err(failed());
        }
        self.put(&key, signature)
    }

    /// Adds the signature of `key` in place of an earlier one. It has been verified.
    pub(crate) fn put(mut self, key: &VerifierKey, signature: Vec<u8>) -> Result<Self, NoteError> {
        self.signatures.retain(|old| (old.name.as_str(), old.key_id) != (key.name(), key.id()));
        self.signatures.push(NoteSignature { name: key.name().to_owned(), key_id: key.id(), signature });
        check_count(self.signatures.len())?;
        check_size(self.to_string().len())?;
        Ok(self)
    }

    /// The bytes of the signature of `key`, which are not verified.
    pub(crate) fn signature_of(&self, key: &VerifierKey) -> Option<&[u8]> {
        let line =
            self.signatures.iter().find(|line| (line.name.as_str(), line.key_id) == (key.name(), key.id()));
        line.map(|line| line.signature.as_slice())
    }

    /// Reads a note; nothing is verified yet.
    ///
    /// # Errors
    /// Anything that `signed-note` does not allow, or that exceeds a limit.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        check_size(bytes.len())?;
        let note = str::from_utf8(bytes).map_err(|_| NoteError::NotPlainText)?;
        check_plain(note)?;
        // The last empty line divides: the text may have empty lines of its own.
        let blank = note.rfind("\n\n").ok_or(NoteError::NoSignatures)?;
        let (text, rest) = note.split_at_checked(blank.saturating_add(1)).ok_or(NoteError::NoSignatures)?;
        let lines = rest.strip_prefix('\n').unwrap_or(rest);
        if lines.is_empty() {
            return Err(NoteError::NoSignatures);
        }
        check_count(lines.lines().count())?;
        let lines = lines.split_inclusive('\n').zip(1..);
        let signatures = lines.map(|(line, number)| parse_line(line, number)).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// Verifies against the keys that the caller trusts. Signatures of unknown keys are ignored; one
    /// valid signature of a known key is enough, and one invalid signature of a known key is too much.
    ///
    /// # Errors
    /// No signature of a known key, an invalid one, or ambiguous keys.
    pub fn verify(&self, keys: &[VerifierKey]) -> Result<VerifiedNote, NoteError> {
        let mut signed_by: Vec<VerifierKey> = Vec::new();
        for line in &self.signatures {
            let Some(key) = find_key(keys, line)? else { continue };
            if !key.verifies(self.text.as_bytes(), &line.signature) {
                return Err(NoteError::BadSignature { name: line.name.clone(), key_id: line.key_id });
            }
            if !signed_by.contains(key) {
                signed_by.push(key.clone());
            }
        }
        if signed_by.is_empty() {
            return Err(NoteError::NoKnownKey);
        }
        Ok(VerifiedNote { text: self.text.clone(), signed_by })
    }

    /// The text, which nobody vouches for yet.
    #[must_use]
    pub fn unverified_text(&self) -> &str {
        &self.text
    }
}

impl VerifiedNote {
    /// The signed text, with its final newline.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The known keys that signed it, each once, in the order of their signatures.
    #[must_use]
    pub fn signed_by(&self) -> &[VerifierKey] {
        &self.signed_by
    }
}

/// Reads and verifies a note in one step.
///
/// # Errors
/// As [`SignedNote::parse`] and [`SignedNote::verify`].
pub fn open(bytes: &[u8], keys: &[VerifierKey]) -> Result<VerifiedNote, NoteError> {
    SignedNote::parse(bytes)?.verify(keys)
}

impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|line| write_line(f, &line.name, line.key_id, &line.signature))
    }
}

/// Writes a signature line, with its newline.
pub(crate) fn write_line(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    key_id: KeyId,
    signature: &[u8],
) -> fmt::Result {
    let bytes = [key_id.as_bytes().as_slice(), signature].concat();
    writeln!(f, "{LINE_START}{name} {}", encode_base64(&bytes))
}

fn check_size(got: usize) -> Result<(), NoteError> {
    if got > MAX_NOTE_BYTES { Err(NoteError::TooLarge { got }) } else { Ok(()) }
}

fn check_count(got: usize) -> Result<(), NoteError> {
    if got > MAX_SIGNATURES { Err(NoteError::TooManySignatures { got }) } else { Ok(()) }
}

fn check_plain(text: &str) -> Result<(), NoteError> {
    let control = text.bytes().any(|byte| byte < b' ' && byte != b'\n');
    if control { Err(NoteError::NotPlainText) } else { Ok(()) }
}

fn parse_line(line: &str, number: usize) -> Result<NoteSignature, NoteError> {
    try_parse_line(line).ok_or(NoteError::SignatureLine { line: number })
}

fn try_parse_line(line: &str) -> Option<NoteSignature> {
    let (name, encoded) = line.strip_suffix('\n')?.strip_prefix(LINE_START)?.split_once(' ')?;
    check_name(name).ok()?;
    let bytes = decode_base64(encoded)?;
    let (key_id, signature) = bytes.split_first_chunk::<4>()?;
    if signature.is_empty() {
        return None;
    }
    let key_id = KeyId::from_bytes(*key_id);
    Some(NoteSignature { name: name.to_owned(), key_id, signature: signature.to_vec() })
}

/// The known key that the line claims to be of. The same key given twice is one key.
fn find_key<'k>(keys: &'k [VerifierKey], line: &NoteSignature) -> Result<Option<&'k VerifierKey>, NoteError> {
    let mut matching = keys.iter().filter(|key| (key.name(), key.id()) == (line.name.as_str(), line.key_id));
    let first = matching.next();
    if matching.any(|other| Some(other) != first) {
        return Err(NoteError::AmbiguousKey { name: line.name.clone(), key_id: line.key_id });
    }
    Ok(first)
}
