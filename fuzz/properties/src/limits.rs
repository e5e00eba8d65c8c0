//! Time, budgets, freezes and deletions: arithmetic at its edges, and what may only ever get stricter.

use std::collections::BTreeSet;

use holdpoint_domain::{
    Id, Millis, Timestamp,
    blast::Blast,
    facts::Brakes,
    fate::{Shared, SharedKind},
    id::kind,
    incident::{PREFIX, REST},
    limits::{
        Area, Breaker, Budget, Footprint, Freeze, Limits, LimitsSpec, MAX_WINDOW_MS, Neighbourhood, PastRun,
        Per, Starts,
    },
    time::MAX_MS,
};

use crate::Choices;

/// Sums and differences of times are what 128-bit arithmetic says, or an error; a budget that is used up stays so when more was
/// run, and says a time at which it has room; a freeze holds from its first millisecond to before its last.
pub(crate) fn holds(bytes: &[u8]) {
    let choices = &mut Choices::new(bytes);
    time(choices);
    let Ok(limits) = limits(choices) else { return };
    let now = moment(choices);
    let next = footprint(choices);
    let footprints = choices.several(6, footprint);
    let plan = choices.id();
    let past: Vec<PastRun<'_>> =
        footprints.iter().map(|footprint| run(choices, &plan, footprint, now)).collect();
    budgets(&limits, &next, &past, now);
    freezes(&limits, &next, now);
    distances(&limits, &next, &past, now);
    deletions(&limits, &next, &past, now);
}

fn time(choices: &mut Choices<'_>) {
    let (a, b) = (choices.number(), choices.number());
    assert_eq!(Timestamp::from_ms(a).is_ok(), a <= MAX_MS);
    assert_eq!(Millis::new(b).is_ok(), b <= MAX_MS);
    let (Ok(time), Ok(span)) = (Timestamp::from_ms(a), Millis::new(b)) else { return };
    let wide = u128::from(a) + u128::from(b);
    match time.plus(span) {
        Ok(later) => {
            assert_eq!(u128::from(later.ms()), wide);
            assert_eq!(later.since(time), span);
            assert_eq!(time.since(later).ms(), 0, "a clock that went backwards");
            assert!(later >= time && later.ms() <= MAX_MS);
        }
        Err(_) => assert!(wide > u128::from(MAX_MS), "{a} + {b} fits"),
    }
    let text = serde_json::to_string(&time).unwrap();
    assert_eq!(serde_json::from_str::<Timestamp>(&text).unwrap(), time);
    // What is shown is rounded down and never longer than the span.
    let shown = span.to_string();
    let (number, unit) = shown.split_once(' ').unwrap();
    let unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        _ => 60_000,
    };
    let shown = number.parse::<u64>().unwrap() * unit;
    assert!(shown <= b && b - shown < unit, "{b} ms is shown as {shown} ms");
}

