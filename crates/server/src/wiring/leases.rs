//! Lease backends, and the databases that the first of them is for.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use holdpoint_adapters::{
    executor::postgres::Database,
    lease::{
        Backend, Backends, BearerSpec, OpenBaoRoles, OpenBaoSpec, PostgresRoles, PostgresSpec, TokenJob,
    },
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
    /// Those that lease at a database as well, through an OpenBao.
    #[serde(default)]
    openbao: BTreeMap<Id<kind::Backend>, OpenBaoEntry>,
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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OpenBaoEntry {
    url: String,
    #[serde(default)]
    ca_file: Option<PathBuf>,
    #[serde(default)]
    namespace: Option<String>,
    token_file: PathBuf,
    mount: String,
    connection: String,
    /// The same database.
    server: ServerEntry,
    prover: LoginEntry,
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
    openbao: Vec<(OpenBaoSpec, BTreeSet<Id<kind::Target>>)>,
    bearer: Vec<BearerSpec>,
}

impl Specs {
    /// The files of what the backends' own credentials are: whoever reads one of them can mint.
    pub(super) fn roots(self) -> impl Iterator<Item = PathBuf> {
        let passwords = self.postgres.into_iter().map(|(spec, _)| spec.password_file);
        passwords.chain(self.openbao.into_iter().map(|(spec, _)| spec.token_file))
    }
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
    // One name is one backend: its leases are found by it after a restart.
    let mut names = BTreeSet::new();
    let all = backends.postgres.keys().chain(backends.openbao.keys()).chain(backends.bearer.keys());
    if let Some(twice) = all.into_iter().find(|name| !names.insert((*name).clone())) {
        return Err(CliError::Failed(format!("leases: there are two backends `{twice}`")));
    }
    for (id, entry) in databases {
        if !backends.postgres.contains_key(&entry.lease) && !backends.openbao.contains_key(&entry.lease) {
            let why = format!("database `{id}`: there is no backend `{}` under `leases:`", entry.lease);
            return Err(CliError::Failed(why));
        }
        targets.entry(entry.lease).or_default().insert(id.clone());
        let (observer, observer_password_file) = (entry.observer.user, at(&entry.observer.password_file));
        opened.push(Database { id, server: server(entry.server)?, observer, observer_password_file });
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
    let mut openbao = Vec::new();
    for (name, entry) in backends.openbao {
        let of = targets.remove(&name).unwrap_or_default();
        let spec = OpenBaoSpec {
            name,
            url: entry.url,
            ca_file: entry.ca_file.as_ref().map(&at),
            namespace: entry.namespace,
            token_file: at(&entry.token_file),
            mount: entry.mount,
            connection: entry.connection,
            server: server(entry.server)?,
            prover: entry.prover.user,
            prover_password_file: at(&entry.prover.password_file),
            prefix: entry.prefix,
            max: entry.max_ttl_ms,
        };
        openbao.push((spec, of));
    }
    Ok((opened, Specs { postgres, openbao, bearer }))
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
        if !specs.postgres.is_empty() {
            // One that is lost is made anew: what was leased before is then dropped all the same, and its end is shown by a login
            // with another password.
            let key = Seed::load_or_create(&KeyUse::Lease.path(side.keys)).map_err(failed)?;
            for (spec, targets) in specs.postgres {
                let backend = PostgresRoles::new(spec, origin, key.clone()).map_err(failed)?;
                served.push((Arc::new(backend), targets));
            }
        }
        for (spec, targets) in specs.openbao {
            served.push((Arc::new(OpenBaoRoles::new(spec, origin).map_err(failed)?), targets));
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

#[cfg(test)]
mod tests {
    use holdpoint_adapters::{lease::LeaseTable, system::SystemClock};

    use super::*;

    const PAGE: &str = include_str!("../../../../docs/leases.md");
    const ORIGIN: &str = "gate.example/log";

    /// The examples of the documentation, each as a file of its own.
    fn examples() -> Vec<String> {
        let blocks = PAGE.split("```yaml\n").skip(1);
        blocks.map(|block| block.split("```").next().unwrap().to_owned()).collect()
    }

    fn opened(text: &str) -> Result<LeaseBackends, CliError> {
        let dir = tempfile::tempdir().unwrap();
        let side = IssuerSide {
            data: dir.path(),
            keys: dir.path(),
            book: Arc::new(LeaseTable::new()),
            clock: Arc::new(SystemClock::new()),
        };
        LeaseBackends::open(dir.path(), Some(text), ORIGIN, &side)
    }

    #[test]
    fn the_documented_backends_are_opened_without_a_look_at_any_secret() {
        let names: Vec<_> = examples()
            .iter()
            .flat_map(|text| opened(text).unwrap().served)
            .filter_map(|(backend, _)| backend.terms().backend.map(|name| name.as_str().to_owned()))
            .collect();
        assert_eq!(names, ["runner-tokens", "orders-pg", "orders-bao"]);
    }

    #[test]
    fn a_database_leases_from_the_openbao_that_it_names() {
        let [_, postgres, openbao] = &examples()[..] else { panic!("{} examples", examples().len()) };
        let (database, _) = postgres.split_once("leases:").unwrap();
        let text = format!("{}{openbao}", database.replace("orders-pg", "orders-bao"));
        let backends = opened(&text).unwrap().served;
        let targets: Vec<_> =
            backends.iter().flat_map(|(_, targets)| targets).map(|id| id.as_str()).collect();
        assert_eq!(targets, ["orders-db"]);
    }

    #[test]
    fn what_is_no_backend_is_refused_with_its_name() {
        let [_, postgres, openbao] = &examples()[..] else { panic!("{} examples", examples().len()) };
        let both =
            format!("{postgres}{}", openbao.replace("leases:\n", "")).replace("orders-bao", "orders-pg");
        let cases = [
            (both, "two backends `orders-pg`"),
            (openbao.replace("https:", "http:"), "`url`"),
            (openbao.replace("ca_file: secrets/bao-ca.pem", ""), "`url`"),
            (openbao.replace("mount: database", "mount: ../sys"), "`mount`"),
            (openbao.replace("connection: orders", "connection: a/b"), "`connection`"),
            (openbao.replace("namespace: team", "namespace: ''"), "`namespace`"),
            (openbao.replace("prefix: hp", "prefix: HP"), "prefix"),
            (openbao.replace("max_ttl_ms: 300000", "max_ttl_ms: 0"), "life"),
            (openbao.replace("mount:", "mounted:"), "mounted"),
            (postgres.replace("lease: orders-pg", "lease: orders-bao"), "no backend `orders-bao`"),
        ];
        for (text, why) in cases {
            match opened(&text).map(|_| ()) {
                Err(err) => assert!(err.to_string().contains(why), "{why}: {err}"),
                Ok(()) => panic!("{why}: {text}"),
            }
        }
    }
}
