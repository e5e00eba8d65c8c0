//! What the catalogue says, and what a plan can disturb.

use std::collections::{BTreeMap, BTreeSet};

use holdpoint_domain::{Tier, action, trigger};
use schemars::JsonSchema;

use super::{Name, Span, Words};

/// What a plan can disturb.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct Blast {
    /// Targets acted on directly.
    targets: BTreeSet<Name>,
    /// Services disturbed: those of the targets, and all that need them, at any distance.
    services: BTreeSet<Name>,
    /// Critical ones among them, unknown ones included.
    critical: BTreeSet<Name>,
    /// Dependants that the inventory does not know.
    unknown: BTreeSet<Name>,
    /// Environments of the services.
    environments: BTreeSet<Name>,
    /// The largest share of a service's replicas that is acted on, in percent, rounded up.
    replica_share_percent: u32,
}

/// The most that one plan with this action may disturb, whatever policy says.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct BlastCap {
    /// Targets acted on directly.
    targets: u32,
    /// Services disturbed, directly or through dependencies.
    services: u32,
    /// Critical services among them; unknown dependants count as critical.
    critical: u32,
    /// Environments that those services run in.
    environments: u32,
    /// Share of the replicas of a service, in percent.
    replica_share_percent: u32,
}

/// How many people must approve, and of which teams.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct Quorum {
    /// How many people, 1 to 9.
    #[schemars(range(min = 1, max = 9))]
    needed: u32,
    /// Of each group somebody of any of its teams, and another one for each.
    #[schemars(default, skip_serializing_if = "Vec::is_empty")]
    groups: Vec<BTreeSet<Name>>,
}

/// What of the approvals that a plan needs is missing.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct Missing {
    /// At least so many people more.
    approvals: u32,
    /// Groups of teams that nobody speaks for yet.
    #[schemars(default, skip_serializing_if = "Vec::is_empty")]
    groups: Vec<BTreeSet<Name>>,
}

/// An entry of the catalogue: the operator's facts about an action.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct Action {
    /// Dotted id, for instance `process.restart`.
    id: Name,
    /// One line for people.
    title: String,
    /// Groups for policy, beside those generated from the facts below.
    groups: BTreeSet<Name>,
    /// Which executor runs it.
    executor: Name,
    /// Whether its effect can be taken back.
    reversibility: Words<action::Reversibility>,
    /// Whether doing it twice is the same as once.
    idempotent: bool,
    /// Trust and guard state that it touches, and how.
    touches: BTreeMap<String, Words<action::Effect>>,
    /// The lowest tier it runs at.
    tier: Words<Tier>,
    /// Whom its plans wait for beyond the people of the tier.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    approvals: Option<Quorum>,
    /// Only adds: the named exception to "no undo needs a person".
    additive: bool,
    /// How it is undone.
    undo: Words<action::UndoKind>,
    /// How long the undo stays armed after the effect.
    undo_window_ms: Span,
    /// The most that one plan may disturb.
    cap: BlastCap,
    /// Parameters by name. All of them are required.
    params: BTreeMap<String, ParamSpec>,
    /// Conditions that can justify it.
    triggers: BTreeSet<Name>,
    /// The condition that must hold on the target afterwards.
    verify: Name,
    /// Conditions that must not get worse.
    guards: BTreeSet<Name>,
    /// How long `verify` must hold without a break before the run has succeeded.
    soak_ms: Span,
    /// How long the target may take to reach `verify` before the run is undone or failed.
    settle_ms: Span,
}

/// A parameter of an action.
#[derive(JsonSchema)]
#[schemars(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(in crate::http) enum ParamSpec {
    /// A whole number within bounds, both included.
    Int {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// Yes or no.
    Bool,
    /// One word out of a list.
    Choice {
        /// The words.
        of: BTreeSet<Name>,
    },
    /// A secret: stands in the plan as a salted commitment.
    Secret,
}

