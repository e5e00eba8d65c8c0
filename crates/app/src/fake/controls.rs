//! A small catalogue, inventory and registry.
//!
//! | action | tier | undo |
//! | --- | --- | --- |
//! | `process.restart` | T2 | heals itself |
//! | `flag.switch` | T2 | its inverse |
//! | `cache.drop` | T3 | none |
//! | `process.inspect` | T0 | changes nothing |
//!
//! `shop` is stateless and has `worker-1` to `worker-3`; `orders` keeps state in `orders-1`; `payments` is critical, has
//! `payments-1`, and nothing in here depends on it. Alice, Bob and Carol have keys of their own; `healer` is Alice's and
//! accepted, `scout` is Bob's, is not, and may also observe.

use std::collections::{BTreeMap, BTreeSet};

use holdpoint_domain::{
    Id, Millis, Tier,
    action::{Action, BlastCap, Catalogue, Reversibility, UndoKind},
    actor::Phase,
    agent::{Agent, Person, Registry},
    dependencies::ServiceGraph,
    id::Kind,
    limits::{Limits, LimitsSpec, Neighbourhood},
    passkey::Authenticator,
    signal::{Direction, Measures, Moves, Signal},
    target::{Address, Criticality, Endpoint, Inventory, Service, Target},
    trigger::{Check, Condition, HttpExpect, Probe},
};

use super::{EXECUTOR_SEED, FakeSigner};
use crate::{gate::Controls, port::Signer};

/// People and the seeds of their keys.
pub const PEOPLE: [(&str, u8); 3] = [("alice", 11), ("bob", 12), ("carol", 13)];
/// The executor of everything.
pub const EXECUTOR: &str = "fake-executor";

/// The parts of the control inputs, to be changed before they are checked.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The catalogue.
    pub actions: Vec<Action>,
    /// Its conditions.
    pub conditions: Vec<Condition>,
    /// The inventory.
    pub services: Vec<Service>,
    /// Its targets.
    pub targets: Vec<Target>,
    /// What is measured of its services.
    pub signals: Vec<Signal>,
    /// Service graphs that say who needs whom.
    pub service_graphs: Vec<ServiceGraph>,
    /// The registry.
    pub agents: Vec<Agent>,
    /// Its people.
    pub people: Vec<Person>,
    /// Budgets and freezes.
    pub limits: Limits,
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            actions: actions(),
            conditions: vec![condition("process.hung", 2), condition("process.healthy", 1)],
            services: vec![
                service("shop", Criticality::High, true),
                service("orders", Criticality::High, false),
                service("payments", Criticality::Critical, true),
            ],
            targets: vec![
                target("worker-1", "shop"),
                target("worker-2", "shop"),
                target("worker-3", "shop"),
                target("orders-1", "orders"),
                target("payments-1", "payments"),
            ],
            // Tests of what is measured afterwards say so.
            signals: Vec::new(),
            service_graphs: Vec::new(),
            agents: vec![agent("healer", "alice", true), agent("scout", "bob", false)],
            people: PEOPLE.iter().map(|(name, seed)| person(name, *seed)).collect(),
            // Tests of what keeps runs apart say so.
            limits: limits(LimitsSpec::default()),
        }
    }
}

/// Limits under which runs do not stay apart.
///
/// # Panics
/// Where they do not stand the check.
#[must_use]
pub fn limits(spec: LimitsSpec) -> Limits {
    let spec = LimitsSpec { neighbourhood: Neighbourhood::OFF, ..spec };
    Limits::new(spec).expect("limits of a test are valid ones")
}

impl Parts {
    /// Checks the parts against each other.
    #[must_use]
    pub fn check(self) -> Controls {
        let executors = self.actions.iter().map(|action| action.executor.clone());
        let key = FakeSigner::new(EXECUTOR_SEED).public_key();
        Controls {
            executor_keys: executors.map(|executor| (executor, key.clone())).collect(),
            retired_permit_keys: Vec::new(),
            catalogue: Catalogue::new(self.actions, self.conditions).expect("the catalogue is a valid one"),
            inventory: Inventory::new(self.services, self.targets)
                .and_then(|inventory| inventory.with_sources(BTreeMap::new(), self.service_graphs))
                .expect("the inventory is a valid one")
                .with_signals(self.signals)
                .expect("its signals can be measured"),
            registry: Registry::new(self.agents, self.people).expect("the registry is a valid one"),
            limits: self.limits,
            roots: BTreeMap::new(),
        }
    }

    /// The entry of an action, to be changed.
    pub fn action(&mut self, id: &str) -> &mut Action {
        self.actions
            .iter_mut()
            .find(|action| action.id.as_str() == id)
            .expect("the action is in the catalogue")
    }
}

/// An id that is known to be one.
#[must_use]
pub fn id<K: Kind>(text: &str) -> Id<K> {
    Id::parse(text).expect("an id of a test follows the grammar")
}

