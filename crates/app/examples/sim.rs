//! The simulation as a program: `cargo xtask sim` builds and starts it.
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    reason = "a command line for developers, which prints what it found"
)]

use std::{
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use holdpoint_app::sim::{Coverage, Outcome, UNREACHABLE, simulate, twice};

/// How many of the last lines of a trace are shown.
const LAST_LINES: usize = 40;
/// Fewer seeds than this are not asked for their coverage.
const SEEDS_FOR_COVERAGE: u64 = 200;

struct Options {
    first: u64,
    seeds: u64,
    events: u64,
    trace: bool,
    // Not a second time, to compare: whoever looks for a planted bug has only to find it.
    once: bool,
}

fn main() -> ExitCode {
    let mut options = Options { first: 0, seeds: 1_000, events: 500, trace: false, once: false };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number =
            || arguments.next().and_then(|value| value.parse().ok()).expect("a number comes after an option");
        match argument.as_str() {
            "--seeds" => options.seeds = number(),
            "--events" => options.events = number(),
            "--seed" => (options.first, options.seeds, options.trace) = (number(), 1, true),
            "--first" => options.first = number(),
            "--once" => options.once = true,
            other => {
                println!("expected `--seeds`, `--seed`, `--first`, `--once` or `--events`, got `{other}`");
                return ExitCode::from(2);
            }
        }
    }
    std::panic::set_hook(Box::new(|_| ()));
    all(&options)
}

/// All seeds, spread over the processors; stops at the first that fails.
fn all(options: &Options) -> ExitCode {
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let sum = Mutex::new((Coverage::default(), 0_u64, 0_u64, 0_u64, None::<Outcome>));
    let work = || {
        while !stop.load(Ordering::SeqCst) {
            let nth = next.fetch_add(1, Ordering::SeqCst);
            if nth >= options.seeds {
                return;
            }
            let simulated = if options.once { simulate } else { twice };
            let outcome = simulated(options.first.wrapping_add(nth), options.events);
            let mut sum = sum.lock().expect("no thread panics with it");
            sum.0.merge(&outcome.coverage);
            (sum.1, sum.2, sum.3) = (sum.1 + 1, sum.2 + outcome.events, sum.3 + outcome.entries);
            if options.trace {
                outcome.trace.iter().for_each(|line| println!("{line}"));
            }
            if outcome.violation.is_some() {
                stop.store(true, Ordering::SeqCst);
                let first = sum.4.as_ref().is_none_or(|earlier| outcome.seed < earlier.seed);
                if first {
                    sum.4 = Some(outcome);
                }
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let (coverage, seeds, events, entries, failed) = sum.into_inner().expect("no thread panics with it");
    let twice = if options.once { "" } else { ", each run twice" };
    println!("sim: {seeds} seeds{twice}: {events} events, {entries} entries");
    match failed {
        Some(outcome) => failed_at(&outcome, options),
        None => covered(&coverage, options),
    }
}

fn failed_at(outcome: &Outcome, options: &Options) -> ExitCode {
    let Some(violation) = &outcome.violation else { return ExitCode::FAILURE };
    let skip = outcome.trace.len().saturating_sub(LAST_LINES);
    if !options.trace {
        outcome.trace.iter().skip(skip).for_each(|line| println!("  {line}"));
    }
    println!("sim: seed {} broke {}: {}", outcome.seed, violation.checker, violation.what);
    println!("replay: cargo xtask sim --seed {} --events {}", outcome.seed, options.events);
    // For programs: which checker, after how many seeds. Every seed before this one was simulated, however many threads there are.
    let seeds = outcome.seed.wrapping_sub(options.first).wrapping_add(1);
    println!("FAILED {} {seeds}", violation.checker);
    ExitCode::FAILURE
}

fn covered(coverage: &Coverage, options: &Options) -> ExitCode {
    let (reached, all) = coverage.count();
    println!(
        "sim: {reached} of {all} pairs of state and event were reached ({:.1} %)",
        percent(reached, all)
    );
    for (state, event) in coverage.missing().into_iter().take(if options.seeds > 1 { all } else { 0 }) {
        println!("  not reached: `{event}` in `{state}`");
    }
    for (state, event, why) in UNREACHABLE {
        println!("  not counted: `{event}` in `{state}`: {why}");
    }
    if let Some((state, event)) = coverage.unexpected().first() {
        println!("sim: `{event}` in `{state}` was reached; count it from now on");
        return ExitCode::FAILURE;
    }
    if options.seeds >= SEEDS_FOR_COVERAGE && reached * 100 < all * 95 {
        println!("sim: expected 95 % of the pairs");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn percent(reached: usize, all: usize) -> f64 {
    reached as f64 * 100.0 / all as f64
}
