//! The one thread that writes: group commit.
//!
//! Transactions that arrive while the last batch is being synced make the next batch. A batch is one SQLite transaction, one
//! sync, one signed checkpoint; each transaction in it is a savepoint, so that one that is refused takes nobody with it.

use std::{sync::Arc, time::Duration};

use holdpoint_app::{
    port::{Appended, Head, KeptText, RequestNote, StoreError, store::REQUEST_MEMORY},
    projection::{
        Change,
        apply::{Scalars, Stop, apply},
    },
};
use holdpoint_domain::{Id, facts::Inputs, id::kind};
use holdpoint_ledger::{
    checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint},
    hash::{Hash, leaf_hashes},
    key::NoteSigner,
    tree::Tree,
};
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::entry::{Item, Meaning};
use super::error::Failure;
use super::faults::{Fault, FaultPoint, Faults};
use super::remembered::Remembered;
use super::reserve::Reserve;
use super::rows::{Tables, plan_by_id, sql_int};
use super::shared::{Published, Shared};
use crate::step::Step;

/// Most transactions in one batch: bounds how long the first one waits for the last one.
const MAX_BATCH: usize = 512;
/// The write-ahead log is carried over into the database after so many records or so many batches, whichever comes first:
/// some ten megabytes of log, which the next start would have to read.
const CHECKPOINT_RECORDS: u64 = 4096;
const CHECKPOINT_BATCHES: u64 = 256;

/// After a batch of so many, others are on their way: the next one waits a little for them. A batch has a price of its own
/// (signature, sync, pages that every batch writes), and what it costs is CPU time that those others need.
const BUSY: usize = 8;
/// One such wait, which is repeated as long as somebody came.
const PAUSE: Duration = Duration::from_micros(150);
const MAX_PAUSES: u32 = 8;

/// A transaction that waits for its answer.
pub(super) struct Request {
    pub(super) items: Vec<Item>,
    pub(super) expect: Option<(Id<kind::Plan>, u64)>,
    pub(super) expect_claims: Option<u64>,
    pub(super) expect_inputs: Option<Inputs>,
    pub(super) note: Option<RequestNote>,
    pub(super) texts: Vec<KeptText>,
    pub(super) essential: bool,
    pub(super) reply: oneshot::Sender<Result<Appended, StoreError>>,
}

impl Request {
    /// Whether it expects nothing but that inputs are in force, and changes nothing but the log.
    fn only_informs(&self) -> bool {
        self.expect.is_none()
            && self.expect_claims.is_none()
            && self.expect_inputs.is_none()
            && self.note.is_none()
            && self.items.iter().all(|item| {
                let changes_nothing = |change: &Change| matches!(change, Change::UnderInputs(_));
                item.meaning.plan.is_none() && item.meaning.changes.iter().all(changes_nothing)
            })
    }

    /// Whether the inputs that it was decided under are in force.
    fn is_under(&self, scalars: &Scalars) -> bool {
        let mut changes = self.items.iter().flat_map(|item| &item.meaning.changes);
        changes.all(|change| !matches!(change, Change::UnderInputs(inputs) if !scalars.are_under(inputs)))
    }
}

/// The writer's state: what the last committed batch left.
pub(super) struct Writer {
    pub(super) conn: Connection,
    pub(super) signer: Box<dyn NoteSigner + Send>,
    pub(super) next_signer: Option<Box<dyn NoteSigner + Send>>,
    pub(super) tree: Tree,
    pub(super) scalars: Scalars,
    pub(super) shared: Arc<Shared>,
    pub(super) remembered: Remembered,
    pub(super) reserve: Reserve,
    pub(super) faults: Option<Box<dyn Faults>>,
    pub(super) carried: Carried,
}

/// What was written since the write-ahead log was last carried over.
#[derive(Debug, Default)]
pub(super) struct Carried {
    records: u64,
    batches: u64,
}

/// A committed batch that nobody was told of yet.
struct Committed {
    /// Of each transaction, in order: the index of its first record, or the refusal.
    outcomes: Vec<Result<u64, StoreError>>,
    next: Published,
}

