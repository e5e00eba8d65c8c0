//! What a service graph shows is decided from; what nobody could read makes decisions stricter; and quiet is not gone.

use holdpoint_app::{
    dependencies::{HearError, hear, is_new, settle},
    fake::{Policy, Setup, Stage, controls::id},
    propose::Proposed,
    run::run,
};
use holdpoint_domain::{
    Millis, Rung, Tier, Timestamp,
    decision::{Answer, Worse},
    dependencies::{Dependency, HeardError, Observed, ServiceGraph, Unread},
    flow::State,
    graph::EdgeKind,
    limits::Limits,
};

use super::support::{approved, poll_until, proposed, run_it, several, started, wait};

fn traces() -> ServiceGraph {
    ServiceGraph {
        source: id("traces"),
        url: "http://127.0.0.1:9090".to_owned(),
        pin: None,
        every_ms: Millis::secs(15),
        max_age_ms: Millis::secs(60),
        keep_ms: Millis::secs(3_600),
        names: [].into(),
    }
}

fn setup() -> Setup {
    let mut setup = several();
    setup.parts.service_graphs = vec![traces()];
    for action in &mut setup.parts.actions {
        action.cap.services = 9;
        action.cap.critical = 9;
    }
    setup
}

fn now(stage: &Stage) -> Timestamp {
    stage.gate.ports.clock.now()
}

/// The graph shows these calls, written `web>shop`, as of now.
fn sees(stage: &Stage, calls: &[&str]) -> Result<(), HearError> {
    let call = |call: &&str| {
        let (dependent, on) = call.split_once('>').unwrap();
        Dependency { dependent: id(dependent), on: id(on), kind: EdgeKind::Calls }
    };
    let observed =
        Observed { calls: calls.iter().map(call).collect(), earlier: Some([].into()), rates: [].into() };
    hear(&stage.gate, &traces(), observed, now(stage))
}

fn services(proposed: &Proposed) -> Vec<&str> {
    proposed.facts.first().blast.services.iter().map(|id| id.as_str()).collect()
}

fn switch(stage: &Stage) -> Proposed {
    proposed(stage, "flag.switch", "worker-1")
}

#[test]
fn inv10_a_service_graph_that_was_never_read_or_not_for_too_long_needs_a_person() {
    let stage = started(setup());
    let blind = switch(&stage);
    assert_eq!((blind.decision.answer, blind.decision.tier), (Answer::Hold, Tier::T3));
    let unread = |asked: &Proposed| asked.facts.first().brakes.dependencies_unread.clone();
    assert_eq!(unread(&blind), Some(Unread { source: id("traces"), read_at_ms: None }));
    let rules: Vec<_> = blind.decision.reasons.iter().map(|reason| reason.rule.as_str()).collect();
    assert!(rules.contains(&"dependencies-unread"), "{rules:?}");

    let read_at = now(&stage);
    sees(&stage, &["web>shop"]).unwrap();
    let seeing = switch(&stage);
    assert_eq!((seeing.decision.answer, unread(&seeing)), (Answer::Allow, None));
    // Nobody answers any more: what was read stays, and is too old after a while.
    stage.clock.advance(Millis::secs(61));
    let stale = switch(&stage);
    assert_eq!((stale.decision.answer, stale.decision.tier), (Answer::Hold, Tier::T3));
    assert_eq!(unread(&stale), Some(Unread { source: id("traces"), read_at_ms: Some(read_at) }));
    assert_eq!(services(&stale), ["shop", "web"]);
    // A clock that was set back makes nothing young again.
    sees(&stage, &["web>shop"]).unwrap();
    stage.clock.step_back(Millis::secs(3_600));
    assert!(unread(&switch(&stage)).is_some());
}

#[test]
fn inv13_an_edge_that_only_a_service_graph_knows_counts_and_stays_when_it_is_quiet() {
    let stage = started(setup());
    sees(&stage, &["orders>shop"]).unwrap();
    let before = switch(&stage);
    assert_eq!(services(&before), ["orders", "shop"]);
    assert!(before.facts.first().blast.critical.is_empty());
    // Somebody whom the inventory does not know calls it, and then nobody does.
    sees(&stage, &["ghost>orders", "ghost>ghost"]).unwrap();
    let seen = switch(&stage);
    assert_eq!(services(&seen), ["ghost", "orders", "shop"]);
    let blast = &seen.facts.first().blast;
    assert_eq!((&blast.unknown, &blast.critical), (&[id("ghost")].into(), &[id("ghost")].into()));
    // The permit that was granted before it was seen is void, and says what came.
    assert_eq!(run_it(&stage, &before.id), Ok(State::Void));
    let worse = wait(stage.view(&before.id)).unwrap().worse;
    assert!(
        matches!(worse.as_slice(), [Worse::Disturbs { services, .. }] if *services == [id("ghost")].into()),
        "{worse:?}"
    );
    stage.clock.advance(Millis::secs(3_000));
    sees(&stage, &["web>payments"]).unwrap();
    assert_eq!(services(&switch(&stage)), ["ghost", "orders", "shop"]);
    settle(&stage.gate).unwrap();
    assert_eq!(services(&switch(&stage)), ["ghost", "orders", "shop"]);
    // After the time for which the operator keeps it, it is gone.
    stage.clock.advance(Millis::secs(3_000));
    sees(&stage, &["web>payments"]).unwrap();
    assert_eq!(services(&switch(&stage)), ["shop"]);
}

