//! The ledger, as it is told.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::http::schema;

/// A run of ledger entries.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Entries {
    /// How many entries the ledger has.
    pub(crate) size: u64,
    /// The entries, in order.
    pub(crate) entries: Vec<Entry>,
}

/// A ledger entry.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Entry {
    /// Its index.
    pub(crate) index: u64,
    /// The record: exactly the entry's bytes, so that its leaf hash can be computed from them.
    #[schemars(with = "schema::Record")]
    pub(crate) record: Box<RawValue>,
}

/// A consistency proof (RFC 6962 section 2.1.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Consistency {
    /// The size of the older tree.
    pub(crate) old: u64,
    /// The size of the newer tree.
    pub(crate) new: u64,
    /// The hashes, in base64.
    pub(crate) hashes: Vec<String>,
}
