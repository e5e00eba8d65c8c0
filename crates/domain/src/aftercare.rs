//! Aftercare: what people owe to a run when it is over. A review of what ran without anybody's look, and the resolution of
//! what nobody knows the end of.

use serde::{Deserialize, Serialize};

use crate::{Digest, Id, id::kind, signature::Purpose, signed::Statement};

/// The three questions of a review.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answers {
    /// Was the trigger what the probes said it was?
    pub trigger_was_real: bool,
    /// Did the action do what it should, and nothing else?
    pub did_what_it_should: bool,
    /// Should this agent go on doing this by itself? Anything but yes keeps T1 and T2 suspended for the action and the agent.
    pub may_go_on: bool,
}

/// What a person says about a run that they looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReviewStatement {
    /// `holdpoint/review/v1`.
    pub r#type: ReviewType,
    /// The plan whose run it was.
    pub plan: Id<kind::Plan>,
    /// The plan's digest.
    pub digest: Digest,
    /// The ledger index of the last record of the plan that the person has seen.
    #[serde(deserialize_with = "crate::digest::whole")]
    pub seen: u64,
    /// Who looked.
    pub reviewer: Id<kind::Person>,
    /// What they found.
    pub answers: Answers,
}

/// The type tag of [`ReviewStatement`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReviewType {
    /// Version 1.
    #[serde(rename = "holdpoint/review/v1")]
    V1,
}

/// How a run in doubt ended, as a person found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// The targets are as they were before.
    AsBefore,
    /// The targets are as the plan wanted them.
    AsPlanned,
    /// Neither: the person put them right by hand.
    PutRight,
}

/// What a person says about a run in doubt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResolutionStatement {
    /// `holdpoint/resolution/v1`.
    pub r#type: ResolutionType,
    /// The plan whose run it is.
    pub plan: Id<kind::Plan>,
    /// The plan's digest.
    pub digest: Digest,
    /// The ledger index of the last record of the plan that the person has seen.
    #[serde(deserialize_with = "crate::digest::whole")]
    pub seen: u64,
    /// Who looked.
    pub resolver: Id<kind::Person>,
    /// What they found.
    pub found: Found,
}

/// The type tag of [`ResolutionStatement`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResolutionType {
    /// Version 1.
    #[serde(rename = "holdpoint/resolution/v1")]
    V1,
}

impl Statement for ReviewStatement {
    const PURPOSE: Purpose = Purpose::Review;

    fn by(&self) -> &Id<kind::Person> {
        &self.reviewer
    }
}

impl Statement for ResolutionStatement {
    const PURPOSE: Purpose = Purpose::Resolution;

    fn by(&self) -> &Id<kind::Person> {
        &self.resolver
    }
}

impl Found {
    /// The word in records and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AsBefore => "as_before",
            Self::AsPlanned => "as_planned",
            Self::PutRight => "put_right",
        }
    }
}
