//! Plans of several steps: each step is decided for itself, the plan has the worst of them, and nothing is approved that
//! does not belong together. `testdata/plans.txt` is the matrix.

use std::{collections::BTreeMap, fmt::Write as _};

use holdpoint_domain::{
    Rung, Tier,
    action::UndoKind,
    approval::{ApprovalError, HoldTerms, belong_together},
    decision::{Answer, Decision, Ladder, Verdict, Worse, decide, worse},
    facts::{Facts, PlanFacts},
    plan::{MAX_STEPS, Plan, PlanError},
};
use proptest::{collection::vec, prelude::*};

use super::{
    approvals::changed,
    decisions::{Case, read, write},
    properties::{any_facts, any_ladder},
    support::{
        allow, allow_from, commitment, decide_one, digest, facts, id, one, plan, plan_facts, steps, terms,
    },
};

const TABLE: &str = include_str!("../../testdata/plans.txt");

/// The steps that the table names.
fn named() -> BTreeMap<&'static str, Case> {
    let lines = TABLE.lines().filter_map(|line| line.strip_prefix("step "));
    lines
        .map(|line| line.split_once('=').unwrap())
        .map(|(name, columns)| (name.trim(), read(columns.trim())))
        .collect()
}

fn decide_steps(steps: &[&Case]) -> Decision {
    let ladders: Vec<_> = steps.iter().map(|step| step.ladder.clone()).collect();
    decide(&facts_of(steps), &ladders).unwrap()
}

fn facts_of(steps: &[&Case]) -> PlanFacts {
    PlanFacts::new(steps.iter().map(|step| step.facts.clone()).collect()).unwrap()
}

/// Decides on a line such as `act person / asked 1`.
fn decide_line(line: &str, named: &BTreeMap<&str, Case>) -> Decision {
    let (names, asked) = line.split_once(" / asked ").unwrap_or((line, "4"));
    let steps: Vec<_> = names.split_whitespace().map(|name| &named[name]).collect();
    assert!((2..=MAX_STEPS).contains(&steps.len()), "{line}");
    let asked = asked.trim().parse().unwrap();
    let ladders: Vec<_> = steps.iter().map(|step| step.ladder.clone()).take(asked).collect();
    decide(&facts_of(&steps), &ladders).unwrap()
}

#[test]
fn the_matrix_of_plans_is_the_reviewed_one() {
    let named = named();
    let mut actual = String::new();
    for line in TABLE.lines() {
        match line.split_once("=>") {
            Some((left, _)) if !line.starts_with('#') => {
                writeln!(actual, "{left}=> {}", write(&decide_line(left, &named))).unwrap();
            }
            Some(_) | None => writeln!(actual, "{line}").unwrap(),
        }
    }
    assert!(
        actual == TABLE,
        "{actual}\nThe table above is what the code decides, and not testdata/plans.txt"
    );
}

/// Every plan of one and of two of the named steps, and of each two twice, against the plain rule: the worst of the steps
/// decided alone.
#[test]
fn a_plan_is_decided_like_the_worst_of_its_steps() {
    let named: Vec<_> = named().into_values().collect();
    let alone: Vec<_> = named.iter().map(|case| decide_one(&case.facts, &case.ladder)).collect();
    for answer in [Answer::Allow, Answer::Hold, Answer::Defer, Answer::Deny] {
        assert!(alone.iter().any(|decision| decision.answer == answer), "no step is `{answer}`");
    }
    let places = 0..named.len();
    let pairs: Vec<_> =
        places.clone().flat_map(|one| places.clone().map(move |other| [one, other])).collect();
    let plans = places.map(|one| vec![one]).chain(pairs.iter().map(|pair| pair.to_vec()));
    let plans = plans.chain(pairs.iter().map(|pair| [*pair, *pair].concat()));
    for plan in plans {
        let decision = decide_steps(&plan.iter().map(|step| &named[*step]).collect::<Vec<_>>());
        let each: Vec<_> = plan.iter().map(|step| &alone[*step]).collect();
        assert_eq!(Some(decision.answer), each.iter().map(|one| one.answer).max(), "{plan:?}");
        assert_eq!(Some(decision.tier), each.iter().map(|one| one.tier).max(), "{plan:?}");
        assert_eq!(Some(decision.floor), each.iter().map(|one| one.floor).max(), "{plan:?}");
        let mut reasons = Vec::new();
        for reason in each.iter().flat_map(|one| &one.reasons) {
            if !reasons.contains(reason) {
                reasons.push(reason.clone());
            }
        }
        assert_eq!(decision.reasons, reasons, "{plan:?}: the reasons of the steps, in order, each once");
    }
}

