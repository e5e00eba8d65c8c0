//! What goes between the roles: small JSON bodies, nothing optional that is not said to be, and no unknown field.

use std::collections::BTreeMap;

use holdpoint_app::port::{Acted, ActedPhase, ExecuteError, Observation};
use holdpoint_domain::{
    Digest, Id, Timestamp,
    digest::DigestError,
    halt::Halt,
    id::kind,
    lease::{LeaseInfo, Scope},
    plan::Plan,
    signature::Signature,
};
use serde::{Deserialize, Serialize};

/// Largest body: a plan, a permit with its approvals, a record and two proofs.
pub const MAX_BODY: usize = 512 * 1024;
/// The rule of an answer that asks for a proof from another size.
pub const BEHIND: &str = "behind";
/// The rule of an answer that a lease goes on until its own end.
pub const LASTS: &str = "lasts";

/// The proof that a permit's run is on record.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intent {
    /// The ledger index of the intent record.
    pub index: u64,
    /// The record's canonical bytes, as text.
    pub entry: String,
    /// Its inclusion in the head.
    pub inclusion: Vec<String>,
    /// The signed head.
    pub checkpoint: String,
    /// The size of the head that the role saw last.
    pub old_size: u64,
    /// That the head continues that one.
    pub consistency: Vec<String>,
}

/// `POST /v1/measure`: which condition on which target, both as both sides have them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measure {
    /// The condition.
    pub condition: Id<kind::Condition>,
    /// The digest of its entry in the catalogue.
    pub entry: Digest,
    /// The target.
    pub target: Id<kind::Target>,
    /// The digest of its entry in the inventory.
    pub place: Digest,
    /// Chosen for this question alone: an answer to another one is none to this.
    pub nonce: Digest,
}

/// `POST /v1/observe`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observe {
    /// The action.
    pub action: Id<kind::Action>,
    /// The digest of its entry in the catalogue.
    pub entry: Digest,
    /// The target.
    pub target: Id<kind::Target>,
    /// The digest of its entry in the inventory.
    pub place: Digest,
    /// Chosen for this question alone: an answer to another one is none to this.
    pub nonce: Digest,
}

/// An answer of the observer, signed for the question: whoever only answers in its place has no key for that.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answered<T> {
    /// The answer.
    pub answer: T,
    /// Of the observer's key of evidence, over question and answer.
    pub signature: Signature,
}

/// The bytes that an observer signs: its answer, and the question with its nonce.
///
/// # Errors
/// A value without a canonical form.
pub fn answer_bytes(ask: &impl Serialize, answer: &impl Serialize) -> Result<Vec<u8>, DigestError> {
    Digest::of(&(ask, answer)).map(|digest| digest.as_bytes().to_vec())
}

/// What the observer saw.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    version: Digest,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    parts: BTreeMap<String, String>,
    down: bool,
    undo_computed: bool,
    acted: Option<ActedBody>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ActedBody {
    epoch: u64,
    phase: PhaseWord,
    left: Option<Digest>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PhaseWord {
    Begun,
    Applied,
    Undone,
}

/// `POST /v1/leases`, at the issuer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issue {
    /// What everybody may know of the lease.
    pub info: LeaseInfo,
    /// The permit as signed.
    pub jws: String,
    /// Its plan.
    pub plan: Plan,
    /// The proof of its intent.
    pub intent: Intent,
}

/// A lease whose secret only the executor can read.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    /// The sealed secret.
    pub sealed: String,
}

/// `POST /v1/leases/terms`, at the issuer: the answer is the terms of the backend that leases for the scope.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskTerms {
    /// The scope.
    pub scope: Scope,
}

/// `POST /v1/leases/backends`, at the issuer.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskBackends {}

/// The backends whose leases outlive the issuer's process.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outliving {
    /// Their names.
    pub backends: Vec<Id<kind::Backend>>,
}

/// `POST /v1/leases/held`, at the issuer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskHeld {
    /// The backend.
    pub backend: Id<kind::Backend>,
}

/// The leases of ours that a backend holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// Their ids.
    pub leases: Vec<Id<kind::Lease>>,
}

