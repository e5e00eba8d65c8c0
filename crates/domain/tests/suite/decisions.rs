//! The decision matrix: `testdata/decisions.txt`, one line a case, read from left to right and compared as a whole.

use std::{collections::BTreeSet, fmt::Write as _};

use holdpoint_domain::{
    Rung, Tier,
    action::{Effect, State},
    decision::{Answer, Decision, Ladder, ReasonEffect, Verdict},
    facts::{Facts, Origin, Standing},
    guardrail::{CATALOGUE_TIER, GUARDRAILS, NO_STANDING},
};
use serde::de::DeserializeOwned;

use super::support::{agreement, allow, blast, decide_one, digest, facts, held_back, id, one, over_budget};

const TABLE: &str = include_str!("../../testdata/decisions.txt");

/// A case as the table has it.
pub(crate) struct Case {
    pub(crate) facts: Facts,
    pub(crate) ladder: Ladder,
}

/// All cases of the table with their lines.
fn cases() -> impl Iterator<Item = (&'static str, Case)> {
    TABLE.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(|line| {
        let (left, _) = line.split_once("=>").unwrap_or((line, ""));
        (left.trim_end(), read(left))
    })
}

#[test]
fn the_decision_matrix_is_the_reviewed_one() {
    let mut cases = cases();
    let mut actual = String::new();
    for line in TABLE.lines() {
        if line.starts_with('#') || line.is_empty() {
            writeln!(actual, "{line}").unwrap();
        } else {
            let (left, case) = cases.next().unwrap();
            writeln!(actual, "{left} => {}", case.decide_and_write()).unwrap();
        }
    }
    if actual != TABLE {
        let first = actual.lines().zip(TABLE.lines()).find(|(actual, table)| actual != table);
        panic!(
            "{actual}\nThe table above is what the code decides; testdata/decisions.txt differs first at:\n{first:#?}"
        );
    }
}

#[test]
fn the_decision_matrix_misses_nothing() {
    let decided: Vec<_> = cases().map(|(_, case)| (case.decide(), case)).collect();
    assert!(decided.len() >= 150, "{} cases", decided.len());
    for guardrail in GUARDRAILS {
        let applied = decided.iter().filter(|(_, case)| (guardrail.applies)(&case.facts)).count();
        assert!(applied > 0 && applied < decided.len(), "`{}` applies in {applied} cases", guardrail.id);
    }
    for tier in Tier::ALL {
        assert!(decided.iter().any(|(_, case)| case.facts.action.tier == tier), "no action of {tier}");
        assert!(decided.iter().any(|(decision, _)| decision.floor == tier), "no floor of {tier}");
    }
    for answer in [Answer::Allow, Answer::Hold, Answer::Deny, Answer::Defer] {
        assert!(decided.iter().any(|(decision, _)| decision.answer == answer), "no `{answer}`");
    }
    for rung in Rung::ALL {
        let first = |ladder: &Ladder| Rung::ALL.into_iter().find(|rung| ladder.on(*rung).allows());
        let failing = |ladder: &Ladder| matches!(ladder.on(rung), Verdict::Error { .. });
        assert!(decided.iter().any(|(_, case)| first(&case.ladder) == Some(rung)), "no allow from {rung:?}");
        assert!(decided.iter().any(|(_, case)| failing(&case.ladder)), "no error on {rung:?}");
    }
    let pairs: BTreeSet<(State, Effect)> = decided
        .iter()
        .flat_map(|(_, case)| case.facts.action.touches.iter().map(|(state, effect)| (*state, *effect)))
        .collect();
    assert_eq!(pairs.len(), 12 * 7, "every effect on every state");
}

/// Rules that this crate names have to be ids, or the reason would be dropped from the decision.
#[test]
fn every_rule_of_the_gate_is_an_id() {
    use holdpoint_domain::decision::rule::{
        NOT_MONOTONE, NOTHING_PERMITS, POLICY_FAILED, TRIGGER_INDETERMINATE,
    };
    let own =
        [CATALOGUE_TIER, NO_STANDING, NOTHING_PERMITS, NOT_MONOTONE, POLICY_FAILED, TRIGGER_INDETERMINATE];
    let mut all: Vec<_> = GUARDRAILS.iter().map(|guardrail| guardrail.id).chain(own).collect();
    all.iter().for_each(|rule| {
        id::<holdpoint_domain::id::kind::Rule>(rule);
    });
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), count, "two rules with one id");
}

