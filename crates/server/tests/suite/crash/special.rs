//! Crashes that need more than a scenario: before the first start, on a full disk, over a damaged table, in a second start, and
//! with somebody else at work.

use std::fs;

use holdpoint_adapters::step::{Moment, Step};
use serde_json::json;

use super::{
    drive::{Case, Scenario, crash, crashed, recovered, scene},
    judge::judge,
    scene::{Scene, drill, was_killed},
};

/// The steps that are crashed here and not in the table, and those that are crashed beside witnesses, roles and
/// receivers of messages.
pub(super) const STEPS: [Step; 13] = [
    Step::KeyFile,
    Step::InitFile,
    Step::StoreMend,
    Step::ReserveRelease,
    Step::UnitAdopt,
    Step::CosignHead,
    Step::CosignEvidence,
    Step::CosignAsk,
    Step::CosignKeep,
    Step::NotifySend,
    Step::NotifyKeep,
    Step::ConsentKeep,
    Step::RoleAsk,
];

/// What `init` makes.
const MADE: [&str; 7] = [
    "data/keys/checkpoint.key",
    "data/keys/evidence.key",
    "data/keys/permit.key",
    "data/keys/identity.key",
    "data/keys/identities.jwks",
    "executor.yaml",
    "log.vkey",
];

#[tokio::test]
async fn inv13_an_init_that_is_cut_short_is_finished_by_the_next() {
    let times = [(Step::KeyFile, 1), (Step::KeyFile, 4), (Step::InitFile, 1), (Step::InitFile, 3)];
    for (step, nth) in times {
        for moment in Moment::ALL {
            let scene = Scene::bare();
            let mut first = scene.spawn(&["init"], Some(&drill(step, moment, nth)));
            let status = first.wait().await.unwrap();
            let is_last = (step, nth, moment) == (Step::InitFile, 3, Moment::After);
            // Nothing comes after the last file that could be crashed.
            assert!(was_killed(status) != is_last, "{step:?} {nth} {moment:?}: {status}");
            let whole = |name: &str| fs::read(scene.path(name)).ok();
            let before = MADE.map(whole);
            assert!(
                scene.spawn(&["init"], None).wait().await.unwrap().success(),
                "{step:?} {nth} {moment:?}"
            );
            for (name, before) in MADE.iter().zip(before) {
                let now = whole(name).unwrap();
                assert!(!now.is_empty(), "{name} is empty after {step:?} {nth} {moment:?}");
                assert!(before.is_none_or(|before| before == now), "{name} was made twice");
            }
            let (gate, ledger) = recovered(&scene).await;
            assert_eq!(ledger.count("genesis"), 1);
            drop(gate);
        }
    }
}

#[tokio::test]
async fn inv11_tables_that_are_mended_are_mended_to_the_end() {
    for moment in Moment::ALL {
        // A run to its end, and then a table that says something else than the records.
        let last =
            Case { scenario: Scenario::Restart, step: Step::StoreCommit, moment: Moment::After, nth: 9 };
        let scene = crashed(last).await;
        let store = scene.path("data/holdpoint.db");
        let conn = rusqlite::Connection::open(&store).unwrap();
        assert_eq!(conn.execute("UPDATE plans SET state = 'failed', tier = 'T0'", []).unwrap(), 1);
        drop(conn);
        let case = Case { scenario: Scenario::Restart, step: Step::StoreMend, moment, nth: 1 };
        crash(&scene, case).await;
        let (gate, ledger) = recovered(&scene).await;
        judge(&scene, case, &ledger).await;
        let plans = scene.get("/v1/plans", &scene.person("ada")).await.unwrap();
        assert_eq!(plans["plans"][0]["state"], "succeeded", "{plans}");
        drop(gate);
    }
}

#[tokio::test]
async fn inv02_a_process_that_was_found_by_its_mark_is_not_started_again() {
    for moment in Moment::ALL {
        let first =
            Case { scenario: Scenario::Birth, step: Step::UnitSpawn, moment: Moment::Unreported, nth: 1 };
        let scene = crashed(first).await;
        let case = Case { scenario: Scenario::Birth, step: Step::UnitAdopt, moment, nth: 1 };
        crash(&scene, case).await;
        let (gate, ledger) = recovered(&scene).await;
        judge(&scene, case, &ledger).await;
        drop(gate);
    }
}

