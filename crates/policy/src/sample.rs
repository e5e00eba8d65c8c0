//! Catalogue, inventory, registry and facts for tests and the benchmark: one restartable service.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "shared by unit tests and the benchmark, each of which uses a part"
)]

use std::collections::{BTreeMap, BTreeSet};

use holdpoint_domain::{
    Digest, Id, Millis, Tier, Timestamp,
    action::{Action, BlastCap, Catalogue, Effect, Reversibility, State, UndoKind},
    actor::Phase,
    agent::{Agent, Person, Registry},
    blast::Blast,
    dependencies::Unread,
    facts::{
        ActionFacts, Brakes, Facts, FactsType, Inputs, Nearness, Neighbour, Origin, OverBudget, Principal,
        Provenance, Standing, TargetFacts, TriggerFacts, Tripped, UndoFacts,
    },
    id::{Kind, kind},
    signature::PublicKey,
    target::{Criticality, Inventory, Service, Target},
    trigger::{Agreement, Check, Condition, HttpExpect, Probe, Truth},
};

/// An id that is known to be one.
pub(crate) fn id<K: Kind>(text: &str) -> Id<K> {
    Id::parse(text).unwrap()
}

/// A set of ids.
pub(crate) fn ids<K: Kind>(texts: &[&str]) -> BTreeSet<Id<K>> {
    texts.iter().map(|text| id(text)).collect()
}

/// A condition that a probe can decide.
pub(crate) fn conditions() -> Vec<Condition> {
    let probe = Probe {
        endpoint: id("http"),
        timeout_ms: Millis::secs(1),
        check: Check::Http { expect: HttpExpect::Ok },
    };
    let condition = |name: &str| Condition {
        id: id(name),
        title: name.to_owned(),
        needs: 1,
        probes: vec![probe.clone()],
    };
    vec![condition("process.hung"), condition("process.healthy")]
}

/// `process.restart`.
pub(crate) fn restart() -> Action {
    Action {
        id: id("process.restart"),
        title: "Restart a process".to_owned(),
        groups: ids(&["restart"]),
        executor: id("process"),
        reversibility: Reversibility::Reversible,
        idempotent: true,
        touches: BTreeMap::new(),
        tier: Tier::T1,
        approvals: None,
        additive: false,
        undo: UndoKind::SelfHeals,
        undo_window_ms: Millis::secs(600),
        cap: BlastCap {
            targets: 10,
            services: 10,
            critical: 10,
            environments: 10,
            replica_share_percent: 100,
        },
        params: BTreeMap::new(),
        triggers: ids(&["process.hung"]),
        verify: id("process.healthy"),
        guards: BTreeSet::new(),
        soak_ms: Millis::secs(10),
        settle_ms: Millis::secs(60),
    }
}

/// The process catalogue.
pub(crate) fn actions() -> Vec<Action> {
    let stop = Action {
        id: id("process.stop"),
        groups: ids(&["capacity"]),
        undo: UndoKind::Inverse,
        tier: Tier::T2,
        ..restart()
    };
    vec![restart(), stop]
}

/// One action for each effect on each state, for each reversibility and undo: what the guardrails tell apart.
pub(crate) fn every_kind_of_action() -> Vec<Action> {
    let states = [
        State::Secrets,
        State::Authentication,
        State::Iam,
        State::Rbac,
        State::Network,
        State::Authorization,
        State::CustomerData,
        State::Audit,
        State::AdmissionControl,
        State::Observability,
        State::AvailabilityGuard,
        State::ChangeControl,
    ];
    let effects = [
        Effect::Reads,
        Effect::Refreshes,
        Effect::Changes,
        Effect::Rotates,
        Effect::Restores,
        Effect::Grants,
        Effect::Deletes,
    ];
    let any_tier = |action: Action| {
        let floors = holdpoint_domain::guardrail::static_floors(&action);
        let tier = floors.iter().map(|(_, tier)| *tier).max().unwrap_or(Tier::T1).max(Tier::T1);
        Action { tier, ..action }
    };
    let mut actions = actions();
    for state in states {
        for effect in effects {
            let name = format!("{}.{effect:?}", state.as_str()).to_lowercase();
            actions.push(any_tier(Action {
                id: id(&name),
                groups: BTreeSet::new(),
                touches: [(state, effect)].into(),
                ..restart()
            }));
        }
    }
    let reversibility =
        [Reversibility::Reversible, Reversibility::ExternallyReversible, Reversibility::Irreversible];
    let undo = [UndoKind::Snapshot, UndoKind::SelfHeals, UndoKind::Compensate, UndoKind::None];
    for (reversibility, undo, additive) in
        reversibility.iter().flat_map(|r| undo.iter().flat_map(move |u| [(*r, *u, false), (*r, *u, true)]))
    {
        let name = format!("undo.{reversibility:?}.{undo:?}.{additive}").to_lowercase();
        let groups = BTreeSet::new();
        actions.push(any_tier(Action { id: id(&name), groups, reversibility, undo, additive, ..restart() }));
    }
    let look = Action {
        id: id("look"),
        groups: BTreeSet::new(),
        reversibility: Reversibility::ReadOnly,
        tier: Tier::T0,
        ..restart()
    };
    let never = Action { id: id("never"), groups: BTreeSet::new(), tier: Tier::T5, ..restart() };
    actions.extend([look, never]);
    actions
}

