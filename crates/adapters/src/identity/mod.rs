//! Identities: who is calling, and who says so.
//!
//! [`Verifier`] takes JWT-SVIDs (<https://github.com/spiffe/spiffe/blob/main/standards/JWT-SVID.md>) of a SPIFFE implementation, or
//! of the [`DevIssuer`] of a first day, and tokens of issuers that rules map to identities. It is stricter than the standards: one
//! audience, whole numbers, a bounded life, a key id in every token, and no word in the header that could change how a token is
//! checked. Header and claims are read here and nowhere else: JWT libraries have taken a claim of the wrong type for an
//! absent one (CVE-2026-25537), so a library only checks the signature.
//!
//! Start at [`Verifier`]; a [`Keyring`] is what its sources of keys are replaced in. People's single sign-on is in [`oidc`].

mod cache;
mod issuer;
pub(crate) mod json;
mod jwks;
mod jws;
mod key;
mod keyring;
pub mod oidc;
mod rules;
mod shared;
mod source;
mod token;
mod verifier;
mod web;
mod workload_api;

pub use cache::CachedVerifier;
pub use issuer::{DevIssuer, DevIssuerError};
pub use jwks::{Bundle, Jwks, JwksError, Uses};
pub use key::{Algorithm, KeyError, PublicKey};
pub use keyring::{Keyring, SourceStatus, WentBack};
pub use rules::{Issuer, IssuerKind, MAX_ISSUER_LIFETIME, Rule, RuleError};
pub use shared::{MIN_SHARED_TOKEN, SharedToken, SharedTokenError};
pub use source::{Feed, HttpsError, Pace, Source, SourceError, WorkloadError, fetch_token};
pub use token::{MAX_LIFETIME, MAX_SKEW, MAX_TOKEN_LEN, TokenError, Verified};
pub use verifier::{Domain, DomainError, Verifier};
pub use workload_api::{Registration, WorkloadApi, WorkloadApiError, program_digest};
