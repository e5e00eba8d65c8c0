//! Clock, randomness, keys, probes, observers, leases and executors.

use async_trait::async_trait;
use holdpoint_domain::{
    Digest, Id, Millis, Timestamp,
    action::Action,
    aftermath::Metered,
    digest::Salt,
    id::kind,
    lease::{Lease, LeaseInfo, Scope, Terms},
    parts::Parts,
    permit::Permit,
    plan::{Plan, Step},
    signature::{PublicKey, Signature},
    target::{Inventory, Target},
    trigger::{Condition, Reading, SignedEvidence, Subject},
};

use crate::receipt::Receipt;

/// Time.
#[async_trait]
pub trait Clock: Send + Sync {
    /// The time now. It may jump; nothing but order in the ledger is derived from it.
    fn now(&self) -> Timestamp;

    /// A clock that only goes forward, for measuring spans; its zero is arbitrary.
    fn elapsed(&self) -> Millis;

    /// Returns after a span.
    async fn sleep(&self, span: Millis);
}

/// Randomness, from a cryptographic generator.
pub trait Ids: Send + Sync {
    /// 128 bits that nobody can guess and that never come twice.
    fn unique(&self) -> u128;

    /// A salt.
    fn salt(&self) -> Salt;
}

/// An Ed25519 key of one purpose.
pub trait Signer: Send + Sync {
    /// The public key.
    fn public_key(&self) -> PublicKey;

    /// Signs these bytes. The caller separates domains.
    fn sign(&self, bytes: &[u8]) -> Signature;
}

/// The gate's own measurements.
#[async_trait]
pub trait Prober: Send + Sync {
    /// Asks every probe of a condition on a target, at once. Never fails: what cannot be measured is an indeterminate
    /// reading. Read-only and safe to repeat. Returns within the longest time limit of the probes, plus a second.
    async fn measure(&self, condition: &Condition, subject: Subject<'_>) -> Vec<Reading>;

    /// The same, signed by whoever measured. None where the measuring is done in this process, whose own key then signs.
    async fn signed(
        &self,
        _condition: &Condition,
        _target: &Target,
    ) -> Option<Result<SignedEvidence, MeasureError>> {
        None
    }
}

/// Measures the signals of an inventory, for the record alone: nothing is decided from them.
#[async_trait]
pub trait Meter: Send + Sync {
    /// Asks for every signal at once, of all services. Never fails: what cannot be measured is unknown. Read-only and safe to
    /// repeat. Returns within the longest time limit of the signals, plus a second.
    async fn read(&self, inventory: &Inventory) -> Vec<Metered>;
}

/// The observer gave no evidence: it was not reached, or what it gave is not its own or not of what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the observer gave no evidence: {0}")]
pub struct MeasureError(pub String);

/// What the observer sees of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// The relevant version: a digest of the fields that the action depends on.
    pub version: Digest,
    /// What the version is made of, for people: it tells what changed. No part is a secret, and none
    /// is the target's own words: words of ours, numbers of a type, digests.
    pub parts: Parts,
    /// The target is down.
    pub down: bool,
    /// The state before could be captured, so that an undo of the action's kind can be computed.
    pub undo_computed: bool,
    /// Which of our runs acted on the target last, as the target itself remembers it.
    pub acted: Option<Acted>,
}

/// What a step would change on its target, for people to read. Nothing is decided from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// The relevant version now. Where it is the one that a plan expects, the fields before are those that the plan is about.
    pub version: Digest,
    /// The fields that the step touches. None holds a secret.
    pub fields: Vec<Field>,
    /// Why the executor would refuse the step as the target is now.
    pub refused: Option<String>,
}

/// A field of a target, before and after a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// What it is called.
    pub name: String,
    /// What is there now, as the target has it.
    pub before: String,
    /// What would be there.
    pub after: String,
}

/// A target's memory of the run that acted on it last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acted {
    /// The permit's fencing epoch.
    pub epoch: u64,
    /// How far it got.
    pub phase: ActedPhase,
    /// The version that it left, noted with the effect; none while it has only begun. What the target is *now* may be the
    /// work of somebody else.
    pub left: Option<Digest>,
}

impl Acted {
    /// Whether it is this epoch's run, and got this far.
    #[must_use]
    pub fn is(&self, epoch: u64, phase: ActedPhase) -> bool {
        self.epoch == epoch && self.phase == phase
    }
}

/// How far a run got with a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActedPhase {
    /// It began and did not finish: the target is neither before nor after.
    Begun,
    /// It applied its effect.
    Applied,
    /// It undid its effect.
    Undone,
}

