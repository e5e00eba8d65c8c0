//! Edits of one file: the executor and the observer that flags and settings share.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use holdpoint_app::port::{Clock, ExecuteError, Executor, Field, Work};
use holdpoint_domain::{Digest, Id, id::kind, parts::Parts, plan};

use super::{
    FileTarget, Files, Held,
    place::{Content, Place, PlaceLock, SwapError, room},
    state::{Before, FileState, Pending},
};
use crate::{
    executor::{
        authority::{Authority, Use},
        memory::{ActedBy, Fence, Mandate, PhaseWord, blocking, expects, not_done, refused, unknown},
    },
    lease::LeaseTable,
    step::Step,
};

/// Room that a state file may need beside the captured part.
const STATE_ROOM: usize = 4096;

/// A part of a file that actions change, with the version that they depend on.
pub trait Editable: FileTarget {
    /// Largest file.
    const MAX_BYTES: u64;

    /// Whether there is such an operation.
    fn knows(action: &Id<kind::Action>) -> bool;

    /// The file.
    fn path(&self) -> &Path;

    /// The relevant version of a content.
    fn version(&self, file: &Content) -> Result<Digest, EditError>;

    /// What the version is made of, for people. No part is a secret, nor words that somebody wrote into the file.
    fn parts(&self, file: &Content) -> Result<Parts, EditError>;

    /// The part that actions change, byte by byte.
    fn part(&self, file: &Content) -> Result<Vec<u8>, EditError>;

    /// The file with another part; everything else stays.
    fn with_part(&self, file: &Content, part: &[u8]) -> Result<Vec<u8>, EditError>;

    /// The fields that a step touches, in the file before and after it. None holds a secret.
    fn fields(&self, before: &Content, after: &Content, step: &plan::Step) -> Result<Vec<Field>, EditError>;

    /// The file after a step.
    fn edited(&self, file: &Content, step: &plan::Step) -> Result<Vec<u8>, EditError>;

    /// Whether whoever reads the file could be told: looks, and touches nothing.
    fn could_settle(&self) -> std::io::Result<()>;

    /// Tells whoever reads the file, and returns when they have taken it. Safe to repeat.
    fn settle(&self) -> Result<(), EditError>;
}

/// Why a part cannot be read or edited.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The file is not what the target says it is.
    #[error("document: {0}")]
    Document(String),
    /// There is no such operation, or it does not fit what is there.
    #[error("operation: {0}")]
    Operation(String),
    /// A parameter that this target does not take.
    #[error("parameters: {0}")]
    Parameters(String),
    /// Whoever reads the file did not take the change.
    #[error("reload: {0}")]
    Reload(String),
}

/// Runs permitted edits. Each call runs to its end even if nobody waits for it any more, so a caller that gives up never
/// leaves a file half-way.
pub struct FileExecutor<T> {
    authority: Authority,
    leases: Arc<LeaseTable>,
    files: Arc<Files<T>>,
    clock: Arc<dyn Clock>,
}

/// An edit under the locks of its target and of its file.
struct Desk<'a, T> {
    mandate: &'a Mandate,
    held: &'a Held<'a, T>,
    place: Place,
    /// None in a rehearsal, which makes no lock file either.
    _lock: Option<PlaceLock>,
    state: FileState,
    now: Content,
    version: Digest,
}

impl<T: Editable> FileExecutor<T> {
    /// An executor over these files. `leases` is the table that the issuer of its leases writes.
    #[must_use]
    pub fn new(
        authority: Authority,
        leases: Arc<LeaseTable>,
        files: Arc<Files<T>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { authority, leases, files, clock }
    }

