//! Sessions of people in their browsers: who signed in, how, and for how long that counts.
//!
//! A session lets somebody look. It is never consent: every decision is a ceremony of its own. Sessions are in memory alone, so a
//! restart ends them all; what is kept of a session's secret is its digest.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::http::{HeaderMap, header};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use holdpoint_app::port::Ids;
use holdpoint_domain::{Digest, Id, Millis, Timestamp, agent::Registry, id::kind, passkey::CredentialId};

/// The cookie. Its prefix keeps browsers from taking it from a sibling domain, without TLS, or for a part of the site
/// (draft-ietf-httpbis-rfc6265bis, section 4.1.3.2).
pub(crate) const COOKIE: &str = "__Host-holdpoint";
/// Sessions at once: each is a few hundred bytes, and a site has fewer people than that.
const MAX_SESSIONS: usize = 4_096;
/// Sessions of one person at once: their browsers, with room for a few forgotten ones.
const MAX_PER_PERSON: usize = 16;
/// A session of a link ends after an hour at most: it came from a token, which lives for minutes.
const MAX_LINKED: Millis = Millis::secs(60 * 60);
/// Bytes of a session's secret.
const SECRET_LEN: usize = 32;

/// How somebody signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum How {
    /// With this passkey of theirs.
    Passkey(CredentialId),
    /// By single sign-on.
    Sso,
    /// With a link that the command line printed for them.
    Link,
}

/// Somebody who signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    /// Who.
    pub(crate) person: Id<kind::Person>,
    /// How.
    pub(crate) how: How,
    /// When.
    pub(crate) since: Timestamp,
    /// When they last asked for something.
    pub(crate) seen: Timestamp,
}

/// All sessions of this process.
pub(crate) struct Sessions {
    ids: Arc<dyn Ids>,
    idle: Millis,
    absolute: Millis,
    // INVARIANT: at most MAX_SESSIONS, at most MAX_PER_PERSON of them one person's.
    kept: Mutex<BTreeMap<[u8; 32], Session>>,
}

impl How {
    /// The word for people.
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Passkey(_) => "passkey",
            Self::Sso => "single sign-on",
            Self::Link => "a link of the command line",
        }
    }
}

impl Sessions {
    /// No sessions yet.
    pub(crate) fn new(ids: Arc<dyn Ids>, idle: Millis, absolute: Millis) -> Self {
        Self { ids, idle, absolute, kept: Mutex::default() }
    }

    /// Opens a session for somebody who just proved who they are. Returns the value of `Set-Cookie`. Whoever signs in anew gets a
    /// new secret, whatever the browser sent (no session fixation). Where there are too many, the one that was unused for longest
    /// ends: the person's own, or anybody's.
    pub(crate) fn open(&self, person: Id<kind::Person>, how: How, now: Timestamp) -> String {
        let mut secret = [0_u8; SECRET_LEN];
        let halves = [self.ids.unique(), self.ids.unique()].map(u128::to_be_bytes);
        secret.iter_mut().zip(halves.as_flattened()).for_each(|(byte, random)| *byte = *random);
        let mut kept = self.lock();
        kept.retain(|_, session| self.is_alive(session, now));
        let own = kept.values().filter(|session| session.person == person).count();
        if own >= MAX_PER_PERSON {
            end_oldest(&mut kept, |session| session.person == person);
        }
        if kept.len() >= MAX_SESSIONS {
            end_oldest(&mut kept, |_| true);
        }
        kept.insert(*Digest::of_bytes(&secret).as_bytes(), Session { person, how, since: now, seen: now });
        cookie(&URL_SAFE_NO_PAD.encode(secret), None)
    }

    /// The session that a request's cookie opens, if it lives. It ends when the registry has its person no more, or the passkey that
    /// they signed in with, and stays ended if they come back.
    pub(crate) fn find(&self, headers: &HeaderMap, now: Timestamp, registry: &Registry) -> Option<Session> {
        let key = key(headers)?;
        let mut kept = self.lock();
        let session = kept.get(&key)?;
        if !self.is_alive(session, now) || !session.is_of(registry) {
            kept.remove(&key);
            return None;
        }
        Some(session.clone())
    }

    /// Puts off the idle timeout of the session that a request's cookie opens: somebody did something.
    pub(crate) fn touch(&self, headers: &HeaderMap, now: Timestamp) {
        let Some(key) = key(headers) else { return };
        if let Some(session) = self.lock().get_mut(&key) {
            session.seen = now;
        }
    }

    /// Ends the session that a request's cookie opens. Returns the value of `Set-Cookie` that removes it.
    pub(crate) fn sign_out(&self, headers: &HeaderMap) -> String {
        if let Some(key) = key(headers) {
            self.lock().remove(&key);
        }
        cookie("", Some(0))
    }

    /// Ends all sessions of a person, and says how many there were.
    pub(crate) fn sign_out_everywhere(&self, person: &Id<kind::Person>) -> usize {
        let mut kept = self.lock();
        let before = kept.len();
        kept.retain(|_, session| session.person != *person);
        before.saturating_sub(kept.len())
    }

