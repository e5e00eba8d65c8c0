//! Evaluation: errors, deadlines, the ladder, approving, explaining.

use std::cell::Cell;

use holdpoint_domain::{
    Digest, Millis, Oversight, Rung, Tier,
    decision::{Answer, Ladder, Verdict},
    facts::Facts,
};

use super::{ALLOW_ALL, allow, allows, answer, deny, error, in_time, ladder, load, try_load};
use crate::{Bundle, Consent, Deadline, Warning, fields::Fields, sample};

/// Passes strict validation and overflows when it is evaluated.
const OVERFLOWS: &str = "@id(\"sum\") forbid (principal is Agent, action, resource)
    when { resource.replicas + 9223372036854775807 > context.oversight.approvals };";

/// Cedar skips a forbid that fails, so beside a permit it would allow.
#[test]
fn inv09_a_failing_forbid_denies_whatever_else_matches() {
    let bundle = load(&format!("{ALLOW_ALL} {OVERFLOWS}"));
    assert_eq!(ladder(&bundle, &sample::facts()), Ladder::all(&error(&["sum"])));
    let oversight = Rung::T4.oversight();
    assert_eq!(bundle.ask(&sample::facts(), &oversight, in_time()), error(&["sum"]));
    assert_eq!(answer(&sample::facts(), &ladder(&bundle, &sample::facts())), Answer::Deny);
    // Alone Cedar allows: this is what the test above guards against.
    let only: cedar_policy::PolicySet = format!("{ALLOW_ALL} {OVERFLOWS}").parse().unwrap();
    let facts = sample::facts();
    let asked = crate::request::Asked::plan(bundle.schema(), &facts).unwrap();
    let (request, entities) =
        (asked.under(Some(&oversight), Fields::ALL).unwrap(), asked.entities(Fields::ALL).unwrap());
    let response = cedar_policy::Authorizer::new().is_authorized(&request, &only, &entities);
    assert_eq!(response.decision(), cedar_policy::Decision::Allow);
}

#[test]
fn inv09_a_failing_permit_beside_one_that_matches_denies_too() {
    let bundle = load(&format!("{ALLOW_ALL} {}", OVERFLOWS.replace("forbid", "permit").replace('>', "<")));
    assert_eq!(ladder(&bundle, &sample::facts()), Ladder::all(&error(&["sum"])));
}

#[test]
fn inv09_a_rule_that_fails_on_one_rung_fails_the_decision() {
    let bundle = load(&format!(
        "{ALLOW_ALL} @id(\"once\") forbid (principal is Agent, action, resource)
         when {{ context.oversight.approvals == 1 && resource.replicas + 9223372036854775807 > 0 }};"
    ));
    let answers = ladder(&bundle, &sample::facts());
    assert_eq!(
        (&answers.t1, &answers.t3, &answers.t4),
        (&allow(&["all"]), &error(&["once"]), &allow(&["all"]))
    );
    assert_eq!(answer(&sample::facts(), &answers), Answer::Deny);
}

#[test]
fn inv09_an_answer_after_its_deadline_is_thrown_away() {
    let bundle = load(ALLOW_ALL);
    // Each look at the clock takes a millisecond: the first rungs are in time, the last one is not.
    let clock = Cell::new(0_u64);
    let elapsed = || {
        clock.set(clock.get() + 1);
        Millis::new(clock.get()).unwrap()
    };
    let answers = bundle.ladder(&sample::facts(), Deadline::new(Millis::new(5).unwrap(), &elapsed));
    assert_eq!((&answers.t1, &answers.t2), (&allow(&["all"]), &allow(&["all"])));
    assert_eq!((&answers.t3, &answers.t4), (&error(&[]), &error(&[])));
    assert_eq!(answer(&sample::facts(), &answers), Answer::Deny);

    let late = || Millis::new(2).unwrap();
    let deadline = Deadline::new(Millis::new(1).unwrap(), &late);
    assert_eq!(bundle.ask(&sample::facts(), &Oversight::NONE, deadline), error(&[]));
    let (facts, person) = (sample::facts(), sample::person("alice", &["oncall"], 1));
    assert_eq!(bundle.may_approve(&consent(&person, &facts), deadline), error(&[]));
}

/// Facts that were gathered under another catalogue are not answered: their groups would not be those of the rules.
#[test]
fn inv09_facts_of_another_catalogue_are_an_error() {
    let bundle = load(ALLOW_ALL);
    let mut changed = sample::facts();
    changed.action.entry = Digest::of_bytes(b"another");
    assert_eq!(ladder(&bundle, &changed), Ladder::all(&error(&[])));
    let mut unknown = sample::facts();
    unknown.action.id = sample::id("process.unknown");
    assert_eq!(ladder(&bundle, &unknown), Ladder::all(&error(&[])));
    assert!(bundle.explain(&unknown).not_asked.unwrap().contains("another catalogue"));
}

