//! Passkeys: what people consent with in a browser, and the one check of what a passkey signed.
//!
//! A passkey signs `authenticatorData || SHA-256(clientDataJSON)` (Web Authentication Level 3, section 6.3.3). The client data
//! carries a challenge: here SHA-256 of the bytes that a statement is signed as, so that the signature is over exactly that
//! statement and over nothing else. Whoever holds the public key can check it, at any time and without the gate: the gate, the
//! executors, and the offline verifier call [`Passkey::check`].

use std::{fmt, str::FromStr};

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ECDSA_P521_SHA512_ASN1, ED25519,
    RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::{Digest, Id, id::kind, signature::PublicKey};

mod authenticator;
mod client_data;

pub use authenticator::Authenticator;
pub use client_data::CeremonyKind;

use client_data::ClientData;

/// Longest credential id (Web Authentication Level 3, section 4).
const MAX_CREDENTIAL_LEN: usize = 1023;
/// Longest public key: RSA of 8,192 bits.
const MAX_KEY_LEN: usize = 1100;
/// Longest client data, authenticator data or signature.
const MAX_PART_LEN: usize = 4096;
/// Authenticator data without extensions: hash of the relying party's id, flags, counter (section 6.1).
const AUTHENTICATOR_DATA_LEN: usize = 37;

/// Bytes in a text: base64url without padding, with one spelling.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bytes(Vec<u8>);

/// The id of a credential, as its authenticator chose it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Bytes", into = "Bytes")]
pub struct CredentialId(Bytes);

/// How a passkey signs (names of RFC 9053 and RFC 8812).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256; the key is an uncompressed point (SEC 1).
    ES256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
    /// ECDSA on P-521 with SHA-512.
    ES512,
    /// Ed25519; the key has 32 bytes.
    EdDSA,
    /// RSASSA-PKCS1-v1_5 with SHA-256 and at least 2,048 bits; the key is an `RSAPublicKey` (RFC 8017) in DER.
    RS256,
}

/// A registered passkey: its public half, and what its signatures are bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Passkey {
    /// The credential.
    pub id: CredentialId,
    /// How it signs.
    pub algorithm: Algorithm,
    /// Its public key.
    pub key: Bytes,
    /// The relying party: the host of the console. Its hash is in every signature.
    pub rp_id: String,
    /// The console's origin. It is in every signature as well.
    pub origin: String,
    /// The act by which it was enrolled. Two passkeys of one act do not count as two people's.
    pub act: Id<kind::Act>,
    /// It may be copied to other devices of its owner.
    #[serde(default)]
    pub synced: bool,
}

/// What a passkey signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assertion {
    /// Which passkey.
    pub credential: CredentialId,
    /// The authenticator's data, as it was signed.
    pub authenticator_data: Bytes,
    /// The client's data, as its digest was signed: JSON.
    pub client_data: Bytes,
    /// The signature.
    pub signature: Bytes,
}

impl Assertion {
    /// The signature counter that it carries, unchecked; none in what is no authenticator data.
    #[must_use]
    pub fn counter(&self) -> Option<u32> {
        AuthenticatorData::read(self.authenticator_data.as_slice()).ok().map(|data| data.counter)
    }
}

/// A checked assertion: a person was there, was verified, and signed exactly this. Only [`Passkey::check`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asserted {
    credential: CredentialId,
    act: Id<kind::Act>,
    counter: u32,
}

