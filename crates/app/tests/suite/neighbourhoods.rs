//! What keeps runs apart, whichever agents ask; what our own actions explain; and what went badly too often.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::future::join_all;
use holdpoint_app::{
    brakes::in_force,
    fake::{
        Deed, Probe, Stage,
        controls::{agent, id, ids},
        decider,
    },
    propose::Proposed,
    run::run,
};
use holdpoint_domain::{
    Millis, Tier,
    decision::{Answer, Worse},
    facts::{Nearness, Neighbour},
    fate::{Shared, SharedKind},
    flow::State,
    limits::{Breaker, ErrorBudget, InForce, Limits, LimitsSpec, Neighbourhood},
    record::Body,
    target::Target,
    trigger::Truth,
};

use super::{
    reviews::reviewed,
    support::{Plan, ask_as, audit, count, poll_until, proposed, run_it, several, started, state, wait},
};

/// Runs stay one dependency apart, and nothing else is as operators would have it.
const APART: Neighbourhood =
    Neighbourhood { apart: true, depth: 1, cool_down_ms: Millis::secs(0), soak_ms: Millis::secs(0) };

fn stage(spec: LimitsSpec) -> Stage {
    let mut setup = several();
    setup.parts.limits = Limits::new(spec).unwrap();
    // `payments` needs `orders`; `shop` has nothing to do with either.
    setup.parts.services[2].depends_on = ids(&["orders"]);
    setup.parts.agents.push(agent("mender", "alice", true));
    for action in &mut setup.parts.actions {
        action.cap.services = 4;
        action.cap.critical = 4;
    }
    started(setup)
}

fn apart(neighbourhood: Neighbourhood) -> Stage {
    stage(LimitsSpec { neighbourhood, ..LimitsSpec::default() })
}

fn neighbour(proposed: &Proposed) -> Option<&Neighbour> {
    proposed.facts.first().brakes.neighbour.as_ref()
}

#[test]
fn no_two_runs_at_once_touch_whichever_agents_ask() {
    let stage = apart(APART);
    let first = proposed(&stage, "flag.switch", "payments-1").id;
    let second = ask_as(&stage, &decider("scout"), stage.proposal("flag.switch", "orders-1")).unwrap();
    assert_eq!(neighbour(&second), None, "nothing runs yet");
    let mut running = Box::pin(run(&stage.gate, &first));
    poll_until(&stage, &mut running, "applying");
    // Another agent, another target, another service: they touch where one needs the other.
    let denied = ask_as(&stage, &decider("scout"), stage.proposal("flag.switch", "orders-1")).unwrap();
    assert_eq!(denied.decision.answer, Answer::Deny);
    let busy = Neighbour {
        plan: first.clone(),
        service: Some(id("payments")),
        shared: None,
        why: Nearness::Running,
        until_ms: None,
    };
    assert_eq!(neighbour(&denied), Some(&busy));
    let elsewhere = proposed(&stage, "flag.switch", "worker-1");
    assert_eq!((neighbour(&elsewhere), elsewhere.decision.answer), (None, Answer::Allow));
    assert_eq!(wait(running), Ok(State::Succeeded));
    assert_eq!(neighbour(&proposed(&stage, "flag.switch", "orders-1")), None);
    audit(&stage);
}

#[test]
fn a_permit_that_was_granted_before_the_other_run_began_is_void_and_says_why() {
    let stage = apart(APART);
    let [one, two] = ["worker-1", "worker-2"].map(|target| proposed(&stage, "flag.switch", target).id);
    let mut running = Box::pin(run(&stage.gate, &one));
    poll_until(&stage, &mut running, "applying");
    assert_eq!(run_it(&stage, &two), Ok(State::Void));
    let worse = wait(stage.view(&two)).unwrap().worse;
    let [Worse::Held { rules, brakes: Some(brakes) }] = worse.as_slice() else { panic!("{worse:?}") };
    assert_eq!(*rules, [id("neighbourhood-busy")]);
    assert_eq!(brakes.neighbour.as_ref().map(|near| &near.plan), Some(&one));
    assert_eq!(wait(running), Ok(State::Succeeded));
    audit(&stage);
}

