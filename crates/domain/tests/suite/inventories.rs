//! The inventory and the registry: every fault is found, all of them together; the blast radius only grows.

use std::collections::{BTreeMap, BTreeSet};

use holdpoint_domain::{
    Digest, Id, Rung, Timestamp,
    actor::Phase,
    agent::{Agent, Build, Person, Registry, RegistryError},
    blast::{Blast, radius},
    change::{ChangeError, approvals_needed},
    decision::Answer,
    dependencies::{Declared, Dependency, Reading, ServiceGraph},
    fate::{MAX_SHARES, SharedKind},
    graph::{EdgeKind, Scratch},
    id::kind,
    limits::Neighbourhood,
    target::{
        Address, AddressFault, Criticality, Endpoint, Inventory, InventoryError, LabelValue, MAX_INVENTORY,
        MAX_LABELS, Service, Target,
    },
};
use proptest::{collection::vec, prelude::*};

use super::support::{allow_from, decide_one, facts, id, key, public};

fn service(name: &str, depends_on: &[&str]) -> Service {
    Service {
        id: id(name),
        environment: id("production"),
        owner: id("sre"),
        criticality: Criticality::Medium,
        data_classes: BTreeSet::new(),
        data_domain: None,
        backup_of: BTreeSet::new(),
        stateless: true,
        depends_on: depends_on.iter().map(|on| id(on)).collect(),
        dependents: BTreeSet::new(),
    }
}

fn target(name: &str, service: &str) -> Target {
    Target {
        id: id(name),
        service: id(service),
        executor: id("process"),
        endpoints: BTreeMap::new(),
        labels: BTreeMap::new(),
        shares: BTreeMap::new(),
    }
}

fn agent(name: &str, owner: &str) -> Agent {
    Agent {
        id: id(name),
        team: id("sre-agents"),
        owner: id(owner),
        phases: BTreeSet::from([Phase::Decide]),
        builds: Vec::new(),
        expires_at_ms: None,
        accepted: false,
    }
}

fn person(name: &str, key_number: u8) -> Person {
    Person {
        id: id(name),
        teams: BTreeSet::new(),
        administrator: false,
        approval_key: Some(public(&key(key_number))),
        passkeys: Vec::new(),
    }
}

#[test]
fn all_faults_of_an_inventory_are_reported_together() {
    let mut dump = service("dump", &[]);
    dump.backup_of = BTreeSet::from([id("orders"), id("api")]);
    let services =
        vec![service("api", &["db", "api"]), service("web", &["cache"]), service("web", &[]), dump];
    let targets = vec![target("api-1", "api"), target("api-1", "api"), target("db-1", "db")];
    let mut odd = target("odd-1", "api");
    let secret = Address::Url("http://user:word@host".into());
    odd.endpoints = BTreeMap::from([(id("health"), Endpoint { source: id("s"), at: secret, pin: None })]);
    let value = LabelValue::try_from("v".to_owned()).unwrap();
    odd.labels = (0..=MAX_LABELS).map(|number| (id(&format!("l{number}")), value.clone())).collect();
    let secrets = (0..MAX_SHARES).map(|number| id(&format!("k{number}"))).collect();
    odd.shares = [(SharedKind::Secret, secrets), (SharedKind::Node, [id("k0")].into())].into();
    let targets = [targets, vec![odd]].concat();
    let mut faults = Inventory::new(services, targets).unwrap_err();
    faults.sort_by_key(ToString::to_string);
    let fault = AddressFault::UserInfo;
    let expected = [
        InventoryError::Address { target: id("odd-1"), endpoint: id("health"), fault },
        InventoryError::UnknownDependency { service: id("api"), on: id("db") },
        InventoryError::UnknownOriginal { service: id("dump"), of: id("orders") },
        InventoryError::DuplicateService(id("web")),
        InventoryError::DuplicateTarget(id("api-1")),
        InventoryError::UnknownService { target: id("db-1"), service: id("db") },
        InventoryError::Labels { target: id("odd-1"), got: MAX_LABELS + 1 },
        InventoryError::Shares { target: id("odd-1"), got: MAX_SHARES + 1 },
    ];
    for (fault, expected) in faults.iter().zip(&expected) {
        assert_eq!(fault, expected);
        // A new variant stops this from compiling: reach it here.
        match fault {
            InventoryError::DuplicateService(_)
            | InventoryError::DuplicateTarget(_)
            | InventoryError::UnknownService { .. }
            | InventoryError::UnknownDependency { .. }
            | InventoryError::UnknownOriginal { .. }
            | InventoryError::DuplicateSource(_)
            | InventoryError::Sources(_)
            | InventoryError::ServiceGraph { .. }
            | InventoryError::Address { .. }
            | InventoryError::Labels { .. }
            | InventoryError::Shares { .. } => {}
            InventoryError::Size(_) => panic!("{fault}"),
        }
    }
    assert_eq!(faults.len(), expected.len(), "{faults:#?}");
}

