//! What an entry does to the projections, with every guard. One code for every store and for both uses: the writer runs it over
//! its tables, inside the transaction that appends the entry; start-up runs it over memory, when it folds the log.

use holdpoint_domain::{
    Digest, Id, Timestamp,
    change::Change as InputChange,
    enrol::InvitationState,
    facts::Inputs,
    flow::{Event, FlowError, State, next},
    halt::Halt,
    id::kind,
    incident::Incidents,
    lease::LeaseInfo,
    passkey::{CredentialId, counter_follows},
    reconcile::{Account, Due, Part},
};

use super::{AccountRow, Change, ChangeRow, ChangeState, Look, Owed, RunRow};
use crate::port::{PlanRow, StoreError};

/// Why an entry cannot be applied.
#[derive(Debug)]
pub enum Stop<E> {
    /// A guard refuses it.
    Refused(StoreError),
    /// The rows could not be read or written.
    Rows(E),
}

impl<E> From<StoreError> for Stop<E> {
    fn from(err: StoreError) -> Self {
        Self::Refused(err)
    }
}

impl<E> From<FlowError> for Stop<E> {
    fn from(err: FlowError) -> Self {
        Self::Refused(err.into())
    }
}

/// What stands in no table because it is one value; the fold computes it, the writer carries it on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scalars {
    /// The highest epoch ever granted.
    pub last_epoch: u64,
    /// The control inputs in force.
    pub inputs: Option<Inputs>,
    /// How many permits were ever claimed.
    pub claims: u64,
    /// The halt in force, as far as it is recorded.
    pub halt: Option<Halt>,
    /// Incidents that sources told of: bounded, and none of them has a table.
    pub incidents: Incidents,
}

impl Scalars {
    /// Whether these are the control inputs in force. Before genesis nothing is in force that could have been replaced.
    #[must_use]
    pub fn are_under(&self, inputs: &Inputs) -> bool {
        self.inputs.is_none_or(|active| active == *inputs)
    }
}

/// A permit's nonce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NonceRow {
    /// The plan that it was granted to.
    pub plan: Id<kind::Plan>,
    /// Whether the claim used it.
    pub used: bool,
}

/// The projections, as rows of some store, inside one transaction.
#[allow(missing_docs, reason = "each says in its name what it reads or writes")]
pub trait Rows {
    /// Why rows cannot be read or written.
    type Error;

    fn plan(&mut self, id: &Id<kind::Plan>) -> Result<Option<PlanRow>, Self::Error>;
    fn put_plan(&mut self, row: PlanRow) -> Result<(), Self::Error>;
    fn run(&mut self, plan: &Id<kind::Plan>) -> Result<Option<RunRow>, Self::Error>;
    fn put_run(&mut self, row: RunRow) -> Result<(), Self::Error>;
    fn input_change(&mut self, id: &Id<kind::Change>) -> Result<Option<ChangeRow>, Self::Error>;
    fn put_input_change(&mut self, row: ChangeRow) -> Result<(), Self::Error>;
    fn nonce(&mut self, nonce: &Id<kind::Nonce>) -> Result<Option<NonceRow>, Self::Error>;
    fn put_nonce(&mut self, nonce: &Id<kind::Nonce>, row: NonceRow) -> Result<(), Self::Error>;
    /// Says whether it is new.
    fn add_decision(&mut self, hold: &Id<kind::Hold>, person: &Id<kind::Person>)
    -> Result<bool, Self::Error>;
    fn counter(&mut self, passkey: &CredentialId) -> Result<Option<u32>, Self::Error>;
    fn put_counter(&mut self, passkey: &CredentialId, counter: u32) -> Result<(), Self::Error>;
    fn invitation(&mut self, act: &Id<kind::Act>) -> Result<Option<InvitationState>, Self::Error>;
    fn put_invitation(&mut self, row: InvitationState) -> Result<(), Self::Error>;
    fn account(&mut self, digest: &Digest) -> Result<Option<AccountRow>, Self::Error>;
    fn put_account(&mut self, digest: Digest, row: AccountRow) -> Result<(), Self::Error>;
    fn holder(&mut self, target: &Id<kind::Target>) -> Result<Option<Id<kind::Plan>>, Self::Error>;
    fn lock(&mut self, target: &Id<kind::Target>, plan: &Id<kind::Plan>) -> Result<(), Self::Error>;
    /// Only where the plan holds it.
    fn unlock(&mut self, target: &Id<kind::Target>, plan: &Id<kind::Plan>) -> Result<(), Self::Error>;
    fn put_lease(&mut self, plan: &Id<kind::Plan>, lease: &LeaseInfo) -> Result<(), Self::Error>;
    fn end_lease(&mut self, lease: &Id<kind::Lease>) -> Result<(), Self::Error>;
}

