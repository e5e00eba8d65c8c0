//! `cargo xtask proven`: which invariant and which threat has a test that carries its number.
//!
//! A test that proves invariant 3 is named `inv03_…`, one that blocks threat 12 `t12_…`. This command only tells.

use crate::repo::File;
use crate::{Failure, expect_no_arguments, repo};
use std::collections::BTreeMap;

struct Family {
    title: &'static str,
    prefix: &'static str,
    count: usize,
}

const FAMILIES: &[Family] = &[
    Family { title: "invariants", prefix: "inv", count: 16 },
    Family { title: "threats", prefix: "t", count: 40 },
];

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    expect_no_arguments(arguments)?;
    let files = repo::text_files(&repo::root()?)?;
    for family in FAMILIES {
        print!("{}", report(family, &files));
    }
    Ok(())
}

fn report(family: &Family, files: &[File]) -> String {
    let found = tests_by_id(family, files);
    let ids: Vec<String> = (1..=family.count).map(|number| format!("{}{number:02}", family.prefix)).collect();
    let without: Vec<&str> = ids.iter().filter(|id| !found.contains_key(*id)).map(String::as_str).collect();

    let mut text = format!("{}\n", family.title);
    for (id, tests) in &found {
        text.push_str(&format!("  {id}\n"));
        for test in tests {
            text.push_str(&format!("    {test}\n"));
        }
    }
    let missing = if without.is_empty() { "none".to_owned() } else { without.join(" ") };
    text.push_str(&format!("  without a test: {missing}\n"));
    text
}

fn tests_by_id(family: &Family, files: &[File]) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in files.iter().filter(|file| file.is_rust() && file.path.starts_with("crates/")) {
        for (number, line) in file.numbered_lines() {
            let Some(name) = function_name(line) else { continue };
            if let Some(id) = id_of(family, name) {
                found.entry(id).or_default().push(format!("{name} ({}:{number})", file.path));
            }
        }
    }
    found
}

fn function_name(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = line.strip_prefix("async ").unwrap_or(line);
    line.strip_prefix("fn ")?.split(['(', '<']).next()
}

/// `inv03` of `inv03_retry_is_refused`; nothing when the number is not one of the family's.
fn id_of(family: &Family, name: &str) -> Option<String> {
    let (digits, _) = name.strip_prefix(family.prefix)?.split_once('_')?;
    let number: usize = digits.parse().ok()?;
    let known = digits.len() == 2 && (1..=family.count).contains(&number);
    known.then(|| format!("{}{digits}", family.prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_grouped_by_the_number_in_their_name() {
        let family = Family { title: "invariants", prefix: "inv", count: 3 };
        let text = "fn inv01_first() {}\n    async fn inv01_second<T>() {}\nfn inv99_unknown() {}\nfn inv1_short() {}\n";
        let report = report(&family, &[File::new("crates/app/tests/a.rs", text)]);
        let expected = "invariants\n  inv01\n    inv01_first (crates/app/tests/a.rs:1)\n    \
                        inv01_second (crates/app/tests/a.rs:2)\n  without a test: inv02 inv03\n";
        assert_eq!(report, expected);
    }

    #[test]
    fn the_prefix_of_threats_does_not_take_other_words() {
        let family = Family { title: "threats", prefix: "t", count: 40 };
        assert_eq!(id_of(&family, "t07_replay_is_refused").as_deref(), Some("t07"));
        assert_eq!(id_of(&family, "tree_head_moves"), None);
        assert_eq!(id_of(&family, "t41_out_of_range"), None);
    }
}
