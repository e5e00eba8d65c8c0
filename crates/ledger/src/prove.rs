//! Making proofs: the recursions of RFC 6962 §2.1.1 and §2.1.2, reading hashes from tiles.

use crate::frontier::root_over;
use crate::hash::{EMPTY_ROOT, Hash, node_hash};
use crate::source::TileSource;
use crate::tree::{Tree, TreeError, read_full_tile};

/// `PATH(index, D[size])`, from the leaf's sibling up.
pub(crate) fn inclusion(
    tree: &Tree,
    source: &dyn TileSource,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, TreeError> {
    check_size(tree, size)?;
    if index >= size {
        return Err(TreeError::IndexOutOfRange { index, size });
    }
    let mut reader = Reader { tree, source, last: None };
    let mut proof = Vec::new();
    let mut range = Range { start: 0, end: size };
    while let Some((left, right)) = range.split() {
        let (inside, sibling) = if index < left.end { (left, right) } else { (right, left) };
        proof.push(reader.root(sibling)?);
        range = inside;
    }
    proof.reverse();
    Ok(proof)
}

/// `PROOF(old_size, D[new_size])`; empty where RFC 6962 defines none.
pub(crate) fn consistency(
    tree: &Tree,
    source: &dyn TileSource,
    old_size: u64,
    new_size: u64,
) -> Result<Vec<Hash>, TreeError> {
    check_size(tree, new_size)?;
    if old_size > new_size {
        return Err(TreeError::SizeOutOfRange { limit: new_size, got: old_size });
    }
    if old_size == 0 {
        return Ok(Vec::new());
    }
    let mut reader = Reader { tree, source, last: None };
    let mut proof = Vec::new();
    let mut range = Range { start: 0, end: new_size };
    // Walk down to the subtree that ends exactly where the old tree ended.
    while range.end != old_size {
        let Some((left, right)) = range.split() else { break };
        let (inside, sibling) = if old_size <= left.end { (left, right) } else { (right, left) };
        proof.push(reader.root(sibling)?);
        range = inside;
    }
    // At the left edge that subtree is the old tree itself, whose root the verifier has.
    if range.start != 0 {
        proof.push(reader.root(range)?);
    }
    proof.reverse();
    Ok(proof)
}

/// `MTH(D[size])`.
pub(crate) fn root_at(tree: &Tree, source: &dyn TileSource, size: u64) -> Result<Hash, TreeError> {
    check_size(tree, size)?;
    Reader { tree, source, last: None }.root(Range { start: 0, end: size })
}

fn check_size(tree: &Tree, size: u64) -> Result<(), TreeError> {
    let limit = tree.size();
    if size > limit { Err(TreeError::SizeOutOfRange { limit, got: size }) } else { Ok(()) }
}

/// The leaves `start..end` of a subtree that the recursion visits.
#[derive(Clone, Copy)]
struct Range {
    // INVARIANT: `start` is a multiple of the largest power of two not above `end - start`.
    start: u64,
    end: u64,
}

impl Range {
    /// Splits at the largest power of two *below* the length; `None` for a single leaf.
    fn split(self) -> Option<(Range, Range)> {
        let last = self.end.checked_sub(self.start)?.checked_sub(1)?;
        let middle = self.start.saturating_add(1_u64.checked_shl(last.checked_ilog2()?)?);
        Some((Range { start: self.start, end: middle }, Range { start: middle, end: self.end }))
    }
}

/// Reads hashes from the tree's edge or the source. Keeps the last tile: the steps of a proof stay in
/// one tile for eight levels.
struct Reader<'a> {
    tree: &'a Tree,
    source: &'a dyn TileSource,
    last: Option<(u8, u64, Vec<Hash>)>,
}

impl Reader<'_> {
    /// `MTH(D[start:end])`: the complete subtrees from left to right, then folded from the right.
    fn root(&mut self, range: Range) -> Result<Hash, TreeError> {
        let mut subtrees = Vec::new();
        let mut start = range.start;
        while let Some(height) = range.end.saturating_sub(start).checked_ilog2() {
            subtrees.push(self.subtree(start, height)?);
            start = start.saturating_add(1_u64.checked_shl(height).unwrap_or(u64::MAX));
        }
        let root = subtrees.into_iter().rev().reduce(|right, left| node_hash(left, right));
        Ok(root.unwrap_or(EMPTY_ROOT))
    }

    /// The root of the complete subtree of `height` that begins at leaf `start`.
    fn subtree(&mut self, start: u64, height: u32) -> Result<Hash, TreeError> {
        let level = u8::try_from(height / 8).unwrap_or(u8::MAX);
        let first = start.checked_shr(height & !7).unwrap_or(0);
        let width = 1_usize.checked_shl(height % 8).unwrap_or(0);
        let [offset, ..] = first.to_le_bytes();
        let offset = usize::from(offset);
        let hashes = self.tile(level, first >> 8)?.get(offset..offset.saturating_add(width));
        // Within the tree every complete subtree stands in a tile; an absent one means a wrong range.
        hashes.map(root_over).ok_or(TreeError::SizeOutOfRange { limit: self.tree.size(), got: start })
    }

    fn tile(&mut self, level: u8, index: u64) -> Result<&[Hash], TreeError> {
        if index >= crate::tile::full_tiles(self.tree.size(), level) {
            return Ok(self.tree.partial(level));
        }
        let known = self.last.take().filter(|(l, i, _)| (*l, *i) == (level, index));
        let tile = match known {
            Some(tile) => tile,
            None => (level, index, read_full_tile(self.source, level, index)?),
        };
        Ok(&self.last.insert(tile).2)
    }
}
