//! Tokens that were checked: an agent sends the same one for minutes, and a signature costs as much as a decision.

use std::{
    cmp::Ordering,
    collections::{BTreeSet, HashMap},
    sync::{PoisonError, RwLock},
};

use holdpoint_domain::{Digest, Timestamp, actor::Identity};

use super::{
    keyring::SourceStatus,
    token::{MAX_TOKEN_LEN, TokenError, Verified},
    verifier::Verifier,
};

/// Most tokens that are remembered: some hundred bytes each. Who has more agents pays for a signature now and then.
const MAX_REMEMBERED: usize = 8_192;

/// A [`Verifier`] that remembers which tokens it found good, by the digest of all of their bytes, until they end. Nothing
/// else is remembered: a token that was refused is checked again. When any source's keys became others, all is forgotten:
/// what a withdrawn key signed is not good any more.
#[derive(Debug)]
pub struct CachedVerifier {
    verifier: Verifier,
    good: RwLock<Good>,
}

/// What was found good under one generation of keys.
#[derive(Debug, Default)]
struct Good {
    generation: u64,
    tokens: HashMap<Digest, Checked>,
}

/// A token that was found good at a time, and how long that may be remembered.
#[derive(Debug, Clone)]
struct Checked {
    verified: Verified,
    at: Timestamp,
    until: Timestamp,
}

impl CachedVerifier {
    /// Nothing is remembered yet.
    #[must_use]
    pub fn new(verifier: Verifier) -> Self {
        Self { verifier, good: RwLock::default() }
    }

    /// As [`Verifier::verify`], with the same answer at every time.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Verified, TokenError> {
        if token.len() > MAX_TOKEN_LEN {
            return Err(TokenError::Malformed);
        }
        let digest = Digest::of_bytes(token.as_bytes());
        // Read before the keys are: what is checked while they are replaced belongs to the old ones.
        let generation = self.verifier.generation();
        // Before the time at which it was checked (a clock that was set back) it may be one from the future.
        if let Some(Checked { verified, at, until }) = self.known(&digest, generation)
            && at <= now
            && now < until
        {
            return Ok(verified);
        }
        let (verified, until) = self.verifier.check(token, now)?;
        let mut good = self.good.write().unwrap_or_else(PoisonError::into_inner);
        match good.generation.cmp(&generation) {
            Ordering::Less => *good = Good { generation, tokens: HashMap::new() },
            Ordering::Equal => {}
            Ordering::Greater => return Ok(verified),
        }
        if good.tokens.len() >= MAX_REMEMBERED {
            good.tokens.retain(|_, checked| now < checked.until);
        }
        if good.tokens.len() >= MAX_REMEMBERED {
            good.tokens.clear();
        }
        good.tokens.insert(digest, Checked { verified: verified.clone(), at: now, until });
        Ok(verified)
    }

    /// As [`Verifier::workload`]: there is no signature to be checked, and nothing to remember.
    pub fn workload(&self, id: &str) -> Result<(Identity, BTreeSet<String>), TokenError> {
        self.verifier.workload(id)
    }

    /// What is known of the sources of keys.
    #[must_use]
    pub fn sources(&self) -> Vec<SourceStatus> {
        self.verifier.sources()
    }

    fn known(&self, digest: &Digest, generation: u64) -> Option<Checked> {
        let good = self.good.read().unwrap_or_else(PoisonError::into_inner);
        if good.generation == generation { good.tokens.get(digest).cloned() } else { None }
    }
}
