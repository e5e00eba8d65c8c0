//! Configuration: one file, typed, parsed once. Unknown keys are refused and all faults are reported together.

mod backstage;
mod calendar;
mod console;
mod incidents;
mod inputs;
mod limits;
mod notify;
mod oidc;
mod roles;
mod rota;
mod witness;

pub(crate) use console::{ConsoleConfig, Origin, Sitting};
pub(crate) use incidents::{IncidentSource, Source, sources};
pub(crate) use inputs::{
    Documents, Inputs, PasskeysFile, assemble, document, documents, is_builtin, load_inputs, names,
    read_catalogue, read_inventory, root_text, unmeasurable, without_login,
};
pub(crate) use oidc::OidcConfig;

pub(crate) use notify::NotifyConfig;
pub(crate) use roles::{GateRoles, PeerEntry, Role, RoleConfig, TlsEntry, spiffe};
pub(crate) use witness::{WitnessConfig, Witnesses, cosigner_key, log_key};

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read as _,
    net::SocketAddr,
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::Arc,
};

use holdpoint_adapters::identity::oidc::RelyingParty;
use holdpoint_app::port::Clock;
use holdpoint_domain::{
    Id, Millis, actor::TrustDomain, id::kind, permit::RetiredKey, proof::Credentials, signature::PublicKey,
};
use serde::{Deserialize, Serialize};

use crate::wiring::Places;

/// Largest configuration or input file; what a person writes is far below.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// `holdpoint.yaml`. Paths are relative to the file's folder.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Address and port of the HTTP door, for instance `127.0.0.1:7070`.
    pub(crate) listen: SocketAddr,
    /// Folder of the store, its keys and the supervisor's state.
    pub(crate) data_dir: PathBuf,
    /// The log's origin line: a name of yours, for instance `example.org/holdpoint`.
    pub(crate) origin: String,
    /// The SPIFFE trust domain of agents and people.
    pub(crate) trust_domain: TrustDomain,
    /// The one audience that identity tokens must have.
    pub(crate) audience: String,
    /// Host names under which the door may be asked, beside the listen address.
    #[serde(default)]
    pub(crate) allowed_hosts: BTreeSet<String>,
    /// For development: drills may kill the gate, and the local issuer speaks the Workload API. Never in production.
    #[serde(default)]
    pub(crate) development: bool,
    /// Action catalogue files. `builtin:process` names the one in the binary.
    pub(crate) catalogue: Vec<PathBuf>,
    /// The inventory file.
    pub(crate) inventory: PathBuf,
    /// Catalogue files of Backstage by the sources of dependencies that they are; approved together with the inventory.
    #[serde(default)]
    pub(crate) backstage: BTreeMap<Id<kind::Source>, Vec<PathBuf>>,
    /// The file of agents and people.
    pub(crate) registry: PathBuf,
    /// The file of people's passkeys, which enrolment writes; without it there are none.
    #[serde(default = "passkeys_file")]
    pub(crate) passkeys: PathBuf,
    /// The file of budgets and freezes; without it there are none.
    #[serde(default = "limits_file")]
    pub(crate) limits: PathBuf,
    /// Files of the calendars that the limits name (iCalendar).
    #[serde(default)]
    pub(crate) calendars: Vec<PathBuf>,
    /// Policy files. The guardrails are always loaded beside them.
    pub(crate) policies: Vec<PathBuf>,
    /// Processes under the local supervisor.
    #[serde(default)]
    pub(crate) units: Option<PathBuf>,
    /// What executors of files, jobs and nginx may touch, and where it is.
    #[serde(default)]
    pub(crate) executors: Option<PathBuf>,
    /// Trust domains and issuers whose tokens are believed, with their rules; without it, the local development issuer alone.
    #[serde(default)]
    pub(crate) identity_sources: Option<PathBuf>,
    /// What the executor has pinned, apart from the gate: written by `holdpoint init`.
    pub(crate) executor_pins: PathBuf,
    /// Keys of the gate that are in a PKCS #11 token instead of in a file.
    #[serde(default)]
    pub(crate) tokens: Tokens,
    /// Who cosigns the heads of the ledger; nobody by default.
    #[serde(default)]
    pub(crate) witnesses: Witnesses,
    /// Where the other roles are, when they run in processes of their own.
    #[serde(default)]
    pub(crate) roles: Option<GateRoles>,
    /// A door for workloads that prove who they are by X.509-SVIDs; without it there is none.
    #[serde(default)]
    pub(crate) workloads: Option<WorkloadDoor>,
    /// The console for people in their browsers; without it there is none.
    #[serde(default)]
    pub(crate) console: Option<ConsoleConfig>,
    /// Who hears of what, over which channels; without it nobody is told.
    #[serde(default)]
    pub(crate) notify: Option<PathBuf>,
    /// Who may tell of incidents; nobody by default.
    #[serde(default)]
    pub(crate) incidents: Vec<IncidentSource>,
    /// How many plans of one agent may wait for people or for a measurement; 50 by default.
    #[serde(default)]
    pub(crate) max_waiting: Option<NonZeroU32>,
    /// Times, each with a default.
    #[serde(default)]
    pub(crate) timings: Timings,
    /// The folder that the paths are relative to.
    #[serde(skip)]
    pub(crate) base: PathBuf,
}

