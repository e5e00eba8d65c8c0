//! What an approval and a permit bind: another plan, another hold, another world is another matter.

use holdpoint_app::fake::{
    Policy, Setup, Stage,
    controls::{id, ids, person},
    session, statement,
};
use holdpoint_domain::{
    Digest, Rung, Tier,
    approval::{Choice, HoldTerms},
    decision::{Class, Worse},
    flow::State,
    record::Body,
};

use super::support::{
    Plan, activated, approved, audit, bring, decide, held, proposed, run_it, started, state, wait,
};

#[test]
fn t01_a_statement_on_one_hold_is_none_on_another() {
    let stage = started(Setup::default());
    let (_, first) = held(&stage, "cache.drop", "worker-1");
    for (action, target) in [("cache.drop", "worker-2"), ("cache.drop", "worker-1")] {
        let (plan, second) = held(&stage, action, target);
        let replayed = bring(&stage, &session("bob"), &second, statement("bob", &first, Choice::Approve));
        assert_eq!(replayed.unwrap_err().rule, "statement-refused");
        assert_eq!(state(&stage, &plan), State::Held);
    }
    audit(&stage);
}

#[test]
fn t01_every_field_of_the_terms_is_bound() {
    let other = Digest::of_bytes(b"other");
    let changes: [fn(&mut HoldTerms, Digest); 9] = [
        |terms, _| terms.head.size += 1,
        |terms, other| terms.head.root = other,
        |terms, other| terms.plan = other,
        |terms, other| terms.facts = other,
        |terms, other| terms.decision = other,
        |terms, other| terms.policy = other,
        |terms, _| terms.tier = Tier::T2,
        |terms, _| terms.nonce = id("once-more"),
        |terms, _| terms.expires_at_ms = holdpoint_domain::Timestamp::from_ms(1).unwrap(),
    ];
    let stage = started(Setup::default());
    let (plan, terms) = held(&stage, "cache.drop", "worker-1");
    for change in changes {
        let mut changed = terms.clone();
        change(&mut changed, other);
        let signed = statement("bob", &changed, Choice::Approve);
        let decided = bring(&stage, &session("bob"), &terms, signed);
        assert_eq!(decided.unwrap_err().rule, "statement-refused");
    }
    assert_eq!(state(&stage, &plan), State::Held);
}

#[test]
fn t03_an_approval_lifts_the_gate_for_one_run_only() {
    let stage = started(Setup::default());
    let (first, terms) = held(&stage, "cache.drop", "worker-1");
    approved(&stage, "bob", &terms);
    assert_eq!(run_it(&stage, &first), Ok(State::Succeeded));
    // The same again, by the same agent, is held again, and the old statement does nothing for it.
    stage.world.change("worker-1", |thing| thing.healthy = false);
    let (second, new_terms) = held(&stage, "cache.drop", "worker-1");
    let replayed = bring(&stage, &session("bob"), &new_terms, statement("bob", &terms, Choice::Approve));
    assert_eq!(replayed.unwrap_err().rule, "statement-refused");
    assert_eq!(decide(&stage, "bob", &terms, Choice::Approve).unwrap_err().rule, "not-held");
    assert_eq!(run_it(&stage, &first).unwrap_err().rule, "not-permitted");
    assert_eq!(run_it(&stage, &second).unwrap_err().rule, "not-permitted");
    assert_eq!(stage.world.thing("worker-1").effects, 1);
    audit(&stage);
}

/// A plan that Carol approved, and what is worse about it once `change` has happened.
fn worse_after(change: fn(&mut Stage)) -> Vec<Worse> {
    let mut stage = started(Setup::default());
    let (plan, terms) = held(&stage, "cache.drop", "worker-1");
    approved(&stage, "carol", &terms);
    change(&mut stage);
    voided(&stage, &plan)
}

fn voided(stage: &Stage, plan: &Plan) -> Vec<Worse> {
    assert_eq!(run_it(stage, plan), Ok(State::Void));
    assert_eq!(stage.world.trace(), [], "a void approval starts nothing");
    assert_eq!(run_it(stage, plan).unwrap_err().rule, "not-permitted");
    audit(stage);
    let view = wait(stage.view(plan)).unwrap();
    assert!(view.records.iter().any(|(_, record)| matches!(record.body, Body::Voided { .. })));
    view.worse
}

#[test]
fn t02_an_approver_who_lost_key_role_or_entry_does_not_count() {
    let too_little = vec![Worse::Tier { obtained: Tier::T2, now: Tier::T3 }];
    let cases: [fn(&mut Stage); 3] = [
        |stage| {
            stage.setup.parts.people[2] = person("carol", 77);
            stage.restart();
        },
        |stage| stage.judge.set_approvers(ids(&["alice", "bob"])),
        |stage| {
            stage.setup.parts.people.pop();
            stage.restart();
        },
    ];
    for change in cases {
        assert_eq!(worse_after(change), too_little);
    }
    // And with none of it the same plan runs.
    let stage = started(Setup::default());
    let (plan, terms) = held(&stage, "cache.drop", "worker-1");
    approved(&stage, "carol", &terms);
    assert_eq!(run_it(&stage, &plan), Ok(State::Succeeded));
}

