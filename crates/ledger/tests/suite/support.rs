//! What the tests share: a slow reference of RFC 6962, logs in memory, and keys.

use std::collections::BTreeMap;

use holdpoint_ledger::{
    Checkpoint, EMPTY_ROOT, Ed25519NoteSigner, ExportSource, Exporter, Hash, SignedCheckpoint, SourceError,
    TileSource, Tree, VerifierKey, leaf_hash, node_hash,
};

pub(crate) const ORIGIN: &str = "gate.example/log";

/// `MTH`, `PATH` and `PROOF`, letter by letter as RFC 6962 §2.1 defines them.
pub(crate) mod reference {
    use super::*;

    fn split(len: usize) -> usize {
        len.next_power_of_two() / 2
    }

    pub(crate) fn root(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => EMPTY_ROOT,
            [leaf] => *leaf,
            more => {
                let (left, right) = more.split_at(split(more.len()));
                node_hash(root(left), root(right))
            }
        }
    }

    pub(crate) fn path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
        if leaves.len() == 1 {
            return Vec::new();
        }
        let (left, right) = leaves.split_at(split(leaves.len()));
        let (mut path, sibling) = match index < left.len() {
            true => (path(index, left), root(right)),
            false => (path(index - left.len(), right), root(left)),
        };
        path.push(sibling);
        path
    }

    pub(crate) fn proof(old_size: usize, leaves: &[Hash]) -> Vec<Hash> {
        if old_size == 0 { Vec::new() } else { subproof(old_size, leaves, true) }
    }

    fn subproof(old_size: usize, leaves: &[Hash], is_left_edge: bool) -> Vec<Hash> {
        if old_size == leaves.len() {
            return if is_left_edge { Vec::new() } else { vec![root(leaves)] };
        }
        let (left, right) = leaves.split_at(split(leaves.len()));
        let (mut proof, sibling) = match old_size <= left.len() {
            true => (subproof(old_size, left, is_left_edge), root(right)),
            false => (subproof(old_size - left.len(), right, false), root(left)),
        };
        proof.push(sibling);
        proof
    }
}

/// Full tiles in memory.
#[derive(Clone, Default)]
pub(crate) struct Tiles(pub(crate) BTreeMap<(u8, u64), Vec<Hash>>);

impl TileSource for Tiles {
    fn tile(&self, level: u8, index: u64) -> Result<Option<Vec<Hash>>, SourceError> {
        Ok(self.0.get(&(level, index)).cloned())
    }
}

/// The leaf hash of the entry that the tests call `number`.
pub(crate) fn leaf(number: usize) -> Hash {
    leaf_hash(&entry(number))
}

pub(crate) fn entry(number: usize) -> Vec<u8> {
    format!("entry {number}").into_bytes()
}

pub(crate) fn entries(size: usize) -> Vec<Vec<u8>> {
    (0..size).map(entry).collect()
}

pub(crate) fn grow(leaves: &[Hash]) -> (Tree, Tiles) {
    let (mut tree, mut tiles) = (Tree::new(), Tiles::default());
    for leaf in leaves {
        for tile in tree.append(*leaf).unwrap() {
            tiles.0.insert((tile.level(), tile.index()), tile.hashes().to_vec());
        }
    }
    (tree, tiles)
}

pub(crate) fn signer() -> Ed25519NoteSigner {
    Ed25519NoteSigner::from_seed(ORIGIN, &[1; 32]).unwrap()
}

pub(crate) fn keys() -> Vec<VerifierKey> {
    vec![VerifierKey::of(&signer()).unwrap()]
}

/// The head over these entries.
pub(crate) fn head(entries: &[Vec<u8>]) -> Checkpoint {
    let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
    Checkpoint::new(ORIGIN, leaves.len() as u64, reference::root(&leaves)).unwrap()
}

pub(crate) fn sign(head: &Checkpoint) -> SignedCheckpoint {
    SignedCheckpoint::sign(head, &[&signer()]).unwrap()
}

/// An exported log in memory: path to contents.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files(pub(crate) BTreeMap<String, Vec<u8>>);

impl ExportSource for Files {
    fn file(&self, path: &str) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(self.0.get(path).cloned())
    }
}

pub(crate) fn export(entries: &[Vec<u8>]) -> Files {
    let mut exporter = Exporter::new();
    let mut files = Vec::new();
    for entry in entries {
        files.extend(exporter.push(entry).unwrap());
    }
    files.extend(exporter.finish(&sign(&head(entries))).unwrap());
    Files(files.into_iter().map(|file| (file.path, file.bytes)).collect())
}

/// Lines of a data file: words, without comments and empty lines.
pub(crate) fn data_lines(data: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = data.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split(' ').collect())
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits = text.trim_matches('-').as_bytes();
    digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

pub(crate) fn hash_of_hex(text: &str) -> Hash {
    Hash::try_from(unhex(text).as_slice()).unwrap()
}