#[test]
fn from_the_mildest_answer_to_the_strictest() {
    let order = [Answer::Allow, Answer::Hold, Answer::Defer, Answer::Deny];
    assert!(order.is_sorted());
}

/// Policy that was not asked about a step did not allow it, wherever the step stands.
#[test]
fn inv09_a_step_that_policy_was_not_asked_about_is_denied() {
    for count in 1..=MAX_STEPS {
        for asked in 0..=count {
            let ladders = vec![allow_from(Rung::T1); asked];
            let decision = decide(&plan_facts(count), &ladders).unwrap();
            let expected = if asked == count { Answer::Allow } else { Answer::Deny };
            assert_eq!(decision.answer, expected, "{asked} of {count}");
            let failed = decision.reasons.iter().any(|reason| reason.rule.as_str() == "policy-failed");
            assert_eq!(failed, asked < count, "{asked} of {count}");
        }
    }
}

#[test]
fn t25_a_plan_has_the_facts_of_one_to_max_steps() {
    let with = |count: usize| vec![facts(); count];
    for count in 1..=MAX_STEPS {
        let made = PlanFacts::new(with(count)).unwrap();
        assert_eq!((made.steps().count(), made.first()), (count, &facts()));
        let bytes = holdpoint_domain::digest::canonical(&made).unwrap();
        assert_eq!(serde_json::from_slice::<PlanFacts>(&bytes).unwrap(), made);
        // What was remembered of their encoding is no part of them.
        assert!(format!("{made:?}").ends_with(", encoded: .. }"));
        assert_eq!(Vec::from(made), with(count));
    }
    for count in [0, MAX_STEPS + 1, MAX_STEPS + 1_000] {
        assert_eq!(PlanFacts::new(with(count)), Err(PlanError::Steps(count)));
        let value = serde_json::to_value(with(count)).unwrap();
        assert!(serde_json::from_value::<PlanFacts>(value).is_err(), "facts of {count} steps were read");
    }
    let bare = serde_json::to_value(facts()).unwrap();
    assert!(serde_json::from_value::<PlanFacts>(bare).is_err(), "facts of no list were read");
}

// ---- What belongs together ---------------------------------------------------------------------------------------------

/// A plan of so many steps with its facts, its decision to hold, and the terms of the hold.
fn held(count: usize) -> (HoldTerms, Plan, PlanFacts, Decision) {
    let facts = plan_facts(count);
    let plan =
        Plan::new(plan().requester().clone(), plan().incident().cloned(), id("process.hung"), steps(count))
            .unwrap();
    let decision = decide(&facts, &vec![allow_from(Rung::T3); count]).unwrap();
    assert_eq!((decision.answer, decision.tier), (Answer::Hold, Tier::T3));
    let terms = HoldTerms { plan: plan.digest().unwrap(), ..terms(&decision) };
    (terms, plan, facts, decision)
}

/// As a gate would show it that made terms and decision anew for other facts.
fn shown_with(facts: &PlanFacts, count: usize) -> Result<(), ApprovalError> {
    let (_, plan, _, mut decision) = held(count);
    decision.facts = facts.digest().unwrap();
    let terms = HoldTerms { plan: plan.digest().unwrap(), ..terms(&decision) };
    belong_together(&terms, &plan, facts, &decision)
}

