//! Who consented to which bytes: the consents of a whole ledger, checked again from its records alone, without the gate.
//!
//! The first administrators' credentials stand in genesis. A passkey counts from the change on that put it into the registry, and
//! a change only with the approvals that it names. Whoever signs with a key that came into the registry by its text alone has to be
//! told to [`Audit::new`]: the ledger has no more than the digest of that text. A passkey counts no more from the change on that took
//! it out of the registry, where the record of that change says so; [`Audit::registries`] tells where one does not.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Digest, Id, Tier,
    actor::Actor,
    approval::{Choice, HoldTerms, SignedStatement},
    change::{Change, ChangeStatement, ChangeTerms, Control},
    decision::Answer,
    id::kind,
    passkey::{CredentialId, Passkey, counter_follows},
    permit::needed,
    plan::Plan,
    proof::{Credentials, Proof, Proven},
    quorum::Quorum,
    record::{Body, Record},
    signed::{Signed, Statement},
};

/// A consent whose proof holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The entry.
    pub index: u64,
    /// Who.
    pub person: Id<kind::Person>,
    /// With which passkey; none for a key in a file.
    pub passkey: Option<CredentialId>,
    /// What they said, in a few words.
    pub said: String,
    /// The digest of the bytes that it is about: of the plan, or of a control input.
    pub about: Digest,
}

/// Something that does not add up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The entry.
    pub index: u64,
    /// What.
    pub what: String,
}

/// A registry of people and agents, and the entries under which it was in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce {
    /// Its digest: the ledger does not have its text.
    pub digest: Digest,
    /// The entry that put it in force.
    pub from: u64,
    /// The entry that replaced it; none while it is in force.
    pub until: Option<u64>,
    /// The passkeys that it took out; none where the ledger does not say which.
    pub retired: Option<BTreeSet<CredentialId>>,
}

/// The fold over a ledger's records, in order.
#[derive(Debug, Default)]
pub struct Audit {
    people: BTreeMap<Id<kind::Person>, Credentials>,
    enrolling: BTreeMap<Id<kind::Change>, (Id<kind::Person>, Passkey)>,
    changes: BTreeMap<Id<kind::Change>, (ChangeTerms, BTreeSet<Id<kind::Person>>)>,
    plans: BTreeMap<Id<kind::Plan>, Waiting>,
    counters: BTreeMap<CredentialId, u32>,
    // Those that are out of the registry, and the entry that took them out.
    retired: BTreeMap<CredentialId, u64>,
    registries: Vec<InForce>,
    found: Vec<Found>,
    faults: Vec<Fault>,
}

/// A plan, as far as consent goes.
#[derive(Debug)]
struct Waiting {
    digest: Digest,
    plan: Plan,
    decided: Option<Asked>,
    terms: Option<HoldTerms>,
    // Who approved, and by which acts their passkeys were enrolled.
    approved: BTreeMap<Id<kind::Person>, Option<Id<kind::Act>>>,
    rejected: bool,
}

/// What the last decision on a plan asks of people.
#[derive(Debug, Clone, Copy)]
struct Asked {
    /// The digest of the facts that it was made from.
    facts: Digest,
    answer: Answer,
    tier: Tier,
    /// How many people the catalogue asks for.
    people: u32,
}

impl Audit {
    /// Before the first record, with credentials that the ledger does not have.
    #[must_use]
    pub fn new(people: BTreeMap<Id<kind::Person>, Credentials>) -> Self {
        Self { people, ..Self::default() }
    }

    /// Consents whose proofs hold, in order.
    #[must_use]
    pub fn found(&self) -> &[Found] {
        &self.found
    }

    /// What does not add up.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// The registries that were in force, in order.
    #[must_use]
    pub fn registries(&self) -> &[InForce] {
        &self.registries
    }

    /// Takes the next record.
    pub fn take(&mut self, index: u64, record: &Record) {
        if let Err(what) = self.check(index, record) {
            self.faults.push(Fault { index, what });
        }
    }

