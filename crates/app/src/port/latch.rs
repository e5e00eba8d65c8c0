//! The halt: in memory first, on disk second, in the ledger as soon as it can be.

use holdpoint_domain::halt::Halt;

/// Where a halt is in force, without policy and without the store.
pub trait Latch: Send + Sync {
    /// The halt in force. Cheap: asked before every start and every effect.
    fn halt(&self) -> Option<Halt>;

    /// Puts a halt in force: in memory at once, then on disk, synced. An error says that it is not on disk, so that it would not
    /// outlive a crash before it is recorded; in memory it is in force all the same. A hard one is never made soft.
    fn set(&self, halt: &Halt) -> Result<(), String>;

    /// Ends the halt: on disk first, then in memory. After an error it is still in force.
    fn clear(&self) -> Result<(), String>;
}
