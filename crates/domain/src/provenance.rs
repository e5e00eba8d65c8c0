//! Whose word each fact is, and why a field of a plan counts as clean or tainted.
//!
//! A field of a plan is clean only where the gate derived the same value itself; an agent's own declarations may add taint and
//! never remove it. Everything else in [`Facts`](crate::facts::Facts) is the operator's word or the gate's own measurement. Texts of
//! agents, logs, events, alerts and annotations are no facts: they have a class here because people are shown them.

use serde::{Deserialize, Serialize};

use crate::{
    facts::{Origin, PlanFacts, Provenance},
    trigger::Truth,
};

/// Who could have written a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Integrity {
    /// The operator: a control input that administrators approved.
    Operator,
    /// The gate, or its observer: measured or counted by itself.
    Measured,
    /// Whoever can write to a log, an event, an alert, a name, or an agent's context.
    AttackerWritable,
}

/// A value that a decision is made from, or that people are shown beside it, and whose word it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sourced {
    /// What it is.
    pub field: &'static str,
    /// Who could have written it.
    pub integrity: Integrity,
    /// Whether the decision takes it as it is, or as the agent's word alone; none for what no decision is made from.
    pub origin: Option<Origin>,
    /// Where it comes from.
    pub source: &'static str,
    /// Why it counts as that.
    pub why: &'static str,
}

impl Sourced {
    /// Whether it is a field of the plan: what the agent chose, unless the gate derived the same.
    #[must_use]
    pub fn is_of_the_plan(&self) -> bool {
        ["target", "action", "scope"].contains(&self.field)
    }
}

/// What every decision is made from beside the fields of the plan, and what none is.
const FIXED: [Sourced; 8] = [
    Sourced {
        field: "principal",
        integrity: Integrity::Operator,
        origin: Some(Origin::Clean),
        source: "verified identity, agent registry",
        why: "the gate verified the identity; what it may do stands in the registry",
    },
    Sourced {
        field: "action facts",
        integrity: Integrity::Operator,
        origin: Some(Origin::Clean),
        source: "catalogue",
        why: "reversibility, trust state, undo and caps are the catalogue's, never the agent's",
    },
    Sourced {
        field: "target facts",
        integrity: Integrity::Operator,
        origin: Some(Origin::Clean),
        source: "inventory",
        why: "service, environment, owner, criticality and data stand in the inventory",
    },
    Sourced {
        field: "target version",
        integrity: Integrity::Measured,
        origin: Some(Origin::Clean),
        source: "observer",
        why: "the observer read the target itself",
    },
    Sourced {
        field: "blast radius",
        integrity: Integrity::Operator,
        origin: Some(Origin::Clean),
        source: "dependency graph",
        why: "who needs whom is the union of what the operator's sources say; what they do not know counts as critical",
    },
    Sourced {
        field: "brakes",
        integrity: Integrity::Measured,
        origin: Some(Origin::Clean),
        source: "ledger, limits, clock",
        why: "the gate counts the runs that it recorded",
    },
    Sourced {
        field: "narrative",
        integrity: Integrity::AttackerWritable,
        origin: None,
        source: "agent",
        why: "the agent's words are shown to people, and nothing is decided from them",
    },
    Sourced {
        field: "incident",
        integrity: Integrity::AttackerWritable,
        origin: None,
        source: "agent",
        why: "which incident it is for is the agent's word; leaving it out or making one up frees no budget but its own",
    },
];

/// Whose word each part of a plan's decision is, the fields that the agent chose first. A field is tainted where it is in any step.
#[must_use]
pub fn of(facts: &PlanFacts) -> Vec<Sourced> {
    let origin = |of: fn(&Provenance) -> Origin| {
        let is_tainted = facts.steps().any(|step| of(&step.provenance) == Origin::Tainted);
        if is_tainted { Origin::Tainted } else { Origin::Clean }
    };
    let chosen = |field, origin, source, clean, tainted| Sourced {
        field,
        integrity: if origin == Origin::Clean { Integrity::Measured } else { Integrity::AttackerWritable },
        origin: Some(origin),
        source: if origin == Origin::Clean { source } else { "agent" },
        why: if origin == Origin::Clean { clean } else { tainted },
    };
    let mut all = vec![
        chosen(
            "target",
            origin(|from| from.target),
            "probes",
            "the gate's probes prove the trigger on this very target",
            "only the agent names it: the gate's probes do not prove that this target has the trouble",
        ),
        chosen(
            "action",
            origin(|from| from.action),
            "catalogue, probes",
            "the catalogue ties this action to the trigger that is proven",
            "only the agent chose it: the trigger that the catalogue ties to it is not proven",
        ),
        chosen(
            "scope",
            origin(|from| from.scope),
            "catalogue",
            "there is nothing to choose: the catalogue leaves no parameter open",
            "parameters or extent are the agent's choice: nothing that the gate measured leads to them",
        ),
        trigger(facts),
    ];
    all.extend(FIXED);
    all
}

fn trigger(facts: &PlanFacts) -> Sourced {
    let is = |truth: Truth| facts.steps().all(|step| step.trigger.agreement.truth == truth);
    let why = if is(Truth::Holds) {
        "as many independent sources as the condition needs say that it holds"
    } else if facts.steps().any(|step| step.trigger.agreement.truth == Truth::Indeterminate) {
        "nobody can tell: too few sources answered, or they contradict each other"
    } else {
        "the sources say that it does not hold"
    };
    Sourced {
        field: "trigger",
        integrity: Integrity::Measured,
        origin: Some(Origin::Clean),
        source: "probes of the catalogue",
        why,
    }
}
