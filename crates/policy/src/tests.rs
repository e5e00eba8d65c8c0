//! Tests of the crate as a whole, by what they prove.

mod evaluation;
mod guardrails;
mod loading;
mod remembered;
mod slicing;
mod starter;

use holdpoint_domain::{
    Id, Millis, Rung,
    decision::{Answer, Ladder, Verdict, decide},
    facts::Facts,
    id::kind,
};

use crate::{Bundle, Deadline, Link, PolicyError, Schema, Source, Warning, sample};

/// An operator who allows everything to agents.
const ALLOW_ALL: &str = "@id(\"all\") permit (principal is Agent, action, resource);";

/// No time passes.
fn in_time() -> Deadline<'static> {
    Deadline::new(Millis::secs(1), &|| Millis::secs(0))
}

fn source(text: &str) -> Source {
    Source { name: "site.cedar".to_owned(), text: text.to_owned() }
}

fn try_load(text: &str, links: &[Link], schema: Schema) -> Result<(Bundle, Vec<Warning>), Vec<PolicyError>> {
    Bundle::load(&[source(text)], links, schema)
}

fn load(text: &str) -> Bundle {
    try_load(text, &[], sample::schema()).unwrap_or_else(|faults| panic!("{faults:#?}")).0
}

/// The messages of a bundle that is refused.
fn faults(text: &str) -> Vec<String> {
    try_load(text, &[], sample::schema()).err().unwrap().iter().map(ToString::to_string).collect()
}

fn ladder(bundle: &Bundle, facts: &Facts) -> Ladder {
    bundle.ladder(facts, in_time())
}

/// What the gate answers to a plan of one step.
fn answer(facts: &Facts, ladder: &Ladder) -> Answer {
    decide(&facts.clone().into(), std::slice::from_ref(ladder)).unwrap().answer
}

/// Which rungs allow, lowest first.
fn allows(bundle: &Bundle, facts: &Facts) -> [bool; 4] {
    let ladder = ladder(bundle, facts);
    Rung::ALL.map(|rung| ladder.on(rung).allows())
}

fn rules(ids: &[&str]) -> Vec<Id<kind::Rule>> {
    ids.iter().map(|id| sample::id(id)).collect()
}

fn deny(ids: &[&str]) -> Verdict {
    Verdict::Deny { rules: rules(ids) }
}

fn allow(ids: &[&str]) -> Verdict {
    Verdict::Allow { rules: rules(ids) }
}

fn error(ids: &[&str]) -> Verdict {
    Verdict::Error { rules: rules(ids) }
}
