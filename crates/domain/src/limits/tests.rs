//! Budgets, freezes and deletions, case by case.
#![allow(clippy::arithmetic_side_effects, reason = "small numbers in a test")]

use super::*;

pub(super) const NOW: u64 = 1_700_000_000_000;
pub(super) const HOUR: u64 = 3_600_000;

pub(super) fn at(ms: u64) -> Timestamp {
    Timestamp::from_ms(ms).unwrap()
}

pub(super) fn ids<K: crate::id::Kind>(names: &[&str]) -> BTreeSet<Id<K>> {
    names.iter().map(|name| Id::parse(name).unwrap()).collect()
}

fn plan() -> &'static Id<kind::Plan> {
    static PLAN: std::sync::OnceLock<Id<kind::Plan>> = std::sync::OnceLock::new();
    PLAN.get_or_init(|| Id::parse("plan-1").unwrap())
}

pub(super) fn run(agent: &str, action: &str, environment: &str, incident: Option<&str>) -> Footprint {
    Footprint {
        sums: std::collections::BTreeMap::new(),
        agent: Id::parse(agent).unwrap(),
        via: BTreeSet::new(),
        teams: ids(&["sre"]),
        incident: incident.map(|id| Id::parse(id).unwrap()),
        concerned: BTreeSet::new(),
        actions: ids(&[action]),
        steps: 1,
        environments: ids(&[environment]),
        data_domains: BTreeSet::new(),
        deletes: BTreeSet::new(),
        direct: ids(&["web"]),
        area: Area::default(),
    }
}

fn budget(per: Per, concurrent: Option<u32>, starts: Option<u32>) -> Limits {
    let starts = starts.map(|max| Starts { max, window_ms: Millis::new(HOUR).unwrap() });
    let budget = Budget {
        id: Id::parse("b").unwrap(),
        per,
        environments: BTreeSet::new(),
        concurrent,
        starts,
        steps: None,
    };
    Limits::new(LimitsSpec { budgets: vec![budget], ..LimitsSpec::default() }).unwrap()
}

pub(super) fn past(footprint: &Footprint, ago: u64, open: bool) -> PastRun<'_> {
    let (claimed_at, ended_at) = (at(NOW - ago), (!open).then(|| at(NOW - ago)));
    PastRun { plan: plan(), footprint, claimed_at, ended_at, open, without_effect: false, bad: false }
}

#[test]
fn a_budget_counts_what_it_is_for_and_nothing_else() {
    let next = run("a", "process.restart", "prod", Some("i1"));
    // (per, a run that counts, a run that does not)
    let cases = [
        (Per::Agent, run("a", "x.y", "dev", None), run("b", "process.restart", "prod", Some("i1"))),
        (
            Per::ActionClass,
            run("b", "process.stop", "dev", None),
            run("a", "flags.disable", "prod", Some("i1")),
        ),
        (Per::Environment, run("b", "x.y", "prod", None), run("a", "process.restart", "dev", Some("i1"))),
        (Per::Incident, run("b", "x.y", "dev", Some("i1")), run("a", "process.restart", "prod", Some("i2"))),
    ];
    for (per, counts, does_not) in &cases {
        let limits = budget(*per, Some(1), None);
        assert!(limits.used_up(&next, &[past(counts, 1, true)], at(NOW)).is_some(), "{per:?}");
        assert!(limits.used_up(&next, &[past(does_not, 1, true)], at(NOW)).is_none(), "{per:?}");
        assert!(limits.used_up(&next, &[past(counts, 1, false)], at(NOW)).is_none(), "{per:?}: it has ended");
    }
    let everything = budget(Per::Everything, Some(1), None);
    assert!(everything.used_up(&next, &[past(&cases[0].2, 1, true)], at(NOW)).is_some());
    let mut domain = next.clone();
    domain.data_domains = ids(&["orders"]);
    let limits = budget(Per::DataDomain, Some(1), None);
    assert!(limits.used_up(&domain, &[past(&domain, 1, true)], at(NOW)).is_some());
    assert!(limits.used_up(&next, &[past(&domain, 1, true)], at(NOW)).is_none());
    // Leaving the incident out is no way around its budget.
    let nameless = run("a", "x.y", "prod", None);
    let limits = budget(Per::Incident, Some(1), None);
    assert!(limits.used_up(&nameless, &[past(&nameless, 1, true)], at(NOW)).is_some());
}

#[test]
fn a_window_says_when_it_has_room_again() {
    let next = run("a", "process.restart", "prod", None);
    let limits = budget(Per::Agent, None, Some(2));
    let runs = |agos: &[u64]| agos.iter().map(|ago| past(&next, *ago, false)).collect::<Vec<_>>();
    assert!(limits.used_up(&next, &runs(&[10]), at(NOW)).is_none());
    let (_, until) = limits.used_up(&next, &runs(&[10, 20]), at(NOW)).unwrap();
    assert_eq!(until, Some(at(NOW - 20 + HOUR)));
    let (_, until) = limits.used_up(&next, &runs(&[10, 20, 30]), at(NOW)).unwrap();
    assert_eq!(until, Some(at(NOW - 20 + HOUR)), "one of three that left is not enough");
    assert!(
        limits.used_up(&next, &runs(&[10, HOUR]), at(NOW)).is_none(),
        "the end of the window is out of it"
    );
}

