//! Sign-in links: somebody who is known on the command line has their browser signed in, once.
//!
//! A link opens a session of the console, which lets somebody look; it never decides. It is good for one sign-in and for two
//! minutes, and it is in memory alone: a restart ends all of them. What is kept of its secret is the digest.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use holdpoint_app::port::Ids;
use holdpoint_domain::{Digest, Id, Millis, Timestamp, id::kind};

/// How long a link is good: long enough to change windows.
pub(crate) const LIFE: Millis = Millis::secs(2 * 60);
/// Links at once; the one that ends first makes room.
const MAX_LINKS: usize = 256;
/// Bytes of a link's secret.
const SECRET_LEN: usize = 32;

/// Links that nobody has used yet.
#[derive(Default)]
pub(crate) struct SignInLinks {
    // By the digest of the secret. INVARIANT: at most MAX_LINKS.
    open: Mutex<Open>,
}

/// Whose each is, and until when it is good.
type Open = BTreeMap<[u8; 32], (Id<kind::Person>, Timestamp)>;

impl SignInLinks {
    /// Makes a link for a person who is known; returns its secret in base64url, which stands nowhere else.
    pub(crate) fn issue(
        &self,
        ids: &Arc<dyn Ids>,
        person: Id<kind::Person>,
        now: Timestamp,
        until: Timestamp,
    ) -> String {
        let mut secret = [0_u8; SECRET_LEN];
        let halves = [ids.unique(), ids.unique()].map(u128::to_be_bytes);
        secret.iter_mut().zip(halves.as_flattened()).for_each(|(byte, random)| *byte = *random);
        let mut open = self.lock();
        open.retain(|_, (_, until)| now < *until);
        if open.len() >= MAX_LINKS {
            let first = open.iter().min_by_key(|(_, (_, until))| *until).map(|(key, _)| *key);
            first.map(|key| open.remove(&key));
        }
        open.insert(*Digest::of_bytes(&secret).as_bytes(), (person, until));
        URL_SAFE_NO_PAD.encode(secret)
    }

    /// Whose browser a secret signs in. The link is worth nothing afterwards, whatever comes of it.
    pub(crate) fn redeem(&self, secret: &[u8], now: Timestamp) -> Option<Id<kind::Person>> {
        let (person, until) = self.lock().remove(Digest::of_bytes(secret).as_bytes())?;
        (now < until).then_some(person)
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // Every change is one insert or some removals: a panic leaves nothing half-made.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use holdpoint_app::fake::FakeIds;

    use super::*;

    fn at(secs: u32) -> Timestamp {
        Timestamp::EPOCH.plus(Millis::secs(secs)).unwrap()
    }

    fn secret(links: &SignInLinks, ids: &Arc<dyn Ids>, now: u32) -> Vec<u8> {
        let until = at(now).plus(LIFE).unwrap();
        let text = links.issue(ids, Id::parse("ada").unwrap(), at(now), until);
        URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    #[test]
    fn t26_a_link_is_good_once_and_for_two_minutes() {
        let (links, ids) = (SignInLinks::default(), Arc::new(FakeIds::new(1)) as Arc<dyn Ids>);
        let used = secret(&links, &ids, 0);
        assert_eq!(links.redeem(&[0; 32], at(1)), None, "somebody guesses");
        assert_eq!(links.redeem(&used, at(119)).unwrap().as_str(), "ada");
        assert_eq!(links.redeem(&used, at(119)), None, "a second time");
        let late = secret(&links, &ids, 0);
        assert_eq!(links.redeem(&late, at(120)), None);
        assert_eq!(links.redeem(&late, at(1)), None, "it stays ended when the clock steps back");
    }

    #[test]
    fn many_links_do_not_grow_without_end() {
        let (links, ids) = (SignInLinks::default(), Arc::new(FakeIds::new(1)) as Arc<dyn Ids>);
        let first = secret(&links, &ids, 0);
        for _ in 0..MAX_LINKS {
            secret(&links, &ids, 1);
        }
        assert_eq!(links.lock().len(), MAX_LINKS);
        assert_eq!(links.redeem(&first, at(2)), None, "the oldest one made room");
    }
}
