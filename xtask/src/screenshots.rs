//! `cargo xtask screenshots`: the pictures of docs/console.md, taken anew from the console of a real gate.
//!
//! A test takes them, so that they are taken whenever the tests run, and kept only when this asks for it.

use crate::{Failure, expect_no_arguments, repo};
use std::process::Command;

/// The test that takes them.
const TEST: &str = "suite::browser::tour::pictures_of_the_console";
/// Where they are kept.
const FOLDER: &str = "docs/console";

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    expect_no_arguments(arguments)?;
    let root = repo::root()?;
    let folder = root.join(FOLDER);
    std::fs::create_dir_all(&folder).map_err(|err| format!("cannot make `{}`: {err}", folder.display()))?;
    // All of the workspace, whose features are then those of the tests: what these have built is not built again.
    let status = Command::new("cargo")
        .args(["test", "--quiet", "--workspace", "--test", "main", "--", "--exact", TEST])
        .current_dir(&root)
        .env("HOLDPOINT_PICTURES", &folder)
        .status()
        .map_err(|err| format!("cannot start `cargo test`: {err}"))?;
    if !status.success() {
        return Err(format!("`{TEST}` failed ({status})"));
    }
    println!("screenshots: `{FOLDER}` has them");
    Ok(())
}
