//! The settings in force: digests of control inputs, limits, freezes, times and keys.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Response};
use holdpoint_app::{gate::Gate, port::Signer};
use holdpoint_domain::{
    Timestamp,
    change::Control,
    limits::{Budget, Freeze, Window},
};

use super::page;
use crate::{
    console::{
        Console,
        admit::Visitor,
        frame::Frame,
        show::{When, list, span, tame, word_of},
    },
    http::Problem,
};

#[derive(Template)]
#[template(path = "settings.html")]
struct Page {
    frame: Frame,
    controls: Vec<Input>,
    times: Vec<(&'static str, String)>,
    budgets: Vec<Limit>,
    freezes: Vec<Frozen>,
    keys: Vec<(&'static str, String)>,
    mode: &'static str,
}

struct Input {
    control: &'static str,
    digest: String,
    files: String,
    refused: bool,
}

struct Limit {
    id: String,
    per: String,
    environments: String,
    most: Vec<String>,
}

struct Frozen {
    id: String,
    environments: String,
    from: When,
    until: When,
    open: bool,
    over: bool,
}

/// `GET /settings`.
pub(in crate::console) async fn show(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
) -> Result<Response, Problem> {
    let (gate, now) = (console.door.service.gate(), console.now());
    let settings = &gate.settings;
    let times = vec![
        ("A hold waits for people", span(settings.hold_ms)),
        ("A permit waits for its start", span(settings.start_window_ms)),
        ("A deferred plan is measured every", span(settings.remeasure_ms)),
        ("and is given up after", span(settings.defer_ms)),
        ("A review is due within", span(settings.review_ms)),
        ("A result is measured every", span(settings.verify_every_ms)),
        ("A session ends when idle for", span(console.sitting.idle)),
        ("and in any case after", span(console.sitting.absolute)),
        ("The console is at", console.sitting.origin.as_str().to_owned()),
    ];
    let limits = &gate.controls.limits;
    let next = limits.calendars().iter().filter_map(|calendar| {
        let Window { from_ms, until_ms } = calendar.next(now)?;
        let (id, environments) = (calendar.id.clone(), calendar.environments.clone());
        Some(Freeze { id, environments, from_ms, until_ms })
    });
    page(&Page {
        frame: Frame::new(&console, Some(&visitor), "/settings").await,
        controls: controls(&gate),
        times,
        budgets: limits.budgets().iter().map(budget).collect(),
        freezes: limits.freezes().iter().cloned().chain(next).map(|freeze| frozen(&freeze, now)).collect(),
        keys: vec![
            ("Checkpoints of the log", gate.ports.log_key.to_string()),
            ("Permits", key(gate.ports.permit_key.as_ref())),
            ("Delegations", key(gate.ports.delegation_key.as_ref())),
            ("Evidence", key(gate.ports.evidence_key.as_ref())),
        ],
        mode: if settings.development {
            "development: drills may kill this gate, and the local issuer says who is who"
        } else {
            "production"
        },
    })
}

/// A public key, and its thumbprint.
fn key(signer: &dyn Signer) -> String {
    let key = signer.public_key();
    format!("{}, thumbprint {}", word_of(&key), key.thumbprint())
}

fn controls(gate: &Gate) -> Vec<Input> {
    let refused = gate.refused_inputs();
    let input = |control: Control| Input {
        control: control.as_str(),
        digest: control.of(&gate.inputs).to_string(),
        files: tame(&list(gate.ports.inputs.names(control))),
        refused: refused.contains(&control),
    };
    Control::ALL.into_iter().map(input).collect()
}

fn budget(budget: &Budget) -> Limit {
    let mut most = Vec::new();
    most.extend(budget.concurrent.map(|most| format!("{most} at once")));
    most.extend(
        budget.starts.as_ref().map(|starts| format!("{} starts in {}", starts.max, span(starts.window_ms))),
    );
    Limit {
        id: budget.id.to_string(),
        per: word_of(&budget.per),
        environments: everywhere(&budget.environments),
        most,
    }
}

fn frozen(freeze: &Freeze, now: Timestamp) -> Frozen {
    Frozen {
        id: freeze.id.to_string(),
        environments: everywhere(&freeze.environments),
        from: When::new(freeze.from_ms, now),
        until: When::new(freeze.until_ms, now),
        open: freeze.from_ms <= now && now < freeze.until_ms,
        over: freeze.until_ms <= now,
    }
}

fn everywhere<T: ToString>(environments: &std::collections::BTreeSet<T>) -> String {
    if environments.is_empty() {
        "everywhere".to_owned()
    } else {
        list(environments.iter().map(ToString::to_string))
    }
}
