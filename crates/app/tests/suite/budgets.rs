//! Budgets, freezes, and data with its backup: what holds back whoever asks, counted at the decision and again at the claim.

use futures_util::future::join_all;
use holdpoint_app::{
    fake::{
        Deed, Setup, Stage,
        controls::{id, ids, limits},
        decider,
    },
    gather::Wish,
    incidents::{self, Notice},
    propose::{Proposal, Proposed},
    run::run,
};
use holdpoint_domain::{
    Id, Millis,
    action::{Effect, ParamSpec, State as TrustState},
    decision::{Answer, Worse},
    facts::OverBudget,
    flow::State,
    id::kind,
    incident::REPEAT,
    limits::{Budget, DEFAULT_DELETE_WINDOW, Freeze, Limits, LimitsSpec, Per, PlanLimit, Starts},
    plan::ParamValue,
    record::{DoubtWhy, FailWhy},
};

use super::support::{
    Plan, approved, ask_as, audit, budgets, concurrent, count, poll_until, poll_until_step, proposed,
    proposed_all, run_it, several, started, state, wait,
};

const HOUR: Millis = Millis::secs(3_600);

fn windowed(max: u32) -> Budget {
    let starts = Some(Starts { max, window_ms: HOUR });
    Budget {
        id: id("hourly"),
        per: Per::Agent,
        environments: [].into(),
        concurrent: None,
        starts,
        steps: None,
    }
}

fn limited(limits: Limits) -> Stage {
    let mut setup = several();
    setup.parts.limits = limits;
    started(setup)
}

fn rules(proposed: &Proposed) -> Vec<&str> {
    proposed.decision.reasons.iter().map(|reason| reason.rule.as_str()).collect()
}

fn over_budget(proposed: &Proposed) -> Option<&OverBudget> {
    proposed.facts.first().brakes.over_budget.as_ref()
}

#[test]
fn a_budget_of_runs_at_once_frees_up_when_they_end() {
    let stage = limited(budgets(&[concurrent("one", 1)]));
    let first = proposed(&stage, "flag.switch", "worker-1").id;
    let second = proposed(&stage, "flag.switch", "worker-2").id;
    let mut running = Box::pin(run(&stage.gate, &first));
    poll_until(&stage, &mut running, "applying");
    // Neither decided nor claimed while it is open; nobody can say when that ends.
    let denied = proposed(&stage, "flag.switch", "worker-3");
    assert_eq!(denied.decision.answer, Answer::Deny);
    assert!(rules(&denied).contains(&"over-budget"));
    assert_eq!(over_budget(&denied), Some(&OverBudget { budget: id("one"), until_ms: None }));
    assert_eq!(run_it(&stage, &second), Ok(State::Void));
    let worse = wait(stage.view(&second)).unwrap().worse;
    let [Worse::Held { rules, brakes: Some(brakes) }] = worse.as_slice() else { panic!("{worse:?}") };
    assert_eq!(*rules, [id("over-budget")]);
    assert_eq!(brakes.over_budget.as_ref().map(|over| &over.budget), Some(&id("one")));
    assert_eq!(wait(running), Ok(State::Succeeded));
    let third = proposed(&stage, "flag.switch", "worker-3").id;
    assert_eq!(run_it(&stage, &third), Ok(State::Succeeded));
    audit(&stage);
}

#[test]
fn what_the_steps_of_a_plan_say_together_is_within_the_limit_of_one_plan() {
    let rows: Id<kind::Param> = id("rows");
    let sums = [(rows.clone(), 100)].into();
    let limit = PlanLimit {
        id: id("few-rows"),
        environments: [].into(),
        targets: None,
        services: None,
        critical: None,
        environments_touched: None,
        replica_share_percent: None,
        sums,
    };
    let mut setup = several();
    setup.parts.limits = Limits::new(LimitsSpec { plans: vec![limit], ..LimitsSpec::default() }).unwrap();
    let switch = setup.parts.action("flag.switch");
    switch.params = [(rows.clone(), ParamSpec::Int { min: 1, max: 90 })].into();
    let stage = started(setup);
    let ask = |counts: &[i64]| {
        let mut proposal = stage.proposal("flag.switch", "worker-1");
        let wish = proposal.steps.remove(0);
        let targets = ["worker-1", "worker-2"].map(id);
        proposal.steps = counts
            .iter()
            .zip(targets)
            .map(|(count, target)| Wish {
                target,
                params: [(rows.clone(), ParamValue::Int(*count))].into(),
                ..wish.clone()
            })
            .collect();
        ask_as(&stage, &decider("scout"), proposal).unwrap()
    };
    assert!(!rules(&ask(&[90])).contains(&"over-plan-limit"));
    assert!(!rules(&ask(&[50, 50])).contains(&"over-plan-limit"));
    let denied = ask(&[50, 51]);
    assert_eq!(denied.decision.answer, Answer::Deny);
    assert_eq!(denied.facts.first().brakes.plan_limit, Some(id("few-rows")));
}

