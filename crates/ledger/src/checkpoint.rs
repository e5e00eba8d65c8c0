//! Checkpoints of C2SP `tlog-checkpoint`: a tree head as text, and that text as a signed note.

use std::fmt;
use std::str::FromStr;

use crate::hash::{EMPTY_ROOT, Hash, HashError};
use crate::key::{KeyKind, NoteSigner, VerifierKey};
use crate::note::{NoteError, SignedNote};
use crate::text::parse_decimal;

/// Longest origin in bytes; it is a schema-less URL and stands in every head, approval and permit.
pub const MAX_ORIGIN_BYTES: usize = 256;

/// A tree head: which log, how many entries, which root. By itself it proves nothing; who vouches for
/// it is the business of [`SignedCheckpoint::open`] or of whoever remembered it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    // INVARIANT: origin and extensions are non-empty single lines; size 0 goes with EMPTY_ROOT only.
    origin: String,
    size: u64,
    root: Hash,
    extensions: Vec<String>,
}

/// A checkpoint with its signatures, as it is published and stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    note: SignedNote,
    // INVARIANT: what the text of `note` says.
    checkpoint: Checkpoint,
}

/// Why a checkpoint is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The note itself is malformed or not validly signed.
    #[error("checkpoint is not a validly signed note")]
    Note(#[from] NoteError),
    /// Fewer than three lines, an empty line, or no newline at the end.
    #[error("checkpoint is malformed, expected the lines origin, size and root, each ended by a newline")]
    Lines,
    /// Empty, too long, or not one line of plain text.
    #[error("checkpoint origin is not valid, expected one line of 1 to 256 bytes")]
    Origin,
    /// Not a decimal number without leading zeros.
    #[error("checkpoint size is not a decimal number without leading zeros")]
    Size,
    /// The third line is no hash.
    #[error("checkpoint root is not a hash")]
    Root(#[from] HashError),
    /// A tree without entries has only one root.
    #[error("checkpoint of size 0 has another root than the empty tree, got `{got}`")]
    EmptyRoot {
        /// The root that it claims.
        got: Hash,
    },
    /// An extension line is empty or not one line of plain text.
    #[error("checkpoint extension is not valid, expected a non-empty line of plain text")]
    Extension,
    /// Known keys signed it, but none of them is named as the log: a witness cannot speak for the log.
    #[error("checkpoint of `{origin}` is not signed by a known key of that name")]
    NotSignedByLog {
        /// The origin it claims.
        origin: String,
    },
}

impl Checkpoint {
    /// The head of the log `origin` at `size`.
    ///
    /// # Errors
    /// An invalid origin, or a root that the empty tree does not have.
    pub fn new(origin: &str, size: u64, root: Hash) -> Result<Self, CheckpointError> {
        if !is_plain_line(origin) || origin.len() > MAX_ORIGIN_BYTES {
            return Err(CheckpointError::Origin);
        }
        if size == 0 && root != EMPTY_ROOT {
            return Err(CheckpointError::EmptyRoot { got: root });
        }
        Ok(Self { origin: origin.to_owned(), size, root, extensions: Vec::new() })
    }

    /// Adds an extension line. `tlog-checkpoint` advises against them: monitors cannot audit them.
    ///
    /// # Errors
    /// [`CheckpointError::Extension`].
    pub fn with_extension(mut self, line: &str) -> Result<Self, CheckpointError> {
        if !is_plain_line(line) {
            return Err(CheckpointError::Extension);
        }
        self.extensions.push(line.to_owned());
        Ok(self)
    }

    /// Which log.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// How many entries.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root over these entries.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.root
    }

    /// The extension lines, without their newlines.
    #[must_use]
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }
}

impl fmt::Display for Checkpoint {
    /// The text that is signed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}\n{}\n", self.origin, self.size, self.root)?;
        self.extensions.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl FromStr for Checkpoint {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        // Not `lines()`: it would take a carriage return for part of the line end.
        let mut lines = text.strip_suffix('\n').ok_or(CheckpointError::Lines)?.split('\n');
        let mut line = || lines.next().ok_or(CheckpointError::Lines);
        let (origin, size, root) = (line()?, line()?, line()?);
        let size = parse_decimal(size).ok_or(CheckpointError::Size)?;
        lines.try_fold(Self::new(origin, size, root.parse()?)?, Self::with_extension)
    }
}

fn is_plain_line(line: &str) -> bool {
    !line.is_empty() && !line.chars().any(|c| c.is_ascii_control())
}

impl SignedCheckpoint {
    /// Signs a head. One of the signers should be named as the origin, else nobody can open it.
    ///
    /// # Errors
    /// As [`SignedNote::sign`].
    pub fn sign(checkpoint: &Checkpoint, signers: &[&dyn NoteSigner]) -> Result<Self, CheckpointError> {
        let note = SignedNote::sign(&checkpoint.to_string(), signers)?;
        Ok(Self { note, checkpoint: checkpoint.clone() })
    }

    /// Reads a signed checkpoint; nothing is verified yet.
    ///
    /// # Errors
    /// A malformed note or checkpoint.
    pub fn parse(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let note = SignedNote::parse(bytes)?;
        let checkpoint = note.unverified_text().parse()?;
        Ok(Self { note, checkpoint })
    }

    /// Verifies the signatures and returns the head.
    ///
    /// The keys may be those of the log and of others; at least one valid signature must be by a known
    /// key whose name is the origin, else a witness's or another log's key could speak for this log.
    ///
    /// # Errors
    /// An invalid signature of a known key, or no valid signature of the log.
    pub fn open(&self, keys: &[VerifierKey]) -> Result<Checkpoint, CheckpointError> {
        let verified = self.note.verify(keys)?;
        let origin = self.checkpoint.origin();
        let is_of_log = |key: &VerifierKey| key.kind() == KeyKind::Note && key.name() == origin;
        if !verified.signed_by().iter().any(is_of_log) {
            return Err(CheckpointError::NotSignedByLog { origin: origin.to_owned() });
        }
        Ok(self.checkpoint.clone())
    }

    /// Adds a signature, in place of an earlier one by the same key.
    ///
    /// # Errors
    /// As [`SignedNote::cosign`].
    pub fn cosign(self, signer: &dyn NoteSigner) -> Result<Self, CheckpointError> {
        Ok(Self { note: self.note.cosign(signer)?, checkpoint: self.checkpoint })
    }

    /// Adds a cosignature: its key was verified over exactly this head.
    pub(crate) fn put(self, key: &VerifierKey, signature: Vec<u8>) -> Result<Self, CheckpointError> {
        Ok(Self { note: self.note.put(key, signature)?, checkpoint: self.checkpoint })
    }

    pub(crate) fn note(&self) -> &SignedNote {
        &self.note
    }

    /// What it claims, which nobody vouches for yet.
    #[must_use]
    pub fn unverified(&self) -> &Checkpoint {
        &self.checkpoint
    }
}

impl fmt::Display for SignedCheckpoint {
    /// The bytes to publish.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.note.fmt(f)
    }
}

/// Reads and verifies a signed checkpoint in one step.
///
/// # Errors
/// As [`SignedCheckpoint::parse`] and [`SignedCheckpoint::open`].
pub fn open(note: &[u8], keys: &[VerifierKey]) -> Result<Checkpoint, CheckpointError> {
    SignedCheckpoint::parse(note)?.open(keys)
}
