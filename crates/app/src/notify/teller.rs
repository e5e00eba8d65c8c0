//! Following the ledger and telling people.
//!
//! At least once: what is kept (the position in the ledger, what is open, what is not delivered) is one text, replaced as a whole,
//! and never ahead of itself. Whoever restarts from it plans what came after once more, with the same ids. Nothing waits for
//! it: a teller reads what is durable, and its own failures are logged and retried.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use holdpoint_domain::{Id, Timestamp, record::Record};
use serde::{Deserialize, Serialize};

use super::{
    ChannelState, Concern, Notable, OnCall, Outbox, Planned, Reading, Rules, Watch, kind::Channel,
    notable::notable, watch::By,
};
use crate::{
    port::{Clock, MemoryError, Notifier, NotifyMemory, Store, StoreError},
    view::PlanView,
};

/// Entries that are read in one go.
const PAGE: u32 = 256;
/// Entries without a word for anybody, after which the position is kept all the same.
const KEEP_EVERY: u64 = 4_096;

/// What a teller works with.
pub struct TellerPorts {
    /// The ledger, which is only read.
    pub store: Arc<dyn Store>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The channels.
    pub notifier: Arc<dyn Notifier>,
    /// What is remembered.
    pub memory: Arc<dyn NotifyMemory>,
    /// Whose turn it is.
    pub on_call: Arc<dyn OnCall>,
}

/// Tells people what the ledger says.
pub struct Teller {
    ports: TellerPorts,
    rules: Rules,
    origin: String,
    state: Mutex<Kept>,
    /// Counts what changed in the state but its position, and what of that is kept.
    changes: AtomicU64,
    kept: AtomicU64,
}

/// What is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    r#type: KeptType,
    /// The log that it is about.
    origin: String,
    /// The next entry to read; none before the first look.
    position: Option<u64>,
    watch: Watch,
    outbox: Outbox,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum KeptType {
    #[serde(rename = "holdpoint/notified/v1")]
    V1,
}

