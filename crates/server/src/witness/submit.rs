//! The gate asks for cosignatures of its heads, in the background: no run waits for a witness.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use holdpoint_adapters::cosign::{AskError, Kept, Witness};
use holdpoint_app::port::{Head, Store};
use holdpoint_ledger::{Cosignature, SignedCheckpoint};

/// The pause after a head that not everybody cosigned.
const AGAIN: Duration = Duration::from_secs(10);

/// Who is asked, how often, and what is kept.
pub(crate) struct Submitting {
    /// Who is asked.
    pub(crate) witnesses: Vec<Witness>,
    /// How many must cosign a head before it is served.
    pub(crate) quorum: usize,
    /// The pause between two heads: a witness is not asked for every record.
    pub(crate) every: Duration,
    /// Where it is served from.
    pub(crate) kept: Arc<Kept>,
}

/// Submits each new head, for ever.
pub(crate) async fn submitting(store: Arc<dyn Store>, submitting: Submitting) {
    let mut done = 0;
    loop {
        // All of them cosigned the last one: wait for another. Else the same head is submitted again after a while.
        tokio::select! {
            _ = store.grown(done) => tokio::time::sleep(submitting.every).await,
            () = tokio::time::sleep(AGAIN) => {}
        }
        let head = store.head();
        if head.size > 0 && submit(store.as_ref(), &head, &submitting).await {
            done = head.size;
        } else {
            tokio::time::sleep(AGAIN.min(submitting.every.saturating_mul(2))).await;
        }
    }
}

/// Submits one head to everybody; whether all cosigned it.
async fn submit(store: &dyn Store, head: &Head, submitting: &Submitting) -> bool {
    let asked = join_all(submitting.witnesses.iter().map(|witness| witness.cosign(store, head))).await;
    let mut cosignatures: Vec<Cosignature> = Vec::new();
    for answer in asked {
        match answer {
            Ok(asked) => cosignatures.push(asked.cosignature),
            Err(err @ AskError::Ahead { .. }) => {
                tracing::error!("THE LEDGER IS NOT THE ONE THAT OTHERS SAW: {err}")
            }
            Err(err) => tracing::warn!("a head of {} entries is not cosigned: {err}", head.size),
        }
    }
    let all = cosignatures.len() == submitting.witnesses.len();
    if cosignatures.len() < submitting.quorum {
        return false;
    }
    let cosigned = SignedCheckpoint::parse(head.checkpoint.as_bytes())
        .and_then(|checkpoint| checkpoint.with_cosignatures(&cosignatures));
    match cosigned {
        Ok(cosigned) => {
            let kept = Arc::clone(&submitting.kept);
            let written = tokio::task::spawn_blocking(move || kept.keep(&cosigned)).await;
            if let Ok(Err(err)) = written {
                tracing::warn!("the cosigned head is not on disk: {err}");
            }
            all
        }
        Err(err) => {
            tracing::error!("the cosigned head does not stand: {err}");
            false
        }
    }
}