#[test]
fn t05_of_sixty_four_agents_that_race_for_one_neighbourhood_one_runs_at_a_time() {
    let mut setup = several();
    let spec = LimitsSpec { neighbourhood: APART, ..LimitsSpec::default() };
    setup.parts.limits = Limits::new(spec).unwrap();
    setup.parts.agents = (0..64).map(|n| agent(&format!("agent-{n}"), "alice", true)).collect();
    let shop = setup.parts.targets[0].clone();
    setup.parts.targets = (0..64)
        .map(|n| {
            let mut target = shop.clone();
            target.id = id(&format!("worker-{n}"));
            target
        })
        .collect();
    let stage = started(setup);
    let plans: Vec<Plan> = (0..64)
        .map(|n| {
            let proposal = stage.proposal("flag.switch", &format!("worker-{n}"));
            let asked = ask_as(&stage, &decider(&format!("agent-{n}")), proposal).unwrap();
            assert_eq!(asked.decision.answer, Answer::Allow);
            asked.id
        })
        .collect();
    let results = wait(join_all(plans.iter().map(|plan| run(&stage.gate, plan))));
    let ran = results.iter().filter(|result| **result == Ok(State::Succeeded)).count();
    assert!(
        ran >= 1 && results.iter().all(|end| matches!(end, Ok(State::Succeeded | State::Void))),
        "{results:?}"
    );
    assert_eq!(most_open(&stage), 1, "two runs were open at once");
    assert_eq!(count(&stage, "claimed"), ran);
    audit(&stage);
}

/// How many runs were open at once, by the ledger.
fn most_open(stage: &Stage) -> usize {
    let (mut open, mut most) = (0_usize, 0);
    for record in stage.store.records() {
        match record.body {
            Body::Claimed { .. } => open += 1,
            Body::Succeeded { .. } | Body::Failed { .. } | Body::Undone { .. } | Body::UndoFailed { .. } => {
                open -= 1
            }
            _ => {}
        }
        most = most.max(open);
    }
    most
}

#[test]
fn inv03_a_run_in_doubt_keeps_its_neighbourhood_after_a_crash_too() {
    let mut stage = apart(APART);
    stage.world.apply(Deed::Partial);
    let plan = proposed(&stage, "flag.switch", "worker-1").id;
    assert_eq!(run_it(&stage, &plan), Ok(State::InDoubt));
    stage.restart();
    stage.clock.advance(Millis::secs(40 * 24 * 3_600));
    let denied = proposed(&stage, "flag.switch", "worker-2");
    assert_eq!((denied.decision.answer, neighbour(&denied).unwrap().why), (Answer::Deny, Nearness::Running));
}

/// A run that was claimed before anything kept runs apart, or while the dependencies were others.
#[test]
fn what_a_run_keeps_others_out_of_grows_with_the_limits_in_force() {
    let stage = apart(Neighbourhood::OFF);
    stage.world.apply(Deed::Partial);
    let plan = proposed(&stage, "flag.switch", "worker-1").id;
    assert_eq!(run_it(&stage, &plan), Ok(State::InDoubt));
    let under = |neighbourhood| {
        let mut setup = stage.setup.clone();
        setup.parts.limits = Limits::new(LimitsSpec { neighbourhood, ..LimitsSpec::default() }).unwrap();
        stage.gate.under(stage.gate.ports.clone(), setup.parts.check()).unwrap()
    };
    let shown = |neighbourhood| wait(in_force(&under(neighbourhood))).unwrap().limits;
    assert_eq!(shown(Neighbourhood::OFF), []);
    let apart = shown(APART);
    let [InForce::Busy { plan: theirs, area, why: Nearness::Running, .. }] = apart.as_slice() else {
        panic!("{apart:?}")
    };
    let (_, service) = stage.gate.controls.inventory.target(&id("worker-1")).unwrap();
    assert!(*theirs == plan && area.services.contains(&service.id), "{area:?}");
}

