//! Requests that come many times, at once, in another order, and again after a crash.

use holdpoint_domain::approval::Choice;
use serde_json::json;

use super::super::consent::{post, signed, signed_as};
use super::super::stage::{Stage, client};
use super::held;
use super::outside::{audited, count};

/// Clients of one storm.
const CLIENTS: usize = 200;

/// One key and one body from two hundred clients, each of which comes again until it is answered, while the gate is killed
/// and started: one plan, one run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv02_t38_a_storm_of_one_request_through_a_crash_is_one_plan_and_one_run() {
    let mut stage = Stage::started();
    stage.until("the unit runs", || stage.starts("worker") == 1);
    let (agent, url, http) = (stage.agent(), stage.url("/v1/plans"), client());
    let body = json!({"action": "process.restart", "target": "worker", "trigger": "process.running"});
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let request = http.post(&url).bearer_auth(&agent).header("idempotency-key", "storm").json(&body);
            tokio::spawn(async move {
                let mut pause = std::time::Duration::from_millis(50);
                loop {
                    match request.try_clone().unwrap().send().await {
                        Ok(answer) if answer.status().as_u16() != 503 => {
                            let status = answer.status().as_u16();
                            let answer: serde_json::Value = answer.json().await.unwrap_or_default();
                            return (status, answer);
                        }
                        // Turned away, or the gate is gone: come again, later each time.
                        Ok(_) | Err(_) => {}
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(std::time::Duration::from_secs(2));
                }
            })
        })
        .collect();
    // In the middle of it: some are answered, most are not.
    stage.until("the storm is there", || clients.iter().any(tokio::task::JoinHandle::is_finished));
    stage.kill();
    stage.start();
    let mut plans = std::collections::BTreeSet::new();
    for client in clients {
        match client.await.unwrap() {
            (201, answer) => drop(plans.insert(answer["id"].as_str().unwrap().to_owned())),
            (409, answer) => assert_eq!(answer["rule"], "idempotency-in-progress", "{answer}"),
            (status, answer) => panic!("{status}: {answer}"),
        }
    }
    assert!(plans.len() <= 1, "one key made {plans:?}");
    let shown = stage.get("/v1/plans", &stage.person("ada")).await;
    let id = match shown["plans"][0]["id"].as_str() {
        Some(id) => id.to_owned(),
        None => {
            // It was killed after it took the key and before there was a plan. Nobody was told of one, and none comes: whoever
            // looks and finds nothing asks with a key of its own.
            assert!(plans.is_empty(), "{plans:?} of {shown}");
            let request = http.post(&url).bearer_auth(&agent).header("idempotency-key", "calm").json(&body);
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status().as_u16(), 201);
            answer.json::<serde_json::Value>().await.unwrap()["id"].as_str().unwrap().to_owned()
        }
    };
    let state = stage.ended(&id).await;
    let records = audited(&stage);
    assert_eq!(count(&records, "proposed"), 1);
    assert!(count(&records, "applying") <= 1 && stage.starts("worker") <= 2, "{state}");
}

#[tokio::test]
async fn inv02_decisions_in_every_order_have_one_effect() {
    let mut stage = Stage::started();
    stage.until("the unit runs", || stage.starts("sleeper") == 1);
    // No before yes: the yes is too late, also when it comes twice, and after a crash.
    let (_, hold) = held(&stage).await;
    let yes = serde_json::to_value(signed(&stage, &hold).await).unwrap();
    let no = serde_json::to_value(signed_as(&stage, &hold, Choice::Reject).await).unwrap();
    assert_eq!(post(&stage, &hold, &stage.person("ada"), &no).await, 200);
    for _ in 0..2 {
        assert_eq!(post(&stage, &hold, &stage.person("ada"), &yes).await, 409);
    }
    // Yes before no: it runs once, and the no, and a second yes, are too late.
    let (second, later) = held(&stage).await;
    let yes_to_it = serde_json::to_value(signed(&stage, &later).await).unwrap();
    let no_to_it = serde_json::to_value(signed_as(&stage, &later, Choice::Reject).await).unwrap();
    assert_eq!(post(&stage, &later, &stage.person("ada"), &yes_to_it).await, 200);
    for statement in [&no_to_it, &yes_to_it] {
        assert_eq!(post(&stage, &later, &stage.person("ada"), statement).await, 409);
    }
    assert_eq!(stage.ended(&second).await, "succeeded");
    stage.kill();
    stage.start();
    for (hold, statement) in [(&hold, &yes), (&later, &yes_to_it), (&later, &no_to_it)] {
        assert_eq!(post(&stage, hold, &stage.person("ada"), statement).await, 409, "after a crash");
    }
    let records = audited(&stage);
    assert_eq!(
        (count(&records, "permitted"), count(&records, "applying"), stage.starts("sleeper")),
        (1, 1, 2)
    );
}
