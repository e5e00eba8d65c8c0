//! The port through which tiles are read: the caller owns the storage, this crate only asks.

use crate::hash::Hash;

/// Reads the full tiles of one log.
///
/// Durability: a tile that was returned once stays the same for ever (a full tile is immutable).
/// Concurrency: called one tile at a time. Not trusted: what comes back is checked against a root by
/// the caller of [`crate::Tree::resume`], or by the verifier of the proof made from it.
pub trait TileSource {
    /// The 256 hashes of the full tile `index` at `level`, or `None` when there is none.
    ///
    /// # Errors
    /// When the storage fails. A missing tile is `Ok(None)`.
    fn tile(&self, level: u8, index: u64) -> Result<Option<Vec<Hash>>, SourceError>;
}

/// The caller's storage failed; what it said is the source of this error.
#[derive(Debug, thiserror::Error)]
#[error("storage of the log could not be read")]
pub struct SourceError {
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl SourceError {
    /// Wraps the storage's own error (or a message).
    pub fn new(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { source: source.into() }
    }
}
