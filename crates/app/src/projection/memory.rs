//! The projections in memory: what the fold of a log builds.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
};

use holdpoint_domain::{
    Digest, Id, enrol::InvitationState, id::kind, lease::LeaseInfo, passkey::CredentialId,
};

use super::{
    AccountRow, ChangeRow, RunRow,
    apply::{NonceRow, Rows},
};
use crate::port::PlanRow;

/// All projections that stand in tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the table of its name")]
pub struct Memory {
    pub plans: HashMap<Id<kind::Plan>, PlanRow>,
    pub runs: HashMap<Id<kind::Plan>, RunRow>,
    pub input_changes: HashMap<Id<kind::Change>, ChangeRow>,
    pub nonces: HashMap<Id<kind::Nonce>, NonceRow>,
    pub decisions: HashSet<(Id<kind::Hold>, Id<kind::Person>)>,
    pub counters: HashMap<CredentialId, u32>,
    pub invitations: HashMap<Id<kind::Act>, InvitationState>,
    pub accounts: HashMap<Digest, AccountRow>,
    pub locks: HashMap<Id<kind::Target>, Id<kind::Plan>>,
    pub leases: HashMap<Id<kind::Lease>, (Id<kind::Plan>, LeaseInfo)>,
}

impl Rows for Memory {
    type Error = Infallible;

    fn plan(&mut self, id: &Id<kind::Plan>) -> Result<Option<PlanRow>, Infallible> {
        // Taken out, not copied: `apply` always puts it back, and a fold that `apply` refuses is thrown away.
        Ok(self.plans.remove(id))
    }

    fn put_plan(&mut self, row: PlanRow) -> Result<(), Infallible> {
        self.plans.insert(row.id.clone(), row);
        Ok(())
    }

    fn run(&mut self, plan: &Id<kind::Plan>) -> Result<Option<RunRow>, Infallible> {
        Ok(self.runs.remove(plan))
    }

    fn put_run(&mut self, row: RunRow) -> Result<(), Infallible> {
        self.runs.insert(row.plan.clone(), row);
        Ok(())
    }

    fn input_change(&mut self, id: &Id<kind::Change>) -> Result<Option<ChangeRow>, Infallible> {
        Ok(self.input_changes.get(id).cloned())
    }

    fn put_input_change(&mut self, row: ChangeRow) -> Result<(), Infallible> {
        self.input_changes.insert(row.terms.id.clone(), row);
        Ok(())
    }

    fn nonce(&mut self, nonce: &Id<kind::Nonce>) -> Result<Option<NonceRow>, Infallible> {
        Ok(self.nonces.get(nonce).cloned())
    }

    fn put_nonce(&mut self, nonce: &Id<kind::Nonce>, row: NonceRow) -> Result<(), Infallible> {
        self.nonces.insert(nonce.clone(), row);
        Ok(())
    }

    fn add_decision(&mut self, hold: &Id<kind::Hold>, person: &Id<kind::Person>) -> Result<bool, Infallible> {
        Ok(self.decisions.insert((hold.clone(), person.clone())))
    }

    fn counter(&mut self, passkey: &CredentialId) -> Result<Option<u32>, Infallible> {
        Ok(self.counters.get(passkey).copied())
    }

    fn put_counter(&mut self, passkey: &CredentialId, counter: u32) -> Result<(), Infallible> {
        self.counters.insert(passkey.clone(), counter);
        Ok(())
    }

    fn invitation(&mut self, act: &Id<kind::Act>) -> Result<Option<InvitationState>, Infallible> {
        Ok(self.invitations.get(act).cloned())
    }

    fn put_invitation(&mut self, row: InvitationState) -> Result<(), Infallible> {
        self.invitations.insert(row.invitation.act.clone(), row);
        Ok(())
    }

    fn account(&mut self, digest: &Digest) -> Result<Option<AccountRow>, Infallible> {
        Ok(self.accounts.get(digest).cloned())
    }

    fn put_account(&mut self, digest: Digest, row: AccountRow) -> Result<(), Infallible> {
        self.accounts.insert(digest, row);
        Ok(())
    }

    fn holder(&mut self, target: &Id<kind::Target>) -> Result<Option<Id<kind::Plan>>, Infallible> {
        Ok(self.locks.get(target).cloned())
    }

    fn lock(&mut self, target: &Id<kind::Target>, plan: &Id<kind::Plan>) -> Result<(), Infallible> {
        self.locks.insert(target.clone(), plan.clone());
        Ok(())
    }

    fn unlock(&mut self, target: &Id<kind::Target>, plan: &Id<kind::Plan>) -> Result<(), Infallible> {
        if self.locks.get(target) == Some(plan) {
            self.locks.remove(target);
        }
        Ok(())
    }

    fn put_lease(&mut self, plan: &Id<kind::Plan>, lease: &LeaseInfo) -> Result<(), Infallible> {
        self.leases.insert(lease.id.clone(), (plan.clone(), lease.clone()));
        Ok(())
    }

    fn end_lease(&mut self, lease: &Id<kind::Lease>) -> Result<(), Infallible> {
        self.leases.remove(lease);
        Ok(())
    }
}
