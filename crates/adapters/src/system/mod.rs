//! Time, randomness and keys of the machine that the gate runs on: the only `now()` and the only randomness there are.

pub mod durable;
mod key;
pub mod key_file;
mod latch;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use holdpoint_app::port::{Clock, Ids};
use holdpoint_domain::{Millis, Timestamp, digest::Salt, time::MAX_MS};

pub use key::Ed25519Key;
pub use key_file::{KeyFileError, KeyUse, Seed};
pub use latch::FileLatch;

/// The operating system's clocks.
#[derive(Debug, Clone)]
pub struct SystemClock {
    zero: Instant,
}

impl SystemClock {
    /// A clock whose [`Clock::elapsed`] begins now.
    #[must_use]
    pub fn new() -> Self {
        Self { zero: Instant::now() }
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
        // Capped, so it always fits.
        Timestamp::from_ms(capped_ms(span)).unwrap_or_else(|_| std::process::abort())
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

/// Random bytes, or the end of the process.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0_u8; N];
    if let Err(err) = getrandom::fill(&mut bytes) {
        tracing::error!(error = %err, "no randomness from the operating system: stopping");
        std::process::abort();
    }
    bytes
}
