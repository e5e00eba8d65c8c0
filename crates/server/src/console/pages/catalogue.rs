//! The catalogue: every action with the operator's facts about it, and the floors that follow from them.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Response};
use holdpoint_app::gate::Gate;
use holdpoint_domain::{
    action,
    guardrail::{GUARDRAILS, static_floors},
    trigger::{Check, Condition, PromqlCheck},
};

use super::page;
use crate::{
    console::{
        Console,
        admit::Visitor,
        frame::Frame,
        show::{list, span, tame, word_of},
    },
    http::Problem,
};

#[derive(Template)]
#[template(path = "catalogue.html")]
struct Page {
    frame: Frame,
    digest: String,
    actions: Vec<Action>,
    conditions: Vec<Checked>,
}

struct Action {
    id: String,
    title: String,
    tier: &'static str,
    meaning: &'static str,
    effect: String,
    undo: String,
    floors: Vec<String>,
    facts: Vec<(&'static str, String)>,
}

struct Checked {
    id: String,
    title: String,
    needs: u32,
    probes: Vec<String>,
}

/// `GET /catalogue`.
pub(in crate::console) async fn show(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
) -> Result<Response, Problem> {
    let gate = console.door.service.gate();
    page(&Page {
        frame: Frame::new(&console, Some(&visitor), "/catalogue").await,
        digest: gate.inputs.catalogue.to_string(),
        actions: gate.controls.catalogue.actions().map(one).collect(),
        conditions: conditions(&gate),
    })
}

fn one(action: &action::Action) -> Action {
    let floors = static_floors(action).into_iter().map(|(rule, tier)| {
        let fact = GUARDRAILS.iter().find(|guardrail| guardrail.id == rule).map_or(rule, |found| found.fact);
        format!("not below {tier}: {fact} ({rule})")
    });
    let touches =
        action.touches.iter().map(|(state, effect)| format!("{} {}", word_of(effect), word_of(state)));
    let params = action.params.iter().map(|(name, spec)| format!("{name}: {spec}"));
    let asked = action.approvals.as_ref();
    let waits_for = asked.map_or_else(|| "the people of the tier".to_owned(), ToString::to_string);
    let cap = action.cap;
    let facts = vec![
        ("Executor", action.executor.to_string()),
        ("Groups", list(action.all_groups())),
        (
            "Twice",
            if action.idempotent { "is the same as once" } else { "is not the same as once" }.to_owned(),
        ),
        ("Touches", list(touches)),
        ("Parameters", list(params)),
        ("Because of", list(&action.triggers)),
        (
            "Verified by",
            format!("{} for {}, within {}", action.verify, span(action.soak_ms), span(action.settle_ms)),
        ),
        ("Undo armed for", span(action.undo_window_ms)),
        ("Waits for", waits_for),
        (
            "At most",
            format!(
                "{} targets, {} services, {} critical, {} environments, {} % of replicas",
                cap.targets, cap.services, cap.critical, cap.environments, cap.replica_share_percent
            ),
        ),
    ];
    Action {
        id: action.id.to_string(),
        title: tame(&action.title),
        tier: action.tier.as_str(),
        meaning: action.tier.meaning(),
        effect: word_of(&action.reversibility),
        undo: word_of(&action.undo),
        floors: floors.collect(),
        facts,
    }
}

/// The conditions that actions name, each once.
fn conditions(gate: &Gate) -> Vec<Checked> {
    let actions = gate.controls.catalogue.actions();
    let named: std::collections::BTreeSet<_> = actions
        .flat_map(|action| action.triggers.iter().chain([&action.verify]).chain(&action.guards))
        .collect();
    let found = named.into_iter().filter_map(|id| gate.controls.catalogue.condition(id));
    found.map(condition).collect()
}

fn condition(condition: &Condition) -> Checked {
    let probes = condition.probes.iter().map(|probe| {
        let check = match &probe.check {
            Check::Http { expect } => format!("HTTP, {}", word_of(expect)),
            Check::Tcp { expect } => format!("TCP, {}", word_of(expect)),
            Check::Process { expect } => format!("process, {}", word_of(expect)),
            Check::Prometheus { metric, is, max_age_ms, .. } => {
                format!("metric {}, {}, at most {} old", tame(metric), word_of(is), span(*max_age_ms))
            }
            Check::Promql(check) => {
                let PromqlCheck { query, is, max_age_ms, for_ms, .. } = check;
                let lasting = for_ms.map(|time| format!(", for {}", span(time))).unwrap_or_default();
                format!("PromQL {}, {}{lasting}, at most {} old", tame(query), word_of(is), span(*max_age_ms))
            }
            Check::HttpJson(check) => format!("JSON {}, {}", tame(&check.path), word_of(&check.is)),
            Check::Sql(check) => format!("SQL {}, {}", tame(&check.statement), word_of(&check.is)),
            Check::Alertmanager(check) => {
                let alerts = tame(&check.matchers.join(", "));
                format!("alerts {alerts}, {}, at most {} old", word_of(&check.expect), span(check.max_age_ms))
            }
        };
        format!("{}: {check}, within {}", probe.endpoint, span(probe.timeout_ms))
    });
    Checked {
        id: condition.id.to_string(),
        title: tame(&condition.title),
        needs: condition.needs,
        probes: probes.collect(),
    }
}