#[test]
fn t02_a_first_approver_who_lost_their_key_does_not_help_the_second() {
    let mut stage = started(Setup { policy: Policy::From(Rung::T4), ..Setup::default() });
    let (plan, terms) = held(&stage, "cache.drop", "worker-1");
    approved(&stage, "carol", &terms);
    stage.setup.parts.people[2] = person("carol", 77);
    stage.restart();
    activated(&stage);
    let second = approved(&stage, "bob", &terms);
    assert_eq!((second.state, second.approvals), (State::Held, 1));
    assert_eq!(approved(&stage, "alice", &terms).state, State::Permitted);
    assert_eq!(run_it(&stage, &plan), Ok(State::Succeeded));
}

#[test]
fn t02_strong_consent_is_worth_nothing_once_its_passkey_is_gone() {
    let mut stage = started(Setup { policy: Policy::From(Rung::T4), ..Setup::default() });
    let (plan, terms) = held(&stage, "cache.drop", "worker-1");
    approved(&stage, "carol", &terms);
    approved(&stage, "bob", &terms);
    // Bob has his key in a file still.
    stage.setup.parts.people[1].passkeys.clear();
    stage.restart();
    activated(&stage);
    // The tier of the catalogue is T3, which two people are enough for; policy asked for strong ones.
    assert_eq!(voided(&stage, &plan), [Worse::Denied]);
}

#[test]
fn t08_whatever_is_worse_at_the_claim_voids_the_permit_and_is_shown() {
    let same = |worse: Vec<Worse>| worse.iter().map(ToString::to_string).collect::<Vec<_>>();
    let worse = same(worse_after(|stage| stage.world.change("worker-1", |thing| thing.content = 2)));
    assert!(worse.len() == 1 && worse[0].starts_with("the target changed: version"), "{worse:?}");
    assert!(worse[0].ends_with("; `content` was `1`, it is `2` now"), "{worse:?}");

    let worse = same(worse_after(|stage| {
        stage.setup.parts.action("cache.drop").title.push('!');
        stage.restart();
    }));
    assert!(worse.len() == 1 && worse[0].starts_with("the catalogue entry changed"), "{worse:?}");

    let blast = worse_after(|stage| {
        let mut needs_it = stage.setup.parts.services[0].clone();
        (needs_it.id, needs_it.depends_on) = (id("checkout"), ids(&["shop"]));
        stage.setup.parts.services.push(needs_it);
        stage.restart();
    });
    let more = Worse::Disturbs {
        services: ids(&["checkout"]),
        targets: [].into(),
        environments: [].into(),
        replica_share_percent: None,
    };
    assert_eq!(blast, [more]);
    assert_eq!(worse_after(|stage| stage.judge.set(Policy::Deny)), [Worse::Denied]);
    assert_eq!(worse_after(|stage| stage.judge.set(Policy::From(Rung::T4))), [Worse::Denied]);
    let healthy = worse_after(|stage| stage.world.change("worker-1", |thing| thing.healthy = true));
    assert_eq!(healthy, [Worse::TriggerGone]);
    let gone = worse_after(|stage| {
        stage.setup.parts.targets.retain(|target| target.id.as_str() != "worker-1");
        stage.restart();
    });
    assert_eq!(gone, [Worse::TargetGone]);
    let gone = worse_after(|stage| {
        stage.setup.parts.actions.retain(|action| action.id.as_str() != "cache.drop");
        stage.restart();
    });
    assert_eq!(gone, [Worse::TargetGone]);
}

#[test]
fn t08_a_plan_that_runs_by_itself_is_measured_again_too() {
    let stage = started(Setup::default());
    let plan = proposed(&stage, "process.restart", "worker-1").id;
    stage.world.change("worker-1", |thing| thing.healthy = true);
    let worse = voided(&stage, &plan);
    assert_eq!(worse, [Worse::TriggerGone, Worse::Tier { obtained: Tier::T2, now: Tier::T3 }]);
}

#[test]
fn t02_a_raised_tier_voids_what_nobody_approved() {
    let mut stage = started(Setup::default());
    let plan = proposed(&stage, "process.restart", "worker-1").id;
    // Its service turns out to keep state: nothing would undo the restart any more.
    stage.setup.parts.services[0].stateless = false;
    stage.restart();
    let (decided, now) = ("stateless".to_owned(), "stateful".to_owned());
    let class = Worse::Class { what: Class::State, decided, now };
    assert_eq!(voided(&stage, &plan), [class, Worse::Tier { obtained: Tier::T2, now: Tier::T3 }]);
}
