//! State files for executors whose targets remember nothing by themselves: the fence, the run that acted last, and a note
//! of the executor's own for whoever has to find out what came of it.

use std::{
    collections::BTreeMap,
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use holdpoint_app::port::{Acted, ExecuteError};
use holdpoint_domain::{Digest, Id, id::kind};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::memory::{
    ActedBy, DirectoryLock, Mandate, Memory, PhaseWord, invalid, load, not_done, store, unknown,
};
use crate::step::Step;

/// Largest page: ours have a few hundred bytes and a note.
const MAX_PAGE: u64 = 64 * 1024;

/// The pages of an executor's targets. One writer at a time: the directory is locked while this lives.
#[derive(Debug)]
pub(super) struct Notebook {
    dir: PathBuf,
    // INVARIANT: empty without the directory's lock, so that nobody writes a page who does not hold it.
    locks: BTreeMap<Id<kind::Target>, Mutex<()>>,
    _lock: Option<DirectoryLock>,
}

impl Notebook {
    /// The pages in `dir`, for whoever only looks: another process may hold them.
    pub(super) fn to_look(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), locks: BTreeMap::new(), _lock: None }
    }

    /// Opens the pages of `targets` in `dir`, and makes the directory where there is none. A second notebook over the
    /// same directory fails with `WouldBlock`.
    pub(super) fn open<'a>(
        dir: &Path,
        targets: impl Iterator<Item = &'a Id<kind::Target>>,
    ) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let lock = DirectoryLock::take(dir)?;
        let locks = targets.map(|id| (id.clone(), Mutex::new(()))).collect();
        Ok(Self { dir: dir.to_owned(), locks, _lock: Some(lock) })
    }

    /// Waits for a target's lock, then opens its page; none where the notebook does not have the target.
    pub(super) fn lock<N: DeserializeOwned>(
        &self,
        target: &Id<kind::Target>,
    ) -> Option<Result<Locked<'_, N>, ExecuteError>> {
        // Nothing is behind the lock but the file, so a panic leaves nothing half-made in memory.
        let guard = self.locks.get(target)?.lock().unwrap_or_else(PoisonError::into_inner);
        let page = Page::load(&self.dir, target).map_err(|err| not_done("the target's memory", &err));
        Some(page.map(|page| Locked { dir: &self.dir, target: target.clone(), page, _guard: guard }))
    }
}

/// What stands in a state file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page<N> {
    r#type: PageType,
    highest_epoch: u64,
    /// The permit that used that epoch.
    holder: Option<Id<kind::Permit>>,
    acted: Option<ActedBy>,
    /// About the run that acted last.
    note: Option<N>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum PageType {
    #[serde(rename = "holdpoint/target-memory/v1")]
    V1,
}

impl<N: DeserializeOwned> Page<N> {
    /// Reads a target's page; an empty one where there is no file. A file that does not parse is an error, never an empty
    /// page: it would forget the fence.
    pub(super) fn load(dir: &Path, target: &Id<kind::Target>) -> io::Result<Self> {
        match load(dir, &file_name(target), MAX_PAGE)? {
            Some(bytes) => serde_json::from_slice(&bytes).map_err(|err| invalid(err.to_string())),
            None => {
                Ok(Self { r#type: PageType::V1, highest_epoch: 0, holder: None, acted: None, note: None })
            }
        }
    }
}

impl<N> Page<N> {
    pub(super) fn memory(&self) -> Memory<'_> {
        let Self { highest_epoch, holder, acted, .. } = self;
        Memory { highest_epoch: *highest_epoch, holder: holder.as_ref(), acted: acted.as_ref() }
    }

    /// The run that acted last.
    pub(super) fn acted(&self) -> Option<Acted> {
        self.acted.as_ref().map(ActedBy::acted)
    }

    pub(super) const fn note(&self) -> Option<&N> {
        self.note.as_ref()
    }
}

/// The grammar of ids has no slash, and none begins with a dot.
fn file_name(target: &Id<kind::Target>) -> String {
    format!("{target}.json")
}

/// A target's page under its lock.
pub(super) struct Locked<'a, N> {
    dir: &'a Path,
    target: Id<kind::Target>,
    page: Page<N>,
    _guard: MutexGuard<'a, ()>,
}

impl<N: Clone + Serialize> Locked<'_, N> {
    pub(super) const fn page(&self) -> &Page<N> {
        &self.page
    }

    /// The durable announcement of an effect, with what helps to find out about it. Returns what stood there before.
    pub(super) fn begin(&mut self, mandate: &Mandate, note: N) -> Result<Page<N>, ExecuteError> {
        let grant = mandate.warrant.permit().grant();
        let page = Page {
            r#type: PageType::V1,
            highest_epoch: grant.epoch,
            holder: Some(grant.id.clone()),
            acted: Some(mandate.acted(PhaseWord::Begun, None)),
            note: Some(note),
        };
        let before = self.page.clone();
        self.write(Step::MemoryBegin, page)
            .map_err(|err| not_done("the target's memory was not written", &err))?;
        Ok(before)
    }

    /// The durable end of an effect. If we stop before it, the page says `begun`.
    pub(super) fn finish(
        &mut self,
        mandate: &Mandate,
        phase: PhaseWord,
        left: Digest,
    ) -> Result<(), ExecuteError> {
        let page = Page { acted: Some(mandate.acted(phase, Some(left))), ..self.page.clone() };
        self.write(Step::MemoryFinish, page)
            .map_err(|err| unknown("the effect was made and not written down", &err))
    }

    /// Takes an announcement back, after it was proven that nothing is left of the effect: the page says what it said
    /// `before`. The fence stays. If this fails, the page says `begun`, and the run is in doubt rather than over.
    pub(super) fn retract(&mut self, mandate: &Mandate, before: Page<N>) {
        let ours_began = mandate.phase(before.memory()) == Some(PhaseWord::Begun);
        let Page { highest_epoch, holder, .. } = self.page.clone();
        let (acted, note) = if ours_began { (None, None) } else { (before.acted, before.note) };
        let page = Page { r#type: PageType::V1, highest_epoch, holder, acted, note };
        if let Err(err) = self.write(Step::MemoryRetract, page) {
            tracing::warn!(target = %self.target, "an announcement was not taken back: {err}");
        }
    }

    fn write(&mut self, step: Step, page: Page<N>) -> io::Result<()> {
        let bytes = serde_json::to_vec(&page).map_err(io::Error::other)?;
        store(step, self.dir, &file_name(&self.target), &bytes)?;
        self.page = page;
        Ok(())
    }
}
