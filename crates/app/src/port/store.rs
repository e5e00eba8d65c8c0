//! The store: the ledger's records, and projections that can be rebuilt from them.

use std::sync::Arc;

use async_trait::async_trait;
use holdpoint_domain::{
    Commitment, Digest, Id, Millis, Tier, Timestamp,
    digest::Salt,
    enrol::InvitationState,
    facts::Inputs,
    flow::{FlowError, State},
    halt::Halt,
    id::kind,
    incident::Incidents,
    lease::LeaseInfo,
    passkey::CredentialId,
    record::Record,
};
use holdpoint_ledger::hash::Hash;

use crate::projection::{AccountRow, ChangeRow, RunFilter, RunRow};

/// Most records in one transaction: a state change needs a handful.
pub const MAX_TXN_RECORDS: usize = 32;
/// How long the answer to a request with a key is remembered.
pub const REQUEST_MEMORY: Millis = Millis::secs(24 * 60 * 60);

/// One state change: its records, appended together or not at all.
///
/// The store derives everything else from the records (see [`crate::projection`]), inside the same transaction: it moves
/// the projections, refuses a record whose event is illegal in its plan's state, a nonce that was used, a target that
/// another run holds, a second decision of one person on one hold, and an epoch that is not above the last one.
#[derive(Debug, Clone, Default)]
pub struct Txn {
    /// In order.
    pub records: Vec<Record>,
    /// The last ledger index of a plan that the caller has seen: refused with [`StoreError::Conflict`] when the plan has
    /// moved on since.
    pub expect: Option<(Id<kind::Plan>, u64)>,
    /// How many claims there were when the caller counted what budgets have left: refused with [`StoreError::Crowded`] when
    /// another run was claimed since.
    pub expect_claims: Option<u64>,
    /// The control inputs that the caller judged by: refused with [`StoreError::StaleInputs`] when others are in force.
    pub expect_inputs: Option<Inputs>,
    /// What is remembered of a request with an idempotency key.
    pub request: Option<RequestNote>,
    /// Texts kept beside the ledger, under the salts of their commitments.
    pub texts: Vec<KeptText>,
    /// Undo, revocation, failure and doubt: may use the room that is reserved for them when the disk is full.
    pub essential: bool,
}

/// What is remembered of a request with an idempotency key, for [`REQUEST_MEMORY`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestNote {
    /// It was received. Refused with [`StoreError::KnownRequest`] when its key is known.
    Received {
        /// The digest of caller, endpoint and key.
        key: Digest,
        /// The digest of its body.
        body: Digest,
        /// When.
        at: Timestamp,
    },
    /// It was answered.
    Answered {
        /// The digest of caller, endpoint and key.
        key: Digest,
        /// The answer.
        answer: RequestAnswer,
    },
}

/// The answer to a request with an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// A request with an idempotency key, as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRow {
    /// The digest of its body.
    pub body: Digest,
    /// The answer; none when it was never given: the request is under way, or the gate stopped.
    pub answer: Option<RequestAnswer>,
}

/// A text beside the ledger. It can be erased; its commitment cannot.
#[derive(Debug, Clone)]
pub struct KeptText {
    /// What stands in the ledger.
    pub commitment: Commitment,
    /// Its salt.
    pub salt: Salt,
    /// The text.
    pub text: String,
}

/// A durable append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The ledger index of the first record; the others follow without a gap.
    pub first_index: u64,
    /// The size of the tree whose signed checkpoint covers them.
    pub size: u64,
}

/// The latest durable head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The log's origin line.
    pub origin: String,
    /// How many entries it has.
    pub size: u64,
    /// The root hash over them.
    pub root: Hash,
    /// The signed checkpoint (C2SP tlog-checkpoint).
    pub checkpoint: String,
}

/// An entry with its index.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its ledger index.
    pub index: u64,
    /// Its canonical bytes.
    pub bytes: Vec<u8>,
}

