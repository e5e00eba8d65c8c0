//! The catalogue: every fault is found, all of them together, and none contradicts the guardrails.

use std::collections::{BTreeMap, BTreeSet};

use holdpoint_domain::{
    Id, Millis, Tier,
    action::{
        Action, BlastCap, Catalogue, CatalogueError, Effect, MAX_CATALOGUE, MAX_GUARDS, MAX_INT,
        MAX_SETTLE_MS, MAX_UNDO_WINDOW_MS, ParamSpec, Reversibility, State, UndoKind,
    },
    decision::{ReasonEffect, floor},
    digest::canonical,
    facts::{ActionFacts, Facts},
    guardrail::{CATALOGUE_TIER, Demand, GUARDRAILS, static_floors},
    quorum::Quorum,
    time::MAX_MS,
    trigger::{
        Check, CheckFault, Comparison, Condition, ConditionFault, HttpExpect, MAX_PROBES, Probe,
        ProcessExpect, TcpExpect,
    },
};

use super::{
    properties::{REVERSIBILITIES, UNDO_KINDS, all_touches},
    support::{facts, id, ms},
};

fn probe(timeout_ms: u64, check: Check) -> Probe {
    Probe { endpoint: id("http"), timeout_ms: ms(timeout_ms), check }
}

fn condition(name: &str) -> Condition {
    Condition {
        id: id(name),
        title: "it hangs".into(),
        needs: 1,
        probes: vec![
            probe(500, Check::Http { expect: HttpExpect::Unanswered }),
            probe(500, Check::Tcp { expect: TcpExpect::Open }),
            probe(500, Check::Process { expect: ProcessExpect::Running }),
        ],
    }
}

fn prometheus(is: Comparison) -> Check {
    Check::Prometheus { metric: "up".into(), labels: BTreeMap::new(), is, max_age_ms: ms(1_000) }
}

/// A restart that stands at T1 and has no fault.
pub(crate) fn action(name: &str) -> Action {
    Action {
        id: id(name),
        title: "Restart".into(),
        groups: BTreeSet::from([id("restart")]),
        executor: id("process"),
        reversibility: Reversibility::Reversible,
        idempotent: true,
        touches: BTreeMap::new(),
        tier: Tier::T1,
        approvals: None,
        additive: false,
        undo: UndoKind::SelfHeals,
        undo_window_ms: ms(60_000),
        cap: BlastCap { targets: 1, services: 3, critical: 0, environments: 1, replica_share_percent: 50 },
        params: BTreeMap::new(),
        triggers: BTreeSet::from([id("process.hung")]),
        verify: id("process.ok"),
        guards: BTreeSet::new(),
        soak_ms: ms(1_000),
        settle_ms: ms(10_000),
    }
}

fn conditions() -> Vec<Condition> {
    vec![condition("process.hung"), condition("process.ok")]
}

/// The word for each fault. A new variant stops this from compiling: reach it in the test below.
fn word(fault: &CatalogueError) -> &'static str {
    match fault {
        CatalogueError::DuplicateAction(_) => "duplicate action",
        CatalogueError::DuplicateCondition(_) => "duplicate condition",
        CatalogueError::UnknownCondition { .. } => "unknown condition",
        CatalogueError::NoTrigger(_) => "no trigger",
        CatalogueError::BelowGuardrail { .. } => "below guardrail",
        CatalogueError::ReadOnlyMismatch(_) => "read-only mismatch",
        CatalogueError::ApprovalsUnasked { .. } => "approvals unasked",
        CatalogueError::EmptyParam { .. } => "empty param",
        CatalogueError::Condition { .. } => "condition",
        CatalogueError::Time { .. } => "time",
        CatalogueError::Guards { .. } => "guards",
        CatalogueError::Size(_) => "size",
    }
}

