//! Digests, canonical JSON and salted commitments.

use std::{fmt, str::FromStr, sync::Arc};

use aws_lc_rs::digest::{Context, SHA256};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A SHA-256 digest, written `sha256:` and 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// What a digest's text begins with.
const PREFIX: &str = "sha256:";
/// How long its text is.
const TEXT_LEN: usize = PREFIX.len() + 64;

/// A text that is not a digest, or a value that has no canonical form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// Not `sha256:` and 64 lower-case hex digits.
    #[error("expected `sha256:` and 64 lower-case hex digits, got {0}")]
    Malformed(String),
    /// The value cannot be written as canonical JSON (a number that is not finite, for instance).
    #[error("value has no canonical JSON form: {0}")]
    NotCanonical(String),
}

/// Largest whole number in anything that is signed: RFC 8785 writes numbers as doubles, so of two larger ones both may be
/// written as one, and a signature over either would be one over both.
pub const MAX_WHOLE: u64 = (1 << 53) - 1;

/// Reads a whole number that canonical JSON carries exactly.
pub(crate) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = u64::deserialize(deserializer)?;
    if number > MAX_WHOLE {
        return Err(D::Error::custom(format_args!(
            "expected a whole number of at most {MAX_WHOLE}, got {number}"
        )));
    }
    Ok(number)
}

/// The RFC 8785 (JCS) form of a value: the bytes that are signed and digested.
pub fn canonical<T: Serialize>(value: &T) -> Result<Vec<u8>, DigestError> {
    canonical_with(value, None)
}

/// As [`canonical`], of a value with [`crate::canonical::KNOWN`] bytes in it.
pub(crate) fn canonical_with<T: Serialize>(
    value: &T,
    known: Option<Arc<[u8]>>,
) -> Result<Vec<u8>, DigestError> {
    crate::canonical::to_vec(value, known).map_err(|err| DigestError::NotCanonical(err.to_string()))
}

impl Digest {
    /// The digest of plain bytes.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(sha256(&[bytes]))
    }

    /// The digest of a value's canonical JSON. Every type digested this way carries its own `type` or is digested
    /// nowhere else, so that two kinds of values can never share a digest.
    pub fn of<T: Serialize>(value: &T) -> Result<Self, DigestError> {
        canonical(value).map(|bytes| Self::of_bytes(&bytes))
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The digest with these 32 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The first 12 hex digits: for people, never for a comparison.
    #[must_use]
    pub fn short(&self) -> String {
        self.with_text(|text| text.chars().skip(PREFIX.len()).take(12).collect())
    }

    /// The text, made on the stack: a record has a dozen digests.
    fn with_text<T>(&self, read: impl FnOnce(&str) -> T) -> T {
        let mut text = [0_u8; TEXT_LEN];
        let (prefix, hex) = text.split_at_mut(PREFIX.len());
        prefix.copy_from_slice(PREFIX.as_bytes());
        for (pair, byte) in hex.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 0xf)]);
        }
        // Always ASCII.
        read(std::str::from_utf8(&text).unwrap_or_default())
    }
}

/// SHA-256 of parts in a row, by the library that is fastest where the processor has no instructions for it.
fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hashing = Context::new(&SHA256);
    parts.iter().for_each(|part| hashing.update(part));
    let mut digest = [0; 32];
    digest.copy_from_slice(hashing.finish().as_ref());
    digest
}

const fn digit(nibble: u8) -> u8 {
    if nibble < 10 { nibble | b'0' } else { nibble.wrapping_add(b'a' - 10) }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_text(|text| f.write_str(text))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.with_text(|text| serializer.serialize_str(text))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::text::parsed(deserializer)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let malformed = || DigestError::Malformed(crate::text::quoted(text, 80));
        let hex = text.strip_prefix(PREFIX).filter(|hex| hex.len() == 64).ok_or_else(malformed)?;
        let mut bytes = [0_u8; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            let [high, low] = pair else { return Err(malformed()) };
            let (high, low) = (nibble(*high).ok_or_else(malformed)?, nibble(*low).ok_or_else(malformed)?);
            *byte = (high << 4) | low;
        }
        Ok(Self(bytes))
    }
}

const fn nibble(c: u8) -> Option<u8> {
    match c {
        b'0'..=b'9' => Some(c.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(c.wrapping_sub(b'a').wrapping_add(10)),
        _ => None,
    }
}

/// A salted commitment: SHA-256 over a domain separator, a 32-byte salt and the text. It binds a record to a text that
/// is kept beside the ledger and can be erased without breaking the log; without the salt it reveals nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Commitment(Digest);

/// The secret salt of a [`Commitment`], kept beside the text and erased with it.
#[derive(Clone, PartialEq, Eq)]
pub struct Salt([u8; 32]);

impl Salt {
    /// A salt of 32 bytes from a cryptographic generator; the caller brings the randomness.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Commitment {
    /// Commits to `text` under `salt`.
    #[must_use]
    pub fn to(salt: &Salt, text: &[u8]) -> Self {
        Self(Digest(sha256(&[b"holdpoint-commitment-v1\0", &salt.0, text])))
    }

    /// Whether this commitment is the one of `text` under `salt`.
    #[must_use]
    pub fn opens_to(&self, salt: &Salt, text: &[u8]) -> bool {
        Self::to(salt, text) == *self
    }

    /// The commitment as a digest.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.0
    }
}

/// Base64 of bytes that stand in JSON (signatures), without padding.
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    STANDARD_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_have_one_spelling() {
        let text = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let digest: Digest = text.parse().unwrap();
        assert_eq!(digest, Digest::of_bytes(b""));
        assert_eq!(digest.to_string(), text);
        for bad in [&text.to_uppercase(), &text[7..], "sha256:", &format!("{text}0"), &text.replace('e', "g")]
        {
            assert!(bad.parse::<Digest>().is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn canonical_json_is_rfc_8785() {
        // The example of RFC 8785 section 3.2.3 (sorting by UTF-16 code units) and of 3.2.2 (numbers, escapes).
        let value: serde_json::Value = serde_json::from_str(
            "{\"\\u20ac\":\"Euro Sign\",\"\\r\":\"Carriage Return\",\"\\ufb33\":\"Hebrew Letter Dalet With Dagesh\",\
             \"1\":\"One\",\"\\ud83d\\ude00\":\"Emoji: Grinning Face\",\"\\u0080\":\"Control\",\
             \"\\u00f6\":\"Latin Small Letter O With Diaeresis\"}",
        )
        .unwrap();
        let text = String::from_utf8(canonical(&value).unwrap()).unwrap();
        let order: Vec<_> = ["Carriage", "One", "Control", "Latin", "Euro", "Emoji", "Hebrew"]
            .map(|word| text.find(word).unwrap())
            .into();
        assert!(order.is_sorted(), "{text}");
        let numbers: serde_json::Value =
            serde_json::from_str("[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001]")
                .unwrap();
        assert_eq!(canonical(&numbers).unwrap(), b"[333333333.3333333,1e+30,4.5,0.002,1e-27]");
    }

    #[test]
    fn inv12_a_commitment_needs_its_salt() {
        let (salt, other) = (Salt::new([7; 32]), Salt::new([8; 32]));
        let commitment = Commitment::to(&salt, b"hunter2");
        assert!(commitment.opens_to(&salt, b"hunter2"));
        assert!(!commitment.opens_to(&other, b"hunter2"));
        assert!(!commitment.opens_to(&salt, b"hunter3"));
        assert_eq!(format!("{salt:?}"), "***");
    }
}
