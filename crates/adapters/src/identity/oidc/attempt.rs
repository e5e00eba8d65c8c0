//! One attempt to sign in, from the way out to the way back.

use aws_lc_rs::{
    digest, hmac,
    rand::{SecureRandom as _, SystemRandom},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use holdpoint_domain::{Millis, Timestamp};

use super::party::OidcError;

/// How long a person may take at the provider.
pub(super) const MAX_ATTEMPT: Millis = Millis::secs(10 * 60);
/// Bytes of an attempt's secret.
const SECRET_LEN: usize = 32;
/// Longest way back.
const MAX_NEXT_LEN: usize = 1_024;

/// What the browser keeps of an attempt, and nobody else.
///
/// Everything that the provider and the address bar get to see is derived from it one way, each for its own purpose. The time and
/// the way back are part of what is derived from: with others, the answer's `state` is another.
pub(super) struct Attempt {
    secret: [u8; SECRET_LEN],
    begun: Timestamp,
    next: String,
}

impl Attempt {
    /// A fresh one.
    pub(super) fn new(next: &str, now: Timestamp) -> Result<Self, OidcError> {
        let mut secret = [0; SECRET_LEN];
        SystemRandom::new().fill(&mut secret).map_err(|_| OidcError::Random)?;
        let next = if next.len() <= MAX_NEXT_LEN { next.to_owned() } else { "/".to_owned() };
        Ok(Self { secret, begun: now, next })
    }

    /// The attempt of a cookie that is not too old, whatever its browser was told of its end.
    pub(super) fn read(cookie: &str, now: Timestamp) -> Result<Self, OidcError> {
        let mut parts = cookie.split('.');
        let (Some(secret), Some(begun), Some(next), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(OidcError::NotBegun);
        };
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| OidcError::NotBegun);
        let secret = decode(secret)?.try_into().map_err(|_| OidcError::NotBegun)?;
        let begun = begun.parse().ok().and_then(|ms| Timestamp::from_ms(ms).ok());
        let begun = begun.ok_or(OidcError::NotBegun)?;
        let next = String::from_utf8(decode(next)?).map_err(|_| OidcError::NotBegun)?;
        if now.since(begun) >= MAX_ATTEMPT || begun > now {
            return Err(OidcError::Late);
        }
        Ok(Self { secret, begun, next })
    }

    /// What the browser keeps.
    pub(super) fn cookie(&self) -> String {
        let (secret, next) = (URL_SAFE_NO_PAD.encode(self.secret), URL_SAFE_NO_PAD.encode(&self.next));
        format!("{secret}.{}.{next}", self.begun.ms())
    }

    /// When it was begun.
    pub(super) const fn begun(&self) -> Timestamp {
        self.begun
    }

    /// Where the person wanted to go.
    pub(super) fn into_next(self) -> String {
        self.next
    }

    /// `state` (RFC 6749, section 10.12).
    pub(super) fn state(&self) -> String {
        self.derived("state")
    }

    /// Whether an answer's `state` is this attempt's, in constant time.
    pub(super) fn is_state(&self, state: &str) -> bool {
        let tag = URL_SAFE_NO_PAD.decode(state).unwrap_or_default();
        hmac::verify(&self.key(), &self.message("state"), &tag).is_ok()
    }

    /// `nonce` (OpenID Connect Core 1.0, section 3.1.2.1).
    pub(super) fn nonce(&self) -> String {
        self.derived("nonce")
    }

    /// `code_verifier` (RFC 7636, section 4.1).
    pub(super) fn verifier(&self) -> String {
        self.derived("verifier")
    }

    /// `code_challenge`, by the method `S256`.
    pub(super) fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, self.verifier().as_bytes()))
    }

    fn derived(&self, purpose: &str) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.key(), &self.message(purpose)))
    }

    fn key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.secret)
    }

    fn message(&self, purpose: &str) -> Vec<u8> {
        format!("holdpoint/sign-in/{purpose}\n{}\n{}", self.begun.ms(), self.next).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_ms(ms).unwrap()
    }

    fn of(cookie: &str, ms: u64) -> Result<Attempt, OidcError> {
        Attempt::read(cookie, at(ms))
    }

    #[test]
    fn t10_what_others_see_of_an_attempt_is_no_other_ones_and_not_its_secret() {
        let one = Attempt::new("/holds/hold-1", at(1_000)).unwrap();
        let back = of(&one.cookie(), 1_000).unwrap();
        assert!(back.is_state(&one.state()));
        assert_eq!((back.nonce(), back.verifier(), back.begun()), (one.nonce(), one.verifier(), at(1_000)));
        let two = Attempt::new("/holds/hold-1", at(1_000)).unwrap();
        let mut seen =
            [one.state(), one.nonce(), one.verifier(), one.challenge(), two.state(), two.nonce()].to_vec();
        seen.push(URL_SAFE_NO_PAD.encode(one.secret));
        assert!(
            seen.iter().all(|text| text.len() == 43),
            "RFC 7636 wants 43 to 128 characters of a verifier"
        );
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 7);
        for state in ["", "x", &two.state(), &one.nonce(), &format!("{}A", one.state()), &one.state()[1..]] {
            assert!(!one.is_state(state), "{state}");
        }
        assert_eq!(back.into_next(), "/holds/hold-1");
    }

    #[test]
    fn t10_a_cookie_with_another_time_or_way_back_has_another_state() {
        let one = Attempt::new("/", at(5_000)).unwrap();
        let cookie = one.cookie();
        let parts: Vec<_> = cookie.split('.').collect();
        let elsewhere = URL_SAFE_NO_PAD.encode("//evil.example");
        for other in [format!("{}.6000.{}", parts[0], parts[2]), format!("{}.5000.{elsewhere}", parts[0])] {
            assert!(!of(&other, 7_000).unwrap().is_state(&one.state()), "{other}");
        }
    }

    #[test]
    fn t25_an_attempt_ends_after_ten_minutes_whoever_keeps_its_cookie() {
        let cookie = Attempt::new("/", at(5_000)).unwrap().cookie();
        assert!(of(&cookie, 5_000 + MAX_ATTEMPT.ms() - 1).is_ok());
        for late in [5_000 + MAX_ATTEMPT.ms(), u64::from(u32::MAX), 4_999] {
            assert!(matches!(of(&cookie, late), Err(OidcError::Late)), "{late}");
        }
        let long = Attempt::new(&"/".repeat(2_000), at(0)).unwrap();
        assert_eq!(long.next, "/");
        for bad in
            ["", ".", "..", "a.b.c", &cookie[1..], &format!("{cookie}.x"), &format!("{cookie}="), "AAAA.1.AA"]
        {
            assert!(matches!(of(bad, 5_000), Err(OidcError::NotBegun)), "{bad}");
        }
    }
}
