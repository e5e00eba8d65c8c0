//! The sliced evaluation equals the full scan: in decision, determining rules, and rules that failed.

use std::collections::BTreeMap;

use cedar_policy::{Entities, PolicySet};
use holdpoint_domain::{
    Oversight, Rung, Tier,
    decision::Verdict,
    facts::{Facts, Origin},
    trigger::Truth,
};
use proptest::{prelude::*, sample::select};

use super::sample;
use crate::{
    Consent, Link,
    ask::{self, Matched},
    bundle::Source,
    fields::Fields,
    index::Index,
    narrow::Atoms,
    request::Asked,
    rule::{self, Parsed, Rule},
    scan,
};

const PRINCIPALS: &[&str] = &[
    "principal",
    "principal == Agent::\"healer\"",
    "principal == Agent::\"other\"",
    "principal == Person::\"alice\"",
    "principal == Team::\"sre-agents\"",
    "principal in Agent::\"healer\"",
    "principal in Team::\"sre-agents\"",
    "principal in Team::\"oncall\"",
    "principal in Team::\"payments\"",
    "principal in Environment::\"production\"",
    "principal is Agent",
    "principal is Person",
    "principal is Target",
    "principal is Agent in Team::\"sre-agents\"",
    "principal is Person in Team::\"sre-agents\"",
    "principal is Person in Team::\"oncall\"",
];
const ACTIONS: &[&str] = &[
    "action",
    "action == Action::\"process.restart\"",
    "action == Action::\"process.stop\"",
    "action == Action::\"restart\"",
    "action == Action::\"approve\"",
    "action in Action::\"process.restart\"",
    "action in Action::\"restart\"",
    "action in Action::\"capacity\"",
    "action in Action::\"reversible\"",
    "action in Action::\"nothing\"",
    "action in []",
    "action in [Action::\"restart\"]",
    "action in [Action::\"restart\", Action::\"process.restart\", Action::\"approve\"]",
    "action in [Action::\"capacity\", Action::\"irreversible\"]",
];
const RESOURCES: &[&str] = &[
    "resource",
    "resource == Target::\"worker-1\"",
    "resource == Target::\"worker-2\"",
    "resource == Environment::\"production\"",
    "resource in Target::\"worker-1\"",
    "resource in Environment::\"production\"",
    "resource in Environment::\"staging\"",
    "resource in Service::\"shop\"",
    "resource in Team::\"payments\"",
    "resource is Target",
    "resource is Service",
    "resource is Target in Environment::\"production\"",
    "resource is Target in Service::\"other\"",
    "resource is Agent in Environment::\"production\"",
];
/// Scopes of templates, with what fills them in.
const OPEN_PRINCIPALS: &[&str] = &[
    "principal == ?principal",
    "principal in ?principal",
    "principal is Agent in ?principal",
    "principal is Person in ?principal",
];
const OPEN_RESOURCES: &[&str] =
    &["resource == ?resource", "resource in ?resource", "resource is Target in ?resource"];
const FILL_PRINCIPAL: &[&str] = &[
    "Agent::\"healer\"",
    "Person::\"alice\"",
    "Team::\"sre-agents\"",
    "Team::\"oncall\"",
    "Team::\"nobody\"",
];
const FILL_RESOURCE: &[&str] =
    &["Target::\"worker-1\"", "Environment::\"production\"", "Environment::\"staging\"", "Service::\"shop\""];