#[test]
fn an_inventory_knows_what_falls_together() {
    let on = |name: &str, service: &str, shares: &[(SharedKind, &str)]| {
        let mut target = target(name, service);
        for (kind, name) in shares {
            target.shares.entry(*kind).or_default().insert(id(name));
        }
        target
    };
    let inventory = Inventory::new(
        vec![service("api", &[]), service("db", &[]), service("web", &[])],
        vec![
            on("api-1", "api", &[(SharedKind::Node, "n1"), (SharedKind::Secret, "tls")]),
            on("api-2", "api", &[(SharedKind::Node, "n2")]),
            on("db-1", "db", &[(SharedKind::Node, "n1"), (SharedKind::Volume, "tls")]),
            on("web-1", "web", &[(SharedKind::Secret, "tls")]),
        ],
    )
    .unwrap();
    let sharing = |targets: &[&str]| -> Vec<_> {
        let targets: Vec<_> = targets.iter().map(|name| id(name)).collect();
        let sharing = inventory.sharing(&targets).into_iter();
        sharing
            .map(|(shared, services)| {
                let services: Vec<_> = services.iter().map(Id::as_str).collect();
                format!("{} {}: {}", shared.kind.word(), shared.name, services.join(" "))
            })
            .collect()
    };
    assert_eq!(sharing(&["api-1"]), ["node n1: api db", "secret tls: api web"]);
    assert_eq!(sharing(&["api-2"]), ["node n2: api"]);
    assert_eq!(sharing(&["api-2", "db-1"]), ["node n1: api db", "node n2: api", "volume tls: db"]);
    assert_eq!(sharing(&["unknown"]), [""; 0]);
    for kind in SharedKind::ALL {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
    }
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
    let all: Vec<_> = inventory.targets().map(|target| target.id.as_str()).collect();
    assert_eq!(all, ["api-1", "api-2", "db-1"]);
    assert_eq!(
        (inventory.replicas(&id("api"), &id("process")), inventory.replicas(&id("ghost"), &id("process"))),
        (2, 0)
    );
}

/// Sources are part of what is approved, and an inventory without them is the one that it was.
#[test]
fn inv13_sources_of_dependencies_are_part_of_the_inventory() {
    let plain = || Inventory::new(vec![service("api", &[])], vec![]).unwrap();
    let traces: ServiceGraph = serde_json::from_value(
        serde_json::json!({"source": "traces", "url": "http://p:1", "max_age_ms": 60_000}),
    )
    .unwrap();
    let declared = Declared { dependencies: [(id("web"), id("api"), EdgeKind::Calls)].into() };
    let digest = |declared: &[(&str, &Declared)], graphs: &[&ServiceGraph]| {
        let declared = declared.iter().map(|(name, it)| (id(name), (*it).clone())).collect();
        plain()
            .with_sources(declared, graphs.iter().map(|it| (*it).clone()).collect())
            .map(|it| it.digest().unwrap())
    };
    let bytes = holdpoint_domain::digest::canonical(&plain()).unwrap();
    assert!(!String::from_utf8(bytes).unwrap().contains("graphs"), "bytes of an older inventory");
    assert_eq!(digest(&[], &[]), Ok(plain().digest().unwrap()));
    let other = ServiceGraph { max_age_ms: holdpoint_domain::Millis::secs(90), ..traces.clone() };
    let all = [
        digest(&[], &[]),
        digest(&[("portal", &declared)], &[]),
        digest(&[("portal", &Declared::default())], &[]),
        digest(&[], &[&traces]),
        digest(&[], &[&other]),
    ];
    let different: BTreeSet<_> = all.iter().map(|digest| digest.clone().unwrap().to_string()).collect();
    assert_eq!(different.len(), all.len());
    let twice = InventoryError::DuplicateSource(id("traces"));
    assert_eq!(digest(&[("traces", &declared)], &[&traces]), Err(vec![twice]));
    assert_eq!(
        digest(&[("inventory", &declared)], &[]),
        Err(vec![InventoryError::DuplicateSource(id("inventory"))])
    );
    for bad in [
        ServiceGraph { url: "http://user:secret@p:1".to_owned(), ..traces.clone() },
        ServiceGraph { url: "ftp://p".to_owned(), ..traces.clone() },
        ServiceGraph { max_age_ms: holdpoint_domain::Millis::secs(1), ..traces.clone() },
        ServiceGraph { every_ms: holdpoint_domain::Millis::secs(0), ..traces.clone() },
    ] {
        let faults = digest(&[], &[&bad]).unwrap_err();
        assert!(matches!(faults.as_slice(), [InventoryError::ServiceGraph { .. }]), "{faults:?}");
        assert!(!faults[0].to_string().contains("user:"));
    }
}

