//! Issuers of somebody else's make, that say whatever they are told to.

use aws_lc_rs::{
    encoding::AsDer as _,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair as _, RsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use holdpoint_adapters::identity::Algorithm;
use holdpoint_domain::actor::TrustDomain;
use serde_json::{Value, json};

use super::support::NOW_MS;

pub(super) const NOW: u64 = NOW_MS / 1000;
pub(super) const AUDIENCE: &str = "holdpoint.example.org";
pub(super) const SUBJECT: &str = "spiffe://example.org/agent/holmes/decide";

pub(super) fn domain(name: &str) -> TrustDomain {
    TrustDomain::parse(name).unwrap()
}

/// A key of any kind that JWT-SVIDs may be signed with.
pub(super) enum Forge {
    Ec { key: EcdsaKeyPair, alg: Algorithm },
    Rsa { key: RsaKeyPair },
}

impl Forge {
    /// A P-256 key.
    pub(super) fn new() -> Self {
        Self::ec(Algorithm::Es256)
    }

    pub(super) fn ec(alg: Algorithm) -> Self {
        let signing: &'static EcdsaSigningAlgorithm = match alg.as_str() {
            "ES256" => &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
            "ES384" => &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
            "ES512" => &signature::ECDSA_P521_SHA512_FIXED_SIGNING,
            other => panic!("{other} is not over a curve"),
        };
        let document = EcdsaKeyPair::generate_pkcs8(signing, &SystemRandom::new()).unwrap();
        Self::Ec { key: EcdsaKeyPair::from_pkcs8(signing, document.as_ref()).unwrap(), alg }
    }

    pub(super) fn rsa(size: KeySize) -> Self {
        Self::Rsa { key: RsaKeyPair::generate(size).unwrap() }
    }

    /// The public key, for JWT-SVIDs.
    pub(super) fn jwk(&self, kid: &str) -> Value {
        match self {
            Self::Ec { key, alg } => {
                let crv = match alg.as_str() {
                    "ES256" => "P-256",
                    "ES384" => "P-384",
                    _ => "P-521",
                };
                let point = &key.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                json!({
                    "kty": "EC", "crv": crv, "kid": kid, "use": "jwt-svid",
                    "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
                })
            }
            Self::Rsa { key } => {
                let key = key.public_key();
                let (n, e) = (key.modulus(), key.exponent());
                json!({
                    "kty": "RSA", "kid": kid, "use": "jwt-svid",
                    "n": URL_SAFE_NO_PAD.encode(n.big_endian_without_leading_zero()),
                    "e": URL_SAFE_NO_PAD.encode(e.big_endian_without_leading_zero()),
                })
            }
        }
    }

    /// A document with this key alone.
    pub(super) fn jwks(&self, kid: &str) -> String {
        json!({ "keys": [self.jwk(kid)] }).to_string()
    }

    /// The bytes of the public key: what a confused verifier would take for a shared secret.
    pub(super) fn public_bytes(&self) -> Vec<u8> {
        match self {
            Self::Ec { key, .. } => key.public_key().as_ref().to_vec(),
            Self::Rsa { key } => key.public_key().as_der().unwrap().as_ref().to_vec(),
        }
    }

    /// Signs any two texts, with the algorithm of the key (RS256 for RSA).
    pub(super) fn sign(&self, header: &str, claims: &str) -> String {
        let alg = match self {
            Self::Ec { alg, .. } => *alg,
            Self::Rsa { .. } => Algorithm::Rs256,
        };
        self.sign_as(alg, header, claims)
    }

    /// Signs any two texts.
    pub(super) fn sign_as(&self, alg: Algorithm, header: &str, claims: &str) -> String {
        let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = match self {
            Self::Ec { key, .. } => {
                key.sign(&SystemRandom::new(), input.as_bytes()).unwrap().as_ref().to_vec()
            }
            Self::Rsa { key } => {
                let mut bytes = vec![0; key.public_modulus_len()];
                let padding: &'static dyn signature::RsaEncoding = match alg.as_str() {
                    "RS256" => &signature::RSA_PKCS1_SHA256,
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    "PS512" => &signature::RSA_PSS_SHA512,
                    other => panic!("{other} is not of RSA"),
                };
                key.sign(padding, &SystemRandom::new(), input.as_bytes(), &mut bytes).unwrap();
                bytes
            }
        };
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

pub(super) fn header() -> Value {
    json!({"alg": "ES256", "kid": "k1", "typ": "JWT"})
}

pub(super) fn claims() -> Value {
    json!({"sub": SUBJECT, "aud": [AUDIENCE], "exp": NOW + 300, "iat": NOW})
}

pub(super) fn with(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}

pub(super) fn without(mut object: Value, name: &str) -> Value {
    object.as_object_mut().unwrap().remove(name);
    object
}
