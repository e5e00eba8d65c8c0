//! `cargo xtask sim`: the seeded simulation of the use cases, over as many seeds as are asked for.
//!
//! Builds the example `sim` of `holdpoint-app` with the settings of `xtask/sim.toml`, and starts it with the same arguments. What it
//! does and what its checkers look at is in `docs/simulation.md`.

use crate::{Failure, repo};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// All of the workspace, whose features are then those of the tests: what these have built is not built again.
const BUILD: [&str; 8] =
    ["build", "--quiet", "--locked", "--config", "xtask/sim.toml", "--workspace", "--example", "sim"];

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let root = repo::root()?;
    let begun = Instant::now();
    let program = build(&root)?;
    let built = Instant::now();
    let ended = Command::new(&program)
        .args(arguments)
        .current_dir(&root)
        .status()
        .map_err(|err| format!("cannot start `{}`: {err}", program.display()))?;
    let (build, sim) = (built.duration_since(begun), built.elapsed());
    println!("sim: {:.0} s to build, {:.0} s to simulate", build.as_secs_f64(), sim.as_secs_f64());
    if ended.success() { Ok(()) } else { Err(format!("the simulation ended with {ended}")) }
}

/// Builds the simulation of a tree into the tree's own `target`, and says where it is.
pub(crate) fn build(tree: &Path) -> Result<PathBuf, Failure> {
    let target = tree.join("target");
    let built = Command::new("cargo")
        .args(BUILD)
        .current_dir(tree)
        .env("CARGO_TARGET_DIR", &target)
        .output()
        .map_err(|err| format!("cannot start `cargo build`: {err}"))?;
    if !built.status.success() {
        let complaint = String::from_utf8_lossy(&built.stderr);
        return Err(format!("the simulation does not build: {}", complaint.trim()));
    }
    Ok(target.join("debug/examples/sim"))
}
