//! A store in memory: a real tree with real checkpoints, the projections with all their guards, and faults on demand.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use holdpoint_domain::{
    Commitment, Digest, Id,
    enrol::InvitationState,
    facts::Inputs,
    halt::Halt,
    id::kind,
    incident::Incidents,
    lease::LeaseInfo,
    passkey::CredentialId,
    record::{MAX_RECORD_LEN, Record},
};
use holdpoint_ledger::{
    Checkpoint, Ed25519NoteSigner, SignedCheckpoint, SourceError, TileKind, TilePath, TileSource, Tree,
    VerifierKey, bundle::encode_bundle, hash::Hash, leaf_hash, tile::encode_tile,
};

use super::schedule::yield_now;
use crate::{
    port::{
        Appended, Entry, Head, KeptText, PlanFilter, PlanRow, RequestNote, RequestRow, Store, StoreError,
        Txn, store::MAX_TXN_RECORDS,
    },
    projection::{
        AccountRow, ChangeRow, RunFilter, RunRow,
        apply::{Scalars, Stop, apply},
        changes,
        memory::Memory,
    },
};

/// The projections. A clone is a transaction: it replaces the original, or is dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Rows {
    memory: Memory,
    scalars: Scalars,
    history: BTreeMap<Id<kind::Plan>, Vec<u64>>,
}

impl Rows {
    fn apply(&mut self, index: u64, record: &Record) -> Result<(), StoreError> {
        let applied =
            apply(&mut self.memory, &mut self.scalars, index, record.plan.as_ref(), &changes(record));
        applied.map_err(|stop| match stop {
            Stop::Refused(err) => err,
            Stop::Rows(never) => match never {},
        })?;
        if let Some(plan) = &record.plan {
            self.history.entry(plan.clone()).or_default().push(index);
        }
        Ok(())
    }
}

/// The log's origin, which is also the name of its key.
const ORIGIN: &str = "fake.example/log";
/// The seed of the log's key.
const LOG_SEED: [u8; 32] = [7; 32];

/// How large the ledger is, for whoever wants to know at the time of an effect. Lives through [`MemStore::reopen`].
#[derive(Debug, Clone, Default)]
pub struct LedgerSize(Arc<AtomicU64>);

impl LedgerSize {
    /// The number of entries now.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// What goes wrong with an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No room: nothing was appended, and the next append may go well.
    Full,
    /// The disk fails: nothing was appended, and the store stays closed until [`MemStore::reopen`].
    Closed,
    /// The disk fails after the append: it is there, and the caller is told that the store is closed.
    DoneButClosed,
}

/// Which append it goes wrong with. Each fault strikes once.
pub enum When {
    /// The n-th from now on, counted from zero.
    Nth(u64),
    /// The first that the test recognises.
    Matching(Box<dyn Fn(&Txn) -> bool + Send>),
}

/// A store in memory.
pub struct MemStore {
    key: Ed25519NoteSigner,
    size: LedgerSize,
    inner: Mutex<Inner>,
}

struct Inner {
    entries: Vec<Vec<u8>>,
    // How many of them a restart finds.
    synced: usize,
    tree: Tree,
    tiles: Tiles,
    rows: Rows,
    texts: BTreeMap<Commitment, KeptText>,
    requests: BTreeMap<Digest, RequestRow>,
    head: Arc<Head>,
    closed: Option<String>,
    faults: Vec<(When, Failure)>,
    // None: there is room. Some(n): ordinary transactions find none, essential ones find it n times.
    reserve: Option<u32>,
}

#[derive(Default)]
struct Tiles(BTreeMap<(u8, u64), Vec<Hash>>);

impl TileSource for Tiles {
    fn tile(&self, level: u8, index: u64) -> Result<Option<Vec<Hash>>, SourceError> {
        Ok(self.0.get(&(level, index)).cloned())
    }
}