/// A set of ids.
#[must_use]
pub fn ids<K: Kind>(texts: &[&str]) -> BTreeSet<Id<K>> {
    texts.iter().map(|text| id(text)).collect()
}

/// A signal that moves by more than a tenth.
#[must_use]
pub fn signal(name: &str) -> Signal {
    let at = Address::Url("http://127.0.0.1:9090".to_owned());
    Signal {
        id: id(name),
        measures: Measures::ErrorRatio,
        from: Endpoint { source: id("prom"), at, pin: None },
        query: "sum by (service) (rate(failed_total[1m]))".to_owned(),
        data: "failed_total".to_owned(),
        label: "service".to_owned(),
        max_age_ms: Millis::secs(30),
        timeout_ms: Millis::secs(3),
        moves: Moves { by: Some(0.1), times: None },
        worse: Direction::Higher,
    }
}

/// The passkey of a person with the key of a seed, enrolled by an act of its own.
#[must_use]
pub fn passkey(name: &str, seed: u8) -> Authenticator {
    passkey_of(name, [seed; 32])
}

/// A passkey with a seed of its own, which the same act enrolled.
#[must_use]
pub fn passkey_of(name: &str, seed: [u8; 32]) -> Authenticator {
    let act = id(&format!("act-{name}"));
    Authenticator::new(seed, "http://localhost:7070", act).expect("an id of a passkey has a length")
}

/// A person with the key of a seed, and with a passkey.
#[must_use]
pub fn person(name: &str, seed: u8) -> Person {
    Person {
        id: id(name),
        teams: ids(&["oncall", "shop-team"]),
        administrator: name != "alice",
        approval_key: Some(FakeSigner::new(seed).public_key()),
        passkeys: vec![passkey(name, seed).passkey],
    }
}

/// An agent that may decide.
#[must_use]
pub fn agent(name: &str, owner: &str, accepted: bool) -> Agent {
    let phases = if accepted { [Phase::Decide].into() } else { [Phase::Observe, Phase::Decide].into() };
    Agent {
        id: id(name),
        team: id("agents"),
        owner: id(owner),
        phases,
        builds: Vec::new(),
        expires_at_ms: None,
        accepted,
    }
}

fn actions() -> Vec<Action> {
    let restart = Action {
        id: id("process.restart"),
        title: "Restart a process".to_owned(),
        groups: BTreeSet::new(),
        executor: id(EXECUTOR),
        reversibility: Reversibility::Reversible,
        idempotent: true,
        touches: BTreeMap::new(),
        tier: Tier::T2,
        approvals: None,
        additive: false,
        undo: UndoKind::SelfHeals,
        undo_window_ms: Millis::secs(600),
        cap: BlastCap { targets: 1, services: 4, critical: 1, environments: 1, replica_share_percent: 100 },
        params: BTreeMap::new(),
        triggers: ids(&["process.hung"]),
        verify: id("process.healthy"),
        guards: BTreeSet::new(),
        soak_ms: Millis::secs(2),
        settle_ms: Millis::secs(4),
    };
    let switch = Action { id: id("flag.switch"), undo: UndoKind::Inverse, ..restart.clone() };
    let drop_cache = Action {
        id: id("cache.drop"),
        undo: UndoKind::None,
        tier: Tier::T3,
        reversibility: Reversibility::Irreversible,
        ..restart.clone()
    };
    let inspect = Action {
        id: id("process.inspect"),
        reversibility: Reversibility::ReadOnly,
        tier: Tier::T0,
        ..restart.clone()
    };
    vec![restart, switch, drop_cache, inspect]
}

/// A condition over both endpoints; where `needs` is one, either is enough.
#[must_use]
pub fn condition(name: &str, needs: u32) -> Condition {
    let probe = |endpoint: &str| Probe {
        endpoint: id(endpoint),
        timeout_ms: Millis::secs(1),
        check: Check::Http { expect: HttpExpect::Ok },
    };
    Condition { id: id(name), title: name.to_owned(), needs, probes: vec![probe("http"), probe("metrics")] }
}

fn service(name: &str, criticality: Criticality, stateless: bool) -> Service {
    Service {
        id: id(name),
        environment: id("production"),
        owner: id("shop-team"),
        criticality,
        data_classes: BTreeSet::new(),
        data_domain: None,
        backup_of: BTreeSet::new(),
        stateless,
        depends_on: BTreeSet::new(),
        dependents: BTreeSet::new(),
    }
}

fn target(name: &str, service: &str) -> Target {
    let endpoint =
        |source: &str| Endpoint { source: id(source), at: Address::Tcp("fake:1".to_owned()), pin: None };
    Target {
        id: id(name),
        service: id(service),
        executor: id(EXECUTOR),
        endpoints: [(id("http"), endpoint("blackbox")), (id("metrics"), endpoint("exporter"))].into(),
        labels: [].into(),
        shares: [].into(),
    }
}