/// Conditions that hold, do not, depend on the oversight, and fail.
const CONDITIONS: &[&str] = &[
    "",
    "when { true }",
    "when { false }",
    "when { resource.stateless }",
    "when { context.oversight.approvals >= 1 }",
    "unless { context.oversight.strong && context.oversight.fresh }",
    "when { context.oversight.approvals == 1 }",
    "when { context has oversight && context.oversight.reviewPromised }",
    "when { context.nothing }",
    "when { resource.replicas + 9223372036854775807 > 0 }",
    "when { context.oversight.approvals + 9223372036854775807 > 0 }",
    "when { context has tier && context.tier >= 4 }",
    "when { context.trigger.proven && context.nothing }",
    "when { !context.trigger.proven && context.nothing }",
    "unless { context.undo.counts || context.nothing }",
    "when { context.provenance.tainted } when { resource.down }",
    "when { resource.stateless && !resource.stateless && context.nothing }",
    "when { context.nothing && context.brakes.halted }",
    "when { !resource.critical } unless { context.brakes.frozen && context.oversight.strong }",
    "when { context.blast.services >= 1 && context.catalogue.cap.services >= context.blast.services }",
    "when { context.trigger == {proven: true} || context.blast has unknown }",
    "when { {a: context}.a.brakes.suspended || context has time.atMs }",
    "when { context has brakes && context.brakes.nothing }",
    "when { (if resource.down then context else context).oversight.approvals >= 1 }",
    "when { action in Action::\"restart\" && context.nothing }",
    "unless { action in Action::\"capacity\" || context.nothing }",
    "when { !(action in Action::\"nothing\") && !context.brakes.halted && action in Action::\"reversible\" }",
    "when { action in Action::\"process.restart\" } unless { context.oversight.approvals >= 1 }",
    "when { action in Environment::\"production\" || resource.replicas >= 1 }",
    "when { Target::\"worker-1\".stateless && resource.owner == Team::\"payments\" }",
    "when { (if resource.down then resource else Target::\"worker-2\").critical }",
    "when { {a: resource}.a has replicas && resource has nothing }",
    "when { resource has dataClasses.x || resource.criticality like \"*i*\" }",
    "when { principal has onBehalfOf || principal.phase == \"decide\" }",
    "when { resource.environment in resource.service || resource.id == \"worker-1\" }",
    "when { [context.undo].contains(context.undo) && context.standing.earned >= 0 }",
];

/// A rule as text, and its link if it is a template.
fn a_rule() -> impl Strategy<Value = (String, Option<(&'static str, &'static str)>)> {
    let effect = select(vec!["permit", "forbid"]);
    let fixed = (effect.clone(), select(PRINCIPALS), select(ACTIONS), select(RESOURCES), select(CONDITIONS))
        .prop_map(|(effect, p, a, r, c)| (format!("{effect} ({p}, {a}, {r}) {c};"), None));
    let fill = || (select(FILL_PRINCIPAL), select(FILL_RESOURCE));
    let open = (
        effect,
        select(OPEN_PRINCIPALS),
        select(ACTIONS),
        select(OPEN_RESOURCES),
        select(CONDITIONS),
        fill(),
    )
        .prop_map(|(effect, p, a, r, c, fill)| (format!("{effect} ({p}, {a}, {r}) {c};"), Some(fill)));
    prop_oneof![3 => fixed, 1 => open]
}

/// Reads rules without validation, so that scopes that can never match and conditions that fail are covered, too.
/// Rules that more oversight turns against the action do not load; their number is small.
fn read(texts: &[(String, Option<(&'static str, &'static str)>)]) -> Vec<Rule> {
    let mut rules = Vec::new();
    for (at, (text, fill)) in texts.iter().enumerate() {
        let text = format!("@id(\"r{at}\") {text}");
        let source = Source { name: "f".to_owned(), text };
        let statement = scan::statements(&"f".into(), &source.text).unwrap().remove(0);
        match (rule::parse(&statement), fill) {
            (Ok(Parsed::Rule(rule)), None) => rules.push(*rule),
            (Ok(Parsed::Pattern(pattern)), Some((principal, resource))) => {
                let link = Link {
                    template: pattern.id.to_string(),
                    id: format!("l{at}"),
                    principal: Some((*principal).to_owned()),
                    resource: Some((*resource).to_owned()),
                };
                rules.extend(rule::link(&link, &[pattern]));
            }
            (Err(_), _) => {}
            (parsed, fill) => panic!("{parsed:?} {fill:?}"),
        }
    }
    rules
}

/// The reference: Cedar over all rules at once, with the whole context.
fn full_scan(rules: &[Rule], request: &cedar_policy::Request, entities: &Entities) -> Matched {
    let mut set = PolicySet::new();
    rules.iter().for_each(|rule| rule::put(&mut set, rule).unwrap());
    ask::run(&set, request, entities)
}

