//! The dependency graph of a million services: how long it takes to load, to count the dependents of any service, to find out whether
//! they are more than a bound, and to change an edge; beside a plain search over the same compressed lists.
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
    hint::black_box,
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use holdpoint_domain::graph::{Count, DEFAULT_HUB, Edge, Graph, Indexing, Scratch};

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

fn main() {
    let mut random = Random(SEED);
    let (generating, edges) = timed(|| company(SERVICES, EDGES, &mut random));
    let critical: Vec<u32> = (0..SERVICES).filter(|_| random.below(100) < CRITICAL_PERCENT).collect();
    println!("blast_generate_ms {:.0}", ms(generating));
    println!("blast_services {SERVICES}");
    println!("blast_edges {}", edges.len());

    let workers = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let indexing = Indexing { hub: DEFAULT_HUB, workers };
    let (loading, graph) =
        timed(|| Graph::new(SERVICES, &edges, critical.iter().copied(), indexing).unwrap());
    println!("blast_load_ms {:.0}", ms(loading));
    println!("blast_index_bytes {}", graph.bytes());

    let mut plain = Plain::new(SERVICES, &edges, &critical);
    let asked: Vec<u32> = (0..SAMPLES).map(|_| random.below(u64::from(SERVICES)) as u32).collect();
    counts(&graph, &mut plain, &asked);
    for bound in [100, 1_000] {
        more_than(&graph, &mut plain, &asked, bound);
    }
    changes(&graph, &mut plain, &edges, &mut random);
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

fn more_than(graph: &Graph, plain: &mut Plain, asked: &[u32], bound: u32) {
    let mut scratch = Scratch::new();
    let mut expected: Vec<bool> = Vec::new();
    // The first round brings the memory of both to the same warmth.
    each(asked, |service| {
        black_box(plain.more_than(service, bound));
    });
    let searches = each(asked, |service| expected.push(plain.more_than(service, bound)));
    print_times(&format!("blast_plain_more_than_{bound}"), &searches);
    let mut got: Vec<bool> = Vec::new();
    each(asked, |service| {
        black_box(graph.more_than(&[service], bound, &mut scratch).unwrap());
    });
    let ours = each(asked, |service| got.push(graph.more_than(&[service], bound, &mut scratch).unwrap()));
    print_times(&format!("blast_more_than_{bound}"), &ours);
    assert_eq!(got, expected, "more than {bound} is what the plain search says");
}

/// Adds edges and removes others, each to the graph as it was loaded, and asks at once.
fn changes(graph: &Graph, plain: &mut Plain, edges: &[Edge], random: &mut Random) {
    let mut scratch = Scratch::new();
    let (mut adding, mut removing, mut stale) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..2 * CHANGES {
        let edge = edges[random.below(edges.len() as u64) as usize];
        let mut changed = graph.clone();
        let (times, edge) = if turn % 2 == 0 {
            // A dependency of another service: neither side of the change is any less connected than usual.
            let other = edges[random.below(edges.len() as u64) as usize];
            (&mut adding, Edge { dependent: other.dependent, ..edge })
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
        println!("blast_{name}_worst_ms {:.3}", times.iter().copied().map(ms).fold(0.0, f64::max));
    }
    stale.sort_by(f64::total_cmp);
    println!("blast_stale_p50 {:.0}", stale[stale.len() / 2]);
    println!("blast_stale_p99 {:.0}", stale[stale.len() * 99 / 100]);
}

/// How long each question takes.
fn each(asked: &[u32], mut ask: impl FnMut(u32)) -> Vec<f64> {
    let mut times: Vec<f64> =
        asked.iter().map(|service| timed(|| ask(*service)).0.as_secs_f64() * 1e6).collect();
    times.sort_by(f64::total_cmp);
    times
}

fn print_times(name: &str, sorted: &[f64]) {
    let mean = sorted.iter().sum::<f64>() / sorted.len() as f64;
    for (what, percent) in [("p50", 50), ("p90", 90), ("p99", 99)] {
        println!("{name}_{what}_us {:.3}", sorted[sorted.len() * percent / 100]);
    }
    println!("{name}_mean_us {mean:.3}");
}

fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let done = work();
    (start.elapsed(), done)
}
