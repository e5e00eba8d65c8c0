//! The gate's latch, where others must be told of a halt.

use std::sync::Arc;

use holdpoint_app::port::Latch;
use holdpoint_domain::halt::Halt;
use tokio::sync::Notify;

use crate::system::FileLatch;

/// A latch that wakes whoever tells the roles. Telling them is no part of halting: they may be away.
#[derive(Debug)]
pub struct TellingLatch {
    inner: FileLatch,
    changed: Arc<Notify>,
}

impl TellingLatch {
    /// A latch over this one, that wakes `changed`.
    #[must_use]
    pub const fn new(inner: FileLatch, changed: Arc<Notify>) -> Self {
        Self { inner, changed }
    }
}

impl Latch for TellingLatch {
    fn halt(&self) -> Option<Halt> {
        self.inner.halt()
    }

    fn set(&self, halt: &Halt) -> Result<(), String> {
        let set = self.inner.set(halt);
        self.changed.notify_one();
        set
    }

    fn clear(&self) -> Result<(), String> {
        let cleared = self.inner.clear();
        self.changed.notify_one();
        cleared
    }
}
