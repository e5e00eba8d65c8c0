//! Damage: whatever is changed in the files is found at the next start, or changes nothing that the store says.

use std::fs;
use std::path::Path;

use holdpoint_adapters::store::OpenError;
use holdpoint_app::port::{Store, StoreError};
use rusqlite::Connection;
use tempfile::TempDir;

use super::records::{Life, passkey, txn};
use super::restarts::{answers, furnish};
use super::sqlite::open;

/// A store with some of everything, closed, and what it answered.
async fn furnished() -> (TempDir, String) {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path()).unwrap();
    furnish(&store).await;
    let answers = answers(&store).await;
    drop(store);
    (folder, answers)
}

/// A copy of a closed store, to be damaged.
fn copy_of(folder: &Path) -> TempDir {
    let copy = TempDir::new().unwrap();
    for name in ["store.db", "store.db.head"] {
        fs::copy(folder.join(name), copy.path().join(name)).unwrap();
    }
    copy
}

/// Edits the database as somebody would who has the file and knows the schema: the triggers are put back afterwards.
fn edit(folder: &Path, edit: impl FnOnce(&Connection)) {
    let conn = Connection::open(folder.join("store.db")).unwrap();
    let triggers: Vec<(String, String)> = conn
        .prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    conn.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON;").unwrap();
    for (name, _) in &triggers {
        conn.execute_batch(&format!("DROP TRIGGER {name}")).unwrap();
    }
    edit(&conn);
    for (_, sql) in triggers {
        conn.execute_batch(&sql).unwrap();
    }
}