    async fn under_lock(
        &self,
        work: &Work<'_>,
        for_use: Use,
        effect: impl FnOnce(&Mandate, &Held<'_, T>) -> Result<(), ExecuteError> + Send + 'static,
    ) -> Result<(), ExecuteError> {
        let asked_at = self.clock.now();
        let warrant = self.authority.check(work, for_use, asked_at)?;
        let action = &warrant.step().action;
        if !T::knows(action) {
            return Err(refused("operation", format!("there is no operation for action `{action}`")));
        }
        let (lease, leases, clock) = (work.lease.clone(), Arc::clone(&self.leases), Arc::clone(&self.clock));
        let mandate = Mandate { warrant, lease, leases: leases.into(), clock, asked_at };
        let files = Arc::clone(&self.files);
        blocking(move || {
            let target = &mandate.warrant.step().target;
            let held = files
                .hold(target)
                .ok_or_else(|| refused("target", format!("there is no file for target `{target}` here")))?;
            effect(&mandate, &held)
        })
        .await
    }
}

#[async_trait]
impl<T: Editable> Executor for FileExecutor<T> {
    async fn rehearse(&self, work: Work<'_>) -> Result<(), ExecuteError> {
        self.under_lock(&work, Use::Apply, |mandate, held| {
            let state = load(held)?;
            match mandate.ready(state.memory())? {
                Fence::Done => Ok(()),
                Fence::Open => Desk::look(mandate, held, state)?.rehearse(),
            }
        })
        .await
    }

    async fn apply(&self, work: Work<'_>) -> Result<(), ExecuteError> {
        self.under_lock(&work, Use::Apply, |mandate, held| {
            let state = load(held)?;
            match mandate.ready(state.memory())? {
                Fence::Done => Ok(()),
                Fence::Open => Desk::take(mandate, held, state)?.apply(),
            }
        })
        .await
    }

    async fn undo(&self, work: Work<'_>, from: &Digest) -> Result<(), ExecuteError> {
        let from = *from;
        self.under_lock(&work, Use::Undo, move |mandate, held| {
            let state = load(held)?;
            mandate.current()?;
            mandate.fenced(state.memory())?;
            match mandate.phase(state.memory()) {
                Some(PhaseWord::Undone) => Ok(()),
                Some(PhaseWord::Begun | PhaseWord::Applied) => Desk::take(mandate, held, state)?.undo(&from),
                None => Err(refused("phase", "this run did nothing that could be undone")),
            }
        })
        .await
    }
}

fn load<T: FileTarget>(held: &Held<'_, T>) -> Result<FileState, ExecuteError> {
    FileState::load(held.dir, held.target.id()).map_err(|err| not_done("the state cannot be read", &err))
}

impl From<EditError> for ExecuteError {
    fn from(err: EditError) -> Self {
        Self::Refused(err.to_string())
    }
}

impl<'a, T: Editable> Desk<'a, T> {
    /// The file under its lock.
    fn take(mandate: &'a Mandate, held: &'a Held<'a, T>, state: FileState) -> Result<Self, ExecuteError> {
        let place = open(held)?;
        let lock = place.lock().map_err(|err| not_done("the file's lock cannot be taken", &err))?;
        Self::over(mandate, held, state, place, Some(lock))
    }

    /// The file as it is: touches nothing.
    fn look(mandate: &'a Mandate, held: &'a Held<'a, T>, state: FileState) -> Result<Self, ExecuteError> {
        let place = open(held)?;
        Self::over(mandate, held, state, place, None)
    }

    fn over(
        mandate: &'a Mandate,
        held: &'a Held<'a, T>,
        state: FileState,
        place: Place,
        lock: Option<PlaceLock>,
    ) -> Result<Self, ExecuteError> {
        let now = place.read(T::MAX_BYTES).map_err(|err| not_done("the file cannot be read", &err))?;
        let version = held.target.version(&now)?;
        Ok(Self { mandate, held, place, _lock: lock, state, now, version })
    }

    /// The content after the step, which must be another one.
    fn after(&self) -> Result<Content, ExecuteError> {
        let bytes = self.held.target.edited(&self.now, self.mandate.warrant.step())?;
        if bytes == self.now.bytes {
            return Err(refused("operation", "it is so already: nothing would change"));
        }
        if u64::try_from(bytes.len()).map_or(true, |len| len > T::MAX_BYTES) {
            return Err(refused("operation", format!("expected a file of at most {} bytes", T::MAX_BYTES)));
        }
        Ok(Content { bytes, ..self.now.clone() })
    }

