//! Breaking the glass over four processes: what people release with passkeys, beyond policy and in a halt, is checked by the issuer
//! and by the executor against what their operators pinned.

use holdpoint_domain::passkey::Authenticator;
use serde_json::{Map, Value, json};

use super::scene::{OTHERS, Scene};
use crate::suite::{
    browser::page::Browser,
    console::scene::{Console, edit, entry, furnish, halts, read},
    stage::Stage,
};

/// Four processes and a console. No policy lets an agent restart anything.
fn started() -> Console<Scene> {
    let stage = Stage::unmade();
    let origin = furnish(&stage, "T1");
    edit(&stage, "policy.cedar", "@id(\"restart\")\npermit", "@id(\"restart\")\nforbid");
    stage.made();
    let mut scene = Scene::of(stage);
    // The gate's operator adds the console, which is nobody else's.
    let config = "roles/gate/holdpoint.yaml";
    scene.stage.write(config, &(read(&scene.stage, config) + &entry(&origin)));
    for role in OTHERS {
        scene.start(role, None);
    }
    scene.stage.start();
    scene.stage.until("the unit runs", || scene.stage.starts("sleeper") == 1);
    Console { stage: scene, origin }
}

/// A role's operator pins the passkeys that people registered at the gate, and starts the role again.
fn pin(scene: &mut Scene, role: &str) {
    let yaml = |name: &str| -> Value { serde_saphyr::from_str(&read(&scene.stage, name)).unwrap() };
    let name = format!("roles/{role}/pins.yaml");
    let (mut pins, registered) = (yaml(&name), yaml("roles/gate/passkeys.yaml"));
    let people: &Map<_, _> = registered["people"].as_object().unwrap();
    assert_eq!(people.len(), 2);
    for (person, passkeys) in people {
        let pinned = &mut pins["approvers"][person];
        *pinned = json!({"key": pinned, "passkeys": passkeys});
    }
    // JSON is YAML as well.
    scene.stage.write(&name, &pins.to_string());
    scene.kill(role);
    scene.start(role, None);
}

/// Ada breaks the glass, and both release it; how it ended.
async fn broken(console: &Console<Scene>, browsers: [&Browser; 2]) -> (String, String) {
    let held = console.breaks_glass(browsers[0]).await;
    let plan = console.released(&held, browsers).await;
    let ended = console.stage.ended(&plan).await;
    (plan, ended)
}

#[test]
fn inv05_passkeys_that_people_have_already_are_laid_out_for_the_gate_and_pinned_by_each_role() {
    let stage = Stage::new();
    let act = "act-1".parse().unwrap();
    let passkey = Authenticator::new([1; 32], "http://localhost:7070", act).unwrap().passkey;
    stage.write("passkeys.yaml", &json!({"people": {"ada": [passkey]}}).to_string());
    let scene = Scene::of(stage);
    for name in ["gate/passkeys.yaml", "gate/executor.yaml", "issuer/pins.yaml", "executor/pins.yaml"] {
        let text = read(&scene.stage, &format!("roles/{name}"));
        assert!(text.contains(&passkey.id.to_string()), "{name}: {text}");
    }
}

#[tokio::test]
async fn inv05_inv06_inv15_two_passkeys_act_beyond_policy_and_in_a_halt_where_each_role_pinned_them() {
    let mut console = started();
    let (one, two) = tokio::join!(Browser::start(), Browser::start());
    let _ada = console.person(&one, "ada", "ben").await;
    let _ben = console.person(&two, "ben", "ada").await;
    let (status, denied) = console.stage.propose("sleeper").await;
    assert_eq!(status, 403, "no agent may: {denied}");

    let both = [&one, &two];
    // The gate takes their word. The issuer, which pinned nobody's passkey, does not; nor does the executor, for itself.
    let (_, ended) = broken(&console, both).await;
    assert_eq!((ended.as_str(), console.stage.records("rehearsed").await), ("failed", 0));
    let said = console.stage.stage.log();
    assert!(said.contains("the permit, its plan or its approvals do not stand"), "{said}");
    pin(&mut console.stage, "issuer");
    let (_, ended) = broken(&console, both).await;
    assert_eq!(ended, "failed");
    let said = console.stage.log("executor");
    assert!(said.contains("the permit, its plan or its approvals do not stand"), "{said}");
    assert_eq!((console.stage.records("applying").await, console.stage.starts("sleeper")), (0, 1));

    pin(&mut console.stage, "executor");
    let (_, ended) = broken(&console, both).await;
    assert_eq!(
        (ended.as_str(), console.stage.starts("sleeper")),
        ("succeeded", 2),
        "{}",
        console.stage.stage.log()
    );
    // In a soft halt, and in a hard one.
    for (reach, starts) in [("soft", 3), ("hard", 4)] {
        halts(&one, reach).await;
        // The roles know of it, and do not stop what came after.
        for role in ["issuer", "executor"] {
            let latch = format!("roles/{role}/data/halt-of-gate");
            let scene = &console.stage.stage;
            scene.until("the role knows", || {
                std::fs::read_to_string(scene.path(&latch)).is_ok_and(|text| text.contains(reach))
            });
        }
        let (plan, ended) = broken(&console, both).await;
        let told = format!("{reach}: {}\n{}", console.stage.stage.log(), console.stage.log("executor"));
        assert_eq!((ended.as_str(), console.stage.starts("sleeper")), ("succeeded", starts), "{told}");
        let owed = console.stage.get("/v1/reviews", &console.stage.person("ada")).await;
        assert!(owed.to_string().contains(&plan), "it is reviewed: {owed}");
        assert_eq!(console.stage.propose("sleeper").await.0, 403, "an agent gets nothing out of it");
    }
}
