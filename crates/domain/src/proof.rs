//! Proofs of consent: how a person shows that a statement is theirs, and the credentials that it is checked with.

use serde::{Deserialize, Serialize};

use crate::{
    passkey::{Asserted, Assertion, CredentialId, Passkey, PasskeyError},
    signature::{PublicKey, Signature, SignatureError},
};

/// Most passkeys of one person: some devices, and some spares.
pub const MAX_PASSKEYS: usize = 16;

/// What a person signed a statement with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Proof {
    /// A key in a file: for places without a browser. Never strong.
    Key(Signature),
    /// A passkey, with its user verified.
    Passkey(Box<Assertion>),
}

/// What one person's statements are checked with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Spelling", into = "Spelling")]
pub struct Credentials {
    /// The key of the command line.
    pub key: Option<PublicKey>,
    /// Passkeys.
    pub passkeys: Vec<Passkey>,
}

/// The two spellings of credentials: a key alone is its text.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Spelling {
    Key(PublicKey),
    All(All),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct All {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<PublicKey>,
    #[serde(default)]
    passkeys: Vec<Passkey>,
}

/// A checked proof: whose it is was said by whoever brought the credentials. Only [`Credentials::check`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proven {
    /// The key of the command line made it.
    Key,
    /// A passkey made it.
    Passkey(Asserted),
}

/// Why a proof does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Another key made the signature, or somebody changed what was signed.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The assertion does not hold.
    #[error(transparent)]
    Passkey(#[from] PasskeyError),
    /// Signed with a key, and there is none to check it with.
    #[error("no approval key is registered for whoever signed")]
    NoKey,
    /// Signed with a passkey that is not theirs.
    #[error("the passkey is not registered for whoever signed")]
    UnknownPasskey,
}

impl From<Signature> for Proof {
    fn from(signature: Signature) -> Self {
        Self::Key(signature)
    }
}

impl From<Assertion> for Proof {
    fn from(assertion: Assertion) -> Self {
        Self::Passkey(Box::new(assertion))
    }
}

impl From<PublicKey> for Credentials {
    fn from(key: PublicKey) -> Self {
        Self { key: Some(key), passkeys: Vec::new() }
    }
}

impl From<Spelling> for Credentials {
    fn from(spelling: Spelling) -> Self {
        match spelling {
            Spelling::Key(key) => key.into(),
            Spelling::All(All { key, passkeys }) => Self { key, passkeys },
        }
    }
}

impl From<Credentials> for Spelling {
    fn from(Credentials { key, passkeys }: Credentials) -> Self {
        match key {
            Some(key) if passkeys.is_empty() => Self::Key(key),
            key => Self::All(All { key, passkeys }),
        }
    }
}

impl Credentials {
    /// Checks that one of these credentials made `proof` over exactly `message`.
    pub fn check(&self, proof: &Proof, message: &[u8]) -> Result<Proven, ProofError> {
        match proof {
            Proof::Key(signature) => {
                let key = self.key.as_ref().ok_or(ProofError::NoKey)?;
                signature.verify_raw(key, message)?;
                Ok(Proven::Key)
            }
            Proof::Passkey(assertion) => {
                let named = self.passkeys.iter().find(|passkey| passkey.id == assertion.credential);
                Ok(Proven::Passkey(named.ok_or(ProofError::UnknownPasskey)?.check(assertion, message)?))
            }
        }
    }
}

impl Proof {
    /// The passkey that it names, unchecked; none for a key.
    #[must_use]
    pub const fn passkey(&self) -> Option<&CredentialId> {
        match self {
            Self::Key(_) => None,
            Self::Passkey(assertion) => Some(&assertion.credential),
        }
    }

    /// The passkey that it names and the counter that it carries, unchecked; none for a key.
    #[must_use]
    pub fn counter(&self) -> Option<(&CredentialId, u32)> {
        match self {
            Self::Key(_) => None,
            Self::Passkey(assertion) => Some((&assertion.credential, assertion.counter()?)),
        }
    }
}

impl Proven {
    /// What the passkey asserted; none for a key, which is not strong: whoever copies its file can sign.
    #[must_use]
    pub const fn strong(&self) -> Option<&Asserted> {
        match self {
            Self::Key => None,
            Self::Passkey(asserted) => Some(asserted),
        }
    }
}
