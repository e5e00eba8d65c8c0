//! A plan as its records tell it.

use holdpoint_domain::{
    Commitment, Id, Tier, Timestamp,
    approval::{HoldTerms, SignedStatement},
    decision::{Answer, Decision, Worse},
    facts::Facts,
    flow::{self, State},
    id::kind,
    lease::LeaseInfo,
    plan::Plan,
    record::{AgentContext, Body, DoubtWhy, FailWhy, Record},
    trigger::SignedEvidence,
};

use crate::{
    port::{Entry, Store},
    refusal::{Blame, Refusal, internal},
};

/// A plan, folded from its records.
#[derive(Debug, Clone)]
pub struct PlanView {
    /// Its id.
    pub id: Id<kind::Plan>,
    /// Where it is in its life.
    pub state: State,
    /// Its records with their ledger indexes, in order.
    pub records: Vec<(u64, Record)>,
    /// The plan.
    pub plan: Plan,
    /// The commitment to the requester's words.
    pub narrative: Commitment,
    /// The agent's context.
    pub context: AgentContext,
    /// The last decision and its facts.
    pub decided: Option<(Decision, Facts)>,
    /// The last measurement.
    pub evidence: Option<SignedEvidence>,
    /// The terms of the hold.
    pub terms: Option<HoldTerms>,
    /// Statements of people, in order.
    pub statements: Vec<SignedStatement>,
    /// The permit.
    pub permit: Option<String>,
    /// The ledger index of the intent.
    pub intent: Option<u64>,
    /// Leases, in order.
    pub leases: Vec<LeaseInfo>,
    /// The version that our effect left.
    pub after: Option<holdpoint_domain::Digest>,
    /// What was worse at the claim.
    pub worse: Vec<Worse>,
    /// Why it failed.
    pub failed: Option<FailWhy>,
    /// Why nobody knows.
    pub doubt: Option<DoubtWhy>,
    /// When a review is due.
    pub review_due: Option<Timestamp>,
}

impl PlanView {
    /// Reads a plan's records and folds them.
    pub async fn read(store: &dyn Store, id: &Id<kind::Plan>) -> Result<Self, Refusal> {
        let entries = store.history(id).await?;
        if entries.is_empty() {
            return Err(Refusal::new(
                Blame::NotFound,
                "no-such-plan",
                format!("there is no plan `{id}`"),
                "list the plans to find its id",
            ));
        }
        Self::fold(id, &entries)
    }

    /// Folds a plan's entries. The first must propose it, and every event must be legal.
    pub fn fold(id: &Id<kind::Plan>, entries: &[Entry]) -> Result<Self, Refusal> {
        let mut records = Vec::with_capacity(entries.len());
        for entry in entries {
            let record = Record::parse(&entry.bytes)
                .map_err(|err| internal(format!("entry {}: {err}", entry.index)))?;
            records.push((entry.index, record));
        }
        let Some((_, Record { body: Body::Proposed { plan, narrative, context }, .. })) = records.first()
        else {
            return Err(internal(format!("the first record of plan `{id}` does not propose it")));
        };
        let mut view = Self {
            id: id.clone(),
            state: State::New,
            plan: plan.as_ref().clone(),
            narrative: *narrative,
            context: *context,
            records: Vec::new(),
            decided: None,
            evidence: None,
            terms: None,
            statements: Vec::new(),
            permit: None,
            intent: None,
            leases: Vec::new(),
            after: None,
            worse: Vec::new(),
            failed: None,
            doubt: None,
            review_due: None,
        };
        for (index, record) in &records {
            if let Some(event) = record.body.event() {
                view.state =
                    flow::next(view.state, event).map_err(|err| internal(format!("plan `{id}`: {err}")))?;
            }
            view.note(*index, &record.body);
        }
        view.records = records;
        Ok(view)
    }

    fn note(&mut self, index: u64, body: &Body) {
        match body {
            Body::Measured { evidence } => self.evidence = Some(evidence.as_ref().clone()),
            Body::Decided { decision, facts } => {
                self.decided = Some((decision.as_ref().clone(), facts.as_ref().clone()));
            }
            Body::Held { terms } => self.terms = Some(terms.as_ref().clone()),
            Body::Approved { statement } | Body::Rejected { statement } => {
                self.statements.push(statement.as_ref().clone());
            }
            Body::Voided { worse } => self.worse.clone_from(worse),
            Body::Permitted { jws, .. } => self.permit = Some(jws.clone()),
            Body::Claimed { .. } => self.intent = Some(index),
            Body::Leased { lease } | Body::LeasedAgain { lease } => self.leases.push(lease.clone()),
            Body::Applied { after, .. } => self.after = Some(*after),
            Body::Failed { why } | Body::UndoFailed { why } => self.failed = Some(*why),
            Body::InDoubt { why } => self.doubt = Some(*why),
            Body::ReviewOwed { due_at_ms, .. } => self.review_due = Some(*due_at_ms),
            Body::Genesis { .. }
            | Body::Started { .. }
            | Body::Changed { .. }
            | Body::Proposed { .. }
            | Body::Deferred { .. }
            | Body::Expired
            | Body::Revoked { .. }
            | Body::Rehearsed { .. }
            | Body::Applying { .. }
            | Body::Succeeded { .. }
            | Body::Undoing { .. }
            | Body::Undone { .. }
            | Body::Refused { .. } => {}
        }
    }

    /// The ledger index of the last record, for [`crate::port::Txn::expect`].
    #[must_use]
    pub fn last_index(&self) -> u64 {
        self.records.last().map_or(0, |(index, _)| *index)
    }

    /// The tier that it was decided to have.
    #[must_use]
    pub fn tier(&self) -> Option<Tier> {
        self.decided.as_ref().map(|(decision, _)| decision.tier)
    }

    /// The answer that it was given.
    #[must_use]
    pub fn answer(&self) -> Option<Answer> {
        self.decided.as_ref().map(|(decision, _)| decision.answer)
    }

    /// The one step; see [`holdpoint_domain::plan::MAX_STEPS`].
    pub(crate) fn step(&self) -> Result<&holdpoint_domain::plan::Step, Refusal> {
        self.plan.steps().first().ok_or_else(|| internal("a plan without a step"))
    }

    /// When it was proposed.
    #[must_use]
    pub fn proposed_at(&self) -> Option<Timestamp> {
        self.records.first().map(|(_, record)| record.at_ms)
    }
}