/// Why a look at the ledger came to nothing. The next one begins where this one did.
#[derive(Debug, thiserror::Error)]
pub enum TellError {
    /// The ledger could not be read.
    #[error("the ledger cannot be read")]
    Store(#[from] StoreError),
    /// An entry is none.
    #[error("entry {index} is no record: {why}")]
    Entry {
        /// Its index.
        index: u64,
        /// What is wrong.
        why: String,
    },
    /// It could not be remembered.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

impl Teller {
    /// A teller that goes on where the memory ends. One that remembers nothing, or something that is no memory of this log, begins
    /// with what waits for people now.
    ///
    /// # Errors
    /// A memory that cannot be read.
    pub async fn open(ports: TellerPorts, rules: Rules) -> Result<Self, TellError> {
        let origin = ports.store.head().origin.clone();
        let fresh = || Kept {
            r#type: KeptType::V1,
            origin: origin.clone(),
            position: None,
            watch: Watch::default(),
            outbox: Outbox::default(),
        };
        let mut kept = match ports.memory.load().await? {
            None => fresh(),
            Some(text) => match serde_json::from_str::<Kept>(&text) {
                Ok(kept) if kept.origin == origin => kept,
                Ok(_) => {
                    tracing::error!(
                        "what people were told is about another log: beginning with what is open now"
                    );
                    fresh()
                }
                Err(err) => {
                    tracing::error!(
                        "what people were told does not parse ({err}): beginning with what is open now"
                    );
                    fresh()
                }
            },
        };
        let channels = rules.channels();
        let lost = kept.outbox.keep_only(|channel| channels.contains(channel));
        if lost > 0 {
            tracing::warn!(
                "{lost} messages waited on channels that no rule names any more: they are dropped"
            );
        }
        Ok(Self {
            ports,
            rules,
            origin,
            state: Mutex::new(kept),
            changes: AtomicU64::new(1),
            kept: AtomicU64::new(0),
        })
    }

    /// The channels that messages can wait on.
    #[must_use]
    pub fn channels(&self) -> Vec<Id<Channel>> {
        self.rules.channels().into_iter().collect()
    }

    /// How a channel does.
    #[must_use]
    pub fn state_of(&self, channel: &Id<Channel>) -> ChannelState {
        self.state().outbox.state(channel)
    }

    /// The size of the log up to which everything was read.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.state().position.unwrap_or(0)
    }

    /// Reads what is new, plans what is due, and keeps both. One caller at a time.
    ///
    /// # Errors
    /// What could not be read or kept. What was planned is sent all the same.
    pub async fn look(&self) -> Result<(), TellError> {
        let size = self.ports.store.head().size;
        let begun = self.state().position;
        match begun {
            None => self.begin(size).await?,
            Some(position) => {
                let mut position = position;
                while position < size {
                    position = self.page(position).await?;
                }
            }
        }
        let by = self.by();
        let planned = self.state().watch.due(&by);
        self.add(planned, by.now);
        self.keep().await
    }

    /// Sends the next message of a channel, if it is time for one; whether another one may be sent at once. One caller a channel.
    pub async fn deliver(&self, channel: &Id<Channel>) -> bool {
        let Some(message) = self.state().outbox.next(channel, self.ports.clock.now()) else { return false };
        // If we stop around this, the next start sends it again, with the same id.
        let sent = self.ports.notifier.send(channel, &message).await;
        let (id, now) = (&message.id, self.ports.clock.now());
        let mut state = self.state();
        let is_delivered = sent.is_ok();
        match sent {
            Ok(()) => {
                tracing::info!(%channel, %id, "told of `{}` over {channel}: {id}", message.event.as_str());
                state.outbox.delivered(channel, id);
            }
            Err(err) => {
                let event = message.event.as_str();
                if state.outbox.failed(channel, id, now) {
                    tracing::error!(%channel, %id, "GIVEN UP telling of `{event}` over {channel} ({id}): {err}");
                } else {
                    let failures = state.outbox.state(channel).failures;
                    tracing::warn!(%channel, %id, failures, "not told of `{event}` over {channel} ({id}), and tried again: {err}");
                }
            }
        }
        drop(state);
        self.changed();
        is_delivered
    }

    /// Keeps what changed since it was kept last. One caller at a time.
    ///
    /// # Errors
    /// The memory's.
    pub async fn keep(&self) -> Result<(), TellError> {
        let changes = self.changes.load(Ordering::SeqCst);
        if self.kept.load(Ordering::SeqCst) == changes {
            return Ok(());
        }
        let text = serde_json::to_string(&*self.state()).map_err(|err| MemoryError(err.to_string()))?;
        // If we stop before this, the entries since are read and planned once more, with the same ids.
        self.ports.memory.keep(text).await?;
        self.kept.store(changes, Ordering::SeqCst);
        Ok(())
    }

    fn changed(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    fn state(&self) -> MutexGuard<'_, Kept> {
        // Never held over a wait, and what changes under it changes in whole messages.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn by(&self) -> By<'_> {
        let (on_call, now) = (self.ports.on_call.as_ref(), self.ports.clock.now());
        By { origin: &self.origin, rules: &self.rules, on_call, now }
    }

    fn add(&self, planned: Vec<Planned>, now: Timestamp) {
        if planned.is_empty() {
            return;
        }
        let mut state = self.state();
        planned.into_iter().for_each(|planned| state.outbox.add(planned, now));
        self.changed();
    }

    /// The first look: what waits for people now is told, and nothing that is over.
    async fn begin(&self, size: u64) -> Result<(), TellError> {
        let mut open = BTreeMap::<u64, (Concern, Record)>::new();
        let mut position = 0;
        while position < size {
            let (records, next) = self.read(position).await?;
            for (index, record) in records {
                let reading = Reading::of(&record);
                if let Some(closed) = &reading.closes {
                    open.retain(|_, (concern, _)| concern != closed);
                }
                if let Some(concern) = reading.opens {
                    open.insert(index, (concern, record));
                }
            }
            position = next;
        }
        for (index, (_, record)) in open {
            self.note(index, &record).await?;
        }
        self.state().position = Some(position);
        self.changed();
        Ok(())
    }

    /// Plans a page of entries from `position` on; returns where the next one begins.
    async fn page(&self, position: u64) -> Result<u64, TellError> {
        let (records, next) = self.read(position).await?;
        for (index, record) in records {
            self.note(index, &record).await?;
            // A later one of the page may fail: this one is not planned again by that.
            self.state().position = Some(index.saturating_add(1));
        }
        self.state().position = Some(next);
        if next.checked_div(KEEP_EVERY) != position.checked_div(KEEP_EVERY) {
            self.changed();
        }
        Ok(next)
    }

    async fn read(&self, position: u64) -> Result<(Vec<(u64, Record)>, u64), TellError> {
        let (mut records, mut next) = (Vec::new(), position);
        for entry in self.ports.store.entries(position, PAGE).await? {
            next = entry.index.saturating_add(1);
            // There can be millions of them, and nobody is told of one.
            if Record::is_evaluation(&entry.bytes) {
                continue;
            }
            let record = Record::parse(&entry.bytes)
                .map_err(|err| TellError::Entry { index: entry.index, why: err.to_string() })?;
            records.push((entry.index, record));
        }
        if next == position {
            let why = "it is below the head and not there".to_owned();
            return Err(TellError::Entry { index: position, why });
        }
        Ok((records, next))
    }

    async fn note(&self, index: u64, record: &Record) -> Result<(), TellError> {
        let reading = Reading::of(record);
        let told = self.notable(index, record, &reading).await?;
        let by = self.by();
        let mut state = self.state();
        if let Some(closed) = &reading.closes {
            state.watch.close(closed);
            state.outbox.withdraw(closed);
            self.changed();
        }
        let planned = told.map(|told| {
            self.changed();
            state.watch.note(&told, &by)
        });
        drop(state);
        self.add(planned.unwrap_or_default(), by.now);
        Ok(())
    }

    async fn notable(
        &self,
        index: u64,
        record: &Record,
        reading: &Reading,
    ) -> Result<Option<Notable>, TellError> {
        if reading.event.is_none() {
            return Ok(None);
        }
        let view = match &record.plan {
            None => None,
            Some(plan) => {
                let read = PlanView::read(self.ports.store.as_ref(), plan).await;
                Some(read.map_err(|refusal| TellError::Entry { index, why: refusal.to_string() })?)
            }
        };
        Ok(notable(index, record, reading, view.as_ref()))
    }
}
