//! Checking a token.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use holdpoint_domain::{
    Millis, Timestamp,
    actor::{Identity, IdentityError, TrustDomain},
};
use jsonwebtoken::{Algorithm, crypto};
use serde_json::{Map, Value};

use super::{json::object, jwks::Jwks};

/// Longest token.
pub const MAX_TOKEN_LEN: usize = 8 * 1024;
/// Longest life of a token: revoking one means waiting for its end.
pub const MAX_LIFETIME: Millis = Millis::secs(60 * 60);
/// How far the issuer's clock may be ahead of ours.
pub const MAX_SKEW: Millis = Millis::secs(30);

/// An identity whose token was checked. Nobody can make one but [`Verifier::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    // INVARIANT: a trusted key signed a token for `identity` and our audience, which ends at `expires_at`.
    identity: Identity,
    expires_at: Timestamp,
}

impl Verified {
    /// Whom the token names.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// When the token ends. The end itself is too late.
    #[must_use]
    pub const fn expires_at(&self) -> Timestamp {
        self.expires_at
    }
}

/// Why a token is refused. The caller's fault; nothing of the token is in the message but a name that was made visible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not three parts of base64url with JSON objects, or too long.
    #[error(
        "expected a compact JWS of at most {MAX_TOKEN_LEN} bytes with JSON objects without duplicate names"
    )]
    Malformed,
    /// A header with another algorithm.
    #[error("expected `alg` to be ES256")]
    Algorithm,
    /// A header with another type.
    #[error("expected `typ` to be absent, JWT or JOSE")]
    Type,
    /// A header parameter that could change how the token is checked, or that nobody here knows.
    #[error("expected no header parameter but `alg`, `kid` and `typ`")]
    Header,
    /// A key that is not trusted here.
    #[error("expected `kid` to name a trusted key")]
    UnknownKey,
    /// The key did not sign this.
    #[error("the token's signature does not hold")]
    Signature,
    /// A claim that is missing or of another type.
    #[error("expected claim `{claim}` to be {expected}")]
    Claim {
        /// The claim.
        claim: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// For somebody else, or for others too.
    #[error("expected the audience to be this gate alone")]
    Audience,
    /// Over.
    #[error("the token is over: fetch another one")]
    Expired,
    /// Not yet, by more than clocks differ.
    #[error("the token is from the future")]
    Future,
    /// Longer than we take.
    #[error("expected a life of at most {MAX_LIFETIME}")]
    Lifetime,
    /// Not an identity of ours.
    #[error("the subject is no identity of this gate")]
    Subject(#[from] IdentityError),
}

/// Checks tokens for one audience of one trust domain.
#[derive(Debug, Clone)]
pub struct Verifier {
    keys: Jwks,
    domain: TrustDomain,
    audience: String,
}

impl Verifier {
    /// A verifier of tokens that `keys` signed for `audience`.
    #[must_use]
    pub const fn new(keys: Jwks, domain: TrustDomain, audience: String) -> Self {
        Self { keys, domain, audience }
    }

    /// Checks a token and returns whom it names.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Verified, TokenError> {
        if token.len() > MAX_TOKEN_LEN {
            return Err(TokenError::Malformed);
        }
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Malformed);
        };
        let kid = kid_of(&decode(header)?)?;
        let key = self.keys.key(&kid).ok_or(TokenError::UnknownKey)?;
        // One spelling of the signature: 64 bytes without padding and without spare bits.
        if URL_SAFE_NO_PAD.decode(signature).map_or(true, |bytes| bytes.len() != 64) {
            return Err(TokenError::Signature);
        }
        let signed = token.strip_suffix(signature).and_then(|rest| rest.strip_suffix('.'));
        let signed = signed.ok_or(TokenError::Malformed)?;
        match crypto::verify(signature, signed.as_bytes(), key, Algorithm::ES256) {
            Ok(true) => self.check_claims(&decode(claims)?, now),
            Ok(false) | Err(_) => Err(TokenError::Signature),
        }
    }

    fn check_claims(&self, claims: &Map<String, Value>, now: Timestamp) -> Result<Verified, TokenError> {
        let audience = match claims.get("aud") {
            Some(Value::String(one)) => Some(one.as_str()),
            Some(Value::Array(several)) => match several.as_slice() {
                [Value::String(one)] => Some(one.as_str()),
                _ => None,
            },
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => None,
        };
        if audience != Some(self.audience.as_str()) {
            return Err(TokenError::Audience);
        }
        let expires_at = time(claims, "exp")?.ok_or(WHOLE_SECONDS_EXP)?;
        check_times(expires_at, time(claims, "iat")?, time(claims, "nbf")?, now)?;
        if claims.get("iss").is_some_and(|iss| !iss.is_string()) {
            return Err(TokenError::Claim { claim: "iss", expected: "absent or a text" });
        }
        let subject = claims.get("sub").and_then(Value::as_str);
        let subject = subject.ok_or(TokenError::Claim { claim: "sub", expected: "a SPIFFE id" })?;
        Ok(Verified { identity: Identity::parse(subject, &self.domain)?, expires_at })
    }
}

const WHOLE_SECONDS_EXP: TokenError = TokenError::Claim { claim: "exp", expected: WHOLE_SECONDS };
const WHOLE_SECONDS: &str = "whole seconds since 1970";

fn decode(part: &str) -> Result<Map<String, Value>, TokenError> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)?;
    object(&bytes).ok_or(TokenError::Malformed)
}

/// Checks the header and returns the key id. `crit`, `jwk`, `jku`, `x5u` and whatever else could point to a key or
/// change the check are refused with all that we do not know.
fn kid_of(header: &Map<String, Value>) -> Result<String, TokenError> {
    if header.get("alg").and_then(Value::as_str) != Some("ES256") {
        return Err(TokenError::Algorithm);
    }
    if header.keys().any(|name| !matches!(name.as_str(), "alg" | "kid" | "typ")) {
        return Err(TokenError::Header);
    }
    if !header.get("typ").is_none_or(|typ| matches!(typ.as_str(), Some("JWT" | "JOSE"))) {
        return Err(TokenError::Type);
    }
    header.get("kid").and_then(Value::as_str).map(str::to_owned).ok_or(TokenError::UnknownKey)
}

/// A time claim in whole seconds; none when it is absent. Of another type it is an error, never absent.
fn time(claims: &Map<String, Value>, claim: &'static str) -> Result<Option<Timestamp>, TokenError> {
    let Some(value) = claims.get(claim) else { return Ok(None) };
    let seconds = value.as_u64().and_then(|seconds| seconds.checked_mul(1000));
    let time = seconds.and_then(|ms| Timestamp::from_ms(ms).ok());
    time.map(Some).ok_or(TokenError::Claim { claim, expected: WHOLE_SECONDS })
}

fn check_times(
    expires_at: Timestamp,
    issued_at: Option<Timestamp>,
    not_before: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), TokenError> {
    if now >= expires_at {
        return Err(TokenError::Expired);
    }
    for time in [issued_at, not_before].into_iter().flatten() {
        if time.since(now) > MAX_SKEW {
            return Err(TokenError::Future);
        }
    }
    let life = issued_at.map(|issued_at| expires_at.since(issued_at));
    let left = Millis::new(MAX_LIFETIME.ms().saturating_add(MAX_SKEW.ms()));
    let too_long = life.is_some_and(|life| life > MAX_LIFETIME)
        || left.map_or(true, |left| expires_at.since(now) > left);
    if too_long { Err(TokenError::Lifetime) } else { Ok(()) }
}
