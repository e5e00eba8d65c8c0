//! Offboarding: whoever leaves takes along what waits in their name.

use holdpoint_app::{
    fake::{Deed, Setup, Stage, schedule::poll_at_most},
    gate::Gate,
    port::Clock as _,
    propose::propose,
    recover,
    run::run,
};
use holdpoint_domain::{Millis, decision::Worse, flow::State, record::Body};

use super::{
    delegations::chain,
    support::{audit, count, held, no_lease_lives, poll_until, proposed, started, state, wait},
};

/// The gate after a change took an agent out of the registry, in whose digest its name does not stand any more.
fn without(stage: &Stage, agent: &str) -> Gate {
    let mut setup = stage.setup.clone();
    setup.parts.agents.retain(|registered| registered.id.as_str() != agent);
    stage.gate.under(stage.gate.ports.clone(), setup.parts.check()).unwrap()
}

/// A stage whose `healer` is registered for a minute.
fn for_a_minute() -> Stage {
    let mut setup = Setup::default();
    let now = Stage::new(setup.clone()).clock.now();
    for agent in setup.parts.agents.iter_mut().filter(|agent| agent.id.as_str() == "healer") {
        agent.expires_at_ms = Some(now.plus(Millis::secs(60)).unwrap());
    }
    started(setup)
}

fn voided(stage: &Stage) -> Vec<Vec<Worse>> {
    let worse = |record: holdpoint_domain::record::Record| match record.body {
        Body::Voided { worse } => Some(worse),
        _ => None,
    };
    stage.store.records().into_iter().filter_map(worse).collect()
}

#[test]
fn t26_what_waits_for_people_or_for_its_start_ends_with_the_registration() {
    let stage = started(Setup::default());
    let (waiting, _) = held(&stage, "cache.drop", "worker-1");
    let permitted = proposed(&stage, "process.restart", "worker-2").id;
    assert_eq!(state(&stage, &permitted), State::Permitted);
    wait(recover::tick(&stage.gate)).unwrap();
    assert_eq!((state(&stage, &waiting), state(&stage, &permitted)), (State::Held, State::Permitted));

    let gate = without(&stage, "healer");
    wait(recover::tick(&gate)).unwrap();
    assert_eq!((state(&stage, &waiting), state(&stage, &permitted)), (State::Void, State::Void));
    assert_eq!(voided(&stage), [[Worse::RequesterGone], [Worse::RequesterGone]]);
    assert_eq!(wait(run(&gate, &permitted)).unwrap_err().rule, "not-permitted");
    wait(recover::tick(&gate)).unwrap();
    assert_eq!(count(&stage, "voided"), 2, "once is enough");
    audit(&stage);
}

#[test]
fn t25_a_registration_that_ends_is_an_offboarding() {
    let stage = for_a_minute();
    let (waiting, _) = held(&stage, "cache.drop", "worker-1");
    stage.clock.advance(Millis::secs(59));
    wait(recover::tick(&stage.gate)).unwrap();
    assert_eq!(state(&stage, &waiting), State::Held);
    stage.clock.advance(Millis::secs(1));
    wait(recover::tick(&stage.gate)).unwrap();
    assert_eq!(state(&stage, &waiting), State::Void);
    let refused = super::support::ask(&stage, "process.restart", "worker-1").unwrap_err();
    assert_eq!(refused.rule, "agent-expired");
    audit(&stage);
}

/// Between the decision and the claim: nobody has to have looked.
#[test]
fn inv02_a_permit_of_somebody_who_left_starts_nothing() {
    let stage = started(Setup::default());
    let plan = proposed(&stage, "process.restart", "worker-1").id;
    let gate = without(&stage, "healer");
    assert_eq!(wait(run(&gate, &plan)), Ok(State::Void));
    assert_eq!(voided(&stage), [[Worse::RequesterGone]]);
    assert!(stage.world.live_leases().is_empty());
    audit(&stage);
}

#[test]
fn inv08_the_lease_of_a_run_that_has_not_applied_ends() {
    let stage = started(Setup::default());
    let plan = proposed(&stage, "process.restart", "worker-1").id;
    let mut running = Box::pin(run(&stage.gate, &plan));
    poll_until(&stage, &mut running, "rehearsed");
    assert_eq!(stage.world.live_leases().len(), 1);
    let gate = without(&stage, "healer");
    wait(recover::tick(&gate)).unwrap();
    no_lease_lives(&stage);
    // What goes on meanwhile has no credential any more.
    assert!(poll_at_most(&mut running, 1_000_000).is_some());
    assert_eq!(state(&stage, &plan), State::Failed);
    audit(&stage);
}

/// What was applied is verified, or undone, to its end.
#[test]
fn inv02_whoever_leaves_does_not_take_the_undo_along() {
    let stage = started(Setup::default());
    stage.world.apply_at("worker-1", Deed::NoHelp);
    let plan = proposed(&stage, "flag.switch", "worker-1").id;
    let mut running = Box::pin(run(&stage.gate, &plan));
    poll_until(&stage, &mut running, "applied");
    let gate = without(&stage, "healer");
    wait(recover::tick(&gate)).unwrap();
    assert!(poll_at_most(&mut running, 1_000_000).is_some());
    assert!(matches!(state(&stage, &plan), State::Undone | State::Succeeded));
    audit(&stage);
}

#[test]
fn t26_an_agent_in_the_middle_of_the_chain_that_leaves_takes_its_plans_along() {
    let stage = started(Setup::default());
    let healer = chain(&stage);
    let plan = wait(propose(&stage.gate, &healer, stage.proposal("cache.drop", "worker-1"))).unwrap().id;
    wait(recover::tick(&stage.gate)).unwrap();
    assert_eq!(state(&stage, &plan), State::Held);
    wait(recover::tick(&without(&stage, "scout"))).unwrap();
    assert_eq!(state(&stage, &plan), State::Void);
    audit(&stage);
}

/// Between two changes nobody reads whole plans, but for a registration that ended.
#[test]
fn t25_an_agent_in_the_middle_whose_registration_ends_takes_its_plans_along() {
    let mut setup = Setup::default();
    let now = Stage::new(setup.clone()).clock.now();
    for agent in setup.parts.agents.iter_mut().filter(|agent| agent.id.as_str() == "scout") {
        agent.expires_at_ms = Some(now.plus(Millis::secs(60)).unwrap());
    }
    let stage = started(setup);
    let healer = chain(&stage);
    let plan = wait(propose(&stage.gate, &healer, stage.proposal("cache.drop", "worker-1"))).unwrap().id;
    wait(recover::tick(&stage.gate)).unwrap();
    stage.clock.advance(Millis::secs(30));
    wait(recover::tick(&stage.gate)).unwrap();
    assert_eq!(state(&stage, &plan), State::Held);
    stage.clock.advance(Millis::secs(30));
    wait(recover::tick(&stage.gate)).unwrap();
    assert_eq!(state(&stage, &plan), State::Void);
}
