//! Ed25519 signatures over domain-separated bytes. Keys are separate by purpose; so are the messages.

use std::fmt;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};

use crate::Digest;

/// An Ed25519 signature, written in base64 without padding.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Signature([u8; 64]);

/// An Ed25519 public key, written in base64 without padding.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey([u8; 32]);

/// The thumbprint of a public key as a JSON Web Key (RFC 7638 with the members of RFC 8037): what a permit is bound to, and the
/// `jkt` of RFC 7800 and RFC 9449. Written in base64url without padding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Thumbprint([u8; 32]);

/// What a signature is for. It stands in front of the signed bytes, so that a signature for one purpose is none for
/// another, whatever key made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The observer signs evidence.
    Evidence,
    /// The observer signs its answer to one question, which nobody asked before.
    Observation,
    /// A person signs an approval statement.
    Approval,
    /// A person decides on a change of a control input.
    Change,
    /// A person answers for a run that they looked at afterwards.
    Review,
    /// A person says how a run in doubt ended.
    Resolution,
    /// A person ends a halt.
    Resume,
    /// A person narrows a plan.
    Narrowing,
    /// A person says what was done outside of Holdpoint.
    Reconciliation,
}

/// A signature that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not base64 of the right length.
    #[error("expected base64 of {expected} bytes, got {shown}")]
    Malformed {
        /// How many bytes.
        expected: usize,
        /// What was given, made visible.
        shown: String,
    },
    /// Not a point of the curve, or one of small order.
    #[error("not an Ed25519 public key")]
    BadKey,
    /// The key did not make this signature over these bytes.
    #[error("the signature does not match the bytes and the key")]
    Mismatch,
}

impl Purpose {
    const fn prefix(self) -> &'static [u8] {
        match self {
            Self::Evidence => b"holdpoint-evidence-v1\0",
            Self::Observation => b"holdpoint-observation-v1\0",
            Self::Approval => b"holdpoint-approval-v1\0",
            Self::Change => b"holdpoint-change-v1\0",
            Self::Review => b"holdpoint-review-v1\0",
            Self::Resolution => b"holdpoint-resolution-v1\0",
            Self::Resume => b"holdpoint-resume-v1\0",
            Self::Narrowing => b"holdpoint-narrowing-v1\0",
            Self::Reconciliation => b"holdpoint-reconciliation-v1\0",
        }
    }

    /// The bytes to sign for `message`.
    #[must_use]
    pub fn signing_bytes(self, message: &[u8]) -> Vec<u8> {
        [self.prefix(), message].concat()
    }
}

impl Signature {
    /// A signature from its 64 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// Its 64 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }

    /// Checks this signature of `key` over `message` for `purpose` (RFC 8032 with the strict rules on keys and scalars).
    pub fn verify(&self, key: &PublicKey, purpose: Purpose, message: &[u8]) -> Result<(), SignatureError> {
        self.verify_raw(key, &purpose.signing_bytes(message))
    }

    /// Checks this signature of `key` over exactly these bytes.
    pub fn verify_raw(&self, key: &PublicKey, bytes: &[u8]) -> Result<(), SignatureError> {
        let key = VerifyingKey::from_bytes(&key.0).map_err(|_| SignatureError::BadKey)?;
        let signature = ed25519_dalek::Signature::from_bytes(&self.0);
        key.verify_strict(bytes, &signature).map_err(|_| SignatureError::Mismatch)
    }
}

impl PublicKey {
    /// A public key from its 32 bytes; refuses what is no usable key.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, SignatureError> {
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| SignatureError::BadKey)?;
        if key.is_weak() { Err(SignatureError::BadKey) } else { Ok(Self(bytes)) }
    }

    /// Its 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Its `x` as a JSON Web Key (RFC 8037): base64url.
    #[must_use]
    pub fn x(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// Its thumbprint.
    #[must_use]
    pub fn thumbprint(&self) -> Thumbprint {
        // RFC 7638, section 3.2: the required members in order, without white space. `x` has no character that JSON escapes.
        let jwk = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, self.x());
        Thumbprint(*Digest::of_bytes(jwk.as_bytes()).as_bytes())
    }
}

impl TryFrom<String> for Thumbprint {
    type Error = SignatureError;
    fn try_from(text: String) -> Result<Self, SignatureError> {
        let bytes = URL_SAFE_NO_PAD.decode(&text).ok().and_then(|bytes| bytes.try_into().ok());
        let malformed = || SignatureError::Malformed { expected: 32, shown: crate::text::quoted(&text, 24) };
        bytes.map(Self).ok_or_else(malformed)
    }
}

impl From<Thumbprint> for String {
    fn from(thumbprint: Thumbprint) -> Self {
        thumbprint.to_string()
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

fn decode<const N: usize>(text: &str) -> Result<[u8; N], SignatureError> {
    let malformed = || SignatureError::Malformed { expected: N, shown: crate::text::quoted(text, 24) };
    STANDARD_NO_PAD.decode(text).ok().and_then(|bytes| <[u8; N]>::try_from(bytes).ok()).ok_or_else(malformed)
}

impl TryFrom<String> for Signature {
    type Error = SignatureError;
    fn try_from(text: String) -> Result<Self, SignatureError> {
        decode(&text).map(Self)
    }
}

impl From<Signature> for String {
    fn from(signature: Signature) -> Self {
        STANDARD_NO_PAD.encode(signature.0)
    }
}

impl TryFrom<String> for PublicKey {
    type Error = SignatureError;
    fn try_from(text: String) -> Result<Self, SignatureError> {
        decode(&text).and_then(Self::from_bytes)
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        STANDARD_NO_PAD.encode(key.0)
    }
}

impl std::fmt::Debug for Signature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Signature({}…)",
            STANDARD_NO_PAD.encode(self.0.first_chunk::<6>().map_or(&[][..], |head| &head[..]))
        )
    }
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicKey({})", STANDARD_NO_PAD.encode(self.0))
    }
}
