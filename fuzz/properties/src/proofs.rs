//! Proofs against RFC 6962 letter by letter, and what becomes of a proof that somebody changed.

use holdpoint_ledger::{
    Checkpoint, EMPTY_ROOT, Ed25519NoteSigner, Hash, LogProof, SignedCheckpoint, TilePath, VerifierKey,
    leaf_hash, node_hash, verify_consistency, verify_inclusion,
};

use crate::Choices;

const ORIGIN: &str = "gate.example/log";
/// More than three levels of subtrees, and few enough to hash slowly.
const MOST_LEAVES: usize = 40;

/// Honest proofs verify; a change of any part makes them prove nothing; no bytes at all make the verifier stumble.
pub(crate) fn holds(bytes: &[u8]) {
    texts(bytes);
    let choices = &mut Choices::new(bytes);
    match choices.byte() % 3 {
        0 => inclusion(choices),
        1 => consistency(choices),
        _ => wild(choices),
    }
}

fn inclusion(choices: &mut Choices<'_>) {
    let leaves = leaves(1 + choices.below(MOST_LEAVES));
    let index = choices.below(leaves.len());
    let proof = path(index, &leaves);
    let (leaf, size, head) = (leaves[index], leaves.len() as u64, root(&leaves));
    assert_eq!(verify_inclusion(leaf, index as u64, size, head, &proof), Ok(()));

    let (mut other_leaf, mut other_index, mut other_size, mut other_head, mut other_proof) =
        (leaf, index as u64, size, head, proof.clone());
    match choices.byte() % 5 {
        0 => other_leaf = hash(choices),
        1 => other_index = choices.number(),
        2 => other_head = hash(choices),
        3 => change(&mut other_proof, choices),
        // A path is the same in several trees; only the root, which the signature covers with the size, tells them apart.
        _ => {
            other_size = 1 + choices.below(MOST_LEAVES) as u64;
            other_head = root(&leaves_of(other_size as usize, 1));
        }
    }
    let same =
        other_leaf == leaf && other_index == index as u64 && other_head == head && other_proof == proof;
    let got = verify_inclusion(other_leaf, other_index, other_size, other_head, &other_proof);
    assert_eq!(got.is_ok(), same && other_size == size, "index {index} of {size}: {got:?}");
    receipt(choices, &leaves, index, proof);
}

/// The proof as a receipt: text and back, and with any byte changed it never vouches for another entry.
fn receipt(choices: &mut Choices<'_>, leaves: &[Hash], index: usize, proof: Vec<Hash>) {
    let signer = Ed25519NoteSigner::from_seed(ORIGIN, &[1; 32]).unwrap();
    let keys = [VerifierKey::of(&signer).unwrap()];
    let head = Checkpoint::new(ORIGIN, leaves.len() as u64, root(leaves)).unwrap();
    let signed = SignedCheckpoint::sign(&head, &[&signer]).unwrap();
    let receipt = LogProof::new(index as u64, proof, signed).unwrap();
    assert_eq!(receipt.to_string().parse::<LogProof>().as_ref(), Ok(&receipt), "print, parse");
    assert_eq!(receipt.verify(leaves[index], &keys).as_ref(), Ok(&head));

    let mut text = receipt.to_string().into_bytes();
    choices.edit(&mut text);
    let Some(read) = String::from_utf8(text).ok().and_then(|text| text.parse::<LogProof>().ok()) else {
        return;
    };
    for (at, leaf) in leaves.iter().enumerate() {
        if let Ok(vouched) = read.verify(*leaf, &keys) {
            assert_eq!(vouched, head, "a changed receipt vouches for another head");
            assert_eq!((at as u64, read.index()), (index as u64, index as u64), "for another entry");
        }
    }
}

