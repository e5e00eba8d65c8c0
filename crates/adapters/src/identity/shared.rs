//! Tokens that a sender of webhooks shares with the gate: random, in a file of the owner's, compared in constant time.

use std::{fmt, path::Path};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use holdpoint_domain::Digest;

use crate::postgres::{LoginError, read_secret};

/// Shortest token: 32 characters of `openssl rand -hex 16` have 128 bits.
pub const MIN_SHARED_TOKEN: usize = 32;

/// A token's digest. The token itself is not kept.
#[derive(Clone)]
pub struct SharedToken(Digest);

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum SharedTokenError {
    /// The file cannot be used: it is missing or empty, or others may read it.
    #[error(transparent)]
    File(#[from] LoginError),
    /// It could be guessed.
    #[error("expected a token of at least {MIN_SHARED_TOKEN} characters, got {0}")]
    Short(usize),
    /// It could not be sent as a bearer token (RFC 6750 section 2.1).
    #[error("expected letters, digits and `-._~+/=`")]
    Characters,
}

impl SharedToken {
    /// Reads a file of one line that nobody but its owner may read.
    pub fn read(path: &Path) -> Result<Self, SharedTokenError> {
        let token = read_secret(path)?;
        if token.len() < MIN_SHARED_TOKEN {
            return Err(SharedTokenError::Short(token.len()));
        }
        if !token.bytes().all(|c| c.is_ascii_alphanumeric() || b"-._~+/=".contains(&c)) {
            return Err(SharedTokenError::Characters);
        }
        Ok(Self(Digest::of_bytes(token.as_bytes())))
    }

    /// Whether somebody showed this token. How long it takes says nothing of how much of it is right.
    #[must_use]
    pub fn is(&self, shown: &str) -> bool {
        let shown = Digest::of_bytes(shown.as_bytes());
        verify_slices_are_equal(self.0.as_bytes(), shown.as_bytes()).is_ok()
    }
}

impl fmt::Debug for SharedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
