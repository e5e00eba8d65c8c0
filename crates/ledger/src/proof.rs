//! Verifying proofs: RFC 9162 §2.1.3.2 and §2.1.4.2, strict about length.

use crate::checkpoint::CheckpointError;
use crate::hash::{EMPTY_ROOT, Hash, node_hash};

/// Why a proof proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// No tree of that size has such a leaf.
    #[error("leaf index out of range, expected below {size}, got {index}")]
    IndexOutOfRange {
        /// The index claimed.
        index: u64,
        /// The size of the tree.
        size: u64,
    },
    /// A log cannot shrink: the peer rolled it back, or the caller swapped the heads.
    #[error("new tree is smaller than the old, expected at least {old_size}, got {new_size}")]
    Shrunk {
        /// Size of the older head.
        old_size: u64,
        /// Size of the newer head.
        new_size: u64,
    },
    /// Too few or too many hashes for these sizes.
    #[error("proof has the wrong length, expected {expected} hashes, got {got}")]
    Length {
        /// The only length that a proof for these sizes has.
        expected: usize,
        /// How many came.
        got: usize,
    },
    /// The proof leads to another root than that of the newer (or only) head.
    #[error("proof leads to another root, expected `{expected}`, got `{got}`")]
    RootMismatch {
        /// The root of the head.
        expected: Hash,
        /// The root that the proof leads to.
        got: Hash,
    },
    /// The proof leads to another old root than the one remembered: history was rewritten.
    #[error("proof leads to another old root, expected `{expected}`, got `{got}`")]
    OldRootMismatch {
        /// The root of the older head.
        expected: Hash,
        /// The root that the proof leads to.
        got: Hash,
    },
    /// The text is not a `tlog-proof`.
    #[error("not a `c2sp.org/tlog-proof@v1`: {reason}")]
    Malformed {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The checkpoint in the proof is refused.
    #[error("checkpoint of the proof is refused")]
    Checkpoint(#[from] CheckpointError),
}

/// Checks that the leaf `leaf_hash` stands at `index` of the tree of `size` with `root`.
///
/// # Errors
/// Any deviation: an index out of range, a hash too few or too many, another root.
pub fn verify_inclusion(
    leaf_hash: Hash,
    index: u64,
    size: u64,
    root: Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::IndexOutOfRange { index, size });
    }
    let shape = Shape::of(index, size);
    let (inner, border) = shape.split(proof, 0)?;
    let got = chain_border(chain_inner(leaf_hash, inner, index), border);
    if got == root { Ok(()) } else { Err(ProofError::RootMismatch { expected: root, got }) }
}

/// Checks that the tree (`new_size`, `new_root`) has the tree (`old_size`, `old_root`) as its beginning.
///
/// From size 0 to any size, and between equal heads, the proof is empty: nothing is there to prove, but
/// the roots are still compared with what these sizes demand.
///
/// # Errors
/// Any deviation: a shrunk log, a hash too few or too many, another root on either side.
pub fn verify_consistency(
    old_size: u64,
    old_root: Hash,
    new_size: u64,
    new_root: Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if old_size > new_size {
        return Err(ProofError::Shrunk { old_size, new_size });
    }
    if old_size == 0 || old_size == new_size {
        return verify_without_proof(old_size, old_root, new_size, new_root, proof);
    }
    // The subtree that ends where the old tree ended. When the old tree is complete it is that subtree,
    // and its root is not in the proof: the verifier has it.
    let shift = old_size.trailing_zeros();
    let last = old_size.saturating_sub(1);
    let shape = Shape::of(last, new_size).without(shift);
    let (seed, given) = match (old_size.is_power_of_two(), proof.split_first()) {
        (true, _) => (old_root, proof),
        (false, Some((seed, rest))) => (*seed, rest),
        (false, None) => return Err(shape.wrong_length(1, 0)),
    };
    let (inner, border) = shape.split(given, proof.len().saturating_sub(given.len()))?;
    let mask = last.checked_shr(shift).unwrap_or(0);

    let got = chain_border(chain_inner_right(seed, inner, mask), border);
    if got != old_root {
        return Err(ProofError::OldRootMismatch { expected: old_root, got });
    }
    let got = chain_border(chain_inner(seed, inner, mask), border);
    if got == new_root { Ok(()) } else { Err(ProofError::RootMismatch { expected: new_root, got }) }
}

/// Where RFC 6962 defines no proof: nothing may come, and the sizes alone demand the roots.
fn verify_without_proof(
    old_size: u64,
    old_root: Hash,
    new_size: u64,
    new_root: Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if !proof.is_empty() {
        return Err(ProofError::Length { expected: 0, got: proof.len() });
    }
    if new_size == 0 && new_root != EMPTY_ROOT {
        return Err(ProofError::RootMismatch { expected: new_root, got: EMPTY_ROOT });
    }
    let got = if old_size == 0 { EMPTY_ROOT } else { new_root };
    if got == old_root { Ok(()) } else { Err(ProofError::OldRootMismatch { expected: old_root, got }) }
}

/// How many siblings of a path lie below the point where it joins the right edge of the tree (`inner`,
/// left or right by the bits of the index) and above (`border`, all of them left).
struct Shape {
    inner: u32,
    border: u32,
}

impl Shape {
    fn of(index: u64, size: u64) -> Self {
        let inner = u64::BITS.saturating_sub((index ^ size.saturating_sub(1)).leading_zeros());
        Self { inner, border: index.checked_shr(inner).unwrap_or(0).count_ones() }
    }

    fn without(self, levels: u32) -> Self {
        Self { inner: self.inner.saturating_sub(levels), border: self.border }
    }

    /// `seeds` hashes were taken off the proof before.
    fn split<'p>(&self, proof: &'p [Hash], seeds: usize) -> Result<(&'p [Hash], &'p [Hash]), ProofError> {
        let (inner, border) = (to_usize(self.inner), to_usize(self.border));
        match proof.split_at_checked(inner) {
            Some((left, right)) if right.len() == border => Ok((left, right)),
            _ => Err(self.wrong_length(seeds, proof.len().saturating_add(seeds))),
        }
    }

    fn wrong_length(&self, seeds: usize, got: usize) -> ProofError {
        let expected = to_usize(self.inner.saturating_add(self.border)).saturating_add(seeds);
        ProofError::Length { expected, got }
    }
}

fn to_usize(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Climbs: bit by bit the index tells whether the sibling stands left or right.
fn chain_inner(seed: Hash, siblings: &[Hash], index: u64) -> Hash {
    siblings.iter().zip(bits(index)).fold(seed, |node, (sibling, is_right)| match is_right {
        true => node_hash(*sibling, node),
        false => node_hash(node, *sibling),
    })
}

/// Climbs as the old tree did: what stands to the right did not exist yet.
fn chain_inner_right(seed: Hash, siblings: &[Hash], index: u64) -> Hash {
    siblings.iter().zip(bits(index)).fold(seed, |node, (sibling, is_right)| match is_right {
        true => node_hash(*sibling, node),
        false => node,
    })
}

fn chain_border(seed: Hash, siblings: &[Hash]) -> Hash {
    siblings.iter().fold(seed, |node, sibling| node_hash(*sibling, node))
}

/// The bits of `index`, lowest first, then zeros for ever.
fn bits(index: u64) -> impl Iterator<Item = bool> {
    std::iter::successors(Some(index), |rest| Some(rest >> 1)).map(|rest| rest & 1 == 1)
}
