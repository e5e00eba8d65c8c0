//! The inventory and the registry: every fault is found, all of them together; the blast radius only grows.

use std::collections::{BTreeMap, BTreeSet};

use holdpoint_domain::{
    actor::Phase,
    agent::{Agent, Person, Registry, RegistryError},
    blast::radius,
    target::{Criticality, Inventory, InventoryError, MAX_INVENTORY, Service, Target},
};
use proptest::{collection::vec, prelude::*};

use super::support::{id, key, public};

fn service(name: &str, depends_on: &[&str]) -> Service {
    Service {
        id: id(name),
        environment: id("production"),
        owner: id("sre"),
        criticality: Criticality::Medium,
        data_classes: BTreeSet::new(),
        stateless: true,
        depends_on: depends_on.iter().map(|on| id(on)).collect(),
        dependents: BTreeSet::new(),
    }
}

fn target(name: &str, service: &str) -> Target {
    Target { id: id(name), service: id(service), executor: id("process"), endpoints: BTreeMap::new() }
}

fn agent(name: &str, owner: &str) -> Agent {
    Agent {
        id: id(name),
        team: id("sre-agents"),
        owner: id(owner),
        phases: BTreeSet::from([Phase::Decide]),
        attested_build: None,
        accepted: false,
    }
}

fn person(name: &str, key_number: u8) -> Person {
    Person { id: id(name), teams: BTreeSet::new(), approval_key: public(&key(key_number)) }
}

#[test]
fn all_faults_of_an_inventory_are_reported_together() {
    let services = vec![service("api", &["db", "api"]), service("web", &["cache"]), service("web", &[])];
    let targets = vec![target("api-1", "api"), target("api-1", "api"), target("db-1", "db")];
    let mut faults = Inventory::new(services, targets).unwrap_err();
    faults.sort_by_key(ToString::to_string);
    let expected = [
        InventoryError::UnknownDependency { service: id("api"), on: id("db") },
        InventoryError::DuplicateService(id("web")),
        InventoryError::DuplicateTarget(id("api-1")),
        InventoryError::UnknownService { target: id("db-1"), service: id("db") },
    ];
    for (fault, expected) in faults.iter().zip(&expected) {
        assert_eq!(fault, expected);
        // A new variant stops this from compiling: reach it here.
        match fault {
            InventoryError::DuplicateService(_)
            | InventoryError::DuplicateTarget(_)
            | InventoryError::UnknownService { .. }
            | InventoryError::UnknownDependency { .. } => {}
            InventoryError::Size(_) => panic!("{fault}"),
        }
    }
    assert_eq!(faults.len(), expected.len(), "{faults:#?}");
}

#[test]
fn an_inventory_has_a_size() {
    let many = vec![target("t", "s"); MAX_INVENTORY + 1];
    assert_eq!(Inventory::new(vec![], many), Err(vec![InventoryError::Size(MAX_INVENTORY + 1)]));
    let many = vec![service("s", &[]); MAX_INVENTORY + 1];
    assert_eq!(Inventory::new(many, vec![]), Err(vec![InventoryError::Size(MAX_INVENTORY + 1)]));
    assert!(Inventory::new(vec![], vec![]).is_ok(), "nothing known: every target is unknown, and denied");
}

#[test]
fn an_inventory_finds_targets_with_their_service() {
    let inventory = Inventory::new(
        vec![service("api", &["db"]), service("db", &[])],
        vec![target("api-1", "api"), target("api-2", "api"), target("db-1", "db")],
    )
    .unwrap();
    let found =
        inventory.target(&id("api-2")).map(|(target, service)| (target.id.clone(), service.id.clone()));
    assert_eq!(found, Some((id("api-2"), id("api"))));
    assert_eq!(inventory.target(&id("api")), None);
    assert_eq!((inventory.replicas(&id("api")), inventory.replicas(&id("ghost"))), (2, 0));
}

