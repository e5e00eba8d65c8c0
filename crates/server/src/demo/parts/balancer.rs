//! A load balancer: round robin over the backends that answer its own health check.

use std::{
    fmt::Write as _,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use super::{
    Backend,
    wire::{Answer, Handler, get},
};

/// How often a backend's health is asked.
const PROBE_EVERY: Duration = Duration::from_millis(200);
/// How long it may take to answer.
const PROBE_LIMIT: Duration = Duration::from_millis(300);
/// How long a piece of work may take.
const WORK_LIMIT: Duration = Duration::from_secs(1);

struct Balanced {
    name: String,
    address: SocketAddr,
    up: AtomicBool,
    requests: AtomicU64,
}

/// A balancer over these backends, each probed by a thread of its own.
pub(super) fn handler(backends: Vec<Backend>) -> Handler {
    let backends: Vec<Arc<Balanced>> = backends.into_iter().map(balanced).collect();
    for backend in &backends {
        let backend = Arc::clone(backend);
        thread::spawn(move || {
            loop {
                backend.up.store(is_well(backend.address), Ordering::SeqCst);
                thread::sleep(PROBE_EVERY);
            }
        });
    }
    let turn = AtomicUsize::new(0);
    Arc::new(move |request| match request.what() {
        ("GET", "/work") => work(&backends, turn.fetch_add(1, Ordering::SeqCst)),
        ("GET", "/healthz") if backends.iter().any(|backend| backend.is_up()) => Answer::ok("ok\n"),
        ("GET", "/healthz") => Answer::unavailable("no backend is up\n"),
        ("GET", "/metrics") => Answer::ok(metrics(&backends)),
        _ => Answer::not_found(),
    })
}

impl Balanced {
    fn is_up(&self) -> bool {
        self.up.load(Ordering::SeqCst)
    }
}

fn balanced(backend: Backend) -> Arc<Balanced> {
    let Backend { name, address } = backend;
    Arc::new(Balanced { name, address, up: AtomicBool::new(false), requests: AtomicU64::new(0) })
}

fn is_well(address: SocketAddr) -> bool {
    get(address, "/healthz", PROBE_LIMIT).is_ok_and(|(status, _)| status == 200)
}

/// Asks the backends that are up, beginning with the one whose turn it is.
fn work(backends: &[Arc<Balanced>], turn: usize) -> Answer {
    let up: Vec<_> = backends.iter().filter(|backend| backend.is_up()).collect();
    let first = turn.checked_rem(up.len()).unwrap_or(0);
    for backend in up.iter().cycle().skip(first).take(up.len()) {
        backend.requests.fetch_add(1, Ordering::SeqCst);
        if let Ok((200, body)) = get(backend.address, "/work", WORK_LIMIT) {
            return Answer::ok(body);
        }
    }
    Answer::unavailable("no backend answered\n")
}

fn metrics(backends: &[Arc<Balanced>]) -> String {
    let mut text = String::from(
        "# HELP demo_backend_up Whether the balancer's health check passes.\n# TYPE demo_backend_up gauge\n",
    );
    for backend in backends {
        let up = u8::from(backend.is_up());
        // Writing to a string cannot fail.
        let _ = writeln!(text, "demo_backend_up{{backend=\"{}\"}} {up}", backend.name);
    }
    text.push_str(
        "# HELP demo_requests_total Requests sent to a backend.\n# TYPE demo_requests_total counter\n",
    );
    for backend in backends {
        let requests = backend.requests.load(Ordering::SeqCst);
        let _ = writeln!(text, "demo_requests_total{{backend=\"{}\"}} {requests}", backend.name);
    }
    text
}
