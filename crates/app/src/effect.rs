//! The effect of a change: the newest decisions made again, as if it were in force.
//!
//! Both sides of a comparison are made now, from what was measured then: once under what is in force, once under what would be. So
//! what differs comes from the change alone. What only that moment could tell is kept as it was recorded: what the probes saw, which
//! versions the targets had, the halt, owed reviews. Runs that were open at once are not played again, nor neighbours that were down.
//!
//! Nothing here is recorded, and nothing is decided from it.

use std::collections::BTreeSet;

use holdpoint_domain::{
    Id, Tier, Timestamp, blast,
    decision::{Answer, Decision, decide},
    facts::{Facts, PlanFacts, TargetFacts},
    id::kind,
    limits::PastRun,
    plan::Plan,
};

use crate::{
    change,
    gate::Gate,
    gather::{self, Resolved, action_facts},
    port::{PlanFilter, PlanRow},
    projection::{RunFilter, RunRow},
    refusal::{Blame, Refusal, internal},
    view::PlanView,
};

/// How many of the newest plans are decided again.
pub const MAX_DECISIONS: u32 = 100;

/// What a change would have made of the newest decisions.
#[derive(Debug, Clone)]
pub struct Effect {
    /// How many decisions were made again.
    pub decisions: usize,
    /// Those that would come out differently, newest first.
    pub moved: Vec<Moved>,
    /// There are older plans, which nobody looked at.
    pub older: bool,
}

/// A decision that would come out differently.
#[derive(Debug, Clone)]
pub struct Moved {
    /// The plan.
    pub row: PlanRow,
    /// Under what is in force.
    pub before: Outcome,
    /// Under the change.
    pub after: Outcome,
}

/// What would become of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It would be decided.
    Decided {
        /// The answer.
        answer: Answer,
        /// The tier.
        tier: Tier,
        /// The rules that say so.
        rules: BTreeSet<Id<kind::Rule>>,
    },
    /// It would not even be decided: something that it names would not be there.
    Refused {
        /// The rule.
        rule: &'static str,
        /// Why.
        fact: String,
    },
}

/// What a proposed change would have made of the newest decisions. Only of a change of what is in force now.
pub async fn of(gate: &Gate, id: &Id<kind::Change>) -> Result<Effect, Refusal> {
    let after = change::would_be(gate, id).await?;
    let filter = PlanFilter { limit: MAX_DECISIONS, ..PlanFilter::default() };
    let rows = gate.ports.store.plans(filter).await?;
    let older = rows.len() >= usize::try_from(MAX_DECISIONS).unwrap_or(usize::MAX);
    let mut effect = Effect { decisions: 0, moved: Vec::new(), older };
    let earliest = rows.iter().map(|row| row.proposed_at).min().unwrap_or_else(|| gate.now());
    let runs = past(gate, &after, earliest).await?;
    for row in rows {
        let view = PlanView::read(gate.ports.store.as_ref(), &row.id).await?;
        let Some((_, facts)) = view.decided.as_ref().filter(|_| !view.plan.requester().is_emergency()) else {
            continue;
        };
        let claims: Vec<_> = runs.iter().filter(|run| run.plan != row.id).map(as_over).collect();
        effect.decisions = effect.decisions.saturating_add(1);
        let (before, after) =
            (outcome(gate, &view.plan, facts, &claims)?, outcome(&after, &view.plan, facts, &claims)?);
        if !before.comes_to_the_same(&after) {
            effect.moved.push(Moved { row, before, after });
        }
    }
    Ok(effect)
}

/// The runs that budgets could have counted since the earliest of these decisions.
async fn past(gate: &Gate, after: &Gate, earliest: Timestamp) -> Result<Vec<RunRow>, Refusal> {
    let horizon = gate.controls.limits.horizon().max(after.controls.limits.horizon());
    let since = Timestamp::from_ms(earliest.ms().saturating_sub(horizon.ms())).unwrap_or(earliest);
    let filter = RunFilter { since: Some(since), ..RunFilter::default() };
    Ok(gate.ports.store.runs(filter).await?)
}

/// A run as budgets saw it once it was over: which ones were open at a moment, nobody knows any more.
fn as_over(run: &RunRow) -> PastRun<'_> {
    PastRun { open: false, ..run.past() }
}

impl Outcome {
    /// Whether people would notice no difference: the same answer at the same tier, whatever the rules.
    fn comes_to_the_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Decided { answer, tier, .. }, Self::Decided { answer: others, tier: other, .. }) => {
                answer == others && tier == other
            }
            (Self::Refused { rule, .. }, Self::Refused { rule: other, .. }) => rule == other,
            (Self::Decided { .. }, Self::Refused { .. }) | (Self::Refused { .. }, Self::Decided { .. }) => {
                false
            }
        }
    }
}

/// Decides a plan again under a gate's control inputs.
fn outcome(
    gate: &Gate,
    plan: &Plan,
    recorded: &PlanFacts,
    claims: &[PastRun<'_>],
) -> Result<Outcome, Refusal> {
    let resolved = match gather::resolve_plan(gate, plan) {
        Ok(resolved) => resolved,
        Err(Refusal { blame: Blame::Us, fact, .. }) => return Err(internal(fact)),
        Err(Refusal { rule, fact, .. }) => return Ok(Outcome::Refused { rule, fact }),
    };
    let facts = facts(gate, plan, &resolved, recorded, claims)?;
    let Decision { answer, tier, reasons, .. } = decide(&facts, &gate.ladders(&facts))?;
    let rules = reasons.into_iter().map(|reason| reason.rule).collect();
    Ok(Outcome::Decided { answer, tier, rules })
}

/// The recorded facts, with what the control inputs say put in anew.
fn facts(
    gate: &Gate,
    plan: &Plan,
    resolved: &Resolved<'_>,
    recorded: &PlanFacts,
    claims: &[PastRun<'_>],
) -> Result<PlanFacts, Refusal> {
    let (controls, first) = (&gate.controls, recorded.first());
    let targets: BTreeSet<_> = resolved.steps.iter().map(|step| step.target.id.clone()).collect();
    let needs = gate.dependencies();
    let blast = blast::radius(&controls.inventory, &needs.dependencies, &targets, &BTreeSet::new())?;
    let footprint =
        gather::footprint(gate, &needs, &resolved.askers, plan.incident(), &resolved.steps, &blast);
    let earlier: Vec<_> = claims.iter().filter(|run| run.claimed_at < first.at_ms).cloned().collect();
    let mut brakes = first.brakes.clone();
    controls.limits.hold_back(&footprint, &blast, &earlier, first.at_ms, &mut brakes);
    let principal = resolved.askers.principal(plan.requester(), resolved.phase);
    let mut steps = Vec::new();
    for (step, recorded) in resolved.steps.iter().zip(recorded.steps()) {
        let replicas = controls.inventory.replicas(&step.service.id, &step.target.executor);
        let seen = recorded.target.as_ref().ok_or_else(|| internal("a decided step without a target"))?;
        let target = TargetFacts::of(step.target.id.clone(), step.service, replicas, seen.down, seen.version);
        steps.push(Facts {
            principal: principal.clone(),
            action: action_facts(gate, step.action)?,
            target: Some(target),
            blast: blast.clone(),
            brakes: brakes.clone(),
            inputs: gate.inputs,
            ..recorded.clone()
        });
    }
    PlanFacts::new(steps).map_err(internal)
}
