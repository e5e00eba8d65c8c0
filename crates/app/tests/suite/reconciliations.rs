//! What was done outside of Holdpoint: who may say so, what it takes to be on record, and that nothing else comes of it.

use holdpoint_app::{
    fake::{
        Setup, Stage,
        controls::{id, ids, person},
        decider, session, signed, signed_by,
    },
    halt,
    notify::{Event, Rules},
    port::{Clock as _, Store as _, StoreError, Txn},
    projection::{AccountRow, RunFilter},
    reconcile::{self, Opened},
    refusal::{Blame, Refusal},
};
use holdpoint_domain::{
    Id, Millis, Timestamp,
    actor::Identity,
    decision::Answer,
    digest::Salt,
    halt::Reach,
    reconcile::{Account, Due, Part, ReconcileStatement, Words},
    record::{Body, Record, Request},
};

use super::{
    notifications::{Post, people, route, rules, told},
    support::{audit, count, held, proposed, recovered, refusals, started, state, wait},
};

fn words() -> Words {
    Words {
        did: "CANARY restarted the worker with systemctl".to_owned(),
        reason: "the gate's machine was down, and so was the checkout".to_owned(),
        before: "it answered nothing for eleven minutes".to_owned(),
        after: "it answers again, with the same version".to_owned(),
    }
}

fn salt() -> Salt {
    Salt::new([7; 32])
}

/// What alice and bob did to `worker-1`, in an hour that ended a minute ago.
fn account(stage: &Stage) -> Account {
    let ago = |secs: u32| Timestamp::from_ms(stage.clock.now().ms() - u64::from(secs) * 1000).unwrap();
    Account {
        origin: stage.store.head().origin.clone(),
        action: Some(id("process.restart")),
        target: id("worker-1"),
        from_ms: ago(3660),
        until_ms: ago(60),
        people: ids(&["alice", "bob"]),
        incident: Some(id("inc-1")),
        words: words().commit(&salt()).unwrap(),
    }
}

fn opened() -> Option<Opened> {
    Some(Opened { words: words(), salt: salt() })
}

fn said(stage: &Stage, who: &str, part: Part, account: &Account) -> Result<AccountRow, Refusal> {
    let statement = ReconcileStatement::new(account.clone(), part, id(who));
    let opened = if part == Part::Reported { opened() } else { None };
    wait(reconcile::reconcile(&stage.gate, &session(who), signed(statement), opened))
}

/// A stage that has been up for two hours.
fn stage() -> Stage {
    let stage = started(Setup::default());
    stage.clock.advance(Millis::secs(7200));
    stage
}

#[test]
fn one_reports_another_confirms_and_somebody_else_looks() {
    let mut stage = stage();
    let account = account(&stage);
    let row = said(&stage, "alice", Part::Reported, &account).unwrap();
    assert_eq!((row.state(), &row.reported_by), (Part::Reported, &id("alice")));
    assert_eq!(row.due.due_at_ms, stage.clock.now().plus(stage.gate.settings.review_ms).unwrap());
    let row = said(&stage, "bob", Part::Confirmed, &account).unwrap();
    assert_eq!((row.state(), row.confirmed_by), (Part::Confirmed, Some(id("bob"))));
    stage.restart();
    let row = said(&stage, "carol", Part::Reviewed, &account).unwrap();
    assert_eq!(row.state(), Part::Reviewed);
    assert_eq!(count(&stage, "reconciled"), 3);
    // What they said is kept beside the ledger, and stands in it as a commitment alone.
    let shown = wait(reconcile::list(&stage.gate, 10)).unwrap().remove(0);
    assert_eq!(shown.opened.unwrap().words, words());
    for record in stage.store.records() {
        assert!(!String::from_utf8(record.bytes().unwrap()).unwrap().contains("CANARY"));
    }
    audit(&stage);
}