#[test]
fn two_agents_do_not_act_at_once_on_what_falls_together_though_neither_needs_the_other() {
    let mut setup = several();
    let on = |target: &mut Target, node: &str| {
        target.shares.insert(SharedKind::Node, ids(&[node]));
    };
    for target in &mut setup.parts.targets {
        let node = if ["worker-1", "payments-1"].contains(&target.id.as_str()) { "n1" } else { "n2" };
        on(target, node);
    }
    let cool_down_ms = Millis::secs(30);
    let neighbourhood = Neighbourhood { depth: 0, cool_down_ms, ..APART };
    setup.parts.limits = Limits::new(LimitsSpec { neighbourhood, ..LimitsSpec::default() }).unwrap();
    let stage = started(setup);
    let scout =
        |target: &str| ask_as(&stage, &decider("scout"), stage.proposal("flag.switch", target)).unwrap();
    // Its permit is older than the run next door.
    let early = proposed(&stage, "flag.switch", "payments-1");
    assert_eq!((early.decision.answer, neighbour(&early)), (Answer::Allow, None));
    let first = proposed(&stage, "flag.switch", "worker-1").id;
    let mut running = Box::pin(run(&stage.gate, &first));
    poll_until(&stage, &mut running, "applying");
    let denied = scout("payments-1");
    let busy = Neighbour {
        plan: first.clone(),
        service: None,
        shared: Some(Shared { kind: SharedKind::Node, name: id("n1") }),
        why: Nearness::Running,
        until_ms: None,
    };
    assert_eq!((denied.decision.answer, neighbour(&denied)), (Answer::Deny, Some(&busy)));
    assert_eq!(run_it(&stage, &early.id), Ok(State::Void), "a permit is no way past it");
    assert_eq!(neighbour(&scout("orders-1")), None, "another node");
    assert_eq!(wait(running), Ok(State::Succeeded));
    let cooling = scout("payments-1");
    assert_eq!(neighbour(&cooling).map(|near| near.why), Some(Nearness::CoolingDown));
    stage.clock.advance(cool_down_ms);
    assert_eq!(proposed(&stage, "flag.switch", "payments-1").decision.answer, Answer::Allow);
    audit(&stage);
}

/// A run that was claimed before the inventory said what its target falls with.
#[test]
fn what_falls_together_is_as_the_inventory_of_now_says() {
    let stage = apart(APART);
    stage.world.apply(Deed::Partial);
    let plan = proposed(&stage, "flag.switch", "worker-1").id;
    assert_eq!(run_it(&stage, &plan), Ok(State::InDoubt));
    let mut setup = stage.setup.clone();
    for target in &mut setup.parts.targets {
        target.shares.insert(SharedKind::BackupDomain, ids(&["vault"]));
    }
    let gate = stage.gate.under(stage.gate.ports.clone(), setup.parts.check()).unwrap();
    let shown = wait(in_force(&gate)).unwrap().limits;
    let [InForce::Busy { area, .. }] = shown.as_slice() else { panic!("{shown:?}") };
    let vault = Shared { kind: SharedKind::BackupDomain, name: id("vault") };
    assert_eq!(area.shares, [vault].into());
}

#[test]
fn after_a_run_nothing_else_touches_it_for_a_while_and_then_a_person_looks_first() {
    let stage = apart(Neighbourhood { cool_down_ms: Millis::secs(30), soak_ms: Millis::secs(300), ..APART });
    let plan = proposed(&stage, "flag.switch", "worker-1").id;
    assert_eq!(run_it(&stage, &plan), Ok(State::Succeeded));
    let cooling = proposed(&stage, "flag.switch", "worker-2");
    let near = neighbour(&cooling).unwrap();
    assert_eq!((cooling.decision.answer, near.why), (Answer::Deny, Nearness::CoolingDown));
    stage.clock.advance(near.until_ms.unwrap().since(stage.gate.ports.clock.now()));
    // What is wrong now may be what we did: whoever wants to act on it needs a person.
    let ours = proposed(&stage, "flag.switch", "worker-2");
    assert_eq!((ours.decision.answer, ours.decision.tier), (Answer::Hold, Tier::T3));
    assert_eq!(ours.facts.first().brakes.own_doing, Some(plan));
    stage.clock.advance(Millis::secs(300));
    let later = proposed(&stage, "flag.switch", "worker-2");
    assert_eq!((later.decision.answer, &later.facts.first().brakes.own_doing), (Answer::Allow, &None));
    audit(&stage);
}

