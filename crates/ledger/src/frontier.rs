//! The compact range of a tree: what must be remembered to go on appending and to know the root.

use crate::hash::{EMPTY_ROOT, Hash, node_hash, node_hashes};
use crate::tree::TreeError;

/// The roots of the maximal complete subtrees of a tree, at most 64 hashes.
///
/// It computes the root of RFC 6962 §2.1 at every size of one pass over the leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    // INVARIANT: one root for each set bit of `size`, largest subtree first.
    roots: Vec<Hash>,
}

impl Frontier {
    /// The frontier of the empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes over roots that the caller computed: one for each set bit of `size`, largest first.
    pub(crate) fn from_roots(size: u64, roots: Vec<Hash>) -> Self {
        Self { size, roots }
    }

    /// How many leaves are below it.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root at this size.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut smallest_first = self.roots.iter().rev().copied();
        match smallest_first.next() {
            Some(smallest) => smallest_first.fold(smallest, |right, left| node_hash(left, right)),
            None => EMPTY_ROOT,
        }
    }

    /// Appends one leaf.
    ///
    /// # Errors
    /// [`TreeError::Full`] at 2^64 - 1 leaves; the frontier is then unchanged.
    pub fn push(&mut self, leaf: Hash) -> Result<(), TreeError> {
        self.push_with(0, leaf, |_, _| ())
    }

    /// Appends the root of a complete subtree of `2^height` leaves and tells of each inner node that it completes: its height
    /// and hash, lowest first. A leaf is one of height 0. The size must be a multiple of the subtree's.
    pub(crate) fn push_with(
        &mut self,
        height: u32,
        subtree: Hash,
        mut completed: impl FnMut(u32, Hash),
    ) -> Result<(), TreeError> {
        let size = 1_u64.checked_shl(height).and_then(|width| self.size.checked_add(width));
        let size = size.ok_or(TreeError::Full)?;
        let mut node = subtree;
        // Each trailing one of the old size, counted in such subtrees, is one as high as the node that arrives: they merge.
        let merges = self.size.checked_shr(height).unwrap_or(0).trailing_ones();
        for height in (height..).skip(1).take(usize::try_from(merges).unwrap_or(0)) {
            let Some(left) = self.roots.pop() else { break };
            node = node_hash(left, node);
            completed(height, node);
        }
        self.roots.push(node);
        self.size = size;
        Ok(())
    }
}

/// The root over `hashes` taken as leaf hashes (of a tile: the hash that stands in the tile above).
#[must_use]
pub fn root_over(hashes: &[Hash]) -> Hash {
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        let (pairs, odd) = row.as_chunks::<2>();
        // An odd last node moves up unchanged: the same tree as RFC 6962's split at a power of two.
        let mut above = node_hashes(pairs);
        above.extend_from_slice(odd);
        row = above;
    }
    row.first().copied().unwrap_or(EMPTY_ROOT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::leaf_hash;

    #[test]
    fn two_ways_to_the_root_agree() {
        let mut frontier = Frontier::new();
        let mut leaves = Vec::new();
        for number in 0..600_u32 {
            assert_eq!(frontier.root(), root_over(&leaves));
            let leaf = leaf_hash(&number.to_be_bytes());
            frontier.push(leaf).unwrap();
            leaves.push(leaf);
        }
    }

    #[test]
    fn a_full_frontier_refuses_and_stays() {
        let mut frontier = Frontier::from_roots(u64::MAX, vec![EMPTY_ROOT; 64]);
        let before = frontier.clone();
        assert!(matches!(frontier.push(EMPTY_ROOT), Err(TreeError::Full)));
        assert_eq!(frontier, before);
    }
}
