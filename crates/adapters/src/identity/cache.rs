//! Tokens that were checked: an agent sends the same one for minutes, and a signature costs as much as a decision.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use holdpoint_domain::{Digest, Timestamp};

use super::token::{MAX_TOKEN_LEN, TokenError, Verified, Verifier};

/// Most tokens that are remembered: some hundred bytes each. Who has more agents pays for a signature now and then.
const MAX_REMEMBERED: usize = 8_192;

/// A [`Verifier`] that remembers which tokens it found good, by the digest of all of their bytes, until they end. Nothing
/// else is remembered: a token that was refused is checked again.
///
/// Another set of keys needs another one of these: what an old key signed is not good any more.
#[derive(Debug)]
pub struct CachedVerifier {
    verifier: Verifier,
    good: RwLock<HashMap<Digest, Checked>>,
}

/// A token that was found good at a time.
#[derive(Debug, Clone)]
struct Checked {
    verified: Verified,
    at: Timestamp,
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
        let known = self.good.read().unwrap_or_else(PoisonError::into_inner).get(&digest).cloned();
        // Before the time at which it was checked (a clock that was set back) it may be one from the future.
        if let Some(Checked { verified, at }) = known
            && at <= now
            && now < verified.expires_at()
        {
            return Ok(verified);
        }
        let verified = self.verifier.verify(token, now)?;
        let mut good = self.good.write().unwrap_or_else(PoisonError::into_inner);
        if good.len() >= MAX_REMEMBERED {
            good.retain(|_, checked| now < checked.verified.expires_at());
        }
        if good.len() >= MAX_REMEMBERED {
            good.clear();
        }
        good.insert(digest, Checked { verified: verified.clone(), at: now });
        Ok(verified)
    }
}