    fn check(&mut self, index: u64, record: &Record) -> Result<(), String> {
        match &record.body {
            Body::Genesis { administrators, inputs, .. } => {
                let (digest, retired) = (inputs.registry, Some(BTreeSet::new()));
                self.registries.push(InForce { digest, from: index, until: None, retired });
                for (person, credentials) in administrators {
                    self.people.insert(person.clone(), credentials.clone());
                }
            }
            Body::Enrolling { passkey, change, .. } => {
                let Actor::Person { person } = &record.actor else {
                    return Err("a passkey that nobody registered".to_owned());
                };
                self.enrolling.insert(change.clone(), (person.clone(), passkey.as_ref().clone()));
            }
            Body::ChangeProposed { terms } => {
                self.changes.insert(terms.id.clone(), (terms.as_ref().clone(), BTreeSet::new()));
            }
            Body::ChangeDecided { statement } => self.decided(index, statement)?,
            Body::Changed { change, retired } => self.changed(index, change, retired.as_ref())?,
            Body::Proposed { plan, .. } => {
                let id = record.plan.clone().ok_or("a plan without a name")?;
                let digest = plan.digest().map_err(|err| err.to_string())?;
                let waiting = Waiting {
                    digest,
                    plan: plan.as_ref().clone(),
                    decided: None,
                    terms: None,
                    approved: BTreeMap::new(),
                    rejected: false,
                };
                self.plans.insert(id, waiting);
            }
            Body::Decided { decision, facts } => {
                let plan = self.plan(record)?;
                let people = Quorum::asked(&plan.plan, facts).map_or(0, |asked| asked.needed());
                let facts = facts.digest().map_err(|err| err.to_string())?;
                let (answer, tier) = (decision.answer, decision.tier);
                plan.decided = Some(Asked { facts, answer, tier, people });
            }
            Body::Held { terms } => {
                let plan = self.plan(record)?;
                if terms.plan != plan.digest {
                    return Err(format!("hold `{}` is about another plan than the one proposed", terms.hold));
                }
                plan.terms = Some(terms.as_ref().clone());
            }
            Body::Approved { statement } | Body::Rejected { statement } => {
                self.on_hold(index, record, statement)?;
            }
            Body::Narrowed { statement, .. } => {
                let plan = self.plan(record)?;
                if plan.terms.as_ref() != Some(&statement.statement.terms) {
                    return Err("a narrowing of another hold".to_owned());
                }
                let about = plan.digest;
                self.said(index, statement, "narrowed a plan".to_owned(), about)?;
            }
            Body::Permitted { .. } => self.permitted(record)?,
            Body::Reviewed { statement, .. } => {
                self.said(index, statement, "reviewed a run".to_owned(), statement.statement.digest)?;
            }
            Body::Resolved { statement, .. } => {
                self.said(index, statement, "resolved a run".to_owned(), statement.statement.digest)?;
            }
            Body::Resumed { statement } => {
                let about = Digest::of(&statement.statement.halt).map_err(|err| err.to_string())?;
                self.said(index, statement, "ended a halt".to_owned(), about)?;
            }
            Body::Reconciled { statement, .. } => {
                let said = format!("{} what was done outside", statement.statement.part.as_str());
                let about = statement.statement.account.digest().map_err(|err| err.to_string())?;
                self.said(index, statement, said, about)?;
            }
            Body::Started { .. }
            | Body::InputRefused { .. }
            | Body::InputRestored { .. }
            | Body::Halted { .. }
            | Body::Strangers { .. }
            | Body::Incident { .. }
            | Body::Invited { .. }
            | Body::Delegated { .. }
            | Body::Measured { .. }
            | Body::Deferred { .. }
            | Body::Expired
            | Body::Voided { .. }
            | Body::Claimed { .. }
            | Body::Leased { .. }
            | Body::LeasedAgain { .. }
            | Body::RevocationAsked { .. }
            | Body::Revoked { .. }
            | Body::Rehearsed { .. }
            | Body::Baseline { .. }
            | Body::Aftermath { .. }
            | Body::Applying { .. }
            | Body::Applied { .. }
            | Body::Succeeded { .. }
            | Body::Failed { .. }
            | Body::Undoing { .. }
            | Body::Unwound { .. }
            | Body::NotUndone { .. }
            | Body::Undone { .. }
            | Body::UndoFailed { .. }
            | Body::InDoubt { .. }
            | Body::ReviewOwed { .. }
            | Body::Evaluated { .. }
            | Body::Refused { .. } => {}
        }
        Ok(())
    }