impl MemStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Self::fold(LedgerSize::default(), Vec::new(), BTreeMap::new())
    }

    /// The key that checkpoints are checked with.
    #[must_use]
    pub fn log_key(&self) -> VerifierKey {
        VerifierKey::of(&self.key).expect("the log's key is a valid one")
    }

    /// The size of the ledger, now and later.
    #[must_use]
    pub fn size(&self) -> LedgerSize {
        self.size.clone()
    }

    /// Has an append go wrong.
    pub fn fail(&self, when: When, failure: Failure) {
        self.inner().faults.push((when, failure));
    }

    /// How many faults have not struck yet.
    #[must_use]
    pub fn faults_left(&self) -> usize {
        self.inner().faults.len()
    }

    /// The disk is full from now on, but for the reserve: so many essential transactions still find room.
    pub fn fill(&self, reserve: u32) {
        self.inner().reserve = Some(reserve);
    }

    /// There is room again.
    pub fn make_room(&self) {
        self.inner().reserve = None;
    }

    /// What a restart finds: the entries, the kept texts and the remembered requests. Projections, tree and checkpoint are made anew, and whoever
    /// still holds the old store finds it closed.
    #[must_use]
    pub fn reopen(&self) -> Arc<Self> {
        let mut inner = self.inner();
        inner.closed = Some("another process has opened it".to_owned());
        let durable = inner.entries.iter().take(inner.synced).cloned().collect();
        let reopened = Self::fold(self.size.clone(), durable, inner.texts.clone());
        reopened.inner().requests.clone_from(&inner.requests);
        if inner.synced == inner.entries.len() {
            assert!(reopened.inner().rows == inner.rows, "the records say what the projections said");
            assert_eq!(reopened.inner().head, inner.head, "the log is the one that was signed");
        }
        reopened
    }

    /// All entries, as they stand in the ledger.
    #[must_use]
    pub fn all_entries(&self) -> Vec<Vec<u8>> {
        self.inner().entries.clone()
    }

    /// Entries from `first` on, as they stand in the ledger.
    #[must_use]
    pub fn entries_from(&self, first: u64) -> Vec<Vec<u8>> {
        let skip = usize::try_from(first).unwrap_or(usize::MAX);
        self.inner().entries.iter().skip(skip).cloned().collect()
    }

    /// All records, in order.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        let inner = self.inner();
        inner.entries.iter().map(|entry| Record::parse(entry).expect("an entry is a record")).collect()
    }

    /// The plan whose run holds a target.
    #[must_use]
    pub fn holder(&self, target: &Id<kind::Target>) -> Option<Id<kind::Plan>> {
        self.inner().rows.memory.locks.get(target).cloned()
    }

    fn fold(size: LedgerSize, entries: Vec<Vec<u8>>, texts: BTreeMap<Commitment, KeptText>) -> Arc<Self> {
        let key = Ed25519NoteSigner::from_seed(ORIGIN, &LOG_SEED).expect("the origin is a valid name");
        let (mut tree, mut tiles, mut rows) = (Tree::new(), Tiles::default(), Rows::default());
        for (index, entry) in (0..).zip(&entries) {
            let record = Record::parse(entry).expect("an entry is a record");
            rows.apply(index, &record).expect("an entry that was appended passes its guards again");
            grow(&mut tree, &mut tiles, entry);
        }
        let head = Arc::new(sign(&key, &tree));
        let synced = entries.len();
        let inner = Inner {
            entries,
            synced,
            tree,
            tiles,
            rows,
            texts,
            requests: BTreeMap::new(),
            head,
            closed: None,
            faults: Vec::new(),
            reserve: None,
        };
        Arc::new(Self { key, size, inner: Mutex::new(inner) })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> Result<MutexGuard<'_, Inner>, StoreError> {
        let inner = self.inner();
        match &inner.closed {
            Some(why) => Err(StoreError::Closed(why.clone())),
            None => Ok(inner),
        }
    }

    fn commit(&self, txn: &Txn) -> Result<Appended, StoreError> {
        let mut inner = self.open()?;
        let failure = inner.strike(txn);
        match failure {
            Some(Failure::Full) => return Err(StoreError::Full("a test said so".to_owned())),
            Some(Failure::Closed) => {
                inner.closed = Some("a test said so".to_owned());
                return Err(StoreError::Closed("a test said so".to_owned()));
            }
            Some(Failure::DoneButClosed) | None => inner.take_room(txn.essential)?,
        }
        let appended = inner.append(&self.key, txn)?;
        self.size.0.store(appended.size, Ordering::SeqCst);
        if failure.is_some() {
            inner.closed = Some("a test said so, after the append".to_owned());
            return Err(StoreError::Closed("a test said so, after the append".to_owned()));
        }
        Ok(appended)
    }
}

