//! The memory beside the store: the latest checkpoints, in a file of their own, so that a store that was put back from an
//! older copy is noticed at the next start.
//!
//! Two slots of one disk sector each, written in turn. A slot is the length of a checkpoint note and the note; its
//! signature is its checksum, so a torn write is an empty slot and the other one still stands.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use holdpoint_ledger::{
    checkpoint::{self, Checkpoint},
    key::VerifierKey,
};

use super::error::OpenError;
use crate::step::Step;

/// One sector of today's disks: a torn write of one slot cannot reach the other.
const SLOT_BYTES: usize = 4096;
const SLOTS: u64 = 2;
/// The slots are synced at most this often. What is lost between is only the newest memory, never the oldest: the file is
/// synced when it is made and at every start.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// The file `<store>.head`.
pub(super) struct Remembered {
    file: File,
    next_slot: u64,
    synced: Instant,
    is_dirty: bool,
}

/// Its path beside a store.
pub(super) fn path_of(store: &Path) -> PathBuf {
    beside(store, "head")
}

/// `<store>.<suffix>`.
pub(super) fn beside(store: &Path, suffix: &str) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

/// The checkpoints of this log that the file remembers, newest first. A missing file remembers nothing.
pub(super) fn read(path: &Path, origin: &str, key: &VerifierKey) -> Result<Vec<Checkpoint>, OpenError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(err) => return Err(OpenError::io(path)(err)),
    };
    let slots = bytes.chunks(SLOT_BYTES).filter_map(|slot| open_slot(slot, key));
    let mut found: Vec<_> = slots.filter(|checkpoint| checkpoint.origin() == origin).collect();
    found.sort_by_key(|checkpoint| std::cmp::Reverse(checkpoint.size()));
    Ok(found)
}

fn open_slot(slot: &[u8], key: &VerifierKey) -> Option<Checkpoint> {
    let (length, rest) = slot.split_first_chunk::<4>()?;
    let note = rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    checkpoint::open(note, std::slice::from_ref(key)).ok()
}

impl Remembered {
    /// Opens or makes the file and writes the head that was just verified into it, synced. Call it only with a head that
    /// continues everything that [`read`] found.
    pub(super) fn open(path: &Path, head: &str) -> Result<Self, OpenError> {
        let io = OpenError::io(path);
        let open = || -> std::io::Result<Self> {
            let file = Step::HeadWrite.take(|_| {
                OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
            })?;
            let mut remembered = Self { file, next_slot: 0, synced: Instant::now(), is_dirty: false };
            // Both slots take their room now, so that a full disk cannot keep us from remembering later.
            // If we stop between the two, one slot is whole: the old one or the new one.
            for _ in 0..SLOTS {
                remembered.write(head)?;
                Step::HeadSync.take(|_| remembered.file.sync_all())?;
            }
            remembered.is_dirty = false;
            if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                Step::HeadSync.take(|_| File::open(folder)?.sync_all())?;
            }
            Ok(remembered)
        };
        open().map_err(io)
    }

    /// Remembers a head. Reaches the disk when the system likes, or with [`Self::sync_if_due`].
    pub(super) fn write(&mut self, note: &str) -> std::io::Result<()> {
        let length = u32::try_from(note.len()).unwrap_or(u32::MAX);
        let mut slot = length.to_be_bytes().to_vec();
        slot.extend_from_slice(note.as_bytes());
        if slot.len() > SLOT_BYTES {
            return Err(std::io::Error::other("the checkpoint does not fit its slot"));
        }
        slot.resize(SLOT_BYTES, 0);
        let slot_bytes = u64::try_from(SLOT_BYTES).unwrap_or(u64::MAX);
        let at = self.next_slot.saturating_mul(slot_bytes);
        Step::HeadWrite.take(|_| self.file.write_all_at(&slot, at))?;
        self.next_slot = self.next_slot.saturating_add(1).checked_rem(SLOTS).unwrap_or(0);
        self.is_dirty = true;
        Ok(())
    }

    /// Syncs what was written, if the last time is long enough ago.
    pub(super) fn sync_if_due(&mut self) -> std::io::Result<()> {
        if self.is_dirty && self.synced.elapsed() >= SYNC_EVERY { self.sync() } else { Ok(()) }
    }

    /// Syncs what was written.
    pub(super) fn sync(&mut self) -> std::io::Result<()> {
        self.synced = Instant::now();
        self.is_dirty = false;
        Step::HeadSync.take(|_| self.file.sync_data())
    }
}