    fn plan(&mut self, record: &Record) -> Result<&mut Waiting, String> {
        let id = record.plan.as_ref().ok_or("a record of no plan")?;
        self.plans.get_mut(id).ok_or_else(|| format!("plan `{id}` was never proposed"))
    }

    fn credentials(&self, person: &Id<kind::Person>) -> Result<&Credentials, String> {
        self.people.get(person).ok_or_else(|| format!("the ledger has no credentials of `{person}`"))
    }

    /// Notes a consent that holds, and compares its counter.
    fn note(&mut self, found: Found, proven: &Proven) -> Result<(), String> {
        if let Some(asserted) = proven.strong() {
            let last = self.counters.insert(asserted.credential().clone(), asserted.counter()).unwrap_or(0);
            if !counter_follows(last, asserted.counter()) {
                let (id, now) = (asserted.credential(), asserted.counter());
                return Err(format!("the counter of passkey `{id}` was {last}, and is {now}"));
            }
        }
        self.found.push(found);
        Ok(())
    }

    /// A statement that is bound to what it says by its own fields.
    fn said<T: Statement>(
        &mut self,
        index: u64,
        signed: &Signed<T>,
        said: String,
        about: Digest,
    ) -> Result<(), String> {
        let person = signed.statement.by().clone();
        self.is_current(&signed.signature)?;
        let proven = signed.check(self.credentials(&person)?).map_err(|err| with_source(&err))?;
        self.note(Found { index, person, passkey: passkey_of(&proven), said, about }, &proven)
    }

    fn decided(&mut self, index: u64, signed: &Signed<ChangeStatement>) -> Result<(), String> {
        let about = &signed.statement;
        let (terms, _) = self
            .changes
            .get(&about.terms.id)
            .ok_or_else(|| format!("change `{}` was never proposed", about.terms.id))?;
        if *terms != about.terms {
            return Err(format!(
                "the statement is about other terms than those of change `{}`",
                about.terms.id
            ));
        }
        if about.approver == terms.author {
            return Err(format!("`{}` decided on their own change", about.approver));
        }
        let said = format!("{} another {}", word(about.choice), terms.control);
        let (id, new) = (terms.id.clone(), terms.new);
        self.said(index, signed, said, new)?;
        if let Some((_, approved)) = self.changes.get_mut(&id)
            && about.choice == Choice::Approve
        {
            approved.insert(about.approver.clone());
        }
        Ok(())
    }

    fn changed(
        &mut self,
        index: u64,
        change: &Change,
        retired: Option<&BTreeSet<CredentialId>>,
    ) -> Result<(), String> {
        // Whether or not it had its approvals: the gate went by it from here on.
        if change.control == Control::Registry {
            self.replaced(index, change.new, retired);
        }
        let id = &change.id;
        let Some((terms, approved)) = self.changes.get(id) else {
            return Err(format!("change `{id}` was never proposed"));
        };
        let got = u32::try_from(approved.len()).unwrap_or(u32::MAX);
        if got < terms.needed.max(1) {
            return Err(format!(
                "change `{id}` came in force with {got} approvals: expected {}",
                terms.needed
            ));
        }
        if let Some((person, passkey)) = self.enrolling.remove(id) {
            self.retired.remove(&passkey.id);
            self.people.entry(person).or_default().passkeys.push(passkey);
        }
        Ok(())
    }

