//! A stage whose gate, observer, issuer and executor are four processes, laid out by the program itself.

use std::{
    fs,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use holdpoint_adapters::tls::{LiveSvid, SpiffeId, SvidFiles, client};

use crate::suite::stage::{BINARY, PATIENCE, Stage, port};

/// The roles beside the gate.
pub(in crate::suite) const OTHERS: [&str; 3] = ["observer", "issuer", "executor"];

/// A database that nobody answers for, and what leases for it.
const BACKENDS: &str = "
postgres:
  orders-db:
    server: {host: 127.0.0.1, port: 1, database: shop}
    observer: {user: holdpoint_observer, password_file: observer}
    lease: orders-pg
leases:
  postgres:
    orders-pg:
      server: {host: 127.0.0.1, port: 1, database: shop}
      issuer: {user: holdpoint_issuer, password_file: issuer}
      max_ttl_ms: 300000
";

pub(in crate::suite) struct Scene {
    pub(in crate::suite) stage: Stage,
    ports: [u16; 3],
    roles: [Option<Child>; 3],
}

impl Scene {
    /// All four, started. `restart` has this tier in the catalogue.
    pub(super) fn started(tier: &str) -> Self {
        let mut scene = Self::laid_out(tier, "");
        for role in OTHERS {
            scene.start(role, None);
        }
        scene.stage.start();
        scene
    }

    /// All folders, from a configuration with these lines more; nothing is started.
    pub(super) fn laid_out(tier: &str, more: &str) -> Self {
        let stage = Stage::new();
        stage.write("executors.yaml", BACKENDS);
        let catalogue = fs::read_to_string(stage.path("catalogue.yaml")).unwrap();
        stage.write("catalogue.yaml", &catalogue.replace("tier: T1", &format!("tier: {tier}")));
        let config = fs::read_to_string(stage.path("holdpoint.yaml")).unwrap();
        stage.write("holdpoint.yaml", &format!("{config}\n{more}\n"));
        Self::of(stage)
    }

    /// All folders of a stage; nothing is started.
    pub(in crate::suite) fn of(mut stage: Stage) -> Self {
        let ports = [port(), port(), port()];
        let at = ports.map(|port| format!("127.0.0.1:{port}"));
        let (config, roles) = (stage.path("holdpoint.yaml"), stage.path("roles"));
        let said = stage.must(&[
            "roles",
            "lay-out",
            "--config",
            &config,
            &roles,
            "--observer",
            &at[0],
            "--issuer",
            &at[1],
            "--executor",
            &at[2],
        ]);
        assert!(said.contains("serve --role gate"), "{said}");
        stage.set_gate("roles/gate/holdpoint.yaml", &["--role", "gate"]);
        Self { stage, ports, roles: [None, None, None] }
    }

    fn at(role: &str) -> usize {
        OTHERS.iter().position(|known| *known == role).unwrap()
    }

    pub(super) fn url(&self, role: &str) -> String {
        format!("https://127.0.0.1:{}", self.ports[Self::at(role)])
    }

    pub(super) fn command(&self, role: &str) -> Command {
        let mut command = Command::new(BINARY);
        command.args([
            "serve",
            "--role",
            role,
            "--config",
            &self.stage.path(&format!("roles/{role}/role.yaml")),
        ]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    pub(in crate::suite) fn start(&mut self, role: &str, drill: Option<&str>) {
        let path = self.stage.path(&format!("{role}.log"));
        let log = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        let mut command = self.command(role);
        command.envs(self.stage.environment().iter().cloned());
        let child = command.stderr(log).envs(drill.map(|words| ("HOLDPOINT_DRILL", words))).spawn().unwrap();
        let at = Self::at(role);
        self.roles[at] = Some(child);
        let since = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.ports[at])).is_err() {
            let gone = self.roles[at].as_mut().unwrap().try_wait().unwrap();
            assert!(gone.is_none() && since.elapsed() < PATIENCE, "no {role} answers\n{}", self.log(role));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until a role that has a drill has killed itself.
    pub(in crate::suite) async fn died(&mut self, role: &str) {
        let (at, since) = (Self::at(role), Instant::now());
        while self.roles[at].as_mut().unwrap().try_wait().unwrap().is_none() {
            assert!(since.elapsed() < PATIENCE, "the {role} lives on\n{}", self.log(role));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// `kill -9`.
    pub(in crate::suite) fn kill(&mut self, role: &str) {
        let mut child = self.roles[Self::at(role)].take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Started again after it killed itself.
    pub(super) fn started_anew(&mut self, role: &str) {
        let ended = self.roles[Self::at(role)].take().unwrap().wait().unwrap();
        assert!(!ended.success(), "{role} did not kill itself: {ended}");
        self.start(role, None);
    }

    pub(in crate::suite) fn log(&self, role: &str) -> String {
        fs::read_to_string(self.stage.path(&format!("{role}.log"))).unwrap_or_default()
    }

    /// The certificate of a role.
    pub(super) fn files(&self, role: &str) -> SvidFiles {
        let at = |name: &str| self.stage.root().join("roles").join(role).join("tls").join(name);
        SvidFiles { certificate: at("svid.pem"), key: at("svid.key"), bundle: at("bundle.pem") }
    }

    /// A client that shows the certificate of `own` and expects `server`.
    pub(super) fn client(&self, own: &SvidFiles, server: &str) -> reqwest::Client {
        let svid = Arc::new(LiveSvid::load(own.clone()).unwrap());
        client(&svid, id(server)).unwrap()
    }
}

impl std::borrow::Borrow<Stage> for Scene {
    fn borrow(&self) -> &Stage {
        &self.stage
    }
}

impl std::ops::Deref for Scene {
    type Target = Stage;

    fn deref(&self) -> &Stage {
        &self.stage
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for child in self.roles.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The SPIFFE id of a role.
pub(super) fn id(role: &str) -> SpiffeId {
    SpiffeId::new(format!("spiffe://test.example/holdpoint/{role}")).unwrap()
}
