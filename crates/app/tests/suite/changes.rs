//! Changes of control inputs: by a recorded change, approved by administrators other than its author, and never otherwise.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use holdpoint_app::{
    approve::decide_hold,
    change::{Decided, decide, propose, saw_on_disk, show},
    fake::{
        BROKEN, Failure, Setup, Stage, When,
        controls::{id, passkey, person},
        decider, session, signed_by, statement,
    },
    gate::Gate,
    port::{Inputs as _, Store as _, StoreError},
    projection::ChangeState,
    refusal::Refusal,
    run::run,
    start::activated as activated_document,
};
use holdpoint_domain::{
    Digest, Tier,
    actor::Identity,
    approval::Choice,
    change::{ChangeStatement, ChangeStatementType, ChangeTerms, Control},
    flow::State,
    record::{Body, Request},
};

use super::support::{
    audit, count, held, poll_until, proposed, refusals, run_it, started, state, verdict, wait,
};

type Files = BTreeMap<String, String>;

fn files(name: &str, text: &str) -> Files {
    [(name.to_owned(), text.to_owned())].into()
}

fn ask(stage: &Stage, who: &str, control: Control, text: &str) -> Result<ChangeTerms, Refusal> {
    wait(propose(&stage.gate, &session(who), control, files(control.as_str(), text)))
}

fn say(stage: &Stage, who: &str, terms: &ChangeTerms, choice: Choice) -> Result<Decided, Refusal> {
    wait(decide(&stage.gate, &session(who), &terms.id, verdict(who, terms, choice)))
}

fn yes(stage: &Stage, who: &str, terms: &ChangeTerms) -> Result<Decided, Refusal> {
    say(stage, who, terms, Choice::Approve)
}

fn rule(result: Result<Decided, Refusal>) -> &'static str {
    result.unwrap_err().rule
}

/// The gate that was put in force last.
fn in_force(stage: &Stage) -> std::sync::Arc<Gate> {
    stage.inputs.activated().last().unwrap().1.clone()
}

/// As the stage begins: alice is no administrator, bob and carol are. With one administrator more.
fn with_dave() -> Setup {
    let mut setup = Setup::default();
    setup.parts.people.push(person("dave", 14));
    setup
}

#[test]
fn inv13_two_others_put_a_change_in_force() {
    for control in Control::ALL {
        let stage = started(Setup::default());
        let terms = ask(&stage, "alice", control, "second").unwrap();
        assert_eq!((terms.needed, terms.old), (2, control.of(&stage.gate.inputs)));
        let first = yes(&stage, "bob", &terms).unwrap();
        assert_eq!((first.state, first.approvals, first.needed), (ChangeState::Open, 1, 2));
        assert_eq!(stage.store.active_inputs(), Some(stage.gate.inputs));
        assert!(stage.inputs.activated().is_empty());
        let second = yes(&stage, "carol", &terms).unwrap();
        assert_eq!((second.state, second.approvals), (ChangeState::Activated, 2));
        let active = stage.store.active_inputs().unwrap();
        assert_eq!((control.of(&active), in_force(&stage).inputs), (terms.new, active));
        assert_eq!(stage.inputs.active(control).files, files(control.as_str(), "second"));
        let kept = wait(activated_document(stage.store.as_ref(), control)).unwrap().unwrap();
        assert_eq!(kept.files, files(control.as_str(), "second"));
        // It is over: nobody decides on it any more, and nothing is put in force twice.
        assert_eq!(rule(yes(&stage, "carol", &terms)), "not-open");
        assert_eq!(count(&stage, "changed"), 1);
        audit(&stage);
    }
}

