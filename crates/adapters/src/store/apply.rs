//! What an entry does to the projections, with every guard. One code for both uses: the writer runs it over the tables,
//! inside the transaction that appends the entry; start-up runs it over memory, when it folds the log.

use holdpoint_app::{
    port::{PlanRow, StoreError},
    projection::Change,
};
use holdpoint_domain::{
    Id,
    change::Change as InputChange,
    facts::Inputs,
    flow::{Event, FlowError, State, next},
    id::kind,
    lease::LeaseInfo,
};

use super::entry::Meaning;

/// Why an entry cannot be applied.
#[derive(Debug)]
pub(super) enum Stop {
    /// A guard refuses it.
    Refused(StoreError),
    /// The rows could not be read or written.
    Database(rusqlite::Error),
}

impl From<StoreError> for Stop {
    fn from(err: StoreError) -> Self {
        Self::Refused(err)
    }
}

impl From<FlowError> for Stop {
    fn from(err: FlowError) -> Self {
        Self::Refused(err.into())
    }
}

impl From<rusqlite::Error> for Stop {
    fn from(err: rusqlite::Error) -> Self {
        Self::Database(err)
    }
}

/// What stands in no table because it is one value; the fold computes it, the writer carries it on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Scalars {
    pub(super) last_epoch: u64,
    pub(super) inputs: Option<Inputs>,
}

/// A permit's nonce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NonceRow {
    /// The plan that it was granted to.
    pub(super) plan: Id<kind::Plan>,
    /// Whether the claim used it.
    pub(super) used: bool,
}

/// The projections, as rows.
pub(super) trait Rows {
    fn plan(&mut self, id: &Id<kind::Plan>) -> Result<Option<PlanRow>, Stop>;
    fn put_plan(&mut self, row: PlanRow) -> Result<(), Stop>;
    fn nonce(&mut self, nonce: &Id<kind::Nonce>) -> Result<Option<NonceRow>, Stop>;
    fn put_nonce(&mut self, nonce: &Id<kind::Nonce>, row: NonceRow) -> Result<(), Stop>;
    /// Says whether it is new.
    fn add_decision(&mut self, hold: &Id<kind::Hold>, person: &Id<kind::Person>) -> Result<bool, Stop>;
    fn holder(&mut self, target: &Id<kind::Target>) -> Result<Option<Id<kind::Plan>>, Stop>;
    fn lock(&mut self, target: &Id<kind::Target>, plan: &Id<kind::Plan>) -> Result<(), Stop>;
    fn unlock(&mut self, target: &Id<kind::Target>, plan: &Id<kind::Plan>) -> Result<(), Stop>;
    fn put_lease(&mut self, plan: &Id<kind::Plan>, lease: &LeaseInfo) -> Result<(), Stop>;
    fn end_lease(&mut self, lease: &Id<kind::Lease>) -> Result<(), Stop>;
    fn add_bad_outcome(&mut self, row: &PlanRow) -> Result<(), Stop>;
}

/// Applies the entry at `index`, or refuses it. After a refusal the rows may be half changed: the caller rolls back.
pub(super) fn apply(
    rows: &mut impl Rows,
    scalars: &mut Scalars,
    index: u64,
    entry: &Meaning,
) -> Result<(), Stop> {
    let row = match &entry.plan {
        Some(plan) => rows.plan(plan)?,
        None => None,
    };
    let mut step = Step { rows, scalars, index, plan: entry.plan.as_ref(), row };
    for change in &entry.changes {
        step.change(change)?;
    }
    if let Some(mut row) = step.row {
        row.last_index = index;
        rows.put_plan(row)?;
    }
    Ok(())
}

/// One entry being applied.
struct Step<'a, R> {
    rows: &'a mut R,
    scalars: &'a mut Scalars,
    index: u64,
    plan: Option<&'a Id<kind::Plan>>,
    row: Option<PlanRow>,
}

