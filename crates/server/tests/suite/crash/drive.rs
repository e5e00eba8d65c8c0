//! What is done to a gate until it dies, and the world before and after.

use std::{
    fs,
    time::{Duration, Instant},
};

use holdpoint_adapters::step::{Moment, Step};
use serde_json::{Value, json};
use tokio::process::Child;

use super::{
    judge::{self, Ledger},
    nginx::Nginx,
    scene::{PATIENCE, PAUSE, Scene, drill, was_killed},
};

/// How many records more a gate that was driven to the end may make before its step counts as never reached.
const NUDGES: u32 = 200;
/// How often it is looked whether everything is settled: the gate's clockwork goes twice a second.
const SETTLE_PAUSE: Duration = Duration::from_millis(200);

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scenario {
    /// The gate's first start: its store, its reserve, its unit.
    Birth,
    /// A worker is restarted.
    Restart,
    /// A flag is turned off, which helps.
    Flag,
    /// A setting is approved, does not help, and is undone.
    Setting,
    /// A setting whose reader does not take it.
    Stubborn,
    /// A token is rotated, approved by two.
    Secret,
    /// A job of an HTTP runner.
    Job,
    /// A job that never ends, and is cancelled.
    Stall,
    /// A server behind nginx is isolated.
    Nginx,
    /// Everything is halted.
    Halt,
    /// A halt ends.
    Resume,
    /// The policy is replaced, approved by another administrator.
    Change,
    /// The gate is asked to stop.
    Shutdown,
}

/// One crash.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    pub(super) scenario: Scenario,
    pub(super) step: Step,
    pub(super) moment: Moment,
    pub(super) nth: u32,
}

/// The scene that a scenario needs.
pub(super) fn scene(scenario: Scenario) -> Scene {
    let mut scene = Scene::new();
    if scenario == Scenario::Nginx {
        scene.nginx = Some(Nginx::start(scene.path("").as_path()));
    }
    scene
}

/// Drives a gate with the case's drill until it has killed itself, and returns the scene as it was left.
pub(super) async fn crashed(case: Case) -> Scene {
    let scene = scene(case.scenario);
    crash(&scene, case).await;
    scene
}

/// As [`crashed`], in a scene that is there.
pub(super) async fn crash(scene: &Scene, case: Case) {
    let words = drill(case.step, case.moment, case.nth);
    let mut gate = scene.spawn(&["serve"], Some(&words));
    let pid = gate.id();
    let driven = async {
        let done = driven(scene, case.scenario, pid).await;
        for _ in 0..NUDGES {
            // A record more: with it comes the next step, where nothing else is due.
            let nothing =
                json!({"action": "process.restart", "target": "nowhere", "trigger": "process.running"});
            let _ = scene.post("/v1/plans", &scene.agent(), &nothing).await;
            tokio::time::sleep(PAUSE).await;
        }
        done
    };
    let status = tokio::select! {
        status = gate.wait() => status.unwrap(),
        done = driven => panic!("{case:?}: never reached (driven to the end: {done:?})\n{}", scene.read("gate.log")),
    };
    assert!(was_killed(status), "{case:?}: ended with {status}\n{}", scene.read("gate.log"));
}

/// Starts the gate without a drill, and waits until nothing is under way any more.
pub(super) async fn recovered(scene: &Scene) -> (Child, Ledger) {
    let gate = scene.spawn(&["serve"], None);
    scene.answers().await;
    let since = Instant::now();
    loop {
        // Each look exports and verifies the whole log: seldom, so that the gate gets on with it.
        tokio::time::sleep(SETTLE_PAUSE).await;
        let ledger = Ledger::exported(scene).await;
        if ledger.is_settled() {
            return (gate, ledger);
        }
        assert!(since.elapsed() < PATIENCE, "nothing is settled: {}", scene.read("gate.log"));
    }
}

/// One crash from its start to the verdict.
pub(super) async fn check(case: Case) {
    let scene = crashed(case).await;
    let (gate, ledger) = recovered(&scene).await;
    judge::judge(&scene, case, &ledger).await;
    drop(gate);
}

