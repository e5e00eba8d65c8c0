//! Quorums: an action that asks for more people than its tier does, or for some of certain teams, waits for exactly those.

use futures_util::future::join_all;
use holdpoint_app::{
    approve::{self, Decided, decide_hold},
    break_glass::{Emergency, break_glass},
    fake::{
        Policy, Setup, Stage,
        controls::{id, ids, person},
        session, signed, signed_with, statement,
    },
    narrow::narrow_hold,
};
use holdpoint_domain::{
    Rung, Tier,
    approval::{Choice, HoldTerms},
    decision::Worse,
    flow::State,
    narrowing::{Kept, NarrowStatement},
    quorum::{Group, Missing, Quorum},
};

use super::support::{
    Plan, activated, approved, audit, bring, count, decide, held, proposed_all, run_it, several, started,
    state, wait,
};

fn groups(groups: &[&[&str]]) -> Vec<Group> {
    groups.iter().map(|teams| Group::try_from(ids(teams)).unwrap()).collect()
}

fn quorum(needed: u32, of: &[&[&str]]) -> Option<Quorum> {
    Some(Quorum::new(needed, groups(of)).unwrap())
}

fn lacks(approvals: u32, of: &[&[&str]]) -> Option<Missing> {
    Some(Missing { approvals, groups: groups(of) })
}

/// Alice is a database administrator, Bob is one and of security, Carol is neither.
fn setup(asked: Option<Quorum>) -> Setup {
    let mut setup = Setup::default();
    setup.parts.action("cache.drop").approvals = asked;
    for (at, teams) in [&["dba"][..], &["dba", "security"], &["web"]].into_iter().enumerate() {
        setup.parts.people[at].teams = ids(teams);
    }
    setup
}

/// A plan at T3 that waits for these.
fn waits(asked: Option<Quorum>) -> (Stage, Plan, HoldTerms) {
    let stage = started(setup(asked));
    let (plan, terms) = held(&stage, "cache.drop", "worker-1");
    assert_eq!(terms.tier, Tier::T3);
    (stage, plan, terms)
}

fn stands(decided: &Decided) -> (State, u32, u32, Option<Missing>) {
    (decided.state, decided.approvals, decided.needed, decided.missing.clone())
}

/// Bob is not of security any more, and everybody agreed to that.
fn bob_left(stage: &mut Stage) {
    stage.setup.parts.people[1].teams = ids(&["dba"]);
    stage.restart();
    activated(stage);
}

#[test]
fn inv05_two_of_three_are_not_enough() {
    let (stage, plan, terms) = waits(quorum(3, &[&["dba", "platform"], &["security"]]));
    let first = approved(&stage, "alice", &terms);
    assert_eq!(stands(&first), (State::Held, 1, 3, lacks(2, &[&["security"]])));
    assert_eq!(decide(&stage, "alice", &terms, Choice::Approve).unwrap_err().rule, "decided-before");
    assert_eq!(stands(&approved(&stage, "bob", &terms)), (State::Held, 2, 3, lacks(1, &[])));
    assert_eq!(run_it(&stage, &plan).unwrap_err().rule, "not-permitted");
    assert_eq!(stands(&approved(&stage, "carol", &terms)), (State::Permitted, 3, 3, None));
    assert_eq!(run_it(&stage, &plan), Ok(State::Succeeded));
    audit(&stage);
}

#[test]
fn inv05_one_person_speaks_for_one_group() {
    let (stage, plan, terms) = waits(quorum(2, &[&["dba"], &["security"]]));
    approved(&stage, "bob", &terms);
    let two = approved(&stage, "carol", &terms);
    assert_eq!((two.state, two.approvals), (State::Held, 2), "bob is of both, and is one");
    assert_eq!(two.missing.as_ref().map(|missing| missing.approvals), Some(1));
    assert_eq!(run_it(&stage, &plan).unwrap_err().rule, "not-permitted");
    assert_eq!(stands(&approved(&stage, "alice", &terms)), (State::Permitted, 3, 2, None));
    assert_eq!(run_it(&stage, &plan), Ok(State::Succeeded));
    audit(&stage);
}

/// People who are asked for by nobody count to the number, and fill no group.
#[test]
fn inv05_enough_people_of_other_teams_are_not_enough() {
    let (stage, plan, terms) = waits(quorum(1, &[&["security"]]));
    assert_eq!(stands(&approved(&stage, "alice", &terms)), (State::Held, 1, 1, lacks(1, &[&["security"]])));
    assert_eq!(stands(&approved(&stage, "carol", &terms)), (State::Held, 2, 1, lacks(1, &[&["security"]])));
    let view = wait(stage.view(&plan)).unwrap();
    assert_eq!(approve::missing(&stage.gate, &view), lacks(1, &[&["security"]]));
    assert_eq!(approve::quorum(&view), quorum(1, &[&["security"]]));
    assert_eq!(approved(&stage, "bob", &terms).state, State::Permitted);
    let view = wait(stage.view(&plan)).unwrap();
    assert_eq!(approve::missing(&stage.gate, &view), None, "it does not wait");
    audit(&stage);
}