#[test]
fn what_failed_without_an_effect_leaves_nothing_to_settle() {
    let stage = apart(Neighbourhood { cool_down_ms: Millis::secs(30), soak_ms: Millis::secs(300), ..APART });
    stage.world.rehearse(Deed::Refuses);
    let plan = proposed(&stage, "flag.switch", "worker-1").id;
    assert_eq!(run_it(&stage, &plan), Ok(State::Failed));
    stage.world.rehearse(Deed::Works);
    let next = proposed(&stage, "process.restart", "worker-2");
    assert_eq!((neighbour(&next), &next.facts.first().brakes.own_doing), (None, &None));
}

#[test]
fn t38_a_breaker_stops_what_goes_badly_until_people_let_it_go_on() {
    let breaker = Breaker { bad: 2, window_ms: Millis::secs(3_600) };
    let stage = stage(LimitsSpec { breaker, neighbourhood: Neighbourhood::OFF, ..LimitsSpec::default() });
    let open = |action: &str| {
        let asked = proposed(&stage, action, "worker-3");
        let rules: Vec<_> = asked.decision.reasons.iter().map(|reason| reason.rule.to_string()).collect();
        (rules.contains(&"breaker-open".to_owned()), asked.decision.answer)
    };
    // Two agents, one bad run each: whoever asks next is stopped.
    stage.world.apply(Deed::NotDone);
    let plans: Vec<Plan> = [("healer", "worker-1"), ("mender", "worker-2")]
        .map(|(agent, target)| {
            ask_as(&stage, &decider(agent), stage.proposal("flag.switch", target)).unwrap().id
        })
        .into_iter()
        .collect();
    for (at, plan) in plans.iter().enumerate() {
        assert_eq!(open("flag.switch").0, at > 1);
        assert_eq!(run_it(&stage, plan), Ok(State::Failed));
    }
    assert_eq!(open("flag.switch"), (true, Answer::Deny));
    assert!(!open("process.restart").0, "another action");
    assert_eq!(reviewed(&stage, "bob", &plans[0], super::reviews::YES), Ok(()));
    assert!(!open("flag.switch").0, "a person looked at one of them and let it go on");
    audit(&stage);
}

#[test]
fn a_spent_error_budget_and_one_that_nobody_can_tell_need_a_person() {
    let mut setup = several();
    let budget = ErrorBudget {
        id: id("shop-slo"),
        condition: id("budget.left"),
        services: ids(&["shop"]),
        environments: [].into(),
    };
    let spec = LimitsSpec {
        error_budgets: vec![budget],
        neighbourhood: Neighbourhood::OFF,
        ..LimitsSpec::default()
    };
    setup.parts.limits = Limits::new(spec).unwrap();
    setup.parts.conditions.push(holdpoint_app::fake::controls::condition("budget.left", 1));
    let stage = started(setup);
    for (truth, tier) in
        [(Truth::Holds, Tier::T2), (Truth::DoesNotHold, Tier::T3), (Truth::Indeterminate, Tier::T3)]
    {
        stage.world.probe("budget.left", Probe::Says(truth));
        let asked = proposed(&stage, "flag.switch", "worker-1");
        assert_eq!(asked.decision.tier, tier, "{truth:?}");
        let measured = wait(stage.view(&asked.id)).unwrap().records.iter().filter(|(_, record)| {
            matches!(&record.body, Body::Measured { evidence } if evidence.evidence.condition == id("budget.left"))
        }).count();
        assert_eq!(measured, 1, "what was measured is on record");
    }
    // It is measured again at the claim: spent meanwhile, a permit without a person is void.
    stage.world.probe("budget.left", Probe::Says(Truth::Holds));
    let plan = proposed(&stage, "flag.switch", "worker-1").id;
    stage.world.probe("budget.left", Probe::Says(Truth::DoesNotHold));
    assert_eq!(run_it(&stage, &plan), Ok(State::Void));
    assert_eq!(state(&stage, &plan), State::Void);
    // A service that it is not of is not measured.
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    stage.world.probe(
        "budget.left",
        Probe::Of(Box::new(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            Truth::DoesNotHold
        })),
    );
    assert_eq!(proposed(&stage, "flag.switch", "payments-1").facts.first().brakes.error_budget, None);
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    audit(&stage);
}
