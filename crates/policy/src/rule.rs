//! One rule of a bundle: read, named, and judged.

use std::{collections::HashMap, sync::Arc};

use cedar_policy::{Effect, EntityUid, Policy, PolicyId, PolicySet, SlotId, Template, pst};
use holdpoint_domain::{Id, decision::rule as gate, guardrail, id::kind};

use crate::{
    bundle::{GUARDRAILS_FILE, Link},
    error::{Place, PolicyError, one_line},
    fields::{self, Fields},
    monotone::{self, Finding, Monotone, Trend},
    narrow::{self, Needs},
    report::RuleEffect,
    scan::Statement,
};

/// A rule that can apply: a static policy, or a template with a link.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) id: Id<kind::Rule>,
    pub(crate) at: Place,
    pub(crate) effect: RuleEffect,
    pub(crate) trend: Trend,
    pub(crate) fields: Fields,
    pub(crate) needs: Needs,
    pub(crate) monotone: Monotone,
    /// As Cedar sees it; of a link, with its values filled in.
    pub(crate) policy: Policy,
    pub(crate) linked: Option<Linked>,
}

/// Where a linked rule comes from. The policy of a link cannot be put into a set without its template.
#[derive(Debug, Clone)]
pub(crate) struct Linked {
    pub(crate) template: Arc<Template>,
    pub(crate) values: HashMap<SlotId, EntityUid>,
}

/// A template, before it is linked.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    pub(crate) id: Id<kind::Rule>,
    pub(crate) at: Place,
    pub(crate) template: Arc<Template>,
}

/// What a statement turned out to be.
#[derive(Debug, Clone)]
pub(crate) enum Parsed {
    Rule(Box<Rule>),
    Pattern(Pattern),
}

impl Parsed {
    pub(crate) const fn id(&self) -> &Id<kind::Rule> {
        match self {
            Self::Rule(rule) => &rule.id,
            Self::Pattern(pattern) => &pattern.id,
        }
    }

    pub(crate) const fn at(&self) -> &Place {
        match self {
            Self::Rule(rule) => &rule.at,
            Self::Pattern(pattern) => &pattern.at,
        }
    }
}

/// Reads one statement.
pub(crate) fn parse(statement: &Statement<'_>) -> Result<Parsed, PolicyError> {
    let at = &statement.at;
    let policy = match Policy::parse(None, statement.text) {
        Ok(policy) => policy,
        Err(not_static) => {
            return match Template::parse(None, statement.text) {
                Ok(template) => pattern(&template, at).map(Parsed::Pattern),
                Err(not_template) => {
                    let slots = statement.text.contains("?principal") || statement.text.contains("?resource");
                    let err = if slots { not_template } else { not_static };
                    Err(PolicyError::Syntax { at: at.clone(), message: one_line(&format!("{err}")) })
                }
            };
        }
    };
    let id = id_of(policy.annotation("id"), at)?;
    let policy = policy.new_id(PolicyId::new(id.as_str()));
    rule(id, at, policy, None).map(|rule| Parsed::Rule(Box::new(rule)))
}

fn pattern(template: &Template, at: &Place) -> Result<Pattern, PolicyError> {
    let id = id_of(template.annotation("id"), at)?;
    let template = Arc::new(template.new_id(PolicyId::new(id.as_str())));
    Ok(Pattern { id, at: at.clone(), template })
}

fn id_of(annotation: Option<&str>, at: &Place) -> Result<Id<kind::Rule>, PolicyError> {
    let text = annotation.ok_or_else(|| PolicyError::NoId { at: at.clone() })?;
    let id = Id::parse(text).map_err(|source| PolicyError::BadId { at: at.clone(), source })?;
    if at.file.as_ref() != GUARDRAILS_FILE && is_the_gates(&id) {
        return Err(PolicyError::ReservedId { at: at.clone(), rule: id });
    }
    Ok(id)
}