/// The first budget without room is the one that a slow count finds, and more runs never free one.
fn budgets(limits: &Limits, next: &Footprint, past: &[PastRun<'_>], now: Timestamp) {
    let found = limits.used_up(next, past, now);
    let slow = limits.budgets().iter().find(|budget| is_full(budget, next, past, now));
    assert_eq!(found.map(|(budget, _)| budget), slow, "now {now:?}, next {next:?}, past {past:?}");
    for fewer in 0..past.len() {
        if limits.used_up(next, &past[..fewer], now).is_some() {
            assert!(found.is_some(), "one more run freed a budget");
        }
    }
    if let Some((budget, Some(until))) = found {
        assert!(until > now, "a budget is used up until {until:?}, which is over");
        // At that time, with nothing else happening, this value of the budget has room; only another value may be full then.
        let windows = [budget.starts, budget.steps].into_iter().flatten().map(|starts| starts.window_ms);
        let window = windows.max().expect("only starts free up with time");
        assert!(until.since(now) <= window || past.iter().any(|run| run.claimed_at > now));
    }
}

/// The rule of a budget in the words of its documentation, counted value by value.
fn is_full(budget: &Budget, next: &Footprint, past: &[PastRun<'_>], now: Timestamp) -> bool {
    let concerns = |run: &Footprint| {
        budget.environments.is_empty() || run.environments.iter().any(|one| budget.environments.contains(one))
    };
    if !concerns(next) {
        return false;
    }
    values(budget.per, next).iter().any(|value| {
        let counted = || {
            past.iter().filter(|run| concerns(run.footprint) && is_counted(budget.per, run.footprint, value))
        };
        let open = counted().filter(|run| run.open).count() as u64;
        let within = |starts: Starts, of: fn(&Footprint) -> u64| {
            let recent = |run: &&PastRun<'_>| {
                let age = i128::from(now.ms()) - i128::from(run.claimed_at.ms());
                age < i128::from(starts.window_ms.ms())
            };
            let used: u64 = counted().filter(recent).map(|run| of(run.footprint)).sum();
            used + of(next) > u64::from(starts.max)
        };
        budget.concurrent.is_some_and(|most| open >= u64::from(most))
            || budget.starts.is_some_and(|starts| within(starts, |_| 1))
            || budget.steps.is_some_and(|starts| within(starts, |run| u64::from(run.steps.max(1))))
    })
}

fn values(per: Per, run: &Footprint) -> BTreeSet<String> {
    match per {
        Per::Everything => BTreeSet::from([String::new()]),
        // Whoever acts for another spends what both have.
        Per::Agent => run.via.iter().chain([&run.agent]).map(ToString::to_string).collect(),
        Per::Team => run.teams.iter().map(ToString::to_string).collect(),
        Per::Action => run.actions.iter().map(ToString::to_string).collect(),
        Per::Service => run.direct.iter().map(ToString::to_string).collect(),
        Per::ActionClass => {
            run.actions.iter().map(|id| id.as_str().split('.').next().unwrap().to_owned()).collect()
        }
        Per::Environment => run.environments.iter().map(ToString::to_string).collect(),
        Per::Incident => {
            let named = run.incident.as_ref().map(ToString::to_string).unwrap_or_default();
            run.concerned.iter().map(ToString::to_string).chain([named]).collect()
        }
        Per::DataDomain => run.data_domains.iter().map(ToString::to_string).collect(),
    }
}

/// Whether a run takes from the budget of a value. What a list of incidents leaves out may be any that the gate knows.
fn is_counted(per: Per, run: &Footprint, value: &str) -> bool {
    let of = values(per, run);
    let known = |one: &str| one.starts_with(PREFIX);
    let for_any = value == REST && of.iter().any(|one| known(one));
    let of_any = known(value) && run.concerned.iter().any(|one| one.as_str() == REST);
    of.contains(value) || (per == Per::Incident && (for_any || of_any))
}

fn freezes(limits: &Limits, next: &Footprint, now: Timestamp) {
    let slow = limits.freezes().iter().any(|freeze| {
        let concerned =
            freeze.environments.is_empty() || !freeze.environments.is_disjoint(&next.environments);
        concerned && (freeze.from_ms.ms()..freeze.until_ms.ms()).contains(&now.ms())
    });
    assert_eq!(limits.freeze(&next.environments, now).is_some(), slow);
}

/// One more run never lets a plan go that was held back, and what is held back by an open run waits for it.
fn distances(limits: &Limits, next: &Footprint, past: &[PastRun<'_>], now: Timestamp) {
    let blast = Blast {
        targets: BTreeSet::new(),
        services: next.area.services.clone(),
        critical: BTreeSet::new(),
        unknown: BTreeSet::new(),
        environments: next.environments.clone(),
        replica_share_percent: 100,
    };
    let held = |past: &[PastRun<'_>]| {
        let mut brakes = Brakes::OFF;
        limits.hold_back(next, &blast, past, now, &mut brakes);
        brakes
    };
    let all = held(past);
    for fewer in 0..past.len() {
        let some = held(&past[..fewer]);
        assert!(all.neighbour.is_some() || some.neighbour.is_none(), "one more run freed a neighbourhood");
        assert!(
            all.own_doing.is_some() || some.own_doing.is_none(),
            "one more run made nothing of the last one"
        );
        assert!(all.breaker.is_some() || some.breaker.is_none(), "one more run closed the breaker");
    }
    let touch = |run: &PastRun<'_>| {
        let (ours, theirs) = (&next.area, &run.footprint.area);
        !ours.services.is_disjoint(&theirs.services)
            || !ours.shares.is_disjoint(&theirs.shares)
            || ((ours.everywhere || theirs.everywhere) && !ours.is_empty() && !theirs.is_empty())
    };
    let open = past.iter().any(|run| run.open && touch(run));
    assert_eq!(open, all.neighbour.as_ref().is_some_and(|near| near.until_ms.is_none()));
    if let Some(until) = all.neighbour.and_then(|near| near.until_ms) {
        assert!(until > now, "the cool-down is over at {until:?}");
    }
    let bad = past.iter().filter(|run| run.bad).count() as u64;
    assert!(all.breaker.is_none_or(|tripped| u64::from(tripped.bad) <= bad));
}

/// Whatever else was run, a deletion that was refused stays refused; and within one plan it always is.
fn deletions(limits: &Limits, next: &Footprint, past: &[PastRun<'_>], now: Timestamp) {
    let pair = |one: &Id<kind::Service>, other: &Id<kind::Service>| one != other;
    let refused = limits.counterpart_deleted(next, past, now, pair);
    for fewer in 0..past.len() {
        if limits.counterpart_deleted(next, &past[..fewer], now, pair) {
            assert!(refused, "one more run freed a deletion");
        }
    }
    assert!(refused || next.deletes.len() < 2, "data and its backup in one plan");
    assert!(!next.deletes.is_empty() || !refused, "who deletes nothing is not held back");
}

fn limits(choices: &mut Choices<'_>) -> Result<Limits, Vec<holdpoint_domain::limits::LimitsError>> {
    let budgets = choices.several(3, |choices| Budget {
        id: choices.id(),
        per: choices.one_of(&[
            Per::Everything,
            Per::Agent,
            Per::Team,
            Per::Action,
            Per::Service,
            Per::ActionClass,
            Per::Environment,
            Per::Incident,
            Per::DataDomain,
        ]),
        environments: choices.several(2, Choices::id).into_iter().collect(),
        concurrent: choices.yes().then(|| choices.number() as u32 % 4),
        starts: choices
            .yes()
            .then(|| Starts { max: u32::from(choices.byte() % 4), window_ms: span(choices) }),
        steps: choices.yes().then(|| Starts { max: u32::from(choices.byte() % 8), window_ms: span(choices) }),
    });
    let freezes = choices.several(2, |choices| Freeze {
        id: choices.id(),
        environments: choices.several(2, Choices::id).into_iter().collect(),
        from_ms: moment(choices),
        until_ms: moment(choices),
    });
    let window = span(choices);
    let made = Limits::new(LimitsSpec {
        budgets,
        freezes,
        delete_window_ms: window,
        neighbourhood: Neighbourhood {
            apart: true,
            depth: u32::from(choices.byte() % 3),
            cool_down_ms: span(choices),
            soak_ms: span(choices),
        },
        breaker: Breaker { bad: u32::from(choices.byte() % 4), window_ms: span(choices) },
        ..LimitsSpec::default()
    });
    if let Ok(limits) = &made {
        let windows = limits
            .budgets()
            .iter()
            .flat_map(|budget| [budget.starts, budget.steps])
            .flatten()
            .map(|starts| starts.window_ms);
        assert!(
            windows.chain([window]).all(|window| window <= limits.horizon()),
            "the store forgets too soon"
        );
        assert!(limits.horizon().ms() <= MAX_WINDOW_MS && window.ms() > 0);
        assert!(limits.freezes().iter().all(|freeze| freeze.from_ms < freeze.until_ms));
    }
    made
}

/// A span that is often a valid window.
fn span(choices: &mut Choices<'_>) -> Millis {
    Millis::new(choices.number() % (MAX_WINDOW_MS + 2)).unwrap()
}

fn moment(choices: &mut Choices<'_>) -> Timestamp {
    Timestamp::from_ms(choices.number() % (MAX_MS + 1)).unwrap()
}

fn run<'f>(
    choices: &mut Choices<'_>,
    plan: &'f Id<kind::Plan>,
    footprint: &'f Footprint,
    now: Timestamp,
) -> PastRun<'f> {
    // Beside now, on either side, more often than anywhere.
    let near = now.ms().saturating_add(u64::from(choices.byte())).saturating_sub(200).min(MAX_MS);
    let claimed_at = if choices.yes() { Timestamp::from_ms(near).unwrap() } else { moment(choices) };
    let open = choices.yes();
    let ended_at = (!open).then(|| claimed_at.plus(span(choices)).unwrap_or(claimed_at));
    let (without_effect, bad) = (choices.yes(), choices.yes());
    PastRun { plan, footprint, claimed_at, ended_at, open, without_effect, bad }
}

