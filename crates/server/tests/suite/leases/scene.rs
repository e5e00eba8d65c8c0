//! A stage with a database whose sessions hang, an exporter that says so, and a gate that may end them.

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use base64::{Engine as _, engine::general_purpose};
use holdpoint_adapters::postgres::Session;
use holdpoint_domain::Digest;
use serde_json::{Value, json};

use super::server::{Named, Place, until};
use crate::suite::{
    consent,
    stage::{Stage, client},
};

/// The database, as the inventory names it.
const DATABASE: &str = "orders-db";
/// The ledger's origin, as the stage has it.
const ORIGIN: &str = "test.example/log";
/// The catalogue that is in the program.
pub(super) const BUILTIN: &str = "builtin:postgres";
/// The same entries, which need not hold for ten seconds before they count as worked.
pub(super) const QUICK: &str = "postgres.yaml";
const ENTRIES: &str = include_str!("../../../../../catalog/postgres.yaml");

/// A stage, with one gate or with four roles, and what is around it.
pub(super) struct Shop<S = Box<Stage>> {
    pub(super) stage: S,
    exporter: Arc<Exporter>,
}

/// What the ledger of a dead gate says of a lease.
pub(super) struct Announced {
    pub(super) id: String,
    pub(super) expires_at_ms: i64,
}

/// What the database's exporter and a page that needs the database say, by the database's own word.
struct Exporter {
    looks: Session,
    /// It goes on saying that a session hangs.
    stuck: AtomicBool,
}

impl Shop {
    /// Files and keys; nothing is started. `max_ttl_ms` is the longest life that the operator allows.
    pub(super) async fn new(postgres: &Place, catalogue: &str, max_ttl_ms: u64) -> Self {
        let exporter = Exporter { looks: postgres.admin("shop").await, stuck: AtomicBool::new(false) };
        let exporter = Arc::new(exporter);
        let world = serve(&exporter).await;
        let stage = Stage::unmade();
        let edit = |name: &str, edits: &[(&str, &str)]| {
            let text = std::fs::read_to_string(stage.path(name)).unwrap();
            let text = edits.iter().fold(text, |text, (from, to)| text.replacen(from, to, 1));
            stage.write(name, &text);
        };
        let catalogues = format!("catalogue: [catalogue.yaml, {catalogue}]");
        let more = "units: units.yaml\nexecutors: executors.yaml\ndevelopment: true";
        edit("holdpoint.yaml", &[("catalogue: [catalogue.yaml]", &catalogues), ("units: units.yaml", more)]);
        stage.write(QUICK, &ENTRIES.replace("soak_ms: 10000", "soak_ms: 50"));
        edit("inventory.yaml", &[("targets:\n", &format!("{SERVICE}targets:\n"))]);
        let inventory = std::fs::read_to_string(stage.path("inventory.yaml")).unwrap();
        let target = TARGET.replace("WORLD", &world.to_string()).replace("PORT", &postgres.port.to_string());
        stage.write("inventory.yaml", &(inventory + &target));
        edit("policy.cedar", &[("@id", &format!("{RULE}@id"))]);
        let executors = EXECUTORS.replace("PORT", &postgres.port.to_string());
        let executors = executors.replace("DIR", postgres.dir.to_str().unwrap());
        stage.write("executors.yaml", &executors.replace("TTL", &max_ttl_ms.to_string()));
        stage.made();
        Self { stage: Box::new(stage), exporter }
    }

    /// The same with another stage, made of this one.
    pub(super) fn on<S>(self, stage: impl FnOnce(Stage) -> S) -> Shop<S> {
        Shop { stage: stage(*self.stage), exporter: self.exporter }
    }
}

impl<S: Deref<Target = Stage>> Shop<S> {
    /// From now on the exporter says that a session hangs, whatever the database says; or no longer.
    pub(super) fn set_stuck(&self, stuck: bool) {
        self.exporter.stuck.store(stuck, Ordering::SeqCst);
    }