#[test]
fn an_unknown_target_is_denied_without_asking() {
    let bundle = load(&format!("{ALLOW_ALL} {OVERFLOWS}"));
    let facts = Facts { target: None, ..sample::facts() };
    assert_eq!(ladder(&bundle, &facts), Ladder::all(&deny(&["unknown-target"])));
    assert_eq!(bundle.ask(&facts, &Rung::T4.oversight(), in_time()), deny(&["unknown-target"]));
}

/// A rule that cannot be proven monotone loads with a warning; when it is not, the decision is a denial.
#[test]
fn inv10_an_answer_that_falls_while_oversight_rises_is_a_denial() {
    let text = "@id(\"odd\") permit (principal is Agent, action, resource) when { context.oversight.approvals == 0 };";
    let (bundle, warnings) = try_load(text, &[], sample::schema()).unwrap();
    assert!(
        warnings
            .iter()
            .any(|warning| matches!(warning, Warning::Unproven { rule, .. } if rule.as_str() == "odd"))
    );
    let answers = ladder(&bundle, &sample::facts());
    assert_eq!(allows(&bundle, &sample::facts()), [true, true, false, false]);
    assert_eq!(answer(&sample::facts(), &answers), Answer::Deny);
}

#[test]
fn a_rule_may_ask_for_the_team_of_the_person_whom_an_agent_acts_for() {
    let bundle = load(
        "@id(\"theirs\") permit (principal is Agent, action, resource) when {
           principal has onBehalfOf && principal.onBehalfOf in Team::\"payments\" };",
    );
    let mut facts = sample::facts();
    assert_eq!(allows(&bundle, &facts), [false; 4]);
    facts.principal.on_behalf_of = Some(sample::id("alice"));
    facts.principal.on_behalf_of_teams = sample::ids(&["oncall"]);
    assert_eq!(allows(&bundle, &facts), [false; 4]);
    facts.principal.on_behalf_of_teams = sample::ids(&["oncall", "payments"]);
    assert!(allows(&bundle, &facts)[3]);
}

/// What is built without a schema check fits the schema.
#[test]
fn requests_fit_the_schema() {
    let bundle = load(ALLOW_ALL);
    let schema = &bundle.schema().cedar;
    let mut facts = sample::facts();
    facts.principal.on_behalf_of = Some(sample::id("alice"));
    facts.principal.on_behalf_of_teams = sample::ids(&["oncall"]);
    let person = sample::person("alice", &["oncall", "payments"], 1);
    let plan = crate::request::Asked::plan(bundle.schema(), &facts).unwrap();
    let approving = crate::request::Asked::consent(bundle.schema(), &consent(&person, &facts)).unwrap();
    for (asked, request) in
        [(&plan, plan.under(Some(&Rung::T4.oversight()), Fields::ALL)), (&approving, approving.bare())]
    {
        let request = request.unwrap();
        let (principal, action) = (request.principal().unwrap(), request.action().unwrap());
        let context = request.context().unwrap().clone();
        cedar_policy::Request::new(
            principal.clone(),
            action.clone(),
            request.resource().unwrap().clone(),
            context,
            Some(schema),
        )
        .unwrap();
        // Action entities are compared with those of the schema, which have all groups as ancestors.
        let entities = asked.entities(Fields::ALL).unwrap();
        cedar_policy::Entities::from_entities(entities.iter().cloned(), Some(schema)).unwrap();
    }
}

fn consent<'a>(person: &'a holdpoint_domain::agent::Person, facts: &'a Facts) -> Consent<'a> {
    Consent {
        person,
        facts,
        tier: Tier::T3,
        approvals: 0,
        is_requester: false,
        is_agent_owner: false,
        strong: false,
    }
}