/// The projection of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanRow {
    /// The plan.
    pub id: Id<kind::Plan>,
    /// Where it is in its life.
    pub state: State,
    /// The ledger index of its first record.
    pub first_index: u64,
    /// The ledger index of its last record.
    pub last_index: u64,
    /// Who proposed it.
    pub agent: Id<kind::Agent>,
    /// The first step's action.
    pub action: Id<kind::Action>,
    /// The first step's target.
    pub target: Id<kind::Target>,
    /// The tier, once decided.
    pub tier: Option<Tier>,
    /// The hold, while there is one.
    pub hold: Option<Id<kind::Hold>>,
    /// When it was proposed.
    pub proposed_at: Timestamp,
    /// When the state it is in ends by itself (hold, deferral or permit), if it does.
    pub deadline: Option<Timestamp>,
    /// When a deferred plan is measured again.
    pub next_at: Option<Timestamp>,
}

/// Which plans to list.
#[derive(Debug, Clone, Default)]
pub struct PlanFilter {
    /// Only these states; all when empty.
    pub states: Vec<State>,
    /// Only those of this agent; looked at where states are named.
    pub agent: Option<Id<kind::Agent>>,
    /// Only the plan with this hold.
    pub hold: Option<Id<kind::Hold>>,
    /// At most this many, newest first.
    pub limit: u32,
    /// Those first that were proposed first, instead: whoever looks for what ends soonest must not be shown the newest alone.
    pub oldest_first: bool,
}

/// Why the store did not do it. Nothing was appended, unless said otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The plan moved on since the caller read it. Read again and decide again.
    #[error("plan `{0}` has moved on since it was read")]
    Conflict(Id<kind::Plan>),
    /// The record's event is illegal in the plan's state.
    #[error(transparent)]
    Flow(#[from] FlowError),
    /// A nonce that was used, or was never granted.
    #[error("nonce `{0}` was used before, or was never granted")]
    Nonce(Id<kind::Nonce>),
    /// Another run holds the target.
    #[error("target `{target}` is held by plan `{by}`")]
    TargetBusy {
        /// The target.
        target: Id<kind::Target>,
        /// The plan whose run holds it.
        by: Id<kind::Plan>,
    },
    /// The decision was taken under control inputs that are not in force any more.
    #[error("the control inputs were replaced meanwhile")]
    StaleInputs,
    /// Another run was claimed since budgets were counted.
    #[error("another run was claimed meanwhile")]
    Crowded,
    /// A change that is not open, that this person cannot decide on, or that too few approved.
    #[error("change `{0}` is not open to this")]
    NotOpen(Id<kind::Change>),
    /// An account that is not open to this: reported, confirmed or looked at before, or by somebody who may not.
    #[error("the account {0} is not open to this")]
    AccountNotOpen(Digest),
    /// A request with this key is known.
    #[error("a request with this idempotency key is known")]
    KnownRequest,
    /// The person has decided on this hold before.
    #[error("`{person}` has decided on hold `{hold}` before")]
    DecidedBefore {
        /// The hold.
        hold: Id<kind::Hold>,
        /// The person.
        person: Id<kind::Person>,
    },
    /// A passkey whose counter went back or stood still: there is a copy of it.
    #[error("the counter of passkey `{passkey}` was {last}, and is {got} now")]
    Counter {
        /// The passkey.
        passkey: CredentialId,
        /// The last counter.
        last: u32,
        /// The one at hand.
        got: u32,
    },
    /// An invitation that was redeemed before, or never was there.
    #[error("invitation `{0}` was redeemed before, or is none")]
    Redeemed(Id<kind::Act>),
    /// An epoch that does not grow.
    #[error("expected an epoch above {last}, got {got}")]
    Epoch {
        /// The last one.
        last: u64,
        /// The one at hand.
        got: u64,
    },
    /// A record or transaction over its limit.
    #[error("{what} is too large: expected at most {limit}, got {got}")]
    TooLarge {
        /// What.
        what: &'static str,
        /// The limit.
        limit: usize,
        /// The size.
        got: usize,
    },
    /// No room on the disk. Nothing was appended; the store goes on when there is room.
    #[error("no room to record this: {0}")]
    Full(String),
    /// The store failed in a way that leaves it unknown what the disk holds. It stays closed until a restart, which checks.
    #[error("the store is closed: {0}")]
    Closed(String),
    /// What is stored contradicts itself.
    #[error("the store is corrupt: {0}")]
    Corrupt(String),
}

