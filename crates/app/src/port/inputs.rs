//! Control inputs as texts: what is on disk, what a change would put there, and how it is put in force.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use holdpoint_domain::{
    Digest, Id,
    change::Control,
    digest::{DigestError, canonical},
    id::kind,
    passkey::Passkey,
};
use serde::{Deserialize, Serialize};

use crate::gate::Gate;

/// The files of one control input, by the names that the configuration has for them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// Texts by name.
    pub files: BTreeMap<String, String>,
}

impl Document {
    /// The text that is kept beside the ledger and that approvers read: canonical JSON.
    pub fn text(&self) -> Result<String, DigestError> {
        // Canonical JSON is UTF-8.
        canonical(self).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Reads a kept text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

/// A control input that loads beside the others in force.
pub struct Loaded {
    /// Its digest.
    pub digest: Digest,
    /// The gate with it in force instead of the one now.
    pub gate: Arc<Gate>,
}

/// Reads, checks and replaces control inputs.
#[async_trait]
pub trait Inputs: Send + Sync {
    /// The document in force.
    fn active(&self, control: Control) -> Document;

    /// The names of a control input's files, those that are not there included.
    fn names(&self, control: Control) -> BTreeSet<String>;

    /// The registry's files that would be others if a passkey were a person's, with their new texts; or why it cannot be theirs.
    /// Touches nothing.
    fn with_passkey(
        &self,
        person: &Id<kind::Person>,
        passkey: &Passkey,
    ) -> Result<BTreeMap<String, String>, String>;

    /// Checks a document in the place of the one in force under `gate`, against all others, as a start of the gate would; all
    /// faults together. Touches nothing.
    async fn load(&self, gate: &Gate, control: Control, document: &Document) -> Result<Loaded, Vec<String>>;

    /// Puts in force what was loaded: in memory first, then on disk. The ledger has activated it already, so memory cannot fail;
    /// what is not on disk after a crash is put there at the next start.
    async fn activate(&self, control: Control, document: &Document, gate: Arc<Gate>);
}