    /// Everything but the effect, and the undo on paper.
    fn rehearse(&self) -> Result<(), ExecuteError> {
        if self.was_made(PhaseWord::Applied) {
            return Ok(());
        }
        expects(&self.mandate.warrant.step().expected_version, &self.version)?;
        let after = self.after()?;
        let back = self.held.target.with_part(&after, &self.held.target.part(&self.now)?)?;
        if back != self.now.bytes {
            return Err(refused("operation", "the undo would not put every byte back"));
        }
        possible(self.held, &self.place, after.bytes.len())
            .map_err(|err| not_done("the file could not be written and put back", &err))
    }

    fn apply(mut self) -> Result<(), ExecuteError> {
        if self.was_made(PhaseWord::Applied) {
            // A crash came between the exchange and its note: what is left is to tell whoever reads the file.
            self.held.target.settle().map_err(|err| unknown("the file was written before a crash", &err))?;
            return self.finish(PhaseWord::Applied, self.version);
        }
        expects(&self.mandate.warrant.step().expected_version, &self.version)?;
        let after = self.after()?;
        let before = Before::new(self.version, &self.held.target.part(&self.now)?);
        self.possible(&after)?;
        self.begin(&after, PhaseWord::Applied, before)?;
        match self.held.target.settle() {
            Ok(()) => {}
            Err(err) => return self.put_back(&after, &err),
        }
        let left = self.held.target.version(&after)?;
        self.finish(PhaseWord::Applied, left)
    }

    /// Puts the captured part back, if the file is as our effect left it.
    fn undo(mut self, from: &Digest) -> Result<(), ExecuteError> {
        let Some(before) = self.state.before.clone() else {
            return Err(refused("phase", "nothing was captured that could be put back"));
        };
        if self.was_made(PhaseWord::Undone) {
            self.held.target.settle().map_err(|err| unknown("the file was put back before", &err))?;
            return self.finish(PhaseWord::Undone, self.version);
        }
        expects(from, &self.version)?;
        if self.mandate.phase(self.state.memory()) == Some(PhaseWord::Begun) && self.version == before.version
        {
            // The apply was announced and never made.
            return self.finish(PhaseWord::Undone, self.version);
        }
        // What is put back replaces only what our own run wrote.
        let left = self.left().ok_or_else(|| refused("version", "this run left no version"))?;
        expects(&left, &self.version)?;
        let part = before.part().map_err(|err| not_done("the captured part cannot be read", &err))?;
        let bytes = self.held.target.with_part(&self.now, &part)?;
        let after = Content { bytes, ..self.now.clone() };
        if self.held.target.version(&after)? != before.version {
            return Err(refused("version", "what was captured is not the version before"));
        }
        self.possible(&after)?;
        self.begin(&after, PhaseWord::Undone, before)?;
        // If this fails, the state says `begun`, and the same undo goes on here.
        self.held.target.settle().map_err(|err| unknown("the file was put back", &err))?;
        let left = self.held.target.version(&after)?;
        self.finish(PhaseWord::Undone, left)
    }

    /// Whether this run announced an effect before, and the file shows that it was made.
    fn was_made(&self, towards: PhaseWord) -> bool {
        let begun = self.mandate.phase(self.state.memory()) == Some(PhaseWord::Begun);
        let pending = self.state.pending.as_ref();
        begun && pending.is_some_and(|it| it.towards == towards && it.leaves == self.version)
    }

    /// The version that this run's apply left, noted or announced.
    fn left(&self) -> Option<Digest> {
        let acted = |acted: &ActedBy| acted.left.filter(|_| acted.phase == PhaseWord::Applied);
        match &self.state.pending {
            Some(pending) if pending.towards == PhaseWord::Applied => Some(pending.leaves),
            Some(pending) => pending.prior.as_ref().and_then(acted),
            None => self.state.acted.as_ref().and_then(acted),
        }
    }

    fn possible(&self, after: &Content) -> Result<(), ExecuteError> {
        possible(self.held, &self.place, after.bytes.len())
            .map_err(|err| not_done("the file could not be written", &err))
    }