#[test]
fn somebody_who_was_not_there_may_say_that_it_was_otherwise() {
    let stage = stage();
    let account = account(&stage);
    said(&stage, "bob", Part::Reported, &account).unwrap();
    said(&stage, "alice", Part::Confirmed, &account).unwrap();
    assert_eq!(said(&stage, "carol", Part::Disputed, &account).unwrap().state(), Part::Disputed);
    assert_eq!(said(&stage, "carol", Part::Reviewed, &account).unwrap_err().rule, "looked-before");
}

/// Every field of an account that can be wrong, with the rule that says so.
#[test]
fn what_contradicts_the_clock_the_inventory_or_the_registry_is_refused() {
    let stage = stage();
    let good = account(&stage);
    let now = stage.clock.now();
    let later = |secs| now.plus(Millis::secs(secs)).unwrap();
    let cases: [(&str, Account, &str, &str); 9] = [
        ("a future end", Account { until_ms: later(1), ..good.clone() }, "bad-account", "future"),
        (
            "an end before the start",
            Account { from_ms: now, ..good.clone() },
            "bad-account",
            "before it began",
        ),
        ("one person", Account { people: ids(&["alice"]), ..good.clone() }, "bad-account", "got 1"),
        (
            "a stranger",
            Account { people: ids(&["alice", "mallory"]), ..good.clone() },
            "unknown-person",
            "mallory",
        ),
        ("others", Account { people: ids(&["bob", "carol"]), ..good.clone() }, "was-not-there", "alice"),
        ("a target", Account { target: id("worker-9"), ..good.clone() }, "unknown-target", "worker-9"),
        ("an action", Account { action: Some(id("no.such")), ..good.clone() }, "no-such-action", "no.such"),
        (
            "a log",
            Account { origin: "other.example/log".to_owned(), ..good.clone() },
            "other-log",
            "another log",
        ),
        (
            "words",
            Account { words: words().commit(&Salt::new([8; 32])).unwrap(), ..good.clone() },
            "other-words",
            "other words",
        ),
    ];
    for (what, account, rule, fact) in cases {
        let refusal = said(&stage, "alice", Part::Reported, &account).unwrap_err();
        assert_eq!(refusal.rule, rule, "{what}");
        assert!(refusal.fact.contains(fact) && !refusal.next.is_empty(), "{what}: {refusal}");
    }
    assert_eq!(count(&stage, "reconciled"), 0);
    assert!(refusals(&stage).iter().all(|(request, _)| *request == Request::Reconcile));
    // Without an action, the words alone say what was done.
    said(&stage, "alice", Part::Reported, &Account { action: None, ..good }).unwrap();
}

#[test]
fn texts_that_say_nothing_or_too_much_are_refused() {
    let stage = stage();
    for bad in ["", "ok", &" ".repeat(40), &"x".repeat(4001)] {
        let thin = Words { after: bad.to_owned(), ..words() };
        let account = Account { words: thin.commit(&salt()).unwrap(), ..account(&stage) };
        let statement = signed(ReconcileStatement::new(account, Part::Reported, id("alice")));
        let opened = Some(Opened { words: thin, salt: salt() });
        let refusal =
            wait(reconcile::reconcile(&stage.gate, &session("alice"), statement, opened)).unwrap_err();
        assert_eq!((refusal.rule, refusal.blame), ("bad-words", Blame::Caller), "{bad:?}");
        assert!(refusal.fact.contains("`after`"), "{refusal}");
    }
    let statement = || signed(ReconcileStatement::new(account(&stage), Part::Reported, id("alice")));
    let silent = wait(reconcile::reconcile(&stage.gate, &session("alice"), statement(), None));
    assert_eq!(silent.unwrap_err().rule, "no-words");
    said(&stage, "alice", Part::Reported, &account(&stage)).unwrap();
    let again = signed(ReconcileStatement::new(account(&stage), Part::Confirmed, id("bob")));
    let again = wait(reconcile::reconcile(&stage.gate, &session("bob"), again, opened()));
    assert_eq!(again.unwrap_err().rule, "words-again");
}

