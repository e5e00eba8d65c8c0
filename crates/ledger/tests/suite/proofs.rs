//! Proofs: made, checked, and refused when anything about them is changed.

use holdpoint_ledger::{
    EMPTY_ROOT, Hash, ProofError, Tree, TreeError, leaf_hash, verify_consistency, verify_inclusion,
};
use proptest::prelude::*;

use super::support::{Tiles, data_lines, grow, hash_of_hex, leaf, reference, unhex};

/// Sizes beside the borders of tiles.
const BORDERS: [usize; 9] = [254, 255, 256, 257, 258, 511, 512, 513, 769];

#[test]
fn proofs_of_the_reference_implementation() {
    let lines: Vec<_> = data_lines(include_str!("../data/rfc6962.txt")).collect();
    let leaves = lines.iter().filter(|words| words[0] == "leaf").map(|words| leaf_hash(&unhex(words[1])));
    let leaves: Vec<Hash> = leaves.collect();
    let (tree, tiles) = grow(&leaves);
    let mut checked = 0;
    for words in lines.iter().filter(|words| ["inclusion", "consistency"].contains(&words[0])) {
        let (a, b): (u64, u64) = (words[1].parse().unwrap(), words[2].parse().unwrap());
        let proof: Vec<Hash> = words[3..].iter().map(|hex| hash_of_hex(hex)).collect();
        let root = |size: u64| reference::root(&leaves[..size as usize]);
        if words[0] == "inclusion" {
            assert_eq!(tree.inclusion_proof(&tiles, a, b).unwrap(), proof);
            assert_eq!(verify_inclusion(leaves[a as usize], a, b, root(b), &proof), Ok(()));
        } else {
            assert_eq!(tree.consistency_proof(&tiles, a, b).unwrap(), proof);
            assert_eq!(verify_consistency(a, root(a), b, root(b), &proof), Ok(()));
        }
        checked += 1;
    }
    assert_eq!(checked, 8);
}

#[test]
fn every_leaf_of_every_size_is_proven_and_no_changed_proof_is() {
    let leaves: Vec<Hash> = (0..70).map(leaf).collect();
    let (tree, tiles) = grow(&leaves);
    for size in 1..=leaves.len() {
        let root = reference::root(&leaves[..size]);
        for index in 0..size {
            let proof = tree.inclusion_proof(&tiles, index as u64, size as u64).unwrap();
            assert_eq!(proof, reference::path(index, &leaves[..size]));
            check_inclusion(leaves[index], index as u64, size as u64, root, &proof, &bits(size, 17));
        }
    }
}

#[test]
fn every_two_sizes_are_proven_and_no_changed_proof_is() {
    let leaves: Vec<Hash> = (0..70).map(leaf).collect();
    let (tree, tiles) = grow(&leaves);
    for new in 0..=leaves.len() {
        for old in 0..=new {
            let proof = tree.consistency_proof(&tiles, old as u64, new as u64).unwrap();
            assert_eq!(proof, reference::proof(old, &leaves[..new]));
            let heads = [old, new].map(|size| (size, reference::root(&leaves[..size])));
            check_consistency(heads, &proof, &bits(new, 17));
        }
    }
}

#[test]
fn proofs_across_tile_borders() {
    let leaves: Vec<Hash> = (0..800).map(leaf).collect();
    let (tree, tiles) = grow(&leaves);
    for size in BORDERS {
        let root = reference::root(&leaves[..size]);
        for index in BORDERS.into_iter().chain([0, 1, 127, 128]).filter(|index| *index < size) {
            let proof = tree.inclusion_proof(&tiles, index as u64, size as u64).unwrap();
            assert_eq!(proof, reference::path(index, &leaves[..size]));
            check_inclusion(leaves[index], index as u64, size as u64, root, &proof, &bits(size, 0));
        }
        for old in BORDERS.into_iter().chain([0, 1, 2, 128, 129]).filter(|old| *old <= size) {
            let proof = tree.consistency_proof(&tiles, old as u64, size as u64).unwrap();
            assert_eq!(proof, reference::proof(old, &leaves[..size]));
            let heads = [old, size].map(|size| (size, tree.root_at(&tiles, size as u64).unwrap()));
            check_consistency(heads, &proof, &bits(size, 0));
        }
    }
}

