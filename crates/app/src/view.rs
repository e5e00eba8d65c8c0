//! A plan as its records tell it.

use holdpoint_domain::{
    Commitment, Id, Tier, Timestamp,
    aftercare::{ResolutionStatement, ReviewStatement},
    aftermath::{Aftermath, Baseline},
    approval::{HoldTerms, SignedStatement},
    decision::{Answer, Decision, Worse},
    facts::PlanFacts,
    flow::{self, State},
    id::kind,
    lease::LeaseInfo,
    plan::Plan,
    record::{AgentContext, Body, DoubtWhy, FailWhy, Record},
    signed::Signed,
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
    pub decided: Option<(Decision, PlanFacts)>,
    /// The last measurement of each condition on each target.
    pub evidence: Vec<SignedEvidence>,
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
    /// The versions that our effects left, one a step that was applied, in order.
    pub left: Vec<holdpoint_domain::Digest>,
    /// Why a later step could not be undone, while the earlier ones are.
    pub not_undone: Option<FailWhy>,
    /// The step whose undo is under way or was the last one undone.
    pub undoing: Option<u32>,
    /// What was worse at the claim.
    pub worse: Vec<Worse>,
    /// Why it failed.
    pub failed: Option<FailWhy>,
    /// Why nobody knows.
    pub doubt: Option<DoubtWhy>,
    /// What all services were like right before the run; none where nobody measured.
    pub baseline: Option<Baseline>,
    /// What changed and which services moved; none where nobody measured, or not yet.
    pub aftermath: Option<Aftermath>,
    /// When a review is due; none when nobody owes one, or somebody has answered.
    pub review_due: Option<Timestamp>,
    /// The last review.
    pub review: Option<Signed<ReviewStatement>>,
    /// How a person found a run in doubt.
    pub resolution: Option<Signed<ResolutionStatement>>,
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
            evidence: Vec::new(),
            terms: None,
            statements: Vec::new(),
            permit: None,
            intent: None,
            leases: Vec::new(),
            left: Vec::new(),
            not_undone: None,
            undoing: None,
            worse: Vec::new(),
            failed: None,
            doubt: None,
            baseline: None,
            aftermath: None,
            review_due: None,
            review: None,
            resolution: None,
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
            Body::Measured { evidence } => {
                let (condition, target) = (&evidence.evidence.condition, &evidence.evidence.target);
                let same = |old: &SignedEvidence| {
                    old.evidence.condition == *condition && old.evidence.target == *target
                };
                self.evidence.retain(|old| !same(old));
                self.evidence.push(evidence.as_ref().clone());
            }
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
            Body::Applied { after, .. } => self.left.push(*after),
            Body::Undoing { step, .. } | Body::Unwound { step, .. } => self.undoing = Some(*step),
            Body::NotUndone { step, why } => {
                (self.undoing, self.not_undone) = (Some(*step), self.not_undone.or(Some(*why)));
            }
            Body::Failed { why } | Body::UndoFailed { why } => self.failed = Some(*why),
            Body::InDoubt { why } => self.doubt = Some(*why),
            Body::Baseline { baseline } => self.baseline = Some(baseline.as_ref().clone()),
            Body::Aftermath { aftermath } => self.aftermath = Some(aftermath.as_ref().clone()),
            Body::ReviewOwed { due_at_ms, .. } => self.review_due = Some(*due_at_ms),
            Body::Reviewed { statement, .. } => {
                (self.review_due, self.review) = (None, Some(statement.as_ref().clone()));
            }
            Body::Resolved { statement, .. } => self.resolution = Some(statement.as_ref().clone()),
            Body::Genesis { .. }
            | Body::Started { .. }
            | Body::ChangeProposed { .. }
            | Body::ChangeDecided { .. }
            | Body::Changed { .. }
            | Body::InputRefused { .. }
            | Body::InputRestored { .. }
            | Body::Halted { .. }
            | Body::Resumed { .. }
            | Body::Strangers { .. }
            | Body::Incident { .. }
            | Body::Delegated { .. }
            | Body::Invited { .. }
            | Body::Enrolling { .. }
            | Body::Proposed { .. }
            | Body::Deferred { .. }
            | Body::Expired
            | Body::Narrowed { .. }
            | Body::RevocationAsked { .. }
            | Body::Revoked { .. }
            | Body::Rehearsed { .. }
            | Body::Applying { .. }
            | Body::Succeeded { .. }
            | Body::Undone { .. }
            | Body::Reconciled { .. }
            | Body::Evaluated { .. }
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

    /// The number of the step that comes next when all goes well: how many were applied.
    #[must_use]
    pub fn applied(&self) -> u32 {
        u32::try_from(self.left.len()).unwrap_or(u32::MAX)
    }

    /// Whether an effect was begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.records.iter().any(|(_, record)| matches!(record.body, Body::Applying { .. }))
    }

    /// When it was proposed.
    #[must_use]
    pub fn proposed_at(&self) -> Option<Timestamp> {
        self.records.first().map(|(_, record)| record.at_ms)
    }
}