impl Writer {
    /// Serves until the last sender is gone, or until the store must close.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        let mut last = 0;
        while let Some(first) = queue.blocking_recv() {
            let mut batch = vec![first];
            drain(&mut queue, &mut batch);
            // Who is alone is not kept waiting.
            if last >= BUSY {
                wait_for_more(&mut queue, &mut batch);
            }
            last = batch.len();
            if let Err(why) = self.serve(batch) {
                tracing::error!("the store closes: {why}");
                self.shared.close(&why);
                queue.close();
                while let Some(request) = queue.blocking_recv() {
                    answer(request, Err(StoreError::Closed(why.clone())));
                }
                return;
            }
        }
        // If we stop before these, the next start reads the write-ahead log, and an older but sound memory.
        if let Err(err) = self.carry_over() {
            tracing::warn!("the write-ahead log was not carried over at the end: {err:?}");
        }
        if let Err(err) = self.remembered.sync() {
            tracing::warn!("the last head was not synced beside the store: {err}");
        }
    }

    /// Commits a batch and answers everybody in it; an error closes the store.
    fn serve(&mut self, batch: Vec<Request>) -> Result<(), String> {
        // Without the reserve only what must be recorded goes through; the first that finds room again restores it.
        if !self.reserve.is_there()
            && batch.iter().any(|request| !request.essential)
            && let Err(err) = self.reserve.restore()
        {
            let essential = refuse_ordinary(batch, &format!("the reserve cannot be set aside: {err}"));
            return if essential.is_empty() { Ok(()) } else { self.serve_with_reserve(essential) };
        }
        self.serve_with_reserve(batch)
    }

    fn serve_with_reserve(&mut self, batch: Vec<Request>) -> Result<(), String> {
        let why = match self.attempt(&batch) {
            Ok(committed) => return self.finish(batch, committed),
            Err(Failure::Broken(why)) => return Err(close(batch, why)),
            Err(Failure::Full(why)) => why,
        };
        let essential = refuse_ordinary(batch, &why);
        // If we stop after the release, the next start sets the room aside again, or takes nothing new on.
        if essential.is_empty() || !self.reserve.release() {
            refuse(essential, &why);
            return Ok(());
        }
        tracing::warn!("the disk is full: the reserve is given to what must be recorded");
        match self.attempt(&essential) {
            Ok(committed) => self.finish(essential, committed),
            Err(Failure::Full(why)) => {
                refuse(essential, &why);
                Ok(())
            }
            Err(Failure::Broken(why)) => Err(close(essential, why)),
        }
    }

    /// One try to commit a batch. After an error nothing of it is in the store, unless the error is `Broken`.
    fn attempt(&mut self, batch: &[Request]) -> Result<Committed, Failure> {
        let attempt = self.attempt_in_transaction(batch);
        // SQLite has rolled back by itself after some errors.
        if attempt.is_err() && !self.conn.is_autocommit() {
            self.conn.execute_batch("ROLLBACK").map_err(|err| Failure::Broken(err.to_string()))?;
        }
        attempt
    }

    fn attempt_in_transaction(&mut self, batch: &[Request]) -> Result<Committed, Failure> {
        let conn = &self.conn;
        run(conn, "BEGIN IMMEDIATE")?;
        let (mut tree, mut scalars) = (self.tree.clone(), self.scalars.clone());
        let mut outcomes = Vec::with_capacity(batch.len());
        // Of the whole batch at a time, which is what hashing is fastest for; those of a refused transaction are left out.
        let items = batch.iter().flat_map(|request| &request.items);
        let leaves = leaf_hashes(items.map(|item| item.bytes.as_slice()));
        let mut leaves = leaves.iter().copied();
        for request in batch {
            let leaves: Vec<_> = leaves.by_ref().take(request.items.len()).collect();
            outcomes.push(enter(conn, request, &leaves, &mut tree, &mut scalars)?);
        }
        let head = if tree.size() == self.tree.size() {
            self.shared.published().head.as_ref().clone()
        } else {
            let origin = self.signer.name().to_owned();
            let head = sign(&origin, &tree, self.signer.as_ref(), self.next_signer.as_deref())
                .map_err(|err| Failure::Broken(err.to_string()))?;
            let sql = "UPDATE head SET checkpoint = ?1 WHERE one = 1";
            conn.prepare_cached(sql)?.execute([head.checkpoint.as_str()])?;
            head
        };
        self.fault(FaultPoint::BeforeCommit)?;
        if outcomes.iter().all(Result::is_err) {
            // Nothing to sync.
            run(&self.conn, "ROLLBACK")?;
        } else {
            // If we stop before the sync is done, nothing happened; if after it, start-up finds the batch and goes on.
            Step::StoreCommit.take(|_| run(&self.conn, "COMMIT"))?;
            self.fault(FaultPoint::AfterCommit)?;
        }
        Ok(Committed { outcomes, next: Published { head: Arc::new(head), tree, scalars } })
    }

    /// Remembers the head, shows it, and answers.
    fn finish(&mut self, batch: Vec<Request>, committed: Committed) -> Result<(), String> {
        let Committed { outcomes, next } = committed;
        let size = next.head.size;
        let appended = size.saturating_sub(self.tree.size());
        if appended > 0 {
            // If we stop before this write, the memory is one batch older than the store, which is no fault.
            if let Err(err) = self.remembered.write(&next.head.checkpoint) {
                tracing::warn!("the head over {size} entries was not remembered beside the store: {err}");
            }
        }
        (self.tree, self.scalars) = (next.tree.clone(), next.scalars.clone());
        self.shared.publish(next);
        for (request, outcome) in batch.into_iter().zip(outcomes) {
            answer(request, outcome.map(|first_index| Appended { first_index, size }));
        }
        // Everybody has their answer; what follows costs only the next batch.
        self.carried.records = self.carried.records.saturating_add(appended);
        self.carried.batches = self.carried.batches.saturating_add(1);
        if let Err(err) = self.remembered.sync_if_due() {
            tracing::warn!("the head over {size} entries was not synced beside the store: {err}");
        }
        if self.carried.records < CHECKPOINT_RECORDS && self.carried.batches < CHECKPOINT_BATCHES {
            return Ok(());
        }
        match self.carry_over() {
            // A full disk keeps the records in the write-ahead log, where they are as safe.
            Ok(()) | Err(Failure::Full(_)) => Ok(()),
            Err(Failure::Broken(why)) => Err(why),
        }
    }

    /// Carries the write-ahead log over into the database, as far as no reader is in the way.
    fn carry_over(&mut self) -> Result<(), Failure> {
        self.carried = Carried::default();
        let conn = &self.conn;
        Ok(Step::StoreCarry.take(|_| conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())))?)
    }

    fn fault(&mut self, point: FaultPoint) -> Result<(), Failure> {
        match self.faults.as_mut().and_then(|faults| faults.at(point)) {
            None => Ok(()),
            Some(Fault::Full) if point == FaultPoint::BeforeCommit => {
                Err(Failure::Full("no space left, says the test".to_owned()))
            }
            Some(Fault::Full | Fault::Broken) => {
                Err(Failure::Broken("the disk failed, says the test".to_owned()))
            }
        }
    }
}

