//! A real OpenBao of one test, whose database engine has a real PostgreSQL.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use holdpoint_adapters::lease::{OpenBaoRoles, OpenBaoSpec};
use holdpoint_domain::lease::Ttl;
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{
    postgres::{
        desk::Desk,
        server::{ISSUER, Place, Postgres, secret, until},
    },
    scene::ORIGIN,
    support::id,
};

/// Root's token, which must never be seen anywhere.
pub(super) const ROOT: &str = "canary-root-5e2f";
/// What ships for the operator.
const POLICY: &str = include_str!("../../../../../deploy/openbao/holdpoint.hcl");

/// An OpenBao, and the database behind it.
pub(super) struct OpenBao {
    pub(super) postgres: Postgres,
    pub(super) port: u16,
    /// The authority of its certificate, where it has one.
    ca: Option<PathBuf>,
    child: Child,
}

/// What the operator says of the connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Connection {
    pub(super) username_template: &'static str,
    pub(super) password_authentication: &'static str,
}

pub(super) const AS_DOCUMENTED: Connection =
    Connection { username_template: "{{.RoleName}}", password_authentication: "scram-sha-256" };

fn program() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/tools/bin/bao");
    let bao = std::env::var_os("HOLDPOINT_BAO").map_or(own, PathBuf::from);
    assert!(bao.exists(), "{} is missing: run `cargo xtask setup`", bao.display());
    bao
}

fn start(dir: &Path, port: u16, ca: Option<&Path>) -> Child {
    let log = fs::File::options().create(true).append(true).open(dir.join("bao-log")).unwrap();
    let mut run = Command::new(program());
    run.args(["server", "-dev", "-dev-no-store-token", "-log-level=trace"]);
    run.arg(format!("-dev-root-token-id={ROOT}")).arg(format!("-dev-listen-address=127.0.0.1:{port}"));
    if let Some(ca) = ca {
        run.arg("-dev-tls").arg(format!("-dev-tls-cert-dir={}", ca.parent().unwrap().display()));
    }
    run.env("HOME", dir).current_dir(dir);
    run.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}

impl OpenBao {
    /// An OpenBao set up as documented.
    pub(super) async fn start() -> Self {
        Self::start_as(Postgres::start().await, None).await
    }

    /// One that speaks TLS, with a certificate of an authority of its own.
    pub(super) async fn start_with_tls() -> Self {
        let postgres = Postgres::start().await;
        let dir = postgres.path("bao-tls");
        fs::create_dir(&dir).unwrap();
        Self::start_as(postgres, Some(dir.join("vault-ca.pem"))).await
    }

