//! Key files: one key, one purpose, one file; base64 on one line, readable by nobody but its owner.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use holdpoint_domain::{Id, id::kind, signature::Thumbprint};
use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};

use super::{durable::sync_folder_of, random};
use crate::step::{Step, Taken};

/// Largest key file: a P-256 key with its envelope needs a few hundred bytes.
const MAX_KEY_FILE: u64 = 4096;

/// What a key is for. Each has a file of its own, so that no key is used for two things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyUse {
    /// The gate signs permits.
    Permit,
    /// The gate signs permits, after a rotation: the key with this thumbprint.
    NextPermit(Thumbprint),
    /// The gate signs checkpoints of the ledger.
    Checkpoint,
    /// The gate signs checkpoints beside that key, until it takes its place.
    NextCheckpoint,
    /// The gate signs who acts for whom.
    Delegation,
    /// The observer signs evidence.
    Evidence,
    /// A witness, or a role, cosigns heads of the ledger.
    Cosign,
    /// Secrets of leases are sealed to the executor.
    Sealing,
    /// The local development issuer signs identities.
    Identity,
    /// An executor proves that a permit is its own, and passes on less of it.
    Executor(Id<kind::Executor>),
    /// The issuer derives passwords of tasks.
    Lease,
    /// The issuer signs bearer leases.
    Bearer,
    /// The local development issuer signs certificates of workloads.
    Authority,
    /// A person signs approvals.
    Approval(Id<kind::Person>),
}

impl KeyUse {
    /// The file's path within a directory of keys.
    #[must_use]
    pub fn path(&self, keys: &Path) -> PathBuf {
        keys.join(match self {
            Self::Permit => "permit.key".to_owned(),
            Self::NextPermit(thumbprint) => format!("permit-{thumbprint}.key"),
            Self::Checkpoint => "checkpoint.key".to_owned(),
            Self::NextCheckpoint => "checkpoint-next.key".to_owned(),
            Self::Delegation => "delegation.key".to_owned(),
            Self::Evidence => "evidence.key".to_owned(),
            Self::Cosign => "cosign.key".to_owned(),
            Self::Sealing => "sealing.key".to_owned(),
            Self::Identity => "identity.key".to_owned(),
            // The grammar of ids has no slash, so a name cannot leave the directory.
            Self::Executor(executor) => format!("executor-{executor}.key"),
            Self::Lease => "lease.key".to_owned(),
            Self::Bearer => "bearer.key".to_owned(),
            Self::Authority => "authority.key".to_owned(),
            Self::Approval(person) => format!("approval-{person}.key"),
        })
    }

    /// What the key in a file is for, by the file's name; none for a name that no key has.
    #[must_use]
    pub fn of_file(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.strip_suffix(".key")?;
        let plain = [
            Self::Permit,
            Self::Checkpoint,
            Self::NextCheckpoint,
            Self::Delegation,
            Self::Evidence,
            Self::Cosign,
            Self::Sealing,
            Self::Identity,
            Self::Lease,
            Self::Bearer,
            Self::Authority,
        ];
        if let Some(found) =
            plain.into_iter().find(|key| key.path(Path::new("")).file_stem() == path.file_stem())
        {
            return Some(found);
        }
        match name.split_once('-')? {
            ("permit", thumbprint) => Thumbprint::try_from(thumbprint.to_owned()).ok().map(Self::NextPermit),
            ("executor", executor) => Id::parse(executor).ok().map(Self::Executor),
            ("approval", person) => Id::parse(person).ok().map(Self::Approval),
            _ => None,
        }
    }
}

/// A 32-byte private key. Shows as `***`.
#[derive(Clone)]
pub struct Seed([u8; 32]);