/// The catalogue of `actions`.
pub(crate) fn catalogue_of(actions: Vec<Action>) -> Catalogue {
    Catalogue::new(actions, conditions()).unwrap()
}

/// `shop` in production, owned by `payments`, with three workers; `shop-staging` beside it.
pub(crate) fn inventory() -> Inventory {
    let service = |name: &str, environment: &str| Service {
        id: id(name),
        environment: id(environment),
        owner: id("payments"),
        criticality: Criticality::High,
        data_classes: ids(&["customer"]),
        data_domain: None,
        backup_of: BTreeSet::new(),
        stateless: true,
        depends_on: BTreeSet::new(),
        dependents: BTreeSet::new(),
    };
    let target = |name: &str, service: &str| Target {
        id: id(name),
        service: id(service),
        executor: id("process"),
        endpoints: BTreeMap::new(),
        labels: BTreeMap::new(),
        shares: BTreeMap::new(),
    };
    Inventory::new(
        vec![service("shop", "production"), service("shop-staging", "staging")],
        vec![target("worker-1", "shop"), target("worker-2", "shop"), target("worker-3", "shop")],
    )
    .unwrap()
}

/// Alice is on call, Bob owns payments, Carol is neither.
pub(crate) fn registry() -> Registry {
    let agent = Agent {
        id: id("healer"),
        team: id("sre-agents"),
        owner: id("alice"),
        phases: [Phase::Decide].into(),
        builds: Vec::new(),
        expires_at_ms: None,
        accepted: true,
    };
    let people = [("alice", "oncall", 1), ("bob", "payments", 2), ("carol", "sales", 3)];
    Registry::new(vec![agent], people.map(|(name, team, key)| person(name, &[team], key)).into()).unwrap()
}

/// A person in teams.
pub(crate) fn person(name: &str, teams: &[&str], key: u8) -> Person {
    Person {
        id: id(name),
        teams: ids(teams),
        administrator: false,
        approval_key: Some(sample_key(key)),
        passkeys: Vec::new(),
    }
}

/// About every second text of 32 bytes is a key.
fn sample_key(key: u8) -> PublicKey {
    let with = |first: u8| std::array::from_fn(|at| if at == 0 { first } else { key });
    (0..=u8::MAX).find_map(|first| PublicKey::from_bytes(with(first)).ok()).unwrap()
}

/// The schema of the process catalogue.
pub(crate) fn schema() -> crate::Schema {
    schema_of(actions())
}

/// The schema of `actions`.
pub(crate) fn schema_of(actions: Vec<Action>) -> crate::Schema {
    crate::Schema::new(&catalogue_of(actions), &inventory(), &registry()).unwrap()
}

/// A proven hang of a stateless worker with three replicas; nothing sets a guardrail off.
pub(crate) fn facts() -> Facts {
    facts_for(&restart())
}

/// The same with another action.
pub(crate) fn facts_for(action: &Action) -> Facts {
    let digest = Digest::of_bytes(b"sample");
    let inventory = inventory();
    let (target, service) = inventory.target(&id("worker-1")).unwrap();
    Facts {
        r#type: FactsType::V1,
        principal: Principal {
            agent: id("healer"),
            team: id("sre-agents"),
            phase: Phase::Decide,
            attested_build: Some(digest),
            accepted: true,
            on_behalf_of: None,
            on_behalf_of_teams: BTreeSet::new(),
            via: Vec::new(),
        },
        action: ActionFacts::of(action).unwrap(),
        target: Some(TargetFacts::of(target.id.clone(), service, 3, false, digest)),
        trigger: TriggerFacts {
            condition: id("process.hung"),
            agreement: Agreement { truth: Truth::Holds, needed: 1, holding: 2, sources: 2 },
            evidence: digest,
        },
        blast: Blast {
            targets: ids(&["worker-1"]),
            services: ids(&["shop"]),
            critical: BTreeSet::new(),
            unknown: BTreeSet::new(),
            environments: ids(&["production"]),
            replica_share_percent: 34,
        },
        undo: UndoFacts { computed: true },
        provenance: Provenance { target: Origin::Clean, action: Origin::Clean, scope: Origin::Clean },
        standing: Standing::None,
        brakes: Brakes::OFF,
        inputs: Inputs {
            policy: digest,
            catalogue: digest,
            inventory: digest,
            registry: digest,
            limits: digest,
        },
        at_ms: Timestamp::from_ms(1_700_000_000_000).unwrap(),
    }
}

/// A budget that is used up.
pub(crate) fn over_budget() -> OverBudget {
    OverBudget { budget: id("hourly"), until_ms: None }
}

/// Everything that limits hold against a plan beside its budgets.
pub(crate) fn hold_back(brakes: &mut Brakes) {
    brakes.plan_limit = Some(id("plans"));
    brakes.neighbour = Some(Neighbour {
        plan: id("plan-1"),
        service: Some(id("web")),
        shared: None,
        why: Nearness::Running,
        until_ms: None,
    });
    brakes.own_doing = Some(id("plan-1"));
    let (action, environment) = (id("process.restart"), id("prod"));
    brakes.breaker = Some(Tripped { action, environment, bad: 3, until_ms: None });
    brakes.error_budget = Some(id("slo"));
    brakes.dependencies_unread = Some(Unread { source: id("traces"), read_at_ms: None });
}

/// An id of an action, for tables.
pub(crate) type ActionId = Id<kind::Action>;
