use std::collections::BTreeSet;

use holdpoint_adapters::system::{Ed25519Key, Seed};
use holdpoint_domain::{
    Id, Tier,
    action::{Action, Catalogue},
    blast,
    trigger::Condition,
};
use serde::Deserialize;

use super::*;
use crate::config::{Config, Inputs, load_inputs, unmeasurable};

/// The catalogue in the binary, of which the stage's is a variant.
const BUILTIN: &str = include_str!("../../../../../catalog/process.yaml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CatalogueFile {
    actions: Vec<Action>,
    conditions: Vec<Condition>,
}

fn setting_in(dir: &Path) -> Vec<(&'static str, String)> {
    files(&Setting {
        dir,
        program: Path::new("/opt/a folder/\"holdpoint\""),
        ports: Ports::free(1).unwrap(),
        ada: &public_key(1),
        ben: &public_key(2),
    })
}

fn public_key(byte: u8) -> String {
    Ed25519Key::from_seed("approval", &Seed::from_bytes([byte; 32])).unwrap().public_key().into()
}

fn loaded() -> (tempfile::TempDir, Inputs) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in setting_in(dir.path()) {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let config = Config::load(&dir.path().join(CONFIG)).unwrap_or_else(|err| panic!("{err}"));
    let inputs = load_inputs(&config).unwrap_or_else(|err| panic!("{err}"));
    (dir, inputs)
}

fn id<K: holdpoint_domain::id::Kind>(text: &str) -> Id<K> {
    Id::parse(text).unwrap()
}

#[test]
fn the_files_of_the_stage_load_without_a_fault_and_everything_can_be_measured() {
    let (_dir, inputs) = loaded();
    assert_eq!(unmeasurable(&inputs), Vec::<String>::new());
    for target in inputs.inventory.targets() {
        assert_eq!(target.executor.as_str(), "process", "{}", target.id);
    }
    // Every trigger can be measured on the targets of the story.
    for (target, trigger) in
        [("worker-1", "process.hung"), ("worker-2", "process.hung"), ("checkout", "process.memory-high")]
    {
        let (target, _) = inputs.inventory.target(&id(target)).unwrap();
        for probe in &inputs.catalogue.condition(&id(trigger)).unwrap().probes {
            assert!(target.endpoints.contains_key(&probe.endpoint), "{} {}", target.id, probe.endpoint);
        }
    }
}

#[test]
fn no_placeholder_is_left_and_paths_are_quoted() {
    for (name, text) in setting_in(Path::new("/tmp/it's \"here\": #1")) {
        assert!(!text.contains("{{"), "{name}");
        if name == "units.yaml" {
            let value: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
            assert_eq!(value["units"][0]["cwd"], "/tmp/it's \"here\": #1");
            assert_eq!(value["units"][0]["argv"][0], "/opt/a folder/\"holdpoint\"");
            assert_eq!(value["units"].as_array().unwrap().len(), 5);
        }
    }
}

#[test]
fn the_story_needs_three_services_and_none_of_them_critical() {
    let (_dir, inputs) = loaded();
    let radius =
        blast::radius(&inputs.inventory, &[id("worker-2")].into(), &std::collections::BTreeSet::new());
    let services: Vec<_> = radius.services.iter().map(Id::as_str).collect();
    assert_eq!(services, ["balancer", "checkout", "workers"]);
    assert!(radius.critical.is_empty() && radius.unknown.is_empty());
    assert_eq!(inputs.inventory.replicas(&id("workers")), 3);
    let (_, checkout) = inputs.inventory.target(&id("checkout")).unwrap();
    assert!(!checkout.stateless);
}

#[test]
fn the_builtin_catalogue_is_whole_and_says_what_the_stage_says() {
    let builtin: CatalogueFile = serde_saphyr::from_str(BUILTIN).unwrap();
    let builtin = Catalogue::new(builtin.actions, builtin.conditions).unwrap();
    let names: Vec<_> = builtin.actions().map(|action| action.id.as_str()).collect();
    assert_eq!(names, ["process.restart", "process.stop"]);

    let (_dir, inputs) = loaded();
    assert_eq!(builtin.action(&id("process.restart")).unwrap().tier, Tier::T1);
    for shipped in builtin.actions() {
        let staged = inputs.catalogue.action(&shipped.id).unwrap();
        let expected = Action { soak_ms: staged.soak_ms, settle_ms: staged.settle_ms, ..shipped.clone() };
        assert_eq!(*staged, expected, "only times may differ");
        assert!(staged.soak_ms <= shipped.soak_ms && staged.settle_ms <= shipped.settle_ms);
    }
}

#[test]
fn ports_are_distinct_and_below_the_range_of_outgoing_connections() {
    let ports = Ports::free(u32::MAX).unwrap();
    let all = BTreeSet::from([
        ports.gate,
        ports.balancer,
        ports.checkout,
        ports.worker_1,
        ports.worker_2,
        ports.worker_3,
    ]);
    assert_eq!(all.len(), 6);
    assert!(all.iter().all(|port| (FIRST_PORT..32_768).contains(port)));
}
