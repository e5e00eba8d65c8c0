//! Lease secrets on their way through the gate: sealed by the issuer to the executor, with HPKE (RFC 9180, base mode,
//! X25519, HKDF-SHA256, AES-256-GCM).
//!
//! What everybody may know of the lease is the associated data: a sealed secret opens with exactly the lease, permit, scopes and
//! end that the issuer minted it for.

use std::{fmt, path::Path, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use holdpoint_domain::{
    digest::canonical,
    lease::{LeaseInfo, LeaseSecret},
};
use rustls::crypto::{
    aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_256,
    hpke::{EncapsulatedSecret, Hpke, HpkePrivateKey, HpkePublicKey},
};

use crate::system::key_file::{self, KeyFileError};

/// Separates these from whatever else the key may ever be used for.
const INFO: &[u8] = b"holdpoint/lease-seal/v1";
/// Bytes of each half of a key.
const KEY_BYTES: usize = 32;
/// Before the public key in texts.
const PREFIX: &str = "x25519:";

fn suite() -> &'static dyn Hpke {
    DH_KEM_X25519_HKDF_SHA256_AES_256
}

/// The executor's key. Shows as its public half.
pub struct SealingKey {
    private: HpkePrivateKey,
    public: SealTo,
}

/// The public half, to which the issuer seals.
#[derive(Clone, PartialEq, Eq)]
pub struct SealTo(Vec<u8>);

/// Why a secret was not sealed, or does not open.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// Not a key.
    #[error("expected `x25519:` and 32 bytes in base64url without padding")]
    Key,
    /// Not what [`SealTo::seal`] makes.
    #[error("the sealed secret is malformed")]
    Malformed,
    /// Another key, another lease, or a changed byte.
    #[error("the sealed secret does not open with this key for this lease")]
    Closed,
    /// It cannot be sealed.
    #[error("the secret cannot be sealed")]
    Seal,
    /// The key file.
    #[error(transparent)]
    File(#[from] KeyFileError),
}

impl SealingKey {
    /// The key in a file, made where there is none.
    ///
    /// # Errors
    /// A key file that cannot be used.
    pub fn load_or_create(path: &Path) -> Result<Self, SealError> {
        let fresh = || {
            let (public, private) = suite().generate_key_pair().map_err(|_| KeyFileError::NotAKey)?;
            Ok([private.secret_bytes(), &public.0].concat())
        };
        Self::from_bytes(&key_file::load_or_create(path, fresh)?)
    }

    /// The key in a file.
    ///
    /// # Errors
    /// A key file that is not there, or cannot be used.
    pub fn load(path: &Path) -> Result<Self, SealError> {
        Self::from_bytes(&key_file::read(path)?)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, SealError> {
        let (private, public) = bytes.split_at_checked(KEY_BYTES).ok_or(SealError::Key)?;
        if public.len() != KEY_BYTES {
            return Err(SealError::Key);
        }
        Ok(Self { private: HpkePrivateKey::from(private.to_vec()), public: SealTo(public.to_vec()) })
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> &SealTo {
        &self.public
    }

    /// Opens the secret of a lease.
    ///
    /// # Errors
    /// A secret that was sealed to another key or for another lease.
    pub fn open(&self, info: &LeaseInfo, sealed: &str) -> Result<LeaseSecret, SealError> {
        let (encapsulated, text) = sealed.split_once('.').ok_or(SealError::Malformed)?;
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| SealError::Malformed);
        let (encapsulated, text) = (EncapsulatedSecret(decode(encapsulated)?), decode(text)?);
        let bound = canonical(info).map_err(|_| SealError::Malformed)?;
        let plain =
            suite().open(&encapsulated, INFO, &bound, &text, &self.private).map_err(|_| SealError::Closed)?;
        String::from_utf8(plain).map(LeaseSecret::new).map_err(|_| SealError::Closed)
    }
}

impl SealTo {
    /// Seals the secret of a lease.
    ///
    /// # Errors
    /// No canonical form, or a key that is none.
    pub fn seal(&self, info: &LeaseInfo, secret: &LeaseSecret) -> Result<String, SealError> {
        let bound = canonical(info).map_err(|_| SealError::Seal)?;
        let to = HpkePublicKey(self.0.clone());
        let sealed = suite().seal(INFO, &bound, secret.expose().as_bytes(), &to);
        let (encapsulated, text) = sealed.map_err(|_| SealError::Seal)?;
        Ok(format!("{}.{}", URL_SAFE_NO_PAD.encode(encapsulated.0), URL_SAFE_NO_PAD.encode(text)))
    }
}

impl fmt::Display for SealTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", URL_SAFE_NO_PAD.encode(&self.0))
    }
}

impl FromStr for SealTo {
    type Err = SealError;

    fn from_str(text: &str) -> Result<Self, SealError> {
        let bytes = text.strip_prefix(PREFIX).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        bytes.filter(|bytes| bytes.len() == KEY_BYTES).map(Self).ok_or(SealError::Key)
    }
}

impl fmt::Debug for SealTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SealingKey").field(&self.public).finish()
    }
}