/// Applies the changes of the entry at `index`, or refuses it. After a refusal the rows may be half changed: the caller rolls back.
pub fn apply<R: Rows>(
    rows: &mut R,
    scalars: &mut Scalars,
    index: u64,
    plan: Option<&Id<kind::Plan>>,
    changes: &[Change],
) -> Result<(), Stop<R::Error>> {
    let row = match plan {
        Some(plan) => rows.plan(plan).map_err(Stop::Rows)?,
        None => None,
    };
    let mut step = Step { rows, scalars, index, plan, row, run: None };
    for change in changes {
        step.change(change)?;
    }
    let Step { rows, row, run, .. } = step;
    if let Some(mut row) = row {
        row.last_index = index;
        rows.put_plan(row).map_err(Stop::Rows)?;
    }
    run.map_or(Ok(()), |run| rows.put_run(run)).map_err(Stop::Rows)
}

/// One entry being applied.
struct Step<'a, R> {
    rows: &'a mut R,
    scalars: &'a mut Scalars,
    index: u64,
    plan: Option<&'a Id<kind::Plan>>,
    row: Option<PlanRow>,
    run: Option<RunRow>,
}

impl<R: Rows> Step<'_, R> {
    fn change(&mut self, change: &Change) -> Result<(), Stop<R::Error>> {
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
            Change::Move(event) => self.moves(*event)?,
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
                if !self.rows.add_decision(hold, person).map_err(Stop::Rows)? {
                    let (hold, person) = (hold.clone(), person.clone());
                    return Err(StoreError::DecidedBefore { hold, person }.into());
                }
            }
            Change::Asserted { credential, counter } => {
                let last = self.rows.counter(credential).map_err(Stop::Rows)?.unwrap_or(0);
                if !counter_follows(last, *counter) {
                    let (passkey, got) = (credential.clone(), *counter);
                    return Err(StoreError::Counter { passkey, last, got }.into());
                }
                self.rows.put_counter(credential, *counter).map_err(Stop::Rows)?;
            }
            Change::Hear { told, at } => self.scalars.incidents.hear(told, *at),
            Change::Invite(invitation) => {
                let row = InvitationState { invitation: invitation.as_ref().clone(), redeemed: false };
                self.rows.put_invitation(row).map_err(Stop::Rows)?;
            }
            Change::Redeem(act) => {
                let row = self.rows.invitation(act).map_err(Stop::Rows)?;
                let Some(mut row) = row.filter(|row| !row.redeemed) else {
                    return Err(StoreError::Redeemed(act.clone()).into());
                };
                row.redeemed = true;
                self.rows.put_invitation(row).map_err(Stop::Rows)?;
            }
            Change::Account { account, part, by, at, due } => {
                self.account(account, *part, by, *at, due.as_ref())?
            }
            Change::UnderInputs(inputs) => {
                if !self.scalars.are_under(inputs) {
                    return Err(StoreError::StaleInputs.into());
                }
            }
            Change::GrantNonce { nonce, epoch } => self.grant(nonce, *epoch)?,
            Change::Claim { nonce, run } => self.claim(nonce, run)?,
            Change::BeginStep(step) => self.at_step(*step, Event::Apply).map(|_| ())?,
            Change::EndStep(step) => {
                let run = self.at_step(*step, Event::Observe)?;
                run.applied = run.applied.saturating_add(1);
            }
            Change::NothingApplied => self.at_step(0, Event::Fail).map(|_| ())?,
            Change::Unlock(at) => {
                let run = self.run(Event::Fail)?;
                run.ended_at = Some(*at);
                let run = run.clone();
                for target in &run.targets {
                    self.rows.unlock(target, &run.plan).map_err(Stop::Rows)?;
                }
            }
            Change::LeaseBegins(lease) => {
                let plan = self.row(Event::Lease)?.id.clone();
                self.rows.put_lease(&plan, lease).map_err(Stop::Rows)?;
            }
            Change::LeaseEnds(lease) => self.rows.end_lease(lease).map_err(Stop::Rows)?,
            Change::BadOutcome => self.run(Event::Fail)?.suspends = true,
            Change::OweReview { due_at, owner } => {
                self.run(Event::Fail)?.owes = Some(Owed { due_at: *due_at, owner: owner.clone() });
            }
            Change::Review { may_go_on } => {
                let run = self.run(Event::Resolve)?;
                (run.owes, run.suspends) = (None, !may_go_on);
            }
            Change::SetInputs(inputs) => self.scalars.inputs = Some(*inputs),
            Change::NewInputChange(terms) => {
                if self.rows.input_change(&terms.id).map_err(Stop::Rows)?.is_some() {
                    return Err(StoreError::NotOpen(terms.id.clone()).into());
                }
                let (terms, first_index) = (terms.as_ref().clone(), self.index);
                let (state, approvals, signatures) = (ChangeState::Open, Vec::new(), Vec::new());
                let row = ChangeRow { terms, first_index, state, approvals, signatures };
                self.rows.put_input_change(row).map_err(Stop::Rows)?;
            }
            Change::DecideInputChange { id, person, approval } => {
                let mut row = self.open_change(id)?;
                if row.approvals.contains(person) || row.terms.author == *person {
                    return Err(StoreError::NotOpen(id.clone()).into());
                }
                if let Some(signature) = approval {
                    row.approvals.push(person.clone());
                    row.signatures.push(signature.clone());
                } else {
                    row.state = ChangeState::Rejected;
                }
                self.rows.put_input_change(row).map_err(Stop::Rows)?;
            }
            Change::ChangeInput(change) => self.change_input(change)?,
            Change::SetHalt(None) => self.scalars.halt = None,
            // A hard one is never made soft; only a person who resumes ends it.
            Change::SetHalt(Some(halt)) => {
                if self.scalars.halt.as_ref().is_none_or(|old| old.reach <= halt.reach) {
                    self.scalars.halt = Some(halt.clone());
                }
            }
        }
        Ok(())
    }

    fn state(&self) -> State {
        self.row.as_ref().map_or(State::New, |row| row.state)
    }

    fn moves(&mut self, event: Event) -> Result<(), Stop<R::Error>> {
        let before = self.state();
        let after = next(before, event)?;
        let row = self.row(event)?;
        (row.state, row.deadline, row.next_at) = (after, None, None);
        if before.is_running() {
            self.run(event)?.state = after;
        }
        Ok(())
    }

    /// The plan's row; `event` says what was tried when there is no such plan.
    fn row(&mut self, event: Event) -> Result<&mut PlanRow, Stop<R::Error>> {
        self.row.as_mut().ok_or_else(|| FlowError { state: State::New, event }.into())
    }

    /// The plan's run; `event` says what was tried when it has none.
    fn run(&mut self, event: Event) -> Result<&mut RunRow, Stop<R::Error>> {
        let none = FlowError { state: self.state(), event };
        if self.run.is_none() {
            let plan = self.plan.ok_or(none)?;
            self.run = self.rows.run(plan).map_err(Stop::Rows)?;
        }
        self.run.as_mut().ok_or_else(|| none.into())
    }

    /// The run, where the next step to apply is this one.
    fn at_step(&mut self, step: u32, event: Event) -> Result<&mut RunRow, Stop<R::Error>> {
        let wrong = FlowError { state: self.state(), event };
        let run = self.run(event)?;
        if run.applied == step { Ok(run) } else { Err(wrong.into()) }
    }

    fn grant(&mut self, nonce: &Id<kind::Nonce>, epoch: u64) -> Result<(), Stop<R::Error>> {
        let last = self.scalars.last_epoch;
        if epoch <= last {
            return Err(StoreError::Epoch { last, got: epoch }.into());
        }
        if self.rows.nonce(nonce).map_err(Stop::Rows)?.is_some() {
            return Err(StoreError::Nonce(nonce.clone()).into());
        }
        self.scalars.last_epoch = epoch;
        let plan = self.row(Event::Permit)?.id.clone();
        self.rows.put_nonce(nonce, NonceRow { plan, used: false }).map_err(Stop::Rows)
    }

    fn claim(&mut self, nonce: &Id<kind::Nonce>, run: &RunRow) -> Result<(), Stop<R::Error>> {
        let plan = self.row(Event::Claim)?.id.clone();
        match self.rows.nonce(nonce).map_err(Stop::Rows)? {
            Some(granted) if granted.plan == plan && !granted.used => {}
            Some(_) | None => return Err(StoreError::Nonce(nonce.clone()).into()),
        }
        for target in &run.targets {
            if let Some(by) = self.rows.holder(target).map_err(Stop::Rows)? {
                return Err(StoreError::TargetBusy { target: target.clone(), by }.into());
            }
            self.rows.lock(target, &plan).map_err(Stop::Rows)?;
        }
        self.rows.put_nonce(nonce, NonceRow { plan, used: true }).map_err(Stop::Rows)?;
        self.scalars.claims = self.scalars.claims.saturating_add(1);
        self.run = Some(run.clone());
        Ok(())
    }

    fn account(
        &mut self,
        account: &Account,
        part: Part,
        by: &Id<kind::Person>,
        at: Timestamp,
        due: Option<&Due>,
    ) -> Result<(), Stop<R::Error>> {
        let digest = account.digest().map_err(|err| StoreError::Corrupt(err.to_string()))?;
        let closed = || StoreError::AccountNotOpen(digest);
        let known = self.rows.account(&digest).map_err(Stop::Rows)?;
        let was_there = account.people.contains(by);
        let row = match (part, known, due) {
            (Part::Reported, None, Some(due)) if was_there => AccountRow {
                account: account.clone(),
                first_index: self.index,
                reported_by: by.clone(),
                reported_at: at,
                due: due.clone(),
                confirmed_by: None,
                look: None,
            },
            (Part::Confirmed, Some(row), None)
                if was_there && row.confirmed_by.is_none() && row.reported_by != *by =>
            {
                AccountRow { confirmed_by: Some(by.clone()), ..row }
            }
            (Part::Reviewed | Part::Disputed, Some(row), None)
                if !was_there && row.confirmed_by.is_some() && row.look.is_none() =>
            {
                AccountRow { look: Some(Look { by: by.clone(), found: part }), ..row }
            }
            (Part::Reported | Part::Confirmed | Part::Reviewed | Part::Disputed, _, _) => {
                return Err(closed().into());
            }
        };
        self.rows.put_account(digest, row).map_err(Stop::Rows)
    }

    fn open_change(&mut self, id: &Id<kind::Change>) -> Result<ChangeRow, Stop<R::Error>> {
        let row = self.rows.input_change(id).map_err(Stop::Rows)?;
        let row = row.filter(|row| row.state == ChangeState::Open);
        row.ok_or_else(|| StoreError::NotOpen(id.clone()).into())
    }

    fn change_input(&mut self, change: &InputChange) -> Result<(), Stop<R::Error>> {
        let mut row = self.open_change(&change.id)?;
        let terms = &row.terms;
        let same = (terms.control, terms.old, terms.new) == (change.control, change.old, change.new);
        let approvals = u32::try_from(row.approvals.len()).unwrap_or(u32::MAX);
        if !same || terms.author != change.author || approvals < terms.needed {
            return Err(StoreError::NotOpen(change.id.clone()).into());
        }
        let before = || StoreError::Corrupt("an input is replaced before genesis".to_owned());
        let active = self.scalars.inputs.ok_or_else(before)?;
        let after = change.apply(&active).map_err(|_| StoreError::StaleInputs)?;
        self.scalars.inputs = Some(after);
        row.state = ChangeState::Activated;
        self.rows.put_input_change(row).map_err(Stop::Rows)
    }
}
