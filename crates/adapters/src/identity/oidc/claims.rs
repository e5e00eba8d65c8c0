//! What an ID token must say beyond what every token must (OpenID Connect Core 1.0, section 3.1.3.7).

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use holdpoint_domain::{Millis, Timestamp};
use serde_json::{Map, Value};

use super::{attempt::Attempt, party::OidcError, spec::OidcSpec};
use crate::identity::{
    key::Algorithm,
    rules::MAX_ISSUER_LIFETIME,
    token::{MAX_SKEW, TokenError, check_claims},
};

/// What a token is held against.
pub(super) struct Expected<'e> {
    pub(super) spec: &'e OidcSpec,
    pub(super) attempt: &'e Attempt,
    /// The algorithm of the token's header, which its key fits.
    pub(super) alg: Algorithm,
    pub(super) access_token: &'e str,
    pub(super) now: Timestamp,
}

/// Whether claims, which the provider signed, answer this attempt.
pub(super) fn check(claims: &Map<String, Value>, expected: &Expected<'_>) -> Result<(), OidcError> {
    let Expected { spec, attempt, alg, access_token, now } = expected;
    let text = |claim: &str| claims.get(claim).and_then(Value::as_str);
    if text("iss") != Some(&spec.issuer) {
        return Err(OidcError::Issuer);
    }
    // It is used once, now: how long it would live elsewhere is the provider's business, within what issuers may be allowed here.
    check_claims(claims, &spec.client_id, MAX_ISSUER_LIFETIME, *now)?;
    // There is one audience, so this is no more than a second name of it; one that differs is somebody else's token.
    if claims.get("azp").is_some_and(|azp| azp != &spec.client_id) {
        return Err(OidcError::Party);
    }
    // Before the attempt there was nobody to answer to.
    let issued_at = seconds(claims, "iat")?;
    if attempt.begun().since(issued_at) > MAX_SKEW {
        return Err(OidcError::Old);
    }
    if text("nonce") != Some(&attempt.nonce()) {
        return Err(OidcError::Nonce);
    }
    match claims.get("at_hash") {
        None => {}
        Some(hash) if *hash == at_hash(*alg, access_token) => {}
        Some(_) => return Err(OidcError::AccessToken),
    }
    if let Some(max_age) = spec.max_age {
        let shown = seconds(claims, "auth_time")?;
        let most = Millis::new(max_age.ms().saturating_add(MAX_SKEW.ms()));
        if most.map_or(true, |most| now.since(shown) > most) {
            return Err(OidcError::Shown(max_age));
        }
    }
    Ok(())
}

/// A time that has to be there, in whole seconds.
fn seconds(claims: &Map<String, Value>, claim: &'static str) -> Result<Timestamp, TokenError> {
    let ms = claims.get(claim).and_then(Value::as_u64).and_then(|seconds| seconds.checked_mul(1_000));
    let time = ms.and_then(|ms| Timestamp::from_ms(ms).ok());
    time.ok_or(TokenError::Claim { claim, expected: "whole seconds since 1970" })
}

/// The left half of an access token's digest, by the hash of the ID token's algorithm (section 3.1.3.6).
fn at_hash(alg: Algorithm, access_token: &str) -> String {
    let hash = match alg {
        Algorithm::Rs256 | Algorithm::Es256 | Algorithm::Ps256 => &digest::SHA256,
        Algorithm::Rs384 | Algorithm::Es384 | Algorithm::Ps384 => &digest::SHA384,
        Algorithm::Rs512 | Algorithm::Es512 | Algorithm::Ps512 => &digest::SHA512,
    };
    let digest = digest::digest(hash, access_token.as_bytes());
    let digest = digest.as_ref();
    let (left, _) = digest.split_at(digest.len().div_euclid(2));
    URL_SAFE_NO_PAD.encode(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_an_access_token_is_that_of_the_standards_example() {
        // OpenID Connect Core 1.0, appendix A.3.
        let token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y";
        assert_eq!(at_hash(Algorithm::Rs256, token), "77QmUPtjPfzWtF2AnpK9RQ");
        assert_eq!(at_hash(Algorithm::Es384, token).len(), 32);
    }
}