#[test]
fn inv05_each_part_is_another_persons_in_order_and_signed_by_them() {
    let mut setup = Setup::default();
    setup.parts.people.push(person("dora", 14));
    let stage = started(setup);
    stage.clock.advance(Millis::secs(7200));
    let account = account(&stage);
    let rule = |who: &str, part| said(&stage, who, part, &account).unwrap_err().rule;
    for part in [Part::Confirmed, Part::Reviewed, Part::Disputed] {
        assert_eq!(rule("bob", part), "no-such-account");
    }
    said(&stage, "alice", Part::Reported, &account).unwrap();
    assert_eq!(rule("alice", Part::Reported), "same-person");
    assert_eq!(rule("alice", Part::Confirmed), "same-person");
    assert_eq!(rule("bob", Part::Reported), "reported-before");
    assert_eq!(rule("carol", Part::Confirmed), "was-not-there");
    assert_eq!(rule("carol", Part::Reviewed), "not-confirmed");
    assert_eq!(rule("bob", Part::Reviewed), "was-there");
    // Another account than the one on record, by one field: nobody said that.
    let other = Account { until_ms: stage.clock.now(), ..account.clone() };
    assert_eq!(said(&stage, "bob", Part::Confirmed, &other).unwrap_err().rule, "no-such-account");
    // Signed by another key, or in another one's session.
    let forged = signed_by(13, ReconcileStatement::new(account.clone(), Part::Confirmed, id("bob")));
    let say = |who: &Identity, signed| wait(reconcile::reconcile(&stage.gate, who, signed, None));
    assert_eq!(say(&session("bob"), forged).unwrap_err().rule, "statement-refused");
    let bobs = || signed(ReconcileStatement::new(account.clone(), Part::Confirmed, id("bob")));
    assert_eq!(say(&session("alice"), bobs()).unwrap_err().rule, "other-signer");
    let agents = say(&decider("healer"), bobs()).unwrap_err();
    assert_eq!((agents.rule, agents.blame), ("not-a-person", Blame::Forbidden));
    said(&stage, "bob", Part::Confirmed, &account).unwrap();
    assert_eq!(rule("bob", Part::Confirmed), "confirmed-before");
    assert_eq!(count(&stage, "reconciled"), 2);
    audit(&stage);
}

/// The store counts for itself, whatever a use case forgets.
#[test]
fn inv05_the_store_refuses_a_part_that_does_not_follow() {
    let stage = stage();
    let account = account(&stage);
    let due = || Some(Due { due_at_ms: stage.clock.now(), owner: id("sre") });
    let append = |who: &str, part, due| {
        let statement = Box::new(signed(ReconcileStatement::new(account.clone(), part, id(who))));
        let body = Body::Reconciled { statement, due };
        let records = vec![Record::new(stage.clock.now(), session(who).actor(), None, body)];
        wait(stage.store.append(Txn { records, ..Txn::default() })).map(drop)
    };
    let closed = Err(StoreError::AccountNotOpen(account.digest().unwrap()));
    assert_eq!(append("alice", Part::Reported, None), closed, "no look is owed");
    assert_eq!(append("carol", Part::Reported, due()), closed, "was not there");
    assert_eq!(append("bob", Part::Confirmed, None), closed, "not reported");
    assert_eq!(append("alice", Part::Reported, due()), Ok(()));
    assert_eq!(append("bob", Part::Reported, due()), closed, "twice");
    assert_eq!(append("alice", Part::Confirmed, None), closed, "by the same person");
    assert_eq!(append("carol", Part::Confirmed, None), closed, "was not there");
    assert_eq!(append("carol", Part::Reviewed, None), closed, "not confirmed");
    assert_eq!(append("bob", Part::Confirmed, due()), closed, "a look that is owed twice");
    assert_eq!(append("bob", Part::Confirmed, None), Ok(()));
    assert_eq!(append("bob", Part::Reviewed, None), closed, "was there");
    assert_eq!(append("carol", Part::Reviewed, None), Ok(()));
    assert_eq!(append("carol", Part::Disputed, None), closed, "twice");
}

