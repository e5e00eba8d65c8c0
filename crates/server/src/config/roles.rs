//! The files of roles in processes of their own, and what each may and may not be given.

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use clap::ValueEnum;
use holdpoint_adapters::{
    system::KeyUse,
    tls::{LiveSvid, SpiffeId, SvidFiles},
};
use holdpoint_domain::signature::PublicKey;
use serde::Deserialize;

use super::{ConfigError, folder_of, parse, read};
use crate::{
    cli::{CliError, failed},
    wiring::Places,
};

/// A role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    /// Decides, signs permits and keeps the ledger
    Gate,
    /// Measures and looks, and signs what it saw
    Observer,
    /// Mints and ends leases
    Issuer,
    /// Runs the steps of permitted plans
    Executor,
}

impl Role {
    /// The word in identities, files and messages.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Gate => "gate",
            Self::Observer => "observer",
            Self::Issuer => "issuer",
            Self::Executor => "executor",
        }
    }

    /// Whether it holds a key. One of another role in its folder stops the start: a role that holds what another must not lose to
    /// it separates nothing.
    fn holds(self, key: &KeyUse) -> bool {
        match key {
            // The development issuer of identities lies beside the gate's keys, in development.
            KeyUse::Permit
            | KeyUse::NextPermit(_)
            | KeyUse::Checkpoint
            | KeyUse::NextCheckpoint
            | KeyUse::Delegation
            | KeyUse::Identity
            | KeyUse::Authority => self == Self::Gate,
            KeyUse::Evidence => self == Self::Observer,
            KeyUse::Cosign => matches!(self, Self::Issuer | Self::Executor),
            KeyUse::Lease | KeyUse::Bearer => self == Self::Issuer,
            KeyUse::Sealing | KeyUse::Executor(_) => self == Self::Executor,
            KeyUse::Approval(_) => false,
        }
    }

    /// Refuses a folder of keys that has one of another role.
    pub(crate) fn check_keys(self, folder: &Path) -> Result<(), ConfigError> {
        let Ok(files) = std::fs::read_dir(folder) else { return Ok(()) };
        let is_key = |path: &PathBuf| path.extension().is_some_and(|end| end == "key");
        let is_own = |path: &PathBuf| KeyUse::of_file(path).is_some_and(|key| self.holds(&key));
        let foreign = files.flatten().map(|file| file.path()).filter(is_key).find(|path| !is_own(path));
        match foreign {
            None => Ok(()),
            Some(path) => Err(ConfigError::one(format!(
                "{} is no key of the role `{self}`: move the file to the role that it belongs to",
                path.display(),
            ))),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Certificate, key and bundle of an end: PEM files that somebody renews, or a Workload API that streams them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TlsEntry {
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    bundle: Option<PathBuf>,
    /// For instance `unix:///run/spire/agent.sock`.
    workload_api: Option<String>,
}

impl TlsEntry {
    /// What they are now and become, with files relative to a folder.
    pub(crate) async fn live(&self, base: &Path) -> Result<LiveSvid, CliError> {
        match (&self.workload_api, &self.certificate, &self.key, &self.bundle) {
            (Some(endpoint), None, None, None) => LiveSvid::from_workload_api(endpoint).await.map_err(failed),
            (None, Some(certificate), Some(key), Some(bundle)) => {
                let at = |path: &PathBuf| base.join(path);
                let files = SvidFiles { certificate: at(certificate), key: at(key), bundle: at(bundle) };
                LiveSvid::load(files).map_err(failed)
            }
            _ => Err(CliError::Usage(
                "`tls`: expected `certificate`, `key` and `bundle`, or `workload_api` alone".to_owned(),
            )),
        }
    }
}

/// Another role: where it is, and who is expected there.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PeerEntry {
    /// Its address, for instance `https://10.0.0.7:7072`.
    pub(crate) url: String,
    /// Its SPIFFE id.
    pub(crate) id: String,
}

impl PeerEntry {
    /// Its SPIFFE id.
    pub(crate) fn spiffe(&self) -> Result<SpiffeId, ConfigError> {
        spiffe(&self.id)
    }
}

/// A SPIFFE id.
pub(crate) fn spiffe(text: &str) -> Result<SpiffeId, ConfigError> {
    SpiffeId::new(text).map_err(|err| ConfigError::one(format!("`{text}`: {err}")))
}

/// `roles:` of the gate's configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GateRoles {
    /// The gate's own certificate.
    pub(crate) tls: TlsEntry,
    /// The observer.
    pub(crate) observer: PeerEntry,
    /// The key that its evidence is signed with.
    pub(crate) evidence_key: PublicKey,
    /// The issuer.
    pub(crate) issuer: PeerEntry,
    /// The key that it cosigns the ledger with.
    #[serde(default)]
    pub(crate) issuer_key: Option<String>,
    /// The key that it signs bearer leases with, for those who check them by the gate's key set.
    #[serde(default)]
    pub(crate) lease_key: Option<PublicKey>,
    /// The executor.
    pub(crate) executor: PeerEntry,
    /// The key that it cosigns the ledger with.
    #[serde(default)]
    pub(crate) executor_key: Option<String>,
}

