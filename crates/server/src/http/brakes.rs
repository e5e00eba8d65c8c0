//! What holds plans back now, in words: which rule, what it concerns, until when, and who lifts it.

use holdpoint_app::brakes::{InForceNow, Suspension};
use holdpoint_domain::{
    facts::{Nearness, Tripped},
    guardrail::{Demand, GUARDRAILS},
    limits::{Area, InForce},
};

use super::wire::Brake;
use crate::moment::clock_time;

/// Most services of an area that are named.
const MAX_NAMED: usize = 5;

/// Who or what lifts each of these rules, as in `docs/operations.md`.
const LIFTED_BY: [(&str, &str); 11] = [
    ("halted", "an administrator: `holdpoint resume`"),
    ("frozen", "its end, or administrators by a change of the limits"),
    ("over-budget", "time, or the end of the runs that it waits for"),
    ("over-plan-limit", "a smaller plan, or administrators by a change of the limits"),
    ("neighbourhood-busy", "the end of that run and its cool-down; one in doubt, by `holdpoint resolve`"),
    ("breaker-open", "the window, or people who answer the reviews of those runs with \"may go on\""),
    ("own-doing", "the soak, or the person who approves"),
    ("error-budget-spent", "budget that is left when it is measured, or the person who approves"),
    ("suspended", "people who answer the review"),
    ("dependencies-unread", "the next reading, or the person who approves"),
    ("input-refused", "an operator who puts the activated file back"),
];

/// Who or what lifts a rule.
fn lifted_by(rule: &str) -> &'static str {
    let row = LIFTED_BY.iter().find(|(id, _)| *id == rule);
    row.map_or("administrators by a change of the control inputs", |(_, by)| by)
}

/// Everything that holds plans back, what denies first.
pub(crate) fn told(now: InForceNow) -> Vec<Brake> {
    let InForceNow { halt, refused_inputs, dependencies_unread, suspends, limits } = now;
    let halted = halt.map(|halt| {
        let by = halt.by.map_or_else(|| "whoever wrote the latch file".to_owned(), |by| by.to_string());
        brake("halted", format!("everything ({}), by {by}", halt.reach))
    });
    let refused = refused_inputs
        .into_iter()
        .map(|control| brake("input-refused", format!("on disk is another {control} than the one in force")));
    let unread = dependencies_unread.map(|unread| {
        let since = unread
            .read_at_ms
            .map_or_else(|| "never read".to_owned(), |at| format!("last read {}", clock_time(at)));
        brake("dependencies-unread", format!("`{}`, {since}", unread.source))
    });
    let mut all: Vec<_> = halted
        .into_iter()
        .chain(limits.into_iter().map(limit))
        .chain(suspends.into_iter().map(suspension))
        .chain(refused)
        .chain(unread)
        .collect();
    all.sort_by_key(|brake| !brake.denies);
    all
}

fn brake(rule: &str, fact: String) -> Brake {
    let guardrail = GUARDRAILS.iter().find(|guardrail| guardrail.id == rule);
    Brake {
        rule: rule.to_owned(),
        denies: guardrail.is_some_and(|guardrail| guardrail.demand == Demand::Deny),
        fact,
        plan: None,
        until_ms: None,
        lifted_by: lifted_by(rule).to_owned(),
    }
}

fn limit(found: InForce) -> Brake {
    match found {
        InForce::Frozen { freeze, environments, until_ms } => {
            let at = if environments.is_empty() {
                "all environments".to_owned()
            } else {
                named(environments.len(), environments.iter().map(ToString::to_string))
            };
            Brake { until_ms: Some(until_ms), ..brake("frozen", format!("`{freeze}`: {at}")) }
        }
        InForce::OverBudget { budget, of, until_ms } => {
            let of = if of.is_empty() { String::new() } else { format!(" of `{of}`") };
            Brake { until_ms, ..brake("over-budget", format!("`{budget}`{of}")) }
        }
        InForce::Busy { plan, area, why, until_ms } => {
            let why = match why {
                Nearness::Running => "its run is under way or in doubt",
                Nearness::CoolingDown => "its run has to settle",
            };
            let fact = format!("{}: {why}", services(&area));
            Brake { plan: Some(plan), until_ms, ..brake("neighbourhood-busy", fact) }
        }
        InForce::Soaking { plan, area, until_ms } => {
            let fact = format!("{}: what is seen there may be its doing", services(&area));
            Brake { plan: Some(plan), until_ms: Some(until_ms), ..brake("own-doing", fact) }
        }
        InForce::Broken(Tripped { action, environment, bad, until_ms }) => {
            let fact = format!("{bad} bad runs of `{action}` in `{environment}`");
            Brake { until_ms, ..brake("breaker-open", fact) }
        }
    }
}

