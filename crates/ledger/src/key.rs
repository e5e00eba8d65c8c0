//! Keys of C2SP `signed-note`: verifier keys as text, key ids, and the port through which notes are signed.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};

use crate::cosignature::{message, split};
use crate::text::{decode_base64, encode_base64};

/// Longest key name that we accept: names are schema-less URLs, and stand on every signature line.
pub const MAX_KEY_NAME_BYTES: usize = 256;

/// The first four bytes of SHA-256 over name, newline, signature type and public key.
///
/// It only tells keys apart: whoever wants can make another key with the same id, and will fail to
/// forge a signature with it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId([u8; 4]);

/// What a key signs, by the signature types of `signed-note`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// Notes, with plain Ed25519 (`0x01`): the key of a log.
    Note,
    /// Checkpoints that it found consistent, with the time (`0x04`, C2SP `tlog-cosignature`): the key of a witness. It never
    /// speaks for a log.
    Cosignature,
}

impl KeyKind {
    /// The signature type in key ids and verifier keys.
    const fn signature_type(self) -> u8 {
        match self {
            Self::Note => 0x01,
            Self::Cosignature => 0x04,
        }
    }

    const fn of(signature_type: u8) -> Option<Self> {
        match signature_type {
            0x01 => Some(Self::Note),
            0x04 => Some(Self::Cosignature),
            _ => None,
        }
    }
}

/// The port to a signing key; the key may live in a token that never gives it away.
///
/// Signing is over exactly the bytes given, with Ed25519 (RFC 8032). There is no way to say that it
/// failed: a signer that cannot sign returns any 64 bytes, and [`crate::SignedNote::sign`], which checks
/// each signature that it is given, refuses them.
pub trait NoteSigner {
    /// Name on the signature line; for the key of a log, the log's origin.
    fn name(&self) -> &str;
    /// The public key, 32 bytes as in RFC 8032.
    fn public_key(&self) -> [u8; 32];
    /// The signature over `msg`.
    fn sign(&self, msg: &[u8]) -> [u8; 64];
}

/// A public key that a verifier trusts under a name, written `name+hexid+base64(type||key)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    // INVARIANT: a valid name, a point on the curve that is not of small order, and their own id.
    name: String,
    kind: KeyKind,
    id: KeyId,
    key: VerifyingKey,
}

/// Why a key is refused. The fault is with whoever configured it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Empty, too long, or with a space, a plus or a control character.
    #[error("key name is not valid, expected 1 to 256 bytes without spaces, plus or control characters")]
    Name,
    /// Not `name+hexid+base64`.
    #[error("verifier key is malformed, expected `name+hexid+base64`")]
    Malformed,
    /// A signature type that this crate does not verify.
    #[error("signature type is not supported, expected 0x01 or 0x04 (Ed25519), got {got:#04x}")]
    SignatureType {
        /// The type that came.
        got: u8,
    },
    /// The id does not belong to the name and key: one of them was mistyped or swapped.
    #[error("key id does not match name and key, expected `{expected}`, got `{got}`")]
    IdMismatch {
        /// The id computed from name and key.
        expected: KeyId,
        /// The id that was written.
        got: KeyId,
    },
    /// Not a public key, or one of small order, for which anybody can forge signatures.
    #[error("public key is not a usable Ed25519 key")]
    PublicKey,
}