    /// The sessions of a person that live, those last used first.
    pub(crate) fn of(&self, person: &Id<kind::Person>, now: Timestamp) -> Vec<Session> {
        let kept = self.lock();
        let own = kept.values().filter(|session| session.person == *person && self.is_alive(session, now));
        let mut own: Vec<_> = own.cloned().collect();
        own.sort_by_key(|session| std::cmp::Reverse(session.seen));
        own
    }

    fn is_alive(&self, session: &Session, now: Timestamp) -> bool {
        let absolute = if session.how == How::Link { self.absolute.min(MAX_LINKED) } else { self.absolute };
        now.since(session.seen) < self.idle && now.since(session.since) < absolute
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<[u8; 32], Session>> {
        // Every change is one insert or some removals: a panic leaves nothing half-made.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// Whether the registry has its person, and the passkey that they signed in with.
    fn is_of(&self, registry: &Registry) -> bool {
        registry.person(&self.person).is_some_and(|person| match &self.how {
            How::Passkey(id) => person.passkeys.iter().any(|passkey| passkey.id == *id),
            How::Sso | How::Link => true,
        })
    }
}

/// Ends the session among these that was unused for longest.
fn end_oldest(kept: &mut BTreeMap<[u8; 32], Session>, among: impl Fn(&Session) -> bool) {
    let oldest = kept.iter().filter(|(_, session)| among(session)).min_by_key(|(_, session)| session.seen);
    if let Some(key) = oldest.map(|(key, _)| *key) {
        kept.remove(&key);
    }
}

/// The digest of the secret in a request's cookie of ours.
fn key(headers: &HeaderMap) -> Option<[u8; 32]> {
    let secret = URL_SAFE_NO_PAD
        .decode(cookie_of(headers, COOKIE)?)
        .ok()
        .filter(|secret| secret.len() == SECRET_LEN)?;
    Some(*Digest::of_bytes(&secret).as_bytes())
}

/// The value of a request's one cookie of this name. Two of them are two readers' two answers.
pub(super) fn cookie_of<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut values = pairs.filter(|(key, _)| *key == name).map(|(_, value)| value);
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    Some(value)
}

fn cookie(value: &str, max_age: Option<u32>) -> String {
    let age = max_age.map(|age| format!("; Max-Age={age}")).unwrap_or_default();
    format!("{COOKIE}={value}; Path=/; Secure; HttpOnly; SameSite=Lax{age}")
}

#[cfg(test)]
mod tests {
    use holdpoint_app::fake::FakeIds;
    use holdpoint_domain::{
        agent::Person,
        passkey::{Authenticator, Passkey},
    };

    use super::*;

    fn sessions() -> Sessions {
        Sessions::new(Arc::new(FakeIds::new(1)), Millis::secs(60), Millis::secs(600))
    }

    fn at(secs: u64) -> Timestamp {
        Timestamp::EPOCH.plus(Millis::secs(u32::try_from(secs).unwrap())).unwrap()
    }

    fn person(name: &str) -> Id<kind::Person> {
        Id::parse(name).unwrap()
    }

    /// What a browser sends back.
    fn sent(set_cookie: &str) -> HeaderMap {
        let pair = set_cookie.split(';').next().unwrap();
        [(header::COOKIE, pair.parse().unwrap())].into_iter().collect()
    }

    fn who(sessions: &Sessions, headers: &HeaderMap, now: Timestamp) -> Option<String> {
        let people = ["ada", "ben"].map(|name| somebody(name, Vec::new()));
        let registry = Registry::new(Vec::new(), people.into()).unwrap();
        sessions.find(headers, now, &registry).map(|session| session.person.to_string())
    }

    fn somebody(name: &str, passkeys: Vec<Passkey>) -> Person {
        Person { id: person(name), teams: [].into(), administrator: false, approval_key: None, passkeys }
    }

    #[test]
    fn t16_the_cookie_is_for_this_host_alone_and_no_script_reads_it() {
        let cookie = sessions().open(person("ada"), How::Sso, at(0));
        let (pair, attributes) = cookie.split_once("; ").unwrap();
        let (name, value) = pair.split_once('=').unwrap();
        assert!(name.starts_with("__Host-"));
        assert_eq!(attributes, "Path=/; Secure; HttpOnly; SameSite=Lax");
        assert_eq!(URL_SAFE_NO_PAD.decode(value).unwrap().len(), 32, "256 bits");
    }

