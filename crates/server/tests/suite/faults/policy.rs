//! Policies that are huge, endless, broken, or that come and go: the activated one stays in force.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::symlink,
    process::Command,
};

use super::super::stage::{POLICY, Stage};
use super::outside::{audited, count};
use super::propose;

const SIZE: u64 = 100 * 1024 * 1024;

/// A name, and what puts it at a path.
type Stand = (&'static str, fn(&str));

/// What somebody puts in the place of the policy.
const INSTEAD: [Stand; 4] = [
    ("100 MiB", |path| OpenOptions::new().write(true).open(path).unwrap().set_len(SIZE).unwrap()),
    ("a device without end", |path| {
        fs::remove_file(path).unwrap();
        symlink("/dev/zero", path).unwrap();
    }),
    ("a pipe that nobody writes into", |path| {
        fs::remove_file(path).unwrap();
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    }),
    ("a rule that always fails", |path| {
        let failing =
            "@id(\"f\") permit (principal, action, resource) when { context.blast.services / 0 > 1 };";
        fs::write(path, format!("{POLICY}{failing}")).unwrap();
    }),
];

async fn refused(stage: &Stage) -> usize {
    stage.get("/v1/status", &stage.person("ada")).await["refused_inputs"].as_array().unwrap().len()
}

async fn until_refused(stage: &Stage, number: usize) {
    while refused(stage).await != number {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// Each comes and goes: while it is there, nothing runs without a person, under the policy that was activated.
#[tokio::test]
async fn inv13_t36_a_policy_that_flaps_between_good_and_useless_suspends_and_is_back_each_time() {
    let stage = Stage::started();
    stage.until("the unit runs", || stage.starts("worker") == 1);
    let before = stage.get("/v1/status", &stage.person("ada")).await["inputs"].clone();
    let path = stage.path("policy.cedar");
    for (what, put) in INSTEAD {
        put(&path);
        until_refused(&stage, 1).await;
        let (status, plan) = propose(&stage, "worker").await;
        assert_eq!(status, 202, "{what}: it waits for a person: {plan}");
        assert_eq!(stage.get("/v1/status", &stage.person("ada")).await["inputs"], before, "{what}");
        let _ = fs::remove_file(&path);
        fs::write(&path, POLICY).unwrap();
        until_refused(&stage, 0).await;
    }
    let records = audited(&stage);
    assert_eq!((count(&records, "input_refused"), count(&records, "input_restored")), (4, 4));
    assert_eq!((count(&records, "permitted"), stage.starts("worker")), (0, 1));
    // As before it all: a plan that needs no person runs.
    let (status, plan) = propose(&stage, "worker").await;
    assert_eq!((status, stage.ended(&plan).await.as_str()), (201, "succeeded"));
}

#[tokio::test]
async fn inv13_t36_a_gate_starts_with_the_activated_policy_whatever_is_in_its_place() {
    let mut stage = Stage::started();
    let before = stage.get("/v1/status", &stage.person("ada")).await["inputs"].clone();
    for (what, put) in INSTEAD {
        stage.kill();
        put(&stage.path("policy.cedar"));
        stage.start();
        assert_eq!(stage.get("/v1/status", &stage.person("ada")).await["inputs"], before, "{what}");
        assert_eq!(refused(&stage).await, 1, "{what}");
        let _ = fs::remove_file(stage.path("policy.cedar"));
        fs::write(stage.path("policy.cedar"), POLICY).unwrap();
    }
    // A gate that never had another one does not begin with such a file.
    for (what, put) in INSTEAD {
        let fresh = Stage::new();
        put(&fresh.path("policy.cedar"));
        assert!(!fresh.refused().is_empty(), "{what}");
    }
}