    async fn start_as(postgres: Postgres, ca: Option<PathBuf>) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = start(&postgres.dir, port, ca.as_deref());
        let bao = Self { postgres, port, ca, child };
        bao.set_up().await;
        bao
    }

    async fn set_up(&self) {
        until("OpenBao answers", async || {
            let (status, _) = self.try_ask(ROOT, None, Method::GET, "sys/health", None).await?;
            (status == 200).then_some(())
        })
        .await;
        self.root(Method::PUT, "sys/policies/acl/holdpoint", json!({"policy": POLICY})).await;
        self.root(Method::POST, "sys/mounts/database", json!({"type": "database"})).await;
        self.connect(None, AS_DOCUMENTED).await;
        let token = self.token(json!({"period": "1h"})).await;
        secret(&self.postgres.path("bao-token"), &token);
    }

    /// Writes the connection to the database.
    pub(super) async fn connect(&self, namespace: Option<&str>, connection: Connection) {
        let port = self.postgres.port;
        let url =
            format!("postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{port}/shop?sslmode=disable");
        let config = json!({
            "plugin_name": "postgresql-database-plugin",
            "connection_url": url,
            "username": "holdpoint_issuer",
            "password": ISSUER,
            "allowed_roles": "hp_*",
            "username_template": connection.username_template,
            "password_authentication": connection.password_authentication,
        });
        let done = self.ask(ROOT, namespace, Method::POST, "database/config/orders", Some(config)).await;
        assert_eq!(done.0, 204, "{}", done.1);
    }

    /// A token as the policy's first lines make it, with other words about its life.
    pub(super) async fn token(&self, life: Value) -> String {
        let mut ask = json!({"policies": ["holdpoint"], "no_default_policy": true, "no_parent": true});
        ask.as_object_mut().unwrap().extend(life.as_object().unwrap().clone());
        let made = self.root(Method::POST, "auth/token/create", ask).await;
        made["auth"]["client_token"].as_str().unwrap().to_owned()
    }

    /// As root, and it has to work.
    pub(super) async fn root(&self, method: Method, path: &str, body: Value) -> Value {
        let (status, answer) = self.ask(ROOT, None, method, path, Some(body)).await;
        assert!(matches!(status, 200 | 204), "{path}: {status} {answer}");
        answer
    }

    pub(super) async fn ask(
        &self,
        token: &str,
        namespace: Option<&str>,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (u16, Value) {
        self.try_ask(token, namespace, method, path, body).await.unwrap()
    }

    async fn try_ask(
        &self,
        token: &str,
        namespace: Option<&str>,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Option<(u16, Value)> {
        let client = reqwest::Client::builder().no_proxy();
        let client = match &self.ca {
            Some(ca) => {
                client.add_root_certificate(reqwest::Certificate::from_pem(&fs::read(ca).ok()?).ok()?)
            }
            None => client,
        };
        let client = client.build().unwrap();
        let mut request = client.request(method, format!("{}/v1/{path}", self.url()));
        request = request.header("X-Vault-Token", token);
        if let Some(namespace) = namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        Some((status, serde_json::from_slice(&answer.bytes().await.ok()?).unwrap_or_default()))
    }

    /// Names below a path; empty where there are none.
    pub(super) async fn list(&self, path: &str) -> Vec<String> {
        let (_, answer) = self.ask(ROOT, None, Method::GET, &format!("{path}?list=true"), None).await;
        let keys = answer["data"]["keys"].as_array().cloned().unwrap_or_default();
        keys.iter().map(|key| key.as_str().unwrap().to_owned()).collect()
    }

    /// The whole name of the one lease of a role.
    pub(super) async fn lease_of(&self, role: &str) -> String {
        let names = self.list(&format!("sys/leases/lookup/database/creds/{role}")).await;
        assert_eq!(names.len(), 1);
        format!("database/creds/{role}/{}", names[0])
    }

    /// Nothing of ours is left at OpenBao or in the database.
    pub(super) async fn assert_nothing_left(&self, what: &str) {
        assert_eq!(self.list("database/roles").await, Vec::<String>::new(), "{what}");
        assert_eq!(self.list("sys/leases/lookup/database/creds").await, Vec::<String>::new(), "{what}");
        let admin = self.postgres.admin("shop").await;
        for sql in [
            "SELECT count(*)::text FROM pg_roles WHERE rolname LIKE 'hp%'",
            "SELECT count(*)::text FROM holdpoint.warrant",
            "SELECT count(*)::text FROM pg_stat_activity WHERE usename LIKE 'hp%'",
        ] {
            assert_eq!(admin.word(sql).await.unwrap(), "0", "{what}: {sql}");
        }
    }

    pub(super) fn url(&self) -> String {
        let scheme = if self.ca.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.postgres.path("bao-log")).unwrap()
    }

    pub(super) fn desk(&self) -> Desk {
        desk(&self.postgres, spec(&self.postgres, self.port))
    }

    pub(super) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    /// Ends it with all that it knows, which a server in memory never sees again, and starts another one in its place.
    pub(super) async fn lose_everything(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = start(&self.postgres.dir, self.port, self.ca.as_deref());
        self.set_up().await;
    }
}

pub(super) fn spec(place: &Place, port: u16) -> OpenBaoSpec {
    OpenBaoSpec {
        name: id("orders-bao"),
        url: format!("http://127.0.0.1:{port}"),
        ca_file: None,
        namespace: None,
        token_file: place.path("bao-token"),
        mount: "database".to_owned(),
        connection: "orders".to_owned(),
        server: place.server("shop"),
        prover: "holdpoint_prover".to_owned(),
        prover_password_file: place.path("prover"),
        prefix: "hp".to_owned(),
        max: Ttl::new(300_000).unwrap(),
    }
}

pub(super) fn desk(place: &Place, spec: OpenBaoSpec) -> Desk {
    Desk::over(place, Arc::new(OpenBaoRoles::new(spec, ORIGIN).unwrap()))
}

impl Drop for OpenBao {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
