//! Reads a git checkout of the RustSec Advisory Database: `crates/<crate>/<id>.md`, facts in a TOML block at the top.

use super::snapshot::{Advisory, Ranges, Snapshot};
use crate::{Failure, repo};
use std::collections::BTreeSet;
use std::path::Path;

/// Everything that the database has about the named crates. Withdrawn advisories are left out.
pub(super) fn read(checkout: &Path, names: impl Iterator<Item = String>) -> Result<Snapshot, Failure> {
    let folder = checkout.join("crates");
    if !folder.is_dir() {
        return Err(format!("expected a checkout of the advisory database, got `{}`", checkout.display()));
    }
    let date = repo::output(checkout, "git", &["log", "-1", "--format=%cs"])?;
    let commit = repo::output(checkout, "git", &["rev-parse", "HEAD"])?;
    let looked_up: BTreeSet<String> = names.collect();
    let mut advisories = Vec::new();
    for name in &looked_up {
        for page in pages(&folder.join(name))? {
            advisories.extend(parse_page(&page).map_err(|err| format!("an advisory about `{name}`: {err}"))?);
        }
    }
    advisories.sort_by(|a, b| (&a.package, &a.id).cmp(&(&b.package, &b.id)));
    let source = format!("RustSec Advisory Database, commit {}", commit.trim());
    Ok(Snapshot { date: date.trim().to_owned(), source, looked_up, advisories })
}

/// Most crates have no folder, which is good news and no fault.
fn pages(folder: &Path) -> Result<Vec<String>, Failure> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let listing =
        std::fs::read_dir(folder).map_err(|err| format!("cannot list `{}`: {err}", folder.display()))?;
    listing
        .map(|entry| {
            let entry = entry.map_err(|err| format!("cannot list `{}`: {err}", folder.display()))?;
            repo::read(&entry.path())
        })
        .collect()
}

fn parse_page(page: &str) -> Result<Option<Advisory>, Failure> {
    let facts = Facts::of(page);
    if facts.first("advisory.withdrawn").is_some() {
        return Ok(None);
    }
    let required =
        |key| facts.first(key).map(str::to_owned).ok_or_else(|| format!("expected `{key}`, got none"));
    Ok(Some(Advisory {
        id: required("advisory.id")?,
        package: required("advisory.package")?,
        date: required("advisory.date")?,
        kind: facts.first("advisory.informational").unwrap_or("vulnerability").to_owned(),
        patched: Ranges::parse(facts.all("versions.patched"))?,
        unaffected: Ranges::parse(facts.all("versions.unaffected"))?,
    }))
}

/// The strings of a TOML block by `section.key`: as much TOML as these pages use, arrays over several lines included.
struct Facts<'a>(Vec<(String, Vec<&'a str>)>);

impl<'a> Facts<'a> {
    fn of(page: &'a str) -> Self {
        let block = page.split_once("```toml").map_or("", |(_, rest)| rest);
        let block = block.split_once("```").map_or(block, |(block, _)| block);
        let mut facts: Vec<(String, Vec<&str>)> = Vec::new();
        let mut section = "";
        let mut array_is_open = false;
        for line in block.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            if array_is_open {
                if let Some((_, values)) = facts.last_mut() {
                    values.extend(strings(line));
                }
                array_is_open = !line.contains(']');
            } else if let Some(header) = line.strip_prefix('[') {
                section = header.trim_end_matches(']');
            } else if let Some((key, value)) = line.split_once('=') {
                facts.push((format!("{section}.{}", key.trim()), strings(value)));
                array_is_open = value.trim_start().starts_with('[') && !value.contains(']');
            }
        }
        Self(facts)
    }

    fn all(&self, key: &str) -> Vec<&'a str> {
        self.0
            .iter()
            .filter(|(known, _)| known == key)
            .flat_map(|(_, values)| values.iter().copied())
            .collect()
    }

    fn first(&self, key: &str) -> Option<&'a str> {
        self.all(key).first().copied()
    }
}

/// Every quoted string of a line.
fn strings(line: &str) -> Vec<&str> {
    line.split('"').skip(1).step_by(2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"```toml
[advisory]
id = "RUSTSEC-2026-0001"
package = "alpha"
date = "2026-01-01"
informational = "unsound"
references = [
    "somewhere",
]

[affected.functions]
"alpha::patched" = ["< 9.0.0"]

[versions]
# a remark = "x"
patched = [
  ">= 1.2.3, < 2.0.0",
  ">= 2.0.1",
]
unaffected = ["< 1.0.0"]
```

# Title
patched = ["not this one"]
"#;

    #[test]
    fn facts_are_read_and_prose_is_not() {
        let line = "RUSTSEC-2026-0001 | alpha | 2026-01-01 | unsound | >=1.2.3, <2.0.0 ; >=2.0.1 | <1.0.0";
        let Advisory { id, package, date, kind, patched, unaffected } = parse_page(PAGE).unwrap().unwrap();
        assert_eq!(format!("{id} | {package} | {date} | {kind} | {patched} | {unaffected}"), line);
    }

    #[test]
    fn a_withdrawn_advisory_is_left_out() {
        let page = PAGE.replace("date =", "withdrawn = \"2026-02-01\"\ndate =");
        assert_eq!(parse_page(&page), Ok(None));
    }

    #[test]
    fn a_page_without_its_facts_is_refused() {
        assert!(parse_page("# Title\n").is_err());
    }
}