#[test]
fn inv03_a_run_in_doubt_goes_on_taking_from_the_budget() {
    let mut stage = limited(budgets(&[concurrent("one", 1)]));
    stage.world.apply(Deed::Partial);
    let plan = proposed(&stage, "flag.switch", "worker-1").id;
    assert_eq!(run_it(&stage, &plan), Ok(State::InDoubt));
    assert_eq!(wait(stage.view(&plan)).unwrap().doubt, Some(DoubtWhy::OtherVersion));
    stage.restart();
    stage.clock.advance(Millis::secs(40 * 24 * 3_600));
    assert_eq!(proposed(&stage, "process.restart", "worker-2").decision.answer, Answer::Deny);
}

#[test]
fn a_budget_of_starts_frees_up_when_its_window_is_over_and_says_when() {
    let mut stage = limited(budgets(&[windowed(1)]));
    let plan = proposed(&stage, "flag.switch", "worker-1").id;
    let later = proposed(&stage, "flag.switch", "worker-2").id;
    assert_eq!(run_it(&stage, &plan), Ok(State::Succeeded));
    assert_eq!(run_it(&stage, &later), Ok(State::Void));
    stage.restart();
    let denied = proposed(&stage, "flag.switch", "worker-2");
    let until = over_budget(&denied).unwrap().until_ms.unwrap();
    assert_eq!(denied.decision.answer, Answer::Deny);
    // A clock that was set back does not empty the window.
    stage.clock.step_back(HOUR);
    assert_eq!(proposed(&stage, "flag.switch", "worker-2").decision.answer, Answer::Deny);
    stage.clock.advance(HOUR);
    let now = stage.gate.ports.clock.now();
    stage.clock.advance(Millis::new(until.since(now).ms() - 1).unwrap());
    assert_eq!(proposed(&stage, "flag.switch", "worker-2").decision.answer, Answer::Deny);
    stage.clock.advance(Millis::new(1).unwrap());
    let allowed = proposed(&stage, "flag.switch", "worker-2");
    assert_eq!(allowed.decision.answer, Answer::Allow);
    // Another agent has a budget of its own.
    let scout = ask_as(&stage, &decider("scout"), stage.proposal("flag.switch", "worker-3")).unwrap();
    assert_eq!(scout.decision.answer, Answer::Hold);
    audit(&stage);
}

#[test]
fn inv02_claims_at_the_same_moment_do_not_share_the_last_place() {
    for max in [1, 2] {
        for budget in [concurrent("places", max), windowed(max)] {
            let stage = limited(budgets(&[budget]));
            let targets = ["worker-1", "worker-2", "worker-3", "payments-1"];
            let plans: Vec<Plan> =
                targets.iter().map(|target| proposed(&stage, "flag.switch", target).id).collect();
            let results = wait(join_all(plans.iter().map(|plan| run(&stage.gate, plan))));
            let ran = results.iter().filter(|result| **result == Ok(State::Succeeded)).count();
            assert_eq!((ran, count(&stage, "claimed")), (max as usize, max as usize), "{results:?}");
            for (plan, result) in plans.iter().zip(&results) {
                assert!(matches!(result, Ok(State::Succeeded | State::Void)), "{result:?}");
                let effects = u32::from(*result == Ok(State::Succeeded));
                let target = wait(stage.view(plan)).unwrap().plan.steps()[0].target.to_string();
                assert_eq!(stage.world.thing(&target).effects, effects);
            }
            audit(&stage);
        }
    }
}