#[test]
fn all_faults_of_a_registry_are_reported_together() {
    let people = vec![person("ada", 1), person("bob", 1), person("cyd", 3), person("cyd", 3)];
    let agents = vec![agent("holmes", "ada"), agent("holmes", "ada"), agent("watson", "eve")];
    let mut faults = Registry::new(agents, people).unwrap_err();
    faults.sort_by_key(ToString::to_string);
    let expected = [
        RegistryError::DuplicateAgent(id("holmes")),
        RegistryError::UnknownOwner { agent: id("watson"), owner: id("eve") },
        RegistryError::SharedKey(id("ada"), id("bob")),
        RegistryError::DuplicatePerson(id("cyd")),
    ];
    assert_eq!(faults, expected);
    for fault in &faults {
        // A new variant stops this from compiling: reach it here.
        match fault {
            RegistryError::DuplicateAgent(_)
            | RegistryError::DuplicatePerson(_)
            | RegistryError::SharedKey(..)
            | RegistryError::UnknownOwner { .. } => assert!(!fault.to_string().contains('\n')),
        }
    }
}

/// Two names with one key are one person, who could then approve twice.
#[test]
fn inv05_nobody_shares_a_key() {
    let everybody = |last: u8| vec![person("ada", 1), person("bob", 2), person("cyd", last)];
    assert!(Registry::new(vec![], everybody(3)).is_ok());
    let faults = Registry::new(vec![], everybody(1)).unwrap_err();
    assert_eq!(faults, [RegistryError::SharedKey(id("ada"), id("cyd"))]);
}

#[test]
fn a_registry_finds_agents_and_people() {
    let registry = Registry::new(vec![agent("holmes", "ada")], vec![person("ada", 1)]).unwrap();
    assert_eq!(registry.agent(&id("holmes")).map(|agent| agent.owner.clone()), Some(id("ada")));
    assert_eq!(registry.person(&id("holmes")), None, "an agent is nobody");
    assert_eq!((registry.agents().count(), registry.people().count()), (1, 1));
    let rekeyed = Registry::new(vec![agent("holmes", "ada")], vec![person("ada", 2)]).unwrap();
    assert_ne!(rekeyed.digest().unwrap(), registry.digest().unwrap());
}

/// Services `s-0` to `s-7`, each with a target, and any dependencies between them; some dependants are unknown.
fn any_inventory() -> impl Strategy<Value = Inventory> {
    vec((0_usize..8, 0_usize..10, any::<bool>()), 0..20).prop_map(|edges| {
        let mut services: Vec<_> = (0..8).map(|number| service(&format!("s-{number}"), &[])).collect();
        for (from, to, declared_by_dependant) in edges {
            if declared_by_dependant && to < 8 {
                services[to].depends_on.insert(id(&format!("s-{from}")));
            } else {
                services[from].dependents.insert(id(&format!("s-{to}")));
            }
        }
        let targets = (0..8).map(|number| target(&format!("t-{number}"), &format!("s-{number}"))).collect();
        Inventory::new(services, targets).unwrap()
    })
}

proptest! {
    /// Against a slow reference: disturbed is what is touched, and whatever needs something disturbed.
    #[test]
    fn the_blast_radius_is_closed_under_dependants(inventory in any_inventory(), first in 0_usize..8, second in 0_usize..8) {
        let one = BTreeSet::from([id(&format!("t-{first}"))]);
        let two = BTreeSet::from([id(&format!("t-{first}")), id(&format!("t-{second}"))]);
        let mut disturbed = BTreeSet::from([id(&format!("s-{first}"))]);
        loop {
            let mut more = disturbed.clone();
            for service in inventory.services() {
                if service.depends_on.iter().any(|on| disturbed.contains(on)) {
                    more.insert(service.id.clone());
                }
                if disturbed.contains(&service.id) {
                    more.extend(service.dependents.iter().cloned());
                }
            }
            if more == disturbed {
                break;
            }
            disturbed = more;
        }
        let small = radius(&inventory, &one, &BTreeSet::new());
        prop_assert_eq!(&small.services, &disturbed);
        let unknown: BTreeSet<_> =
            disturbed.iter().filter(|name| inventory.service(name).is_none()).cloned().collect();
        prop_assert_eq!(&small.unknown, &unknown);
        prop_assert!(unknown.is_subset(&small.critical), "unknown dependants count as critical");
        // More targets never disturb less.
        let large = radius(&inventory, &two, &BTreeSet::new());
        prop_assert!(small.within(&large) && small.within(&small));
        prop_assert_eq!(large.within(&small), large == small);
    }
}
