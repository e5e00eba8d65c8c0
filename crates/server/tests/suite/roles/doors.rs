//! Whose certificate opens which door.

use std::{path::Path, time::Duration};

use holdpoint_adapters::{
    system::SystemClock,
    tls::{DevCa, SvidFiles},
};
use holdpoint_app::port::Clock as _;

use super::scene::Scene;

/// What each certificate gets at each door with an empty object: `400` and `200` are through, `403` is a door of somebody else's at the same
/// address, `-` is no connection at all. `other` is somebody of the same authority, `foreign` calls itself the gate by another one.
const MATRIX: &str = "
door                          gate observer issuer executor other foreign
observer /v1/measure          400  -        -      -        -     -
observer /v1/observe          400  -        -      -        -     -
issuer   /v1/leases           400  -        -      -        -     -
issuer   /v1/leases/terms     400  -        -      -        -     -
issuer   /v1/leases/revoke    400  -        -      -        -     -
issuer   /v1/leases/backends  200  -        -      -        -     -
issuer   /v1/leases/held      400  -        -      -        -     -
issuer   /v1/halt             400  -        -      -        -     -
issuer   /add-checkpoint      400  -        -      -        -     -
executor /v1/steps/rehearse   400  -        403    -        -     -
executor /v1/steps/apply      400  -        403    -        -     -
executor /v1/steps/undo       400  -        403    -        -     -
executor /v1/halt             400  -        403    -        -     -
executor /add-checkpoint      400  -        403    -        -     -
executor /v1/leases/admit     403  -        400    -        -     -
executor /v1/leases/end       403  -        400    -        -     -
";

/// A certificate for `path` by the authority in `folder`.
fn made(folder: &Path, name: &str, path: &str, bundle_of: &SvidFiles) -> SvidFiles {
    let now = SystemClock::new().now();
    let authority = DevCa::load_or_create(folder, "test.example", now).unwrap();
    let at = |end: &str| folder.join(format!("{name}.{end}"));
    let files = SvidFiles { certificate: at("pem"), key: at("key"), bundle: at("bundle") };
    authority.issue(path, now, Duration::from_secs(3600)).unwrap().write(&files, authority.bundle()).unwrap();
    // It trusts whom the others trust: only its own certificate is wrong.
    std::fs::copy(&bundle_of.bundle, &files.bundle).unwrap();
    files
}

#[tokio::test]
async fn inv07_t04_each_certificate_at_each_door() {
    let scene = Scene::started("T1");
    let own = scene.files("gate");
    let foreign = tempfile::tempdir().unwrap();
    let clients = [
        own.clone(),
        scene.files("observer"),
        scene.files("issuer"),
        scene.files("executor"),
        made(&scene.stage.root().join("roles/authority"), "other", "/holdpoint/other", &own),
        made(foreign.path(), "foreign", "/holdpoint/gate", &own),
    ];
    for line in MATRIX.trim().lines().skip(1) {
        let mut words = line.split_whitespace();
        let (role, path) = (words.next().unwrap(), words.next().unwrap());
        let expected: Vec<_> = words.collect();
        let mut got = Vec::new();
        for files in &clients {
            let url = format!("{}{path}", scene.url(role));
            let answer = scene.client(files, role).post(url).body("{}").send().await;
            got.push(answer.map_or("-".to_owned(), |answer| answer.status().as_u16().to_string()));
        }
        assert_eq!(got, expected, "{role} {path}");
    }
    // Without any certificate, and without TLS.
    let anybody =
        reqwest::Client::builder().no_proxy().tls_danger_accept_invalid_certs(true).build().unwrap();
    for role in ["observer", "issuer", "executor"] {
        let url = scene.url(role);
        assert!(anybody.post(format!("{url}/v1/halt")).body("{}").send().await.is_err(), "{role}");
        let plain = url.replace("https", "http");
        assert!(anybody.post(format!("{plain}/v1/halt")).body("{}").send().await.is_err(), "{role}");
    }
    // And the other way round: whoever answers in a role's place is not believed.
    for (role, expected) in [("executor", "issuer"), ("issuer", "executor"), ("observer", "executor")] {
        let url = format!("{}/v1/halt", scene.url(role));
        assert!(
            scene.client(&own, expected).post(url).body("{}").send().await.is_err(),
            "{role} as {expected}"
        );
    }
}

#[tokio::test]
async fn inv07_certificates_are_renewed_under_running_roles() {
    let mut scene = Scene::started("T1");
    let (status, plan) = scene.stage.propose("worker").await;
    assert_eq!(status, 201, "{plan}");
    assert_eq!(scene.stage.ended(plan["id"].as_str().unwrap()).await, "succeeded");
    let before = scene.files("gate");
    let old = tempfile::tempdir().unwrap();
    let old = SvidFiles {
        certificate: old.path().join("svid.pem"),
        key: old.path().join("svid.key"),
        bundle: before.bundle.clone(),
    };
    std::fs::create_dir_all(old.certificate.parent().unwrap()).unwrap();
    std::fs::copy(&before.certificate, &old.certificate).unwrap();
    std::fs::copy(&before.key, &old.key).unwrap();
    // Another authority altogether: what the old one issued opens nothing any more.
    std::fs::remove_file(scene.stage.root().join("roles/authority/authority.key")).unwrap();
    scene.stage.must(&["roles", "renew", &scene.stage.path("roles"), "--trust-domain", "test.example"]);
    let (status, plan) = scene.stage.propose("worker").await;
    assert_eq!(status, 201, "{plan}\n{}", scene.stage.log());
    assert_eq!(scene.stage.ended(plan["id"].as_str().unwrap()).await, "succeeded", "{}", scene.stage.log());
    let url = format!("{}/v1/measure", scene.url("observer"));
    assert!(
        scene.client(&old, "observer").post(&url).body("{}").send().await.is_err(),
        "the old certificate"
    );
    let answer = scene.client(&before, "observer").post(&url).body("{}").send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 400, "the new one");
    scene.kill("observer");
}
