//! Facts: what the gate measures, resolves and looks up itself before it decides.

use std::collections::BTreeSet;

use holdpoint_domain::{
    Digest, Id, Timestamp,
    action::{Action, UndoKind},
    actor::Phase,
    agent::Agent,
    blast,
    facts::{
        ActionFacts, Brakes, Facts, FactsType, Origin, Principal, Provenance, Standing, TargetFacts,
        TriggerFacts, UndoFacts,
    },
    id::kind,
    signature::Purpose,
    target::{Service, Target},
    trigger::{Condition, Evidence, SignedEvidence, Truth},
};

use crate::{
    gate::Gate,
    port::Observation,
    refusal::{Blame, Refusal, internal},
};

/// A proposal, resolved against registry, catalogue and inventory. Whatever is in here exists.
#[derive(Clone, Copy)]
pub(crate) struct Resolved<'a> {
    pub(crate) agent: &'a Agent,
    pub(crate) phase: Phase,
    pub(crate) action: &'a Action,
    pub(crate) condition: &'a Condition,
    pub(crate) target: &'a Target,
    pub(crate) service: &'a Service,
}

/// Looks up an agent, an action, a condition and a target, and whether they go together.
pub(crate) fn resolve<'a>(
    gate: &'a Gate,
    agent: &Id<kind::Agent>,
    phase: Phase,
    action: &Id<kind::Action>,
    trigger: &Id<kind::Condition>,
    target: &Id<kind::Target>,
) -> Result<Resolved<'a>, Refusal> {
    let unknown = |rule, what: String, next| Refusal::new(Blame::Caller, rule, what, next);
    let controls = &gate.controls;
    let agent = controls.registry.agent(agent).ok_or_else(|| {
        Refusal::new(
            Blame::Forbidden,
            "unknown-agent",
            format!("agent `{agent}` is not in the registry"),
            "have its owner register it",
        )
    })?;
    if !agent.phases.contains(&phase) {
        let fact = format!("agent `{}` is not registered for phase `{phase}`", agent.id);
        return Err(Refusal::new(
            Blame::Forbidden,
            "wrong-phase",
            fact,
            "use an identity of a phase it is registered for",
        ));
    }
    let action = controls.catalogue.action(action).ok_or_else(|| {
        unknown(
            "unknown-action",
            format!("action `{action}` is not in the catalogue"),
            "name an action of the catalogue",
        )
    })?;
    let (target, service) = controls.inventory.target(target).ok_or_else(|| {
        unknown(
            "unknown-target",
            format!("target `{target}` is not in the inventory"),
            "name a target of the inventory",
        )
    })?;
    let condition = controls.catalogue.condition(trigger).filter(|_| action.triggers.contains(trigger));
    let condition = condition.ok_or_else(|| {
        let admitted: Vec<_> = action.triggers.iter().map(|id| format!("`{id}`")).collect();
        unknown(
            "trigger-not-for-action",
            format!(
                "condition `{trigger}` cannot justify action `{}`: expected {}",
                action.id,
                admitted.join(" or ")
            ),
            "name a trigger that the catalogue admits for the action",
        )
    })?;
    if action.executor != target.executor {
        let fact = format!(
            "action `{}` is for executor `{}`, target `{}` belongs to `{}`",
            action.id, action.executor, target.id, target.executor
        );
        return Err(unknown("executor-mismatch", fact, "name an action for this kind of target"));
    }
    Ok(Resolved { agent, phase, action, condition, target, service })
}

/// Measures a condition and signs what was seen.
pub(crate) async fn measure(
    gate: &Gate,
    condition: &Condition,
    target: &Target,
) -> Result<SignedEvidence, Refusal> {
    let readings = gate.ports.prober.measure(condition, target).await;
    let evidence = Evidence::new(condition, target.id.clone(), readings, gate.now());
    let signature = gate.ports.evidence_key.sign(&Purpose::Evidence.signing_bytes(&evidence.bytes()?));
    Ok(SignedEvidence { evidence, signature })
}

