//! One gate in a folder of its own, with everything that it can act on: a process, files, a token, a job runner, an nginx.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Mutex, OnceLock},
    time::{Duration, Instant},
};

use holdpoint_adapters::{
    identity::DevIssuer,
    step::{Moment, Step},
    system::{Ed25519Key, KeyUse, Seed, SystemClock},
};
use holdpoint_app::port::Clock as _;
use holdpoint_domain::{
    Digest, Millis, Tier,
    actor::{Identity, Phase, TrustDomain},
    approval::{Choice, HoldTerms, SignedStatement, Statement},
    halt::ResumeStatement,
    passkey::Authenticator,
    proof::Proof,
    signed::{Signed, Statement as _},
};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use super::{nginx, site::Site};
use crate::suite::stage::client;

const BINARY: &str = env!("CARGO_BIN_EXE_holdpoint");
/// How long anything may take before a test gives up: a machine that builds beside it is slow.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is looked whether something has come.
pub(super) const PAUSE: Duration = Duration::from_millis(50);
/// The token that leaks.
pub(super) const OLD_TOKEN: &str = "canary-old-token-7f3a91";

/// A gate's folder and what is around it.
pub(super) struct Scene {
    dir: tempfile::TempDir,
    port: u16,
    pub(super) site: Site,
    pub(super) nginx: Option<nginx::Nginx>,
    pub(super) http: reqwest::Client,
    /// Checkpoints that somebody outside kept.
    pub(super) kept: Mutex<Vec<String>>,
    /// The targets' files as they were before anything happened.
    pub(super) initial: BTreeMap<&'static str, String>,
    // Taken down before the folder that it is mounted in.
    disk: Option<Disk>,
}

/// A small file system of its own, where the machine lets us have one.
struct Disk(PathBuf);

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Keys and pins, made once a test process by the program itself.
fn template() -> &'static tempfile::TempDir {
    static MADE: OnceLock<tempfile::TempDir> = OnceLock::new();
    MADE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        keygen(dir.path());
        write_files(dir.path(), 1, 1);
        must(dir.path(), &["init"]);
        dir
    })
}

fn keygen(dir: &Path) {
    for person in ["ada", "ben", "cleo"] {
        let key = dir.join(format!("people/{person}.key"));
        let made = std::process::Command::new(BINARY).args(["keygen", "--out"]).arg(key).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        fs::write(dir.join(format!("people/{person}.pub")), made.stdout).unwrap();
    }
}

fn must(dir: &Path, words: &[&str]) {
    let config = dir.join("holdpoint.yaml");
    let done = std::process::Command::new(BINARY).args(words).arg("--config").arg(config).output().unwrap();
    assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// The operator's files, and the targets as they are before anything happens.
fn write_files(dir: &Path, port: u16, site: u16) {
    let person = |name: &str| fs::read_to_string(dir.join(format!("people/{name}.pub"))).unwrap();
    let files = [
        ("holdpoint.yaml", include_str!("files/holdpoint.yaml")),
        ("catalogue.yaml", include_str!("files/catalogue.yaml")),
        ("inventory.yaml", include_str!("files/inventory.yaml")),
        ("executors.yaml", include_str!("files/executors.yaml")),
        ("registry.yaml", include_str!("files/registry.yaml")),
        ("units.yaml", include_str!("files/units.yaml")),
        ("policy.cedar", include_str!("files/policy.cedar")),
        (
            "servers.conf",
            "upstream site {\n  server 127.0.0.1:{{site}};\n  server 127.0.0.1:9 backup;\n  server 127.0.0.2:9;\n}\n",
        ),
        (
            "flags.json",
            "{\"flags\": {\"offers\": {\"state\": \"ENABLED\", \"variants\": {\"on\": true}, \"defaultVariant\": \"on\"}}}\n",
        ),
        ("setting.env", "# how many\nPOOL=8\nOTHER=1\n"),
        ("stubborn.env", "POOL=8\n"),
        ("alive", ""),
    ];
    let text = |text: &str| {
        text.replace("{{dir}}", dir.to_str().unwrap())
            .replace("{{port}}", &port.to_string())
            .replace("{{site}}", &site.to_string())
            .replace("{{nginx}}", &nginx::program().display().to_string())
            .replace("{{ada}}", person("ada").trim())
            .replace("{{ben}}", person("ben").trim())
            .replace("{{cleo}}", person("cleo").trim())
            .replace("{{ada-passkey}}", &registered("ada"))
            .replace("{{ben-passkey}}", &registered("ben"))
            .replace("{{cleo-passkey}}", &registered("cleo"))
    };
    for (name, template) in files {
        fs::write(dir.join(name), text(template)).unwrap();
    }
    let sha = super::site::sha256(OLD_TOKEN);
    let accepted = json!({"accepted": [{"id": &sha[..16], "sha256": sha}]});
    fs::write(dir.join("site.token"), format!("{OLD_TOKEN}\n")).unwrap();
    fs::write(dir.join("accepted.json"), accepted.to_string()).unwrap();
}

/// Somebody's passkey, enrolled by an act of its own.
fn passkey(person: &str) -> Authenticator {
    let seed = *Digest::of_bytes(person.as_bytes()).as_bytes();
    let act = format!("act-{person}").parse().unwrap();
    Authenticator::new(seed, "http://localhost:7070", act).unwrap()
}

/// Somebody's passkey as the registry has it: JSON is YAML.
fn registered(person: &str) -> String {
    serde_json::to_string(&passkey(person).passkey).unwrap()
}

/// Copies what `init` and `keygen` made.
fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let name = entry.unwrap().file_name();
            copy(&from.join(&name), &to.join(&name));
        }
    } else {
        fs::copy(from, to).unwrap();
    }
}

