//! Targets and services: what the inventory says about the things that plans act on.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    Digest, Id, Timestamp,
    dependencies::{
        Declared, Dependencies, DependenciesError, Dependency, INVENTORY, MAX_SOURCES, Reading, ServiceGraph,
    },
    digest::DigestError,
    fate::{self, MAX_SHARES, Shared, Shares},
    graph::{EdgeKind, Indexing},
    id::kind,
    signal::{Signal, SignalFault},
};

/// Most services, and most targets, in one inventory file of this first form.
pub const MAX_INVENTORY: usize = 100_000;

/// How much depends on a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Criticality {
    /// Nobody notices for a while.
    Low,
    /// Somebody notices.
    Medium,
    /// Users notice.
    High,
    /// The business stops.
    Critical,
}

impl Criticality {
    /// The word in the inventory and in policy.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Its name.
    pub id: Id<kind::Service>,
    /// Where it runs.
    pub environment: Id<kind::Environment>,
    /// The team that owns it.
    pub owner: Id<kind::Team>,
    /// How much depends on it.
    pub criticality: Criticality,
    /// Classes of data that it holds.
    #[serde(default)]
    pub data_classes: BTreeSet<Id<kind::DataClass>>,
    /// The set of data that it keeps, or keeps a copy of; budgets count by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_domain: Option<Id<kind::DataDomain>>,
    /// Services whose data it keeps a backup of. Nobody ever deletes both within one incident or window.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub backup_of: BTreeSet<Id<kind::Service>>,
    /// Whether any instance can be lost without losing state.
    pub stateless: bool,
    /// Services that it needs.
    #[serde(default)]
    pub depends_on: BTreeSet<Id<kind::Service>>,
    /// Services known to need it, beside those that say so themselves. A name that the inventory does not know is an
    /// unknown edge, and counts as critical.
    #[serde(default)]
    pub dependents: BTreeSet<Id<kind::Service>>,
}

/// A thing that can be acted on: one instance of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Its id.
    pub id: Id<kind::Target>,
    /// The service that it is an instance of.
    pub service: Id<kind::Service>,
    /// Which executor can act on it.
    pub executor: Id<kind::Executor>,
    /// Where probes and readers find it.
    pub endpoints: BTreeMap<Id<kind::Endpoint>, Endpoint>,
    /// What telemetry calls it, for the queries of the catalogue: `${label.NAME}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<Id<kind::Label>, LabelValue>,
    /// The node that it runs on, its volumes, and whatever else it falls with: at most [`MAX_SHARES`] names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub shares: Shares,
}

/// Longest value of a label, in bytes.
pub const MAX_LABEL: usize = 256;
/// Most labels of one target.
pub const MAX_LABELS: usize = 32;

/// The value of a label: 1 to [`MAX_LABEL`] bytes that can be printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LabelValue(
    // INVARIANT: as the type says; made only by `try_from`.
    String,
);

/// A text that is not the value of a label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a label's value of 1 to {MAX_LABEL} printable bytes, got {0}")]
pub struct LabelError(String);

impl LabelValue {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for LabelValue {
    type Error = LabelError;

    fn try_from(text: String) -> Result<Self, LabelError> {
        // A backslash is shown as two; it can be printed all the same.
        let is_printable = crate::text::visible(&text).replace("\\\\", "\\") == text;
        if text.is_empty() || text.len() > MAX_LABEL || !is_printable {
            return Err(LabelError(crate::text::quoted(&text, 48)));
        }
        Ok(Self(text))
    }
}

impl From<LabelValue> for String {
    fn from(value: LabelValue) -> Self {
        value.0
    }
}

/// An address that a probe may ask, and the source that it belongs to. Independence of sources is the operator's word:
/// two endpoints of one exporter belong to one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// The source of telemetry.
    pub source: Id<kind::Source>,
    /// Where it is.
    pub at: Address,
    /// The digest of the public key (`SubjectPublicKeyInfo`) that whoever answers there must prove to have. Then nobody else's word
    /// counts: no authority, no name, no date. Only with `https://`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Digest>,
}

/// An address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Address {
    /// `http://` or `https://` URL.
    Url(String),
    /// `host:port`.
    Tcp(String),
    /// A unit of the local process supervisor.
    Unit(Id<kind::Target>),
    /// A PostgreSQL database.
    Postgres(DatabaseAddress),
}

/// Where a PostgreSQL database is, and as whom it is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseAddress {
    /// Name or address of the machine.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The database.
    pub database: String,
    /// The name of a login that the observer has, and nobody else.
    pub login: Id<kind::Login>,
}

