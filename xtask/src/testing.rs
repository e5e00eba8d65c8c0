//! `cargo xtask test`: the one command that says whether the tree is good.
//!
//! First what the tests need from the machine, named exactly where it is missing; then a build (integration tests start
//! the `holdpoint` binary); then every test, the documentation's examples, and tidy. The runners print for themselves:
//! nothing is captured, so that their own closing lines are what a reader sees.

use crate::{Failure, repo, tidy};
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

/// A program that some test or build step starts. Later ones (a database server, a metrics server) are added as a row.
struct Requirement {
    what: &'static str,
    needed_for: &'static str,
    program: &'static str,
    /// Environment variable that names another program instead.
    variable: &'static str,
    how: &'static str,
}

const REQUIREMENTS: &[Requirement] = &[Requirement {
    what: "a C compiler",
    needed_for: "building the crypto library and SQLite, which are C",
    program: "cc",
    variable: "CC",
    how: "Debian, Ubuntu: `apt-get install gcc libc6-dev`; Fedora: `dnf install gcc`; macOS: `xcode-select --install`",
}];

pub(crate) fn run(filters: &[String]) -> Result<(), Failure> {
    let root = repo::root()?;
    let missing = missing_from(REQUIREMENTS, starts);
    if !missing.is_empty() {
        return Err(format!("missing on this machine:\n{}", missing.join("\n")));
    }

    // Tests and binaries in one build, with one set of features: nothing is compiled twice.
    cargo(&root, &["build", "--workspace", "--bins", "--tests"], &[])?;
    if filters.is_empty() {
        cargo(&root, &["test", "--doc", "--workspace"], &[])?;
    }
    if cargo_has(&root, "nextest") {
        cargo(&root, &["nextest", "run", "--workspace"], filters)?;
    } else {
        println!("cargo-nextest is not installed: using `cargo test`");
        cargo(&root, &["test", "--workspace", "--bins", "--lib", "--tests", "--"], filters)?;
    }
    if !filters.is_empty() {
        println!("test: only what matches the filters was run; documentation examples and tidy were not");
        return Ok(());
    }
    tidy::run(&[])
}

/// A line for each requirement whose program does not start.
fn missing_from(requirements: &[Requirement], starts: impl Fn(&OsString) -> bool) -> Vec<String> {
    let absent = requirements.iter().filter_map(|requirement| {
        let program = std::env::var_os(requirement.variable).unwrap_or_else(|| requirement.program.into());
        let line = || {
            let Requirement { what, needed_for, how, variable, .. } = requirement;
            let program = program.display();
            format!("  {what} (`{program}`), for {needed_for}.\n    {how}; or name one in `{variable}`")
        };
        (!starts(&program)).then(line)
    });
    absent.collect()
}

fn starts(program: &OsString) -> bool {
    let quiet = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    quiet.is_ok_and(|status| status.success())
}

fn cargo_has(root: &Path, subcommand: &str) -> bool {
    repo::output(root, "cargo", &[subcommand, "--version"]).is_ok()
}

fn cargo(root: &Path, arguments: &[&str], filters: &[String]) -> Result<(), Failure> {
    let call = format!("cargo {} {}", arguments.join(" "), filters.join(" "));
    let call = call.trim_end();
    println!("$ {call}");
    let status = Command::new("cargo")
        .args(arguments)
        .args(filters)
        .current_dir(root)
        .status()
        .map_err(|err| format!("cannot start `cargo`: {err}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{call}` failed ({status})")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: Requirement = Requirement {
        what: "a sample server",
        needed_for: "the sample tests",
        program: "sample-server",
        variable: "HOLDPOINT_XTASK_NO_SUCH_VARIABLE",
        how: "install `sample-server`",
    };

    #[test]
    fn what_is_missing_is_named_with_the_way_to_get_it() {
        let lines = missing_from(&[SAMPLE], |_| false);
        assert_eq!(lines.len(), 1);
        for word in ["a sample server", "`sample-server`", "the sample tests", "install"] {
            assert!(lines[0].contains(word), "`{word}` is not in: {}", lines[0]);
        }
    }

    #[test]
    fn what_is_there_is_not_named() {
        assert!(missing_from(&[SAMPLE], |program| program == "sample-server").is_empty());
    }
}
