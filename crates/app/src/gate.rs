//! The gate: the ports, the control inputs in force, and the settings.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use holdpoint_domain::{
    Digest, Id, Millis, Timestamp,
    action::Catalogue,
    actor::Actor,
    agent::Registry,
    approval::TreeHead,
    change::Control,
    decision::{Ladder, Mode},
    digest::DigestError,
    facts::{Inputs, PlanFacts},
    halt::Halt,
    id::kind,
    limits::Limits,
    record::{Body, Record},
    target::Inventory,
};
use holdpoint_ledger::key::VerifierKey;

use crate::{
    port::{
        Clock, Executor, Hint, Ids, Inputs as InputsPort, Issuer, Judge, Latch, Observer, Prober, Signer,
        Store, store::root_digest,
    },
    refusal::{Refusal, internal},
    revoke::Revocations,
};

/// The ports.
#[derive(Clone)]
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
    /// The halt.
    pub latch: Arc<dyn Latch>,
    /// Control inputs, as texts.
    pub inputs: Arc<dyn InputsPort>,
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
    /// Budgets and freezes.
    pub limits: Limits,
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

/// The gate under the control inputs of one moment. Use cases are functions over it; it has no behaviour of its own beyond what
/// they share. A change of a control input makes another one ([`Gate::under`]): what began under the old one goes on under it,
/// and the store refuses what it would decide under inputs that are not in force any more.
pub struct Gate {
    /// The ports.
    pub ports: Ports,
    /// The control inputs.
    pub controls: Controls,
    /// Their digests.
    pub inputs: Inputs,
    /// The settings.
    pub settings: Settings,
    common: Arc<Common>,
}

/// Whether the ledger knows of a control input that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Noted {
    /// It does.
    Recorded,
    /// The store had no room: the next look at the disk writes it down.
    NotRecorded,
}

/// What the gate before and after a change share.
struct Common {
    epoch: AtomicU64,
    // Control inputs on disk that are not those in force.
    refused: Mutex<BTreeMap<Control, Noted>>,
    revocations: Mutex<Revocations>,
}

impl Gate {
    /// A gate over its ports and inputs. Says nothing and touches nothing: see [`crate::start`].
    pub fn new(ports: Ports, controls: Controls, settings: Settings) -> Result<Self, DigestError> {
        let epoch = AtomicU64::new(ports.store.last_epoch());
        let common = Arc::new(Common { epoch, refused: Mutex::default(), revocations: Mutex::default() });
        let inputs = controls.digests(ports.judge.as_ref())?;
        Ok(Self { ports, controls, inputs, settings, common })
    }

    /// The same gate under other control inputs, with ports that know them.
    pub fn under(&self, ports: Ports, controls: Controls) -> Result<Self, DigestError> {
        let inputs = controls.digests(ports.judge.as_ref())?;
        Ok(Self {
            ports,
            controls,
            inputs,
            settings: self.settings.clone(),
            common: Arc::clone(&self.common),
        })
    }

    /// The halt in force: in memory, on disk or in the ledger. Any of them is enough.
    #[must_use]
    pub fn halted(&self) -> Option<Halt> {
        match (self.ports.latch.halt(), self.ports.store.halt()) {
            // The harder of the two: the latch may have been lost with its disk, and set anew by somebody who halts softly.
            (Some(latched), Some(recorded)) if recorded.reach > latched.reach => Some(recorded),
            (latched, recorded) => latched.or(recorded),
        }
    }

    /// Whether a control input on disk is not the one in force.
    #[must_use]
    pub fn has_refused_input(&self) -> bool {
        !self.refused().is_empty()
    }

    /// The control inputs on disk that are not those in force.
    #[must_use]
    pub fn refused_inputs(&self) -> BTreeSet<Control> {
        self.refused().keys().copied().collect()
    }

    pub(crate) fn refused(&self) -> std::sync::MutexGuard<'_, BTreeMap<Control, Noted>> {
        // The set is whole at every point where a panic could happen.
        self.common.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn revocations(&self) -> std::sync::MutexGuard<'_, Revocations> {
        // Every change is one insert or one removal: a panic leaves nothing half-made.
        self.common.revocations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The policy's answers on each step of a plan.
    pub(crate) fn ladders(&self, facts: &PlanFacts) -> Vec<Ladder> {
        facts.steps().map(|step| self.ports.judge.ladder(&step.for_policy())).collect()
    }

    /// What would have had to be different for each step of a plan, each said once.
    #[must_use]
    pub fn hints(&self, facts: &PlanFacts) -> Vec<Hint> {
        let mut hints: Vec<Hint> = Vec::new();
        for hint in facts.steps().flat_map(|step| self.ports.judge.hints(step)) {
            if !hints.contains(&hint) {
                hints.push(hint);
            }
        }
        hints
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
        self.common.epoch.fetch_add(1, Ordering::SeqCst).saturating_add(1)
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

impl Controls {
    /// The digests of what is in force with these and this policy.
    pub fn digests(&self, judge: &dyn Judge) -> Result<Inputs, DigestError> {
        Ok(Inputs {
            policy: judge.digest(),
            catalogue: self.catalogue.digest()?,
            inventory: self.inventory.digest()?,
            registry: Digest::of(&(self.registry.digest()?, &self.roots))?,
            limits: self.limits.digest()?,
        })
    }
}

/// A span from now, as a time.
pub(crate) fn after(now: Timestamp, span: Millis) -> Result<Timestamp, Refusal> {
    now.plus(span).map_err(internal)
}