/// Why nobody may ask an address. It is not shown: what is wrong with it may be a secret in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressFault {
    /// Another scheme.
    #[error("expected a URL that begins with `http://` or `https://` and names a host")]
    Scheme,
    /// A user or a password.
    #[error("expected a URL without user and password: the inventory holds no secret")]
    UserInfo,
    /// A pin where no key is shown.
    #[error("expected a `pin` only beside a URL that begins with `https://`")]
    Pin,
    /// A database without a name or a place.
    #[error("expected a host, a port above 0, and a database's name of 1 to 63 bytes")]
    Database,
    /// What parsers read differently.
    #[error("expected a URL without spaces, control characters and backslashes")]
    Characters,
}

impl Endpoint {
    /// Refuses an address that nobody may ask, and a pin that nothing is checked with.
    pub fn check(&self) -> Result<(), AddressFault> {
        self.at.check()?;
        let is_tls = |url: &str| url.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("https://"));
        let shows_key = matches!(&self.at, Address::Url(url) if is_tls(url));
        if self.pin.is_some() && !shows_key { Err(AddressFault::Pin) } else { Ok(()) }
    }
}

impl Address {
    /// Refuses a URL that holds a secret, or that two parsers may read differently.
    pub fn check(&self) -> Result<(), AddressFault> {
        let url = match self {
            Self::Url(url) => url,
            Self::Postgres(DatabaseAddress { host, port, database, .. }) => {
                let is_name = |text: &str| !text.is_empty() && !text.chars().any(char::is_control);
                let is_sound = is_name(host) && *port > 0 && is_name(database) && database.len() <= 63;
                return if is_sound { Ok(()) } else { Err(AddressFault::Database) };
            }
            Self::Tcp(_) | Self::Unit(_) => return Ok(()),
        };
        if url.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\') {
            return Err(AddressFault::Characters);
        }
        let lower = url.to_ascii_lowercase();
        let rest = lower.strip_prefix("http://").or_else(|| lower.strip_prefix("https://"));
        let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
        if host.is_empty() {
            return Err(AddressFault::Scheme);
        }
        if host.contains('@') { Err(AddressFault::UserInfo) } else { Ok(()) }
    }
}

/// The inventory: services and targets, checked against each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inventory {
    // INVARIANT: every target's service exists; ids are unique.
    services: BTreeMap<Id<kind::Service>, Service>,
    targets: BTreeMap<Id<kind::Target>, Target>,
    // What is measured of all services before a run and after it. Nothing is decided from it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    signals: Vec<Signal>,
    /// What catalogues beside it say.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    declared: BTreeMap<Id<kind::Source>, Declared>,
    /// By their names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    service_graphs: Vec<ServiceGraph>,
    // What follows from the two above, made once: every decision asks for it.
    #[serde(skip)]
    index: Index,
}

/// What follows from services and targets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Index {
    /// How many targets a service has for an executor.
    replicas: BTreeMap<Id<kind::Service>, BTreeMap<Id<kind::Executor>, u32>>,
    /// Who falls with what.
    fates: fate::Index,
}