#[test]
fn who_may_approve_what() {
    let bundle = load(
        "@id(\"oncall\") permit (principal in Team::\"oncall\", action == Action::\"approve\", resource);
         @id(\"owners\") permit (principal is Person, action == Action::\"approve\", resource)
           when { principal in resource.owner && context.tier <= 3 && context.groups.contains(\"restart\") };
         @id(\"not-twice\") forbid (principal is Person, action == Action::\"approve\", resource)
           when { context.isRequester || context.approvals > 5 || context.action == \"process.stop\" };",
    );
    let facts = sample::facts();
    let people = sample::registry();
    let named = |name: &str| people.person(&sample::id(name)).unwrap();
    let ask = |consent: &Consent<'_>| bundle.may_approve(consent, in_time());
    assert_eq!(ask(&consent(named("alice"), &facts)), allow(&["oncall"]));
    assert_eq!(ask(&consent(named("bob"), &facts)), allow(&["owners"]));
    assert_eq!(ask(&Consent { tier: Tier::T4, ..consent(named("bob"), &facts) }), deny(&[]));
    assert_eq!(ask(&consent(named("carol"), &facts)), deny(&[]));
    assert_eq!(ask(&Consent { is_requester: true, ..consent(named("alice"), &facts) }), deny(&["not-twice"]));
    assert_eq!(ask(&Consent { approvals: 6, ..consent(named("alice"), &facts) }), deny(&["not-twice"]));
    let stop = sample::facts_for(&sample::actions()[1]);
    assert_eq!(ask(&consent(named("alice"), &stop)), deny(&["not-twice"]));
    let unknown = Facts { target: None, ..sample::facts() };
    assert_eq!(ask(&consent(named("alice"), &unknown)), deny(&["unknown-target"]));
    // Nobody approves by a rule for agents, and agents never by a rule for people.
    assert_eq!(load(ALLOW_ALL).may_approve(&consent(named("alice"), &facts), in_time()), deny(&[]));
    assert_eq!(ladder(&bundle, &facts), Ladder::all(&deny(&[])));
}

#[test]
fn an_explanation_says_what_is_missing() {
    let bundle = load(
        "@id(\"small\") @why(\"small restarts\") @next(\"ask for less\")
         permit (principal in Team::\"sre-agents\", action in Action::\"restart\", resource)
         when { resource.stateless && (context.blast.services <= 0 || resource.down) && context.oversight.approvals >= 1 }
         unless { resource.replicas > 2 || context.brakes.frozen };
         @id(\"guarded\") permit (principal, action == Action::\"process.restart\", resource)
         when { resource.down && resource.replicas + 9223372036854775807 > 0 };
         @id(\"stop\") permit (principal, action == Action::\"process.stop\", resource);
         @id(\"never\") @next(\"wait\") forbid (principal is Agent, action, resource) when { resource.replicas == 3 };",
    );
    let explained = bundle.explain(&sample::facts());
    assert_eq!(explained.rungs.len(), 4);
    assert!(explained.rungs.iter().all(|on| on.permits.is_empty() && on.forbids == super::rules(&["never"])));
    assert_eq!(explained.forbidden[0].next.as_deref(), Some("wait"));
    let unmet: Vec<_> =
        explained.unmet.iter().map(|unmet| (unmet.said.rule.as_str(), unmet.conditions.clone())).collect();
    let small = ["(context.blast.services <= 0) || resource.down", "!(resource.replicas > 2)"];
    assert_eq!(
        unmet,
        [("small", small.map(str::to_owned).to_vec()), ("guarded", vec!["resource.down".to_owned()])]
    );
    assert_eq!(explained.unmet[0].said.why.as_deref(), Some("small restarts"));
    let json = serde_json::to_value(&explained).unwrap();
    assert_eq!(json["unmet"][0]["rule"], "small");
}

#[test]
fn an_allowed_plan_has_nothing_unmet() {
    let explained = load(ALLOW_ALL).explain(&sample::facts());
    assert!(explained.unmet.is_empty() && explained.forbidden.is_empty() && explained.not_asked.is_none());
    assert!(explained.rungs.iter().all(|on| on.permits == super::rules(&["all"])));
}

/// The cost of a request does not depend on how many rules do not concern it.
#[test]
fn rules_that_do_not_concern_a_request_are_not_in_its_slice() {
    let others: String = (0..500)
        .map(|n| format!("@id(\"r{n}\") permit (principal in Team::\"t{n}\", action in Action::\"restart\", resource);\n"))
        .collect();
    let text = format!("{ALLOW_ALL}{others}");
    let (many, few) = (load(&text), load(ALLOW_ALL));
    let facts = sample::facts();
    let size = |bundle: &Bundle| bundle.prepare(&facts).unwrap().slice.rules.len();
    assert_eq!(size(&many), size(&few));
    assert_eq!(ladder(&many, &facts), Ladder::all(&Verdict::Allow { rules: super::rules(&["all"]) }));

    // Ratios of the fastest of many tries, in one process; a scan of all rules takes some ten times as long as what is asked here.
    let asked = crate::request::Asked::plan(many.schema(), &facts).unwrap();
    let oversight = Rung::T1.oversight();
    let (request, entities) =
        (asked.under(Some(&oversight), Fields::ALL).unwrap(), asked.entities(Fields::ALL).unwrap());
    let all: cedar_policy::PolicySet = text.parse().unwrap();
    let scan = fastest(|| drop(cedar_policy::Authorizer::new().is_authorized(&request, &all, &entities)));
    let among = |bundle: &Bundle| fastest(|| drop(bundle.ask(&facts, &oversight, in_time())));
    let (among_many, among_few) = (among(&many), among(&few));
    assert!(among_many < among_few * 2, "{among_many:?} {among_few:?}");
    assert!(among_many * 3 < scan, "{among_many:?} {scan:?}");
}

fn fastest(call: impl Fn()) -> std::time::Duration {
    let timed = || {
        let began = std::time::Instant::now();
        call();
        began.elapsed()
    };
    (0..100).map(|_| timed()).min().unwrap()
}
