//! What must not have got worse between decision and claim.

use holdpoint_domain::{
    Oversight, Rung, Tier,
    action::{Effect, State, UndoKind},
    decision::{Class, Verdict, Worse, floor, tier_of},
    facts::{Facts, Origin},
    target::Criticality,
    trigger::Truth,
};
use proptest::prelude::*;

use super::{
    properties::any_facts,
    support::{agreement, allow, digest, facts, id, worse_one},
};

type Change = fn(&mut Facts);

fn enough() -> Oversight {
    Rung::T4.oversight()
}

/// Each thing that voids an approval, by itself.
#[test]
fn each_thing_that_got_worse_is_found_and_named() {
    let cases: [(&str, Change, Worse); 18] = [
        ("no target", |facts| facts.target = None, Worse::TargetGone),
        ("another target", |facts| facts.target.as_mut().unwrap().id = id("worker-2"), Worse::TargetGone),
        (
            "another version",
            |facts| facts.target.as_mut().unwrap().version = digest("other"),
            Worse::Version { decided: digest("version"), now: digest("other"), parts: Vec::new() },
        ),
        (
            "another entry",
            |facts| facts.action.entry = digest("other"),
            Worse::CatalogueEntry { decided: digest("entry"), now: digest("other") },
        ),
        (
            "another target in the blast",
            |facts| insert(&mut facts.blast.targets, "worker-2"),
            disturbs(&[], &["worker-2"], &[], None),
        ),
        (
            "another service",
            |facts| insert(&mut facts.blast.services, "service-2"),
            disturbs(&["service-2"], &[], &[], None),
        ),
        (
            "a critical service",
            |facts| insert(&mut facts.blast.critical, "service-1"),
            disturbs(&["service-1"], &[], &[], None),
        ),
        (
            "an unknown service",
            |facts| insert(&mut facts.blast.unknown, "ghost"),
            disturbs(&["ghost"], &[], &[], None),
        ),
        (
            "another environment",
            |facts| insert(&mut facts.blast.environments, "staging"),
            disturbs(&[], &[], &["staging"], None),
        ),
        (
            "a larger share",
            |facts| facts.blast.replica_share_percent += 1,
            disturbs(&[], &[], &[], Some((34, 35))),
        ),
        (
            "a service that more depends on",
            |facts| facts.target.as_mut().unwrap().criticality = Criticality::Critical,
            class(Class::Criticality, "medium", "critical"),
        ),
        (
            "another service's target",
            |facts| facts.target.as_mut().unwrap().service = id("service-9"),
            class(Class::Service, "worker", "service-9"),
        ),
        (
            "a target that moved",
            |facts| facts.target.as_mut().unwrap().environment = id("staging"),
            class(Class::Environment, "production", "staging"),
        ),
        (
            "a target with data of customers",
            |facts| {
                facts.target.as_mut().unwrap().data_classes.insert(id("customer"));
            },
            class(Class::DataClasses, "`telemetry`", "`customer`, `telemetry`"),
        ),
        (
            "a target with state",
            |facts| facts.target.as_mut().unwrap().stateless = false,
            class(Class::State, "stateless", "stateful"),
        ),
        (
            "trigger refuted",
            |facts| facts.trigger.agreement = agreement(Truth::DoesNotHold),
            Worse::TriggerGone,
        ),
        (
            "trigger unknown",
            |facts| facts.trigger.agreement = agreement(Truth::Indeterminate),
            Worse::TriggerGone,
        ),
        ("halted", |facts| facts.brakes.halted = true, Worse::held_by("halted")),
    ];
    for (name, change, expected) in cases {
        let (decided, mut fresh) = (facts(), facts());
        change(&mut fresh);
        let found = worse_one(&decided, &fresh, &allow("permit"), &enough());
        assert!(found.contains(&expected), "{name}: {found:?}");
        // A target that is gone is denied as well, one with state has no undo; nothing else may be found.
        let is_more = |one: &&Worse| !matches!(one, Worse::Held { .. } | Worse::Tier { .. });
        let other: Vec<_> = found.iter().filter(|one| **one != expected).filter(is_more).collect();
        assert!(other.is_empty(), "{name}: also {other:?}");
        let text = expected.to_string();
        assert!(!text.is_empty() && !text.contains('\n'), "{name}");
    }
}

fn class(what: Class, decided: &str, now: &str) -> Worse {
    Worse::Class { what, decided: decided.to_owned(), now: now.to_owned() }
}

fn disturbs(
    services: &[&str],
    targets: &[&str],
    environments: &[&str],
    replica_share_percent: Option<(u32, u32)>,
) -> Worse {
    Worse::Disturbs {
        services: services.iter().map(|name| id(name)).collect(),
        targets: targets.iter().map(|name| id(name)).collect(),
        environments: environments.iter().map(|name| id(name)).collect(),
        replica_share_percent,
    }
}

fn insert<K: holdpoint_domain::id::Kind>(
    set: &mut std::collections::BTreeSet<holdpoint_domain::Id<K>>,
    name: &str,
) {
    assert!(set.insert(id(name)), "`{name}` was there");
}

