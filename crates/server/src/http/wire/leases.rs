//! Leases on the wire. No secret is among them: the gate has none.

use holdpoint_domain::{Id, Timestamp, id::kind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::http::schema;

/// Credentials that are not proven dead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Leases {
    /// The leases.
    pub(crate) leases: Vec<Lease>,
}

/// A credential that is not proven dead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Lease {
    /// Its id.
    #[schemars(with = "schema::Name")]
    pub(crate) id: Id<kind::Lease>,
    /// The plan whose run it is for.
    #[schemars(with = "schema::Name")]
    pub(crate) plan: Id<kind::Plan>,
    /// The permit that it was minted for.
    #[schemars(with = "schema::Name")]
    pub(crate) permit: Id<kind::Permit>,
    /// What minted it; none for the table of bearer leases on the gate's machine.
    #[schemars(with = "Option<schema::Name>")]
    pub(crate) backend: Option<Id<kind::Backend>>,
    /// What it is good for, one a step.
    pub(crate) scopes: Vec<LeaseScope>,
    /// When it ends by itself.
    #[schemars(with = "schema::Time")]
    pub(crate) expires_at_ms: Timestamp,
    /// A person asked for its end.
    pub(crate) revocation_asked: bool,
    /// How often its end was tried in vain.
    pub(crate) failed_revocations: u32,
    /// Its end failed so often that somebody must look.
    pub(crate) alarm: bool,
    /// How its end failed last.
    pub(crate) last_failure: Option<String>,
}

/// What a lease is good for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct LeaseScope {
    /// The action.
    #[schemars(with = "schema::Name")]
    pub(crate) action: Id<kind::Action>,
    /// The target.
    #[schemars(with = "schema::Name")]
    pub(crate) target: Id<kind::Target>,
}

/// Asks for the end of a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRevocation {}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Revocation {
    /// The lease.
    #[schemars(with = "schema::Name")]
    pub(crate) lease: Id<kind::Lease>,
    /// A failed use proved its end. If not, the gate goes on trying.
    pub(crate) proven: bool,
}
