//! A witness of C2SP `tlog-witness`, without its server: what `add-checkpoint` asks, and what is answered to it.

use std::fmt;

use crate::checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint};
use crate::hash::{EMPTY_ROOT, Hash};
use crate::key::VerifierKey;
use crate::note::MAX_NOTE_BYTES;
use crate::proof::{ProofError, verify_consistency};
use crate::text::parse_decimal;

/// Most hashes of a consistency proof, as the format says: a tree of 2^63 leaves needs no more.
pub const MAX_PROOF_LINES: usize = 63;
/// Largest request in bytes: a proof, and the largest note.
pub const MAX_REQUEST_BYTES: usize = MAX_NOTE_BYTES + 64 * 64;

/// A request to cosign a head: the size of the head before, the proof that it is continued, and the new head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size of the tree that the cosigner cosigned last; 0 for none.
    pub old_size: u64,
    /// The consistency proof from that size (RFC 6962 section 2.1.2).
    pub proof: Vec<Hash>,
    /// The new head.
    pub checkpoint: SignedCheckpoint,
}

/// What a cosigner remembers of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// How many entries.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

/// Why a head is not cosigned. Each is one answer of the protocol, in the order in which they are looked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WitnessError {
    /// Not a request of the format, or an old size above the new one.
    #[error("the request is malformed: {0}")]
    Malformed(&'static str),
    /// The head in the request is none.
    #[error("the request has no checkpoint")]
    Checkpoint(#[source] CheckpointError),
    /// A log that nobody configured.
    #[error("log `{origin}` is not known here")]
    UnknownLog {
        /// The origin of the head.
        origin: String,
    },
    /// No trusted key of the log signed it, or one that claims to did not.
    #[error("the checkpoint is not signed by a trusted key of its log")]
    NotSigned(#[source] CheckpointError),
    /// The request continues another head than the one cosigned last.
    #[error("the last cosigned head has {size} entries, the request continues one of {got}")]
    Conflict {
        /// The size of the one cosigned last.
        size: u64,
        /// The old size in the request.
        got: u64,
    },
    /// Two heads of one size with different roots: both are signed, so this proves a fork.
    #[error("the log has another root at size {size} than the one cosigned before: it was forked")]
    Fork {
        /// Their size.
        size: u64,
    },
    /// The new head does not continue the last one: a roll-back or a fork, or a wrong proof.
    #[error("the checkpoint does not continue the one of size {size} that was cosigned before")]
    Inconsistent {
        /// The size of the one before.
        size: u64,
        /// What is wrong with the proof.
        #[source]
        source: ProofError,
    },
}

impl AddCheckpoint {
    /// Reads the body of a request; nothing is verified yet.
    ///
    /// # Errors
    /// [`WitnessError::Malformed`] or [`WitnessError::Checkpoint`].
    pub fn parse(body: &[u8]) -> Result<Self, WitnessError> {
        let malformed = WitnessError::Malformed;
        if body.len() > MAX_REQUEST_BYTES {
            return Err(malformed("it is too large"));
        }
        let body = str::from_utf8(body).map_err(|_| malformed("expected utf-8"))?;
        let (head, note) = body.split_once("\n\n").ok_or(malformed("expected an empty line"))?;
        let mut lines = head.split('\n');
        let old_size = lines.next().and_then(|line| line.strip_prefix("old ")).and_then(parse_decimal);
        let old_size = old_size.ok_or(malformed("expected `old`, a space and a decimal number"))?;
        let proof = lines.map(str::parse).collect::<Result<Vec<Hash>, _>>();
        let proof = proof.map_err(|_| malformed("expected a hash in base64 on each line of the proof"))?;
        if proof.len() > MAX_PROOF_LINES {
            return Err(malformed("expected at most 63 lines of proof"));
        }
        let checkpoint = SignedCheckpoint::parse(note.as_bytes()).map_err(WitnessError::Checkpoint)?;
        if old_size > checkpoint.unverified().size() {
            return Err(malformed("expected an old size of at most the checkpoint's"));
        }
        Ok(Self { old_size, proof, checkpoint })
    }

    /// The head's log, as the request claims.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.checkpoint.unverified().origin()
    }

    /// Whether the head may be cosigned by whoever trusts `keys` for this log and cosigned `last` before. The caller puts the
    /// head in the place of `last`, durably, before anybody sees a cosignature, and lets nobody come between.
    ///
    /// # Errors
    /// A head that is not signed by the log, or does not continue the last one.
    pub fn check(&self, keys: &[VerifierKey], last: Option<Head>) -> Result<Checkpoint, WitnessError> {
        if keys.is_empty() {
            return Err(WitnessError::UnknownLog { origin: self.origin().to_owned() });
        }
        let head = self.checkpoint.open(keys).map_err(WitnessError::NotSigned)?;
        let last = last.unwrap_or(Head { size: 0, root: EMPTY_ROOT });
        if self.old_size != last.size {
            return Err(WitnessError::Conflict { size: last.size, got: self.old_size });
        }
        if head.size() == last.size && head.root() != last.root {
            return Err(WitnessError::Fork { size: last.size });
        }
        verify_consistency(last.size, last.root, head.size(), head.root(), &self.proof)
            .map_err(|source| WitnessError::Inconsistent { size: last.size, source })?;
        Ok(head)
    }
}

impl WitnessError {
    /// The status that `tlog-witness` answers with.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) | Self::Checkpoint(_) => 400,
            Self::NotSigned(_) => 403,
            Self::UnknownLog { .. } => 404,
            Self::Conflict { .. } | Self::Fork { .. } => 409,
            Self::Inconsistent { .. } => 422,
        }
    }

    /// The size that an answer of 409 carries.
    #[must_use]
    pub const fn known_size(&self) -> Option<u64> {
        match self {
            Self::Conflict { size, .. } | Self::Fork { size } => Some(*size),
            Self::Malformed(_)
            | Self::Checkpoint(_)
            | Self::NotSigned(_)
            | Self::UnknownLog { .. }
            | Self::Inconsistent { .. } => None,
        }
    }

    /// Whether a signed head contradicts what was cosigned: evidence against the log, which is worth keeping.
    #[must_use]
    pub const fn is_evidence(&self) -> bool {
        matches!(self, Self::Fork { .. } | Self::Inconsistent { .. })
    }
}

impl fmt::Display for AddCheckpoint {
    /// The body of a request.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old_size)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}
