//! Propose: freeze a plan, have its trigger measured, decide, and record all of it before anybody gets an answer.

use holdpoint_domain::{
    Commitment, Id,
    actor::{Actor, Identity, Party, Phase},
    approval::{Consent, HoldTerms},
    decision::{Answer, Decision, beyond_policy, decide},
    digest::DigestError,
    facts::PlanFacts,
    flow::State,
    id::kind,
    permit::{Grant, GrantParts, Permit},
    plan::{Narrative, Plan, Requester},
    quorum::Quorum,
    record::{AgentContext, Body, Record, Request, Submitted},
    trigger::SignedEvidence,
};

use crate::{
    gate::{Gate, after},
    gather::{self, Resolved, Wish},
    incidents,
    port::{Hint, KeptText, PlanFilter, StoreError, Txn},
    refusal::{Blame, Refusal, internal},
    requester,
};

/// Longest free text of an agent, each: enough to explain, too little to fill the disk.
pub const MAX_TEXT_LEN: usize = 32 * 1024;

/// How often a permit is granted anew because another one was recorded first. Each time somebody else made progress.
const MAX_TRIES: u32 = 64;

/// What an agent asks for. Names were parsed; texts are as they came, and stay beside the decision.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// The steps, in order.
    pub steps: Vec<Wish>,
    /// The condition that justifies each of them, on its own target.
    pub trigger: Id<kind::Condition>,
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
    pub facts: PlanFacts,
    /// What the probes saw, for each step.
    pub evidence: Vec<SignedEvidence>,
    /// The terms of the hold, if it waits for people.
    pub terms: Option<HoldTerms>,
    /// For a denial: what would have had to be different.
    pub hints: Vec<Hint>,
    /// The ledger index of its first record.
    pub first_index: u64,
}

/// Proposes a plan. Every authenticated proposal leaves a record, also when it is refused.
pub async fn propose(gate: &Gate, party: &Party, proposal: Proposal) -> Result<Proposed, Refusal> {
    match attempt(gate, party, proposal).await {
        Ok(proposed) => Ok(proposed),
        Err(refusal) => {
            record_refusal(gate, &party.identity, Request::Propose, &refusal).await?;
            Err(refusal)
        }
    }
}

/// Refuses more of an agent than people can answer and probes can measure: a flood hides what matters, and nobody reads it.
async fn check_waiting(gate: &Gate, agent: &Id<kind::Agent>) -> Result<(), Refusal> {
    let (states, most) = (vec![State::Held, State::Deferred], gate.settings.max_waiting);
    let filter = PlanFilter { states, agent: Some(agent.clone()), limit: most, ..PlanFilter::default() };
    if gate.ports.store.plans(filter).await?.len() < most as usize {
        return Ok(());
    }
    let fact = format!("{most} plans of agent `{agent}` wait for people or for a measurement");
    let next = "wait until some of them are answered or over, and propose what matters most";
    Err(Refusal::new(Blame::Conflict, "too-many-waiting", fact, next))
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

async fn attempt(gate: &Gate, party: &Party, proposal: Proposal) -> Result<Proposed, Refusal> {
    let identity = &party.identity;
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
    let requester = requester::of(gate, agent, party)?;
    if let Some(delegation) = &party.delegation {
        let mut steps = proposal.steps.iter();
        steps.try_for_each(|step| requester::stays_within(delegation, &step.action, &step.target))?;
    }
    incidents::check_named(gate, proposal.incident.as_ref())?;
    check_waiting(gate, agent).await?;
    let resolved = gather::resolve(gate, &requester, *phase, &proposal.trigger, &proposal.steps)?;
    let mut texts = Vec::new();
    let narrative = keep_narrative(gate, &proposal.narrative, &mut texts)?;
    let context = AgentContext {
        prompt: keep(gate, proposal.prompt.as_deref(), &mut texts)?,
        model: keep(gate, proposal.model.as_deref(), &mut texts)?,
        transcript: keep(gate, proposal.transcript.as_deref(), &mut texts)?,
    };
    let frozen = Frozen { actor: identity.actor(), id: gate.fresh("plan")?, narrative, context, texts };
    let incident = proposal.incident.clone();
    let done =
        freeze_and_decide(gate, &resolved, &proposal.steps, requester, incident, frozen, Txn::default())
            .await;
    done.map_err(Into::into)
}

/// What a plan has beside its steps when it is frozen.
pub(crate) struct Frozen {
    /// Who asks, as the record says it.
    pub(crate) actor: Actor,
    /// The plan's id.
    pub(crate) id: Id<kind::Plan>,
    /// The commitment to the agent's words.
    pub(crate) narrative: Commitment,
    /// The agent's context.
    pub(crate) context: AgentContext,
    /// Texts that are not kept yet.
    pub(crate) texts: Vec<KeptText>,
}

/// Why a plan was not decided on.
pub(crate) enum Stopped {
    /// The store did not take it.
    Store(StoreError),
    /// It was refused.
    Refused(Refusal),
}

impl From<Refusal> for Stopped {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Stopped> for Refusal {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Store(err) => err.into(),
            Stopped::Refused(refusal) => refusal,
        }
    }
}

