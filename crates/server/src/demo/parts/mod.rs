//! The parts of the stage: workers, a balancer and a checkout. Real processes; this binary with another command.

mod balancer;
mod checkout;
mod wire;
mod worker;

use std::{
    fs::{File, TryLockError},
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    thread,
    time::Duration,
};

use clap::{Args, ValueEnum};

use wire::Handler;

/// How long a part that is started after the demo runs: long enough to look around, and no process is left for good.
const AFTER_THE_DEMO: Duration = Duration::from_secs(60 * 60);

/// What a process of the stage is.
#[derive(Debug, Clone, Args)]
pub(crate) struct PartOptions {
    /// What it plays
    role: Role,
    /// Its name in metrics
    #[arg(long)]
    name: String,
    /// Its port on 127.0.0.1
    #[arg(long)]
    port: u16,
    /// What it sends work to: `name=host:port`
    #[arg(long = "backend", value_parser = backend)]
    backends: Vec<Backend>,
    /// A file that the demo keeps locked while it lives; when the lock falls, the process ends. Without a lock it ends
    /// after an hour
    #[arg(long)]
    alive: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Does work, and can hang
    Worker,
    /// Spreads work over workers
    Balancer,
    /// Keeps carts in memory, and can leak
    Checkout,
}

/// Where work is sent.
#[derive(Debug, Clone)]
struct Backend {
    name: String,
    address: SocketAddr,
}

/// Why a part did not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PartError {
    /// Its port is taken, or the lock's file is not there.
    #[error("`{name}` cannot run: {what}")]
    Io {
        /// Who.
        name: String,
        /// What failed.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A checkout without a balancer.
    #[error("`{0}` needs a `--backend` to send its work to")]
    NoBackend(String),
}

fn backend(text: &str) -> Result<Backend, String> {
    let (name, address) = text.split_once('=').ok_or("expected `name=host:port`")?;
    let address = address.parse().map_err(|err| format!("`{address}`: {err}"))?;
    Ok(Backend { name: name.to_owned(), address })
}

/// Runs a part until it is killed, or until the demo that it belongs to is gone.
pub(crate) fn part(options: PartOptions) -> Result<(), PartError> {
    let PartOptions { role, name, port, backends, alive } = options;
    let failed = |what| {
        let name = name.clone();
        move |source| PartError::Io { name, what, source }
    };
    let handler: Handler = match role {
        Role::Worker => worker::handler(&name),
        Role::Balancer => balancer::handler(backends),
        Role::Checkout => {
            let balancer = backends.first().ok_or_else(|| PartError::NoBackend(name.clone()))?;
            checkout::handler(balancer.address)
        }
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(failed("its port"))?;
    let served = thread::spawn(move || wire::serve(&listener, &handler));
    if let Some(path) = alive {
        let demo = File::open(path).map_err(failed("the demo's lock file"))?;
        match demo.try_lock_shared() {
            // The kernel gives the lock up however the demo ends; returning from here ends the process.
            Err(TryLockError::WouldBlock) => return demo.lock_shared().map_err(failed("the demo's lock")),
            Err(TryLockError::Error(err)) => return Err(failed("the demo's lock")(err)),
            // Nobody holds it: somebody looks around the stage after the demo.
            Ok(()) => {
                drop(demo);
                thread::sleep(AFTER_THE_DEMO);
                return Ok(());
            }
        }
    }
    // Serving ends with the process.
    let _ = served.join();
    Ok(())
}

/// What the process says of its own memory, under the name that Prometheus client libraries use.
fn memory_metric() -> String {
    let bytes = std::fs::read_to_string("/proc/self/status").ok().and_then(|status| resident_bytes(&status));
    bytes.map_or_else(String::new, |bytes| {
        format!(
            "# HELP process_resident_memory_bytes Resident memory size in bytes.\n\
             # TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes {bytes}\n"
        )
    })
}

/// `VmRSS` of `proc_pid_status(5)`, in bytes.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim_end().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Serves a part on a free port.
    fn on_stage(handler: Handler) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || wire::serve(&listener, &handler));
        address
    }

    fn ask(address: SocketAddr, method: &str, path: &str) -> (u16, String) {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        write!(stream, "{method} {path} HTTP/1.1\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let status = text.split(' ').nth(1).unwrap().parse().unwrap();
        (status, text.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    #[test]
    fn a_worker_that_hangs_takes_connections_and_answers_nothing() {
        let worker = on_stage(worker::handler("worker-1"));
        assert_eq!(ask(worker, "GET", "/work"), (200, "worker-1 did piece 1 of the work\n".to_owned()));
        assert_eq!(ask(worker, "POST", "/hang").0, 202);
        let err = wire::get(worker, "/healthz", Duration::from_millis(100)).unwrap_err();
        assert!(matches!(err.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut), "{err}");
    }

    #[test]
    fn a_balancer_goes_round_its_backends() {
        let workers = ["worker-1", "worker-2"];
        let backends: Vec<_> = workers
            .iter()
            .map(|name| Backend { name: (*name).to_owned(), address: on_stage(worker::handler(name)) })
            .collect();
        let balancer = on_stage(balancer::handler(backends));
        let all_up = |text: &str| {
            workers.iter().all(|name| text.contains(&format!("demo_backend_up{{backend=\"{name}\"}} 1")))
        };
        while !all_up(&ask(balancer, "GET", "/metrics").1) {
            thread::yield_now();
        }
        let answers: Vec<_> = (0..2).map(|_| ask(balancer, "GET", "/work").1).collect();
        assert!(
            workers.iter().all(|name| answers.iter().any(|answer| answer.starts_with(name))),
            "{answers:?}"
        );
    }

    #[test]
    fn a_checkout_that_leaks_has_more_resident_memory() {
        let nobody = on_stage(worker::handler("worker-1"));
        let checkout = on_stage(checkout::handler(nobody));
        let rss = || {
            let (_, text) = ask(checkout, "GET", "/metrics");
            let line =
                text.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes ")).unwrap();
            line.parse::<u64>().unwrap()
        };
        let before = rss();
        assert_eq!(ask(checkout, "POST", "/carts"), (200, "1\n".to_owned()));
        assert_eq!(ask(checkout, "POST", "/leak").0, 202);
        assert!(rss() > before + 90 * 1024 * 1024);
    }

    #[test]
    fn resident_memory_is_read_in_bytes() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t1\n"), Some(2_097_152));
        for bad in ["", "VmRSS:", "VmRSS: x kB", "VmRSS: 1 MB"] {
            assert_eq!(resident_bytes(bad), None, "{bad}");
        }
    }
}
