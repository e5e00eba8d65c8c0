//! Loading: what is refused, what is warned about, what the digest covers.

use super::{ALLOW_ALL, allow, deny, faults, in_time, ladder, load, source, try_load};
use crate::{Bundle, GUARDRAILS, Link, Monotone, Source, Warning, limit, sample};

const PERMIT: &str = "permit (principal is Agent, action, resource)";

#[test]
fn t36_a_bundle_that_does_not_fit_is_refused_and_says_where() {
    let cases = [
        ("", "expected at least one policy rule beside the guardrails, got none"),
        ("// only a comment\n", "expected at least one policy rule beside the guardrails, got none"),
        (
            "@id(\"t\") permit (principal in ?principal, action, resource);",
            "expected at least one policy rule",
        ),
        (&format!("\n{PERMIT};"), "site.cedar:2: expected the rule to have an id"),
        (&format!("@id(\"A b\") {PERMIT};"), "site.cedar:1: not a valid rule id"),
        (
            &format!("@id(\"a\") {PERMIT};\n@id(\"a\") {PERMIT};"),
            "site.cedar:2: rule `a`: expected an id of its own, got the one of site.cedar:1",
        ),
        (&format!("@id(\"halted\") {PERMIT};"), "got one that is the gate's"),
        (&format!("@id(\"unknown-target\") {PERMIT};"), "got one that is the gate's"),
        (&format!("@id(\"nothing-permits-it\") {PERMIT};"), "got one that is the gate's"),
        (&format!("@id(\"a\") {PERMIT}"), "site.cedar:1: expected the rule that begins here to end with `;`"),
        ("@id(\"a\") allow (principal, action, resource);", "site.cedar:1: "),
        ("@id(\"a\") permit (principal == ?principal, action, resource) when { ( };", "site.cedar:1: "),
        (&format!("@id(\"a\") {PERMIT} when {{ context.nothing }};"), "rule `a` does not fit the schema: "),
        (&format!("@id(\"a\") {PERMIT} when {{ resource.replicas }};"), "does not fit the schema"),
        (
            "@id(\"a\") permit (principal, action, resource) when { context.oversight.strong };",
            "does not fit the schema",
        ),
        (
            "@id(\"a\") permit (principal, action in Action::\"nothing\", resource);",
            "rule `a` does not fit the schema",
        ),
        (
            "@id(\"a\") permit (principal, action in Action::\"touches-iam\", resource);",
            "rule `a` can never match",
        ),
        (
            "@id(\"a\") permit (principal is Person, action in Action::\"restart\", resource);",
            "rule `a` can never match",
        ),
        (
            "@id(\"a\") permit (principal is Agent, action == Action::\"approve\", resource);",
            "rule `a` can never match",
        ),
        (&format!("@id(\"a\") {PERMIT} when {{ false }};"), "rule `a` can never match"),
        (
            &format!("@id(\"a\") {PERMIT} unless {{ context.oversight.approvals >= 1 }};"),
            "allows less the more people look",
        ),
        (
            "@id(\"a\") forbid (principal is Agent, action, resource) when { context.oversight.strong };",
            "allows less the more",
        ),
        (
            &format!("@id(\"a\") {PERMIT} when {{ \"\u{202e}\" == \"\" }};"),
            "expected text that can be seen, got the character \\u{202E}",
        ),
    ];
    for (text, want) in cases {
        let got = faults(text);
        assert!(got.iter().any(|fault| fault.contains(want)), "{text:?} gave {got:#?}, expected {want:?}");
        assert!(got.iter().all(|fault| !fault.contains('\n')), "{got:#?}");
    }
}

#[test]
fn t36_every_fault_of_a_stage_is_reported() {
    let got = faults(&format!(
        "{PERMIT};\n@id(\"b\") {PERMIT};\n@id(\"b\") {PERMIT};\n@id(\"halted\") {PERMIT};\n nonsense;"
    ));
    assert_eq!(got.len(), 4, "{got:#?}");
}