/// Takes what is there.
fn drain(queue: &mut mpsc::Receiver<Request>, batch: &mut Vec<Request>) {
    while batch.len() < MAX_BATCH
        && let Ok(next) = queue.try_recv()
    {
        batch.push(next);
    }
}

/// Waits for more, until nobody comes any longer.
fn wait_for_more(queue: &mut mpsc::Receiver<Request>, batch: &mut Vec<Request>) {
    for _ in 0..MAX_PAUSES {
        let before = batch.len();
        if before < MAX_BATCH {
            std::thread::sleep(PAUSE);
            drain(queue, batch);
        }
        if batch.len() == before {
            return;
        }
    }
}

/// The signed head of a tree; by the next key as well, while the log's is rotated.
pub(super) fn sign(
    origin: &str,
    tree: &Tree,
    signer: &dyn NoteSigner,
    next: Option<&(dyn NoteSigner + Send)>,
) -> Result<Head, CheckpointError> {
    let checkpoint = Checkpoint::new(origin, tree.size(), tree.root())?;
    let signers: Vec<&dyn NoteSigner> =
        std::iter::once(signer).chain(next.map(|next| next as &dyn NoteSigner)).collect();
    let signed = SignedCheckpoint::sign(&checkpoint, &signers)?;
    Ok(Head {
        origin: origin.to_owned(),
        size: tree.size(),
        root: tree.root(),
        checkpoint: signed.to_string(),
    })
}

/// Enters one transaction in a savepoint of its own: the index of its first record, or the refusal, which leaves nothing.
fn enter(
    conn: &Connection,
    request: &Request,
    leaves: &[Hash],
    tree: &mut Tree,
    scalars: &mut Scalars,
) -> Result<Result<u64, StoreError>, Failure> {
    let first = tree.size();
    if request.only_informs() {
        // One guard can refuse it, before anything is written, so it needs no savepoint to go back to.
        if !request.is_under(scalars) {
            return Ok(Err(StoreError::StaleInputs));
        }
        write_rows(conn, request, first)?;
        append_leaves(conn, leaves, tree)?;
        return Ok(Ok(first));
    }
    let mut after = scalars.clone();
    run(conn, "SAVEPOINT txn")?;
    match enter_rows(conn, request, first, &mut after) {
        Ok(()) => run(conn, "RELEASE txn")?,
        Err(Stop::Refused(refusal)) => {
            run(conn, "ROLLBACK TO txn")?;
            run(conn, "RELEASE txn")?;
            return Ok(Err(refusal));
        }
        Err(Stop::Rows(err)) => return Err(err.into()),
    }
    *scalars = after;
    append_leaves(conn, leaves, tree)?;
    Ok(Ok(first))
}