/// The executor, as the issuer knows it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SealedPeer {
    /// Its address.
    pub(crate) url: String,
    /// Its SPIFFE id.
    pub(crate) id: String,
    /// The key that secrets of leases are sealed to.
    pub(crate) sealing_key: String,
}

/// The file of an observer, an issuer or an executor. Paths are relative to its folder.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RoleConfig {
    /// Which role.
    pub(crate) role: Role,
    /// Address and port of its door.
    pub(crate) listen: SocketAddr,
    /// Folder of its keys and of what it remembers.
    pub(crate) data_dir: PathBuf,
    /// Its own certificate.
    pub(crate) tls: TlsEntry,
    /// The SPIFFE id of the gate.
    pub(crate) gate: String,
    /// Its own copy of the catalogue.
    pub(crate) catalogue: Vec<PathBuf>,
    /// Drills, and permits that count consent from the command line as strong, are taken. Never in production.
    #[serde(default)]
    pub(crate) development: bool,
    /// Observer: its own copy of the inventory.
    #[serde(default)]
    pub(crate) inventory: Option<PathBuf>,
    /// Observer: the folder where the executor on the same machine keeps its memory, to be read.
    #[serde(default)]
    pub(crate) executor_data: Option<PathBuf>,
    /// Issuer, executor: what is pinned apart from the gate.
    #[serde(default)]
    pub(crate) pins: Option<PathBuf>,
    /// Issuer, executor: the verifier key of the ledger.
    #[serde(default)]
    pub(crate) log_key: Option<String>,
    /// Issuer: whom leases are for.
    #[serde(default)]
    pub(crate) executor: Option<SealedPeer>,
    /// Executor: the SPIFFE id of the issuer.
    #[serde(default)]
    pub(crate) issuer: Option<String>,
    /// Observer, executor: supervised processes.
    #[serde(default)]
    pub(crate) units: Option<PathBuf>,
    /// Observer, issuer, executor: what executors may touch, where it is, and what leases for it. Each opens its own part.
    #[serde(default)]
    pub(crate) executors: Option<PathBuf>,
    /// The folder that the paths are relative to.
    #[serde(skip)]
    pub(crate) base: PathBuf,
}

impl RoleConfig {
    /// Reads the file and checks that it is of this role and has what the role holds, and nothing that it never holds.
    pub(crate) fn load(path: &Path, role: Role) -> Result<Self, ConfigError> {
        let mut config: Self = parse(path)?;
        config.base = folder_of(path);
        let mut faults = Vec::new();
        if config.role != role {
            faults.push(format!("the file is of the role `{}`, expected `{role}`", config.role));
        }
        for (key, is_there, of) in config.parts() {
            let own = of.contains(&role);
            // Supervised processes and what executors touch are there or not.
            let optional = matches!(key, "units" | "executors" | "executor_data");
            if is_there && !own {
                faults.push(format!("`{key}` is nothing that the role `{role}` may hold: leave it out"));
            } else if !is_there && own && !optional {
                faults.push(format!("`{key}` is missing: the role `{role}` needs it"));
            }
        }
        if config.catalogue.is_empty() {
            faults.push("`catalogue` names no file".to_owned());
        }
        if let Err(err) = role.check_keys(&config.keys_dir()) {
            faults.extend(err.0);
        }
        let faults = faults.into_iter().map(|fault| format!("{}: {fault}", path.display()));
        let faults: Vec<_> = faults.collect();
        if faults.is_empty() { Ok(config) } else { Err(ConfigError(faults)) }
    }

    /// Which part is there, and for which roles: the table of what each holds.
    fn parts(&self) -> [(&'static str, bool, &'static [Role]); 8] {
        use Role::{Executor, Issuer, Observer};
        [
            ("inventory", self.inventory.is_some(), &[Observer]),
            ("executor_data", self.executor_data.is_some(), &[Observer]),
            ("pins", self.pins.is_some(), &[Issuer, Executor]),
            ("log_key", self.log_key.is_some(), &[Issuer, Executor]),
            ("executor", self.executor.is_some(), &[Issuer]),
            ("issuer", self.issuer.is_some(), &[Executor]),
            ("units", self.units.is_some(), &[Observer, Executor]),
            ("executors", self.executors.is_some(), &[Observer, Issuer, Executor]),
        ]
    }

    /// The folder of its keys and of what it remembers.
    pub(crate) fn data(&self) -> PathBuf {
        self.base.join(&self.data_dir)
    }

    /// Where its executors find what they touch, and keep what they remember.
    pub(crate) fn places(&self) -> Places {
        Places { base: self.base.clone(), data: self.data() }
    }

    /// The text of a file of its own, if it has one.
    pub(crate) fn text(&self, path: Option<&Path>) -> Result<Option<String>, ConfigError> {
        path.map(|path| read(&self.base.join(path))).transpose()
    }

    /// The folder of its keys.
    pub(crate) fn keys_dir(&self) -> PathBuf {
        self.data().join("keys")
    }
}