#[test]
fn t36_a_huge_bundle_is_refused_before_it_is_parsed() {
    let refused = |sources: &[Source]| {
        let faults = Bundle::load(sources, &[], sample::schema()).err().unwrap();
        faults.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let named = |name: usize, text: &str| Source { name: format!("f{name}.cedar"), text: text.to_owned() };
    let many: Vec<_> = (0..limit::FILES).map(|name| named(name, ALLOW_ALL)).collect();
    assert_eq!(refused(&many), ["expected at most 256 policy files, got 257"]);
    let large = " ".repeat(limit::FILE_BYTES + 1);
    assert_eq!(refused(&[named(1, &large)]), ["f1.cedar: expected at most 8388608 bytes, got 8388609"]);
    let all: Vec<_> = (0..3).map(|name| named(name, &" ".repeat(limit::FILE_BYTES))).collect();
    assert!(refused(&all)[0].contains("expected at most 16777216 bytes of policy in all"));
    let rules = "a;".repeat(limit::RULES);
    assert!(refused(&[named(1, &rules)])[0].contains("expected at most 20000 policy rules and links, got"));
    assert!(refused(&[named(1, ALLOW_ALL), named(1, ALLOW_ALL)])[0].contains("expected a name of its own"));
    let impostor = Source { name: "guardrails.cedar".to_owned(), text: ALLOW_ALL.to_owned() };
    assert!(refused(&[impostor])[0].contains("guardrails.cedar: expected a name of its own"));
}

/// The longest and the deepest condition that the limits let through fit on the stack of a test's thread.
#[test]
fn t36_what_the_limits_let_through_does_not_exhaust_the_stack() {
    // In the braces of `when`, which count 2.
    let room = limit::DEPTH - 2;
    let chain = vec!["true"; room + 1].join("&&");
    let nested = format!("{}true{}", "(".repeat(room / 2), ")".repeat(room / 2));
    let mixed = format!("{}true{}", "(true && ".repeat(room / 3), ")".repeat(room / 3));
    let negated = format!("{}resource.down{}", "!(".repeat((room - 1) / 2), ")".repeat((room - 1) / 2));
    let branches = format!("{}true", "if resource.down then true else ".repeat(room - 1));
    let sum = format!("{} >= 3", vec!["resource.replicas"; room].join("+"));
    let clauses = vec!["true"; room].join("} when {");
    for condition in [chain, nested, mixed, negated, branches, sum, clauses] {
        let bundle = load(&format!("@id(\"a\") {PERMIT} when {{ {condition} }};"));
        let _ = (ladder(&bundle, &sample::facts()), bundle.explain(&sample::facts()));
        let more = format!("{} true }} when {{ {condition}", "true } when { ".repeat(limit::DEPTH));
        assert!(faults(&format!("@id(\"a\") {PERMIT} when {{ {more} }};"))[0].contains("deep, got"));
    }
    let dots = format!("resource{}", ".a".repeat(room));
    let calls = format!("resource{}", ".a()".repeat(room - 2));
    for condition in [dots, calls] {
        assert!(!faults(&format!("@id(\"a\") {PERMIT} when {{ {condition} }};")).is_empty());
    }
}

#[test]
fn t37_guardrails_are_loaded_without_being_asked_for_and_win() {
    let bundle = load(ALLOW_ALL);
    let mut facts = sample::facts();
    facts.brakes.halted = true;
    assert_eq!(ladder(&bundle, &facts).t4, deny(&["halted"]));
    let report = bundle.check_report();
    assert_eq!((report.files, report.permits, report.unproven), (2, 1, 0));
    assert!(report.forbids > 10);
}

#[test]
fn t37_what_deserves_a_second_look_is_said() {
    let text =
        "@id(\"typo\") permit (principal in Team::\"sre-agent\", action, resource in Environment::\"prod\")
          when { resource.owner == Team::\"payments\" };
        @id(\"both\") permit (principal, action, resource);
        @id(\"lonely\") permit (principal in ?principal, action, resource);";
    let (_, warnings) = try_load(text, &[], sample::schema()).unwrap();
    let shown: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    let want = [
        "site.cedar:1: rule `typo` names Environment::\"prod\", which inventory and registry do not have",
        "site.cedar:1: rule `typo` names Team::\"sre-agent\", which inventory and registry do not have",
        "site.cedar:1: rule `typo` permits people to approve, too: limit it with `principal is Agent` if that is not meant",
        "site.cedar:3: rule `both` permits people to approve, too: limit it with `principal is Agent` if that is not meant",
        "site.cedar:4: template `lonely` has no link and never applies",
    ];
    assert_eq!(shown, want);
    let (bundle, warnings) = try_load(ALLOW_ALL, &[], sample::schema()).unwrap();
    assert_eq!(warnings, [Warning::NobodyApproves]);
    assert_eq!(bundle.check_report().warnings, warnings);
}

fn link(id: &str, template: &str, principal: Option<&str>) -> Link {
    Link {
        template: template.to_owned(),
        id: id.to_owned(),
        principal: principal.map(str::to_owned),
        resource: None,
    }
}

const TEMPLATE: &str =
    "@id(\"t\") @why(\"because\") permit (principal in ?principal, action in Action::\"restart\", resource)
    when { context.oversight.approvals >= 1 };";

#[test]
fn templates_are_linked_and_judged_like_rules() {
    let links = [link("one", "t", Some("Team::\"sre-agents\"")), link("two", "t", Some("Team::\"others\""))];
    let (bundle, warnings) = try_load(TEMPLATE, &links, sample::schema()).unwrap();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    let answers = ladder(&bundle, &sample::facts());
    assert_eq!((answers.t2, answers.t3), (deny(&[]), allow(&["one"])));
    let report = bundle.check_report();
    let one = report.rules.iter().find(|rule| rule.rule.as_str() == "one").unwrap();
    assert_eq!((one.monotone, one.template.as_ref().map(|id| id.as_str())), (Monotone::Proven, Some("t")));
    let mut elsewhere = sample::facts();
    elsewhere.principal.team = sample::id("elsewhere");
    assert_eq!(bundle.ask(&elsewhere, &holdpoint_domain::Rung::T4.oversight(), in_time()), deny(&[]));
    let mut refused = sample::facts();
    refused.trigger.agreement.truth = holdpoint_domain::trigger::Truth::Indeterminate;
    assert_eq!(bundle.explain(&refused).rungs.last().unwrap().permits, super::rules(&["one"]));
}

#[test]
fn t36_links_that_do_not_fit_are_refused() {
    let cases = [
        (link("one", "nothing", None), "link `one`: expected the id of a template, got nothing"),
        (link("one", "t", None), "link `one`: "),
        (link("one", "t", Some("Team::")), "link `one`: "),
        (link("One", "t", Some("Team::\"a\"")), "link `One`: not a valid rule id"),
        (link("halted", "t", Some("Team::\"a\"")), "got one that is the gate's"),
        (link("t", "t", Some("Team::\"a\"")), "link `t`: "),
        (link("all", "t", Some("Team::\"a\"")), "expected an id of its own"),
        (link("one", "t", Some("Environment::\"a\"")), "rule `one` "),
    ];
    for (link, want) in cases {
        let faults =
            try_load(&format!("{TEMPLATE}{ALLOW_ALL}"), std::slice::from_ref(&link), sample::schema()).err();
        let faults: Vec<_> = faults.unwrap_or_default().iter().map(ToString::to_string).collect();
        assert!(faults.iter().any(|fault| fault.contains(want)), "{link:?} gave {faults:?}");
    }
}

#[test]
fn inv14_the_digest_covers_everything_that_decides() {
    let digest =
        |sources: &[Source], links: &[Link], schema| Bundle::load(sources, links, schema).unwrap().0.digest();
    let text = format!("{ALLOW_ALL}{TEMPLATE}");
    let linked = [link("one", "t", Some("Team::\"sre-agents\""))];
    let base = digest(&[source(&text)], &linked, sample::schema());
    assert_eq!(base, digest(&[source(&text)], &linked, sample::schema()));
    let renamed = Source { name: "other.cedar".to_owned(), text: text.clone() };
    let others = [
        digest(&[source(&format!("{text} "))], &linked, sample::schema()),
        digest(&[renamed], &linked, sample::schema()),
        digest(&[source(&text)], &[link("two", "t", Some("Team::\"sre-agents\""))], sample::schema()),
    ];
    assert!(others.iter().all(|other| *other != base));
    // The catalogue has a digest of its own: a new action is no other policy.
    let mut more = sample::actions();
    more[0].groups.insert(sample::id("another"));
    assert_eq!(base, digest(&[source(&text)], &linked, sample::schema_of(more)));
    assert!(!GUARDRAILS.is_empty());
}
