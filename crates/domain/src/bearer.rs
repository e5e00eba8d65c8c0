//! Bearer leases: a token of the issuer's for a target that checks it with the issuer's public key.
//!
//! It is a compact JWS that any JWT library can check: `typ` [`LEASE_TYP`], `alg` EdDSA, and the claims of RFC 9068 with the
//! exact steps as RFC 9396 writes them. One that names no step is a *control*: it opens nothing, and only shows that a target
//! takes what is good and refuses what is not.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::{
    Digest, Id, Timestamp,
    digest::{DigestError, canonical},
    id::kind,
    signature::{PublicKey, Signature, Thumbprint},
};

/// The `typ` of the JWS header; no other token of ours has it.
pub const LEASE_TYP: &str = "holdpoint-lease+jwt";
/// Longest token: it goes in a header, and servers take eight kilobytes of all headers together.
pub const MAX_LEASE_TOKEN_LEN: usize = 6 * 1024;
/// Longest life of a control, in seconds: it is used at once.
pub const MAX_CONTROL_SECS: u64 = 30;

/// What a token says. Times are whole seconds (RFC 7519, NumericDate).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// The issuer, by the name that its targets know.
    pub iss: String,
    /// The one audience.
    pub aud: String,
    /// The executor that uses it.
    pub sub: Id<kind::Executor>,
    /// The same, for libraries that ask for it (RFC 9068).
    pub client_id: Id<kind::Executor>,
    /// When it was made.
    #[serde(deserialize_with = "crate::digest::whole")]
    pub iat: u64,
    /// It is no good before this.
    #[serde(deserialize_with = "crate::digest::whole")]
    pub nbf: u64,
    /// It ends at this: never later than its lease.
    #[serde(deserialize_with = "crate::digest::whole")]
    pub exp: u64,
    /// The lease's id.
    pub jti: Id<kind::Lease>,
    /// The key that whoever brings it must prove to have (RFC 7800, RFC 9449). Without it whoever has the token has the lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cnf: Option<Confirmation>,
    /// What it was minted for; none in a control.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<Granted>,
    /// Exactly the steps, and nothing else; none in a control.
    pub authorization_details: Vec<Detail>,
}

/// The permit behind a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Granted {
    /// The permit.
    pub permit: Id<kind::Permit>,
    /// The digest of the plan: the bytes that people approved.
    pub plan: Digest,
    /// The fencing epoch: a target that has seen a higher one refuses a lower one.
    #[serde(deserialize_with = "crate::digest::whole")]
    pub epoch: u64,
}

/// The key of whoever brings a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirmation {
    /// Its thumbprint.
    pub jkt: Thumbprint,
}

/// A step, as an authorization detail of RFC 9396.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Detail {
    /// Always the same.
    pub r#type: DetailType,
    /// The one action.
    pub actions: [Id<kind::Action>; 1],
    /// The target in the inventory.
    pub identifier: Id<kind::Target>,
    /// The parameters, exactly.
    pub parameters: BTreeMap<Id<kind::Param>, Filled>,
    /// The runs that it may start or find, at most one by each key.
    pub runs: Vec<Run>,
}

/// The type of an authorization detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DetailType {
    /// A step of a plan that is a job of an HTTP job runner.
    #[serde(rename = "holdpoint_job")]
    Job,
}

/// A run of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// The job, by the runner's name.
    pub job: String,
    /// The key that makes it happen once.
    pub key: String,
}

/// A parameter as it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Filled {
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A word.
    Word(Id<kind::Param>),
}

/// Why a token says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BearerError {
    /// Not a compact JWS of ours.
    #[error("expected a compact JWS of type `{LEASE_TYP}` with `alg` EdDSA in canonical form")]
    Malformed,
    /// Another key made it, or somebody changed it.
    #[error("the lease's signature does not hold")]
    Signature,
}

impl Claims {
    /// The JWS signing input for a key: header and canonical claims, in base64url.
    pub fn signing_input(&self, key: &PublicKey) -> Result<String, DigestError> {
        let header = serde_json::json!({
            "alg": "EdDSA", "kid": key.thumbprint().to_string(), "typ": LEASE_TYP,
        });
        let (header, claims) = (canonical(&header)?, canonical(self)?);
        Ok(format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims)))
    }

    /// Whether it opens nothing.
    #[must_use]
    pub const fn is_control(&self) -> bool {
        self.grant.is_none() && self.authorization_details.is_empty()
    }

    /// Whether it is within its life. A control has a short one.
    #[must_use]
    pub fn is_in_time(&self, now: Timestamp) -> bool {
        let seconds = now.ms().div_euclid(1000);
        let is_short = !self.is_control() || self.exp.saturating_sub(self.iat) <= MAX_CONTROL_SECS;
        self.nbf <= seconds && seconds < self.exp && is_short
    }

    /// Opens a token: checks signature and form. Whether it is in time and for whom is the caller's concern.
    pub fn open(token: &str, key: &PublicKey) -> Result<Self, BearerError> {
        let malformed = || BearerError::Malformed;
        if token.len() > MAX_LEASE_TOKEN_LEN {
            return Err(malformed());
        }
        let (signed, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
        let (_, claims) = signed.split_once('.').ok_or_else(malformed)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed());
        let raw: [u8; 64] = decode(signature)?.try_into().map_err(|_| malformed())?;
        let signature = Signature::from_bytes(raw);
        signature.verify_raw(key, signed.as_bytes()).map_err(|_| BearerError::Signature)?;
        let claims: Self = serde_json::from_slice(&decode(claims)?).map_err(|_| malformed())?;
        // What we would not have written so, we did not write.
        if claims.signing_input(key).ok().as_deref() != Some(signed) {
            return Err(malformed());
        }
        Ok(claims)
    }
}
