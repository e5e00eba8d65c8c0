//! The keys that tokens are checked with: a SPIFFE bundle, or any JWKS (RFC 7517), as a document.

use std::{collections::BTreeMap, fmt, fs::File, io, io::Read as _, path::Path};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use holdpoint_domain::text::quoted;
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};

use super::json::object;

/// Most keys in one document.
const MAX_KEYS: usize = 64;
/// Largest document.
const MAX_JWKS_LEN: u64 = 256 * 1024;
/// Longest key id.
pub(super) const MAX_KID_LEN: usize = 128;

/// P-256 keys by their ids.
#[derive(Clone)]
pub struct Jwks {
    // INVARIANT: at least one key; ids are not empty and unique.
    keys: BTreeMap<String, DecodingKey>,
}

/// What is wrong with a document of keys. The fault is with whoever configured it.
#[derive(Debug, thiserror::Error)]
pub enum JwksError {
    /// It cannot be read.
    #[error("the key set cannot be read")]
    Io(#[from] io::Error),
    /// Not a JWKS, a name that stands twice, or too large.
    #[error("expected a JWKS of at most {MAX_KEYS} keys and {MAX_JWKS_LEN} bytes, without duplicate names")]
    Malformed,
    /// A key for tokens that is not a P-256 key with an id, or that is a private one.
    #[error("key {0}: expected a public P-256 key for ES256 with a `kid` of its own")]
    Key(String),
    /// No key for tokens at all.
    #[error("the key set has no key for tokens")]
    Empty,
}

impl Jwks {
    /// Reads a file.
    pub fn load(path: &Path) -> Result<Self, JwksError> {
        let mut text = String::new();
        File::open(path)?.take(MAX_JWKS_LEN.saturating_add(1)).read_to_string(&mut text)?;
        Self::parse(&text)
    }

    /// Reads a document. Keys of a SPIFFE bundle that are not for tokens (`use` other than `jwt-svid` and `sig`) are
    /// passed over, as its standard says; a key for tokens that we cannot use is an error.
    pub fn parse(text: &str) -> Result<Self, JwksError> {
        if u64::try_from(text.len()).map_or(true, |len| len > MAX_JWKS_LEN) {
            return Err(JwksError::Malformed);
        }
        let document = object(text.as_bytes()).ok_or(JwksError::Malformed)?;
        let listed = document.get("keys").and_then(Value::as_array).filter(|keys| keys.len() <= MAX_KEYS);
        let mut keys = BTreeMap::new();
        for key in listed.ok_or(JwksError::Malformed)? {
            let key = key.as_object().ok_or(JwksError::Malformed)?;
            let for_tokens = match key.get("use") {
                None => true,
                Some(word) => matches!(word.as_str(), Some("jwt-svid" | "sig")),
            };
            if for_tokens {
                let (kid, key) = p256(key).ok_or_else(|| JwksError::Key(shown_kid(key)))?;
                if keys.insert(kid.clone(), key).is_some() {
                    return Err(JwksError::Key(quoted(&kid, MAX_KID_LEN)));
                }
            }
        }
        if keys.is_empty() { Err(JwksError::Empty) } else { Ok(Self { keys }) }
    }

    /// The key with this id, byte for byte.
    pub(super) fn key(&self, kid: &str) -> Option<&DecodingKey> {
        self.keys.get(kid)
    }
}

fn shown_kid(key: &Map<String, Value>) -> String {
    quoted(key.get("kid").and_then(Value::as_str).unwrap_or_default(), MAX_KID_LEN)
}

fn p256(key: &Map<String, Value>) -> Option<(String, DecodingKey)> {
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    let kid = text("kid").filter(|kid| !kid.is_empty() && kid.len() <= MAX_KID_LEN)?;
    let is_es256 = text("kty") == Some("EC")
        && text("crv") == Some("P-256")
        && key.get("alg").is_none_or(|alg| alg.as_str() == Some("ES256"));
    // Whoever puts a private key into a public document has lost it.
    if !is_es256 || key.contains_key("d") {
        return None;
    }
    let coordinate = |name: &str| {
        text(name).filter(|text| URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() == 32))
    };
    let key = DecodingKey::from_ec_components(coordinate("x")?, coordinate("y")?).ok()?;
    Some((kid.to_owned(), key))
}

impl fmt::Debug for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.keys()).finish()
    }
}