impl Case {
    fn decide(&self) -> Decision {
        decide_one(&self.facts, &self.ladder)
    }

    fn decide_and_write(&self) -> String {
        let decision = self.decide();
        assert_eq!(decision.facts, one(&self.facts).digest().unwrap());
        assert_eq!(decision.policy, self.facts.inputs.policy);
        write(&decision)
    }
}

/// A decision as the tables have it.
pub(crate) fn write(decision: &Decision) -> String {
    let reasons: Vec<_> = decision
        .reasons
        .iter()
        .map(|reason| match reason.effect {
            ReasonEffect::Raised(tier) => format!("{}>={tier}", reason.rule),
            ReasonEffect::Denied => format!("{}:denied", reason.rule),
            ReasonEffect::Deferred => format!("{}:deferred", reason.rule),
            ReasonEffect::Permitted => format!("{}:permitted", reason.rule),
            ReasonEffect::Forbade => format!("{}:forbade", reason.rule),
            ReasonEffect::Failed => format!("{}:failed", reason.rule),
        })
        .collect();
    format!("{} {} floor {} [{}]", decision.answer, decision.tier, decision.floor, reasons.join(" "))
}

/// Reads the six columns of a line, as the head of the table explains them.
pub(crate) fn read(line: &str) -> Case {
    let columns: Vec<_> = line.split('|').map(str::trim).collect();
    let [action, target, trigger, around, agent, policy] = columns[..] else {
        panic!("expected 6 columns: {line}")
    };
    let mut case = Case { facts: facts(), ladder: read_policy(policy) };
    read_action(action, &mut case.facts);
    read_target(target, &mut case.facts);
    case.facts.trigger.agreement = agreement(word(&trigger.replace(' ', "_")));
    for part in around.split(", ") {
        read_around(part, &mut case);
    }
    read_agent(agent, &mut case.facts);
    case
}

fn word<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_value(text.into()).unwrap_or_else(|err| panic!("`{text}`: {err}"))
}

fn read_action(text: &str, facts: &mut Facts) {
    let mut words = text.split(' ');
    let action = &mut facts.action;
    action.reversibility = word(words.next().unwrap());
    action.undo = word(words.next().unwrap());
    action.tier = word(words.next().unwrap());
    for extra in words {
        match extra.split_once('=') {
            Some((state, effect)) => {
                action.touches.insert(word(state), word(effect));
            }
            None if extra == "additive" => action.additive = true,
            None if extra == "uncomputed" => facts.undo.computed = false,
            None => panic!("`{extra}` in `{text}`"),
        }
    }
}

fn read_target(text: &str, facts: &mut Facts) {
    let words: Vec<_> = text.split(' ').collect();
    if words == ["unknown"] {
        facts.target = None;
        return;
    }
    let target = facts.target.as_mut().unwrap();
    target.stateless = match words[0] {
        "stateless" => true,
        "stateful" => false,
        _ => panic!("`{text}`"),
    };
    target.replicas = words[1].parse().unwrap();
    target.down = match words[2..] {
        [] => false,
        ["down"] => true,
        _ => panic!("`{text}`"),
    };
}