/// `POST /v1/leases/revoke`, at the issuer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// What minted it; `null` for the executor's own book.
    #[serde(deserialize_with = "said")]
    pub backend: Option<Id<kind::Backend>>,
    /// The lease.
    pub lease: Id<kind::Lease>,
}

/// `POST /v1/leases/end`, at the executor, by the issuer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// The lease.
    pub lease: Id<kind::Lease>,
}

/// `POST /v1/leases/admit`, at the executor, by the issuer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admit {
    /// What was minted.
    pub info: LeaseInfo,
    /// The digest of its secret.
    pub secret: Digest,
}

/// The answer to [`Admit`] and [`End`].
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Live {
    /// Whether the lease is good for a use now.
    pub live: bool,
}

/// What a role did, where there is nothing more to say.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Done {}

/// `POST /v1/steps/…`, at the executor.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Work {
    /// The permit as signed.
    pub jws: String,
    /// Its plan.
    pub plan: Plan,
    /// Which step.
    pub step: usize,
    /// The lease, without its secret.
    pub lease: LeaseInfo,
    /// The sealed secret, as the issuer made it.
    pub sealed: String,
    /// For an undo: the version that the step's effect left.
    pub from: Option<Digest>,
    /// The proof of its intent.
    pub intent: Intent,
}

/// What came of a step.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case", deny_unknown_fields)]
pub enum Outcome {
    /// It is done.
    Done,
    /// It was refused, and nothing was touched.
    Refused {
        /// Why.
        why: String,
    },
    /// It failed, and nothing was touched.
    NotDone {
        /// Why.
        why: String,
    },
    /// It failed half-way, or nobody can tell.
    Unknown {
        /// Why.
        why: String,
    },
}

/// `POST /v1/halt`, at issuer and executor: what is in force at the gate.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tell {
    /// The halt; `null` when there is none. An object that does not say so lifts nothing.
    #[serde(deserialize_with = "said")]
    pub halt: Option<Halt>,
    /// When the gate said so: what it said before is not heard any more.
    pub at_ms: Timestamp,
}

/// A field that must be there, `null` or not: without it serde would read one that is missing as `null`.
fn said<'de, T: Deserialize<'de>, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer)
}

/// Every answer that is not the one asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Problem {
    /// A stable word.
    pub rule: String,
    /// What it is about.
    pub detail: String,
    /// For [`BEHIND`]: the size from which a proof is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

impl From<Observation> for Seen {
    fn from(seen: Observation) -> Self {
        let Observation { version, parts, down, undo_computed, acted } = seen;
        let acted = acted.map(|Acted { epoch, phase, left }| {
            let phase = match phase {
                ActedPhase::Begun => PhaseWord::Begun,
                ActedPhase::Applied => PhaseWord::Applied,
                ActedPhase::Undone => PhaseWord::Undone,
            };
            ActedBody { epoch, phase, left }
        });
        let parts = parts.iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect();
        Self { version, parts, down, undo_computed, acted }
    }
}

impl From<Seen> for Observation {
    fn from(seen: Seen) -> Self {
        let Seen { version, parts, down, undo_computed, acted } = seen;
        let acted = acted.map(|ActedBody { epoch, phase, left }| {
            let phase = match phase {
                PhaseWord::Begun => ActedPhase::Begun,
                PhaseWord::Applied => ActedPhase::Applied,
                PhaseWord::Undone => ActedPhase::Undone,
            };
            Acted { epoch, phase, left }
        });
        // Bounded anew: another process said them.
        Self { version, parts: parts.into_iter().collect(), down, undo_computed, acted }
    }
}

impl From<Result<(), ExecuteError>> for Outcome {
    fn from(result: Result<(), ExecuteError>) -> Self {
        match result {
            Ok(()) => Self::Done,
            Err(ExecuteError::Refused(why)) => Self::Refused { why },
            Err(ExecuteError::NotDone(why)) => Self::NotDone { why },
            Err(ExecuteError::Unknown(why)) => Self::Unknown { why },
        }
    }
}

impl From<Outcome> for Result<(), ExecuteError> {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Ok(()),
            Outcome::Refused { why } => Err(ExecuteError::Refused(why)),
            Outcome::NotDone { why } => Err(ExecuteError::NotDone(why)),
            Outcome::Unknown { why } => Err(ExecuteError::Unknown(why)),
        }
    }
}
