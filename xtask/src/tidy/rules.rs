//! The rules, as data.

use super::source::{first_mentioned, is_test_file, shipped_lines};
use super::{Finding, manifests, steps};
use crate::repo::File;

/// Past this, a file says in its head why it is one file.
const LONG_FILE_LINES: usize = 600;
/// Past this, a file is two files.
const LONGEST_FILE_LINES: usize = 1_000;
/// The map of the code is read in one sitting.
const LONGEST_ARCHITECTURE_LINES: usize = 200;

/// The folder that spells the forbidden words out.
const SPELLS_THEM: &str = "xtask/src/tidy/";
/// Where clocks and chance are read; below `fuzz/` it is the chance that ECDSA needs to sign.
const READS_THE_WORLD: &[&str] = &["crates/adapters/", "fuzz/", "xtask/"];
/// Where programs are started and files are written.
const CHANGES_THE_WORLD: &[&str] =
    &["crates/adapters/", "crates/server/src/demo", "crates/server/src/cli", "xtask/"];

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// Printed, and no more.
    Warn,
    /// Fails the run.
    Deny,
}

pub(super) struct Rule {
    pub(super) name: &'static str,
    pub(super) level: Level,
    pub(super) advice: &'static str,
    how: How,
}

enum How {
    /// No line of the files that `applies` picks, comments and tests included, has one of the words.
    AnyLine { words: &'static [&'static str], applies: fn(&str) -> bool },
    /// The same, in Rust code that ships: neither comments nor tests.
    ShippedLine { words: &'static [&'static str], applies: fn(&str) -> bool },
    /// Something that a word list cannot say.
    Files(fn(&[File]) -> Vec<Finding>),
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "file-length",
        level: Level::Deny,
        advice: "split it along its parts",
        how: How::Files(|files| longer_than(files, LONGEST_FILE_LINES)),
    },
    Rule {
        name: "file-long",
        level: Level::Warn,
        advice: "say in its `//!` why it is one file, or split it",
        how: How::Files(|files| longer_than(files, LONG_FILE_LINES)),
    },
    Rule {
        name: "unfinished",
        level: Level::Deny,
        advice: "finish it, or open an issue and leave the words out; a test that does not run proves nothing",
        how: How::AnyLine {
            words: &["todo!(", "unimplemented!(", "TODO", "FIXME", "#[ignore"],
            applies: |path| !path.starts_with(SPELLS_THEM),
        },
    },
    Rule {
        name: "clock-and-chance",
        level: Level::Deny,
        advice: "take it as an argument: only `crates/adapters` reads clocks and draws randomness",
        how: How::ShippedLine {
            words: &[
                "SystemTime::now",
                "Instant::now",
                "Utc::now",
                "Local::now",
                "Timestamp::now",
                "Zoned::now",
                "OffsetDateTime::now_utc",
                "getrandom",
                "rand::",
            ],
            applies: |path| !starts_with_any(path, READS_THE_WORLD),
        },
    },
    Rule {
        name: "effects",
        level: Level::Deny,
        advice: "put it behind a port in `crates/adapters`; the demo and the command line may do it themselves",
        how: How::ShippedLine {
            words: &["Command::new", "fs::write", "File::create", "File::create_new"],
            applies: |path| !starts_with_any(path, CHANGES_THE_WORLD),
        },
    },
    Rule {
        name: "steps",
        level: Level::Deny,
        advice: "make it in `Step::take` (docs/steps.md), in a function that asks for `&Taken`; a new step needs a row and a crash",
        how: How::Files(steps::check),
    },
    Rule {
        name: "cfg-feature",
        level: Level::Deny,
        advice: "there is one build: choose at run time, from the configuration",
        how: How::ShippedLine {
            words: &["cfg(feature", "cfg_attr(feature", "cfg(not(feature", "cfg!(feature"],
            applies: |path| !path.starts_with(SPELLS_THEM),
        },
    },
    Rule {
        name: "private-place",
        level: Level::Deny,
        advice: "name nothing that only one machine has",
        // In two halves, so that this line does not break the rule itself.
        how: How::AnyLine { words: &[concat!("/wo", "rk/"), concat!("../sha", "red")], applies: |_| true },
    },
    Rule {
        name: "crate-docs",
        level: Level::Deny,
        advice: "begin with `//!`: what the crate does, what it never does, where to start",
        how: How::Files(crate_docs),
    },
    Rule {
        name: "architecture-length",
        level: Level::Deny,
        advice: "shorten it, or move a part to `docs/`",
        how: How::Files(|files| {
            let page: Vec<&File> = files.iter().filter(|file| file.path == "ARCHITECTURE.md").collect();
            page.into_iter().filter_map(|file| too_long(file, LONGEST_ARCHITECTURE_LINES)).collect()
        }),
    },
    Rule {
        name: "crate-direction",
        level: Level::Deny,
        advice: "server → adapters → app → {policy, domain, ledger}, policy → domain: move the code, not the wall",
        how: How::Files(manifests::direction),
    },
    Rule {
        name: "pure-crates",
        level: Level::Deny,
        advice: "domain, ledger, policy and app do no I/O: declare a port in `app`, implement it in `adapters`",
        how: How::Files(manifests::purity),
    },
    Rule {
        name: "one-policy-crate",
        level: Level::Deny,
        advice: "only `crates/policy` knows the policy engines",
        how: How::Files(manifests::one_policy_crate),
    },
];

impl Rule {
    pub(super) fn check(&self, files: &[File]) -> Vec<Finding> {
        match &self.how {
            How::Files(check) => check(files),
            How::AnyLine { words, applies } => {
                let picked = files.iter().filter(|file| applies(&file.path));
                picked.flat_map(|file| mentioned(file, file.numbered_lines(), words)).collect()
            }
            How::ShippedLine { words, applies } => {
                let ships = |file: &&File| file.is_rust() && !is_test_file(&file.path) && applies(&file.path);
                files
                    .iter()
                    .filter(ships)
                    .flat_map(|file| mentioned(file, shipped_lines(file), words))
                    .collect()
            }
        }
    }
}

fn mentioned<'a>(
    file: &File,
    lines: impl IntoIterator<Item = (usize, &'a str)>,
    words: &[&str],
) -> Vec<Finding> {
    let found = lines.into_iter().filter_map(|(number, line)| {
        let word = first_mentioned(line, words)?;
        Some(Finding::new(&file.path, number, format!("`{word}`")))
    });
    found.collect()
}

fn longer_than(files: &[File], limit: usize) -> Vec<Finding> {
    files.iter().filter(|file| file.is_rust()).filter_map(|file| too_long(file, limit)).collect()
}

fn too_long(file: &File, limit: usize) -> Option<Finding> {
    let count = file.text.lines().count();
    let found = || Finding::new(&file.path, count, format!("{count} lines, at most {limit}"));
    (count > limit).then(found)
}

fn crate_docs(files: &[File]) -> Vec<Finding> {
    let is_root = |file: &&File| {
        let below = file.path.strip_prefix("crates/").and_then(|rest| rest.split_once('/'));
        matches!(below, Some((_, "src/lib.rs" | "src/main.rs"))) || file.path == "xtask/src/main.rs"
    };
    let bare = files.iter().filter(is_root).filter(|file| !file.text.starts_with("//!"));
    bare.map(|file| Finding::new(&file.path, 1, "no `//!` at the top")).collect()
}

fn starts_with_any(path: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| path.starts_with(prefix))
}

#[cfg(test)]
mod tests;