/// `plan` is none for a person who would approve.
fn check(
    rules: &[Rule],
    index: &Index,
    asked: &Asked<'_>,
    plan: Option<(&Facts, &Oversight)>,
) -> Result<Verdict, TestCaseError> {
    let whole = asked.under(plan.map(|(_, oversight)| oversight), Fields::ALL).unwrap();
    let all = asked.entities(Fields::ALL).unwrap();
    let reference = full_scan(rules, &whole, &all);
    let atoms = plan.map(|(facts, _)| Atoms::of(facts, facts.target.as_ref().unwrap()));
    let mut verdicts = Vec::new();
    // Twice: the second time from the cache.
    for _ in 0..2 {
        let slice = index.slice(rules, &asked.concerned, atoms).unwrap();
        let sliced = match plan {
            Some((_, oversight)) => {
                let entities = asked.entities(slice.fields()).unwrap();
                ask::matched(asked, &slice, &entities, oversight, &mut None).unwrap()
            }
            None => {
                let mut sliced = ask::run(&slice.fixed, &whole, &all);
                sliced.add(ask::run(&slice.varying, &whole, &all));
                sliced
            }
        };
        // With a forbid, Cedar names no permits; everything else must be the same, what failed included.
        prop_assert_eq!(&sliced.failed, &reference.failed);
        prop_assert_eq!(&sliced.forbids, &reference.forbids);
        if sliced.forbids.is_empty() {
            prop_assert_eq!(&sliced.permits, &reference.permits);
        }
        let verdict = sliced.verdict();
        prop_assert_eq!(&verdict, &reference.clone().verdict());
        verdicts.push(verdict);
    }
    Ok(verdicts.remove(0))
}

fn all_facts() -> Vec<Facts> {
    let mut elsewhere = sample::facts();
    elsewhere.principal.agent = sample::id("other");
    elsewhere.principal.team = sample::id("payments");
    let target = elsewhere.target.as_mut().unwrap();
    target.id = sample::id("worker-2");
    target.environment = sample::id("staging");
    target.service = sample::id("other");
    (target.stateless, target.down) = (false, true);
    elsewhere.trigger.agreement.truth = Truth::DoesNotHold;
    elsewhere.provenance.scope = Origin::Tainted;
    elsewhere.brakes.halted = true;
    elsewhere.brakes.suspended = true;
    vec![sample::facts(), sample::facts_for(&sample::actions()[1]), elsewhere]
}

#[test]
fn a_slice_answers_like_a_full_scan() {
    let (schema, facts) = (sample::schema(), all_facts());
    let people = [sample::person("alice", &["oncall", "payments"], 1), sample::person("zoe", &[], 2)];
    let seen = std::cell::RefCell::new(BTreeMap::<&str, usize>::new());
    let note = |verdict: &Verdict| {
        let name = match verdict {
            Verdict::Allow { .. } => "allow",
            Verdict::Deny { rules } if rules.is_empty() => "nothing",
            Verdict::Deny { .. } => "deny",
            Verdict::Error { .. } => "error",
        };
        *seen.borrow_mut().entry(name).or_default() += 1;
    };
    proptest!(ProptestConfig { cases: 350, ..ProptestConfig::default() }, |(texts in prop::collection::vec(a_rule(), 1..12))| {
        let rules = read(&texts);
        let index = Index::new(&rules);
        for facts in &facts {
            let asked = Asked::plan(&schema, facts).unwrap();
            for rung in [Rung::T1, Rung::T3] {
                note(&check(&rules, &index, &asked, Some((facts, &rung.oversight())))?);
            }
        }
        for person in &people {
            let consent = Consent {
                person, facts: &facts[0], tier: Tier::T4, approvals: 0, is_requester: false, is_agent_owner: false, strong: false,
            };
            let asked = Asked::consent(&schema, &consent).unwrap();
            note(&check(&rules, &index, &asked, None)?);
        }
    });
    // The generator reaches every kind of answer.
    let seen = seen.into_inner();
    assert!(
        ["allow", "deny", "nothing", "error"]
            .iter()
            .all(|name| seen.get(name).is_some_and(|count| *count > 50)),
        "{seen:?}"
    );
}
