//! Reads: a few connections that can only read, each query on a thread that may block.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use holdpoint_app::{
    port::{Entry, KeptText, PlanFilter, PlanRow, RequestAnswer, RequestRow, StoreError},
    projection::{AccountRow, ChangeRow, RunFilter, RunRow},
};
use holdpoint_domain::{Commitment, Digest, Id, digest::Salt, flow::State, id::kind, lease::LeaseInfo};
use holdpoint_ledger::{
    bundle::encode_bundle,
    hash::Hash,
    source::{SourceError, TileSource},
    tile::{TILE_WIDTH, TileKind, TilePath, decode_tile, encode_tile, full_tiles},
    tree::{Tree, TreeError},
};
use rusqlite::{Connection, OptionalExtension as _, ToSql};
use tokio::sync::Semaphore;

use super::error::unreadable;
use super::rows::{
    PLAN_COLUMNS, RUN_COLUMNS, account_row, change_row, int, lease_row, plan_row, run_row, sql_int,
};
use super::schema::open_reader;

/// Connections that read at the same time: reads are short, and more would only take turns on the processors.
const READERS: usize = 4;

/// The pool of read-only connections.
pub(super) struct Readers {
    path: PathBuf,
    turns: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, turns: Arc::new(Semaphore::new(READERS)), idle: Arc::default() }
    }

    /// Runs a query. A caller that goes away does not take the connection with it.
    pub(super) async fn read<T, Q>(&self, query: Q) -> Result<T, StoreError>
    where
        T: Send + 'static,
        Q: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let closed = |err: &dyn std::fmt::Display| StoreError::Closed(format!("a read did not run: {err}"));
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|err| closed(&err))?;
        let (path, pool) = (self.path.clone(), Arc::clone(&self.idle));
        let task = tokio::task::spawn_blocking(move || {
            let idle = pool.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let conn = match idle {
                Some(conn) => conn,
                None => open_reader(&path).map_err(|err| unreadable(&err))?,
            };
            let answer = query(&conn);
            pool.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
            drop(turn);
            answer
        });
        task.await.map_err(|err| closed(&err))?
    }
}

/// Entries from `first` on, at most `limit`, below `size`.
pub(super) fn entries(
    conn: &Connection,
    first: u64,
    limit: u64,
    size: u64,
) -> Result<Vec<Entry>, StoreError> {
    let end = first.saturating_add(limit).min(size);
    // Also where the numbers are too large for SQLite: there is no such entry.
    if first >= end {
        return Ok(Vec::new());
    }
    let read = || -> rusqlite::Result<Vec<Entry>> {
        let sql = "SELECT idx, bytes FROM entries WHERE idx >= ?1 AND idx < ?2 ORDER BY idx";
        let mut statement = conn.prepare_cached(sql)?;
        let rows = statement.query_map([sql_int(first)?, sql_int(end)?], entry_row)?;
        rows.collect()
    };
    read().map_err(|err| unreadable(&err))
}

/// All entries of a plan below `size`, in order.
pub(super) fn history(conn: &Connection, plan: &Id<kind::Plan>, size: u64) -> Result<Vec<Entry>, StoreError> {
    let read = || -> rusqlite::Result<Vec<Entry>> {
        let sql = "SELECT idx, bytes FROM entries WHERE plan = ?1 AND idx < ?2 ORDER BY idx";
        let mut statement = conn.prepare_cached(sql)?;
        let rows = statement.query_map((plan.as_str(), sql_int(size)?), entry_row)?;
        rows.collect()
    };
    read().map_err(|err| unreadable(&err))
}

fn entry_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry { index: int(row, 0)?, bytes: row.get(1)? })
}

