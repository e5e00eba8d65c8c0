//! The book: what the log says, read entry by entry by somebody who trusts nothing else. It folds plans by the reviewed table of
//! states and events, and keeps what the checkers compare with what was done outside.

use std::collections::{BTreeMap, BTreeSet};

use holdpoint_domain::{
    Digest, Id,
    approval::{HoldTerms, SignedStatement},
    change::ChangeTerms,
    decision::Decision,
    facts::{Inputs, PlanFacts},
    flow::{Event, State},
    id::kind,
    lease::LeaseInfo,
    passkey::CredentialId,
    permit::{Grant, Permit},
    plan::Plan,
    proof::Proof,
    record::{Body, Record, Request},
    signature::PublicKey,
};

use super::{
    Violation,
    coverage::{Coverage, table},
};

/// A plan, as the log tells it.
pub(super) struct Case {
    /// Its name in the trace.
    pub(super) name: String,
    pub(super) id: Id<kind::Plan>,
    pub(super) plan: Plan,
    pub(super) digest: Digest,
    pub(super) state: State,
    pub(super) last_index: u64,
    pub(super) decided: Option<(Decision, PlanFacts)>,
    pub(super) terms: Option<HoldTerms>,
    pub(super) statements: Vec<SignedStatement>,
    pub(super) permit: Option<(Grant, String)>,
    /// The index of its intent.
    pub(super) claimed: Option<u64>,
    /// Indexes of the records that announce a step, or its undo.
    pub(super) applying: BTreeMap<u32, u64>,
    pub(super) undoing: BTreeMap<u32, u64>,
    pub(super) applied: BTreeMap<u32, Digest>,
    pub(super) leases: Vec<(u64, LeaseInfo)>,
    pub(super) owes: bool,
}

/// The log, folded.
pub(super) struct Book {
    pub(super) size: u64,
    pub(super) cases: BTreeMap<Id<kind::Plan>, Case>,
    /// In the order in which they were proposed.
    pub(super) order: Vec<Id<kind::Plan>>,
    pub(super) by_epoch: BTreeMap<u64, Id<kind::Plan>>,
    pub(super) leases: BTreeMap<Id<kind::Lease>, (Id<kind::Plan>, u64)>,
    /// First leases: those that are not for an undo.
    pub(super) first_leases: BTreeSet<Id<kind::Lease>>,
    pub(super) inputs: Option<Inputs>,
    pub(super) changes: Vec<ChangeTerms>,
    pub(super) refused: Vec<(u64, Request)>,
    /// A record of each event, for whoever wants to write it where it does not belong.
    pub(super) samples: BTreeMap<Event, Record>,
    pub(super) last_epoch: u64,
    pub(super) used: BTreeSet<Id<kind::Nonce>>,
    /// The last counter of each passkey that counted.
    pub(super) counters: BTreeMap<CredentialId, u32>,
    pub(super) coverage: Coverage,
    table: BTreeMap<(State, Event), State>,
    gate_key: PublicKey,
}

impl Book {
    pub(super) fn new(gate_key: PublicKey) -> Self {
        Self {
            size: 0,
            cases: BTreeMap::new(),
            order: Vec::new(),
            by_epoch: BTreeMap::new(),
            leases: BTreeMap::new(),
            first_leases: BTreeSet::new(),
            inputs: None,
            changes: Vec::new(),
            refused: Vec::new(),
            samples: BTreeMap::new(),
            last_epoch: 0,
            used: BTreeSet::new(),
            counters: BTreeMap::new(),
            coverage: Coverage::default(),
            table: table(),
            gate_key,
        }
    }

    /// Whether the reviewed table allows an event in a state.
    pub(super) fn allows(&self, state: State, event: Event) -> bool {
        self.table.contains_key(&(state, event))
    }

    pub(super) fn case(&self, plan: &Id<kind::Plan>) -> Option<&Case> {
        self.cases.get(plan)
    }

    /// The cases in these states, in order.
    pub(super) fn in_states(&self, wanted: impl Fn(State) -> bool) -> Vec<&Case> {
        self.order.iter().filter_map(|id| self.cases.get(id)).filter(|case| wanted(case.state)).collect()
    }

    /// The name of a plan in the trace.
    pub(super) fn name(&self, plan: Option<&Id<kind::Plan>>) -> String {
        let case = plan.and_then(|plan| self.cases.get(plan));
        case.map_or_else(String::new, |case| case.name.clone())
    }

