//! Refusals: which rule, which fact, what to do next, and whose fault it is.

use holdpoint_domain::{dependencies::DependenciesError, digest::DigestError};

use crate::port::StoreError;

/// Whose fault a refusal is; decides the status over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The request is not well-formed, or names what is not there.
    Caller,
    /// The thing asked about does not exist.
    NotFound,
    /// The identity may not do this.
    Forbidden,
    /// It clashes with what happened meanwhile.
    Conflict,
    /// A peer of ours (a target, a telemetry source) did not answer.
    Peer,
    /// The gate cannot: it stays closed.
    Us,
}

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{fact} (rule `{rule}`)")]
pub struct Refusal {
    /// The rule, for machines.
    pub rule: &'static str,
    /// The fact that set it off, for people.
    pub fact: String,
    /// What to do next.
    pub next: String,
    /// Whose fault it is.
    pub blame: Blame,
}

impl Refusal {
    /// A refusal.
    #[must_use]
    pub fn new(blame: Blame, rule: &'static str, fact: impl Into<String>, next: impl Into<String>) -> Self {
        Self { rule, fact: fact.into(), next: next.into(), blame }
    }
}

impl From<StoreError> for Refusal {
    fn from(err: StoreError) -> Self {
        let fact = err.to_string();
        match err {
            StoreError::Conflict(_)
            | StoreError::Flow(_)
            | StoreError::Nonce(_)
            | StoreError::StaleInputs
            | StoreError::Crowded
            | StoreError::KnownRequest
            | StoreError::NotOpen(_)
            | StoreError::AccountNotOpen(_)
            | StoreError::DecidedBefore { .. } => {
                Self::new(Blame::Conflict, "too-late", fact, "look at the plan as it is now")
            }
            StoreError::TargetBusy { .. } => {
                Self::new(Blame::Conflict, "target-busy", fact, "wait until that run has ended")
            }
            StoreError::Redeemed(_) => {
                Self::new(Blame::Conflict, "invitation-used", fact, "ask an administrator for another one")
            }
            StoreError::Counter { .. } => Self::new(
                Blame::Forbidden,
                "passkey-counter",
                fact,
                "there may be a copy of this passkey: use another one, and have this one removed",
            ),
            StoreError::Epoch { .. } => Self::new(Blame::Conflict, "stale-epoch", fact, "try again"),
            StoreError::TooLarge { .. } => Self::new(Blame::Caller, "too-large", fact, "send less"),
            StoreError::Full(_) | StoreError::Closed(_) | StoreError::Corrupt(_) => Self::new(
                Blame::Us,
                "gate-closed",
                fact,
                "nothing was started; an operator must look at the store before the gate opens again",
            ),
        }
    }
}

impl From<DependenciesError> for Refusal {
    fn from(err: DependenciesError) -> Self {
        Self::new(
            Blame::Us,
            "dependencies-unknown",
            err.to_string(),
            "report this: the dependencies in force are not those of the inventory in force",
        )
    }
}

impl From<DigestError> for Refusal {
    fn from(err: DigestError) -> Self {
        Self::new(
            Blame::Us,
            "not-canonical",
            err.to_string(),
            "report this: the gate built a value without canonical form",
        )
    }
}

/// A fault of the gate itself, such as an id that does not fit its own grammar. Nothing was started.
pub(crate) fn internal(what: impl std::fmt::Display) -> Refusal {
    Refusal::new(Blame::Us, "internal", what.to_string(), "nothing was started; report this")
}