/// `facts` with those of one step changed.
fn with_step(facts: &PlanFacts, place: usize, change: fn(&mut Facts)) -> PlanFacts {
    let mut steps = Vec::from(facts.clone());
    change(&mut steps[place]);
    PlanFacts::new(steps).unwrap()
}

#[test]
fn inv04_t01_the_facts_of_every_step_belong_to_the_plan() {
    type Change = fn(&mut Facts);
    let changes: [(&str, Change); 13] = [
        ("policy", |facts| facts.inputs.policy = digest("other")),
        ("trigger", |facts| facts.trigger.condition = id("process.slow")),
        ("agent", |facts| facts.principal.agent = id("watson")),
        ("on_behalf_of", |facts| facts.principal.on_behalf_of = None),
        ("on_behalf_of", |facts| facts.principal.on_behalf_of = Some(id("ada"))),
        ("blast", |facts| drop(facts.blast.targets.pop_first())),
        ("blast", |facts| drop(facts.blast.targets.pop_last())),
        ("action", |facts| facts.action.id = id("process.stop")),
        ("action", |facts| facts.action.entry = digest("other")),
        ("undo", |facts| facts.action.undo = UndoKind::Inverse),
        ("target", |facts| facts.target = None),
        ("target", |facts| facts.target.as_mut().unwrap().id = id("worker-9")),
        ("expected_version", |facts| facts.target.as_mut().unwrap().version = digest("other")),
    ];
    for count in 1..=MAX_STEPS {
        let facts = plan_facts(count);
        assert_eq!(shown_with(&facts, count), Ok(()));
        for place in 0..count {
            for (field, change) in changes {
                let other = with_step(&facts, place, change);
                assert_ne!(other, facts, "{field}");
                let found = shown_with(&other, count);
                assert_eq!(found, Err(ApprovalError::OtherTerms(field)), "step {place} of {count}");
            }
        }
    }
}

#[test]
fn inv04_t01_neither_more_facts_than_steps_nor_fewer_nor_in_another_order() {
    for count in 1..=MAX_STEPS {
        for other in (1..=MAX_STEPS).filter(|other| *other != count) {
            let found = shown_with(&plan_facts(other), count);
            assert_eq!(found, Err(ApprovalError::OtherTerms("steps")), "facts of {other} for {count} steps");
        }
    }
    let mut turned = Vec::from(plan_facts(2));
    turned.reverse();
    assert_eq!(
        shown_with(&PlanFacts::new(turned).unwrap(), 2),
        Err(ApprovalError::OtherTerms("action")),
        "the facts of the second step beside the first"
    );
}

/// Whatever is shown beside terms that somebody made for something else.
#[test]
fn inv04_t01_every_change_to_what_is_shown_is_found() {
    let (terms, plan, facts, decision) = held(2);
    assert_eq!(belong_together(&terms, &plan, &facts, &decision), Ok(()));
    for (path, other) in changed(&plan, &["/type"]) {
        let found = belong_together(&terms, &other, &facts, &decision);
        assert_eq!(found, Err(ApprovalError::OtherTerms("plan")), "{path}");
    }
    // What has one value, or none that is near to another, the others of its step stand for.
    let fixed = ["brakes/over_budget", "standing", "type"];
    let fixed: Vec<_> =
        ["/0", "/1"].iter().flat_map(|step| fixed.map(|leaf| format!("{step}/{leaf}"))).collect();
    for (path, other) in changed(&facts, &fixed.iter().map(String::as_str).collect::<Vec<_>>()) {
        let found = belong_together(&terms, &plan, &other, &decision);
        assert_eq!(found, Err(ApprovalError::OtherTerms("facts")), "{path}");
    }
    for (path, other) in changed(&decision, &["/type"]) {
        let field = if path == "/facts" { "facts" } else { "decision" };
        let found = belong_together(&terms, &plan, &facts, &other);
        assert_eq!(found, Err(ApprovalError::OtherTerms(field)), "{path}");
    }
    type Change = fn(&mut HoldTerms);
    let changes: [(&str, Change); 5] = [
        ("plan", |terms| terms.plan = digest("other")),
        ("facts", |terms| terms.facts = digest("other")),
        ("decision", |terms| terms.decision = digest("other")),
        ("policy", |terms| terms.policy = digest("other")),
        ("tier", |terms| terms.tier = Tier::T4),
    ];
    for (field, change) in changes {
        let mut other = terms.clone();
        change(&mut other);
        let found = belong_together(&other, &plan, &facts, &decision);
        assert_eq!(found, Err(ApprovalError::OtherTerms(field)));
    }
    // The rest of the terms is about the hold, and the gate's word.
    let narrative = HoldTerms { narrative: commitment("other"), ..terms };
    assert_eq!(belong_together(&narrative, &plan, &facts, &decision), Ok(()));
}

