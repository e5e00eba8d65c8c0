//! Blast radius: which services a plan can disturb, directly and through dependencies.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    Id,
    dependencies::{Dependencies, DependenciesError, Need},
    graph::Scratch,
    id::kind,
    target::{Criticality, Inventory},
};

/// What a plan can disturb.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blast {
    /// Targets acted on directly.
    pub targets: BTreeSet<Id<kind::Target>>,
    /// Services disturbed: those of the targets, and all that need them, at any distance.
    pub services: BTreeSet<Id<kind::Service>>,
    /// Critical ones among them, unknown ones included.
    pub critical: BTreeSet<Id<kind::Service>>,
    /// Dependants that the inventory does not know.
    pub unknown: BTreeSet<Id<kind::Service>>,
    /// Environments of the services.
    pub environments: BTreeSet<Id<kind::Environment>>,
    /// The largest share of a service's replicas that is acted on, in percent, rounded up.
    pub replica_share_percent: u32,
}

impl Blast {
    /// Whether everything that this plan can disturb, the other one could disturb too.
    #[must_use]
    pub fn within(&self, approved: &Self) -> bool {
        self.targets.is_subset(&approved.targets)
            && self.services.is_subset(&approved.services)
            && self.critical.is_subset(&approved.critical)
            && self.unknown.is_subset(&approved.unknown)
            && self.environments.is_subset(&approved.environments)
            && self.replica_share_percent <= approved.replica_share_percent
    }
}

/// The blast radius of acting on `targets` while `unavailable` ones do not serve. Targets that the inventory does not know
/// are left out: an unknown target is denied before anybody asks for its blast radius. `dependencies` are over this inventory: a
/// service of it that they do not know is an error.
///
/// The share of replicas counts both: otherwise a service could be taken down one allowed replica after the other.
pub fn radius(
    inventory: &Inventory,
    dependencies: &Dependencies,
    targets: &BTreeSet<Id<kind::Target>>,
    unavailable: &BTreeSet<Id<kind::Target>>,
) -> Result<Blast, DependenciesError> {
    let mut touched: BTreeMap<(&Id<kind::Service>, &Id<kind::Executor>), u32> = BTreeMap::new();
    for (target, service) in targets.iter().filter_map(|id| inventory.target(id)) {
        let count = touched.entry((&service.id, &target.executor)).or_default();
        *count = count.saturating_add(1);
    }
    for (target, service) in unavailable.difference(targets).filter_map(|id| inventory.target(id)) {
        if let Some(count) = touched.get_mut(&(&service.id, &target.executor)) {
            *count = count.saturating_add(1);
        }
    }

    let direct: BTreeSet<_> = touched.keys().map(|(service, _)| (*service).clone()).collect();
    let starts: Vec<_> = direct.iter().cloned().collect();
    let dependents = dependencies.dependents(&starts, &mut Scratch::new())?;
    let is_critical = |id: &&Id<kind::Service>| dependencies.criticality(id) == Some(Criticality::Critical);
    let named = |is: fn(&crate::dependencies::Dependent) -> bool| {
        dependents.iter().filter(move |one| is(one)).map(|one| one.service.clone())
    };
    let mut services = direct.clone();
    services.extend(named(|_| true));
    let mut critical: BTreeSet<_> = direct.iter().filter(is_critical).cloned().collect();
    critical.extend(named(|one| one.critical));
    let known = services.iter().filter_map(|id| inventory.service(id));
    Ok(Blast {
        targets: targets.clone(),
        critical,
        unknown: named(|one| !one.known).collect(),
        environments: known.map(|service| service.environment.clone()).collect(),
        services,
        replica_share_percent: touched
            .iter()
            .map(|((service, executor), count)| share_percent(*count, inventory.replicas(service, executor)))
            .max()
            .unwrap_or(0),
    })
}

/// Most needs that are told of one service.
pub const MAX_NEEDS: usize = 16;

/// A disturbed service: how far it is from those that are acted on, and through which others it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// The service.
    pub service: Id<kind::Service>,
    /// 0 where it is acted on itself, 1 where it needs such a service, and so on; none where no source connects it any more.
    pub depth: Option<u32>,
    /// What it needs of the disturbed services, how, and who says so: the nearest to the targets first, at most [`MAX_NEEDS`].
    pub needs: Vec<Need>,
    /// How many more it needs of them.
    pub more_needs: usize,
    /// The highest class that anybody gives it; critical if the inventory does not know it.
    pub criticality: Criticality,
}

