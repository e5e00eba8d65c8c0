//! Facts: what the gate measures, resolves and looks up itself before it decides.

use std::collections::{BTreeMap, BTreeSet};

use holdpoint_domain::{
    Id, Timestamp,
    action::{Action, MAX_INT, Reversibility, UndoKind},
    actor::Phase,
    blast::{self, Blast},
    facts::{
        ActionFacts, Facts, FactsType, Origin, PlanFacts, Provenance, Standing, TargetFacts, TriggerFacts,
        UndoFacts,
    },
    id::kind,
    limits::{Area, Footprint},
    plan::{MAX_STEPS, ParamValue, Plan, Requester, Step, check_params},
    quorum::{MAX_APPROVALS, Quorum},
    record::{Body, Record},
    signature::Purpose,
    target::{Service, Target},
    trigger::{Condition, Evidence, SignedEvidence, Subject, Truth},
};

use crate::{
    brakes,
    dependencies::Snapshot,
    gate::Gate,
    port::Observation,
    refusal::{Blame, Refusal, internal},
    requester::{self, Askers},
};

/// A step as an agent asks for it. Names were parsed, and nothing else is known of them.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The action.
    pub action: Id<kind::Action>,
    /// The target.
    pub target: Id<kind::Target>,
    /// Parameters.
    pub params: BTreeMap<Id<kind::Param>, ParamValue>,
}

/// A plan's names, resolved against registry, catalogue and inventory. Whatever is in here exists.
pub(crate) struct Resolved<'a> {
    pub(crate) askers: Askers<'a>,
    pub(crate) phase: Phase,
    pub(crate) condition: &'a Condition,
    pub(crate) steps: Vec<ResolvedStep<'a>>,
}

/// A step, resolved.
#[derive(Clone)]
pub(crate) struct ResolvedStep<'a> {
    pub(crate) action: &'a Action,
    pub(crate) target: &'a Target,
    pub(crate) service: &'a Service,
    pub(crate) no_choice: bool,
    /// The numbers among the parameters. What is below nothing counts as much as what is above it.
    pub(crate) numbers: Vec<(Id<kind::Param>, u64)>,
}

/// What the catalogue says of one of its actions.
pub(crate) fn action_facts(gate: &Gate, action: &Action) -> Result<ActionFacts, Refusal> {
    let facts = gate.controls.catalogue.facts(&action.id).cloned();
    facts.ok_or_else(|| internal("an action that is not in the catalogue"))
}

/// What was measured of each step's target.
pub(crate) struct Look {
    pub(crate) evidence: Vec<SignedEvidence>,
    pub(crate) seen: Vec<Observation>,
    /// What was measured of error budgets.
    pub(crate) budgets: Vec<SignedEvidence>,
    /// The first error budget of which nothing is left, or nobody knows.
    pub(crate) error_budget: Option<Id<kind::Budget>>,
}

/// Facts with what they count as, and how many claims there were when budgets were counted.
pub(crate) struct Gathered {
    pub(crate) facts: PlanFacts,
    pub(crate) footprint: Footprint,
    pub(crate) claims: u64,
}

/// Looks up an agent, a condition, and each step's action and target, and whether they go together.
pub(crate) fn resolve<'a>(
    gate: &'a Gate,
    requester: &Requester,
    phase: Phase,
    trigger: &Id<kind::Condition>,
    wishes: &[Wish],
) -> Result<Resolved<'a>, Refusal> {
    let askers = requester::resolve(gate, requester, phase)?;
    if wishes.is_empty() || wishes.len() > MAX_STEPS {
        let fact = format!("expected 1 to {MAX_STEPS} steps, got {}", wishes.len());
        return Err(unknown("bad-steps", fact, "propose fewer steps, or several plans"));
    }
    let steps = wishes.iter().map(|wish| resolve_step(gate, trigger, wish)).collect::<Result<Vec<_>, _>>()?;
    check_approvals(&steps)?;
    let condition = gate.controls.catalogue.condition(trigger);
    let condition = condition.ok_or_else(|| internal("a trigger that an action admits is not there"))?;
    Ok(Resolved { askers, phase, condition, steps })
}