#[test]
fn t06_a_clock_that_jumps_back_does_not_empty_a_window() {
    let next = run("a", "process.restart", "prod", None);
    let limits = budget(Per::Agent, None, Some(1));
    let later = PastRun { claimed_at: at(NOW + 5 * HOUR), ..past(&next, 0, false) };
    assert!(limits.used_up(&next, &[later], at(NOW)).is_some());
}

#[test]
fn t23_data_and_its_backup_are_never_both_deleted() {
    let deleting = |service: &str, incident: Option<&str>| Footprint {
        deletes: ids(&[service]),
        ..run("a", "volume.delete", "prod", incident)
    };
    let counterparts = |one: &Id<kind::Service>, other: &Id<kind::Service>| {
        [one.as_str(), other.as_str()] == ["db", "dump"] || [one.as_str(), other.as_str()] == ["dump", "db"]
    };
    let limits = Limits::default();
    let gone = |next: &Footprint, past: &[PastRun<'_>]| {
        limits.counterpart_deleted(next, past, at(NOW), counterparts)
    };
    let (db, dump, other) = (deleting("db", None), deleting("dump", None), deleting("logs", None));
    assert!(!gone(&dump, &[]));
    assert!(gone(&dump, &[past(&db, HOUR, false)]), "in two plans");
    assert!(gone(&db, &[past(&dump, HOUR, false)]), "in the other order");
    assert!(!gone(&other, &[past(&db, HOUR, false)]));
    let both = Footprint { deletes: ids(&["db", "dump"]), ..db.clone() };
    assert!(gone(&both, &[]), "in one plan");
    let long_ago = 30 * 24 * HOUR;
    assert!(!gone(&dump, &[past(&db, long_ago, false)]), "the window is over");
    let window = DEFAULT_DELETE_WINDOW.ms();
    assert!(gone(&dump, &[past(&db, window - 1, false)]), "its last millisecond is in it");
    assert!(!gone(&dump, &[past(&db, window, false)]), "its end is out of it");
    let (db_i, dump_i) = (deleting("db", Some("i1")), deleting("dump", Some("i1")));
    assert!(gone(&dump_i, &[past(&db_i, long_ago, false)]), "the incident is the same");
    let failed = PastRun { without_effect: true, ..past(&db, HOUR, false) };
    assert!(!gone(&dump, &[failed]), "nothing was deleted");
}

#[test]
fn t23_the_same_incident_is_the_same_whether_it_was_named_or_known() {
    let of = |service: &str, incident: Option<&str>, concerned: &[&str]| Footprint {
        deletes: ids(&[service]),
        concerned: ids(concerned),
        ..run("a", "volume.delete", "prod", incident)
    };
    let limits = Limits::default();
    for (one, other, same) in [
        ((Some("am-1"), &[][..]), (None, &["am-1"][..]), true),
        ((Some("x"), &["am-1", "am-2"]), (Some("y"), &["am-2"]), true),
        ((Some("x"), &["am-1"]), (Some("y"), &["am-2"]), false),
        ((None, &[]), (None, &[]), false),
        // What is left out of a list may be any that the gate knows, and none that only an agent names.
        ((None, &["am-1", "am-rest"]), (None, &["am-2"]), true),
        ((None, &["am-1", "am-rest"]), (Some("am-2"), &[]), true),
        ((None, &["am-1", "am-rest"]), (Some("y"), &[]), false),
    ] {
        for (first, second) in [(one, other), (other, one)] {
            let (db, dump) = (of("db", first.0, first.1), of("dump", second.0, second.1));
            let gone = limits.counterpart_deleted(
                &dump,
                &[past(&db, 30 * 24 * HOUR, false)],
                at(NOW),
                |one, other| one != other,
            );
            assert_eq!(gone, same, "{first:?} {second:?}");
            let budget = budget(Per::Incident, Some(1), None);
            let is_full = budget.used_up(&dump, &[past(&db, 1, true)], at(NOW)).is_some();
            assert_eq!(is_full, same || (first.0.is_none() && second.0.is_none()), "{first:?} {second:?}");
        }
    }
}

