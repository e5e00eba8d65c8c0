//! Evaluate: whether an agent may do something that changes nothing, asked before a tool is called.
//!
//! This is the door that only answers. Nothing is measured, nothing is frozen into a plan, and nothing runs, so it answers for
//! T0 alone: whatever changes something needs a plan, whose trigger the gate measures and whose bytes it binds. The answer
//! is recorded before it is given, like every decision.

use std::collections::BTreeSet;

use holdpoint_domain::{
    Digest, Id, Tier,
    action::Reversibility,
    actor::{Actor, Identity, Party, Phase},
    blast,
    decision::{Answer, Decision, decide},
    facts::{
        Facts, FactsType, Origin, PlanFacts, Provenance, Standing, TargetFacts, TriggerFacts, UndoFacts,
    },
    id::kind,
    record::{Body, Record, Request},
    trigger,
};

use crate::{
    brakes,
    gate::Gate,
    gather::{ResolvedStep, action_facts, footprint},
    port::Txn,
    propose::record_refusal,
    refusal::{Blame, Refusal, internal},
    requester,
};

/// What an agent asks about. Names were parsed, and nothing else is known of them.
#[derive(Debug, Clone)]
pub struct Question {
    /// The action.
    pub action: Id<kind::Action>,
    /// The target.
    pub target: Id<kind::Target>,
}

/// What was answered.
#[derive(Debug, Clone)]
pub struct Evaluated {
    /// The decision: allowed or denied, never anything between.
    pub decision: Decision,
    /// The ledger index of its record.
    pub index: u64,
}

/// Answers a question. Every question of an agent that the registry has leaves a record, also when it is refused.
pub async fn evaluate(gate: &Gate, party: &Party, question: &Question) -> Result<Evaluated, Refusal> {
    match attempt(gate, party, question).await {
        Ok(evaluated) => Ok(evaluated),
        Err(refusal) => {
            record_refusal(gate, &party.identity, Request::Evaluate, &refusal).await?;
            Err(refusal)
        }
    }
}

async fn attempt(gate: &Gate, party: &Party, question: &Question) -> Result<Evaluated, Refusal> {
    let facts = PlanFacts::from(facts(gate, party, question).await?);
    let ladder = gate.ladder_unseen(facts.first()).ok_or_else(|| {
        let fact = "a rule of the policy looks at what only a look at the target tells";
        needs_a_plan(fact.to_owned())
    })?;
    let decision = only_t0(decide(&facts, &[ladder])?);
    let body = Body::Evaluated { decision: Box::new(decision.clone()), facts: Box::new(facts) };
    let record = Record::new(gate.now(), Actor::Gate, None, body);
    // If we stop before this returns, nobody was told anything.
    let appended = gate.ports.store.append(Txn { records: vec![record], ..Txn::default() }).await?;
    Ok(Evaluated { decision, index: appended.first_index })
}

/// Policy may want more oversight for what it is asked, and there is none here: whatever is not an allow at T0 is a no.
fn only_t0(decision: Decision) -> Decision {
    let allowed = decision.answer == Answer::Allow && decision.tier == Tier::T0;
    if allowed { decision } else { Decision { answer: Answer::Deny, ..decision } }
}

fn needs_a_plan(fact: String) -> Refusal {
    Refusal::new(Blame::Forbidden, "needs-a-plan", fact, "propose a plan with `POST /v1/plans`")
}

/// The facts of a question. The trigger is unknown, and everything that the agent chose is tainted. What only a look at the target
/// would tell (whether it or its neighbours are down) is filled in, and no rule that looks at it is asked.
async fn facts(gate: &Gate, party: &Party, question: &Question) -> Result<Facts, Refusal> {
    let controls = &gate.controls;
    let (agent, phase) = asker(&party.identity)?;
    let requester = requester::of(gate, agent, party)?;
    let askers = requester::resolve(gate, &requester, phase)?;
    if let Some(delegation) = &party.delegation {
        requester::stays_within(delegation, &question.action, &question.target)?;
    }
    let action = controls.catalogue.action(&question.action).ok_or_else(|| {
        let fact = format!("action `{}` is not in the catalogue", question.action);
        Refusal::new(Blame::Caller, "unknown-action", fact, "name an action of the catalogue")
    })?;
    if action.reversibility != Reversibility::ReadOnly {
        let fact = format!("action `{}` changes something, and is not allowed without a plan", action.id);
        return Err(needs_a_plan(fact));
    }
    let (target, service) = controls.inventory.target(&question.target).ok_or_else(|| {
        let fact = format!("target `{}` is not in the inventory", question.target);
        Refusal::new(Blame::Caller, "unknown-target", fact, "name a target of the inventory")
    })?;
    // The catalogue gives every action at least one trigger. Nobody measured it.
    let condition = action.triggers.first().and_then(|id| controls.catalogue.condition(id));
    let condition = condition.ok_or_else(|| internal("an action without a condition"))?;
    let now = gate.now();
    let unseen = Digest::of_bytes(b"");
    let replicas = controls.inventory.replicas(&service.id, &target.executor);
    let step = ResolvedStep { action, target, service, no_choice: true, numbers: Vec::new() };
    let (needs, direct) = (gate.dependencies(), [target.id.clone()].into());
    let blast = blast::radius(&controls.inventory, &needs.dependencies, &direct, &BTreeSet::new())?;
    let footprint = footprint(gate, &needs, &askers, None, &[step], &blast);
    let counted = brakes::gather(gate, &needs, &footprint, &blast, now).await?;
    Ok(Facts {
        r#type: FactsType::V1,
        principal: askers.principal(&requester, phase),
        action: action_facts(gate, action)?,
        target: Some(TargetFacts::of(target.id.clone(), service, replicas, false, unseen)),
        trigger: TriggerFacts {
            condition: condition.id.clone(),
            agreement: trigger::agree(condition.needs, &[]),
            evidence: unseen,
        },
        blast,
        undo: UndoFacts { computed: false },
        provenance: Provenance { target: Origin::Tainted, action: Origin::Tainted, scope: Origin::Tainted },
        standing: Standing::None,
        brakes: counted.brakes,
        inputs: gate.inputs,
        at_ms: now,
    })
}

/// The agent that asks, in the phase in which it thinks: what decides for it asks before it has a tool called.
fn asker(identity: &Identity) -> Result<(&Id<kind::Agent>, Phase), Refusal> {
    match identity {
        Identity::Agent { agent, phase: phase @ Phase::Decide } => Ok((agent, *phase)),
        Identity::Agent { phase: phase @ (Phase::Observe | Phase::Execute), .. } => {
            let fact = format!("this identity is for phase `{phase}`, asking needs `decide`");
            let next = "ask with the agent's `decide` identity";
            Err(Refusal::new(Blame::Forbidden, "wrong-phase", fact, next))
        }
        Identity::Person { .. } => {
            let fact = "a person cannot ask in an agent's place";
            Err(Refusal::new(Blame::Forbidden, "not-an-agent", fact, "use an agent's identity"))
        }
    }
}
