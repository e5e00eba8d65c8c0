//! Real programs in folders of their own, and an exporter that says whatever a test has it say.

use std::{
    env, fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use tempfile::TempDir;

use crate::world::server::Server;

/// How long anything may take before a test gives up: a machine that builds beside it is slow.
const PATIENCE: Duration = Duration::from_secs(120);

/// Milliseconds since the epoch, by the clock on the wall.
pub(super) fn now_ms() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}

/// Looks again and again until there is something to see.
pub(super) async fn until<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(since.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A server of metrics. What it says is made anew at each scrape.
pub(super) struct Exporter {
    pub(super) server: Server,
    says: Says,
}

type Says = Arc<Mutex<Box<dyn Fn() -> Option<String> + Send>>>;

impl Exporter {
    pub(super) fn new(says: impl Fn() -> String + Send + 'static) -> Self {
        let says: Says = Arc::new(Mutex::new(Box::new(move || Some(says()))));
        let same = Arc::clone(&says);
        let server = Server::respond(move |_, _| {
            let said = same.lock().unwrap()();
            let (status, text) = match said {
                Some(text) => ("200 OK", text),
                None => ("503 Gone", String::new()),
            };
            format!(
                "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\r\n{text}",
                text.len()
            )
        });
        Self { server, says }
    }

    /// From now on its page is not there.
    pub(super) fn vanish(&self) {
        *self.says.lock().unwrap() = Box::new(|| None);
    }

    pub(super) fn says(&self, says: impl Fn() -> String + Send + 'static) {
        *self.says.lock().unwrap() = Box::new(move || Some(says()));
    }
}

/// A real program with a folder and a port of its own. It ends with this.
pub(super) struct Program {
    child: Child,
    port: u16,
    dir: TempDir,
}

impl Program {
    /// The base of its HTTP API.
    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A Prometheus that scrapes one exporter, and believes its labels and time stamps.
    pub(super) async fn prometheus(exporter: &Exporter) -> Self {
        let config = format!(
            "global: {{scrape_interval: 500ms, scrape_timeout: 400ms}}\nscrape_configs:\n  - job_name: test\n    \
             honor_labels: true\n    honor_timestamps: true\n    static_configs: [{{targets: ['{}']}}]\n",
            exporter.server.address
        );
        let listens = |port: u16| vec![format!("--web.listen-address=127.0.0.1:{port}")];
        Self::start("HOLDPOINT_PROMETHEUS", "prometheus", &config, "--storage.tsdb.path", listens).await
    }

    /// Starts a program, and waits until it says that it is ready.
    pub(super) async fn start(
        variable: &str,
        name: &str,
        config: &str,
        storage: &str,
        arguments: impl Fn(u16) -> Vec<String>,
    ) -> Self {
        let program =
            env::var_os(variable).map_or_else(|| PathBuf::from("/usr/bin").join(name), PathBuf::from);
        assert!(program.exists(), "{} is missing: run `cargo xtask setup`", program.display());
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("config.yml"), config).unwrap();
        // The port was free a moment ago; somebody else may have it by now.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut command = Command::new(&program);
            command
                .arg(format!("--config.file={}", dir.path().join("config.yml").display()))
                .arg(format!("{storage}={}", dir.path().join("data").display()))
                .args(arguments(port))
                .current_dir(dir.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(fs::File::create(dir.path().join("log")).unwrap());
            let child = Mutex::new(command.spawn().unwrap());
            let is_ready = until("the program is ready", async || {
                if child.lock().unwrap().try_wait().unwrap().is_some() {
                    return Some(false);
                }
                let answer = reqwest::get(format!("http://127.0.0.1:{port}/-/ready")).await;
                answer.is_ok_and(|answer| answer.status().is_success()).then_some(true)
            });
            if is_ready.await {
                return Self { child: child.into_inner().unwrap(), port, dir };
            }
        }
        panic!("{name} does not start: {}", fs::read_to_string(dir.path().join("log")).unwrap());
    }

    /// What it wrote about itself.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
