//! The rules of the union, each by itself, and together beside a slow reference.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "small numbers in a test"
)]

use std::collections::BTreeSet;

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::*;
use crate::graph::Indexing;

fn id<K: crate::id::Kind>(name: &str) -> Id<K> {
    Id::parse(name).unwrap()
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_ms(ms).unwrap()
}

fn needs(dependent: &str, on: &str) -> Dependency {
    Dependency { dependent: id(dependent), on: id(on), kind: EdgeKind::Needs }
}

/// A reading of edges, written `web>api`, and of classes.
fn reading(source: &str, ms: u64, edges: &[&str], classes: &[(&str, Criticality)]) -> Reading {
    let edges = edges.iter().map(|edge| edge.split_once('>').unwrap());
    let classes = classes.iter().map(|(name, class)| (id(name), Some(*class)));
    Reading::new(id(source), at(ms), classes, edges.map(|(dependent, on)| needs(dependent, on))).unwrap()
}

fn inventory(names: &[&str]) -> Vec<(Id<kind::Service>, Criticality)> {
    names.iter().map(|name| (id(name), Criticality::Low)).collect()
}

fn merged(known: &[&str], readings: Vec<Reading>) -> Dependencies {
    Dependencies::new(inventory(known), readings, Indexing { hub: 1, ..Indexing::default() }).unwrap()
}

fn count(dependencies: &Dependencies, service: &str) -> (u32, u32) {
    let count = dependencies.count(&[id(service)], &mut Scratch::new()).unwrap();
    (count.all, count.critical)
}

/// Each dependent as `depth name kind through by sources`.
fn lines(dependencies: &Dependencies, service: &str) -> Vec<String> {
    let listed = dependencies.reached(&[id(service)], 99, 99, &mut Scratch::new()).unwrap();
    let said = |by: &[SaidBy]| -> Vec<String> {
        by.iter().map(|one| format!("{}@{}", one.source, one.read_at.ms())).collect()
    };
    let line = |one: &ReachedService| {
        let (depth, kind) = (one.depth, one.kind.as_str());
        format!("{depth} {} {kind} {} by {}", one.service, one.through, said(&one.said_by).join(","))
    };
    listed.listed.iter().map(line).collect()
}

const HIGH: Criticality = Criticality::High;
const CRITICAL: Criticality = Criticality::Critical;
const LOW: Criticality = Criticality::Low;

#[test]
fn inv13_merging_is_a_union_no_source_deletes_anothers_dependency_or_lowers_a_class() {
    let known = ["db", "api", "web"];
    let inventory_says = reading("inventory", 1, &["api>db", "web>api"], &[("web", CRITICAL)]);
    let alone = merged(&known, vec![inventory_says.clone()]);
    // A source that names nothing, and one that calls the critical service unimportant.
    let others = [reading("mesh", 2, &[], &[]), reading("traces", 3, &["web>api"], &[("web", LOW)])];
    let mut together = merged(&known, vec![inventory_says]);
    for other in others {
        together.read_again(other, &mut Scratch::new()).unwrap();
        for service in known {
            assert_eq!(count(&together, service), count(&alone, service), "{service}");
            assert_eq!(together.criticality(&id(service)), alone.criticality(&id(service)));
        }
    }
    assert_eq!(count(&together, "db"), (2, 1));
    // The same after everything is merged anew.
    let anew = together.rebuilt().unwrap();
    assert_eq!((count(&anew, "db"), lines(&anew, "db")), (count(&together, "db"), lines(&together, "db")));
}