/// The services of a blast radius as a graph, the nearest ones first and of those the critical ones; at most `limit`. Half of it is for
/// critical ones: a crowd in between does not hide them. For people who look: nothing is decided from it.
#[must_use]
pub fn reached(
    inventory: &Inventory,
    dependencies: &Dependencies,
    blast: &Blast,
    limit: usize,
) -> Vec<Reached> {
    let direct = blast.targets.iter().filter_map(|id| inventory.target(id)).map(|(_, service)| &service.id);
    let direct: BTreeSet<_> = direct.filter(|id| blast.services.contains(*id)).cloned().collect();
    let starts: Vec<_> = direct.iter().cloned().collect();
    // What the sources do not know is not connected to anything.
    let depths = dependencies.depths(&starts, &blast.services, &mut Scratch::new());
    let mut depths = depths.unwrap_or_default();
    depths.extend(direct.into_iter().map(|id| (id, 0)));
    nearest(blast, &depths, limit)
        .into_iter()
        .map(|(depth, service)| {
            let (needs, more_needs) = dependencies.needs(service, &depths, MAX_NEEDS);
            let criticality = dependencies.criticality(service).unwrap_or(Criticality::Critical);
            Reached { service: service.clone(), depth, needs, more_needs, criticality }
        })
        .collect()
}

fn nearest<'a>(
    blast: &'a Blast,
    depths: &BTreeMap<Id<kind::Service>, u32>,
    limit: usize,
) -> Vec<(Option<u32>, &'a Id<kind::Service>)> {
    let is_critical = |(_, service): &(_, &Id<kind::Service>)| blast.critical.contains(*service);
    let mut all: Vec<_> = blast.services.iter().map(|id| (depths.get(id).copied(), id)).collect();
    all.sort_by_key(|one| (one.0.unwrap_or(u32::MAX), !is_critical(one), one.1));
    fitting(all, limit, is_critical)
}

/// The first of a list that fit within a limit, half of which is for critical ones, wherever they stand. Their order stays.
pub fn fitting<T>(all: Vec<T>, limit: usize, is_critical: impl Fn(&T) -> bool) -> Vec<T> {
    let critical = all.iter().filter(|one| is_critical(one)).count();
    let others = all.len().saturating_sub(critical);
    let mut critical = critical.min(limit.saturating_sub(others.min(limit / 2)));
    let mut others = others.min(limit.saturating_sub(critical));
    let mut fits = |one: &T| {
        let room = if is_critical(one) { &mut critical } else { &mut others };
        let has_room = *room > 0;
        *room = room.saturating_sub(1);
        has_room
    };
    all.into_iter().filter(|one| fits(one)).collect()
}

impl Reached {
    /// The disturbed services that it needs.
    #[must_use]
    pub fn through(&self) -> BTreeSet<&Id<kind::Service>> {
        self.needs.iter().map(|need| &need.on).collect()
    }
}