impl From<DigestError> for Stopped {
    fn from(err: DigestError) -> Self {
        Self::Refused(err.into())
    }
}

/// Measures, freezes, decides, and records all of it in one transaction behind what `before` has.
pub(crate) async fn freeze_and_decide(
    gate: &Gate,
    resolved: &Resolved<'_>,
    wishes: &[Wish],
    requester: Requester,
    incident: Option<Id<kind::Incident>>,
    frozen: Frozen,
    before: Txn,
) -> Result<Proposed, Stopped> {
    let look = gather::look(gate, resolved).await?;
    let now = gate.now();
    let plan = gather::freeze(resolved, wishes, requester, incident, &look)?;
    let gathered = gather::facts(gate, resolved, plan.requester(), plan.incident(), &look, now).await?;
    let facts = gathered.facts;
    let decision = if plan.requester().is_emergency() {
        beyond_policy(&facts)?
    } else {
        decide(&facts, &gate.ladders(&facts))?
    };

    let Frozen { actor, id, narrative, context, texts } = frozen;
    let mut tries: u32 = 0;
    let proposed = Body::Proposed { plan: Box::new(plan.clone()), narrative, context };
    let mut all = before.records.clone();
    let earlier = u64::try_from(all.len()).map_err(internal)?;
    all.push(Record::new(now, actor, Some(id.clone()), proposed));
    all.extend(look.records(&id, now));
    let case = Case { id: &id, plan: &plan, narrative: &narrative, resolved };
    let (terms, appended) = loop {
        let mut records = all.clone();
        let terms = case.conclude(gate, &decision, &facts, &mut records)?;
        // If we stop before this returns, nothing was promised and nothing started; after it, `recover` goes on from the
        // records.
        match gate.ports.store.append(Txn { records, texts: texts.clone(), ..before.clone() }).await {
            Ok(appended) => break (terms, appended),
            // A permit that was granted after ours was recorded before it: grant anew, with a higher epoch.
            Err(StoreError::Epoch { .. }) if tries < MAX_TRIES => tries = tries.saturating_add(1),
            Err(err) => return Err(Stopped::Store(err)),
        }
    };
    let hints = if decision.answer == Answer::Deny { gate.hints(&facts) } else { Vec::new() };
    let (evidence, first_index) = (look.evidence, appended.first_index.saturating_add(earlier));
    Ok(Proposed { id, plan, decision, facts, evidence, terms, hints, first_index })
}

/// A plan that is decided on.
pub(crate) struct Case<'a> {
    pub(crate) id: &'a Id<kind::Plan>,
    pub(crate) plan: &'a Plan,
    pub(crate) narrative: &'a Commitment,
    pub(crate) resolved: &'a Resolved<'a>,
}

