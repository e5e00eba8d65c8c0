//! What the writer shows to everybody else: the state after the last durable batch.

use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use holdpoint_app::port::{Head, StoreError};
use holdpoint_ledger::tree::Tree;
use tokio::sync::watch;

use holdpoint_app::projection::apply::Scalars;

/// The state after one durable batch.
pub(super) struct Published {
    pub(super) head: Arc<Head>,
    pub(super) tree: Tree,
    pub(super) scalars: Scalars,
}

/// Shared by the writer and the readers.
pub(super) struct Shared {
    published: RwLock<Arc<Published>>,
    size: watch::Sender<u64>,
    closed: OnceLock<String>,
}

impl Shared {
    pub(super) fn new(published: Published) -> Self {
        let size = watch::Sender::new(published.head.size);
        Self { published: RwLock::new(Arc::new(published)), size, closed: OnceLock::new() }
    }

    /// The last durable state. The lock is held for the copy of a pointer only.
    pub(super) fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Shows a batch that was synced; followers are woken after they can see it.
    pub(super) fn publish(&self, next: Published) {
        let size = next.head.size;
        *self.published.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        self.size.send_replace(size);
    }

    /// The sizes that were published, for followers.
    pub(super) fn sizes(&self) -> watch::Receiver<u64> {
        self.size.subscribe()
    }

    /// The store takes nothing more.
    pub(super) fn close(&self, why: &str) {
        // Only the first reason counts.
        let _ = self.closed.set(why.to_owned());
    }

    /// Why the store takes nothing more, if it is closed.
    pub(super) fn why_closed(&self) -> Option<&str> {
        self.closed.get().map(String::as_str)
    }

    /// What an append says when the writer is gone.
    pub(super) fn closed(&self) -> StoreError {
        StoreError::Closed(self.closed.get().map_or("the writer has ended", String::as_str).to_owned())
    }
}
