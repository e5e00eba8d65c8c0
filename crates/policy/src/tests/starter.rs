//! The starter bundle does what its comments say.

use holdpoint_domain::{
    Tier,
    facts::Facts,
    target::Criticality,
    trigger::{Agreement, Truth},
};

use super::{allow, allows, deny, in_time, ladder, load, try_load};
use crate::{Bundle, Consent, STARTER, Warning, sample};

fn starter() -> Bundle {
    let (bundle, warnings) =
        try_load(STARTER, &[], sample::schema()).unwrap_or_else(|faults| panic!("{faults:#?}"));
    assert_eq!(warnings, Vec::<Warning>::new());
    bundle
}

type Change = fn(&mut Facts);

#[test]
fn inv10_the_starter_by_example() {
    let stop = sample::actions()[1].clone();
    let staging: Change = |f| f.target.as_mut().unwrap().environment = sample::id("staging");
    let refuted: Change =
        |f| f.trigger.agreement = Agreement { truth: Truth::DoesNotHold, needed: 1, holding: 0, sources: 2 };
    let cases: &[(&str, &holdpoint_domain::action::Action, Change, [bool; 4])] = &[
        ("a proven hang of a stateless worker", &sample::restart(), |_| {}, [false, true, true, true]),
        (
            "a stateful one",
            &sample::restart(),
            |f| f.target.as_mut().unwrap().stateless = false,
            [false, false, true, true],
        ),
        (
            "nobody can tell",
            &sample::restart(),
            |f| f.trigger.agreement.truth = Truth::Indeterminate,
            [false, false, true, true],
        ),
        ("a lie", &sample::restart(), refuted, [false; 4]),
        ("another team", &sample::restart(), |f| f.principal.team = sample::id("others"), [false; 4]),
        ("staging", &sample::restart(), staging, [false, true, true, true]),
        (
            "elsewhere",
            &sample::restart(),
            |f| f.target.as_mut().unwrap().environment = sample::id("lab"),
            [false; 4],
        ),
        (
            "critical",
            &sample::restart(),
            |f| f.target.as_mut().unwrap().criticality = Criticality::Critical,
            [false, false, false, true],
        ),
        (
            "an unknown dependant",
            &sample::restart(),
            |f| f.blast.critical = sample::ids(&["ghost"]),
            [false, false, false, true],
        ),
        ("a third of the capacity", &stop, |_| {}, [false, false, true, true]),
        ("most of the capacity", &stop, |f| f.blast.replica_share_percent = 51, [false; 4]),
        (
            "tainted",
            &sample::restart(),
            |f| f.provenance.scope = holdpoint_domain::facts::Origin::Tainted,
            [false, false, true, true],
        ),
    ];
    let bundle = starter();
    for (name, action, change, want) in cases {
        let mut facts = sample::facts_for(action);
        change(&mut facts);
        assert_eq!(allows(&bundle, &facts), *want, "{name}");
    }
    let mut lie = sample::facts();
    refuted(&mut lie);
    assert_eq!(ladder(&bundle, &lie).t4, deny(&["refuted-trigger"]));
}

#[test]
fn who_approves_in_the_starter() {
    let (bundle, people) = (starter(), sample::registry());
    let clean = sample::facts();
    let tainted = {
        let mut f = clean.clone();
        f.provenance.target = holdpoint_domain::facts::Origin::Tainted;
        f
    };
    let ask = |name: &str, facts: &Facts, tier, owner| {
        let person = people.person(&sample::id(name)).unwrap();
        let consent = Consent {
            person,
            facts,
            tier,
            approvals: 0,
            is_requester: false,
            is_agent_owner: owner,
            development: false,
        };
        bundle.may_approve(&consent, in_time())
    };
    assert_eq!(ask("alice", &clean, Tier::T4, true), allow(&["oncall-approves"]));
    assert_eq!(ask("alice", &tainted, Tier::T3, true), deny(&["owner-of-agent-and-taint"]));
    assert_eq!(ask("bob", &clean, Tier::T3, false), allow(&["owners-approve"]));
    assert_eq!(ask("bob", &clean, Tier::T4, false), deny(&[]));
    assert_eq!(ask("carol", &clean, Tier::T3, false), deny(&[]));
}

#[test]
fn t26_people_read_the_ledger_only_where_a_rule_says_so() {
    let people = sample::registry();
    let all = ["alice", "bob", "carol"].map(|name| people.person(&sample::id(name)).unwrap());
    for person in all {
        assert_eq!(starter().may_read(person, in_time()), allow(&["people-read-the-ledger"]));
    }
    let policy = |rule: &str| load(rule).may_read(all[0], in_time());
    let approves = r#"@id("a") permit (principal is Person, action == Action::"approve", resource);"#;
    assert_eq!(policy(approves), deny(&[]));
    let only = r#"@id("a") permit (principal == Person::"bob", action == Action::"read-ledger", resource);"#;
    assert_eq!(policy(only), deny(&[]));
    let not = r#"@id("a") permit (principal is Person, action == Action::"read-ledger", resource);
        @id("b") forbid (principal in Team::"oncall", action == Action::"read-ledger", resource == Gate::"this");"#;
    assert_eq!(policy(not), deny(&["b"]));
}

#[test]
fn t26_people_use_the_console_only_where_a_rule_says_so() {
    let people = sample::registry();
    let alice = people.person(&sample::id("alice")).unwrap();
    assert_eq!(starter().may_use_console(alice, in_time()), allow(&["people-use-the-console"]));
    let policy = |rule: &str| load(rule).may_use_console(alice, in_time());
    let reads = r#"@id("a") permit (principal is Person, action == Action::"read-ledger", resource);"#;
    assert_eq!(policy(reads), deny(&[]), "one right is not the other");
    let not = r#"@id("a") permit (principal is Person, action == Action::"use-console", resource);
        @id("b") forbid (principal in Team::"oncall", action == Action::"use-console", resource == Gate::"this");"#;
    assert_eq!(policy(not), deny(&["b"]));
}
