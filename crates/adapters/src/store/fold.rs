//! The fold of the whole log: every entry is read, hashed and applied; nothing that the store says of itself is believed.
//!
//! Parsing is most of the work, so it is spread over the processors; applying is in order, on one thread.

use std::collections::{HashMap, VecDeque};
use std::sync::{
    Mutex,
    mpsc::{Receiver, SyncSender, sync_channel},
};

use holdpoint_app::projection::{
    apply::{Scalars, Stop, apply},
    memory::Memory,
};
use holdpoint_domain::{Id, id::kind};
use holdpoint_ledger::{
    checkpoint::Checkpoint,
    hash::{Hash, leaf_hashes},
    tile::{TILE_WIDTH, TilePath},
    tree::{FullTile, Tree},
};
use rusqlite::Connection;

use super::entry::{Meaning, read};
use super::error::OpenError;
use super::read::tile_bytes;
use super::rows::int;

/// Entries parsed at a time: whole tiles, which are hashed faster.
const CHUNK_ENTRIES: usize = 4 * TILE_WIDTH;
/// Bytes parsed at a time, to the end of a tile: bounds the memory of a log with large entries.
const CHUNK_BYTES: usize = 2 * 1024 * 1024;
/// More parsers than this do not help one reader.
const MAX_PARSERS: usize = 8;
/// Chunks under way for each parser: one parsed, one waiting.
const AHEAD: usize = 2;

/// The log, folded.
#[derive(Default)]
pub(super) struct Fold {
    pub(super) tree: Tree,
    pub(super) scalars: Scalars,
    pub(super) memory: Memory,
    /// The entries of each plan.
    pub(super) histories: HashMap<Id<kind::Plan>, Vec<u64>>,
    full_tiles: u64,
    /// The first entry whose leaf hash is not the one in its stored tile, and that tile.
    suspect: Option<(u64, TilePath)>,
    /// The first size at which the tree is not the remembered one. Only a log that is whole can be a fork; else it is damaged.
    fork: Option<u64>,
}

/// An entry as it is stored.
struct Stored {
    index: u64,
    bytes: Vec<u8>,
    plan: Option<String>,
}

/// An entry's index and meaning, or what is wrong with it.
type Parsed = Result<(u64, Meaning), (u64, String)>;

/// What a parser makes of a chunk: its entries and their leaf hashes.
struct Chunk {
    entries: Vec<Parsed>,
    leaves: Vec<Hash>,
}

struct Job {
    entries: Vec<Stored>,
    answer: SyncSender<Chunk>,
}

