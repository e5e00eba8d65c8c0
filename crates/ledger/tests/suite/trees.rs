//! The tree against vectors, a slow reference and another implementation.

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use holdpoint_ledger::{Hash, Tree, TreeError, leaf_hash};
use proptest::prelude::*;
use sha2::Sha256;

use super::support::{Tiles, data_lines, entries, grow, hash_of_hex, leaf, reference, unhex};

#[test]
fn roots_of_the_reference_implementation() {
    let lines: Vec<_> = data_lines(include_str!("../data/rfc6962.txt")).collect();
    let leaves = lines.iter().filter(|words| words[0] == "leaf").map(|words| leaf_hash(&unhex(words[1])));
    let leaves: Vec<Hash> = leaves.collect();
    let mut checked = 0;
    for words in lines.iter().filter(|words| words[0] == "root") {
        let size: usize = words[1].parse().unwrap();
        assert_eq!(grow(&leaves[..size]).0.root(), hash_of_hex(words[2]), "size {size}");
        checked += 1;
    }
    assert_eq!(checked, 9);
}

#[test]
fn every_size_up_to_three_tiles_has_the_reference_root_and_tiles() {
    let leaves: Vec<Hash> = (0..770).map(leaf).collect();
    let mut tree = Tree::new();
    for size in 0..=leaves.len() {
        if size < 70 || size % 256 < 3 || size % 256 > 253 {
            assert_eq!(tree.root(), reference::root(&leaves[..size]), "size {size}");
        }
        assert_eq!(tree.size(), size as u64);
        assert_eq!(tree.partial(0), &leaves[size / 256 * 256..size]);
        assert_eq!(tree.partial(1).len(), size / 256);
        let Some(next) = leaves.get(size) else { break };
        let full = tree.append(*next).unwrap();
        if (size + 1) % 256 == 0 {
            assert_eq!((full.len(), full[0].level(), full[0].index()), (1, 0, (size / 256) as u64));
            assert_eq!(full[0].hashes(), &leaves[size - 255..=size]);
            assert_eq!(full[0].to_bytes().len(), 8192);
            assert_eq!(tree.partial(1).last(), Some(&reference::root(&leaves[size - 255..=size])));
        } else {
            assert_eq!(full, []);
        }
    }
}

#[test]
fn the_border_of_two_tile_levels() {
    let leaves: Vec<Hash> = (0..65_537).map(leaf).collect();
    let (mut tree, _) = grow(&leaves[..65_535]);
    assert_eq!((tree.partial(0).len(), tree.partial(1).len(), tree.partial(2).len()), (255, 255, 0));
    assert_eq!(tree.root(), reference::root(&leaves[..65_535]));

    let full: Vec<_> = tree.append(leaves[65_535]).unwrap();
    let names: Vec<_> = full.iter().map(|tile| (tile.level(), tile.index())).collect();
    assert_eq!(names, [(0, 255), (1, 0)]);
    assert_eq!(tree.partial(2), &[tree.root()]);
    assert_eq!(tree.root(), reference::root(&leaves[..65_536]));

    assert_eq!(tree.append(leaves[65_536]).unwrap(), []);
    assert_eq!(tree.root(), reference::root(&leaves));
}

#[test]
fn a_dropped_batch_leaves_no_trace() {
    let (committed, _) = grow(&(0..300).map(leaf).collect::<Vec<_>>());
    let mut tentative = committed.clone();
    (300..900).for_each(|number| drop(tentative.append(leaf(number)).unwrap()));
    assert_ne!(tentative, committed);
    assert_eq!(committed, grow(&(0..300).map(leaf).collect::<Vec<_>>()).0);
}

#[test]
fn a_resumed_tree_is_the_tree() {
    for size in [0, 1, 255, 256, 257, 511, 512, 513, 1000, 65_535, 65_536, 65_537, 66_000] {
        let leaves: Vec<Hash> = (0..size).map(leaf).collect();
        let (tree, tiles) = grow(&leaves);
        let resumed = Tree::resume(size as u64, &tiles, &leaves[size / 256 * 256..]).unwrap();
        assert_eq!(resumed, tree, "size {size}");
    }
}