/// Ids that decisions use for the gate's own reasons: an operator's rule must not be mistaken for one.
fn is_the_gates(id: &Id<kind::Rule>) -> bool {
    const REASONS: [&str; 6] = [
        gate::NOTHING_PERMITS,
        gate::NOT_MONOTONE,
        gate::POLICY_FAILED,
        gate::TRIGGER_INDETERMINATE,
        guardrail::NO_STANDING,
        guardrail::CATALOGUE_TIER,
    ];
    REASONS.contains(&id.as_str())
        || guardrail::GUARDRAILS.iter().any(|guardrail| guardrail.id == id.as_str())
}

/// Judges a rule. `policy` has its id already.
fn rule(id: Id<kind::Rule>, at: &Place, policy: Policy, linked: Option<Linked>) -> Result<Rule, PolicyError> {
    let effect = match policy.effect() {
        Effect::Permit => RuleEffect::Permit,
        Effect::Forbid => RuleEffect::Forbid,
    };
    let clauses = clauses_of(&policy, linked.as_ref());
    // What has no syntax tree is asked on all rungs and never taken for proven.
    let (trend, fields, needs) = match &clauses {
        Some(clauses) => (monotone::trend_of(clauses), fields::fields_of(clauses), narrow::needs_of(clauses)),
        None => (Trend::Unknown, Fields::ALL, Needs::default()),
    };
    let monotone = match monotone::judge(effect, trend) {
        Finding::Proven => Monotone::Proven,
        Finding::Unproven => Monotone::Unproven,
        Finding::Against => return Err(PolicyError::AntiMonotone { at: at.clone(), rule: id }),
    };
    Ok(Rule { id, at: at.clone(), effect, trend, fields, needs, monotone, policy, linked })
}

/// The conditions of a rule, as they were written. Conditions have no slots, so those of a link are its template's.
pub(crate) fn clauses_of(policy: &Policy, linked: Option<&Linked>) -> Option<Vec<pst::Clause>> {
    match linked {
        None => policy.to_pst().ok().map(|policy| policy.body().clauses().clone()),
        Some(linked) => linked.template.to_pst().ok().map(pst::Template::into_clauses),
    }
}

/// Fills in a template.
pub(crate) fn link(link: &Link, patterns: &[Pattern]) -> Result<Rule, PolicyError> {
    let bad = |message: String| PolicyError::BadLink { link: one_line(&link.id), message };
    let id: Id<kind::Rule> = Id::parse(&link.id).map_err(|err| bad(err.to_string()))?;
    if is_the_gates(&id) {
        return Err(bad("expected an id of its own, got one that is the gate's".to_owned()));
    }
    let pattern = patterns.iter().find(|pattern| pattern.id.as_str() == link.template).ok_or_else(|| {
        PolicyError::UnknownTemplate { link: one_line(&link.id), template: one_line(&link.template) }
    })?;
    let mut values = HashMap::new();
    for (slot, text) in [(SlotId::principal(), &link.principal), (SlotId::resource(), &link.resource)] {
        if let Some(text) = text {
            let uid: EntityUid = text.parse().map_err(|err| bad(one_line(&format!("{err}"))))?;
            values.insert(slot, uid);
        }
    }
    let linked = Linked { template: Arc::clone(&pattern.template), values };
    let mut set = PolicySet::new();
    put_link(&mut set, &id, &linked).map_err(|err| bad(one_line(&err)))?;
    let policy = set.policy(&PolicyId::new(id.as_str())).cloned();
    let policy = policy.ok_or_else(|| bad("the link did not make a rule".to_owned()))?;
    rule(id, &pattern.at, policy, Some(linked))
}

/// Puts a rule into a set.
pub(crate) fn put(set: &mut PolicySet, rule: &Rule) -> Result<(), String> {
    match &rule.linked {
        None => set.add(rule.policy.clone()).map_err(|err| format!("{err}")),
        Some(linked) => put_link(set, &rule.id, linked),
    }
}

fn put_link(set: &mut PolicySet, id: &Id<kind::Rule>, linked: &Linked) -> Result<(), String> {
    let template = linked.template.id();
    if set.template(template).is_none() {
        set.add_template(linked.template.as_ref().clone()).map_err(|err| format!("{err}"))?;
    }
    set.link(template.clone(), PolicyId::new(id.as_str()), linked.values.clone())
        .map_err(|err| format!("{err}"))
}