impl<R: Rows> Step<'_, R> {
    fn change(&mut self, change: &Change) -> Result<(), Stop> {
        match change {
            Change::NewPlan { agent, action, target, at } => {
                let (state, event) = (self.state(), Event::Propose);
                let (Some(id), None) = (self.plan, &self.row) else {
                    return Err(FlowError { state, event }.into());
                };
                self.row = Some(PlanRow {
                    id: id.clone(),
                    state,
                    first_index: self.index,
                    last_index: self.index,
                    agent: agent.clone(),
                    action: action.clone(),
                    target: target.clone(),
                    tier: None,
                    hold: None,
                    proposed_at: *at,
                    deadline: None,
                    next_at: None,
                });
            }
            Change::Move(event) => {
                let after = next(self.state(), *event)?;
                let row = self.row(*event)?;
                (row.state, row.deadline, row.next_at) = (after, None, None);
            }
            Change::SetTier(tier) => self.row(Event::Hold)?.tier = Some(*tier),
            Change::SetHold { hold, until } => {
                let row = self.row(Event::Hold)?;
                (row.hold, row.deadline) = (Some(hold.clone()), Some(*until));
            }
            Change::SetNext { next_at, until } => {
                let row = self.row(Event::Defer)?;
                (row.next_at, row.deadline) = (Some(*next_at), Some(*until));
            }
            Change::DecidedOn { hold, person } => {
                if !self.rows.add_decision(hold, person)? {
                    let (hold, person) = (hold.clone(), person.clone());
                    return Err(StoreError::DecidedBefore { hold, person }.into());
                }
            }
            Change::GrantNonce { nonce, epoch } => self.grant(nonce, *epoch)?,
            Change::UseNonce { nonce } => self.claim(nonce)?,
            Change::Lock => {
                let row = self.row(Event::Claim)?.clone();
                self.rows.lock(&row.target, &row.id)?;
            }
            Change::Unlock => {
                let row = self.row(Event::Fail)?.clone();
                self.rows.unlock(&row.target, &row.id)?;
            }
            Change::LeaseBegins(lease) => {
                let plan = self.row(Event::Lease)?.id.clone();
                self.rows.put_lease(&plan, lease)?;
            }
            Change::LeaseEnds(lease) => self.rows.end_lease(lease)?,
            Change::BadOutcome => {
                let row = self.row(Event::Fail)?.clone();
                self.rows.add_bad_outcome(&row)?;
            }
            Change::SetInputs(inputs) => self.scalars.inputs = Some(*inputs),
            Change::ChangeInput(change) => self.scalars.inputs = Some(replaced(self.scalars.inputs, change)?),
        }
        Ok(())
    }

    fn state(&self) -> State {
        self.row.as_ref().map_or(State::New, |row| row.state)
    }

    /// The plan's row; `event` says what was tried when there is no such plan.
    fn row(&mut self, event: Event) -> Result<&mut PlanRow, Stop> {
        self.row.as_mut().ok_or_else(|| FlowError { state: State::New, event }.into())
    }

    fn grant(&mut self, nonce: &Id<kind::Nonce>, epoch: u64) -> Result<(), Stop> {
        let last = self.scalars.last_epoch;
        if epoch <= last {
            return Err(StoreError::Epoch { last, got: epoch }.into());
        }
        if self.rows.nonce(nonce)?.is_some() {
            return Err(StoreError::Nonce(nonce.clone()).into());
        }
        self.scalars.last_epoch = epoch;
        let plan = self.row(Event::Permit)?.id.clone();
        self.rows.put_nonce(nonce, NonceRow { plan, used: false })
    }

    fn claim(&mut self, nonce: &Id<kind::Nonce>) -> Result<(), Stop> {
        let row = self.row(Event::Claim)?;
        let (plan, target) = (row.id.clone(), row.target.clone());
        match self.rows.nonce(nonce)? {
            Some(granted) if granted.plan == plan && !granted.used => {}
            Some(_) | None => return Err(StoreError::Nonce(nonce.clone()).into()),
        }
        if let Some(by) = self.rows.holder(&target)? {
            return Err(StoreError::TargetBusy { target, by }.into());
        }
        self.rows.put_nonce(nonce, NonceRow { plan, used: true })
    }
}

fn replaced(active: Option<Inputs>, change: &InputChange) -> Result<Inputs, StoreError> {
    let active =
        active.ok_or_else(|| StoreError::Corrupt("an input is replaced before genesis".to_owned()))?;
    change.apply(&active).map_err(|err| StoreError::Corrupt(err.to_string()))
}
