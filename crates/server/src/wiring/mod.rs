//! Wiring: the gate and its ports, put together from a configuration.
//!
//! With all roles in one process invariant 7 holds by construction only: the gate's side gets the keys of permits, checkpoints and
//! evidence; the executor's side ([`hands`]) gets its pins, its lease table and the supervisor; neither is handed what belongs to
//! the other. With roles in processes of their own ([`apart`]) the gate has their addresses and the ids that it expects there.

mod apart;
mod controls;
mod executors;
mod hands;

use std::sync::{Arc, PoisonError, RwLock};

use holdpoint_adapters::{
    cosign::Kept,
    executor::{Pins, process::Supervisor},
    identity::{CachedVerifier, Jwks, Verifier},
    lease::{LeaseTable, LocalIssuer},
    probe::WorldProber,
    remote::{PublicOnly, RemoteExecutor, RemoteIssuer, RemoteObserver, TellingLatch},
    store::{SqliteConfig, SqliteStore},
    system::{Ed25519Key, FileLatch, KeyUse, Seed, SystemClock, SystemIds},
};
use holdpoint_app::{
    gate::{Gate, Ports, Settings},
    judge::BundleJudge,
    port::{Clock, Executor, Issuer, Latch, Observer, Prober, Signer, Store},
};
use holdpoint_domain::{actor::Identity, decision::Mode};
use holdpoint_ledger::VerifierKey;

pub(crate) use apart::{Neighbours, neighbours};
pub(crate) use controls::InForce;
pub(crate) use executors::Places;
use hands::units_of;
pub(crate) use hands::{Eyes, Hands, executors};

use crate::{
    cli::{CliError, failed},
    config::{Config, Documents, GateRoles, Inputs, root_text},
    service::{GateCell, Identify},
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
    /// Starts units that are due; asked again and again while the gate serves. None where the executor is a process of its own.
    pub(crate) supervisor: Option<Arc<Supervisor>>,
    /// The roles in processes of their own.
    pub(crate) neighbours: Option<Neighbours>,
    /// The newest cosigned head.
    pub(crate) cosigned: Arc<Kept>,
}

/// What the roles beside the gate hold, and how their parts are put together for the control inputs in force.
pub(crate) struct Roles {
    mode: Mode,
    clock: Arc<dyn Clock>,
    log_key: VerifierKey,
    side: Side,
}

/// Where the other roles are.
enum Side {
    /// In this process.
    Here { hands: Hands, leases: Arc<LeaseTable> },
    /// In processes of their own, with pins and catalogues that nothing here replaces.
    Apart(Apart),
}

/// The ports of roles in processes of their own.
struct Apart {
    observer: Arc<RemoteObserver>,
    issuer: Arc<RemoteIssuer>,
    executor: Arc<RemoteExecutor>,
}

/// The ports whose other side is an observer, an issuer or an executor.
struct Others {
    observer: Arc<dyn Observer>,
    issuer: Arc<dyn Issuer>,
    executor: Arc<dyn Executor>,
}

impl Roles {
    fn judge(&self, inputs: &Inputs) -> Arc<BundleJudge> {
        Arc::new(BundleJudge::new(Arc::clone(&inputs.bundle), Arc::clone(&self.clock)))
    }

    /// The ports under these control inputs; what they do not depend on stays.
    fn ports(&self, ports: &Ports, inputs: &Inputs) -> Result<Ports, CliError> {
        let Others { observer, issuer, executor } = self.others(inputs)?;
        Ok(Ports { judge: self.judge(inputs), observer, issuer, executor, ..ports.clone() })
    }

    /// Executors, observers and the issuer, with the catalogue and the pins that they trust.
    fn others(&self, inputs: &Inputs) -> Result<Others, CliError> {
        let (hands, leases) = match &self.side {
            Side::Here { hands, leases } => (hands, leases),
            Side::Apart(Apart { observer, issuer, executor }) => {
                return Ok(Others {
                    observer: Arc::clone(observer) as _,
                    issuer: Arc::clone(issuer) as _,
                    executor: Arc::clone(executor) as _,
                });
            }
        };
        let pinned = inputs.pins.clone();
        let pinned = pinned.ok_or_else(|| {
            CliError::Failed("there are no executor pins: run `holdpoint init` first".into())
        })?;
        let pins = Pins {
            gate: pinned.permit_key.clone(),
            approvers: pinned.approvers.clone(),
            catalogue: Arc::new(inputs.catalogue.clone()),
            mode: self.mode,
        };
        let dispatch = Arc::new(executors(hands, &pinned, &pins, leases, &self.clock)?);
        let book = Arc::clone(leases) as _;
        let issuer = LocalIssuer::new(book, pins, self.log_key.clone(), Arc::clone(&self.clock));
        Ok(Others { observer: Arc::clone(&dispatch) as _, issuer: Arc::new(issuer), executor: dispatch })
    }
}

