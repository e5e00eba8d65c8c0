//! Passkeys at the gate: what is approved from T4 on, by whose passkeys, and what a passkey's counter tells.

use holdpoint_app::{
    approve::Decided,
    fake::{
        Policy, Setup, Stage, asserted_with,
        controls::{PEOPLE, id, passkey, passkey_of},
        session, signed_with, statement,
    },
    refusal::{Blame, Refusal},
    review::review,
};
use holdpoint_domain::{
    Rung,
    aftercare::{Answers, ReviewStatement, ReviewType},
    approval::{Choice, HoldTerms, SignedStatement},
    flow::State,
    passkey::Authenticator,
    proof::{MAX_PASSKEYS, Proof},
    record::Request,
    signed::{Signed, Statement as _},
};

use super::support::{
    Plan, approved, audit, bring, decide, held, proposed, refusals, run_it, started, state, wait,
};

fn at_t4() -> Stage {
    started(Setup { policy: Policy::From(Rung::T4), ..Setup::default() })
}

/// A stage whose people were changed before it started.
fn with_people(change: fn(&mut Setup)) -> Stage {
    let mut setup = Setup { policy: Policy::From(Rung::T4), ..Setup::default() };
    change(&mut setup);
    started(setup)
}

fn own(person: &str) -> Authenticator {
    passkey(person, PEOPLE.iter().find(|(name, _)| *name == person).unwrap().1)
}

/// A person approves with a passkey whose counter is this.
fn at_counter(stage: &Stage, person: &str, counter: u32, terms: &HoldTerms) -> Result<Decided, Refusal> {
    let said = asserted_with(&own(person), counter, person, terms, Choice::Approve);
    bring(stage, &session(person), terms, said)
}

/// What makes a registry less.
type Spoil = fn(&mut Setup);

#[test]
fn inv05_t11_t4_is_unavailable_until_two_people_have_passkeys_of_different_acts() {
    let unavailable: [(&str, Spoil); 3] = [
        ("nobody", |setup| setup.parts.people.iter_mut().for_each(|person| person.passkeys.clear())),
        ("one person", |setup| {
            setup.parts.people.iter_mut().skip(1).for_each(|person| person.passkeys.clear())
        }),
        ("one act", |setup| {
            setup.parts.people.iter_mut().for_each(|person| person.passkeys[0].act = id("act-alice"));
        }),
    ];
    for (who, change) in unavailable {
        let stage = with_people(change);
        let (plan, terms) = held(&stage, "process.restart", "worker-1");
        let refusal = decide(&stage, "alice", &terms, Choice::Approve).unwrap_err();
        // Without a passkey, hers does not hold; with one, she is alone.
        let rule = if who == "nobody" { "statement-refused" } else { "t4-unavailable" };
        assert_eq!((refusal.rule, refusal.blame), (rule, Blame::Forbidden), "{who}");
        for (person, seed) in PEOPLE {
            let by_key = signed_with(seed, person, &terms, Choice::Approve);
            let refusal = bring(&stage, &session(person), &terms, by_key).unwrap_err();
            assert_eq!(refusal.rule, "t4-unavailable", "{who}: {person}");
        }
        assert_eq!(state(&stage, &plan), State::Held);
        assert!(refusals(&stage).iter().all(|(request, _)| *request == Request::Decide), "{who}");
        // Nobody needs a passkey to say no.
        let no = signed_with(12, "bob", &terms, Choice::Reject);
        assert_eq!(bring(&stage, &session("bob"), &terms, no).unwrap().state, State::Rejected);
        audit(&stage);
    }
}

/// Two names of one act are one person at most: the third, whom another act enrolled, makes them two.
#[test]
fn inv05_t11_two_people_of_one_act_do_not_release() {
    let stage = with_people(|setup| setup.parts.people[1].passkeys[0].act = id("act-alice"));
    let (plan, terms) = held(&stage, "process.restart", "worker-1");
    assert_eq!(approved(&stage, "alice", &terms).approvals, 1);
    let refusal = decide(&stage, "bob", &terms, Choice::Approve).unwrap_err();
    assert_eq!(refusal.rule, "no-permit");
    assert!(refusal.fact.contains("one act"), "{refusal}");
    assert_eq!(state(&stage, &plan), State::Held);
    assert_eq!(approved(&stage, "carol", &terms).state, State::Permitted);
    assert_eq!(run_it(&stage, &plan), Ok(State::Succeeded));
    audit(&stage);
}

