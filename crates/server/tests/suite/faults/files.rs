//! The gate's other files: the latch, the head, the state of a supervised process; and an older copy of the store.

use std::{collections::BTreeSet, fs};

use serde_json::json;

use super::super::consent::{post, signed};
use super::super::stage::{Stage, client};
use super::outside::{audited, count, leases_are_dead};
use super::shim::{EIO, ENOSPC, Effect, Op, Rule};
use super::{health, held, leases_ended, propose, shimmed};

async fn halt(stage: &Stage) -> serde_json::Value {
    let request = client().post(stage.url("/v1/halt")).bearer_auth(stage.person("ada"));
    let answer = request.json(&json!({"reach": "soft"})).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.json().await.unwrap()
}

/// The whole disk is gone: nothing can be recorded, and the halt is in force all the same. It says what it could not do.
#[tokio::test]
async fn inv15_a_halt_on_a_dead_disk_is_in_force_and_says_that_it_will_not_last() {
    let (mut stage, shim) = shimmed();
    stage.start();
    stage.until("the unit runs", || stage.starts("worker") == 1);
    let rules =
        [Op::Write, Op::Sync, Op::Rename].map(|op| shim.arm(Rule::always(op, "/data/", Effect::Fail(EIO))));
    let halted = halt(&stage).await;
    assert_eq!((&halted["latched"], &halted["recorded"]), (&json!(false), &json!(false)), "{halted}");
    assert!(rules.iter().any(|rule| shim.struck(*rule) > 0));
    let (status, rule) = propose(&stage, "worker").await;
    assert_eq!((status, rule.as_str()), (503, "gate-closed"));
    assert_eq!(stage.get("/v1/status", &stage.person("ada")).await["halt"]["reach"], "soft");
    assert_eq!(stage.starts("worker"), 1);
}

/// The latch cannot be written, the ledger can, and the other way round: either of them keeps the halt across a restart.
#[tokio::test]
async fn inv15_either_the_latch_or_the_ledger_keeps_a_halt() {
    for (op, path, effect, kept) in [
        (Op::Sync, "data/halt", Effect::Fail(EIO), (false, true)),
        (Op::Write, "data/halt", Effect::Fail(ENOSPC), (false, true)),
        (Op::Rename, "data/halt", Effect::Fail(EIO), (false, true)),
        (Op::Sync, "holdpoint.db-wal", Effect::Fail(EIO), (true, false)),
    ] {
        let (mut stage, shim) = shimmed();
        stage.start();
        let rule = shim.arm(Rule::always(op, path, effect));
        let halted = halt(&stage).await;
        assert_eq!(
            (&halted["latched"], &halted["recorded"]),
            (&json!(kept.0), &json!(kept.1)),
            "{op:?} {path}"
        );
        assert!(shim.struck(rule) > 0);
        stage.kill();
        shim.lift(rule);
        stage.start();
        assert_eq!(
            stage.get("/v1/status", &stage.person("ada")).await["halt"]["reach"],
            "soft",
            "{op:?} {path}"
        );
        let (status, answer) = propose(&stage, "worker").await;
        assert!(status == 403 || status == 202, "{op:?} {path}: {status} {answer}");
        assert_eq!(count(&audited(&stage), "claimed"), 0);
    }
}

/// What is remembered beside the store cannot be written: the gate goes on, and the next start is sound.
#[tokio::test]
async fn inv11_a_head_that_cannot_be_remembered_is_no_head_that_is_wrong() {
    let (mut stage, shim) = shimmed();
    stage.start();
    for (op, effect) in
        [(Op::Write, Effect::Fail(ENOSPC)), (Op::Write, Effect::TornAndKilled), (Op::Sync, Effect::Fail(EIO))]
    {
        let rule = shim.arm(Rule::always(op, "holdpoint.db.head", effect));
        let (status, plan) = propose(&stage, "sleeper").await;
        if effect == Effect::TornAndKilled {
            assert_eq!((status, health(&stage).await), (0, 0));
        } else {
            assert_eq!((status, health(&stage).await), (202, 200), "{op:?}: {plan}");
        }
        assert!(op == Op::Sync || shim.struck(rule) > 0, "{op:?}");
        stage.kill();
        shim.lift(rule);
        stage.start();
        audited(&stage);
    }
}

