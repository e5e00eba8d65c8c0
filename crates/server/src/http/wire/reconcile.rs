//! What was done outside of Holdpoint, over the wire.

use holdpoint_domain::{
    Digest, Id, Timestamp,
    id::kind,
    reconcile::{Account, Part, ReconcileStatement, Words},
    signed::Signed,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::http::schema;

/// The body of `POST /v1/reconciliations`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewReconciliation {
    /// What the person says, signed.
    #[schemars(with = "schema::SignedReconcileStatement")]
    pub(crate) statement: Signed<ReconcileStatement>,
    /// With a report: the words that its account commits to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::AccountWords>")]
    pub(crate) words: Option<Words>,
    /// With a report: the salt of `account.words`, 32 bytes in base64 without padding. Under it the canonical JSON of `words` gives
    /// exactly that commitment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) salt: Option<String>,
}

/// The answer to a statement about what was done outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Reconciled {
    /// The digest of the account.
    #[schemars(with = "schema::Digest")]
    pub(crate) digest: Digest,
    /// How far it is.
    #[schemars(with = "schema::Words<Part>")]
    pub(crate) state: Part,
}

/// What was done outside, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Reconciliations {
    /// The log that the gate writes: an account names it.
    pub(crate) origin: String,
    /// The accounts.
    pub(crate) accounts: Vec<Reconciliation>,
}

/// An account of what was done outside, and who said what about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Reconciliation {
    /// The digest of the account.
    #[schemars(with = "schema::Digest")]
    pub(crate) digest: Digest,
    /// How far it is.
    #[schemars(with = "schema::Words<Part>")]
    pub(crate) state: Part,
    /// The account: what everybody signs.
    #[schemars(with = "schema::Account")]
    pub(crate) account: Account,
    /// What it commits to, in people's own words, measured by nobody; none when it was erased.
    #[schemars(with = "Option<schema::AccountWords>")]
    pub(crate) words: Option<Words>,
    /// The salt of `account.words`, in base64 without padding.
    pub(crate) salt: Option<String>,
    /// Who reported it.
    #[schemars(with = "schema::Name")]
    pub(crate) reported_by: Id<kind::Person>,
    /// When, by the gate's clock.
    #[schemars(with = "schema::Time")]
    pub(crate) reported_at_ms: Timestamp,
    /// Another one of those who did it, who says the same.
    #[schemars(with = "Option<schema::Name>")]
    pub(crate) confirmed_by: Option<Id<kind::Person>>,
    /// Who looked at it.
    #[schemars(with = "Option<schema::Name>")]
    pub(crate) looked: Option<Id<kind::Person>>,
    /// When that look is due.
    #[schemars(with = "schema::Time")]
    pub(crate) due_at_ms: Timestamp,
    /// The team that owes it.
    #[schemars(with = "schema::Name")]
    pub(crate) owner: Id<kind::Team>,
    /// The ledger index of the report.
    pub(crate) index: u64,
}
