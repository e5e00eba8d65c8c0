//! The life of an action over four processes: proposed, approved, leased, applied, verified, revoked.

use std::{fs, path::Path, time::Instant};

use holdpoint_adapters::{
    remote::{CallError, RoleClient, wire},
    system::{Ed25519Key, KeyUse, Seed},
};
use holdpoint_domain::lease::{Scope, Terms};
use holdpoint_ledger::{SignedCheckpoint, VerifierKey, cosigners};
use serde_json::Value;

use super::{
    id,
    scene::{OTHERS, Scene},
};
use crate::suite::{
    consent,
    stage::{PATIENCE, client},
};

/// Proposes a restart of `sleeper`, approves it, and returns how it ended.
pub(super) async fn restart(scene: &Scene) -> String {
    let (status, plan) = scene.stage.propose("sleeper").await;
    assert_eq!(status, 202, "{plan}\n{}", scene.stage.log());
    approve(scene, &plan).await;
    scene.stage.ended(plan["id"].as_str().unwrap()).await
}

async fn approve(scene: &Scene, plan: &Value) {
    let hold = plan["hold"].as_str().unwrap();
    let body = serde_json::to_value(consent::signed(&scene.stage, hold).await).unwrap();
    assert_eq!(consent::post(&scene.stage, hold, &scene.stage.person("ada"), &body).await, 200);
}