#[test]
fn union_every_source_adds_and_each_edge_says_by_whom_and_how_old() {
    let dependencies = merged(
        &["db", "api", "web"],
        vec![reading("mesh", 20, &["api>db"], &[]), reading("inventory", 10, &["api>db", "web>api"], &[])],
    );
    let expected = ["1 api needs db by inventory@10,mesh@20", "2 web needs api by inventory@10"];
    assert_eq!(lines(&dependencies, "db"), expected);
    let sources: Vec<_> =
        dependencies.sources().map(|one| (one.source.to_string(), one.read_at.ms())).collect();
    assert_eq!(sources, [("inventory".to_owned(), 10), ("mesh".to_owned(), 20)]);
    let both = dependencies.said_by(&needs("api", "db"));
    assert_eq!(both.len(), 2);
    assert_eq!(at(70).since(both[1].read_at).ms(), 50);
    assert!(dependencies.said_by(&needs("db", "api")).is_empty());
    assert!(dependencies.said_by(&needs("db", "ghost")).is_empty());
}

#[test]
fn union_the_class_of_a_service_is_the_highest_that_anybody_gives_it() {
    let mut dependencies = merged(
        &["db", "api"],
        vec![reading("a", 1, &["api>db"], &[("api", HIGH)]), reading("b", 1, &[], &[("api", LOW)])],
    );
    assert_eq!(dependencies.criticality(&id("api")), Some(HIGH));
    assert_eq!(dependencies.criticality(&id("db")), Some(LOW));
    assert_eq!(count(&dependencies, "db"), (1, 0));
    let changed = dependencies.read_again(reading("b", 2, &[], &[("api", CRITICAL)]), &mut Scratch::new());
    assert_eq!(changed.unwrap(), Changed { added: 0, removed: 0, classes: 1 });
    assert_eq!(count(&dependencies, "db"), (1, 1));
}

#[test]
fn union_what_the_inventory_does_not_know_is_unknown_and_critical() {
    let dependencies = merged(&["db"], vec![reading("mesh", 1, &["ghost>db"], &[("ghost", LOW)])]);
    assert_eq!(count(&dependencies, "db"), (1, 1));
    assert_eq!(dependencies.criticality(&id("ghost")), Some(CRITICAL));
    assert_eq!(dependencies.criticality(&id("never-heard-of")), Some(CRITICAL));
    assert!(dependencies.is_known(&id("db")) && !dependencies.is_known(&id("ghost")));
    let listed = dependencies.reached(&[id("db")], 9, 9, &mut Scratch::new()).unwrap().listed;
    assert!(!listed[0].known);
    // The same where the name comes later.
    let mut later = merged(&["db"], Vec::new());
    later.read_again(reading("mesh", 1, &["ghost>db"], &[("ghost", LOW)]), &mut Scratch::new()).unwrap();
    assert_eq!(count(&later, "db"), (1, 1));
    assert!(!later.is_known(&id("ghost")));
}

#[test]
fn union_a_newer_reading_drops_only_what_that_source_alone_said() {
    let known = ["db", "api", "web"];
    let mut dependencies =
        merged(&known, vec![reading("a", 1, &["api>db", "web>db"], &[]), reading("b", 1, &["api>db"], &[])]);
    assert_eq!(count(&dependencies, "db").0, 2);
    let changed = dependencies.read_again(reading("a", 2, &[], &[]), &mut Scratch::new()).unwrap();
    assert_eq!(changed, Changed { added: 0, removed: 1, classes: 0 });
    assert_eq!(lines(&dependencies, "db"), ["1 api needs db by b@1"]);
}

#[test]
fn union_a_source_that_is_not_read_keeps_its_last_reading_and_an_older_one_is_refused() {
    let mut dependencies =
        merged(&["db", "api"], vec![reading("a", 5, &["api>db"], &[]), reading("b", 5, &[], &[])]);
    dependencies.read_again(reading("b", 9, &[], &[]), &mut Scratch::new()).unwrap();
    assert_eq!(lines(&dependencies, "db"), ["1 api needs db by a@5"]);
    let older = dependencies.read_again(reading("a", 4, &[], &[]), &mut Scratch::new());
    assert_eq!(older, Err(DependenciesError::Older(id("a"))));
    assert_eq!(lines(&dependencies, "db"), ["1 api needs db by a@5"]);
}

