//! The dependency graph of a million services: how long it takes to load, to count the dependents of any service, to find out whether
//! they are more than a bound, to change an edge, and to hear of one from a service graph; beside a plain search over the same
//! compressed lists.
//!
//! `cargo xtask bench` runs it and makes the table of docs/performance.md from what it prints: a key and a value on each line. Every
//! answer in a sample is compared with the plain search; it stops at the first that differs.
#![allow(
    missing_docs,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a benchmark prints, and stops when it breaks"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    hint::black_box,
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use holdpoint_domain::{
    Id, Millis, Timestamp,
    dependencies::{Dependencies, Dependency, Heard, Observed, Reading},
    graph::{Count, DEFAULT_HUB, Edge, EdgeKind, Graph, Indexing, Scratch},
    id::kind,
    target::Criticality,
};

use crate::{
    generate::{Random, company},
    plain::Plain,
};

#[path = "blast/generate.rs"]
mod generate;
#[path = "blast/plain.rs"]
mod plain;

const SERVICES: u32 = 1_000_000;
const EDGES: usize = 3_500_000;
const CRITICAL_PERCENT: u64 = 5;
const SEED: u64 = 20_261_123;
/// Services that are asked for, drawn evenly.
const SAMPLES: usize = 10_000;
/// Edges that are added, and that are removed.
const CHANGES: usize = 100;
/// How many answers are compared after each change.
const COMPARED: usize = 3;
/// How many dependencies the service graph shows beside the one that changes: a small one, and nearly as many as are kept.
const SHOWN: [usize; 2] = [1_000, 90_000];

fn main() {
    let mut random = Random(SEED);
    let (generating, edges) = timed(|| company(SERVICES, EDGES, &mut random));
    let critical: Vec<u32> = (0..SERVICES).filter(|_| random.below(100) < CRITICAL_PERCENT).collect();
    println!("blast_generate_ms {:.0}", ms(generating));
    println!("blast_services {SERVICES}");
    println!("blast_edges {}", edges.len());

    let workers = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let indexing = Indexing { hub: DEFAULT_HUB, workers };
    let cpu_before = cpu_ms();
    let (loading, graph) =
        timed(|| Graph::new(SERVICES, &edges, critical.iter().copied(), indexing).unwrap());
    println!("blast_load_ms {:.0}", ms(loading));
    println!("blast_load_cpu_ms {}", cpu_ms() - cpu_before);
    println!("blast_index_bytes {}", graph.bytes());

    let mut plain = Plain::new(SERVICES, &edges, &critical);
    let asked: Vec<u32> = (0..SAMPLES).map(|_| random.below(u64::from(SERVICES)) as u32).collect();
    counts(&graph, &mut plain, &asked);
    for bound in [100, 1_000] {
        more_than(&graph, &mut plain, &asked, bound);
    }
    changes(&graph, &mut plain, &edges, &mut random);
    many_changes(graph, &asked, &edges, &mut random);
    named(&edges, &critical, indexing, &mut random);
}

fn counts(graph: &Graph, plain: &mut Plain, asked: &[u32]) {
    let mut scratch = Scratch::new();
    let mut expected: Vec<Count> = Vec::new();
    let searches = each(asked, |service| expected.push(plain.count(service)));
    print_times("blast_plain_count", &searches);
    let mut got: Vec<Count> = Vec::new();
    let ours = each(asked, |service| got.push(graph.count(&[service], &mut scratch).unwrap()));
    print_times("blast_count", &ours);
    assert_eq!(got, expected, "our counts are those of the plain search");
    let mean: f64 = got.iter().map(|count| f64::from(count.all)).sum::<f64>() / got.len() as f64;
    println!("blast_mean_dependents {mean:.0}");
}

/// Both in turn for each service, so that whatever else the machine does meets both alike.
fn more_than(graph: &Graph, plain: &mut Plain, asked: &[u32], bound: u32) {
    let mut scratch = Scratch::new();
    let (mut searches, mut ours) = (Vec::new(), Vec::new());
    // The first round warms the memory of both.
    for round in 0..2 {
        for service in asked {
            let (searching, expected) = timed(|| black_box(plain.more_than(*service, bound)));
            let (answering, got) =
                timed(|| black_box(graph.more_than(&[*service], bound, &mut scratch).unwrap()));
            assert_eq!(got, expected, "more than {bound} need {service}: what the plain search says");
            if round == 1 {
                searches.push(searching);
                ours.push(answering);
            }
        }
    }
    print_times(&format!("blast_plain_more_than_{bound}"), &sorted(&searches));
    print_times(&format!("blast_more_than_{bound}"), &sorted(&ours));
}

