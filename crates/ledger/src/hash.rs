//! Hashing of RFC 6962 §2.1: SHA-256 with a prefix that keeps leaves and nodes apart.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::lanes::{Message, sha256};
use crate::text::{decode_base64, encode_base64};

/// A SHA-256 hash of the tree: of a leaf, of a node, or a root. Prints as base64, `{:x}` as hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; Hash::BYTES]);

/// The root of the tree without leaves: SHA-256 of nothing (RFC 6962 §2.1).
pub const EMPTY_ROOT: Hash = Hash([
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
    0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
]);

/// Prefix of a leaf (RFC 6962 §2.1): without it a node's input could be passed off as an entry.
pub const LEAF_PREFIX: [u8; 1] = [0x00];
/// Prefix of an inner node.
const NODE_PREFIX: [u8; 1] = [0x01];

/// The leaf hash of an entry: `SHA-256(0x00 || entry)`.
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Hash(Sha256::new().chain_update(LEAF_PREFIX).chain_update(entry).finalize().into())
}

/// The leaf hash of each entry, in order: as [`leaf_hash`], several at a time where the processor gains by it.
#[must_use]
pub fn leaf_hashes<'a>(entries: impl IntoIterator<Item = &'a [u8]>) -> Vec<Hash> {
    let [prefix] = LEAF_PREFIX;
    let messages: Vec<_> = entries.into_iter().map(|rest| Message { prefix, rest }).collect();
    sha256(&messages).into_iter().map(Hash).collect()
}

/// The hash of an inner node: `SHA-256(0x01 || left || right)`.
#[must_use]
pub fn node_hash(left: Hash, right: Hash) -> Hash {
    let hasher = Sha256::new().chain_update(NODE_PREFIX).chain_update(left.0).chain_update(right.0);
    Hash(hasher.finalize().into())
}

/// The inner nodes over pairs of hashes, in order: as [`node_hash`], several at a time where the processor gains by it.
pub(crate) fn node_hashes(pairs: &[[Hash; 2]]) -> Vec<Hash> {
    let [prefix] = NODE_PREFIX;
    let joined: Vec<[[u8; Hash::BYTES]; 2]> = pairs.iter().map(|pair| pair.map(|hash| hash.0)).collect();
    let messages: Vec<_> = joined.iter().map(|pair| Message { prefix, rest: pair.as_flattened() }).collect();
    sha256(&messages).into_iter().map(Hash).collect()
}

/// Why a text is not a hash. The fault is with whoever wrote the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// Not canonical standard base64.
    #[error("hash is not standard base64 with padding")]
    Base64,
    /// Not 32 bytes.
    #[error("hash has the wrong length, expected 32 bytes, got {got}")]
    Length {
        /// How many bytes came.
        got: usize,
    },
}

impl Hash {
    /// Length of a hash in bytes.
    pub const BYTES: usize = 32;

    /// Wraps 32 bytes that are already a hash.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Hash::BYTES]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Hash::BYTES] {
        &self.0
    }
}

impl TryFrom<&[u8]> for Hash {
    type Error = HashError;

    fn try_from(bytes: &[u8]) -> Result<Self, HashError> {
        let array = bytes.try_into().map_err(|_| HashError::Length { got: bytes.len() })?;
        Ok(Self(array))
    }
}

impl FromStr for Hash {
    type Err = HashError;

    /// Reads the base64 that [`fmt::Display`] writes, and no other spelling of it.
    fn from_str(text: &str) -> Result<Self, HashError> {
        let bytes = decode_base64(text).ok_or(HashError::Base64)?;
        Self::try_from(bytes.as_slice())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode_base64(&self.0))
    }
}

impl fmt::LowerHex for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self:x})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_root_is_the_hash_of_nothing() {
        assert_eq!(EMPTY_ROOT, Hash(Sha256::digest(b"").into()));
    }

    #[test]
    fn text_round_trips_and_nothing_else_is_read() {
        let hash = leaf_hash(b"x");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!("".parse::<Hash>(), Err(HashError::Length { got: 0 }));
        assert_eq!("AAE=".parse::<Hash>(), Err(HashError::Length { got: 2 }));
        assert_eq!(format!("{hash} ").parse::<Hash>(), Err(HashError::Base64));
        assert_eq!(format!("{:x}", EMPTY_ROOT).get(..8), Some("e3b0c442"));
        assert_eq!(format!("{EMPTY_ROOT:?}").get(..13), Some("Hash(e3b0c442"));
    }

    #[test]
    fn many_hashes_are_what_each_is_alone() {
        let entries: Vec<Vec<u8>> = (0..70_u8).map(|number| vec![number; usize::from(number) * 3]).collect();
        let leaves: Vec<_> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        assert_eq!(leaf_hashes(entries.iter().map(Vec::as_slice)), leaves);
        let pairs = leaves.as_chunks::<2>().0;
        let nodes: Vec<_> = pairs.iter().map(|[left, right]| node_hash(*left, *right)).collect();
        assert_eq!(node_hashes(pairs), nodes);
    }

    #[test]
    fn leaf_and_node_of_the_same_bytes_differ() {
        let (left, right) = (leaf_hash(b"l"), leaf_hash(b"r"));
        let joined = [left.as_bytes().as_slice(), right.as_bytes()].concat();
        assert_ne!(leaf_hash(&joined), node_hash(left, right));
    }
}