/// What is wrong with an inventory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InventoryError {
    /// Two services with one name.
    #[error("service `{0}` stands twice in the inventory")]
    DuplicateService(Id<kind::Service>),
    /// Two targets with one id.
    #[error("target `{0}` stands twice in the inventory")]
    DuplicateTarget(Id<kind::Target>),
    /// A target of a service that nobody wrote.
    #[error("target `{target}` belongs to service `{service}`, which the inventory does not have")]
    UnknownService {
        /// The target.
        target: Id<kind::Target>,
        /// What it names.
        service: Id<kind::Service>,
    },
    /// A service that needs one that nobody wrote.
    #[error("service `{service}` depends on `{on}`, which the inventory does not have")]
    UnknownDependency {
        /// The service.
        service: Id<kind::Service>,
        /// What it needs.
        on: Id<kind::Service>,
    },
    /// A backup of nothing that is there.
    #[error("service `{service}` is a backup of `{of}`, which the inventory does not have")]
    UnknownOriginal {
        /// The service.
        service: Id<kind::Service>,
        /// What it names.
        of: Id<kind::Service>,
    },
    /// An address that nobody may ask.
    #[error("endpoint `{endpoint}` of target `{target}`: {fault}")]
    Address {
        /// The target.
        target: Id<kind::Target>,
        /// Its endpoint.
        endpoint: Id<kind::Endpoint>,
        /// What is wrong with it.
        fault: AddressFault,
    },
    /// Too many labels.
    #[error("target `{target}`: expected at most {MAX_LABELS} labels, got {got}")]
    Labels {
        /// The target.
        target: Id<kind::Target>,
        /// How many it has.
        got: usize,
    },
    /// Too many shared things.
    #[error("target `{target}`: expected at most {MAX_SHARES} names in `shares`, got {got}")]
    Shares {
        /// The target.
        target: Id<kind::Target>,
        /// How many it has.
        got: usize,
    },
    /// Two sources of dependencies with one name, or one with the inventory's own.
    #[error("source of dependencies `{0}`: expected each name once, and none to be `{INVENTORY}`")]
    DuplicateSource(Id<kind::Source>),
    /// Too many sources of dependencies.
    #[error("expected at most {MAX_SOURCES} sources of dependencies with the inventory itself, got {0}")]
    Sources(usize),
    /// A service graph that nobody can read.
    #[error("service graph `{source_id}`: {fault}")]
    ServiceGraph {
        /// Its name.
        source_id: Id<kind::Source>,
        /// What is wrong with it.
        fault: String,
    },
    /// Too much.
    #[error("expected at most {MAX_INVENTORY} services and targets, got {0}")]
    Size(usize),
}

impl Inventory {
    /// Checks services and targets against each other; reports every fault.
    pub fn new(services: Vec<Service>, targets: Vec<Target>) -> Result<Self, Vec<InventoryError>> {
        let mut faults = Vec::new();
        let size = services.len().max(targets.len());
        if size > MAX_INVENTORY {
            return Err(vec![InventoryError::Size(size)]);
        }
        let mut inventory = Self {
            services: BTreeMap::new(),
            targets: BTreeMap::new(),
            signals: Vec::new(),
            declared: BTreeMap::new(),
            service_graphs: Vec::new(),
            index: Index::default(),
        };
        for service in services {
            if let Some(old) = inventory.services.insert(service.id.clone(), service) {
                faults.push(InventoryError::DuplicateService(old.id));
            }
        }
        for service in inventory.services.values() {
            for on in service.depends_on.iter().filter(|on| !inventory.services.contains_key(*on)) {
                faults
                    .push(InventoryError::UnknownDependency { service: service.id.clone(), on: on.clone() });
            }
        }
        for service in inventory.services.values() {
            for of in service.backup_of.iter().filter(|of| !inventory.services.contains_key(*of)) {
                faults.push(InventoryError::UnknownOriginal { service: service.id.clone(), of: of.clone() });
            }
        }
        for target in targets {
            if !inventory.services.contains_key(&target.service) {
                faults.push(InventoryError::UnknownService {
                    target: target.id.clone(),
                    service: target.service.clone(),
                });
            }
            if target.labels.len() > MAX_LABELS {
                faults.push(InventoryError::Labels { target: target.id.clone(), got: target.labels.len() });
            }
            let got = fate::of(&target).count();
            if got > MAX_SHARES {
                faults.push(InventoryError::Shares { target: target.id.clone(), got });
            }
            for (endpoint, it) in &target.endpoints {
                if let Err(fault) = it.check() {
                    let (target, endpoint) = (target.id.clone(), endpoint.clone());
                    faults.push(InventoryError::Address { target, endpoint, fault });
                }
            }
            if let Some(old) = inventory.targets.insert(target.id.clone(), target) {
                faults.push(InventoryError::DuplicateTarget(old.id));
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        inventory.index = Index::of(&inventory.targets);
        Ok(inventory)
    }

    /// The same inventory, with what is measured of its services before a run and after it; reports every fault.
    pub fn with_signals(self, signals: Vec<Signal>) -> Result<Self, Vec<SignalFault>> {
        Signal::check_all(&signals)?;
        Ok(Self { signals, ..self })
    }

    /// What is measured of all services before a run and after it.
    #[must_use]
    pub fn signals(&self) -> &[Signal] {
        &self.signals
    }

    /// The same with other sources that say who needs whom; reports every fault.
    pub fn with_sources(
        self,
        declared: BTreeMap<Id<kind::Source>, Declared>,
        mut service_graphs: Vec<ServiceGraph>,
    ) -> Result<Self, Vec<InventoryError>> {
        let mut faults = Vec::new();
        let mut names = BTreeSet::new();
        for source in declared.keys().chain(service_graphs.iter().map(|graph| &graph.source)) {
            if source.as_str() == INVENTORY || !names.insert(source) {
                faults.push(InventoryError::DuplicateSource(source.clone()));
            }
        }
        let sources = names.len().saturating_add(1);
        if sources > MAX_SOURCES {
            faults.push(InventoryError::Sources(sources));
        }
        for graph in &service_graphs {
            if let Err(fault) = graph.check() {
                faults.push(InventoryError::ServiceGraph { source_id: graph.source.clone(), fault });
            }
        }
        service_graphs.sort_by(|one, other| one.source.cmp(&other.source));
        if faults.is_empty() { Ok(Self { declared, service_graphs, ..self }) } else { Err(faults) }
    }

    /// Service graphs that say who needs whom, by name.
    #[must_use]
    pub fn service_graphs(&self) -> &[ServiceGraph] {
        &self.service_graphs
    }

    /// Who needs whom by what was approved: the services' own words, and the catalogues beside them. `at` is when they were read.
    pub fn dependencies(&self, at: Timestamp) -> Result<Dependencies, DependenciesError> {
        let needs = |dependent: &Id<kind::Service>, on: &Id<kind::Service>| Dependency {
            dependent: dependent.clone(),
            on: on.clone(),
            kind: EdgeKind::Needs,
        };
        let own = self.services.values().flat_map(|service| {
            let on = service.depends_on.iter().map(|on| needs(&service.id, on));
            on.chain(service.dependents.iter().map(|dependent| needs(dependent, &service.id)))
        });
        let mut readings = vec![Reading::new(Id::parse(INVENTORY)?, at, [], own)?];
        for (source, declared) in &self.declared {
            let edges = declared.dependencies.iter().cloned();
            let edges = edges.map(|(dependent, on, kind)| Dependency { dependent, on, kind });
            readings.push(Reading::new(source.clone(), at, [], edges)?);
        }
        let services = self.services.values().map(|service| (service.id.clone(), service.criticality));
        Dependencies::new(services, readings, Indexing::default())
    }

    /// The target with this id, and its service.
    #[must_use]
    pub fn target(&self, id: &Id<kind::Target>) -> Option<(&Target, &Service)> {
        let target = self.targets.get(id)?;
        self.services.get(&target.service).map(|service| (target, service))
    }

    /// The service with this name.
    #[must_use]
    pub fn service(&self, id: &Id<kind::Service>) -> Option<&Service> {
        self.services.get(id)
    }

    /// All services, by name.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.values()
    }

    /// All targets, by id.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.targets.values()
    }

