//! What people do to the gate itself: changes of its control inputs, halts, and requests that are sent again.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::stage::{POLICY, Stage, client};

/// The policy with one rule changed: what ran by itself waits for a person.
fn stricter() -> String {
    let old = "resource in Environment::\"production\");";
    assert!(POLICY.contains(old));
    POLICY.replacen(
        old,
        &format!("{} when {{ context.oversight.approvals >= 1 }};", old.trim_end_matches(';')),
        1,
    )
}

/// A command by a person.
fn by(stage: &Stage, person: &str, words: &[&str]) -> String {
    let config = stage.path("holdpoint.yaml");
    let args: Vec<_> = words.iter().copied().chain(["--config", &config, "--as", person]).collect();
    stage.must(&args)
}

async fn status(stage: &Stage) -> Value {
    stage.get("/v1/status", &stage.person("ada")).await
}

async fn until_refused(stage: &Stage, wanted: &Value) {
    let since = Instant::now();
    while status(stage).await["refused_inputs"] != *wanted {
        assert!(since.elapsed() < Duration::from_secs(60), "{}", status(stage).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What the gate answers to a restart of the worker, and on which tier.
async fn worker(stage: &Stage) -> (u16, String) {
    let (status, plan) = stage.propose("worker").await;
    if status == 201 {
        assert_eq!(stage.ended(plan["id"].as_str().unwrap()).await, "succeeded");
    }
    (status, plan["tier"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn inv13_a_policy_that_another_person_approved_is_in_force_at_once_and_after_a_restart() {
    let mut stage = Stage::started();
    let before = worker(&stage).await;
    assert_eq!(before.0, 201);
    std::fs::create_dir(stage.root().join("new")).unwrap();
    stage.write("new/policy.cedar", &stricter());
    let new = stage.path("new/policy.cedar");
    let said = by(&stage, "ben", &["change", "propose", "policy", &new, "-o", "json"]);
    let terms: Value = serde_json::from_str(&said).unwrap();
    let id = terms["terms"]["id"].as_str().unwrap().to_owned();
    let shown = by(&stage, "ada", &["change", "show", &id]);
    assert!(shown.contains("--- policy.cedar (in force)") && shown.contains("+permit"), "{shown}");
    // The author does not approve it, and nothing changed yet.
    let config = stage.path("holdpoint.yaml");
    let own = stage.cli(&["change", "approve", &id, "--yes", "--config", &config, "--as", "ben"]);
    assert_eq!(own.status.code(), Some(3), "{}", String::from_utf8_lossy(&own.stderr));
    assert_eq!(worker(&stage).await, before);

    let said = by(&stage, "ada", &["change", "approve", &id, "--yes"]);
    assert!(
        said.contains("is activated (1 of 1 approvals)") && said.contains("in force now: policy"),
        "{said}"
    );
    assert_eq!(worker(&stage).await, (202, "T3".to_owned()));
    let digest = status(&stage).await["inputs"]["policy"].clone();
    assert_eq!(digest, terms["terms"]["new"]);
    assert_eq!(std::fs::read_to_string(stage.path("policy.cedar")).unwrap(), stricter());

    stage.kill();
    stage.start();
    assert_eq!(status(&stage).await["inputs"]["policy"], digest);
    assert_eq!(worker(&stage).await, (202, "T3".to_owned()));
    assert!(by(&stage, "ben", &["change", "ls"]).contains("activated"));
}

#[tokio::test]
async fn inv14_a_policy_that_was_changed_on_disk_suspends_what_runs_by_itself() {
    let stage = Stage::started();
    assert_eq!(worker(&stage).await.0, 201);
    stage.write("policy.cedar", "permit (principal, action, resource);");
    until_refused(&stage, &json!(["policy"])).await;
    assert!(by(&stage, "ada", &["status"]).contains("on disk is another policy"));
    let (code, tier) = worker(&stage).await;
    assert_eq!((code, tier.as_str()), (202, "T3"));
    stage.write("policy.cedar", POLICY);
    until_refused(&stage, &json!([])).await;
    assert_eq!(worker(&stage).await.0, 201);
    assert_eq!((stage.records("input_refused").await, stage.records("input_restored").await), (1, 1));
}

#[tokio::test]
async fn inv15_a_halt_outlives_kill_9_and_ends_with_a_resume() {
    let mut stage = Stage::started();
    assert!(by(&stage, "ben", &["halt"]).contains("halted (soft): in force"));
    assert_eq!(stage.propose("worker").await.0, 403);
    stage.kill();
    stage.start();
    assert_eq!(status(&stage).await["halt"]["by"], "ben");
    assert_eq!(stage.propose("worker").await.0, 403);
    assert!(by(&stage, "ada", &["resume", "--yes"]).contains("resumed"));
    assert_eq!(worker(&stage).await.0, 201);

    // Without the gate: the latch file halts the next start.
    stage.kill();
    let said = by(&stage, "ada", &["halt", "--hard"]);
    assert!(said.contains("does not answer") && said.contains("data/halt"), "{said}");
    stage.start();
    let halt = status(&stage).await["halt"].clone();
    // Whoever can write the file can write any name: nobody is believed to have halted.
    assert_eq!((&halt["reach"], &halt["by"]), (&json!("hard"), &json!(null)));
    assert_eq!(stage.propose("worker").await.0, 403);
    by(&stage, "ben", &["resume", "--yes"]);
    assert_eq!(worker(&stage).await.0, 201);
}

#[tokio::test]
async fn t38_a_key_is_remembered_across_a_restart() {
    let mut stage = Stage::started();
    let token = stage.agent();
    let body = json!({"action": "process.restart", "target": "sleeper", "trigger": "process.running"});
    let send = async |stage: &Stage| {
        let request =
            client().post(stage.url("/v1/plans")).bearer_auth(&token).header("idempotency-key", "k-1");
        let answer = request.json(&body).send().await.unwrap();
        let replayed = answer.headers().contains_key("idempotency-replayed");
        (answer.status().as_u16(), replayed, answer.text().await.unwrap())
    };
    let first = send(&stage).await;
    assert_eq!((first.0, first.1), (202, false), "{}", first.2);
    stage.kill();
    stage.start();
    let again = send(&stage).await;
    assert_eq!((again.0, again.1, &again.2), (202, true, &first.2));
    assert_eq!(stage.records("proposed").await, 1);
}

#[tokio::test]
async fn a_run_that_nobody_looked_at_is_reviewed_from_the_command_line() {
    let stage = Stage::started();
    let (_, plan) = stage.propose("worker").await;
    let id = plan["id"].as_str().unwrap();
    assert_eq!(stage.ended(id).await, "succeeded");
    let owed = by(&stage, "ada", &["review", "ls"]);
    if !owed.contains(id) {
        // On T1 nobody owes a look.
        assert_eq!(plan["tier"], "T1");
    }
    let answers =
        ["--trigger-was-real", "yes", "--did-what-it-should", "yes", "--may-go-on", "yes", "--note", "fine"];
    let words: Vec<_> = ["review", "answer", id, "--yes"].into_iter().chain(answers).collect();
    assert!(by(&stage, "ada", &words).contains("is reviewed"));
    assert!(by(&stage, "ada", &["review", "ls"]).contains("nothing to look at"));
    assert_eq!(stage.records("reviewed").await, 1);
    let config = stage.path("holdpoint.yaml");
    let resolve = ["resolve", id, "--found", "as-before", "--yes", "--config", &config, "--as", "ada"];
    let refused = stage.cli(&resolve);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("not-in-doubt"));
}

/// The same file, by two people: one reports, the other confirms exactly that.
#[tokio::test]
async fn what_was_done_outside_is_reported_and_confirmed_from_one_file() {
    let stage = Stage::started();
    let file = "action: process.restart\ntarget: worker\nfrom: 2026-01-05T10:00:00Z\nuntil: 2026-01-05T10:10:00Z\n\
                people: [ada, ben]\nincident: inc-1\ndid: restarted it by hand\nreason: the gate was down with it\n\
                before: it answered nothing\nafter: |\n  it answers again\n  account  none, says whoever wrote this\n";
    stage.write("outside.yaml", file);
    let (path, config) = (stage.path("outside.yaml"), stage.path("holdpoint.yaml"));
    let run = |who: &str, args: &[&str]| {
        let args: Vec<_> =
            ["reconcile"].iter().chain(args).copied().chain(["--config", &config, "--as", who]).collect();
        let output = stage.cli(&args);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout) + &text(output.stderr))
    };
    assert!(run("ben", &[]).1.contains("nothing was done outside"));
    let (code, text) = run("ben", &[&path, "--review", "as-told", "--yes"]);
    assert!(code == 1 && text.contains("nobody reported this yet"), "{text}");
    let (code, text) = run("ada", &[&path, "--yes"]);
    assert!(code == 0 && text.contains("is reported"), "{text}");
    assert!(text.contains("| account  none, says whoever wrote this"), "marked: {text}");
    let account = text.lines().find_map(|line| line.strip_prefix("account       ")).unwrap().to_owned();
    let (code, text) = run("ada", &[&path, "--yes"]);
    assert!(code != 0 && text.contains("same-person"), "{text}");
    let (code, text) = run("ben", &[&path, "--yes"]);
    assert!(code == 0 && text.contains(&format!("{account} is confirmed")), "{text}");
    let (code, text) = run("ben", &[&account, "--review", "as-told", "--yes"]);
    assert!(code != 0 && text.contains("was-there"), "{text}");
    assert!(run("ben", &[]).1.contains("confirmed"));
    // Another time: another account, which says that there is one like it.
    stage.write("other.yaml", &file.replace("10:10", "10:20"));
    let (code, text) = run("ben", &[&stage.path("other.yaml"), "--yes"]);
    assert!(code == 0 && text.contains("is reported"), "{text}");
    stage.write("wrong.yaml", &file.replace("target:", "targets:"));
    let (code, text) = run("ben", &[&stage.path("wrong.yaml"), "--yes"]);
    assert!(code == 2 && text.contains("targets"), "{text}");
}