    /// Another registry is in force from an entry on, and these passkeys are in it no more.
    fn replaced(&mut self, index: u64, digest: Digest, retired: Option<&BTreeSet<CredentialId>>) {
        if let Some(before) = self.registries.last_mut() {
            before.until = Some(index);
        }
        self.registries.push(InForce { digest, from: index, until: None, retired: retired.cloned() });
        for id in retired.into_iter().flatten() {
            self.retired.insert(id.clone(), index);
            self.people.values_mut().for_each(|theirs| theirs.passkeys.retain(|passkey| passkey.id != *id));
        }
    }

    /// Why a proof cannot count whoever made it: its passkey is out of the registry.
    fn is_current(&self, proof: &Proof) -> Result<(), String> {
        let Some((id, since)) = proof.passkey().and_then(|id| Some((id, self.retired.get(id)?))) else {
            return Ok(());
        };
        Err(format!("signed with passkey `{id}`, which entry {since} took out of the registry"))
    }

    fn on_hold(&mut self, index: u64, record: &Record, signed: &SignedStatement) -> Result<(), String> {
        let person = signed.statement.approver.clone();
        self.is_current(&signed.signature)?;
        let credentials = self.credentials(&person)?.clone();
        let plan = self.plan(record)?;
        let terms = plan.terms.clone().ok_or("a decision on a plan that is not held")?;
        let consent = signed.clone().check_signed(&terms, &credentials, plan.plan.requester());
        let consent = consent.map_err(|err| with_source(&err))?;
        match consent.choice() {
            Choice::Approve if record.at_ms >= terms.expires_at_ms => {
                return Err(format!("`{person}` approved after the hold had ended"));
            }
            Choice::Approve => {
                let act = consent.proven().strong().map(|asserted| asserted.act().clone());
                plan.approved.insert(person.clone(), act);
            }
            Choice::Reject => plan.rejected = true,
        }
        let said = format!("{} a plan at {}", word(consent.choice()), terms.tier);
        let passkey = passkey_of(consent.proven());
        self.note(Found { index, person, passkey, said, about: terms.plan }, consent.proven())
    }

    fn permitted(&mut self, record: &Record) -> Result<(), String> {
        let plan = self.plan(record)?;
        let emergency = plan.plan.requester().is_emergency();
        let Some(decided) = plan.decided else {
            return Err("a permit for what was never decided on".to_owned());
        };
        let Some(terms) = &plan.terms else {
            let alone = decided.answer == Answer::Allow && decided.tier <= Tier::T2 && !emergency;
            let what = || format!("a permit at {} that nobody was asked about", decided.tier);
            return if alone { Ok(()) } else { Err(what()) };
        };
        if decided.facts != terms.facts {
            return Err("a permit for other facts than those that were decided on".to_owned());
        }
        if terms.tier < decided.tier || (emergency && terms.tier < Tier::T4) {
            return Err(format!("a hold at {} of what was decided at {}", terms.tier, decided.tier));
        }
        let needed = needed(terms.tier).max(1).max(decided.people);
        let count = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        let acts: BTreeSet<_> = plan.approved.values().flatten().collect();
        let strong = terms.tier < Tier::T4 || count(acts.len()) >= needed;
        if plan.rejected || count(plan.approved.len()) < needed || !strong {
            return Err(format!(
                "a permit at {} with {} approvals, {} of them by passkeys of different acts",
                terms.tier,
                plan.approved.len(),
                acts.len()
            ));
        }
        Ok(())
    }
}

fn passkey_of(proven: &Proven) -> Option<CredentialId> {
    proven.strong().map(|asserted| asserted.credential().clone())
}

const fn word(choice: Choice) -> &'static str {
    match choice {
        Choice::Approve => "approved",
        Choice::Reject => "rejected",
    }
}

fn with_source(err: &dyn std::error::Error) -> String {
    err.source().map_or_else(|| err.to_string(), |source| format!("{err}: {source}"))
}