    #[test]
    fn t26_a_session_ends_when_it_is_idle_or_old_or_its_person_leaves() {
        let sessions = sessions();
        let ada = sent(&sessions.open(person("ada"), How::Sso, at(0)));
        assert_eq!(who(&sessions, &ada, at(59)).as_deref(), Some("ada"));
        assert_eq!(who(&sessions, &ada, at(60)), None, "idle for a minute");
        assert_eq!(who(&sessions, &ada, at(1)), None, "it stays ended when the clock steps back");

        let ada = sent(&sessions.open(person("ada"), How::Sso, at(0)));
        for second in (0..600).step_by(30) {
            assert_eq!(who(&sessions, &ada, at(second)).as_deref(), Some("ada"), "{second}");
            sessions.touch(&ada, at(second));
        }
        assert_eq!(who(&sessions, &ada, at(600)), None, "however busy");

        let ada = sent(&sessions.open(person("ada"), How::Sso, at(0)));
        assert_eq!(sessions.find(&ada, at(1), &Registry::new(Vec::new(), Vec::new()).unwrap()), None);
        assert_eq!(who(&sessions, &ada, at(2)), None, "whoever comes back signs in anew");
    }

    #[test]
    fn t26_a_session_ends_with_the_passkey_that_opened_it() {
        let sessions = sessions();
        let passkey = |seed| {
            let act = Id::parse(&format!("act-{seed}")).unwrap();
            Authenticator::new([seed; 32], "http://localhost:7070", act).unwrap().passkey
        };
        let registry = |passkeys| Registry::new(Vec::new(), vec![somebody("ada", passkeys)]).unwrap();
        let how = How::Passkey(passkey(1).id);
        let ada = sent(&sessions.open(person("ada"), how, at(0)));
        assert!(sessions.find(&ada, at(1), &registry(vec![passkey(1), passkey(2)])).is_some());
        assert_eq!(sessions.find(&ada, at(2), &registry(vec![passkey(2)])), None, "it was lost");
        assert_eq!(sessions.find(&ada, at(3), &registry(vec![passkey(1)])), None, "it stays ended");
    }

    #[test]
    fn t26_a_session_of_a_link_ends_after_an_hour() {
        let day = Millis::secs(24 * 60 * 60);
        let sessions = Sessions::new(Arc::new(FakeIds::new(1)), day, day);
        let [linked, other] =
            [How::Link, How::Sso].map(|how| sent(&sessions.open(person("ada"), how, at(0))));
        assert_eq!(who(&sessions, &linked, at(3_599)).as_deref(), Some("ada"));
        assert_eq!(who(&sessions, &linked, at(3_600)), None);
        assert_eq!(who(&sessions, &other, at(3_600)).as_deref(), Some("ada"));
    }

    #[test]
    fn t26_signing_out_ends_it_here_or_everywhere() {
        let sessions = sessions();
        let [one, two, other] =
            ["ada", "ada", "ben"].map(|name| sent(&sessions.open(person(name), How::Sso, at(0))));
        assert!(sessions.sign_out(&one).contains("Max-Age=0"));
        assert_eq!(
            (who(&sessions, &one, at(1)), who(&sessions, &two, at(1))),
            (None, Some("ada".to_owned()))
        );
        assert_eq!(sessions.sign_out_everywhere(&person("ada")), 1);
        assert_eq!(
            (who(&sessions, &two, at(1)), who(&sessions, &other, at(1))),
            (None, Some("ben".to_owned()))
        );
    }

    #[test]
    fn t22_a_cookie_opens_one_session_or_none() {
        let sessions = sessions();
        let good = sessions.open(person("ada"), How::Sso, at(0));
        let value = good.split(';').next().unwrap().split_once('=').unwrap().1.to_owned();
        let digest =
            URL_SAFE_NO_PAD.encode(Digest::of_bytes(&URL_SAFE_NO_PAD.decode(&value).unwrap()).as_bytes());
        for bad in [
            String::new(),
            format!("{COOKIE}="),
            format!("{COOKIE}={digest}"),
            format!("{COOKIE}={value}A"),
            format!("{COOKIE}={value}; {COOKIE}={value}"),
            format!("holdpoint={value}"),
            format!("__host-holdpoint={value}"),
            format!("{COOKIE}={}", "A".repeat(43)),
        ] {
            let headers = [(header::COOKIE, bad.parse().unwrap())].into_iter().collect();
            assert_eq!(who(&sessions, &headers, at(0)), None, "{bad}");
        }
        let beside = format!("theme=dark; {COOKIE}={value}; x=y");
        let headers = [(header::COOKIE, beside.parse().unwrap())].into_iter().collect();
        assert_eq!(who(&sessions, &headers, at(0)).as_deref(), Some("ada"));
    }

    #[test]
    fn t30_nobody_fills_the_memory_with_sessions() {
        let sessions = sessions();
        let first = sent(&sessions.open(person("ada"), How::Sso, at(0)));
        for second in 1..=20 {
            sessions.open(person("ada"), How::Sso, at(second));
        }
        assert_eq!(sessions.of(&person("ada"), at(20)).len(), MAX_PER_PERSON);
        assert_eq!(who(&sessions, &first, at(20)), None, "the oldest went first");
        for number in 0..MAX_SESSIONS {
            sessions.open(person(&format!("p{number}")), How::Sso, at(21));
        }
        assert_eq!(sessions.lock().len(), MAX_SESSIONS);
    }
}
