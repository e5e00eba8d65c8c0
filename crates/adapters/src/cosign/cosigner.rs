//! Who cosigns: the last head of each log, on disk before anybody sees a cosignature of it.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use holdpoint_app::port::Clock;
use holdpoint_domain::Digest;
use holdpoint_ledger::{
    AddCheckpoint, Cosignature, CosignatureError, Head, VerifierKey, WitnessError, checkpoint, key::KeyError,
};

use crate::{
    step::Step,
    system::{Ed25519Key, durable},
};

/// Most heads that are kept as evidence against a log: one is enough to prove a fork, and strangers who took its key must not
/// fill the disk.
const MAX_EVIDENCE: usize = 64;

/// Cosigns heads of configured logs. One process at a time has its folder.
pub struct Cosigner {
    folder: PathBuf,
    key: Ed25519Key,
    logs: BTreeMap<String, Log>,
    clock: Arc<dyn Clock>,
    _lock: File,
}

struct Log {
    keys: Vec<VerifierKey>,
    path: PathBuf,
    // INVARIANT: never behind what was cosigned; the disk is never behind it, either.
    last: Mutex<Option<Head>>,
}

/// Why a cosigner does not start. The operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum OpenCosignerError {
    /// Another process has the folder.
    #[error("{0} is in use: two cosigners with one memory could sign two histories")]
    InUse(PathBuf),
    /// The file system did not do it.
    #[error("cannot use {path}")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A remembered head that is none of its log: whoever forgets it may sign another history.
    #[error(
        "{path} is not a head of log `{origin}`: put back what was there, or have people look at the log before you remove it"
    )]
    Memory {
        /// The file.
        path: PathBuf,
        /// The log.
        origin: String,
    },
    /// No log, so that nothing could ever be cosigned.
    #[error("there is no log to cosign: expected the verifier key of at least one")]
    NoLogs,
    /// The name cannot stand on a signature.
    #[error("the cosigner's name cannot stand on a signature")]
    Key(#[from] KeyError),
}

