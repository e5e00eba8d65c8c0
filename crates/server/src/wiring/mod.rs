//! Wiring: the gate and its ports, put together from a configuration.
//!
//! With all roles in one process invariant 7 holds by construction only: the gate's side gets the keys of permits, checkpoints and
//! evidence; the executor's side ([`hands`]) gets its pins, its lease table and the supervisor; neither is handed what belongs to
//! the other. With roles in processes of their own ([`apart`]) the gate has their addresses and the ids that it expects there.

mod apart;
mod bearer;
mod controls;
mod executors;
mod hands;
mod identities;
mod keys;
mod leases;
mod notify;
pub(crate) mod secrets;

use std::{
    num::NonZeroU32,
    sync::{Arc, PoisonError, RwLock},
};

use holdpoint_adapters::{
    cosign::Kept,
    executor::{Pins, process::Supervisor},
    identity::WorkloadApi,
    lease::{Backends, LeaseTable},
    probe::{WorldMeter, WorldProber},
    remote::{PublicOnly, TellingLatch},
    store::{SqliteConfig, SqliteStore},
    system::{FileLatch, SystemClock, SystemIds},
};
use holdpoint_app::{
    gate::{Gate, Ports, Settings},
    judge::BundleJudge,
    port::{Clock, Executor, Issuer, Latch, Observer, Prober, Signer, Store},
};
use holdpoint_domain::{delegation::Naming, permit::PermitKeys};
use holdpoint_ledger::VerifierKey;

use apart::Apart;
pub(crate) use apart::{Neighbours, neighbours};
pub(crate) use bearer::IssuerSide;
pub(crate) use controls::InForce;
pub(crate) use executors::Places;
use hands::units_of;
pub(crate) use hands::{Eyes, Hands, executors, own_key};
use identities::{Believed, Followed};
pub(crate) use keys::{GateKey, Making, make_next_checkpoint, next_checkpoint, next_permit};
pub(crate) use leases::LeaseBackends;
pub(crate) use notify::{teller, telling_people};

use crate::{
    cli::{CliError, failed},
    config::{Config, ExecutorPins, GateRoles, Inputs, root_text},
    service::{GateCell, Identified, Identify},
};

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
    /// Gives identities to processes on this machine, as long as it is held.
    pub(crate) workload_api: Option<WorkloadApi>,
}

/// What the roles beside the gate hold, and how their parts are put together for the control inputs in force.
pub(crate) struct Roles {
    config: Config,
    clock: Arc<dyn Clock>,
    log_key: VerifierKey,
    side: Side,
}

/// Where the other roles are.
enum Side {
    /// In this process.
    Here { hands: Hands, backends: LeaseBackends, leases: Arc<LeaseTable> },
    /// In processes of their own, with pins and catalogues that nothing here replaces.
    Apart(Apart),
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
        // The executors believe the key that they have pinned: that is the one that signs.
        let pinned = &pinned(inputs)?.permit_key;
        let permit_key = if *pinned == ports.permit_key.public_key() {
            Arc::clone(&ports.permit_key)
        } else {
            keys::permit(&self.config, pinned)?.signer()
        };
        Ok(Ports { permit_key, judge: self.judge(inputs), observer, issuer, executor, ..ports.clone() })
    }

    /// Executors, observers and the issuer, with the catalogue and the pins that they trust.
    fn others(&self, inputs: &Inputs) -> Result<Others, CliError> {
        let pinned = pinned(inputs)?;
        let gate = PermitKeys::new(pinned.permit_key.clone(), pinned.retired_permit_keys.clone());
        let (hands, backends, leases) = match &self.side {
            Side::Here { hands, backends, leases } => (hands, backends, leases),
            Side::Apart(apart) => return Ok(apart.others(gate)),
        };
        let pins =
            Pins { gate, approvers: pinned.approvers.clone(), catalogue: Arc::new(inputs.catalogue.clone()) };
        let dispatch = Arc::new(executors(hands, pinned, &pins, leases, &self.clock)?);
        let (book, clock) = (Arc::clone(leases) as _, Arc::clone(&self.clock));
        let issuer = backends.add_to(Backends::local(book, pins, self.log_key.clone(), clock));
        Ok(Others { observer: Arc::clone(&dispatch) as _, issuer: Arc::new(issuer), executor: dispatch })
    }
}

