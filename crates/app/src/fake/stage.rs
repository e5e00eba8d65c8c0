//! A stage: a gate over all fakes, with shorthands for what tests do again and again.

use std::{collections::BTreeMap, sync::Arc};

use holdpoint_domain::{
    Id, Rung, Tier,
    actor::{Identity, Phase, TrustDomain},
    approval::{Choice, HoldTerms, SignedStatement, Statement},
    delegation::Naming,
    id::kind,
    passkey::Authenticator,
    plan::Narrative,
    record::Record,
    signed::{self, Signed},
};

use super::{
    FakeClock, FakeIds, FakeInputs, FakeJudge, FakeLatch, FakeMeter, FakeSigner, FakeWorld, MemStore, Pins,
    Policy,
    controls::{EXECUTOR, PEOPLE, Parts, id, ids, passkey},
};
use crate::{
    gate::{Gate, Ports, Settings},
    gather::Wish,
    port::{Signer, Store as _},
    propose::Proposal,
    view::PlanView,
};

/// The seed of the gate's permit key.
pub(crate) const PERMIT_SEED: u8 = 1;
/// The seed of the observer's key.
const EVIDENCE_SEED: u8 = 2;
/// The seed of the key of delegations.
const DELEGATION_SEED: u8 = 4;
/// The seed of the key of bearer leases.
pub const LEASE_SEED: u8 = 5;
/// The seed of the key that permits are bound to, whatever the executor.
pub(crate) const EXECUTOR_SEED: u8 = 3;

/// What a stage begins with.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The control inputs.
    pub parts: Parts,
    /// The policy.
    pub policy: Policy,
    /// The seed of all ids.
    pub seed: u64,
}

impl Default for Setup {
    fn default() -> Self {
        Self { parts: Parts::default(), policy: Policy::From(Rung::T1), seed: 1 }
    }
}

/// A gate over fakes.
pub struct Stage {
    /// Time.
    pub clock: Arc<FakeClock>,
    /// Randomness.
    pub ids: Arc<FakeIds>,
    /// Targets, probes, leases and the executor.
    pub world: Arc<FakeWorld>,
    /// Policy: by default it allows from T1 upward, and everybody may approve.
    pub judge: Arc<FakeJudge>,
    /// The halt; it outlives restarts.
    pub latch: Arc<FakeLatch>,
    /// Measurements of all services.
    pub meter: Arc<FakeMeter>,
    /// Control inputs as texts.
    pub inputs: Arc<FakeInputs>,
    /// The store that the gate uses now.
    pub store: Arc<MemStore>,
    /// The gate.
    pub gate: Gate,
    /// What it was set up with; [`Stage::restart`] takes it anew.
    pub setup: Setup,
}

impl Default for Stage {
    fn default() -> Self {
        Self::new(Setup::default())
    }
}

impl Stage {
    /// A gate over an empty store. Nothing is recorded yet, not even genesis.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let clock = Arc::new(FakeClock::default());
        let store = MemStore::new();
        let pins = Pins {
            gate: FakeSigner::new(PERMIT_SEED).public_key(),
            log: store.log_key(),
            approvers: setup
                .parts
                .people
                .iter()
                .map(|person| (person.id.clone(), person.credentials()))
                .collect(),
            executor: id(EXECUTOR),
        };
        let targets = setup.parts.targets.iter().map(|target| target.id.clone());
        let world = Arc::new(FakeWorld::new(Arc::clone(&clock), store.size(), pins, targets));
        let judge = Arc::new(FakeJudge::new(setup.policy, ids(&PEOPLE.map(|(name, _)| name))));
        let ids = Arc::new(FakeIds::new(setup.seed));
        let (latch, inputs) = (Arc::new(FakeLatch::default()), Arc::new(FakeInputs::default()));
        let meter = Arc::new(FakeMeter::default());
        let gate = gate(&setup, &clock, &ids, &world, &judge, (&latch, &inputs, &meter), &store);
        Self { clock, ids, world, judge, latch, meter, inputs, store, gate, setup }
    }

    /// The process is killed and starts anew: only the ledger's entries, the disk, the world and the clock are left.
    pub fn restart(&mut self) {
        self.store = self.store.reopen();
        self.latch = Arc::new(self.latch.reopen());
        self.gate = self.fresh_gate();
    }

    /// Another gate over the same ports, as it is now; for whoever wants to share one.
    #[must_use]
    pub fn fresh_gate(&self) -> Gate {
        let others = (&self.latch, &self.inputs, &self.meter);
        gate(&self.setup, &self.clock, &self.ids, &self.world, &self.judge, others, &self.store)
    }

    /// What `healer` asks for when it wants an action on a target.
    #[must_use]
    pub fn proposal(&self, action: &str, target: &str) -> Proposal {
        self.proposal_of(&[(action, target)])
    }

    /// What `healer` asks for when it wants several actions, each on a target of its own.
    #[must_use]
    pub fn proposal_of(&self, steps: &[(&str, &str)]) -> Proposal {
        let wish = |(action, target): &(&str, &str)| Wish {
            action: id(action),
            target: id(target),
            params: BTreeMap::new(),
        };
        Proposal {
            steps: steps.iter().map(wish).collect(),
            trigger: id("process.hung"),
            incident: None,
            narrative: Narrative::default(),
            prompt: None,
            model: None,
            transcript: None,
        }
    }

    /// A plan, folded from its records; none when it has none.
    pub async fn view(&self, plan: &Id<kind::Plan>) -> Option<PlanView> {
        PlanView::read(self.store.as_ref(), plan).await.ok()
    }

    /// The words of a plan's records, in order.
    pub async fn words(&self, plan: &Id<kind::Plan>) -> Vec<&'static str> {
        let history = self.store.history(plan).await.unwrap_or_default();
        let word = |bytes: &[u8]| Record::parse(bytes).expect("an entry is a record").body.word();
        history.iter().map(|entry| word(&entry.bytes)).collect()
    }
}