impl Scene {
    /// Files, keys and pins; nothing runs but the site.
    pub(super) fn new() -> Self {
        let scene = Self::bare();
        for name in ["data", "executor.yaml", "log.vkey"] {
            copy(&template().path().join(name), &scene.path(name));
        }
        scene
    }

    /// The operator's files and people's keys, before `init`.
    pub(super) fn bare() -> Self {
        let dir = tempfile::tempdir().unwrap();
        copy(&template().path().join("people"), &dir.path().join("people"));
        let port = crate::suite::stage::port();
        let site = Site::start(dir.path());
        write_files(dir.path(), port, site.port);
        let names = ["flags.json", "setting.env", "stubborn.env", "servers.conf"];
        let initial = names.map(|name| (name, fs::read_to_string(dir.path().join(name)).unwrap()));
        let (http, kept, initial) = (client(), Mutex::default(), BTreeMap::from(initial));
        Self { dir, port, site, nginx: None, http, kept, initial, disk: None }
    }

    /// Puts the store on a small disk of its own; false where the machine does not let us have one.
    pub(super) fn on_a_small_disk(&mut self) -> bool {
        let (data, keys) = (self.path("data"), self.path("keys-apart"));
        fs::rename(data.join("keys"), &keys).unwrap();
        let mount = ["-t", "tmpfs", "-o", "size=4m", "tmpfs"];
        let mounted = std::process::Command::new("mount").args(mount).arg(&data).status();
        let has_disk = mounted.is_ok_and(|status| status.success());
        if has_disk {
            self.disk = Some(Disk(data.clone()));
        }
        copy(&keys, &data.join("keys"));
        has_disk
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The pids of the worker's starts, in their order.
    pub(super) fn starts(&self) -> Vec<i32> {
        self.read("worker.starts").lines().map(|line| line.parse().unwrap()).collect()
    }

    /// Starts the program with these words; with a drill it ends by itself.
    pub(super) fn spawn(&self, words: &[&str], drill: Option<&str>) -> Child {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("gate.log")).unwrap();
        let mut command = Command::new(BINARY);
        command.args(words).arg("--config").arg(self.path("holdpoint.yaml"));
        if let Some(drill) = drill {
            command.env("HOLDPOINT_DRILL", drill);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        command.spawn().unwrap()
    }

    /// Waits until the gate answers.
    pub(super) async fn answers(&self) {
        self.until("the gate answers", async || {
            tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_ok().then_some(())
        })
        .await;
    }

    /// Waits for something to come.
    pub(super) async fn until<T>(&self, what: &str, look: impl AsyncFn() -> Option<T>) -> T {
        let since = Instant::now();
        loop {
            if let Some(found) = look().await {
                return found;
            }
            assert!(since.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}\n{}", self.read("gate.log"));
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// A token of the development issuer, made here so that no program has to be started for it.
    fn token(&self, identity: &Identity) -> String {
        let key = KeyUse::Identity.path(&self.path("data/keys"));
        let issuer = DevIssuer::load_or_create(&key, TrustDomain::parse("test.example").unwrap()).unwrap();
        issuer.issue(identity, "test", Millis::secs(600), SystemClock::new().now()).unwrap()
    }

    pub(super) fn agent(&self) -> String {
        self.token(&Identity::Agent { agent: "medic".parse().unwrap(), phase: Phase::Decide })
    }

    pub(super) fn person(&self, name: &str) -> String {
        self.token(&Identity::Person { person: name.parse().unwrap() })
    }

    /// A request with a body; nothing when the gate died over it.
    pub(super) async fn post(&self, path: &str, token: &str, body: &Value) -> Option<(u16, Value)> {
        let answer = self.http.post(self.url(path)).bearer_auth(token).json(body).send().await.ok()?;
        let status = answer.status().as_u16();
        let value = answer.json().await.ok()?;
        self.keep().await;
        Some((status, value))
    }

    pub(super) async fn get(&self, path: &str, token: &str) -> Option<Value> {
        self.http.get(self.url(path)).bearer_auth(token).send().await.ok()?.json().await.ok()
    }

    /// Keeps the newest checkpoint, as an outsider would.
    pub(super) async fn keep(&self) {
        let Ok(answer) = self.http.get(self.url("/v1/ledger/checkpoint")).send().await else { return };
        if let Some(note) = answer.text().await.ok().filter(|note| note.starts_with("test.example/log")) {
            self.kept.lock().unwrap().push(note);
        }
    }

    /// Approves a hold: as the command line does, and from T4 on as the console does.
    pub(super) async fn approve(&self, hold: &str, person: &str) -> Option<()> {
        let shown = self.get(&format!("/v1/holds/{hold}"), &self.person(person)).await?;
        let terms: HoldTerms = serde_json::from_value(shown["terms"].clone()).ok()?;
        let is_strong = terms.tier >= Tier::T4;
        let statement = Statement::new(terms, person.parse().unwrap(), Choice::Approve);
        let bytes = statement.signing_bytes().unwrap();
        let signature =
            if is_strong { passkey(person).sign(&bytes, 0).into() } else { self.signed(person, &bytes) };
        let body = serde_json::to_value(SignedStatement { statement, signature }).unwrap();
        let (status, answer) =
            self.post(&format!("/v1/holds/{hold}/decisions"), &self.person(person), &body).await?;
        assert_eq!(status, 200, "{answer}");
        Some(())
    }

    /// Ends the halt in force, as the command line does.
    pub(super) async fn resume(&self, person: &str) -> Option<()> {
        let shown = self.get("/v1/halt", &self.person(person)).await?;
        let halt = serde_json::from_value(shown["halt"].clone()).ok()?;
        let origin = shown["origin"].as_str()?.to_owned();
        let statement = ResumeStatement::new(origin, halt, person.parse().unwrap());
        let signature = self.signed(person, &statement.signing_bytes().unwrap());
        let body = serde_json::to_value(Signed { statement, signature }).unwrap();
        self.post("/v1/resume", &self.person(person), &body).await?;
        Some(())
    }

    /// By the key in somebody's file.
    fn signed(&self, person: &str, bytes: &[u8]) -> Proof {
        let seed = Seed::load(&self.path(&format!("people/{person}.key"))).unwrap();
        Ed25519Key::from_seed("approval", &seed).unwrap().sign(bytes).into()
    }

    /// Runs a command to its end, and returns what it said; nothing when it failed.
    pub(super) async fn command(&self, words: &[&str]) -> Option<String> {
        let mut command = Command::new(BINARY);
        command.args(words).arg("--config").arg(self.path("holdpoint.yaml")).stdin(Stdio::null());
        let done = command.output().await.unwrap();
        done.status.success().then(|| String::from_utf8(done.stdout).unwrap())
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // The worker outlives the gate, and ends when its file is gone.
        let _ = fs::remove_file(self.path("alive"));
        drop(self.disk.take());
    }
}

/// The words of a drill.
pub(in crate::suite) fn drill(step: Step, moment: Moment, nth: u32) -> String {
    format!("{}:{}:{nth}", step.as_str(), moment.as_str())
}

/// Whether a process ended by `kill -9`.
pub(super) fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(9)
}