#[test]
fn proofs_across_the_border_of_two_tile_levels() {
    let leaves: Vec<Hash> = (0..65_700).map(leaf).collect();
    let (tree, tiles) = grow(&leaves);
    for size in [65_535, 65_536, 65_537, 65_700] {
        let root = tree.root_at(&tiles, size as u64).unwrap();
        assert_eq!(root, reference::root(&leaves[..size]));
        for index in [0, 255, 256, 32_767, 32_768, 65_279, 65_280, 65_534, 65_535, 65_536, 65_699] {
            if index < size {
                let proof = tree.inclusion_proof(&tiles, index as u64, size as u64).unwrap();
                check_inclusion(leaves[index], index as u64, size as u64, root, &proof, &bits(size, 0));
            }
        }
        for old in [1, 255, 256, 257, 32_768, 40_000, 65_535, 65_536, 65_537, 65_700] {
            if old <= size {
                let proof = tree.consistency_proof(&tiles, old as u64, size as u64).unwrap();
                let heads = [old, size].map(|size| (size, tree.root_at(&tiles, size as u64).unwrap()));
                check_consistency(heads, &proof, &bits(size, 0));
            }
        }
    }
}

#[test]
fn what_is_out_of_range_is_refused() {
    let (tree, tiles) = grow(&(0..10).map(leaf).collect::<Vec<_>>());
    assert!(matches!(
        tree.inclusion_proof(&tiles, 5, 5),
        Err(TreeError::IndexOutOfRange { index: 5, size: 5 })
    ));
    assert!(matches!(
        tree.inclusion_proof(&tiles, 5, 11),
        Err(TreeError::SizeOutOfRange { limit: 10, got: 11 })
    ));
    assert!(matches!(
        tree.consistency_proof(&tiles, 6, 5),
        Err(TreeError::SizeOutOfRange { limit: 5, got: 6 })
    ));
    assert!(matches!(Tree::new().inclusion_proof(&tiles, 0, 0), Err(TreeError::IndexOutOfRange { .. })));

    let root = tree.root();
    assert_eq!(
        verify_inclusion(leaf(0), 10, 10, root, &[]),
        Err(ProofError::IndexOutOfRange { index: 10, size: 10 })
    );
    assert_eq!(
        verify_consistency(11, root, 10, root, &[]),
        Err(ProofError::Shrunk { old_size: 11, new_size: 10 })
    );
}

#[test]
fn empty_and_equal_trees_need_no_proof_but_the_right_roots() {
    let (root, other) = (leaf(1), leaf(2));
    let mismatch = |result: Result<(), ProofError>| {
        matches!(result, Err(ProofError::OldRootMismatch { .. } | ProofError::RootMismatch { .. }))
    };
    assert_eq!(verify_consistency(0, EMPTY_ROOT, 0, EMPTY_ROOT, &[]), Ok(()));
    assert_eq!(verify_consistency(0, EMPTY_ROOT, 9, root, &[]), Ok(()));
    assert_eq!(verify_consistency(9, root, 9, root, &[]), Ok(()));
    assert!(mismatch(verify_consistency(0, root, 9, root, &[])));
    assert!(mismatch(verify_consistency(0, EMPTY_ROOT, 0, root, &[])));
    assert!(mismatch(verify_consistency(9, root, 9, other, &[])));
    assert_eq!(
        verify_consistency(9, root, 9, root, &[root]),
        Err(ProofError::Length { expected: 0, got: 1 })
    );
}

#[test]
fn a_proof_has_one_length() {
    let leaves: Vec<Hash> = (0..7).map(leaf).collect();
    let (tree, tiles) = grow(&leaves);
    let root = tree.root();
    let proof = tree.inclusion_proof(&tiles, 6, 7).unwrap();
    for other in [&proof[1..], &[proof.as_slice(), &[root]].concat()] {
        let want = ProofError::Length { expected: 2, got: other.len() };
        assert_eq!(verify_inclusion(leaf(6), 6, 7, root, other), Err(want));
    }
    let old_root = reference::root(&leaves[..3]);
    let proof = tree.consistency_proof(&tiles, 3, 7).unwrap();
    for other in [&[], &proof[1..], &[proof.as_slice(), &[root]].concat()] {
        let want = ProofError::Length { expected: 4, got: other.len() };
        assert_eq!(verify_consistency(3, old_root, 7, root, other), Err(want));
    }
}