#[test]
fn several_plans_claimed_at_once_without_a_budget_all_run() {
    let stage = limited(limits(LimitsSpec::default()));
    let targets = ["worker-1", "worker-2", "worker-3", "payments-1"];
    let plans: Vec<Plan> = targets.iter().map(|target| proposed(&stage, "flag.switch", target).id).collect();
    let results = wait(join_all(plans.iter().map(|plan| run(&stage.gate, plan))));
    assert!(results.iter().all(|result| *result == Ok(State::Succeeded)), "{results:?}");
    audit(&stage);
}

/// A freeze of the production environment, so long after the beginning.
fn frozen(stage: &Stage, after: Millis) -> Limits {
    let from_ms = stage.gate.ports.clock.now().plus(after).unwrap();
    let until_ms = from_ms.plus(HOUR).unwrap();
    let freeze = Freeze { id: id("weekend"), environments: ids(&["production"]), from_ms, until_ms };
    limits(LimitsSpec { freezes: vec![freeze], ..LimitsSpec::default() })
}

#[test]
fn a_freeze_denies_what_changes_anything_until_it_ends() {
    let limits = frozen(&Stage::default(), Millis::secs(30));
    let stage = limited(limits);
    let plan = proposed(&stage, "flag.switch", "worker-1").id;
    stage.clock.advance(Millis::secs(30));
    assert_eq!(run_it(&stage, &plan), Ok(State::Void));
    let denied = proposed(&stage, "flag.switch", "worker-1");
    assert_eq!(denied.decision.answer, Answer::Deny);
    assert!(rules(&denied).contains(&"frozen"));
    // Looking is free.
    assert_eq!(proposed(&stage, "process.inspect", "worker-1").decision.answer, Answer::Allow);
    stage.clock.advance(HOUR);
    let plan = proposed(&stage, "flag.switch", "worker-1").id;
    assert_eq!(run_it(&stage, &plan), Ok(State::Succeeded));
    audit(&stage);
}

#[test]
fn a_freeze_that_begins_between_two_steps_undoes_and_does_not_wait_itself() {
    let limits = frozen(&Stage::default(), Millis::secs(30));
    let stage = limited(limits);
    let plan = proposed_all(&stage, &super::steps::THREE).id;
    let mut running = Box::pin(run(&stage.gate, &plan));
    poll_until_step(&stage, &mut running, "applied", 0);
    stage.clock.advance(Millis::secs(30));
    assert_eq!(wait(running), Ok(State::Undone));
    assert_eq!(stage.world.thing("worker-2").effects, 0);
    let whys: Vec<_> = stage
        .store
        .records()
        .into_iter()
        .filter_map(|record| match record.body {
            holdpoint_domain::record::Body::Undoing { why, .. } => Some(why),
            _ => None,
        })
        .collect();
    assert_eq!(whys, [FailWhy::Braked]);
    audit(&stage);
}

/// Orders and their backup, and an action that deletes a service's data.
fn with_backup() -> Setup {
    let mut setup = several();
    let orders = setup.parts.services[1].clone();
    let mut backup = orders.clone();
    (backup.id, backup.backup_of) = (id("backup"), ids(&["orders"]));
    setup.parts.services.push(backup);
    let mut target = setup.parts.targets[3].clone();
    (target.id, target.service) = (id("backup-1"), id("backup"));
    setup.parts.targets.push(target);
    let drop = setup.parts.action("cache.drop").clone();
    let touches = [(TrustState::CustomerData, Effect::Deletes)].into();
    setup.parts.actions.push(holdpoint_domain::action::Action { id: id("data.delete"), touches, ..drop });
    setup
}

fn delete(stage: &Stage, target: &str, incident: Option<&str>) -> Proposed {
    let incident = incident.map(id);
    let proposal = Proposal { incident, ..stage.proposal("data.delete", target) };
    ask_as(stage, &decider("healer"), proposal).unwrap()
}

fn is_denied(proposed: &Proposed) {
    assert_eq!(proposed.decision.answer, Answer::Deny);
    assert!(rules(proposed).contains(&"data-and-its-backup"), "{:?}", rules(proposed));
}

