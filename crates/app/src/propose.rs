//! Propose: freeze a plan, have its trigger measured, decide, and record all of it before anybody gets an answer.

use std::collections::BTreeMap;

use holdpoint_domain::{
    Commitment, Id,
    actor::{Actor, Identity, Phase},
    approval::HoldTerms,
    decision::{Answer, Decision, decide},
    facts::Facts,
    id::kind,
    permit::{Grant, GrantParts, Permit},
    plan::{Narrative, ParamValue, Plan, Requester, Step, check_params},
    record::{AgentContext, Body, Record, Request, Submitted},
    trigger::SignedEvidence,
};

use crate::{
    gate::{Gate, after},
    gather::{self, Resolved},
    port::{Hint, KeptText, StoreError, Txn},
    refusal::{Blame, Refusal, internal},
};

/// Longest free text of an agent, each: enough to explain, too little to fill the disk.
pub const MAX_TEXT_LEN: usize = 32 * 1024;

/// How often a permit is granted anew because another one was recorded first. Each time somebody else made progress.
const MAX_TRIES: u32 = 64;

/// What an agent asks for. Names were parsed; texts are as they came, and stay beside the decision.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// The action.
    pub action: Id<kind::Action>,
    /// The target.
    pub target: Id<kind::Target>,
    /// The condition that justifies it.
    pub trigger: Id<kind::Condition>,
    /// Parameters.
    pub params: BTreeMap<Id<kind::Param>, ParamValue>,
    /// The incident.
    pub incident: Option<Id<kind::Incident>>,
    /// The agent's words.
    pub narrative: Narrative,
    /// The prompt, if submitted.
    pub prompt: Option<String>,
    /// The model, if submitted.
    pub model: Option<String>,
    /// The transcript, if submitted.
    pub transcript: Option<String>,
}

/// What became of a proposal.
#[derive(Debug, Clone)]
pub struct Proposed {
    /// The plan's id.
    pub id: Id<kind::Plan>,
    /// The plan.
    pub plan: Plan,
    /// The decision.
    pub decision: Decision,
    /// What it was made from.
    pub facts: Facts,
    /// What the probes saw.
    pub evidence: SignedEvidence,
    /// The terms of the hold, if it waits for people.
    pub terms: Option<HoldTerms>,
    /// For a denial: what would have had to be different.
    pub hints: Vec<Hint>,
    /// The ledger index of its first record.
    pub first_index: u64,
}

/// Proposes a plan. Every authenticated proposal leaves a record, also when it is refused.
pub async fn propose(gate: &Gate, identity: &Identity, proposal: Proposal) -> Result<Proposed, Refusal> {
    match attempt(gate, identity, proposal).await {
        Ok(proposed) => Ok(proposed),
        Err(refusal) => {
            record_refusal(gate, identity, Request::Propose, &refusal).await?;
            Err(refusal)
        }
    }
}

/// Records that a request of an authenticated caller was refused. A refusal because the store is closed cannot be.
pub(crate) async fn record_refusal(
    gate: &Gate,
    identity: &Identity,
    request: Request,
    refusal: &Refusal,
) -> Result<(), Refusal> {
    // Whoever is not in the registry is a stranger, whatever token they have: strangers do not write to the ledger.
    let known = match identity {
        Identity::Agent { agent, .. } => gate.controls.registry.agent(agent).is_some(),
        Identity::Person { person } => gate.controls.registry.person(person).is_some(),
    };
    if refusal.blame == Blame::Us || !known {
        return Ok(());
    }
    let rule = Id::parse(refusal.rule).map_err(internal)?;
    let record = Record::new(gate.now(), identity.actor(), None, Body::Refused { request, rule });
    gate.ports.store.append(Txn { records: vec![record], ..Txn::default() }).await?;
    Ok(())
}

