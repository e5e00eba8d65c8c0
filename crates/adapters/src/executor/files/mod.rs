//! Executors for files of this machine: feature flags, settings in configuration files, and secrets that rotate.
//!
//! What a target *is* stands in the operator's file: [`FlagTarget`], [`ConfigTarget`], [`SecretTarget`]. A step names a
//! target by its id and values by type; no plan ever names a path. No link is followed on the way to a file, and a file
//! is replaced as a whole: whoever reads it sees all of the old content or all of the new one.
//!
//! Each target has a state file: the highest fencing epoch, how far the last run got, and what was there before. An
//! effect comes between two durable writes of it:
//!
//! | written | then | if we stop here |
//! | --- | --- | --- |
//! | the new content, beside the file | | nothing has happened; the next write drops it |
//! | `begun`, epoch, the part before, the version after | the file is exchanged, and what reads it is told | the observer sees `begun`; the version is the one before or the one after, and the same permit goes on from there |
//! | `applied` or `undone` | | the effect is complete |
//!
//! When an effect is taken back at once, and that is proven, the state forgets that it began and keeps its epoch.

mod command;
mod config;
mod edit;
mod flags;
mod json;
mod observe;
mod place;
mod secret;
mod state;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use holdpoint_domain::{Id, id::kind};

pub use command::{Command, MAX_COMMAND};
pub use config::{ConfigTarget, Format, Setting};
pub use edit::{EditError, Editable, FileExecutor};
pub use flags::FlagTarget;
pub use observe::FileObserver;
pub use place::Content;
pub use secret::{Consumer, MAX_MOVE, SecretExecutor, SecretObserver, SecretTarget};

use super::memory::DirectoryLock;

/// Most targets of one executor.
const MAX_TARGETS: usize = 1024;
/// Longest path: what the kernel takes.
const MAX_PATH: usize = 4096;

/// What is wrong with targets, or with the directory of their states. The fault is with whoever configured them.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// Not an absolute path of a file, or one that goes up again.
    #[error("target `{target}`: expected an absolute path without `.` and `..`, got `{path}`")]
    Path {
        /// The target.
        target: Id<kind::Target>,
        /// What stands there.
        path: PathBuf,
    },
    /// A part of the target that cannot be.
    #[error("target `{target}`: {why}")]
    Target {
        /// The target.
        target: Id<kind::Target>,
        /// What was expected.
        why: String,
    },
    /// A command that cannot be.
    #[error("command: {0}")]
    Command(String),
    /// Two targets of one id.
    #[error("target `{0}` stands twice")]
    Duplicate(Id<kind::Target>),
    /// Two targets that are one thing: each would have a fence of its own.
    #[error("target `{0}` is the same thing as another target")]
    SameThing(Id<kind::Target>),
    /// Too many.
    #[error("expected at most {MAX_TARGETS} targets, got {0}")]
    Size(usize),
    /// Somebody else works with these states.
    #[error("another executor holds `{0}`")]
    Locked(PathBuf),
    /// The directory cannot be used.
    #[error("state directory `{dir}` cannot be used")]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A target that is a file, or a part of one.
pub trait FileTarget: Send + Sync + 'static {
    /// Its id in the inventory.
    fn id(&self) -> &Id<kind::Target>;

    /// What it is, so that two targets that are the same thing can be told.
    fn thing(&self) -> String;
}

/// The targets of one executor with their states. One at a time over a directory: it is locked while this lives.
pub struct Files<T> {
    reader: FileReader<T>,
    locks: BTreeMap<Id<kind::Target>, Mutex<()>>,
    _lock: DirectoryLock,
}

/// Reads the same targets and their states; writes nothing. Needs no [`Files`] in the same process.
pub struct FileReader<T> {
    inner: Arc<Inner<T>>,
}

struct Inner<T> {
    dir: PathBuf,
    targets: BTreeMap<Id<kind::Target>, T>,
}

/// A target under its lock.
struct Held<'a, T> {
    dir: &'a Path,
    target: &'a T,
    _lock: MutexGuard<'a, ()>,
}

impl<T: FileTarget> Files<T> {
    /// Takes up the targets whose states are in `dir`, and makes the directory where there is none. Touches no target.
    pub fn open(dir: &Path, targets: Vec<T>) -> Result<Self, FilesError> {
        let failed = |source: io::Error| FilesError::Directory { dir: dir.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
        let lock = DirectoryLock::take(dir).map_err(|err| {
            let held = err.kind() == io::ErrorKind::WouldBlock;
            if held { FilesError::Locked(dir.to_owned()) } else { failed(err) }
        })?;
        let reader = FileReader::new(dir.to_owned(), targets)?;
        let locks = reader.inner.targets.keys().map(|id| (id.clone(), Mutex::new(()))).collect();
        Ok(Self { reader, locks, _lock: lock })
    }

    /// A reader of the same targets.
    #[must_use]
    pub fn reader(&self) -> FileReader<T> {
        self.reader.clone()
    }

    /// Waits for a target's lock; none where there is no such target.
    fn hold(&self, id: &Id<kind::Target>) -> Option<Held<'_, T>> {
        let (target, lock) = (self.reader.inner.targets.get(id)?, self.locks.get(id)?);
        // Nothing is in memory: a panic leaves what is on disk.
        let lock = lock.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Held { dir: &self.reader.inner.dir, target, _lock: lock })
    }
}

impl<T: FileTarget> FileReader<T> {
    /// A reader of targets whose states are in `dir`.
    pub fn new(dir: PathBuf, targets: Vec<T>) -> Result<Self, FilesError> {
        if targets.len() > MAX_TARGETS {
            return Err(FilesError::Size(targets.len()));
        }
        let (mut by_id, mut things) = (BTreeMap::new(), BTreeSet::new());
        for target in targets {
            if !things.insert(target.thing()) {
                return Err(FilesError::SameThing(target.id().clone()));
            }
            if let Some(old) = by_id.insert(target.id().clone(), target) {
                return Err(FilesError::Duplicate(old.id().clone()));
            }
        }
        Ok(Self { inner: Arc::new(Inner { dir, targets: by_id }) })
    }
}

impl<T> Clone for FileReader<T> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

/// Refuses a path that is not absolute, that does not name a file, or that is written in a roundabout way.
fn check_path(target: &Id<kind::Target>, path: &Path) -> Result<(), FilesError> {
    let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    // Components leave out a dot and a double slash: put together again, they must be what the operator wrote.
    let same = path.components().collect::<PathBuf>().as_os_str() == path.as_os_str();
    let text = path.as_os_str().as_encoded_bytes();
    let fits = text.len() <= MAX_PATH && !text.contains(&0);
    if path.is_absolute() && plain && same && fits && path.file_name().is_some() {
        return Ok(());
    }
    Err(FilesError::Path { target: target.clone(), path: path.to_owned() })
}