impl Inner {
    fn strike(&mut self, txn: &Txn) -> Option<Failure> {
        let mut struck = None;
        let mut left = Vec::new();
        for (when, failure) in std::mem::take(&mut self.faults) {
            match when {
                _ if struck.is_some() => left.push((when, failure)),
                When::Nth(0) => struck = Some(failure),
                When::Nth(n) => left.push((When::Nth(n.saturating_sub(1)), failure)),
                When::Matching(ref is_it) if is_it(txn) => struck = Some(failure),
                When::Matching(_) => left.push((when, failure)),
            }
        }
        self.faults = left;
        struck
    }

    fn take_room(&mut self, essential: bool) -> Result<(), StoreError> {
        match &mut self.reserve {
            None => Ok(()),
            Some(left) if essential && *left > 0 => {
                *left = left.saturating_sub(1);
                Ok(())
            }
            Some(_) => Err(StoreError::Full("the disk is full".to_owned())),
        }
    }

    fn append(&mut self, key: &Ed25519NoteSigner, txn: &Txn) -> Result<Appended, StoreError> {
        let (limit, got) = (MAX_TXN_RECORDS, txn.records.len());
        if got > limit {
            return Err(StoreError::TooLarge { what: "transaction", limit, got });
        }
        if let Some((plan, seen)) = &txn.expect
            && self.rows.memory.plans.get(plan).is_none_or(|row| row.last_index != *seen)
        {
            return Err(StoreError::Conflict(plan.clone()));
        }
        if txn.expect_claims.is_some_and(|seen| seen != self.rows.scalars.claims) {
            return Err(StoreError::Crowded);
        }
        if txn.expect_inputs.is_some() && txn.expect_inputs != self.rows.scalars.inputs {
            return Err(StoreError::StaleInputs);
        }
        let first_index = self.tree.size();
        let mut rows = self.rows.clone();
        let mut entries = Vec::new();
        for (index, record) in (first_index..).zip(&txn.records) {
            let bytes = record.bytes().map_err(|err| StoreError::Corrupt(err.to_string()))?;
            let (limit, got) = (MAX_RECORD_LEN, bytes.len());
            if got > limit {
                return Err(StoreError::TooLarge { what: "record", limit, got });
            }
            Record::parse(&bytes).map_err(|err| StoreError::Corrupt(err.to_string()))?;
            rows.apply(index, record)?;
            entries.push(bytes);
        }
        match &txn.request {
            Some(RequestNote::Received { key, .. }) if self.requests.contains_key(key) => {
                return Err(StoreError::KnownRequest);
            }
            Some(RequestNote::Received { key, body, .. }) => {
                self.requests.insert(*key, RequestRow { body: *body, answer: None });
            }
            Some(RequestNote::Answered { key, answer }) => {
                if let Some(row) = self.requests.get_mut(key) {
                    row.answer = Some(answer.clone());
                }
            }
            None => {}
        }
        // From here on nothing can fail.
        self.rows = rows;
        for entry in entries {
            grow(&mut self.tree, &mut self.tiles, &entry);
            self.entries.push(entry);
        }
        // What a real store's sync does. Nobody is told before it.
        self.synced = self.entries.len();
        self.texts.extend(txn.texts.iter().map(|text| (text.commitment, text.clone())));
        self.head = Arc::new(sign(key, &self.tree));
        Ok(Appended { first_index, size: self.tree.size() })
    }

