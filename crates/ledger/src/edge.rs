//! The right edge of a tree: its partial tiles, one a level.

use crate::frontier::{Frontier, root_over};
use crate::hash::Hash;
use crate::tile::{TILE_LEVELS, TILE_WIDTH};

/// The hashes of the partial tiles, at most 8 × 255.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RightEdge {
    levels: [Vec<Hash>; TILE_LEVELS as usize],
}

impl RightEdge {
    /// The hashes at `level`; none where there is no partial tile.
    pub(crate) fn level(&self, level: u8) -> &[Hash] {
        self.levels.get(usize::from(level)).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn set(&mut self, level: u8, hashes: Vec<Hash>) {
        if let Some(slot) = self.levels.get_mut(usize::from(level)) {
            *slot = hashes;
        }
    }

    pub(crate) fn push(&mut self, level: u8, hash: Hash) {
        if let Some(slot) = self.levels.get_mut(usize::from(level)) {
            slot.push(hash);
        }
    }

    /// Takes the hashes of a level whose tile is full.
    pub(crate) fn take(&mut self, level: u8) -> Vec<Hash> {
        let slot = self.levels.get_mut(usize::from(level));
        slot.map(|slot| std::mem::replace(slot, Vec::with_capacity(TILE_WIDTH))).unwrap_or_default()
    }

    /// The frontier of the tree of `size` that has this edge: each level holds subtrees of eight heights.
    pub(crate) fn frontier(&self, size: u64) -> Frontier {
        let mut roots = Vec::new();
        for hashes in self.levels.iter().rev() {
            let mut rest = hashes.as_slice();
            while let Some(height) = rest.len().checked_ilog2() {
                // The largest power of two that is left is the next complete subtree from the left.
                let width = 1_usize.checked_shl(height).unwrap_or(0);
                let Some((subtree, after)) = rest.split_at_checked(width) else { break };
                roots.push(root_over(subtree));
                rest = after;
            }
        }
        Frontier::from_roots(size, roots)
    }
}
