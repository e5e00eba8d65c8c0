//! A token before anybody believes it: three parts, and a header without anything that could change how it is checked.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use super::{
    json::object,
    key::{Algorithm, PublicKey},
    token::{MAX_TOKEN_LEN, TokenError},
};

/// A compact JWS whose signature nobody has looked at yet. Its claims say only which keys it would have to be checked with.
pub(super) struct Unchecked<'t> {
    pub(super) alg: Algorithm,
    pub(super) kid: String,
    header: Map<String, Value>,
    claims: Map<String, Value>,
    signed: &'t str,
    signature: &'t str,
}

impl<'t> Unchecked<'t> {
    /// Reads a token. Header parameters are looked at by [`Self::check_header`], when it is known whose token it would be.
    pub(super) fn read(token: &'t str) -> Result<Self, TokenError> {
        if token.len() > MAX_TOKEN_LEN {
            return Err(TokenError::Malformed);
        }
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Malformed);
        };
        let header = decode(header)?;
        let alg = header.get("alg").and_then(Value::as_str).and_then(Algorithm::parse);
        let alg = alg.ok_or(TokenError::Algorithm)?;
        let kid = header.get("kid").and_then(Value::as_str).map(str::to_owned);
        let claims = decode(claims)?;
        let signed = token.strip_suffix(signature).and_then(|rest| rest.strip_suffix('.'));
        let signed = signed.ok_or(TokenError::Malformed)?;
        Ok(Self { alg, kid: kid.unwrap_or_default(), header, claims, signed, signature })
    }

    /// A claim that nobody has vouched for: good for choosing keys, and for nothing else.
    pub(super) fn unbelieved(&self, claim: &str) -> Option<&str> {
        self.claims.get(claim).and_then(Value::as_str)
    }

    /// Refuses `crit`, `jwk`, `jku`, `x5u` and whatever else could point to a key or change the check, with all that is not
    /// in `known`; and types that are not in `types`.
    pub(super) fn check_header(&self, known: &[&str], types: &[&str]) -> Result<(), TokenError> {
        let also = |name: &str| matches!(name, "alg" | "kid" | "typ") || known.contains(&name);
        if self
            .header
            .iter()
            .any(|(name, value)| !also(name) || (known.contains(&name.as_str()) && !value.is_string()))
        {
            return Err(TokenError::Header);
        }
        let typ = self.header.get("typ");
        if !typ.is_none_or(|typ| typ.as_str().is_some_and(|typ| types.contains(&typ))) {
            return Err(TokenError::Type);
        }
        Ok(())
    }

    /// The claims, when this key signed them.
    pub(super) fn signed_by(&self, key: &PublicKey) -> Result<&Map<String, Value>, TokenError> {
        if !key.fits(self.alg) {
            return Err(TokenError::Algorithm);
        }
        if key.holds(self.alg, self.signed.as_bytes(), self.signature) {
            Ok(&self.claims)
        } else {
            Err(TokenError::Signature)
        }
    }
}

fn decode(part: &str) -> Result<Map<String, Value>, TokenError> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)?;
    object(&bytes).ok_or(TokenError::Malformed)
}
