//! Approvals: bound to the exact plan, good for one run.

use serde_json::{Value, json};

use super::{
    consent::{post, signed},
    stage::{Stage, client},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv02_t05_one_approval_used_1000_times_at_once_starts_one_run() {
    let stage = Stage::started();
    let (status, plan) = stage.propose("sleeper").await;
    assert_eq!((status, plan["tier"].as_str()), (202, Some("T3")), "{plan}");
    let (id, hold) = (plan["id"].as_str().unwrap(), plan["hold"].as_str().unwrap());
    stage.until("the unit runs", || stage.starts("sleeper") == 1);

    let body = serde_json::to_value(signed(&stage, hold).await).unwrap();
    let (token, http) = (stage.person("ada"), client());
    let url = stage.url(&format!("/v1/holds/{hold}/decisions"));
    let calls = (0..1000).map(|_| {
        let request = http.post(&url).bearer_auth(&token).json(&body);
        tokio::spawn(async move {
            let mut pause = std::time::Duration::from_millis(100);
            loop {
                // Turned away for want of room: come again, so that all thousand are really decided on. Later each time, as a
                // client should: else the machine does nothing but turn them away, and the run misses its start window.
                match request.try_clone().unwrap().send().await.map(|answer| answer.status().as_u16()) {
                    Ok(503) | Err(_) => {}
                    Ok(status) => return status,
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(std::time::Duration::from_secs(3));
            }
        })
    });
    let mut taken = 0;
    for call in calls.collect::<Vec<_>>() {
        match call.await.unwrap() {
            200 => taken += 1,
            409 => {}
            other => panic!("expected 200 or 409, got {other}"),
        }
    }
    assert_eq!(taken, 1, "the approval was taken more than once");
    assert_eq!(stage.ended(id).await, "succeeded");
    assert_eq!(stage.records("claimed").await, 1);
    assert_eq!(stage.records("applying").await, 1);
    assert_eq!(stage.starts("sleeper"), 2, "started once at the beginning and once by the run");
}

#[tokio::test]
async fn inv04_t01_no_approval_with_one_field_changed_counts() {
    let stage = Stage::started();
    let (_, plan) = stage.propose("sleeper").await;
    let hold = plan["hold"].as_str().unwrap();
    let good = serde_json::to_value(signed(&stage, hold).await).unwrap();
    let token = stage.person("ada");
    let mut paths = Vec::new();
    leaves(&good, &mut Vec::new(), &mut paths);
    assert!(paths.len() >= 15, "{paths:?}");
    for path in &paths {
        let mut bad = good.clone();
        let leaf = path.iter().fold(&mut bad, |value, key| value.get_mut(key).unwrap());
        *leaf = other(leaf);
        let status = post(&stage, hold, &token, &bad).await;
        assert!((400..500).contains(&status), "{}: {status}", path.join("."));
    }
    // Whoever brings it must be who signed it, and no agent may.
    assert_eq!(post(&stage, hold, &stage.person("ben"), &good).await, 403);
    assert_eq!(post(&stage, hold, &stage.agent(), &good).await, 403);
    assert_eq!(stage.records("approved").await, 0);
    assert_eq!(stage.records("permitted").await, 0);
    // The unchanged one still counts: the test could have failed.
    assert_eq!(post(&stage, hold, &token, &good).await, 200);
    assert_eq!(stage.ended(plan["id"].as_str().unwrap()).await, "succeeded");
}

#[tokio::test]
async fn t03_an_approval_never_lifts_the_gate_for_the_next_plan() {
    let stage = Stage::started();
    let (_, first) = stage.propose("sleeper").await;
    let hold = first["hold"].as_str().unwrap();
    let approval = serde_json::to_value(signed(&stage, hold).await).unwrap();
    assert_eq!(post(&stage, hold, &stage.person("ada"), &approval).await, 200);
    assert_eq!(stage.ended(first["id"].as_str().unwrap()).await, "succeeded");

    let (status, second) = stage.propose("sleeper").await;
    assert_eq!(status, 202, "the same plan next time needs a new approval: {second}");
    let other_hold = second["hold"].as_str().unwrap();
    assert_eq!(post(&stage, other_hold, &stage.person("ada"), &approval).await, 400);
    assert_eq!(stage.starts("sleeper"), 2);
}

#[tokio::test]
async fn t08_a_target_that_changed_since_the_approval_is_not_touched() {
    let stage = Stage::started();
    let (_, plan) = stage.propose("sleeper").await;
    let (id, hold) = (plan["id"].as_str().unwrap(), plan["hold"].as_str().unwrap());
    let approval = serde_json::to_value(signed(&stage, hold).await).unwrap();
    // Another plan restarts it meanwhile: the version that was approved is gone.
    let (_, earlier) = stage.propose("sleeper").await;
    let earlier_hold = earlier["hold"].as_str().unwrap();
    let theirs = serde_json::to_value(signed(&stage, earlier_hold).await).unwrap();
    assert_eq!(post(&stage, earlier_hold, &stage.person("ada"), &theirs).await, 200);
    assert_eq!(stage.ended(earlier["id"].as_str().unwrap()).await, "succeeded");

    assert_eq!(post(&stage, hold, &stage.person("ada"), &approval).await, 200);
    assert_eq!(stage.ended(id).await, "void");
    let shown = stage.get(&format!("/v1/plans/{id}"), &stage.person("ada")).await;
    assert!(shown["run"]["worse"][0].as_str().unwrap().contains("the target changed"), "{shown}");
    assert_eq!(stage.starts("sleeper"), 2);
}

fn leaves(value: &Value, at: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                at.push(key.clone());
                leaves(field, at, found);
                at.pop();
            }
        }
        _ => found.push(at.clone()),
    }
}

/// Another value of the same shape.
fn other(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_u64().unwrap() + 1),
        Value::String(text) if text == "T3" => json!("T2"),
        Value::String(text) if text == "approve" => json!("reject"),
        Value::String(text) => {
            let last = text.chars().last().unwrap();
            let swapped = if last == 'a' { 'b' } else { 'a' };
            json!(format!("{}{swapped}", &text[..text.len() - last.len_utf8()]))
        }
        _ => panic!("no other value for {value}"),
    }
}
