//! A gate's folder: six thousand services that depend on each other, agents of many teams, and policies by the thousand.

use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use crate::process::{Server, free};

const BINARY: &str = env!("CARGO_BIN_EXE_holdpoint");
/// Services, each with one target.
const SERVICES: usize = 6_000;
/// A service needs the one that its number leads to, so that what many need is few: a target disturbs up to some dozens.
const FAN_IN: usize = 3;
/// Agents, each of a team of its own.
const AGENTS: usize = 20;
/// Rules that concern each agent, however many there are.
const MATCHING: usize = 5;
/// How many questions are asked in turn: agents ask about what they work on, again and again.
pub(crate) const QUESTIONS: usize = 2_000;
/// So many that none is remembered when its turn comes again.
pub(crate) const NEW_QUESTIONS: usize = 40_000;

pub(crate) struct Folder {
    dir: tempfile::TempDir,
    address: SocketAddr,
    tokens: Vec<String>,
}

impl Folder {
    /// Writes the files and makes the keys.
    pub(crate) fn new(policies: usize) -> Self {
        let mut folder = Self { dir: tempfile::tempdir().unwrap(), address: free(), tokens: Vec::new() };
        let key = folder.holdpoint(&["keygen", "--out", folder.path("ada.key").to_str().unwrap()]);
        let key = String::from_utf8(key.stdout).unwrap();
        folder.write("holdpoint.yaml", &CONFIG.replace("ADDRESS", &folder.address.to_string()));
        folder.write("catalogue.yaml", CATALOGUE);
        folder.write("inventory.yaml", &inventory());
        folder.write("registry.yaml", &registry(key.trim()));
        folder.write("policy.cedar", &policy(policies));
        let config = folder.path("holdpoint.yaml");
        let config = config.to_str().unwrap();
        folder.holdpoint(&["init", "--config", config]);
        folder.tokens = (0..AGENTS)
            .map(|number| {
                let agent = format!("agent-{number}");
                let issue = ["identity", "issue", "--config", config, "--agent", &agent, "--phase", "decide"];
                String::from_utf8(folder.holdpoint(&issue).stdout).unwrap().trim().to_owned()
            })
            .collect();
        folder
    }

    /// Starts the gate.
    pub(crate) fn serve(&self) -> Server {
        let log = fs::File::create(self.path("gate.log")).unwrap();
        let config = self.path("holdpoint.yaml");
        let mut command = Command::new(BINARY);
        command.args(["serve", "--config", config.to_str().unwrap()]).stderr(log);
        Server::start(&mut command, self.address)
    }

    /// Tokens and bodies: every agent, and targets from all over the inventory.
    pub(crate) fn questions(&self, count: usize) -> Vec<(&str, String)> {
        let question = |number: usize| {
            // Another target each time, and with every agent in turn all of them.
            let target = (number * 4_999 + number / SERVICES) % SERVICES;
            let token = self.tokens[number % AGENTS].as_str();
            (token, format!(r#"{{"action":"process.inspect","target":"target-{target}"}}"#))
        };
        (0..count).map(question).collect()
    }

    /// How many records the ledger has: the second line of its checkpoint.
    pub(crate) async fn log_size(&self, gate: &Server) -> usize {
        let url = format!("http://{}/v1/ledger/checkpoint", gate.address());
        let checkpoint = reqwest::get(url).await.unwrap().text().await.unwrap();
        checkpoint.lines().nth(1).unwrap().parse().unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn holdpoint(&self, arguments: &[&str]) -> Output {
        let output = Command::new(BINARY).args(arguments).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }
}

fn inventory() -> String {
    let mut text = String::from("services:\n");
    for number in 0..SERVICES {
        let needs = if number == 0 { String::new() } else { format!("service-{}", (number - 1) / FAN_IN) };
        // What stands high in the tree is needed by thousands; only what stands low is asked about.
        let needs = if number < SERVICES / 4 { String::new() } else { needs };
        let criticality = if number % 50 == 0 { "critical" } else { "medium" };
        let _ = writeln!(
            text,
            "  - {{id: service-{number}, environment: env-{}, owner: team-0, criticality: {criticality}, stateless: true, depends_on: [{needs}]}}",
            number % 7
        );
    }
    text.push_str("targets:\n");
    for number in 0..SERVICES {
        let _ = writeln!(
            text,
            "  - {{id: target-{number}, service: service-{number}, executor: process, endpoints: {{process: {{source: kernel, at: {{unit: target-{number}}}}}}}}}"
        );
    }
    text
}

fn registry(key: &str) -> String {
    let mut text = String::from("agents:\n");
    for number in 0..AGENTS {
        let _ = writeln!(
            text,
            "  - {{id: agent-{number}, team: team-{number}, owner: ada, phases: [decide], accepted: true}}"
        );
    }
    let _ =
        writeln!(text, "people:\n  - {{id: ada, teams: [oncall], approval_key: {key}, administrator: true}}");
    text
}

/// As many rules; five of them concern each agent, whatever their number: two for its team on anything that only reads, three
/// with conditions of which one bites.
fn policy(count: usize) -> String {
    let mut text = String::new();
    for number in 0..count {
        // The first ones concern the agents' teams, the rest teams that nobody is in.
        let team = number / MATCHING;
        let condition = match number % MATCHING {
            0 => "!context.brakes.halted".to_owned(),
            1 => "context.blast.services <= 100".to_owned(),
            2 => "resource.criticality != \"critical\" && context.blast.critical <= 3".to_owned(),
            3 => "resource.stateless && !context.brakes.frozen".to_owned(),
            _ => "principal.phase == \"decide\" && context.blast.targets == 1".to_owned(),
        };
        let _ = writeln!(
            text,
            "@id(\"team-{team}-{}\") permit (principal in Team::\"team-{team}\", action in Action::\"read-only\", resource) when {{ {condition} }};",
            number % MATCHING
        );
    }
    text
}

const CONFIG: &str = "
listen: ADDRESS
data_dir: data
origin: bench.example/log
trust_domain: bench.example
audience: bench
catalogue: [catalogue.yaml]
inventory: inventory.yaml
registry: registry.yaml
policies: [policy.cedar]
executor_pins: executor.yaml
";

const CATALOGUE: &str = "
actions:
  - id: process.inspect
    title: Read what a process says of itself
    executor: process
    reversibility: read_only
    idempotent: true
    tier: T0
    undo: none
    undo_window_ms: 0
    cap: {targets: 1, services: 100, critical: 10, replica_share_percent: 100}
    triggers: [process.running]
    verify: process.running
    soak_ms: 0
    settle_ms: 1000
conditions:
  - id: process.running
    title: It runs
    needs: 1
    probes:
      - endpoint: process
        timeout_ms: 1000
        check: {kind: process, expect: running}
";
