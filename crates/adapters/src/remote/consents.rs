//! What people consented to, and which permit it became: one consent, one permit.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Mutex,
};

use holdpoint_domain::{
    Digest, Id, Millis, Timestamp,
    action::{MAX_SETTLE_MS, MAX_UNDO_WINDOW_MS},
    id::kind,
    permit::{MAX_START_MS, Permit},
    time::TimeError,
};
use serde::{Deserialize, Serialize};

use crate::{step::Step, system::durable};

/// Most steps of a plan, as [`holdpoint_domain::plan::MAX_STEPS`] has them.
const STEPS: u64 = 4;
/// How long after the end of a hold a permit of its consents could still be good for anything: it may be granted at that end, and
/// start at the end of its window; each step may settle, soak, settle back, and be undone.
const KEPT_MS: u64 = MAX_START_MS + STEPS * (3 * MAX_SETTLE_MS + MAX_UNDO_WINDOW_MS);

/// Which permit the consents of each hold became, on disk before anything is leased for it. A gate whose key was stolen can sign
/// a second permit over the same consents; an issuer that remembers the first one leases nothing for it.
#[derive(Debug)]
pub struct Consents {
    path: PathBuf,
    // INVARIANT: the disk is never behind it.
    rows: Mutex<BTreeMap<Id<kind::Nonce>, Row>>,
}

/// What became of the consents of one hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    /// The permit, byte for byte.
    permit: Digest,
    /// When it may be forgotten.
    until_ms: Timestamp,
}

/// Why nothing is leased for a permit.
#[derive(Debug, thiserror::Error)]
pub enum ConsentError {
    /// The consents became another permit.
    #[error("the consents of hold `{0}` became another permit before: one consent is good for one permit")]
    Spent(Id<kind::Hold>),
    /// A hold whose end cannot be written.
    #[error("the hold of the consents ends beyond all time")]
    Time(#[from] TimeError),
    /// A memory that cannot be read. Whoever forgets it takes a consent twice.
    #[error("{path} is no memory of consents: put back what was there")]
    Memory {
        /// The file.
        path: PathBuf,
    },
    /// The file system did not do it.
    #[error("{path} cannot be used")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Consents {
    /// Opens the memory at `path`; a missing one remembers nothing.
    ///
    /// # Errors
    /// A file that is none, or that cannot be read.
    pub fn open(path: &Path) -> Result<Self, ConsentError> {
        let rows = match fs::read(path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|_| ConsentError::Memory { path: path.to_owned() })?
            }
            Err(err) if err.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(source) => return Err(ConsentError::Io { path: path.to_owned(), source }),
        };
        Ok(Self { path: path.to_owned(), rows: Mutex::new(rows) })
    }

    /// Spends the consents that a permit carries for this permit; again and again for the same one, never for another. A permit
    /// that needs nobody's consent spends nothing. Blocks on the disk.
    ///
    /// # Errors
    /// Consents that became another permit, or a memory that cannot be written.
    pub fn spend(&self, permit: &Permit, now: Timestamp) -> Result<(), ConsentError> {
        let grant = permit.grant();
        let Some(terms) = grant.terms.as_ref().filter(|_| !grant.approvals.is_empty()) else { return Ok(()) };
        let digest = permit.digest();
        // Set in one assignment after the disk has it: a panic leaves the old rows.
        let mut rows = self.rows.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match rows.get(&terms.nonce) {
            Some(row) if row.permit == digest => return Ok(()),
            Some(_) => return Err(ConsentError::Spent(terms.hold.clone())),
            None => {}
        }
        let until_ms = terms.expires_at_ms.plus(Millis::new(KEPT_MS)?)?;
        let mut next = rows.clone();
        next.retain(|_, row| now < row.until_ms);
        next.insert(terms.nonce.clone(), Row { permit: digest, until_ms });
        let io = |source| ConsentError::Io { path: self.path.clone(), source };
        let bytes = serde_json::to_vec(&next).map_err(|err| io(err.into()))?;
        // If we stop before this, nothing was leased; after it, the same permit is leased for again.
        durable::replace(Step::ConsentKeep, &self.path, &bytes, 0o600).map_err(io)?;
        *rows = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_has_no_more_steps_than_are_counted_here() {
        assert_eq!(STEPS, holdpoint_domain::plan::MAX_STEPS as u64);
    }
}
