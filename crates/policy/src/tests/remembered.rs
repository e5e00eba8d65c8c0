//! A remembered answer is the answer: whatever field of the facts differs, the rules are asked.

use holdpoint_domain::{
    Tier, Timestamp,
    actor::Phase,
    facts::{Facts, Origin, Standing},
    trigger::Truth,
};

use super::{in_time, load, try_load};
use crate::sample;

/// One rule for each field that differs below.
const RULES: &str = "
    @id(\"all\") permit (principal is Agent, action, resource);
    @id(\"phase\") forbid (principal is Agent, action, resource) when { principal.phase == \"observe\" };
    @id(\"team\") forbid (principal in Team::\"payments\", action, resource);
    @id(\"person\") forbid (principal is Agent, action, resource) when { principal has onBehalfOf };
    @id(\"persons-team\") forbid (principal is Agent, action, resource) when {
      principal has onBehalfOf && principal.onBehalfOf in Team::\"payments\" };
    @id(\"down\") forbid (principal is Agent, action, resource) when { resource.down };
    @id(\"stateless\") forbid (principal is Agent, action, resource) when { !resource.stateless };
    @id(\"place\") forbid (principal is Agent, action, resource in Environment::\"staging\");
    @id(\"trigger\") forbid (principal is Agent, action, resource) when { context.trigger.refuted };
    @id(\"sources\") forbid (principal is Agent, action, resource) when { context.trigger.sources > 7 };
    @id(\"blast\") forbid (principal is Agent, action, resource) when { context.blast.unknown > 0 };
    @id(\"undo\") forbid (principal is Agent, action, resource) when { !context.undo.computed };
    @id(\"its-scope\") forbid (principal is Agent, action, resource) when { context.provenance.scopeTainted };
    @id(\"earned\") forbid (principal is Agent, action, resource) when { context.standing.earned == 2 };
    @id(\"frozen-too\") forbid (principal is Agent, action, resource) when { context.brakes.frozen };
    @id(\"cap\") forbid (principal is Agent, action, resource) when { context.catalogue.cap.services == 77 };
";

/// The facts, and what they are with one field changed.
fn variants() -> Vec<Facts> {
    let changes: [fn(&mut Facts); 15] = [
        |facts| facts.principal.phase = Phase::Observe,
        |facts| facts.principal.team = sample::id("payments"),
        |facts| facts.principal.on_behalf_of = Some(sample::id("alice")),
        |facts| {
            facts.principal.on_behalf_of = Some(sample::id("alice"));
            facts.principal.on_behalf_of_teams = [sample::id("payments")].into();
        },
        |facts| facts.target.as_mut().unwrap().down = true,
        |facts| facts.target.as_mut().unwrap().stateless = false,
        |facts| facts.target.as_mut().unwrap().environment = sample::id("staging"),
        |facts| facts.trigger.agreement.truth = Truth::DoesNotHold,
        |facts| facts.trigger.agreement.sources = 8,
        |facts| facts.blast.unknown = [sample::id("nobody-knows-it")].into(),
        |facts| facts.undo.computed = false,
        |facts| facts.provenance.scope = Origin::Tainted,
        |facts| facts.standing = Standing::Earned(Tier::T2),
        |facts| facts.brakes.frozen = true,
        |facts| facts.action.cap.services = 77,
    ];
    let changed = changes.iter().map(|change| {
        let mut facts = sample::facts();
        change(&mut facts);
        facts
    });
    std::iter::once(sample::facts()).chain(changed).collect()
}

#[test]
fn every_field_that_a_rule_can_see_tells_answers_apart() {
    let all = variants();
    let bundle = load(RULES);
    let usual = bundle.ladder(&all[0], in_time());
    assert!(usual.t4.allows());
    for facts in &all[1..] {
        assert_ne!(bundle.ladder_anew(facts, in_time()), usual, "{facts:?}");
    }
    // One after the other, so that each finds what another one left.
    for (one, other) in all.iter().flat_map(|one| all.iter().map(move |other| (one, other))) {
        for facts in [one, other, one] {
            assert_eq!(bundle.ladder(facts, in_time()), bundle.ladder_anew(facts, in_time()));
        }
    }
}

#[test]
fn an_answer_without_a_look_at_the_target_is_none_where_a_rule_looks() {
    // A guardrail looks at the share of replicas, but not for what only reads.
    let actions = sample::every_kind_of_action();
    let reads = actions.iter().find(|action| action.id.as_str() == "look").unwrap();
    let facts = sample::facts_for(reads);
    let elsewhere = Facts { principal: variants()[2].principal.clone(), ..facts.clone() };
    for (condition, looks) in [
        ("resource.down", true),
        ("!(context.blast.replicaSharePercent < 50)", true),
        ("context.blast.services > 9 && resource.stateless", false),
        ("context.brakes.halted && resource.down", false),
    ] {
        let text = format!(
            "@id(\"all\") permit (principal is Agent, action, resource);
             @id(\"rule\") forbid (principal is Agent, action, resource) when {{ {condition} }};"
        );
        let bundle = try_load(&text, &[], sample::schema_of(actions.clone())).unwrap().0;
        for facts in [&facts, &elsewhere, &facts] {
            let unseen = bundle.ladder_unseen(facts, in_time());
            assert_eq!(unseen, (!looks).then(|| bundle.ladder_anew(facts, in_time())), "{condition}");
        }
    }
}

#[test]
fn time_counts_where_a_rule_looks_at_it() {
    let late = Timestamp::from_ms(sample::facts().at_ms.ms() + 1).unwrap();
    let until = format!(
        "@id(\"all\") permit (principal is Agent, action, resource) when {{ context.time.atMs < {} }};",
        late.ms()
    );
    let bundle = load(&until);
    let facts = sample::facts();
    let after = Facts { at_ms: late, ..facts.clone() };
    for _ in 0..2 {
        assert!(bundle.ladder(&facts, in_time()).t4.allows());
        assert!(!bundle.ladder(&after, in_time()).t4.allows());
    }
}
