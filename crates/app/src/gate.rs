//! The gate: the ports, the control inputs in force, and the settings.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use holdpoint_domain::{
    Digest, Id, Millis, Oversight, Timestamp,
    action::Catalogue,
    actor::{Actor, Phase},
    agent::{Agent, Registry},
    approval::TreeHead,
    change::Control,
    decision::{Ladder, Verdict},
    delegation::Naming,
    dependencies::DependenciesError,
    digest::DigestError,
    facts::{Facts, Inputs, PlanFacts},
    halt::Halt,
    id::{IdError, kind},
    limits::Limits,
    permit::{PermitKeys, RetiredKey},
    plan::{EMERGENCY, Plan, Requester},
    record::{Body, Record},
    signature::{PublicKey, Thumbprint},
    target::Inventory,
};
use holdpoint_ledger::key::VerifierKey;

use crate::{
    dependencies::{AllHeard, Now},
    port::{
        Clock, Executor, Hint, Ids, Inputs as InputsPort, Issuer, Judge, Latch, Meter, Observer, Prober,
        Signer, Store, store::root_digest,
    },
    refusal::{Blame, Refusal, internal},
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
    /// Measurements of all services, for the record.
    pub meter: Arc<dyn Meter>,
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
    /// The key that signs who acts for whom.
    pub delegation_key: Arc<dyn Signer>,
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
    /// The keys of executors, which permits are bound to.
    pub executor_keys: BTreeMap<Id<kind::Executor>, PublicKey>,
    /// Permit keys that sign no more.
    pub retired_permit_keys: Vec<RetiredKey>,
    /// Digests of what else decides who is believed and what runs: keys of identities, the executor's pins, the units,
    /// and whether a development flag is in force. They are part of the registry's digest.
    pub roots: BTreeMap<&'static str, Digest>,
}

/// Settings with their defaults in [`Settings::new`].
#[derive(Debug, Clone)]
pub struct Settings {
    /// Names that stand in tokens of the gate: the trust domain and the audience of identities.
    pub naming: Naming,
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
    /// How many plans of one agent may wait for people or for a measurement; 50 by default.
    pub max_waiting: u32,
    /// A gate for development: drills may kill it, and the local issuer may say who is who.
    pub development: bool,
    /// Who may tell of incidents; where nobody may, agents call theirs what they like.
    pub incident_sources: BTreeSet<Id<kind::Source>>,
    /// The key that the issuer signs bearer leases with, where it leases any.
    pub lease_key: Option<PublicKey>,
}