#[test]
fn cycles_among_sources_are_reached_once_and_nobody_depends_on_itself() {
    // Neither source has a cycle; together they do.
    let dependencies = merged(
        &["a", "b", "c", "d"],
        vec![reading("one", 1, &["a>b", "b>c", "d>d"], &[]), reading("two", 1, &["c>a", "d>a"], &[])],
    );
    for service in ["a", "b", "c"] {
        assert_eq!(count(&dependencies, service).0, 3, "{service}");
    }
    assert_eq!(count(&dependencies, "d").0, 0);
    let of_a = ["1 c needs a by two@1", "1 d needs a by two@1", "2 b needs c by one@1"];
    assert_eq!(lines(&dependencies, "a"), of_a);
}

#[test]
fn the_order_is_by_depth_then_name_also_for_names_that_came_later() {
    let mut dependencies = merged(&["db", "m", "z"], vec![reading("one", 1, &["z>db", "m>db"], &[])]);
    let later = reading("two", 1, &["a>db", "b>z", "b>a", "n>db"], &[]);
    dependencies.read_again(later, &mut Scratch::new()).unwrap();
    let names = |dependencies: &Dependencies| -> Vec<String> {
        let listed = dependencies.reached(&[id("db")], 99, 99, &mut Scratch::new()).unwrap();
        listed.listed.iter().map(|one| format!("{}{}", one.service, one.through)).collect()
    };
    assert_eq!(names(&dependencies), ["adb", "mdb", "ndb", "zdb", "ba"]);
    assert_eq!(names(&dependencies.rebuilt().unwrap()), names(&dependencies));
    let first = dependencies.reached(&[id("db")], 2, 99, &mut Scratch::new()).unwrap();
    assert_eq!((first.listed.len(), first.more), (2, true));
    let near = dependencies.reached(&[id("db")], 99, 1, &mut Scratch::new()).unwrap();
    assert_eq!((near.listed.len(), near.more), (4, true));
}

#[test]
fn what_does_not_fit_together_or_is_not_known_is_refused() {
    let new = |readings: Vec<Reading>| {
        Dependencies::new(inventory(&["db"]), readings, Indexing::default()).map(|_| ())
    };
    let twice = vec![reading("a", 1, &[], &[]), reading("a", 2, &[], &[])];
    assert_eq!(new(twice), Err(DependenciesError::DuplicateSource(id("a"))));
    let many: Vec<Reading> = (0..=MAX_SOURCES).map(|at| reading(&format!("s{at}"), 1, &[], &[])).collect();
    assert_eq!(new(many.clone()), Err(DependenciesError::Sources));
    let mut full = merged(&["db"], many[1..].to_vec());
    assert_eq!(full.read_again(many[0].clone(), &mut Scratch::new()), Err(DependenciesError::Sources));
    let unknown = full.more_than(&[id("ghost")], 0, &mut Scratch::new());
    assert_eq!(unknown, Err(DependenciesError::Unknown(id("ghost"))));
    assert_eq!(unknown.unwrap_err().to_string(), "service `ghost` is known to no source of dependencies");
}

/// So many differences that the index is made anew at once.
#[test]
fn a_reading_that_differs_much_is_merged_like_any_other() {
    let edges: Vec<String> = (0..500).map(|at| format!("s{at}>db")).collect();
    let edges: Vec<&str> = edges.iter().map(String::as_str).collect();
    let mut dependencies = merged(&["db"], Vec::new());
    let changed = dependencies.read_again(reading("a", 1, &edges, &[]), &mut Scratch::new()).unwrap();
    assert_eq!(changed.added, 500);
    assert_eq!((count(&dependencies, "db"), dependencies.graph().stale()), ((500, 500), Some(0)));
    let changed = dependencies.read_again(reading("a", 2, &edges[..1], &[]), &mut Scratch::new()).unwrap();
    assert_eq!((changed.removed, count(&dependencies, "db")), (499, (1, 1)));
}

