//! Ceremonies: a person proves with a passkey that they mean exactly one thing.
//!
//! A ceremony begins with what is to be signed, made here from what the gate knows, and never from what the browser says it
//! showed. Its challenge is the digest of those bytes. It ends with the passkey's assertion, once: whatever comes of it, another one
//! has to begin. What is signed at last goes to the same use case as a statement from the command line, and is checked there again.

mod decide;
mod enrol;
mod sign_in;
mod strangers;

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
    passkey::{Assertion, CredentialId, counter_follows},
    reconcile::ReconcileStatement,
};

use crate::http::Problem;
use axum::http::StatusCode;

pub(super) use decide::{begin, finish};
pub(super) use enrol::{begin as enrol_begin, finish as enrol_finish, page as enrol_page};
use strangers::SignIns;

pub(super) use sign_in::{Onward, begin as sign_in_begin, finish as sign_in_finish};

/// How long a ceremony may take: somebody has to find their key.
const LIFE: Millis = Millis::secs(5 * 60);
/// Ceremonies of one person at once, and of one act of enrolment: more, and their own oldest one ends. Nobody ends another one's.
const MAX_OF_ONE: usize = 16;

/// What is signed at the end.
pub(super) enum What {
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
    whose: Whose,
    what: What,
    until: Timestamp,
}

/// Whose a ceremony is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Whose {
    /// Somebody's who signed in.
    Person(Id<kind::Person>),
    /// Of whoever has the link of an act of enrolment.
    Act(Id<kind::Act>),
}

/// All ceremonies of this process. A restart ends them all: they begin anew.
pub(crate) struct Ceremonies {
    ids: Arc<dyn Ids>,
    sign_ins: SignIns,
    // INVARIANT: at most MAX_OF_ONE of each person, and of each act that somebody has the link of.
    kept: Mutex<BTreeMap<String, Kept>>,
    // The last counters of passkeys that signed in here.
    counters: Mutex<BTreeMap<CredentialId, u32>>,
}

impl Ceremonies {
    pub(super) fn new(ids: Arc<dyn Ids>) -> Self {
        let sign_ins = SignIns::new(ids.as_ref());
        Self { ids, sign_ins, kept: Mutex::default(), counters: Mutex::default() }
    }

    /// Begins one; returns its name.
    fn keep(&self, whose: Whose, what: What, now: Timestamp) -> Result<String, Problem> {
        let until = now.plus(LIFE).map_err(|err| Problem::internal(&err))?;
        let mut kept = self.lock();
        kept.retain(|_, old| now < old.until);
        let theirs = kept.iter().filter(|(_, old)| old.whose == whose);
        if theirs.clone().count() >= MAX_OF_ONE {
            let oldest = theirs.min_by_key(|(_, old)| old.until);
            if let Some(name) = oldest.map(|(name, _)| name.clone()) {
                kept.remove(&name);
            }
        }
        let name = format!("{:032x}", self.ids.unique());
        kept.insert(name.clone(), Kept { whose, what, until });
        Ok(name)
    }

    /// Ends a decision of a person, whatever comes of it: the name is worth nothing afterwards. Said in the same words for each
    /// reason that there is none for this person now.
    fn take(&self, name: &str, person: &Id<kind::Person>, now: Timestamp) -> Result<What, Problem> {
        self.take_if(name, now, |whose| *whose == Whose::Person(person.clone()))
    }

    /// As [`Self::take`], for an enrolment.
    fn take_enrolment(&self, name: &str, now: Timestamp) -> Result<What, Problem> {
        self.take_if(name, now, |whose| matches!(whose, Whose::Act(_)))
    }

    fn take_if(
        &self,
        name: &str,
        now: Timestamp,
        is_theirs: impl Fn(&Whose) -> bool,
    ) -> Result<What, Problem> {
        let mut kept = self.lock();
        let is_theirs = kept.get(name).is_some_and(|kept| is_theirs(&kept.whose) && now < kept.until);
        // Somebody else's goes on: they have not ended it.
        let taken = if is_theirs { kept.remove(name) } else { None };
        taken.map(|kept| kept.what).ok_or_else(none)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Kept>> {
        // Every change is one insert or one removal: a panic leaves nothing half-made.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counters(&self) -> MutexGuard<'_, BTreeMap<CredentialId, u32>> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the counter of a passkey goes on from where it was when it last signed in here: a copy of it could sign in between
    /// two decisions, and the ledger knows of decisions alone.
    fn goes_on(&self, assertion: &Assertion) -> bool {
        let last = self.counters().get(&assertion.credential).copied().unwrap_or(0);
        assertion.counter().is_some_and(|counter| counter_follows(last, counter))
    }
}

/// There is no such ceremony, for whatever reason.
fn none() -> Problem {
    let detail = "there is no such ceremony: it was used, took too long, or is somebody else's";
    Problem::new(StatusCode::CONFLICT, "no-such-ceremony", detail, "begin again")
}