fn suspension(of: Suspension) -> Brake {
    let agents = named(of.agents.len(), of.agents.iter().map(ToString::to_string));
    let actions = named(of.actions.len(), of.actions.iter().map(ToString::to_string));
    let fact = format!("agent {agents} does {actions} by itself no more: a review is owed");
    Brake { plan: Some(of.plan), ..brake("suspended", fact) }
}

fn services(area: &Area) -> String {
    if area.everywhere {
        return "all services, because it disturbs more than are listed".to_owned();
    }
    let services = named(area.services.len(), area.services.iter().map(ToString::to_string));
    if area.shares.is_empty() {
        return services;
    }
    let shares = area.shares.iter().map(|shared| format!("{} {}", shared.kind.word(), shared.name));
    format!("{services}; and whatever shares {}", named(area.shares.len(), shares))
}

/// The first few of them, and how many more there are.
fn named(count: usize, all: impl Iterator<Item = String>) -> String {
    let first: Vec<_> = all.take(MAX_NAMED).map(|name| format!("`{name}`")).collect();
    let more = count.saturating_sub(first.len());
    let first = first.join(", ");
    if more == 0 { first } else { format!("{first} and {more} more") }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use holdpoint_domain::{
        Id,
        fate::{Shared, SharedKind},
    };

    use super::*;

    #[test]
    fn who_lifts_a_brake_is_said_as_the_documentation_says_it() {
        let documented = include_str!("../../../../docs/operations.md");
        for (rule, by) in LIFTED_BY {
            let guardrail = GUARDRAILS.iter().find(|guardrail| guardrail.id == rule);
            let does = if guardrail.unwrap().demand == Demand::Deny { "denies" } else { "asks for a person" };
            let row = documented.lines().find(|line| line.starts_with(&format!("| `{rule}` | {does}")));
            assert!(row.unwrap().ends_with(&format!("| {by} |")), "{rule}");
        }
    }

    #[test]
    fn what_denies_comes_first_and_long_lists_are_counted() {
        let ids = |count: usize| (0..count).map(|number| Id::parse(&format!("s{number}")).unwrap());
        let area = |count| Area { services: ids(count).collect(), ..Area::default() };
        assert_eq!(services(&area(2)), "`s0`, `s1`");
        assert_eq!(services(&area(7)), "`s0`, `s1`, `s2`, `s3`, `s4` and 2 more");
        let node = Shared { kind: SharedKind::Node, name: Id::parse("n1").unwrap() };
        let shared = Area { shares: [node].into(), ..area(1) };
        assert_eq!(services(&shared), "`s0`; and whatever shares `node n1`");
        let plan = || Id::parse("plan-1").unwrap();
        let soaking = InForce::Soaking {
            plan: plan(),
            area: area(1),
            until_ms: holdpoint_domain::Timestamp::from_ms(1).unwrap(),
        };
        let busy = InForce::Busy { plan: plan(), area: area(1), why: Nearness::Running, until_ms: None };
        let now = InForceNow {
            halt: None,
            refused_inputs: BTreeSet::new(),
            dependencies_unread: None,
            suspends: Vec::new(),
            limits: vec![soaking, busy],
        };
        let told = told(now);
        let rules: Vec<_> = told.iter().map(|brake| (brake.rule.as_str(), brake.denies)).collect();
        assert_eq!(rules, [("neighbourhood-busy", true), ("own-doing", false)]);
        assert_eq!(told.first().unwrap().fact, "`s0`: its run is under way or in doubt");
    }
}
