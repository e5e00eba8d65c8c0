//! `cargo xtask advisories`: known vulnerabilities in Cargo.lock, as of a dated snapshot.
//!
//! `cargo deny check advisories` is the real check, and needs a network. This one needs none: it compares the lock file
//! with `xtask/advisories.txt`, says how old that is, and names the crates that the snapshot never looked up. What it
//! never does: claim that a crate is safe.

mod database;
mod snapshot;

use crate::{Failure, repo};
use semver::Version;
use snapshot::{Advisory, Snapshot};
use std::collections::BTreeMap;
use std::path::Path;

const SNAPSHOT: &str = "xtask/advisories.txt";

/// A crate that Cargo.lock takes from a registry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Locked {
    name: String,
    version: Version,
}

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let root = repo::root()?;
    let locked = parse_lock(&repo::read(&root.join("Cargo.lock"))?)?;
    match arguments {
        [] => check(&root, &locked),
        [flag, checkout] if flag == "--refresh" => refresh(&root, &locked, Path::new(checkout)),
        other => Err(format!("expected nothing or `--refresh CHECKOUT`, got `{}`", other.join(" "))),
    }
}

fn check(root: &Path, locked: &[Locked]) -> Result<(), Failure> {
    let path = root.join(SNAPSHOT);
    if !path.exists() {
        println!(
            "advisories: NOT CHECKED: there is no {SNAPSHOT}; with a network, `cargo deny check advisories`"
        );
        return Ok(());
    }
    let snapshot = Snapshot::parse(&repo::read(&path)?)?;
    let mut accepted = parse_accepted(&repo::read(&root.join("deny.toml"))?)?;
    println!("advisories: snapshot of {}, {}", snapshot.date, snapshot.source);
    println!(
        "advisories: what was published later is not known here; with a network, `cargo deny check advisories`"
    );

    let mut open: usize = 0;
    for (package, advisory) in hits(&snapshot, locked) {
        let Advisory { id, kind, date, patched, .. } = advisory;
        let Locked { name, version } = package;
        if let Some(reason) = accepted.remove(id) {
            println!("  {id} {name} {version}: {kind}, accepted: {reason}");
        } else {
            open = open.saturating_add(1);
            println!("  {id} {name} {version}: {kind}, {date}, patched in: {patched}");
        }
    }
    for id in accepted.keys() {
        println!("  {id} is accepted in deny.toml and found nowhere: take it out");
    }
    let unseen = snapshot.never_looked_up(locked);
    if !unseen.is_empty() {
        println!("advisories: NOT CHECKED: {} crates that the snapshot never looked up", unseen.len());
    }
    let checked = locked.iter().filter(|package| !unseen.contains(&package.name)).count();
    println!("advisories: {checked} of {} locked crates compared, {open} open", locked.len());
    if open == 0 {
        Ok(())
    } else {
        Err(format!(
            "{open} open: update the crate, or accept the advisory with its reason in `[advisories].ignore` of deny.toml"
        ))
    }
}

fn refresh(root: &Path, locked: &[Locked], checkout: &Path) -> Result<(), Failure> {
    let path = root.join(SNAPSHOT);
    let earlier = if path.exists() { Snapshot::parse(&repo::read(&path)?)? } else { Snapshot::default() };
    let fresh = database::read(checkout, earlier.looked_up.into_iter().chain(names_of(locked)))?;
    std::fs::write(&path, fresh.to_text()).map_err(|err| format!("cannot write `{SNAPSHOT}`: {err}"))?;
    println!("advisories: {SNAPSHOT} is of {} now, {} advisories", fresh.date, fresh.advisories.len());
    Ok(())
}

fn names_of(locked: &[Locked]) -> impl Iterator<Item = String> {
    locked.iter().map(|package| package.name.clone())
}