/// A target that cannot be observed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObserveError {
    /// No reader for this kind of target.
    #[error("no reader for executor `{0}`")]
    NoReader(Id<kind::Executor>),
    /// The reader does not know the target.
    #[error("the reader does not know target `{0}`")]
    Unknown(Id<kind::Target>),
    /// It did not answer, or answered nonsense.
    #[error("target `{target}` cannot be observed: {why}")]
    Failed {
        /// The target.
        target: Id<kind::Target>,
        /// Why.
        why: String,
    },
}

/// Reads targets. Holds read-only credentials and never writes.
#[async_trait]
pub trait Observer: Send + Sync {
    /// The target as it is now, as far as `action` depends on it. Safe to repeat.
    async fn observe(&self, action: &Action, target: &Target) -> Result<Observation, ObserveError>;

    /// What a step of `action` would change, with the state now; none where a reader can tell no more than a version. Safe to
    /// repeat.
    async fn preview(
        &self,
        _action: &Action,
        _target: &Target,
        _step: &Step,
    ) -> Result<Option<Preview>, ObserveError> {
        Ok(None)
    }
}

/// Why no lease was issued, or why it is not revoked yet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// The permit, its receipt or its scope does not stand the issuer's own check.
    #[error("the issuer refused: {0}")]
    Refused(String),
    /// The backend did not do it. Try again.
    #[error("the lease backend failed: {0}")]
    Backend(String),
    /// It cannot be ended before its own end, because its target asks nobody. Try again then.
    #[error("the lease goes on until its own end: {0}")]
    Lasts(String),
}

/// Mints and ends credentials, in one backend or several. Each call returns within ten seconds or so, whatever a backend does,
/// and none waits for a backend that it is not about. Errors never carry a secret.
#[async_trait]
pub trait Issuer: Send + Sync {
    /// The backend that leases for a scope, and its terms. Asks no backend.
    async fn terms(&self, scope: &Scope) -> Result<Terms, IssueError>;

    /// Mints a lease for a permit whose intent is in the ledger, as the receipt proves. The lease ends by itself at its
    /// `expires_at_ms`, even if nobody revokes it.
    async fn issue(
        &self,
        info: LeaseInfo,
        permit: &Permit,
        receipt: &Receipt,
        plan: &Plan,
    ) -> Result<Lease, IssueError>;

    /// Ends a lease and proves it by a use that fails. Idempotent: a lease that is gone, or that was never minted, is a
    /// success. A lease whose revocation was asked for once is never minted afterwards by the same process.
    async fn revoke(
        &self,
        backend: Option<&Id<kind::Backend>>,
        lease: &Id<kind::Lease>,
    ) -> Result<(), IssueError>;

    /// The backends that outlive this process, by name. Asks none of them.
    async fn backends(&self) -> Result<Vec<Id<kind::Backend>>, IssueError>;

    /// The leases of ours that a backend holds, alive or half gone: what a crash may have left. Never what is not ours.
    async fn held(&self, backend: &Id<kind::Backend>) -> Result<Vec<Id<kind::Lease>>, IssueError>;
}

/// What an executor is given: everything it needs to check for itself.
#[derive(Debug, Clone, Copy)]
pub struct Work<'a> {
    /// The permit as signed. The executor opens it with the key that it has pinned.
    pub jws: &'a str,
    /// The plan. The executor encodes it anew and compares the digest.
    pub plan: &'a Plan,
    /// Which step.
    pub step: usize,
    /// The lease.
    pub lease: &'a Lease,
}

/// What came of an executor's work. A claim, never evidence: the observer has the last word.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExecuteError {
    /// The permit, the plan, the approvals, the lease, the epoch, the version or the allow-list does not stand the
    /// executor's own check. Nothing was touched.
    #[error("the executor refused: {0}")]
    Refused(String),
    /// It failed, and nothing was touched.
    #[error("nothing was done: {0}")]
    NotDone(String),
    /// It failed half-way, or nobody can tell.
    #[error("it is not known what happened: {0}")]
    Unknown(String),
}

/// Runs exactly the steps of permitted plans. Checks everything for itself, without any policy engine, and refuses an
/// epoch below the highest that the target has seen.
#[async_trait]
pub trait Executor: Send + Sync {
    /// A dry run of the step and of its undo. Touches nothing.
    async fn rehearse(&self, work: Work<'_>) -> Result<(), ExecuteError>;

    /// The step. The target must have the step's expected version at the moment of the write. Repeating it under the same
    /// epoch after it was applied does nothing.
    async fn apply(&self, work: Work<'_>) -> Result<(), ExecuteError>;

    /// Takes the step back. The target must have the version `from`, which our effect left.
    async fn undo(&self, work: Work<'_>, from: &Digest) -> Result<(), ExecuteError>;
}
