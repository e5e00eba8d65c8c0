//! Whose word each fact is, field by field.

use holdpoint_domain::{
    facts::Origin,
    provenance::{Integrity, Sourced, of},
    trigger::Truth,
};

use super::support::{agreement, facts, one};

fn field(all: &[Sourced], name: &str) -> Sourced {
    all.iter().find(|of| of.field == name).unwrap_or_else(|| panic!("nothing about `{name}`")).clone()
}

#[test]
fn inv10_a_field_of_the_plan_is_clean_where_the_gate_derived_it_and_the_answer_says_why() {
    type Taint = fn(&mut holdpoint_domain::facts::Facts);
    let taints: [(&str, Taint); 3] = [
        ("target", |facts| facts.provenance.target = Origin::Tainted),
        ("action", |facts| facts.provenance.action = Origin::Tainted),
        ("scope", |facts| facts.provenance.scope = Origin::Tainted),
    ];
    let clean = of(&one(&facts()));
    for (name, taint) in taints {
        let mut tainted = facts();
        taint(&mut tainted);
        let (before, after) = (field(&clean, name), field(&of(&one(&tainted)), name));
        assert_eq!((before.origin, before.integrity), (Some(Origin::Clean), Integrity::Measured), "{name}");
        assert_eq!(
            (after.origin, after.integrity),
            (Some(Origin::Tainted), Integrity::AttackerWritable),
            "{name}"
        );
        assert_eq!(after.source, "agent");
        assert_ne!(before.why, after.why, "{name}");
        assert!(before.is_of_the_plan());
    }
}

#[test]
fn inv10_nothing_is_decided_from_what_an_attacker_can_write() {
    let all = of(&one(&facts()));
    for of in &all {
        let is_agents = of.integrity == Integrity::AttackerWritable;
        assert_eq!(is_agents, of.origin.is_none(), "`{}` of plain facts", of.field);
        assert!(!of.source.is_empty() && !of.why.is_empty() && !of.why.contains('\n'), "{of:?}");
    }
    assert_eq!(field(&all, "narrative").origin, None);
    let mut names: Vec<_> = all.iter().map(|of| of.field).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all.len(), "each field once");
}

#[test]
fn the_trigger_says_who_agrees_and_who_cannot_tell() {
    let why = [Truth::Holds, Truth::DoesNotHold, Truth::Indeterminate].map(|truth| {
        let mut facts = facts();
        facts.trigger.agreement = agreement(truth);
        field(&of(&one(&facts)), "trigger").why
    });
    assert!(
        why[0].contains("as many") && why[1].contains("does not hold") && why[2].contains("nobody can tell")
    );
}