fn hits<'a>(snapshot: &'a Snapshot, locked: &'a [Locked]) -> Vec<(&'a Locked, &'a Advisory)> {
    let of_package = |package: &'a Locked| {
        let concerns = move |advisory: &&Advisory| advisory.affects(&package.name, &package.version);
        snapshot.advisories.iter().filter(concerns).map(move |advisory| (package, advisory))
    };
    locked.iter().flat_map(of_package).collect()
}

/// Cargo writes one `key = "value"` a line, and `source` last of the three.
fn parse_lock(text: &str) -> Result<Vec<Locked>, Failure> {
    let mut locked = Vec::new();
    let (mut name, mut version) = ("", "");
    for line in text.lines() {
        match line.split_once(" = ") {
            Some(("name", value)) => name = value.trim_matches('"'),
            Some(("version", value)) => version = value.trim_matches('"'),
            Some(("source", _)) => {
                let version = Version::parse(version)
                    .map_err(|err| format!("Cargo.lock: `{name}` has the version `{version}`: {err}"))?;
                locked.push(Locked { name: name.to_owned(), version });
            }
            Some(_) | None => {}
        }
    }
    if locked.is_empty() { Err("Cargo.lock: expected packages, got none".to_owned()) } else { Ok(locked) }
}

/// The exceptions of deny.toml, one a line: `{ id = "RUSTSEC-…", reason = "…" }`. One without a reason is refused.
fn parse_accepted(deny: &str) -> Result<BTreeMap<String, String>, Failure> {
    let mut accepted = BTreeMap::new();
    for line in deny.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        let Some(id) = value_of(line, "id = \"") else { continue };
        match value_of(line, "reason = \"") {
            Some(reason) if !reason.is_empty() => accepted.insert(id.to_owned(), reason.to_owned()),
            Some(_) | None => return Err(format!("deny.toml: `{id}` is accepted without a reason")),
        };
    }
    Ok(accepted)
}

fn value_of<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(key)?;
    rest.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "version = 4\n\n[[package]]\nname = \"holdpoint\"\nversion = \"0.1.0\"\n\n[[package]]\n\
                        name = \"alpha\"\nversion = \"1.2.3\"\nsource = \"registry+somewhere\"\nchecksum = \"00\"\n\
                        dependencies = [\n \"beta\",\n]\n\n[[package]]\nname = \"beta\"\nversion = \"0.4.0\"\n\
                        source = \"registry+somewhere\"\n";

    const TABLE: &str = "snapshot: 2026-01-02\nsource: a test\nlooked-up: alpha\n\
                         RUSTSEC-2026-0001 | alpha | 2026-01-01 | vulnerability | >= 1.2.4 | < 1.0.0\n\
                         RUSTSEC-2025-0002 | alpha | 2025-01-01 | unsound | >= 1.2.0 | -\n";

    #[test]
    fn the_lock_gives_what_comes_from_a_registry() {
        let names: Vec<String> = names_of(&parse_lock(LOCK).unwrap()).collect();
        assert_eq!(names, ["alpha", "beta"]);
    }

    #[test]
    fn a_locked_version_in_a_vulnerable_range_is_a_hit_and_a_crate_never_looked_up_is_named() {
        let (locked, snapshot) = (parse_lock(LOCK).unwrap(), Snapshot::parse(TABLE).unwrap());
        let found: Vec<&str> =
            hits(&snapshot, &locked).iter().map(|(_, advisory)| advisory.id.as_str()).collect();
        assert_eq!(found, ["RUSTSEC-2026-0001"]);
        assert_eq!(snapshot.never_looked_up(&locked), ["beta"]);
    }

    #[test]
    fn an_exception_needs_a_reason() {
        let good = "ignore = [\n    { id = \"RUSTSEC-2026-0001\", reason = \"not reachable\" },\n]\n";
        assert_eq!(parse_accepted(good).unwrap()["RUSTSEC-2026-0001"], "not reachable");
        assert!(parse_accepted("{ id = \"RUSTSEC-2026-0001\" },").is_err());
        assert!(parse_accepted("# { id = \"RUSTSEC-…\", reason = \"…\" }\nignore = []").unwrap().is_empty());
    }
}