/// Refuses steps that together ask for more people than a permit has room for.
fn check_approvals(steps: &[ResolvedStep<'_>]) -> Result<(), Refusal> {
    let asked = Quorum::union(steps.iter().filter_map(|step| step.action.approvals.as_ref()));
    let needed = asked.map_or(0, |asked| asked.needed());
    if needed <= MAX_APPROVALS {
        return Ok(());
    }
    let fact = format!("together the steps ask for {needed} approvals: expected at most {MAX_APPROVALS}");
    Err(unknown("too-many-approvals", fact, "propose fewer steps, or several plans"))
}

fn resolve_step<'a>(
    gate: &'a Gate,
    trigger: &Id<kind::Condition>,
    wish: &Wish,
) -> Result<ResolvedStep<'a>, Refusal> {
    let Wish { action, target, params } = wish;
    let controls = &gate.controls;
    let action = controls.catalogue.action(action).ok_or_else(|| {
        let fact = format!("action `{action}` is not in the catalogue");
        unknown("unknown-action", fact, "name an action of the catalogue")
    })?;
    let (target, service) = controls.inventory.target(target).ok_or_else(|| {
        let fact = format!("target `{target}` is not in the inventory");
        unknown("unknown-target", fact, "name a target of the inventory")
    })?;
    if !action.triggers.contains(trigger) {
        let admitted: Vec<_> = action.triggers.iter().map(|id| format!("`{id}`")).collect();
        let fact = format!(
            "condition `{trigger}` cannot justify action `{}`: expected {}",
            action.id,
            admitted.join(" or ")
        );
        let next = "name a trigger that the catalogue admits for the action";
        return Err(unknown("trigger-not-for-action", fact, next));
    }
    if action.executor != target.executor {
        let fact = format!(
            "action `{}` is for executor `{}`, target `{}` belongs to `{}`",
            action.id, action.executor, target.id, target.executor
        );
        return Err(unknown("executor-mismatch", fact, "name an action for this kind of target"));
    }
    check_params(action, params).map_err(|err| {
        Refusal::new(Blame::Caller, "bad-parameter", err.to_string(), "see the catalogue entry")
    })?;
    let number = |(name, value): (&Id<kind::Param>, &ParamValue)| match value {
        ParamValue::Int(number) => Some((name.clone(), number.unsigned_abs())),
        ParamValue::Bool(_) | ParamValue::Choice(_) | ParamValue::Secret(_) => None,
    };
    let numbers = params.iter().filter_map(number).collect();
    Ok(ResolvedStep { action, target, service, no_choice: params.is_empty(), numbers })
}

fn unknown(rule: &'static str, fact: String, next: &'static str) -> Refusal {
    Refusal::new(Blame::Caller, rule, fact, next)
}

/// What a plan wants, resolved anew: what was decided on may not be in the control inputs any more.
pub(crate) fn resolve_plan<'a>(gate: &'a Gate, plan: &Plan) -> Result<Resolved<'a>, Refusal> {
    let wish = |step: &Step| Wish {
        action: step.action.clone(),
        target: step.target.clone(),
        params: step.params.clone(),
    };
    let wishes: Vec<_> = plan.steps().iter().map(wish).collect();
    resolve(gate, plan.requester(), Phase::Decide, plan.trigger(), &wishes)
}

/// Freezes what was resolved and seen into a plan.
pub(crate) fn freeze(
    resolved: &Resolved<'_>,
    wishes: &[Wish],
    requester: Requester,
    incident: Option<Id<kind::Incident>>,
    look: &Look,
) -> Result<Plan, Refusal> {
    let mut steps = Vec::new();
    for ((step, wish), seen) in resolved.steps.iter().zip(wishes).zip(&look.seen) {
        steps.push(Step {
            action: step.action.id.clone(),
            entry: step.action.digest()?,
            target: step.target.id.clone(),
            expected_version: seen.version,
            params: wish.params.clone(),
            undo: step.action.undo,
        });
    }
    Plan::new(requester, incident, resolved.condition.id.clone(), steps)
        .map_err(|err| unknown("bad-steps", err.to_string(), "propose several plans"))
}