fn consistency(choices: &mut Choices<'_>) {
    let all = leaves(choices.below(MOST_LEAVES));
    let old = choices.below(all.len() + 1);
    let proof = if old == 0 { Vec::new() } else { subproof(old, &all, true) };
    let (old_size, old_root) = (old as u64, root(&all[..old]));
    let (new_size, new_root) = (all.len() as u64, root(&all));
    assert_eq!(verify_consistency(old_size, old_root, new_size, new_root, &proof), Ok(()));

    let (mut other_old, mut other_new, mut other_proof) = (old_root, new_root, proof.clone());
    match choices.byte() % 3 {
        0 => other_old = hash(choices),
        1 => other_new = hash(choices),
        _ => change(&mut other_proof, choices),
    }
    let same = other_old == old_root && other_new == new_root && other_proof == proof;
    // Every log begins with nothing, so from size 0 any new root will do: nobody remembered anything.
    let from_nothing = old_size == 0 && new_size > 0 && other_old == old_root && other_proof == proof;
    let got = verify_consistency(old_size, other_old, new_size, other_new, &other_proof);
    assert_eq!(got.is_ok(), same || from_nothing, "{old_size} to {new_size}: {got:?}");
    if new_size > old_size {
        assert!(verify_consistency(new_size, new_root, old_size, old_root, &proof).is_err(), "a log shrank");
    }
}

/// Any numbers at all: an answer, and not the one that an attacker wants.
fn wild(choices: &mut Choices<'_>) {
    let (index, size) = (choices.number(), choices.number());
    let (leaf, head) = (hash(choices), hash(choices));
    let proof: Vec<Hash> = (0..choices.below(70)).map(|_| hash(choices)).collect();
    if verify_inclusion(leaf, index, size, head, &proof).is_ok() {
        assert!(index < size, "an index beyond the tree");
        assert!(proof.is_empty() && size == 1 && leaf == head, "hashes out of nowhere lead to a root");
    }
    if verify_consistency(index, leaf, size, head, &proof).is_ok() {
        assert!(index <= size, "a log shrank");
        assert!(index == size && leaf == head || index == 0 && leaf == EMPTY_ROOT, "out of nowhere");
    }
}

/// What is read as a hash, a path of a tile or a receipt is written as it was read.
fn texts(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(hash) = text.parse::<Hash>() {
        assert_eq!(hash.to_string(), text);
    }
    if let Ok(path) = text.parse::<TilePath>() {
        assert_eq!(path.to_string(), text);
    }
    if let Ok(receipt) = text.parse::<LogProof>() {
        assert_eq!(receipt.to_string(), text);
    }
}

fn change(proof: &mut Vec<Hash>, choices: &mut Choices<'_>) {
    let at = choices.below(proof.len().max(1));
    match choices.byte() % 4 {
        0 if at < proof.len() => proof[at] = hash(choices),
        1 if at < proof.len() => {
            proof.remove(at);
        }
        2 if at < proof.len() => {
            let with = choices.below(proof.len());
            proof.swap(at, with);
        }
        _ => proof.insert(at.min(proof.len()), hash(choices)),
    }
}

/// One of 256 hashes that no tree here has.
fn hash(choices: &mut Choices<'_>) -> Hash {
    leaf_hash(&[0xff, choices.byte()])
}

fn leaves(count: usize) -> Vec<Hash> {
    leaves_of(count, 0)
}

fn leaves_of(count: usize, log: u8) -> Vec<Hash> {
    (0..count).map(|number| leaf_hash(&[log, number as u8])).collect()
}

/// `MTH` of RFC 6962, section 2.1.
pub(crate) fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => EMPTY_ROOT,
        [leaf] => *leaf,
        more => {
            let (left, right) = more.split_at(more.len().next_power_of_two() / 2);
            node_hash(root(left), root(right))
        }
    }
}

/// `PATH`, section 2.1.1.
fn path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (mut below, sibling) = if index < left.len() {
        (path(index, left), root(right))
    } else {
        (path(index - left.len(), right), root(left))
    };
    below.push(sibling);
    below
}

/// `SUBPROOF`, section 2.1.2.
fn subproof(old: usize, leaves: &[Hash], is_left_edge: bool) -> Vec<Hash> {
    if old == leaves.len() {
        return if is_left_edge { Vec::new() } else { vec![root(leaves)] };
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (mut proof, sibling) = if old <= left.len() {
        (subproof(old, left, is_left_edge), root(right))
    } else {
        (subproof(old - left.len(), right, false), root(left))
    };
    proof.push(sibling);
    proof
}
