//! Wiring: the gate and its ports, put together from a configuration.
//!
//! All roles run in this one process, so that invariant 7 holds by construction only: the gate's side gets the keys of
//! permits, checkpoints and evidence; the executor's side gets its pins, its lease table and the supervisor; neither is
//! handed what belongs to the other.

mod controls;
mod executors;
mod identities;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
};

use holdpoint_adapters::{
    executor::{
        Authority, Dispatch, Pins,
        files::{FileExecutor, FileObserver, SecretExecutor, SecretObserver},
        http_job::{JobExecutor, JobObserver},
        nginx::{NginxExecutor, NginxObserver},
        process::{ProcessExecutor, ProcessObserver, Supervisor, Unit},
    },
    identity::WorkloadApi,
    lease::{LeaseTable, LocalIssuer},
    probe::WorldProber,
    store::{SqliteConfig, SqliteStore},
    system::{Ed25519Key, FileLatch, KeyUse, Seed, SystemClock, SystemIds},
};
use holdpoint_app::{
    gate::{Gate, Ports, Settings},
    judge::BundleJudge,
    port::{Clock, Executor, Observer, Store},
};
use holdpoint_domain::{Id, Millis, decision::Mode, id::kind};
use holdpoint_ledger::VerifierKey;
use serde::Deserialize;

pub(crate) use controls::InForce;
use executors::Machinery;
use identities::{Believed, Followed};

use crate::{
    cli::{CliError, failed},
    config::{Config, Inputs, parse_text, root_text},
    service::{GateCell, Identified, Identify},
};

/// The id of the permit key in JWS headers.
const PERMIT_KEY_ID: &str = "permit-1";

/// A gate with everything it needs.
pub(crate) struct Wired {
    /// The gate under the control inputs in force.
    pub(crate) cell: Arc<GateCell>,
    /// Those control inputs.
    pub(crate) in_force: Arc<InForce>,
    /// Who is calling.
    pub(crate) identify: Arc<dyn Identify>,
    /// Starts units that are due; asked again and again while the gate serves.
    pub(crate) supervisor: Arc<Supervisor>,
    /// Gives identities to processes on this machine, as long as it is held.
    pub(crate) workload_api: Option<WorkloadApi>,
}

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

/// What the roles beside the gate hold, and how their parts are put together for the control inputs in force.
pub(crate) struct Roles {
    mode: Mode,
    clock: Arc<dyn Clock>,
    log_key: VerifierKey,
    leases: Arc<LeaseTable>,
    supervisor: Arc<Supervisor>,
    machinery: Machinery,
}

impl Roles {
    fn judge(&self, inputs: &Inputs) -> Arc<BundleJudge> {
        Arc::new(BundleJudge::new(Arc::clone(&inputs.bundle), Arc::clone(&self.clock)))
    }

    /// The ports under these control inputs; what they do not depend on stays.
    fn ports(&self, ports: &Ports, inputs: &Inputs) -> Result<Ports, CliError> {
        let (dispatch, issuer) = self.hands(inputs)?;
        Ok(Ports {
            judge: self.judge(inputs),
            observer: Arc::clone(&dispatch) as _,
            issuer,
            executor: dispatch,
            ..ports.clone()
        })
    }

