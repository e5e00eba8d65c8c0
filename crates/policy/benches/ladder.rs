//! How long a full ladder takes with 100, 1,000 and 10,000 rules of which equally many concern the request, beside one scan of
//! the same rules by Cedar itself.
//!
//! `cargo xtask bench` runs it and makes the table of docs/performance.md from what it prints: a key and a value on each line.
#![allow(
    missing_docs,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a benchmark prints, and stops when it breaks"
)]

use std::{
    hint::black_box,
    str::FromStr as _,
    time::{Duration, Instant},
};

use cedar_policy::{Authorizer, Context, Decision, Entities, EntityUid, PolicySet, Request};
use holdpoint_domain::{Millis, Rung};
use holdpoint_policy::{Bundle, Deadline, STARTER, Schema, Source};

#[path = "../src/sample.rs"]
mod sample;

/// Few enough to fit between two turns of the scheduler: the machine is shared.
const ROUNDS: u32 = 10;
const SAMPLES: usize = 300;

fn main() {
    for rules in [100, 1_000, 10_000] {
        let sources = bundle_of(rules);
        let (load, (bundle, _)) = timed(|| Bundle::load(&sources, &[], sample::schema()).unwrap());
        let facts = sample::facts();
        let deadline = Deadline::new(Millis::secs(1), &|| Millis::secs(0));
        let answers = bundle.ladder(&facts, deadline);
        assert!(answers.t2.allows() && !answers.t1.allows());
        let hits = bundle.explain(&facts).rungs.iter().map(|on| on.permits.len()).max().unwrap();
        assert_eq!(hits, 2, "equally many rules match, however many there are");
        let oversight = Rung::T2.oversight();
        println!("policy_load_ms_{rules} {:.0}", load.as_secs_f64() * 1e3);
        println!(
            "policy_ladder_us_{rules} {:.1}",
            median(|| drop(black_box(bundle.ladder_anew(black_box(&facts), deadline))))
        );
        println!(
            "policy_remembered_us_{rules} {:.1}",
            median(|| drop(black_box(bundle.ladder(black_box(&facts), deadline))))
        );
        println!(
            "policy_ask_us_{rules} {:.1}",
            median(|| drop(black_box(bundle.ask(black_box(&facts), &oversight, deadline))))
        );
        let (set, request, entities) = raw(&sources);
        let answer = Authorizer::new().is_authorized(&request, &set, &entities);
        assert_eq!(answer.decision(), Decision::Allow, "the raw scan is asked what we are asked");
        println!(
            "policy_raw_us_{rules} {:.1}",
            median(|| {
                drop(black_box(Authorizer::new().is_authorized(black_box(&request), &set, &entities)));
            })
        );
    }
}

/// The same rules and question for Cedar by itself: what a gate without an index would do on each rung.
fn raw(sources: &[Source]) -> (PolicySet, Request, Entities) {
    let text: String = sources.iter().map(|source| source.text.as_str()).collect();
    let set = PolicySet::from_str(&text).unwrap();
    let uid = |text: &str| EntityUid::from_str(text).unwrap();
    let context = serde_json::json!({
        "oversight": {"reviewPromised": true, "approvals": 0, "strong": false, "fresh": false},
        "trigger": {"proven": true},
        "undo": {"computed": true},
        "blast": {"services": 1, "critical": 0},
        "brakes": {"halted": false, "frozen": false},
    });
    let context = Context::from_json_value(context, None).unwrap();
    let (agent, action, target) =
        (uid(r#"Agent::"healer""#), uid(r#"Action::"process.restart""#), uid(r#"Target::"worker-1""#));
    let entities = serde_json::json!([
        {"uid": {"type": "Agent", "id": "healer"}, "attrs": {}, "parents": [{"type": "Team", "id": "sre-agents"}]},
        {"uid": {"type": "Action", "id": "process.restart"}, "attrs": {}, "parents": [{"type": "Action", "id": "restart"}]},
        {"uid": {"type": "Target", "id": "worker-1"}, "attrs": {"stateless": true, "environment": "production"},
         "parents": [{"type": "Environment", "id": "production"}]},
    ]);
    let entities = Entities::from_json_value(entities, None).unwrap();
    (set, Request::new(agent, action, target, context, None).unwrap(), entities)
}

/// The median of a call, in microseconds.
fn median(call: impl Fn()) -> f64 {
    let sample = || timed(|| (0..ROUNDS).for_each(|_| call())).0.as_secs_f64() * 1e6 / f64::from(ROUNDS);
    let mut samples: Vec<_> = (0..SAMPLES).map(|_| sample()).collect();
    samples.sort_by(f64::total_cmp);
    samples[SAMPLES / 2]
}

/// The starter, and rules for other teams and environments up to `rules`.
fn bundle_of(rules: usize) -> Vec<Source> {
    let mut text = String::new();
    for n in 0..rules {
        text.push_str(&format!(
            "@id(\"team-{n}\") permit (principal in Team::\"team-{n}\", action in Action::\"restart\", resource in \
             Environment::\"e{}\") when {{ resource.stateless && context.oversight.reviewPromised && context.trigger.proven }};\n",
            n % 7
        ));
    }
    let source = |name: &str, text: &str| Source { name: name.to_owned(), text: text.to_owned() };
    vec![source("starter.cedar", STARTER), source("teams.cedar", &text)]
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let done = work();
    (start.elapsed(), done)
}