/// Adds edges and removes others, each to the graph as it was loaded, and asks at once.
fn changes(graph: &Graph, plain: &mut Plain, edges: &[Edge], random: &mut Random) {
    let mut scratch = Scratch::new();
    let (mut adding, mut removing, mut stale) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..2 * CHANGES {
        let edge = any_of(edges, random);
        let mut changed = graph.clone();
        let (times, edge) = if turn % 2 == 0 {
            // A dependency of another service: neither side of the change is any less connected than usual.
            (&mut adding, Edge { dependent: any_of(edges, random).dependent, ..edge })
        } else {
            (&mut removing, edge)
        };
        let add = turn % 2 == 0;
        let (took, done) = timed(|| {
            let done = if add { changed.add(edge, &mut scratch) } else { changed.remove(edge, &mut scratch) };
            done.unwrap()
        });
        times.push(took);
        stale.push(changed.stale().map_or(f64::from(SERVICES), f64::from));
        if done {
            // The plain lists know no kinds: an edge of another kind keeps the dependent in.
            let others = changed.edges_on(edge.on).any(|other| other.dependent == edge.dependent);
            plain.change(edge, add, others);
            for _ in 0..COMPARED {
                let service = random.below(u64::from(SERVICES)) as u32;
                assert_eq!(changed.count(&[service], &mut scratch).unwrap(), plain.count(service));
            }
            assert_eq!(changed.count(&[edge.on], &mut scratch).unwrap(), plain.count(edge.on));
            plain.restore();
        }
    }
    for (name, times) in [("add", &adding), ("remove", &removing)] {
        let sorted = sorted(times);
        println!("blast_{name}_p50_ms {:.3}", percentile(&sorted, 50) / 1e3);
        println!("blast_{name}_worst_ms {:.3}", sorted[sorted.len() - 1] / 1e3);
    }
    stale.sort_by(f64::total_cmp);
    println!("blast_stale_p50 {:.0}", stale[stale.len() / 2]);
    println!("blast_stale_p99 {:.0}", stale[stale.len() * 99 / 100]);
}

/// What counts take after changes that nobody rebuilt the index for.
fn many_changes(mut graph: Graph, asked: &[u32], edges: &[Edge], random: &mut Random) {
    let mut scratch = Scratch::new();
    for _ in 0..CHANGES {
        let (edge, other) = (any_of(edges, random), any_of(edges, random));
        graph.remove(edge, &mut scratch).unwrap();
        graph.add(Edge { dependent: other.dependent, ..edge }, &mut scratch).unwrap();
    }
    let times = asked.iter().map(|service| timed(|| graph.count(&[*service], &mut scratch).unwrap()).0);
    let times: Vec<Duration> = times.collect();
    println!("blast_changed_count_p99_us {:.3}", percentile(&sorted(&times), 99));
    println!("blast_changed_stale {}", graph.stale().unwrap_or(SERVICES));
    let (rebuilding, graph) = timed(|| graph.rebuilt().unwrap());
    println!("blast_rebuild_ms {:.0}", ms(rebuilding));
    assert_eq!(graph.stale(), Some(0));
}

/// The same with names: one source that says everything, and then a service graph beside it.
fn named(edges: &[Edge], critical: &[u32], indexing: Indexing, random: &mut Random) {
    let names: Vec<Id<kind::Service>> =
        (0..SERVICES).map(|node| Id::parse(&format!("service-{node:07}")).unwrap()).collect();
    let mut classes = vec![Criticality::Low; names.len()];
    critical.iter().for_each(|node| classes[*node as usize] = Criticality::Critical);
    let dependencies = edges.iter().map(|edge| Dependency {
        dependent: names[edge.dependent as usize].clone(),
        on: names[edge.on as usize].clone(),
        kind: edge.kind,
    });
    let source = Id::parse("inventory").unwrap();
    let (reading, read) = timed(|| Reading::new(source, Timestamp::EPOCH, [], dependencies).unwrap());
    println!("blast_named_reading_ms {:.0}", ms(reading));
    let inventory = names.iter().cloned().zip(classes);
    let (merging, merged) = timed(|| Dependencies::new(inventory, [read], indexing).unwrap());
    println!("blast_named_load_ms {:.0}", ms(merging));
    for shown in SHOWN {
        heard(&merged, &names, edges, shown, random);
    }
}

