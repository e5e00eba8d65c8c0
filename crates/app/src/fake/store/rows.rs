//! The projections in memory, with every guard that the port promises. One code for the append and for the fold at start-up.

use std::collections::{BTreeMap, BTreeSet};

use holdpoint_domain::{
    Id,
    facts::Inputs,
    flow::{Event, FlowError, State, next},
    id::kind,
    lease::LeaseInfo,
    record::Record,
};

use crate::{
    port::{PlanRow, StoreError},
    projection::{Change, changes},
};

/// All projections. A clone is a transaction: it replaces the original, or is dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rows {
    pub(super) plans: BTreeMap<Id<kind::Plan>, PlanRow>,
    pub(super) history: BTreeMap<Id<kind::Plan>, Vec<u64>>,
    pub(super) leases: BTreeMap<Id<kind::Lease>, (Id<kind::Plan>, LeaseInfo)>,
    pub(super) locks: BTreeMap<Id<kind::Target>, Id<kind::Plan>>,
    pub(super) bad_outcomes: BTreeSet<(Id<kind::Agent>, Id<kind::Action>)>,
    pub(super) inputs: Option<Inputs>,
    pub(super) last_epoch: u64,
    nonces: BTreeMap<Id<kind::Nonce>, Nonce>,
    decisions: BTreeSet<(Id<kind::Hold>, Id<kind::Person>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Nonce {
    plan: Id<kind::Plan>,
    used: bool,
}

impl Rows {
    /// Applies a record that stands at `index`, or refuses it; the rows may then be half changed.
    pub(super) fn apply(&mut self, index: u64, record: &Record) -> Result<(), StoreError> {
        for change in changes(record) {
            self.change(index, record.plan.as_ref(), change)?;
        }
        if let Some(plan) = &record.plan
            && let Some(row) = self.plans.get_mut(plan)
        {
            row.last_index = index;
            self.history.entry(plan.clone()).or_default().push(index);
        }
        Ok(())
    }

    fn change(
        &mut self,
        index: u64,
        plan: Option<&Id<kind::Plan>>,
        change: Change,
    ) -> Result<(), StoreError> {
        match change {
            Change::NewPlan { agent, action, target, at } => {
                let (Some(id), None) = (plan, plan.and_then(|id| self.plans.get(id))) else {
                    let state = plan.and_then(|id| self.plans.get(id)).map_or(State::New, |row| row.state);
                    return Err(FlowError { state, event: Event::Propose }.into());
                };
                let row = PlanRow {
                    id: id.clone(),
                    state: State::New,
                    first_index: index,
                    last_index: index,
                    agent,
                    action,
                    target,
                    tier: None,
                    hold: None,
                    proposed_at: at,
                    deadline: None,
                    next_at: None,
                };
                self.plans.insert(id.clone(), row);
            }
            Change::Move(event) => {
                let row = self.row(plan, event)?;
                row.state = next(row.state, event)?;
                (row.deadline, row.next_at) = (None, None);
            }
            Change::SetTier(tier) => self.row(plan, Event::Hold)?.tier = Some(tier),
            Change::SetHold { hold, until } => {
                let row = self.row(plan, Event::Hold)?;
                (row.hold, row.deadline) = (Some(hold), Some(until));
            }
            Change::SetNext { next_at, until } => {
                let row = self.row(plan, Event::Defer)?;
                (row.next_at, row.deadline) = (Some(next_at), Some(until));
            }
            Change::DecidedOn { hold, person } => {
                if !self.decisions.insert((hold.clone(), person.clone())) {
                    return Err(StoreError::DecidedBefore { hold, person });
                }
            }
            Change::GrantNonce { nonce, epoch } => self.grant(plan, nonce, epoch)?,
            Change::UseNonce { nonce } => self.claim(plan, &nonce)?,
            Change::Lock => {
                let row = self.row(plan, Event::Claim)?;
                let (target, id) = (row.target.clone(), row.id.clone());
                self.locks.insert(target, id);
            }
            Change::Unlock => {
                let row = self.row(plan, Event::Fail)?;
                let (target, id) = (row.target.clone(), row.id.clone());
                if self.locks.get(&target) == Some(&id) {
                    self.locks.remove(&target);
                }
            }
            Change::LeaseBegins(lease) => {
                let id = self.row(plan, Event::Lease)?.id.clone();
                self.leases.insert(lease.id.clone(), (id, lease));
            }
            Change::LeaseEnds(lease) => {
                self.leases.remove(&lease);
            }
            Change::BadOutcome => {
                let row = self.row(plan, Event::Fail)?;
                let outcome = (row.agent.clone(), row.action.clone());
                self.bad_outcomes.insert(outcome);
            }
            Change::SetInputs(inputs) => self.inputs = Some(inputs),
            Change::ChangeInput(change) => {
                let corrupt = |what: String| StoreError::Corrupt(what);
                let active =
                    self.inputs.ok_or_else(|| corrupt("an input changes before genesis".to_owned()))?;
                self.inputs = Some(change.apply(&active).map_err(|err| corrupt(err.to_string()))?);
            }
        }
        Ok(())
    }

    fn row(&mut self, plan: Option<&Id<kind::Plan>>, event: Event) -> Result<&mut PlanRow, StoreError> {
        let row = plan.and_then(|plan| self.plans.get_mut(plan));
        row.ok_or_else(|| FlowError { state: State::New, event }.into())
    }

    fn grant(
        &mut self,
        plan: Option<&Id<kind::Plan>>,
        nonce: Id<kind::Nonce>,
        epoch: u64,
    ) -> Result<(), StoreError> {
        if epoch <= self.last_epoch {
            return Err(StoreError::Epoch { last: self.last_epoch, got: epoch });
        }
        if self.nonces.contains_key(&nonce) {
            return Err(StoreError::Nonce(nonce));
        }
        let plan = self.row(plan, Event::Permit)?.id.clone();
        self.last_epoch = epoch;
        self.nonces.insert(nonce, Nonce { plan, used: false });
        Ok(())
    }

    fn claim(&mut self, plan: Option<&Id<kind::Plan>>, nonce: &Id<kind::Nonce>) -> Result<(), StoreError> {
        let row = self.row(plan, Event::Claim)?;
        let (id, target) = (row.id.clone(), row.target.clone());
        if let Some(by) = self.locks.get(&target) {
            return Err(StoreError::TargetBusy { target, by: by.clone() });
        }
        match self.nonces.get_mut(nonce).filter(|granted| granted.plan == id && !granted.used) {
            Some(granted) => granted.used = true,
            None => return Err(StoreError::Nonce(nonce.clone())),
        }
        Ok(())
    }
}
