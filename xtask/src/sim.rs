//! `cargo xtask sim`: the seeded simulation of the use cases, over as many seeds as are asked for.
//!
//! Builds the example `sim` of `holdpoint-app` in the profile `sim`, and starts it with the same arguments. What it does and what
//! its checkers look at is in `docs/simulation.md`.

use crate::{Failure, repo};
use std::process::Command;
use std::time::Instant;

/// What cargo is asked to build: the arguments of `cargo build` and `cargo run` alike.
pub(crate) const TARGET: [&str; 6] = ["--profile", "sim", "--package", "holdpoint-app", "--example", "sim"];

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let root = repo::root()?;
    let cargo = |verb: &str, more: &[String]| {
        let mut command = Command::new("cargo");
        command.args([verb, "--quiet", "--locked"]).args(TARGET).current_dir(&root);
        let ended =
            command.args(more).status().map_err(|err| format!("cannot start `cargo {verb}`: {err}"))?;
        if ended.success() { Ok(()) } else { Err(format!("`cargo {verb}` ended with {ended}")) }
    };
    let begun = Instant::now();
    cargo("build", &[])?;
    let built = Instant::now();
    let simulated = cargo("run", &[&["--".to_owned()], arguments].concat());
    let (build, sim) = (built.duration_since(begun), built.elapsed());
    println!("sim: {:.0} s to build, {:.0} s to simulate", build.as_secs_f64(), sim.as_secs_f64());
    simulated
}