    /// Takes the next entry. Checks come before it ([`super::checks`]): they compare the book as it was with what comes.
    pub(super) fn take(&mut self, record: &Record) -> Result<(), Violation> {
        let index = self.size;
        self.size += 1;
        let about = record.plan.clone();
        if let (Body::Proposed { plan, .. }, Some(id)) = (&record.body, &about) {
            let case = Case {
                name: format!("p{}", self.order.len()),
                id: id.clone(),
                plan: plan.as_ref().clone(),
                digest: plan.digest().expect("a plan has a canonical form"),
                state: State::New,
                last_index: index,
                decided: None,
                terms: None,
                statements: Vec::new(),
                permit: None,
                claimed: None,
                applying: BTreeMap::new(),
                undoing: BTreeMap::new(),
                applied: BTreeMap::new(),
                leases: Vec::new(),
                owes: false,
            };
            self.order.push(id.clone());
            self.cases.insert(id.clone(), case);
        }
        if let Some(event) = record.body.event() {
            self.moves(index, about.as_ref(), event)?;
            self.samples.entry(event).or_insert_with(|| record.clone());
        }
        self.note_global(index, record);
        let key = self.gate_key.clone();
        let Some(case) = about.as_ref().and_then(|id| self.cases.get_mut(id)) else { return Ok(()) };
        case.last_index = index;
        match &record.body {
            Body::Decided { decision, facts } => {
                case.decided = Some((decision.as_ref().clone(), facts.as_ref().clone()));
            }
            Body::Held { terms } => case.terms = Some(terms.as_ref().clone()),
            Body::Approved { statement } | Body::Rejected { statement } => {
                case.statements.push(statement.as_ref().clone());
            }
            Body::Permitted { jws, epoch, .. } => {
                let permit = Permit::open(jws, &key).map_err(|err| Violation {
                    checker: "inv06",
                    what: format!("the permit of {} does not open: {err}", case.name),
                })?;
                case.permit = Some((permit.grant().clone(), jws.clone()));
                self.by_epoch.insert(*epoch, case.id.clone());
            }
            Body::Claimed { .. } => case.claimed = Some(index),
            Body::Leased { lease } | Body::LeasedAgain { lease } => {
                case.leases.push((index, lease.clone()));
                self.leases.insert(lease.id.clone(), (case.id.clone(), index));
                if matches!(record.body, Body::Leased { .. }) {
                    self.first_leases.insert(lease.id.clone());
                }
            }
            Body::Applying { step, .. } => drop(case.applying.insert(*step, index)),
            Body::Applied { step, after, .. } => drop(case.applied.insert(*step, *after)),
            Body::Undoing { step, .. } => drop(case.undoing.insert(*step, index)),
            Body::ReviewOwed { .. } => case.owes = true,
            Body::Reviewed { .. } => case.owes = false,
            _ => {}
        }
        Ok(())
    }

    fn moves(&mut self, index: u64, plan: Option<&Id<kind::Plan>>, event: Event) -> Result<(), Violation> {
        let unknown = || Violation { checker: "flow", what: format!("entry {index} is about no plan") };
        let case = plan.and_then(|plan| self.cases.get_mut(plan)).ok_or_else(unknown)?;
        let Some(after) = self.table.get(&(case.state, event)) else {
            let what =
                format!("entry {index}: `{event}` happened to {}, which is `{}`", case.name, case.state);
            return Err(Violation { checker: "flow", what });
        };
        self.coverage.reach(case.state, event);
        case.state = *after;
        Ok(())
    }

    fn note_global(&mut self, index: u64, record: &Record) {
        if let Some((passkey, counter)) = record.body.proof().and_then(Proof::counter) {
            self.counters.insert(passkey.clone(), counter);
        }
        match &record.body {
            Body::Genesis { inputs, .. } => self.inputs = Some(*inputs),
            Body::Changed { change, .. } => {
                let inputs = self.inputs.as_ref().and_then(|inputs| change.apply(inputs).ok());
                self.inputs = inputs.or(self.inputs);
            }
            Body::ChangeProposed { terms } => self.changes.push(terms.as_ref().clone()),
            Body::Refused { request, .. } => self.refused.push((index, *request)),
            Body::Permitted { epoch, .. } => self.last_epoch = self.last_epoch.max(*epoch),
            Body::Claimed { nonce, .. } => drop(self.used.insert(nonce.clone())),
            _ => {}
        }
    }
}