fn footprint(choices: &mut Choices<'_>) -> Footprint {
    Footprint {
        sums: [].into(),
        agent: choices.id(),
        via: choices.several(2, Choices::id).into_iter().collect(),
        teams: choices.several(2, Choices::id).into_iter().collect(),
        incident: choices.yes().then(|| incident(choices)),
        actions: choices.several(2, Choices::id).into_iter().collect(),
        steps: u32::from(choices.byte() % 4),
        environments: choices.several(2, Choices::id).into_iter().collect(),
        data_domains: choices.several(2, Choices::id).into_iter().collect(),
        deletes: choices.several(2, Choices::id).into_iter().collect(),
        direct: choices.several(2, Choices::id).into_iter().collect(),
        area: Area {
            services: choices.several(2, Choices::id).into_iter().collect(),
            shares: choices.several(2, shared).into_iter().collect(),
            everywhere: choices.byte() == 1,
        },
        concerned: choices.several(2, incident).into_iter().collect(),
    }
}

/// What a target falls with.
fn shared(choices: &mut Choices<'_>) -> Shared {
    Shared { kind: choices.one_of(&[SharedKind::Node, SharedKind::Secret]), name: choices.id() }
}

/// One that an agent made up, or one that the gate knows.
fn incident(choices: &mut Choices<'_>) -> Id<kind::Incident> {
    Id::parse(choices.one_of(&["a", "b", "am-1", "am-2", REST])).unwrap()
}
