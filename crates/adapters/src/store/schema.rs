//! The tables, and the connections to them.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::error::OpenError;
use crate::step::Step;

/// The latest schema version that this code knows.
const VERSION: i64 = 4;
/// The oldest version that still opens.
const FIRST_VERSION: i64 = 1;
/// `hldp`, in the header of the file: says whose database it is.
const APPLICATION_ID: i64 = 0x686c_6470;
/// How long SQLite waits for a lock that another tool (a backup, a shell) holds.
const BUSY: Duration = Duration::from_secs(5);
/// Our statements, each prepared once a connection.
const STATEMENTS: usize = 64;

/// The records (`entries`, `tiles`, `head`), what is derived from them (`plans` and below), the erasable texts, and
/// the answers to requests with an idempotency key.
///
/// `plans.first_index` is the rowid, so that "newest first" is the order of the table and of its index by state.
const SCHEMA: &str = "
CREATE TABLE entries (
    idx   INTEGER PRIMARY KEY CHECK (idx >= 0),
    bytes BLOB NOT NULL CHECK (length(bytes) BETWEEN 1 AND 60000),
    plan  TEXT CHECK (length(plan) BETWEEN 1 AND 64)
) STRICT;
CREATE INDEX entries_by_plan ON entries (plan) WHERE plan IS NOT NULL;
CREATE TRIGGER entries_never_change BEFORE UPDATE ON entries
    BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END;
CREATE TRIGGER entries_never_go BEFORE DELETE ON entries
    BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END;

CREATE TABLE tiles (
    level INTEGER NOT NULL CHECK (level BETWEEN 0 AND 7),
    idx   INTEGER NOT NULL CHECK (idx >= 0),
    bytes BLOB NOT NULL CHECK (length(bytes) = 8192),
    PRIMARY KEY (level, idx)
) STRICT;
CREATE TRIGGER tiles_never_change BEFORE UPDATE ON tiles
    BEGIN SELECT RAISE(ABORT, 'tiles are append-only'); END;
CREATE TRIGGER tiles_never_go BEFORE DELETE ON tiles
    BEGIN SELECT RAISE(ABORT, 'tiles are append-only'); END;

CREATE TABLE head (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    checkpoint TEXT NOT NULL
) STRICT;

CREATE TABLE plans (
    first_index INTEGER PRIMARY KEY CHECK (first_index >= 0),
    id          TEXT NOT NULL UNIQUE,
    state       TEXT NOT NULL,
    last_index  INTEGER NOT NULL CHECK (last_index >= first_index),
    agent       TEXT NOT NULL,
    action      TEXT NOT NULL,
    target      TEXT NOT NULL,
    tier        TEXT,
    hold        TEXT,
    proposed_at INTEGER NOT NULL CHECK (proposed_at >= 0),
    deadline    INTEGER CHECK (deadline >= 0),
    next_at     INTEGER CHECK (next_at >= 0)
) STRICT;
CREATE INDEX plans_by_state ON plans (state);
CREATE INDEX plans_by_hold ON plans (hold) WHERE hold IS NOT NULL;

CREATE TABLE nonces (
    nonce TEXT PRIMARY KEY,
    plan  TEXT NOT NULL REFERENCES plans (id),
    used  INTEGER NOT NULL CHECK (used IN (0, 1))
) STRICT, WITHOUT ROWID;

CREATE TABLE decisions_on_hold (
    hold   TEXT NOT NULL,
    person TEXT NOT NULL,
    PRIMARY KEY (hold, person)
) STRICT, WITHOUT ROWID;