/// Measures the trigger on each step's target, and observes it.
pub(crate) async fn look(gate: &Gate, resolved: &Resolved<'_>) -> Result<Look, Refusal> {
    let (mut evidence, mut seen) = (Vec::new(), Vec::new());
    for step in &resolved.steps {
        evidence.push(measure(gate, resolved.condition, step.target).await?);
        seen.push(observe(gate, step.action, step.target).await?);
    }
    let (mut budgets, mut error_budget) = (Vec::new(), None);
    for budget in gate.controls.limits.error_budgets() {
        let condition = gate.controls.catalogue.condition(&budget.condition);
        let condition = condition.ok_or_else(|| internal("an error budget without its condition"))?;
        let of = |step: &&ResolvedStep<'_>| {
            step.action.reversibility != Reversibility::ReadOnly
                && budget.is_of(&step.service.id, &step.service.environment)
        };
        for step in resolved.steps.iter().filter(of) {
            let is_it = |evidence: &Evidence| {
                (&evidence.condition, &evidence.target) == (&condition.id, &step.target.id)
            };
            let earlier = budgets.iter().find(|signed: &&SignedEvidence| is_it(&signed.evidence)).cloned();
            let measured = match &earlier {
                Some(measured) => measured.clone(),
                None => measure(gate, condition, step.target).await?,
            };
            if measured.evidence.agreement.truth != Truth::Holds {
                error_budget.get_or_insert_with(|| budget.id.clone());
            }
            if earlier.is_none() {
                budgets.push(measured);
            }
        }
    }
    Ok(Look { evidence, seen, budgets, error_budget })
}

impl Look {
    /// The records of what was measured.
    pub(crate) fn records(&self, plan: &Id<kind::Plan>, now: Timestamp) -> Vec<Record> {
        use holdpoint_domain::actor::Actor;
        let record = |evidence: &SignedEvidence| {
            let body = Body::Measured { evidence: Box::new(evidence.clone()) };
            Record::new(now, Actor::Observer, Some(plan.clone()), body)
        };
        self.evidence.iter().chain(&self.budgets).map(record).collect()
    }
}

/// Measures a condition and signs what was seen.
pub(crate) async fn measure(
    gate: &Gate,
    condition: &Condition,
    target: &Target,
) -> Result<SignedEvidence, Refusal> {
    if let Some(signed) = gate.ports.prober.signed(condition, target).await {
        return signed.map_err(|err| {
            let next = "try again; nothing is decided on what was not measured";
            Refusal::new(Blame::Peer, "target-unmeasured", err.to_string(), next)
        });
    }
    let service = gate.controls.inventory.service(&target.service);
    let service = service.ok_or_else(|| internal("a target of the inventory has no service"))?;
    let readings = gate.ports.prober.measure(condition, Subject { target, service }).await;
    let evidence = Evidence::new(condition, target.id.clone(), readings, gate.now());
    let signature = gate.ports.evidence_key.sign(&Purpose::Evidence.signing_bytes(&evidence.bytes()?));
    // A key in a token can fail to sign: what does not verify is no evidence.
    let verified =
        signature.verify(&gate.ports.evidence_key.public_key(), Purpose::Evidence, &evidence.bytes()?);
    verified.map_err(|_| internal("the key of evidence does not sign"))?;
    Ok(SignedEvidence { evidence, signature })
}

/// Observes a target.
async fn observe(gate: &Gate, action: &Action, target: &Target) -> Result<Observation, Refusal> {
    gate.ports.observer.observe(action, target).await.map_err(|err| {
        let next = "try again; nothing is decided about a target that cannot be seen";
        Refusal::new(Blame::Peer, "target-unobservable", err.to_string(), next)
    })
}

