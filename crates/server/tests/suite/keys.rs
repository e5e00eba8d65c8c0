//! The gate's keys: rotated without a restart, and in a real PKCS #11 token (SoftHSM).

use std::{
    os::unix::{fs::PermissionsExt as _, process::ExitStatusExt as _},
    process::Command,
};

use holdpoint_domain::{Id, passkey::Authenticator};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use serde_json::{Value, json};

use super::stage::Stage;

/// A command by a person.
fn by(stage: &Stage, person: &str, words: &[&str]) -> String {
    let config = stage.path("holdpoint.yaml");
    let args: Vec<_> = words.iter().copied().chain(["--config", &config, "--as", person]).collect();
    stage.must(&args)
}

/// Has the worker restarted, and returns the id of the key that its permit was signed with.
async fn signed_by(stage: &Stage) -> String {
    let (status, plan) = stage.propose("worker").await;
    assert_eq!(status, 201, "{plan}");
    let id = plan["id"].as_str().unwrap().to_owned();
    assert_eq!(stage.ended(&id).await, "succeeded", "{}", stage.log());
    let entries = stage.get("/v1/ledger/entries?limit=200", &stage.person("ada")).await;
    let of_it = |entry: &&Value| {
        entry["record"]["plan"] == id.as_str() && entry["record"]["body"]["kind"] == "permitted"
    };
    let entry = entries["entries"].as_array().unwrap().iter().find(of_it).unwrap();
    let jws = entry["record"]["body"]["jws"].as_str().unwrap();
    let header = jws.split('.').next().unwrap();
    use base64::Engine as _;
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

/// The lines that `keys new` prints, in the place of the old key.
fn rotated(pins: &str, printed: &str) -> String {
    let kept: Vec<_> = pins.lines().filter(|line| !line.starts_with("permit_key:")).collect();
    format!("{printed}\n{}\n", kept.join("\n"))
}

async fn permit_keys(stage: &Stage) -> Vec<String> {
    let set: Value = stage.get("/.well-known/jwks.json", "").await;
    let keys = set["keys"].as_array().unwrap().iter();
    let keys = keys.filter(|key| key["urn:holdpoint:purpose"] == "holdpoint:permits");
    keys.map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn inv13_a_permit_key_is_rotated_by_an_approved_change_and_without_a_restart() {
    let mut stage = Stage::started();
    let before = signed_by(&stage).await;
    assert_eq!(permit_keys(&stage).await, std::slice::from_ref(&before));

    let config = stage.path("holdpoint.yaml");
    let printed = stage.must(&["keys", "new", "--config", &config]);
    let pins = std::fs::read_to_string(stage.path("executor.yaml")).unwrap();
    std::fs::create_dir(stage.root().join("new")).unwrap();
    stage.write("new/executor.yaml", &rotated(&pins, &printed));
    let file = format!("executor.yaml={}", stage.path("new/executor.yaml"));
    let said = by(&stage, "ben", &["change", "propose", "registry", &file, "-o", "json"]);
    let terms: Value = serde_json::from_str(&said).unwrap();
    let id = terms["terms"]["id"].as_str().unwrap();
    assert_eq!(signed_by(&stage).await, before, "it is not in force yet");
    by(&stage, "ada", &["change", "approve", id, "--yes"]);

    let after = signed_by(&stage).await;
    assert_ne!(after, before);
    assert_eq!(permit_keys(&stage).await, [after.clone(), before.clone()]);
    stage.kill();
    stage.start();
    assert_eq!(signed_by(&stage).await, after);
    // What the old key signed is still read: the plan shows its permit.
    let plans = stage.get("/v1/plans", &stage.person("ada")).await;
    for plan in plans["plans"].as_array().unwrap() {
        let shown =
            stage.get(&format!("/v1/plans/{}", plan["id"].as_str().unwrap()), &stage.person("ada")).await;
        assert!(shown["permit"]["id"].is_string(), "{shown}");
    }
}

#[tokio::test]
async fn inv05_no_change_has_executors_believe_a_passkey_that_nobody_enrolled() {
    let stage = Stage::started();
    let act = Id::parse("act-invented").unwrap();
    let passkey = Authenticator::new([9; 32], "http://localhost:7070", act).unwrap().passkey;
    let passkey = serde_json::to_string(&passkey).unwrap();
    let pins = std::fs::read_to_string(stage.path("executor.yaml")).unwrap();
    let changed = |line: &str| match line.split_once("ada: ") {
        Some((before, key)) => format!("{before}ada: {{key: {key}, passkeys: [{passkey}]}}"),
        None => line.to_owned(),
    };
    let changed: Vec<_> = pins.lines().map(changed).collect();
    std::fs::create_dir(stage.root().join("new")).unwrap();
    stage.write("new/executor.yaml", &changed.join("\n"));
    let (file, config) =
        (format!("executor.yaml={}", stage.path("new/executor.yaml")), stage.path("holdpoint.yaml"));
    let asked = ["change", "propose", "registry", &file, "--config", &config, "--as", "ben"];
    let said = String::from_utf8(stage.cli(&asked).stderr).unwrap();
    assert!(said.contains("which the registry does not have"), "{said}\n{}", changed.join("\n"));
}

#[test]
fn a_gate_whose_executors_believe_another_key_does_not_start() {
    let stage = Stage::new();
    let pins = std::fs::read_to_string(stage.path("executor.yaml")).unwrap();
    let other = stage.must(&["keygen", "--out", &stage.path("other.key")]);
    let changed: Vec<_> = pins
        .lines()
        .map(|line| {
            if line.starts_with("permit_key:") {
                format!("permit_key: {}", other.trim())
            } else {
                line.to_owned()
            }
        })
        .collect();
    stage.write("executor.yaml", &changed.join("\n"));
    let said = stage.refused();
    assert!(said.contains("pinned another permit key") && said.contains("keys new"), "{said}");
}

/// A token of SoftHSM in the stage's folder, and the environment that finds it.
fn token(stage: &Stage) -> Vec<(String, String)> {
    std::fs::create_dir(stage.root().join("tokens")).unwrap();
    stage.write(
        "softhsm2.conf",
        &format!("directories.tokendir = {}\nlog.level = ERROR\n", stage.path("tokens")),
    );
    let environment = vec![("SOFTHSM2_CONF".to_owned(), stage.path("softhsm2.conf"))];
    let made = Command::new("softhsm2-util")
        .args(["--init-token", "--free", "--label", "gate", "--so-pin", "90817263", "--pin", "74628193"])
        .envs(environment.clone())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    stage.write("pin", "74628193\n");
    environment
}

/// The module, where Debian and Fedora have it.
fn module() -> &'static str {
    let known = [
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
        "/usr/lib64/pkcs11/libsofthsm2.so",
    ];
    known
        .into_iter()
        .find(|path| std::path::Path::new(path).exists())
        .expect("no module of SoftHSM is where it is known to be")
}

#[tokio::test]
async fn t29_a_gate_signs_with_keys_that_never_leave_their_token() {
    let mut stage = Stage::unmade();
    let environment = token(&stage);
    std::fs::set_permissions(stage.path("pin"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut config = std::fs::read_to_string(stage.path("holdpoint.yaml")).unwrap();
    config.push_str("\ntokens:\n");
    for purpose in ["checkpoint", "delegation", "evidence", "permit"] {
        let at = json!({"module": module(), "token": "gate", "label": purpose, "pin_file": "pin"});
        config.push_str(&format!("  {purpose}: {at}\n"));
    }
    stage.write("holdpoint.yaml", &config);
    stage.set_environment(environment);
    stage.made();
    for name in ["checkpoint.key", "permit.key", "evidence.key", "delegation.key"] {
        assert!(!stage.root().join("data/keys").join(name).exists(), "{name} is in a file as well");
    }
    stage.start();
    signed_by(&stage).await;
    let said = by(&stage, "ada", &["delegate", "--to", "medic"]);
    assert_eq!(said.trim().split('.').count(), 3, "{said}");

    // The log verifies offline with the key that the token signed with.
    let (export, key) = (stage.path("export"), stage.path("log.vkey"));
    by(&stage, "ada", &["ledger", "export", &export]);
    stage.must(&["ledger", "verify", &export, "--key", &key]);

    stage.kill();
    stage.start();
    signed_by(&stage).await;

    // The PIN stands nowhere: not in the log, not in what the gate says when the token refuses it.
    assert!(!stage.log().contains("74628193"));
    stage.kill();
    stage.write("pin", "11111111\n");
    let refused = stage.as_gate(&["serve", "--config", &stage.path("holdpoint.yaml")]);
    assert!(!refused.status.success());
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("log in") && !said.contains("11111111"), "{said}");
}

/// The text of an export's latest head.
fn head_of(export: &str) -> String {
    std::fs::read_to_string(format!("{export}/checkpoint")).unwrap()
}

#[tokio::test]
async fn inv11_the_key_of_the_ledger_is_rotated_and_both_keys_open_what_was_signed() {
    let mut stage = Stage::started();
    signed_by(&stage).await;
    let (config, vkey) = (stage.path("holdpoint.yaml"), stage.path("log.vkey"));
    let old = std::fs::read_to_string(&vkey).unwrap();
    stage.write("old.vkey", &old);
    let early = stage.path("early");
    by(&stage, "ada", &["ledger", "export", &early]);
    let switch = |stage: &Stage| {
        let output = stage.cli(&["keys", "switch", "--config", &config]);
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    let (done, said) = switch(&stage);
    assert!(!done && said.contains("keys new --for checkpoint"), "{said}");
    let printed = stage.must(&["keys", "new", "--for", "checkpoint", "--config", &config]);
    let new = printed.lines().last().unwrap().to_owned();
    stage.write("new.vkey", &new);
    // Its turn has not come: a head that it did not sign would not open with it, and a gate that runs has its store.
    let (done, said) = switch(&stage);
    assert!(!done && said.contains("stop the"), "{said}");
    stage.kill();
    let (done, said) = switch(&stage);
    assert!(!done && said.contains("the last head") || said.contains("next key signed"), "{said}");
    assert_eq!(std::fs::read_to_string(&vkey).unwrap(), old);
    // Both sign from the next start on: whoever has either key verifies the whole log.
    stage.start();
    signed_by(&stage).await;
    let both = stage.path("both");
    by(&stage, "ada", &["ledger", "export", &both]);
    assert_eq!(head_of(&both).matches("\u{2014} test.example/log ").count(), 2, "{}", head_of(&both));
    for key in ["old.vkey", "new.vkey"] {
        stage.must(&["ledger", "verify", &both, "--key", &stage.path(key)]);
    }
    stage.kill();
    let (done, said) = switch(&stage);
    assert!(done, "{said}");
    assert_eq!(std::fs::read_to_string(&vkey).unwrap().trim(), new);
    assert!(!stage.root().join("data/keys/checkpoint-next.key").exists());
    // The new key alone signs, over everything that the old one did, and continues it.
    stage.start();
    signed_by(&stage).await;
    let late = stage.path("late");
    by(&stage, "ada", &["ledger", "export", &late]);
    assert_eq!(head_of(&late).matches("\u{2014} test.example/log ").count(), 1);
    stage.must(&["ledger", "verify", &late, "--key", &vkey, "--against", &format!("{both}/checkpoint")]);
    assert!(!stage.cli(&["ledger", "verify", &late, "--key", &stage.path("old.vkey")]).status.success());
    stage.must(&["ledger", "verify", &early, "--key", &stage.path("old.vkey")]);
}

#[test]
fn inv12_t29_a_gate_that_crashes_leaves_no_core_with_its_keys() {
    let mut stage = Stage::started();
    let unlimited = |pid: Pid| prlimit(Some(pid), Resource::Core, Rlimit { current: None, maximum: None });
    // The control: somebody who keeps nothing to himself.
    let mut other = Command::new("sleep").arg("600").current_dir(stage.root()).spawn().unwrap();
    let pid = Pid::from_child(&other);
    let may = unlimited(pid);
    kill_process(pid, Signal::ABORT).unwrap();
    if !other.wait().unwrap().core_dumped() {
        println!("this machine keeps no core of anybody ({may:?})");
    }
    let gate = Pid::from_raw(stage.pid().try_into().unwrap()).unwrap();
    let _ = unlimited(gate);
    let ended = stage.signal(Signal::ABORT);
    assert_eq!((ended.signal(), ended.core_dumped()), (Some(Signal::ABORT.as_raw()), false));
}
