//! Lease backends, and the databases that the first of them is for.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use holdpoint_adapters::{
    executor::postgres::Database,
    lease::{Backend, Backends, BearerSpec, PostgresRoles, PostgresSpec, TokenJob},
    postgres::Server,
    system::{KeyUse, Seed},
};
use holdpoint_domain::{Id, id::kind, lease::Ttl, signature::PublicKey};
use serde::Deserialize;

use super::{
    bearer::{self, BearerEntry, IssuerSide},
    executors::Targets,
};
use crate::cli::{CliError, failed};

/// Where a database is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ServerEntry {
    host: String,
    port: u16,
    database: String,
    /// The certificates that the server's is checked with; without it only an address of this machine.
    #[serde(default)]
    ca_file: Option<PathBuf>,
}

/// A database whose sessions may be ended.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DatabaseEntry {
    server: ServerEntry,
    observer: LoginEntry,
    lease: Id<kind::Backend>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LoginEntry {
    user: String,
    password_file: PathBuf,
}

/// The backends, by kind.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BackendEntries {
    #[serde(default)]
    postgres: BTreeMap<Id<kind::Backend>, PostgresEntry>,
    #[serde(default)]
    pub(super) bearer: BTreeMap<Id<kind::Backend>, BearerEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PostgresEntry {
    server: ServerEntry,
    issuer: LoginEntry,
    #[serde(default = "default_prefix")]
    prefix: String,
    max_ttl_ms: Ttl,
}

fn default_prefix() -> String {
    "hp".to_owned()
}

/// Backends as the operator's file names them, checked.
pub(super) struct Specs {
    postgres: Vec<(PostgresSpec, BTreeSet<Id<kind::Target>>)>,
    bearer: Vec<BearerSpec>,
}

/// Checks databases and backends; touches nothing.
pub(super) fn checked(
    databases: BTreeMap<Id<kind::Target>, DatabaseEntry>,
    mut tokens: BTreeMap<Id<kind::Backend>, BTreeMap<Id<kind::Target>, TokenJob>>,
    backends: BackendEntries,
    at: impl Fn(&PathBuf) -> PathBuf,
) -> Result<(Vec<Database>, Specs), CliError> {
    let server = |entry: ServerEntry| {
        let ca_file = entry.ca_file.as_ref().map(&at);
        Server::new(entry.host, entry.port, entry.database, ca_file).map_err(failed)
    };
    let mut targets: BTreeMap<Id<kind::Backend>, BTreeSet<Id<kind::Target>>> = BTreeMap::new();
    let mut opened = Vec::new();
    for (id, entry) in databases {
        if !backends.postgres.contains_key(&entry.lease) {
            let why = format!("database `{id}`: there is no backend `{}` under `leases:`", entry.lease);
            return Err(CliError::Failed(why));
        }
        targets.entry(entry.lease).or_default().insert(id.clone());
        let (observer, observer_password_file) = (entry.observer.user, at(&entry.observer.password_file));
        opened.push(Database { id, server: server(entry.server)?, observer, observer_password_file });
    }
    // One name is one backend: its leases are found by it after a restart.
    if let Some(name) = backends.bearer.keys().find(|name| backends.postgres.contains_key(*name)) {
        return Err(CliError::Failed(format!("lease backend `{name}` stands twice under `leases:`")));
    }
    let bearer = backends.bearer.into_iter().map(|(name, entry)| {
        let jobs = tokens.remove(&name).unwrap_or_default();
        bearer::spec(name, entry, jobs)
    });
    let bearer = bearer.collect::<Result<_, _>>()?;
    let mut postgres = Vec::new();
    for (name, entry) in backends.postgres {
        let of = targets.remove(&name).unwrap_or_default();
        let spec = PostgresSpec {
            name,
            server: server(entry.server)?,
            user: entry.issuer.user,
            password_file: at(&entry.issuer.password_file),
            prefix: entry.prefix,
            max: entry.max_ttl_ms,
        };
        postgres.push((spec, of));
    }
    Ok((opened, Specs { postgres, bearer }))
}

/// The backends, each with the targets that it leases for.
pub(crate) struct LeaseBackends {
    served: Vec<Served>,
    token_key: Option<PublicKey>,
}

/// A backend, and the targets that it leases for.
pub(super) type Served = (Arc<dyn Backend>, BTreeSet<Id<kind::Target>>);

impl LeaseBackends {
    /// Opens those that the operator's file names, for the ledger of this origin. Asks no server: one that is away at the start
    /// refuses leases, and nothing else.
    pub(crate) fn open(
        base: &Path,
        executors: Option<&str>,
        origin: &str,
        side: &IssuerSide<'_>,
    ) -> Result<Self, CliError> {
        let specs = Targets::parse(base, executors)?.backends;
        let (mut served, token_key) = bearer::open(specs.bearer, side)?;
        if specs.postgres.is_empty() {
            return Ok(Self { served, token_key });
        }
        // One that is lost is made anew: what was leased before is then dropped all the same, and its end is shown by a login
        // with another password.
        let key = Seed::load_or_create(&KeyUse::Lease.path(side.keys)).map_err(failed)?;
        for (spec, targets) in specs.postgres {
            let backend = PostgresRoles::new(spec, origin, key.clone()).map_err(failed)?;
            served.push((Arc::new(backend), targets));
        }
        Ok(Self { served, token_key })
    }

    /// The key that bearer leases are checked with; none where there are none.
    pub(crate) const fn token_key(&self) -> Option<&PublicKey> {
        self.token_key.as_ref()
    }

    /// An issuer with these as well.
    pub(crate) fn add_to(&self, issuer: Backends) -> Backends {
        self.served
            .iter()
            .fold(issuer, |issuer, (backend, targets)| issuer.with(Arc::clone(backend), targets))
    }
}
