//! The control inputs as they go over the wire, and looks at the world.

use std::collections::BTreeSet;

use holdpoint_domain::{
    Digest, Id, Tier,
    action::Action,
    facts::Origin,
    id::kind,
    provenance::{self, Integrity},
    target::Criticality,
    trigger::Condition,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::http::schema;

/// A page of the catalogue, by id.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Catalogue {
    /// The digest of the whole catalogue in force.
    #[schemars(with = "schema::Digest")]
    pub(crate) digest: Digest,
    /// The actions.
    pub(crate) actions: Vec<CatalogueEntry>,
    /// The conditions that they name.
    #[schemars(with = "Vec<schema::Condition>")]
    pub(crate) conditions: Vec<Condition>,
    /// Where the next page begins: send it as `after`. None at the end.
    #[schemars(with = "Option<schema::Name>")]
    pub(crate) next: Option<Id<kind::Action>>,
}

/// One action of the catalogue, with its conditions.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct CatalogueAction {
    /// The action.
    pub(crate) entry: CatalogueEntry,
    /// The conditions that it names.
    #[schemars(with = "Vec<schema::Condition>")]
    pub(crate) conditions: Vec<Condition>,
}

/// An action, and what follows from its facts alone.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct CatalogueEntry {
    /// The operator's facts.
    #[schemars(with = "schema::Action")]
    pub(crate) action: Action,
    /// The digest of the entry: plans name it.
    #[schemars(with = "schema::Digest")]
    pub(crate) digest: Digest,
    /// All its groups in policy, those generated from its facts included.
    #[schemars(with = "BTreeSet<schema::Name>")]
    pub(crate) groups: BTreeSet<Id<kind::ActionGroup>>,
    /// Tiers that guardrails demand of these facts, whoever asks and whatever policy says.
    pub(crate) floors: Vec<Floor>,
}

/// A tier that a guardrail demands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Floor {
    /// The guardrail.
    pub(crate) rule: String,
    /// Not below this.
    #[schemars(with = "schema::Words<Tier>")]
    pub(crate) tier: Tier,
    /// The fact that it is about.
    pub(crate) fact: String,
}

/// A page of the inventory, by target.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Inventory {
    /// The digest of the whole inventory in force.
    #[schemars(with = "schema::Digest")]
    pub(crate) digest: Digest,
    /// The targets.
    pub(crate) targets: Vec<InventoryTarget>,
    /// Their services.
    pub(crate) services: Vec<InventoryService>,
    /// Where the next page begins: send it as `after`. None at the end.
    #[schemars(with = "Option<schema::Name>")]
    pub(crate) next: Option<Id<kind::Target>>,
}

/// A thing that can be acted on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct InventoryTarget {
    /// Its id.
    #[schemars(with = "schema::Name")]
    pub(crate) id: Id<kind::Target>,
    /// The service that it is an instance of.
    #[schemars(with = "schema::Name")]
    pub(crate) service: Id<kind::Service>,
    /// Which executor can act on it.
    #[schemars(with = "schema::Name")]
    pub(crate) executor: Id<kind::Executor>,
    /// What probes can ask. Not where: an address is the operator's business.
    pub(crate) endpoints: Vec<InventoryEndpoint>,
}

/// An endpoint of a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct InventoryEndpoint {
    /// Its name in conditions.
    #[schemars(with = "schema::Name")]
    pub(crate) name: Id<kind::Endpoint>,
    /// The source of telemetry that it belongs to.
    #[schemars(with = "schema::Name")]
    pub(crate) source: Id<kind::Source>,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct InventoryService {
    /// Its name.
    #[schemars(with = "schema::Name")]
    pub(crate) id: Id<kind::Service>,
    /// Where it runs.
    #[schemars(with = "schema::Name")]
    pub(crate) environment: Id<kind::Environment>,
    /// The team that owns it.
    #[schemars(with = "schema::Name")]
    pub(crate) owner: Id<kind::Team>,
    /// How much depends on it.
    #[schemars(with = "schema::Words<Criticality>")]
    pub(crate) criticality: Criticality,
    /// Classes of data that it holds.
    #[schemars(with = "BTreeSet<schema::Name>")]
    pub(crate) data_classes: BTreeSet<Id<kind::DataClass>>,
    /// Whether any instance can be lost without losing state.
    pub(crate) stateless: bool,
    /// How many targets it has.
    pub(crate) replicas: u32,
    /// Services that it needs.
    #[schemars(with = "BTreeSet<schema::Name>")]
    pub(crate) depends_on: BTreeSet<Id<kind::Service>>,
    /// Services known to need it, beside those that say so themselves.
    #[schemars(with = "BTreeSet<schema::Name>")]
    pub(crate) dependents: BTreeSet<Id<kind::Service>>,
}

/// The body of `POST /v1/probes`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewProbe {
    /// The condition.
    #[schemars(with = "schema::Name")]
    pub(crate) condition: Id<kind::Condition>,
    /// The target.
    #[schemars(with = "schema::Name")]
    pub(crate) target: Id<kind::Target>,
}

/// A value that a decision is made from, or that people are shown beside it, and whose word it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Sourced {
    /// What it is.
    pub(crate) field: String,
    /// Who could have written it.
    #[schemars(with = "schema::Words<Integrity>")]
    pub(crate) integrity: Integrity,
    /// Whether the decision takes it as it is (`clean`), or as the agent's word alone (`tainted`); none for what no decision is made from.
    #[schemars(with = "Option<schema::Words<Origin>>")]
    pub(crate) origin: Option<Origin>,
    /// Where it comes from.
    pub(crate) source: String,
    /// Why it counts as that.
    pub(crate) why: String,
}

impl From<provenance::Sourced> for Sourced {
    fn from(of: provenance::Sourced) -> Self {
        Self {
            field: of.field.to_owned(),
            integrity: of.integrity,
            origin: of.origin,
            source: of.source.to_owned(),
            why: of.why.to_owned(),
        }
    }
}
