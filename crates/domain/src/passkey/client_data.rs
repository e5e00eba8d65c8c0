//! What the browser says of the page that a passkey was used in (Web Authentication Level 3, section 5.8.1). It is signed.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;

use super::PasskeyError;
use crate::text::quoted;

/// What a passkey was used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CeremonyKind {
    /// To register it.
    Create,
    /// To sign with it.
    Get,
}

impl CeremonyKind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "webauthn.create",
            Self::Get => "webauthn.get",
        }
    }
}

/// Client data of the right type. Further members are for browsers to come (section 5.8.1); a member that stands twice is two
/// readers' two answers, and refused.
#[derive(Deserialize)]
pub(super) struct ClientData {
    r#type: String,
    challenge: String,
    origin: String,
    #[serde(default, rename = "crossOrigin")]
    cross_origin: Option<bool>,
    #[serde(default, rename = "topOrigin")]
    top_origin: Option<String>,
}

impl ClientData {
    pub(super) fn read(json: &[u8], kind: CeremonyKind) -> Result<Self, PasskeyError> {
        // A list would be read as the fields in order.
        if json.first() != Some(&b'{') {
            return Err(PasskeyError::ClientData("expected an object".to_owned()));
        }
        let data: Self = serde_json::from_slice(json)
            .map_err(|err| PasskeyError::ClientData(crate::text::visible(&err.to_string())))?;
        if data.r#type == kind.as_str() {
            return Ok(data);
        }
        Err(PasskeyError::Ceremony { expected: kind.as_str(), got: quoted(&data.r#type, 40) })
    }

    pub(super) fn check(&self, origin: &str, challenge: &[u8]) -> Result<(), PasskeyError> {
        // Decoding refuses padding and unused bits: one spelling.
        let signed = URL_SAFE_NO_PAD.decode(&self.challenge).map_err(|_| PasskeyError::Challenge)?;
        if signed != challenge {
            return Err(PasskeyError::Challenge);
        }
        if self.origin != origin {
            let (expected, got) = (origin.to_owned(), quoted(&self.origin, 120));
            return Err(PasskeyError::Origin { expected, got });
        }
        if self.cross_origin == Some(true) || self.top_origin.is_some() {
            return Err(PasskeyError::CrossOrigin);
        }
        Ok(())
    }
}
