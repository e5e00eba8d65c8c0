//! The executor's book of live leases, as the issuer writes it.

use std::time::Duration;

use async_trait::async_trait;
use holdpoint_domain::{Digest, Id, Timestamp, id::kind, lease::LeaseInfo};

use super::{call::RoleClient, wire};
use crate::lease::LeaseBook;

/// How long the executor may take: less than the issuer gives a backend.
const LIMIT: Duration = Duration::from_secs(8);

/// The book in the executor's process.
#[derive(Debug, Clone)]
pub struct RemoteBook(RoleClient);

impl RemoteBook {
    /// The book behind this client.
    #[must_use]
    pub const fn new(role: RoleClient) -> Self {
        Self(role)
    }
}

#[async_trait]
impl LeaseBook for RemoteBook {
    async fn admit(&self, info: &LeaseInfo, secret: Digest, _: Timestamp) -> Result<bool, String> {
        let body = wire::Admit { info: info.clone(), secret };
        let answer: Result<wire::Live, _> = self.0.call("/v1/leases/admit", &body, LIMIT).await;
        answer.map(|answer| answer.live).map_err(|err| err.to_string())
    }

    async fn end(&self, lease: &Id<kind::Lease>, _: Timestamp) -> Result<bool, String> {
        let body = wire::End { lease: lease.clone() };
        let answer: Result<wire::Live, _> = self.0.call("/v1/leases/end", &body, LIMIT).await;
        answer.map(|answer| answer.live).map_err(|err| err.to_string())
    }
}
