//! `kill -9` of the gate: nothing is lost, nothing runs twice, and what was under way is settled.

mod cases;
mod drive;
mod judge;
mod nginx;
mod scene;
mod site;
mod special;

pub(super) use scene::drill;

use super::stage::{Stage, client};

#[tokio::test]
async fn inv02_t06_a_killed_gate_goes_on_where_its_records_end() {
    let mut stage = Stage::started();
    stage.until("the unit runs", || stage.starts("worker") == 1);
    let (status, plan) = stage.propose("worker").await;
    assert_eq!((status, plan["tier"].as_str()), (201, Some("T2")), "{plan}");
    let id = plan["id"].as_str().unwrap().to_owned();
    // At any moment after the answer: the run may not have begun, or be anywhere in its life.
    stage.kill();
    stage.start();
    let state = stage.ended(&id).await;
    let starts = stage.starts("worker");
    match state.as_str() {
        "succeeded" => assert_eq!(starts, 2),
        "failed" => assert_eq!(starts, 1, "failed means that nothing was changed"),
        // Killed between the stop and the start: a person must look, and it was applied once at most.
        "in_doubt" => assert!(starts <= 2),
        other => panic!("ended as {other}"),
    }
    assert!(stage.records("applying").await <= 1);
    assert_eq!(stage.records("leased").await, stage.records("revoked").await, "a lease outlived its run");
}

#[tokio::test]
async fn inv01_what_was_answered_is_in_the_ledger_after_a_kill() {
    let mut stage = Stage::started();
    let mut plans = Vec::new();
    for _ in 0..5 {
        let (_, plan) = stage.propose("sleeper").await;
        plans.push(plan["id"].as_str().unwrap().to_owned());
    }
    stage.kill();
    stage.start();
    let token = stage.person("ada");
    for plan in plans {
        assert_eq!(stage.get(&format!("/v1/plans/{plan}"), &token).await["state"], "held");
    }
    // Units went on without the gate, and were taken up again, not started anew.
    assert_eq!(stage.starts("sleeper"), 1);
}

#[tokio::test]
async fn inv13_a_control_input_that_the_ledger_did_not_activate_does_not_come_in_force() {
    let mut stage = Stage::started();
    let before = stage.get("/v1/status", &stage.person("ada")).await["inputs"].clone();
    stage.kill();
    let policy = std::fs::read_to_string(stage.path("policy.cedar")).unwrap();
    stage.write("policy.cedar", &policy.replace("@id(\"restart\")", "@id(\"restart-2\")"));
    // It starts with the text that was activated, which is kept beside the ledger.
    stage.start();
    assert_eq!(stage.get("/v1/status", &stage.person("ada")).await["inputs"], before);
}

#[tokio::test]
async fn inv05_a_token_of_another_phase_or_of_nobody_proposes_nothing() {
    let stage = Stage::started();
    let body =
        serde_json::json!({"action": "process.restart", "target": "worker", "trigger": "process.running"});
    let observer = stage.token(&["--agent", "medic", "--phase", "observe"]);
    let stranger = stage.token(&["--agent", "stranger", "--phase", "decide"]);
    for (token, expected) in
        [(observer, 403), (stranger, 403), (stage.person("ada"), 403), ("garbage".to_owned(), 401)]
    {
        let answer =
            client().post(stage.url("/v1/plans")).bearer_auth(token).json(&body).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), expected);
    }
    assert_eq!(stage.records("proposed").await, 0);
}
