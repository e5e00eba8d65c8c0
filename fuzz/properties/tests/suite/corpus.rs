//! The kept inputs: each is replayed, and there are some for each property.

use std::{collections::BTreeSet, fs, path::PathBuf};

use holdpoint_properties::{TARGETS, check};

/// All inputs together: they are in every clone.
const MOST_BYTES: usize = 3_000_000;

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

/// The inputs of a property, with their names, in a fixed order.
fn inputs(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = folder("corpus").join(name);
    let files = fs::read_dir(&folder).unwrap_or_else(|err| panic!("{}: {err}", folder.display()));
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.display().to_string(), fs::read(&path).unwrap())).collect()
}

/// Replays one property; the name of the input stands in front of what it breaks.
fn replay(name: &str) {
    let inputs = inputs(name);
    assert!(inputs.len() >= 5, "`{name}` has {} inputs, at least 5 are needed", inputs.len());
    for (path, bytes) in inputs {
        println!("{path}");
        check(name, &bytes);
    }
}

#[test]
fn canonical_json_has_two_readers_that_agree() {
    replay("canonical");
}

#[test]
fn inv04_documents_read_back_from_their_canonical_form() {
    replay("documents");
}

#[test]
fn inv04_t01_two_plans_never_share_a_digest() {
    replay("plans");
}

#[test]
fn inv11_a_changed_proof_proves_nothing() {
    replay("proofs");
}

#[test]
fn inv11_a_changed_note_is_not_verified() {
    replay("notes");
}

#[test]
fn inv06_a_changed_permit_does_not_open() {
    replay("permits");
}

#[test]
fn t19_two_readers_of_tokens_agree() {
    replay("tokens");
}

#[test]
fn inv09_a_bundle_that_loads_never_allows_by_an_error() {
    replay("policies");
}

#[test]
fn inv13_no_edge_of_an_inventory_is_lost() {
    replay("inventories");
}

#[test]
fn t25_time_and_limits_hold_at_their_edges() {
    replay("limits");
}

#[test]
fn t11_two_readers_of_assertions_agree() {
    replay("assertion");
}

#[test]
fn t30_two_readers_of_bodies_agree() {
    replay("bodies");
}

/// A property that has no test here, or no fuzz target, would be looked for by nobody.
#[test]
fn each_property_is_replayed_and_fuzzed() {
    let replayed = include_str!("corpus.rs");
    let manifest = fs::read_to_string(folder("Cargo.toml")).unwrap();
    let mut folders: Vec<_> = fs::read_dir(folder("corpus"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    folders.sort();
    let mut names: Vec<_> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    names.sort();
    assert_eq!(folders, names);
    for name in names {
        assert!(replayed.contains(&format!("replay(\"{name}\")")), "no test replays `{name}`");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "no fuzz target `{name}`");
        let target = fs::read_to_string(folder("fuzz_targets").join(format!("{name}.rs"))).unwrap();
        assert!(
            target.contains(&format!("check(\"{name}\"")),
            "the fuzz target `{name}` checks something else"
        );
    }
}

#[test]
fn the_corpus_is_small() {
    let size: usize =
        TARGETS.iter().flat_map(|target| inputs(target.name)).map(|(_, bytes)| bytes.len()).sum();
    assert!(size <= MOST_BYTES, "{size} bytes in all, at most {MOST_BYTES}");
}

/// The packages of a lock file, with their versions.
fn locked(text: &str) -> BTreeSet<(&str, &str)> {
    let packages = text.split("[[package]]").skip(1);
    packages.map(|package| (quoted(package, "name = "), quoted(package, "version = "))).collect()
}

fn quoted<'a>(package: &'a str, key: &str) -> &'a str {
    let line = package.lines().find_map(|line| line.strip_prefix(key));
    line.unwrap_or_else(|| panic!("no `{key}` in {package}")).trim_matches('"')
}

/// What is fuzzed is what is tested, and the quick build of the targets takes libraries that the tests have built.
#[test]
fn the_fuzz_targets_use_the_libraries_of_the_workspace() {
    let ours = fs::read_to_string(folder("../Cargo.lock")).unwrap();
    let theirs = fs::read_to_string(folder("Cargo.lock")).unwrap();
    let ours = locked(&ours);
    let others: Vec<_> = locked(&theirs).difference(&ours).map(|(name, _)| *name).collect();
    let hint = "copy `Cargo.lock` over `fuzz/Cargo.lock`, then `cargo update --workspace --manifest-path fuzz/Cargo.toml`";
    assert_eq!(others, ["arbitrary", "holdpoint-fuzz", "libfuzzer-sys"], "{hint}");
}