/// The door for workloads, behind mutual TLS.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorkloadDoor {
    /// Address and port.
    pub(crate) listen: SocketAddr,
    /// The gate's own certificate at this door, and the bundle that workloads are checked with.
    pub(crate) tls: TlsEntry,
    /// Agents are taken at this door alone: a token of theirs is worth nothing without their certificate.
    #[serde(default)]
    pub(crate) agents_only_here: bool,
}

/// Keys in PKCS #11 tokens, by purpose. A key that is not named here is in a file of `data_dir/keys`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tokens {
    /// The key of the ledger's checkpoints.
    pub(crate) checkpoint: Option<Token>,
    /// The key that the log rotates to: while it stands here, every head has both signatures.
    pub(crate) next_checkpoint: Option<Token>,
    /// The key of delegations.
    pub(crate) delegation: Option<Token>,
    /// The key of evidence.
    pub(crate) evidence: Option<Token>,
    /// The key of permits.
    pub(crate) permit: Option<Token>,
    /// The key of permits after the next rotation: whichever of the two the executors have pinned signs.
    pub(crate) next_permit: Option<Token>,
}

/// Where a key is in a PKCS #11 token.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Token {
    /// The module: a shared library, loaded into the gate.
    pub(crate) module: PathBuf,
    /// The token's label.
    pub(crate) token: String,
    /// The key pair's label; `holdpoint init` makes it where it is not there yet.
    pub(crate) label: String,
    /// A file with the PIN, mode 0600.
    pub(crate) pin_file: PathBuf,
}

/// Times, in milliseconds.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Timings {
    /// How long a hold waits for people (15 minutes; at most 24 hours).
    pub(crate) hold_ms: Option<Millis>,
    /// How long a permit may wait for its start (1 minute; at most 1 hour).
    pub(crate) start_window_ms: Option<Millis>,
    /// The pause between measurements of a deferred plan (5 s).
    pub(crate) remeasure_ms: Option<Millis>,
    /// How long a deferred plan is measured before it expires (5 minutes).
    pub(crate) defer_ms: Option<Millis>,
    /// When the review of a run without a person is due (24 hours).
    pub(crate) review_ms: Option<Millis>,
    /// The pause between measurements of a verification (1 s).
    pub(crate) verify_every_ms: Option<Millis>,
}

