//! A shop's checkout: keeps carts in memory, sends work through the balancer, and leaks memory when it is told to.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::wire::{Answer, Handler, get};

/// What one leak takes: well above what is normal here, and little for the machine.
const LEAK_BYTES: usize = 96 * 1024 * 1024;
/// How often it can leak; a demo has no use for more.
const MAX_LEAKS: usize = 2;
/// How long the balancer may take.
const WORK_LIMIT: Duration = Duration::from_secs(2);

#[derive(Default)]
struct Memory {
    carts: u64,
    leaked: Vec<Vec<u8>>,
}

/// A checkout that sends its work to `balancer`.
pub(super) fn handler(balancer: SocketAddr) -> Handler {
    let memory = Arc::new(Mutex::new(Memory::default()));
    Arc::new(move |method, path| match (method, path) {
        ("GET", "/buy") => buy(balancer),
        ("GET", "/healthz") => Answer::ok("ok\n"),
        _ => {
            let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
            with_memory(&mut memory, method, path)
        }
    })
}

fn buy(balancer: SocketAddr) -> Answer {
    match get(balancer, "/work", WORK_LIMIT) {
        Ok((200, body)) => Answer::ok(body),
        Ok((status, _)) => Answer::unavailable(format!("the balancer answered {status}\n")),
        Err(err) => Answer::unavailable(format!("the balancer did not answer: {err}\n")),
    }
}

fn with_memory(memory: &mut Memory, method: &str, path: &str) -> Answer {
    match (method, path) {
        ("POST", "/carts") => {
            memory.carts = memory.carts.saturating_add(1);
            Answer::ok(format!("{}\n", memory.carts))
        }
        ("GET", "/carts") => Answer::ok(format!("{}\n", memory.carts)),
        ("POST", "/leak") if memory.leaked.len() < MAX_LEAKS => {
            // Ones, not zeros: memory that nobody has written to is not resident.
            memory.leaked.push(vec![1; LEAK_BYTES]);
            Answer { status: 202, body: format!("leaked {LEAK_BYTES} bytes\n") }
        }
        ("POST", "/leak") => Answer::unavailable("leaked enough\n"),
        ("GET", "/metrics") => Answer::ok(format!(
            "# HELP demo_carts Carts in memory.\n# TYPE demo_carts gauge\ndemo_carts {}\n{}",
            memory.carts,
            super::memory_metric()
        )),
        _ => Answer::not_found(),
    }
}
