//! Receipts as text: C2SP `tlog-proof`, an inclusion proof together with the checkpoint it leads to.

use std::fmt;
use std::str::FromStr;

use crate::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::hash::Hash;
use crate::key::VerifierKey;
use crate::note::MAX_NOTE_BYTES;
use crate::proof::{ProofError, verify_inclusion};
use crate::text::{decode_base64, encode_base64, parse_decimal};

/// The first line.
pub const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// Longest extra data in bytes: it is a hint to find the entry, not a place for payloads.
pub const MAX_EXTRA_BYTES: usize = 65_536;
/// Most hashes of an inclusion proof: one for each level of a tree of 2^64 - 1 leaves.
pub const MAX_PROOF_HASHES: usize = 64;
/// Largest proof in bytes: extra data in base64, 64 hash lines, a checkpoint, and the short lines.
pub const MAX_TLOG_PROOF_BYTES: usize = 2 * MAX_EXTRA_BYTES + 64 * 45 + MAX_NOTE_BYTES + 128;

/// A self-contained proof that an entry is in a log. It can be checked offline with the log's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogProof {
    // INVARIANT: `extra` is absent or 1 to 65,536 bytes; at most 64 hashes.
    extra: Option<Vec<u8>>,
    index: u64,
    hashes: Vec<Hash>,
    checkpoint: SignedCheckpoint,
}

impl LogProof {
    /// The proof of entry `index`, with the hashes of [`crate::Tree::inclusion_proof`] at the size of the
    /// checkpoint.
    ///
    /// # Errors
    /// More than 64 hashes.
    pub fn new(index: u64, hashes: Vec<Hash>, checkpoint: SignedCheckpoint) -> Result<Self, ProofError> {
        if hashes.len() > MAX_PROOF_HASHES {
            return Err(malformed("more than 64 hashes"));
        }
        Ok(Self { extra: None, index, hashes, checkpoint })
    }

    /// Adds opaque data for the reader. No signature covers it, so nobody may trust it.
    ///
    /// # Errors
    /// No bytes, or more than 65,536.
    pub fn with_extra(mut self, extra: &[u8]) -> Result<Self, ProofError> {
        if extra.is_empty() || extra.len() > MAX_EXTRA_BYTES {
            return Err(malformed("extra data is not 1 to 65536 bytes"));
        }
        self.extra = Some(extra.to_vec());
        Ok(self)
    }

    /// The opaque data, which is not authenticated.
    #[must_use]
    pub fn unauthenticated_extra(&self) -> Option<&[u8]> {
        self.extra.as_deref()
    }

    /// Index of the entry, from 0.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The hashes of the inclusion proof, from the leaf's sibling up.
    #[must_use]
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// The checkpoint that it leads to, not yet verified.
    #[must_use]
    pub fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }

    /// Checks that the entry with this leaf hash is in the log of one of `keys`, and returns the head
    /// under which it is. Remember that head: it is what finds a later roll-back or fork.
    ///
    /// # Errors
    /// A refused checkpoint, or a proof that does not lead to it.
    pub fn verify(&self, leaf_hash: Hash, keys: &[VerifierKey]) -> Result<Checkpoint, ProofError> {
        let head = self.checkpoint.open(keys)?;
        verify_inclusion(leaf_hash, self.index, head.size(), head.root(), &self.hashes)?;
        Ok(head)
    }
}

impl fmt::Display for LogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", encode_base64(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.hashes.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for LogProof {
    type Err = ProofError;

    fn from_str(text: &str) -> Result<Self, ProofError> {
        if text.len() > MAX_TLOG_PROOF_BYTES {
            return Err(malformed("text is too large"));
        }
        // The first empty line ends the proof; the checkpoint after it has one of its own.
        let (proof, checkpoint) =
            text.split_once("\n\n").ok_or(malformed("no empty line before checkpoint"))?;
        let mut lines = proof.split('\n').peekable();
        if lines.next() != Some(HEADER) {
            return Err(malformed("first line is not `c2sp.org/tlog-proof@v1`"));
        }
        let extra = lines.next_if(|line| line.starts_with("extra "));
        let index = lines
            .next()
            .and_then(|line| line.strip_prefix("index "))
            .and_then(parse_decimal)
            .ok_or(malformed("no line `index <number>`"))?;
        let hashes: Result<Vec<Hash>, _> = lines.map(str::parse).collect();
        let hashes = hashes.map_err(|_| malformed("a line of the inclusion proof is not a hash"))?;
        let parsed = Self::new(index, hashes, SignedCheckpoint::parse(checkpoint.as_bytes())?)?;
        match extra.and_then(|line| line.strip_prefix("extra ")) {
            None => Ok(parsed),
            Some(extra) => {
                parsed.with_extra(&decode_base64(extra).ok_or(malformed("extra data is not base64"))?)
            }
        }
    }
}

fn malformed(reason: &'static str) -> ProofError {
    ProofError::Malformed { reason }
}