/// An agent's identity for deciding.
#[must_use]
pub fn decider(name: &str) -> Identity {
    Identity::Agent { agent: id(name), phase: Phase::Decide }
}

/// A person's session.
#[must_use]
pub fn session(name: &str) -> Identity {
    Identity::Person { person: id(name) }
}

/// A person's statement on a hold: signed with their passkey from T4 on, with the key of [`PEOPLE`] below.
#[must_use]
pub fn statement(name: &str, terms: &HoldTerms, choice: Choice) -> SignedStatement {
    let seed = PEOPLE.iter().find(|(person, _)| *person == name).map_or(99, |(_, seed)| *seed);
    if terms.tier < Tier::T4 {
        return signed_with(seed, name, terms, choice);
    }
    asserted_with(&passkey(name, seed), 0, name, terms, choice)
}

/// A statement in somebody's name, signed with a passkey, with what its counter says.
#[must_use]
pub fn asserted_with(
    passkey: &Authenticator,
    counter: u32,
    name: &str,
    terms: &HoldTerms,
    choice: Choice,
) -> SignedStatement {
    let statement = Statement::new(terms.clone(), id(name), choice);
    let bytes = statement.signing_bytes().expect("a statement has a canonical form");
    SignedStatement { statement, signature: passkey.sign(&bytes, counter).into() }
}

/// A statement in somebody's name, signed with the key of a seed.
#[must_use]
pub fn signed_with(seed: u8, name: &str, terms: &HoldTerms, choice: Choice) -> SignedStatement {
    let statement = Statement::new(terms.clone(), id(name), choice);
    let bytes = statement.signing_bytes().expect("a statement has a canonical form");
    let signature = Signer::sign(&FakeSigner::new(seed), &bytes);
    SignedStatement { statement, signature: signature.into() }
}

/// What a person says, signed with the key of [`PEOPLE`].
#[must_use]
pub fn signed<T: signed::Statement>(statement: T) -> Signed<T> {
    let name = statement.by().to_string();
    let seed = PEOPLE.iter().find(|(person, _)| *person == name).map_or(99, |(_, seed)| *seed);
    signed_by(seed, statement)
}

/// What a person says, signed with the key of a seed.
#[must_use]
pub fn signed_by<T: signed::Statement>(seed: u8, statement: T) -> Signed<T> {
    let bytes = statement.signing_bytes().expect("a statement has a canonical form");
    let signature = Signer::sign(&FakeSigner::new(seed), &bytes);
    Signed { statement, signature: signature.into() }
}

/// Names that stand in tokens of the gate.
fn naming() -> Naming {
    let domain = TrustDomain::parse("example.org").expect("a trust domain of a test follows the grammar");
    Naming { issuer: "gate.example/log".to_owned(), audience: "holdpoint".to_owned(), domain }
}

fn gate(
    setup: &Setup,
    clock: &Arc<FakeClock>,
    ids: &Arc<FakeIds>,
    world: &Arc<FakeWorld>,
    judge: &Arc<FakeJudge>,
    (latch, inputs, meter): (&Arc<FakeLatch>, &Arc<FakeInputs>, &Arc<FakeMeter>),
    store: &Arc<MemStore>,
) -> Gate {
    let ports = Ports {
        store: store.clone(),
        clock: clock.clone(),
        ids: ids.clone(),
        prober: world.clone(),
        meter: meter.clone(),
        observer: world.clone(),
        issuer: world.clone(),
        executor: world.clone(),
        judge: judge.clone(),
        latch: latch.clone(),
        inputs: inputs.clone(),
        permit_key: Arc::new(FakeSigner::new(PERMIT_SEED)),
        delegation_key: Arc::new(FakeSigner::new(DELEGATION_SEED)),
        evidence_key: Arc::new(FakeSigner::new(EVIDENCE_SEED)),
        log_key: store.log_key(),
    };
    let mut settings = Settings::new(naming());
    settings.lease_key = Some(FakeSigner::new(LEASE_SEED).public_key());
    Gate::new(ports, setup.parts.clone().check(), settings).expect("control inputs have a canonical form")
}