#[test]
fn what_was_heard_outlives_a_change_of_the_inputs_and_not_one_of_the_source() {
    let stage = started(setup());
    sees(&stage, &["orders>shop"]).unwrap();
    let same = stage.gate.under(stage.gate.ports.clone(), setup().parts.check()).unwrap();
    let direct = [id("shop")];
    let of = |gate: &holdpoint_app::gate::Gate| {
        let needs = gate.dependencies();
        needs.dependencies.dependents(&direct, &mut holdpoint_domain::graph::Scratch::new()).unwrap().len()
    };
    assert_eq!((of(&same), same.unread(&same.dependencies(), now(&stage))), (1, None));
    let mut elsewhere = setup();
    elsewhere.parts.service_graphs[0].url = "http://127.0.0.1:9091".to_owned();
    let elsewhere = stage.gate.under(stage.gate.ports.clone(), elsewhere.parts.check()).unwrap();
    assert_eq!(of(&elsewhere), 0);
    assert!(elsewhere.unread(&elsewhere.dependencies(), now(&stage)).is_some(), "it was never read there");
    assert!(matches!(hear(&elsewhere, &traces(), Observed::default(), now(&stage)), Err(HearError::Gone)));
}

/// What is quiet just as the gate starts is not gone: a caller that comes once a night is remembered by its source.
#[test]
fn inv13_a_restart_forgets_no_quiet_dependency() {
    let mut stage = started(setup());
    sees(&stage, &["ghost>orders", "orders>shop"]).unwrap();
    let quiet_since = now(&stage);
    stage.clock.advance(Millis::secs(3_000));
    stage.restart();
    let now_it_shows = |earlier| {
        let calls = [Dependency { dependent: id("orders"), on: id("shop"), kind: EdgeKind::Calls }].into();
        hear(&stage.gate, &traces(), Observed { calls, earlier, rates: [].into() }, now(&stage))
    };
    // Nobody takes what is shown now for all that there is.
    assert!(is_new(&stage.gate, &traces()));
    assert!(matches!(now_it_shows(None), Err(HearError::Heard(HeardError::NoPast))));
    assert!(switch(&stage).facts.first().brakes.dependencies_unread.is_some());
    let ghost = Dependency { dependent: id("ghost"), on: id("orders"), kind: EdgeKind::Calls };
    now_it_shows(Some([(ghost, quiet_since)].into())).unwrap();
    assert!(!is_new(&stage.gate, &traces()));
    let seen = switch(&stage);
    assert_eq!((services(&seen), seen.decision.answer), (vec!["ghost", "orders", "shop"], Answer::Allow));
    // And it goes when it would have gone.
    stage.clock.advance(Millis::secs(601));
    sees(&stage, &["orders>shop"]).unwrap();
    assert_eq!(services(&switch(&stage)), ["orders", "shop"]);
}

/// Nobody knows what needs a service while a source is unread: two plans that change something may touch anywhere.
#[test]
fn inv10_while_a_source_is_unread_no_two_runs_are_far_enough_apart() {
    let mut setup = setup();
    setup.parts.limits = Limits::default();
    let stage = started(setup);
    sees(&stage, &["web>shop"]).unwrap();
    let first = switch(&stage).id;
    let mut running = Box::pin(run(&stage.gate, &first));
    poll_until(&stage, &mut running, "applying");
    let apart = proposed(&stage, "flag.switch", "payments-1");
    assert_eq!(apart.facts.first().brakes.neighbour, None);
    stage.clock.advance(Millis::secs(61));
    let unread = proposed(&stage, "flag.switch", "payments-1");
    assert_eq!(unread.decision.answer, Answer::Deny);
    assert_eq!(unread.facts.first().brakes.neighbour.as_ref().unwrap().plan, first);
}

/// Whoever approved knew of a graph that was read; they did not see what nobody has read since.
#[test]
fn t08_an_approval_counts_for_the_dependencies_that_were_read() {
    let mut setup = setup();
    setup.policy = Policy::From(Rung::T3);
    let stage = started(setup);
    sees(&stage, &["web>shop"]).unwrap();
    stage.clock.advance(Millis::secs(40));
    let held = switch(&stage);
    assert_eq!(held.facts.first().brakes.dependencies_unread, None);
    approved(&stage, "bob", held.terms.as_ref().unwrap());
    stage.clock.advance(Millis::secs(21));
    assert_eq!(run_it(&stage, &held.id), Ok(State::Void));
    let worse = wait(stage.view(&held.id)).unwrap().worse;
    let [Worse::Held { rules, brakes: Some(_) }] = worse.as_slice() else { panic!("{worse:?}") };
    assert_eq!(*rules, [id("dependencies-unread")]);
}

#[test]
fn an_observation_that_is_none_changes_nothing() {
    let stage = started(setup());
    sees(&stage, &["orders>shop"]).unwrap();
    assert!(matches!(sees(&stage, &[]), Err(HearError::Heard(HeardError::Nothing))));
    let earlier = Timestamp::from_ms(now(&stage).ms() - 1).unwrap();
    let observed = Observed {
        calls: [Dependency { dependent: id("a"), on: id("b"), kind: EdgeKind::Calls }].into(),
        earlier: None,
        rates: [].into(),
    };
    let older = hear(&stage.gate, &traces(), observed, earlier);
    assert!(matches!(older, Err(HearError::Heard(HeardError::Older))));
    assert_eq!(services(&switch(&stage)), ["orders", "shop"]);
}
