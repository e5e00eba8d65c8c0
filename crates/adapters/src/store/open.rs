//! Start-up: nothing is served before the whole log was read, checked and folded.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use holdpoint_app::port::Head;
use holdpoint_app::projection::{apply::Scalars, memory::Memory};
use holdpoint_ledger::{
    checkpoint::{Checkpoint, SignedCheckpoint},
    key::{NoteSigner, VerifierKey},
    tree::Tree,
};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use super::error::OpenError;
use super::fold::{Fold, is_history_sound};
use super::memory;
use super::remembered::{self, Remembered, beside};
use super::schema::open_writer;
use super::writer::sign;
use crate::step::Step;

/// What start-up found.
pub(super) struct Opened {
    pub(super) conn: Connection,
    pub(super) head: Head,
    pub(super) tree: Tree,
    pub(super) scalars: Scalars,
    pub(super) remembered: Remembered,
}

/// What to do about a store beside which nothing is remembered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// Refuse to start.
    Refuse,
    /// A person has compared the head and vouches for it.
    Accept,
}

/// Takes the store for this process. Dropping the file gives it back, also when the process is killed.
pub(super) fn take(path: &Path) -> Result<File, OpenError> {
    let lock_path = beside(path, "lock");
    let mut options = OpenOptions::new();
    let lock = options
        .write(true)
        .create(true)
        .truncate(false)
        .open(&lock_path)
        .map_err(OpenError::io(&lock_path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(err)) => Err(OpenError::io(lock_path)(err)),
    }
}

/// Opens, checks and folds the store at `path`. Call it with the lock of [`take`] held.
pub(super) fn open(
    path: &Path,
    origin: &str,
    signer: &dyn NoteSigner,
    missing: Missing,
) -> Result<Opened, OpenError> {
    if signer.name() != origin {
        let (expected, got) = (origin.to_owned(), signer.name().to_owned());
        return Err(OpenError::SignerName { expected, got });
    }
    let key = VerifierKey::of(signer)?;
    let empty = sign(origin, &Tree::new(), signer, None).map_err(OpenError::Sign)?;
    let conn = open_writer(path, &empty.checkpoint)?;
    let (signed, note) = stored_head(&conn, origin, &key)?;

    let head_path = remembered::path_of(path);
    let found = remembered::read(&head_path, origin, &key)?;
    match found.first() {
        Some(newest) if newest.size() > signed.size() => {
            let (remembered, stored) = (newest.size(), signed.size());
            return Err(OpenError::OlderThanRemembered { remembered, stored });
        }
        None if signed.size() > 0 && missing == Missing::Refuse => {
            return Err(OpenError::NothingRemembered { path: head_path, size: signed.size() });
        }
        Some(_) | None => {}
    }

    let fold = Fold::of(&conn, &signed, &found)?;
    mend(&conn, &fold)?;
    let Fold { tree, scalars, memory, .. } = fold;
    if !memory::is_in(&memory, &conn) {
        tracing::warn!("the store's projections differ from its records: they are made anew");
        rewrite(&conn, memory)?;
    }
    write_anew(&conn, path)?;
    let remembered = Remembered::open(&head_path, &note)?;
    let head = Head { origin: origin.to_owned(), size: tree.size(), root: tree.root(), checkpoint: note };
    Ok(Opened { conn, head, tree, scalars, remembered })
}

/// Whether this key opens both the head in the store and what is remembered beside it.
pub(super) fn check_head(path: &Path, origin: &str, key: &VerifierKey) -> Result<(), OpenError> {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let (signed, _) = stored_head(&conn, origin, key)?;
    let head_path = remembered::path_of(path);
    match remembered::read(&head_path, origin, key)?.first() {
        Some(newest) if newest.size() == signed.size() => Ok(()),
        Some(_) | None => Err(OpenError::NothingRemembered { path: head_path, size: signed.size() }),
    }
}

/// The head that the store claims, with a signature of our key.
fn stored_head(
    conn: &Connection,
    origin: &str,
    key: &VerifierKey,
) -> Result<(Checkpoint, String), OpenError> {
    let note =
        conn.query_row("SELECT checkpoint FROM head WHERE one = 1", [], |row| row.get(0)).optional()?;
    let note: String = note.ok_or_else(|| OpenError::corrupt(None, "it has no head"))?;
    let signed = SignedCheckpoint::parse(note.as_bytes()).map_err(OpenError::Head)?;
    let claimed = signed.unverified().origin();
    if claimed != origin {
        return Err(OpenError::OtherLog { expected: origin.to_owned(), got: claimed.to_owned() });
    }
    let head = signed.open(std::slice::from_ref(key)).map_err(OpenError::Head)?;
    Ok((head, note))
}

/// Makes the index of entries by plan anew when it does not find what is there. It holds no fact of its own.
fn mend(conn: &Connection, fold: &Fold) -> Result<(), OpenError> {
    if is_history_sound(conn, &fold.histories).unwrap_or(false) {
        return Ok(());
    }
    tracing::warn!("the store's index of entries by plan differs from the entries: it is made anew");
    Step::StoreMend.take(|_| conn.execute_batch("REINDEX entries_by_plan"))?;
    if is_history_sound(conn, &fold.histories)? {
        Ok(())
    } else {
        Err(OpenError::corrupt(None, "the index of entries by plan cannot be made anew"))
    }
}

/// Writes what stands in the write-ahead log into the database, synced, and empties the log.
///
/// The last process may have died of a sync that failed. The system then shows bytes that the disk does not have, and a
/// second sync succeeds without writing them: whatever is done on them would be forgotten with the next loss of power. If we
/// stop here, the next start does it again.
fn write_anew(conn: &Connection, path: &Path) -> Result<(), OpenError> {
    let is_busy = |row: &rusqlite::Row<'_>| row.get::<_, bool>(0);
    match Step::StoreAnew.take(|_| conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], is_busy)) {
        Ok(false) => Ok(()),
        Ok(true) => Err(OpenError::InUse { path: path.to_owned() }),
        // The log stays as it is. Nothing begins on a full disk, and what must be recorded to its end has to find a store.
        Err(err) if err.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull) => {
            tracing::warn!("no room to write the log into the database at the start: {err}");
            Ok(())
        }
        Err(err) => Err(err.into()),
    }
}

/// One transaction: if we stop here, the next start does it again.
fn rewrite(conn: &Connection, memory: Memory) -> Result<(), OpenError> {
    let txn = conn.unchecked_transaction()?;
    memory::rewrite(memory, &txn)?;
    Step::StoreMend.take(|_| txn.commit())?;
    Ok(())
}