async fn attempt(gate: &Gate, identity: &Identity, proposal: Proposal) -> Result<Proposed, Refusal> {
    let Identity::Agent { agent, phase } = identity else {
        let fact = "a person cannot propose: plans come from agents";
        return Err(Refusal::new(Blame::Forbidden, "not-an-agent", fact, "use an agent's `decide` identity"));
    };
    if *phase != Phase::Decide {
        let fact = format!("this identity is for phase `{phase}`, proposing needs `decide`");
        return Err(Refusal::new(
            Blame::Forbidden,
            "wrong-phase",
            fact,
            "propose with the agent's `decide` identity",
        ));
    }
    let resolved =
        gather::resolve(gate, agent, *phase, &proposal.action, &proposal.trigger, &proposal.target)?;
    check_params(resolved.action, &proposal.params).map_err(|err| {
        Refusal::new(Blame::Caller, "bad-parameter", err.to_string(), "see the catalogue entry")
    })?;

    let evidence = gather::measure(gate, resolved.condition, resolved.target).await?;
    let seen = gather::observe(gate, resolved.action, resolved.target).await?;
    let now = gate.now();
    let no_choice = proposal.params.is_empty();
    let facts = gather::facts(gate, resolved, None, no_choice, &evidence, &seen, now).await?;

    let requester = Requester { agent: agent.clone(), on_behalf_of: None };
    let step = Step {
        action: resolved.action.id.clone(),
        entry: resolved.action.digest()?,
        target: resolved.target.id.clone(),
        expected_version: seen.version,
        params: proposal.params.clone(),
        undo: resolved.action.undo,
    };
    let plan = Plan::new(requester, proposal.incident.clone(), proposal.trigger.clone(), vec![step])
        .map_err(internal)?;
    let decision = decide(&facts, &gate.ports.judge.ladder(&facts.for_policy()), gate.settings.mode)?;

    let mut texts = Vec::new();
    let narrative = keep_narrative(gate, &proposal.narrative, &mut texts)?;
    let context = AgentContext {
        prompt: keep(gate, proposal.prompt.as_deref(), &mut texts)?,
        model: keep(gate, proposal.model.as_deref(), &mut texts)?,
        transcript: keep(gate, proposal.transcript.as_deref(), &mut texts)?,
    };
    let id = gate.fresh("plan")?;
    let mut tries: u32 = 0;
    let frozen = vec![
        Record::new(
            now,
            identity.actor(),
            Some(id.clone()),
            Body::Proposed { plan: Box::new(plan.clone()), narrative, context },
        ),
        Record::new(
            now,
            Actor::Observer,
            Some(id.clone()),
            Body::Measured { evidence: Box::new(evidence.clone()) },
        ),
    ];
    let (terms, appended) = loop {
        let mut records = frozen.clone();
        let terms = conclude(gate, &id, &plan, &narrative, &decision, &facts, resolved, &mut records)?;
        // If we stop before this returns, nothing was promised and nothing started; after it, `recover` goes on from the
        // records.
        match gate.ports.store.append(Txn { records, texts: texts.clone(), ..Txn::default() }).await {
            Ok(appended) => break (terms, appended),
            // A permit that was granted after ours was recorded before it: grant anew, with a higher epoch.
            Err(StoreError::Epoch { .. }) if tries < MAX_TRIES => tries = tries.saturating_add(1),
            Err(err) => return Err(err.into()),
        }
    };
    let hints = if decision.answer == Answer::Deny { gate.ports.judge.hints(&facts) } else { Vec::new() };
    Ok(Proposed { id, plan, decision, facts, evidence, terms, hints, first_index: appended.first_index })
}