/// Why an assertion does not count. The caller, or whoever made the assertion, is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PasskeyError {
    /// Not base64url, or of no sensible length.
    #[error("expected {what} of 1 to {max} bytes in base64url without padding")]
    Malformed {
        /// What.
        what: &'static str,
        /// The longest one.
        max: usize,
    },
    /// Of another passkey.
    #[error("the assertion is of another passkey")]
    OtherCredential,
    /// The client data is no JSON of the right shape.
    #[error("the client data is not what a browser makes: {0}")]
    ClientData(String),
    /// For another ceremony.
    #[error("expected client data of type `{expected}`, got {got}")]
    Ceremony {
        /// The type.
        expected: &'static str,
        /// What stands there, made visible.
        got: String,
    },
    /// Signed for something else.
    #[error("the signed challenge is not the digest of this statement")]
    Challenge,
    /// Signed on another site.
    #[error("expected origin `{expected}`, got {got}")]
    Origin {
        /// The origin that the passkey is registered for.
        expected: String,
        /// What stands there, made visible.
        got: String,
    },
    /// Signed in a frame of another site.
    #[error("the passkey was used in a page of another site")]
    CrossOrigin,
    /// For another relying party.
    #[error("the assertion is for another relying party than `{0}`")]
    RelyingParty(String),
    /// The authenticator's data is malformed.
    #[error("the authenticator's data is malformed: {0}")]
    AuthenticatorData(&'static str),
    /// Nobody touched the authenticator.
    #[error("nobody was present at the authenticator")]
    NotPresent,
    /// The authenticator did not verify who that was.
    #[error("the authenticator did not verify its user: a PIN, a fingerprint or the like is needed")]
    NotVerified,
    /// The signature does not hold.
    #[error("the passkey did not sign this")]
    Signature,
}

impl Bytes {
    /// These bytes.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<String> for Bytes {
    type Error = PasskeyError;
    fn try_from(text: String) -> Result<Self, PasskeyError> {
        let malformed = PasskeyError::Malformed { what: "bytes", max: MAX_PART_LEN };
        // Decoding refuses padding and unused bits, so there is one spelling.
        let bytes = URL_SAFE_NO_PAD.decode(&text).map_err(|_| malformed.clone())?;
        if bytes.is_empty() || bytes.len() > MAX_PART_LEN { Err(malformed) } else { Ok(Self(bytes)) }
    }
}

impl From<Bytes> for String {
    fn from(bytes: Bytes) -> Self {
        bytes.to_string()
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&URL_SAFE_NO_PAD.encode(&self.0))
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl CredentialId {
    /// The credential with this id.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, PasskeyError> {
        Self::try_from(Bytes(bytes.into()))
    }

    /// Its bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl TryFrom<Bytes> for CredentialId {
    type Error = PasskeyError;
    fn try_from(bytes: Bytes) -> Result<Self, PasskeyError> {
        if bytes.0.is_empty() || bytes.0.len() > MAX_CREDENTIAL_LEN {
            return Err(PasskeyError::Malformed { what: "a credential id", max: MAX_CREDENTIAL_LEN });
        }
        Ok(Self(bytes))
    }
}

impl FromStr for CredentialId {
    type Err = PasskeyError;
    fn from_str(text: &str) -> Result<Self, PasskeyError> {
        Bytes::try_from(text.to_owned())?.try_into()
    }
}

impl From<CredentialId> for Bytes {
    fn from(id: CredentialId) -> Self {
        id.0
    }
}

impl fmt::Display for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Algorithm {
    fn verifier(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::ES256 => &ECDSA_P256_SHA256_ASN1,
            Self::ES384 => &ECDSA_P384_SHA384_ASN1,
            Self::ES512 => &ECDSA_P521_SHA512_ASN1,
            Self::EdDSA => &ED25519,
            Self::RS256 => &RSA_PKCS1_2048_8192_SHA256,
        }
    }

    /// The length of a key, where there is one.
    const fn key_len(self) -> Option<usize> {
        match self {
            Self::ES256 => Some(65),
            Self::ES384 => Some(97),
            Self::ES512 => Some(133),
            Self::EdDSA => Some(32),
            Self::RS256 => None,
        }
    }
}

/// The challenge that stands for a message: its SHA-256. A browser puts it into what the passkey signs.
#[must_use]
pub fn challenge(message: &[u8]) -> Digest {
    Digest::of_bytes(message)
}