#[test]
fn inv05_inv13_a_registry_that_takes_a_passkey_out_says_so_in_the_ledger() {
    let retired = |control, text: &str| {
        let stage = started(Setup::default());
        let terms = ask(&stage, "alice", control, text).unwrap();
        yes(&stage, "bob", &terms).unwrap();
        yes(&stage, "carol", &terms).unwrap();
        match stage.store.records().pop().unwrap().body {
            Body::Changed { retired, .. } => retired,
            other => panic!("{other:?}"),
        }
    };
    let bobs = passkey("bob", 12).passkey.id;
    assert_eq!(retired(Control::Registry, &format!("without {bobs}")), Some([bobs].into()));
    assert_eq!(retired(Control::Registry, "second"), Some([].into()), "none, and it says that");
    assert_eq!(retired(Control::Policy, "second"), None);
}

#[test]
fn inv13_whoever_is_the_only_other_administrator_is_enough_and_nobody_is_not() {
    let stage = started(Setup::default());
    let terms = ask(&stage, "bob", Control::Policy, "second").unwrap();
    assert_eq!(terms.needed, 1);
    assert_eq!(yes(&stage, "carol", &terms).unwrap().state, ChangeState::Activated);
    let mut setup = Setup::default();
    setup.parts.people.pop();
    let stage = started(setup);
    assert_eq!(ask(&stage, "bob", Control::Policy, "second").unwrap_err().rule, "nobody-else");
    assert_eq!(count(&stage, "change_proposed"), 0);
}

#[test]
fn inv13_a_change_that_is_refused_when_proposed_leaves_a_refusal_and_nothing_else() {
    let policy = |text: &str| files("policy", text);
    let cases: Vec<(&str, Identity, Files)> = vec![
        ("not-a-person", decider("healer"), policy("second")),
        ("not-a-person", decider("bob"), policy("second")),
        ("unknown-person", session("mallory"), policy("second")),
        ("bad-change", session("alice"), policy(BROKEN)),
        ("bad-change", session("alice"), files("../../etc/passwd", "second")),
        ("bad-change", session("alice"), files("catalogue", "second")),
        ("bad-change", session("alice"), policy(&"a".repeat(holdpoint_app::change::MAX_DOCUMENT_LEN))),
    ];
    for (rule, who, files) in cases {
        let stage = started(Setup::default());
        let refusal = wait(propose(&stage.gate, &who, Control::Policy, files)).unwrap_err();
        assert_eq!(refusal.rule, rule, "{refusal}");
        let known = who == session("alice") || who == decider("healer");
        let recorded: Vec<_> = known.then(|| (Request::Change, rule.to_owned())).into_iter().collect();
        assert_eq!(refusals(&stage), recorded, "{refusal}");
        assert_eq!(count(&stage, "change_proposed"), 0);
        audit(&stage);
    }
    // What is in force already is no change.
    let stage = started(Setup::default());
    let terms = ask(&stage, "bob", Control::Policy, "second").unwrap();
    yes(&stage, "carol", &terms).unwrap();
    let again = wait(propose(&in_force(&stage), &session("bob"), Control::Policy, policy("second")));
    assert_eq!(again.unwrap_err().rule, "bad-change");
}

struct Case {
    rule: &'static str,
    who: Identity,
    signer: &'static str,
    seed: u8,
    alter: fn(&mut ChangeTerms),
}

