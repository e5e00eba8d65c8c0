//! `cargo xtask setup`: gets what the tests and the fuzzers need from the machine.
//!
//! As root on Debian and its like it installs the packages of [`testing::REQUIREMENTS`] and [`FOR_FUZZING`] that are missing. Everywhere else
//! it changes nothing and prints what to do: other machines are their owners'. What comes as a Python package goes below the
//! root, in a folder that git ignores, on every machine.

use crate::{
    Failure, expect_no_arguments, repo,
    testing::{self, FOR_FUZZING, MODULES, REQUIREMENTS, Requirement, TOOLS},
};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// Where the package manager of Debian is.
const APT_GET: &str = "/usr/bin/apt-get";
/// What `.ci/run` needs.
const ALL: [&[Requirement]; 2] = [REQUIREMENTS, FOR_FUZZING];

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    expect_no_arguments(arguments)?;
    let absent: Vec<_> = ALL.into_iter().flat_map(|some| testing::absent(some, testing::starts)).collect();
    if absent.is_empty() {
        println!("setup: everything that the tests and the fuzzers need is here");
        return Ok(());
    }
    let (has_venv, has_npm) = (has_venv(), has_npm());
    let of_machine = |requirement: &&Requirement| {
        let is_ours = requirement.wheel.is_some() && has_venv || requirement.is_module && has_npm;
        !is_ours
    };
    let of_machine: Vec<_> = absent.iter().copied().filter(of_machine).collect();
    if !of_machine.is_empty() {
        let install = install_command(&of_machine);
        if !(Path::new(APT_GET).exists() && is_root()) {
            let missing = missing().join("\n");
            println!("setup: missing on this machine:\n{missing}");
            return Err(format!(
                "expected root on Debian or its like; on such a machine: `sudo apt-get update && sudo apt-get {}`",
                install.join(" ")
            ));
        }
        apt_get(&["update".to_owned()])?;
        apt_get(&install)?;
    }
    let wheels: Vec<_> = absent.iter().filter_map(|requirement| requirement.wheel).collect();
    if !wheels.is_empty() {
        provide(&wheels)?;
    }
    if absent.iter().any(|requirement| requirement.is_module) {
        provide_modules()?;
    }
    let still = missing();
    if still.is_empty() {
        println!("setup: installed what was missing");
        return Ok(());
    }
    Err(format!("installed, and still missing:\n{}", still.join("\n")))
}

fn missing() -> Vec<String> {
    ALL.into_iter().flat_map(|some| testing::missing_from(some, testing::starts)).collect()
}

/// The arguments of `apt-get` that install what these requirements need.
fn install_command(absent: &[&Requirement]) -> Vec<String> {
    let packages: BTreeSet<&str> =
        absent.iter().flat_map(|requirement| requirement.packages).copied().collect();
    let fixed = ["install", "--yes", "--no-install-recommends"];
    fixed.into_iter().chain(packages).map(str::to_owned).collect()
}

fn is_root() -> bool {
    let uid = Command::new("id").arg("-u").output();
    uid.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Whether Python can make an environment that has `pip`.
fn has_venv() -> bool {
    let known = Command::new("python3").args(["-c", "import ensurepip, venv"]).output();
    known.is_ok_and(|output| output.status.success())
}

/// Whether there are Node.js and its package manager.
fn has_npm() -> bool {
    ["node", "npm"].into_iter().all(|program| testing::starts(&program.into(), "--version"))
}

/// Installs the modules that the lock file names, bytes that it has the digests of, and runs nothing that they would bring.
fn provide_modules() -> Result<(), Failure> {
    let root = repo::root()?;
    let (from, to) = (root.join(MODULES.0), root.join(MODULES.1));
    std::fs::create_dir_all(&to).map_err(|err| format!("cannot make `{}`: {err}", to.display()))?;
    for name in ["package.json", "package-lock.json"] {
        let copied = std::fs::copy(from.join(name), to.join(name));
        copied.map_err(|err| format!("cannot copy `{name}` to `{}`: {err}", to.display()))?;
    }
    let quiet = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"];
    run_command(Command::new("npm").args(quiet).current_dir(&to))
}

/// Installs Python packages, prebuilt and without what they would bring along, into [`TOOLS`].
fn provide(wheels: &[&str]) -> Result<(), Failure> {
    let tools = repo::root()?.join(TOOLS);
    run_command(Command::new("python3").args(["-m", "venv"]).arg(&tools))?;
    let mut install = Command::new(tools.join("bin/pip"));
    install.args(["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]);
    run_command(install.args(wheels))
}

fn apt_get(arguments: &[String]) -> Result<(), Failure> {
    // Nobody is there to answer questions.
    run_command(Command::new(APT_GET).args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
}

fn run_command(command: &mut Command) -> Result<(), Failure> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let call = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    println!("$ {call}");
    let status = command.status().map_err(|err| format!("cannot start `{call}`: {err}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{call}` failed ({status})")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_installed_by_one_command_and_without_questions() {
        let absent = testing::absent(REQUIREMENTS, |program, _| program != "nginx");
        let install = install_command(&absent);
        assert_eq!(install, ["install", "--yes", "--no-install-recommends", "nginx"]);
    }

    #[test]
    fn every_requirement_names_its_packages() {
        for requirement in ALL.into_iter().flatten() {
            assert!(!requirement.packages.is_empty());
        }
    }
}
