//! What everybody is told: no rule of an operator chooses it, filters it or drops it.

use holdpoint_app::{
    break_glass::{Emergency, break_glass},
    fake::{Policy, Setup, Stage, controls::id, controls::ids, session},
    notify::{Event, Route, Rules, Subject, Told, Who, Why},
};
use holdpoint_domain::{Rung, Tier, flow::State};

use super::{
    notifications::{Post, people, route, rules, told},
    support::{Plan, approved, decide, run_it, started, wait},
};

/// Two channels; one of them stands in no rule.
fn everybody() -> Told {
    told(&["mail", "siren"], vec![people(&["alice", "bob", "carol"])])
}

/// Rules that hear of nothing of this, each in another way.
fn silent() -> Vec<(&'static str, Rules)> {
    let all = route(&Event::ALL, told(&["mail"], vec![people(&["alice"])]));
    let one = |route: Route| Rules { everybody: everybody(), ..rules(vec![route]) };
    vec![
        ("no rules", Rules { everybody: everybody(), ..rules(Vec::new()) }),
        ("another event", one(route(&[Event::Halted], told(&["mail"], Vec::new())))),
        ("another environment", one(Route { environments: ids(&["nowhere"]), ..all.clone() })),
        ("another team", one(Route { teams: ids(&["nobodys"]), ..all.clone() })),
        ("another tier", one(Route { tiers: [Tier::T1].into(), ..all })),
    ]
}

/// Alice breaks the glass over `worker-1`.
fn opened(stage: &Stage) -> (Plan, holdpoint_domain::approval::HoldTerms) {
    let wanted = Emergency {
        action: id("process.restart"),
        target: id("worker-1"),
        params: Default::default(),
        incident: Some(id("inc-1")),
        reason: "CANARY the checkout is down".to_owned(),
    };
    let done = wait(break_glass(&stage.gate, &session("alice"), wanted)).unwrap();
    (done.id, done.terms.unwrap())
}

#[test]
fn no_rule_drops_what_goes_round_policy() {
    for (how, rules) in silent() {
        let stage = started(Setup { policy: Policy::From(Rung::T4), ..Setup::default() });
        let post = Post::open(&stage, rules);
        post.round();
        let (plan, terms) = opened(&stage);
        post.round();
        let twice = ["mail: break_glass alice+bob+carol", "siren: break_glass alice+bob+carol"];
        assert_eq!(post.told(), twice, "{how}: asked for");
        approved(&stage, "alice", &terms);
        approved(&stage, "bob", &terms);
        assert_eq!(run_it(&stage, &plan), Ok(State::Succeeded));
        post.round();
        let said: Vec<_> = post.told().into_iter().filter(|line| line.contains(": break_glass")).collect();
        assert_eq!(said, twice, "{how}: runs");
    }
}

#[test]
fn an_emergency_is_told_with_who_asked_and_none_of_their_words() {
    let stage = started(Setup { policy: Policy::From(Rung::T4), ..Setup::default() });
    let post = Post::open(&stage, Rules { everybody: everybody(), ..rules(Vec::new()) });
    post.round();
    let (plan, terms) = opened(&stage);
    post.round();
    let asked = post.messages().pop().unwrap();
    assert_eq!((&asked.about.by, asked.about.why), (&Some(id("alice")), Some(Why::GlassAsked)));
    assert!(matches!(&asked.about.subject, Subject::Plan { plan: about, .. } if *about == plan));
    assert!(!serde_json::to_string(&asked).unwrap().contains("CANARY"));
    approved(&stage, "bob", &terms);
    approved(&stage, "carol", &terms);
    run_it(&stage, &plan).unwrap();
    post.round();
    let runs = post.messages().into_iter().find(|message| message.event == Event::BreakGlass).unwrap();
    assert_eq!(runs.about.why, Some(Why::GlassRuns));
    assert_ne!(runs.id, asked.id);
}

#[test]
fn an_answer_withdraws_no_word_of_an_emergency_that_a_dead_channel_keeps() {
    let stage = started(Setup { policy: Policy::From(Rung::T4), ..Setup::default() });
    let post = Post::open(&stage, Rules { everybody: everybody(), ..rules(Vec::new()) });
    post.round();
    post.dies("siren");
    let (_, terms) = opened(&stage);
    post.round();
    decide(&stage, "bob", &terms, holdpoint_domain::approval::Choice::Reject).unwrap();
    post.round();
    assert_eq!(post.told(), ["mail: break_glass alice+bob+carol"]);
    assert_eq!(post.teller().state_of(&id("siren")).waiting, 1);
}

#[test]
fn a_first_start_tells_an_emergency_that_waits_and_none_that_is_over() {
    let stage = started(Setup { policy: Policy::From(Rung::T4), ..Setup::default() });
    let (_, over) = opened(&stage);
    decide(&stage, "bob", &over, holdpoint_domain::approval::Choice::Reject).unwrap();
    let post = Post::open(&stage, Rules { everybody: everybody(), ..rules(Vec::new()) });
    post.round();
    assert_eq!(post.told(), [] as [&str; 0]);
    opened(&stage);
    let post = Post::open(&stage, Rules { everybody: everybody(), ..rules(Vec::new()) });
    post.round();
    assert_eq!(post.told().len(), 2);
}

#[test]
fn what_a_rule_says_beside_it_is_said_once() {
    let stage = started(Setup { policy: Policy::From(Rung::T4), ..Setup::default() });
    let too = route(&[Event::BreakGlass], told(&["mail"], vec![Who::OnCall(id("primary"))]));
    let post = Post::open(&stage, Rules { everybody: everybody(), ..rules(vec![too]) });
    post.round();
    opened(&stage);
    post.round();
    assert_eq!(post.told().len(), 2);
}
