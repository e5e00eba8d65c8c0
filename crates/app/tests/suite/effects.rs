//! The effect of a change: what it would have made of the newest decisions.

use holdpoint_app::{
    change::propose,
    effect::{Outcome, of},
    fake::{
        Setup, Stage,
        controls::{id, limits},
        session,
    },
    gate::Controls,
    port::Clock as _,
};
use holdpoint_domain::{
    Id, Millis, Tier, Timestamp,
    agent::Registry,
    change::Control,
    decision::Answer,
    id::kind,
    limits::{Budget, Freeze, LimitsSpec, Per, Starts},
};

use super::support::{held, proposed, run_it, started, wait};

/// A change of a control input that says this.
fn change(
    stage: &Stage,
    control: Control,
    says: impl Fn(&mut Controls) + Send + Sync + 'static,
) -> Id<kind::Change> {
    stage.inputs.say(says);
    let files = [(control.to_string(), "second".to_owned())].into();
    wait(propose(&stage.gate, &session("bob"), control, files)).unwrap().id
}

/// What became of each plan, before and after, newest first.
fn moved(stage: &Stage, change: &Id<kind::Change>) -> Vec<(String, Outcome, Outcome)> {
    let effect = wait(of(&stage.gate, change)).unwrap();
    let moved = effect.moved.into_iter();
    moved.map(|moved| (moved.row.target.to_string(), moved.before, moved.after)).collect()
}

fn answer(outcome: &Outcome) -> Option<(Answer, Tier)> {
    match outcome {
        Outcome::Decided { answer, tier, .. } => Some((*answer, *tier)),
        Outcome::Refused { .. } => None,
    }
}

#[test]
fn inv13_a_change_shows_which_decisions_would_have_come_out_differently() {
    let stage = started(Setup::default());
    proposed(&stage, "flag.switch", "worker-1");
    held(&stage, "cache.drop", "worker-2");
    let nothing = change(&stage, Control::Catalogue, |_| {});
    let effect = wait(of(&stage.gate, &nothing)).unwrap();
    assert_eq!((effect.decisions, effect.moved.len(), effect.older), (2, 0, false));

    let stage = started(Setup::default());
    proposed(&stage, "flag.switch", "worker-1");
    held(&stage, "cache.drop", "worker-2");
    let now = stage.clock.now();
    let freeze = Freeze {
        id: id("frozen-then"),
        environments: [].into(),
        from_ms: Timestamp::EPOCH,
        until_ms: now.plus(Millis::secs(1)).unwrap(),
    };
    let limited = limits(LimitsSpec { freezes: vec![freeze], ..LimitsSpec::default() });
    let change = change(&stage, Control::Limits, move |controls| controls.limits = limited.clone());
    let moved = moved(&stage, &change);
    assert_eq!(moved.len(), 2, "both were decided when it would have been frozen: {moved:?}");
    assert!(
        moved.iter().all(|(_, _, after)| answer(after).is_some_and(|(answer, _)| answer == Answer::Deny))
    );
    let (_, before, after) = moved.last().unwrap();
    assert_eq!(answer(before), Some((Answer::Allow, Tier::T2)));
    let Outcome::Decided { rules, .. } = after else { panic!("{after:?}") };
    assert!(rules.contains(&id("frozen")), "{rules:?}");
}

#[test]
fn inv13_a_budget_is_counted_from_what_had_started_by_then() {
    let stage = started(Setup::default());
    for target in ["worker-1", "worker-2"] {
        let plan = proposed(&stage, "flag.switch", target).id;
        run_it(&stage, &plan).unwrap();
        stage.clock.advance(Millis::secs(1));
    }
    let budget = Budget {
        id: id("one-an-hour"),
        per: Per::Everything,
        environments: [].into(),
        concurrent: None,
        starts: Some(Starts { max: 1, window_ms: Millis::secs(3_600) }),
        steps: None,
    };
    let limited = limits(LimitsSpec { budgets: vec![budget], ..LimitsSpec::default() });
    let change = change(&stage, Control::Limits, move |controls| controls.limits = limited.clone());
    let moved = moved(&stage, &change);
    let targets: Vec<_> = moved.iter().map(|(target, ..)| target.as_str()).collect();
    assert_eq!(targets, ["worker-2"], "the first one had room");
}

#[test]
fn inv13_what_would_not_be_there_any_more_would_be_refused() {
    let stage = started(Setup::default());
    proposed(&stage, "flag.switch", "worker-1");
    let people = stage.gate.controls.registry.people().cloned().collect();
    let registry = Registry::new(Vec::new(), people).unwrap();
    let change = change(&stage, Control::Registry, move |controls| controls.registry = registry.clone());
    let moved = moved(&stage, &change);
    let [(_, before, Outcome::Refused { rule, .. })] = moved.as_slice() else { panic!("{moved:?}") };
    assert_eq!((answer(before).map(|(answer, _)| answer), *rule), (Some(Answer::Allow), "unknown-agent"));
    // Nothing is left of it: the decision stands as it was made.
    assert_eq!(wait(of(&stage.gate, &id("change-none"))).unwrap_err().rule, "no-such-change");
}
