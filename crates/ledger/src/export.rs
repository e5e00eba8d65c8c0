//! An exported log: the static layout of C2SP `tlog-tiles` as file names and contents.
//!
//! ```text
//! checkpoint                      the signed head
//! tile/<level>/<index>[.p/<width>]    hashes, 256 a full tile
//! tile/entries/<index>[.p/<width>]    entries, 256 a full bundle
//! ```
//!
//! Who writes the files and reads them back is the caller; here are only names and bytes.

use crate::bundle::{BundleError, append_entry};
use crate::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::hash::leaf_hash;
use crate::source::SourceError;
use crate::tile::{TileError, TilePath, bundle_paths, partial_width, tile_paths};
use crate::tree::{Tree, TreeError};

mod check;

pub use check::verify_export;

/// Name of the file with the signed head.
pub const CHECKPOINT_PATH: &str = "checkpoint";

/// Reads the files of an exported log.
///
/// Called one file at a time. What it returns is not trusted.
pub trait ExportSource {
    /// The bytes of the file at `path` (segments divided by `/`), or `None` when there is none.
    ///
    /// # Errors
    /// When the storage fails. A missing file is `Ok(None)`.
    fn file(&self, path: &str) -> Result<Option<Vec<u8>>, SourceError>;
}

/// A file of an exported log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportFile {
    /// Its path below the folder of the export, segments divided by `/`.
    pub path: String,
    /// Its contents.
    pub bytes: Vec<u8>,
}

/// Why a log cannot be exported, or an export not be verified. What is *wrong* with an export is not an
/// error but a [`crate::Finding`].
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The caller's entry does not fit the format.
    #[error("entry does not fit a bundle")]
    Bundle(#[from] BundleError),
    /// The tree cannot take the entry.
    #[error("entry does not fit the tree")]
    Tree(#[from] TreeError),
    /// A path cannot be made.
    #[error("tile cannot be named")]
    Tile(#[from] TileError),
    /// The checkpoint is not of the entries that were pushed: exporting it would accuse an honest log.
    #[error(
        "checkpoint is not of these entries, expected size {expected_size}, got {got_size} or another root"
    )]
    OtherHead {
        /// Size of the checkpoint.
        expected_size: u64,
        /// Entries that were pushed.
        got_size: u64,
    },
    /// The caller's storage failed.
    #[error("export could not be read")]
    Source(#[from] SourceError),
}

/// Writes an export: entries go in, files come out as they fill, the checkpoint last of all.
///
/// If the caller stops half-way, what it wrote are valid tiles without a checkpoint, which verify as no
/// log; writing the export again from the beginning replaces them.
#[derive(Clone, Debug, Default)]
pub struct Exporter {
    tree: Tree,
    bundle: Vec<u8>,
}

impl Exporter {
    /// The exporter of a log from its first entry on.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next entry; returns the full files that it completed (nearly always none).
    ///
    /// # Errors
    /// An entry that is too long, or a full tree; nothing is taken then.
    pub fn push(&mut self, entry: &[u8]) -> Result<Vec<ExportFile>, ExportError> {
        let start = self.bundle.len();
        append_entry(&mut self.bundle, entry)?;
        let full = match self.tree.append(leaf_hash(entry)) {
            Ok(full) => full,
            Err(err) => {
                self.bundle.truncate(start);
                return Err(err.into());
            }
        };
        let mut files = Vec::new();
        for tile in full {
            if tile.level() == 0 {
                let path = TilePath::entries(tile.index(), 256)?;
                files.push(ExportFile { path: path.to_string(), bytes: std::mem::take(&mut self.bundle) });
            }
            let path = TilePath::hashes(tile.level(), tile.index(), 256)?;
            files.push(ExportFile { path: path.to_string(), bytes: tile.to_bytes() });
        }
        Ok(files)
    }

    /// Returns the partial bundle and tiles, and the checkpoint as the last file: write it last, for it
    /// promises that all others are there.
    ///
    /// # Errors
    /// [`ExportError::OtherHead`] when the checkpoint is not of exactly the entries pushed.
    pub fn finish(self, checkpoint: &SignedCheckpoint) -> Result<Vec<ExportFile>, ExportError> {
        let head = checkpoint.unverified();
        let size = self.tree.size();
        if (head.size(), head.root()) != (size, self.tree.root()) {
            return Err(ExportError::OtherHead { expected_size: head.size(), got_size: size });
        }
        let mut files = Vec::new();
        if !self.tree.partial(0).is_empty() {
            let path = TilePath::entries(size >> 8, partial_width(size, 0).into())?;
            files.push(ExportFile { path: path.to_string(), bytes: self.bundle });
        }
        let tiles = self.tree.partial_tiles();
        files.extend(tiles.map(|(path, bytes)| ExportFile { path: path.to_string(), bytes }));
        files.push(ExportFile {
            path: CHECKPOINT_PATH.to_owned(),
            bytes: checkpoint.to_string().into_bytes(),
        });
        Ok(files)
    }
}

/// The paths of all files of an export with this head: bundles, tiles, checkpoint.
pub fn export_paths(head: &Checkpoint) -> impl Iterator<Item = String> {
    let tiles = bundle_paths(head.size()).chain(tile_paths(head.size()));
    tiles.map(|path| path.to_string()).chain([CHECKPOINT_PATH.to_owned()])
}