#[test]
fn a_store_that_lost_a_tile_makes_no_proof() {
    let leaves: Vec<Hash> = (0..600).map(leaf).collect();
    let (tree, _) = grow(&leaves);
    let lost = tree.inclusion_proof(&Tiles::default(), 3, 600);
    assert!(matches!(lost, Err(TreeError::TileMissing { path }) if path.to_string() == "tile/0/000"));
}

proptest! {
    /// Sizes that no test can build: no input makes a verifier panic or accept.
    #[test]
    fn no_random_proof_is_accepted(
        a: u64, b: u64, seed: u32, hashes in prop::collection::vec(any::<[u8; 32]>(), 0..130),
    ) {
        let root = leaf_hash(&seed.to_be_bytes());
        let proof: Vec<Hash> = hashes.into_iter().map(Hash::from_bytes).collect();
        prop_assert!(verify_inclusion(leaf(0), a, b, root, &proof).is_err());
        prop_assert!(a == b || verify_consistency(a.max(1), leaf(0), b, root, &proof).is_err());
    }
}

/// Which bits to flip: all of them for small trees, one of each hash for the others.
fn bits(size: usize, all_up_to: usize) -> Vec<usize> {
    if size <= all_up_to { (0..256).collect() } else { vec![size * 7 % 256] }
}

fn check_inclusion(leaf: Hash, index: u64, size: u64, root: Hash, proof: &[Hash], bits: &[usize]) {
    let verify = |leaf, root, proof: &[Hash]| verify_inclusion(leaf, index, size, root, proof);
    assert_eq!(verify(leaf, root, proof), Ok(()), "index {index} of {size}");
    for changed in changes(proof, bits) {
        assert!(verify(leaf, root, &changed).is_err(), "index {index} of {size}");
    }
    let bit = bits[0];
    assert!(verify(flip(leaf, bit), root, proof).is_err());
    assert!(verify(leaf, flip(root, bit), proof).is_err());
    // Another place in the tree, where the shape of the path is the same or not.
    for other in [index ^ 1, index + 1, index.wrapping_sub(1)] {
        assert!(verify_inclusion(leaf, other, size, root, proof).is_err(), "{index} as {other} of {size}");
    }
}

fn check_consistency(heads: [(usize, Hash); 2], proof: &[Hash], bits: &[usize]) {
    let [(old, old_root), (new, new_root)] = heads;
    let verify = |old_root, new_root, proof: &[Hash]| {
        verify_consistency(old as u64, old_root, new as u64, new_root, proof)
    };
    assert_eq!(verify(old_root, new_root, proof), Ok(()), "{old} to {new}");
    for changed in changes(proof, bits) {
        assert!(verify(old_root, new_root, &changed).is_err(), "{old} to {new}");
    }
    let bit = bits[0];
    assert!(verify(flip(old_root, bit), new_root, proof).is_err(), "{old} to {new}");
    // Every tree continues the empty one.
    assert_eq!(verify(old_root, flip(new_root, bit), proof).is_ok(), old == 0 && new > 0, "{old} to {new}");
}

/// The proof with one bit flipped, each of its hashes left out, one too many, and two swapped.
fn changes(proof: &[Hash], bits: &[usize]) -> Vec<Vec<Hash>> {
    let mut changes = Vec::new();
    for place in 0..proof.len() {
        for bit in bits {
            let mut flipped = proof.to_vec();
            flipped[place] = flip(flipped[place], *bit);
            changes.push(flipped);
        }
        let mut shorter = proof.to_vec();
        shorter.remove(place);
        changes.push(shorter);
    }
    changes.push([proof, &[EMPTY_ROOT]].concat());
    changes.push([&[EMPTY_ROOT], proof].concat());
    changes.push([proof, proof.last().map_or(&[EMPTY_ROOT], std::slice::from_ref)].concat());
    for pair in 1..proof.len() {
        let mut swapped = proof.to_vec();
        swapped.swap(pair - 1, pair);
        changes.push(swapped);
    }
    changes
}

fn flip(hash: Hash, bit: usize) -> Hash {
    let mut bytes = *hash.as_bytes();
    bytes[bit / 8] ^= 1 << (bit % 8);
    Hash::from_bytes(bytes)
}
