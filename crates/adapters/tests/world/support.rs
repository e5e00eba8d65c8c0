//! A clock that stands still, and waiting for what becomes true.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use holdpoint_app::port::Clock;
use holdpoint_domain::{Id, Millis, Timestamp, id::Kind};

/// When all tests begin.
pub(crate) const NOW_MS: u64 = 1_800_000_000_000;

pub(crate) fn id<K: Kind>(text: &str) -> Id<K> {
    Id::parse(text).unwrap()
}

pub(crate) fn at(ms: u64) -> Timestamp {
    Timestamp::from_ms(ms).unwrap()
}

pub(crate) fn millis(ms: u64) -> Millis {
    Millis::new(ms).unwrap()
}

/// A clock that goes only when it is told to.
pub(crate) struct StoppedClock(Mutex<Timestamp>);

impl StoppedClock {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(at(NOW_MS)))
    }

    pub(crate) fn set_ms(&self, ms: u64) {
        *self.0.lock().unwrap() = at(ms);
    }
}

#[async_trait]
impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    fn elapsed(&self) -> Millis {
        Millis::secs(0)
    }

    async fn sleep(&self, _: Millis) {}
}

/// Polls until `done` is true; a test that waits for more than ten seconds has failed.
pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
