//! The command line as people use it, against a gate that runs.

use std::process::{Command, Stdio};

use serde_json::Value;

use super::stage::Stage;

/// Runs a command as Ada; returns its exit code and what it printed.
fn ada(stage: &Stage, args: &[&str]) -> (i32, String) {
    let config = stage.path("holdpoint.yaml");
    let args: Vec<_> = args.iter().copied().chain(["--config", &config, "--as", "ada"]).collect();
    let output = stage.cli(&args);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout) + &text(output.stderr))
}

#[tokio::test]
async fn a_hold_is_looked_at_from_all_sides_and_watched_to_its_end() {
    let stage = Stage::started();
    stage.until("the unit runs", || stage.starts("sleeper") == 1);
    let (_, proposed) = stage.propose("sleeper").await;
    let (id, hold) = (proposed["id"].as_str().unwrap(), proposed["hold"].as_str().unwrap());

    let cases: [(&[&str], i32, &str); 22] = [
        (&["get", "plans"], 0, id),
        (&["get", id], 0, "rule    "),
        (&["get", id, "--wait"], 4, "waits for people"),
        (&["get", "plan", id, "--timeout", "100ms"], 4, "waits for people"),
        (&["get", "holds", "-o", "wide"], 0, id),
        (&["get", "actions", "-o", "wide"], 0, "self_heals"),
        (&["get", "inventory", "-o", "wide"], 0, "worker"),
        (&["describe", id], 0, "the agent's own words, which prove nothing"),
        (&["describe", hold], 0, "approved  0 of 1"),
        (&["describe", "process.restart"], 0, "verified by   process.running for 100 ms"),
        (&["describe", "worker"], 0, "service       pool"),
        (&["describe", "nobody"], 1, "the inventory has no target `nobody`"),
        (&["explain", id], 0, "waits for people, at T3"),
        (&["catalog", "ls"], 0, "process.restart"),
        (&["catalog", "show", "process.restart"], 0, "because of    process.running"),
        (&["blast", "worker", "process.restart"], 0, "50 % (at most 100)"),
        (&["blast", "process.restart", "worker"], 2, "the target comes first"),
        (&["probe", "process.restart", "worker"], 0, "trigger"),
        (&["probe", "process.running", "worker"], 0, "holds: 1 of 1"),
        (&["probe", "process.gone", "worker"], 1, "no-such-condition"),
        (&["get", "plums"], 2, "expected plans, holds"),
        (&["get", "plans", "--url", "http://127.0.0.1:1"], 8, "nothing was started"),
    ];
    for (args, code, said) in cases {
        let (got, text) = ada(&stage, args);
        assert_eq!(got, code, "{args:?}: {text}");
        assert!(text.contains(said), "{args:?}: expected `{said}` in {text}");
        assert!(!text.contains('\x1b'), "{args:?}: colour without a terminal");
    }
    let json: Value = serde_json::from_str(&ada(&stage, &["get", id, "-o", "json"]).1).unwrap();
    let yaml: Value = serde_saphyr::from_str(&ada(&stage, &["get", id, "-o", "yaml"]).1).unwrap();
    assert_eq!((&json["state"], &json), (&"held".into(), &yaml));

    let config = stage.path("holdpoint.yaml");
    let watching = Command::new(env!("CARGO_BIN_EXE_holdpoint"))
        .args(["watch", id, "--config", &config, "--as", "ada"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (code, text) = ada(&stage, &["requests", "approve", hold, "--yes"]);
    assert_eq!(code, 0, "{text}");
    let watched = watching.wait_with_output().unwrap();
    let text = String::from_utf8(watched.stdout).unwrap();
    assert_eq!(watched.status.code(), Some(0), "{text}");
    let place = |word: &str| text.find(word).unwrap_or_else(|| panic!("no `{word}` in {text}"));
    assert!(
        place("proposed the plan") < place("the effect of step 1 begins")
            && place("the effect of step 1 begins") < place("succeeded")
    );
    assert_eq!(ada(&stage, &["get", id, "--wait"]).0, 0);
}

#[test]
fn the_program_documents_itself_without_a_gate() {
    let run = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_holdpoint")).args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let api: Value = serde_json::from_str(&run(&["api"])).unwrap();
    assert_eq!(api["openapi"], "3.1.0");
    assert!(run(&["completions", "bash"]).contains("holdpoint__subcmd__explain"));
    assert!(run(&["man"]).contains(".TH holdpoint 1"));
}
