//! Quorums: so many people, and somebody of each group, each another one; compared with trying everything.

use std::collections::{BTreeMap, BTreeSet};

use holdpoint_domain::{
    Id, Rung, Tier,
    action::Action,
    decision::floor,
    digest::canonical,
    facts::{PlanFacts, Standing},
    id::kind,
    plan::{Plan, Requester},
    quorum::{Approver, Group, MAX_APPROVALS, MAX_TEAMS, Missing, Quorum},
};
use proptest::prelude::*;

use super::{
    catalogues::action,
    support::{decision, facts, id, one, plan},
};

fn group(teams: &[&str]) -> Group {
    let teams: BTreeSet<Id<kind::Team>> = teams.iter().map(|team| id(team)).collect();
    Group::try_from(teams).unwrap()
}

/// So many people, and somebody of each of these groups.
pub(crate) fn quorum(needed: u32, groups: &[&[&str]]) -> Quorum {
    Quorum::new(needed, groups.iter().map(|teams| group(teams)).collect()).unwrap()
}

/// Somebody, and the teams that they are in.
type Person = (&'static str, &'static [&'static str]);

/// What is missing when these people of these teams have approved.
fn missing(quorum: &Quorum, people: &[Person]) -> Option<Missing> {
    let named: Vec<(Id<kind::Person>, BTreeSet<Id<kind::Team>>)> = people
        .iter()
        .map(|(person, teams)| (id(person), teams.iter().map(|team| id(team)).collect()))
        .collect();
    let approvers: Vec<_> = named.iter().map(|(person, teams)| Approver { person, teams }).collect();
    quorum.missing(&approvers)
}

fn lacks(approvals: u32, groups: &[&[&str]]) -> Option<Missing> {
    Some(Missing { approvals, groups: groups.iter().map(|teams| group(teams)).collect() })
}

#[test]
fn inv05_what_is_missing_of_a_quorum() {
    let three = quorum(3, &[&["dba", "platform"], &["security"]]);
    let ada: Person = ("ada", &["dba"]);
    let bob: Person = ("bob", &["security", "dba"]);
    let cyd: Person = ("cyd", &["web"]);
    assert_eq!(missing(&three, &[]), lacks(3, &[&["security"], &["dba", "platform"]]));
    assert_eq!(missing(&three, &[ada]), lacks(2, &[&["security"]]));
    assert_eq!(missing(&three, &[ada, ada, ada]), lacks(2, &[&["security"]]), "one person, three times");
    assert_eq!(missing(&three, &[ada, bob]), lacks(1, &[]));
    assert_eq!(missing(&three, &[ada, bob, bob]), lacks(1, &[]));
    assert_eq!(missing(&three, &[ada, bob, cyd]), None);
    // Whoever could speak for both groups speaks for one: for that which fewer teams could fill.
    assert_eq!(missing(&three, &[bob]), lacks(2, &[&["dba", "platform"]]));
    assert_eq!(missing(&three, &[bob, cyd]), lacks(1, &[&["dba", "platform"]]));
    // The number is full, and a group is not: one more, who is of it.
    let dan: Person = ("dan", &["web"]);
    assert_eq!(missing(&three, &[bob, cyd, dan]), lacks(1, &[&["dba", "platform"]]));
    assert_eq!(missing(&three, &[bob, cyd, dan, ada]), None);
    // Two of one team, if it is asked for twice.
    let twice = quorum(2, &[&["dba"], &["dba"]]);
    assert_eq!(missing(&twice, &[ada, ada]), lacks(1, &[&["dba"]]));
    assert_eq!(missing(&twice, &[ada, cyd]), lacks(1, &[&["dba"]]));
    assert_eq!(missing(&twice, &[ada, bob]), None);
}

#[test]
fn a_quorum_is_within_its_bounds() {
    let read = |text: &str| serde_json::from_str::<Quorum>(text).map_err(|err| err.to_string());
    let team = |number: usize| format!("\"team-{number}\"");
    let group = |teams: usize| format!("[{}]", (0..teams).map(team).collect::<Vec<_>>().join(","));
    let groups = |needed, count| {
        let all = vec![group(1); count].join(",");
        format!("{{\"needed\":{needed},\"groups\":[{all}]}}")
    };
    for good in [
        "{\"needed\":1}".to_owned(),
        format!("{{\"needed\":{MAX_APPROVALS}}}"),
        groups(9, 9),
        format!("{{\"needed\":1,\"groups\":[{}]}}", group(MAX_TEAMS)),
    ] {
        let quorum = read(&good).unwrap();
        assert_eq!(read(&String::from_utf8(canonical(&quorum).unwrap()).unwrap()), Ok(quorum));
    }
    for (bad, why) in [
        ("{\"needed\":0}".to_owned(), "expected `needed` from 1 to 9, got 0"),
        ("{\"needed\":10}".to_owned(), "got 10"),
        (groups(2, 3), "at least 3, one for each group, got 2"),
        ("{\"needed\":1,\"groups\":[[]]}".to_owned(), "expected 1 to 9 teams in a group, got 0"),
        (format!("{{\"needed\":1,\"groups\":[{}]}}", group(MAX_TEAMS + 1)), "got 10"),
        ("{\"needed\":-1}".to_owned(), "-1"),
        ("{\"needed\":1.5}".to_owned(), "1.5"),
        ("{\"groups\":[]}".to_owned(), "needed"),
        ("{\"needed\":1,\"people\":2}".to_owned(), "people"),
        ("{\"needed\":1,\"groups\":[[\"No Team\"]]}".to_owned(), "team"),
    ] {
        let refusal = read(&bad).unwrap_err();
        assert!(refusal.contains(why), "{bad}: {refusal}");
    }
}

#[test]
fn quorums_are_said_in_words() {
    assert_eq!(quorum(1, &[]).to_string(), "1 approval");
    let three = quorum(3, &[&["platform", "dba"], &["security"]]);
    assert_eq!(three.to_string(), "3 approvals: at least one of dba or platform, at least one of security");
    let more = |people: &[Person]| missing(&three, people).unwrap().to_string();
    assert_eq!(more(&[("ada", &["dba"])]), "2 more approvals: at least one of security");
    assert_eq!(more(&[("ada", &["dba"]), ("bob", &["security"])]), "1 more approval");
}

/// A plan of several steps needs the largest number and all groups; a group of two steps is one group.
#[test]
fn the_steps_of_a_plan_ask_together() {
    let union = |all: &[Quorum]| Quorum::union(all);
    assert_eq!(union(&[]), None);
    assert_eq!(union(&[quorum(2, &[]), quorum(3, &[])]), Some(quorum(3, &[])));
    let security = quorum(1, &[&["security"]]);
    assert_eq!(union(&[security.clone(), security.clone()]), Some(security.clone()));
    let both = union(&[security.clone(), quorum(1, &[&["dba"]])]);
    assert_eq!(both, Some(quorum(2, &[&["security"], &["dba"]])));
    let twice = quorum(2, &[&["security"], &["security"]]);
    assert_eq!(union(&[security, twice.clone()]), Some(twice));
}

/// The people of the tier are never fewer for what the catalogue says, and what people ask for beyond policy asks nobody else.
#[test]
fn inv05_a_quorum_only_adds_to_the_people_of_the_tier() {
    let asking = |asked: Option<Quorum>| {
        let mut facts = facts();
        facts.action.approvals = asked;
        one(&facts)
    };
    let people = |rung, asked| Quorum::of(&decision(rung), &plan(), &asking(asked));
    assert_eq!(people(Rung::T3, None).needed(), 1);
    assert_eq!(people(Rung::T4, None).needed(), 2);
    assert_eq!(people(Rung::T4, Some(quorum(1, &[]))).needed(), 2);
    assert_eq!(people(Rung::T3, Some(quorum(3, &[]))).needed(), 3);
    assert_eq!(people(Rung::T4, Some(quorum(3, &[&["dba"]]))), quorum(3, &[&["dba"]]));

    let emergency = Requester::in_emergency(id("ada")).unwrap();
    let trigger = plan().trigger().clone();
    let beyond = Plan::new(emergency, None, trigger, plan().steps().to_vec()).unwrap();
    let facts: PlanFacts = asking(Some(quorum(9, &[&["dba"]])));
    assert_eq!(Quorum::asked(&beyond, &facts), None);
    let whole = Quorum::of(&decision(Rung::T4), &beyond, &facts);
    assert_eq!((whole.needed(), whole.groups().len()), (2, 0));
}

/// What a build has earned does not go around the people whom the catalogue asks for.
#[test]
fn inv05_no_track_record_lowers_an_action_that_asks_for_approvals() {
    let mut facts = facts();
    facts.standing = Standing::Earned(Tier::T1);
    assert_eq!(floor(&facts).0, Some(Tier::T1));
    facts.action.tier = Tier::T4;
    facts.action.approvals = Some(quorum(1, &[]));
    assert_eq!(floor(&facts).0, Some(Tier::T3));
    facts.standing = Standing::None;
    assert_eq!(floor(&facts).0, Some(Tier::T4));
    let entry = Action { approvals: Some(quorum(1, &[])), tier: Tier::T3, ..action("process.restart") };
    assert_ne!(entry.digest().unwrap(), action("process.restart").digest().unwrap());
}

/// The most groups that people could fill, each person one of them: by trying everybody for each.
fn most(groups: &[BTreeSet<u8>], people: &[BTreeSet<u8>]) -> usize {
    let Some((group, rest)) = groups.split_first() else { return 0 };
    let without = most(rest, people);
    let with = (0..people.len()).filter(|at| !group.is_disjoint(&people[*at])).map(|at| {
        let mut others = people.to_vec();
        others.remove(at);
        1 + most(rest, &others)
    });
    with.chain([without]).max().unwrap()
}

fn teams() -> impl Strategy<Value = BTreeSet<u8>> {
    proptest::collection::btree_set(0..5_u8, 0..4)
}

fn team(number: u8) -> Id<kind::Team> {
    id(&format!("team-{number}"))
}

fn named(teams: &BTreeSet<u8>) -> BTreeSet<Id<kind::Team>> {
    teams.iter().map(|number| team(*number)).collect()
}

fn ask(quorum: &Quorum, people: &BTreeMap<Id<kind::Person>, BTreeSet<Id<kind::Team>>>) -> Option<Missing> {
    let approvers: Vec<_> = people.iter().map(|(person, teams)| Approver { person, teams }).collect();
    quorum.missing(&approvers)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn inv05_a_quorum_is_full_exactly_when_trying_everything_fills_it(
        more in 0..3_u32,
        wanted in proptest::collection::vec(teams().prop_filter("a group has teams", |teams| !teams.is_empty()), 0..5),
        approved in proptest::collection::vec(teams(), 0..6),
    ) {
        let groups: Vec<_> = wanted.iter().map(|teams| Group::try_from(named(teams)).unwrap()).collect();
        let needed = (wanted.len() as u32 + more).max(1);
        let quorum = Quorum::new(needed, groups).unwrap();
        let mut people: BTreeMap<_, _> =
            (0..).zip(&approved).map(|(at, teams): (u32, _)| (id(&format!("person-{at}")), named(teams))).collect();

        let unfilled = wanted.len() - most(&wanted, &approved);
        let short = (needed as usize).saturating_sub(approved.len()).max(unfilled);
        let found = ask(&quorum, &people);
        let told = found.as_ref().map_or((0, 0), |missing| (missing.approvals as usize, missing.groups.len()));
        prop_assert_eq!(told, (short, unfilled));

        // Exactly the people who are said to be missing fill it, one by one, and nobody makes it emptier.
        let Some(told) = found else { return Ok(()) };
        let groups = told.groups.iter().map(|group| group.teams().clone());
        let missing: Vec<_> = groups.chain(std::iter::repeat(BTreeSet::new())).take(told.approvals as usize).collect();
        for (at, teams) in missing.iter().enumerate() {
            let before = ask(&quorum, &people).unwrap();
            people.insert(id(&format!("new-{at}")), teams.clone());
            let after = ask(&quorum, &people).map_or(0, |missing| missing.approvals);
            prop_assert_eq!(after + 1, before.approvals);
        }
        prop_assert_eq!(ask(&quorum, &people), None);
    }
}