impl Fold {
    /// Folds all entries, and compares the tree with the stored tiles, with the signed head, and with the checkpoints that
    /// are remembered beside the store.
    pub(super) fn of(
        conn: &Connection,
        head: &Checkpoint,
        remembered: &[Checkpoint],
    ) -> Result<Self, OpenError> {
        let mut fold = Self::default();
        fold.compare_remembered(remembered);
        std::thread::scope(|scope| {
            let parsers = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_PARSERS);
            let ahead = parsers.saturating_mul(AHEAD);
            let (jobs, queue) = sync_channel::<Job>(ahead);
            let queue = std::sync::Arc::new(Mutex::new(queue));
            for _ in 0..parsers {
                let queue = std::sync::Arc::clone(&queue);
                scope.spawn(move || parse_all(&queue));
            }
            let mut under_way: VecDeque<Receiver<Chunk>> = VecDeque::new();
            let mut statement = conn.prepare("SELECT idx, bytes, plan FROM entries ORDER BY idx")?;
            let mut rows = statement.query([])?;
            loop {
                let entries = next_chunk(&mut rows)?;
                if entries.is_empty() || under_way.len() >= ahead {
                    let Some(parsed) = under_way.pop_front() else { break };
                    fold.take(conn, &parsed, remembered)?;
                }
                if !entries.is_empty() {
                    let (answer, parsed) = sync_channel(1);
                    under_way.push_back(parsed);
                    if jobs.send(Job { entries, answer }).is_err() {
                        return Err(OpenError::corrupt(None, "the parsers stopped"));
                    }
                }
            }
            drop(jobs);
            Ok(())
        })?;
        fold.compare_head(conn, head)?;
        Ok(fold)
    }

    fn take(
        &mut self,
        conn: &Connection,
        parsed: &Receiver<Chunk>,
        remembered: &[Checkpoint],
    ) -> Result<(), OpenError> {
        let stopped = |_| OpenError::corrupt(None, "a parser stopped");
        let Chunk { entries, leaves } = parsed.recv().map_err(stopped)?;
        for (entry, known) in entries.into_iter().zip(0_usize..) {
            let Err((index, what, leaves_until)) = self.apply(entry, known) else { continue };
            // What stands before it says whether it is the first that is wrong.
            self.append(conn, leaves.get(..leaves_until).unwrap_or_default(), remembered)?;
            return Err(self.corrupt(Some(index), what));
        }
        self.append(conn, &leaves, remembered)
    }

    /// Applies an entry, before which so many of its chunk were applied; or says which entry is wrong, why, and how many of the
    /// chunk have their place in the tree.
    fn apply(&mut self, entry: Parsed, known: usize) -> Result<(), (u64, String, usize)> {
        let (index, meaning) = entry.map_err(|(index, what)| (index, what, known))?;
        let expected = self.tree.size().saturating_add(u64::try_from(known).unwrap_or(u64::MAX));
        if index != expected {
            return Err((expected, "it is missing".to_owned(), known));
        }
        let Meaning { plan, changes } = &meaning;
        let applied = apply(&mut self.memory, &mut self.scalars, index, plan.as_ref(), changes);
        applied.map_err(|stop| match stop {
            Stop::Refused(err) => {
                (index, format!("no gate could have recorded it: {err}"), known.saturating_add(1))
            }
            Stop::Rows(never) => match never {},
        })?;
        if let Some(plan) = meaning.plan {
            self.histories.entry(plan).or_default().push(index);
        }
        Ok(())
    }

    /// Appends leaves, and compares the tree wherever something is known of it.
    fn append(
        &mut self,
        conn: &Connection,
        leaves: &[Hash],
        remembered: &[Checkpoint],
    ) -> Result<(), OpenError> {
        let mut rest = leaves;
        while !rest.is_empty() {
            let size = self.tree.size();
            let next =
                remembered.iter().filter_map(|head| head.size().checked_sub(size)).filter(|by| *by > 0);
            let room = next.min().and_then(|by| usize::try_from(by).ok()).unwrap_or(usize::MAX);
            let (now, later) = rest.split_at_checked(room).unwrap_or((rest, &[]));
            for tile in self.tree.append_all(now)? {
                self.compare_tile(conn, &tile)?;
            }
            self.compare_remembered(remembered);
            rest = later;
        }
        Ok(())
    }

    /// Names the first entry that is known to be wrong: the one at hand, or one before it whose hash was not the stored one.
    fn corrupt(&self, index: Option<u64>, what: impl Into<String>) -> OpenError {
        match &self.suspect {
            Some((suspect, tile)) if index.is_none_or(|index| *suspect < index) => {
                OpenError::corrupt(Some(*suspect), format!("its hash is not the one in `{tile}`"))
            }
            Some(_) | None => OpenError::corrupt(index, what),
        }
    }

    fn compare_tile(&mut self, conn: &Connection, tile: &FullTile) -> Result<(), OpenError> {
        self.full_tiles = self.full_tiles.saturating_add(1);
        let stored = tile_bytes(conn, tile.level(), tile.index())?.unwrap_or_default();
        if self.suspect.is_some() || stored == tile.to_bytes() {
            return Ok(());
        }
        let path = TilePath::hashes(tile.level(), tile.index(), 256);
        let path = path.map_err(|err| OpenError::corrupt(None, err.to_string()))?;
        let same =
            stored.chunks(Hash::BYTES).zip(tile.hashes()).take_while(|(was, is)| *was == is.as_bytes());
        let offset = u64::try_from(same.count()).unwrap_or(u64::MAX);
        // A hash at this level stands over 256^level entries.
        let below = 1_u64.checked_shl(u32::from(tile.level()).saturating_mul(8)).unwrap_or(0);
        let first = tile.index().saturating_mul(256).saturating_add(offset).saturating_mul(below);
        self.suspect = Some((first, path));
        Ok(())
    }

    fn compare_remembered(&mut self, remembered: &[Checkpoint]) {
        let size = self.tree.size();
        if remembered.iter().any(|head| head.size() == size && head.root() != self.tree.root()) {
            self.fork = self.fork.or(Some(size));
        }
    }

    fn compare_head(&self, conn: &Connection, head: &Checkpoint) -> Result<(), OpenError> {
        let size = self.tree.size();
        if size != head.size() {
            let what = format!("it has {size} entries, its signed head says {}", head.size());
            return Err(OpenError::corrupt(Some(size.min(head.size())), what));
        }
        if self.tree.root() != head.root() {
            // Past the last full tile nothing says which one it is.
            let whole = size & !0xff;
            let what = format!("some entry from {whole} on is not the one whose hash was signed");
            return Err(self.corrupt(None, what));
        }
        if let Some((index, tile)) = &self.suspect {
            let what = format!("the entry stands, but `{tile}` is damaged");
            return Err(OpenError::corrupt(Some(*index), what));
        }
        if let Some(size) = self.fork {
            return Err(OpenError::Forked { size });
        }
        let stored: i64 = conn.query_row("SELECT count(*) FROM tiles", [], |row| row.get(0))?;
        if u64::try_from(stored).ok() == Some(self.full_tiles) {
            Ok(())
        } else {
            Err(OpenError::corrupt(None, format!("expected {} full tiles, got {stored}", self.full_tiles)))
        }
    }
}