impl KeyId {
    /// The four bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 4] {
        &self.0
    }

    pub(crate) const fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }

    fn of(name: &str, kind: KeyKind, public_key: &[u8; 32]) -> Self {
        let typed = [b'\n', kind.signature_type()];
        let hash = Sha256::new().chain_update(name).chain_update(typed).chain_update(public_key);
        let [a, b, c, d, ..] = <[u8; 32]>::from(hash.finalize());
        Self([a, b, c, d])
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl VerifierKey {
    /// The key `public_key` of notes under `name`.
    ///
    /// # Errors
    /// An invalid name, or bytes that are no usable Ed25519 key.
    pub fn new(name: &str, public_key: &[u8; 32]) -> Result<Self, KeyError> {
        Self::of_kind(name, KeyKind::Note, public_key)
    }

    fn of_kind(name: &str, kind: KeyKind, public_key: &[u8; 32]) -> Result<Self, KeyError> {
        check_name(name)?;
        let key = VerifyingKey::from_bytes(public_key).map_err(|_| KeyError::PublicKey)?;
        if key.is_weak() {
            return Err(KeyError::PublicKey);
        }
        Ok(Self { name: name.to_owned(), kind, id: KeyId::of(name, kind, public_key), key })
    }

    /// The verifier key of a signer of notes.
    ///
    /// # Errors
    /// As [`VerifierKey::new`].
    pub fn of(signer: &dyn NoteSigner) -> Result<Self, KeyError> {
        Self::new(signer.name(), &signer.public_key())
    }

    /// The verifier key of whoever cosigns checkpoints with this signer.
    ///
    /// # Errors
    /// As [`VerifierKey::new`].
    pub fn of_cosigner(signer: &dyn NoteSigner) -> Result<Self, KeyError> {
        Self::of_kind(signer.name(), KeyKind::Cosignature, &signer.public_key())
    }

    /// What it signs.
    #[must_use]
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// Name on the signature lines of this key.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Id on the signature lines of this key.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The public key, 32 bytes.
    #[must_use]
    pub fn public_key(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// Whether `signature` is this key's over the text of a note. Strict: one message has one signature, no variants.
    pub(crate) fn verifies(&self, text: &[u8], signature: &[u8]) -> bool {
        let (message, signature) = match self.kind {
            KeyKind::Note => (Some(text.to_vec()), signature),
            KeyKind::Cosignature => match split(signature) {
                Some((time, signature)) => (message(text, time), signature),
                None => return false,
            },
        };
        let signature = Signature::from_slice(signature).ok();
        message
            .zip(signature)
            .is_some_and(|(message, signature)| self.key.verify_strict(&message, &signature).is_ok())
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let typed = [[self.kind.signature_type()].as_slice(), self.key.as_bytes()].concat();
        write!(f, "{}+{}+{}", self.name, self.id, encode_base64(&typed))
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (name, rest) = text.split_once('+').ok_or(KeyError::Malformed)?;
        let (id, typed) = rest.split_once('+').ok_or(KeyError::Malformed)?;
        let got = parse_id(id).ok_or(KeyError::Malformed)?;
        let typed = decode_base64(typed).ok_or(KeyError::Malformed)?;
        let (signature_type, public_key) = typed.split_first().ok_or(KeyError::Malformed)?;
        let kind = KeyKind::of(*signature_type).ok_or(KeyError::SignatureType { got: *signature_type })?;
        let key = Self::of_kind(name, kind, public_key.try_into().map_err(|_| KeyError::PublicKey)?)?;
        if key.id == got { Ok(key) } else { Err(KeyError::IdMismatch { expected: key.id, got }) }
    }
}

/// Eight lower-case hex digits, and nothing else that `from_str_radix` would also read.
fn parse_id(text: &str) -> Option<KeyId> {
    let id = KeyId(u32::from_str_radix(text, 16).ok()?.to_be_bytes());
    (id.to_string() == text).then_some(id)
}

pub(crate) fn check_name(name: &str) -> Result<(), KeyError> {
    let forbidden = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    if name.is_empty() || name.len() > MAX_KEY_NAME_BYTES || name.chars().any(forbidden) {
        return Err(KeyError::Name);
    }
    Ok(())
}

/// A signer whose Ed25519 key is in memory.
#[derive(Clone)]
pub struct Ed25519NoteSigner {
    name: String,
    key: SigningKey,
}

impl Ed25519NoteSigner {
    /// The signer `name` with the key of this 32-byte seed (RFC 8032 calls it the private key).
    ///
    /// # Errors
    /// [`KeyError::Name`].
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, KeyError> {
        check_name(name)?;
        Ok(Self { name: name.to_owned(), key: SigningKey::from_bytes(seed) })
    }
}

impl NoteSigner for Ed25519NoteSigner {
    fn name(&self) -> &str {
        &self.name
    }

    fn public_key(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    fn sign(&self, msg: &[u8]) -> [u8; 64] {
        self.key.sign(msg).to_bytes()
    }
}

impl fmt::Debug for Ed25519NoteSigner {
    /// The seed is a secret: only the name is printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ed25519NoteSigner").field("name", &self.name).field("key", &"***").finish()
    }
}