#[tokio::test]
async fn inv07_the_whole_story_in_four_processes() {
    let scene = Scene::started("T1");
    let stage = &scene.stage;
    stage.until("the unit runs", || stage.starts("sleeper") == 1);
    assert_eq!(restart(&scene).await, "succeeded", "{}\n{}", stage.log(), scene.log("executor"));
    assert_eq!(stage.starts("sleeper"), 2);
    let (status, plan) = stage.propose("worker").await;
    assert_eq!(status, 201, "{plan}");
    assert_eq!(stage.ended(plan["id"].as_str().unwrap()).await, "succeeded");
    for (kind, count) in [("leased", 2), ("revoked", 2), ("applied", 2)] {
        assert_eq!(stage.records(kind).await, count, "{kind}");
    }
    // The evidence was signed by the observer, whose key is nowhere near the gate.
    let keys = stage.get("/v1/keys", "").await;
    let own = fs::read_to_string(stage.path("roles/gate/holdpoint.yaml")).unwrap();
    assert!(own.contains(keys["evidence_key"].as_str().unwrap()), "{keys}");
    assert!(!stage.root().join("roles/gate/data/keys/evidence.key").exists());
    let log = stage.log();
    assert!(!log.contains("separation by construction only"), "{log}");
    // Issuer and executor cosigned a head, each with a key of its own.
    let keys: Vec<VerifierKey> = ["issuer_key", "executor_key"].map(|key| key_in(&own, key)).into();
    let since = Instant::now();
    loop {
        let text = client().get(stage.url("/v1/ledger/cosigned")).send().await.unwrap().text().await.unwrap();
        let head = SignedCheckpoint::parse(text.as_bytes());
        if head.is_ok_and(|head| cosigners(&head, &keys).unwrap().len() == 2) {
            break;
        }
        assert!(since.elapsed() < PATIENCE, "{text}\n{}", stage.log());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

fn key_in(config: &str, key: &str) -> VerifierKey {
    let line = config.lines().find(|line| line.trim().starts_with(key)).unwrap();
    line.split_once(": ").unwrap().1.trim_matches('\'').parse().unwrap()
}

#[tokio::test]
async fn inv12_no_secret_of_a_lease_is_in_the_gate() {
    let scene = Scene::started("T1");
    assert_eq!(restart(&scene).await, "succeeded");
    // A sealed secret is all that passes through; neither it nor the secret is on the gate's disk or in any log.
    let mut found = Vec::new();
    for folder in ["roles/gate/data", "roles/issuer/data", "roles/executor/data"] {
        files_below(&scene.stage.root().join(folder), &mut found);
    }
    let logs = OTHERS.map(|role| scene.log(role)).concat() + &scene.stage.log();
    // The executor's private half, as it stands in its key file, is nowhere else.
    let key = fs::read_to_string(scene.stage.path("roles/executor/data/keys/sealing.key")).unwrap();
    assert!(!logs.contains(key.trim()));
    let holders = found.iter().filter(|path| fs::read(path).is_ok_and(|bytes| contains(&bytes, key.trim())));
    assert_eq!(holders.count(), 1);
}

fn files_below(folder: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() { files_below(&entry.path(), found) } else { found.push(entry.path()) }
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn inv01_without_a_role_nothing_happens_and_with_it_things_go_on() {
    let mut scene = Scene::started("T1");
    scene.stage.until("the unit runs", || scene.stage.starts("sleeper") == 1);
    // Without an observer nothing is decided.
    scene.kill("observer");
    let (status, plan) = scene.stage.propose("sleeper").await;
    assert_eq!(status, 502, "{plan}");
    scene.start("observer", None);
    // Without an issuer, or without the executor that keeps the book of leases, nobody has a credential.
    for role in ["issuer", "executor"] {
        scene.kill(role);
        assert_eq!(restart(&scene).await, "failed", "without the {role}");
        scene.start(role, None);
    }
    assert_eq!(scene.stage.starts("sleeper"), 1, "nothing was touched");
    assert_eq!(restart(&scene).await, "succeeded", "{}", scene.stage.log());
    assert_eq!(scene.stage.starts("sleeper"), 2);
}

#[tokio::test]
async fn inv07_the_backends_of_leases_are_the_issuers_alone() {
    let mut scene = Scene::laid_out("T1", "executors: executors.yaml");
    for role in OTHERS {
        scene.start(role, None);
    }
    // The roots of what is leased are derived in the issuer, and again after its restart.
    scene.kill("issuer");
    scene.start("issuer", None);
    let has = |role: &str| scene.stage.root().join(format!("roles/{role}/data/keys/lease.key")).exists();
    assert_eq!(["issuer", "executor", "observer", "gate"].map(has), [true, false, false, false]);
    // Asked of the issuer each time: nothing of this stands in the gate's folder.
    let http = scene.client(&scene.files("gate"), "issuer");
    let issuer = RoleClient::new(http, &scene.url("issuer"));
    let terms = async |target: &str| {
        let scope = Scope { action: id("process.restart"), target: id(target) };
        issuer.call::<Terms>("/v1/leases/terms", &wire::AskTerms { scope }, PATIENCE).await.unwrap()
    };
    assert_eq!(terms("worker").await, Terms::local());
    let named = terms("orders-db").await;
    assert_eq!((named.backend, named.max.span().ms()), (Some(id("orders-pg")), 300_000));
    let ask = wire::AskBackends {};
    let known: wire::Outliving = issuer.call("/v1/leases/backends", &ask, PATIENCE).await.unwrap();
    assert_eq!(known.backends, [id("orders-pg")]);
    // A server that does not answer proves the end of nothing, and neither does a backend that nobody has.
    let lease = format!("lease-{:032x}", 1);
    for name in ["orders-pg", "nobodys"] {
        let ask = wire::Revoke { backend: Some(id(name)), lease: id(&lease) };
        let answer = issuer.call::<wire::Done>("/v1/leases/revoke", &ask, PATIENCE).await;
        assert!(matches!(answer, Err(CallError::Answer(_))), "{name}: {answer:?}");
        let ask = wire::AskHeld { backend: id(name) };
        let answer = issuer.call::<wire::Held>("/v1/leases/held", &ask, PATIENCE).await;
        assert!(matches!(answer, Err(CallError::Answer(_))), "{name}: {answer:?}");
    }
    // In the executor's own book the end of a lease is the end, known or not.
    let ask = wire::Revoke { backend: None, lease: id(&lease) };
    let answer = issuer.call::<wire::Done>("/v1/leases/revoke", &ask, PATIENCE).await;
    assert!(answer.is_ok(), "{answer:?}");
}

#[test]
fn inv07_an_executor_without_its_own_key_does_not_start() {
    let scene = Scene::laid_out("T1", "");
    let keys = scene.stage.root().join("roles/executor/data/keys");
    let own = KeyUse::Executor(id("process")).path(&keys);
    let public = |path: &Path| {
        let key = Ed25519Key::from_seed("process", &Seed::load(path).unwrap()).unwrap();
        String::from(key.public_key())
    };
    for pins in ["gate/executor.yaml", "issuer/pins.yaml", "executor/pins.yaml"] {
        let text = fs::read_to_string(scene.stage.path(&format!("roles/{pins}"))).unwrap();
        assert!(text.contains(&public(&own)), "{pins}: {text}");
    }
    // Neither with another one, nor with none.
    let refused = || {
        let output = scene.command("executor").stderr(std::process::Stdio::piped()).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    fs::remove_file(&own).unwrap();
    assert!(refused().contains("there is no key file"));
    Seed::fresh().create(&own).unwrap();
    assert!(refused().contains("holds another key"));
}

#[test]
fn inv07_a_role_that_holds_what_is_anothers_does_not_start() {
    let scene = Scene::laid_out("T1", "");
    let stage = &scene.stage;
    let keys = |role: &str| stage.root().join(format!("roles/{role}/data/keys"));
    let refused = |role: &str| {
        let config = if role == "gate" { "holdpoint.yaml" } else { "role.yaml" };
        let config = stage.path(&format!("roles/{role}/{config}"));
        let output = stage.cli(&["serve", "--role", role, "--config", &config]);
        assert!(!output.status.success(), "the {role} started");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    // Each key of each role, in the folder of each other one.
    let of = [
        ("gate", "permit.key"),
        ("gate", "checkpoint.key"),
        ("gate", "delegation.key"),
        ("observer", "evidence.key"),
        ("issuer", "cosign.key"),
        ("executor", "cosign.key"),
        ("executor", "sealing.key"),
        ("executor", "executor-process.key"),
    ];
    for (owner, key) in of {
        for role in ["gate", "observer", "issuer", "executor"] {
            let there = keys(role).join(key);
            if role == owner || there.exists() {
                continue;
            }
            fs::copy(keys(owner).join(key), &there).unwrap();
            let said = refused(role);
            assert!(said.contains(&format!("is no key of the role `{role}`")), "{role} with {key}: {said}");
            fs::remove_file(there).unwrap();
        }
    }
    // What is configured and not the role's to hold; a file of another role; a gate that knows no roles.
    let append = |role: &str, line: &str| {
        let path = stage
            .path(&format!("roles/{role}/{}", if role == "gate" { "holdpoint.yaml" } else { "role.yaml" }));
        let before = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{before}\n{line}\n")).unwrap();
        let said = refused(role);
        fs::write(&path, before).unwrap();
        said
    };
    for (role, line, word) in [
        ("gate", "units: units.yaml", "may hold"),
        ("gate", "executors: executors.yaml", "may hold"),
        ("observer", "pins: pins.yaml", "may hold"),
        ("observer", "log_key: x", "may hold"),
        ("issuer", "units: units.yaml", "may hold"),
        ("issuer", "inventory: inventory.yaml", "may hold"),
        ("executor", "inventory: inventory.yaml", "may hold"),
        ("executor", "lease_root: x", "unknown field"),
    ] {
        let said = append(role, line);
        assert!(said.contains(word), "{role} with {line}: {said}");
    }
    let config = stage.path("roles/issuer/role.yaml");
    assert!(!stage.cli(&["serve", "--role", "executor", "--config", &config]).status.success());
    let config = stage.path("holdpoint.yaml");
    assert!(!stage.cli(&["serve", "--role", "gate", "--config", &config]).status.success());
    let config = stage.path("roles/gate/holdpoint.yaml");
    assert!(!stage.cli(&["serve", "--config", &config]).status.success());
}

#[test]
fn inv07_a_role_that_can_read_anothers_password_does_not_start() {
    let scene = Scene::laid_out("T1", "executors: executors.yaml");
    for (owner, file) in [("issuer", "issuer"), ("observer", "observer")] {
        for role in OTHERS.into_iter().filter(|role| *role != owner) {
            let path = scene.stage.path(&format!("roles/{role}/{file}"));
            fs::write(&path, "a password\n").unwrap();
            let output = scene.command(role).stderr(std::process::Stdio::piped()).output().unwrap();
            fs::remove_file(path).unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            let why = format!("is a secret of the role `{owner}`, and `{role}` can read it");
            assert!(!output.status.success() && said.contains(&why), "{role} with {file}: {said}");
        }
    }
}

#[tokio::test]
async fn inv03_a_gate_that_is_killed_around_a_request_to_a_role_settles_what_it_asked_for() {
    use holdpoint_adapters::step::{Moment, Step};
    // Requests to roles of one run: among them the observer's, the lease, the rehearsal, the step, and its end.
    for moment in Moment::ALL {
        for nth in [2, 7, 12] {
            let mut scene = Scene::laid_out("T1", "development: true");
            for role in OTHERS {
                scene.start(role, None);
            }
            let words = crate::suite::crash::drill(Step::RoleAsk, moment, nth);
            scene.stage.set_environment(vec![("HOLDPOINT_DRILL".to_owned(), words)]);
            scene.stage.start_to_die_with("worker").await;
            scene.stage.set_environment(Vec::new());
            scene.stage.start();
            let token = scene.stage.person("ada");
            let plans = scene.stage.get("/v1/plans", &token).await;
            for plan in plans["plans"].as_array().unwrap() {
                let ended = scene.stage.ended(plan["id"].as_str().unwrap()).await;
                assert!(
                    ["succeeded", "failed", "in_doubt", "void", "expired", "denied"]
                        .contains(&ended.as_str()),
                    "{ended}"
                );
            }
            let since = Instant::now();
            while scene.stage.records("leased").await != scene.stage.records("revoked").await {
                assert!(since.elapsed() < PATIENCE, "a lease outlived its run at {moment:?} {nth}");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            let effects = scene.stage.starts("worker").saturating_sub(1);
            assert!(effects <= scene.stage.records("applying").await, "an effect without its record");
        }
    }
}
