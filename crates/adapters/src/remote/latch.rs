//! The gate's latch, where others must be told of a halt.

use holdpoint_app::port::Latch;
use holdpoint_domain::halt::Halt;
use tokio::sync::watch;

use crate::system::FileLatch;

/// A latch that lets whoever tells the roles know. Telling them is no part of halting: they may be away.
#[derive(Debug)]
pub struct TellingLatch {
    inner: FileLatch,
    changed: watch::Sender<()>,
}

impl TellingLatch {
    /// A latch over this one, that marks `changed`.
    #[must_use]
    pub const fn new(inner: FileLatch, changed: watch::Sender<()>) -> Self {
        Self { inner, changed }
    }
}

impl Latch for TellingLatch {
    fn halt(&self) -> Option<Halt> {
        self.inner.halt()
    }

    fn set(&self, halt: &Halt) -> Result<(), String> {
        let set = self.inner.set(halt);
        self.changed.send_replace(());
        set
    }

    fn clear(&self) -> Result<(), String> {
        let cleared = self.inner.clear();
        self.changed.send_replace(());
        cleared
    }
}
