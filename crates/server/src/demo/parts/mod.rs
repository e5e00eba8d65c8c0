//! The parts of the stage: workers, a balancer, a checkout, payments and visitors. Real processes; this binary with another
//! command.

mod balancer;
mod checkout;
mod offers;
mod payments;
mod rate;
#[cfg(test)]
mod tests;
mod token;
mod visitors;
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
use holdpoint_domain::Digest;

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
    /// The folder with the files that it works by
    #[arg(long)]
    shop: Option<PathBuf>,
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
    /// Keeps carts in memory, makes offers, pays, and can leak
    Checkout,
    /// Takes money from whoever has a good token
    Payments,
    /// Ask the checkout for offers all the time
    Visitors,
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
    /// A part without those whom it asks.
    #[error("`{name}` needs `--backend {backend}=host:port`")]
    NoBackend {
        /// Who.
        name: String,
        /// Whom it asks.
        backend: &'static str,
    },
    /// A part without its files.
    #[error("`{0}` needs `--shop`, the folder of its files")]
    NoShop(String),
}

fn backend(text: &str) -> Result<Backend, String> {
    let (name, address) = text.split_once('=').ok_or("expected `name=host:port`")?;
    let address = address.parse().map_err(|err| format!("`{address}`: {err}"))?;
    Ok(Backend { name: name.to_owned(), address })
}

/// Runs a part until it is killed, or until the demo that it belongs to is gone.
pub(crate) fn part(options: PartOptions) -> Result<(), PartError> {
    let PartOptions { role, name, port, backends, shop, alive } = options;
    let failed = |what| {
        let name = name.clone();
        move |source| PartError::Io { name, what, source }
    };
    let shop = || shop.as_deref().ok_or_else(|| PartError::NoShop(name.clone()));
    let asks = |backend: &'static str| {
        let found = backends.iter().find(|known| known.name == backend).map(|known| known.address);
        found.ok_or_else(|| PartError::NoBackend { name: name.clone(), backend })
    };
    let handler: Handler = match role {
        Role::Worker => worker::handler(&name),
        Role::Checkout => checkout::handler(asks("balancer")?, asks("payments")?, shop()?),
        Role::Payments => payments::handler(shop()?.join("accepted.json")),
        Role::Visitors => visitors::handler(asks("checkout")?),
        Role::Balancer => balancer::handler(backends),
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

/// The SHA-256 of a text, in hex.
fn sha256(text: &str) -> String {
    let digest = Digest::of_bytes(text.as_bytes()).to_string();
    digest.strip_prefix("sha256:").unwrap_or(&digest).to_owned()
}