/// A sweep over the state file of a supervised process: each of its writes, syncs and renames fails in one run, before
/// and after the effect, done or not. The run ends as what was measured, or in doubt; never twice, never unnoticed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv01_inv03_a_targets_memory_that_fails_anywhere_is_no_second_run() {
    let mut ends = BTreeSet::new();
    // One effect for each call: a write that found no room, a sync that failed, a rename that was done and not reported.
    for (op, effect) in [
        (Op::Write, Effect::Fail(ENOSPC)),
        (Op::Sync, Effect::Fail(EIO)),
        (Op::Rename, Effect::DoneButFailed(EIO)),
    ] {
        for skip in 0.. {
            let (mut stage, shim) = shimmed();
            stage.start();
            stage.until("the unit runs", || stage.starts("worker") == 1);
            let rule = shim.arm(Rule::once(op, "worker.json", effect).after(skip));
            let (status, plan) = propose(&stage, "worker").await;
            assert_eq!(status, 201, "{plan}");
            let (state, case) = (stage.ended(&plan).await, format!("{op:?} {effect:?} {skip}"));
            let struck = shim.struck(rule) == 1;
            leases_ended(&stage).await;
            let (records, starts) = (audited(&stage), stage.starts("worker"));
            leases_are_dead(&records);
            match state.as_str() {
                "succeeded" => assert_eq!(starts, 2, "{case}"),
                "failed" => assert_eq!(starts, 1, "{case}"),
                "in_doubt" => assert!(starts <= 2, "{case}: {starts} starts"),
                other => panic!("{case}: {other}"),
            }
            assert!(count(&records, "applying") <= 1, "{case}");
            ends.insert(state);
            if !struck {
                assert!(skip >= 2, "{case}: a run writes its announcement and its end");
                break;
            }
        }
    }
    assert_eq!(ends, ["failed", "in_doubt", "succeeded"].map(str::to_owned).into());
}

/// An older copy of the store, with the head that was remembered then: nothing on this machine can tell. The target can, and
/// so can whoever kept a later checkpoint.
#[tokio::test]
async fn inv02_inv11_t06_an_older_store_with_its_own_head_runs_nothing_twice_and_is_found_from_outside() {
    let mut stage = Stage::started();
    stage.until("the unit runs", || stage.starts("sleeper") == 1);
    let (plan, hold) = held(&stage).await;
    let approval = serde_json::to_value(signed(&stage, &hold).await).unwrap();
    stage.kill();
    let files = ["", "-wal", "-shm", ".head"].map(|end| format!("{}{end}", stage.store().display()));
    let copy: Vec<_> = files.iter().map(|file| fs::read(file).ok()).collect();
    stage.start();
    assert_eq!(post(&stage, &hold, &stage.person("ada"), &approval).await, 200);
    assert_eq!(stage.ended(&plan).await, "succeeded");
    let checkpoint =
        client().get(stage.url("/v1/ledger/checkpoint")).send().await.unwrap().text().await.unwrap();
    stage.write("kept.checkpoint", &checkpoint);
    stage.kill();
    for (file, bytes) in files.iter().zip(copy) {
        match bytes {
            Some(bytes) => fs::write(file, bytes).unwrap(),
            None => drop(fs::remove_file(file)),
        }
    }
    stage.start();
    // The hold is open again, and the approval is what a person really signed.
    assert_eq!(post(&stage, &hold, &stage.person("ada"), &approval).await, 200);
    assert_eq!(stage.ended(&plan).await, "void");
    assert_eq!(stage.starts("sleeper"), 2, "the permit ran again");
    let config = stage.path("holdpoint.yaml");
    let (copy, key, kept) = (stage.path("copy"), stage.path("log.vkey"), stage.path("kept.checkpoint"));
    stage.must(&["ledger", "export", &copy, "--config", &config, "--as", "ada"]);
    stage.must(&["ledger", "verify", &copy, "--key", &key]);
    let output = stage.cli(&["ledger", "verify", &copy, "--key", &key, "--against", &kept]);
    assert_eq!(output.status.code(), Some(9), "{}", String::from_utf8_lossy(&output.stdout));
}
