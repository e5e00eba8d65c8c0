//! Sources beside the services' own words in the inventory: catalogues that were read with it, and service graphs that are read
//! again and again. The inventory says which there are, so that none comes or goes without an approved change.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Dependencies, Dependency};
use crate::{
    Digest, Id, Millis, Timestamp,
    graph::EdgeKind,
    id::kind,
    target::{Address, AddressFault, Endpoint, Inventory},
};

/// The source that the inventory itself is. No other one has this name.
pub const INVENTORY: &str = "inventory";
/// How far from the future a reading may be.
const MAX_FUTURE: Millis = Millis::secs(5);
/// What stands before the digest of a name that is none.
const UNNAMED: &str = "unnamed";

/// A service graph in a Prometheus: the metric `traces_service_graph_request_total` of OpenTelemetry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceGraph {
    /// Its name as a source of dependencies.
    pub source: Id<kind::Source>,
    /// The base address of the Prometheus.
    pub url: String,
    /// The digest of the public key that whoever answers there must prove to have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Digest>,
    /// How long after a reading it is read again; 15 seconds unless said otherwise.
    #[serde(default = "every")]
    pub every_ms: Millis,
    /// How old the newest call that it has seen may be. Beyond that decisions are stricter.
    pub max_age_ms: Millis,
    /// For how long a dependency is kept that is not seen any more; a week unless said otherwise. Quiet is not gone.
    #[serde(default = "keep")]
    pub keep_ms: Millis,
    /// What services are called there, where that is not their name in the inventory.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub names: BTreeMap<String, Id<kind::Service>>,
}

const fn every() -> Millis {
    Millis::secs(15)
}

const fn keep() -> Millis {
    Millis::secs(7 * 24 * 60 * 60)
}

/// What a catalogue beside the inventory says: it is approved with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Declared {
    /// Who needs whom, and how.
    pub dependencies: BTreeSet<(Id<kind::Service>, Id<kind::Service>, EdgeKind)>,
}

/// What was seen once in a service graph.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observed {
    /// Who called whom.
    pub calls: BTreeSet<Dependency>,
    /// Who called whom before that, and when last; none where nobody asked. The first of all observations has it, for what is quiet as it
    /// is made is not gone.
    pub earlier: Option<BTreeMap<Dependency, Timestamp>>,
    /// Requests a second to each service; empty where that could not be told.
    pub rates: BTreeMap<Id<kind::Service>, f64>,
}

/// A source of dependencies that was not read for too long, or never.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unread {
    /// The source.
    pub source: Id<kind::Source>,
    /// Of when its last reading is; none where there is none.
    pub read_at_ms: Option<Timestamp>,
}

impl ServiceGraph {
    /// Refuses an address that nobody may ask, and times that do not go together.
    pub fn check(&self) -> Result<(), String> {
        let at = Address::Url(self.url.clone());
        let endpoint = Endpoint { source: self.source.clone(), at, pin: self.pin };
        endpoint.check().map_err(|fault: AddressFault| fault.to_string())?;
        if self.every_ms < Millis::secs(1) {
            return Err(format!("expected `every_ms` of at least 1000, got {}", self.every_ms.ms()));
        }
        if self.max_age_ms < self.every_ms || self.keep_ms < self.max_age_ms {
            return Err(
                "expected `every_ms` to be at most `max_age_ms`, and that at most `keep_ms`".to_owned()
            );
        }
        Ok(())
    }

    /// The service that a label names: the one that the operator says, or the one with that name in lower case. What is no name of a
    /// service gets one that the inventory does not know, always the same: it is unknown, and not nothing.
    #[must_use]
    pub fn service(&self, label: &str) -> Option<Id<kind::Service>> {
        if let Some(service) = self.names.get(label) {
            return Some(service.clone());
        }
        let digest = || Digest::of_bytes(label.as_bytes()).to_string();
        let unnamed = || {
            let digest = digest();
            let hex = digest.trim_start_matches("sha256:");
            format!("{UNNAMED}-{}", hex.get(..32).unwrap_or(hex))
        };
        Id::parse(&label.to_ascii_lowercase()).or_else(|_| Id::parse(&unnamed())).ok()
    }
}

impl Unread {
    /// The first of the service graphs of the inventory whose reading is too old, or that has none.
    #[must_use]
    pub fn first(inventory: &Inventory, dependencies: &Dependencies, now: Timestamp) -> Option<Self> {
        inventory.service_graphs().iter().find_map(|graph| {
            let read_at_ms = dependencies.read_at(&graph.source);
            let is_fresh = |at: Timestamp| now.since(at) <= graph.max_age_ms && at.since(now) <= MAX_FUTURE;
            (!read_at_ms.is_some_and(is_fresh)).then(|| Self { source: graph.source.clone(), read_at_ms })
        })
    }
}
