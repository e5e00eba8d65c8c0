//! The gate: the ports, the control inputs in force, and the settings.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use holdpoint_domain::{
    Digest, Id, Millis, Timestamp,
    action::Catalogue,
    actor::Actor,
    agent::Registry,
    approval::TreeHead,
    decision::Mode,
    digest::DigestError,
    facts::Inputs,
    id::kind,
    record::{Body, Record},
    target::Inventory,
};
use holdpoint_ledger::key::VerifierKey;

use crate::{
    port::{Clock, Executor, Ids, Issuer, Judge, Observer, Prober, Signer, Store, store::root_digest},
    refusal::{Refusal, internal},
};

/// The ports.
pub struct Ports {
    /// Records and projections.
    pub store: Arc<dyn Store>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub ids: Arc<dyn Ids>,
    /// Probes.
    pub prober: Arc<dyn Prober>,
    /// Reads of targets.
    pub observer: Arc<dyn Observer>,
    /// Leases.
    pub issuer: Arc<dyn Issuer>,
    /// Executors.
    pub executor: Arc<dyn Executor>,
    /// Policy.
    pub judge: Arc<dyn Judge>,
    /// The key that signs permits.
    pub permit_key: Arc<dyn Signer>,
    /// The key that signs evidence.
    pub evidence_key: Arc<dyn Signer>,
    /// The key that the log's checkpoints are checked with.
    pub log_key: VerifierKey,
}

/// Control inputs, parsed and checked.
pub struct Controls {
    /// The catalogue.
    pub catalogue: Catalogue,
    /// The inventory.
    pub inventory: Inventory,
    /// People and agents.
    pub registry: Registry,
    /// Digests of what else decides who is believed and what runs: keys of identities, the executor's pins, the units,
    /// and whether a development flag is in force. They are part of the registry's digest.
    pub roots: BTreeMap<&'static str, Digest>,
}

/// Settings with their defaults in [`Settings::new`].
#[derive(Debug, Clone)]
pub struct Settings {
    /// The id of the permit key in JWS headers.
    pub permit_key_id: String,
    /// How long a hold waits for people; 15 minutes by default.
    pub hold_ms: Millis,
    /// How long a permit may wait for its start.
    pub start_window_ms: Millis,
    /// How long after its start a deferred plan is measured again, and again.
    pub remeasure_ms: Millis,
    /// How long a deferred plan is measured before it expires.
    pub defer_ms: Millis,
    /// When a review is due.
    pub review_ms: Millis,
    /// How often a verification is measured.
    pub verify_every_ms: Millis,
    /// Whether consent from the command line counts as strong.
    pub mode: Mode,
}

impl Settings {
    /// The defaults, for a permit key.
    #[must_use]
    pub fn new(permit_key_id: String) -> Self {
        Self {
            permit_key_id,
            hold_ms: Millis::secs(15 * 60),
            start_window_ms: Millis::secs(60),
            remeasure_ms: Millis::secs(5),
            defer_ms: Millis::secs(5 * 60),
            review_ms: Millis::secs(24 * 60 * 60),
            verify_every_ms: Millis::secs(1),
            mode: Mode::Production,
        }
    }
}

/// The gate. Use cases are functions over it; it has no behaviour of its own beyond what they share.
pub struct Gate {
    /// The ports.
    pub ports: Ports,
    /// The control inputs.
    pub controls: Controls,
    /// Their digests.
    pub inputs: Inputs,
    /// The settings.
    pub settings: Settings,
    epoch: AtomicU64,
}

impl Gate {
    /// A gate over its ports and inputs. Says nothing and touches nothing: see [`crate::start`].
    pub fn new(ports: Ports, controls: Controls, settings: Settings) -> Result<Self, DigestError> {
        let inputs = Inputs {
            policy: ports.judge.digest(),
            catalogue: controls.catalogue.digest()?,
            inventory: controls.inventory.digest()?,
            registry: Digest::of(&(controls.registry.digest()?, &controls.roots))?,
        };
        let epoch = AtomicU64::new(ports.store.last_epoch());
        Ok(Self { ports, controls, inputs, settings, epoch })
    }

    /// The time now.
    pub(crate) fn now(&self) -> Timestamp {
        self.ports.clock.now()
    }

    /// A fresh id.
    pub(crate) fn fresh<K: holdpoint_domain::id::Kind>(&self, prefix: &str) -> Result<Id<K>, Refusal> {
        Id::fresh(prefix, self.ports.ids.unique()).map_err(internal)
    }

    /// The next fencing epoch. Grows for the whole life of the store: it starts above every recorded one.
    pub(crate) fn next_epoch(&self) -> u64 {
        self.epoch.fetch_add(1, Ordering::SeqCst).saturating_add(1)
    }

    /// The head of the ledger, as approvals and permits carry it.
    pub(crate) fn tree_head(&self) -> TreeHead {
        let head = self.ports.store.head();
        TreeHead { origin: head.origin.clone(), size: head.size, root: root_digest(&head.root) }
    }

    /// A record by the gate about a plan.
    pub(crate) fn record(&self, plan: &Id<kind::Plan>, body: Body) -> Record {
        Record::new(self.now(), Actor::Gate, Some(plan.clone()), body)
    }
}

/// A span from now, as a time.
pub(crate) fn after(now: Timestamp, span: Millis) -> Result<Timestamp, Refusal> {
    now.plus(span).map_err(internal)
}