/// Builds the gate; `apart` with the other roles in processes of their own.
pub(crate) async fn wire(config: &Config, apart: Option<&GateRoles>) -> Result<Wired, CliError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let key = |which: GateKey| which.find(config, Making::Never);
    let checkpoint_key = key(GateKey::Checkpoint)?;
    let log_key = checkpoint_key.verifier_key()?;
    let mut store_config = SqliteConfig::new(config.store_path(), config.origin.clone());
    if let Some(next) = keys::next_checkpoint(config)? {
        tracing::info!(
            "the log's key is rotated: every new head has the signature of {} too",
            next.verifier_key()?
        );
        store_config.next_signer = Some(next.note_signer());
    }
    let store = SqliteStore::open(store_config, checkpoint_key.note_signer()).map_err(failed)?;
    let store: Arc<dyn Store> = Arc::new(store);

    // What is started, touched and believed comes from the activated texts, never from what happens to be on disk.
    let inputs = controls::in_force(config, &clock, store.as_ref()).await?;
    let root = |name: &str| root_text(config, &inputs.documents, name);
    let neighbours = match apart {
        Some(roles) => Some(neighbours(config, roles).await?),
        None => None,
    };
    let side = match &neighbours {
        Some(neighbours) => Side::Apart(neighbours.apart(&store)),
        None => {
            let leases = Arc::new(LeaseTable::new());
            let (places, keys) = (config.places(), config.keys_dir());
            let (book, time) = (Arc::clone(&leases) as _, Arc::clone(&clock));
            let issuer = IssuerSide { data: &places.data, keys: &keys, book, clock: time };
            let backends = LeaseBackends::open(&config.base, root("executors"), &config.origin, &issuer)?;
            Side::Here { hands: Hands::open(&places, root("units"), root("executors"))?, backends, leases }
        }
    };
    let supervisor = match &side {
        Side::Here { hands, .. } => Some(Arc::clone(&hands.supervisor)),
        Side::Apart(_) => None,
    };
    let prober: Arc<dyn Prober> = match &side {
        Side::Here { hands, .. } => {
            let prober = WorldProber::new(Arc::clone(&clock), Some(hands.supervisor.reader()));
            Arc::new(prober.map_err(failed)?.with_logins(hands.logins.clone()))
        }
        Side::Apart(apart) => Arc::clone(&apart.observer) as _,
    };
    let evidence_key: Arc<dyn Signer> = match apart {
        Some(roles) => Arc::new(PublicOnly(roles.evidence_key.clone())),
        None => key(GateKey::Evidence)?.signer(),
    };
    let latch = FileLatch::new(config.latch());
    latch.compare(store.halt().as_ref());
    let latch: Arc<dyn Latch> = match &neighbours {
        Some(neighbours) => Arc::new(TellingLatch::new(latch, neighbours.changed.clone())),
        None => Arc::new(latch),
    };
    let (log, time) = (log_key.clone(), Arc::clone(&clock));
    let roles = Arc::new(Roles { config: config.clone(), clock: time, log_key: log, side });
    for warning in &inputs.warnings {
        tracing::warn!("policy: {warning}");
    }
    let logins = match &roles.side {
        Side::Here { hands, .. } => crate::config::without_login(&inputs.inventory, &hands.logins),
        // The observer says so for itself.
        Side::Apart(_) => Vec::new(),
    };
    for gap in crate::config::unmeasurable(&inputs).into_iter().chain(logins) {
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
    let Others { observer, issuer, executor } = roles.others(&inputs)?;
    let ports = Ports {
        store,
        judge: roles.judge(&inputs),
        clock: Arc::clone(&clock),
        ids: Arc::new(SystemIds),
        prober,
        meter: Arc::new(WorldMeter::new(Arc::clone(&clock)).map_err(failed)?),
        observer,
        issuer,
        executor,
        latch,
        inputs: Arc::clone(&in_force) as _,
        permit_key: keys::permit(config, &pinned(&inputs)?.permit_key)?.signer(),
        delegation_key: key(GateKey::Delegation)?.signer(),
        evidence_key,
        log_key,
    };
    let lease_key = match (&roles.side, apart) {
        (Side::Here { backends, .. }, _) => backends.token_key().cloned(),
        (Side::Apart(_), roles) => roles.and_then(|roles| roles.lease_key.clone()),
    };
    let settings = Settings { lease_key, ..settings(config) };
    let gate = Gate::new(ports, controls::controls(inputs), settings).map_err(failed)?;
    let cell = Arc::new(GateCell::new(Arc::new(gate)));
    in_force.serve(&cell);
    let cosigned = Arc::new(Kept::open(&config.cosigned(), &cell.get().ports.log_key));
    Ok(Wired { cell, in_force, identify: tokens, supervisor, neighbours, cosigned, workload_api })
}

/// What the executors have pinned, as the gate knows it: the permit key that they believe, and their own keys.
fn pinned(inputs: &Inputs) -> Result<&ExecutorPins, CliError> {
    let none = || CliError::Failed("there are no executor pins: run `holdpoint init` first".into());
    inputs.pins.as_ref().ok_or_else(none)
}

fn settings(config: &Config) -> Settings {
    let mut settings = Settings::new(Naming {
        issuer: config.origin.clone(),
        audience: config.audience.clone(),
        domain: config.trust_domain.clone(),
    });
    let timings = &config.timings;
    settings.incident_sources = config.incidents.iter().map(|source| source.id.clone()).collect();
    settings.development = config.development;
    settings.max_waiting = config.max_waiting.map_or(settings.max_waiting, NonZeroU32::get);
    settings.hold_ms = timings.hold_ms.unwrap_or(settings.hold_ms);
    settings.start_window_ms = timings.start_window_ms.unwrap_or(settings.start_window_ms);
    settings.remeasure_ms = timings.remeasure_ms.unwrap_or(settings.remeasure_ms);
    settings.defer_ms = timings.defer_ms.unwrap_or(settings.defer_ms);
    settings.review_ms = timings.review_ms.unwrap_or(settings.review_ms);
    settings.verify_every_ms = timings.verify_every_ms.unwrap_or(settings.verify_every_ms);
    settings
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

    fn workload(&self, id: &str) -> Result<Identified, String> {
        let followed = self.followed.read().unwrap_or_else(PoisonError::into_inner);
        let (identity, selectors) = followed.verifier.workload(id).map_err(|err| err.to_string())?;
        Ok(Identified { identity, selectors: Arc::new(selectors) })
    }
}