/// Observes a target.
pub(crate) async fn observe(gate: &Gate, action: &Action, target: &Target) -> Result<Observation, Refusal> {
    gate.ports.observer.observe(action, target).await.map_err(|err| {
        Refusal::new(
            Blame::Peer,
            "target-unobservable",
            err.to_string(),
            "try again; nothing is decided about a target that cannot be seen",
        )
    })
}

/// Puts the facts together. Nothing the agent wrote goes in but names that were resolved.
pub(crate) async fn facts(
    gate: &Gate,
    resolved: Resolved<'_>,
    on_behalf_of: Option<&Id<kind::Person>>,
    scope_is_default: bool,
    evidence: &SignedEvidence,
    seen: &Observation,
    now: Timestamp,
) -> Result<Facts, Refusal> {
    let Resolved { agent, phase, action, condition, target, service } = resolved;
    let replicas = gate.controls.inventory.replicas(&service.id);
    let truth = evidence.evidence.agreement.truth;
    let proven = if truth == Truth::Holds { Origin::Clean } else { Origin::Tainted };
    Ok(Facts {
        r#type: FactsType::V1,
        principal: Principal {
            agent: agent.id.clone(),
            team: agent.team.clone(),
            phase,
            attested_build: agent.attested_build,
            accepted: agent.accepted,
            on_behalf_of: on_behalf_of.cloned(),
        },
        action: ActionFacts::of(action)?,
        target: Some(TargetFacts::of(target.id.clone(), service, replicas, seen.down, seen.version)),
        trigger: TriggerFacts {
            condition: condition.id.clone(),
            agreement: evidence.evidence.agreement,
            evidence: evidence.evidence.digest()?,
        },
        blast: blast::radius(
            &gate.controls.inventory,
            &[target.id.clone()].into(),
            &unavailable(gate, action, target).await,
        ),
        undo: UndoFacts { computed: seen.undo_computed && action.undo != UndoKind::None },
        // The gate derived target and action itself when its own probes prove, on this target, the condition that the
        // catalogue names for this action. Parameters are clean when there is nothing to choose.
        provenance: Provenance {
            target: proven,
            action: proven,
            scope: if scope_is_default { Origin::Clean } else { Origin::Tainted },
        },
        standing: Standing::None,
        brakes: Brakes { suspended: gate.ports.store.suspended(&agent.id, &action.id).await?, ..Brakes::OFF },
        inputs: gate.inputs,
        at_ms: now,
    })
}

/// Most neighbours that are looked at for one decision. Beyond it, whoever was not looked at counts as unavailable.
const MAX_NEIGHBOURS: usize = 64;

/// Replicas beside `target` that do not serve: down, or not to be seen.
async fn unavailable(gate: &Gate, action: &Action, target: &Target) -> BTreeSet<Id<kind::Target>> {
    let beside = |other: &&Target| other.service == target.service && other.id != target.id;
    let neighbours: Vec<_> = gate.controls.inventory.targets().filter(beside).collect();
    let mut found: BTreeSet<_> =
        neighbours.iter().skip(MAX_NEIGHBOURS).map(|other| other.id.clone()).collect();
    for other in neighbours.into_iter().take(MAX_NEIGHBOURS) {
        if gate.ports.observer.observe(action, other).await.map_or(true, |seen| seen.down) {
            found.insert(other.id.clone());
        }
    }
    found
}

/// The relevant version of a step's target now, with the resolved step.
pub(crate) fn resolve_plan<'a>(
    gate: &'a Gate,
    plan: &holdpoint_domain::plan::Plan,
) -> Result<(Resolved<'a>, Digest), Refusal> {
    let step = plan.steps().first().ok_or_else(|| internal("a plan without a step"))?;
    let agent = &plan.requester().agent;
    let resolved = resolve(gate, agent, Phase::Decide, &step.action, plan.trigger(), &step.target)?;
    Ok((resolved, step.expected_version))
}
