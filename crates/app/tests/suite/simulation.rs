//! The simulation, small: a few seeds of it with every plain run of the tests. `cargo xtask sim` runs a thousand.

use holdpoint_app::sim::{Coverage, Outcome, simulate, twice};

/// Seeds that are simulated here, in two halves so that they run beside each other.
const SEEDS: u64 = 20;
/// Events of each.
const EVENTS: u64 = 200;

fn hold(seeds: impl Iterator<Item = u64>) {
    let mut coverage = Coverage::default();
    for seed in seeds {
        let outcome = twice(seed, EVENTS);
        assert!(outcome.violation.is_none(), "{}", report(&outcome));
        coverage.merge(&outcome.coverage);
    }
    let (reached, _) = coverage.count();
    assert!(reached > 60, "{reached} pairs of state and event: the seeds do next to nothing");
}

fn report(outcome: &Outcome) -> String {
    let last = outcome.trace.iter().skip(outcome.trace.len().saturating_sub(40));
    let lines: String = last.map(|line| format!("  {line}\n")).collect();
    let seed = outcome.seed;
    format!("{:?}\n{lines}replay: cargo xtask sim --seed {seed} --events {EVENTS}", outcome.violation)
}

#[test]
fn inv01_inv02_inv03_inv04_inv05_inv06_hold_in_every_seed() {
    hold(0..SEEDS / 2);
}

#[test]
fn inv08_inv11_inv13_inv15_inv16_hold_in_every_seed() {
    hold(SEEDS / 2..SEEDS);
}

#[test]
fn one_number_decides_everything_and_another_one_something_else() {
    let (one, again, other) = (simulate(7, EVENTS), simulate(7, EVENTS), simulate(8, EVENTS));
    assert_eq!(one.trace, again.trace);
    assert_ne!(one.trace, other.trace);
    assert!(one.events >= EVENTS && one.entries > 10, "{} events, {} entries", one.events, one.entries);
}
