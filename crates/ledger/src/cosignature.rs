//! Cosignatures of C2SP `tlog-cosignature`, version 1 with Ed25519: somebody saw this head, at this time, and found that it
//! continues every earlier one that they saw of the log.

use std::fmt;

use crate::checkpoint::{CheckpointError, SignedCheckpoint};
use crate::key::{KeyKind, NoteSigner, VerifierKey};
use crate::note::{NoteError, SignedNote};

/// The latest time that the format allows: seconds in an `i64`.
pub const MAX_TIME_SECS: u64 = i64::MAX.unsigned_abs();

/// A verified cosignature of a head, as the line that stands on a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosignature {
    // INVARIANT: `signature` is `key`'s, of kind `Cosignature`, over the head that it was made or read for.
    key: VerifierKey,
    time_secs: u64,
    signature: Vec<u8>,
}

/// Why there is no cosignature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CosignatureError {
    /// A time past what the format allows.
    #[error("cosignature time is out of range, expected at most 2^63-1 seconds, got {got}")]
    Time {
        /// The time.
        got: u64,
    },
    /// Our own signer returned a signature that does not verify, or has an unusable name or key.
    #[error("cosigner `{name}` did not produce a valid signature")]
    SignerFailed {
        /// Name of the signer.
        name: String,
    },
    /// The lines cannot stand on a checkpoint, or one claims to be by a known key and is not.
    #[error("the cosignatures do not stand on the checkpoint")]
    Lines(#[from] CheckpointError),
}

impl Cosignature {
    /// Cosigns a head at `time_secs` (seconds since 1970). The caller has checked the log's signature and that the head
    /// continues the last one that it cosigned.
    ///
    /// # Errors
    /// A time out of range, or a signer whose signature is invalid.
    pub fn sign(
        checkpoint: &SignedCheckpoint,
        signer: &dyn NoteSigner,
        time_secs: u64,
    ) -> Result<Self, CosignatureError> {
        let failed = || CosignatureError::SignerFailed { name: signer.name().to_owned() };
        let text = checkpoint.note().unverified_text().as_bytes();
        let message = message(text, time_secs).ok_or(CosignatureError::Time { got: time_secs })?;
        let key = VerifierKey::of_cosigner(signer).map_err(|_| failed())?;
        let signature = [time_secs.to_be_bytes().as_slice(), &signer.sign(&message)].concat();
        // As for notes: what a faulty token made is not published.
        if key.verifies(text, &signature) { Ok(Self { key, time_secs, signature }) } else { Err(failed()) }
    }

    /// Reads signature lines that somebody returned for a head, and keeps those of `keys` that verify.
    ///
    /// # Errors
    /// Lines that are malformed, too many, or not by the known key that they name.
    pub fn read(
        checkpoint: &SignedCheckpoint,
        lines: &str,
        keys: &[VerifierKey],
    ) -> Result<Vec<Self>, CosignatureError> {
        // The head's own lines are not looked at: they may be of keys that are not asked for here.
        let bytes = format!("{}\n{lines}", checkpoint.note().unverified_text());
        let note = SignedNote::parse(bytes.as_bytes()).map_err(CheckpointError::Note)?;
        verified(&note, keys).map_err(|err| CheckpointError::Note(err).into())
    }

    /// Whose it is.
    #[must_use]
    pub fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// When it was made, in seconds since 1970, as the cosigner says.
    #[must_use]
    pub fn time_secs(&self) -> u64 {
        self.time_secs
    }
}

impl fmt::Display for Cosignature {
    /// The signature line, with its newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::note::write_line(f, self.key.name(), self.key.id(), &self.signature)
    }
}

impl SignedCheckpoint {
    /// The head with these cosignatures, each in place of an earlier one by the same key.
    ///
    /// # Errors
    /// More signatures than a note may have, or a cosignature of another head.
    pub fn with_cosignatures(self, cosignatures: &[Cosignature]) -> Result<Self, CheckpointError> {
        cosignatures.iter().try_fold(self, |head, made| {
            if !made.key.verifies(head.note().unverified_text().as_bytes(), &made.signature) {
                let (name, key_id) = (made.key.name().to_owned(), made.key.id());
                return Err(CheckpointError::Note(NoteError::BadSignature { name, key_id }));
            }
            head.put(&made.key, made.signature.clone())
        })
    }
}

/// The cosignatures of a checkpoint by keys that the caller trusts. One public key counts once, whatever names it has: a
/// quorum is of parties, not of names.
///
/// # Errors
/// An invalid signature of a known key, or ambiguous keys.
pub fn cosigners(checkpoint: &SignedCheckpoint, keys: &[VerifierKey]) -> Result<Vec<Cosignature>, NoteError> {
    let mut found: Vec<Cosignature> = Vec::new();
    for cosignature in verified(checkpoint.note(), keys)? {
        if !found.iter().any(|other| other.key.public_key() == cosignature.key.public_key()) {
            found.push(cosignature);
        }
    }
    Ok(found)
}

fn verified(note: &SignedNote, keys: &[VerifierKey]) -> Result<Vec<Cosignature>, NoteError> {
    let keys: Vec<_> = keys.iter().filter(|key| key.kind() == KeyKind::Cosignature).cloned().collect();
    let signed_by = match note.verify(&keys) {
        Ok(verified) => verified.signed_by().to_vec(),
        Err(NoteError::NoKnownKey) => Vec::new(),
        Err(err) => return Err(err),
    };
    let cosignature = |key: VerifierKey| {
        let signature = note.signature_of(&key)?.to_vec();
        let (time_secs, _) = split(&signature)?;
        Some(Cosignature { key, time_secs, signature })
    };
    Ok(signed_by.into_iter().filter_map(cosignature).collect())
}

/// The bytes that a cosigner signs; none for a time that the format does not allow.
pub(crate) fn message(text: &[u8], time_secs: u64) -> Option<Vec<u8>> {
    let header = format!("cosignature/v1\ntime {time_secs}\n");
    (time_secs <= MAX_TIME_SECS).then(|| [header.as_bytes(), text].concat())
}

/// A `timestamped_signature`: its time, and the Ed25519 signature.
pub(crate) fn split(signature: &[u8]) -> Option<(u64, &[u8])> {
    let (time, signature) = signature.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*time), signature))
}