    fn entry(&self, index: u64) -> Option<Entry> {
        let bytes = self.entries.get(usize::try_from(index).ok()?)?.clone();
        Some(Entry { index, bytes })
    }

    fn hashes(&self, level: u8, index: u64, width: usize) -> Option<Vec<u8>> {
        let full = self.tiles.0.get(&(level, index));
        let hashes = full.map_or_else(|| self.tree.partial(level), Vec::as_slice);
        let is_last =
            full.is_some() || self.tiles.0.range((level, 0)..(level, u64::MAX)).count() as u64 == index;
        hashes.get(..width).filter(|_| is_last).map(encode_tile)
    }

    fn bundle(&self, index: u64, width: usize) -> Option<Vec<u8>> {
        let first = usize::try_from(index.checked_mul(256)?).ok()?;
        let entries = self.entries.get(first..first.checked_add(width)?)?;
        encode_bundle(entries.iter().map(Vec::as_slice)).ok()
    }
}

fn grow(tree: &mut Tree, tiles: &mut Tiles, entry: &[u8]) {
    let full = tree.append(leaf_hash(entry)).expect("a test never fills the tree");
    tiles.0.extend(full.into_iter().map(|tile| ((tile.level(), tile.index()), tile.hashes().to_vec())));
}

fn sign(key: &Ed25519NoteSigner, tree: &Tree) -> Head {
    let (size, root) = (tree.size(), tree.root());
    let checkpoint = Checkpoint::new(ORIGIN, size, root).expect("a tree has a valid head");
    let signed = SignedCheckpoint::sign(&checkpoint, &[key]).expect("the log's key signs");
    Head { origin: ORIGIN.to_owned(), size, root, checkpoint: signed.to_string() }
}

fn ledger_error(err: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(err.to_string())
}

#[async_trait]
impl Store for MemStore {
    async fn append(&self, txn: Txn) -> Result<Appended, StoreError> {
        yield_now().await;
        let appended = self.commit(&txn);
        // Whoever stops here has appended and does not know it.
        yield_now().await;
        appended
    }

    fn head(&self) -> Arc<Head> {
        Arc::clone(&self.inner().head)
    }

    async fn grown(&self, size: u64) -> u64 {
        loop {
            let now = self.inner().tree.size();
            if now > size {
                return now;
            }
            yield_now().await;
        }
    }

    async fn entries(&self, first: u64, limit: u32) -> Result<Vec<Entry>, StoreError> {
        let inner = self.open()?;
        Ok((first..first.saturating_add(u64::from(limit))).map_while(|index| inner.entry(index)).collect())
    }

    async fn history(&self, plan: &Id<kind::Plan>) -> Result<Vec<Entry>, StoreError> {
        yield_now().await;
        let inner = self.open()?;
        let indexes = inner.rows.history.get(plan).into_iter().flatten();
        Ok(indexes.filter_map(|index| inner.entry(*index)).collect())
    }

    async fn plan(&self, plan: &Id<kind::Plan>) -> Result<Option<PlanRow>, StoreError> {
        Ok(self.open()?.rows.memory.plans.get(plan).cloned())
    }

