//! The snapshot: a text file with one advisory a line.
//!
//! ```text
//! snapshot: 2026-08-21
//! source: where it is from
//! looked-up: every crate that was looked up, with or without a find
//! id | crate | date | kind | patched ranges, `;` between | ranges never affected
//! ```

use super::Locked;
use crate::Failure;
use semver::{Version, VersionReq};
use std::collections::BTreeSet;
use std::fmt::{self, Display};

const HEAD: &str = "\
# Security advisories about crates that are in Cargo.lock or may come to be: facts, one advisory a line.
# Read by `cargo xtask advisories`; renewed by `cargo xtask advisories --refresh CHECKOUT`, CHECKOUT being a git
# checkout of the RustSec Advisory Database (CC0-1.0; what it took over from GitHub's database, CC-BY-4.0).
# Columns: id | crate | date | kind | patched | never affected
";
/// Width of the lines of `looked-up`.
const WIDTH: usize = 110;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) date: String,
    pub(super) source: String,
    pub(super) looked_up: BTreeSet<String>,
    pub(super) advisories: Vec<Advisory>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Advisory {
    pub(super) id: String,
    pub(super) package: String,
    pub(super) date: String,
    /// `vulnerability`, or what the database calls informational: `unsound`, `unmaintained`, `notice`.
    pub(super) kind: String,
    pub(super) patched: Ranges,
    pub(super) unaffected: Ranges,
}

impl Advisory {
    /// True unless the version is in a range that the advisory calls safe. A pre-release is in a range only if the
    /// range names it, so one may be reported too often, never too seldom.
    pub(super) fn affects(&self, package: &str, version: &Version) -> bool {
        self.package == package && !self.patched.hold(version) && !self.unaffected.hold(version)
    }

    fn parse(line: &str) -> Result<Self, Failure> {
        let columns: Vec<&str> = line.split(" | ").collect();
        let [id, package, date, kind, patched, unaffected] = columns.as_slice() else {
            return Err(format!("expected six columns, got {}: `{line}`", columns.len()));
        };
        Ok(Self {
            id: (*id).to_owned(),
            package: (*package).to_owned(),
            date: (*date).to_owned(),
            kind: (*kind).to_owned(),
            patched: Ranges::parse(patched.split(" ; "))?,
            unaffected: Ranges::parse(unaffected.split(" ; "))?,
        })
    }
}

/// Version ranges, any of which may hold. Shown as `-` when there are none.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<VersionReq>);

impl Ranges {
    pub(super) fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, Failure> {
        let ranges = texts.into_iter().map(str::trim).filter(|text| !matches!(*text, "" | "-"));
        let parse =
            |text: &str| text.parse().map_err(|err| format!("`{text}` is not a version range: {err}"));
        ranges.map(parse).collect::<Result<_, _>>().map(Self)
    }

    fn hold(&self, version: &Version) -> bool {
        self.0.iter().any(|range| range.matches(version))
    }
}

impl Display for Ranges {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranges: Vec<String> = self.0.iter().map(VersionReq::to_string).collect();
        formatter.write_str(if ranges.is_empty() { "-".to_owned() } else { ranges.join(" ; ") }.as_str())
    }
}

impl Snapshot {
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        let mut snapshot = Self::default();
        for (number, line) in (1_usize..).zip(text.lines()) {
            match line.split_once(": ") {
                Some(("snapshot", date)) => snapshot.date = date.to_owned(),
                Some(("source", source)) => snapshot.source = source.to_owned(),
                Some(("looked-up", names)) => snapshot.looked_up.extend(names.split(' ').map(str::to_owned)),
                _ if line.is_empty() || line.starts_with('#') => {}
                _ => snapshot
                    .advisories
                    .push(Advisory::parse(line).map_err(|err| format!("advisories.txt:{number}: {err}"))?),
            }
        }
        if snapshot.date.is_empty() || snapshot.source.is_empty() {
            return Err("advisories.txt: expected its date and source, got none".to_owned());
        }
        Ok(snapshot)
    }

    pub(super) fn to_text(&self) -> String {
        let mut text = format!("{HEAD}\nsnapshot: {}\nsource: {}\n\n", self.date, self.source);
        let mut line = String::new();
        for name in &self.looked_up {
            if line.len().saturating_add(name.len()) > WIDTH {
                text.push_str(&format!("looked-up:{line}\n"));
                line.clear();
            }
            line.push_str(&format!(" {name}"));
        }
        text.push_str(&format!("looked-up:{line}\n\n"));
        for Advisory { id, package, date, kind, patched, unaffected } in &self.advisories {
            text.push_str(&format!("{id} | {package} | {date} | {kind} | {patched} | {unaffected}\n"));
        }
        text
    }

    /// Names of locked crates that nobody looked up when the snapshot was taken.
    pub(super) fn never_looked_up(&self, locked: &[Locked]) -> Vec<String> {
        let unseen =
            locked.iter().map(|package| &package.name).filter(|name| !self.looked_up.contains(*name));
        unseen.cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advisory(patched: &str, unaffected: &str) -> Advisory {
        Advisory::parse(&format!(
            "RUSTSEC-2026-0001 | alpha | 2026-01-01 | vulnerability | {patched} | {unaffected}"
        ))
        .unwrap()
    }

    #[test]
    fn ranges_decide_what_is_affected() {
        let advisory = advisory("< 0.10.0, >= 0.9.18 ; ^0.11.2 ; >= 1.2.0", "< 0.5.0");
        for (version, affected) in [
            ("0.4.9", false),
            ("0.5.0", true),
            ("0.9.18", false),
            ("0.10.0", true),
            ("0.11.1", true),
            ("0.11.2", false),
            ("1.2.0-rc.1", true),
            ("1.2.0", false),
        ] {
            assert_eq!(advisory.affects("alpha", &version.parse().unwrap()), affected, "{version}");
        }
        assert!(!advisory.affects("beta", &"0.5.0".parse().unwrap()));
    }

    #[test]
    fn without_a_patched_range_every_version_is_affected() {
        assert!(advisory("-", "-").affects("alpha", &"9.9.9".parse().unwrap()));
    }

    #[test]
    fn what_is_written_reads_back() {
        let names = (0..40).map(|number| format!("crate-number-{number}"));
        let snapshot = Snapshot {
            date: "2026-01-02".to_owned(),
            source: "a test".to_owned(),
            looked_up: names.collect(),
            advisories: vec![advisory(">= 1.0.0 ; =0.9.1", "-"), advisory("-", "< 0.1.0")],
        };
        assert_eq!(Snapshot::parse(&snapshot.to_text()), Ok(snapshot));
    }

    #[test]
    fn a_file_without_a_date_or_with_a_torn_line_is_refused() {
        assert!(Snapshot::parse("").is_err());
        let torn = Snapshot::parse("snapshot: a\nsource: b\nRUSTSEC-2026-0001 | alpha\n");
        assert!(torn.unwrap_err().starts_with("advisories.txt:3: expected six columns, got 2"));
    }
}