/// Whether the index by plan finds exactly each plan's entries, in order.
pub(super) fn is_history_sound(
    conn: &Connection,
    histories: &HashMap<Id<kind::Plan>, Vec<u64>>,
) -> rusqlite::Result<bool> {
    let mut expected: usize = histories.values().map(Vec::len).sum();
    let mut statement = conn.prepare(
        "SELECT plan, idx FROM entries INDEXED BY entries_by_plan WHERE plan IS NOT NULL ORDER BY plan, idx",
    )?;
    let mut rows = statement.query([])?;
    let mut current: Option<(String, std::slice::Iter<'_, u64>)> = None;
    while let Some(row) = rows.next()? {
        let (plan, index) = (row.get_ref(0)?.as_str()?, int(row, 1)?);
        if current.as_ref().is_none_or(|(name, _)| name != plan) {
            if current.as_ref().is_some_and(|(name, _)| name.as_str() > plan) {
                return Ok(false);
            }
            let history = Id::parse(plan).ok().and_then(|id| histories.get(&id));
            let Some(history) = history else { return Ok(false) };
            current = Some((plan.to_owned(), history.iter()));
        }
        let next = current.as_mut().and_then(|(_, history)| history.next());
        if next != Some(&index) {
            return Ok(false);
        }
        expected = expected.saturating_sub(1);
    }
    Ok(expected == 0)
}

fn next_chunk(rows: &mut rusqlite::Rows<'_>) -> rusqlite::Result<Vec<Stored>> {
    let mut chunk = Vec::new();
    let mut bytes: usize = 0;
    while (chunk.len() < CHUNK_ENTRIES && bytes < CHUNK_BYTES) || !chunk.len().is_multiple_of(TILE_WIDTH) {
        let Some(row) = rows.next()? else { break };
        let stored = Stored { index: int(row, 0)?, bytes: row.get(1)?, plan: row.get(2)? };
        bytes = bytes.saturating_add(stored.bytes.len());
        chunk.push(stored);
    }
    Ok(chunk)
}

fn parse_all(queue: &Mutex<Receiver<Job>>) {
    loop {
        let Ok(waiting) = queue.lock() else { return };
        let Ok(job) = waiting.recv() else { return };
        drop(waiting);
        // Nobody waits for the answer when the fold has already failed.
        let leaves = leaf_hashes(job.entries.iter().map(|stored| stored.bytes.as_slice()));
        let _ = job.answer.send(Chunk { entries: job.entries.iter().map(read_entry).collect(), leaves });
    }
}

fn read_entry(stored: &Stored) -> Parsed {
    let wrong = |what: String| (stored.index, what);
    let meaning = read(&stored.bytes).map_err(wrong)?;
    if meaning.plan.as_ref().map(Id::as_str) != stored.plan.as_deref() {
        return Err(wrong("it is filed under another plan than it is about".to_owned()));
    }
    Ok((stored.index, meaning))
}