fn append_leaves(conn: &Connection, leaves: &[Hash], tree: &mut Tree) -> Result<(), Failure> {
    for tile in tree.append_all(leaves).map_err(|err| Failure::Broken(err.to_string()))? {
        let sql = "INSERT INTO tiles (level, idx, bytes) VALUES (?1, ?2, ?3)";
        let values = (i64::from(tile.level()), sql_int(tile.index())?, tile.to_bytes());
        conn.prepare_cached(sql)?.execute(values)?;
    }
    Ok(())
}

fn enter_rows(
    conn: &Connection,
    request: &Request,
    first: u64,
    scalars: &mut Scalars,
) -> Result<(), Stop<rusqlite::Error>> {
    if let Some((plan, seen)) = &request.expect
        && plan_by_id(conn, plan).map_err(Stop::Rows)?.is_none_or(|row| row.last_index != *seen)
    {
        return Err(StoreError::Conflict(plan.clone()).into());
    }
    if request.expect_claims.is_some_and(|seen| seen != scalars.claims) {
        return Err(StoreError::Crowded.into());
    }
    if request.expect_inputs.is_some() && request.expect_inputs != scalars.inputs {
        return Err(StoreError::StaleInputs.into());
    }
    let mut tables = Tables::new(conn);
    for (item, index) in request.items.iter().zip(first..) {
        let Meaning { plan, changes, .. } = &item.meaning;
        apply(&mut tables, scalars, index, plan.as_ref(), changes)?;
    }
    tables.finish().map_err(Stop::Rows)?;
    write_rows(conn, request, first).map_err(Stop::Rows)?;
    note(conn, request.note.as_ref())
}

/// Writes down what is remembered of a request with an idempotency key.
fn note(conn: &Connection, note: Option<&RequestNote>) -> Result<(), Stop<rusqlite::Error>> {
    let write = |sql: &str, values: &[&dyn rusqlite::ToSql]| conn.prepare_cached(sql)?.execute(values);
    match note {
        None => Ok(()),
        Some(RequestNote::Received { key, body, at }) => {
            let oldest = at.ms().saturating_sub(REQUEST_MEMORY.ms());
            let forget = "DELETE FROM requests WHERE at < ?1";
            sql_int(oldest).and_then(|oldest| write(forget, &[&oldest])).map_err(Stop::Rows)?;
            let sql = "INSERT OR IGNORE INTO requests (key, body, at) VALUES (?1, ?2, ?3)";
            let at = sql_int(at.ms()).map_err(Stop::Rows)?;
            match write(sql, &[key.as_bytes(), body.as_bytes(), &at]).map_err(Stop::Rows)? {
                0 => Err(StoreError::KnownRequest.into()),
                _ => Ok(()),
            }
        }
        Some(RequestNote::Answered { key, answer }) => {
            let sql = "UPDATE requests SET status = ?2, answer = ?3 WHERE key = ?1";
            write(sql, &[key.as_bytes(), &answer.status, &answer.body]).map(|_| ()).map_err(Stop::Rows)
        }
    }
}

fn write_rows(conn: &Connection, request: &Request, first: u64) -> rusqlite::Result<()> {
    let mut insert = conn.prepare_cached("INSERT INTO entries (idx, bytes, plan) VALUES (?1, ?2, ?3)")?;
    for (item, index) in request.items.iter().zip(first..) {
        insert.execute((sql_int(index)?, &item.bytes, item.meaning.plan.as_ref().map(Id::as_str)))?;
    }
    for kept in &request.texts {
        let sql = "INSERT OR IGNORE INTO texts (commitment, salt, text) VALUES (?1, ?2, ?3)";
        let commitment = kept.commitment.digest();
        conn.prepare_cached(sql)?.execute((commitment.as_bytes(), kept.salt.as_bytes(), &kept.text))?;
    }
    Ok(())
}

fn run(conn: &Connection, sql: &str) -> rusqlite::Result<()> {
    conn.prepare_cached(sql)?.execute([]).map(|_| ())
}

fn answer(request: Request, outcome: Result<Appended, StoreError>) {
    // A caller that went away does not need the answer; the record stands all the same.
    let _ = request.reply.send(outcome);
}

/// Answers "full" to whatever is not essential, and returns the rest.
fn refuse_ordinary(batch: Vec<Request>, why: &str) -> Vec<Request> {
    let (essential, ordinary) = batch.into_iter().partition(|request| request.essential);
    refuse(ordinary, why);
    essential
}

fn refuse(batch: Vec<Request>, why: &str) {
    batch.into_iter().for_each(|request| answer(request, Err(StoreError::Full(why.to_owned()))));
}

fn close(batch: Vec<Request>, why: String) -> String {
    batch.into_iter().for_each(|request| answer(request, Err(StoreError::Closed(why.clone()))));
    why
}