impl Settings {
    /// The defaults, for these names.
    #[must_use]
    pub fn new(naming: Naming) -> Self {
        Self {
            naming,
            hold_ms: Millis::secs(15 * 60),
            start_window_ms: Millis::secs(60),
            remeasure_ms: Millis::secs(5),
            defer_ms: Millis::secs(5 * 60),
            review_ms: Millis::secs(24 * 60 * 60),
            verify_every_ms: Millis::secs(1),
            max_waiting: 50,
            development: false,
            incident_sources: BTreeSet::new(),
            lease_key: None,
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
    // Who stands in the place of an agent where people break the glass. It is in no registry, so that no token names it.
    emergency: Agent,
    needs: Now,
    common: Arc<Common>,
}

/// Control inputs that no gate can be made of.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// They have no digest.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// What the inventory and its sources say of who needs whom does not fit together.
    #[error(transparent)]
    Dependencies(#[from] DependenciesError),
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
    // The registry at the last look at who has left, and when that was.
    swept: Mutex<Option<(Digest, Timestamp)>>,
    // Control inputs on disk that are not those in force.
    refused: Mutex<BTreeMap<Control, Noted>>,
    revocations: Mutex<Revocations>,
    // How much each source told since when.
    told: Mutex<BTreeMap<Id<kind::Source>, (Timestamp, u32)>>,
    heard: AllHeard,
    // Held while the end of a halt is recorded, and while one is that the ledger does not have yet.
    ending: futures_util::lock::Mutex<()>,
}

impl Gate {
    /// A gate over its ports and inputs. Says nothing and touches nothing: see [`crate::start`].
    pub fn new(ports: Ports, controls: Controls, settings: Settings) -> Result<Self, GateError> {
        let epoch = AtomicU64::new(ports.store.last_epoch());
        let common = Common {
            epoch,
            swept: Mutex::default(),
            refused: Mutex::default(),
            revocations: Mutex::default(),
            told: Mutex::default(),
            heard: AllHeard::default(),
            ending: futures_util::lock::Mutex::default(),
        };
        let common = Arc::new(common);
        let inputs = controls.digests(ports.judge.as_ref())?;
        let needs = Now::new(&controls.inventory, &common.heard, ports.clock.now())?;
        Ok(Self { ports, controls, inputs, settings, emergency: emergency()?, needs, common })
    }

    /// The same gate under other control inputs, with ports that know them.
    pub fn under(&self, ports: Ports, controls: Controls) -> Result<Self, GateError> {
        let inputs = controls.digests(ports.judge.as_ref())?;
        let needs = Now::new(&controls.inventory, &self.common.heard, ports.clock.now())?;
        Ok(Self {
            ports,
            controls,
            inputs,
            settings: self.settings.clone(),
            emergency: self.emergency.clone(),
            needs,
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

    pub(crate) const fn needs(&self) -> &Now {
        &self.needs
    }

    pub(crate) fn ending(&self) -> &futures_util::lock::Mutex<()> {
        &self.common.ending
    }

    pub(crate) fn heard(&self) -> &AllHeard {
        &self.common.heard
    }

    /// The registry under which [`crate::offboard`] looked last, and when.
    pub(crate) fn swept(&self) -> std::sync::MutexGuard<'_, Option<(Digest, Timestamp)>> {
        // It is one value: whole at every point where a panic could happen.
        self.common.swept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many records each source of incidents had made since when.
    pub(crate) fn told(&self) -> std::sync::MutexGuard<'_, BTreeMap<Id<kind::Source>, (Timestamp, u32)>> {
        // Every change is one insert: a panic leaves nothing half-made.
        self.common.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The policy's answers on each step of a plan, to everybody in the chain that asks for it: what one of them may not, none may.
    pub fn ladders(&self, facts: &PlanFacts) -> Vec<Ladder> {
        let judge = self.ports.judge.as_ref();
        facts
            .steps()
            .map(|step| of_all(&step.for_policy(), |facts| judge.ladder(facts), Ladder::and))
            .collect()
    }

    /// As [`Self::ladders`], for a question about a target that nobody looked at.
    pub(crate) fn ladder_unseen(&self, facts: &Facts) -> Option<Ladder> {
        of_all(facts, |facts| self.ports.judge.ladder_unseen(facts), |one, other| Some(one?.and(other?)))
    }

    /// As [`Self::ladders`], with the oversight that was really obtained.
    pub(crate) fn verdicts(&self, facts: &PlanFacts, oversight: &Oversight) -> Vec<Verdict> {
        let ask = |facts: &Facts| self.ports.judge.ask(facts, oversight);
        facts.steps().map(|step| of_all(step, ask, Verdict::and)).collect()
    }

    /// What would have had to be different for each step of a plan, each said once.
    #[must_use]
    pub fn hints(&self, facts: &PlanFacts) -> Vec<Hint> {
        let mut hints: Vec<Hint> = Vec::new();
        let of_step = |step: &Facts| of_all(step, |facts| self.ports.judge.hints(facts), joined);
        for hint in facts.steps().flat_map(of_step) {
            if !hints.contains(&hint) {
                hints.push(hint);
            }
        }
        hints
    }

    /// Who stands in the place of an agent where people break the glass.
    pub(crate) const fn emergency(&self) -> &Agent {
        &self.emergency
    }

    /// The halt that stops a plan: whatever is in force, but for what people asked for beyond policy: that one is stopped by a halt
    /// that came after they were granted it.
    pub(crate) fn halted_for(&self, plan: &Plan, granted: Timestamp) -> Option<Halt> {
        let came_after = |halt: &Halt| !plan.requester().is_emergency() || halt.stops_emergency(granted);
        self.halted().filter(came_after)
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

    /// Whether a person answers for any agent of the chain that asks.
    pub(crate) fn owns_one_of(&self, person: &Id<kind::Person>, requester: &Requester) -> bool {
        let mut agents = std::iter::once(&requester.agent).chain(&requester.via);
        let owner = |agent| self.controls.registry.agent(agent).map(|agent| &agent.owner);
        agents.any(|agent| owner(agent) == Some(person))
    }

    /// The keys that permits of this gate open with.
    #[must_use]
    pub fn permit_keys(&self) -> PermitKeys {
        PermitKeys::new(self.ports.permit_key.public_key(), self.controls.retired_permit_keys.clone())
    }

    /// An executor, and the thumbprint of the key that its permits are bound to.
    pub(crate) fn bound(
        &self,
        executor: &Id<kind::Executor>,
    ) -> Result<(Id<kind::Executor>, Thumbprint), Refusal> {
        let key = self.controls.executor_keys.get(executor).ok_or_else(|| {
            let fact = format!("executor `{executor}` has no key that a permit could be bound to");
            Refusal::new(Blame::Us, "executor-without-key", fact, "add its key to the executors' pins")
        })?;
        Ok((executor.clone(), key.thumbprint()))
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

fn emergency() -> Result<Agent, DigestError> {
    let named = |err: IdError| DigestError::NotCanonical(err.to_string());
    Ok(Agent {
        id: Id::parse(EMERGENCY).map_err(named)?,
        team: Id::parse(EMERGENCY).map_err(named)?,
        owner: Id::parse(EMERGENCY).map_err(named)?,
        phases: [Phase::Decide].into(),
        builds: Vec::new(),
        expires_at_ms: None,
        accepted: false,
    })
}

/// The answers to the agent that asks and to each one that it acts for, put together.
fn of_all<T>(facts: &Facts, ask: impl Fn(&Facts) -> T, and: impl Fn(T, T) -> T) -> T {
    facts.as_deputies().fold(ask(facts), |answer, deputy| and(answer, ask(&deputy)))
}

fn joined(mut one: Vec<Hint>, other: Vec<Hint>) -> Vec<Hint> {
    one.extend(other);
    one
}

/// A span from now, as a time.
pub(crate) fn after(now: Timestamp, span: Millis) -> Result<Timestamp, Refusal> {
    now.plus(span).map_err(internal)
}
