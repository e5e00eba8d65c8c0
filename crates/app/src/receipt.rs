//! Receipts: the proof that a record is durably in the ledger.

use holdpoint_domain::record::{Body, Record};
use holdpoint_ledger::{
    checkpoint::{CheckpointError, SignedCheckpoint},
    hash::{Hash, leaf_hash},
    key::VerifierKey,
    proof::{ProofError, verify_inclusion},
};

use crate::port::{Store, StoreError};

/// An entry that is in the ledger: its inclusion in a signed checkpoint was checked. Nobody can make one but
/// [`Receipt::check`], and that only from what the log's key has signed; so whoever holds a receipt knows that the record
/// was synced before.
#[derive(Debug, Clone)]
pub struct Receipt {
    // INVARIANT: `record` is entry `index` of a tree whose checkpoint the log's key signed.
    index: u64,
    record: Record,
    checkpoint: String,
    proof: Vec<Hash>,
}

/// Why there is no receipt.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    /// The checkpoint is not signed by the log's key.
    #[error("the checkpoint does not stand")]
    Checkpoint(#[from] CheckpointError),
    /// The entry is not in the tree.
    #[error("the entry is not in the tree of the checkpoint")]
    Proof(#[from] ProofError),
    /// The entry is not a record.
    #[error("entry {0} is not a record")]
    NotARecord(u64),
    /// The store does not have it.
    #[error("the store has no entry {0}")]
    Missing(u64),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Receipt {
    /// Checks that `entry` is entry `index` of the tree of `checkpoint`, signed by `log`.
    pub fn check(
        entry: &[u8],
        index: u64,
        proof: Vec<Hash>,
        checkpoint: &str,
        log: &VerifierKey,
    ) -> Result<Self, ReceiptError> {
        let head = SignedCheckpoint::parse(checkpoint.as_bytes())?.open(std::slice::from_ref(log))?;
        verify_inclusion(leaf_hash(entry), index, head.size(), head.root(), &proof)?;
        let record = Record::parse(entry).map_err(|_| ReceiptError::NotARecord(index))?;
        Ok(Self { index, record, checkpoint: checkpoint.to_owned(), proof })
    }

    /// Fetches entry `index` and its proof from a store, and checks them.
    pub async fn fetch(store: &dyn Store, index: u64, log: &VerifierKey) -> Result<Self, ReceiptError> {
        let head = store.head();
        let entry = store.entries(index, 1).await?.into_iter().find(|entry| entry.index == index);
        let entry = entry.ok_or(ReceiptError::Missing(index))?;
        let proof = store.inclusion(index, head.size).await?;
        Self::check(&entry.bytes, index, proof, &head.checkpoint, log)
    }

    /// The ledger index.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// The record.
    #[must_use]
    pub const fn record(&self) -> &Record {
        &self.record
    }

    /// Whether the record is the intent of this permit's run: of these very bytes, whatever else was given the same names.
    #[must_use]
    pub fn is_intent_of(&self, permit: &holdpoint_domain::permit::Permit) -> bool {
        let grant = permit.grant();
        let own = permit.digest();
        let Body::Claimed { permit, permit_digest, nonce, epoch, .. } = &self.record.body else {
            return false;
        };
        *permit == grant.id
            && *permit_digest == own
            && *nonce == grant.nonce
            && *epoch == grant.epoch
            && self.record.plan.as_ref() == Some(&grant.plan_id)
    }

    /// The signed checkpoint and the inclusion proof, for whoever wants to check again.
    #[must_use]
    pub fn evidence(&self) -> (&str, &[Hash]) {
        (&self.checkpoint, &self.proof)
    }
}