impl Passkey {
    /// Whether the key has the form that its algorithm asks for. What has it can still be no point of its curve: then no
    /// signature ever holds. An Ed25519 key of small order, of which one signature fits every message, has not.
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        let len = self.key.0.len();
        match self.algorithm.key_len() {
            Some(expected) => len == expected && !self.is_weak(),
            None => (270..=MAX_KEY_LEN).contains(&len),
        }
    }

    fn is_weak(&self) -> bool {
        let read = |key| self.algorithm == Algorithm::EdDSA && PublicKey::from_bytes(key).is_err();
        <[u8; 32]>::try_from(self.key.as_slice()).is_ok_and(read)
    }

    /// Checks that this passkey, with its user verified, signed exactly `message` in a page of the console
    /// (Web Authentication Level 3, section 7.2). The counter is the caller's to compare: it needs a memory.
    pub fn check(&self, assertion: &Assertion, message: &[u8]) -> Result<Asserted, PasskeyError> {
        self.check_challenge(assertion, challenge(message).as_bytes())
    }

    /// As [`Self::check`], where the challenge is given: of a ceremony that signs no statement, such as signing in.
    pub fn check_challenge(&self, assertion: &Assertion, challenge: &[u8]) -> Result<Asserted, PasskeyError> {
        if assertion.credential != self.id {
            return Err(PasskeyError::OtherCredential);
        }
        let client = ClientData::read(assertion.client_data.as_slice(), CeremonyKind::Get)?;
        client.check(&self.origin, challenge)?;
        let data = AuthenticatorData::read(assertion.authenticator_data.as_slice())?;
        data.check(&self.rp_id)?;
        let signed = [
            assertion.authenticator_data.as_slice(),
            Digest::of_bytes(assertion.client_data.as_slice()).as_bytes(),
        ]
        .concat();
        UnparsedPublicKey::new(self.algorithm.verifier(), self.key.as_slice())
            .verify(&signed, assertion.signature.as_slice())
            .map_err(|_| PasskeyError::Signature)?;
        Ok(Asserted { credential: self.id.clone(), act: self.act.clone(), counter: data.counter })
    }
}

impl Asserted {
    /// The passkey.
    #[must_use]
    pub const fn credential(&self) -> &CredentialId {
        &self.credential
    }

    /// The act by which it was enrolled.
    #[must_use]
    pub const fn act(&self) -> &Id<kind::Act> {
        &self.act
    }

    /// The authenticator's signature counter; zero where it has none.
    #[must_use]
    pub const fn counter(&self) -> u32 {
        self.counter
    }
}

/// Whether a counter may follow another one: it grows, or the authenticator has none. One that does not tells of a copy
/// (section 6.1.1).
#[must_use]
pub const fn counter_follows(last: u32, counter: u32) -> bool {
    counter > last || (counter == 0 && last == 0)
}

/// The authenticator's data (section 6.1), as far as an assertion has it.
struct AuthenticatorData<'a> {
    rp_id_hash: &'a [u8],
    flags: u8,
    counter: u32,
}

impl<'a> AuthenticatorData<'a> {
    const PRESENT: u8 = 0x01;
    const VERIFIED: u8 = 0x04;
    const BACKUP_ELIGIBLE: u8 = 0x08;
    const BACKED_UP: u8 = 0x10;
    const ATTESTED: u8 = 0x40;
    const EXTENSIONS: u8 = 0x80;

    fn read(bytes: &'a [u8]) -> Result<Self, PasskeyError> {
        let malformed = PasskeyError::AuthenticatorData;
        let (Some((rp_id_hash, rest)), len) = (bytes.split_at_checked(32), bytes.len()) else {
            return Err(malformed("it is too short"));
        };
        let Some(([flags, counter @ ..], _)) = rest.split_first_chunk::<5>() else {
            return Err(malformed("it is too short"));
        };
        let data = Self { rp_id_hash, flags: *flags, counter: u32::from_be_bytes(*counter) };
        if data.has(Self::ATTESTED) {
            return Err(malformed("it brings a new credential along"));
        }
        if data.has(Self::EXTENSIONS) == (len == AUTHENTICATOR_DATA_LEN) {
            return Err(malformed("its length contradicts its flags"));
        }
        if data.has(Self::BACKED_UP) && !data.has(Self::BACKUP_ELIGIBLE) {
            return Err(malformed("it is backed up and must not be"));
        }
        Ok(data)
    }

    const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    fn check(&self, rp_id: &str) -> Result<(), PasskeyError> {
        if self.rp_id_hash != Digest::of_bytes(rp_id.as_bytes()).as_bytes() {
            return Err(PasskeyError::RelyingParty(rp_id.to_owned()));
        }
        if !self.has(Self::PRESENT) {
            return Err(PasskeyError::NotPresent);
        }
        if self.has(Self::VERIFIED) { Ok(()) } else { Err(PasskeyError::NotVerified) }
    }
}