/// What is wrong with a key file, or with the key in it.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// There is none.
    #[error("there is no key file `{0}`")]
    Missing(PathBuf),
    /// There is one already, and keys are never overwritten.
    #[error("key file `{0}` is there already")]
    Exists(PathBuf),
    /// Others could read or change it.
    #[error("key file `{path}` has mode {mode:04o}, expected 0600: nobody but its owner may touch it")]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It belongs to somebody else.
    #[error("key file `{path}` belongs to user {owner}, expected {expected}: whoever runs this process")]
    Owner {
        /// The file.
        path: PathBuf,
        /// Whom it belongs to.
        owner: u32,
        /// Who we are.
        expected: u32,
    },
    /// A link, a directory, a pipe, or too large.
    #[error("key file `{0}` is not a regular file of at most {MAX_KEY_FILE} bytes")]
    NotAFile(PathBuf),
    /// Not base64 of a key.
    #[error("key file `{0}` does not hold one line of base64 of a key")]
    Malformed(PathBuf),
    /// Bytes that are no usable key.
    #[error("the bytes are no usable key")]
    NotAKey,
    /// A name that signed notes do not allow.
    #[error("the key's name cannot stand on a signature: {0}")]
    Name(String),
    /// The file system did not do it.
    #[error("key file `{path}` cannot be used")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Seed {
    /// A fresh seed.
    #[must_use]
    pub fn fresh() -> Self {
        Self(random())
    }

    /// A seed from its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A secret for one `purpose` and one thing `of` that purpose: HMAC-SHA256, which tells nothing of the seed.
    #[must_use]
    pub(crate) fn derive(&self, purpose: &str, of: &[u8]) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        let mut context = hmac::Context::with_key(&key);
        // No purpose has a zero byte, so no two pairs read the same.
        for part in [purpose.as_bytes(), &[0], of] {
            context.update(part);
        }
        let mut secret = [0_u8; 32];
        for (byte, derived) in secret.iter_mut().zip(context.sign().as_ref()) {
            *byte = *derived;
        }
        secret
    }

    pub(super) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads a seed from a key file.
    pub fn load(path: &Path) -> Result<Self, KeyFileError> {
        let bytes = read(path)?;
        bytes.try_into().map(Self).map_err(|_| KeyFileError::Malformed(path.to_owned()))
    }

    /// Writes the seed to a key file that is not there yet.
    pub fn create(&self, path: &Path) -> Result<(), KeyFileError> {
        create(path, &self.0)
    }

    /// Puts the key file `next` in the place of `path`, durably: what was there is gone.
    ///
    /// # Errors
    /// No key in `next`, or a file system that does not do it.
    pub fn supersede(next: &Path, path: &Path) -> Result<(), KeyFileError> {
        Self::load(next)?;
        let renamed = Step::KeyFile.take(|taken| {
            // If we stop before this, both keys are where they were.
            fs::rename(next, path)?;
            sync_folder_of(path, taken)
        });
        renamed.map_err(|source| KeyFileError::Io { path: path.to_owned(), source })
    }

    /// Reads the seed of a key file, and makes a fresh one where there is none.
    pub fn load_or_create(path: &Path) -> Result<Self, KeyFileError> {
        load_or_create(path, || Ok(random::<32>().to_vec()))?
            .try_into()
            .map(Self)
            .map_err(|_| KeyFileError::Malformed(path.to_owned()))
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Reads a key file, and makes one with the bytes of `make` where there is none. When two processes do it at once, both
/// end up with the bytes of the one that came first.
pub(crate) fn load_or_create(
    path: &Path,
    make: impl FnOnce() -> Result<Vec<u8>, KeyFileError>,
) -> Result<Vec<u8>, KeyFileError> {
    match read(path) {
        Err(KeyFileError::Missing(_)) => {}
        known => return known,
    }
    match create(path, &make()?) {
        Ok(()) | Err(KeyFileError::Exists(_)) => read(path),
        Err(err) => Err(err),
    }
}

/// The decoded bytes of a key file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, KeyFileError> {
    STANDARD.decode(line(path)?).map_err(|_| KeyFileError::Malformed(path.to_owned()))
}

/// The one line of a file that nobody but its owner may read: a key, or a PIN.
pub(crate) fn line(path: &Path) -> Result<String, KeyFileError> {
    let failed = |source: io::Error| {
        if source.kind() == io::ErrorKind::NotFound {
            return KeyFileError::Missing(path.to_owned());
        }
        // NOFOLLOW refuses a link as if it were a loop of links.
        if source.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
            return KeyFileError::NotAFile(path.to_owned());
        }
        KeyFileError::Io { path: path.to_owned(), source }
    };
    // Without NONBLOCK a pipe in place of the file would hang the start.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(failed)?;
    // What was opened is checked, not what the path names: the two can differ.
    let meta = file.metadata().map_err(failed)?;
    if !meta.is_file() || meta.len() > MAX_KEY_FILE {
        return Err(KeyFileError::NotAFile(path.to_owned()));
    }
    let mode = meta.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Permissions { path: path.to_owned(), mode });
    }
    let expected = rustix::process::geteuid().as_raw();
    if meta.uid() != expected {
        return Err(KeyFileError::Owner { path: path.to_owned(), owner: meta.uid(), expected });
    }
    let mut text = String::new();
    (&mut file).take(MAX_KEY_FILE).read_to_string(&mut text).map_err(failed)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.to_owned())
}

/// Writes a key file that is not there yet: whole or not at all, and never over another one.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> Result<(), KeyFileError> {
    Step::KeyFile.take(|taken| created(path, bytes, taken))
}

fn created(path: &Path, bytes: &[u8], taken: &Taken) -> Result<(), KeyFileError> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("key");
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = parent.join(format!(".{name}.{:032x}", u128::from_be_bytes(random())));
    let failed = |source: io::Error| KeyFileError::Io { path: path.to_owned(), source };
    let written = write_new(&temporary, bytes, taken).map_err(failed).and_then(|()| {
        // If we stop here, the key's path is still free: the next start makes another key.
        renameat_with(CWD, &temporary, CWD, path, RenameFlags::NOREPLACE).map_err(|err| match err {
            rustix::io::Errno::EXIST => KeyFileError::Exists(path.to_owned()),
            err => failed(err.into()),
        })
    });
    if written.is_err() {
        // Nobody knows the name; what is left of it would only puzzle people.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    File::open(parent).and_then(|dir| dir.sync_all()).map_err(failed)
}

fn write_new(path: &Path, bytes: &[u8], _: &Taken) -> io::Result<()> {
    // `create_new` is O_EXCL: it follows no link and opens nothing that somebody else put there.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(format!("{}\n", STANDARD.encode(bytes)).as_bytes())?;
    file.sync_all()
}
