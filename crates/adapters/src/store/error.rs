//! Why a store does not open, and what became of a failed batch.

use std::path::PathBuf;

use holdpoint_app::port::StoreError;
use holdpoint_ledger::{checkpoint::CheckpointError, key::KeyError, tree::TreeError};
use rusqlite::ErrorCode;

/// Why the store was not opened. Nothing was served and nothing was changed in the log.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The signer is not the key of this log.
    #[error("expected a checkpoint key named `{expected}`, got `{got}`")]
    SignerName {
        /// The log's origin.
        expected: String,
        /// The signer's name.
        got: String,
    },
    /// The signer's public key cannot be used.
    #[error("the checkpoint key cannot be used")]
    Key(#[from] KeyError),
    /// Another process has it open.
    #[error("the store `{}` is open in another process", path.display())]
    InUse {
        /// The store.
        path: PathBuf,
    },
    /// A file beside the store cannot be used.
    #[error("cannot use `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// SQLite failed.
    #[error("the database cannot be used")]
    Database(#[source] rusqlite::Error),
    /// A database of somebody else.
    #[error("`{}` is a database, but not a store of holdpoint", path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
    },
    /// A later version of Holdpoint wrote it.
    #[error("the store has schema version {got}, expected at most {known}")]
    Newer {
        /// The latest that this version knows.
        known: i64,
        /// What the store has.
        got: i64,
    },
    /// It is the store of another log.
    #[error("the store belongs to the log `{got}`, expected `{expected}`")]
    OtherLog {
        /// What was configured.
        expected: String,
        /// What the store says.
        got: String,
    },
    /// The head is not signed by the key at hand: another key, or a forged head.
    #[error("the store's checkpoint does not stand")]
    Head(#[source] CheckpointError),
    /// The checkpoint of an empty log could not be signed.
    #[error("the first checkpoint could not be signed")]
    Sign(#[source] CheckpointError),
    /// The records, the tree and the head contradict each other: somebody or something changed the file.
    #[error("the store is corrupt{}: {what}", at(*index))]
    Corrupt {
        /// The first entry that is wrong, where that can be told.
        index: Option<u64>,
        /// What is wrong.
        what: String,
    },
    /// The store has entries, and nothing beside it remembers its head.
    #[error("the store has {size} entries, but `{}` remembers no checkpoint of this log", path.display())]
    NothingRemembered {
        /// The file that should remember it.
        path: PathBuf,
        /// How many entries the store has.
        size: u64,
    },
    /// The store is an older copy: this machine has published a later head.
    #[error(
        "the store has {stored} entries, but a checkpoint over {remembered} was signed: this is an older copy"
    )]
    OlderThanRemembered {
        /// The size of the remembered checkpoint.
        remembered: u64,
        /// The size of the store.
        stored: u64,
    },
    /// The store tells another history than the one that was signed.
    #[error(
        "the store's first {size} entries are not those of the remembered checkpoint: the log was forked"
    )]
    Forked {
        /// The size of the remembered checkpoint.
        size: u64,
    },
}

fn at(index: Option<u64>) -> String {
    index.map(|index| format!(" at entry {index}")).unwrap_or_default()
}

impl OpenError {
    /// What a person can do about it.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::SignerName { .. } | Self::Key(_) | Self::Sign(_) => {
                "configure the checkpoint key of this log; its name is the log's origin"
            }
            Self::InUse { .. } => "stop the other gate first; one store has one writer",
            Self::Io { .. } | Self::Database(_) => "look at the file's owner, its rights and the disk",
            Self::NotAStore { .. } => "check the configured path",
            Self::Newer { .. } => "run the version of holdpoint that wrote it, or a later one",
            Self::OtherLog { .. } => "check the configured path and origin",
            Self::Head(_) => {
                "configure the key that signed the log; if it is the right one, bring back a copy of the store that \
                 nobody changed"
            }
            Self::Corrupt { .. } => {
                "keep the file for the investigation and bring back the newest sound copy, together with its `.head` file"
            }
            Self::NothingRemembered { .. } => {
                "bring the `.head` file back; if it is lost, compare the store's checkpoint with one that a witness, a \
                 receipt or an approver remembers, and only then accept it with `danger_accept_head`"
            }
            Self::OlderThanRemembered { .. } => {
                "bring back the newest copy of the store; an older one would forget decisions and let permits run again"
            }
            Self::Forked { .. } => {
                "somebody rewrote the log or restored an older copy and went on: keep both files for the investigation"
            }
        }
    }

    pub(super) fn corrupt(index: Option<u64>, what: impl Into<String>) -> Self {
        Self::Corrupt { index, what: what.into() }
    }

    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

impl From<rusqlite::Error> for OpenError {
    fn from(err: rusqlite::Error) -> Self {
        if is_damage(&err) { Self::corrupt(None, err.to_string()) } else { Self::Database(err) }
    }
}

impl From<TreeError> for OpenError {
    fn from(err: TreeError) -> Self {
        Self::corrupt(None, err.to_string())
    }
}

/// What became of a batch that was not committed.
#[derive(Debug)]
pub(super) enum Failure {
    /// No room, or no turn. Rolled back; the store goes on.
    Full(String),
    /// Anything else: nobody knows what the disk holds, or our own rows contradict each other.
    Broken(String),
}

impl From<rusqlite::Error> for Failure {
    fn from(err: rusqlite::Error) -> Self {
        // By the code, never by the text: SQLite reports ENOSPC as SQLITE_FULL, and a failed sync as an I/O error.
        match err.sqlite_error_code() {
            // Another process has the database for itself: nothing was written, and nothing can be, until it lets go.
            Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy) => Self::Full(err.to_string()),
            Some(_) | None => Self::Broken(err.to_string()),
        }
    }
}

/// What a reader says when SQLite fails.
pub(super) fn unreadable(err: &rusqlite::Error) -> StoreError {
    if is_damage(err) { StoreError::Corrupt(err.to_string()) } else { StoreError::Closed(err.to_string()) }
}

/// Whether the bytes are wrong, as opposed to the machine that reads them.
fn is_damage(err: &rusqlite::Error) -> bool {
    let code = err.sqlite_error_code();
    matches!(code, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
        || matches!(
            err,
            rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::Utf8Error(..)
        )
}
