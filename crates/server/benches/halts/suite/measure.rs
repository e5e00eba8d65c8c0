//! The measurements.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{
    consent::end_of_halt,
    scene::Scene,
    stage::{PATIENCE, client},
};

/// The pause between two looks from outside.
const LOOK: Duration = Duration::from_millis(1);
/// For how long after a halt effects are looked for, at least.
const AFTER: Duration = Duration::from_secs(3);
/// Each scene halts so much later in the life of its run than the one before.
const LATER: Duration = Duration::from_millis(15);
/// A run in one of these states does nothing more by itself.
const OVER: [&str; 6] = ["succeeded", "failed", "undone", "undo_failed", "in_doubt", "void"];

/// Prints a key and a value on each line.
pub(crate) async fn all(rounds: usize, scenes: usize) {
    known(rounds).await;
    let (mut last_effects, mut ends) = (Vec::new(), Vec::new());
    for number in 0..scenes {
        let (last_effect, end) = in_flight(LATER * number as u32).await;
        last_effects.push(last_effect);
        ends.push(end);
    }
    report("halt_last_effect", last_effects);
    report("halt_run_over", ends);
}

/// Median and worst of some times.
fn report(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let ms = |took: Duration| took.as_secs_f64() * 1e3;
    println!("{what}_of {}", times.len());
    println!("{what}_p50_ms {:.1}", ms(times[times.len() / 2]));
    println!("{what}_worst_ms {:.1}", ms(times[times.len() - 1]));
}

async fn halt(url: String, token: String, reach: &'static str) {
    let sent = client().post(url).bearer_auth(token).json(&json!({"reach": reach})).send().await.unwrap();
    assert_eq!(sent.status().as_u16(), 200);
}

/// Halts and lets go on, again and again, with nothing else to do.
async fn known(rounds: usize) {
    let scene = Scene::started("T1");
    let latches: Vec<PathBuf> = ["issuer", "executor"]
        .map(|role| scene.stage.root().join(format!("roles/{role}/data/halt-of-gate")))
        .into();
    let (mut answers, mut knowing) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (url, ben) = (scene.stage.url("/v1/halt"), scene.stage.person("ben"));
        let begun = Instant::now();
        let halting = tokio::spawn(async move {
            halt(url, ben, "soft").await;
            begun.elapsed()
        });
        while !latches.iter().all(|latch| latch.exists()) {
            assert!(begun.elapsed() < PATIENCE, "the roles do not know: {}", scene.stage.log());
            tokio::time::sleep(LOOK).await;
        }
        knowing.push(begun.elapsed());
        answers.push(halting.await.unwrap());
        let signed = end_of_halt(&scene.stage, "ben").await;
        let resume = client().post(scene.stage.url("/v1/resume")).bearer_auth(scene.stage.person("ben"));
        assert_eq!(resume.json(&signed).send().await.unwrap().status().as_u16(), 200);
        scene.stage.until("the roles know of its end", || latches.iter().all(|latch| !latch.exists()));
    }
    report("halt_answered", answers);
    report("halt_known", knowing);
}

/// Halts hard, so much after the answer to a plan that then runs: when its last effect came, and when it was over. What it was in the
/// middle of is in doubt, and keeps its target: the scene is used once.
async fn in_flight(later: Duration) -> (Duration, Duration) {
    let scene = Scene::started("T1");
    let effects = || scene.stage.starts("worker");
    scene.stage.until("the unit runs", || effects() > 0);
    let (ada, ben) = (scene.stage.person("ada"), scene.stage.person("ben"));
    let before = effects();
    let (status, plan) = scene.stage.propose("worker").await;
    assert_eq!(status, 201, "{plan}");
    let path = format!("/v1/plans/{}", plan["id"].as_str().unwrap());
    tokio::time::sleep(later).await;
    let (mut seen, mut last, mut over) = (before.max(effects()), Duration::ZERO, None);
    let begun = Instant::now();
    let halting = tokio::spawn(halt(scene.stage.url("/v1/halt"), ben, "hard"));
    while over.is_none() || begun.elapsed() < AFTER {
        assert!(begun.elapsed() < PATIENCE, "it goes on: {}", scene.stage.log());
        let now = effects();
        if now > seen {
            (seen, last) = (now, begun.elapsed());
        }
        if over.is_none() {
            let state = scene.stage.get(&path, &ada).await["state"].as_str().unwrap().to_owned();
            over = OVER.contains(&state.as_str()).then(|| begun.elapsed());
        }
        tokio::time::sleep(LOOK).await;
    }
    halting.await.unwrap();
    (last, over.unwrap())
}
