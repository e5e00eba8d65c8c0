//! The local development issuer: identities for a first day, without a SPIFFE implementation.

use std::{fmt, path::Path};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use holdpoint_domain::{
    Digest, Millis, Timestamp,
    actor::{Identity, TrustDomain},
    digest::{DigestError, canonical},
};
use serde_json::{Value, json};

use super::token::MAX_LIFETIME;
use crate::system::{KeyFileError, key_file};

/// Issues tokens with a P-256 key of its own. For development: whoever can read its key file is everybody.
pub struct DevIssuer {
    key: EcdsaKeyPair,
    domain: TrustDomain,
    jwk: Value,
    kid: String,
}

/// Why nothing was issued.
#[derive(Debug, thiserror::Error)]
pub enum DevIssuerError {
    /// The key.
    #[error("the issuer's key cannot be used")]
    Key(#[from] KeyFileError),
    /// No life, or too long a one.
    #[error("expected a life of 1 s to {MAX_LIFETIME}, got {0}")]
    Lifetime(Millis),
    /// No audience.
    #[error("expected an audience")]
    Audience,
    /// The key did not sign.
    #[error("the key did not sign")]
    Sign,
    /// No canonical form.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl DevIssuer {
    /// The issuer with the key of this file, which is made where there is none.
    pub fn load_or_create(path: &Path, domain: TrustDomain) -> Result<Self, DevIssuerError> {
        let fresh = || {
            let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
            made.map(|document| document.as_ref().to_vec()).map_err(|_| KeyFileError::NotAKey)
        };
        let der = key_file::load_or_create(path, fresh)?;
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der);
        Self::new(key.map_err(|_| KeyFileError::NotAKey)?, domain)
    }

    fn new(key: EcdsaKeyPair, domain: TrustDomain) -> Result<Self, DevIssuerError> {
        // An uncompressed point: 4, then both coordinates.
        let point = key.public_key().as_ref().strip_prefix(&[4]).filter(|point| point.len() == 64);
        let (x, y) = point.and_then(|point| point.split_at_checked(32)).ok_or(KeyFileError::NotAKey)?;
        let mut jwk = json!({
            "crv": "P-256",
            "kty": "EC",
            "x": URL_SAFE_NO_PAD.encode(x),
            "y": URL_SAFE_NO_PAD.encode(y),
        });
        // The thumbprint of RFC 7638: the digest of exactly these four members.
        let kid = URL_SAFE_NO_PAD.encode(Digest::of(&jwk)?.as_bytes());
        if let Some(members) = jwk.as_object_mut() {
            members.insert("kid".to_owned(), json!(kid));
            members.insert("use".to_owned(), json!("jwt-svid"));
        }
        Ok(Self { key, domain, jwk, kid })
    }

    /// The public key, as a SPIFFE bundle that [`super::Jwks::parse`] reads.
    #[must_use]
    pub fn jwks(&self) -> String {
        json!({ "keys": [self.jwk] }).to_string()
    }

    /// A token for one identity and one audience, from now until `ttl` is over, cut to whole seconds.
    pub fn issue(
        &self,
        identity: &Identity,
        audience: &str,
        ttl: Millis,
        now: Timestamp,
    ) -> Result<String, DevIssuerError> {
        let (life_secs, now_secs) = (whole_secs(ttl.ms()), whole_secs(now.ms()));
        if life_secs == 0 || ttl > MAX_LIFETIME {
            return Err(DevIssuerError::Lifetime(ttl));
        }
        if audience.is_empty() {
            return Err(DevIssuerError::Audience);
        }
        let header = canonical(&json!({ "alg": "ES256", "kid": self.kid, "typ": "JWT" }))?;
        let claims = canonical(&json!({
            "aud": [audience],
            "exp": now_secs.saturating_add(life_secs),
            "iat": now_secs,
            "sub": identity.spiffe_id(&self.domain),
        }))?;
        let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.key.sign(&SystemRandom::new(), input.as_bytes());
        let signature = signature.map_err(|_| DevIssuerError::Sign)?;
        Ok(format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

const fn whole_secs(ms: u64) -> u64 {
    ms.div_euclid(1000)
}

impl fmt::Debug for DevIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DevIssuer")
            .field("domain", &self.domain)
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}