#[test]
fn a_sound_catalogue_is_found_again() {
    let catalogue = Catalogue::new(vec![action("process.restart")], conditions()).unwrap();
    assert_eq!(catalogue.action(&id("process.restart")), Some(&action("process.restart")));
    assert_eq!(catalogue.condition(&id("process.ok")), Some(&condition("process.ok")));
    assert_eq!(catalogue.actions().count(), 1);
    assert_eq!(catalogue.action(&id("process")), None);
    let facts = ActionFacts::of(&action("process.restart")).unwrap();
    assert_eq!(catalogue.facts(&id("process.restart")), Some(&facts));
    assert_eq!(catalogue.facts(&id("process")), None);
    let mut other = action("process.restart");
    other.cap.targets = 2;
    assert_ne!(other.digest(), action("process.restart").digest());
    let changed = Catalogue::new(vec![other], conditions()).unwrap();
    assert_ne!(changed.digest().unwrap(), catalogue.digest().unwrap());
}

#[test]
fn all_faults_of_a_catalogue_are_reported_together() {
    let mut wrong = action("wrong");
    wrong.triggers = BTreeSet::new();
    wrong.verify = id("nowhere");
    wrong.guards = BTreeSet::from([id("nothing-there")]);
    wrong.soak_ms = ms(MAX_SETTLE_MS + 1);
    (wrong.undo, wrong.tier) = (UndoKind::None, Tier::T0);
    wrong.approvals = Some(Quorum::new(1, Vec::new()).unwrap());
    wrong.touches = BTreeMap::from([(State::Rbac, Effect::Grants)]);
    wrong.params = BTreeMap::from([
        (id("upside-down"), ParamSpec::Int { min: 1, max: 0 }),
        (id("wordless"), ParamSpec::Choice { of: BTreeSet::new() }),
    ]);
    let mut unmeasured = condition("unmeasured");
    unmeasured.probes.clear();
    let actions = vec![action("process.restart"), action("process.restart"), wrong];
    let mut all = conditions();
    all.extend([condition("process.ok"), unmeasured]);

    let faults = Catalogue::new(actions, all).unwrap_err();
    let words: Vec<_> = faults.iter().map(word).collect();
    let expected = [
        "duplicate condition",
        "condition",
        "duplicate action",
        "unknown condition",
        "unknown condition",
        "no trigger",
        "read-only mismatch",
        "approvals unasked",
        "time",
        "empty param",
        "empty param",
        "below guardrail",
        "below guardrail",
    ];
    assert_eq!(words, expected, "{faults:#?}");
    for fault in &faults {
        let text = fault.to_string();
        assert!(!text.contains('\n') && text.contains('`'), "{text}");
    }
}

/// Below T3 it could run without anybody, and T5 no number of people lifts.
#[test]
fn an_entry_asks_for_approvals_only_where_people_are_asked() {
    for tier in Tier::ALL {
        let mut action = action("process.restart");
        (action.tier, action.approvals) = (tier, Some(Quorum::new(3, Vec::new()).unwrap()));
        let read_only = tier == Tier::T0;
        action.reversibility = if read_only { Reversibility::ReadOnly } else { Reversibility::Reversible };
        let refused = CatalogueError::ApprovalsUnasked { action: action.id.clone(), tier };
        let made = Catalogue::new(vec![action], conditions()).map(drop);
        let fine = matches!(tier, Tier::T3 | Tier::T4);
        assert_eq!(made, if fine { Ok(()) } else { Err(vec![refused.clone()]) });
        let text = refused.to_string();
        assert!(text.contains("`process.restart`") && text.contains("expected T3 or T4"), "{text}");
    }
}

/// An entry from before approvals were there has the digest that plans and ledgers name.
#[test]
fn inv13_an_entry_that_asks_for_nobody_has_the_bytes_that_it_had() {
    let plain = canonical(&action("process.restart")).unwrap();
    assert!(!String::from_utf8(plain).unwrap().contains("approvals"));
    let facts = canonical(&ActionFacts::of(&action("process.restart")).unwrap()).unwrap();
    assert!(!String::from_utf8(facts).unwrap().contains("approvals"));
    let asked = |needed| {
        let mut action = action("process.restart");
        (action.tier, action.approvals) = (Tier::T3, Some(Quorum::new(needed, Vec::new()).unwrap()));
        action.digest().unwrap()
    };
    assert_ne!(asked(2), asked(3), "who asks for more is another entry");
}

