//! What durability costs: the disk itself, SQLite by itself, and our store on top of it, in one run.
//!
//! `cargo xtask bench` runs it and makes the table of docs/performance.md from what it prints: a key and a value on each line.
#![allow(
    missing_docs,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_precision_loss,
    reason = "a benchmark prints, and stops when it breaks"
)]

use std::{
    collections::HashMap,
    fs::OpenOptions,
    io::Write as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use holdpoint_adapters::{
    store::{Fault, FaultPoint, Faults, SqliteConfig, SqliteStore},
    system::{Ed25519Key, Seed},
};
use holdpoint_app::port::{Store as _, Txn};
use holdpoint_domain::{
    Timestamp,
    actor::Actor,
    record::{Body, Record},
};
use holdpoint_ledger::{
    Checkpoint, ExportSource, Exporter, SignedCheckpoint, SourceError, Tree, leaf_hash, verify_export,
};
use rusqlite::Connection;

/// The size that the published figures of logs are about.
const ENTRY_BYTES: usize = 512;
const SYNCS: usize = 1_000;
const APPENDS: usize = 1_000;
const APPENDERS: usize = 64;
const ENTRIES: u64 = 1_000_000;

fn main() {
    let dir = tempfile::tempdir().unwrap();
    println!("fdatasync_p50_us {:.0}", fdatasync(dir.path()));
    println!("sqlite_commit_p50_us {:.0}", sqlite(dir.path(), 1));
    let batch = sqlite(dir.path(), APPENDERS);
    println!("sqlite_group_rows_per_s {:.0}", APPENDERS as f64 / batch * 1e6);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (p50, _, _) = runtime.block_on(appends(&dir.path().join("one.db"), 1, APPENDS));
    println!("store_append_p50_us_1 {p50:.0}");
    let (p50, rate, per_sync) = runtime.block_on(appends(&dir.path().join("many.db"), APPENDERS, APPENDS));
    println!("store_append_p50_us_64 {p50:.0}");
    println!("store_records_per_s_64 {rate:.0}");
    println!("store_records_per_sync_64 {per_sync:.1}");
    println!("verify_entries_per_s {:.0}", verify());
}

/// Writes of one entry into a file that has its size already, each synced.
fn fdatasync(dir: &Path) -> f64 {
    let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(dir.join("raw")).unwrap();
    file.write_all(&vec![0; ENTRY_BYTES * SYNCS]).unwrap();
    file.sync_all().unwrap();
    let mut file = OpenOptions::new().write(true).open(dir.join("raw")).unwrap();
    median((0..SYNCS).map(|_| {
        micros(|| {
            file.write_all(&[1; ENTRY_BYTES]).unwrap();
            file.sync_data().unwrap();
        })
    }))
}

/// Commits of so many rows each, as durable as ours.
fn sqlite(dir: &Path, rows: usize) -> f64 {
    let conn = Connection::open(dir.join(format!("plain-{rows}.db"))).unwrap();
    conn.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         CREATE TABLE entries (idx INTEGER PRIMARY KEY, bytes BLOB NOT NULL)",
    )
    .unwrap();
    median((0..SYNCS).map(|_| {
        micros(|| {
            conn.execute_batch("BEGIN IMMEDIATE").unwrap();
            for _ in 0..rows {
                let mut insert = conn.prepare_cached("INSERT INTO entries (bytes) VALUES (?1)").unwrap();
                insert.execute([vec![1_u8; ENTRY_BYTES]]).unwrap();
            }
            conn.execute_batch("COMMIT").unwrap();
        })
    }))
}

/// Counts the batches of the store's writer.
struct Batches(Arc<AtomicU64>);

impl Faults for Batches {
    fn at(&mut self, point: FaultPoint) -> Option<Fault> {
        if point == FaultPoint::BeforeCommit {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        None
    }
}

/// So many tasks that append so many records each: the median wait in microseconds, records a second, records a sync.
async fn appends(path: &Path, tasks: usize, each: usize) -> (f64, f64, f64) {
    let batches = Arc::new(AtomicU64::new(0));
    let mut config = SqliteConfig::new(path, "bench.example/log");
    config.faults = Some(Box::new(Batches(Arc::clone(&batches))));
    let key = Ed25519Key::from_seed("bench.example/log", &Seed::fresh()).unwrap();
    let store = Arc::new(SqliteStore::open(config, Box::new(key)).unwrap());
    let began = Instant::now();
    let appenders: Vec<_> = (0..tasks)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut waits = Vec::with_capacity(each);
                for _ in 0..each {
                    let began = Instant::now();
                    store.append(Txn { records: vec![record()], ..Txn::default() }).await.unwrap();
                    waits.push(began.elapsed().as_secs_f64() * 1e6);
                }
                waits
            })
        })
        .collect();
    let mut waits = Vec::new();
    for appender in appenders {
        waits.extend(appender.await.unwrap());
    }
    let records = waits.len() as f64;
    let rate = records / began.elapsed().as_secs_f64();
    (median(waits.into_iter()), rate, records / batches.load(Ordering::Relaxed) as f64)
}

fn record() -> Record {
    let body = Body::Refused {
        request: holdpoint_domain::record::Request::Propose,
        rule: holdpoint_domain::Id::parse("some-rule").unwrap(),
    };
    Record::new(Timestamp::from_ms(1_700_000_000_000).unwrap(), Actor::Gate, None, body)
}

/// An exported log in memory, to leave the disk out.
#[derive(Default)]
struct InMemory(HashMap<String, Vec<u8>>);

impl ExportSource for InMemory {
    fn file(&self, path: &str) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(self.0.get(path).cloned())
    }
}

/// Entries that the offline verifier takes in a second of one core: of an export with all of its tiles.
fn verify() -> f64 {
    let (mut exporter, mut tree, mut export) = (Exporter::new(), Tree::new(), InMemory::default());
    for index in 0..ENTRIES {
        let mut entry = [7_u8; ENTRY_BYTES];
        entry[..8].copy_from_slice(&index.to_be_bytes());
        tree.append(leaf_hash(&entry)).unwrap();
        let files = exporter.push(&entry).unwrap();
        export.0.extend(files.into_iter().map(|file| (file.path, file.bytes)));
    }
    let key = Ed25519Key::from_seed("bench.example/log", &Seed::fresh()).unwrap();
    let head = Checkpoint::new("bench.example/log", tree.size(), tree.root()).unwrap();
    let signed = SignedCheckpoint::sign(&head, &[&key]).unwrap();
    let files = exporter.finish(&signed).unwrap();
    export.0.extend(files.into_iter().map(|file| (file.path, file.bytes)));
    let began = Instant::now();
    let report = verify_export(&export, &[key.verifier_key().unwrap()], &[]).unwrap();
    assert!(report.is_sound(), "the log is sound");
    ENTRIES as f64 / began.elapsed().as_secs_f64()
}

fn micros(work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    let took: Duration = began.elapsed();
    took.as_secs_f64() * 1e6
}

fn median(of: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<_> = of.collect();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}
