//! Wiring: the gate and its ports, put together from a configuration.
//!
//! All roles run in this one process, so that invariant 7 holds by construction only: the gate's side gets the keys of
//! permits, checkpoints and evidence; the executor's side gets its pins, its lease table and the supervisor; neither is
//! handed what belongs to the other.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use holdpoint_adapters::{
    executor::{
        Authority, Dispatch, Pins,
        process::{ProcessExecutor, ProcessObserver, Supervisor, Unit},
    },
    identity::{Jwks, Verifier},
    lease::{LeaseTable, LocalIssuer},
    probe::WorldProber,
    store::{SqliteConfig, SqliteStore},
    system::{Ed25519Key, KeyUse, Seed, SystemClock, SystemIds},
};
use holdpoint_app::{
    gate::{Controls, Gate, Ports, Settings},
    judge::BundleJudge,
    port::{Clock, Store},
};
use holdpoint_domain::{Digest, Id, Millis, action::Catalogue, actor::Identity, decision::Mode, id::kind};
use serde::Deserialize;

use crate::{
    cli::{CliError, failed},
    config::{Config, Inputs, parse, read},
    service::Identify,
};

/// The id of the permit key in JWS headers.
const PERMIT_KEY_ID: &str = "permit-1";
/// The executor of actions on supervised processes.
const PROCESS: &str = "process";

/// A gate with everything it needs.
pub(crate) struct Wired {
    /// The gate.
    pub(crate) gate: Gate,
    /// Who is calling.
    pub(crate) identify: Arc<dyn Identify>,
    /// Starts units that are due; asked again and again while the gate serves.
    pub(crate) supervisor: Arc<Supervisor>,
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

/// Builds the gate.
pub(crate) fn wire(config: &Config, inputs: Inputs) -> Result<Wired, CliError> {
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

    let catalogue = Arc::new(inputs.catalogue.clone());
    let pinned = config.pins()?;
    let pins = Pins {
        gate: pinned.permit_key,
        approvers: pinned.approvers,
        catalogue: Arc::clone(&catalogue),
        mode,
    };
    let leases = Arc::new(LeaseTable::new());
    let supervisor = Arc::new(Supervisor::open(&config.units_dir(), units(config)?).map_err(failed)?);
    let authority = Authority {
        name: pinned.name,
        pins: pins.clone(),
        actions: actions_of(&catalogue),
        targets: pinned.targets,
    };
    let reader = supervisor.reader();
    let process: Id<kind::Executor> = Id::parse(PROCESS).map_err(failed)?;
    let executor =
        ProcessExecutor::new(authority, Arc::clone(&leases), Arc::clone(&supervisor), Arc::clone(&clock));
    let dispatch = Arc::new(
        Dispatch::new(Arc::clone(&catalogue))
            .with_executor(process.clone(), Arc::new(executor))
            .with_observer(process, Arc::new(ProcessObserver::new(reader.clone()))),
    );
    let issuer = LocalIssuer::new(leases, pins, log_key.clone(), Arc::clone(&clock));

    let ports = Ports {
        store,
        judge: Arc::new(BundleJudge::new(inputs.bundle, Arc::clone(&clock))),
        clock: Arc::clone(&clock),
        ids: Arc::new(SystemIds),
        prober: Arc::new(WorldProber::new(Arc::clone(&clock), Some(reader)).map_err(failed)?),
        observer: Arc::clone(&dispatch) as _,
        issuer: Arc::new(issuer),
        executor: dispatch,
        permit_key: Arc::new(key(&KeyUse::Permit, "permit")?),
        evidence_key: Arc::new(key(&KeyUse::Evidence, "evidence")?),
        log_key,
    };
    let controls = Controls {
        catalogue: inputs.catalogue,
        inventory: inputs.inventory,
        registry: inputs.registry,
        roots: roots(config)?,
    };
    let gate = Gate::new(ports, controls, settings(config, mode)).map_err(failed)?;
    let identities = Jwks::load(&config.identities()).map_err(failed)?;
    let verifier = Verifier::new(identities, config.trust_domain.clone(), config.audience.clone());
    Ok(Wired { gate, identify: Arc::new(Tokens { verifier, clock }), supervisor })
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

/// What else decides who is believed and what runs. A gate whose roots are not those of its ledger does not start.
fn roots(config: &Config) -> Result<BTreeMap<&'static str, Digest>, CliError> {
    let mut roots = BTreeMap::from([
        ("identities", Digest::of_bytes(read(&config.identities())?.as_bytes())),
        ("executor_pins", Digest::of_bytes(read(&config.path(&config.executor_pins))?.as_bytes())),
        ("development", Digest::of_bytes(if config.development { b"true" } else { b"false" })),
    ]);
    if let Some(units) = &config.units {
        roots.insert("units", Digest::of_bytes(read(&config.path(units))?.as_bytes()));
    }
    Ok(roots)
}

fn units(config: &Config) -> Result<Vec<Unit>, CliError> {
    let Some(path) = &config.units else { return Ok(Vec::new()) };
    let file: UnitsFile = parse(&config.path(path))?;
    let unit = |entry: UnitEntry| {
        let cwd = config.path(&entry.cwd);
        Unit::new(entry.id, entry.argv, entry.env, cwd, entry.stop_grace_ms).map_err(failed)
    };
    file.units.into_iter().map(unit).collect()
}

/// The actions that the process executor runs at all.
fn actions_of(catalogue: &Catalogue) -> BTreeSet<Id<kind::Action>> {
    let ours = catalogue.actions().filter(|action| action.executor.as_str() == PROCESS);
    ours.map(|action| action.id.clone()).collect()
}

struct Tokens {
    verifier: Verifier,
    clock: Arc<dyn Clock>,
}

impl Identify for Tokens {
    fn identify(&self, bearer: &str) -> Result<Identity, String> {
        let verified = self.verifier.verify(bearer, self.clock.now()).map_err(|err| err.to_string())?;
        Ok(verified.identity().clone())
    }
}