#[test]
fn a_catalogue_has_a_size() {
    let many = |count: usize| (0..count).map(|number| action(&format!("a-{number}"))).collect::<Vec<_>>();
    assert_eq!(Catalogue::new(vec![], conditions()), Err(vec![CatalogueError::Size(0)]));
    assert!(Catalogue::new(many(MAX_CATALOGUE), conditions()).is_ok());
    let faults = Catalogue::new(many(MAX_CATALOGUE + 1), conditions()).unwrap_err();
    assert_eq!(faults, [CatalogueError::Size(MAX_CATALOGUE + 1)]);
    let mut all = conditions();
    all.extend((0..MAX_CATALOGUE).map(|number| condition(&format!("c-{number}"))));
    let faults = Catalogue::new(many(1), all).unwrap_err();
    assert_eq!(faults, [CatalogueError::Size(MAX_CATALOGUE + 2)]);
    assert_eq!(word(&faults[0]), "size");
}

#[test]
fn parameters_that_can_have_no_value_or_no_exact_one_are_refused() {
    let allowed = |spec: ParamSpec| {
        let mut action = action("process.restart");
        action.params = BTreeMap::from([(id("p"), spec)]);
        Catalogue::new(vec![action], conditions()).is_ok()
    };
    for (min, max, fine) in [
        (0, 0, true),
        (-MAX_INT, MAX_INT, true),
        (1, 0, false),
        (-MAX_INT - 1, 0, false),
        (0, MAX_INT + 1, false),
        (i64::MIN, i64::MAX, false),
    ] {
        assert_eq!(allowed(ParamSpec::Int { min, max }), fine, "{min} to {max}");
    }
    assert!(allowed(ParamSpec::Bool));
    assert!(allowed(ParamSpec::Choice { of: BTreeSet::from([id("a")]) }));
}

/// A lease, an armed undo and a soak end; an entry that says otherwise is refused, to the millisecond.
#[test]
fn t25_no_time_of_an_action_is_without_end() {
    type Set = fn(&mut Action, Millis);
    let times: [(&str, u64, Set); 3] = [
        ("undo_window_ms", MAX_UNDO_WINDOW_MS, |action, time| action.undo_window_ms = time),
        ("soak_ms", MAX_SETTLE_MS, |action, time| action.soak_ms = time),
        ("settle_ms", MAX_SETTLE_MS, |action, time| action.settle_ms = time),
    ];
    for (field, limit, set) in times {
        let with = |time: u64| {
            let mut action = action("process.restart");
            set(&mut action, ms(time));
            Catalogue::new(vec![action], conditions()).map(drop)
        };
        assert_eq!(with(limit), Ok(()), "{field}");
        for got in [limit + 1, limit * 2, MAX_MS] {
            let action = id("process.restart");
            assert_eq!(with(got), Err(vec![CatalogueError::Time { action, field, limit, got }]), "{field}");
        }
    }
}

#[test]
fn t30_an_action_has_few_guards() {
    let with = |count: usize| {
        let names: Vec<_> = (0..count).map(|number| format!("guard.{number}")).collect();
        let mut action = action("process.restart");
        action.guards = names.iter().map(|name| id(name)).collect();
        let guards = names.iter().map(|name| condition(name));
        Catalogue::new(vec![action], conditions().into_iter().chain(guards).collect()).map(drop)
    };
    assert_eq!(with(MAX_GUARDS), Ok(()));
    for got in [MAX_GUARDS + 1, MAX_GUARDS * 2] {
        let action = id("process.restart");
        assert_eq!(with(got), Err(vec![CatalogueError::Guards { action, got }]));
    }
}