impl Case<'_> {
    /// Adds the decision and what follows from it: a permit, a hold, or the next measurement.
    pub(crate) fn conclude(
        &self,
        gate: &Gate,
        decision: &Decision,
        facts: &PlanFacts,
        records: &mut Vec<Record>,
    ) -> Result<Option<HoldTerms>, Refusal> {
        let now = gate.now();
        let decided = Body::Decided { decision: Box::new(decision.clone()), facts: Box::new(facts.clone()) };
        records.push(gate.record(self.id, decided));
        match decision.answer {
            Answer::Deny => Ok(None),
            Answer::Allow => {
                let permit = self.grant(gate, decision, facts, &[])?;
                records.push(gate.record(self.id, permitted(&permit)));
                Ok(None)
            }
            Answer::Hold => {
                let terms = HoldTerms {
                    hold: gate.fresh("hold")?,
                    head: gate.tree_head(),
                    plan: self.plan.digest()?,
                    narrative: *self.narrative,
                    facts: decision.facts,
                    decision: decision.digest()?,
                    policy: decision.policy,
                    tier: decision.tier,
                    nonce: gate.fresh("once")?,
                    expires_at_ms: after(now, gate.settings.hold_ms)?,
                };
                records.push(gate.record(self.id, Body::Held { terms: Box::new(terms.clone()) }));
                Ok(Some(terms))
            }
            Answer::Defer => {
                let next_at_ms = after(now, gate.settings.remeasure_ms)?;
                let expires_at_ms = after(now, gate.settings.defer_ms)?;
                records.push(gate.record(self.id, Body::Deferred { next_at_ms, expires_at_ms }));
                Ok(None)
            }
        }
    }

    /// Grants a permit: decision plus the consents its tier needs, signed, and opened again so that what goes out is what an
    /// executor will read.
    pub(crate) fn grant(
        &self,
        gate: &Gate,
        decision: &Decision,
        facts: &PlanFacts,
        consents: &[Consent],
    ) -> Result<Permit, Refusal> {
        let now = gate.now();
        let start_before = after(now, gate.settings.start_window_ms)?;
        let mut steps = self.resolved.steps.iter();
        let undo_until = steps.try_fold(start_before, |until, step| step.action.undoable_until(until));
        let undo_until = undo_until.map_err(internal)?;
        let executors = self.resolved.steps.iter().map(|step| gate.bound(&step.action.executor));
        let executors = executors.collect::<Result<_, _>>()?;
        let people = consents.iter().filter_map(|consent| gate.controls.registry.person(consent.approver()));
        let parts = GrantParts {
            id: gate.fresh("permit")?,
            plan_id: self.id.clone(),
            narrative: *self.narrative,
            head: gate.tree_head(),
            asked: Quorum::asked(self.plan, facts),
            teams: people.map(|person| (person.id.clone(), person.teams.clone())).collect(),
            executors,
            nonce: gate.fresh("once")?,
            epoch: gate.next_epoch(),
            granted_at: now,
            start_before,
            undo_until,
        };
        let grant = Grant::new(decision, self.plan, consents, parts).map_err(|err| {
            let next = "the hold stays; see what it still needs";
            Refusal::new(Blame::Conflict, "no-permit", err.to_string(), next)
        })?;
        let input = grant.signing_input(&gate.ports.permit_key.public_key().thumbprint().to_string())?;
        let signature = gate.ports.permit_key.sign(input.as_bytes());
        let jws = holdpoint_domain::permit::compact(&input, &signature);
        Permit::open(&jws, &gate.ports.permit_key.public_key()).map_err(internal)
    }
}

/// The record of a permit.
pub(crate) fn permitted(permit: &Permit) -> Body {
    let grant = permit.grant();
    Body::Permitted { jws: permit.jws().to_owned(), nonce: grant.nonce.clone(), epoch: grant.epoch }
}

pub(crate) fn keep_narrative(
    gate: &Gate,
    narrative: &Narrative,
    texts: &mut Vec<KeptText>,
) -> Result<Commitment, Refusal> {
    let json = holdpoint_domain::digest::canonical(narrative)?;
    let text = String::from_utf8(json).map_err(internal)?;
    commit(gate, &text, texts)
}

pub(crate) fn keep(gate: &Gate, text: Option<&str>, texts: &mut Vec<KeptText>) -> Result<Submitted, Refusal> {
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
    Ok(commit_any(gate, text, texts))
}

/// Keeps a text beside the ledger, however long, and returns what stands in the ledger for it.
pub(crate) fn commit_any(gate: &Gate, text: &str, texts: &mut Vec<KeptText>) -> Commitment {
    let salt = gate.ports.ids.salt();
    let commitment = Commitment::to(&salt, text.as_bytes());
    texts.push(KeptText { commitment, salt, text: text.to_owned() });
    commitment
}