#[test]
fn inv05_t03_an_assertion_counts_for_its_hold_and_its_person_alone() {
    let stage = at_t4();
    let (_, first) = held(&stage, "process.restart", "worker-1");
    let (plan, second) = held(&stage, "process.restart", "worker-2");
    let bobs = statement("bob", &first, Choice::Approve);
    bring(&stage, &session("bob"), &first, bobs.clone()).unwrap();
    let under = |proof: &Proof, person: &str, choice| {
        let signed = SignedStatement { signature: proof.clone(), ..statement(person, &second, choice) };
        bring(&stage, &session(person), &second, signed).unwrap_err().rule
    };
    // What bob signed for the first hold, under the second; under carol's name; and as a no.
    assert_eq!(under(&bobs.signature, "bob", Choice::Approve), "statement-refused");
    assert_eq!(under(&bobs.signature, "carol", Choice::Approve), "statement-refused");
    assert_eq!(under(&bobs.signature, "bob", Choice::Reject), "statement-refused");
    // Bob's passkey over a statement of carol's, as if it were hers.
    let stolen = asserted_with(&own("bob"), 0, "carol", &second, Choice::Approve);
    assert_eq!(under(&stolen.signature, "carol", Choice::Approve), "statement-refused");
    let Proof::Passkey(mut assertion) = stolen.signature else { panic!("signed with a passkey") };
    assertion.credential = own("carol").passkey.id;
    assert_eq!(under(&Proof::Passkey(assertion), "carol", Choice::Approve), "statement-refused");
    // A passkey that nobody registered.
    let new = asserted_with(&passkey_of("carol", [99; 32]), 0, "carol", &second, Choice::Approve);
    assert_eq!(under(&new.signature, "carol", Choice::Approve), "statement-refused");
    assert_eq!(state(&stage, &plan), State::Held);
    audit(&stage);
}

/// A counter that stands still or goes back tells of a copy: what it signed does not count, whatever it is about, and a restart
/// forgets nothing.
#[test]
fn inv05_t11_a_counter_that_does_not_grow_is_refused() {
    let mut stage = at_t4();
    let on = |stage: &Stage, target: &str| held(stage, "process.restart", target);
    let (_, first) = on(&stage, "worker-1");
    let (plan, second) = on(&stage, "worker-2");
    at_counter(&stage, "bob", 7, &first).unwrap();
    for stale in [7, 6, 1, 0] {
        let refusal = at_counter(&stage, "bob", stale, &second).unwrap_err();
        assert_eq!((refusal.rule, refusal.blame), ("passkey-counter", Blame::Forbidden), "{stale}");
        assert_eq!(refusals(&stage).last().unwrap(), &(Request::Decide, "passkey-counter".to_owned()));
    }
    stage.restart();
    assert_eq!(at_counter(&stage, "bob", 7, &second).unwrap_err().rule, "passkey-counter");
    // Others have counters of their own, and some have none.
    for (person, counter) in [("alice", 0), ("bob", 8)] {
        at_counter(&stage, person, counter, &second).unwrap();
    }
    assert_eq!(state(&stage, &plan), State::Permitted);
    let (_, third) = on(&stage, "worker-3");
    at_counter(&stage, "alice", 0, &third).unwrap();
    audit(&stage);
}

/// One counter for everything that a passkey signs: a copy that reviews is found when its original approves.
#[test]
fn t11_a_counter_is_one_for_every_kind_of_statement() {
    let stage = started(Setup::default());
    let plan = proposed(&stage, "process.restart", "worker-1").id;
    assert_eq!(run_it(&stage, &plan), Ok(State::Succeeded));
    let reviewed = |plan: &Plan, counter| {
        let view = wait(stage.view(plan)).unwrap();
        let statement = ReviewStatement {
            r#type: ReviewType::V1,
            plan: plan.clone(),
            digest: view.plan.digest().unwrap(),
            seen: view.last_index(),
            reviewer: id("bob"),
            answers: Answers { trigger_was_real: true, did_what_it_should: true, may_go_on: true },
        };
        let signature = own("bob").sign(&statement.signing_bytes().unwrap(), counter).into();
        wait(review(&stage.gate, &session("bob"), plan, Signed { statement, signature }, None))
    };
    stage.judge.set(Policy::From(Rung::T4));
    let (_, terms) = held(&stage, "process.restart", "worker-2");
    at_counter(&stage, "bob", 3, &terms).unwrap();
    assert_eq!(reviewed(&plan, 3).unwrap_err().rule, "passkey-counter");
    reviewed(&plan, 4).unwrap();
    let (_, other) = held(&stage, "process.restart", "worker-3");
    assert_eq!(at_counter(&stage, "bob", 4, &other).unwrap_err().rule, "passkey-counter");
    at_counter(&stage, "bob", 5, &other).unwrap();
    audit(&stage);
}

/// Each of somebody's passkeys counts, with a counter of its own; all of them are one person.
#[test]
fn inv05_several_passkeys_of_one_person_count_once() {
    let stage = with_people(|setup| {
        let more = (100..).map(|seed| passkey_of("bob", [seed; 32]).passkey).take(MAX_PASSKEYS - 1);
        setup.parts.people[1].passkeys.extend(more);
    });
    let (_, first) = held(&stage, "process.restart", "worker-1");
    let (_, second) = held(&stage, "process.restart", "worker-2");
    let with = |seed, counter, terms: &HoldTerms| {
        let said = asserted_with(&passkey_of("bob", [seed; 32]), counter, "bob", terms, Choice::Approve);
        bring(&stage, &session("bob"), terms, said)
    };
    assert_eq!(with(100, 9, &first).unwrap().approvals, 1);
    assert_eq!(with(101, 9, &first).unwrap_err().rule, "decided-before");
    assert_eq!(with(101, 1, &second).unwrap().approvals, 1);
    assert_eq!(approved(&stage, "carol", &second).state, State::Permitted);
    audit(&stage);
}
