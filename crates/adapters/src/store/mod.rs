//! The SQLite store: one file, one writer, group commit.
//!
//! # What it does
//!
//! It keeps the records, the tree over them and its signed head, and the projections that every guard asks. An append is
//! answered after its batch was synced; what is read was synced before. At start-up it believes nothing: it reads every
//! record, recomputes the tree, and compares it with the signed head, with the stored tiles, and with the checkpoints that
//! are remembered beside the store; it compares the projections with the fold of the records and makes them anew where they
//! differ.
//!
//! # The files
//!
//! | file | what it is |
//! | --- | --- |
//! | `<path>`, `-wal`, `-shm` | the database, with SQLite's write-ahead log and its index |
//! | `<path>.head` | the latest checkpoints: an older copy of the database is noticed by them. Keep it out of the backup that is restored with the database, or a restore cannot be noticed |
//! | `<path>.lock` | locked by the gate that has the store open |
//! | `<path>.reserve` | room for what must be recorded on a full disk |
//!
//! # What it never does
//!
//! No code path changes or deletes an entry or a full tile, and triggers refuse it to others. It reads no clock, except to
//! pace the syncs of `<path>.head`.
//!
//! Start with [`SqliteStore::open`].

mod entry;
mod error;
mod faults;
mod fold;
mod memory;
mod open;
mod read;
mod remembered;
mod reserve;
mod rows;
mod schema;
mod shared;
mod writer;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use async_trait::async_trait;
use holdpoint_app::{
    port::{Appended, Entry, Head, KeptText, PlanFilter, PlanRow, RequestRow, Store, StoreError, Txn},
    projection::{AccountRow, ChangeRow, RunFilter, RunRow},
};
use holdpoint_domain::{
    Commitment, Digest, Id, enrol::InvitationState, facts::Inputs, halt::Halt, id::kind, incident::Incidents,
    lease::LeaseInfo, passkey::CredentialId,
};
use holdpoint_ledger::{
    hash::Hash,
    key::{NoteSigner, VerifierKey},
    tile::TilePath,
    tree::{Tree, TreeError},
};
use tokio::sync::{mpsc, oneshot};

pub use error::OpenError;
pub use faults::{Fault, FaultPoint, Faults};

use open::{Missing, Opened};
use read::{Readers, Tiles};
use reserve::Reserve;
use shared::{Published, Shared};
use writer::{Carried, Request, Writer};

/// Room that is reserved, unless configured otherwise: some twenty transactions, each of a few dozen pages at most.
pub const DEFAULT_RESERVE_BYTES: u64 = 2 * 1024 * 1024;
/// Transactions that may wait for the writer: two batches. Whoever comes later waits before it is queued.
const MAX_QUEUE: usize = 1024;

/// Where the store is, and which log it holds.
pub struct SqliteConfig {
    /// The database file. Its folder must exist; the other files stand beside it.
    pub path: PathBuf,
    /// The log's origin line; the signer has the same name.
    pub origin: String,
    /// How much room to set aside for what must be recorded on a full disk.
    pub reserve_bytes: u64,
    /// The key that the log is about to rotate to: every new head has its signature as well, under the same name.
    pub next_signer: Option<Box<dyn NoteSigner + Send>>,
    /// Faults on demand, for tests; none in a gate.
    pub faults: Option<Box<dyn Faults>>,
}

impl SqliteConfig {
    /// The store at `path` for the log `origin`, with everything else as usual.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, origin: impl Into<String>) -> Self {
        let (path, origin) = (path.into(), origin.into());
        Self { path, origin, reserve_bytes: DEFAULT_RESERVE_BYTES, next_signer: None, faults: None }
    }
}

/// The store. Dropping it ends the writer after what is queued, and gives the files back.
pub struct SqliteStore {
    shared: Arc<Shared>,
    readers: Readers,
    // Some until the store is dropped.
    queue: Option<mpsc::Sender<Request>>,
    writer: Option<JoinHandle<()>>,
    // INVARIANT: locked for as long as the store is open; dropped last.
    _lock: File,
}

