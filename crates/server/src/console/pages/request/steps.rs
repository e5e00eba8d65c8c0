//! What would change: each step, before and after, as far as the gate has seen it.

use holdpoint_app::{gate::Gate, port::Field, view::PlanView};
use holdpoint_domain::{
    Id,
    facts::{Facts, PlanFacts},
    id::kind,
    plan::ParamValue,
};

use super::{operators, window};
use crate::console::show::{list, tame, word_of};

/// A step.
pub(super) struct Step {
    pub(super) number: usize,
    pub(super) action: String,
    pub(super) title: String,
    pub(super) target: String,
    pub(super) executor: String,
    pub(super) params: Vec<(String, String)>,
    /// All parameters as JSON, for whoever narrows the plan; and those that are numbers.
    pub(super) values: String,
    pub(super) numbers: Vec<(String, i64)>,
    /// What the observer saw, and what it would be afterwards: name, before, after.
    pub(super) changes: Vec<Change>,
    /// What the step would change, read from the target as the page was made.
    pub(super) fields: Vec<Change>,
    /// What whoever decides must know about that look.
    pub(super) warning: Option<String>,
    pub(super) effect: String,
    pub(super) twice: &'static str,
    pub(super) touches: String,
    pub(super) undo: &'static str,
    pub(super) has_undo: bool,
    pub(super) undo_kind: String,
    pub(super) undo_window: String,
    pub(super) verified: String,
    pub(super) facts: Vec<(&'static str, String)>,
}

/// One line of the difference.
pub(super) struct Change {
    pub(super) what: String,
    pub(super) before: String,
    pub(super) after: String,
    /// Both are names of digests: what they stand for, the gate does not know.
    pub(super) digest: bool,
    pub(super) same: bool,
}

/// All steps of a plan, in order. While it waits, its targets are looked at anew.
pub(super) async fn all(gate: &Gate, view: &PlanView, facts: &PlanFacts, waits: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    for (at, (step, facts)) in view.plan.steps().iter().zip(facts.steps()).enumerate() {
        let (fields, warning) = if waits { seen(gate, step).await } else { (Vec::new(), None) };
        steps.push(Step { fields, warning, ..one(gate, view, at, step, facts) });
    }
    steps
}

/// What a step would change of its target as it is now, and what to know about that. Nobody decides from it but people.
async fn seen(gate: &Gate, step: &holdpoint_domain::plan::Step) -> (Vec<Change>, Option<String>) {
    let action = gate.controls.catalogue.action(&step.action);
    let target = gate.controls.inventory.target(&step.target);
    let (Some(action), Some((target, _))) = (action, target) else { return (Vec::new(), None) };
    match gate.ports.observer.preview(action, target, step).await {
        Ok(None) => (Vec::new(), None),
        Ok(Some(preview)) => {
            let field = |field: Field| Change {
                what: tame(&field.name),
                same: field.before == field.after,
                before: tame(&field.before),
                after: tame(&field.after),
                digest: false,
            };
            let stale = preview.version != step.expected_version;
            let warning = match preview.refused {
                _ if stale => Some(
                    "The target has changed since this was decided: what stands here is another state, and the executor would refuse"
                        .to_owned(),
                ),
                Some(why) => Some(format!("As the target is now, the executor would refuse: {}", tame(&why))),
                None => None,
            };
            (preview.fields.into_iter().map(field).collect(), warning)
        }
        Err(err) => {
            let warning = format!(
                "The target could not be looked at as this page was made: {}",
                tame(&err.to_string())
            );
            (Vec::new(), Some(warning))
        }
    }
}

fn one(gate: &Gate, view: &PlanView, at: usize, step: &holdpoint_domain::plan::Step, facts: &Facts) -> Step {
    let action = gate.controls.catalogue.action(&step.action);
    let condition = action.and_then(|action| gate.controls.catalogue.condition(&action.verify));
    let title = condition.map_or_else(|| "nothing".to_owned(), |found| operators(&found.title));
    let verified = action.map_or_else(
        || "the catalogue does not have the action any more".to_owned(),
        |action| {
            format!(
                "{title} ({}), for {} without a break, within {}; otherwise it is undone",
                action.verify,
                window(action.soak_ms),
                window(action.settle_ms)
            )
        },
    );
    Step {
        number: at.saturating_add(1),
        action: step.action.to_string(),
        title: action.map_or_else(|| step.action.to_string(), |action| operators(&action.title)),
        target: step.target.to_string(),
        executor: action.map_or_else(|| "unknown".to_owned(), |action| action.executor.to_string()),
        params: step.params.iter().map(|(name, value)| (name.to_string(), setting(value))).collect(),
        values: serde_json::to_string(&step.params).unwrap_or_default(),
        numbers: step.params.iter().filter_map(number).collect(),
        changes: changes(view, at, step, facts, &title),
        fields: Vec::new(),
        warning: None,
        effect: word_of(&facts.action.reversibility),
        twice: if facts.action.idempotent { "the same as once" } else { "not the same as once" },
        touches: list(
            facts
                .action
                .touches
                .iter()
                .map(|(state, effect)| format!("{} {}", word_of(effect), word_of(state))),
        ),
        undo: undo(facts),
        has_undo: facts.has_undo(),
        undo_kind: word_of(&facts.action.undo),
        undo_window: action.map_or_else(String::new, |action| window(action.undo_window_ms)),
        verified,
        facts: about(facts),
    }
}

/// What the observer saw of the target, against what the plan says or what was observed afterwards.
fn changes(
    view: &PlanView,
    at: usize,
    step: &holdpoint_domain::plan::Step,
    facts: &Facts,
    condition: &str,
) -> Vec<Change> {
    let left = view.left.get(at);
    let version = Change {
        what: "Version".to_owned(),
        before: step.expected_version.to_string(),
        after: left.map_or_else(
            || "not known before it runs; it is measured and recorded then".to_owned(),
            ToString::to_string,
        ),
        digest: true,
        same: left == Some(&step.expected_version),
    };
    let mut changes = vec![version];
    if let Some(target) = &facts.target {
        let now = if target.down { "down" } else { "up" };
        changes.push(Change {
            what: "Observed".to_owned(),
            before: now.to_owned(),
            after: format!("measured afterwards: {condition}"),
            digest: false,
            same: false,
        });
    }
    changes
}

/// A parameter that is a whole number.
fn number((name, value): (&Id<kind::Param>, &ParamValue)) -> Option<(String, i64)> {
    match value {
        ParamValue::Int(int) => Some((name.to_string(), *int)),
        ParamValue::Bool(_) | ParamValue::Choice(_) | ParamValue::Secret(_) => None,
    }
}

/// A parameter's value, as it is set. A secret is not in the plan: only what commits to it.
fn setting(value: &ParamValue) -> String {
    match value {
        ParamValue::Int(int) => int.to_string(),
        ParamValue::Bool(bool) => bool.to_string(),
        ParamValue::Choice(word) => word.to_string(),
        ParamValue::Secret(commitment) => format!("a secret, committed to as {}", commitment.digest()),
    }
}

fn about(facts: &Facts) -> Vec<(&'static str, String)> {
    let Some(target) = &facts.target else {
        return vec![("Target", "the inventory does not know it".to_owned())];
    };
    let state =
        if target.stateless { "stateless: an instance can be lost" } else { "keeps state in its instances" };
    let mut lines = vec![
        ("Service", target.service.to_string()),
        ("Environment", target.environment.to_string()),
        ("Owner", format!("team {}", target.owner)),
        ("Criticality", target.criticality.as_str().to_owned()),
        ("Kind", state.to_owned()),
        (
            "Replicas",
            format!("{}, {} % of them out with this", target.replicas, facts.blast.replica_share_percent),
        ),
        ("Data", list(&target.data_classes)),
    ];
    if let Some(domain) = &target.data_domain {
        lines.push(("Data domain", domain.to_string()));
    }
    lines
}

/// What would take a step back, in words.
fn undo(facts: &Facts) -> &'static str {
    match (facts.has_undo(), facts.action.undo.restores()) {
        (true, true) => "the gate can put the state before back: it was captured",
        (true, false) => "the target heals itself",
        (false, _) => "nothing would undo it",
    }
}

/// As [`undo`], for a whole plan: what its worst step says.
pub(in crate::console) fn undo_of_all(facts: &PlanFacts) -> &'static str {
    let worst = facts.steps().find(|step| !step.has_undo());
    undo(worst.unwrap_or_else(|| facts.first()))
}
