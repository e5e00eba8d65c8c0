//! Pairs of plans: structures that differ in a word, a number or the order of the steps.

use std::collections::BTreeMap;

use holdpoint_domain::{
    Commitment,
    action::UndoKind,
    digest::{Salt, canonical},
    plan::{MAX_STEPS, ParamValue, Plan, Requester, Step},
};

use crate::Choices;

/// Two plans have one digest when they are one plan, and only then; each reads back from its canonical form.
pub(crate) fn holds(bytes: &[u8]) {
    let half = bytes.len() / 2;
    // The two halves are alike where the fuzzer copies, and then differ in one choice.
    let (Some(one), Some(other)) =
        (plan(&mut Choices::new(&bytes[..half])), plan(&mut Choices::new(&bytes[half..])))
    else {
        return;
    };
    assert_eq!(one == other, one.digest().unwrap() == other.digest().unwrap(), "{one:?}\n{other:?}");
    for plan in [one, other] {
        let form = canonical(&plan).unwrap();
        let again: Plan = serde_json::from_slice(&form).expect("a plan reads back from its canonical form");
        assert_eq!(again, plan);
    }
}

fn plan(choices: &mut Choices<'_>) -> Option<Plan> {
    let requester = Requester {
        narrowed_by: Default::default(),
        opened_by: None,
        agent: choices.id(),
        on_behalf_of: choices.yes().then(|| choices.id()),
        via: choices.several(2, Choices::id),
        build: choices.yes().then(|| choices.digest()),
    };
    let incident = choices.yes().then(|| choices.id());
    let trigger = choices.id();
    let steps = choices.several(MAX_STEPS, step);
    // None, too many, or two on one target: no plan.
    Plan::new(requester, incident, trigger, steps).ok()
}

fn step(choices: &mut Choices<'_>) -> Step {
    Step {
        action: choices.id(),
        entry: choices.digest(),
        target: choices.id(),
        expected_version: choices.digest(),
        params: choices
            .several(3, |choices| (choices.id(), value(choices)))
            .into_iter()
            .collect::<BTreeMap<_, _>>(),
        undo: choices.one_of(&[
            UndoKind::Inverse,
            UndoKind::PreviousRevision,
            UndoKind::Snapshot,
            UndoKind::SelfHeals,
            UndoKind::Compensate,
            UndoKind::None,
        ]),
    }
}

fn value(choices: &mut Choices<'_>) -> ParamValue {
    match choices.byte() % 4 {
        0 => ParamValue::Int(choices.number().cast_signed()),
        1 => ParamValue::Bool(choices.yes()),
        2 => ParamValue::Choice(choices.id()),
        _ => ParamValue::Secret(Commitment::to(&Salt::new([choices.byte(); 32]), &[choices.byte()])),
    }
}
