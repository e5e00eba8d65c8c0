//! `cargo xtask mutants`: breaks `domain` and `ledger` in every place where a word can be broken, one at a time, and runs their
//! tests each time. What no test finds is listed in `xtask/mutants.txt`, with the reason why that is good enough.
//!
//! A whole run takes hours: `--shard K/N` runs a part, a file's name only the mutants of that file.

use crate::{Failure, repo};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

const VERSION: &str = "27.1.0";
/// The mutants that no test finds, with their reasons.
const LIST: &str = "xtask/mutants.txt";
/// Below where the tool writes; git ignores it.
const OUTPUT: &str = "target/mutants-found";
/// Fewer cases for each property: what a mutant breaks shows in the first ones, or in the tables.
const PROPERTY_CASES: &str = "64";
/// At least so many of a hundred mutants must be found by a test.
const LEAST_PERCENT: usize = 90;
/// The tool's exit codes for a run that went to its end: all found, some not found, some ran out of time.
const WENT_TO_THE_END: &[i32] = &[0, 2, 3];

/// Names of mutants: the file and what was changed in it, without the line, which moves.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    caught: Vec<String>,
    missed: Vec<String>,
}

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let root = repo::root()?;
    let options = options(arguments)?;
    let listed = listed(&repo::read(&root.join(LIST))?)?;
    let tools = root.join(".cache/tools/bin");
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap_or_default());
    let there = Command::new("cargo").args(["mutants", "--version"]).env("PATH", &path).output();
    if !there.is_ok_and(|output| output.status.success()) {
        return Err(format!(
            "`cargo mutants` is not there; `cargo install cargo-mutants --locked --version {VERSION} --root .cache/tools` gets it"
        ));
    }
    let mut call = Command::new("cargo");
    call.args(["mutants", "--no-shuffle", "--colors", "never", "--output", OUTPUT]);
    call.args(["--package", "holdpoint-domain", "--package", "holdpoint-ledger"]).args(&options);
    call.current_dir(&root).env("PATH", &path).env("PROPTEST_CASES", PROPERTY_CASES);
    let status = call.status().map_err(|err| format!("cannot start `cargo mutants`: {err}"))?;
    if !status.code().is_some_and(|code| WENT_TO_THE_END.contains(&code)) {
        return Err(format!("`cargo mutants` did not run to its end ({status})"));
    }
    judge(&outcome(&root.join(OUTPUT).join("mutants.out"))?, &listed)
}

fn options(arguments: &[String]) -> Result<Vec<String>, Failure> {
    let mut options = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--shard" => {
                let shard = rest.next().ok_or("expected `--shard K/N`")?;
                options.extend(["--shard".to_owned(), shard.clone()]);
            }
            file if file.ends_with(".rs") => options.extend(["--file".to_owned(), file.to_owned()]),
            other => return Err(format!("expected `--shard K/N` or a Rust file, got `{other}`")),
        }
    }
    Ok(options)
}

/// Lines `name | reason`; `#` begins a comment.
fn listed(text: &str) -> Result<BTreeMap<String, String>, Failure> {
    let mut listed = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, reason) = line.rsplit_once(" | ").unwrap_or((line, ""));
        if reason.trim().is_empty() {
            return Err(format!("{LIST}:{number}: expected `mutant | reason`, got no reason"));
        }
        listed.insert(name.trim().to_owned(), reason.trim().to_owned());
    }
    Ok(listed)
}

/// What the tool wrote. A mutant that runs for ever was found: the tests did not pass.
fn outcome(folder: &Path) -> Result<Outcome, Failure> {
    let names = |file: &str| -> Result<Vec<String>, Failure> {
        Ok(repo::read(&folder.join(file))?.lines().map(without_place).collect())
    };
    let mut caught = names("caught.txt")?;
    caught.extend(names("timeout.txt")?);
    Ok(Outcome { caught, missed: names("missed.txt")? })
}

/// `file.rs:12:5: what` without the numbers.
fn without_place(line: &str) -> String {
    let Some((place, what)) = line.split_once(": ") else { return line.to_owned() };
    let file = place.split(':').next().unwrap_or(place);
    format!("{file}: {what}")
}

fn judge(outcome: &Outcome, listed: &BTreeMap<String, String>) -> Result<(), Failure> {
    let (caught, missed) = (outcome.caught.len(), outcome.missed.len());
    let all = caught.saturating_add(missed);
    let percent = caught.saturating_mul(100).checked_div(all).unwrap_or(100);
    println!("mutants: {caught} of {all} were found by a test ({percent} %)");
    let missed: BTreeSet<&String> = outcome.missed.iter().collect();
    let mut faults = Vec::new();
    for name in &missed {
        match listed.get(*name) {
            Some(reason) => println!("known: {name} ({reason})"),
            None => faults.push(format!("no test finds: {name}")),
        }
    }
    let caught: BTreeSet<&String> = outcome.caught.iter().collect();
    let found = listed.keys().filter(|name| caught.contains(name) && !missed.contains(name));
    faults.extend(found.map(|name| format!("found now, take it off {LIST}: {name}")));
    if percent < LEAST_PERCENT {
        faults.push(format!("expected at least {LEAST_PERCENT} % to be found"));
    }
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn each_survivor_has_a_reason() {
        let text = "# why\n\na.rs: replace < with <= in f | the same value either way\n";
        assert_eq!(listed(text).unwrap().len(), 1);
        for bad in ["a.rs: replace < with <= in f\n", "a.rs: replace < with <= in f | \n"] {
            assert!(listed(bad).is_err(), "{bad}");
        }
        let root = repo::root().unwrap();
        assert!(!listed(&repo::read(&root.join(LIST)).unwrap()).unwrap().is_empty());
    }

    #[test]
    fn a_mutant_is_known_by_what_it_changes() {
        assert_eq!(without_place("a.rs:12:5: delete ! in f"), "a.rs: delete ! in f");
    }

    #[test]
    fn only_listed_survivors_are_let_through_and_no_others_are_listed() {
        let listed = listed("a: known | equal\n").unwrap();
        let caught = names(&["b"; 20]);
        let with = |missed: &[&str], more: &[&str]| {
            let caught = caught.iter().cloned().chain(names(more)).collect();
            judge(&Outcome { caught, missed: names(missed) }, &listed)
        };
        assert_eq!(with(&["a: known"], &[]), Ok(()));
        assert_eq!(with(&[], &[]), Ok(()));
        assert!(with(&["a: other"], &[]).is_err());
        assert!(with(&[], &["a: known"]).is_err());
        assert_eq!(with(&["a: known"], &["a: known"]), Ok(()));
        let many = vec!["a: known"; 5];
        assert!(with(&many, &[]).is_err(), "more than one in ten");
    }
}