#[test]
fn a_smaller_blast_radius_or_a_trigger_that_came_true_is_no_worse() {
    let mut decided = facts();
    insert(&mut decided.blast.services, "service-9");
    decided.blast.replica_share_percent = 50;
    assert_eq!(worse_one(&decided, &facts(), &allow("permit"), &enough()), []);
    let mut unproven = facts();
    unproven.trigger.agreement = agreement(Truth::DoesNotHold);
    assert_eq!(worse_one(&unproven, &facts(), &allow("permit"), &enough()), []);
}

/// T02: an approval that was enough for one tier is not enough when the tier has risen.
#[test]
fn t02_a_raised_tier_voids_what_was_approved() {
    let raises: [(&str, Change, Tier); 6] = [
        ("catalogue", |facts| facts.action.tier = Tier::T4, Tier::T4),
        ("taint", |facts| facts.provenance.scope = Origin::Tainted, Tier::T3),
        ("suspension", |facts| facts.brakes.suspended = true, Tier::T3),
        ("no undo", |facts| facts.action.undo = UndoKind::None, Tier::T3),
        ("not accepted any more", |facts| facts.principal.accepted = false, Tier::T2),
        (
            "grants",
            |facts| {
                facts.action.touches.insert(State::Rbac, Effect::Grants);
            },
            Tier::T4,
        ),
    ];
    for (name, change, now) in raises {
        let mut fresh = facts();
        change(&mut fresh);
        for rung in Rung::ALL {
            let obtained = rung.oversight();
            let found = worse_one(&facts(), &fresh, &allow("permit"), &obtained);
            let expected = Worse::Tier { obtained: rung.tier(), now };
            assert_eq!(found.contains(&expected), rung.tier() < now, "{name} at {rung:?}: {found:?}");
            assert_eq!(found.is_empty(), rung.tier() >= now, "{name} at {rung:?}: {found:?}");
        }
    }
}

/// Half an oversight is the rung below: two approvals that are not fresh, or not strong, are not T4.
#[test]
fn an_oversight_counts_for_the_highest_rung_that_it_dominates() {
    let cases = [
        (Oversight::NONE, Tier::T1),
        (Oversight { approvals: 2, strong: true, fresh: true, review_promised: false }, Tier::T1),
        (Oversight { approvals: 0, strong: true, fresh: true, review_promised: true }, Tier::T2),
        (Oversight { approvals: 1, strong: true, fresh: true, review_promised: true }, Tier::T3),
        (Oversight { approvals: 2, strong: false, fresh: true, review_promised: true }, Tier::T3),
        (Oversight { approvals: 2, strong: true, fresh: false, review_promised: true }, Tier::T3),
        (Oversight { approvals: 2, strong: true, fresh: true, review_promised: true }, Tier::T4),
        (Oversight { approvals: 9, strong: true, fresh: true, review_promised: true }, Tier::T4),
    ];
    for (oversight, tier) in cases {
        assert_eq!(tier_of(&oversight), tier, "{oversight:?}");
    }
}

#[test]
fn inv09_policy_that_denies_or_fails_at_the_claim_voids() {
    for verdict in [Verdict::Deny { rules: vec![] }, Verdict::Error { rules: vec![] }] {
        assert_eq!(worse_one(&facts(), &facts(), &verdict, &enough()), [Worse::Denied], "{verdict:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_worse_than_itself(facts in any_facts()) {
        let found = worse_one(&facts, &facts, &allow("permit"), &enough());
        match floor(&facts).0.map(Rung::of) {
            Some(Some(rung)) => {
                prop_assert_eq!(worse_one(&facts, &facts, &allow("permit"), &rung.oversight()), []);
                prop_assert_eq!(found, []);
            }
            // What would be denied is denied again.
            Some(None) | None => prop_assert!(!found.is_empty()),
        }
    }

    #[test]
    fn whatever_was_decided_any_one_change_for_the_worse_is_found(decided in any_facts()) {
        prop_assume!(decided.target.is_some());
        let changes: [Change; 4] = [
            |fresh| fresh.target.as_mut().unwrap().version = digest("other"),
            |fresh| fresh.action.entry = digest("other"),
            |fresh| insert(&mut fresh.blast.services, "one-more"),
            |fresh| fresh.target = None,
        ];
        for change in changes {
            let mut fresh = decided.clone();
            change(&mut fresh);
            prop_assert!(!worse_one(&decided, &fresh, &allow("permit"), &enough()).is_empty());
        }
        let deny = Verdict::Deny { rules: vec![] };
        prop_assert!(!worse_one(&decided, &decided, &deny, &enough()).is_empty());
        if let Some(Some(rung)) = floor(&decided).0.map(Rung::of) {
            for less in Rung::ALL.into_iter().filter(|less| *less < rung) {
                prop_assert!(!worse_one(&decided, &decided, &allow("permit"), &less.oversight()).is_empty());
            }
        }
    }
}
