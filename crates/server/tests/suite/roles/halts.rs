//! What stops the roles, and whom they do not believe.

use std::fs;

use holdpoint_adapters::{
    remote::{RoleClient, wire},
    system::{KeyUse, Seed, SystemClock},
};
use holdpoint_app::port::Clock as _;
use holdpoint_domain::{
    Timestamp,
    halt::{Halt, Reach},
};
use serde_json::{Value, json};

use super::{scene::Scene, story::restart};
use crate::suite::stage::{PATIENCE, client};

#[tokio::test]
async fn inv15_a_halt_is_honoured_by_the_roles_and_not_lifted_by_an_absent_gate() {
    let mut scene = Scene::started("T1");
    let ben = scene.stage.person("ben");
    let post = async |path: &str, body: Value| {
        let url = scene.stage.url(path);
        client().post(url).bearer_auth(&ben).json(&body).send().await.unwrap().status().as_u16()
    };
    assert_eq!(post("/v1/halt", json!({"reach": "soft"})).await, 200);
    let latch = |role: &str| scene.stage.root().join(format!("roles/{role}/data/halt-of-gate"));
    let (issuer, executor) = (latch("issuer"), latch("executor"));
    scene.stage.until("the roles know of the halt", || issuer.exists() && executor.exists());
    // Neither the gate's end nor their own lifts it.
    scene.stage.kill();
    scene.kill("executor");
    scene.start("executor", None);
    assert!(issuer.exists() && executor.exists());
    scene.stage.start();
    let ben = scene.stage.person("ben");
    let url = scene.stage.url("/v1/resume");
    let signed = crate::suite::consent::end_of_halt(&scene.stage, "ben").await;
    let resumed = client().post(url).bearer_auth(&ben).json(&signed).send().await.unwrap();
    assert_eq!(resumed.status().as_u16(), 200);
    scene.stage.until("the roles know of its end", || !issuer.exists() && !executor.exists());
    assert_eq!(restart(&scene).await, "succeeded", "{}", scene.stage.log());
    // One of a role's own: the gate knows nothing of it, and cannot lift it.
    for role in ["executor", "issuer"] {
        let own = scene.stage.path(&format!("roles/{role}/data/halt"));
        fs::write(&own, "").unwrap();
        assert_eq!(restart(&scene).await, "failed", "{role}");
        assert!(scene.log(role).contains("refused: halt"), "{role}: {}", scene.log(role));
        fs::remove_file(own).unwrap();
        scene.kill(role);
        scene.start(role, None);
        assert_eq!(restart(&scene).await, "succeeded", "{role}");
    }
    // A word of the gate that was held up on its way lifts no halt that came after it.
    let http = scene.client(&scene.files("gate"), "issuer");
    let issuer = RoleClient::new(http, &scene.url("issuer"));
    let now = SystemClock::new().now();
    let halt = Halt { reach: Reach::Hard, by: None, at_ms: now };
    let tell = async |halt: Option<Halt>, at_ms: Timestamp| {
        issuer.call::<wire::Done>("/v1/halt", &wire::Tell { halt, at_ms }, PATIENCE).await
    };
    scene.stage.kill();
    tell(Some(halt), now).await.unwrap();
    assert!(tell(None, Timestamp::from_ms(now.ms() - 1).unwrap()).await.is_err());
    assert!(issuer_halted(&scene));
    tell(None, Timestamp::from_ms(now.ms() + 1).unwrap()).await.unwrap();
    assert!(!issuer_halted(&scene));
}

fn issuer_halted(scene: &Scene) -> bool {
    scene.stage.root().join("roles/issuer/data/halt-of-gate").exists()
}

#[tokio::test]
async fn inv07_whoever_answers_in_the_observers_place_without_its_key_is_not_believed() {
    let mut scene = Scene::started("T1");
    scene.stage.until("the unit runs", || scene.stage.starts("sleeper") == 1);
    // The very certificate, address, catalogue and inventory, and every signature by another key.
    scene.kill("observer");
    let key = KeyUse::Evidence.path(&scene.stage.root().join("roles/observer/data/keys"));
    fs::remove_file(&key).unwrap();
    Seed::fresh().create(&key).unwrap();
    scene.start("observer", None);
    let (status, plan) = scene.stage.propose("sleeper").await;
    assert_eq!(status, 502, "{plan}");
    let said = format!("{plan}{}", scene.stage.log());
    assert!(said.contains("is not signed for this question"), "{said}");
    assert_eq!(scene.stage.starts("sleeper"), 1);
}
