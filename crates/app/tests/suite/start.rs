//! Start: genesis once, and control inputs that the ledger has activated.

use holdpoint_app::{
    fake::{Setup, Stage, session},
    port::{Store as _, Txn},
    start::start,
};
use holdpoint_domain::{
    actor::Actor,
    approval::Choice,
    change::{Change, ChangeTerms, Control},
    record::{Body, Record},
};

use super::support::{audit, budgets, concurrent, started, terms, verdict, wait};

fn words(stage: &Stage) -> Vec<&'static str> {
    stage.store.records().iter().map(|record| record.body.word()).collect()
}

#[test]
fn inv13_genesis_comes_once() {
    let mut stage = started(Setup::default());
    assert_eq!(words(&stage), ["genesis", "started"]);
    stage.restart();
    wait(start(&stage.gate)).unwrap();
    assert_eq!(words(&stage), ["genesis", "started", "started"]);
    audit(&stage);
}

/// What a restart with a changed file of each kind looks like.
fn change(stage: &mut Stage, control: Control) {
    match control {
        Control::Policy => stage.judge.set_bundle("another"),
        Control::Catalogue => stage.setup.parts.action("flag.switch").title.push('!'),
        Control::Inventory => stage.setup.parts.services[0].stateless = false,
        Control::Registry => stage.setup.parts.agents[1].accepted = true,
        Control::Limits => stage.setup.parts.limits = budgets(&[concurrent("one", 1)]),
    }
    stage.restart();
}

#[test]
fn inv13_an_input_that_the_ledger_has_not_activated_is_refused() {
    for control in Control::ALL {
        let mut stage = started(Setup::default());
        change(&mut stage, control);
        let before = words(&stage);
        let refusal = wait(start(&stage.gate)).unwrap_err();
        assert_eq!(refusal.rule, "input-not-activated");
        assert!(refusal.fact.contains(control.as_str()), "{refusal}");
        assert_eq!(words(&stage), before, "a refused start leaves nothing");
    }
}

#[test]
fn inv13_a_recorded_change_puts_the_new_input_in_force() {
    for control in Control::ALL {
        let mut stage = started(Setup::default());
        let old = control.of(&stage.gate.inputs);
        change(&mut stage, control);
        let new = control.of(&stage.gate.inputs);
        let terms = ChangeTerms { control, old, new, ..terms(&stage, "alice") };
        let change = Change { id: terms.id.clone(), control, old, new, author: terms.author.clone() };
        let now = stage.gate.ports.clock.now();
        let record = Record::new(now, Actor::Gate, None, Body::Changed { change, retired: None });
        // What nobody proposed, and what nobody approved, is not put in force.
        wait(stage.store.append(Txn { records: vec![record.clone()], ..Txn::default() })).unwrap_err();
        let body = Body::ChangeProposed { terms: Box::new(terms.clone()) };
        let records = vec![Record::new(now, session("alice").actor(), None, body), record.clone()];
        wait(stage.store.append(Txn { records: records.clone(), ..Txn::default() })).unwrap_err();
        let body = Body::ChangeDecided { statement: Box::new(verdict("bob", &terms, Choice::Approve)) };
        let decided = Record::new(now, session("bob").actor(), None, body);
        let records = vec![records[0].clone(), decided, record.clone()];
        wait(stage.store.append(Txn { records, ..Txn::default() })).unwrap();
        wait(start(&stage.gate)).unwrap();
        // What it replaced is not in force any more, so it cannot be replaced again.
        let again = stage.store.append(Txn { records: vec![record], ..Txn::default() });
        wait(again).unwrap_err();
        audit(&stage);
    }
}

#[test]
fn inv01_a_start_that_cannot_be_recorded_fails() {
    let stage = Stage::default();
    stage.store.fill(0);
    assert_eq!(wait(start(&stage.gate)).unwrap_err().rule, "gate-closed");
    assert!(words(&stage).is_empty());
}
