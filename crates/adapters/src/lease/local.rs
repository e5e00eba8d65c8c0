//! Bearer leases for executors that check them at every use, in this process or in one of their own.

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
    book::LeaseBook,
};
use crate::system::random;

/// Mints bearer secrets of 256 bits into a [`LeaseBook`].
pub(super) struct Local {
    book: Arc<dyn LeaseBook>,
    clock: Arc<dyn Clock>,
}

impl Local {
    pub(super) const fn new(book: Arc<dyn LeaseBook>, clock: Arc<dyn Clock>) -> Self {
        Self { book, clock }
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
        if !self.book.admit(info, digest, order.now).await.map_err(IssueError::Backend)? {
            return Err(IssueError::Refused(format!(
                "lease: `{}` was used before, or too many are live",
                info.id
            )));
        }
        Ok(LeaseSecret::new(secret))
    }

    async fn end(&self, lease: &Id<kind::Lease>) -> Result<(), IssueError> {
        if self.book.end(lease, self.clock.now()).await.map_err(IssueError::Backend)? {
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
        f.debug_struct("Local").finish_non_exhaustive()
    }
}