    /// Executors, observers and the issuer, with the catalogue and the pins that they trust.
    fn hands(&self, inputs: &Inputs) -> Result<(Arc<Dispatch>, Arc<LocalIssuer>), CliError> {
        let pinned = inputs.pins.clone();
        let pinned = pinned.ok_or_else(|| {
            CliError::Failed("there are no executor pins: run `holdpoint init` first".into())
        })?;
        let catalogue = Arc::new(inputs.catalogue.clone());
        let pins = Pins {
            gate: pinned.permit_key,
            approvers: pinned.approvers,
            catalogue: Arc::clone(&catalogue),
            mode: self.mode,
        };
        let (leases, clock) = (|| Arc::clone(&self.leases), || Arc::clone(&self.clock));
        let mut dispatch = Dispatch::new(Arc::clone(&catalogue));
        for (name, targets) in pinned.executors {
            let actions = catalogue.actions().filter(|action| action.executor == name);
            let authority = Authority {
                name: name.clone(),
                pins: pins.clone(),
                actions: actions.map(|action| action.id.clone()).collect(),
                targets,
            };
            let hands: (Arc<dyn Executor>, Arc<dyn Observer>) = match name.as_str() {
                "process" => (
                    Arc::new(ProcessExecutor::new(
                        authority,
                        leases(),
                        Arc::clone(&self.supervisor),
                        clock(),
                    )),
                    Arc::new(ProcessObserver::new(self.supervisor.reader())),
                ),
                "flags" => {
                    let files = &self.machinery.flags;
                    let executor = FileExecutor::new(authority, leases(), Arc::clone(files), clock());
                    (Arc::new(executor), Arc::new(FileObserver::new(files.reader())))
                }
                "config" => {
                    let files = &self.machinery.config;
                    let executor = FileExecutor::new(authority, leases(), Arc::clone(files), clock());
                    (Arc::new(executor), Arc::new(FileObserver::new(files.reader())))
                }
                "secret" => {
                    let files = &self.machinery.secret;
                    let executor = SecretExecutor::new(authority, leases(), Arc::clone(files), clock());
                    (Arc::new(executor), Arc::new(SecretObserver::new(files.reader())))
                }
                "job" => {
                    let jobs = &self.machinery.jobs;
                    let executor = JobExecutor::new(authority, leases(), Arc::clone(jobs), clock());
                    (Arc::new(executor), Arc::new(JobObserver::new(Arc::clone(jobs))))
                }
                "nginx" => {
                    let servers = &self.machinery.nginx;
                    let executor = NginxExecutor::new(authority, leases(), Arc::clone(servers), clock());
                    (Arc::new(executor), Arc::new(NginxObserver::new(Arc::clone(servers))))
                }
                _ => {
                    return Err(CliError::Failed(format!(
                        "there is no executor `{name}`: see the executor pins"
                    )));
                }
            };
            dispatch = dispatch.with_executor(name.clone(), hands.0).with_observer(name, hands.1);
        }
        let issuer = LocalIssuer::new(leases(), pins, self.log_key.clone(), clock());
        Ok((Arc::new(dispatch), Arc::new(issuer)))
    }
}

