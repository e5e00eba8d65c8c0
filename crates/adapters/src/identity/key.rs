//! Public keys of tokens, and the algorithms that fit them: RFC 7517 and 7518, as far as the JWT-SVID standard allows them.

use std::fmt;

use aws_lc_rs::signature::{
    self, EcdsaVerificationAlgorithm, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

/// Longest key id.
pub(super) const MAX_KID_LEN: usize = 128;
/// Shortest and longest modulus, in bits: below it is too weak, beyond it a check costs too much.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// Longest public exponent, in bytes. Everybody uses 65537.
const MAX_EXPONENT_LEN: usize = 4;

/// A signature algorithm of JWT-SVIDs. There is no word for any other one: neither `none`, nor `HS256`, nor `EdDSA`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// ECDSA over P-256 with SHA-256.
    Es256,
    /// ECDSA over P-384 with SHA-384.
    Es384,
    /// ECDSA over P-521 with SHA-512.
    Es512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
}

impl Algorithm {
    /// All algorithms.
    pub const ALL: [Self; 9] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
    ];

    /// The value of `alg`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
        }
    }

    /// The algorithm of this `alg`, byte for byte.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|alg| alg.as_str() == text)
    }

    const fn rsa(self) -> Option<&'static RsaParameters> {
        match self {
            Self::Rs256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
            Self::Rs384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
            Self::Rs512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
            Self::Ps256 => Some(&signature::RSA_PSS_2048_8192_SHA256),
            Self::Ps384 => Some(&signature::RSA_PSS_2048_8192_SHA384),
            Self::Ps512 => Some(&signature::RSA_PSS_2048_8192_SHA512),
            Self::Es256 | Self::Es384 | Self::Es512 => None,
        }
    }
}

/// A public key, with every algorithm that it may be used with.
#[derive(Clone)]
pub struct PublicKey {
    // INVARIANT: each algorithm fits the type, the curve and the `alg` of the key.
    uses: Vec<(Algorithm, ParsedPublicKey)>,
    signature_len: usize,
}

/// Why a key is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A kind of key that no algorithm of ours uses.
    #[error("no algorithm of JWT-SVIDs uses a key of this type or curve")]
    Unknown,
    /// No `kid`, or a longer one than we keep.
    #[error("expected a `kid` of 1 to {MAX_KID_LEN} bytes")]
    KeyId,
    /// A private key: whoever puts one into a public document has lost it.
    #[error("this is a private key: it is known to everybody now")]
    Private,
    /// `alg`, `key_ops` or a member that the type needs.
    #[error("`{0}` is missing, of another type, or does not fit the key")]
    Member(&'static str),
    /// A modulus of another size.
    #[error("expected an RSA modulus of {} to {} bits", RSA_BITS.start(), RSA_BITS.end())]
    Size,
    /// Not a point of its curve, or no RSA key.
    #[error("these numbers are no public key")]
    Numbers,
}

impl PublicKey {
    /// Reads a JWK. `use` is the caller's to look at.
    pub fn parse(jwk: &Map<String, Value>) -> Result<Self, KeyError> {
        let only = match jwk.get("alg") {
            None => None,
            Some(alg) => Some(alg.as_str().and_then(Algorithm::parse).ok_or(KeyError::Member("alg"))?),
        };
        let kty = jwk.get("kty").and_then(Value::as_str).ok_or(KeyError::Member("kty"))?;
        if ["d", "p", "q", "dp", "dq", "qi", "oth", "k"].iter().any(|name| jwk.contains_key(*name)) {
            return Err(KeyError::Private);
        }
        let verifies = |ops: &Value| ops.as_array().is_some_and(|ops| ops.contains(&Value::from("verify")));
        if !jwk.get("key_ops").is_none_or(verifies) {
            return Err(KeyError::Member("key_ops"));
        }
        let mut key = match kty {
            "RSA" => rsa(jwk)?,
            "EC" => ec(jwk)?,
            _ => return Err(KeyError::Unknown),
        };
        key.uses.retain(|(alg, _)| only.is_none_or(|only| only == *alg));
        if key.uses.is_empty() { Err(KeyError::Member("alg")) } else { Ok(key) }
    }

