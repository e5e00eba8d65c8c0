//! Explaining an answer: which rules matched on each rung and, for a denial, what would have had to be different.
//!
//! This is the slow path, for people. Each rule of the slice is asked alone, and each condition of a permit that did not
//! match is asked as a rule of its own. All text comes from the operator's policy, never from an agent.

use std::sync::Arc;

use cedar_policy::{
    Decision, Entities, Policy, PolicySet, Request,
    pst::{self, Clause, Expr},
};
use holdpoint_domain::{Id, Rung, facts::Facts, id::kind};
use serde::Serialize;

use crate::{
    ask,
    bundle::Bundle,
    fields::Fields,
    narrow,
    report::RuleEffect,
    rule::{self, Rule},
};

/// Most permits that an explanation goes through, and most rules that it asks one by one. More is no explanation.
const MAX_EXPLAINED: usize = 64;

/// Why the answer is what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Why the bundle was not asked at all.
    pub not_asked: Option<String>,
    /// What matched, on each rung, lowest first.
    pub rungs: Vec<OnRung>,
    /// The forbids that matched with the most oversight.
    pub forbidden: Vec<Said>,
    /// For a denial on the highest rung: the permits that could have applied, and what was missing.
    pub unmet: Vec<Unmet>,
    /// Permits that were left out of `unmet`.
    pub left_out: usize,
}

/// What matched on a rung.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OnRung {
    /// The rung.
    pub rung: Rung,
    /// Permits that matched.
    pub permits: Vec<Id<kind::Rule>>,
    /// Forbids that matched.
    pub forbids: Vec<Id<kind::Rule>>,
    /// Rules that could not be evaluated.
    pub failed: Vec<Id<kind::Rule>>,
}

/// What a rule says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Said {
    /// The rule.
    pub rule: Id<kind::Rule>,
    /// Its `@why`.
    pub why: Option<String>,
    /// Its `@next`: what can be done about it.
    pub next: Option<String>,
}

/// A permit that did not match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unmet {
    /// The permit.
    #[serde(flatten)]
    pub said: Said,
    /// Its conditions that did not hold, in Cedar.
    pub conditions: Vec<String>,
}

impl Bundle {
    /// Explains the answers to these facts.
    #[must_use]
    pub fn explain(&self, facts: &Facts) -> Explanation {
        let none = Explanation {
            not_asked: None,
            rungs: Vec::new(),
            forbidden: Vec::new(),
            unmet: Vec::new(),
            left_out: 0,
        };
        let (asked, slice) = match self.prepare_whole(facts) {
            Ok(prepared) => prepared,
            Err(unasked) => return Explanation { not_asked: Some(unasked.to_string()), ..none },
        };
        let entities = match asked.entities(Fields::ALL) {
            Ok(entities) => entities,
            Err(unasked) => return Explanation { not_asked: Some(unasked.to_string()), ..none },
        };
        let rules: Vec<&Rule> = slice.rules.iter().filter_map(|at| self.rules().get(*at)).collect();
        let mut rungs = Vec::new();
        for rung in Rung::ALL {
            match asked.under(Some(&rung.oversight()), Fields::ALL) {
                Ok(request) => rungs.push(on_rung(rung, &rules, &request, &entities)),
                Err(unasked) => return Explanation { not_asked: Some(unasked.to_string()), ..none },
            }
        }
        let (Some(top), Ok(request)) =
            (rungs.last().cloned(), asked.under(Some(&Rung::T4.oversight()), Fields::ALL))
        else {
            return none;
        };
        let forbidden =
            rules.iter().filter(|rule| top.forbids.contains(&rule.id)).map(|rule| said(rule)).collect();
        let denied = !top.forbids.is_empty() || !top.failed.is_empty() || top.permits.is_empty();
        let missed: Vec<_> = rules
            .iter()
            .filter(|rule| denied && rule.effect == RuleEffect::Permit && !top.permits.contains(&rule.id))
            .collect();
        let conditions = |rule: &Rule| unmet_conditions(rule, &request, &entities);
        let unmet = missed
            .iter()
            .take(MAX_EXPLAINED)
            .map(|rule| Unmet { said: said(rule), conditions: conditions(rule) });
        Explanation {
            unmet: unmet.collect(),
            left_out: missed.len().saturating_sub(MAX_EXPLAINED),
            forbidden,
            rungs,
            ..none
        }
    }
}

fn said(rule: &Rule) -> Said {
    let note = |key: &str| rule.policy.annotation(key).filter(|text| !text.is_empty()).map(str::to_owned);
    Said { rule: rule.id.clone(), why: note("why"), next: note("next") }
}

fn on_rung(rung: Rung, rules: &[&Rule], request: &Request, entities: &Entities) -> OnRung {
    let mut on = OnRung { rung, permits: Vec::new(), forbids: Vec::new(), failed: Vec::new() };
    for rule in rules {
        let mut alone = PolicySet::new();
        let matched = match rule::put(&mut alone, rule) {
            Ok(()) => ask::run(&alone, request, entities),
            Err(_) => ask::Matched { failed: [rule.id.clone()].into(), ..ask::Matched::default() },
        };
        on.permits.extend(matched.permits);
        on.forbids.extend(matched.forbids);
        on.failed.extend(matched.failed);
    }
    on
}

/// The conditions of a permit that are false, or that fail when all before them hold. Empty when it is the scope that
/// does not match.
fn unmet_conditions(rule: &Rule, request: &Request, entities: &Entities) -> Vec<String> {
    let mut unmet = Vec::new();
    for condition in
        rule::clauses_of(&rule.policy, rule.linked.as_ref()).iter().flatten().flat_map(narrow::conjuncts)
    {
        match holds(&condition, request, entities) {
            Some(true) => {}
            Some(false) => unmet.push(condition.to_string()),
            None if unmet.is_empty() => {
                unmet.push(condition.to_string());
                break;
            }
            // What failed may have been guarded by the condition that is false.
            None => break,
        }
    }
    unmet
}

/// Whether a condition holds, asked as a permit for everything; none when it cannot be evaluated.
fn holds(condition: &Expr, request: &Request, entities: &Entities) -> Option<bool> {
    let probe = pst::Template::new(
        "probe",
        pst::Effect::Permit,
        pst::PrincipalConstraint::Any,
        pst::ActionConstraint::Any,
        pst::ResourceConstraint::Any,
    );
    let probe = probe.try_with_clauses([Clause::When(Arc::new(condition.clone()))]).ok()?;
    let probe = pst::StaticPolicy::try_from(probe).ok()?;
    let set = PolicySet::from_policies([Policy::from_pst(probe.into()).ok()?]).ok()?;
    let response = cedar_policy::Authorizer::new().is_authorized(request, &set, entities);
    if response.diagnostics().errors().next().is_some() {
        return None;
    }
    Some(response.decision() == Decision::Allow)
}