#[test]
fn a_freeze_is_in_force_from_its_begin_until_before_its_end() {
    let freeze = Freeze {
        id: Id::parse("friday").unwrap(),
        environments: ids(&["prod"]),
        from_ms: at(NOW),
        until_ms: at(NOW + HOUR),
    };
    let frozen_by =
        |freeze: Freeze| Limits::new(LimitsSpec { freezes: vec![freeze], ..LimitsSpec::default() }).unwrap();
    let limits = frozen_by(freeze.clone());
    let frozen = |ms: u64, environment: &str| limits.freeze(&ids(&[environment]), at(ms)).is_some();
    assert!(!frozen(NOW - 1, "prod") && frozen(NOW, "prod") && frozen(NOW + HOUR - 1, "prod"));
    assert!(!frozen(NOW + HOUR, "prod") && !frozen(NOW, "dev"));
    let everywhere = Freeze { environments: BTreeSet::new(), ..freeze };
    let limits = frozen_by(everywhere);
    assert!(limits.freeze(&ids(&["dev"]), at(NOW)).is_some());
}

#[test]
fn the_windows_of_a_calendar_are_freezes_and_those_that_touch_are_one() {
    let window = |from: u64, until: u64| Window { from_ms: at(NOW + from), until_ms: at(NOW + until) };
    let calendar = |windows: Vec<Window>| Calendar {
        id: Id::parse("holidays").unwrap(),
        file: "free.ics".to_owned(),
        environments: ids(&["prod"]),
        zone: "UTC".to_owned(),
        windows,
    };
    let of =
        |windows| Limits::new(LimitsSpec { calendars: vec![calendar(windows)], ..LimitsSpec::default() });
    let limits = of(vec![window(50, 60), window(10, 20), window(20, 30)]).unwrap();
    assert_eq!(limits.calendars().first().unwrap().windows, [window(10, 30), window(50, 60)]);
    let frozen = |ms: u64| limits.freeze(&ids(&["prod"]), at(NOW + ms)).map(|freeze| freeze.until_ms);
    assert_eq!(
        [9, 10, 29, 30, 50, 60].map(frozen),
        [None, Some(at(NOW + 30)), Some(at(NOW + 30)), None, Some(at(NOW + 60)), None]
    );
    assert!(limits.freeze(&ids(&["dev"]), at(NOW + 10)).is_none());
    assert!(matches!(of(vec![window(2, 2)]).unwrap_err().as_slice(), [LimitsError::Backwards(_)]));
    let many = (0..=MAX_WINDOWS as u64).map(|number| window(number * 2, number * 2 + 1)).collect();
    assert!(matches!(of(many).unwrap_err().as_slice(), [LimitsError::Calendar(..)]));
}

#[test]
fn t25_faults_are_found_together() {
    let nothing = Budget {
        id: Id::parse("b").unwrap(),
        per: Per::Agent,
        environments: BTreeSet::new(),
        concurrent: None,
        starts: Some(Starts { max: 1, window_ms: Millis::secs(0) }),
        steps: None,
    };
    let none = Budget { starts: None, ..nothing.clone() };
    let freeze = |from: u64, until: u64| Freeze {
        id: Id::parse("f").unwrap(),
        environments: BTreeSet::new(),
        from_ms: at(from),
        until_ms: at(until),
    };
    let faults = Limits::new(LimitsSpec {
        budgets: vec![nothing, none],
        freezes: vec![freeze(1, 2), freeze(2, 2)],
        delete_window_ms: Millis::secs(0),
        ..LimitsSpec::default()
    })
    .unwrap_err();
    let said: Vec<_> = faults.iter().map(ToString::to_string).collect();
    for want in
        ["stands twice", "limits nothing", "window", "ends before it begins", "freeze `f` stands twice"]
    {
        assert!(said.iter().any(|line| line.contains(want)), "{want}: {said:?}");
    }
}

#[test]
fn limits_are_shown_as_they_were_written() {
    let budgets = budget(Per::Agent, Some(1), Some(2));
    let freeze = Freeze {
        id: Id::parse("friday").unwrap(),
        environments: BTreeSet::new(),
        from_ms: at(NOW),
        until_ms: at(NOW + HOUR),
    };
    let limits = Limits::new(LimitsSpec {
        budgets: budgets.budgets().to_vec(),
        freezes: vec![freeze.clone()],
        ..LimitsSpec::default()
    })
    .unwrap();
    let [budget] = limits.budgets() else { panic!("expected one budget, got {:?}", limits.budgets()) };
    assert_eq!((budget.per, budget.concurrent), (Per::Agent, Some(1)));
    assert_eq!(limits.freezes(), [freeze]);
}

/// What is left out of a file is not in its digest: another default would be another limit under the digest that people approved.
#[test]
fn the_defaults_are_these_and_no_others() {
    let written = serde_json::to_value(LimitsSpec::default()).unwrap();
    assert_eq!(written, serde_json::json!({"budgets": [], "freezes": [], "delete_window_ms": 604_800_000}));
    let spec = LimitsSpec::default();
    let neighbourhood = serde_json::to_value(&spec.neighbourhood).unwrap();
    let expected = serde_json::json!({"apart": true, "depth": 1, "cool_down_ms": 30_000, "soak_ms": 300_000});
    assert_eq!(neighbourhood, expected);
    let breaker = serde_json::to_value(&spec.breaker).unwrap();
    assert_eq!(breaker, serde_json::json!({"bad": 3, "window_ms": 3_600_000}));
}