/// An entry from before guards and the cap on environments were there: nothing is guarded, and one environment is the most.
#[test]
fn an_entry_that_says_nothing_of_environments_may_reach_one() {
    let mut value = serde_json::to_value(action("process.restart")).unwrap();
    value["cap"].as_object_mut().unwrap().remove("environments");
    value.as_object_mut().unwrap().remove("guards");
    let read: Action = serde_json::from_value(value).unwrap();
    assert_eq!((read.cap.environments, read.guards.len()), (1, 0));
}

/// What budgets count together, and what deletes.
#[test]
fn the_class_of_an_action_is_the_first_part_of_its_id() {
    for (name, class) in [("process.restart", "process"), ("k8s.pod.delete", "k8s"), ("look", "look")] {
        assert_eq!(action(name).class(), class);
    }
    let mut deleting = action("volume.delete");
    assert!(!deleting.deletes());
    deleting.touches =
        BTreeMap::from([(State::CustomerData, Effect::Reads), (State::Audit, Effect::Deletes)]);
    assert!(deleting.deletes());
}

#[test]
fn conditions_that_cannot_be_decided_are_refused() {
    let with = |change: fn(&mut Condition)| {
        let mut condition = condition("c");
        change(&mut condition);
        condition.check().err()
    };
    assert_eq!(with(|_| {}), None);
    assert_eq!(with(|c| c.probes.clear()), Some(ConditionFault::Probes(0)));
    let many = with(|c| c.probes = vec![c.probes[0].clone(); MAX_PROBES + 1]);
    assert_eq!(many, Some(ConditionFault::Probes(MAX_PROBES + 1)));
    assert_eq!(with(|c| c.probes = vec![c.probes[0].clone(); MAX_PROBES]), None);
    assert_eq!(with(|c| c.needs = 0), Some(ConditionFault::Needs { needs: 0, probes: 3 }));
    assert_eq!(with(|c| c.needs = 4), Some(ConditionFault::Needs { needs: 4, probes: 3 }));
    assert_eq!(with(|c| c.needs = u32::MAX), Some(ConditionFault::Needs { needs: u32::MAX, probes: 3 }));
    assert_eq!(with(|c| c.needs = 3), None);
    assert_eq!(with(|c| c.probes[2].timeout_ms = ms(0)), Some(ConditionFault::Timeout(ms(0))));
    assert_eq!(with(|c| c.probes[2].timeout_ms = ms(60_001)), Some(ConditionFault::Timeout(ms(60_001))));
    assert_eq!(with(|c| c.probes[2].timeout_ms = ms(60_000)), None);
    for limit in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for is in [Comparison::Above(limit), Comparison::Below(limit), Comparison::Equals(limit)] {
            let mut condition = condition("c");
            condition.probes.push(probe(500, prometheus(is)));
            let fault = CheckFault::NotFinite("up".into());
            let fault = ConditionFault::Check { number: 4, endpoint: id("http"), fault };
            assert_eq!(condition.check(), Err(fault), "{is:?}");
        }
    }
    let mut finite = condition("c");
    finite.probes.push(probe(500, prometheus(Comparison::Above(0.0))));
    assert_eq!(finite.check(), Ok(()));
}

/// Every combination of the facts that an entry states.
fn every_entry() -> impl Iterator<Item = Action> {
    REVERSIBILITIES.into_iter().flat_map(|reversibility| {
        UNDO_KINDS.into_iter().flat_map(move |undo| {
            [false, true].into_iter().flat_map(move |additive| {
                all_touches().into_iter().map(move |touches| Action {
                    reversibility,
                    undo,
                    additive,
                    touches,
                    ..action("process.restart")
                })
            })
        })
    })
}

