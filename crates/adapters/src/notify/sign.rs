//! Signatures of webhooks, as <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md> has
//! them: HMAC-SHA256 over `id.timestamp.body`.

use std::{fmt, path::Path};

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::ChannelError;
use crate::system::key_file;

/// How old a timestamp may be before a receiver should refuse it: what the libraries of the format do.
pub const SIGNATURE_TOLERANCE_SECS: u64 = 5 * 60;
/// What a secret begins with.
const PREFIX: &str = "whsec_";
/// Fewest and most bytes of a secret, by the format.
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;

/// A secret that this gate and one receiver share.
#[derive(Clone)]
pub struct SigningSecret(hmac::Key);

impl SigningSecret {
    /// Reads `whsec_` and 24 to 64 bytes in base64.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text.strip_prefix(PREFIX)?).ok()?;
        // A secret of one repeated byte is a placeholder that somebody forgot.
        let is_random = bytes.iter().any(|byte| bytes.first() != Some(byte));
        (LENGTHS.contains(&bytes.len()) && is_random).then(|| Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// Reads a secret from a file that nobody but its owner may read.
    ///
    /// # Errors
    /// A file that is not there or not its owner's alone, or one with something else in it.
    pub fn read(path: &Path) -> Result<Self, ChannelError> {
        let failed = |why: String| ChannelError::File { path: path.to_owned(), why };
        let text = key_file::line(path).map_err(|err| failed(err.to_string()))?;
        let (fewest, most) = (LENGTHS.start(), LENGTHS.end());
        let expected = || format!("expected `{PREFIX}` and {fewest} to {most} random bytes in base64");
        Self::parse(&text).ok_or_else(|| failed(expected()))
    }

    /// The signature of a message: `v1,` and the code in base64.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp_secs: u64, body: &str) -> String {
        let tag = hmac::sign(&self.0, format!("{id}.{timestamp_secs}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(tag.as_ref()))
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of the reference libraries.
    #[test]
    fn the_published_vector_holds() {
        let secret = SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn whatever_is_signed_changes_the_signature() {
        let secret = SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let other = SigningSecret::parse("whsec_NfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signatures = [
            secret.sign("msg_1", 1, "{}"),
            secret.sign("msg_2", 1, "{}"),
            secret.sign("msg_1", 2, "{}"),
            secret.sign("msg_1", 1, "{ }"),
            other.sign("msg_1", 1, "{}"),
        ];
        assert_eq!(signatures.iter().collect::<std::collections::BTreeSet<_>>().len(), signatures.len());
    }

    #[test]
    fn t40_a_secret_that_is_none_is_refused() {
        let long = format!("whsec_{}", STANDARD.encode([1; 65]));
        let zeros = format!("whsec_{}", STANDARD.encode([0; 32]));
        let refused =
            ["", "whsec_", "whsec_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!!!", &long, &zeros];
        for text in refused {
            assert!(SigningSecret::parse(text).is_none(), "{text:?} is taken as a secret");
        }
    }

    #[test]
    fn inv12_t29_a_secret_does_not_show() {
        let secret = SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        assert_eq!(format!("{secret:?}"), "***");
    }
}
