//! What a token must say, and what is known of whoever showed a good one.

use std::{collections::BTreeSet, sync::Arc};

use holdpoint_domain::{
    Millis, Timestamp,
    actor::{Identity, IdentityError},
};
use serde_json::{Map, Value};

/// Longest token.
pub const MAX_TOKEN_LEN: usize = 8 * 1024;
/// Longest life of a token, unless its issuer's rules say otherwise: revoking one means waiting for its end.
pub const MAX_LIFETIME: Millis = Millis::secs(60 * 60);
/// How far the issuer's clock may be ahead of ours.
pub const MAX_SKEW: Millis = Millis::secs(30);

/// An identity whose token was checked. Nobody can make one but [`super::Verifier::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    // INVARIANT: a key that is trusted for the token's source signed a token for `identity` and our audience, which ends at
    // `expires_at`; the selectors stood in it, or are the configuration's.
    identity: Identity,
    expires_at: Timestamp,
    selectors: Arc<BTreeSet<String>>,
}

impl Verified {
    pub(super) fn new(identity: Identity, expires_at: Timestamp, selectors: BTreeSet<String>) -> Self {
        Self { identity, expires_at, selectors: Arc::new(selectors) }
    }

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

    /// What else is known of the workload, in order: `spiffe_id:spiffe://…`, `k8s:ns:…`, `oidc:iss:…`, and what rules name.
    #[must_use]
    pub const fn selectors(&self) -> &Arc<BTreeSet<String>> {
        &self.selectors
    }
}

/// Why a token is refused. The caller's fault, but for [`TokenError::NoKeys`]; nothing of the token is in the message but a
/// name that was made visible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not three parts of base64url with JSON objects, or too long.
    #[error(
        "expected a compact JWS of at most {MAX_TOKEN_LEN} bytes with JSON objects without duplicate names"
    )]
    Malformed,
    /// A header with an algorithm that is not allowed, or that does not fit the key.
    #[error("expected `alg` to be one of RS, ES or PS with 256, 384 or 512, and to fit the key")]
    Algorithm,
    /// A header with another type.
    #[error("expected `typ` to be absent, JWT or JOSE")]
    Type,
    /// A header parameter that could change how the token is checked, or that nobody here knows.
    #[error("expected no header parameter but `alg`, `kid` and `typ`")]
    Header,
    /// The source's keys are not at hand, or too old. Not the caller's fault.
    #[error("the keys of this token's source are not at hand: the gate's log says why")]
    NoKeys,
    /// A key that is not trusted for this source.
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
    #[error("expected a life of at most {0}")]
    Lifetime(Millis),
    /// Not an identity of ours.
    #[error("the subject is no identity of this gate")]
    Subject(#[from] IdentityError),
    /// A sound token that no rule of its source gives an identity.
    #[error("no rule gives this token an identity: see `identity_sources` in the gate's configuration")]
    NoRule,
    /// A sound token that rules give more than one identity.
    #[error(
        "rules give this token more than one identity: see `identity_sources` in the gate's configuration"
    )]
    ManyRules,
}

/// What every token must say, whoever made it: our audience alone, and its times. Returns its end.
pub(super) fn check_claims(
    claims: &Map<String, Value>,
    audience: &str,
    max_life: Millis,
    now: Timestamp,
) -> Result<Timestamp, TokenError> {
    if !is_for(claims, audience) {
        return Err(TokenError::Audience);
    }
    let expires_at = time(claims, "exp")?.ok_or(WHOLE_SECONDS_EXP)?;
    check_times(expires_at, time(claims, "iat")?, time(claims, "nbf")?, max_life, now)?;
    if claims.get("iss").is_some_and(|iss| !iss.is_string()) {
        return Err(TokenError::Claim { claim: "iss", expected: "absent or a text" });
    }
    Ok(expires_at)
}

/// The subject, as a text.
pub(super) fn subject<'c>(
    claims: &'c Map<String, Value>,
    expected: &'static str,
) -> Result<&'c str, TokenError> {
    claims.get("sub").and_then(Value::as_str).ok_or(TokenError::Claim { claim: "sub", expected })
}

const WHOLE_SECONDS_EXP: TokenError = TokenError::Claim { claim: "exp", expected: WHOLE_SECONDS };
const WHOLE_SECONDS: &str = "whole seconds since 1970";

fn is_for(claims: &Map<String, Value>, audience: &str) -> bool {
    match claims.get("aud") {
        Some(Value::String(one)) => one == audience,
        Some(Value::Array(several)) => match several.as_slice() {
            [Value::String(one)] => one == audience,
            _ => false,
        },
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => false,
    }
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
    max_life: Millis,
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
    let left = Millis::new(max_life.ms().saturating_add(MAX_SKEW.ms()));
    let too_long =
        life.is_some_and(|life| life > max_life) || left.map_or(true, |left| expires_at.since(now) > left);
    if too_long { Err(TokenError::Lifetime(max_life)) } else { Ok(()) }
}
