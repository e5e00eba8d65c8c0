//! Holdpoint's transparency log over plain bytes: tiles, proofs, signed notes, verification.
//!
//! # What it does
//!
//! Every decision and effect is an *entry* of an append-only log. This crate hashes entries into the
//! Merkle tree of RFC 6962, cuts that tree into tiles, signs its head as a checkpoint, proves that an
//! entry is in it and that a later head continues an earlier one, and verifies a whole exported log
//! without a server. The formats are public ones, so that tools and witnesses of others can check the
//! log too: C2SP `tlog-tiles`, `tlog-checkpoint`, `tlog-proof`, `tlog-cosignature`, `tlog-witness` and `signed-note`.
//!
//! # What it never does
//!
//! It reads no file, clock, randomness or network, starts no thread, and knows nothing of what an entry
//! means: bytes in, bytes and typed answers out. It depends on no other crate of Holdpoint, so a third
//! party can audit a log with this crate alone. It never trusts a tree head whose signature it has not
//! checked, and never claims what it could not check: without a head that the verifier brings, a report
//! says that truncation, roll-back and fork cannot be excluded.
//!
//! # Where to start
//!
//! | you want to | go to |
//! | --- | --- |
//! | append and keep the tree | [`Tree`] |
//! | sign or read a tree head | [`SignedCheckpoint`], [`Checkpoint`] |
//! | cosign a head, or count who did | [`Cosignature`], [`cosigners`] |
//! | answer as a witness | [`AddCheckpoint`] |
//! | check a receipt | [`LogProof`], [`verify_inclusion`], [`verify_consistency`] |
//! | verify an exported log offline | [`verify_export`] |
//! | verify entries that you read yourself | [`Verifier`] |
//! | write an export | [`Exporter`] |
//!
//! ```
//! use holdpoint_ledger::{
//!     Checkpoint, Ed25519NoteSigner, SignedCheckpoint, Tree, VerifierKey, Verifier, leaf_hash,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let signer = Ed25519NoteSigner::from_seed("gate.example/log", &[7; 32])?;
//! let key = VerifierKey::of(&signer)?;
//!
//! let mut tree = Tree::new();
//! tree.append(leaf_hash(b"a decision"))?;
//! let head = Checkpoint::new("gate.example/log", tree.size(), tree.root())?;
//! let signed = SignedCheckpoint::sign(&head, &[&signer])?;
//!
//! let mut verifier = Verifier::new(&signed, &[key], &[])?;
//! verifier.push(b"a decision");
//! assert!(verifier.finish().is_sound());
//! # Ok(())
//! # }
//! ```

pub mod bundle;
pub mod checkpoint;
pub mod cosignature;
mod edge;
pub mod export;
pub mod frontier;
pub mod hash;
pub mod key;
mod lanes;
pub mod note;
pub mod proof;
mod prove;
pub mod source;
mod text;
pub mod tile;
pub mod tlog_proof;
pub mod tree;
pub mod verify;
pub mod witness;

pub use bundle::{BundleError, MAX_ENTRY_BYTES};
pub use checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint};
pub use cosignature::{Cosignature, CosignatureError, cosigners};
pub use export::{ExportError, ExportFile, ExportSource, Exporter, verify_export};
pub use frontier::Frontier;
pub use hash::{EMPTY_ROOT, Hash, HashError, leaf_hash, leaf_hashes, node_hash};
pub use key::{Ed25519NoteSigner, KeyError, KeyId, KeyKind, NoteSigner, VerifierKey};
pub use note::{NoteError, SignedNote, VerifiedNote};
pub use proof::{ProofError, verify_consistency, verify_inclusion};
pub use source::{SourceError, TileSource};
pub use tile::{TileError, TileKind, TilePath};
pub use tlog_proof::LogProof;
pub use tree::{FullTile, Tree, TreeError};
pub use verify::{Continuity, Finding, Report, Verifier};
pub use witness::{AddCheckpoint, Head, WitnessError};
