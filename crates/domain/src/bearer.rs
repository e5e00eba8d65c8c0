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
    lease::{LeaseInfo, Scope},
    permit::parts,
    plan::{ParamValue, Plan, Step},
    signature::{PublicKey, Thumbprint},
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

impl Filled {
    /// A parameter of a plan as it is sent; none for a secret, of which a plan has a commitment alone.
    #[must_use]
    pub fn of(value: &ParamValue) -> Option<Self> {
        match value {
            ParamValue::Int(int) => Some(Self::Int(*int)),
            ParamValue::Bool(yes) => Some(Self::Bool(*yes)),
            ParamValue::Choice(word) => Some(Self::Word(word.clone())),
            ParamValue::Secret(_) => None,
        }
    }
}

impl Detail {
    /// Whether it is this step, with exactly its parameters.
    fn is_of(&self, step: &Step) -> bool {
        let [action] = &self.actions;
        let is_same = |(name, value): (&Id<kind::Param>, &ParamValue)| {
            self.parameters.get(name).is_some_and(|filled| Filled::of(value).as_ref() == Some(filled))
        };
        *action == step.action
            && self.identifier == step.target
            && self.parameters.len() == step.params.len()
            && step.params.iter().all(is_same)
    }
}

impl Claims {
    /// Whether it says no more than the lease that was announced: of its permit and of this plan, at its end at the latest, and
    /// nothing but steps of the plan that are in its scope. Which runs a step is, the executor's own jobs say.
    pub fn is_within(&self, info: &LeaseInfo, plan: &Plan) -> Result<bool, DigestError> {
        let Some(granted) = &self.grant else { return Ok(false) };
        let is_announced = |detail: &Detail| {
            plan.steps().iter().any(|step| detail.is_of(step) && info.scopes.contains(&Scope::of(step)))
        };
        let ends = self.exp.checked_mul(1000).is_some_and(|end| end <= info.expires_at_ms.ms());
        Ok(granted.permit == info.permit
            && granted.plan == plan.digest()?
            && ends
            && self.authorization_details.iter().all(is_announced))
    }

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
        let (signed, claims, signature) = parts(token).ok_or_else(malformed)?;
        signature.verify_raw(key, signed.as_bytes()).map_err(|_| BearerError::Signature)?;
        let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|_| malformed())?;
        let claims: Self = serde_json::from_slice(&claims).map_err(|_| malformed())?;
        // What we would not have written so, we did not write.
        if claims.signing_input(key).ok().as_deref() != Some(signed) {
            return Err(malformed());
        }
        Ok(claims)
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer as _, SigningKey};
    use serde_json::{Value, json};

    use super::*;
    use crate::{permit::compact, signature::Signature};

    fn key(seed: u8) -> (SigningKey, PublicKey) {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let public = PublicKey::from_bytes(key.verifying_key().to_bytes()).unwrap();
        (key, public)
    }

    fn claims() -> Claims {
        serde_json::from_value(json!({
            "iss": "https://gate.example", "aud": "https://runner.example", "sub": "job", "client_id": "job",
            "iat": 100, "nbf": 100, "exp": 160, "jti": "lease-1",
            "cnf": {"jkt": key(2).1.thumbprint().to_string()},
            "grant": {"permit": "permit-1", "plan": Digest::of_bytes(b"plan"), "epoch": 7},
            "authorization_details": [{
                "type": "holdpoint_job", "actions": ["job.clear"], "identifier": "cache",
                "parameters": {"keep": 5, "force": true, "scope": "stale"},
                "runs": [{"job": "clear", "key": "nonce-1-0"}],
            }],
        }))
        .unwrap()
    }

    fn signed(by: u8, input: &str) -> String {
        compact(input, &Signature::from_bytes(key(by).0.sign(input.as_bytes()).to_bytes()))
    }

    fn part(value: &Value) -> String {
        // What has no canonical form goes as it is.
        URL_SAFE_NO_PAD.encode(canonical(value).unwrap_or_else(|_| value.to_string().into_bytes()))
    }

    #[test]
    fn a_token_opens_with_its_key_and_says_what_was_signed() {
        let claims = claims();
        let token = signed(1, &claims.signing_input(&key(1).1).unwrap());
        assert_eq!(Claims::open(&token, &key(1).1), Ok(claims.clone()));
        assert_eq!(Claims::open(&token, &key(3).1), Err(BearerError::Signature));
        assert_eq!(
            signed(1, &claims.signing_input(&key(1).1).unwrap()),
            token,
            "the very same, whenever it is made"
        );
    }

    #[test]
    fn t19_one_spelling_alone_opens() {
        let public = key(1).1;
        let header = json!({"alg": "EdDSA", "kid": public.thumbprint().to_string(), "typ": LEASE_TYP});
        let body = serde_json::to_value(claims()).unwrap();
        let with = |value: &Value, name: &str, new: Value| {
            let mut value = value.clone();
            value[name] = new;
            value
        };
        let good = signed(1, &format!("{}.{}", part(&header), part(&body)));
        assert!(Claims::open(&good, &public).is_ok());
        let headers = [
            with(&header, "alg", json!("none")),
            with(&header, "alg", json!("HS256")),
            with(&header, "typ", json!("holdpoint-permit+jwt")),
            with(&header, "typ", json!("JWT")),
            with(&header, "kid", json!("../bearer.key")),
            with(&header, "crit", json!(["exp"])),
            with(&header, "jwk", json!({})),
        ];
        for header in headers {
            let token = signed(1, &format!("{}.{}", part(&header), part(&body)));
            assert_eq!(Claims::open(&token, &public), Err(BearerError::Malformed), "{header}");
        }
        let bodies = [
            with(&body, "aud", json!(["https://runner.example"])),
            with(&body, "aud", Value::Null),
            with(&body, "exp", json!("160")),
            with(&body, "exp", json!(160.5)),
            with(&body, "exp", json!(-1)),
            with(&body, "exp", json!(u64::MAX)),
            with(&body, "nbf", Value::Null),
            with(&body, "scope", json!("all")),
            with(&body, "cnf", json!({"x5t#S256": "x"})),
            with(&body, "authorization_details", Value::Null),
            with(&body, "authorization_details", json!([{"type": "other"}])),
        ];
        for body in bodies {
            let token = signed(1, &format!("{}.{}", part(&header), part(&body)));
            assert_eq!(Claims::open(&token, &public), Err(BearerError::Malformed), "{body}");
        }
        let text = serde_json::to_string(&body).unwrap();
        for spelled in [format!(" {text}"), text.replacen('{', r#"{"aud":"x","#, 1)] {
            let token = signed(1, &format!("{}.{}", part(&header), URL_SAFE_NO_PAD.encode(spelled)));
            assert_eq!(Claims::open(&token, &public), Err(BearerError::Malformed));
        }
        for token in
            ["", ".", "..", "a.b", "a.b.c", &format!("{good}="), &format!("{good}.x"), &"a".repeat(7000)]
        {
            assert!(Claims::open(token, &public).is_err(), "{token}");
        }
    }

    #[test]
    fn t25_the_end_itself_is_too_late_and_a_control_lives_shortly() {
        let at = |seconds: u64| Timestamp::from_ms(seconds * 1000).unwrap();
        let claims = claims();
        let in_time = [99, 100, 159, 160].map(|second| claims.is_in_time(at(second)));
        assert_eq!(in_time, [false, true, true, false]);
        let control = Claims { grant: None, authorization_details: Vec::new(), exp: 130, ..claims.clone() };
        assert!(control.is_control() && control.is_in_time(at(129)) && !control.is_in_time(at(130)));
        assert!(!Claims { exp: 131, ..control }.is_in_time(at(101)));
        assert!(!claims.is_control());
    }
}