/// Why a head was not cosigned.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// Whoever asked is wrong, or the log is.
    #[error(transparent)]
    Refused(#[from] WitnessError),
    /// It could not be remembered, so it was not cosigned.
    #[error("the head cannot be remembered")]
    Io(#[source] io::Error),
    /// Our own key failed.
    #[error("the head cannot be cosigned")]
    Sign(#[from] CosignatureError),
}

impl Cosigner {
    /// Opens the memory in `folder`, for the logs of these keys; a log is known by the name of its keys, of which it may have
    /// several while one is replaced.
    ///
    /// # Errors
    /// A folder in use, a memory that is none, or no log.
    pub fn open(
        folder: &Path,
        key: Ed25519Key,
        keys: &[VerifierKey],
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OpenCosignerError> {
        if keys.is_empty() {
            return Err(OpenCosignerError::NoLogs);
        }
        VerifierKey::of_cosigner(&key)?;
        let lock = lock(folder)?;
        let mut logs = BTreeMap::<String, Log>::new();
        for key in keys {
            let origin = key.name().to_owned();
            let path = folder.join(format!("{}.head", file_name(&origin)));
            let log = logs.entry(origin).or_insert(Log { keys: Vec::new(), path, last: Mutex::default() });
            log.keys.push(key.clone());
        }
        for (origin, log) in &logs {
            *log.last() = remembered(origin, log)?;
        }
        Ok(Self { folder: folder.to_owned(), key, logs, clock, _lock: lock })
    }

    /// The key that cosignatures are checked with.
    ///
    /// # Errors
    /// None in fact: it was checked when this was opened.
    pub fn verifier_key(&self) -> Result<VerifierKey, KeyError> {
        VerifierKey::of_cosigner(&self.key)
    }

    /// The last head of a log; none when none was cosigned.
    #[must_use]
    pub fn last(&self, origin: &str) -> Option<Head> {
        *self.logs.get(origin)?.last()
    }

    /// Cosigns a head that continues the last one of its log, and remembers it in its place, synced. Whoever asks with the same
    /// head again gets a cosignature again. Blocks on the disk.
    ///
    /// # Errors
    /// A head that may not be cosigned, or one that cannot be remembered.
    pub fn add(&self, request: &AddCheckpoint) -> Result<Cosignature, AddError> {
        let origin = request.origin();
        let unknown = || WitnessError::UnknownLog { origin: origin.to_owned() };
        let log = self.logs.get(origin).ok_or_else(unknown)?;
        // Held until the head is remembered: nobody comes between the comparison and the write.
        let mut last = log.last();
        let head = match request.check(&log.keys, *last) {
            Ok(head) => Head { size: head.size(), root: head.root() },
            Err(err) => {
                if err.is_evidence() {
                    tracing::error!(origin, "LOG `{origin}` CONTRADICTS ITSELF: {err}");
                    self.keep_evidence(request);
                }
                return Err(err.into());
            }
        };
        let seconds = self.clock.now().ms() / 1000;
        let made = Cosignature::sign(&request.checkpoint, &self.key, seconds)?;
        if *last != Some(head) {
            let note = request.checkpoint.to_string();
            // If we stop before this, nobody saw the cosignature; after it, the log goes on from the new head, and whoever asked
            // asks again with its size.
            durable::replace(Step::CosignHead, &log.path, note.as_bytes(), 0o600).map_err(AddError::Io)?;
            *last = Some(head);
        }
        Ok(made)
    }

    /// Keeps a signed head that contradicts the last one. Together they prove what the log did.
    fn keep_evidence(&self, request: &AddCheckpoint) {
        let head = request.checkpoint.unverified();
        let root = Digest::from_bytes(*head.root().as_bytes()).to_string();
        let name = format!("{}-{}-{}.evidence", file_name(head.origin()), head.size(), hex(&root));
        let kept = fs::read_dir(&self.folder).map_or(usize::MAX, |files| {
            let is_evidence = |name: &std::ffi::OsStr| name.to_string_lossy().ends_with(".evidence");
            files.flatten().filter(|file| is_evidence(&file.file_name())).count()
        });
        if kept >= MAX_EVIDENCE {
            return;
        }
        let note = request.checkpoint.to_string();
        // If we stop before this, the same head is refused again, and kept then.
        let path = self.folder.join(name);
        if let Err(err) = durable::create(Step::CosignEvidence, &path, note.as_bytes(), 0o600) {
            tracing::error!("evidence against a log cannot be kept in {}: {err}", path.display());
        }
    }
}

impl Log {
    fn last(&self) -> MutexGuard<'_, Option<Head>> {
        // Set in one assignment: a panic leaves the old head or the new one.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Cosigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cosigner").field("name", &self.key.name()).finish_non_exhaustive()
    }
}

/// The folder, for this process alone. Dropping the file gives it back, also when the process is killed.
fn lock(folder: &Path) -> Result<File, OpenCosignerError> {
    let io = |source| OpenCosignerError::Io { path: folder.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io)?;
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).open(folder.join("lock")).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenCosignerError::InUse(folder.to_owned())),
        Err(TryLockError::Error(err)) => Err(io(err)),
    }
}

fn remembered(origin: &str, log: &Log) -> Result<Option<Head>, OpenCosignerError> {
    let note = match fs::read(&log.path) {
        Ok(note) => note,
        Err(err) if err.kind() == io::ErrorKind::NotFound => {
            tracing::warn!(
                origin,
                "no head of log `{origin}` is remembered here: the first that comes is believed"
            );
            return Ok(None);
        }
        Err(source) => return Err(OpenCosignerError::Io { path: log.path.clone(), source }),
    };
    let head = checkpoint::open(&note, &log.keys).ok().filter(|head| head.origin() == origin);
    let head =
        head.ok_or_else(|| OpenCosignerError::Memory { path: log.path.clone(), origin: origin.to_owned() })?;
    Ok(Some(Head { size: head.size(), root: head.root() }))
}

/// A file name for a log: origins may have slashes.
fn file_name(origin: &str) -> String {
    hex(&Digest::of_bytes(origin.as_bytes()).to_string()).to_owned()
}

fn hex(digest: &str) -> &str {
    digest.rsplit_once(':').map_or(digest, |(_, hex)| hex)
}
