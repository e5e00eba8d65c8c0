//! What executors share: a target's own memory of who acted on it, the fence that it makes, and durable writes.
//!
//! The memory is a file beside nothing that the gate writes: the highest fencing epoch, and how far the last run got.
//! Whoever restores the gate from a copy, or wakes up late with an old permit, meets it at the moment of the write.

use std::{
    fmt::Display,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::Arc,
};

use holdpoint_app::port::{Acted, ActedPhase, Clock, ExecuteError};
use holdpoint_domain::{Digest, Id, Timestamp, id::kind, lease::Lease};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::{authority::Warrant, chain};
use crate::{lease::LeaseTable, step::Step};

/// The run that acted last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ActedBy {
    pub(super) epoch: u64,
    pub(super) permit: Id<kind::Permit>,
    pub(super) phase: PhaseWord,
    /// The version that it left; none while it has only begun.
    pub(super) left: Option<Digest>,
}

/// [`ActedPhase`], as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PhaseWord {
    Begun,
    Applied,
    Undone,
}

impl ActedBy {
    pub(super) const fn acted(&self) -> Acted {
        let phase = match self.phase {
            PhaseWord::Begun => ActedPhase::Begun,
            PhaseWord::Applied => ActedPhase::Applied,
            PhaseWord::Undone => ActedPhase::Undone,
        };
        Acted { epoch: self.epoch, phase, left: self.left }
    }
}

/// What a target remembers, as far as the fence needs it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory<'a> {
    /// The highest epoch that was ever acted under.
    pub(super) highest_epoch: u64,
    /// The permit that used that epoch.
    pub(super) holder: Option<&'a Id<kind::Permit>>,
    /// The run that acted last.
    pub(super) acted: Option<&'a ActedBy>,
}

/// What the fence says about an apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fence {
    /// Go on.
    Open,
    /// It was done before, under the same permit and epoch.
    Done,
}

/// Who tells whether a lease is good.
pub(super) enum LeaseCheck {
    /// The table of bearer leases on this machine.
    Table(Arc<LeaseTable>),
    /// The target itself, at each login: only time and scope are checked here.
    ByTarget,
}

impl From<Arc<LeaseTable>> for LeaseCheck {
    fn from(table: Arc<LeaseTable>) -> Self {
        Self::Table(table)
    }
}

/// A step that the authority let through, with all that has to be asked again at the target's lock.
pub(super) struct Mandate {
    pub(super) warrant: Warrant,
    pub(super) lease: Lease,
    pub(super) leases: LeaseCheck,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) asked_at: Timestamp,
}

impl Mandate {
    /// The checks at the moment of the write: time and lease may have changed while we waited for the lock.
    pub(super) fn current(&self) -> Result<(), ExecuteError> {
        // A clock that was set back while we waited does not make a permit young again.
        let now = self.clock.now().max(self.asked_at);
        self.warrant.in_time(now)?;
        let scope = self.warrant.scope();
        match &self.leases {
            LeaseCheck::Table(table) => {
                table.check(&self.lease, &scope, now).map_err(|err| refused("lease", err))
            }
            LeaseCheck::ByTarget if self.lease.info.covers(&scope, now) => Ok(()),
            LeaseCheck::ByTarget => Err(refused("lease", "it is over, or is not for this action and target")),
        }
    }

    /// Refuses an epoch that the target has left behind, and one that another permit used.
    pub(super) fn fenced(&self, memory: Memory<'_>) -> Result<(), ExecuteError> {
        let grant = self.warrant.permit().grant();
        if grant.epoch < memory.highest_epoch {
            let highest = memory.highest_epoch;
            return Err(refused("epoch", format!("expected at least {highest}, got {}", grant.epoch)));
        }
        if grant.epoch == memory.highest_epoch && memory.holder.is_some_and(|holder| *holder != grant.id) {
            return Err(refused("epoch", format!("{} was used by another permit", grant.epoch)));
        }
        Ok(())
    }

    /// How far this permit got with the target.
    pub(super) fn phase(&self, memory: Memory<'_>) -> Option<PhaseWord> {
        let grant = self.warrant.permit().grant();
        let acted = memory.acted?;
        (acted.permit == grant.id && acted.epoch == grant.epoch).then_some(acted.phase)
    }

    /// Everything before the version, for an apply.
    pub(super) fn ready(&self, memory: Memory<'_>) -> Result<Fence, ExecuteError> {
        self.current()?;
        self.fenced(memory)?;
        match self.phase(memory) {
            Some(PhaseWord::Applied) => Ok(Fence::Done),
            Some(PhaseWord::Undone) => Err(refused("phase", "this run was undone already")),
            Some(PhaseWord::Begun) | None => Ok(Fence::Open),
        }
    }

    /// What the target is to remember of this run.
    pub(super) fn acted(&self, phase: PhaseWord, left: Option<Digest>) -> ActedBy {
        let grant = self.warrant.permit().grant();
        ActedBy { epoch: grant.epoch, permit: grant.id.clone(), phase, left }
    }
}

pub(super) fn refused(check: &str, why: impl Display) -> ExecuteError {
    ExecuteError::Refused(format!("{check}: {why}"))
}

pub(super) fn not_done(what: &str, err: &dyn std::error::Error) -> ExecuteError {
    ExecuteError::NotDone(format!("{what}: {}", chain(err)))
}

pub(super) fn unknown(what: &str, err: &dyn std::error::Error) -> ExecuteError {
    ExecuteError::Unknown(format!("{what}: {}", chain(err)))
}

/// Refuses another version than `wanted`.
pub(super) fn expects(wanted: &Digest, got: &Digest) -> Result<(), ExecuteError> {
    if wanted == got { Ok(()) } else { Err(refused("version", format!("expected {wanted}, got {got}"))) }
}

/// Runs an effect on a thread that may block, to its end even if nobody waits for it any more.
pub(super) async fn blocking(
    effect: impl FnOnce() -> Result<(), ExecuteError> + Send + 'static,
) -> Result<(), ExecuteError> {
    let ended = tokio::task::spawn_blocking(effect).await;
    ended.unwrap_or_else(|err| Err(ExecuteError::Unknown(format!("the work broke off: {err}"))))
}

/// Writes `dir/name`, whole or not at all, for nobody but its owner; durable when it returns. Writers of one name must
/// hold the target's lock.
pub(super) fn store(step: Step, dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    step.take(|_| {
        let temporary = dir.join(format!(".{name}.tmp"));
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        // If we stop here, the old file is in force and the temporary one is overwritten by the next write.
        fs::rename(&temporary, dir.join(name))?;
        File::open(dir)?.sync_all()
    })
}

/// Reads `dir/name`; none where there is no file. One above `max` bytes is an error: cut off, it could read as something
/// else.
pub(crate) fn load(dir: &Path, name: &str, max: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(dir.join(name)) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut bytes = Vec::new();
    let read = file.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(read).is_ok_and(|read| read <= max) {
        return Ok(Some(bytes));
    }
    Err(invalid(format!("expected a state of at most {max} bytes")))
}

pub(super) fn invalid(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.into())
}

/// The lock on a state directory; it ends with this.
#[derive(Debug)]
pub(super) struct DirectoryLock(File);

impl DirectoryLock {
    /// Takes it, or fails with `WouldBlock` when somebody else has it.
    pub(super) fn take(dir: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).mode(0o600).open(dir.join(".lock"))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self(file))
    }
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // Closing is not enough: a child that another thread is just starting has a copy of the file until it runs its
        // program, and would hold the lock that long. Unlocking is for all copies. If it fails, the copies' end does it.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}
