//! Why people are asked: which rules, on which rung of the ladder, and what is the agent's word alone.

use holdpoint_app::{gate::Gate, port::Hint};
use holdpoint_domain::{
    Tier,
    decision::{Decision, ReasonEffect, Verdict},
    facts::{Origin as From, PlanFacts},
    provenance::{Sourced, of},
    tier,
};

use crate::{console::show::tame, http};

/// A rule that had a say.
pub(in crate::console) struct Reason {
    pub(in crate::console) rule: String,
    pub(in crate::console) glyph: &'static str,
    pub(in crate::console) effect: String,
    pub(in crate::console) fact: String,
    pub(in crate::console) next: String,
    /// It is the reason that people are asked at all.
    pub(in crate::console) asks: bool,
}

/// What policy says on a rung.
pub(in crate::console) struct Rung {
    pub(in crate::console) tier: &'static str,
    pub(in crate::console) oversight: &'static str,
    pub(in crate::console) allowed: bool,
    pub(in crate::console) rules: String,
    /// The tier of the plan.
    pub(in crate::console) chosen: bool,
    /// Guardrails keep the plan above it.
    pub(in crate::console) below_floor: bool,
}

/// Where a field of the plan comes from.
pub(in crate::console) struct Origin {
    pub(in crate::console) field: &'static str,
    pub(in crate::console) tainted: bool,
    pub(in crate::console) why: &'static str,
}

/// The reasons of a decision, those that ask for people first.
pub(in crate::console) fn reasons(gate: &Gate, decision: &Decision, facts: &PlanFacts) -> Vec<Reason> {
    let hints = if decision.policy == gate.ports.judge.digest() { gate.hints(facts) } else { Vec::new() };
    let mut reasons: Vec<_> = decision.reasons.iter().map(|reason| one(reason, &hints, facts)).collect();
    reasons.sort_by_key(|reason| !reason.asks);
    reasons
}

fn one(reason: &holdpoint_domain::decision::Reason, hints: &[Hint], facts: &PlanFacts) -> Reason {
    let told = http::specified(http::reason(reason), facts);
    // A rule of the policy speaks for itself, where its author wrote `@why` and `@next`.
    let hint = hints.iter().find(|hint| hint.rule == reason.rule);
    let fact = hint.and_then(|hint| hint.why.clone()).unwrap_or(told.fact);
    let next = hint.and_then(|hint| hint.next.clone()).unwrap_or(told.next);
    let (glyph, effect) = match reason.effect {
        ReasonEffect::Raised(at) => ("▲", format!("not below {at}")),
        ReasonEffect::Denied => ("✕", "denies".to_owned()),
        ReasonEffect::Deferred => ("◌", "measured again".to_owned()),
        ReasonEffect::Permitted => ("✓", "permits it at this tier".to_owned()),
        ReasonEffect::Forbade => ("✕", "forbids".to_owned()),
        ReasonEffect::Failed => ("✕", "could not be evaluated".to_owned()),
    };
    let asks = matches!(reason.effect, ReasonEffect::Raised(at) if at >= Tier::T3);
    Reason { rule: reason.rule.to_string(), glyph, effect, fact: tame(&fact), next: tame(&next), asks }
}

/// What the policy in force says on each rung; nothing where it is another one than the decision's.
pub(in crate::console) fn ladder(gate: &Gate, decision: &Decision, facts: &PlanFacts) -> Vec<Rung> {
    if decision.policy != gate.ports.judge.digest() {
        return Vec::new();
    }
    let ladders = gate.ladders(facts);
    let together =
        |rung: tier::Rung| ladders.iter().map(|ladder| ladder.on(rung).clone()).reduce(Verdict::and);
    let rung = |rung: tier::Rung| {
        let (allowed, rules) = match together(rung) {
            Some(Verdict::Allow { rules }) => (true, format!("allowed by {}", named(&rules))),
            Some(Verdict::Deny { rules }) if rules.is_empty() => (false, "no rule permits it".to_owned()),
            Some(Verdict::Deny { rules }) => (false, format!("forbidden by {}", named(&rules))),
            Some(Verdict::Error { rules }) => (false, format!("could not be evaluated: {}", named(&rules))),
            None => (false, "not asked".to_owned()),
        };
        let tier = rung.tier();
        Rung {
            tier: tier.as_str(),
            oversight: tier.meaning(),
            allowed,
            rules,
            chosen: tier == decision.tier,
            below_floor: tier < decision.floor,
        }
    };
    tier::Rung::ALL.into_iter().map(rung).collect()
}

fn named(rules: &[holdpoint_domain::Id<holdpoint_domain::id::kind::Rule>]) -> String {
    let names: Vec<_> = rules.iter().map(|rule| rule.as_str()).collect();
    if names.is_empty() { "the gate itself".to_owned() } else { names.join(", ") }
}

/// Which fields of the plan the gate derived itself. A field is tainted when it is in any step.
pub(in crate::console) fn provenance(facts: &PlanFacts) -> Vec<Origin> {
    let chosen = |of: Sourced| {
        let origin = of.origin.filter(|_| of.is_of_the_plan())?;
        Some(Origin { field: of.field, tainted: origin == From::Tainted, why: of.why })
    };
    of(facts).into_iter().filter_map(chosen).collect()
}
