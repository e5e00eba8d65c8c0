//! The intent of a run: proven by the gate, checked by whoever is asked to lease or to act.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use holdpoint_app::{
    port::{Store, StoreError},
    receipt::{Receipt, ReceiptError},
};
use holdpoint_domain::permit::Permit;
use holdpoint_ledger::{AddCheckpoint, Hash, SignedCheckpoint, VerifierKey, WitnessError};

use super::{call::CallError, wire};
use crate::cosign::{AddError, Cosigner};

/// How often a role may ask for a proof from another size: the ledger grows while we ask.
const TRIES: u32 = 5;

/// What a role knows of the ledger, apart from the gate: the log's key, and the last head that it saw and cosigned.
#[derive(Debug, Clone)]
pub struct Witnessed {
    cosigner: Arc<Cosigner>,
    log: VerifierKey,
}

/// Why an intent does not stand.
#[derive(Debug, thiserror::Error)]
pub enum IntentError {
    /// Not what the fields should be.
    #[error("the proof is malformed: {0}")]
    Malformed(&'static str),
    /// The record is not in the head, or the head is not signed.
    #[error("the intent is not proven")]
    Receipt(#[from] ReceiptError),
    /// Another record.
    #[error("the record is not the intent of this permit's run")]
    OtherRecord,
    /// The head does not continue the last one.
    #[error("the head does not continue the last one that was seen here")]
    Head(#[source] AddError),
    /// A proof from another size is wanted.
    #[error("the last head seen here has {0} entries")]
    Behind(u64),
}

impl Witnessed {
    /// What a role knows through its cosigner.
    #[must_use]
    pub const fn new(cosigner: Arc<Cosigner>, log: VerifierKey) -> Self {
        Self { cosigner, log }
    }

    /// The key of the log.
    #[must_use]
    pub const fn log(&self) -> &VerifierKey {
        &self.log
    }

    /// Its cosigner.
    #[must_use]
    pub const fn cosigner(&self) -> &Arc<Cosigner> {
        &self.cosigner
    }

    /// Checks that the intent of this permit's run is in the ledger, in a head that continues the last one that was seen here, and
    /// remembers that head. Blocks on the disk.
    ///
    /// # Errors
    /// A record that is not there or is another one, a head that is not signed, a fork or a roll-back.
    pub fn intent(&self, proof: &wire::Intent, permit: &Permit) -> Result<Receipt, IntentError> {
        let inclusion = hashes(&proof.inclusion)?;
        let entry = proof.entry.as_bytes();
        let receipt = Receipt::check(entry, proof.index, inclusion, &proof.checkpoint, &self.log)?;
        if !receipt.is_intent_of(permit) {
            return Err(IntentError::OtherRecord);
        }
        let checkpoint = SignedCheckpoint::parse(proof.checkpoint.as_bytes()).map_err(ReceiptError::from)?;
        let request =
            AddCheckpoint { old_size: proof.old_size, proof: hashes(&proof.consistency)?, checkpoint };
        match self.cosigner.add(&request) {
            Ok(_) => Ok(receipt),
            Err(AddError::Refused(WitnessError::Conflict { size, .. })) => Err(IntentError::Behind(size)),
            Err(err) => Err(IntentError::Head(err)),
        }
    }
}

fn hashes(texts: &[String]) -> Result<Vec<Hash>, IntentError> {
    if texts.len() > 64 {
        return Err(IntentError::Malformed("expected at most 64 hashes"));
    }
    let hashes = texts.iter().map(|text| text.parse());
    hashes.collect::<Result<_, _>>().map_err(|_| IntentError::Malformed("expected hashes in base64"))
}

/// What the gate knows of a role's memory of the ledger.
#[derive(Debug, Default)]
pub(super) struct Known(AtomicU64);

impl Known {
    /// Asks a role with the proof of entry `index`, from the size that the role names.
    pub(super) async fn ask<A, F>(
        &self,
        store: &dyn Store,
        index: u64,
        ask: impl Fn(wire::Intent) -> F,
    ) -> Result<A, CallError>
    where
        F: Future<Output = Result<A, CallError>>,
    {
        for _ in 0..TRIES {
            let intent = self.intent(store, index).await?;
            match ask(intent).await {
                Err(CallError::Behind { size }) => self.0.store(size, Ordering::Relaxed),
                answer => return answer,
            }
        }
        Err(CallError::Refused {
            rule: wire::BEHIND.to_owned(),
            detail: "it names another size each time".to_owned(),
        })
    }

    async fn intent(&self, store: &dyn Store, index: u64) -> Result<wire::Intent, CallError> {
        let ours = |err: StoreError| CallError::Ours(err.to_string());
        let (head, old_size) = (store.head(), self.0.load(Ordering::Relaxed));
        if old_size > head.size {
            tracing::error!(
                "THE LEDGER IS NOT THE ONE THAT A ROLE SAW: it saw {old_size} entries, here are {}",
                head.size
            );
            return Err(CallError::Ahead { seen: old_size, size: head.size });
        }
        let entry =
            store.entries(index, 1).await.map_err(ours)?.into_iter().find(|entry| entry.index == index);
        let entry = entry.ok_or_else(|| CallError::Ours(format!("the store has no entry {index}")))?;
        let consistency = if old_size == 0 {
            Vec::new()
        } else {
            store.consistency(old_size, head.size).await.map_err(ours)?
        };
        let inclusion = store.inclusion(index, head.size).await.map_err(ours)?;
        let texts = |hashes: Vec<Hash>| hashes.iter().map(ToString::to_string).collect();
        Ok(wire::Intent {
            index,
            entry: String::from_utf8(entry.bytes).map_err(|err| CallError::Ours(err.to_string()))?,
            inclusion: texts(inclusion),
            checkpoint: head.checkpoint.clone(),
            old_size,
            consistency: texts(consistency),
        })
    }
}
