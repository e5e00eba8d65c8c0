//! The appendable tree: it keeps its right edge in memory and hands out full tiles as they fill.

use crate::edge::RightEdge;
use crate::frontier::{Frontier, root_over};
use crate::hash::Hash;
use crate::prove;
use crate::source::{SourceError, TileSource};
use crate::tile::{
    TILE_BYTES, TILE_HEIGHT, TILE_LEVELS, TILE_WIDTH, TileError, TilePath, encode_tile, full_tiles,
    partial_tile_paths, partial_width,
};

/// The state of a log's tree: its size, its root and its partial tiles (at most 8 × 255 hashes).
///
/// A clone is cheap: a store clones it, appends a batch, and keeps the clone only when its transaction
/// has committed. If it stops in between, the original (or [`Tree::resume`]) is the state to go on from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    frontier: Frontier,
    // INVARIANT: at each level the digit of the size in base 256, so 0 to 255 hashes.
    edge: RightEdge,
}

/// A tile that an append completed. It never changes again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FullTile {
    level: u8,
    index: u64,
    // INVARIANT: 256 hashes.
    hashes: Vec<Hash>,
}

/// Why the tree cannot answer.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// 2^64 - 1 leaves is the end.
    #[error("tree is full, expected fewer than 2^64 - 1 leaves")]
    Full,
    /// The caller brought the wrong number of leaf hashes after the last full tile.
    #[error("wrong number of leaf hashes after the last full tile, expected {expected}, got {got}")]
    TailLength {
        /// `size mod 256`.
        expected: usize,
        /// How many came.
        got: usize,
    },
    /// The caller asked for a leaf that the tree of that size does not have.
    #[error("leaf index out of range, expected below {size}, got {index}")]
    IndexOutOfRange {
        /// The index asked for.
        index: u64,
        /// The size asked for.
        size: u64,
    },
    /// The caller asked for a size that the tree has not reached, or for an old size above the new.
    #[error("tree size out of range, expected at most {limit}, got {got}")]
    SizeOutOfRange {
        /// The largest size that would do.
        limit: u64,
        /// The size asked for.
        got: u64,
    },
    /// The storage lost a tile, or never had it.
    #[error("tile `{path}` is missing from the storage")]
    TileMissing {
        /// Where it should stand.
        path: TilePath,
    },
    /// The storage holds something else where a full tile should stand.
    #[error("tile `{path}` is damaged in the storage, expected 256 hashes, got {got}")]
    TileDamaged {
        /// Where it stands.
        path: TilePath,
        /// How many hashes it has.
        got: usize,
    },
    /// The tile could not be named.
    #[error("tile cannot be named")]
    Tile(#[from] TileError),
    /// The storage failed.
    #[error("tile could not be read")]
    Source(#[from] SourceError),
}

impl Tree {
    /// The tree without leaves.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Rebuilds the tree of `size` from its full tiles and `tail`, the leaf hashes after the last full
    /// level-0 tile (`size mod 256` of them). Reads at most 255 tiles a level.
    ///
    /// Nothing here is authenticated: compare [`Tree::root`] with the head that was committed or signed
    /// before going on, and refuse to start when they differ.
    ///
    /// # Errors
    /// A wrong number of leaf hashes, a missing or damaged tile, or a failing storage.
    pub fn resume(size: u64, source: &dyn TileSource, tail: &[Hash]) -> Result<Self, TreeError> {
        let expected = usize::from(partial_width(size, 0));
        if tail.len() != expected {
            return Err(TreeError::TailLength { expected, got: tail.len() });
        }
        let mut edge = RightEdge::default();
        edge.set(0, tail.to_vec());
        for below in 0..TILE_LEVELS {
            edge.set(below.saturating_add(1), roots_of_last_tiles(size, source, below)?);
        }
        Ok(Self { frontier: edge.frontier(size), edge })
    }

    /// Appends one leaf; returns the tiles that it completed, lowest level first (nearly always none).
    ///
    /// # Errors
    /// [`TreeError::Full`]; the tree is then unchanged.
    pub fn append(&mut self, leaf: Hash) -> Result<Vec<FullTile>, TreeError> {
        if self.size() == u64::MAX {
            return Err(TreeError::Full);
        }
        self.edge.push(0, leaf);
        self.push(0, leaf, Vec::new())
    }

    /// Appends leaves in order, as [`Tree::append`] does one by one; returns the tiles that they completed. Those that make a
    /// whole tile are hashed together, which is several times as fast.
    ///
    /// # Errors
    /// [`TreeError::Full`]; the tree then has those leaves that it had room for.
    pub fn append_all(&mut self, leaves: &[Hash]) -> Result<Vec<FullTile>, TreeError> {
        let mut full = Vec::new();
        let partial = usize::from(partial_width(self.size(), 0));
        let missing = if partial == 0 { 0 } else { TILE_WIDTH.saturating_sub(partial) };
        let (alone, rest) = leaves.split_at_checked(missing).unwrap_or((leaves, &[]));
        for leaf in alone {
            full.extend(self.append(*leaf)?);
        }
        let tiles = rest.chunks_exact(TILE_WIDTH);
        let last = tiles.remainder();
        for tile in tiles {
            full.extend(self.append_tile(tile)?);
        }
        for leaf in last {
            full.extend(self.append(*leaf)?);
        }
        Ok(full)
    }

    /// Appends a whole tile of leaves to a tree that ends with one.
    fn append_tile(&mut self, leaves: &[Hash]) -> Result<Vec<FullTile>, TreeError> {
        let index = self.size().checked_shr(TILE_HEIGHT).unwrap_or(0);
        if self.size().checked_add(1 << TILE_HEIGHT).is_none() {
            return Err(TreeError::Full);
        }
        let root = root_over(leaves);
        self.edge.push(1, root);
        self.push(TILE_HEIGHT, root, vec![FullTile { level: 0, index, hashes: leaves.to_vec() }])
    }

    /// Appends a subtree whose hash stands in its tile already; adds the tiles above it that it completed.
    fn push(
        &mut self,
        height: u32,
        subtree: Hash,
        mut full: Vec<FullTile>,
    ) -> Result<Vec<FullTile>, TreeError> {
        let Self { frontier, edge } = self;
        let first_leaf = frontier.size();
        frontier.push_with(height, subtree, |height, node| {
            // Every eighth level of the tree is the top of a tile and a hash in the tile above.
            let Some(above) = u8::try_from(height / TILE_HEIGHT).ok().filter(|_| height % TILE_HEIGHT == 0)
            else {
                return;
            };
            let level = above.saturating_sub(1);
            let index = first_leaf.checked_shr(height).unwrap_or(0);
            full.push(FullTile { level, index, hashes: edge.take(level) });
            edge.push(above, node);
        })?;
        Ok(full)
    }

    /// How many leaves the tree has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// Its root (RFC 6962 §2.1).
    #[must_use]
    pub fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// The hashes of the partial tile at `level`, 0 to 255 of them; none means there is no such tile.
    #[must_use]
    pub fn partial(&self, level: u8) -> &[Hash] {
        self.edge.level(level)
    }

    /// The partial tiles that a tree of this size has, as path and bytes.
    pub fn partial_tiles(&self) -> impl Iterator<Item = (TilePath, Vec<u8>)> {
        partial_tile_paths(self.size()).map(|(level, path)| (path, encode_tile(self.partial(level))))
    }

    /// The inclusion proof of leaf `index` in the tree of `size` (RFC 6962 §2.1.1), from the leaf's
    /// sibling up. Check it with [`crate::verify_inclusion`].
    ///
    /// # Errors
    /// An index or size out of range, or what [`TileSource`] could not give.
    pub fn inclusion_proof(
        &self,
        source: &dyn TileSource,
        index: u64,
        size: u64,
    ) -> Result<Vec<Hash>, TreeError> {
        prove::inclusion(self, source, index, size)
    }

    /// The consistency proof from `old_size` to `new_size` (RFC 6962 §2.1.2). It is empty when the sizes
    /// are equal or `old_size` is 0. Check it with [`crate::verify_consistency`].
    ///
    /// # Errors
    /// A size out of range, or what [`TileSource`] could not give.
    pub fn consistency_proof(
        &self,
        source: &dyn TileSource,
        old_size: u64,
        new_size: u64,
    ) -> Result<Vec<Hash>, TreeError> {
        prove::consistency(self, source, old_size, new_size)
    }

    /// The root at an earlier `size`.
    ///
    /// # Errors
    /// A size above the tree's, or what [`TileSource`] could not give.
    pub fn root_at(&self, source: &dyn TileSource, size: u64) -> Result<Hash, TreeError> {
        prove::root_at(self, source, size)
    }
}

impl FullTile {
    /// Level of the tile: 0 holds leaf hashes.
    #[must_use]
    pub fn level(&self) -> u8 {
        self.level
    }

    /// Index within its level.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Its 256 hashes.
    #[must_use]
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// Its 8192 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(TILE_BYTES);
        self.hashes.iter().for_each(|hash| bytes.extend_from_slice(hash.as_bytes()));
        bytes
    }
}

/// Reads one full tile and insists on its width.
pub(crate) fn read_full_tile(source: &dyn TileSource, level: u8, index: u64) -> Result<Vec<Hash>, TreeError> {
    let path = TilePath::hashes(level, index, 256)?;
    let hashes = source.tile(level, index)?.ok_or(TreeError::TileMissing { path })?;
    if hashes.len() == TILE_WIDTH {
        Ok(hashes)
    } else {
        Err(TreeError::TileDamaged { path, got: hashes.len() })
    }
}

/// The roots of the full tiles at `level` that are not yet gathered in a full tile above.
fn roots_of_last_tiles(size: u64, source: &dyn TileSource, level: u8) -> Result<Vec<Hash>, TreeError> {
    let end = full_tiles(size, level);
    let start = end & !0xff;
    (start..end).map(|index| Ok(root_over(&read_full_tile(source, level, index)?))).collect()
}