/// Plays a scenario against a gate; nothing when the gate died over it.
async fn driven(scene: &Scene, scenario: Scenario, pid: Option<u32>) -> Option<()> {
    scene.answers().await;
    scene.keep().await;
    scene.until("the worker runs", async || (!scene.starts().is_empty()).then_some(())).await;
    match scenario {
        Scenario::Birth => Some(()),
        Scenario::Restart => run(scene, "process.restart", "worker", &[]).await,
        Scenario::Flag => run(scene, "flags.disable", "flag", &[]).await,
        Scenario::Setting => run(scene, "config.set-pool", "setting", &["ada"]).await,
        Scenario::Stubborn => run(scene, "config.set-pool", "stubborn", &["ada"]).await,
        Scenario::Secret => run(scene, "secret.rotate", "token", &["ada", "cleo"]).await,
        Scenario::Job => run(scene, "job.clear", "cache", &[]).await,
        Scenario::Stall => run(scene, "job.stall", "stalled", &[]).await,
        Scenario::Nginx => run(scene, "nginx.isolate", "web", &[]).await,
        Scenario::Halt => halt(scene).await,
        Scenario::Resume => {
            halt(scene).await?;
            scene.resume("ada").await
        }
        Scenario::Change => change(scene).await,
        Scenario::Shutdown => {
            run(scene, "process.restart", "worker", &[]).await?;
            let pid = rustix::process::Pid::from_raw(i32::try_from(pid?).unwrap())?;
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
            std::future::pending().await
        }
    }
}

/// Proposes a plan, has people approve it, and waits for its end.
async fn run(scene: &Scene, action: &str, target: &str, approvers: &[&str]) -> Option<()> {
    let trigger = if action == "process.restart" { "process.running" } else { "site.bad" };
    let mut plan = json!({"action": action, "target": target, "trigger": trigger});
    if action == "config.set-pool" {
        plan["params"] = json!({"pool_size": 20});
    }
    let (status, answer) = scene.post("/v1/plans", &scene.agent(), &plan).await?;
    let expected = if approvers.is_empty() { 201 } else { 202 };
    assert_eq!(status, expected, "{answer}");
    for person in approvers {
        scene.approve(answer["hold"].as_str().unwrap(), person).await?;
    }
    let (path, person) = (format!("/v1/plans/{}", answer["id"].as_str().unwrap()), scene.person("ada"));
    loop {
        let shown = scene.get(&path, &person).await?;
        scene.keep().await;
        if shown["state"].as_str().is_none_or(judge::is_end) {
            return Some(());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn halt(scene: &Scene) -> Option<()> {
    let (status, answer) = scene.post("/v1/halt", &scene.person("ben"), &json!({"reach": "soft"})).await?;
    assert_eq!((status, &answer["latched"]), (200, &json!(true)), "{answer}");
    // From here on nobody may start anything, whatever happens to the gate.
    fs::write(scene.path("halt-answered"), "").unwrap();
    Some(())
}

/// The policy with a rule more.
pub(super) fn other_policy(scene: &Scene) -> String {
    let added = "@id(\"noted\")\npermit (principal is Person in Team::\"nobody\", action == Action::\"approve\", resource);\n";
    format!("{}{added}", include_str!("files/policy.cedar"))
        .replace("{{dir}}", scene.path("").to_str().unwrap())
}

async fn change(scene: &Scene) -> Option<()> {
    fs::create_dir_all(scene.path("new")).unwrap();
    fs::write(scene.path("new/policy.cedar"), other_policy(scene)).unwrap();
    let new = scene.path("new/policy.cedar").display().to_string();
    let said = scene.command(&["change", "propose", "policy", &new, "-o", "json", "--as", "ben"]).await?;
    let terms: Value = serde_json::from_str(&said).unwrap();
    let id = terms["terms"]["id"].as_str().unwrap().to_owned();
    scene.command(&["change", "approve", &id, "--yes", "--as", "ada"]).await?;
    scene.keep().await;
    Some(())
}
