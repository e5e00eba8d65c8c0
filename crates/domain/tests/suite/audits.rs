//! Who consented, from the ledger's records alone: which passkeys count, from when, and until when.

use holdpoint_domain::{
    Id, Tier,
    actor::Actor,
    approval::{Choice, HoldTerms},
    change::{Change, ChangeStatement, ChangeStatementType, ChangeTerms, Control},
    consents::Audit,
    decision::{Answer, Decision},
    halt::{Halt, Reach, ResumeStatement},
    id::kind,
    passkey::CredentialId,
    plan::{Plan, Requester},
    reconcile::{Part, ReconcileStatement},
    record::{AgentContext, Body, Record, Submitted},
    signed::{Signed, Statement},
};

use super::{
    statements::{change_terms, reconcile, stated},
    support::{
        NOW, at, commitment, digest, facts, head, id, key, one, passkey, pinned, plan, raw_decision, signed,
        terms,
    },
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
        self.take(&Record::new(at(NOW), Actor::Person { person: id(who) }, None, body))
    }

    /// Adds a record of the one plan.
    fn of_plan(&mut self, body: Body) -> u64 {
        self.take(&Record::new(at(NOW), Actor::Gate, Some(id("plan-1")), body))
    }

    /// A plan that was proposed and decided on like this.
    fn decided(&mut self, plan: &Plan, decision: &Decision) {
        let (narrative, nothing) = (commitment("the worker hangs"), Submitted::Withheld);
        let context = AgentContext { prompt: nothing, model: nothing, transcript: nothing };
        self.of_plan(Body::Proposed { plan: Box::new(plan.clone()), narrative, context });
        let facts = Box::new(one(&facts()));
        self.of_plan(Body::Decided { decision: Box::new(decision.clone()), facts });
    }

    fn permitted(&mut self) -> u64 {
        self.of_plan(Body::Permitted { jws: "a.b.c".to_owned(), nonce: id("nonce-2"), epoch: 7 })
    }

    fn take(&mut self, record: &Record) -> u64 {
        let index = self.size;
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

#[test]
fn inv05_a_permit_that_nobody_was_asked_about_is_a_fault() {
    let by_itself = raw_decision(Answer::Allow, Tier::T2);
    let mut log = Log::begun();
    log.decided(&plan(), &by_itself);
    log.permitted();
    assert_eq!(log.faults(), [], "what runs by itself asks nobody");

    for decision in [raw_decision(Answer::Hold, Tier::T3), raw_decision(Answer::Allow, Tier::T3)] {
        let mut log = Log::begun();
        log.decided(&plan(), &decision);
        let permit = log.permitted();
        assert_eq!(log.faults(), [(permit, "a permit at T3 that nobody was asked about")]);
    }
    // Whatever the record says of it: what people ask for beyond policy takes two of them.
    let requester = Requester::in_emergency(id("ada")).unwrap();
    let emergency = Plan::new(requester, None, id("process.hung"), plan().steps().to_vec()).unwrap();
    let mut log = Log::begun();
    log.decided(&emergency, &by_itself);
    let permit = log.permitted();
    assert_eq!(log.faults(), [(permit, "a permit at T2 that nobody was asked about")]);
}

#[test]
fn inv05_a_hold_is_no_milder_than_its_decision_and_takes_no_late_approval() {
    let held = |decision: &Decision, edit: &dyn Fn(&mut HoldTerms)| {
        let mut log = Log::begun();
        log.decided(&plan(), decision);
        let mut terms = terms(decision);
        edit(&mut terms);
        log.of_plan(Body::Held { terms: Box::new(terms.clone()) });
        let statement = Box::new(signed(&terms, "ada", Choice::Approve));
        let approval = log.take(&Record::new(
            at(NOW),
            Actor::Person { person: id("ada") },
            Some(id("plan-1")),
            Body::Approved { statement },
        ));
        (approval, log.permitted(), log)
    };
    let asks = raw_decision(Answer::Hold, Tier::T3);
    let (_, _, log) = held(&asks, &|_| {});
    assert_eq!(log.faults(), []);
    let two = raw_decision(Answer::Hold, Tier::T4);
    let (_, permit, log) = held(&two, &|terms| terms.tier = Tier::T3);
    assert_eq!(log.faults(), [(permit, "a hold at T3 of what was decided at T4")]);
    let (approval, permit, log) = held(&asks, &|terms| terms.expires_at_ms = at(NOW));
    let faults: Vec<_> = log.faults().into_iter().map(|(index, _)| index).collect();
    assert_eq!(faults, [approval, permit], "an approval that came too late is none");
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
