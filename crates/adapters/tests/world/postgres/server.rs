//! A real PostgreSQL server of one test, which asks everybody for a password by SCRAM. The tests of the program include it, too.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use holdpoint_adapters::postgres::{Login, Server, Session};

/// How long anything may take before a test gives up: a machine that builds beside it is slow.
const PATIENCE: Duration = Duration::from_secs(90);
const SETUP: &str = include_str!("../../../../../deploy/postgres/holdpoint.sql");
const REAPER: &str = include_str!("../../../../../deploy/postgres/reaper.sql");

/// Passwords that must never be seen anywhere but in their files.
pub(crate) const ADMIN: &str = "canary-admin-1b6e";
pub(crate) const ISSUER: &str = "canary-issuer-77c0";
pub(crate) const OBSERVER: &str = "canary-observer-93ab";

/// A session, as a plan names it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named {
    pub(crate) pid: i64,
    pub(crate) started_us: i64,
}

pub(crate) struct Postgres {
    place: Place,
    child: Child,
    _dir: tempfile::TempDir,
}

/// Where a server is: what another process needs of it.
pub(crate) struct Place {
    pub(crate) dir: PathBuf,
    pub(crate) port: u16,
}

impl std::ops::Deref for Postgres {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.place
    }
}

fn program(name: &str) -> PathBuf {
    let postgres = std::env::var_os("HOLDPOINT_POSTGRES")
        .map_or_else(|| PathBuf::from("/usr/lib/postgresql/15/bin/postgres"), PathBuf::from);
    assert!(postgres.exists(), "{} is missing: run `cargo xtask setup`", postgres.display());
    postgres.with_file_name(name)
}

/// The server will not run as root: it runs as `postgres` then.
fn command(name: &str) -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(program(name));
    }
    let mut command = Command::new("runuser");
    command.args(["-u", "postgres", "--"]).arg(program(name));
    command
}

fn done(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

pub(crate) async fn until<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(since.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Postgres {
    /// A server with the operator's SQL in database `shop`. Every statement is logged.
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (data, log) = (dir.path().join("data"), dir.path().join("log"));
        fs::write(dir.path().join("admin"), ADMIN).unwrap();
        if rustix::process::geteuid().is_root() {
            done(&Command::new("chown").args(["-R", "postgres"]).arg(dir.path()).output().unwrap());
        }
        let mut init = command("initdb");
        init.args([
            "-A",
            "scram-sha-256",
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "-N",
            "--pwfile",
        ]);
        done(&init.arg(dir.path().join("admin")).arg("-D").arg(&data).current_dir("/").output().unwrap());
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut run = command("postgres");
        run.arg("-D").arg(&data).args(["-p", &port.to_string(), "-h", "127.0.0.1", "-k"]).arg(dir.path());
        for setting in
            ["fsync=off", "log_statement=all", "log_min_duration_statement=0", "log_connections=on"]
        {
            run.args(["-c", setting]);
        }
        let child = run
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(log).unwrap())
            .spawn()
            .unwrap();
        let place = Place { dir: dir.path().to_owned(), port };
        let postgres = Self { place, child, _dir: dir };
        postgres.set_up().await;
        postgres
    }

    async fn set_up(&self) {
        let server = self.server("postgres");
        let admin = Login::new("postgres".to_owned(), ADMIN.to_owned());
        let session = until("the server answers", async || server.connect(&admin).await.ok()).await;
        session.run("CREATE DATABASE shop").await.unwrap();
        let shop = self.admin("shop").await;
        for sql in [SETUP, SETUP, REAPER] {
            shop.run(sql).await.unwrap();
        }
        for sql in [
            format!("ALTER ROLE holdpoint_issuer PASSWORD '{ISSUER}'"),
            format!("ALTER ROLE holdpoint_observer PASSWORD '{OBSERVER}'"),
            "CREATE ROLE shopper LOGIN PASSWORD 'shopper'".to_owned(),
            "CREATE ROLE auditor LOGIN PASSWORD 'auditor'".to_owned(),
            "INSERT INTO holdpoint.may_end VALUES ('shopper')".to_owned(),
        ] {
            shop.run(&sql).await.unwrap();
        }
        for (name, password) in [("issuer", ISSUER), ("observer", OBSERVER)] {
            secret(&self.path(name), password);
        }
    }
}

impl Place {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn server(&self, database: &str) -> Server {
        Server::new("127.0.0.1".to_owned(), self.port, database.to_owned(), None).unwrap()
    }

    pub(crate) async fn admin(&self, database: &str) -> Session {
        self.session(database, "postgres", ADMIN).await
    }

    pub(crate) async fn session(&self, database: &str, user: &str, password: &str) -> Session {
        let login = Login::new(user.to_owned(), password.to_owned());
        self.server(database).connect(&login).await.unwrap()
    }

    /// A real psql that runs one statement in database `shop`.
    pub(crate) fn psql(&self, user: &str, password: &str, sql: &str) -> Command {
        let mut psql = Command::new(std::env::var_os("HOLDPOINT_PSQL").unwrap_or_else(|| "psql".into()));
        psql.args(["-X", "-q", "-A", "-t", "-w", "-h", "127.0.0.1", "-p", &self.port.to_string()]);
        psql.args(["-U", user, "-d", "shop", "-c", sql]).env("PGPASSWORD", password);
        psql
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }
}

/// A session, as a plan names it.
pub(crate) async fn named(session: &Session) -> Named {
    found(session, "pid = pg_backend_pid()").await
}

/// The one session that this holds for, as a plan names it.
pub(crate) async fn found(session: &Session, condition: &str) -> Named {
    let sql = "SELECT pid || ' ' || (extract(epoch FROM backend_start) * 1000000)::bigint FROM pg_stat_activity WHERE";
    let words = session.word(&format!("{sql} {condition}")).await.unwrap();
    let (pid, started) = words.split_once(' ').unwrap();
    Named { pid: pid.parse().unwrap(), started_us: started.parse().unwrap() }
}

/// A file of a secret.
pub(crate) fn secret(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, format!("{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Started through `runuser` it is not our child: its own file says which it is. SIGINT is a fast stop.
        let pid = fs::read_to_string(self.path("data/postmaster.pid")).unwrap_or_default();
        if let Some(pid) =
            pid.lines().next().and_then(|pid| rustix::process::Pid::from_raw(pid.parse().ok()?))
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        }
        // One that saw its child stop has stopped too.
        let _ = rustix::process::kill_process(
            rustix::process::Pid::from_child(&self.child),
            rustix::process::Signal::CONT,
        );
        let _ = self.child.wait();
    }
}