fn share_percent(part: u32, whole: u32) -> u32 {
    let (part, whole) = (u64::from(part), u64::from(whole));
    part.saturating_mul(100)
        .checked_next_multiple_of(whole.max(1))
        .map_or(100, |scaled| u32::try_from(scaled.checked_div(whole.max(1)).unwrap_or(100)).unwrap_or(100))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Timestamp,
        target::{Service, Target},
    };

    fn service(id: &str, criticality: Criticality, depends_on: &[&str], dependents: &[&str]) -> Service {
        let ids = |names: &[&str]| names.iter().map(|name| Id::parse(name).unwrap()).collect();
        Service {
            id: Id::parse(id).unwrap(),
            environment: Id::parse("prod").unwrap(),
            owner: Id::parse("sre").unwrap(),
            criticality,
            data_classes: BTreeSet::new(),
            data_domain: None,
            backup_of: BTreeSet::new(),
            stateless: true,
            depends_on: ids(depends_on),
            dependents: ids(dependents),
        }
    }

    fn target(id: &str, service: &str) -> Target {
        Target {
            id: Id::parse(id).unwrap(),
            service: Id::parse(service).unwrap(),
            executor: Id::parse("process").unwrap(),
            endpoints: BTreeMap::new(),
            labels: BTreeMap::new(),
            shares: BTreeMap::new(),
        }
    }

    fn inventory() -> Inventory {
        Inventory::new(
            vec![
                service("db", Criticality::Critical, &[], &["ghost"]),
                service("api", Criticality::High, &["db"], &[]),
                service("web", Criticality::Critical, &["api", "web"], &[]),
                service("batch", Criticality::Low, &["db"], &[]),
                service("alone", Criticality::Low, &[], &[]),
            ],
            vec![
                target("db-1", "db"),
                target("api-1", "api"),
                target("api-2", "api"),
                target("api-3", "api"),
                target("alone-1", "alone"),
            ],
        )
        .unwrap()
    }

    fn known(inventory: &Inventory) -> Dependencies {
        inventory.dependencies(Timestamp::EPOCH).unwrap()
    }

    fn of(targets: &[&str], down: &[&str]) -> Blast {
        let ids = |names: &[&str]| names.iter().map(|name| Id::parse(name).unwrap()).collect();
        let inventory = inventory();
        radius(&inventory, &known(&inventory), &ids(targets), &ids(down)).unwrap()
    }

    fn names<K: crate::id::Kind>(ids: &BTreeSet<Id<K>>) -> Vec<&str> {
        ids.iter().map(Id::as_str).collect()
    }

    #[test]
    fn dependants_at_any_distance_and_unknown_ones_count() {
        let blast = of(&["db-1"], &[]);
        assert_eq!(names(&blast.services), ["api", "batch", "db", "ghost", "web"]);
        assert_eq!(names(&blast.critical), ["db", "ghost", "web"]);
        assert_eq!(names(&blast.unknown), ["ghost"]);
        assert_eq!(blast.replica_share_percent, 100);
    }

    #[test]
    fn the_graph_says_how_far_and_through_whom() {
        let inventory = inventory();
        let blast = of(&["db-1"], &[]);
        let graph = reached(&inventory, &known(&inventory), &blast, 9);
        let lines: Vec<_> = graph
            .iter()
            .map(|one| {
                let through: Vec<_> = one.through().into_iter().map(Id::as_str).collect();
                format!("{} {:?} {}", one.service, one.depth.unwrap(), through.join("+"))
            })
            .collect();
        // That `web` needs itself says nothing.
        assert_eq!(lines, ["db 0 ", "ghost 1 db", "api 1 db", "batch 1 db", "web 2 api"]);
        let elsewhere = Inventory::new(Vec::new(), Vec::new()).unwrap();
        assert!(reached(&elsewhere, &known(&elsewhere), &blast, 9).iter().all(|one| one.depth.is_none()));
    }

    #[test]
    fn a_list_with_little_room_has_the_nearest_ones_and_the_critical_ones() {
        let inventory = inventory();
        let blast = of(&["db-1"], &[]);
        let listed = |limit| {
            let graph = reached(&inventory, &known(&inventory), &blast, limit);
            graph.iter().map(|one| one.service.to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(listed(5), "db ghost api batch web");
        assert_eq!(listed(4), "db ghost api batch");
        assert_eq!(listed(2), "db api");
        assert_eq!(listed(1), "db");
        assert_eq!(listed(0), "");
    }

    #[test]
    fn a_service_that_needs_many_says_how_many() {
        let many: Vec<_> = (0..40).map(|n| format!("s{n:02}")).collect();
        let names: Vec<_> = many.iter().map(String::as_str).collect();
        let mut services: Vec<_> =
            many.iter().map(|name| service(name, Criticality::Low, &["db"], &[])).collect();
        services.push(service("db", Criticality::Low, &[], &[]));
        services.push(service("all", Criticality::Low, &[names.as_slice(), &["db"]].concat(), &[]));
        let inventory = Inventory::new(services, vec![target("db-1", "db")]).unwrap();
        let dependencies = known(&inventory);
        let direct = [Id::parse("db-1").unwrap()].into();
        let blast = radius(&inventory, &dependencies, &direct, &BTreeSet::new()).unwrap();
        let graph = reached(&inventory, &dependencies, &blast, 99);
        let all = graph.iter().find(|one| one.service.as_str() == "all").unwrap();
        // The way on which it is reached first.
        assert_eq!((all.needs[0].on.as_str(), all.needs.len(), all.more_needs), ("db", MAX_NEEDS, 25));
    }

    #[test]
    fn one_replica_of_three_is_a_third_rounded_up() {
        let blast = of(&["api-2"], &[]);
        assert_eq!(names(&blast.services), ["api", "web"]);
        assert_eq!(blast.replica_share_percent, 34);
        let leaf = of(&["alone-1"], &[]);
        assert_eq!((names(&leaf.services), leaf.critical.len()), (vec!["alone"], 0));
        assert!(leaf.within(&leaf) && !leaf.within(&blast) && !blast.within(&leaf));
    }

    #[test]
    fn t23_a_service_is_not_taken_down_one_replica_after_the_other() {
        let share = |down: &[&str]| of(&["api-2"], down).replica_share_percent;
        assert_eq!(share(&[]), 34);
        assert_eq!(share(&["api-1"]), 67);
        assert_eq!(share(&["api-1", "api-3"]), 100);
        // The target itself counts once, and what belongs to others not at all.
        assert_eq!(share(&["api-2", "db-1"]), 34);
    }
}
