//! Who consented, from the ledger's records alone: which passkeys count, from when, and until when.

use holdpoint_domain::{
    Id,
    actor::Actor,
    approval::Choice,
    change::{Change, ChangeStatement, ChangeStatementType, ChangeTerms, Control},
    consents::Audit,
    halt::{Halt, Reach, ResumeStatement},
    id::kind,
    passkey::CredentialId,
    reconcile::{Part, ReconcileStatement},
    record::{Body, Record},
    signed::{Signed, Statement},
};

use super::{
    statements::{change_terms, reconcile, stated},
    support::{NOW, at, commitment, digest, facts, head, id, key, passkey, pinned},
};

/// A ledger that grows under an audit.
struct Log {
    audit: Audit,
    size: u64,
    counter: u32,
}

impl Log {
    /// Genesis, with ada and bob as administrators.
    fn begun() -> Self {
        let mut log = Self { audit: Audit::new([].into()), size: 0, counter: 0 };
        log.add(
            "ada",
            Body::Genesis {
                origin: head().origin,
                inputs: facts().inputs,
                administrators: pinned(),
                contents: Control::ALL.map(|control| (control, commitment(control.as_str()))).into(),
            },
        );
        log
    }

    /// Adds a record; returns its index.
    fn add(&mut self, who: &str, body: Body) -> u64 {
        let index = self.size;
        let record = Record::new(at(NOW), Actor::Person { person: id(who) }, None, body);
        // As it stands in a log: read from its bytes.
        let record = Record::parse(&record.bytes().unwrap()).unwrap();
        self.audit.take(index, &record);
        self.size += 1;
        index
    }

    /// A statement by somebody's passkey.
    fn by_passkey<T: Statement>(&mut self, statement: T) -> Box<Signed<T>> {
        self.counter += 1;
        let signer = passkey(statement.by().as_str());
        let signature = signer.sign(&statement.signing_bytes().unwrap(), self.counter).into();
        Box::new(Signed { statement, signature })
    }

    /// Bob ends a halt with his passkey.
    fn bob_signs(&mut self) -> u64 {
        let halt = Halt { reach: Reach::Soft, by: None, at_ms: at(NOW) };
        let statement = ResumeStatement::new(head().origin, halt, id("bob"));
        let statement = self.by_passkey(statement);
        self.add("bob", Body::Resumed { statement })
    }

    /// Another registry, which ada wrote and bob approved by his key.
    fn registry(&mut self, name: &str, retired: Option<&[CredentialId]>) -> u64 {
        let terms = ChangeTerms {
            id: id(name),
            control: Control::Registry,
            new: digest(name),
            needed: 1,
            ..change_terms()
        };
        self.add("ada", Body::ChangeProposed { terms: Box::new(terms.clone()) });
        let (r#type, choice) = (ChangeStatementType::V1, Choice::Approve);
        let statement = ChangeStatement { r#type, terms: terms.clone(), approver: id("bob"), choice };
        self.add("bob", Body::ChangeDecided { statement: Box::new(stated(statement, &key(2))) });
        let ChangeTerms { id, control, old, new, author, .. } = terms;
        let change = Change { id, control, old, new, author };
        let retired = retired.map(|gone| gone.iter().cloned().collect());
        self.add("bob", Body::Changed { change, retired })
    }

    fn faults(&self) -> Vec<(u64, &str)> {
        self.audit.faults().iter().map(|fault| (fault.index, fault.what.as_str())).collect()
    }
}

#[test]
fn inv05_a_passkey_that_a_change_took_out_signs_no_more() {
    let mut log = Log::begun();
    let bobs = passkey("bob").passkey.id;
    log.bob_signs();
    let taken_out = log.registry("change-2", Some(std::slice::from_ref(&bobs)));
    assert_eq!(log.faults(), [], "what it signed before counts");
    let after = log.bob_signs();
    let why = format!("signed with passkey `{bobs}`, which entry {taken_out} took out of the registry");
    assert_eq!(log.faults(), [(after, why.as_str())]);
    let registries = log.audit.registries();
    assert_eq!(
        (registries[0].digest, registries[0].from, registries[0].until),
        (facts().inputs.registry, 0, Some(taken_out))
    );
    assert_eq!((registries[1].digest, registries[1].until), (digest("change-2"), None));
    assert_eq!(registries[1].retired, Some([bobs].into()));
}

#[test]
fn inv05_nobody_elses_passkey_goes_with_it_and_enrolled_anew_it_counts_again() {
    let mut log = Log::begun();
    log.registry("change-2", Some(&[passkey("ada").passkey.id]));
    log.bob_signs();
    assert_eq!(log.faults(), []);
    log.registry("change-3", Some(&[passkey("bob").passkey.id]));
    let change: Id<kind::Change> = id("change-4");
    let body = Body::Enrolling { act: id("act-bob"), passkey: Box::new(passkey("bob").passkey), change };
    log.add("bob", body);
    let early = log.bob_signs();
    log.registry("change-4", Some(&[]));
    log.bob_signs();
    let indexes: Vec<_> = log.faults().into_iter().map(|(index, _)| index).collect();
    assert_eq!(indexes, [early], "not before others approved it");
}

/// Logs of before the record said which: nothing is made up, and the audit says that it does not know.
#[test]
fn a_change_that_does_not_say_what_it_took_out_is_told_as_such() {
    let mut log = Log::begun();
    log.registry("change-2", None);
    log.bob_signs();
    assert_eq!(log.faults(), []);
    assert_eq!(log.audit.registries()[1].retired, None);
}

#[test]
fn inv05_what_was_done_outside_is_signed_by_whoever_says_so() {
    let mut log = Log::begun();
    let said = |part, by: &str| ReconcileStatement { part, by: id(by), ..reconcile() };
    let statement = log.by_passkey(said(Part::Reported, "ada"));
    log.add("ada", Body::Reconciled { statement, due: None });
    let found = log.audit.found().last().unwrap();
    assert_eq!((found.person.as_str(), found.said.as_str()), ("ada", "reported what was done outside"));
    assert_eq!(found.about, reconcile().account.digest().unwrap());
    let forged = Box::new(stated(said(Part::Confirmed, "bob"), &key(1)));
    let index = log.add("bob", Body::Reconciled { statement: forged, due: None });
    assert_eq!(log.faults()[0].0, index);
}