#[tokio::test]
async fn inv01_the_reserve_is_given_away_and_set_aside_again() {
    for moment in Moment::ALL {
        let mut scene = Scene::new();
        if !scene.on_a_small_disk() {
            println!(
                "no file system of our own can be mounted here: the store's own tests fill one by its page limit"
            );
            return;
        }
        let words = drill(Step::ReserveRelease, moment, 1);
        let mut gate = scene.spawn(&["serve"], Some(&words));
        scene.answers().await;
        scene.keep().await;
        // Somebody fills the disk to the last byte.
        let mut filler = fs::File::create(scene.path("data/filler")).unwrap();
        std::io::copy(&mut std::io::repeat(7), &mut filler).unwrap_err();
        // An open file keeps its room although its name is gone.
        drop(filler);
        // A halt must be recorded, again and again until the room in the last page is used up.
        let halted = async {
            while scene.post("/v1/halt", &scene.person("ben"), &json!({"reach": "soft"})).await.is_some() {}
            std::future::pending::<()>().await;
        };
        let status = tokio::select! {
            status = gate.wait() => status.unwrap(),
            () = halted => panic!("{moment:?}: nobody halts any more"),
        };
        assert!(was_killed(status), "{moment:?}: {status}\n{}", scene.read("gate.log"));
        fs::remove_file(scene.path("data/filler")).unwrap();
        let (gate, ledger) = recovered(&scene).await;
        assert_eq!(ledger.count("genesis"), 1);
        let reserve = fs::metadata(scene.path("data/holdpoint.db.reserve")).unwrap();
        assert_eq!(reserve.len(), holdpoint_adapters::store::DEFAULT_RESERVE_BYTES, "{moment:?}");
        // What is recorded is in force: the file never fitted, so memory and ledger are all there is.
        let status = scene.get("/v1/status", &scene.person("ada")).await.unwrap();
        assert_eq!(ledger.count("halted") > 0, !status["halt"].is_null(), "inv15: {status}");
        drop(gate);
    }
}

#[tokio::test]
async fn inv02_what_somebody_changed_since_is_not_undone() {
    let times = [
        (Step::PlaceSwap, 1, Moment::Unreported),
        (Step::PlaceTell, 1, Moment::Unreported),
        (Step::MemoryFinish, 1, Moment::Unreported),
        // The records `applied` and `undoing`.
        (Step::StoreCommit, 8, Moment::Unreported),
        (Step::StoreCommit, 9, Moment::Unreported),
        (Step::MemoryBegin, 2, Moment::Unreported),
    ];
    for (step, nth, moment) in times {
        let scene = crashed(Case { scenario: Scenario::Setting, step, moment, nth }).await;
        let theirs = format!("{}# by hand\n", scene.read("setting.env"));
        assert!(theirs.contains("POOL=20"), "the effect was made");
        fs::write(scene.path("setting.env"), &theirs).unwrap();
        let (gate, ledger) = recovered(&scene).await;
        assert_eq!(scene.read("setting.env"), theirs, "{step:?} {nth}: somebody's change is gone");
        assert_eq!(ledger.end().as_deref(), Some("in_doubt"), "{step:?} {nth}");
        drop(gate);
    }
}

#[tokio::test]
async fn inv03_what_is_in_doubt_stays_so_through_every_start() {
    let case =
        Case { scenario: Scenario::Restart, step: Step::UnitSignal, moment: Moment::Unreported, nth: 3 };
    let scene = scene(case.scenario);
    crash(&scene, case).await;
    for _ in 0..3 {
        let (mut gate, ledger) = recovered(&scene).await;
        judge(&scene, case, &ledger).await;
        assert_eq!(ledger.end().as_deref(), Some("in_doubt"));
        assert_eq!((scene.starts().len(), ledger.count("in_doubt")), (1, 1), "nobody starts it but a person");
        gate.kill().await.unwrap();
    }
}

#[tokio::test]
async fn words_that_are_no_drill_refuse_the_start() {
    let scene = Scene::new();
    for words in ["", "latch-write", "latch:before", "latch-write:during", "latch-write:before:0"] {
        let status = scene.spawn(&["serve"], Some(words)).wait().await.unwrap();
        assert_eq!(status.code(), Some(2), "{words:?}");
    }
    assert!(!scene.path("data/holdpoint.db").exists(), "a gate with a wrong drill made its store");
    let said = scene.read("gate.log");
    assert!(said.contains("expected the name of a step"), "{said}");
}