/// Puts the facts of all steps together. Nothing the agent wrote goes in but names that were resolved.
pub(crate) async fn facts(
    gate: &Gate,
    resolved: &Resolved<'_>,
    requester: &Requester,
    incident: Option<&Id<kind::Incident>>,
    look: &Look,
    now: Timestamp,
) -> Result<Gathered, Refusal> {
    let Resolved { askers, phase, condition, steps } = resolved;
    let targets: BTreeSet<_> = steps.iter().map(|step| step.target.id.clone()).collect();
    let mut down = BTreeSet::new();
    for step in steps {
        down.extend(unavailable(gate, step.action, step.target).await);
    }
    let needs = gate.dependencies();
    let blast = blast::radius(&gate.controls.inventory, &needs.dependencies, &targets, &down)?;
    let footprint = footprint(gate, &needs, askers, incident, steps, &blast);
    let mut counted = brakes::gather(gate, &needs, &footprint, &blast, now).await?;
    counted.brakes.error_budget.clone_from(&look.error_budget);
    let principal = askers.principal(requester, *phase);
    let mut facts = Vec::new();
    for ((step, evidence), seen) in steps.iter().zip(&look.evidence).zip(&look.seen) {
        let ResolvedStep { action, target, service, no_choice, .. } = *step;
        let replicas = gate.controls.inventory.replicas(&service.id, &target.executor);
        let agreement = evidence.evidence.agreement;
        let proven = if agreement.truth == Truth::Holds { Origin::Clean } else { Origin::Tainted };
        facts.push(Facts {
            r#type: FactsType::V1,
            principal: principal.clone(),
            action: action_facts(gate, action)?,
            target: Some(TargetFacts {
                parts: seen.parts.clone(),
                ..TargetFacts::of(target.id.clone(), service, replicas, seen.down, seen.version)
            }),
            trigger: TriggerFacts {
                condition: condition.id.clone(),
                agreement,
                evidence: evidence.evidence.digest()?,
            },
            blast: blast.clone(),
            undo: UndoFacts { computed: seen.undo_computed && action.undo != UndoKind::None },
            // The gate derived target and action itself when its own probes prove, on this target, the condition that the
            // catalogue names for this action. Parameters are clean when there is nothing to choose.
            provenance: Provenance {
                target: proven,
                action: proven,
                scope: if no_choice { Origin::Clean } else { Origin::Tainted },
            },
            standing: Standing::None,
            brakes: counted.brakes.clone(),
            inputs: gate.inputs,
            at_ms: now,
        });
    }
    let facts = PlanFacts::new(facts).map_err(internal)?;
    Ok(Gathered { facts, footprint, claims: counted.claims })
}

/// What a plan counts as in budgets.
pub(crate) fn footprint(
    gate: &Gate,
    needs: &Snapshot,
    askers: &Askers<'_>,
    incident: Option<&Id<kind::Incident>>,
    steps: &[ResolvedStep<'_>],
    blast: &Blast,
) -> Footprint {
    let deleting = steps.iter().filter(|step| step.action.deletes());
    let direct: BTreeSet<_> = steps.iter().map(|step| step.service.id.clone()).collect();
    let changing = steps.iter().any(|step| step.action.reversibility != Reversibility::ReadOnly);
    let neighbourhood = gate.controls.limits.neighbourhood();
    let mut area = if changing {
        let shares = gate.controls.inventory.sharing(&blast.targets).into_keys().collect();
        neighbourhood.area(&needs.dependencies, &direct, shares, blast)
    } else {
        Area::default()
    };
    // While a source was not read, nobody knows what needs a service: that may be everything.
    area.everywhere |= neighbourhood.apart && changing && gate.unread(needs, gate.now()).is_some();
    let mut sums: BTreeMap<Id<kind::Param>, u64> = BTreeMap::new();
    for (name, number) in steps.iter().flat_map(|step| &step.numbers) {
        let sum = sums.entry(name.clone()).or_default();
        // As large as a record can say.
        *sum = sum.saturating_add(*number).min(MAX_INT.unsigned_abs());
    }
    Footprint {
        sums,
        agent: askers.agent.id.clone(),
        via: askers.via.iter().map(|agent| agent.id.clone()).collect(),
        teams: std::iter::once(askers.agent)
            .chain(askers.via.iter().copied())
            .map(|agent| agent.team.clone())
            .collect(),
        incident: incident.cloned(),
        concerned: gate.ports.store.incidents().concerning(&direct, gate.now()),
        steps: u32::try_from(steps.len()).unwrap_or(u32::MAX),
        actions: steps.iter().map(|step| step.action.id.clone()).collect(),
        environments: steps.iter().map(|step| step.service.environment.clone()).collect(),
        data_domains: steps.iter().filter_map(|step| step.service.data_domain.clone()).collect(),
        deletes: deleting.map(|step| step.service.id.clone()).collect(),
        direct,
        area,
    }
}

/// Most neighbours that are looked at for one step. Beyond it, whoever was not looked at counts as unavailable.
const MAX_NEIGHBOURS: usize = 64;

/// Replicas beside `target` that do not serve: down, or not to be seen.
async fn unavailable(gate: &Gate, action: &Action, target: &Target) -> BTreeSet<Id<kind::Target>> {
    let beside = |other: &&Target| {
        other.service == target.service && other.executor == target.executor && other.id != target.id
    };
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