/// A permit has room for so many: whoever comes later must be one of those who are missing.
#[test]
fn t30_approvals_of_others_are_not_taken_without_end() {
    let mut setup = setup(quorum(1, &[&["security"]]));
    let others: Vec<_> = (0..10).map(|number: u8| (format!("other-{number}"), 30 + number)).collect();
    setup.parts.people.extend(others.iter().map(|(name, seed)| person(name, *seed)));
    let stage = started(setup);
    let all: Vec<_> = others.iter().map(|(name, _)| name.as_str()).chain(["bob"]).collect();
    stage.judge.set_approvers(ids(&all));
    let (plan, terms) = held(&stage, "cache.drop", "worker-1");
    let approve = |(name, seed): &(String, u8)| {
        bring(&stage, &session(name), &terms, signed_with(*seed, name, &terms, Choice::Approve))
    };
    for other in &others[..9] {
        assert_eq!(approve(other).unwrap().missing, lacks(1, &[&["security"]]));
    }
    let refusal = approve(&others[9]).unwrap_err();
    assert_eq!(refusal.rule, "enough-of-others");
    assert!(refusal.fact.contains("1 more approval: at least one of security"), "{refusal}");
    assert_eq!(approved(&stage, "bob", &terms).state, State::Permitted);
    assert_eq!(run_it(&stage, &plan), Ok(State::Succeeded));
    audit(&stage);
}

#[test]
fn inv05_whoever_left_the_team_before_the_permit_does_not_fill_the_group() {
    let (mut stage, plan, terms) = waits(quorum(2, &[&["security"]]));
    assert_eq!(stands(&approved(&stage, "bob", &terms)), (State::Held, 1, 2, lacks(1, &[])));
    bob_left(&mut stage);
    assert_eq!(stands(&approved(&stage, "alice", &terms)), (State::Held, 2, 2, lacks(1, &[&["security"]])));
    assert_eq!(run_it(&stage, &plan).unwrap_err().rule, "not-permitted");
    audit(&stage);
}

/// What happens between the permit and the claim.
type Change = fn(&mut Stage);

/// The registry of the claim counts, not that of the approvals.
#[test]
fn inv05_whoever_left_the_team_before_the_claim_voids_the_permit() {
    let changes: [(&str, Change); 3] = [
        ("left the team", bob_left),
        ("has another key", |stage| {
            let teams = stage.setup.parts.people[1].teams.clone();
            stage.setup.parts.people[1] = person("bob", 77);
            stage.setup.parts.people[1].teams = teams;
            stage.restart();
        }),
        ("may not approve", |stage| stage.judge.set_approvers(ids(&["alice", "carol"]))),
    ];
    for (what, change) in changes {
        let (mut stage, plan, terms) = waits(quorum(2, &[&["security"]]));
        approved(&stage, "alice", &terms);
        assert_eq!(approved(&stage, "bob", &terms).state, State::Permitted);
        change(&mut stage);
        assert_eq!(run_it(&stage, &plan), Ok(State::Void), "{what}");
        let missing = lacks(1, &[&["security"]]).unwrap();
        let worse = wait(stage.view(&plan)).unwrap().worse;
        assert_eq!(worse, [Worse::Approvals { missing }], "{what}");
        assert!(worse[0].to_string().contains("1 more approval: at least one of security"), "{}", worse[0]);
        assert_eq!(stage.world.trace(), [], "{what}: a void approval starts nothing");
        audit(&stage);
    }
}

#[test]
fn one_no_of_three_ends_it() {
    let (stage, plan, terms) = waits(quorum(3, &[]));
    approved(&stage, "alice", &terms);
    approved(&stage, "bob", &terms);
    let no = decide(&stage, "carol", &terms, Choice::Reject).unwrap();
    assert_eq!(stands(&no), (State::Rejected, 2, 3, None));
    assert_eq!(state(&stage, &plan), State::Rejected);
    audit(&stage);
}

#[test]
fn t05_the_last_approvals_at_once_make_one_permit() {
    let (stage, plan, terms) = waits(quorum(3, &[&["security"]]));
    let all = ["alice", "bob", "carol"].map(|name| {
        let (who, said) = (session(name), statement(name, &terms, Choice::Approve));
        let (gate, hold) = (&stage.gate, terms.hold.clone());
        async move { decide_hold(gate, &who, &hold, said).await }
    });
    let results = wait(join_all(all));
    let permits = results.iter().flatten().filter(|decided| decided.state == State::Permitted);
    assert_eq!((results.iter().flatten().count(), permits.count()), (3, 1));
    assert_eq!((count(&stage, "approved"), count(&stage, "permitted")), (3, 1));
    assert_eq!(run_it(&stage, &plan), Ok(State::Succeeded));
    audit(&stage);
}

