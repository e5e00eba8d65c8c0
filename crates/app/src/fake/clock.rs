//! Time, ids and keys that a test chooses.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use holdpoint_domain::{
    Digest, Millis, Timestamp,
    digest::Salt,
    signature::{PublicKey, Signature},
};
use holdpoint_ledger::{Ed25519NoteSigner, NoteSigner};

use super::schedule::yield_now;
use crate::port::{Clock, Ids, Signer};

/// Where the clock of a fake begins: some day in 2023.
const BEGIN_MS: u64 = 1_700_000_000_000;

/// A clock that moves when it is told to, and when somebody sleeps. A patient one does not move for sleepers: they wait until
/// somebody else has moved it.
#[derive(Debug)]
pub struct FakeClock {
    now_ms: AtomicU64,
    elapsed_ms: AtomicU64,
    frozen: AtomicBool,
    patient: AtomicBool,
    // Until when whoever slept last wants to sleep; zero when nobody said so since somebody asked.
    wakes_ms: AtomicU64,
}

impl Default for FakeClock {
    fn default() -> Self {
        Self {
            now_ms: AtomicU64::new(BEGIN_MS),
            elapsed_ms: AtomicU64::new(0),
            frozen: AtomicBool::new(false),
            patient: AtomicBool::new(false),
            wakes_ms: AtomicU64::new(0),
        }
    }
}

impl FakeClock {
    /// Time goes on.
    pub fn advance(&self, span: Millis) {
        if !self.frozen.load(Ordering::SeqCst) {
            self.now_ms.fetch_add(span.ms(), Ordering::SeqCst);
        }
        self.elapsed_ms.fetch_add(span.ms(), Ordering::SeqCst);
    }

    /// Somebody sets the wall clock forward. Spans are measured as before.
    pub fn step_forward(&self, span: Millis) {
        self.now_ms.fetch_add(span.ms(), Ordering::SeqCst);
    }

    /// The wall clock stands still, or goes again. Spans are measured as before.
    pub fn freeze(&self, frozen: bool) {
        self.frozen.store(frozen, Ordering::SeqCst);
    }

    /// From now on sleepers wait until somebody else has moved the clock.
    pub fn be_patient(&self) {
        self.patient.store(true, Ordering::SeqCst);
    }

    /// Until when (of [`Clock::elapsed`]) somebody sleeps who began to since this was last asked.
    pub fn take_sleeper(&self) -> Option<u64> {
        Some(self.wakes_ms.swap(0, Ordering::SeqCst)).filter(|wakes_ms| *wakes_ms > 0)
    }

    /// Somebody sets the wall clock back. Spans are measured as before.
    pub fn step_back(&self, span: Millis) {
        self.now_ms.fetch_sub(span.ms(), Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_ms(self.now_ms.load(Ordering::SeqCst)).expect("tests do not last for 285,000 years")
    }

    fn elapsed(&self) -> Millis {
        Millis::new(self.elapsed_ms.load(Ordering::SeqCst)).expect("tests do not last for 285,000 years")
    }

    async fn sleep(&self, span: Millis) {
        if !self.patient.load(Ordering::SeqCst) {
            self.advance(span);
            return yield_now().await;
        }
        let until = self.elapsed().ms().saturating_add(span.ms()).max(1);
        while self.elapsed().ms() < until {
            self.wakes_ms.store(until, Ordering::SeqCst);
            yield_now().await;
        }
    }
}

/// Ids that nobody chose: the hash of a seed and a counter. Two with the same seed give the same ids.
#[derive(Debug)]
pub struct FakeIds {
    seed: u64,
    drawn: AtomicU64,
}

impl FakeIds {
    /// The ids of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed, drawn: AtomicU64::new(0) }
    }

    fn next(&self) -> Digest {
        let drawn = self.drawn.fetch_add(1, Ordering::SeqCst);
        Digest::of_bytes(&[self.seed.to_be_bytes(), drawn.to_be_bytes()].concat())
    }
}

impl Ids for FakeIds {
    fn unique(&self) -> u128 {
        let digest = self.next();
        let half = digest.as_bytes().first_chunk::<16>().expect("32 bytes have a first half");
        u128::from_be_bytes(*half)
    }

    fn salt(&self) -> Salt {
        Salt::new(*self.next().as_bytes())
    }
}

/// An Ed25519 key made of one byte.
#[derive(Debug, Clone)]
pub struct FakeSigner {
    key: Ed25519NoteSigner,
}

impl FakeSigner {
    /// The key whose seed is this byte, 32 times.
    #[must_use]
    pub fn new(seed: u8) -> Self {
        Self { key: Ed25519NoteSigner::from_seed("fake", &[seed; 32]).expect("the name is a valid one") }
    }
}

impl Signer for FakeSigner {
    fn public_key(&self) -> PublicKey {
        PublicKey::from_bytes(self.key.public_key()).expect("a seed never makes a weak key")
    }

    fn sign(&self, bytes: &[u8]) -> Signature {
        Signature::from_bytes(NoteSigner::sign(&self.key, bytes))
    }
}
