//! The driver of one browser: a process of its own, and whatever it started, until it is dropped.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    time::Instant,
};

use serde_json::{Value, json};

use crate::suite::stage::PATIENCE;

/// How often a driver looks for a port.
const TRIES: u32 = 5;

/// A driver that listens, and the folder that its browser writes to.
pub(super) struct Driver {
    process: Child,
    dir: tempfile::TempDir,
    port: u16,
}

impl Driver {
    /// Starts the driver on a port that it chooses itself, and waits until it says which.
    pub(super) async fn start() -> Self {
        for _ in 0..TRIES {
            if let Some(driver) = Self::tried().await {
                return driver;
            }
        }
        panic!("no driver finds a port that is free, in {TRIES} tries");
    }

    /// None where somebody else took the port that it chose: it wants the same one of IPv4 and of IPv6.
    async fn tried() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let said = dir.path().join("driver.log");
        let log = fs::File::create(&said).unwrap();
        let program = program("HOLDPOINT_CHROMEDRIVER", "/usr/bin/chromedriver");
        let mut process = Command::new(&program)
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            // A group of its own, with which the browser ends too.
            .process_group(0)
            .spawn()
            .unwrap_or_else(|err| {
                panic!("`{program}` does not start: {err}; `cargo xtask setup` installs it")
            });
        let since = Instant::now();
        loop {
            let text = fs::read_to_string(&said).unwrap();
            if let Some(port) = port_in(&text) {
                return Some(Self { process, dir, port });
            }
            let gone = process.try_wait().unwrap();
            if gone.is_some() && text.contains("port not available") {
                return None;
            }
            assert!(gone.is_none() && since.elapsed() < PATIENCE, "`{program}` says no port: {text}");
            tokio::time::sleep(super::page::PAUSE).await;
        }
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What a browser of a test is: without a window, a network of its own or anything that it would fetch by itself.
    pub(super) fn capabilities(&self) -> serde_json::Map<String, Value> {
        let profile = format!("--user-data-dir={}", self.dir.path().join("profile").display());
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-background-networking",
            "--disable-breakpad",
            "--disable-component-update",
            "--disable-dev-shm-usage",
            "--disable-sync",
            "--force-color-profile=srgb",
            "--hide-scrollbars",
            "--no-default-browser-check",
            "--no-first-run",
            "--no-proxy-server",
            "--window-size=1280,900",
            &profile,
        ];
        let wanted = json!({
            "browserName": "chrome",
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"binary": program("HOLDPOINT_CHROMIUM", "/usr/bin/chromium"), "args": arguments},
        });
        wanted.as_object().unwrap().clone()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.process);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.process.wait();
    }
}

fn program(variable: &str, usual: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| usual.to_owned())
}

/// `ChromeDriver was started successfully on port 41235.`
fn port_in(said: &str) -> Option<u16> {
    let (_, rest) = said.split_once("successfully on port ")?;
    rest.split_once('.')?.0.parse().ok()
}