/// Data and its copies, either way about; a service that is not there is nobody's counterpart.
#[test]
fn t23_counterparts_keep_the_same_data_or_a_backup_of_it() {
    let keeps = |name: &str, domain: Option<&str>, backup_of: &[&str]| Service {
        data_domain: domain.map(id),
        backup_of: backup_of.iter().map(|of| id(of)).collect(),
        ..service(name, &[])
    };
    let services = vec![
        keeps("orders", Some("orders"), &[]),
        keeps("replica", Some("orders"), &[]),
        keeps("dump", None, &["orders", "dump"]),
        keeps("users", Some("users"), &[]),
        keeps("web", None, &[]),
        keeps("api", None, &[]),
    ];
    let inventory = Inventory::new(services.clone(), vec![]).unwrap();
    let names: Vec<_> = services.iter().map(|service| service.id.clone()).chain([id("ghost")]).collect();
    let counterparts: Vec<_> = names
        .iter()
        .flat_map(|one| names.iter().map(move |other| (one, other)))
        .filter(|(one, other)| inventory.are_counterparts(one, other))
        .map(|(one, other)| (one.as_str(), other.as_str()))
        .collect();
    let both_ways = [("orders", "replica"), ("orders", "dump"), ("replica", "orders"), ("dump", "orders")];
    assert_eq!(counterparts, both_ways);
}

fn registry_of(administrators: &[&str]) -> Registry {
    let names = ["ada", "bob", "cyd", "dee"];
    let people = names.iter().zip(1..).map(|(name, number)| Person {
        administrator: administrators.contains(name),
        ..person(name, number)
    });
    Registry::new(vec![], people.collect()).unwrap()
}

/// Two others where there are two, one where there is one, never none; the author is nobody's second pair of eyes.
#[test]
fn inv13_a_change_needs_other_administrators() {
    for (administrators, author, needed) in [
        (&[][..], "ada", None),
        (&["ada"], "ada", None),
        (&["bob"], "ada", Some(1)),
        (&["ada", "bob"], "ada", Some(1)),
        (&["bob", "cyd"], "ada", Some(2)),
        (&["ada", "bob", "cyd"], "ada", Some(2)),
        (&["ada", "bob", "cyd", "dee"], "ada", Some(2)),
        (&["bob"], "nobody", Some(1)),
    ] {
        let expected = needed.ok_or_else(|| ChangeError::NobodyElse(id(author)));
        let registry = registry_of(administrators);
        assert_eq!(approvals_needed(&registry, &id(author)), expected, "{administrators:?} for {author}");
    }
}

#[test]
fn inv13_administrators_are_who_the_registry_says() {
    let registry = registry_of(&["bob", "dee"]);
    let keys: Vec<_> = registry.administrators().into_iter().collect();
    assert_eq!(keys, [(id("bob"), public(&key(2)).into()), (id("dee"), public(&key(4)).into())]);
    for (name, is) in [("ada", false), ("bob", true), ("dee", true), ("nobody", false)] {
        assert_eq!(registry.is_administrator(&id(name)), is, "{name}");
    }
    // Nobody is one unless it is written.
    let mut value = serde_json::to_value(person("ada", 1)).unwrap();
    value.as_object_mut().unwrap().remove("administrator");
    assert!(!serde_json::from_value::<Person>(value).unwrap().administrator);
}

