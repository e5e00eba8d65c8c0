//! Incidents on the wire. What their alerts say is not among it: an alert is written by anybody.

use std::collections::BTreeSet;

use holdpoint_domain::{Id, Timestamp, id::kind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::http::schema;

/// Incidents that sources outside told of, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Incidents {
    /// The incidents.
    pub(crate) incidents: Vec<Incident>,
}

/// An incident that a source outside told of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Incident {
    /// Its id, which a plan may name.
    #[schemars(with = "schema::Name")]
    pub(crate) id: Id<kind::Incident>,
    /// Who told of it.
    #[schemars(with = "schema::Name")]
    pub(crate) source: Id<kind::Source>,
    /// Runs on what it concerns count for it now.
    pub(crate) open: bool,
    /// How many alerts fire.
    pub(crate) firing: u32,
    /// It concerns every service.
    pub(crate) everywhere: bool,
    /// The services that it concerns.
    #[schemars(with = "BTreeSet<schema::Name>")]
    pub(crate) services: BTreeSet<Id<kind::Service>>,
    /// When it was told of first.
    #[schemars(with = "schema::Time")]
    pub(crate) opened_at_ms: Timestamp,
    /// When it was heard of last.
    #[schemars(with = "schema::Time")]
    pub(crate) heard_at_ms: Timestamp,
    /// When its source said that it is over.
    #[schemars(with = "Option<schema::Time>")]
    pub(crate) resolved_at_ms: Option<Timestamp>,
}