impl SqliteStore {
    /// Opens the store, or makes it. Reads the whole log first (seconds for a million records) and blocks meanwhile.
    ///
    /// # Errors
    /// Whatever makes it doubtful that this is the newest sound copy of this log; see [`OpenError`].
    pub fn open(config: SqliteConfig, signer: Box<dyn NoteSigner + Send>) -> Result<Self, OpenError> {
        let SqliteConfig { path, origin, reserve_bytes, next_signer, faults } = config;
        let lock = open::take(&path)?;
        let opened = open::open(&path, &origin, signer.as_ref(), Missing::Refuse)?;
        let Opened { conn, head, tree, scalars, remembered } = opened;
        let published = Published { head: Arc::new(head), tree: tree.clone(), scalars: scalars.clone() };
        let shared = Arc::new(Shared::new(published));
        let writer = Writer {
            conn,
            signer,
            next_signer,
            tree,
            scalars,
            shared: Arc::clone(&shared),
            remembered,
            reserve: Reserve::open(&path, reserve_bytes),
            faults,
            carried: Carried::default(),
        };
        let (queue, requests) = mpsc::channel(MAX_QUEUE);
        let thread = std::thread::Builder::new().name("store-writer".to_owned());
        let writer = thread.spawn(move || writer.run(requests)).map_err(OpenError::io(&path))?;
        Ok(Self {
            shared,
            readers: Readers::new(path),
            queue: Some(queue),
            writer: Some(writer),
            _lock: lock,
        })
    }

    /// Accepts the head of a store beside which nothing is remembered (`<path>.head` is lost), after everything else was
    /// checked as at every start. A rollback that happened before cannot be noticed afterwards: call this only after a person
    /// compared the head with what a witness, a receipt or an approver remembers. Returns the head that was accepted.
    ///
    /// # Errors
    /// As [`SqliteStore::open`]; a checkpoint that *is* remembered is never overruled.
    pub fn danger_accept_head(path: &Path, origin: &str, signer: &dyn NoteSigner) -> Result<Head, OpenError> {
        let _lock = open::take(path)?;
        Ok(open::open(path, origin, signer, Missing::Accept)?.head)
    }

    /// Whether the head of the store at `path` has the signature of the key that the log is to rotate to: only then does that key
    /// open it at the next start. Takes the store: no gate may have it.
    ///
    /// # Errors
    /// As [`SqliteStore::open`], where the head has no such signature among them.
    pub fn check_rotation(path: &Path, origin: &str, next: &VerifierKey) -> Result<(), OpenError> {
        let _lock = open::take(path)?;
        open::check_head(path, origin, next)
    }