    /// Whether a session hangs, as the exporter says.
    pub(super) async fn hangs(&self) -> bool {
        self.exporter.hangs().await
    }

    /// Proposes to do something to a session. Answers the plan, which waits for a person.
    pub(super) async fn proposed(&self, action: &str, session: Named) -> Value {
        let (status, plan) = self.propose(action, session).await;
        assert_eq!((status, plan["tier"].as_str()), (202, Some("T3")), "{plan}\n{}", self.stage.log());
        plan
    }

    async fn propose(&self, action: &str, session: Named) -> (u16, Value) {
        let body = json!({
            "action": action, "target": DATABASE, "trigger": "postgres.session-blocks",
            "params": {"pid": session.pid, "started_us": session.started_us},
        });
        let url = self.stage.url("/v1/plans");
        let answer = client().post(url).bearer_auth(self.stage.agent()).json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// A person approves a plan. Returns the plan's id.
    pub(super) async fn approve(&self, plan: &Value) -> String {
        let hold = plan["hold"].as_str().unwrap();
        let body = serde_json::to_value(consent::signed(&self.stage, hold).await).unwrap();
        let status = consent::post(&self.stage, hold, &self.stage.person("ada"), &body).await;
        assert_eq!(status, 200, "{}", self.stage.log());
        plan["id"].as_str().unwrap().to_owned()
    }

    /// The kinds and bodies of a plan's records, in their order.
    pub(super) async fn story(&self, plan: &str) -> Vec<(String, Value)> {
        let records = self.stage.ledger().await.into_iter().filter(|record| record["plan"] == plan);
        records
            .map(|record| (record["body"]["kind"].as_str().unwrap().to_owned(), record["body"].clone()))
            .collect()
    }

    /// The lease that the ledger announced for a plan, as soon as it did.
    pub(super) async fn announced(&self, plan: &str) -> String {
        until("a lease is announced", async || {
            let story = self.story(plan).await;
            let leased = story.iter().find(|(kind, _)| kind == "leased")?;
            Some(leased.1["lease"]["id"].as_str().unwrap().to_owned())
        })
        .await
    }

    /// The lease that the ledger of a dead gate announced, from a copy of its store.
    pub(super) fn announced_on_disk(&self) -> Announced {
        let copy = tempfile::tempdir().unwrap();
        for name in ["holdpoint.db", "holdpoint.db-wal"] {
            std::fs::copy(self.stage.root().join("data").join(name), copy.path().join(name)).unwrap();
        }
        let store = rusqlite::Connection::open(copy.path().join("holdpoint.db")).unwrap();
        let mut entries = store.prepare("SELECT bytes FROM entries ORDER BY idx").unwrap();
        let mut records = entries
            .query_map([], |row| row.get::<_, Vec<u8>>(0))
            .unwrap()
            .map(|bytes| -> Value { serde_json::from_slice(&bytes.unwrap()).unwrap() });
        let leased = records.find(|record| record["body"]["kind"] == "leased").unwrap();
        let lease = &leased["body"]["lease"];
        let id = lease["id"].as_str().unwrap().to_owned();
        Announced { id, expires_at_ms: lease["expires_at_ms"].as_i64().unwrap() }
    }

    /// Waits until the ledger has the end of every lease.
    pub(super) async fn revoked(&self) {
        until("every lease is revoked", async || {
            (self.stage.records("leased").await == self.stage.records("revoked").await).then_some(())
        })
        .await;
    }

    /// The login of a lease, as only whoever has the issuer's key can know it.
    pub(super) fn login(&self, lease: &str) -> (String, String) {
        login(&self.stage.root().join("data/keys/lease.key"), lease)
    }

    /// `holdpoint leases` by a person: what it said, or how it failed.
    pub(super) fn leases(&self, words: &[&str]) -> Result<String, String> {
        let config = self.stage.path("holdpoint.yaml");
        let words = ["leases"].into_iter().chain(words.iter().copied());
        let words: Vec<_> = words.chain(["--config", &config, "--as", "ben"]).collect();
        let output = self.stage.cli(&words);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }
}

impl Exporter {
    /// Whether a session of the shop holds a transaction open, or works for long.
    async fn hangs(&self) -> bool {
        let sql = "SELECT count(*)::text FROM pg_stat_activity WHERE usename = 'shopper' AND xact_start IS NOT NULL";
        self.stuck.load(Ordering::SeqCst) || self.looks.word(sql).await.unwrap() != "0"
    }
}

/// The port of the exporter and the page.
async fn serve(exporter: &Arc<Exporter>) -> u16 {
    let metrics = async |State(exporter): State<Arc<Exporter>>| {
        let oldest = if exporter.hangs().await { 900 } else { 1 };
        format!("# TYPE pg_stat_activity_max_tx_duration gauge\npg_stat_activity_max_tx_duration {oldest}\n")
    };
    let page = async |State(exporter): State<Arc<Exporter>>| {
        if exporter.hangs().await { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
    };
    let router = Router::new().route("/metrics", get(metrics)).route("/page", get(page));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(axum::serve(listener, router.with_state(Arc::clone(exporter))).into_future());
    port
}

/// The task roles that a server has.
pub(super) async fn roles(postgres: &Place) -> Vec<String> {
    let sql = "SELECT rolname FROM pg_roles WHERE rolname LIKE 'hp%' ORDER BY 1";
    postgres.admin("shop").await.run(sql).await.unwrap().into_iter().flatten().collect()
}

/// Role and password of a lease, computed apart from the program: HMAC-SHA256 (RFC 2104) of the role's name by the issuer's key.
pub(super) fn login(key_file: &std::path::Path, lease: &str) -> (String, String) {
    let origin: String = hex(Digest::of_bytes(ORIGIN.as_bytes()).as_bytes()).chars().take(8).collect();
    let role = format!("hp_{origin}_{}", lease.strip_prefix("lease-").unwrap());
    let key = std::fs::read_to_string(key_file).unwrap();
    let key = general_purpose::STANDARD.decode(key.trim()).unwrap();
    let block =
        |pad: u8| -> Vec<u8> { (0..64).map(|at| key.get(at).copied().unwrap_or_default() ^ pad).collect() };
    let said = [b"holdpoint/postgres-password/v1\0", role.as_bytes()].concat();
    let inner = Digest::of_bytes(&[block(0x36), said].concat());
    let password = Digest::of_bytes(&[&block(0x5c)[..], inner.as_bytes()].concat());
    (role, general_purpose::URL_SAFE_NO_PAD.encode(password.as_bytes()))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const SERVICE: &str =
    "  - {id: orders, environment: production, owner: oncall, criticality: medium, stateless: false}\n";

const TARGET: &str = "  - id: orders-db
    service: orders
    executor: postgres
    endpoints:
      port: {source: kernel, at: {tcp: '127.0.0.1:PORT'}}
      metrics: {source: exporter, at: {url: 'http://127.0.0.1:WORLD/metrics'}}
      peer: {source: page, at: {url: 'http://127.0.0.1:WORLD/page'}}
";

const RULE: &str = "@id(\"sessions\")
permit (principal in Team::\"sre-agents\", action in Action::\"session\", resource in Environment::\"production\");
";

const EXECUTORS: &str = "
postgres:
  orders-db:
    server: {host: 127.0.0.1, port: PORT, database: shop}
    observer: {user: holdpoint_observer, password_file: DIR/observer}
    lease: orders-pg
leases:
  postgres:
    orders-pg:
      server: {host: 127.0.0.1, port: PORT, database: shop}
      issuer: {user: holdpoint_issuer, password_file: DIR/issuer}
      max_ttl_ms: TTL
";