fn read_around(text: &str, case: &mut Case) {
    let cap = case.facts.action.cap;
    let facts = &mut case.facts;
    match text {
        "clean" => {}
        "tainted target" => facts.provenance.target = Origin::Tainted,
        "tainted action" => facts.provenance.action = Origin::Tainted,
        "tainted scope" => facts.provenance.scope = Origin::Tainted,
        "halted" => facts.brakes.halted = true,
        "frozen" => facts.brakes.frozen = true,
        "suspended" => facts.brakes.suspended = true,
        "over budget" => facts.brakes.over_budget = Some(over_budget()),
        "over plan limit" => facts.brakes.plan_limit = held_back().plan_limit,
        "neighbour" => facts.brakes.neighbour = held_back().neighbour,
        "breaker open" => facts.brakes.breaker = held_back().breaker,
        "own doing" => facts.brakes.own_doing = held_back().own_doing,
        "error budget spent" => facts.brakes.error_budget = held_back().error_budget,
        "dependencies unread" => facts.brakes.dependencies_unread = held_back().dependencies_unread,
        "counterpart deleted" => facts.brakes.counterpart_deleted = true,
        "input refused" => facts.brakes.input_refused = true,
        "at cap" => {
            facts.blast = blast(cap.targets, cap.services, cap.critical, cap.replica_share_percent);
        }
        "over cap: targets" => facts.blast = blast(cap.targets + 1, 1, 0, 34),
        "over cap: services" => facts.blast = blast(1, cap.services + 1, 0, 34),
        "over cap: critical" => facts.blast = blast(1, 2, cap.critical + 1, 34),
        "over cap: environments" => {
            facts.blast.environments =
                (0..=cap.environments).map(|n| id(&format!("environment-{n}"))).collect();
        }
        "over cap: replicas" => facts.blast = blast(1, 1, 0, cap.replica_share_percent + 1),
        _ => panic!("`{text}`"),
    }
}

fn read_agent(text: &str, facts: &mut Facts) {
    facts.principal.accepted = false;
    facts.principal.attested_build = Some(digest("build"));
    let mut words = text.split(' ');
    while let Some(next) = words.next() {
        match next {
            "newcomer" => {}
            "accepted" => facts.principal.accepted = true,
            "unattested" => facts.principal.attested_build = None,
            "earned" => facts.standing = Standing::Earned(word(words.next().unwrap())),
            "phase" => facts.principal.phase = word(words.next().unwrap()),
            _ => panic!("`{next}` in `{text}`"),
        }
    }
}

fn read_policy(text: &str) -> Ladder {
    let on = |word: &str, rung: &str| match word {
        "allow" => allow(&format!("permit-{rung}")),
        "deny" => Verdict::Deny { rules: vec![] },
        "forbid" => Verdict::Deny { rules: vec![id(&format!("forbid-{rung}"))] },
        "error" => Verdict::Error { rules: vec![] },
        "broken" => Verdict::Error { rules: vec![id(&format!("broken-{rung}"))] },
        _ => panic!("`{text}`"),
    };
    let words: Vec<_> = text.split(' ').collect();
    let [t1, t2, t3, t4] = words[..] else { panic!("expected an answer on each of 4 rungs: `{text}`") };
    Ladder { t1: on(t1, "t1"), t2: on(t2, "t2"), t3: on(t3, "t3"), t4: on(t4, "t4") }
}

#[test]
fn inv06_what_two_may_is_what_both_may() {
    let (allow, deny, error) = (
        || Verdict::Allow { rules: vec![id("a")] },
        || Verdict::Deny { rules: vec![id("d")] },
        || Verdict::Error { rules: vec![id("e")] },
    );
    assert_eq!(allow().and(allow()), allow());
    for (one, other, both) in [
        (allow(), deny(), deny()),
        (deny(), deny(), deny()),
        (allow(), error(), error()),
        (deny(), error(), error()),
        (error(), error(), error()),
    ] {
        assert_eq!(one.clone().and(other.clone()), both);
        assert_eq!(other.and(one), both);
    }
    let ladder = |verdicts: [Verdict; 4]| {
        let [t1, t2, t3, t4] = verdicts;
        Ladder { t1, t2, t3, t4 }
    };
    let sound = ladder([deny(), allow(), allow(), allow()]);
    let stricter = ladder([deny(), deny(), allow(), allow()]);
    assert_eq!(sound.and(stricter.clone()), stricter);
    // More oversight turns an allow into a denial: nobody would see it any more in what both may.
    let falling = ladder([allow(), deny(), allow(), allow()]);
    for both in [falling.clone().and(stricter.clone()), stricter.and(falling)] {
        assert!(Rung::ALL.iter().all(|rung| matches!(both.on(*rung), Verdict::Error { .. })), "{both:?}");
    }
}