#[test]
fn inv01_inv02_an_account_starts_nothing_and_authorises_nothing() {
    let stage = stage();
    // A plan for the same action and target waits, and one has ended.
    let (plan, _) = held(&stage, "cache.drop", "worker-1");
    let account = Account { action: Some(id("cache.drop")), ..account(&stage) };
    let before = (stage.world.trace().len(), stage.store.last_epoch(), stage.store.claims());
    let thing = stage.world.thing("worker-1").content;
    for (who, part) in [("alice", Part::Reported), ("bob", Part::Confirmed), ("carol", Part::Reviewed)] {
        said(&stage, who, part, &account).unwrap();
        recovered(&stage);
    }
    assert_eq!((stage.world.trace().len(), stage.store.last_epoch(), stage.store.claims()), before);
    assert_eq!(stage.world.thing("worker-1").content, thing);
    assert_eq!(wait(stage.store.live_leases()).unwrap(), []);
    let all = RunFilter { since: Some(Timestamp::EPOCH), ..RunFilter::default() };
    assert_eq!(wait(stage.store.runs(all)).unwrap(), []);
    for word in ["permitted", "claimed", "leased", "approved", "applying"] {
        assert_eq!(count(&stage, word), 0, "{word}");
    }
    // The plan that waits waits on, and the next one like it is held as ever.
    assert_eq!(state(&stage, &plan), holdpoint_domain::flow::State::Held);
    assert_eq!(proposed(&stage, "cache.drop", "worker-1").decision.answer, Answer::Hold);
    audit(&stage);
}

#[test]
fn inv15_it_is_recorded_while_everything_is_halted() {
    let stage = stage();
    wait(halt::halt(&stage.gate, &session("carol"), Reach::Hard)).unwrap();
    let account = account(&stage);
    said(&stage, "alice", Part::Reported, &account).unwrap();
    said(&stage, "bob", Part::Confirmed, &account).unwrap();
}

#[test]
fn everybody_is_told_and_reminded_when_nobody_looked_in_time() {
    let stage = stage();
    let everybody = told(&["mail", "siren"], vec![people(&["alice", "bob", "carol"])]);
    let overdue = route(&[Event::ReviewOverdue], told(&["mail"], vec![people(&["carol"])]));
    let post = Post::open(&stage, Rules { everybody, ..rules(vec![overdue]) });
    post.round();
    let account = account(&stage);
    let all = ["mail: reconciled alice+bob+carol", "siren: reconciled alice+bob+carol"];
    said(&stage, "alice", Part::Reported, &account).unwrap();
    post.round();
    let message = post.messages().pop().unwrap();
    assert_eq!(message.about.by, Some(id("alice")));
    assert_eq!(message.link, "https://holdpoint.example.org/reconciliations");
    assert!(!serde_json::to_string(&message).unwrap().contains("CANARY"));
    said(&stage, "bob", Part::Confirmed, &account).unwrap();
    post.round();
    assert_eq!(post.told(), all);
    stage.clock.advance(stage.gate.settings.review_ms);
    post.round();
    assert_eq!(post.told(), ["mail: review_overdue carol"]);
    said(&stage, "carol", Part::Reviewed, &account).unwrap();
    post.round();
    assert_eq!(post.told(), all);
    stage.clock.advance(stage.gate.settings.review_ms);
    post.round();
    assert_eq!(post.told(), [] as [&str; 0], "somebody looked");
}

#[test]
fn what_waits_for_a_look_is_told_at_a_first_start() {
    let stage = stage();
    let account = account(&stage);
    let look = |who: &str| -> Id<holdpoint_domain::id::kind::Person> { id(who) };
    said(&stage, "alice", Part::Reported, &account).unwrap();
    said(&stage, "bob", Part::Confirmed, &account).unwrap();
    let everybody = told(&["mail"], vec![people(&["carol"])]);
    let post = Post::open(&stage, Rules { everybody, ..rules(Vec::new()) });
    post.round();
    assert_eq!(post.told(), ["mail: reconciled carol"]);
    assert_eq!(wait(reconcile::list(&stage.gate, 1)).unwrap()[0].row.confirmed_by, Some(look("bob")));
}
