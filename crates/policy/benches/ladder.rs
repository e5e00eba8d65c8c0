//! How long a full ladder takes with 100, 1,000 and 10,000 rules of which equally many concern the request.
//!
//! `cargo bench -p holdpoint-policy`
#![allow(
    missing_docs,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a benchmark prints, and stops when it breaks"
)]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use holdpoint_domain::Millis;
use holdpoint_policy::{Bundle, Deadline, STARTER, Schema, Source};

#[path = "../src/sample.rs"]
mod sample;

/// Few enough to fit between two turns of the scheduler: the machine is shared.
const ROUNDS: u32 = 10;
const SAMPLES: usize = 1_000;

fn main() {
    println!(
        "{:>7}  {:>10}  {:>10}  {:>10}  {:>10}  {:>6}",
        "rules", "load", "first", "best", "median", "match"
    );
    for rules in [100, 1_000, 10_000] {
        let sources = bundle_of(rules);
        let (load, (bundle, _)) = timed(|| Bundle::load(&sources, &[], sample::schema()).unwrap());
        let facts = sample::facts();
        let deadline = Deadline::new(Millis::secs(1), &|| Millis::secs(0));
        let (first, answers) = timed(|| bundle.ladder(&facts, deadline));
        assert!(answers.t2.allows() && !answers.t1.allows());
        let mut samples: Vec<_> = (0..SAMPLES)
            .map(|_| {
                let (all, ()) = timed(|| {
                    (0..ROUNDS).for_each(|_| drop(black_box(bundle.ladder(black_box(&facts), deadline))))
                });
                all / ROUNDS
            })
            .collect();
        samples.sort();
        let (best, median) = (samples[0], samples[SAMPLES / 2]);
        let hits = bundle.explain(&facts).rungs.iter().map(|on| on.permits.len()).max().unwrap();
        println!("{rules:>7}  {load:>10.1?}  {first:>10.1?}  {best:>10.2?}  {median:>10.2?}  {hits:>6}");
    }
}

/// The starter, and rules for other teams and environments up to `rules`.
fn bundle_of(rules: usize) -> Vec<Source> {
    let mut text = String::new();
    for n in 0..rules {
        text.push_str(&format!(
            "@id(\"team-{n}\") permit (principal in Team::\"team-{n}\", action in Action::\"restart\", resource in \
             Environment::\"e{}\") when {{ resource.stateless && context.oversight.reviewPromised && context.trigger.proven }};\n",
            n % 7
        ));
    }
    let source = |name: &str, text: &str| Source { name: name.to_owned(), text: text.to_owned() };
    vec![source("starter.cedar", STARTER), source("teams.cedar", &text)]
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let done = work();
    (start.elapsed(), done)
}
