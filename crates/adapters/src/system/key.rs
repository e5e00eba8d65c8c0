//! Ed25519 keys in memory.

use std::fmt;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use holdpoint_app::port::Signer;
use holdpoint_domain::signature::{PublicKey, Signature};
use holdpoint_ledger::key::{NoteSigner, VerifierKey};

use super::key_file::{KeyFileError, Seed};

/// An Ed25519 key of one purpose, with the name that stands on its signatures: the log's origin for the key of
/// checkpoints, the key id for the key of permits. Shows as its name and public key.
pub struct Ed25519Key {
    // INVARIANT: `name` is one that signed notes allow; `public` belongs to `pair`.
    name: String,
    pair: Ed25519KeyPair,
    public: PublicKey,
}

impl Ed25519Key {
    /// The key of a seed (RFC 8032 section 5.1.5).
    pub fn from_seed(name: &str, seed: &Seed) -> Result<Self, KeyFileError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_bytes()).map_err(|_| KeyFileError::NotAKey)?;
        let raw: [u8; 32] = pair.public_key().as_ref().try_into().map_err(|_| KeyFileError::NotAKey)?;
        let public = PublicKey::from_bytes(raw).map_err(|_| KeyFileError::NotAKey)?;
        VerifierKey::new(name, &raw).map_err(|err| KeyFileError::Name(err.to_string()))?;
        Ok(Self { name: name.to_owned(), pair, public })
    }

    /// The name that stands on its signatures.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The public key.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.public.clone()
    }

    /// The verifier key of signed notes that belongs to it.
    pub fn verifier_key(&self) -> Result<VerifierKey, KeyFileError> {
        VerifierKey::of(self).map_err(|err| KeyFileError::Name(err.to_string()))
    }

    /// Signs these bytes. The caller separates domains.
    #[must_use]
    pub fn sign(&self, bytes: &[u8]) -> Signature {
        // Bytes of zero are no signature of any key: a signer that fails is caught by whoever checks.
        let raw = self.pair.try_sign(bytes).ok().and_then(|made| made.as_ref().try_into().ok());
        Signature::from_bytes(raw.unwrap_or([0; 64]))
    }
}

impl Signer for Ed25519Key {
    fn public_key(&self) -> PublicKey {
        self.public.clone()
    }

    fn sign(&self, bytes: &[u8]) -> Signature {
        self.sign(bytes)
    }
}

impl NoteSigner for Ed25519Key {
    fn name(&self) -> &str {
        &self.name
    }

    fn public_key(&self) -> [u8; 32] {
        *self.public.as_bytes()
    }

    fn sign(&self, msg: &[u8]) -> [u8; 64] {
        *self.sign(msg).as_bytes()
    }
}

impl fmt::Debug for Ed25519Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ed25519Key({} {:?})", self.name, self.public)
    }
}