/// A checkable condition on a target, measured by the gate's own probes.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct Condition {
    /// Its id, for instance `process.hung`.
    id: Name,
    /// One line for people.
    title: String,
    /// How many independent sources must agree that it holds.
    needs: u32,
    /// What is measured.
    probes: Vec<Probe>,
}

/// One measurement. The endpoint's address comes from the inventory, everything else from the catalogue.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct Probe {
    /// Which endpoint of the target is asked.
    endpoint: Name,
    /// How long an answer may take.
    timeout_ms: Span,
    /// What is asked and what counts as "holds".
    check: Check,
}

/// What a probe asks.
#[derive(JsonSchema)]
#[schemars(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(in crate::http) enum Check {
    /// A GET of the endpoint's URL.
    Http {
        /// What must be seen.
        expect: Words<trigger::HttpExpect>,
    },
    /// A TCP connection to the endpoint's address.
    Tcp {
        /// What must be seen.
        expect: Words<trigger::TcpExpect>,
    },
    /// The operating system's view of a supervised process.
    Process {
        /// What must be seen.
        expect: ProcessExpect,
    },
    /// One sample of a Prometheus text exposition at the endpoint's URL.
    Prometheus {
        /// Metric name.
        metric: String,
        /// Labels that the sample must carry; `${target}` stands for the target's id.
        labels: BTreeMap<String, String>,
        /// How the value is compared.
        is: Comparison,
        /// A sample with an older time stamp is stale.
        max_age_ms: Span,
    },
    /// An expression that the Prometheus at the endpoint's URL evaluates.
    Promql {
        /// The expression, with parameters of the target.
        query: String,
        /// How its value is compared.
        is: Comparison,
        /// A selector of the samples that the expression is about.
        data: String,
        /// The oldest that any of those samples may be.
        max_age_ms: Span,
        /// It must have held for so long, at every step.
        #[schemars(default, skip_serializing_if = "Option::is_none")]
        for_ms: Option<Span>,
        /// The time between two steps.
        #[schemars(default, skip_serializing_if = "Option::is_none")]
        step_ms: Option<Span>,
        /// More series than this are too many to say which one is meant.
        at_most_series: u32,
    },
    /// Alerts of the Alertmanager at the endpoint's URL.
    Alertmanager {
        /// Matchers of the alerts that are meant.
        matchers: Vec<String>,
        /// What must be seen.
        expect: Words<trigger::AlertExpect>,
        /// Matchers of an alert that always fires.
        #[schemars(default, skip_serializing_if = "Vec::is_empty")]
        heartbeat: Vec<String>,
        /// An alert that nobody has sent again for longer is stale.
        max_age_ms: Span,
    },
    /// One value of the PostgreSQL database at the endpoint's address.
    Sql {
        /// One statement that answers one row of one column.
        statement: String,
        /// What its parameters stand for: `target`, `service`, `environment` or `label.NAME`.
        #[schemars(default, skip_serializing_if = "Vec::is_empty")]
        params: Vec<String>,
        /// What the value must be.
        is: Expected,
    },
    /// One value of the JSON document at the endpoint's URL.
    HttpJson {
        /// Where it is: a singular query of RFC 9535.
        path: String,
        /// What it must be.
        is: Expected,
    },
}

/// What a value must be.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub(in crate::http) enum Expected {
    /// A number above.
    Above(f64),
    /// A number below.
    Below(f64),
    /// A number that is equal.
    Equals(f64),
    /// Yes or no.
    Bool(bool),
    /// Exactly this text.
    Text(String),
}

/// What a process probe must see.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub(in crate::http) enum ProcessExpect {
    /// It runs.
    Running,
    /// It does not.
    NotRunning,
    /// It runs and its resident memory is above so many bytes.
    RssAbove(u64),
    /// It runs and its resident memory is at most so many bytes.
    RssAtMost(u64),
}

/// A comparison with a finite number.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub(in crate::http) enum Comparison {
    /// Above.
    Above(f64),
    /// Below.
    Below(f64),
    /// Exactly equal.
    Equals(f64),
}