/// Builds the gate; `apart` with the other roles in processes of their own.
pub(crate) async fn wire(config: &Config, apart: Option<&GateRoles>) -> Result<Wired, CliError> {
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
    let neighbours = apart.map(|roles| neighbours(config, roles)).transpose()?;
    let permit_key = key(&KeyUse::Permit, "permit")?;
    let side = match &neighbours {
        Some(neighbours) => Side::Apart(neighbours.ports(&store, permit_key.public_key())),
        None => Side::Here {
            hands: Hands::open(&config.places(), root("units"), root("executors"))?,
            leases: Arc::new(LeaseTable::new()),
        },
    };
    let supervisor = match &side {
        Side::Here { hands, .. } => Some(Arc::clone(&hands.supervisor)),
        Side::Apart(_) => None,
    };
    let prober: Arc<dyn Prober> = match &side {
        Side::Here { hands, .. } => {
            Arc::new(WorldProber::new(Arc::clone(&clock), Some(hands.supervisor.reader())).map_err(failed)?)
        }
        Side::Apart(apart) => Arc::clone(&apart.observer) as _,
    };
    let evidence_key: Arc<dyn Signer> = match apart {
        Some(roles) => Arc::new(PublicOnly(roles.evidence_key.clone())),
        None => Arc::new(key(&KeyUse::Evidence, "evidence")?),
    };
    let latch = FileLatch::new(config.latch());
    let latch: Arc<dyn Latch> = match &neighbours {
        Some(neighbours) => Arc::new(TellingLatch::new(latch, Arc::clone(&neighbours.changed))),
        None => Arc::new(latch),
    };
    let roles = Arc::new(Roles { mode, clock: Arc::clone(&clock), log_key: log_key.clone(), side });
    for warning in &inputs.warnings {
        tracing::warn!("policy: {warning}");
    }
    for gap in crate::config::unmeasurable(&inputs) {
        tracing::warn!("{gap}");
    }
    let tokens = Arc::new(Tokens {
        verifier: RwLock::new(CachedVerifier::new(verifier(config, &inputs.documents)?)),
        clock: Arc::clone(&clock),
    });
    let documents = inputs.documents.clone();
    let in_force = Arc::new(InForce::new(config.clone(), Arc::clone(&roles), Arc::clone(&tokens), documents));
    let Others { observer, issuer, executor } = roles.others(&inputs)?;
    let ports = Ports {
        store,
        judge: roles.judge(&inputs),
        clock: Arc::clone(&clock),
        ids: Arc::new(SystemIds),
        prober,
        observer,
        issuer,
        executor,
        latch,
        inputs: Arc::clone(&in_force) as _,
        permit_key: Arc::new(permit_key),
        evidence_key,
        log_key,
    };
    let gate = Gate::new(ports, controls::controls(inputs), settings(config, mode)).map_err(failed)?;
    let cell = Arc::new(GateCell::new(Arc::new(gate)));
    in_force.serve(&cell);
    let cosigned = Arc::new(Kept::open(&config.cosigned(), &cell.get().ports.log_key));
    Ok(Wired { cell, in_force, identify: tokens, supervisor, neighbours, cosigned })
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

/// Who is believed, by the keys in force.
fn verifier(config: &Config, documents: &Documents) -> Result<Verifier, CliError> {
    let none = || CliError::Failed("there are no keys of identities: run `holdpoint init` first".into());
    let keys = Jwks::parse(root_text(config, documents, "identities").ok_or_else(none)?).map_err(failed)?;
    Ok(Verifier::new(keys, config.trust_domain.clone(), config.audience.clone()))
}

/// Tells who a token belongs to, by the keys in force now.
struct Tokens {
    verifier: RwLock<CachedVerifier>,
    clock: Arc<dyn Clock>,
}

impl Tokens {
    /// Believes other keys from now on; what the old ones signed is forgotten.
    fn replace(&self, verifier: Verifier) {
        *self.verifier.write().unwrap_or_else(PoisonError::into_inner) = CachedVerifier::new(verifier);
    }
}

impl Identify for Tokens {
    fn identify(&self, bearer: &str) -> Result<Identity, String> {
        let verifier = self.verifier.read().unwrap_or_else(PoisonError::into_inner);
        let verified = verifier.verify(bearer, self.clock.now()).map_err(|err| err.to_string())?;
        Ok(verified.identity().clone())
    }
}