#[test]
fn t23_data_and_its_backup_are_not_deleted_in_two_plans() {
    for (first, second) in [("orders-1", "backup-1"), ("backup-1", "orders-1")] {
        let mut stage = started(with_backup());
        let deleted = delete(&stage, first, None);
        approved(&stage, "bob", deleted.terms.as_ref().unwrap());
        // Decided on while both are there, and approved: it is counted again at the claim.
        let waiting = delete(&stage, second, None);
        approved(&stage, "bob", waiting.terms.as_ref().unwrap());
        assert_eq!(run_it(&stage, &deleted.id), Ok(State::Succeeded));
        assert_eq!(run_it(&stage, &waiting.id), Ok(State::Void));
        stage.restart();
        is_denied(&delete(&stage, second, None));
        is_denied(&ask_as(&stage, &decider("scout"), stage.proposal("data.delete", second)).unwrap());
        assert_eq!(stage.world.thing(second).effects, 0);
        // Past the window, and within another incident, it is a matter of its own.
        stage.clock.advance(DEFAULT_DELETE_WINDOW);
        stage.clock.advance(HOUR);
        assert_eq!(delete(&stage, second, None).decision.answer, Answer::Hold);
        audit(&stage);
    }
}

#[test]
fn t23_within_one_incident_no_time_is_long_enough() {
    let stage = started(with_backup());
    let deleted = delete(&stage, "orders-1", Some("inc-1"));
    approved(&stage, "bob", deleted.terms.as_ref().unwrap());
    assert_eq!(run_it(&stage, &deleted.id), Ok(State::Succeeded));
    stage.clock.advance(Millis::secs(365 * 24 * 3_600));
    is_denied(&delete(&stage, "backup-1", Some("inc-1")));
    assert_eq!(delete(&stage, "backup-1", Some("inc-2")).decision.answer, Answer::Hold);
}

/// The window is over, the incident that the gate knows is not, and the agent calls it something else.
#[test]
fn t23_within_one_known_incident_another_name_deletes_no_backup() {
    let stage = started(with_backup());
    let names = ["orders", "backup"].map(str::to_owned).into();
    let notice = Notice { key: "g".to_owned(), firing: 1, names, more: false, words: "it burns".to_owned() };
    let hear = || wait(incidents::hear(&stage.gate, &id("prod-alerts"), &notice)).unwrap().incident;
    let known = hear();
    let deleted = delete(&stage, "orders-1", Some("mine-1"));
    approved(&stage, "bob", deleted.terms.as_ref().unwrap());
    assert_eq!(run_it(&stage, &deleted.id), Ok(State::Succeeded));
    let days = |days: u64| {
        for _ in 0..days {
            stage.clock.advance(REPEAT);
            hear();
        }
    };
    days(20);
    for named in [Some("mine-2"), Some(known.as_str()), None] {
        is_denied(&delete(&stage, "backup-1", named));
    }
    days(12);
    assert_eq!(delete(&stage, "backup-1", Some("mine-2")).decision.answer, Answer::Hold, "31 days are over");
}

#[test]
fn t23_data_and_its_backup_are_not_deleted_in_one_plan_or_at_one_moment() {
    let stage = started(with_backup());
    is_denied(&proposed_all(&stage, &[("data.delete", "orders-1"), ("data.delete", "backup-1")]));
    let plans = ["orders-1", "backup-1"].map(|target| delete(&stage, target, None));
    for plan in &plans {
        approved(&stage, "bob", plan.terms.as_ref().unwrap());
    }
    let results = wait(join_all(plans.iter().map(|plan| run(&stage.gate, &plan.id))));
    let mut ends: Vec<_> = results.into_iter().map(Result::unwrap).collect();
    ends.sort();
    assert_eq!(ends, [State::Void, State::Succeeded]);
    audit(&stage);
}

#[test]
fn t23_a_deletion_that_nobody_knows_the_end_of_counts_and_one_that_did_nothing_does_not() {
    for (deed, end, answer) in [
        (Deed::Partial, State::InDoubt, Answer::Deny),
        (Deed::NoHelp, State::UndoFailed, Answer::Deny),
        (Deed::NotDone, State::Failed, Answer::Hold),
    ] {
        let stage = started(with_backup());
        stage.world.apply(deed);
        let deleted = delete(&stage, "orders-1", None);
        approved(&stage, "bob", deleted.terms.as_ref().unwrap());
        assert_eq!(run_it(&stage, &deleted.id), Ok(end));
        assert_eq!(state(&stage, &deleted.id), end);
        assert_eq!(delete(&stage, "backup-1", None).decision.answer, answer, "{deed:?}");
    }
}