type Edges = Vec<(u32, u32, EdgeKind)>;
type Classes = Vec<(u32, Option<Criticality>)>;

fn a_reading() -> impl Strategy<Value = (u32, Edges, Classes)> {
    let kinds = select(EdgeKind::ALL.to_vec());
    let classes = option::of(select(vec![LOW, Criticality::Medium, HIGH, CRITICAL]));
    (0..3_u32, vec((0..12_u32, 0..12_u32, kinds), 0..12), vec((0..12_u32, classes), 0..4))
}

fn name(number: u32) -> String {
    format!("s{number}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Readings one after the other say what the union of the last ones says.
    #[test]
    fn union_of_the_last_readings_whatever_came_before(readings in vec(a_reading(), 1..8)) {
        // The inventory knows every other service.
        let known: Vec<String> = (0..12).step_by(2).map(name).collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let mut dependencies = merged(&known, Vec::new());
        let mut last: BTreeMap<u32, (Edges, Classes)> = BTreeMap::new();
        let mut scratch = Scratch::new();
        for (ms, (source, edges, classes)) in (0_u64..).zip(readings) {
            let named = edges.iter().map(|(dependent, on, kind)| Dependency {
                dependent: id(&name(*dependent)), on: id(&name(*on)), kind: *kind,
            });
            let classed = classes.iter().map(|(number, class)| (id(&name(*number)), *class));
            let reading = Reading::new(id(&format!("source{source}")), at(ms), classed, named).unwrap();
            dependencies.read_again(reading, &mut scratch).unwrap();
            last.insert(source, (edges, classes));
        }
        let rebuilt = dependencies.rebuilt().unwrap();
        let edges: BTreeSet<(u32, u32)> =
            last.values().flat_map(|(edges, _)| edges).map(|(dependent, on, _)| (*dependent, *on)).collect();
        let critical = |number: u32| {
            let said = last.values().flat_map(|(_, classes)| classes);
            number % 2 == 1 || said.filter(|(other, _)| *other == number).any(|(_, class)| *class == Some(CRITICAL))
        };
        for start in 0..12 {
            let mut reached: BTreeSet<u32> = [start].into();
            for _ in 0..12 {
                let more: Vec<u32> =
                    edges.iter().filter(|(_, on)| reached.contains(on)).map(|(dependent, _)| *dependent).collect();
                reached.extend(more);
            }
            reached.remove(&start);
            let expected =
                (reached.len() as u32, reached.iter().filter(|number| critical(**number)).count() as u32);
            let named: BTreeSet<String> = reached.iter().map(|number| name(*number)).collect();
            for one in [&dependencies, &rebuilt] {
                let start = id(&name(start));
                // A service that nobody knows any more is known to nobody.
                let Ok(count) = one.count(std::slice::from_ref(&start), &mut scratch) else {
                    prop_assert!(reached.is_empty() && !one.is_known(&start));
                    continue;
                };
                prop_assert_eq!((count.all, count.critical), expected);
                prop_assert!(!one.more_than(std::slice::from_ref(&start), expected.0, &mut scratch).unwrap());
                let listed = one.reached(std::slice::from_ref(&start), 99, 99, &mut scratch).unwrap().listed;
                prop_assert!(listed.iter().all(|one| !one.said_by.is_empty()));
                prop_assert!(listed.is_sorted_by_key(|one| (one.depth, one.service.clone())));
                let names: BTreeSet<String> = listed.iter().map(|one| one.service.to_string()).collect();
                prop_assert_eq!(&names, &named);
                let ones = one.critical(&[start], 99, &mut scratch).unwrap();
                prop_assert_eq!((ones.listed.len() as u32, ones.more), (expected.1, false));
            }
        }
    }
}
