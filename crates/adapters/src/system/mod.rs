//! Time, randomness and keys of the machine that the gate runs on: the only `now()` and the only randomness there are.

pub mod durable;
mod key;
pub mod key_file;
mod latch;
mod token_key;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use holdpoint_app::port::{Clock, Ids};
use holdpoint_domain::{Millis, Timestamp, digest::Salt, time::MAX_MS};

pub use key::Ed25519Key;
pub use key_file::{KeyFileError, KeyUse, Seed};
pub use latch::FileLatch;
pub use token_key::{TokenKey, TokenKeyError, TokenSpec};

/// The operating system's clocks: the clock on the wall, as long as nobody sets it back.
///
/// A step forward is followed, and what it ends has ended. A step back, or a clock that stands still, would make what has
/// expired young again; time then goes on as the steady clock counts it, until the wall has caught up or the process is
/// started anew.
#[derive(Debug, Clone)]
pub struct SystemClock {
    zero: Instant,
    /// What the clock on the wall showed at `zero`, in milliseconds: the latest of all that it said since.
    // INVARIANT: never falls.
    wall_at_zero: Arc<AtomicU64>,
}

impl SystemClock {
    /// A clock whose [`Clock::elapsed`] begins now.
    #[must_use]
    pub fn new() -> Self {
        Self { zero: Instant::now(), wall_at_zero: Arc::default() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        // A clock set before 1970 reads as 1970: everything signed then is long over, so the gate stays closed.
        let span = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // The wall was read first: a pause between the two looks makes the difference smaller, and smaller ones do not count.
        let (wall, steady) = (capped_ms(span), capped_ms(self.zero.elapsed()));
        let at_zero = wall.saturating_sub(steady);
        let latest = self.wall_at_zero.fetch_max(at_zero, Ordering::Relaxed).max(at_zero);
        // Capped, so it always fits.
        let now = latest.saturating_add(steady).max(wall).min(MAX_MS);
        Timestamp::from_ms(now).unwrap_or_else(|_| std::process::abort())
    }

    fn elapsed(&self) -> Millis {
        Millis::new(capped_ms(self.zero.elapsed())).unwrap_or(Millis::secs(0))
    }

    async fn sleep(&self, span: Millis) {
        tokio::time::sleep(Duration::from_millis(span.ms())).await;
    }
}

fn capped_ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(MAX_MS).min(MAX_MS)
}

/// Randomness of the operating system.
///
/// Without randomness ids could be guessed and nonces could come twice, and the port has no way to say so: a process
/// that cannot draw any aborts.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemIds;

impl Ids for SystemIds {
    fn unique(&self) -> u128 {
        u128::from_be_bytes(random())
    }

    fn salt(&self) -> Salt {
        Salt::new(random())
    }
}

/// Keeps the memory of this process to itself: it leaves no core when it crashes, and no other process of the same user can trace it
/// or read its memory. What it starts is not bound by this.
///
/// # Errors
/// The kernel says no.
pub fn keep_memory() -> std::io::Result<()> {
    let behavior = rustix::process::DumpableBehavior::NotDumpable;
    rustix::process::set_dumpable_behavior(behavior).map_err(Into::into)
}

/// Random bytes, or the end of the process.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0_u8; N];
    if let Err(err) = getrandom::fill(&mut bytes) {
        tracing::error!(error = %err, "no randomness from the operating system: stopping");
        std::process::abort();
    }
    bytes
}