#[test]
fn resuming_from_a_damaged_store_is_refused() {
    let leaves: Vec<Hash> = (0..600).map(leaf).collect();
    let (_, tiles) = grow(&leaves);
    let tail = &leaves[512..];
    let resume = |tiles: &Tiles, tail: &[Hash]| Tree::resume(600, tiles, tail).unwrap_err();

    assert!(matches!(resume(&tiles, &tail[1..]), TreeError::TailLength { expected: 88, got: 87 }));
    let mut missing = tiles.clone();
    missing.0.remove(&(0, 1));
    assert_eq!(resume(&missing, tail).to_string(), "tile `tile/0/001` is missing from the storage");
    let mut short = tiles.clone();
    short.0.get_mut(&(0, 1)).unwrap().pop();
    assert!(matches!(resume(&short, tail), TreeError::TileDamaged { got: 255, .. }));

    // A changed hash cannot be seen from inside: the root tells.
    let mut changed = tiles.clone();
    changed.0.get_mut(&(0, 1)).unwrap()[7] = leaf(0);
    let resumed = Tree::resume(600, &changed, tail).unwrap();
    assert_ne!(resumed.root(), reference::root(&leaves));
}

#[test]
fn earlier_roots_come_from_the_tiles() {
    let leaves: Vec<Hash> = (0..1100).map(leaf).collect();
    let (tree, tiles) = grow(&leaves);
    for size in [0, 1, 2, 3, 255, 256, 257, 511, 512, 513, 1023, 1024, 1025, 1099, 1100] {
        assert_eq!(
            tree.root_at(&tiles, size as u64).unwrap(),
            reference::root(&leaves[..size]),
            "size {size}"
        );
    }
    assert!(matches!(tree.root_at(&tiles, 1101), Err(TreeError::SizeOutOfRange { limit: 1100, got: 1101 })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn agrees_with_the_reference_and_with_ct_merkle(size in 1_usize..700, a: prop::sample::Index, b: prop::sample::Index) {
        let entries = entries(size);
        let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        let (tree, tiles) = grow(&leaves);
        let mut other = MemoryBackedTree::<Sha256, Vec<u8>>::new();
        entries.into_iter().for_each(|entry| other.push(entry));

        let (root, other_root) = (tree.root(), other.root());
        prop_assert_eq!(root.as_bytes().as_slice(), other_root.as_bytes().as_slice());
        prop_assert_eq!(tree.root(), reference::root(&leaves));

        let index = a.index(size);
        let proof = tree.inclusion_proof(&tiles, index as u64, size as u64).unwrap();
        let bytes: Vec<u8> = proof.iter().flat_map(|hash| *hash.as_bytes()).collect();
        let other_proof = other.prove_inclusion(index);
        prop_assert_eq!(bytes.as_slice(), other_proof.as_bytes());
        prop_assert_eq!(proof, reference::path(index, &leaves));

        let old_size = 1 + b.index(size);
        let proof = tree.consistency_proof(&tiles, old_size as u64, size as u64).unwrap();
        prop_assert_eq!(&proof, &reference::proof(old_size, &leaves));
        if old_size < size {
            // Between equal sizes the other implementation gives a proof of its own kind.
            let bytes: Vec<u8> = proof.iter().flat_map(|hash| *hash.as_bytes()).collect();
            let other_proof = other.prove_consistency(size - old_size);
            prop_assert_eq!(bytes.as_slice(), other_proof.as_bytes());
        }
    }

    /// Whatever the pieces in which leaves come, the tree and its tiles are those of one leaf after the other.
    #[test]
    fn leaves_in_pieces_make_the_tree_of_one_by_one(pieces in prop::collection::vec(0_usize..700, 1..8)) {
        let leaves: Vec<Hash> = (0..pieces.iter().sum::<usize>() ).map(leaf).collect();
        let (mut one_by_one, mut expected) = (Tree::new(), Vec::new());
        let (mut tree, mut got, mut rest) = (Tree::new(), Vec::new(), leaves.as_slice());
        for piece in pieces {
            let (now, later) = rest.split_at(piece);
            for leaf in now {
                expected.extend(one_by_one.append(*leaf).unwrap());
            }
            got.extend(tree.append_all(now).unwrap());
            rest = later;
            prop_assert_eq!(&tree, &one_by_one);
        }
        prop_assert_eq!(got, expected);
    }
}

#[test]
fn two_levels_of_tiles_fill_at_once() {
    let leaves: Vec<Hash> = (0..65_536 + 300).map(leaf).collect();
    let (mut one_by_one, mut expected) = (Tree::new(), Vec::new());
    for leaf in &leaves {
        expected.extend(one_by_one.append(*leaf).unwrap());
    }
    let mut tree = Tree::new();
    assert_eq!(tree.append_all(&leaves).unwrap(), expected);
    assert_eq!(tree, one_by_one);
    assert_eq!(expected.iter().filter(|tile| tile.level() == 1).count(), 1);
}