    /// How many targets a service has for an executor: its replicas. A service's flags and files are no replicas of its processes.
    #[must_use]
    pub fn replicas(&self, service: &Id<kind::Service>, executor: &Id<kind::Executor>) -> u32 {
        self.index.replicas.get(service).and_then(|of| of.get(executor)).copied().unwrap_or(0)
    }

    /// Whether one of two services keeps a backup of the other's data, or both keep the data of one domain.
    #[must_use]
    pub fn are_counterparts(&self, one: &Id<kind::Service>, other: &Id<kind::Service>) -> bool {
        let (Some(one), Some(other)) = (self.service(one), self.service(other)) else { return false };
        let same_domain = one.data_domain.is_some() && one.data_domain == other.data_domain;
        one.id != other.id
            && (same_domain || one.backup_of.contains(&other.id) || other.backup_of.contains(&one.id))
    }

    /// The things that any of these targets falls with (a node, a volume, a database, a secret, a backup domain), and all services
    /// with a target that names them, those of the targets included. Targets that the inventory does not know name nothing.
    pub fn sharing<'a>(
        &self,
        targets: impl IntoIterator<Item = &'a Id<kind::Target>>,
    ) -> BTreeMap<Shared, &BTreeSet<Id<kind::Service>>> {
        self.index.fates.sharing(targets.into_iter().filter_map(|id| self.targets.get(id)))
    }

    /// The digest of the whole inventory.
    pub fn digest(&self) -> Result<Digest, DigestError> {
        Digest::of(self)
    }
}

impl Index {
    fn of(targets: &BTreeMap<Id<kind::Target>, Target>) -> Self {
        let mut index = Self { fates: fate::Index::new(targets.values()), ..Self::default() };
        for target in targets.values() {
            let of = index.replicas.entry(target.service.clone()).or_default();
            let count = of.entry(target.executor.clone()).or_default();
            *count = count.saturating_add(1);
        }
        index
    }
}