    /// A proof out of the last durable tree and the stored tiles.
    async fn prove<P>(&self, prove: P) -> Result<Vec<Hash>, StoreError>
    where
        P: FnOnce(&Tree, &Tiles<'_>) -> Result<Vec<Hash>, TreeError> + Send + 'static,
    {
        let last = self.shared.published();
        self.readers
            .read(move |conn| prove(&last.tree, &Tiles(conn)).map_err(|err| read::no_proof(&err)))
            .await
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        // The writer ends when the last sender is gone and the queue is empty.
        drop(self.queue.take());
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the store's writer ended in a panic");
        }
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn append(&self, txn: Txn) -> Result<Appended, StoreError> {
        let items = entry::items(&txn)?;
        let Txn { records: _, expect, expect_claims, expect_inputs, request, texts, essential } = txn;
        let (reply, answer) = oneshot::channel();
        let request =
            Request { items, expect, expect_claims, expect_inputs, note: request, texts, essential, reply };
        let queue = self.queue.as_ref().ok_or_else(|| self.shared.closed())?;
        queue.send(request).await.map_err(|_| self.shared.closed())?;
        answer.await.map_err(|_| self.shared.closed())?
    }

    fn head(&self) -> Arc<Head> {
        Arc::clone(&self.shared.published().head)
    }

    async fn grown(&self, size: u64) -> u64 {
        let mut sizes = self.shared.sizes();
        let grown = sizes.wait_for(|grown| *grown > size).await.map(|grown| *grown);
        match grown {
            Ok(grown) => grown,
            // The sender lives in `self.shared`, so this cannot be.
            Err(_) => std::future::pending().await,
        }
    }

    async fn entries(&self, first: u64, limit: u32) -> Result<Vec<Entry>, StoreError> {
        let size = self.head().size;
        self.readers.read(move |conn| read::entries(conn, first, u64::from(limit), size)).await
    }

    async fn history(&self, plan: &Id<kind::Plan>) -> Result<Vec<Entry>, StoreError> {
        let (plan, size) = (plan.clone(), self.head().size);
        self.readers.read(move |conn| read::history(conn, &plan, size)).await
    }

    async fn plan(&self, plan: &Id<kind::Plan>) -> Result<Option<PlanRow>, StoreError> {
        let plan = plan.clone();
        self.readers
            .read(move |conn| rows::plan_by_id(conn, &plan).map_err(|err| error::unreadable(&err)))
            .await
    }

    async fn plans(&self, filter: PlanFilter) -> Result<Vec<PlanRow>, StoreError> {
        self.readers.read(move |conn| read::plans(conn, &filter)).await
    }

    async fn inclusion(&self, index: u64, size: u64) -> Result<Vec<Hash>, StoreError> {
        self.prove(move |tree, tiles| tree.inclusion_proof(tiles, index, size)).await
    }

    async fn consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, StoreError> {
        self.prove(move |tree, tiles| tree.consistency_proof(tiles, old, new)).await
    }

    async fn log_file(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let last = self.shared.published();
        if path == "checkpoint" {
            return Ok(Some(last.head.checkpoint.clone().into_bytes()));
        }
        let Ok(path) = path.parse::<TilePath>() else { return Ok(None) };
        self.readers.read(move |conn| read::tile_file(conn, &last.tree, path)).await
    }

    async fn text(&self, commitment: &Commitment) -> Result<Option<KeptText>, StoreError> {
        let commitment = *commitment;
        self.readers.read(move |conn| read::text(conn, &commitment)).await
    }

    async fn live_leases(&self) -> Result<Vec<(Id<kind::Plan>, LeaseInfo)>, StoreError> {
        self.readers.read(read::live_leases).await
    }

    async fn runs(&self, filter: RunFilter) -> Result<Vec<RunRow>, StoreError> {
        self.readers.read(move |conn| read::runs(conn, &filter)).await
    }

    async fn run(&self, plan: &Id<kind::Plan>) -> Result<Option<RunRow>, StoreError> {
        let plan = plan.clone();
        self.readers
            .read(move |conn| rows::run_by_plan(conn, &plan).map_err(|err| error::unreadable(&err)))
            .await
    }

    async fn input_change(&self, id: &Id<kind::Change>) -> Result<Option<ChangeRow>, StoreError> {
        let id = id.clone();
        self.readers
            .read(move |conn| rows::change_by_id(conn, &id).map_err(|err| error::unreadable(&err)))
            .await
    }

    async fn input_changes(&self, limit: u32) -> Result<Vec<ChangeRow>, StoreError> {
        self.readers.read(move |conn| read::input_changes(conn, limit)).await
    }

    async fn account(&self, digest: &Digest) -> Result<Option<AccountRow>, StoreError> {
        let digest = *digest;
        self.readers
            .read(move |conn| rows::account_by_digest(conn, &digest).map_err(|err| error::unreadable(&err)))
            .await
    }

    async fn accounts(&self, limit: u32) -> Result<Vec<AccountRow>, StoreError> {
        self.readers.read(move |conn| read::accounts(conn, limit)).await
    }

    async fn invitation(&self, act: &Id<kind::Act>) -> Result<Option<InvitationState>, StoreError> {
        let act = act.clone();
        self.readers
            .read(move |conn| rows::invitation_by_act(conn, &act).map_err(|err| error::unreadable(&err)))
            .await
    }

    async fn passkey_counter(&self, passkey: &CredentialId) -> Result<u32, StoreError> {
        let passkey = passkey.clone();
        let last = self
            .readers
            .read(move |conn| rows::counter_of(conn, &passkey).map_err(|err| error::unreadable(&err)))
            .await?;
        Ok(last.unwrap_or(0))
    }

    async fn request(&self, key: &Digest) -> Result<Option<RequestRow>, StoreError> {
        let key = *key;
        self.readers.read(move |conn| read::request(conn, &key)).await
    }

    fn closed(&self) -> Option<String> {
        self.shared.why_closed().map(str::to_owned)
    }

    fn claims(&self) -> u64 {
        self.shared.published().scalars.claims
    }

    fn halt(&self) -> Option<Halt> {
        self.shared.published().scalars.halt.clone()
    }

    fn incidents(&self) -> Incidents {
        self.shared.published().scalars.incidents.clone()
    }

    fn last_epoch(&self) -> u64 {
        self.shared.published().scalars.last_epoch
    }

    fn active_inputs(&self) -> Option<Inputs> {
        self.shared.published().scalars.inputs
    }
}
