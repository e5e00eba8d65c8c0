//! The real `holdpoint serve` under faults of its machine and of its peers. `docs/faults.md` has the table of all faults
//! and the tests of each, here and in the other crates.

mod clock;
mod disk;
mod files;
mod outside;
mod peer;
mod peers;
mod policy;
mod requests;
pub(super) mod shim;
mod stopped;

use super::stage::{Stage, client};
use shim::Shim;

/// A stage whose gate will have the shim between itself and the C library.
fn shimmed() -> (Stage, Shim) {
    let mut stage = Stage::new();
    let shim = Shim::new(stage.root());
    stage.set_environment(shim.environment());
    (stage, shim)
}

/// Replaces a part of a file of the stage, before its first start.
fn edit(stage: &Stage, file: &str, from: &str, to: &str) {
    let text = std::fs::read_to_string(stage.path(file)).unwrap();
    assert!(text.contains(from), "{file} has no `{from}`");
    stage.write(file, &text.replace(from, to));
}

/// Proposes a restart: the status, and the plan or the rule. Nothing at all from a gate that is gone.
async fn propose(stage: &Stage, target: &str) -> (u16, String) {
    propose_because(stage, target, "process.running").await
}

async fn propose_because(stage: &Stage, target: &str, trigger: &str) -> (u16, String) {
    let body = serde_json::json!({"action": "process.restart", "target": target, "trigger": trigger});
    let request = client().post(stage.url("/v1/plans")).bearer_auth(stage.agent()).json(&body);
    let Ok(answer) = request.send().await else { return (0, String::new()) };
    let status = answer.status().as_u16();
    let value: serde_json::Value = answer.json().await.unwrap();
    let word = value["id"].as_str().or_else(|| value["rule"].as_str()).unwrap();
    assert!(value["id"].is_string() || value["next"].is_string(), "a refusal says what to do: {value}");
    (status, word.to_owned())
}

/// Proposes what needs a person: the plan and its hold.
async fn held(stage: &Stage) -> (String, String) {
    let (status, plan) = stage.propose("sleeper").await;
    assert_eq!(status, 202, "{plan}");
    let word = |field: &str| plan[field].as_str().unwrap().to_owned();
    (word("id"), word("hold"))
}

async fn health(stage: &Stage) -> u16 {
    client().get(stage.url("/healthz")).send().await.map_or(0, |answer| answer.status().as_u16())
}

/// Waits until every lease is revoked: they end after the run that they were for. Whoever drives the run and whoever sweeps
/// up may both say so of one lease.
async fn leases_ended(stage: &Stage) {
    let (token, mut ended) = (stage.person("ada"), false);
    while !ended {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        let page = stage.get("/v1/ledger/entries?first=0&limit=200", &token).await;
        let bodies = page["entries"].as_array().unwrap().iter().map(|entry| &entry["record"]["body"]);
        let revoked: Vec<_> =
            bodies.clone().filter(|body| body["kind"] == "revoked").map(|body| &body["lease"]).collect();
        let mut leased = bodies.filter(|body| body["kind"] == "leased");
        ended = leased.all(|body| revoked.contains(&&body["lease"]["id"]));
    }
}
