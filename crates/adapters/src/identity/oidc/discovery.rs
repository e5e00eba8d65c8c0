//! What a provider says of itself (OpenID Connect Discovery 1.0, RFC 8414).

use holdpoint_domain::text::quoted;
use reqwest::Url;
use serde_json::{Map, Value};

use super::spec::{is_endpoint, is_local};
use crate::identity::{json::object, key::Algorithm};

/// What is used of a provider's metadata.
#[derive(Debug, Clone)]
pub(super) struct Metadata {
    /// Where browsers are sent. Nobody else goes there.
    pub(super) authorization: Url,
    /// Where a code is handed in.
    pub(super) token: Url,
    /// Where its keys are.
    pub(super) keys: Url,
    /// How we prove who we are there, when we have a secret.
    pub(super) proof: Proof,
    /// The algorithms that it signs ID tokens with, as far as we know them.
    pub(super) algorithms: Vec<Algorithm>,
    /// Whether every answer of it says who it is from (RFC 9207).
    pub(super) names_itself: bool,
}

/// How a client with a secret proves itself at the token endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// `client_secret_basic`.
    Basic,
    /// `client_secret_post`.
    Post,
}

/// What is wrong with a provider's metadata. The provider's fault, or whoever answers in its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    /// No JSON object, or a name that stands twice.
    #[error("expected the provider's metadata to be a JSON object without duplicate names")]
    Malformed,
    /// Somebody else's.
    #[error("expected the metadata of the configured issuer, got that of {0}")]
    Issuer(String),
    /// An endpoint that is missing, or that nothing may be sent to.
    #[error("expected `{0}` to be an https URL, or http at an address of this machine when the issuer is")]
    Endpoint(&'static str),
    /// Something that the code flow needs.
    #[error("expected `{member}` to have `{value}`")]
    Lacks {
        /// Which member.
        member: &'static str,
        /// What it has to have.
        value: &'static str,
    },
}

impl Metadata {
    /// Where an issuer's metadata is (Discovery, section 4).
    pub(super) fn place(issuer: &str) -> String {
        format!("{}/.well-known/openid-configuration", issuer.strip_suffix('/').unwrap_or(issuer))
    }

    /// Reads metadata; only those of this issuer, byte for byte, are taken.
    pub(super) fn parse(text: &str, issuer: &str) -> Result<Self, DiscoveryError> {
        let document = object(text.as_bytes()).ok_or(DiscoveryError::Malformed)?;
        match document.get("issuer").and_then(Value::as_str) {
            Some(said) if said == issuer => {}
            Some(said) => return Err(DiscoveryError::Issuer(quoted(said, 80))),
            None => return Err(DiscoveryError::Issuer("nobody".to_owned())),
        }
        // A provider on the network has no business with what listens on this machine.
        let http_too = Url::parse(issuer).is_ok_and(|issuer| is_local(&issuer));
        let endpoint = |member| {
            let url = document.get(member).and_then(Value::as_str).and_then(|url| Url::parse(url).ok());
            let fit = url.filter(|url| is_endpoint(url, http_too && is_local(url)));
            fit.ok_or(DiscoveryError::Endpoint(member))
        };
        if !has(&document, "response_types_supported", "code").unwrap_or(false) {
            return Err(DiscoveryError::Lacks { member: "response_types_supported", value: "code" });
        }
        // Some that know S256 do not say so; none may say that they do not.
        if !has(&document, "code_challenge_methods_supported", "S256").unwrap_or(true) {
            return Err(DiscoveryError::Lacks { member: "code_challenge_methods_supported", value: "S256" });
        }
        const PROOFS: &str = "token_endpoint_auth_methods_supported";
        let proof = match (
            has(&document, PROOFS, "client_secret_basic"),
            has(&document, PROOFS, "client_secret_post"),
        ) {
            (None | Some(true), _) => Proof::Basic,
            (Some(false), Some(true)) => Proof::Post,
            (Some(false), None | Some(false)) => Proof::Basic,
        };
        const ALGORITHMS: &str = "id_token_signing_alg_values_supported";
        let algorithms: Vec<_> = Algorithm::ALL
            .into_iter()
            .filter(|alg| has(&document, ALGORITHMS, alg.as_str()).unwrap_or(false))
            .collect();
        if algorithms.is_empty() {
            return Err(DiscoveryError::Lacks { member: ALGORITHMS, value: "RS256" });
        }
        Ok(Self {
            authorization: endpoint("authorization_endpoint")?,
            token: endpoint("token_endpoint")?,
            keys: endpoint("jwks_uri")?,
            proof,
            algorithms,
            names_itself: document.get("authorization_response_iss_parameter_supported")
                == Some(&Value::Bool(true)),
        })
    }
}

/// Whether a list has a text; none when there is no such member. What is no list has nothing.
fn has(document: &Map<String, Value>, member: &str, text: &str) -> Option<bool> {
    let listed = document.get(member)?;
    Some(listed.as_array().is_some_and(|list| list.iter().any(|value| value == text)))
}