    /// Whether the algorithm may be used with this key at all.
    #[must_use]
    pub fn fits(&self, alg: Algorithm) -> bool {
        self.uses.iter().any(|(known, _)| *known == alg)
    }

    /// Whether `signature`, in base64url without padding, is this key's over `signed`. There is one spelling of a signature:
    /// its full length, no padding, no spare bits.
    #[must_use]
    pub fn holds(&self, alg: Algorithm, signed: &[u8], signature: &str) -> bool {
        let key = self.uses.iter().find(|(known, _)| *known == alg).map(|(_, key)| key);
        let bytes = URL_SAFE_NO_PAD.decode(signature).ok().filter(|bytes| bytes.len() == self.signature_len);
        match (key, bytes) {
            (Some(key), Some(bytes)) => key.verify_sig(signed, &bytes).is_ok(),
            (None, _) | (_, None) => false,
        }
    }
}

/// The bytes of a member in base64url.
fn bytes(jwk: &Map<String, Value>, name: &'static str) -> Result<Vec<u8>, KeyError> {
    let text = jwk.get(name).and_then(Value::as_str).ok_or(KeyError::Member(name))?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyError::Member(name))
}

fn rsa(jwk: &Map<String, Value>) -> Result<PublicKey, KeyError> {
    let (n, e) = (bytes(jwk, "n")?, bytes(jwk, "e")?);
    // No byte more than the number needs (RFC 7518, section 2), so that the first bit that counts is in the first byte.
    let first = n.first().copied().filter(|first| *first != 0).ok_or(KeyError::Member("n"))?;
    let spare = usize::try_from(first.leading_zeros()).unwrap_or(0);
    let bits = n.len().saturating_mul(8).saturating_sub(spare);
    if !RSA_BITS.contains(&bits) {
        return Err(KeyError::Size);
    }
    let odd = e.last().is_some_and(|last| last & 1 == 1) && e.first() != Some(&0) && e != [1];
    if e.len() > MAX_EXPONENT_LEN || !odd {
        return Err(KeyError::Member("e"));
    }
    let signature_len = n.len();
    let components = RsaPublicKeyComponents { n, e };
    let uses = Algorithm::ALL.into_iter().filter_map(|alg| Some((alg, alg.rsa()?)));
    let uses = uses.map(|(alg, params)| Ok((alg, components.to_parsed_public_key(params)?)));
    let uses = uses.collect::<Result<_, aws_lc_rs::error::KeyRejected>>().map_err(|_| KeyError::Numbers)?;
    Ok(PublicKey { uses, signature_len })
}

fn ec(jwk: &Map<String, Value>) -> Result<PublicKey, KeyError> {
    let crv = jwk.get("crv").and_then(Value::as_str).ok_or(KeyError::Member("crv"))?;
    let (alg, params, len): (_, &'static EcdsaVerificationAlgorithm, usize) = match crv {
        "P-256" => (Algorithm::Es256, &signature::ECDSA_P256_SHA256_FIXED, 32),
        "P-384" => (Algorithm::Es384, &signature::ECDSA_P384_SHA384_FIXED, 48),
        "P-521" => (Algorithm::Es512, &signature::ECDSA_P521_SHA512_FIXED, 66),
        _ => return Err(KeyError::Unknown),
    };
    // Both coordinates have the length of the curve, leading zeros included (RFC 7518, section 6.2.1.2).
    let coordinate = |name| match bytes(jwk, name) {
        Ok(bytes) if bytes.len() == len => Ok(bytes),
        Ok(_) | Err(_) => Err(KeyError::Member(name)),
    };
    let point = [vec![4], coordinate("x")?, coordinate("y")?].concat();
    let key = ParsedPublicKey::new(params, point).map_err(|_| KeyError::Numbers)?;
    Ok(PublicKey { uses: vec![(alg, key)], signature_len: len.saturating_mul(2) })
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.uses.iter().map(|(alg, _)| alg)).finish()
    }
}