#[test]
fn inv05_t11_at_t4_three_people_have_passkeys_of_three_acts() {
    let t4 = |change: fn(&mut Setup)| {
        let mut setup = Setup { policy: Policy::From(Rung::T4), ..setup(quorum(3, &[])) };
        change(&mut setup);
        let stage = started(setup);
        let (plan, terms) = held(&stage, "cache.drop", "worker-1");
        assert_eq!(terms.tier, Tier::T4);
        (stage, plan, terms)
    };
    let (stage, plan, terms) = t4(|_| ());
    assert_eq!(approved(&stage, "alice", &terms).state, State::Held);
    assert_eq!(stands(&approved(&stage, "bob", &terms)), (State::Held, 2, 3, lacks(1, &[])));
    assert_eq!(approved(&stage, "carol", &terms).state, State::Permitted);
    assert_eq!(run_it(&stage, &plan), Ok(State::Succeeded));
    audit(&stage);

    // What could be the same person again is refused at once, and takes no place.
    let (stage, plan, terms) = t4(|setup| setup.parts.people[1].passkeys[0].act = id("act-alice"));
    approved(&stage, "alice", &terms);
    let refusal = decide(&stage, "bob", &terms, Choice::Approve).unwrap_err();
    assert_eq!(refusal.rule, "no-permit");
    assert!(refusal.fact.contains("one act"), "{refusal}");
    assert_eq!(stands(&approved(&stage, "carol", &terms)), (State::Held, 2, 3, lacks(1, &[])));
    assert_eq!(state(&stage, &plan), State::Held);
    audit(&stage);
}

/// Two steps, of which one asks for security and one for two people; without the first, what is left asks for less.
#[test]
fn a_plan_asks_for_what_all_its_steps_ask_for_and_narrowing_asks_anew() {
    let mut parts = setup(quorum(1, &[&["security"]]));
    parts.parts.action("flag.switch").approvals = quorum(2, &[&["dba"]]);
    parts.parts.action("flag.switch").tier = Tier::T3;
    for action in &mut parts.parts.actions {
        action.cap = several().parts.actions[0].cap;
    }
    let stage = started(parts);
    let proposed = proposed_all(&stage, &[("cache.drop", "worker-1"), ("flag.switch", "worker-2")]);
    let terms = proposed.terms.unwrap();
    let of = |plan: &Plan| approve::quorum(&wait(stage.view(plan)).unwrap());
    assert_eq!(of(&proposed.id), quorum(2, &[&["security"], &["dba"]]));
    approved(&stage, "alice", &terms);
    let kept = vec![Kept { step: 1, params: [].into() }];
    let narrowing = signed(NarrowStatement::new(terms.clone(), id("carol"), kept));
    let less = wait(narrow_hold(&stage.gate, &session("carol"), &terms.hold, narrowing)).unwrap();
    assert_eq!(of(&less.id), quorum(2, &[&["dba"]]));
    let terms = less.terms.unwrap();
    // Nothing of the earlier approval is left.
    assert_eq!(stands(&approved(&stage, "alice", &terms)), (State::Held, 1, 2, lacks(1, &[])));
    assert_eq!(approved(&stage, "bob", &terms).state, State::Permitted);
    audit(&stage);
}

#[test]
fn steps_that_ask_for_more_people_than_a_permit_has_room_for_are_refused() {
    let mut parts = setup(quorum(5, &[&["a"], &["b"], &["c"], &["d"], &["e"]]));
    parts.parts.action("flag.switch").approvals = quorum(5, &[&["f"], &["g"], &["h"], &["i"], &["j"]]);
    parts.parts.action("flag.switch").tier = Tier::T3;
    let stage = started(parts);
    let both = stage.proposal_of(&[("cache.drop", "worker-1"), ("flag.switch", "worker-2")]);
    let refusal = super::support::ask_as(&stage, &holdpoint_app::fake::decider("healer"), both).unwrap_err();
    assert_eq!(refusal.rule, "too-many-approvals");
    assert!(refusal.fact.contains("10 approvals: expected at most 9"), "{refusal}");
}

/// What people do beyond policy needs two of them with passkeys, whatever the catalogue asks for.
#[test]
fn breaking_the_glass_waits_for_two() {
    let stage = started(setup(quorum(3, &[&["platform"]])));
    let wanted = Emergency {
        action: id("cache.drop"),
        target: id("worker-1"),
        params: [].into(),
        incident: None,
        reason: "the cache serves data of others".to_owned(),
    };
    let asked = wait(break_glass(&stage.gate, &session("alice"), wanted)).unwrap();
    let terms = asked.terms.unwrap();
    assert_eq!(stands(&approved(&stage, "bob", &terms)), (State::Held, 1, 2, lacks(1, &[])));
    assert_eq!(approved(&stage, "carol", &terms).state, State::Permitted);
    assert_eq!(run_it(&stage, &asked.id), Ok(State::Succeeded));
    audit(&stage);
}