    /// Announces the effect and makes it: stage, announce, exchange.
    fn begin(&mut self, after: &Content, towards: PhaseWord, before: Before) -> Result<(), ExecuteError> {
        let leaves = self.held.target.version(after)?;
        // If we stop here, the staged content lies beside the file and the next write drops it.
        self.place.stage(after).map_err(|err| not_done("the new content was not staged", &err))?;
        if let Err(err) = self.mandate.current() {
            // It holds what the file holds; if it stays, the next write drops it.
            let _ = self.place.clear_aside();
            return Err(err);
        }
        let prior = self.state.prior(self.mandate);
        let mut state = self.state.by(self.mandate, Some(self.mandate.acted(PhaseWord::Begun, None)));
        (state.before, state.pending) = (Some(before), Some(Pending { towards, leaves, prior }));
        // If we stop after this write, nothing has happened yet and the version says so.
        self.write(Step::MemoryBegin, state).map_err(|err| not_done("the state was not written", &err))?;
        match self.place.exchange(&self.now, after) {
            Ok(()) => Ok(()),
            Err(err @ (SwapError::NotDone(_) | SwapError::Changed)) => {
                self.forget()?;
                Err(not_done("the file is as it was", &err))
            }
            Err(err @ SwapError::Unknown(_)) => Err(unknown("the file may have been replaced", &err)),
        }
    }

    /// Whoever reads the file did not take the new content: the old one, which lies aside, goes back.
    fn put_back(&mut self, after: &Content, why: &EditError) -> Result<(), ExecuteError> {
        // If we stop here, the state says `begun` and the version is the one after: the same permit tells them again.
        self.place
            .exchange(after, &self.now)
            .map_err(|err| unknown("the old content was not put back", &err))?;
        if let Err(err) = self.held.target.settle() {
            return Err(ExecuteError::Unknown(format!("{why}; the old content is back: {err}")));
        }
        let _ = self.place.clear_aside();
        let seen = self.place.read(T::MAX_BYTES).map_err(|err| unknown("the file cannot be read", &err))?;
        if self.held.target.version(&seen)? != self.version {
            return Err(ExecuteError::Unknown(format!("{why}; somebody changed the file since")));
        }
        self.forget()?;
        Err(ExecuteError::NotDone(format!("{why}; the old content is back and taken")))
    }

    /// Nothing came of the announced effect, and that is proven: who acted before is who acted last. The epoch stays.
    fn forget(&mut self) -> Result<(), ExecuteError> {
        let prior = self.state.prior(self.mandate);
        let mut state = self.state.by(self.mandate, prior);
        if state.pending.take().is_some_and(|pending| pending.towards == PhaseWord::Applied) {
            // There is nothing to put back. A run before this one is fenced from now on, so its undo needs nothing either.
            state.before = None;
        }
        self.write(Step::MemoryRetract, state)
            .map_err(|err| unknown("nothing was done, and that was not written down", &err))
    }

    /// The durable end of the effect. If we stop before it, the state says `begun` and the version is the one after.
    fn finish(&mut self, phase: PhaseWord, left: Digest) -> Result<(), ExecuteError> {
        // What came out of the exchange; if it stays, the next write drops it.
        let _ = self.place.clear_aside();
        let mut state = self.state.by(self.mandate, Some(self.mandate.acted(phase, Some(left))));
        state.pending = None;
        if phase == PhaseWord::Undone {
            state.before = None;
        }
        self.write(Step::MemoryFinish, state)
            .map_err(|err| unknown("the effect was made and not written down", &err))
    }

    fn write(&mut self, step: Step, state: FileState) -> std::io::Result<()> {
        state.store(step, self.held.dir, self.held.target.id())?;
        self.state = state;
        Ok(())
    }
}

fn open<T: Editable>(held: &Held<'_, T>) -> Result<Place, ExecuteError> {
    Place::open(held.target.path()).map_err(|err| not_done("the file's directory cannot be opened", &err))
}

/// Whether file and state could be written, twice over, and whoever reads the file told.
fn possible<T: Editable>(held: &Held<'_, T>, place: &Place, bytes: usize) -> std::io::Result<()> {
    place.could_write(bytes.saturating_mul(2))?;
    let dir = std::fs::File::open(held.dir)?;
    // Base64 takes four bytes for three, and the old state stays while the new one is written.
    room(&dir, bytes.saturating_mul(4).saturating_add(STATE_ROOM))?;
    held.target.could_settle()
}
