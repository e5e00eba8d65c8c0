use std::collections::BTreeSet;

use holdpoint_adapters::system::{Ed25519Key, Seed};
use holdpoint_domain::{
    Id, Tier,
    action::{Action, Catalogue},
    blast,
    passkey::Authenticator,
    trigger::Condition,
};
use serde::Deserialize;

use super::*;
use crate::config::{Config, Inputs, load_inputs, unmeasurable};

/// The catalogues in the binary, of which the stage's is a variant.
const BUILTIN: [&str; 2] =
    [include_str!("../../../../../catalog/process.yaml"), include_str!("../../../../../catalog/files.yaml")];

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
        people: [&public_key(1), &public_key(2), &public_key(3), &public_key(4)],
        passkeys: [&passkey(1), &passkey(2)],
        token: "a-token",
        uid: 1000,
        digest: Digest::of_bytes(b"program"),
    })
}

fn public_key(byte: u8) -> String {
    Ed25519Key::from_seed("approval", &Seed::from_bytes([byte; 32])).unwrap().public_key().into()
}

fn passkey(byte: u8) -> Passkey {
    Authenticator::new([byte; 32], "http://localhost:7070", id(&format!("demo-{byte}"))).unwrap().passkey
}

fn loaded() -> (tempfile::TempDir, Inputs) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join(SHOP)).unwrap();
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
fn the_files_of_the_stage_load_without_a_fault_or_a_warning_and_everything_can_be_measured() {
    let (_dir, inputs) = loaded();
    assert_eq!(unmeasurable(&inputs), Vec::<String>::new());
    let warnings: Vec<_> = inputs.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, Vec::<String>::new());
    // Every trigger can be measured on every target that an action with it is for.
    for action in inputs.catalogue.actions() {
        for target in inputs.inventory.targets().filter(|target| target.executor == action.executor) {
            if target.id.as_str() == "balancer" || target.id.as_str() == "payments" {
                continue;
            }
            for trigger in action.triggers.iter().chain([&action.verify]) {
                for probe in &inputs.catalogue.condition(trigger).unwrap().probes {
                    let known = target.endpoints.contains_key(&probe.endpoint);
                    let none = target.id.as_str() == "checkout" && trigger.as_str() == "process.hung";
                    assert!(known || none, "{} {trigger} {}", target.id, probe.endpoint);
                }
            }
        }
    }
}

#[test]
fn what_executors_work_on_is_what_the_inventory_has_for_them() {
    let (dir, inputs) = loaded();
    let config = Config::load(&dir.path().join(CONFIG)).unwrap();
    let file: serde_json::Value = serde_saphyr::from_str(
        &std::fs::read_to_string(config.path(config.executors.as_ref().unwrap())).unwrap(),
    )
    .unwrap();
    for executor in ["flags", "config", "secret"] {
        let targets = inputs.inventory.targets().filter(|target| target.executor.as_str() == executor);
        let targets: Vec<_> = targets.map(|target| target.id.as_str()).collect();
        let named: Vec<_> = file[executor].as_object().unwrap().keys().collect();
        assert_eq!(targets, named, "{executor}");
    }
    // What they name is there.
    assert!(
        file["config"]["checkout-settings"]["file"] == SETTINGS
            && file["flags"]["new-offers"]["file"] == FLAGS
    );
    assert!(file["secret"]["payments-token"]["token"] == TOKEN);
    assert!(file["secret"]["payments-token"]["accepted"] == ACCEPTED);
    let flags: serde_json::Value = serde_json::from_str(include_str!("flags.json")).unwrap();
    assert_eq!(flags["flags"]["new-offers"]["state"], "DISABLED");
    assert!(include_str!("checkout.env").contains("\nPOOL_SIZE=8\n"));
}

#[test]
fn t25_a_hold_waits_for_a_day_at_most() {
    let dir = tempfile::tempdir().unwrap();
    let load = |hold_ms: u64| {
        for (name, text) in setting_in(dir.path()).into_iter().filter(|(name, _)| *name == CONFIG) {
            let text = text.replace("hold_ms: 600000", &format!("hold_ms: {hold_ms}"));
            assert!(text.contains(&format!("hold_ms: {hold_ms}")));
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        Config::load(&dir.path().join(CONFIG)).map(|_| ()).map_err(|err| err.to_string())
    };
    assert_eq!(load(24 * 60 * 60 * 1000), Ok(()));
    assert!(load(24 * 60 * 60 * 1000 + 1).unwrap_err().contains("`timings.hold_ms`: expected 1 to"));
    assert!(load(0).unwrap_err().contains("timings.hold_ms"));
}

#[test]
fn administrators_are_there_and_one_answers_for_the_agent() {
    let (_dir, inputs) = loaded();
    let medic = inputs.registry.agent(&id("medic")).unwrap();
    assert!(inputs.registry.is_administrator(&medic.owner), "who approves is not who answers for it");
    // Whoever invites must not be the only one to approve the passkey that comes of it.
    assert_eq!(inputs.registry.administrators().len(), 2);
    for person in ["ada", "bob"] {
        assert!(inputs.registry.person(&id(person)).unwrap().teams.contains(&id("oncall")));
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
            assert_eq!(value["units"].as_array().unwrap().len(), 7);
        }
    }
}

#[test]
fn the_story_needs_three_services_and_none_of_them_critical() {
    let (_dir, inputs) = loaded();
    let dependencies = inputs.inventory.dependencies(holdpoint_domain::Timestamp::EPOCH).unwrap();
    let none = std::collections::BTreeSet::new();
    let radius = blast::radius(&inputs.inventory, &dependencies, &[id("worker-2")].into(), &none).unwrap();
    let services: Vec<_> = radius.services.iter().map(Id::as_str).collect();
    assert_eq!(services, ["balancer", "checkout", "workers"]);
    assert!(radius.critical.is_empty() && radius.unknown.is_empty());
    assert_eq!(inputs.inventory.replicas(&id("workers"), &id("process")), 3);
    let (_, checkout) = inputs.inventory.target(&id("checkout")).unwrap();
    assert!(!checkout.stateless);
}

#[test]
fn the_builtin_catalogue_is_whole_and_says_what_the_stage_says() {
    let files = BUILTIN.map(|text| serde_saphyr::from_str::<CatalogueFile>(text).unwrap());
    let (actions, conditions) =
        files.into_iter().map(|file| (file.actions, file.conditions)).unzip::<_, _, Vec<_>, Vec<_>>();
    let (actions, conditions) =
        (actions.into_iter().flatten().collect(), conditions.into_iter().flatten().collect());
    let builtin = Catalogue::new(actions, conditions).unwrap();

    let (_dir, inputs) = loaded();
    assert_eq!(builtin.action(&id("process.restart")).unwrap().tier, Tier::T1);
    for staged in inputs.catalogue.actions() {
        let shipped = builtin.action(&staged.id).unwrap_or_else(|| panic!("{}", staged.id));
        let mut expected = Action { soak_ms: staged.soak_ms, settle_ms: staged.settle_ms, ..shipped.clone() };
        if staged.id.as_str() == "secret.rotate" {
            // What says that this token leaked, and that the new one works, is known to this shop alone.
            expected =
                Action { triggers: staged.triggers.clone(), verify: staged.verify.clone(), ..expected };
        }
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
        ports.payments,
        ports.visitors,
    ]);
    assert_eq!(all.len(), 8);
    assert!(all.iter().all(|port| (FIRST_PORT..32_768).contains(port)));
}
