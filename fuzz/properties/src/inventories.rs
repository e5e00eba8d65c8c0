//! Inventories: graphs of services, written from both sides, and what a plan on them can disturb.

use std::collections::{BTreeMap, BTreeSet};

use holdpoint_domain::{
    Id, Timestamp,
    blast::{Blast, radius},
    id::kind,
    target::{Criticality, Inventory, Service, Target},
};
use serde::Deserialize;

use crate::Choices;

/// As the server reads its file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    services: Vec<Service>,
    targets: Vec<Target>,
}

/// What loads keeps every edge; the blast radius is what a slow search finds; more targets, more edges and more replicas that are
/// down never make it smaller.
pub(crate) fn holds(bytes: &[u8]) {
    if let Some(file) = str::from_utf8(bytes).ok().and_then(|text| serde_saphyr::from_str::<File>(text).ok())
    {
        loaded(&file.services, &file.targets, &mut Choices::new(bytes));
    }
    let choices = &mut Choices::new(bytes);
    let services = choices.several(6, service);
    let targets = choices.several(8, |choices| Target {
        id: choices.id(),
        service: choices.id(),
        executor: choices.one_of(&["process", "files"]).parse().unwrap(),
        endpoints: BTreeMap::new(),
        labels: BTreeMap::new(),
        shares: BTreeMap::new(),
    });
    loaded(&services, &targets, choices);
}

fn service(choices: &mut Choices<'_>) -> Service {
    Service {
        id: choices.id(),
        environment: choices.id(),
        owner: choices.id(),
        criticality: choices.one_of(&[
            Criticality::Low,
            Criticality::Medium,
            Criticality::High,
            Criticality::Critical,
        ]),
        data_classes: BTreeSet::new(),
        data_domain: choices.yes().then(|| choices.id()),
        backup_of: choices.several(2, Choices::id).into_iter().collect(),
        stateless: choices.yes(),
        depends_on: choices.several(3, Choices::id).into_iter().collect(),
        dependents: choices.several(3, Choices::id).into_iter().collect(),
    }
}

fn loaded(services: &[Service], targets: &[Target], choices: &mut Choices<'_>) {
    let known: BTreeSet<_> = services.iter().map(|service| service.id.clone()).collect();
    let sound = known.len() == services.len()
        && targets.iter().map(|target| &target.id).collect::<BTreeSet<_>>().len() == targets.len()
        && services.iter().all(|one| one.depends_on.is_subset(&known) && one.backup_of.is_subset(&known))
        && targets.iter().all(|target| known.contains(&target.service))
        && targets.iter().flat_map(|target| target.endpoints.values()).all(|at| at.check().is_ok());
    let inventory = match Inventory::new(services.to_vec(), targets.to_vec()) {
        Ok(inventory) => inventory,
        Err(faults) => {
            assert!(!sound && !faults.is_empty(), "refused without a fault: {faults:?}");
            return;
        }
    };
    assert!(sound, "two of one name, or a name of nothing");
    for service in services {
        assert_eq!(inventory.service(&service.id), Some(service), "what was written is what is there");
    }
    for (one, other) in services.iter().zip(services.iter().skip(1)) {
        let pair = inventory.are_counterparts(&one.id, &other.id);
        assert_eq!(pair, inventory.are_counterparts(&other.id, &one.id), "data and backup know each other");
    }

    let all: Vec<_> = targets.iter().map(|target| target.id.clone()).collect();
    let some = |choices: &mut Choices<'_>| -> BTreeSet<_> {
        all.iter().filter(|_| choices.yes()).cloned().collect()
    };
    let (few, more, down) = (some(choices), some(choices), some(choices));
    let many: BTreeSet<_> = few.union(&more).cloned().collect();
    let disturbed = |inventory: &Inventory, targets: &BTreeSet<_>, down: &BTreeSet<_>| {
        let dependencies =
            inventory.dependencies(Timestamp::EPOCH).expect("an inventory is no larger than a graph");
        radius(inventory, &dependencies, targets, down)
            .expect("dependencies over the inventory know its services")
    };
    let blast = disturbed(&inventory, &few, &down);
    check(&blast, &inventory, services, &few, &down);
    assert!(
        blast.within(&blast) && blast.within(&disturbed(&inventory, &many, &down)),
        "more targets disturb less"
    );
    let alone = disturbed(&inventory, &few, &BTreeSet::new());
    assert!(alone.within(&blast), "replicas that are down make it less");

    // One more edge, from either side, loses none.
    let mut wider = services.to_vec();
    let (from, to) = (choices.below(services.len().max(1)), choices.below(services.len().max(1)));
    if let (Some(service), Some(other)) = (wider.get_mut(from), services.get(to)) {
        let edges = if choices.yes() { &mut service.depends_on } else { &mut service.dependents };
        edges.insert(other.id.clone());
        let wider = Inventory::new(wider, targets.to_vec()).expect("an edge between services that are there");
        assert!(blast.within(&disturbed(&wider, &few, &down)), "an edge more disturbs less");
    }
}

/// The radius once more: whoever depends on something that is disturbed is disturbed, until nothing changes.
fn check(
    blast: &Blast,
    inventory: &Inventory,
    services: &[Service],
    targets: &BTreeSet<Id<kind::Target>>,
    down: &BTreeSet<Id<kind::Target>>,
) {
    let mut disturbed: BTreeSet<Id<kind::Service>> =
        targets.iter().filter_map(|id| inventory.target(id)).map(|(_, service)| service.id.clone()).collect();
    loop {
        let mut next = disturbed.clone();
        for service in services {
            if !service.depends_on.is_disjoint(&disturbed) {
                next.insert(service.id.clone());
            }
            if disturbed.contains(&service.id) {
                next.extend(service.dependents.iter().cloned());
            }
        }
        if next == disturbed {
            break;
        }
        disturbed = next;
    }
    assert_eq!(blast.services, disturbed);
    assert_eq!(blast.targets, *targets);
    let critical: BTreeSet<_> = disturbed
        .iter()
        .filter(|id| inventory.service(id).is_none_or(|service| service.criticality == Criticality::Critical))
        .cloned()
        .collect();
    assert_eq!(blast.critical, critical, "whoever is not known counts as critical");
    assert!(blast.unknown.is_subset(&blast.critical) && blast.critical.is_subset(&blast.services));

    // The share that is gone, service by service and executor by executor, rounded up.
    let mut most = 0;
    for touched in targets.iter().filter_map(|id| inventory.target(id)) {
        let like = |id: &&Id<kind::Target>| {
            inventory.target(id).is_some_and(|(target, service)| {
                service.id == touched.1.id && target.executor == touched.0.executor
            })
        };
        let gone = targets.union(down).filter(like).count();
        let there = inventory.targets().map(|target| &target.id).filter(like).count();
        most = most.max((gone * 100).div_ceil(there));
    }
    assert_eq!(usize::try_from(blast.replica_share_percent).unwrap(), most);
    assert!(most <= 100, "more than all");
}
