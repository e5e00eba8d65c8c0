//! Statements of people: what a person says, and their signature over exactly those bytes.

use serde::{Deserialize, Serialize};

use crate::{
    Id,
    digest::DigestError,
    id::kind,
    proof::{Credentials, Proof, ProofError, Proven},
    signature::Purpose,
};

/// Something that a person says under their own key. The purpose stands in front of the signed bytes, so that a signature under
/// one kind of statement is none under another.
pub trait Statement: Serialize + Sized {
    /// What the signature is for.
    const PURPOSE: Purpose;

    /// Who says it.
    fn by(&self) -> &Id<kind::Person>;

    /// The bytes that the person signs.
    fn signing_bytes(&self) -> Result<Vec<u8>, DigestError> {
        crate::digest::canonical(self).map(|bytes| Self::PURPOSE.signing_bytes(&bytes))
    }
}

/// A statement with the proof that it is its author's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed<T> {
    /// What was signed.
    pub statement: T,
    /// By the person's key or passkey.
    pub signature: Proof,
}

/// A statement that does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Another key made the signature, or somebody changed the statement.
    #[error("the signature of `{0}` does not hold")]
    Signature(Id<kind::Person>, #[source] ProofError),
    /// No canonical form.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl<T: Statement> Signed<T> {
    /// Checks the signature with the person's registered credentials.
    pub fn check(&self, credentials: &Credentials) -> Result<Proven, StatementError> {
        let bytes = self.statement.signing_bytes()?;
        let checked = credentials.check(&self.signature, &bytes);
        checked.map_err(|err| StatementError::Signature(self.statement.by().clone(), err))
    }
}