    async fn plans(&self, filter: PlanFilter) -> Result<Vec<PlanRow>, StoreError> {
        let inner = self.open()?;
        let wanted = |row: &&PlanRow| {
            (filter.states.is_empty() || filter.states.contains(&row.state))
                && (filter.states.is_empty() || filter.agent.as_ref().is_none_or(|agent| row.agent == *agent))
                && filter.hold.as_ref().is_none_or(|hold| row.hold.as_ref() == Some(hold))
        };
        let mut rows: Vec<_> = inner.rows.memory.plans.values().filter(wanted).cloned().collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.first_index));
        if filter.oldest_first {
            rows.reverse();
        }
        rows.truncate(usize::try_from(filter.limit).unwrap_or(usize::MAX));
        Ok(rows)
    }

    async fn inclusion(&self, index: u64, size: u64) -> Result<Vec<Hash>, StoreError> {
        let inner = self.open()?;
        inner.tree.inclusion_proof(&inner.tiles, index, size).map_err(ledger_error)
    }

    async fn consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, StoreError> {
        let inner = self.open()?;
        inner.tree.consistency_proof(&inner.tiles, old, new).map_err(ledger_error)
    }

    async fn log_file(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let inner = self.open()?;
        if path == "checkpoint" {
            return Ok(Some(inner.head.checkpoint.clone().into_bytes()));
        }
        let Ok(path) = path.parse::<TilePath>() else { return Ok(None) };
        Ok(match path.kind() {
            TileKind::Hashes { level } => inner.hashes(level, path.index(), path.width()),
            TileKind::Entries => inner.bundle(path.index(), path.width()),
        })
    }

    async fn text(&self, commitment: &Commitment) -> Result<Option<KeptText>, StoreError> {
        Ok(self.open()?.texts.get(commitment).cloned())
    }

    async fn live_leases(&self) -> Result<Vec<(Id<kind::Plan>, LeaseInfo)>, StoreError> {
        // In one order, so that whoever revokes them does it in the same order when a simulation is replayed.
        let mut live: Vec<_> = self.open()?.rows.memory.leases.values().cloned().collect();
        live.sort_by(|(_, one), (_, other)| one.id.cmp(&other.id));
        Ok(live)
    }

    async fn runs(&self, filter: RunFilter) -> Result<Vec<RunRow>, StoreError> {
        let inner = self.open()?;
        let mut runs: Vec<_> =
            inner.rows.memory.runs.values().filter(|run| filter.wants(run)).cloned().collect();
        runs.sort_by(|one, other| one.plan.cmp(&other.plan));
        Ok(runs)
    }

    async fn run(&self, plan: &Id<kind::Plan>) -> Result<Option<RunRow>, StoreError> {
        Ok(self.open()?.rows.memory.runs.get(plan).cloned())
    }

    async fn input_change(&self, id: &Id<kind::Change>) -> Result<Option<ChangeRow>, StoreError> {
        Ok(self.open()?.rows.memory.input_changes.get(id).cloned())
    }

    async fn input_changes(&self, limit: u32) -> Result<Vec<ChangeRow>, StoreError> {
        let inner = self.open()?;
        let mut rows: Vec<_> = inner.rows.memory.input_changes.values().cloned().collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.first_index));
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(rows)
    }

    async fn account(&self, digest: &Digest) -> Result<Option<AccountRow>, StoreError> {
        Ok(self.open()?.rows.memory.accounts.get(digest).cloned())
    }

    async fn accounts(&self, limit: u32) -> Result<Vec<AccountRow>, StoreError> {
        let inner = self.open()?;
        let mut rows: Vec<_> = inner.rows.memory.accounts.values().cloned().collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.first_index));
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(rows)
    }

    async fn invitation(&self, act: &Id<kind::Act>) -> Result<Option<InvitationState>, StoreError> {
        Ok(self.open()?.rows.memory.invitations.get(act).cloned())
    }

    async fn passkey_counter(&self, passkey: &CredentialId) -> Result<u32, StoreError> {
        Ok(self.open()?.rows.memory.counters.get(passkey).copied().unwrap_or(0))
    }

    async fn request(&self, key: &Digest) -> Result<Option<RequestRow>, StoreError> {
        Ok(self.open()?.requests.get(key).cloned())
    }

    fn closed(&self) -> Option<String> {
        self.inner().closed.clone()
    }

    fn claims(&self) -> u64 {
        self.inner().rows.scalars.claims
    }

    fn halt(&self) -> Option<Halt> {
        self.inner().rows.scalars.halt.clone()
    }

    fn incidents(&self) -> Incidents {
        self.inner().rows.scalars.incidents.clone()
    }

    fn last_epoch(&self) -> u64 {
        self.inner().rows.scalars.last_epoch
    }

    fn active_inputs(&self) -> Option<Inputs> {
        self.inner().rows.scalars.inputs
    }
}
