//! Identities: ES256 tokens shaped as JWT-SVIDs (<https://github.com/spiffe/spiffe/blob/main/standards/JWT-SVID.md>).
//!
//! [`Verifier`] takes tokens of a SPIFFE implementation, or of the [`DevIssuer`] of a first day. It is stricter than the
//! standard: one algorithm, one audience, whole numbers, an hour at most, and no word in the header that could change
//! how a token is checked. Header and claims are read here and nowhere else: JWT libraries have taken a claim of the
//! wrong type for an absent one (CVE-2026-25537), so the library only checks the signature.

mod cache;
mod issuer;
mod json;
mod jwks;
mod token;

pub use cache::CachedVerifier;
pub use issuer::{DevIssuer, DevIssuerError};
pub use jwks::{Jwks, JwksError};
pub use token::{MAX_LIFETIME, MAX_SKEW, MAX_TOKEN_LEN, TokenError, Verified, Verifier};
