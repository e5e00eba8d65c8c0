//! The newest head that enough others cosigned, as the gate serves it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use holdpoint_ledger::{SignedCheckpoint, VerifierKey, checkpoint};

use crate::{step::Step, system::durable};

/// A checkpoint with cosignatures, in memory and in a file. It can be lost: the next one that is cosigned replaces it.
#[derive(Debug)]
pub struct Kept {
    path: PathBuf,
    note: RwLock<Option<Arc<str>>>,
}

impl Kept {
    /// What the file at `path` has, if the log's key signed it.
    #[must_use]
    pub fn open(path: &Path, log: &VerifierKey) -> Self {
        let note = fs::read(path).ok().and_then(|bytes| {
            checkpoint::open(&bytes, std::slice::from_ref(log)).ok()?;
            String::from_utf8(bytes).ok().map(Arc::from)
        });
        Self { path: path.to_owned(), note: RwLock::new(note) }
    }

    /// The checkpoint; none when none was cosigned yet.
    #[must_use]
    pub fn note(&self) -> Option<Arc<str>> {
        self.note.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps a later one. Blocks on the disk; in memory it is there whatever the disk says.
    ///
    /// # Errors
    /// What the disk says.
    pub fn keep(&self, checkpoint: &SignedCheckpoint) -> io::Result<()> {
        let note = checkpoint.to_string();
        *self.note.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::from(note.as_str()));
        // If we stop before this, the next head that is cosigned is kept.
        durable::replace(Step::CosignKeep, &self.path, note.as_bytes(), 0o644)
    }
}