#[test]
fn inv13_every_statement_that_does_not_count_is_refused_and_recorded() {
    let case = |rule, who, signer, seed, alter| Case { rule, who, signer, seed, alter };
    let same: fn(&mut ChangeTerms) = |_| {};
    let bob = || session("bob");
    let cases = [
        // Carol wrote it.
        case("author-approves", session("carol"), "carol", 13, same),
        case("not-an-administrator", session("alice"), "alice", 11, same),
        case("not-a-person", decider("healer"), "bob", 12, same),
        case("not-a-person", decider("bob"), "bob", 12, same),
        case("unknown-person", session("mallory"), "mallory", 99, same),
        case("other-signer", session("dave"), "bob", 12, same),
        case("statement-refused", bob(), "bob", 13, same),
        case("statement-refused", bob(), "bob", 12, |terms| terms.new = Digest::of_bytes(b"other")),
        case("statement-refused", bob(), "bob", 12, |terms| terms.old = Digest::of_bytes(b"other")),
        case("statement-refused", bob(), "bob", 12, |terms| terms.control = Control::Registry),
        case("statement-refused", bob(), "bob", 12, |terms| terms.needed = 1),
        case("statement-refused", bob(), "bob", 12, |terms| terms.author = id("dave")),
        case("statement-refused", bob(), "bob", 12, |terms| terms.nonce = id("once-more")),
        case("statement-refused", bob(), "bob", 12, |terms| terms.head.size += 1),
        case("statement-refused", bob(), "bob", 12, |terms| terms.id = id("change-of-another")),
    ];
    for case in cases {
        let stage = started(with_dave());
        let terms = ask(&stage, "carol", Control::Policy, "second").unwrap();
        let mut signed_terms = terms.clone();
        (case.alter)(&mut signed_terms);
        let r#type = ChangeStatementType::V1;
        let (approver, choice) = (id(case.signer), Choice::Approve);
        let said = ChangeStatement { r#type, terms: signed_terms, approver, choice };
        let refusal =
            wait(decide(&stage.gate, &case.who, &terms.id, signed_by(case.seed, said))).unwrap_err();
        assert_eq!(refusal.rule, case.rule, "{refusal}");
        let known = !matches!(&case.who, Identity::Agent { agent, .. } if agent.as_str() == "bob")
            && case.rule != "unknown-person";
        let recorded: Vec<_> =
            known.then(|| (Request::DecideChange, case.rule.to_owned())).into_iter().collect();
        assert_eq!(refusals(&stage), recorded, "{refusal}");
        assert_eq!(count(&stage, "change_decided"), 0);
        audit(&stage);
    }
}

#[test]
fn inv13_nobody_decides_twice_and_a_rejection_ends_it() {
    let stage = started(with_dave());
    let terms = ask(&stage, "alice", Control::Policy, "second").unwrap();
    yes(&stage, "bob", &terms).unwrap();
    for choice in [Choice::Approve, Choice::Reject] {
        assert_eq!(rule(say(&stage, "bob", &terms, choice)), "not-open");
    }
    assert_eq!(say(&stage, "carol", &terms, Choice::Reject).unwrap().state, ChangeState::Rejected);
    for who in ["bob", "carol", "dave"] {
        assert_eq!(rule(yes_as_far_as_known(&stage, who, &terms)), "not-open");
    }
    assert_eq!(wait(show(&stage.gate, &terms.id)).unwrap().row.state, ChangeState::Rejected);
    // The same files once more are another change: the approvals of the first are none of it.
    let next = ask(&stage, "alice", Control::Policy, "second").unwrap();
    let old = verdict("bob", &terms, Choice::Approve);
    assert_eq!(rule(wait(decide(&stage.gate, &session("bob"), &next.id, old))), "statement-refused");
    assert_eq!(stage.store.active_inputs(), Some(stage.gate.inputs));
    audit(&stage);
}

/// Dave's key is not among those of the fakes.
fn yes_as_far_as_known(stage: &Stage, who: &str, terms: &ChangeTerms) -> Result<Decided, Refusal> {
    let seed = match who {
        "bob" => 12,
        "carol" => 13,
        _ => 14,
    };
    let r#type = ChangeStatementType::V1;
    let said = ChangeStatement { r#type, terms: terms.clone(), approver: id(who), choice: Choice::Approve };
    wait(decide(&stage.gate, &session(who), &terms.id, signed_by(seed, said)))
}

#[test]
fn t25_a_change_ends_with_its_time() {
    let stage = started(Setup::default());
    let terms = ask(&stage, "alice", Control::Policy, "second").unwrap();
    yes(&stage, "bob", &terms).unwrap();
    let now = stage.gate.ports.clock.now();
    stage.clock.advance(holdpoint_domain::Millis::new(terms.expires_at_ms.since(now).ms()).unwrap());
    assert_eq!(rule(yes(&stage, "carol", &terms)), "not-open");
    assert_eq!(stage.store.active_inputs(), Some(stage.gate.inputs));
}

#[test]
fn inv13_a_change_of_what_is_not_in_force_any_more_is_not_put_in_force() {
    let stage = started(Setup::default());
    let (first, second) = (
        ask(&stage, "bob", Control::Policy, "second").unwrap(),
        ask(&stage, "bob", Control::Policy, "third").unwrap(),
    );
    yes(&stage, "carol", &first).unwrap();
    // Under either gate: the store knows what is in force.
    for gate in [&*in_force(&stage), &stage.gate] {
        let said = verdict("carol", &second, Choice::Approve);
        wait(decide(gate, &session("carol"), &second.id, said)).unwrap_err();
    }
    assert_eq!(Control::Policy.of(&stage.store.active_inputs().unwrap()), first.new);
    assert_eq!(count(&stage, "changed"), 1);
    // One of another input goes on.
    let limits =
        wait(propose(&in_force(&stage), &session("bob"), Control::Limits, files("limits", "second")));
    let said = verdict("carol", limits.as_ref().unwrap(), Choice::Approve);
    let decided = wait(decide(&in_force(&stage), &session("carol"), &limits.unwrap().id, said)).unwrap();
    assert_eq!(decided.state, ChangeState::Activated);
    audit(&stage);
}

#[test]
fn inv13_a_document_that_does_not_load_any_more_is_not_put_in_force() {
    let stage = started(Setup::default());
    let terms = ask(&stage, "bob", Control::Catalogue, "second").unwrap();
    for (fault, why) in [("refuses", "does not load"), ("loads-otherwise", "was approved")] {
        stage.inputs.from_now_on(match fault {
            "refuses" => holdpoint_app::fake::Loading::Refuses,
            _ => holdpoint_app::fake::Loading::Otherwise,
        });
        let refusal = yes(&stage, "carol", &terms).unwrap_err();
        assert_eq!(refusal.rule, "stale-change");
        assert!(refusal.fact.contains(why), "{refusal}");
    }
    assert_eq!(count(&stage, "changed"), 0);
    assert_eq!(count(&stage, "change_decided"), 0);
    // And when it does again, the same person may decide.
    stage.inputs.from_now_on(holdpoint_app::fake::Loading::Works);
    assert_eq!(yes(&stage, "carol", &terms).unwrap().state, ChangeState::Activated);
    audit(&stage);
}

#[test]
fn inv13_an_approval_of_somebody_who_lost_role_key_or_entry_does_not_count() {
    let changes: [fn(&mut Stage); 3] = [
        |stage| stage.setup.parts.people[1].administrator = false,
        |stage| stage.setup.parts.people[1] = person("bob", 77),
        |stage| {
            stage.setup.parts.agents[1].owner = id("alice");
            stage.setup.parts.people.remove(1);
        },
    ];
    for change in changes {
        let mut stage = started(with_dave());
        let terms = ask(&stage, "alice", Control::Policy, "second").unwrap();
        yes(&stage, "bob", &terms).unwrap();
        change(&mut stage);
        stage.restart();
        super::support::activated(&stage);
        let second = yes(&stage, "carol", &terms).unwrap();
        assert_eq!((second.state, second.approvals), (ChangeState::Open, 1));
        assert_eq!(yes_as_far_as_known(&stage, "dave", &terms).unwrap().state, ChangeState::Activated);
        audit(&stage);
    }
}

#[test]
fn inv13_approvals_at_the_same_moment_put_it_in_force_once() {
    let stage = started(Setup::default());
    let terms = ask(&stage, "alice", Control::Policy, "second").unwrap();
    let tries = ["bob", "carol", "bob", "carol"].map(|who| {
        let (who, said) = (session(who), verdict(who, &terms, Choice::Approve));
        let (gate, id) = (&stage.gate, &terms.id);
        async move { decide(gate, &who, id, said).await }
    });
    let results = wait(join_all(tries));
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 2, "{results:?}");
    // Both read that they were the first, and there is no third who could complete it.
    assert_eq!((count(&stage, "change_decided"), count(&stage, "changed")), (2, 1), "{results:?}");
    assert_eq!(stage.inputs.activated().len(), 1);
    audit(&stage);
}

#[test]
fn inv13_what_was_decided_under_replaced_inputs_is_refused_by_the_store() {
    let stage = started(Setup::default());
    let permitted = proposed(&stage, "flag.switch", "worker-1").id;
    let (waiting, hold) = held(&stage, "cache.drop", "worker-2");
    let terms = ask(&stage, "bob", Control::Policy, "second").unwrap();
    yes(&stage, "carol", &terms).unwrap();
    // The old gate neither decides nor claims any more.
    let asked = super::support::ask(&stage, "flag.switch", "worker-3").unwrap_err();
    assert_eq!(asked.rule, "too-late");
    assert_eq!(run_it(&stage, &permitted).unwrap_err().rule, "too-late");
    assert!(stage.world.trace().is_empty());
    // Under the new one a permit and an approval of before are measured again, and go on.
    let gate = in_force(&stage);
    assert_eq!(wait(run(&gate, &permitted)), Ok(State::Succeeded));
    let said = statement("bob", &hold, Choice::Approve);
    wait(decide_hold(&gate, &session("bob"), &hold.hold, said)).unwrap();
    assert_eq!(wait(run(&gate, &waiting)), Ok(State::Succeeded));
    audit(&stage);
}

#[test]
fn inv02_a_run_goes_on_under_the_inputs_that_it_began_under() {
    let stage = started(Setup::default());
    stage.world.apply(holdpoint_app::fake::Deed::NoHelp);
    let plan = proposed(&stage, "flag.switch", "worker-1").id;
    let mut running = Box::pin(run(&stage.gate, &plan));
    poll_until(&stage, &mut running, "applied");
    let terms = ask(&stage, "bob", Control::Policy, "second").unwrap();
    yes(&stage, "carol", &terms).unwrap();
    assert_eq!(wait(running), Ok(State::Undone));
    audit(&stage);
}

#[test]
fn inv13_a_change_that_cannot_be_recorded_is_not_in_force() {
    for failure in [Failure::Full, Failure::Closed, Failure::DoneButClosed] {
        let mut stage = started(Setup::default());
        let terms = ask(&stage, "bob", Control::Limits, "second").unwrap();
        stage.store.fail(When::Nth(0), failure);
        assert_eq!(rule(yes(&stage, "carol", &terms)), "gate-closed");
        assert!(stage.inputs.activated().is_empty());
        stage.restart();
        let done = failure == Failure::DoneButClosed;
        let found = wait(activated_document(stage.store.as_ref(), Control::Limits)).unwrap().unwrap();
        let want = if done { "second" } else { "first" };
        assert_eq!(found.files, files("limits", want), "{failure:?}");
        audit(&stage);
    }
}

#[test]
fn inv13_what_is_on_disk_and_not_in_force_suspends_and_is_recorded_once() {
    let mut stage = started(Setup::default());
    let digest = Digest::of_bytes(b"edited");
    for found in [Some(digest), None] {
        wait(saw_on_disk(&stage.gate, Control::Policy, Err(found))).unwrap();
    }
    assert_eq!(count(&stage, "input_refused"), 1);
    assert!(stage.gate.refused_inputs().contains(&Control::Policy));
    let next = proposed(&stage, "flag.switch", "worker-1");
    assert_eq!(next.decision.tier, Tier::T3);
    assert!(next.decision.reasons.iter().any(|reason| reason.rule.as_str() == "input-refused"));
    // Another one as well: only when both are back it is lifted.
    wait(saw_on_disk(&stage.gate, Control::Limits, Err(None))).unwrap();
    for _ in 0..2 {
        wait(saw_on_disk(&stage.gate, Control::Policy, Ok(()))).unwrap();
    }
    assert_eq!(proposed(&stage, "flag.switch", "worker-2").decision.tier, Tier::T3);
    wait(saw_on_disk(&stage.gate, Control::Limits, Ok(()))).unwrap();
    assert_eq!(proposed(&stage, "flag.switch", "worker-3").decision.tier, Tier::T2);
    assert_eq!((count(&stage, "input_refused"), count(&stage, "input_restored")), (2, 2));
    stage.restart();
    audit(&stage);
}

#[test]
fn inv13_a_permit_from_before_the_file_was_edited_is_void() {
    let stage = started(Setup::default());
    let plan = proposed(&stage, "flag.switch", "worker-1").id;
    wait(saw_on_disk(&stage.gate, Control::Registry, Err(None))).unwrap();
    assert_eq!(run_it(&stage, &plan), Ok(State::Void));
    assert_eq!(state(&stage, &plan), State::Void);
}

#[test]
fn inv13_what_could_not_be_recorded_of_the_disk_is_recorded_later() {
    let stage = started(Setup::default());
    stage.store.fill(10);
    let full = wait(saw_on_disk(&stage.gate, Control::Policy, Err(None)));
    assert!(matches!(full, Err(StoreError::Full(_))));
    assert!(stage.gate.has_refused_input(), "suspended at once, recorded or not");
    stage.store.make_room();
    for _ in 0..2 {
        wait(saw_on_disk(&stage.gate, Control::Policy, Err(None))).unwrap();
    }
    assert_eq!(count(&stage, "input_refused"), 1);
    // What lifts it is recorded before it does.
    stage.store.fill(10);
    wait(saw_on_disk(&stage.gate, Control::Policy, Ok(()))).unwrap_err();
    assert!(stage.gate.has_refused_input());
    stage.store.make_room();
    wait(saw_on_disk(&stage.gate, Control::Policy, Ok(()))).unwrap();
    assert!(!stage.gate.has_refused_input());
    assert_eq!(count(&stage, "input_restored"), 1);
}

#[test]
fn inv13_suspension_by_a_refused_file_survives_a_change_of_another_input() {
    let stage = started(Setup::default());
    wait(saw_on_disk(&stage.gate, Control::Policy, Err(None))).unwrap();
    let terms = ask(&stage, "bob", Control::Limits, "second").unwrap();
    yes(&stage, "carol", &terms).unwrap();
    assert!(in_force(&stage).has_refused_input());
}

#[test]
fn inv13_no_record_alone_changes_an_input() {
    use holdpoint_app::port::Txn;
    use holdpoint_domain::{actor::Actor, change::Change, record::Record};
    let stage = started(Setup::default());
    let terms = ask(&stage, "alice", Control::Policy, "second").unwrap();
    yes(&stage, "bob", &terms).unwrap();
    let real = Change {
        id: terms.id.clone(),
        control: terms.control,
        old: terms.old,
        new: terms.new,
        author: terms.author.clone(),
    };
    let other = Digest::of_bytes(b"other");
    // One approval of two; then each field another.
    let cases = [
        real.clone(),
        Change { id: id("change-x"), ..real.clone() },
        Change { control: Control::Registry, ..real.clone() },
        Change { old: other, ..real.clone() },
        Change { new: other, ..real.clone() },
        Change { author: id("bob"), ..real },
    ];
    let now = stage.gate.ports.clock.now();
    for change in cases {
        let record = Record::new(now, Actor::Gate, None, Body::Changed { change, retired: None });
        let appended = wait(stage.store.append(Txn { records: vec![record], ..Txn::default() }));
        assert!(matches!(appended, Err(StoreError::NotOpen(_))), "{appended:?}");
    }
    assert_eq!(stage.store.active_inputs(), Some(stage.gate.inputs));
    audit(&stage);
}