/// From what a service graph shows, one dependency more or one less than before, to the first answer that has it: what the gate does
/// between two decisions.
fn heard(
    merged: &Dependencies,
    names: &[Id<kind::Service>],
    edges: &[Edge],
    shown: usize,
    random: &mut Random,
) {
    let source: Id<kind::Source> = Id::parse("traces").unwrap();
    let calls = |edge: Edge| Dependency {
        dependent: names[edge.dependent as usize].clone(),
        on: names[edge.on as usize].clone(),
        kind: EdgeKind::Calls,
    };
    let always: BTreeSet<Dependency> = (0..shown).map(|_| calls(any_of(edges, random))).collect();
    let keep = Millis::secs(60);
    let observed =
        |calls: BTreeSet<Dependency>| Observed { calls, earlier: Some([].into()), rates: [].into() };
    let (mut heard, mut now) = (Heard::default(), merged.clone());
    let (mut at, mut scratch) = (Timestamp::EPOCH, Scratch::new());
    heard.hear(observed(always.clone()), at, keep).unwrap();
    now.read_again(heard.reading(&source).unwrap().unwrap(), &mut scratch).unwrap();
    let mut times = Vec::new();
    for _ in 0..CHANGES {
        let (edge, other) = (any_of(edges, random), any_of(edges, random));
        let call = calls(Edge { dependent: other.dependent, ..edge });
        if edge.on == other.dependent || !now.said_by(&call).is_empty() {
            continue;
        }
        let with: BTreeSet<_> = always.iter().chain([&call]).cloned().collect();
        // Seen, and then not seen for longer than it is kept.
        for (calls, is_there, pause) in [(with, true, 1_000), (always.clone(), false, 61_000)] {
            at = at.plus(Millis::new(pause).unwrap()).unwrap();
            let seen = observed(calls);
            let (on, among) = (std::slice::from_ref(&call.on), BTreeMap::from([(call.on.clone(), 0)]));
            let (took, (next, needs)) = timed(|| {
                heard.hear(seen, at, keep).unwrap();
                let reading = heard.reading(&source).unwrap().unwrap();
                let mut next = now.clone();
                next.read_again(reading, &mut scratch).unwrap();
                black_box(next.more_than(on, 1_000, &mut scratch).unwrap());
                let (needs, _) = next.needs(&call.dependent, &among, 1);
                (next, needs)
            });
            times.push(took);
            let shows = needs.iter().any(|need| need.kind == EdgeKind::Calls);
            assert_eq!(shows, is_there, "what is shown is there, and nothing else");
            now = next;
        }
    }
    let sorted = sorted(&times);
    for percent in [50, 99] {
        println!("blast_heard_{shown}_p{percent}_ms {:.3}", percentile(&sorted, percent) / 1e3);
    }
    println!("blast_heard_{shown}_worst_ms {:.3}", sorted[sorted.len() - 1] / 1e3);
}

fn any_of(edges: &[Edge], random: &mut Random) -> Edge {
    edges[random.below(edges.len() as u64) as usize]
}

/// How long each question takes.
fn each(asked: &[u32], mut ask: impl FnMut(u32)) -> Vec<f64> {
    let times: Vec<Duration> = asked.iter().map(|service| timed(|| ask(*service)).0).collect();
    sorted(&times)
}

/// In microseconds.
fn sorted(times: &[Duration]) -> Vec<f64> {
    let mut times: Vec<f64> = times.iter().map(|took| took.as_secs_f64() * 1e6).collect();
    times.sort_by(f64::total_cmp);
    times
}

fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted[sorted.len() * percent / 100]
}

fn print_times(name: &str, sorted: &[f64]) {
    let mean = sorted.iter().sum::<f64>() / sorted.len() as f64;
    for percent in [50, 90, 99] {
        println!("{name}_p{percent}_us {:.3}", percentile(sorted, percent));
    }
    println!("{name}_mean_us {mean:.3}");
}

/// What this process has used of both cores, in milliseconds: the machine may be shared.
fn cpu_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    // User and system time, in hundredths of a second (proc(5)).
    [11, 12].iter().map(|at| fields[*at].parse::<u64>().unwrap() * 10).sum()
}

fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let done = work();
    (start.elapsed(), done)
}
