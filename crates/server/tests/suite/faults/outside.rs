//! A look from outside: the exported log is verified against the public key, and what it says is compared with what the
//! targets show. Nothing of the gate's own state is believed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use holdpoint_ledger::bundle::read_bundle;
use serde_json::Value;

use super::super::stage::Stage;

/// The records of the log, after it was exported and verified and what must always hold was looked at.
pub(super) fn audited(stage: &Stage) -> Vec<Value> {
    let folder = tempfile::tempdir_in(stage.root()).unwrap();
    let copy = folder.path().join("export").to_str().unwrap().to_owned();
    let config = stage.path("holdpoint.yaml");
    stage.must(&["ledger", "export", &copy, "--config", &config, "--as", "ada"]);
    stage.must(&["ledger", "verify", &copy, "--key", &stage.path("log.vkey")]);
    let records = records(Path::new(&copy));
    for (plan, life) in lives(&records) {
        check(&plan, &life);
    }
    records
}

/// How many records of a kind there are.
pub(super) fn count(records: &[Value], kind: &str) -> usize {
    records.iter().filter(|record| record["body"]["kind"] == kind).count()
}

fn records(export: &Path) -> Vec<Value> {
    let mut bundles = Vec::new();
    files(&export.join("tile/entries"), &mut bundles);
    // `000`, `001`, ..., `00n.p/<width>`: by name they are in the order of the log.
    bundles.sort();
    let bytes = bundles.into_iter().map(|path| fs::read(path).unwrap());
    bytes
        .flat_map(|bytes| {
            read_bundle(&bytes)
                .map(|entry| serde_json::from_slice(entry.unwrap()).unwrap())
                .collect::<Vec<_>>()
        })
        .collect()
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

fn lives(records: &[Value]) -> BTreeMap<String, Vec<&Value>> {
    let mut lives: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for record in records {
        if let Some(plan) = record["plan"].as_str() {
            lives.entry(plan.to_owned()).or_default().push(record);
        }
    }
    lives
}

/// What holds for the records of every plan, whatever was broken.
fn check(plan: &str, life: &[&Value]) {
    let kinds: Vec<_> = life.iter().map(|record| record["body"]["kind"].as_str().unwrap()).collect();
    let at = |kind: &str| kinds.iter().position(|found| *found == kind);
    let times = |kind: &str| kinds.iter().filter(|found| **found == kind).count();
    for once in ["proposed", "permitted", "claimed"] {
        assert!(times(once) <= 1, "inv02: plan {plan} has {once} more than once: {kinds:?}");
    }
    let steps: Vec<_> = life
        .iter()
        .filter(|record| record["body"]["kind"] == "applying")
        .map(|record| record["body"]["step"].as_u64().unwrap())
        .collect();
    assert_eq!(steps.iter().collect::<BTreeSet<_>>().len(), steps.len(), "inv02: plan {plan}: {kinds:?}");
    if let Some(applying) = at("applying") {
        assert!(at("claimed").is_some_and(|claimed| claimed < applying), "inv01: plan {plan}: {kinds:?}");
        assert!(at("leased").is_some_and(|leased| leased < applying), "inv01: plan {plan}: {kinds:?}");
    }
    if let Some(claimed) = at("claimed") {
        assert!(
            at("permitted").is_some_and(|permitted| permitted < claimed),
            "inv01: plan {plan}: {kinds:?}"
        );
    }
    // Records of a plan follow from each other: a clock that was set back must not show in them.
    let at_ms: Vec<_> = life.iter().map(|record| record["at_ms"].as_u64().unwrap()).collect();
    assert!(at_ms.is_sorted(), "the records of plan {plan} go back in time: {at_ms:?} {kinds:?}");
}

/// No lease outlived the run that it was for.
pub(super) fn leases_are_dead(records: &[Value]) {
    let leases = |kind: &str, field: &str| -> BTreeSet<String> {
        let of_kind = records.iter().filter(|record| record["body"]["kind"] == kind);
        of_kind.map(|record| record["body"].pointer(field).unwrap().as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(leases("leased", "/lease/id"), leases("revoked", "/lease"), "inv08: a lease is not revoked");
}
