//! The book of live leases: with the executors that take them, in this process or in theirs.

use async_trait::async_trait;
use holdpoint_domain::{Digest, Id, Timestamp, id::kind, lease::LeaseInfo};

use super::table::LeaseTable;
use crate::step::Step;

/// Where an issuer writes leases down and ends them. Executors look there at every use.
#[async_trait]
pub trait LeaseBook: Send + Sync {
    /// Takes a lease up, by the digest of its secret; false when its id was used before or there are too many.
    async fn admit(&self, info: &LeaseInfo, secret: Digest, now: Timestamp) -> Result<bool, String>;

    /// Ends a lease, known or not; whether a use of it would still get past the first check. One that is ended while it is
    /// being minted stays dead.
    async fn end(&self, lease: &Id<kind::Lease>, now: Timestamp) -> Result<bool, String>;
}

#[async_trait]
impl LeaseBook for LeaseTable {
    async fn admit(&self, info: &LeaseInfo, secret: Digest, now: Timestamp) -> Result<bool, String> {
        // If we stop after this, the lease died with the table and nobody has its secret.
        Ok(Step::LeaseMint.take(|taken| self.insert(info.clone(), secret, now, taken)))
    }

    async fn end(&self, lease: &Id<kind::Lease>, now: Timestamp) -> Result<bool, String> {
        Step::LeaseEnd.take(|taken| self.end(lease, now, taken));
        Ok(self.is_live(lease))
    }
}