/// Builds the gate.
pub(crate) async fn wire(config: &Config) -> Result<Wired, CliError> {
    let mode = if config.development { Mode::Development } else { Mode::Production };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let key = |purpose: &KeyUse, name: &str| -> Result<Ed25519Key, CliError> {
        let path = purpose.path(&config.keys_dir());
        let seed = Seed::load(&path)
            .map_err(|err| CliError::Failed(format!("{err}; run `holdpoint init` first")))?;
        Ed25519Key::from_seed(name, &seed).map_err(failed)
    };
    let checkpoint_key = key(&KeyUse::Checkpoint, &config.origin)?;
    let log_key = checkpoint_key.verifier_key().map_err(failed)?;
    let store_config = SqliteConfig::new(config.store_path(), config.origin.clone());
    let store = SqliteStore::open(store_config, Box::new(checkpoint_key)).map_err(failed)?;
    let store: Arc<dyn Store> = Arc::new(store);

    // What is started, touched and believed comes from the activated texts, never from what happens to be on disk.
    let inputs = controls::in_force(config, &clock, store.as_ref()).await?;
    let root = |name: &str| root_text(config, &inputs.documents, name);
    let units = units(config, root("units"))?;
    let supervisor = Arc::new(Supervisor::open(&config.units_dir(), units).map_err(failed)?);
    let roles = Arc::new(Roles {
        mode,
        clock: Arc::clone(&clock),
        log_key: log_key.clone(),
        leases: Arc::new(LeaseTable::new()),
        supervisor: Arc::clone(&supervisor),
        machinery: Machinery::open(config, root("executors"))?,
    });
    for warning in &inputs.warnings {
        tracing::warn!("policy: {warning}");
    }
    for gap in crate::config::unmeasurable(&inputs) {
        tracing::warn!("{gap}");
    }
    let believed = Believed::read(config, &inputs.documents)?;
    if believed.is_local() {
        tracing::warn!(
            "identities come from the local development issuer: whoever can read its key can be anybody"
        );
    }
    let workload_api = believed.serve(config, &clock)?;
    let tokens =
        Arc::new(Tokens { followed: RwLock::new(believed.follow(&clock)), clock: Arc::clone(&clock) });
    let documents = inputs.documents.clone();
    let in_force = Arc::new(InForce::new(config.clone(), Arc::clone(&roles), Arc::clone(&tokens), documents));
    let (dispatch, issuer) = roles.hands(&inputs)?;
    let prober = WorldProber::new(Arc::clone(&clock), Some(supervisor.reader())).map_err(failed)?;
    let ports = Ports {
        store,
        judge: roles.judge(&inputs),
        clock: Arc::clone(&clock),
        ids: Arc::new(SystemIds),
        prober: Arc::new(prober),
        observer: Arc::clone(&dispatch) as _,
        issuer,
        executor: dispatch,
        latch: Arc::new(FileLatch::new(config.latch())),
        inputs: Arc::clone(&in_force) as _,
        permit_key: Arc::new(key(&KeyUse::Permit, "permit")?),
        evidence_key: Arc::new(key(&KeyUse::Evidence, "evidence")?),
        log_key,
    };
    let gate = Gate::new(ports, controls::controls(inputs), settings(config, mode)).map_err(failed)?;
    let cell = Arc::new(GateCell::new(Arc::new(gate)));
    in_force.serve(&cell);
    Ok(Wired { cell, in_force, identify: tokens, supervisor, workload_api })
}

fn settings(config: &Config, mode: Mode) -> Settings {
    let mut settings = Settings::new(PERMIT_KEY_ID.to_owned());
    let timings = &config.timings;
    settings.mode = mode;
    settings.hold_ms = timings.hold_ms.unwrap_or(settings.hold_ms);
    settings.start_window_ms = timings.start_window_ms.unwrap_or(settings.start_window_ms);
    settings.remeasure_ms = timings.remeasure_ms.unwrap_or(settings.remeasure_ms);
    settings.defer_ms = timings.defer_ms.unwrap_or(settings.defer_ms);
    settings.review_ms = timings.review_ms.unwrap_or(settings.review_ms);
    settings.verify_every_ms = timings.verify_every_ms.unwrap_or(settings.verify_every_ms);
    settings
}

/// The supervised processes that a text names.
fn units(config: &Config, text: Option<&str>) -> Result<Vec<Unit>, CliError> {
    let Some(text) = text else { return Ok(Vec::new()) };
    let file: UnitsFile = parse_text("units", text)?;
    let unit = |entry: UnitEntry| {
        let cwd = config.path(&entry.cwd);
        Unit::new(entry.id, entry.argv, entry.env, cwd, entry.stop_grace_ms).map_err(failed)
    };
    file.units.into_iter().map(unit).collect()
}

/// Tells who a token belongs to, by the rules in force and the keys that their sources published last.
struct Tokens {
    followed: RwLock<Followed>,
    clock: Arc<dyn Clock>,
}

impl Tokens {
    /// Believes others from now on; what the old ones signed is forgotten.
    fn replace(&self, believed: Believed) {
        let followed = believed.follow(&self.clock);
        *self.followed.write().unwrap_or_else(PoisonError::into_inner) = followed;
    }
}

impl Identify for Tokens {
    fn identify(&self, bearer: &str) -> Result<Identified, String> {
        let followed = self.followed.read().unwrap_or_else(PoisonError::into_inner);
        let verified = followed.verifier.verify(bearer, self.clock.now()).map_err(|err| err.to_string())?;
        Ok(Identified { identity: verified.identity().clone(), selectors: Arc::clone(verified.selectors()) })
    }
}