#[test]
fn the_catalogue_and_the_guardrails_agree() {
    let table: BTreeMap<_, _> = GUARDRAILS.iter().map(|guardrail| (guardrail.id, guardrail.demand)).collect();
    assert_eq!(table.len(), GUARDRAILS.len(), "two guardrails with one id");
    let mut met = BTreeSet::new();
    for action in every_entry() {
        let floors = static_floors(&action);
        for (rule, tier) in &floors {
            assert_eq!(table.get(rule), Some(&Demand::AtLeast(*tier)), "`{rule}` is not in the table");
            met.insert(*rule);
        }
        // On a target and in circumstances where nothing else raises the floor, the decision says the same.
        let clean = Facts { action: ActionFacts::of(&action).unwrap(), ..facts() };
        let raised: BTreeSet<_> = floor(&clean)
            .1
            .iter()
            .filter(|reason| reason.rule.as_str() != CATALOGUE_TIER)
            .map(|reason| match reason.effect {
                ReasonEffect::Raised(tier) => (reason.rule.as_str().to_owned(), tier),
                ReasonEffect::Denied
                | ReasonEffect::Deferred
                | ReasonEffect::Permitted
                | ReasonEffect::Forbade
                | ReasonEffect::Failed => panic!("{reason:?}"),
            })
            .collect();
        let floors: BTreeSet<_> = floors.into_iter().map(|(rule, tier)| (rule.to_owned(), tier)).collect();
        assert_eq!(raised, floors, "{action:?}");
    }
    let expected = [
        "additive-without-undo",
        "guard-state",
        "irreversible",
        "no-undo",
        "secret-refresh",
        "step-up",
        "trust-state-needs-a-person",
    ];
    assert_eq!(met.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn t13_a_value_that_nobody_can_inspect_needs_two_people() {
    let params = [(id("token"), ParamSpec::Secret)];
    let entry = every_entry().into_iter().find(|entry| static_floors(entry).is_empty()).unwrap();
    let entry = Action { params: params.into(), ..entry };
    assert_eq!(static_floors(&entry), [("step-up", Tier::T4)]);
    assert!(entry.all_groups().contains(&id("needs-step-up")), "policy knows it as well");
    for tier in [Tier::T1, Tier::T2, Tier::T3] {
        assert!(Catalogue::new(vec![Action { tier, ..entry.clone() }], conditions()).is_err(), "{tier}");
    }
    let reversibility = Reversibility::Reversible;
    let entry = Action { tier: Tier::T4, reversibility, ..entry };
    assert!(Catalogue::new(vec![entry], conditions()).is_ok());
}

#[test]
fn an_entry_below_its_guardrails_is_refused() {
    for entry in every_entry() {
        let needed = static_floors(&entry).iter().map(|(_, tier)| *tier).max().unwrap_or(Tier::T0);
        for tier in Tier::ALL {
            let action = Action { tier, ..entry.clone() };
            let read_only = action.reversibility == Reversibility::ReadOnly;
            let fine = tier >= needed && (tier == Tier::T0) == read_only;
            let made = Catalogue::new(vec![action.clone()], conditions());
            assert_eq!(made.is_ok(), fine, "{action:?}: {made:?}");
        }
    }
}

/// Names of groups are built from facts; one that broke the grammar would be lost, and a policy rule with it.
#[test]
fn every_generated_group_is_there() {
    for action in every_entry() {
        let groups: BTreeSet<String> =
            action.all_groups().iter().map(|group: &Id<_>| group.as_str().to_owned()).collect();
        for state in action.touches.keys() {
            let name = format!("touches-{}", state.as_str().replace('_', "-"));
            assert!(groups.contains(&name), "{name} is not in {groups:?}");
        }
        assert!(groups.contains("restart"), "its own group");
        let expected = match action.reversibility {
            Reversibility::ReadOnly => "read-only",
            Reversibility::Reversible => "reversible",
            Reversibility::ExternallyReversible => "externally-reversible",
            Reversibility::Irreversible => "irreversible",
        };
        assert!(groups.contains(expected), "{groups:?}");
        // Whatever needs two people is in the group that the guardrail of the policy names, and no other is.
        let step_up = static_floors(&action).iter().any(|(rule, _)| *rule == "step-up");
        assert_eq!(groups.contains("needs-step-up"), step_up, "{action:?}");
        let guard = action.touches.keys().any(|state| !state.is_trust());
        assert_eq!(groups.contains("changes-guard-state"), guard, "{action:?}");
    }
}
