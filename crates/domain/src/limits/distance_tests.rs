//! How far runs stay away from each other, and when an action is not done any more.
#![allow(clippy::arithmetic_side_effects, reason = "small numbers in a test")]

use super::{
    tests::{HOUR, NOW, at, ids, past, run},
    *,
};
use crate::{
    facts::{Nearness, Neighbour},
    fate::{Shared, SharedKind},
    target::{Criticality, Inventory, Service},
};

const SECOND: u64 = 1_000;

fn area(services: &[&str]) -> Area {
    Area { services: ids(services), ..Area::default() }
}

fn at_work(services: &[&str]) -> Footprint {
    Footprint { area: area(services), ..run("a", "process.restart", "prod", None) }
}

fn held(spec: LimitsSpec, next: &Footprint, past: &[PastRun<'_>]) -> Brakes {
    let blast = Blast {
        targets: ids(&["web-1", "web-2"]),
        services: ids(&["web", "shop"]),
        critical: ids(&["shop"]),
        unknown: BTreeSet::new(),
        environments: ids(&["prod"]),
        replica_share_percent: 50,
    };
    let mut brakes = Brakes::OFF;
    Limits::new(spec).unwrap().hold_back(next, &blast, past, at(NOW), &mut brakes);
    brakes
}

#[test]
fn two_runs_whose_areas_touch_are_never_open_at_once_whoever_asks() {
    let (web, near, far) = (at_work(&["web", "shop"]), at_work(&["shop", "mail"]), at_work(&["logs"]));
    let other = Footprint { agent: Id::parse("b").unwrap(), teams: ids(&["others"]), ..near.clone() };
    let held = |next: &Footprint, past: &[PastRun<'_>]| held(LimitsSpec::default(), next, past).neighbour;
    assert_eq!(held(&web, &[]), None);
    for theirs in [&near, &other] {
        let busy = Neighbour {
            plan: Id::parse("plan-1").unwrap(),
            service: Some(Id::parse("shop").unwrap()),
            shared: None,
            why: Nearness::Running,
            until_ms: None,
        };
        assert_eq!(held(&web, &[past(theirs, HOUR, true)]), Some(busy.clone()));
        assert_eq!(held(theirs, &[past(&web, HOUR, true)]), Some(busy), "in the other order");
    }
    assert_eq!(held(&web, &[past(&far, HOUR, true)]), None, "they do not touch");
    // Whoever disturbs more than is listed touches everybody, but for whom touches nothing.
    let wide = Footprint { area: Area { everywhere: true, ..area(&["db"]) }, ..far.clone() };
    assert_eq!(held(&wide, &[past(&web, 1, true)]).unwrap().service, None);
    assert_eq!(held(&web, &[past(&wide, 1, true)]).unwrap().service, None);
    let nothing = run("a", "process.look", "prod", None);
    assert_eq!(held(&nothing, &[past(&wide, 1, true)]), None);
}

#[test]
fn what_a_run_touched_cools_down_and_then_soaks() {
    let web = at_work(&["web"]);
    let held = |ago: u64| held(LimitsSpec::default(), &web, &[past(&web, ago, false)]);
    let just_now = held(10 * SECOND);
    let near = just_now.neighbour.unwrap();
    assert_eq!((near.why, near.until_ms), (Nearness::CoolingDown, Some(at(NOW + 20 * SECOND))));
    assert!(held(30 * SECOND - 1).neighbour.is_some() && held(30 * SECOND).neighbour.is_none());
    // For a longer while, what is seen there may be the doing of that run.
    assert_eq!(just_now.own_doing.as_ref().map(Id::as_str), Some("plan-1"));
    assert!(held(300 * SECOND - 1).own_doing.is_some() && held(300 * SECOND).own_doing.is_none());
}

#[test]
fn a_run_that_changed_nothing_leaves_nothing_to_settle_and_a_clock_that_jumps_back_ends_nothing() {
    let web = at_work(&["web"]);
    let idle = PastRun { without_effect: true, ..past(&web, SECOND, false) };
    let brakes = held(LimitsSpec::default(), &web, &[idle]);
    assert_eq!((brakes.neighbour, brakes.own_doing), (None, None));
    let later = PastRun { ended_at: Some(at(NOW + HOUR)), ..past(&web, 0, false) };
    let brakes = held(LimitsSpec::default(), &web, &[later]);
    assert!(brakes.neighbour.is_some() && brakes.own_doing.is_some());
}

#[test]
fn an_answer_says_when_the_last_one_that_is_too_near_is_over() {
    let web = at_work(&["web"]);
    let (older, newer) = (past(&web, 20 * SECOND, false), past(&web, 5 * SECOND, false));
    let near = |past: &[PastRun<'_>]| held(LimitsSpec::default(), &web, past).neighbour.unwrap();
    for both in [[older.clone(), newer.clone()], [newer.clone(), older]] {
        assert_eq!(near(&both).until_ms, Some(at(NOW + 25 * SECOND)));
    }
    assert_eq!(near(&[past(&web, HOUR, true), newer]).why, Nearness::Running);
}

#[test]
fn an_area_is_what_is_acted_on_its_dependents_to_a_depth_and_what_is_critical() {
    let service = |name: &str, needs: &[&str]| Service {
        id: Id::parse(name).unwrap(),
        environment: Id::parse("prod").unwrap(),
        owner: Id::parse("sre").unwrap(),
        criticality: Criticality::Low,
        data_classes: BTreeSet::new(),
        data_domain: None,
        backup_of: BTreeSet::new(),
        stateless: true,
        depends_on: ids(needs),
        dependents: BTreeSet::new(),
    };
    let chain =
        [service("db", &[]), service("api", &["db"]), service("web", &["api"]), service("pay", &["web"])];
    let known = |inventory: &Inventory| inventory.dependencies(Timestamp::EPOCH).unwrap();
    let inventory = Inventory::new(chain.into(), Vec::new()).unwrap();
    let blast = |critical: &[&str]| Blast {
        targets: BTreeSet::new(),
        services: ids(&["db", "api", "web", "pay"]),
        critical: ids(critical),
        unknown: BTreeSet::new(),
        environments: BTreeSet::new(),
        replica_share_percent: 0,
    };
    let area = |depth: u32, critical: &[&str]| {
        let apart = Neighbourhood { depth, ..Neighbourhood::default() };
        apart.area(&known(&inventory), &ids(&["db"]), BTreeSet::new(), &blast(critical))
    };
    assert_eq!(area(0, &[]).services, ids(&["db"]));
    assert_eq!(area(1, &[]).services, ids(&["db", "api"]));
    assert_eq!(area(2, &[]).services, ids(&["db", "api", "web"]));
    assert_eq!(area(0, &["pay"]).services, ids(&["db", "pay"]));
    let on_one_node = || BTreeSet::from([node("n1")]);
    let off = Neighbourhood::OFF.area(&known(&inventory), &ids(&["db"]), on_one_node(), &blast(&["pay"]));
    assert!(off.is_empty());
    let many: Vec<_> = (0..=MAX_AREA).map(|n| service(&format!("s{n}"), &["db"])).collect();
    let wide = Inventory::new([vec![service("db", &[])], many].concat(), Vec::new()).unwrap();
    let area = Neighbourhood::default().area(&known(&wide), &ids(&["db"]), on_one_node(), &blast(&[]));
    assert!(area.everywhere && area.services == ids(&["db"]) && area.shares == on_one_node());
}

fn node(name: &str) -> Shared {
    Shared { kind: SharedKind::Node, name: Id::parse(name).unwrap() }
}

#[test]
fn what_falls_together_is_not_acted_on_at_once() {
    let on = |services: &[&str], shares: &[Shared]| Footprint {
        area: Area { shares: shares.iter().cloned().collect(), ..area(services) },
        ..at_work(services)
    };
    let held = |next: &Footprint, past: &Footprint| {
        held(LimitsSpec::default(), next, &[super::tests::past(past, HOUR, true)]).neighbour
    };
    let (web, mail) = (on(&["web"], &[node("n1"), node("n2")]), on(&["mail"], &[node("n2")]));
    let near = held(&mail, &web).unwrap();
    assert_eq!((near.service, near.shared, near.why), (None, Some(node("n2")), Nearness::Running));
    assert_eq!(held(&mail, &on(&["web"], &[node("n1")])), None, "another node");
    let volume = Shared { kind: SharedKind::Volume, ..node("n2") };
    assert_eq!(held(&mail, &on(&["web"], &[volume])), None, "another kind of thing by the same name");
    let both = held(&on(&["web"], &[node("n2")]), &web).unwrap();
    assert_eq!((both.service.is_some(), both.shared), (true, None), "the service says more");
}

#[test]
fn t38_an_action_that_went_badly_too_often_is_not_done_any_more_in_its_environment() {
    let restart = |agent: &str| run(agent, "process.restart", "prod", None);
    let (next, mine, theirs) = (restart("a"), restart("a"), restart("b"));
    let bad = |footprint, ago: u64| PastRun { bad: true, ..past(footprint, ago, false) };
    let tripped = |past: &[PastRun<'_>]| held(LimitsSpec::default(), &next, past).breaker;
    let minute = 60 * SECOND;
    let three = [bad(&mine, 50 * minute), bad(&theirs, 20 * minute), bad(&mine, minute)];
    let open = tripped(&three).unwrap();
    assert_eq!((open.bad, open.until_ms), (3, Some(at(NOW + 10 * minute))));
    assert_eq!(tripped(&three[1..]), None);
    // One that people looked at and let go on does not count, nor one that is long over.
    let forgiven = PastRun { bad: false, ..three[0].clone() };
    assert_eq!(tripped(&[forgiven, three[1].clone(), three[2].clone()]), None);
    assert_eq!(tripped(&[bad(&mine, HOUR), three[1].clone(), three[2].clone()]), None);
    let elsewhere = [run("a", "process.restart", "dev", None), run("a", "process.stop", "prod", None)];
    for other in &elsewhere {
        assert_eq!(tripped(&[bad(other, minute), bad(other, minute), bad(other, minute)]), None);
    }
    let four = [&[bad(&mine, 55 * minute)], &three[..]].concat();
    assert_eq!(
        tripped(&four).unwrap().until_ms,
        Some(at(NOW + 10 * minute)),
        "one that leaves is not enough"
    );
}

#[test]
fn a_plan_may_disturb_no_more_than_the_operator_lets_one_plan_disturb() {
    let limit = PlanLimit {
        id: Id::parse("small").unwrap(),
        environments: ids(&["prod"]),
        targets: None,
        services: None,
        critical: None,
        environments_touched: None,
        replica_share_percent: None,
        sums: std::collections::BTreeMap::new(),
    };
    let next = at_work(&["web"]);
    let held_by = |limit: PlanLimit, next: &Footprint| {
        held(LimitsSpec { plans: vec![limit], ..LimitsSpec::default() }, next, &[]).plan_limit.is_some()
    };
    let held = |limit: PlanLimit| held_by(limit, &next);
    let cases: [fn(u32, &PlanLimit) -> PlanLimit; 5] = [
        |most, limit| PlanLimit { targets: Some(most + 1), ..limit.clone() },
        |most, limit| PlanLimit { services: Some(most + 1), ..limit.clone() },
        |most, limit| PlanLimit { critical: Some(most), ..limit.clone() },
        |most, limit| PlanLimit { environments_touched: Some(most), ..limit.clone() },
        |most, limit| PlanLimit { replica_share_percent: Some(most + 49), ..limit.clone() },
    ];
    for case in cases {
        assert!(!held(case(1, &limit)) && held(case(0, &limit)), "{:?}", case(0, &limit));
    }
    // Rows, bytes: what the steps say, added up. What no step says is not too much.
    let rows = PlanLimit { sums: [(Id::parse("rows").unwrap(), 10)].into(), ..limit.clone() };
    for (name, sum, is_exceeded) in [("rows", 10, false), ("rows", 11, true), ("bytes", 99, false)] {
        let says = Footprint { sums: [(Id::parse(name).unwrap(), sum)].into(), ..next.clone() };
        assert_eq!(held_by(rows.clone(), &says), is_exceeded, "{name} {sum}");
    }
    let elsewhere = PlanLimit { environments: ids(&["dev"]), targets: Some(0), ..limit.clone() };
    assert!(!held(elsewhere));
    assert!(
        Limits::new(LimitsSpec { plans: vec![limit], ..LimitsSpec::default() }).is_err(),
        "it limits nothing"
    );
}

#[test]
fn a_plan_of_many_steps_takes_as_many_from_a_budget_of_steps() {
    let window_ms = Millis::new(HOUR).unwrap();
    let budget = Budget {
        id: Id::parse("incident").unwrap(),
        per: Per::Incident,
        environments: BTreeSet::new(),
        concurrent: None,
        starts: None,
        steps: Some(Starts { max: 5, window_ms }),
    };
    let limits = Limits::new(LimitsSpec { budgets: vec![budget], ..LimitsSpec::default() }).unwrap();
    let steps = |steps: u32| Footprint { steps, ..run("a", "process.restart", "prod", Some("i1")) };
    let (two, three, six) = (steps(2), steps(3), steps(6));
    let full =
        |next: &Footprint, past: &[PastRun<'_>]| limits.used_up(next, past, at(NOW)).map(|(_, until)| until);
    assert_eq!(full(&two, &[past(&three, 10, false)]), None);
    assert_eq!(full(&three, &[past(&three, 10, false)]), Some(Some(at(NOW - 10 + HOUR))));
    assert_eq!(full(&six, &[]), Some(None), "it never fits");
}

/// What people are shown is what holds back: whoever does the same again is held back by each of them.
#[test]
fn what_is_shown_as_in_force_is_what_holds_back() {
    let environments = BTreeSet::new();
    let spec = LimitsSpec {
        budgets: vec![Budget {
            id: Id::parse("two").unwrap(),
            per: Per::Agent,
            environments: environments.clone(),
            concurrent: None,
            starts: Some(Starts { max: 2, window_ms: Millis::secs(3_600) }),
            steps: None,
        }],
        freezes: vec![Freeze {
            id: Id::parse("holidays").unwrap(),
            environments,
            from_ms: at(NOW - 1),
            until_ms: at(NOW + 1),
        }],
        breaker: Breaker { bad: 2, ..Breaker::default() },
        ..LimitsSpec::default()
    };
    let limits = Limits::new(spec.clone()).unwrap();
    let web = at_work(&["web"]);
    let bad = |ago: u64, open: bool| PastRun { bad: true, ..past(&web, ago, open) };
    let shown = |past: &[PastRun<'_>]| {
        let word = |one: &InForce| match one {
            InForce::Frozen { .. } => "frozen",
            InForce::OverBudget { of, .. } => {
                assert_eq!(of, "a");
                "over-budget"
            }
            InForce::Busy { .. } => "neighbourhood-busy",
            InForce::Soaking { .. } => "own-doing",
            InForce::Broken(_) => "breaker-open",
        };
        limits.in_force(past, at(NOW)).iter().map(word).collect::<BTreeSet<_>>()
    };
    let held = |past: &[PastRun<'_>]| {
        let brakes = held(spec.clone(), &web, past);
        let rules = [
            ("frozen", brakes.frozen),
            ("over-budget", brakes.over_budget.is_some()),
            ("neighbourhood-busy", brakes.neighbour.is_some()),
            ("own-doing", brakes.own_doing.is_some() && brakes.neighbour.is_none()),
            ("breaker-open", brakes.breaker.is_some()),
        ];
        rules.into_iter().filter_map(|(rule, holds)| holds.then_some(rule)).collect::<BTreeSet<_>>()
    };
    let cases: [(Vec<PastRun<'_>>, &[&str]); 4] = [
        (vec![], &["frozen"]),
        (vec![bad(60 * SECOND, false)], &["frozen", "own-doing"]),
        (
            vec![bad(60 * SECOND, false), bad(90 * SECOND, false)],
            &["frozen", "own-doing", "over-budget", "breaker-open"],
        ),
        (
            vec![bad(60 * SECOND, false), bad(SECOND, true)],
            &["frozen", "neighbourhood-busy", "over-budget", "breaker-open", "own-doing"],
        ),
    ];
    for (past, expected) in cases {
        let expected: BTreeSet<_> = expected.iter().copied().collect();
        assert_eq!(shown(&past), expected);
        let mut held = held(&past);
        // Where one keeps others out, that another one has to settle is shown all the same.
        held.extend(expected.contains("own-doing").then_some("own-doing"));
        assert_eq!(held, expected);
    }
}
