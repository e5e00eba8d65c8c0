//! An authenticator in software, with an Ed25519 passkey: what plays people in the demo and in tests. It keeps its key in memory
//! and asks nobody, so a passkey of its kind proves no presence: no console registers it by itself.

use ed25519_dalek::{Signer as _, SigningKey};

use super::{Algorithm, Assertion, Bytes, CeremonyKind, CredentialId, Passkey, PasskeyError, challenge};
use crate::{Digest, Id, id::kind};

/// An authenticator with one passkey.
pub struct Authenticator {
    key: SigningKey,
    /// What its public half is registered as.
    pub passkey: Passkey,
    /// What it says of its user: present, verified.
    pub flags: u8,
}

impl Authenticator {
    /// The one with this seed, at a console's origin.
    pub fn new(seed: [u8; 32], origin: &str, act: Id<kind::Act>) -> Result<Self, PasskeyError> {
        let key = SigningKey::from_bytes(&seed);
        let public = key.verifying_key();
        let host = origin.split_once("://").map_or(origin, |(_, host)| host);
        let passkey = Passkey {
            id: CredentialId::new(*Digest::of_bytes(public.as_bytes()).as_bytes())?,
            algorithm: Algorithm::EdDSA,
            key: Bytes::new(*public.as_bytes()),
            rp_id: host.split_once(':').map_or(host, |(host, _)| host).to_owned(),
            origin: origin.to_owned(),
            act,
            synced: false,
        };
        Ok(Self { key, passkey, flags: 0x05 })
    }

    /// Signs a message, as a browser and an authenticator would together. `counter` is zero for one that has none.
    #[must_use]
    pub fn sign(&self, message: &[u8], counter: u32) -> Assertion {
        let challenge = Bytes::new(*challenge(message).as_bytes());
        let client_data = format!(
            r#"{{"type":"{}","challenge":"{challenge}","origin":"{}","crossOrigin":false}}"#,
            CeremonyKind::Get.as_str(),
            self.passkey.origin
        );
        let mut data = Digest::of_bytes(self.passkey.rp_id.as_bytes()).as_bytes().to_vec();
        data.push(self.flags);
        data.extend(counter.to_be_bytes());
        let signed = [&data[..], Digest::of_bytes(client_data.as_bytes()).as_bytes()].concat();
        Assertion {
            credential: self.passkey.id.clone(),
            authenticator_data: Bytes::new(data),
            client_data: Bytes::new(client_data),
            signature: Bytes::new(self.key.sign(&signed).to_bytes()),
        }
    }
}