fn flip(conn: &Connection, table: &str, column: &str, rowid: i64, bit: usize) {
    let sql = format!("SELECT CAST({column} AS BLOB), typeof({column}) FROM {table} WHERE rowid = ?1");
    let (mut bytes, kind): (Vec<u8>, String) =
        conn.query_row(&sql, [rowid], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let at = (bit / 8) % bytes.len();
    bytes[at] ^= 1 << (bit % 8);
    let value = if kind == "text" { "CAST(?2 AS TEXT)" } else { "?2" };
    let sql = format!("UPDATE {table} SET {column} = {value} WHERE rowid = ?1");
    assert_eq!(conn.execute(&sql, (rowid, bytes)).unwrap(), 1);
}

#[tokio::test]
async fn inv11_one_flipped_bit_in_an_entry_is_found() {
    let (folder, _) = furnished().await;
    for (entry, bit) in
        [(0, 0), (1, 77), (7, 801), (100, 205), (254, 42), (255, 333), (256, 9), (299, 205), (305, 1)]
    {
        let copy = copy_of(folder.path());
        edit(copy.path(), |conn| flip(conn, "entries", "bytes", entry, bit));
        match open(copy.path()).map(|_| ()) {
            // In the part of the log that has full tiles the entry is named, whatever else goes wrong first.
            Err(OpenError::Corrupt { index: Some(index), .. }) if entry < 256 => {
                assert_eq!(index, u64::try_from(entry).unwrap());
            }
            Err(OpenError::Corrupt { index, .. }) if entry >= 256 => {
                assert!(index.is_none_or(|index| index >= 256), "entry {entry}: {index:?}");
            }
            other => panic!("entry {entry}, bit {bit}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn inv11_a_changed_removed_or_added_entry_is_found() {
    let (folder, _) = furnished().await;
    let edits = [
        // A number that still parses: only the hash tells.
        "UPDATE entries SET bytes = CAST(replace(CAST(bytes AS TEXT), '1700000000000', '1700000000001') AS BLOB) WHERE idx = 3",
        "UPDATE entries SET bytes = (SELECT bytes FROM entries WHERE idx = 0) WHERE idx = 280",
        "UPDATE entries SET plan = 'plan-2' WHERE idx = 3",
        "UPDATE entries SET plan = NULL WHERE idx = 3",
        "UPDATE entries SET plan = 'plan-1' WHERE idx = 1",
        "DELETE FROM entries WHERE idx = 5",
        "DELETE FROM entries WHERE idx = (SELECT max(idx) FROM entries)",
        "DELETE FROM entries",
        "INSERT INTO entries SELECT max(idx) + 1, (SELECT bytes FROM entries WHERE idx = 1), NULL FROM entries",
        "UPDATE tiles SET idx = 7",
        "DELETE FROM tiles",
        "INSERT INTO tiles SELECT 0, 1, bytes FROM tiles",
        "DELETE FROM head",
    ];
    for sql in edits {
        let copy = copy_of(folder.path());
        edit(copy.path(), |conn| assert!(conn.execute(sql, []).unwrap() > 0, "{sql}"));
        let opened = open(copy.path()).map(|_| ());
        assert!(matches!(opened, Err(OpenError::Corrupt { .. })), "{sql}: {opened:?}");
    }
}

#[tokio::test]
async fn inv11_one_flipped_bit_in_a_tile_or_the_head_is_found() {
    let (folder, _) = furnished().await;
    for bit in [0, 8 * 32 * 77 + 5, 8 * 8191 + 7] {
        let copy = copy_of(folder.path());
        edit(copy.path(), |conn| flip(conn, "tiles", "bytes", 1, bit));
        match open(copy.path()).map(|_| ()) {
            Err(OpenError::Corrupt { index: Some(index), what }) => {
                assert_eq!(index, u64::try_from(bit / 256).unwrap());
                assert!(what.contains("tile/0/000"), "{what}");
            }
            other => panic!("bit {bit}: {other:?}"),
        }
    }
    for bit in [0, 8 * 17 + 1, 8 * 30, 8 * 90 + 3, 8 * 150 + 2] {
        let copy = copy_of(folder.path());
        edit(copy.path(), |conn| flip(conn, "head", "checkpoint", 1, bit));
        let opened = open(copy.path()).map(|_| ());
        let is_found = matches!(
            opened,
            Err(OpenError::Head(_) | OpenError::OtherLog { .. } | OpenError::Corrupt { .. })
        );
        assert!(is_found, "bit {bit}: {opened:?}");
    }
}

#[tokio::test]
async fn inv11_a_changed_projection_changes_nothing() {
    let (folder, before) = furnished().await;
    let edits = [
        "UPDATE plans SET state = 'permitted' WHERE id = 'plan-1'",
        "UPDATE plans SET state = 'nonsense', tier = 'T9'",
        "UPDATE plans SET last_index = first_index, deadline = 1",
        "UPDATE plans SET id = 'plan-x' WHERE id = 'plan-3'",
        "DELETE FROM plans WHERE id = 'plan-2'",
        "DELETE FROM plans",
        "UPDATE nonces SET used = 0",
        "DELETE FROM nonces",
        "INSERT INTO nonces VALUES ('nonce-free', 'plan-1', 0)",
        "DELETE FROM locks",
        "UPDATE locks SET plan = 'plan-1'",
        "DELETE FROM decisions_on_hold",
        "UPDATE decisions_on_hold SET person = 'eve' WHERE person = 'ada'",
        "DELETE FROM passkeys_used",
        "UPDATE passkeys_used SET counter = 0",
        "INSERT INTO passkeys_used VALUES ('AAAA', 9)",
        "DELETE FROM leases",
        "UPDATE leases SET info = '{}'",
        "INSERT INTO leases SELECT 'lease-new', plan, info FROM leases LIMIT 1",
        "DELETE FROM runs",
        "UPDATE runs SET owing = 0 WHERE owing = 1",
        "UPDATE runs SET open = 0 WHERE open = 1",
        "UPDATE runs SET last_at = 1",
        "UPDATE runs SET incident = 'elsewhere'",
        "UPDATE runs SET row = replace(row, 'holmes', 'watson')",
    ];
    for sql in edits {
        let copy = copy_of(folder.path());
        edit(copy.path(), |conn| assert!(conn.execute(sql, []).unwrap() > 0, "{sql}"));
        let store = open(copy.path()).unwrap_or_else(|err| panic!("{sql}: {err}"));
        assert_eq!(answers(&store).await, before, "{sql}");
        // A copy of the passkey that approved is known as one, and nobody else's is taken for one.
        let held = Life::new("held", 5);
        let stale = store.append(txn(vec![held.asserted("cyd", &passkey(1), 7)])).await;
        assert!(matches!(stale, Err(StoreError::Counter { last: 7, got: 7, .. })), "{sql}: {stale:?}");
        store.append(txn(vec![held.asserted("dee", &passkey(2), 1)])).await.unwrap();
    }
}

/// A bit anywhere in the file: in a page header, an index, a free page, a length. What SQLite does not notice, we do.
#[tokio::test]
async fn inv11_one_flipped_bit_anywhere_is_found_or_harmless() {
    const SEED: u64 = 20_261_122;
    const FLIPS: u64 = 60;
    println!("seed {SEED}");
    let (folder, before) = furnished().await;
    let whole = fs::read(folder.path().join("store.db")).unwrap();
    let (mut random, mut found) = (SEED, 0);
    for flip in 0..FLIPS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let bit = usize::try_from((random >> 20) % (whole.len() as u64 * 8)).unwrap();
        let copy = copy_of(folder.path());
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(copy.path().join("store.db"), bytes).unwrap();
        match open(copy.path()) {
            Ok(store) => assert_eq!(answers(&store).await, before, "flip {flip}, bit {bit}"),
            Err(_) => found += 1,
        }
    }
    println!("{found} of {FLIPS} were found, the others changed nothing");
    assert!(found > FLIPS / 4);
}

#[tokio::test]
async fn a_changed_text_is_not_shown() {
    let (folder, _) = furnished().await;
    edit(folder.path(), |conn| {
        conn.execute("UPDATE texts SET text = 'restart everything'", []).unwrap();
    });
    let store = open(folder.path()).unwrap();
    assert!(store.text(&super::records::kept("it hangs").commitment).await.is_err());
}