/// Plans, newest first unless asked otherwise. One indexed query a state: none of them sorts or skips, however many plans there are.
pub(super) fn plans(conn: &Connection, filter: &PlanFilter) -> Result<Vec<PlanRow>, StoreError> {
    let query = |clause: &str, values: &[&dyn ToSql]| -> rusqlite::Result<Vec<PlanRow>> {
        let order = if filter.oldest_first { "ASC" } else { "DESC" };
        let sql = format!("SELECT {PLAN_COLUMNS} FROM plans {clause} ORDER BY first_index {order} LIMIT ?1");
        conn.prepare_cached(&sql)?.query_map(values, plan_row)?.collect()
    };
    let read = || -> rusqlite::Result<Vec<PlanRow>> {
        let is_wanted = |state: State| filter.states.is_empty() || filter.states.contains(&state);
        let limit = i64::from(filter.limit);
        if let Some(hold) = &filter.hold {
            let mut found = query("WHERE hold = ?2", &[&limit, &hold.as_str()])?;
            found.retain(|row| is_wanted(row.state));
            return Ok(found);
        }
        if filter.states.is_empty() {
            return query("", &[&limit]);
        }
        let mut found = Vec::new();
        for state in State::ALL.into_iter().filter(|state| is_wanted(*state)) {
            found.extend(match &filter.agent {
                None => query("WHERE state = ?2", &[&limit, &state.as_str()])?,
                Some(agent) => {
                    query("WHERE state = ?2 AND agent = ?3", &[&limit, &state.as_str(), &agent.as_str()])?
                }
            });
        }
        found.sort_unstable_by_key(|row| std::cmp::Reverse(row.first_index));
        if filter.oldest_first {
            found.reverse();
        }
        found.truncate(usize::try_from(filter.limit).unwrap_or(usize::MAX));
        Ok(found)
    };
    read().map_err(|err| unreadable(&err))
}

/// A kept text. One that is not what its commitment says was changed from outside.
pub(super) fn text(conn: &Connection, commitment: &Commitment) -> Result<Option<KeptText>, StoreError> {
    let read = || -> rusqlite::Result<Option<([u8; 32], String)>> {
        let mut statement = conn.prepare_cached("SELECT salt, text FROM texts WHERE commitment = ?1")?;
        let row = statement.query_row([commitment.digest().as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)));
        row.optional()
    };
    let Some((salt, text)) = read().map_err(|err| unreadable(&err))? else { return Ok(None) };
    let salt = Salt::new(salt);
    if commitment.opens_to(&salt, text.as_bytes()) {
        Ok(Some(KeptText { commitment: *commitment, salt, text }))
    } else {
        Err(StoreError::Corrupt(format!("a kept text is not what {} commits to", commitment.digest())))
    }
}

/// Leases that were not proven revoked.
pub(super) fn live_leases(conn: &Connection) -> Result<Vec<(Id<kind::Plan>, LeaseInfo)>, StoreError> {
    let read = || -> rusqlite::Result<Vec<_>> {
        let mut statement = conn.prepare_cached("SELECT plan, info FROM leases ORDER BY lease")?;
        statement.query_map([], lease_row)?.collect()
    };
    read().map_err(|err| unreadable(&err))
}

/// Runs that match any part of the filter. Each part has an index of its own.
pub(super) fn runs(conn: &Connection, filter: &RunFilter) -> Result<Vec<RunRow>, StoreError> {
    let mut found = BTreeMap::new();
    let mut query = |clause: &str, values: &[&dyn ToSql]| -> rusqlite::Result<()> {
        let sql = format!("SELECT {RUN_COLUMNS} FROM runs WHERE {clause}");
        let mut statement = conn.prepare_cached(&sql)?;
        for run in statement.query_map(values, run_row)? {
            let run = run?;
            found.insert(run.plan.clone(), run);
        }
        Ok(())
    };
    let mut read = || -> rusqlite::Result<()> {
        if let Some(since) = filter.since {
            query("open = 1", &[])?;
            query("last_at >= ?1", &[&sql_int(since.ms())?])?;
        }
        if let Some(incident) = &filter.incident {
            query("incident = ?1", &[&incident.as_str()])?;
        }
        if filter.owing {
            query("owing = 1", &[])?;
        }
        Ok(())
    };
    read().map_err(|err| unreadable(&err))?;
    Ok(found.into_values().collect())
}

/// Changes of control inputs, newest first.
pub(super) fn input_changes(conn: &Connection, limit: u32) -> Result<Vec<ChangeRow>, StoreError> {
    let read = || -> rusqlite::Result<Vec<_>> {
        let sql = "SELECT row, id, first_index FROM input_changes ORDER BY first_index DESC LIMIT ?1";
        conn.prepare_cached(sql)?.query_map([limit], change_row)?.collect()
    };
    read().map_err(|err| unreadable(&err))
}