/// Only a decision to hold is something to sign.
#[test]
fn inv05_nobody_is_asked_to_sign_a_decision_that_does_not_hold() {
    for answer in [Answer::Allow, Answer::Defer, Answer::Deny] {
        let (_, plan, facts, mut decision) = held(2);
        decision.answer = answer;
        let terms = HoldTerms { plan: plan.digest().unwrap(), ..terms(&decision) };
        let found = belong_together(&terms, &plan, &facts, &decision);
        assert_eq!(found, Err(ApprovalError::OtherTerms("tier")), "{answer}");
    }
}

// ---- At the claim ------------------------------------------------------------------------------------------------------

/// What is worse about `fresh`, when policy allows each step and everybody approved.
fn worse_than(decided: &PlanFacts, fresh: &PlanFacts) -> Vec<Worse> {
    let verdicts = vec![allow("permit"); fresh.steps().count()];
    worse(decided, fresh, &verdicts, &Rung::T4.oversight())
}

#[test]
fn t02_another_number_of_steps_voids() {
    for decided in 1..=MAX_STEPS {
        for fresh in 1..=MAX_STEPS {
            let (before, now) = (with_all_targets(decided), with_all_targets(fresh));
            let found = worse_than(&before, &now);
            let expected: &[Worse] = match fresh.cmp(&decided) {
                // Policy was not asked about a step that is not there either, but what is gone is what is said.
                std::cmp::Ordering::Less => &[Worse::TargetGone],
                std::cmp::Ordering::Equal => &[],
                std::cmp::Ordering::Greater => &[Worse::Blast],
            };
            assert_eq!(found, expected, "{decided} steps were decided on, {fresh} are there");
        }
    }
}

/// Facts of so many steps whose blast is that of the largest plan, so that only the number differs.
fn with_all_targets(count: usize) -> PlanFacts {
    PlanFacts::new(Vec::from(plan_facts(MAX_STEPS)).into_iter().take(count).collect()).unwrap()
}

#[test]
fn t02_what_got_worse_in_any_step_voids_the_plan() {
    type Change = fn(&mut Facts);
    let changes: [(Change, Worse); 6] = [
        (
            |facts| facts.target.as_mut().unwrap().version = digest("other"),
            Worse::Version { decided: digest("version-2"), now: digest("other"), parts: Vec::new() },
        ),
        (
            |facts| facts.action.entry = digest("other"),
            Worse::CatalogueEntry { decided: digest("entry-2"), now: digest("other") },
        ),
        (
            |facts| facts.blast.services.extend([id("one-more")]),
            Worse::Disturbs {
                services: [id("one-more")].into(),
                targets: [].into(),
                environments: [].into(),
                replica_share_percent: None,
            },
        ),
        (|facts| facts.brakes.halted = true, Worse::held_by("halted")),
        (|facts| facts.brakes.counterpart_deleted = true, Worse::held_by("data-and-its-backup")),
        (|facts| facts.target.as_mut().unwrap().id = id("worker-9"), Worse::TargetGone),
    ];
    for count in 2..=MAX_STEPS {
        let decided = plan_facts(count);
        for (change, expected) in &changes {
            let found = worse_than(&decided, &with_step(&decided, 1, *change));
            assert_eq!(found, std::slice::from_ref(expected), "step 1 of {count}");
        }
    }
    // The same in each step is said once.
    let decided = plan_facts(MAX_STEPS);
    let fresh = Vec::from(decided.clone()).into_iter().map(|facts| {
        let brakes = holdpoint_domain::facts::Brakes { halted: true, ..facts.brakes.clone() };
        Facts { brakes, ..facts }
    });
    assert_eq!(worse_than(&decided, &PlanFacts::new(fresh.collect()).unwrap()), [Worse::held_by("halted")]);
    let mut turned = Vec::from(plan_facts(2));
    turned.reverse();
    let found = worse_than(&plan_facts(2), &PlanFacts::new(turned).unwrap());
    assert!(found.contains(&Worse::TargetGone), "{found:?}");
}

