//! The keys that tokens are checked with: a SPIFFE bundle, or any JWKS (RFC 7517), as a document.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    fs::File,
    io,
    io::Read as _,
    path::Path,
};

use holdpoint_domain::{Digest, text::quoted};
use serde_json::{Map, Value};

use super::{
    json::object,
    key::{KeyError, MAX_KID_LEN, PublicKey},
};

/// Most keys in one document.
pub(super) const MAX_KEYS: usize = 64;
/// Largest document.
pub(super) const MAX_JWKS_LEN: u64 = 256 * 1024;

/// Public keys of tokens, by their ids.
#[derive(Clone)]
pub struct Jwks {
    // INVARIANT: ids are not empty and unique.
    keys: BTreeMap<String, PublicKey>,
    digest: Digest,
}

/// What a source published: the keys that can be used, and what it says about itself.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// The keys; there may be none, and then nobody of this source is believed.
    pub keys: Jwks,
    /// `spiffe_sequence`.
    pub sequence: Option<u64>,
    /// `spiffe_refresh_hint`, in seconds.
    pub refresh_hint_secs: Option<u64>,
    /// Certificates of X.509 authorities (`x509-svid`), DER.
    pub x509_authorities: Vec<Vec<u8>>,
    /// Keys for tokens that were passed over, and why.
    pub passed_over: Vec<(String, KeyError)>,
}

/// Which keys of a document are for tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uses {
    /// A SPIFFE bundle: `jwt-svid` alone; whatever says nothing is ignored, as its standard wants it.
    Spiffe,
    /// Any JWKS: `sig`, `jwt-svid`, or nothing said.
    Any,
}

/// What is wrong with a document of keys. The fault is with whoever configured or published it.
#[derive(Debug, thiserror::Error)]
pub enum JwksError {
    /// It cannot be read.
    #[error("the key set cannot be read")]
    Io(#[from] io::Error),
    /// Not a JWKS, a name that stands twice, or too large.
    #[error("expected a JWKS of at most {MAX_KEYS} keys and {MAX_JWKS_LEN} bytes, without duplicate names")]
    Malformed,
    /// A sequence or refresh hint that is no whole number.
    #[error("expected `{0}` to be a whole number")]
    Number(&'static str),
    /// A key for tokens that cannot be used.
    #[error("key {kid}: {why}")]
    Key {
        /// Its id, made visible.
        kid: String,
        /// What is wrong with it.
        why: KeyError,
    },
    /// Two keys for tokens with one id.
    #[error("key {0} stands twice")]
    Twice(String),
    /// No key for tokens at all.
    #[error("the key set has no key for tokens")]
    Empty,
}

impl Jwks {
    /// Reads a file.
    pub fn load(path: &Path) -> Result<Self, JwksError> {
        Self::parse(&read(path)?)
    }

    /// Reads a document that somebody vouches for: a key for tokens that cannot be used is an error, and so is a document
    /// without any. Keys for other uses are passed over.
    pub fn parse(text: &str) -> Result<Self, JwksError> {
        let bundle = Bundle::parse(text, Uses::Any)?;
        match bundle.passed_over.into_iter().next() {
            Some((kid, why)) => Err(JwksError::Key { kid, why }),
            None if bundle.keys.keys.is_empty() => Err(JwksError::Empty),
            None => Ok(bundle.keys),
        }
    }

    /// The key with this id, byte for byte.
    pub(super) fn key(&self, kid: &str) -> Option<&PublicKey> {
        self.keys.get(kid)
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether nobody is believed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The digest of the document that the keys stood in.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }
}

impl Bundle {
    /// Reads what a source published. A key that cannot be used does not keep the others from being replaced: it is passed
    /// over, so that nobody is believed by it, and a key that was withdrawn beside it is withdrawn. Of two keys with one
    /// id nobody could say which is meant: such a document is refused.
    pub fn parse(text: &str, uses: Uses) -> Result<Self, JwksError> {
        if u64::try_from(text.len()).map_or(true, |len| len > MAX_JWKS_LEN) {
            return Err(JwksError::Malformed);
        }
        let document = object(text.as_bytes()).ok_or(JwksError::Malformed)?;
        let listed = document.get("keys").and_then(Value::as_array).filter(|keys| keys.len() <= MAX_KEYS);
        let (mut keys, mut seen) = (BTreeMap::new(), BTreeSet::new());
        let (mut passed_over, mut x509_authorities) = (Vec::new(), Vec::new());
        for key in listed.ok_or(JwksError::Malformed)? {
            let jwk = key.as_object().ok_or(JwksError::Malformed)?;
            if jwk.get("use").and_then(Value::as_str) == Some("x509-svid") {
                x509_authorities.extend(certificate(jwk));
            }
            if !for_tokens(jwk, uses) {
                continue;
            }
            let kid = jwk.get("kid").and_then(Value::as_str);
            if let Some(kid) = kid
                && !seen.insert(kid.to_owned())
            {
                return Err(JwksError::Twice(quoted(kid, MAX_KID_LEN)));
            }
            let kid = kid.filter(|kid| !kid.is_empty() && kid.len() <= MAX_KID_LEN);
            match (kid.ok_or(KeyError::KeyId), PublicKey::parse(jwk)) {
                (Ok(kid), Ok(key)) => {
                    keys.insert(kid.to_owned(), key);
                }
                (Err(why), _) | (_, Err(why)) => passed_over.push((shown_kid(jwk), why)),
            }
        }
        Ok(Self {
            keys: Jwks { keys, digest: Digest::of_bytes(text.as_bytes()) },
            sequence: number(&document, "spiffe_sequence")?,
            refresh_hint_secs: number(&document, "spiffe_refresh_hint")?,
            x509_authorities,
            passed_over,
        })
    }
}

/// Reads a document, one byte beyond the limit at most.
pub(super) fn read(path: &Path) -> Result<String, JwksError> {
    let mut text = String::new();
    File::open(path)?.take(MAX_JWKS_LEN.saturating_add(1)).read_to_string(&mut text)?;
    Ok(text)
}

fn for_tokens(jwk: &Map<String, Value>, uses: Uses) -> bool {
    match (jwk.get("use").map(Value::as_str), uses) {
        (Some(Some("jwt-svid")), Uses::Spiffe | Uses::Any) | (None | Some(Some("sig")), Uses::Any) => true,
        (None | Some(_), Uses::Spiffe | Uses::Any) => false,
    }
}

/// The one certificate of an X.509 authority; none where there is another number of them.
fn certificate(jwk: &Map<String, Value>) -> Option<Vec<u8>> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    match jwk.get("x5c")?.as_array()?.as_slice() {
        [Value::String(one)] => STANDARD.decode(one).ok(),
        _ => None,
    }
}

fn number(document: &Map<String, Value>, name: &'static str) -> Result<Option<u64>, JwksError> {
    match document.get(name) {
        None => Ok(None),
        Some(value) => value.as_u64().map(Some).ok_or(JwksError::Number(name)),
    }
}

fn shown_kid(key: &Map<String, Value>) -> String {
    quoted(key.get("kid").and_then(Value::as_str).unwrap_or_default(), MAX_KID_LEN)
}

impl fmt::Debug for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.keys()).finish()
    }
}
