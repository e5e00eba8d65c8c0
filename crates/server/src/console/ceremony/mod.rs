//! Ceremonies: a person proves with a passkey that they mean exactly one thing.
//!
//! A ceremony begins with what is to be signed, made here from what the gate knows, and never from what the browser says it
//! showed. Its challenge is the digest of those bytes. It ends with the passkey's assertion, once: whatever comes of it, another one
//! has to begin. What is signed at last goes to the same use case as a statement from the command line, and is checked there again.

mod decide;
mod enrol;
mod sign_in;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use holdpoint_adapters::registration::Registration;
use holdpoint_app::port::Ids;
use holdpoint_domain::{
    Id, Millis, Timestamp,
    aftercare::{ResolutionStatement, ReviewStatement},
    approval,
    change::ChangeStatement,
    halt::ResumeStatement,
    id::kind,
    narrowing::NarrowStatement,
    passkey::CredentialId,
    reconcile::ReconcileStatement,
};

use crate::http::Problem;
use axum::http::StatusCode;

pub(super) use decide::{begin, finish};
pub(super) use enrol::{begin as enrol_begin, finish as enrol_finish, page as enrol_page};
pub(super) use sign_in::{begin as sign_in_begin, finish as sign_in_finish};

/// How long a ceremony may take: somebody has to find their key.
const LIFE: Millis = Millis::secs(5 * 60);
/// Ceremonies of one kind at once. Those of strangers are counted apart from those of people.
const MAX_KEPT: usize = 1_024;

/// What is signed at the end.
pub(super) enum What {
    /// A random message: who is there.
    SignIn(Vec<u8>),
    /// A decision on a hold.
    Hold(Box<approval::Statement>),
    /// Less of a plan.
    Narrow(Box<NarrowStatement>),
    /// A decision on a change.
    Change(Box<ChangeStatement>),
    /// A review, and the reviewer's words.
    Review(Box<ReviewStatement>, Option<String>),
    /// The end of a run in doubt, and the words of whoever looked.
    Resolve(Box<ResolutionStatement>, Option<String>),
    /// The end of a halt.
    Resume(Box<ResumeStatement>),
    /// What was done outside: confirmed, or looked at.
    Reconcile(Box<ReconcileStatement>),
    /// Nothing yet: a passkey is registered.
    Enrol(Box<Enrolling>),
}

/// A registration, and the invitation that it is for.
pub(super) struct Enrolling {
    registration: Registration,
    act: Id<kind::Act>,
    secret: Vec<u8>,
}

/// A ceremony under way.
struct Kept {
    // Whose it is; nobody's before they signed in.
    person: Option<Id<kind::Person>>,
    what: What,
    until: Timestamp,
}

/// All ceremonies of this process. A restart ends them all: they begin anew.
pub(crate) struct Ceremonies {
    ids: Arc<dyn Ids>,
    // INVARIANT: at most MAX_KEPT of strangers, and as many of people.
    kept: Mutex<BTreeMap<String, Kept>>,
    // The last counters of passkeys that signed in here.
    counters: Mutex<BTreeMap<CredentialId, u32>>,
}

impl Ceremonies {
    pub(super) fn new(ids: Arc<dyn Ids>) -> Self {
        Self { ids, kept: Mutex::default(), counters: Mutex::default() }
    }

    /// Begins one; returns its name.
    fn keep(&self, person: Option<Id<kind::Person>>, what: What, now: Timestamp) -> Result<String, Problem> {
        let until = now.plus(LIFE).map_err(|err| Problem::internal(&err))?;
        let mut kept = self.lock();
        kept.retain(|_, old| now < old.until);
        let same = |old: &Kept| old.person.is_some() == person.is_some();
        if kept.values().filter(|old| same(old)).count() >= MAX_KEPT {
            let oldest = kept.iter().filter(|(_, old)| same(old)).min_by_key(|(_, old)| old.until);
            if let Some(name) = oldest.map(|(name, _)| name.clone()) {
                kept.remove(&name);
            }
        }
        let name = format!("{:032x}", self.ids.unique());
        kept.insert(name.clone(), Kept { person, what, until });
        Ok(name)
    }

    /// Ends one, whatever comes of it: the name is worth nothing afterwards. Said in the same words for each reason that there is
    /// none for this person now.
    fn take(&self, name: &str, person: Option<&Id<kind::Person>>, now: Timestamp) -> Result<What, Problem> {
        let mut kept = self.lock();
        let is_theirs = kept.get(name).is_some_and(|kept| kept.person.as_ref() == person && now < kept.until);
        // Somebody else's goes on: they have not ended it.
        let taken = if is_theirs { kept.remove(name) } else { None };
        taken.map(|kept| kept.what).ok_or_else(|| {
            let detail = "there is no such ceremony: it was used, took too long, or is somebody else's";
            Problem::new(StatusCode::CONFLICT, "no-such-ceremony", detail, "begin again")
        })
    }

    /// A message that nobody signed before.
    fn unique_message(&self) -> Vec<u8> {
        let random = [self.ids.unique(), self.ids.unique()].map(u128::to_be_bytes);
        [b"holdpoint-sign-in-v1\0", random.as_flattened()].concat()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Kept>> {
        // Every change is one insert or one removal: a panic leaves nothing half-made.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counters(&self) -> MutexGuard<'_, BTreeMap<CredentialId, u32>> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
