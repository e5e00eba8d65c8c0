//! A worker: does work, and hangs for real when it is told to.

use std::{
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use super::wire::{Answer, Handler};

/// The worker called `name`. Everything that it answers, it answers under one lock.
pub(super) fn handler(name: &str) -> Handler {
    let name = name.to_owned();
    let done = Arc::new(Mutex::new(0_u64));
    Arc::new(move |request| {
        if request.what() == ("POST", "/hang") {
            return hang(&done);
        }
        let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
        match request.what() {
            ("GET", "/work") => {
                *done = done.saturating_add(1);
                Answer::ok(format!("{name} did piece {done} of the work\n"))
            }
            ("GET", "/healthz") => Answer::ok("ok\n"),
            ("GET", "/metrics") => Answer::ok(format!(
                "# HELP demo_work_total Pieces of work done.\n# TYPE demo_work_total counter\n\
                 demo_work_total{{worker=\"{name}\"}} {done}\n{}",
                super::memory_metric()
            )),
            _ => Answer::not_found(),
        }
    })
}

/// A bug: a thread takes the lock and never gives it back. The port goes on taking connections; nothing is answered.
fn hang(lock: &Arc<Mutex<u64>>) -> Answer {
    let lock = Arc::clone(lock);
    let (taken, is_taken) = mpsc::channel();
    thread::spawn(move || {
        let _kept = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = taken.send(());
        loop {
            thread::park();
        }
    });
    match is_taken.recv() {
        Ok(()) => Answer { status: 202, body: "hangs from now on\n".to_owned() },
        Err(_) => Answer::unavailable("could not hang\n"),
    }
}
