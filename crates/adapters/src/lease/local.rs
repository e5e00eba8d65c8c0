//! Bearer leases for executors on this machine.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use holdpoint_app::port::{Clock, IssueError};
use holdpoint_domain::{
    Digest, Id,
    id::kind,
    lease::{LeaseSecret, Terms},
};

use super::{
    backends::{Backend, Order},
    table::LeaseTable,
};
use crate::{step::Step, system::random};

/// Mints bearer secrets of 256 bits into a [`LeaseTable`].
pub(super) struct Local {
    table: Arc<LeaseTable>,
    clock: Arc<dyn Clock>,
}

impl Local {
    pub(super) const fn new(table: Arc<LeaseTable>, clock: Arc<dyn Clock>) -> Self {
        Self { table, clock }
    }
}

#[async_trait]
impl Backend for Local {
    fn terms(&self) -> Terms {
        Terms::local()
    }

    fn outlives(&self) -> bool {
        false
    }

    async fn mint(&self, order: Order<'_>) -> Result<LeaseSecret, IssueError> {
        let info = order.info;
        let secret = URL_SAFE_NO_PAD.encode(random::<32>());
        let digest = Digest::of_bytes(secret.as_bytes());
        // If we stop after this, the lease died with the table and nobody has its secret.
        let minted = |taken: &_| self.table.insert(info.clone(), digest, order.now, taken);
        if !Step::LeaseMint.take(minted) {
            return Err(IssueError::Refused(format!(
                "lease: `{}` was used before, or too many are live",
                info.id
            )));
        }
        Ok(LeaseSecret::new(secret))
    }

    async fn end(&self, lease: &Id<kind::Lease>) -> Result<(), IssueError> {
        Step::LeaseEnd.take(|taken| self.table.end(lease, self.clock.now(), taken));
        if self.table.is_live(lease) {
            return Err(IssueError::Backend(format!("lease `{lease}` still works")));
        }
        Ok(())
    }

    async fn held(&self) -> Result<Vec<Id<kind::Lease>>, IssueError> {
        Ok(Vec::new())
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("table", &self.table).finish_non_exhaustive()
    }
}
