//! A gate over two units: `sleeper`, a stateful singleton whose restart needs a person, and `worker`, a stateless one of
//! two whose restart runs by itself. Every start of a unit appends a line to a file, so that restarts can be counted from
//! outside.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_holdpoint");
/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

pub(crate) struct Stage {
    dir: tempfile::TempDir,
    port: u16,
    gate: Option<Child>,
    /// The gate's configuration below the stage, and how it is served.
    config: String,
    how: Vec<String>,
    /// Set for the gate, and for nothing else that is started.
    environment: Vec<(String, String)>,
}

impl Stage {
    /// Writes the files, makes the keys, starts nothing.
    pub(crate) fn new() -> Self {
        let stage = Self::unmade();
        stage.made();
        stage
    }

    /// Makes the keys.
    pub(crate) fn made(&self) {
        let made = self.as_gate(&["init", "--config", &self.path("holdpoint.yaml")]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    /// Writes the files, makes no keys.
    pub(crate) fn unmade() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = port();
        let stage = Self {
            dir,
            port,
            gate: None,
            config: "holdpoint.yaml".to_owned(),
            how: Vec::new(),
            environment: Vec::new(),
        };
        stage.write("alive", "");
        let ada = stage.cli(&["keygen", "--out", &stage.path("people/ada.key")]);
        let ben = stage.cli(&["keygen", "--out", &stage.path("people/ben.key")]);
        let key = |output: &Output| String::from_utf8(output.stdout.clone()).unwrap().trim().to_owned();
        stage.write("holdpoint.yaml", &CONFIG.replace("PORT", &port.to_string()));
        stage.write("catalogue.yaml", CATALOGUE);
        stage.write("inventory.yaml", INVENTORY);
        stage.write("registry.yaml", &REGISTRY.replace("ADA", &key(&ada)).replace("BEN", &key(&ben)));
        stage.write("policy.cedar", POLICY);
        stage.write("limits.yaml", LIMITS);
        stage.write("units.yaml", &UNITS.replace("DIR", stage.dir.path().to_str().unwrap()));
        stage
    }

    pub(crate) fn started() -> Self {
        let mut stage = Self::new();
        stage.start();
        stage
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn root(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).unwrap();
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The gate's configuration.
    pub(crate) fn config(&self) -> String {
        self.path(&self.config)
    }

    /// Another gate at the same address, from the next start on.
    pub(crate) fn set_gate(&mut self, config: &str, how: &[&str]) {
        self.config = config.to_owned();
        self.how = how.iter().map(|&word| word.to_owned()).collect();
    }

    /// The environment of the gate, from its next start on.
    pub(crate) fn set_environment(&mut self, environment: Vec<(String, String)>) {
        self.environment = environment;
    }

    /// The environment of the gate.
    pub(crate) fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    /// What the gate has said since its first start.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("gate.log")).unwrap_or_default()
    }

    /// The process of the gate.
    pub(crate) fn pid(&self) -> u32 {
        self.gate.as_ref().unwrap().id()
    }

    /// Starts a gate that has a drill, gives it something to do, and waits until it has killed itself.
    pub(crate) async fn start_to_die(&mut self) {
        self.start_to_die_with("sleeper").await;
    }

    /// As [`Self::start_to_die`], with a plan for this target to do.
    pub(crate) async fn start_to_die_with(&mut self, target: &str) {
        let token = self.agent();
        let mut gate = self.spawn();
        let since = Instant::now();
        let body = json!({"action": "process.restart", "target": target, "trigger": "process.running"});
        while gate.try_wait().unwrap().is_none() {
            assert!(since.elapsed() < PATIENCE, "the gate lives on\n{}", self.log());
            // Whether it was heard is not asked: it may die under it.
            let _ = client().post(self.url("/v1/plans")).bearer_auth(&token).json(&body).send().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn spawn(&self) -> Child {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("gate.log")).unwrap();
        Command::new(BINARY)
            .args(["serve", "--config", &self.path(&self.config)])
            .args(&self.how)
            .envs(self.environment.clone())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    /// Starts the gate and waits until it answers.
    pub(crate) fn start(&mut self) {
        self.gate = Some(self.spawn());
        let since = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let gone = self.gate.as_mut().unwrap().try_wait().unwrap();
            assert!(gone.is_none() && since.elapsed() < PATIENCE, "no gate answers\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until a gate that has a drill has killed itself.
    pub(crate) async fn died(&mut self) {
        let since = Instant::now();
        while self.gate.as_mut().unwrap().try_wait().unwrap().is_none() {
            assert!(since.elapsed() < PATIENCE, "the gate lives on\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.gate = None;
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        let mut gate = self.gate.take().unwrap();
        gate.kill().unwrap();
        gate.wait().unwrap();
    }

    /// Sends the gate a signal, and returns how it ended.
    pub(crate) fn signal(&mut self, signal: rustix::process::Signal) -> std::process::ExitStatus {
        let mut gate = self.gate.take().unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_child(&gate), signal).unwrap();
        gate.wait().unwrap()
    }

    /// Whether the gate starts, in its environment, rather than end with an error.
    pub(crate) fn starts_at_all(&self) -> bool {
        let config = self.path("holdpoint.yaml");
        let mut gate = Command::new(BINARY);
        gate.args(["serve", "--config", &config]).envs(self.environment.clone()).stdin(Stdio::null());
        let mut gate = gate.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        loop {
            if let Some(status) = gate.try_wait().unwrap() {
                return status.success();
            }
            if std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                gate.kill().unwrap();
                gate.wait().unwrap();
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Tries to start the gate; returns what it said when it refused.
    pub(crate) fn refused(&self) -> String {
        let output = self.cli(&["serve", "--config", &self.path("holdpoint.yaml")]);
        assert!(!output.status.success(), "the gate started");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    pub(crate) fn cli(&self, args: &[&str]) -> Output {
        Command::new(BINARY).args(args).stdin(Stdio::null()).output().unwrap()
    }

    /// A command in the gate's environment.
    pub(crate) fn as_gate(&self, args: &[&str]) -> Output {
        let mut command = Command::new(BINARY);
        command.args(args).envs(self.environment.clone()).stdin(Stdio::null()).output().unwrap()
    }

    pub(crate) fn must(&self, args: &[&str]) -> String {
        let output = self.cli(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success(),
            "{args:?}: {said}\n{}",
            fs::read_to_string(self.path("gate.log")).unwrap_or_default()
        );
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn token(&self, who: &[&str]) -> String {
        let config = self.config();
        let args: Vec<_> =
            ["identity", "issue", "--config", &config].into_iter().chain(who.iter().copied()).collect();
        self.must(&args).trim().to_owned()
    }

    pub(crate) fn agent(&self) -> String {
        self.token(&["--agent", "medic", "--phase", "decide"])
    }

    pub(crate) fn person(&self, name: &str) -> String {
        self.token(&["--person", name])
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Value {
        let answer = client().get(self.url(path)).bearer_auth(token).send().await.unwrap();
        let status = answer.status();
        let value: Value = answer.json().await.unwrap();
        assert!(status.is_success(), "{path}: {value}");
        value
    }

    pub(crate) async fn propose(&self, target: &str) -> (u16, Value) {
        let body = json!({"action": "process.restart", "target": target, "trigger": "process.running"});
        let answer =
            client().post(self.url("/v1/plans")).bearer_auth(self.agent()).json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// The state that a plan ends in.
    pub(crate) async fn ended(&self, plan: &str) -> String {
        let token = self.person("ada");
        let since = Instant::now();
        loop {
            let state =
                self.get(&format!("/v1/plans/{plan}"), &token).await["state"].as_str().unwrap().to_owned();
            if [
                "succeeded",
                "failed",
                "undone",
                "undo_failed",
                "in_doubt",
                "void",
                "expired",
                "rejected",
                "denied",
            ]
            .contains(&state.as_str())
            {
                return state;
            }
            assert!(since.elapsed() < PATIENCE, "plan {plan} stays {state}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// How often a unit was started.
    pub(crate) fn starts(&self, unit: &str) -> usize {
        fs::read_to_string(self.dir.path().join(format!("{unit}.starts"))).unwrap_or_default().lines().count()
    }

    /// How many records of a kind the ledger has.
    pub(crate) async fn records(&self, kind: &str) -> usize {
        self.ledger().await.iter().filter(|record| record["body"]["kind"] == kind).count()
    }

    /// The records of the ledger, in their order.
    pub(crate) async fn ledger(&self) -> Vec<Value> {
        let token = self.person("ada");
        let mut records = Vec::new();
        loop {
            let path = format!("/v1/ledger/entries?first={}&limit=200", records.len());
            let mut page = self.get(&path, &token).await;
            let entries = page["entries"].as_array_mut().unwrap();
            if entries.is_empty() {
                return records;
            }
            records.extend(entries.iter_mut().map(|entry| entry["record"].take()));
        }
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.dir.path().join("data/holdpoint.db")
    }

    pub(crate) fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let since = Instant::now();
        while !holds() {
            let log = || fs::read_to_string(self.path("gate.log")).unwrap_or_default();
            assert!(since.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}\n{}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(mut gate) = self.gate.take() {
            let _ = gate.kill();
            let _ = gate.wait();
        }
        // Units outlive the gate, and end when their file is gone.
        let _ = fs::remove_file(self.dir.path().join("alive"));
    }
}

/// A port for a server that is stopped and started again. Below those that the kernel gives out by itself: while the server is
/// down, nobody else's connection or listener takes it.
pub(crate) fn port() -> u16 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        // Tests run in processes beside each other, each with a number of its own.
        let number = std::process::id() * 97 + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + u16::try_from(number % 20_000).unwrap();
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).timeout(PATIENCE).build().unwrap()
}

const CONFIG: &str = "
listen: 127.0.0.1:PORT
data_dir: data
origin: test.example/log
trust_domain: test.example
audience: test
catalogue: [catalogue.yaml]
inventory: inventory.yaml
registry: registry.yaml
policies: [policy.cedar]
units: units.yaml
executor_pins: executor.yaml
timings: {verify_every_ms: 50}
";

const CATALOGUE: &str = "
actions:
  - id: process.restart
    title: Restart
    groups: [restart]
    executor: process
    reversibility: reversible
    idempotent: true
    tier: T1
    undo: self_heals
    undo_window_ms: 60000
    cap: {targets: 1, services: 5, critical: 1, replica_share_percent: 100}
    triggers: [process.running]
    verify: process.running
    soak_ms: 100
    settle_ms: 10000
conditions:
  - id: process.running
    title: It runs
    needs: 1
    probes:
      - endpoint: process
        timeout_ms: 1000
        check: {kind: process, expect: running}
";

const INVENTORY: &str = "
services:
  - {id: single, environment: production, owner: oncall, criticality: medium, stateless: false}
  - {id: pool, environment: production, owner: oncall, criticality: low, stateless: true}
targets:
  - {id: sleeper, service: single, executor: process, endpoints: {process: {source: kernel, at: {unit: sleeper}}}}
  - {id: worker, service: pool, executor: process, endpoints: {process: {source: kernel, at: {unit: worker}}}}
  - {id: other, service: pool, executor: process, endpoints: {process: {source: kernel, at: {unit: other}}}}
";

const REGISTRY: &str = "
agents:
  - {id: medic, team: sre-agents, owner: ben, phases: [observe, decide]}
people:
  - {id: ada, teams: [oncall], approval_key: ADA, administrator: true}
  - {id: ben, teams: [oncall], approval_key: BEN, administrator: true}
";

/// Tests act on few targets, one right after the other; those of what keeps runs apart say so.
pub(crate) const LIMITS: &str = "neighbourhood: {apart: false}\n";

pub(crate) const POLICY: &str = "
@id(\"restart\")
permit (principal in Team::\"sre-agents\", action in Action::\"restart\", resource in Environment::\"production\");
@id(\"oncall-approves\")
permit (principal is Person in Team::\"oncall\", action == Action::\"approve\", resource);
@id(\"people-read-the-ledger\")
permit (principal is Person, action == Action::\"read-ledger\", resource == Gate::\"this\");
@id(\"people-use-the-console\")
permit (principal is Person, action == Action::\"use-console\", resource == Gate::\"this\");
";

const UNITS: &str = "
units:
  - {id: sleeper, argv: [/bin/sh, -c, 'echo start >> sleeper.starts; while [ -e alive ]; do sleep 0.2; done'], cwd: DIR, stop_grace_ms: 1000}
  - {id: worker, argv: [/bin/sh, -c, 'echo start >> worker.starts; while [ -e alive ]; do sleep 0.2; done'], cwd: DIR, stop_grace_ms: 1000}
";