/// Adds the decision and what follows from it: a permit, a hold, or the next measurement.
#[allow(
    clippy::too_many_arguments,
    reason = "a decision's record needs all of these, and nothing else groups them"
)]
pub(crate) fn conclude(
    gate: &Gate,
    id: &Id<kind::Plan>,
    plan: &Plan,
    narrative: &Commitment,
    decision: &Decision,
    facts: &Facts,
    resolved: Resolved<'_>,
    records: &mut Vec<Record>,
) -> Result<Option<HoldTerms>, Refusal> {
    let now = gate.now();
    records.push(
        gate.record(
            id,
            Body::Decided { decision: Box::new(decision.clone()), facts: Box::new(facts.clone()) },
        ),
    );
    match decision.answer {
        Answer::Deny => Ok(None),
        Answer::Allow => {
            let permit = grant(gate, id, plan, narrative, decision, resolved, &[])?;
            records.push(gate.record(id, permitted(&permit)));
            Ok(None)
        }
        Answer::Hold => {
            let terms = HoldTerms {
                hold: gate.fresh("hold")?,
                head: gate.tree_head(),
                plan: plan.digest()?,
                narrative: *narrative,
                facts: decision.facts,
                decision: decision.digest()?,
                policy: decision.policy,
                tier: decision.tier,
                nonce: gate.fresh("once")?,
                expires_at_ms: after(now, gate.settings.hold_ms)?,
            };
            records.push(gate.record(id, Body::Held { terms: Box::new(terms.clone()) }));
            Ok(Some(terms))
        }
        Answer::Defer => {
            let next_at_ms = after(now, gate.settings.remeasure_ms)?;
            let expires_at_ms = after(now, gate.settings.defer_ms)?;
            records.push(gate.record(id, Body::Deferred { next_at_ms, expires_at_ms }));
            Ok(None)
        }
    }
}

/// Grants a permit: decision plus the consents its tier needs, signed, and opened again so that what goes out is what an
/// executor will read.
pub(crate) fn grant(
    gate: &Gate,
    id: &Id<kind::Plan>,
    plan: &Plan,
    narrative: &Commitment,
    decision: &Decision,
    resolved: Resolved<'_>,
    consents: &[holdpoint_domain::approval::Consent],
) -> Result<Permit, Refusal> {
    let now = gate.now();
    let start_before = after(now, gate.settings.start_window_ms)?;
    let action = resolved.action;
    let run = [action.settle_ms, action.soak_ms, action.settle_ms, action.undo_window_ms];
    let undo_until = run.into_iter().try_fold(start_before, after)?;
    let parts = GrantParts {
        id: gate.fresh("permit")?,
        plan_id: id.clone(),
        narrative: *narrative,
        head: gate.tree_head(),
        executor: action.executor.clone(),
        nonce: gate.fresh("once")?,
        epoch: gate.next_epoch(),
        granted_at: now,
        start_before,
        undo_until,
    };
    let grant = Grant::new(decision, plan, consents, parts).map_err(|err| {
        Refusal::new(Blame::Conflict, "no-permit", err.to_string(), "the hold stays; see what it still needs")
    })?;
    let input = grant.signing_input(&gate.settings.permit_key_id)?;
    let signature = gate.ports.permit_key.sign(input.as_bytes());
    let jws = holdpoint_domain::permit::compact(&input, &signature);
    Permit::open(&jws, &gate.ports.permit_key.public_key()).map_err(internal)
}

/// The record of a permit.
pub(crate) fn permitted(permit: &Permit) -> Body {
    let grant = permit.grant();
    Body::Permitted { jws: permit.jws().to_owned(), nonce: grant.nonce.clone(), epoch: grant.epoch }
}

fn keep_narrative(
    gate: &Gate,
    narrative: &Narrative,
    texts: &mut Vec<KeptText>,
) -> Result<Commitment, Refusal> {
    let json = holdpoint_domain::digest::canonical(narrative)?;
    let text = String::from_utf8(json).map_err(internal)?;
    commit(gate, &text, texts)
}

fn keep(gate: &Gate, text: Option<&str>, texts: &mut Vec<KeptText>) -> Result<Submitted, Refusal> {
    match text {
        None => Ok(Submitted::Withheld),
        Some(text) => commit(gate, text, texts).map(Submitted::Committed),
    }
}

fn commit(gate: &Gate, text: &str, texts: &mut Vec<KeptText>) -> Result<Commitment, Refusal> {
    if text.len() > MAX_TEXT_LEN {
        let fact = format!("a text of {} bytes: expected at most {MAX_TEXT_LEN}", text.len());
        return Err(Refusal::new(Blame::Caller, "text-too-long", fact, "send less text"));
    }
    let salt = gate.ports.ids.salt();
    let commitment = Commitment::to(&salt, text.as_bytes());
    texts.push(KeptText { commitment, salt, text: text.to_owned() });
    Ok(commitment)
}
