//! What is under way: a use case as a future that is polled by hand, and what it answered.

use std::{future::Future, pin::Pin};

use holdpoint_domain::{Id, halt::Reach, id::kind, record::Request};

use crate::{approve::Decided, halt::HaltDone, propose::Proposed, refusal::Refusal};

/// What a use case answered.
pub(super) enum Done {
    /// The gate began to serve, or could not.
    Started(Result<(), Refusal>),
    /// A plan was proposed.
    Proposed(Result<Box<Proposed>, Refusal>),
    /// A statement on a hold was brought.
    Decided(Result<Decided, Refusal>),
    /// A halt was asked for.
    Halted(Reach, Result<HaltDone, Refusal>),
    /// Something else that leaves a record when it is refused.
    Answered(Result<(), Refusal>),
    /// Something that the gate does by itself.
    Ticked(Result<(), Refusal>),
}

impl Done {
    pub(super) fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Started(Err(refusal))
            | Self::Proposed(Err(refusal))
            | Self::Decided(Err(refusal))
            | Self::Halted(_, Err(refusal))
            | Self::Answered(Err(refusal))
            | Self::Ticked(Err(refusal)) => Some(refusal),
            _ => None,
        }
    }
}

/// Who asked, and for what: what a refusal must leave in the log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asking {
    pub(super) request: Request,
    /// Somebody of the registry. Strangers leave no record.
    pub(super) known: bool,
}

pub(super) type Doing = Pin<Box<dyn Future<Output = Done>>>;

/// A use case that is under way.
pub(super) struct Task {
    pub(super) name: String,
    pub(super) doing: Doing,
    pub(super) asking: Option<Asking>,
    /// The plan whose run it drives.
    pub(super) drives: Option<Id<kind::Plan>>,
    /// The event at which it began, and how large the log was.
    pub(super) began: u64,
    pub(super) size: u64,
    /// It sleeps until this moment of the clock that only goes forward.
    pub(super) wakes: u64,
    /// Calls to issuer or executor that it waits for.
    pub(super) under_way: usize,
    /// Its process is gone; only what it asked of others goes on.
    pub(super) orphan: bool,
}