/// Where records, projections and kept texts live.
///
/// Durability: when `append` returns `Ok`, the records, the projections and the signed checkpoint that covers them have
/// been synced. When it returns an error, nothing of the transaction will ever be seen, except for [`StoreError::Closed`],
/// after which only a restart can tell. Reads see only what is durable.
///
/// Concurrency: any number of callers; appends are put in one order, and several may share one sync (group commit).
#[async_trait]
pub trait Store: Send + Sync {
    /// Appends the records of a transaction, all or none.
    async fn append(&self, txn: Txn) -> Result<Appended, StoreError>;

    /// The latest durable head.
    fn head(&self) -> Arc<Head>;

    /// Returns the size of the log once it is above `size`; for followers, who see nothing before its sync.
    async fn grown(&self, size: u64) -> u64;

    /// Entries from `first` on, at most `limit`, in order.
    async fn entries(&self, first: u64, limit: u32) -> Result<Vec<Entry>, StoreError>;

    /// All entries of a plan, in order.
    async fn history(&self, plan: &Id<kind::Plan>) -> Result<Vec<Entry>, StoreError>;

    /// The projection of a plan.
    async fn plan(&self, plan: &Id<kind::Plan>) -> Result<Option<PlanRow>, StoreError>;

    /// Plans, newest first.
    async fn plans(&self, filter: PlanFilter) -> Result<Vec<PlanRow>, StoreError>;

    /// The hashes that prove entry `index` in the tree of `size` (RFC 6962 section 2.1.1).
    async fn inclusion(&self, index: u64, size: u64) -> Result<Vec<Hash>, StoreError>;

    /// The hashes that prove the tree of `old` a prefix of the one of `new` (RFC 6962 section 2.1.2).
    async fn consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, StoreError>;

    /// A file of the log's static layout (C2SP tlog-tiles): `checkpoint`, `tile/…`, `tile/entries/…`.
    async fn log_file(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// A kept text, if it was not erased.
    async fn text(&self, commitment: &Commitment) -> Result<Option<KeptText>, StoreError>;

    /// Leases that were issued and not proven revoked, with their plans.
    async fn live_leases(&self) -> Result<Vec<(Id<kind::Plan>, LeaseInfo)>, StoreError>;

    /// Runs that match, in no order.
    async fn runs(&self, filter: RunFilter) -> Result<Vec<RunRow>, StoreError>;

    /// The run of a plan.
    async fn run(&self, plan: &Id<kind::Plan>) -> Result<Option<RunRow>, StoreError>;

    /// A change of a control input.
    async fn input_change(&self, id: &Id<kind::Change>) -> Result<Option<ChangeRow>, StoreError>;

    /// Changes of control inputs, newest first.
    async fn input_changes(&self, limit: u32) -> Result<Vec<ChangeRow>, StoreError>;

    /// What was done outside of Holdpoint, by the digest of its account.
    async fn account(&self, digest: &Digest) -> Result<Option<AccountRow>, StoreError>;

    /// What was done outside of Holdpoint, newest first.
    async fn accounts(&self, limit: u32) -> Result<Vec<AccountRow>, StoreError>;

    /// An invitation to register a passkey.
    async fn invitation(&self, act: &Id<kind::Act>) -> Result<Option<InvitationState>, StoreError>;

    /// The last counter that a recorded assertion of a passkey had; zero where there is none.
    async fn passkey_counter(&self, passkey: &CredentialId) -> Result<u32, StoreError>;

    /// What is remembered of a request with an idempotency key.
    async fn request(&self, key: &Digest) -> Result<Option<RequestRow>, StoreError>;

    /// Why the store takes nothing more, if it is closed.
    fn closed(&self) -> Option<String>;

    /// How many permits were ever claimed.
    fn claims(&self) -> u64;

    /// The halt in force, as far as it is recorded.
    fn halt(&self) -> Option<Halt>;

    /// The incidents that sources told of, as far as they are recorded.
    fn incidents(&self) -> Incidents;

    /// The highest epoch ever granted; zero when none was.
    fn last_epoch(&self) -> u64;

    /// The control inputs that the ledger activated; none before genesis.
    fn active_inputs(&self) -> Option<Inputs>;
}

/// The root of a head as a digest, as tree heads in approvals and permits carry it.
#[must_use]
pub fn root_digest(root: &Hash) -> Digest {
    Digest::from_bytes(*root.as_bytes())
}
