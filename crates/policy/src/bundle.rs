//! A bundle: rules that were read, validated and judged together. What does not pass every check does not load.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use cedar_policy::{
    ActionConstraint, PolicyId, PolicySet, PrincipalConstraint, ValidationMode, ValidationWarning, Validator,
};
use holdpoint_domain::{Digest, Id, id::kind};
use serde::Serialize;

use crate::{
    error::{Place, PolicyError, Warning, one_line},
    index::{Index, Slice},
    monotone::Monotone,
    narrow::Atoms,
    remembered::Remembered,
    report::{Report, RuleEffect, RuleReport},
    request::Asked,
    rule::{self, Parsed, Pattern, Rule},
    scan::{self, limit},
    schema::{APPROVE, Schema},
};

/// The rules that are always loaded. No operator's file can replace them, and no permit overrides a forbid.
pub const GUARDRAILS: &str = include_str!("../../../policies/guardrails.cedar");
/// The name of their file.
pub const GUARDRAILS_FILE: &str = "guardrails.cedar";
/// What a careful team starts from.
pub const STARTER: &str = include_str!("../../../policies/starter.cedar");

/// A policy file, as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    /// Its name in messages.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// A template of the bundle, filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    /// The id of the template.
    pub template: String,
    /// The id of the rule that this makes.
    pub id: String,
    /// For `?principal`, as Cedar writes it: `Team::"sre-agents"`.
    pub principal: Option<String>,
    /// For `?resource`.
    pub resource: Option<String>,
}

/// A loaded bundle.
#[derive(Debug)]
pub struct Bundle {
    // INVARIANT: every rule is valid against `schema`; `index` was made of `rules`; the guardrails are among them.
    rules: Vec<Rule>,
    index: Index,
    remembered: Remembered,
    schema: Schema,
    digest: Digest,
    files: usize,
    warnings: Vec<Warning>,
}

/// The bytes of a bundle's digest.
#[derive(Serialize)]
struct Contents<'a> {
    r#type: &'static str,
    sources: Vec<&'a Source>,
    links: &'a [Link],
}