/// What the executor trusts, pinned apart from the gate: a gate that was taken over cannot change it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExecutorPins {
    /// The gate's permit key.
    pub(crate) permit_key: PublicKey,
    /// Permit keys that sign no more, at most four.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) retired_permit_keys: Vec<RetiredKey>,
    /// Approvers, their keys and their passkeys.
    pub(crate) approvers: BTreeMap<Id<kind::Person>, Credentials>,
    /// Executors, by the name that permits must carry, and the only targets that each may act on, whatever a permit says.
    pub(crate) executors: BTreeMap<Id<kind::Executor>, BTreeSet<Id<kind::Target>>>,
    /// Each executor's own key: permits are bound to it.
    #[serde(default)]
    pub(crate) executor_keys: BTreeMap<Id<kind::Executor>, PublicKey>,
}

fn passkeys_file() -> PathBuf {
    PathBuf::from("passkeys.yaml")
}

fn limits_file() -> PathBuf {
    PathBuf::from("limits.yaml")
}

/// Faults of the configuration or of an input, all of them.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub(crate) struct ConfigError(pub(crate) Vec<String>);

impl ConfigError {
    /// One fault.
    pub(crate) fn one(fault: impl Into<String>) -> Self {
        Self(vec![fault.into()])
    }
}

impl Config {
    /// Reads the file and checks what can be checked without the others.
    pub(crate) fn load(path: &Path) -> Result<Self, ConfigError> {
        let mut config: Self = parse(path)?;
        config.base = folder_of(path);
        let mut faults = Vec::new();
        if config.policies.is_empty() {
            faults.push(format!(
                "{}: `policies` names no file: without a policy nothing could ever be allowed",
                path.display()
            ));
        }
        if config.catalogue.is_empty() {
            faults.push(format!("{}: `catalogue` names no file", path.display()));
        }
        let limits = [
            ("hold_ms", config.timings.hold_ms, holdpoint_domain::approval::MAX_APPROVAL_MS),
            ("start_window_ms", config.timings.start_window_ms, holdpoint_domain::permit::MAX_START_MS),
        ];
        for (key, value, max) in limits {
            if value.is_some_and(|value| value.ms() == 0 || value.ms() > max) {
                faults.push(format!("{}: `timings.{key}`: expected 1 to {max} ms", path.display()));
            }
        }
        if let Err(more) = config.witnesses.parsed() {
            faults.extend(more.into_iter().map(|fault| format!("{}: {fault}", path.display())));
        }
        if let Some(Err(more)) = config.console.as_ref().map(ConsoleConfig::parsed) {
            faults.extend(more.into_iter().map(|fault| format!("{}: {fault}", path.display())));
        }
        if faults.is_empty() { Ok(config) } else { Err(ConfigError(faults)) }
    }

    /// The console, if there is one.
    pub(crate) fn sitting(&self) -> Result<Option<Sitting>, ConfigError> {
        self.console.as_ref().map(ConsoleConfig::parsed).transpose().map_err(ConfigError)
    }

    /// The provider that people sign in at, if there is one. Reads its secret, and asks nobody.
    pub(crate) fn party(&self, clock: &Arc<dyn Clock>) -> Result<Option<RelyingParty>, ConfigError> {
        let Some((sitting, oidc)) =
            self.sitting()?.zip(self.console.as_ref().and_then(|it| it.oidc.as_ref()))
        else {
            return Ok(None);
        };
        let spec = oidc.spec(&self.base, &sitting.origin).map_err(ConfigError::one)?;
        let faults = |faults: Vec<String>| {
            ConfigError(faults.into_iter().map(|fault| format!("`console.oidc`: {fault}")).collect())
        };
        RelyingParty::new(spec, Arc::clone(clock)).map(Some).map_err(faults)
    }

    /// Who may tell of incidents, with their tokens.
    pub(crate) fn incident_sources(&self) -> Result<BTreeMap<Id<kind::Source>, Source>, ConfigError> {
        sources(&self.incidents, &self.base).map_err(ConfigError)
    }