#[test]
fn all_faults_of_a_registry_are_reported_together() {
    let people = vec![person("ada", 1), person("bob", 1), person("cyd", 3), person("cyd", 3)];
    let everybody = Build { digest: Digest::of_bytes(b"build"), selectors: [].into() };
    let anybody = Agent { builds: vec![everybody], ..agent("adler", "ada") };
    let agents = vec![agent("holmes", "ada"), agent("holmes", "ada"), agent("watson", "eve"), anybody];
    let mut faults = Registry::new(agents, people).unwrap_err();
    faults.sort_by_key(ToString::to_string);
    let expected = [
        RegistryError::NoSelectors(id("adler")),
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
            | RegistryError::SharedPasskey { .. }
            | RegistryError::MalformedPasskey { .. }
            | RegistryError::TooManyPasskeys(_)
            | RegistryError::NoSelectors(_)
            | RegistryError::Reserved(_)
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
        let known = inventory.dependencies(Timestamp::EPOCH).unwrap();
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
        let small = radius(&inventory, &known, &one, &BTreeSet::new()).unwrap();
        prop_assert_eq!(&small.services, &disturbed);
        let unknown: BTreeSet<_> =
            disturbed.iter().filter(|name| inventory.service(name).is_none()).cloned().collect();
        prop_assert_eq!(&small.unknown, &unknown);
        prop_assert!(unknown.is_subset(&small.critical), "unknown dependants count as critical");
        // More targets never disturb less.
        let large = radius(&inventory, &known, &two, &BTreeSet::new()).unwrap();
        prop_assert!(small.within(&large) && small.within(&small));
        prop_assert_eq!(large.within(&small), large == small);
    }

    /// Whoever controls one source makes everything look larger, never smaller: nothing that is decided gets easier.
    #[test]
    fn inv13_no_reading_makes_a_radius_smaller_or_a_decision_easier(
        inventory in any_inventory(), target in 0_usize..8, depth in 0_u32..4,
        said in vec((0_usize..10, 0_usize..10, 0_usize..4, 0_usize..4), 0..20),
    ) {
        let before = inventory.dependencies(Timestamp::EPOCH).unwrap();
        let name = |number: usize| id::<kind::Service>(&format!("s-{number}"));
        let classes = [None, Some(Criticality::Low), Some(Criticality::High), Some(Criticality::Critical)];
        let services = said.iter().map(|(from, _, class, _)| (name(*from), classes[*class]));
        let calls = said.iter().map(|(from, to, _, kind)| {
            Dependency { dependent: name(*from), on: name(*to), kind: EdgeKind::ALL[*kind] }
        });
        let reading = Reading::new(id("traces"), Timestamp::EPOCH, services, calls).unwrap();
        let mut after = before.clone();
        after.read_again(reading, &mut Scratch::new()).unwrap();
        let targets = BTreeSet::from([id(&format!("t-{target}"))]);
        let disturbed = |known| radius(&inventory, known, &targets, &BTreeSet::new()).unwrap();
        let (small, large) = (disturbed(&before), disturbed(&after));
        prop_assert!(small.within(&large));
        prop_assert!(disturbed(&after.rebuilt().unwrap()) == large);
        let apart = Neighbourhood { depth, ..Neighbourhood::default() };
        let direct = BTreeSet::from([name(target)]);
        let near = apart.area(&before, &direct, BTreeSet::new(), &small);
        prop_assert!(near.services.is_subset(&apart.area(&after, &direct, BTreeSet::new(), &large).services));
        let decided = |blast: &Blast| {
            let mut facts = facts();
            facts.blast = blast.clone();
            let decision = decide_one(&facts, &allow_from(Rung::T1));
            (decision.answer == Answer::Deny, decision.tier)
        };
        let (was, is) = (decided(&small), decided(&large));
        prop_assert!(is.0 || (!was.0 && is.1 >= was.1), "{was:?} became {is:?}");
    }
}

#[test]
fn a_build_is_what_its_selectors_say_or_nobody_knows() {
    let build = |name: &str, selectors: &[&str]| Build {
        digest: Digest::of_bytes(name.as_bytes()),
        selectors: selectors.iter().map(|selector| (*selector).to_owned()).collect(),
    };
    let builds = vec![build("one", &["k8s:sa:holmes", "image:sha256:1"]), build("two", &["image:sha256:2"])];
    let holmes = Agent { builds, ..agent("holmes", "ada") };
    let is = |selectors: &[&str]| holmes.build_of(&selectors.iter().map(|text| (*text).to_owned()).collect());
    assert_eq!(is(&["image:sha256:1", "k8s:ns:ops", "k8s:sa:holmes"]), Some(Digest::of_bytes(b"one")));
    assert_eq!(is(&["image:sha256:2"]), Some(Digest::of_bytes(b"two")));
    assert_eq!(is(&["image:sha256:1"]), None, "one of two selectors is not enough");
    assert_eq!(is(&["image:sha256:3"]), None);
    assert_eq!(is(&[]), None, "nothing attests nothing");
    assert_eq!(is(&["image:sha256:1", "image:sha256:2", "k8s:sa:holmes"]), None, "nobody knows which");
    assert!(holmes.attests(&Digest::of_bytes(b"one")) && !holmes.attests(&Digest::of_bytes(b"three")));
}

#[test]
fn t25_a_registration_ends_when_it_says() {
    let at = |ms| holdpoint_domain::Timestamp::from_ms(ms).unwrap();
    let guest = Agent { expires_at_ms: Some(at(1_000)), ..agent("guest", "ada") };
    let registry = Registry::new(vec![guest, agent("holmes", "ada")], vec![person("ada", 1)]).unwrap();
    assert!(registry.agent_at(&id("guest"), at(999)).is_some());
    assert!(registry.agent_at(&id("guest"), at(1_000)).is_none(), "the end itself is too late");
    assert!(registry.agent_at(&id("holmes"), at(u64::MAX >> 12)).is_some());
}
