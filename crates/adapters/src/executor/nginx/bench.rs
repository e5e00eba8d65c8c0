//! One step at the lock: edit, test, reload, and back again when something fails.

use std::collections::BTreeSet;

use holdpoint_app::port::ExecuteError;
use holdpoint_domain::{Digest, action::UndoKind};

use super::{
    LookError, Note, Operation,
    control::{self, ControlError, Worker},
    file::{self, ReplaceError, Text},
    server::NginxServer,
    upstream::Upstream,
};
use crate::executor::{
    chain,
    memory::{Fence, Mandate, PhaseWord, expects, not_done, refused, unknown},
    notebook::Locked,
};

/// A step under the lock of its server.
pub(super) struct Bench<'a> {
    pub(super) mandate: &'a Mandate,
    pub(super) operation: Operation,
    pub(super) server: &'a NginxServer,
    pub(super) page: Locked<'a, Note>,
}

impl Bench<'_> {
    pub(super) fn rehearse(&self) -> Result<(), ExecuteError> {
        if self.mandate.ready(self.page.page().memory())? == Fence::Done {
            return Ok(());
        }
        if self.mandate.warrant.step().undo.restores() {
            self.undo_kind()?;
        }
        let text = self.read()?;
        self.edited(&text, &self.mandate.warrant.step().expected_version)?;
        self.sound().map(|_| ())
    }

    pub(super) fn apply(&mut self) -> Result<(), ExecuteError> {
        if self.mandate.ready(self.page.page().memory())? == Fence::Done {
            return Ok(());
        }
        let began = self.mandate.phase(self.page.page().memory()) == Some(PhaseWord::Begun);
        if began && self.page.page().note().is_some_and(|note| note.undoing) {
            return Err(refused("phase", "the undo of this run has begun"));
        }
        let text = self.read()?;
        let (line, bytes) = self.edited(&text, &self.mandate.warrant.step().expected_version)?;
        self.effect(&text, &bytes, Note { line, undoing: false }, PhaseWord::Applied)
    }

    /// Puts the bytes of the line back that stood there before, wherever else the file was edited since. The block must be
    /// the one that we left.
    pub(super) fn undo(&mut self, from: &Digest) -> Result<(), ExecuteError> {
        self.mandate.current()?;
        self.mandate.fenced(self.page.page().memory())?;
        match self.mandate.phase(self.page.page().memory()) {
            Some(PhaseWord::Undone) => return Ok(()),
            Some(PhaseWord::Begun | PhaseWord::Applied) => {}
            None => return Err(refused("phase", "this run did nothing that could be undone")),
        }
        self.undo_kind()?;
        let note = self.page.page().note().cloned();
        let note = note.ok_or_else(|| refused("undo", "the line before the run is not remembered"))?;
        let left = self.page.page().acted().and_then(|acted| acted.left);
        expects(&left.unwrap_or(*from), from)?;
        let text = self.read()?;
        let found = self.find(&text)?;
        expects(from, &self.version(&found)?)?;
        let bytes = found.with_line(&note.line).map_err(|err| refused("undo", chain(&err)))?;
        self.effect(&text, &bytes, Note { undoing: true, ..note }, PhaseWord::Undone)
    }

    fn undo_kind(&self) -> Result<(), ExecuteError> {
        match self.mandate.warrant.step().undo {
            UndoKind::Inverse | UndoKind::Snapshot => Ok(()),
            UndoKind::PreviousRevision
            | UndoKind::GitRevert
            | UndoKind::DeleteArtifact
            | UndoKind::SelfHeals
            | UndoKind::Compensate
            | UndoKind::None => Err(refused("undo", "expected undo kind `inverse` or `snapshot`")),
        }
    }

    fn read(&self) -> Result<Text, ExecuteError> {
        file::read(&self.server.spec().include).map_err(|err| not_done("the file cannot be read", &err))
    }

    fn find<'t>(&self, text: &'t Text) -> Result<Upstream<'t>, ExecuteError> {
        self.server.find(&text.bytes).map_err(|err| refused("upstream", err))
    }

    fn version(&self, found: &Upstream<'_>) -> Result<Digest, ExecuteError> {
        self.server.version(found).map_err(|err| refused("version", err))
    }

    /// The line as it stands, and the file with the operation done to it.
    fn edited(&self, text: &Text, expected: &Digest) -> Result<(String, Vec<u8>), ExecuteError> {
        let found = self.find(text)?;
        expects(expected, &self.version(&found)?)?;
        let bytes = match (self.operation, found.is_down()) {
            (Operation::Isolate, true) => {
                return Err(refused("operation", "the server is isolated already, so an undo would open it"));
            }
            (Operation::Restore, false) => {
                return Err(refused(
                    "operation",
                    "the server is not isolated, so there is nothing to restore",
                ));
            }
            (Operation::Isolate, false) if found.others_live() == 0 && !self.server.spec().may_empty => {
                return Err(refused("operation", "it is the last server of the upstream that takes traffic"));
            }
            (Operation::Isolate, false) => found.with_down(),
            (Operation::Restore, true) => found.without_down(),
        };
        let line = found.line().map_err(|err| refused("upstream", err))?;
        Ok((line.to_owned(), bytes))
    }

    /// The configuration is good and nginx runs, before anything is touched: what fails afterwards is our doing.
    fn sound(&self) -> Result<BTreeSet<Worker>, ExecuteError> {
        let spec = self.server.spec();
        control::test(spec).map_err(|err| not_done("the configuration does not stand as it is", &err))?;
        control::workers(spec).map_err(|err| not_done("nginx could not be reloaded", &err))
    }

    /// One change, between two durable writes.
    fn effect(
        &mut self,
        text: &Text,
        bytes: &[u8],
        note: Note,
        phase: PhaseWord,
    ) -> Result<(), ExecuteError> {
        let left = self.server.find(bytes).map_err(LookError::from);
        let left = left.and_then(|found| Ok(self.server.version(&found)?));
        let left = left.map_err(|err| not_done("the edit does not come out right", &err))?;
        let workers = self.sound()?;
        // The test and the look at the workers took their time.
        self.mandate.current()?;
        // If we stop after this write, nothing has happened yet and the version says so.
        let before = self.page.begin(self.mandate, note)?;
        let changed = self.change(text, bytes, &workers);
        match &changed {
            Ok(()) => self.page.finish(self.mandate, phase, left)?,
            Err(ExecuteError::NotDone(_) | ExecuteError::Refused(_)) => {
                self.page.retract(self.mandate, before);
            }
            Err(ExecuteError::Unknown(_)) => {}
        }
        changed
    }

    /// File, test, reload, new workers. `NotDone` and `Refused` are proven.
    fn change(&self, text: &Text, bytes: &[u8], before: &BTreeSet<Worker>) -> Result<(), ExecuteError> {
        let spec = self.server.spec();
        file::replace(&spec.include, text, bytes).map_err(|err| match err {
            ReplaceError::Changed => refused("version", err),
            ReplaceError::NotDone(_) => not_done("the file", &err),
            ReplaceError::Unknown(_) => unknown("the file", &err),
        })?;
        // If we stop here, the file is edited and nginx does not know it yet: in doubt.
        if let Err(err) = control::test(spec) {
            self.put_back(text, bytes, &err)?;
            return Err(not_done("the edited configuration does not stand, and the old one is back", &err));
        }
        let Err(err) = self.reload(before) else { return Ok(()) };
        self.put_back(text, bytes, &err)?;
        Err(self.back_to_old(before, &err))
    }

    /// Has nginx load what is on disk, and waits until workers with it have taken over.
    fn reload(&self, before: &BTreeSet<Worker>) -> Result<(), ControlError> {
        control::reload(self.server.spec())?;
        // If we stop here, the new workers are there or will be: in doubt, and the version says which file they have.
        control::wait_replaced(self.server.spec(), before)
    }

    /// The file as it was, unless somebody wrote it since.
    fn put_back(&self, text: &Text, bytes: &[u8], why: &ControlError) -> Result<(), ExecuteError> {
        let include = &self.server.spec().include;
        let failed = |err: &dyn std::error::Error| {
            let err = chain(err);
            ExecuteError::Unknown(format!("{}, and the file was not put back: {err}", chain(why)))
        };
        let ours = file::read(include).map_err(|err| failed(&err))?;
        if ours.bytes != bytes {
            return Err(failed(&ReplaceError::Changed));
        }
        file::replace(include, &ours, &text.bytes).map_err(|err| failed(&err))
    }

    /// The reload of the edit failed, and the old file is back. Either nginx takes that up, with workers newer than any
    /// that may have the edit; or it took no signal at all, and runs the workers that it had.
    fn back_to_old(&self, before: &BTreeSet<Worker>, failed: &ControlError) -> ExecuteError {
        let spec = self.server.spec();
        let why = chain(failed);
        // A signal that was sent may still bring workers with the edit: only the generation after them has the old file.
        let generations = if failed.sent_nothing() { 1 } else { 2 };
        let taken_up = control::test(spec).and_then(|()| {
            let mut seen = before.clone();
            for _ in 0..generations {
                seen.extend(control::workers(spec)?);
                self.reload(&seen)?;
            }
            Ok(())
        });
        let same = || control::workers(spec).is_ok_and(|now| now == *before);
        match taken_up {
            Ok(()) => ExecuteError::NotDone(format!("{why}; the old configuration is back in force")),
            Err(err) if failed.sent_nothing() && err.sent_nothing() && same() => {
                ExecuteError::NotDone(format!("{why}; the file is back, and the workers are the old ones"))
            }
            Err(err) => {
                let err = chain(&err);
                ExecuteError::Unknown(format!(
                    "{why}; the file is back, and nginx was not seen to take it up: {err}"
                ))
            }
        }
    }
}
