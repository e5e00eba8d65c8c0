//! Signing in, before anybody knows who is there: nothing is kept of what strangers begin, so that no flood of them ends what
//! somebody else has begun.
//!
//! The name of such a ceremony carries what it needs, with a MAC by a key of this process. It is remembered only once a passkey of
//! somebody here has signed it: that one sign-in, and no second.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use holdpoint_app::port::Ids;
use holdpoint_domain::{Digest, Timestamp, passkey::CredentialId};

use super::LIFE;

/// Bytes of the number that nobody saw before, and of the whole name: that, the end, the MAC.
const NONCE_LEN: usize = 16;
const NAME_LEN: usize = NONCE_LEN + 8 + 32;
/// Sign-ins of one passkey within the life of a ceremony: more is no person.
const MAX_USED: usize = 64;

/// Sign-ins under way, and those that came to their end.
pub(super) struct SignIns {
    key: [u8; 32],
    // By passkey, with the end of each. INVARIANT: at most MAX_USED a passkey.
    used: Mutex<BTreeMap<CredentialId, Vec<Begun>>>,
}

/// A sign-in that was begun here, and is not over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Begun {
    nonce: [u8; NONCE_LEN],
    until: Timestamp,
}

impl SignIns {
    /// With a key of its own.
    pub(super) fn new(ids: &dyn Ids) -> Self {
        let mut key = [0_u8; 32];
        let halves = [ids.unique(), ids.unique()].map(u128::to_be_bytes);
        key.iter_mut().zip(halves.as_flattened()).for_each(|(byte, random)| *byte = *random);
        Self { key, used: Mutex::default() }
    }

    /// Begins one: its name, and the message that is to be signed. None when time has come to its end.
    pub(super) fn begin(&self, ids: &dyn Ids, now: Timestamp) -> Option<(String, Vec<u8>)> {
        let begun = Begun { nonce: ids.unique().to_be_bytes(), until: now.plus(LIFE).ok()? };
        let said = [begun.nonce.as_slice(), &begun.until.ms().to_be_bytes()].concat();
        let name = URL_SAFE_NO_PAD.encode([said.as_slice(), &self.mac(&said)].concat());
        Some((name, begun.message()))
    }

    /// The sign-in of a name, if it was begun here and is not over.
    pub(super) fn find(&self, name: &str, now: Timestamp) -> Option<Begun> {
        let bytes = URL_SAFE_NO_PAD.decode(name).ok().filter(|bytes| bytes.len() == NAME_LEN)?;
        let (said, mac) = bytes.split_at(NONCE_LEN.saturating_add(8));
        // Digests of both sides: how far they agree takes no time that anybody could measure.
        if Digest::of_bytes(mac) != Digest::of_bytes(&self.mac(said)) {
            return None;
        }
        let (nonce, until) = said.split_at(NONCE_LEN);
        let until = Timestamp::from_ms(u64::from_be_bytes(until.try_into().ok()?)).ok()?;
        (now < until).then_some(Begun { nonce: nonce.try_into().ok()?, until })
    }

    /// Uses one up, for a passkey that has signed it. Whether it was the first time.
    pub(super) fn use_up(&self, begun: &Begun, passkey: &CredentialId, now: Timestamp) -> bool {
        // Every change is one insert or some removals: a panic leaves nothing half-made.
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let of_passkey = used.entry(passkey.clone()).or_default();
        of_passkey.retain(|old| now < old.until);
        let is_new = !of_passkey.contains(begun) && of_passkey.len() < MAX_USED;
        if is_new {
            of_passkey.push(*begun);
        }
        is_new
    }

    /// Of one length always, so that nobody appends to it.
    fn mac(&self, said: &[u8]) -> [u8; 32] {
        *Digest::of_bytes(&[self.key.as_slice(), said].concat()).as_bytes()
    }
}

impl Begun {
    /// What is to be signed. No statement begins like this.
    pub(super) fn message(&self) -> Vec<u8> {
        [b"holdpoint-sign-in-v1\0".as_slice(), &self.nonce, &self.until.ms().to_be_bytes()].concat()
    }
}

#[cfg(test)]
mod tests {
    use holdpoint_app::fake::FakeIds;
    use holdpoint_domain::Millis;

    use super::*;

    fn at(secs: u32) -> Timestamp {
        Timestamp::EPOCH.plus(Millis::secs(secs)).unwrap()
    }

    #[test]
    fn t30_a_flood_of_strangers_ends_nobodys_sign_in() {
        let ids = FakeIds::new(1);
        let sign_ins = SignIns::new(&ids);
        let (name, message) = sign_ins.begin(&ids, at(0)).unwrap();
        for _ in 0..5_000 {
            sign_ins.begin(&ids, at(1)).unwrap();
        }
        let begun = sign_ins.find(&name, at(299)).unwrap();
        assert_eq!(begun.message(), message);
        assert!(sign_ins.find(&name, at(300)).is_none(), "it is over");
    }

    #[test]
    fn t11_a_sign_in_is_good_once_and_was_begun_here() {
        let ids = FakeIds::new(1);
        let (sign_ins, other) = (SignIns::new(&ids), SignIns::new(&ids));
        let passkey = CredentialId::new(b"0123456789abcdef".to_vec()).unwrap();
        let (name, _) = sign_ins.begin(&ids, at(0)).unwrap();
        assert!(other.find(&name, at(1)).is_none(), "another process");
        let mut bytes = URL_SAFE_NO_PAD.decode(&name).unwrap();
        for at_byte in 0..bytes.len() {
            bytes[at_byte] ^= 1;
            assert!(sign_ins.find(&URL_SAFE_NO_PAD.encode(&bytes), at(1)).is_none(), "byte {at_byte}");
            bytes[at_byte] ^= 1;
        }
        let begun = sign_ins.find(&name, at(1)).unwrap();
        assert!(sign_ins.use_up(&begun, &passkey, at(1)));
        assert!(!sign_ins.use_up(&begun, &passkey, at(2)), "a second time");
        for _ in 1..MAX_USED {
            let (name, _) = sign_ins.begin(&ids, at(2)).unwrap();
            assert!(sign_ins.use_up(&sign_ins.find(&name, at(2)).unwrap(), &passkey, at(2)));
        }
        let (name, _) = sign_ins.begin(&ids, at(2)).unwrap();
        assert!(!sign_ins.use_up(&sign_ins.find(&name, at(2)).unwrap(), &passkey, at(2)), "no person");
        assert!(sign_ins.use_up(&sign_ins.find(&name, at(2)).unwrap(), &passkey, at(301)), "later");
    }
}
