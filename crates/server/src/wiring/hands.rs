//! What touches targets: the executors, and those who look at the same targets.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use holdpoint_adapters::{
    executor::{
        Authority, Dispatch, Pins,
        files::{
            ConfigTarget, FileExecutor, FileObserver, FileReader, FlagTarget, SecretExecutor, SecretObserver,
            SecretTarget,
        },
        http_job::{JobExecutor, JobObserver, Jobs},
        nginx::{NginxExecutor, NginxObserver, Servers},
        postgres::{DatabaseExecutor, DatabaseObserver, Databases},
        process::{ProcessExecutor, ProcessObserver, Supervisor, Unit, UnitReader},
    },
    lease::LeaseTable,
    probe::ProbeLogins,
    system::{Ed25519Key, KeyUse, Seed},
};
use holdpoint_app::port::{Clock, Executor, Observer};
use holdpoint_domain::{Id, Millis, action::Catalogue, id::kind, signature::PublicKey};
use serde::Deserialize;

use super::executors::{Machinery, Places, Targets};
use crate::{
    cli::{CliError, failed},
    config::{ExecutorPins, RoleConfig, parse_text},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct UnitsFile {
    units: Vec<UnitEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct UnitEntry {
    id: Id<kind::Target>,
    argv: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    cwd: PathBuf,
    stop_grace_ms: Millis,
}

/// The supervised processes that a text names.
pub(super) fn units_of(base: &Path, text: Option<&str>) -> Result<Vec<Unit>, CliError> {
    let Some(text) = text else { return Ok(Vec::new()) };
    let file: UnitsFile = parse_text("units", text)?;
    let unit = |entry: UnitEntry| {
        let cwd = base.join(&entry.cwd);
        Unit::new(entry.id, entry.argv, entry.env, cwd, entry.stop_grace_ms).map_err(failed)
    };
    file.units.into_iter().map(unit).collect()
}

/// What executors work with.
pub(crate) struct Hands {
    /// Runs the supervised processes.
    pub(crate) supervisor: Arc<Supervisor>,
    machinery: Machinery,
    /// What probes of databases log in with, where the observer is in this process.
    pub(crate) logins: ProbeLogins,
}

impl Hands {
    /// Opens what these texts name.
    pub(crate) fn open(
        places: &Places,
        units: Option<&str>,
        executors: Option<&str>,
    ) -> Result<Self, CliError> {
        let units = units_of(&places.base, units)?;
        let supervisor = Arc::new(Supervisor::open(&places.units(), units).map_err(failed)?);
        let logins = Targets::parse(&places.base, executors)?.logins;
        Ok(Self { supervisor, machinery: Machinery::open(places, executors)?, logins })
    }

    /// Opens what the file of an executor names.
    pub(crate) fn open_for(config: &RoleConfig) -> Result<Self, CliError> {
        let (units, executors) =
            (config.text(config.units.as_deref())?, config.text(config.executors.as_deref())?);
        Self::open(&config.places(), units.as_deref(), executors.as_deref())
    }
}

/// An executor's own key, which must be the one that permits are bound to.
pub(crate) fn own_key(
    keys: &Path,
    name: &Id<kind::Executor>,
    pinned: Option<&PublicKey>,
) -> Result<Ed25519Key, CliError> {
    let path = KeyUse::Executor(name.clone()).path(keys);
    let key = Ed25519Key::from_seed(name.as_str(), &Seed::load(&path).map_err(failed)?).map_err(failed)?;
    if pinned == Some(&key.public_key()) {
        return Ok(key);
    }
    Err(CliError::Failed(format!(
        "executor `{name}`: {} holds another key than `executor_keys` of the pins: put its public half there",
        path.display()
    )))
}

/// Executors by name, each with its pins and with the only targets that it touches; and who looks at the same.
pub(crate) fn executors(
    hands: &Hands,
    pinned: &ExecutorPins,
    pins: &Pins,
    leases: &Arc<LeaseTable>,
    clock: &Arc<dyn Clock>,
) -> Result<Dispatch, CliError> {
    let catalogue = &pins.catalogue;
    let (leases, clock) = (|| Arc::clone(leases), || Arc::clone(clock));
    let mut dispatch = Dispatch::new(Arc::clone(catalogue));
    for (name, targets) in &pinned.executors {
        let actions = catalogue.actions().filter(|action| action.executor == *name);
        let Some(key) = pinned.executor_keys.get(name).cloned() else {
            // Pins from before permits were bound to keys: the gate starts, so that a change can add them.
            tracing::warn!(
                "executor `{name}` runs nothing: it has no key in the executors' pins; add one of `holdpoint keygen` to \
                 `executor_keys` by a change"
            );
            continue;
        };
        let authority = Authority {
            name: name.clone(),
            key,
            pins: pins.clone(),
            actions: actions.map(|action| action.id.clone()).collect(),
            targets: targets.clone(),
        };
        let Machinery { flags, config, secret, jobs, nginx, databases, keys } = &hands.machinery;
        let found: (Arc<dyn Executor>, Arc<dyn Observer>) = match name.as_str() {
            "process" => {
                let supervisor = &hands.supervisor;
                let executor = ProcessExecutor::new(authority, leases(), Arc::clone(supervisor), clock());
                (Arc::new(executor), Arc::new(ProcessObserver::new(supervisor.reader())))
            }
            "flags" => {
                let executor = FileExecutor::new(authority, leases(), Arc::clone(flags), clock());
                (Arc::new(executor), Arc::new(FileObserver::new(flags.reader())))
            }
            "config" => {
                let executor = FileExecutor::new(authority, leases(), Arc::clone(config), clock());
                (Arc::new(executor), Arc::new(FileObserver::new(config.reader())))
            }
            "secret" => {
                let executor = SecretExecutor::new(authority, leases(), Arc::clone(secret), clock());
                (Arc::new(executor), Arc::new(SecretObserver::new(secret.reader())))
            }
            "job" => {
                // Leases that are bound to its key are worth nothing without it.
                let key =
                    jobs.bind_leases().then(|| own_key(keys, name, Some(&authority.key))).transpose()?;
                let executor = JobExecutor::new(authority, leases(), Arc::clone(jobs), clock());
                let executor = match key {
                    Some(key) => executor.with_key(Arc::new(key)),
                    None => executor,
                };
                (Arc::new(executor), Arc::new(JobObserver::new(Arc::clone(jobs))))
            }
            "nginx" => {
                let executor = NginxExecutor::new(authority, leases(), Arc::clone(nginx), clock());
                (Arc::new(executor), Arc::new(NginxObserver::new(Arc::clone(nginx))))
            }
            "postgres" => {
                let executor = DatabaseExecutor::new(authority, Arc::clone(databases), clock());
                (Arc::new(executor), Arc::new(DatabaseObserver::new(Arc::clone(databases))))
            }
            _ => {
                let why = format!("there is no executor `{name}`: see the executor pins");
                return Err(CliError::Failed(why));
            }
        };
        dispatch = dispatch.with_executor(name.clone(), found.0).with_observer(name.clone(), found.1);
    }
    Ok(dispatch)
}

/// What an observer looks with: readers of what an executor on this machine works on and remembers. None of it can write.
pub(crate) struct Eyes {
    /// Looks at supervised processes.
    pub(crate) units: UnitReader,
    flags: FileReader<FlagTarget>,
    config: FileReader<ConfigTarget>,
    secret: FileReader<SecretTarget>,
    jobs: Arc<Jobs>,
    nginx: Arc<Servers>,
    databases: Arc<Databases>,
    /// What probes of databases log in with.
    pub(crate) logins: ProbeLogins,
}

impl Eyes {
    /// Readers of what the file of an observer names.
    pub(crate) fn open(role: &RoleConfig) -> Result<Self, CliError> {
        let (units, executors) = (role.text(role.units.as_deref())?, role.text(role.executors.as_deref())?);
        let data = role.executor_data.as_ref().map_or_else(|| role.data(), |data| role.base.join(data));
        let places = Places { base: role.base.clone(), data };
        let units = units_of(&places.base, units.as_deref())?;
        let Targets { flags, configs, secrets, jobs, servers, databases, logins, backends: _ } =
            Targets::parse(&places.base, executors.as_deref())?;
        Ok(Self {
            units: UnitReader::new(places.units(), units).map_err(failed)?,
            flags: FileReader::new(places.memory("flags"), flags).map_err(failed)?,
            config: FileReader::new(places.memory("config"), configs).map_err(failed)?,
            secret: FileReader::new(places.memory("secret"), secrets).map_err(failed)?,
            jobs: Arc::new(Jobs::to_look(&places.memory("job"), jobs).map_err(failed)?),
            nginx: Arc::new(Servers::to_look(&places.memory("nginx"), servers).map_err(failed)?),
            databases: Arc::new(Databases::to_look(&places.memory("postgres"), databases)),
            logins,
        })
    }

    /// Who looks at what, by the executor of an action.
    pub(crate) fn dispatch(&self, catalogue: &Arc<Catalogue>) -> Dispatch {
        let observers: [(&str, Arc<dyn Observer>); 7] = [
            ("process", Arc::new(ProcessObserver::new(self.units.clone()))),
            ("flags", Arc::new(FileObserver::new(self.flags.clone()))),
            ("config", Arc::new(FileObserver::new(self.config.clone()))),
            ("secret", Arc::new(SecretObserver::new(self.secret.clone()))),
            ("job", Arc::new(JobObserver::new(Arc::clone(&self.jobs)))),
            ("nginx", Arc::new(NginxObserver::new(Arc::clone(&self.nginx)))),
            ("postgres", Arc::new(DatabaseObserver::new(Arc::clone(&self.databases)))),
        ];
        let dispatch = Dispatch::new(Arc::clone(catalogue));
        observers.into_iter().fold(dispatch, |dispatch, (name, observer)| match Id::parse(name) {
            Ok(name) => dispatch.with_observer(name, observer),
            Err(_) => dispatch,
        })
    }
}