/// What was done outside of Holdpoint, newest first.
pub(super) fn accounts(conn: &Connection, limit: u32) -> Result<Vec<AccountRow>, StoreError> {
    let read = || -> rusqlite::Result<Vec<_>> {
        let sql = "SELECT row, digest, first_index FROM accounts ORDER BY first_index DESC LIMIT ?1";
        conn.prepare_cached(sql)?.query_map([limit], account_row)?.collect()
    };
    read().map_err(|err| unreadable(&err))
}

/// What is remembered of a request.
pub(super) fn request(conn: &Connection, key: &Digest) -> Result<Option<RequestRow>, StoreError> {
    let sql = "SELECT body, status, answer FROM requests WHERE key = ?1";
    let read = || conn.prepare_cached(sql)?.query_row([key.as_bytes()], request_row).optional();
    read().map_err(|err| unreadable(&err))
}

fn request_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<RequestRow> {
    let (status, body): (Option<u16>, Option<String>) = (row.get(1)?, row.get(2)?);
    let answer = status.zip(body).map(|(status, body)| RequestAnswer { status, body });
    Ok(RequestRow { body: Digest::from_bytes(row.get(0)?), answer })
}

/// The full tiles of the log, for proofs.
pub(super) struct Tiles<'c>(pub(super) &'c Connection);

impl TileSource for Tiles<'_> {
    fn tile(&self, level: u8, index: u64) -> Result<Option<Vec<Hash>>, SourceError> {
        let bytes = tile_bytes(self.0, level, index).map_err(SourceError::new)?;
        bytes.map(|bytes| decode_tile(&bytes, TILE_WIDTH).map_err(SourceError::new)).transpose()
    }
}

/// The bytes of a full tile.
pub(super) fn tile_bytes(conn: &Connection, level: u8, index: u64) -> rusqlite::Result<Option<Vec<u8>>> {
    let mut statement = conn.prepare_cached("SELECT bytes FROM tiles WHERE level = ?1 AND idx = ?2")?;
    statement.query_row([i64::from(level), sql_int(index)?], |row| row.get(0)).optional()
}

/// The file at a path of the static layout; partial ones of any width that the tree has reached.
pub(super) fn tile_file(
    conn: &Connection,
    tree: &Tree,
    path: TilePath,
) -> Result<Option<Vec<u8>>, StoreError> {
    let (index, width) = (path.index(), path.width());
    let level = match path.kind() {
        TileKind::Entries => return bundle(conn, tree.size(), index, width),
        TileKind::Hashes { level } => level,
    };
    let full = full_tiles(tree.size(), level);
    if index > full {
        return Ok(None);
    }
    if index == full {
        return Ok(tree.partial(level).get(..width).map(encode_tile));
    }
    let bytes = tile_bytes(conn, level, index).map_err(|err| unreadable(&err))?;
    let cut = bytes.as_deref().and_then(|bytes| bytes.get(..width.saturating_mul(Hash::BYTES)));
    cut.map(|cut| Some(cut.to_vec())).ok_or_else(|| StoreError::Corrupt(format!("tile `{path}` is missing")))
}

fn bundle(conn: &Connection, size: u64, index: u64, width: usize) -> Result<Option<Vec<u8>>, StoreError> {
    let width = u64::try_from(width).unwrap_or(u64::MAX);
    let Some(first) = index.checked_mul(256) else { return Ok(None) };
    if first.checked_add(width).is_none_or(|end| end > size) {
        return Ok(None);
    }
    let entries = entries(conn, first, width, size)?;
    let bundle = encode_bundle(entries.iter().map(|entry| entry.bytes.as_slice()));
    bundle.map(Some).map_err(|err| StoreError::Corrupt(err.to_string()))
}

/// What a failed proof means: the caller asked for what is not there, or the tiles are damaged.
pub(super) fn no_proof(err: &TreeError) -> StoreError {
    let number = |number: &u64| usize::try_from(*number).unwrap_or(usize::MAX);
    match err {
        TreeError::IndexOutOfRange { index, size } => StoreError::TooLarge {
            what: "entry index",
            limit: number(&size.saturating_sub(1)),
            got: number(index),
        },
        TreeError::SizeOutOfRange { limit, got } => {
            StoreError::TooLarge { what: "tree size", limit: number(limit), got: number(got) }
        }
        TreeError::Full
        | TreeError::TailLength { .. }
        | TreeError::TileMissing { .. }
        | TreeError::TileDamaged { .. }
        | TreeError::Tile(_)
        | TreeError::Source(_) => StoreError::Corrupt(err.to_string()),
    }
}