impl Bundle {
    /// Loads the guardrails and an operator's files, with links for their templates.
    ///
    /// Refuses whatever does not pass: limits, syntax, ids, strict validation, rules that can never match, rules that more
    /// oversight turns against the action, and a bundle without a rule. Reports all faults of the stage that failed.
    pub fn load(
        sources: &[Source],
        links: &[Link],
        schema: Schema,
    ) -> Result<(Self, Vec<Warning>), Vec<PolicyError>> {
        let guardrails = Source { name: GUARDRAILS_FILE.to_owned(), text: GUARDRAILS.to_owned() };
        let all: Vec<&Source> = std::iter::once(&guardrails).chain(sources).collect();
        check_limits(&all)?;
        let parsed = parse(&all, links.len())?;
        let (rules, patterns) = link(parsed, links)?;
        if rules.iter().all(is_guardrail) {
            return Err(vec![PolicyError::Empty]);
        }
        let mut warnings = validate(&rules, &patterns, &schema)?;
        warnings.extend(rules.iter().flat_map(|rule| rule_warnings(rule, &schema)));
        warnings.extend(unlinked(&rules, &patterns));
        if !rules.iter().any(permits_approving) {
            warnings.push(Warning::NobodyApproves);
        }
        let contents = Contents { r#type: "holdpoint/policy-bundle/v1", sources: all, links };
        let digest = Digest::of(&contents).map_err(|err| vec![PolicyError::Digest(err)])?;
        let files = contents.sources.len();
        let bundle = Self {
            index: Index::new(&rules),
            remembered: Remembered::default(),
            rules,
            schema,
            digest,
            files,
            warnings: warnings.clone(),
        };
        Ok((bundle, warnings))
    }

    /// The digest that decisions name: over the names and texts of all files, and the links. The schema follows from the catalogue,
    /// which has a digest of its own: with it in here, a change of the catalogue would be one of the policy, too.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The schema that the bundle was validated against.
    #[must_use]
    pub const fn schema(&self) -> &Schema {
        &self.schema
    }

    /// What `holdpoint policy check` shows.
    #[must_use]
    pub fn check_report(&self) -> Report {
        let rules: Vec<_> = self.rules.iter().map(report).collect();
        let with = |effect| rules.iter().filter(|rule| rule.effect == effect).count();
        Report {
            bundle: self.digest,
            schema: self.schema.digest(),
            files: self.files,
            permits: with(RuleEffect::Permit),
            forbids: with(RuleEffect::Forbid),
            unproven: rules.iter().filter(|rule| rule.monotone == Monotone::Unproven).count(),
            rules,
            warnings: self.warnings.clone(),
        }
    }

    pub(crate) const fn remembered(&self) -> &Remembered {
        &self.remembered
    }

    pub(crate) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    pub(crate) fn slice(&self, asked: &Asked<'_>, atoms: Option<Atoms>) -> Result<Arc<Slice>, String> {
        self.index.slice(&self.rules, &asked.concerned, atoms)
    }
}

fn report(rule: &Rule) -> RuleReport {
    let template = rule.linked.as_ref().and_then(|linked| Id::parse(linked.template.id().as_ref()).ok());
    RuleReport {
        rule: rule.id.clone(),
        at: rule.at.clone(),
        effect: rule.effect,
        monotone: rule.monotone,
        template,
        guardrail: is_guardrail(rule),
    }
}

fn is_guardrail(rule: &Rule) -> bool {
    rule.at.file.as_ref() == GUARDRAILS_FILE
}

fn check_limits(sources: &[&Source]) -> Result<(), Vec<PolicyError>> {
    let mut faults = Vec::new();
    if sources.len() > limit::FILES {
        faults.push(PolicyError::TooManyFiles { got: sources.len() });
    }
    let total: usize = sources.iter().map(|source| source.text.len()).fold(0, usize::saturating_add);
    if total > limit::TOTAL_BYTES {
        faults.push(PolicyError::BundleTooLarge { got: total });
    }
    let mut names = BTreeSet::new();
    for source in sources {
        let file: Arc<str> = one_line(&source.name).into();
        if source.text.len() > limit::FILE_BYTES {
            faults.push(PolicyError::FileTooLarge { file: Arc::clone(&file), got: source.text.len() });
        }
        if !names.insert(source.name.as_str()) {
            faults.push(PolicyError::DuplicateFile { file });
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

fn parse(sources: &[&Source], links: usize) -> Result<Vec<Parsed>, Vec<PolicyError>> {
    let (mut statements, mut faults) = (Vec::new(), Vec::new());
    for source in sources {
        match scan::statements(&one_line(&source.name).into(), &source.text) {
            Ok(found) => statements.extend(found),
            Err(found) => faults.extend(found),
        }
    }
    let got = statements.len().saturating_add(links);
    if got > limit::RULES {
        faults.push(PolicyError::TooManyRules { got });
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let (mut parsed, mut places): (Vec<Parsed>, BTreeMap<Id<kind::Rule>, Place>) =
        (Vec::new(), BTreeMap::new());
    for statement in &statements {
        match rule::parse(statement) {
            Ok(found) => {
                if let Some(first) = places.insert(found.id().clone(), found.at().clone()) {
                    let (at, rule) = (found.at().clone(), found.id().clone());
                    faults.push(PolicyError::DuplicateId { at, rule, first });
                }
                parsed.push(found);
            }
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() { Ok(parsed) } else { Err(faults) }
}

fn link(parsed: Vec<Parsed>, links: &[Link]) -> Result<(Vec<Rule>, Vec<Pattern>), Vec<PolicyError>> {
    let (mut rules, mut patterns, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    for parsed in parsed {
        match parsed {
            Parsed::Rule(rule) => rules.push(*rule),
            Parsed::Pattern(pattern) => patterns.push(pattern),
        }
    }
    let taken =
        rules.iter().map(|rule| (&rule.id, &rule.at)).chain(patterns.iter().map(|it| (&it.id, &it.at)));
    let mut places: BTreeMap<_, _> = taken.map(|(id, at)| (id.clone(), at.clone())).collect();
    for link in links {
        match rule::link(link, &patterns) {
            Ok(rule) => {
                if let Some(first) = places.insert(rule.id.clone(), rule.at.clone()) {
                    faults.push(PolicyError::DuplicateId {
                        at: rule.at.clone(),
                        rule: rule.id.clone(),
                        first,
                    });
                }
                rules.push(rule);
            }
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() { Ok((rules, patterns)) } else { Err(faults) }
}

/// Strict validation. Every error of Cedar's is fatal, and so is a rule of an operator's that can never match: it looks
/// like protection and is none. The guardrails may have groups that a small catalogue has no action in.
fn validate(rules: &[Rule], patterns: &[Pattern], schema: &Schema) -> Result<Vec<Warning>, Vec<PolicyError>> {
    let mut set = PolicySet::new();
    let mut faults = Vec::new();
    for pattern in patterns {
        if let Err(err) = set.add_template(pattern.template.as_ref().clone()) {
            let (at, rule, message) = (pattern.at.clone(), pattern.id.clone(), one_line(&format!("{err}")));
            faults.push(PolicyError::Invalid { at, rule, message });
        }
    }
    for rule in rules {
        if let Err(err) = rule::put(&mut set, rule) {
            faults.push(PolicyError::Invalid {
                at: rule.at.clone(),
                rule: rule.id.clone(),
                message: one_line(&err),
            });
        }
    }
    let known =
        rules.iter().map(|rule| (&rule.id, &rule.at)).chain(patterns.iter().map(|it| (&it.id, &it.at)));
    let known: BTreeMap<&str, _> = known.map(|(id, at)| (id.as_str(), (id, at))).collect();
    // An id that Cedar made up would be our fault; it must not be lost, so it is put down to the guardrails.
    let fallback = rules.first().map(|rule| (&rule.id, &rule.at));
    let find = |id: &PolicyId| {
        let text: &str = id.as_ref();
        known.get(text).copied().or(fallback).map(|(id, at)| (id.clone(), at.clone()))
    };

    let result = Validator::new(schema.cedar.clone()).validate(&set, ValidationMode::Strict);
    for err in result.validation_errors() {
        if let Some((rule, at)) = find(err.policy_id()) {
            faults.push(PolicyError::Invalid { at, rule, message: one_line(&err.to_string()) });
        }
    }
    let mut warnings = Vec::new();
    for warning in result.validation_warnings() {
        let Some((rule, at)) = find(warning.policy_id()) else { continue };
        let message = one_line(&warning.to_string());
        match warning {
            ValidationWarning::ImpossiblePolicy(_) | ValidationWarning::InvalidActionApplication(_) => {
                if at.file.as_ref() != GUARDRAILS_FILE {
                    faults.push(PolicyError::NeverMatches { at, rule, message });
                }
            }
            ValidationWarning::MixedScriptString(_)
            | ValidationWarning::BidiCharsInString(_)
            | ValidationWarning::BidiCharsInIdentifier(_)
            | ValidationWarning::MixedScriptIdentifier(_)
            | ValidationWarning::ConfusableIdentifier(_)
            | _ => warnings.push(Warning::Odd { at, rule, message }),
        }
    }
    if faults.is_empty() { Ok(warnings) } else { Err(faults) }
}

fn rule_warnings(rule: &Rule, schema: &Schema) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let (at, id) = (&rule.at, &rule.id);
    if rule.monotone == Monotone::Unproven {
        warnings.push(Warning::Unproven { at: at.clone(), rule: id.clone() });
    }
    let values = rule.linked.iter().flat_map(|linked| linked.values.values().cloned());
    let named: BTreeSet<_> = rule.policy.entity_literals().into_iter().chain(values).collect();
    for uid in named.iter().filter(|uid| !schema.names.knows(uid)) {
        warnings.push(Warning::UnknownName {
            at: at.clone(),
            rule: id.clone(),
            name: one_line(&uid.to_string()),
        });
    }
    if permits_approving(rule) && rule.policy.action_constraint() == ActionConstraint::Any {
        warnings.push(Warning::PermitsApproving { at: at.clone(), rule: id.clone() });
    }
    warnings
}

/// Whether the scope of a rule lets people approve.
fn permits_approving(rule: &Rule) -> bool {
    let approve = |uid: &cedar_policy::EntityUid| uid.id().unescaped() == APPROVE;
    let action = match rule.policy.action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(uid) => approve(&uid),
        ActionConstraint::In(uids) => uids.iter().any(approve),
    };
    let person = match rule.policy.principal_constraint() {
        PrincipalConstraint::Any => true,
        PrincipalConstraint::Is(of) | PrincipalConstraint::IsIn(of, _) => of.basename() == "Person",
        PrincipalConstraint::Eq(uid) | PrincipalConstraint::In(uid) => uid.type_name().basename() != "Agent",
    };
    rule.effect == RuleEffect::Permit && action && person
}

fn unlinked(rules: &[Rule], patterns: &[Pattern]) -> Vec<Warning> {
    let linked: BTreeSet<_> =
        rules.iter().filter_map(|rule| Some(rule.linked.as_ref()?.template.id().to_string())).collect();
    let lonely = patterns.iter().filter(|pattern| !linked.contains(pattern.id.as_str()));
    lonely.map(|pattern| Warning::Unlinked { at: pattern.at.clone(), rule: pattern.id.clone() }).collect()
}