CREATE TABLE passkeys_used (
    passkey TEXT PRIMARY KEY,
    counter INTEGER NOT NULL CHECK (counter >= 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE invitations (
    act TEXT PRIMARY KEY,
    row TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE accounts (
    first_index INTEGER PRIMARY KEY CHECK (first_index >= 0),
    digest      TEXT NOT NULL UNIQUE,
    row         TEXT NOT NULL
) STRICT;

CREATE TABLE locks (
    target TEXT PRIMARY KEY,
    plan   TEXT NOT NULL REFERENCES plans (id)
) STRICT, WITHOUT ROWID;

CREATE TABLE leases (
    lease TEXT PRIMARY KEY,
    plan  TEXT NOT NULL REFERENCES plans (id),
    info  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE input_changes (
    first_index INTEGER PRIMARY KEY CHECK (first_index >= 0),
    id          TEXT NOT NULL UNIQUE,
    row         TEXT NOT NULL
) STRICT;

CREATE TABLE requests (
    key    BLOB PRIMARY KEY CHECK (length(key) = 32),
    body   BLOB NOT NULL CHECK (length(body) = 32),
    at     INTEGER NOT NULL CHECK (at >= 0),
    status INTEGER,
    answer TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX requests_by_time ON requests (at);

CREATE TABLE texts (
    commitment BLOB PRIMARY KEY CHECK (length(commitment) = 32),
    salt       BLOB NOT NULL CHECK (length(salt) = 32),
    text       TEXT NOT NULL
) STRICT, WITHOUT ROWID;
";

/// Of a new store. A record has two or three kilobytes: with the usual pages of four, each fills one, and nearly as much is written
/// in vain.
const PAGE_SIZE: &str = "PRAGMA page_size = 8192";

/// Opens the one connection that writes; creates the tables in an empty file. `first_checkpoint` is the signed head of the
/// empty log, which a new store begins with.
pub(super) fn open_writer(path: &Path, first_checkpoint: &str) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let mut conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(BUSY)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    let is_new = check_owner(&conn, path)?;
    if is_new {
        conn.execute_batch(PAGE_SIZE)?;
    }
    let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(OpenError::corrupt(None, format!("expected journal mode `wal`, got `{mode}`")));
    }
    conn.execute_batch(
        // FULL: a commit is synced before it is reported. The writer checkpoints by itself, after it has answered, and sees
        // when that fails. Statement journals stay in memory, so that a full disk does not stop a roll-back.
        "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA wal_autocheckpoint = 0;
         PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16384; PRAGMA trusted_schema = OFF;
         PRAGMA cell_size_check = ON;",
    )?;
    if is_new {
        // If we stop here, the file is empty or whole: one transaction.
        let txn = conn.transaction()?;
        create(&txn)?;
        txn.execute("INSERT INTO head (one, checkpoint) VALUES (1, ?1)", [first_checkpoint])?;
        txn.pragma_update(None, "application_id", APPLICATION_ID)?;
        txn.pragma_update(None, "user_version", VERSION)?;
        Step::StoreCreate.take(|_| txn.commit())?;
    }
    migrate(&mut conn)?;
    check_schema(&conn)?;
    Ok(conn)
}

/// What version 2 added: the counters of passkeys, and invitations to register one.
const PASSKEYS: &str = "CREATE TABLE passkeys_used (
    passkey TEXT PRIMARY KEY,
    counter INTEGER NOT NULL CHECK (counter >= 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE invitations (
    act TEXT PRIMARY KEY,
    row TEXT NOT NULL
) STRICT, WITHOUT ROWID";

/// What version 3 added: what was done outside of Holdpoint.
const ACCOUNTS: &str = "CREATE TABLE accounts (
    first_index INTEGER PRIMARY KEY CHECK (first_index >= 0),
    digest      TEXT NOT NULL UNIQUE,
    row         TEXT NOT NULL
) STRICT";

/// Runs. Since version 4 they are found by when they ended, where they have.
const RUNS: &str = "CREATE TABLE runs (
    plan       TEXT PRIMARY KEY REFERENCES plans (id),
    incident   TEXT,
    last_at    INTEGER NOT NULL CHECK (last_at >= 0),
    open       INTEGER NOT NULL CHECK (open IN (0, 1)),
    owing      INTEGER NOT NULL CHECK (owing IN (0, 1)),
    row        TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX runs_by_time ON runs (last_at);
CREATE INDEX runs_open ON runs (open) WHERE open = 1;
CREATE INDEX runs_owing ON runs (owing) WHERE owing = 1;
CREATE INDEX runs_by_incident ON runs (incident) WHERE incident IS NOT NULL";

/// Makes all tables.
fn create(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(SCHEMA)?;
    conn.execute_batch(RUNS)
}

/// Brings the tables of an earlier version to this one. The projections are folded from the log at every start, so that they only
/// have to be there.
fn migrate(conn: &mut Connection) -> Result<(), OpenError> {
    let version: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version == VERSION {
        return Ok(());
    }
    // If we stop here, the store is of one version or of the other: one transaction.
    let txn = conn.transaction()?;
    if version == FIRST_VERSION {
        txn.execute_batch(PASSKEYS)?;
    }
    if version < 3 {
        txn.execute_batch(ACCOUNTS)?;
    }
    txn.execute_batch("DROP TABLE runs")?;
    txn.execute_batch(RUNS)?;
    txn.pragma_update(None, "user_version", VERSION)?;
    Step::StoreCreate.take(|_| txn.commit())?;
    Ok(())
}

/// Opens a connection that can only read.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(BUSY)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    conn.execute_batch("PRAGMA query_only = ON; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;")?;
    Ok(conn)
}

/// Whose database this is; true when it is nobody's yet.
fn check_owner(conn: &Connection, path: &Path) -> Result<bool, OpenError> {
    let pragma = |name: &str| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let (owner, version) = (pragma("application_id")?, pragma("user_version")?);
    if tables == 0 && owner == 0 && version == 0 {
        return Ok(true);
    }
    if owner != APPLICATION_ID {
        return Err(OpenError::NotAStore { path: path.to_owned() });
    }
    if version > VERSION {
        return Err(OpenError::Newer { known: VERSION, got: version });
    }
    if (FIRST_VERSION..=VERSION).contains(&version) {
        Ok(false)
    } else {
        Err(OpenError::corrupt(None, format!("schema version {version} never existed")))
    }
}

/// Compares the schema with ours, word for word: a trigger or a table more would do what no record says.
fn check_schema(conn: &Connection) -> Result<(), OpenError> {
    let expected = Connection::open_in_memory()?;
    create(&expected)?;
    if objects(&expected)? == objects(conn)? {
        Ok(())
    } else {
        Err(OpenError::corrupt(None, "its tables, indexes or triggers are not ours"))
    }
}

fn objects(conn: &Connection) -> rusqlite::Result<Vec<(String, String, Option<String>)>> {
    let mut statement = conn.prepare("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    rows.collect()
}
