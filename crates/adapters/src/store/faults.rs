//! Faults on demand, so that tests can stop the writer where a machine would.

/// Where the writer asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultPoint {
    /// The batch is written, its COMMIT comes next.
    BeforeCommit,
    /// The batch is committed and synced; nobody was told yet.
    AfterCommit,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// As if the disk were full: the batch is rolled back. After the commit it is too late for that, and counts as broken.
    Full,
    /// As if the disk failed: the store closes. After the commit this is "done, but not reported".
    Broken,
}

/// Decides what goes wrong; the writer asks it at every [`FaultPoint`]. Only tests have one.
pub trait Faults: Send {
    /// The fault at this point, if any.
    fn at(&mut self, point: FaultPoint) -> Option<Fault>;
}