#[test]
fn inv09_policy_must_allow_every_step_at_the_claim() {
    let enough = Rung::T4.oversight();
    for count in 1..=MAX_STEPS {
        let facts = plan_facts(count);
        for place in 0..count {
            for verdict in [Verdict::Deny { rules: vec![] }, Verdict::Error { rules: vec![] }] {
                let mut verdicts = vec![allow("permit"); count];
                verdicts[place] = verdict;
                assert_eq!(worse(&facts, &facts, &verdicts, &enough), [Worse::Denied], "{place} of {count}");
            }
            let asked = vec![allow("permit"); place];
            assert_eq!(worse(&facts, &facts, &asked, &enough), [Worse::Denied], "asked {place} of {count}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn adding_a_step_never_lowers_the_answer_or_the_tier(
        steps in vec((any_facts(), any_ladder()), 2..=MAX_STEPS),
        place in 0..MAX_STEPS,
    ) {
        let decide_all = |steps: &[(Facts, Ladder)]| {
            let (facts, ladders): (Vec<_>, Vec<_>) = steps.iter().cloned().unzip();
            decide(&PlanFacts::new(facts).unwrap(), &ladders).unwrap()
        };
        let all = decide_all(&steps);
        // Whichever step is the one that was added.
        let mut fewer = steps.clone();
        fewer.remove(place % steps.len());
        let before = decide_all(&fewer);
        prop_assert!(all.answer >= before.answer, "{before:?} became {all:?}");
        prop_assert!(all.tier >= before.tier, "{before:?} became {all:?}");
        prop_assert!(all.floor >= before.floor, "{before:?} became {all:?}");
        prop_assert!(before.reasons.iter().all(|reason| all.reasons.contains(reason)));
        for (place, reason) in all.reasons.iter().enumerate() {
            prop_assert!(!all.reasons[..place].contains(reason), "{reason:?} stands twice");
        }
        // What runs by itself has no step that anybody must look at first.
        match all.answer {
            Answer::Allow => prop_assert!(all.tier <= Tier::T2),
            Answer::Hold => prop_assert!(all.tier == Tier::T3 || all.tier == Tier::T4),
            Answer::Defer | Answer::Deny => {}
        }
    }

    #[test]
    fn the_order_of_the_steps_changes_neither_answer_nor_tier(
        steps in vec((any_facts(), any_ladder()), 2..=MAX_STEPS),
    ) {
        let decide_all = |steps: Vec<(Facts, Ladder)>| {
            let (facts, ladders): (Vec<_>, Vec<_>) = steps.into_iter().unzip();
            decide(&PlanFacts::new(facts).unwrap(), &ladders).unwrap()
        };
        let forward = decide_all(steps.clone());
        let backward = decide_all(steps.into_iter().rev().collect());
        prop_assert_eq!((forward.answer, forward.tier, forward.floor), (backward.answer, backward.tier, backward.floor));
    }

    #[test]
    fn a_plan_of_one_step_is_decided_like_the_step(facts in any_facts(), ladder in any_ladder()) {
        let decision = decide_one(&facts, &ladder);
        prop_assert_eq!(decision.facts, one(&facts).digest().unwrap());
        let floor = holdpoint_domain::decision::floor(&facts).0;
        prop_assert_eq!(decision.floor, floor.unwrap_or(Tier::T5));
    }
}