    /// Whether this is the file of a gate whose other roles run apart, and has nothing that only those may hold.
    pub(crate) fn check_gate(&self) -> Result<&GateRoles, ConfigError> {
        let mut faults = Vec::new();
        let foreign = [
            ("units", self.units.is_some(), "executor"),
            ("executors", self.executors.is_some(), "executor"),
            ("tokens.evidence", self.tokens.evidence.is_some(), "observer"),
        ];
        for (key, is_there, role) in foreign {
            if is_there {
                faults.push(format!(
                    "`{key}` is nothing that the role `gate` may hold: it belongs to the {role}"
                ));
            }
        }
        if let Err(err) = Role::Gate.check_keys(&self.keys_dir()) {
            faults.extend(err.0);
        }
        match &self.roles {
            None => {
                faults.push("`roles` is missing: the gate must know where the other roles are".to_owned())
            }
            Some(roles) if faults.is_empty() => return Ok(roles),
            Some(_) => {}
        }
        Err(ConfigError(faults))
    }

    /// A path of the configuration.
    pub(crate) fn path(&self, relative: &Path) -> PathBuf {
        self.base.join(relative)
    }

    /// The folder of the gate's keys.
    pub(crate) fn keys_dir(&self) -> PathBuf {
        self.path(&self.data_dir).join("keys")
    }

    /// The public keys of identity tokens (a JWKS).
    pub(crate) fn identities(&self) -> PathBuf {
        self.keys_dir().join("identities.jwks")
    }

    /// The store's file.
    pub(crate) fn store_path(&self) -> PathBuf {
        self.path(&self.data_dir).join("holdpoint.db")
    }

    /// Where executors of this process find what they touch, and keep what they remember.
    pub(crate) fn places(&self) -> Places {
        Places { base: self.base.clone(), data: self.path(&self.data_dir) }
    }

    /// Where a development person's approval key lies.
    pub(crate) fn person_key(&self, person: &Id<kind::Person>) -> PathBuf {
        self.base.join("people").join(format!("{person}.key"))
    }

    /// The address of the door, for a client on this machine.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.listen)
    }

    /// The newest head that witnesses cosigned.
    pub(crate) fn cosigned(&self) -> PathBuf {
        self.path(&self.data_dir).join("cosigned")
    }

    /// What people were told.
    pub(crate) fn notified(&self) -> PathBuf {
        self.path(&self.data_dir).join("notified")
    }

    /// The console's address, for links.
    pub(crate) fn console_origin(&self) -> Option<&str> {
        self.console.as_ref().map(|console| console.origin.as_str())
    }

    /// The latch file of a halt.
    pub(crate) fn latch(&self) -> PathBuf {
        self.path(&self.data_dir).join("halt")
    }
}

/// The folder that a file is in. A bare file name has the empty path as its folder: that is here.
pub(crate) fn folder_of(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new(".")).to_path_buf()
}

/// Reads a text file within the size limit.
pub(crate) fn read(path: &Path) -> Result<String, ConfigError> {
    let fault = |err: std::io::Error| ConfigError::one(format!("cannot read {}: {err}", path.display()));
    let meta = std::fs::metadata(path).map_err(fault)?;
    // A pipe would never end to be waited for, a device to be read, and neither has a size.
    if !meta.is_file() || meta.len() > MAX_FILE_BYTES {
        let (path, size) = (path.display(), meta.len());
        let found = if meta.is_file() { format!("has {size} bytes") } else { "is no file".to_owned() };
        return Err(ConfigError::one(format!("{path} {found}: expected a file of at most {MAX_FILE_BYTES}")));
    }
    // It may grow while it is read.
    let mut text = String::new();
    std::fs::File::open(path)
        .map_err(fault)?
        .take(MAX_FILE_BYTES)
        .read_to_string(&mut text)
        .map_err(fault)?;
    Ok(text)
}

/// Parses a YAML file.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    parse_text(&path.display().to_string(), &read(path)?)
}

/// Parses a YAML text; `name` stands in the error.
pub(crate) fn parse_text<T: serde::de::DeserializeOwned>(name: &str, text: &str) -> Result<T, ConfigError> {
    serde_saphyr::from_str(text).map_err(|err| ConfigError::one(format!("{name}: {err}")))
}
