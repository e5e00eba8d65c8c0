//! The seeded simulation: the use cases as they ship, over the fakes, with everything going wrong that a seed comes up with.
//!
//! One `u64` decides all of it: who asks for what, which of the futures under way goes on next, what fails, when the process is
//! killed, how the clock jumps. Nothing else is read, so a seed replays exactly; [`twice`] runs each seed two times and compares
//! the traces. Beside the use cases run checkers that look from outside, at the entries of the log, at what the targets remember
//! and at the issuer's own list, never at the gate's state.
//!
//! What is here never ships: like [`crate::fake`], it exists only under the feature `fakes`. Start at [`simulate`]; the loop is in
//! `driver`, what people and agents do in `requests`, what goes wrong in `chaos` and `intruder`, what is looked at in `book` and
//! `checks`.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    reason = "a simulation that goes wrong should stop where it stands, and says with which seed"
)]

mod book;
mod chaos;
mod checks;
mod coverage;
mod driver;
mod end;
mod intruder;
mod requests;
mod rng;
mod scene;
mod task;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use coverage::{Coverage, UNREACHABLE};

/// What a checker found: an invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The checker: `inv01` to `inv16`, or what else does not hold.
    pub checker: &'static str,
    /// What it saw.
    pub what: String,
}

/// What became of a seed.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Everything that happened, one line each.
    pub trace: Vec<String>,
    /// How many events there were: requests, steps of futures, faults, crashes, movements of the clock.
    pub events: u64,
    /// How many entries the log has at the end.
    pub entries: u64,
    /// Which pairs of state and event were reached.
    pub coverage: Coverage,
    /// The first thing that did not hold.
    pub violation: Option<Violation>,
}

/// Runs a seed for so many events, then has everything healed and settled, and looks at what is left.
#[must_use]
pub fn simulate(seed: u64, events: u64) -> Outcome {
    let mut sim = driver::Sim::new(seed);
    // A panic is a finding like any other: the seed and the trace up to it are what is needed to see it again.
    let ran = catch_unwind(AssertUnwindSafe(|| sim.run(events)));
    let mut outcome = sim.outcome();
    if let Err(panic) = ran
        && outcome.violation.is_none()
    {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let what = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        outcome.violation = Some(Violation { checker: "panic", what: what.to_owned() });
    }
    outcome
}

/// Runs a seed two times: what does not replay exactly is a violation too.
#[must_use]
pub fn twice(seed: u64, events: u64) -> Outcome {
    let (mut one, other) = (simulate(seed, events), simulate(seed, events));
    if one.violation.is_none() && one.trace != other.trace {
        let at = one.trace.iter().zip(&other.trace).take_while(|(one, other)| one == other).count();
        let line = |outcome: &Outcome| outcome.trace.get(at).cloned().unwrap_or_default();
        let what = format!("line {at} is `{}`, and `{}` the second time", line(&one), line(&other));
        one.violation = Some(Violation { checker: "replay", what });
    }
    one
}
