//! The door for workloads: an agent is whoever its X.509-SVID says, over mutual TLS.

use std::{path::Path, sync::Arc, time::Duration};

use holdpoint_adapters::{
    system::SystemClock,
    tls::{DevCa, LiveSvid, SpiffeId, SvidFiles, client},
};
use holdpoint_app::port::Clock as _;
use serde_json::{Value, json};

use super::stage::{Stage, port};

/// A gate with a door for workloads, and the authority of their certificates.
struct Scene {
    stage: Stage,
    url: String,
    authority: DevCa,
}

const HOUR: Duration = Duration::from_secs(60 * 60);

fn files(folder: &Path) -> SvidFiles {
    let at = |name: &str| folder.join(name);
    SvidFiles { certificate: at("svid.pem"), key: at("svid.key"), bundle: at("bundle.pem") }
}

/// A certificate for a path below the trust domain, in a folder of its own.
fn svid(stage: &Stage, authority: &DevCa, trusted: &str, path: &str, life: Duration) -> SvidFiles {
    let folder = stage.root().join(format!("tls{}", path.replace('/', "-")));
    std::fs::create_dir_all(&folder).unwrap();
    let files = files(&folder);
    let made = authority.issue(path, SystemClock::new().now(), life).unwrap();
    made.write(&files, trusted).unwrap();
    files
}

impl Scene {
    fn started(more: &str) -> Self {
        let mut stage = Stage::new();
        let authority =
            DevCa::load_or_create(stage.root(), "test.example", SystemClock::new().now()).unwrap();
        svid(&stage, &authority, authority.bundle(), "/gate", HOUR);
        let config = std::fs::read_to_string(stage.path("holdpoint.yaml")).unwrap();
        let port = port();
        let tls = "{certificate: tls-gate/svid.pem, key: tls-gate/svid.key, bundle: tls-gate/bundle.pem}";
        let door = format!("workloads:\n  listen: 127.0.0.1:{port}\n  tls: {tls}\n{more}");
        stage.write("holdpoint.yaml", &format!("{config}\n{door}\n"));
        stage.start();
        Self { stage, url: format!("https://127.0.0.1:{port}"), authority }
    }

    /// A client that shows the certificate of a path, and expects the gate.
    fn client(&self, path: &str) -> reqwest::Client {
        let files = svid(&self.stage, &self.authority, self.authority.bundle(), path, HOUR);
        self.with(files)
    }

    fn with(&self, files: SvidFiles) -> reqwest::Client {
        let gate = SpiffeId::new("spiffe://test.example/gate").unwrap();
        client(&Arc::new(LiveSvid::load(files).unwrap()), gate).unwrap()
    }

    /// Proposes a restart, with a token or without.
    async fn propose(&self, client: &reqwest::Client, token: Option<&str>) -> (u16, Value) {
        let body = json!({"action": "process.restart", "target": "worker", "trigger": "process.running"});
        let mut request = client.post(format!("{}/v1/plans", self.url)).json(&body);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }
}

#[tokio::test]
async fn inv05_inv07_an_agent_is_whom_its_certificate_names_and_nobody_else() {
    let scene = Scene::started("");
    let medic = scene.client("/agent/medic/decide");
    let (status, plan) = scene.propose(&medic, None).await;
    assert_eq!(status, 201, "{plan}");
    let id = plan["id"].as_str().unwrap();
    assert_eq!(scene.stage.ended(id).await, "succeeded", "{}", scene.stage.log());
    let shown = scene.stage.get(&format!("/v1/plans/{id}"), &scene.stage.person("ada")).await;
    assert_eq!(shown["plan"]["requester"]["agent"], "medic", "{shown}");
    // Its own token beside it adds nothing; somebody else's is stolen.
    let own = scene.stage.agent();
    let (status, _) = scene.propose(&medic, Some(&own)).await;
    assert!([201, 202, 409].contains(&status), "{status}");
    for token in [scene.stage.token(&["--agent", "medic", "--phase", "observe"]), scene.stage.person("ada")] {
        let (status, problem) = scene.propose(&medic, Some(&token)).await;
        assert_eq!((status, &problem["rule"]), (401, &json!("invalid-token")), "{problem}");
    }
    // The right workload in the wrong phase, a role, and nobody.
    for (path, expected) in [
        ("/agent/medic/observe", 403),
        ("/agent/stranger/decide", 403),
        ("/holdpoint/executor", 401),
        ("/x", 401),
    ] {
        let (status, problem) = scene.propose(&scene.client(path), None).await;
        assert_eq!(status, expected, "{path}: {problem}");
    }
    // An authority that the gate does not believe, a certificate that is over, and none at all.
    let folder = tempfile::tempdir().unwrap();
    let foreign = DevCa::load_or_create(folder.path(), "test.example", SystemClock::new().now()).unwrap();
    let stolen = svid(&scene.stage, &foreign, scene.authority.bundle(), "/agent/medic/decide", HOUR);
    let url = format!("{}/v1/status", scene.url);
    assert!(scene.with(stolen).get(&url).send().await.is_err());
    let over =
        svid(&scene.stage, &scene.authority, scene.authority.bundle(), "/agent/medic/decide", Duration::ZERO);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(scene.with(over).get(&url).send().await.is_err());
    let anybody =
        reqwest::Client::builder().no_proxy().tls_danger_accept_invalid_certs(true).build().unwrap();
    assert!(anybody.get(&url).bearer_auth(&own).send().await.is_err());
}

#[tokio::test]
async fn inv07_t19_where_agents_need_certificates_a_token_alone_is_worth_nothing() {
    let scene = Scene::started("  agents_only_here: true\n");
    let (status, problem) = scene.stage.propose("worker").await;
    assert_eq!((status, &problem["rule"]), (401, &json!("certificate-required")), "{problem}");
    let (status, plan) =
        scene.propose(&scene.client("/agent/medic/decide"), Some(&scene.stage.agent())).await;
    assert_eq!(status, 201, "{plan}");
    // People come to the other door, as before.
    let plans = scene.stage.get("/v1/plans", &scene.stage.person("ada")).await;
    assert_eq!(plans["plans"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn inv07_a_connection_proves_nothing_after_the_end_of_its_certificate() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let scene = Scene::started("");
    let life = Duration::from_secs(3);
    let files = svid(&scene.stage, &scene.authority, scene.authority.bundle(), "/agent/medic/decide", life);
    let own = Arc::new(LiveSvid::load(files).unwrap());
    let gate = SpiffeId::new("spiffe://test.example/gate").unwrap();
    let tls = holdpoint_adapters::tls::client_config(&own, gate).unwrap();
    let address = scene.url.trim_start_matches("https://");
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(tls));
    let name = tokio_rustls::rustls::pki_types::ServerName::try_from("127.0.0.1").unwrap();
    let mut stream = connector.connect(name, stream).await.unwrap();
    // Over one connection, kept open: good, and then no more.
    let since = std::time::Instant::now();
    let mut seen = Vec::new();
    while since.elapsed() < super::stage::PATIENCE {
        let ask = format!("GET /v1/plans HTTP/1.1\r\nHost: {address}\r\n\r\n");
        stream.write_all(ask.as_bytes()).await.unwrap();
        let mut bytes = vec![0; 16 * 1024];
        let read = stream.read(&mut bytes).await.unwrap();
        let answer = String::from_utf8_lossy(&bytes[..read]).into_owned();
        seen.push(answer.split(' ').nth(1).unwrap().to_owned());
        if answer.contains("invalid-certificate") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!((seen.first().unwrap().as_str(), seen.last().unwrap().as_str()), ("200", "401"), "{seen:?}");
}
