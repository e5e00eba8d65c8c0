//! The registration of passkeys, by `webauthn-rs`: it chooses the challenge, and checks what the browser and the authenticator made
//! of it (Web Authentication Level 3, section 7.1). What a registered passkey signs is checked by `holdpoint_domain::passkey`.

use std::time::Duration;

use holdpoint_domain::{
    Id,
    id::kind,
    passkey::{Algorithm, Bytes, CredentialId, Passkey, PasskeyError},
};
use webauthn_rs_core::{
    WebauthnCore,
    error::WebauthnError,
    proto::{
        AttestationConveyancePreference, COSEAlgorithm, COSEEC2Key, COSEKey, COSEKeyType, Credential,
        RegisterPublicKeyCredential, RegistrationState, UserVerificationPolicy,
    },
};

/// How long a registration may take in the browser.
pub const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// The console, as passkeys are registered for it.
pub struct Registrar {
    core: WebauthnCore,
    rp_id: String,
    origin: String,
}

/// A registration under way: what was asked for, until the browser answers. It is good once.
pub struct Registration {
    state: RegistrationState,
    act: Id<kind::Act>,
}

/// Why there is no passkey.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// The console's origin is no URL.
    #[error("the console's origin is no URL")]
    Origin,
    /// What the browser sent has not the form of a registration.
    #[error("expected the answer of `navigator.credentials.create`")]
    Malformed(#[source] serde_json::Error),
    /// The registration does not hold.
    #[error("the registration does not hold: {0}")]
    Refused(WebauthnError),
    /// A key of a kind that is not taken.
    #[error("expected a key for ES256, ES384, EdDSA or RS256")]
    Algorithm,
    /// An id or a key of no sensible length.
    #[error(transparent)]
    Passkey(#[from] PasskeyError),
}

impl Registrar {
    /// For the console at `origin`.
    pub fn new(origin: &str) -> Result<Self, RegistrationError> {
        let url = reqwest::Url::parse(origin).map_err(|_| RegistrationError::Origin)?;
        let rp_id = url.host_str().ok_or(RegistrationError::Origin)?.to_owned();
        // No subdomains, and no other port: the origin, and nothing beside it.
        let core = WebauthnCore::new_unsafe_experts_only(
            "Holdpoint",
            &rp_id,
            vec![url],
            PATIENCE,
            Some(false),
            Some(false),
        );
        Ok(Self { core, rp_id, origin: origin.to_owned() })
    }

    /// Begins a registration: what the browser is to be asked (`PublicKeyCredentialCreationOptions` as JSON), and what is remembered
    /// until it answers. `known` are passkeys that the person has already: their authenticators say so instead of making another.
    pub fn begin(
        &self,
        person: &Id<kind::Person>,
        act: Id<kind::Act>,
        known: &[Passkey],
    ) -> Result<(serde_json::Value, Registration), RegistrationError> {
        let name = person.as_str();
        let builder = self
            .core
            .new_challenge_register_builder(name.as_bytes(), name, name)
            .map_err(RegistrationError::Refused)?
            .attestation(AttestationConveyancePreference::None)
            .credential_algorithms(vec![
                COSEAlgorithm::ES256,
                COSEAlgorithm::EDDSA,
                COSEAlgorithm::ES384,
                COSEAlgorithm::RS256,
            ])
            .require_resident_key(true)
            .user_verification_policy(UserVerificationPolicy::Required)
            .exclude_credentials(Some(known.iter().map(|passkey| passkey.id.as_slice().to_vec()).collect()));
        let (options, state) =
            self.core.generate_challenge_register(builder).map_err(RegistrationError::Refused)?;
        let options = serde_json::to_value(options).map_err(RegistrationError::Malformed)?;
        Ok((options, Registration { state, act }))
    }

    /// Ends a registration with what the browser answered.
    pub fn finish(
        &self,
        registration: &Registration,
        answer: serde_json::Value,
    ) -> Result<Passkey, RegistrationError> {
        let answer: RegisterPublicKeyCredential =
            serde_json::from_value(answer).map_err(RegistrationError::Malformed)?;
        let made = self
            .core
            .register_credential(&answer, &registration.state, None)
            .map_err(RegistrationError::Refused)?;
        if !made.user_verified {
            return Err(RegistrationError::Refused(WebauthnError::UserNotVerified));
        }
        self.passkey(&made, registration.act.clone())
    }

    fn passkey(&self, made: &Credential, act: Id<kind::Act>) -> Result<Passkey, RegistrationError> {
        let (algorithm, key) = key(&made.cred).ok_or(RegistrationError::Algorithm)?;
        let id: &[u8] = made.cred_id.as_ref();
        let passkey = Passkey {
            id: CredentialId::new(id)?,
            algorithm,
            key: Bytes::new(key),
            rp_id: self.rp_id.clone(),
            origin: self.origin.clone(),
            act,
            synced: made.backup_eligible,
        };
        if passkey.is_well_formed() { Ok(passkey) } else { Err(RegistrationError::Algorithm) }
    }
}

/// A key in the form that its verifier takes.
fn key(cose: &COSEKey) -> Option<(Algorithm, Vec<u8>)> {
    match (&cose.key, cose.type_) {
        (COSEKeyType::EC_EC2(point), COSEAlgorithm::ES256) => Some((Algorithm::ES256, uncompressed(point))),
        (COSEKeyType::EC_EC2(point), COSEAlgorithm::ES384) => Some((Algorithm::ES384, uncompressed(point))),
        (COSEKeyType::EC_OKP(point), COSEAlgorithm::EDDSA) => Some((Algorithm::EdDSA, point.x.clone())),
        (COSEKeyType::RSA(key), COSEAlgorithm::RS256) => {
            Some((Algorithm::RS256, rsa_public_key(&key.n, &key.e)?))
        }
        _ => None,
    }
}

/// An uncompressed point (SEC 1, section 2.3.3).
fn uncompressed(point: &COSEEC2Key) -> Vec<u8> {
    [&[4], &point.x[..], &point.y[..]].concat()
}

/// `RSAPublicKey` in DER (RFC 8017, appendix A.1.1).
fn rsa_public_key(modulus: &[u8], exponent: &[u8]) -> Option<Vec<u8>> {
    let numbers = [integer(modulus)?, integer(exponent)?].concat();
    element(0x30, &numbers)
}

/// A positive INTEGER in DER: no zeros in front but the one that keeps it positive.
fn integer(bytes: &[u8]) -> Option<Vec<u8>> {
    let first = bytes.iter().position(|byte| *byte != 0)?;
    let digits = bytes.get(first..)?;
    let sign: &[u8] = if digits.first()? & 0x80 == 0 { &[] } else { &[0] };
    element(0x02, &[sign, digits].concat())
}

fn element(tag: u8, content: &[u8]) -> Option<Vec<u8>> {
    let len = content.len();
    let head = match u8::try_from(len) {
        Ok(short) if short < 0x80 => vec![tag, short],
        Ok(byte) => vec![tag, 0x81, byte],
        Err(_) => {
            let [high, low] = u16::try_from(len).ok()?.to_be_bytes();
            vec![tag, 0x82, high, low]
        }
    };
    Some([head, content.to_vec()].concat())
}
