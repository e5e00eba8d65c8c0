//! The issuer in a process of its own.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use holdpoint_app::{
    port::{IssueError, Issuer, Store},
    receipt::Receipt,
};
use holdpoint_domain::{
    Id,
    id::kind,
    lease::{Lease, LeaseInfo, LeaseSecret},
    permit::Permit,
    plan::Plan,
};

use super::{
    call::{CallError, RoleClient},
    intent::Known,
    wire,
};

/// How long a backend may take to make or end a credential.
const LIMIT: Duration = Duration::from_secs(30);

/// Asks the issuer. The secret of a lease comes sealed to the executor: it is passed on, and cannot be read here.
pub struct RemoteIssuer {
    role: RoleClient,
    store: Arc<dyn Store>,
    known: Known,
}

impl RemoteIssuer {
    /// The issuer behind this client, for the intents of this store.
    #[must_use]
    pub fn new(role: RoleClient, store: Arc<dyn Store>) -> Self {
        Self { role, store, known: Known::default() }
    }
}

#[async_trait]
impl Issuer for RemoteIssuer {
    async fn issue(
        &self,
        info: LeaseInfo,
        permit: &Permit,
        receipt: &Receipt,
        plan: &Plan,
    ) -> Result<Lease, IssueError> {
        let ask = |intent| {
            let body =
                wire::Issue { info: info.clone(), jws: permit.jws().to_owned(), plan: plan.clone(), intent };
            async move { self.role.call::<wire::Sealed>("/v1/leases", &body, LIMIT).await }
        };
        let answer = self
            .known
            .ask(self.store.as_ref(), receipt.index(), ask)
            .await
            .map_err(|err| issue_error(&err))?;
        Ok(Lease { info, secret: LeaseSecret::new(answer.sealed) })
    }

    async fn revoke(&self, lease: &Id<kind::Lease>) -> Result<(), IssueError> {
        let body = wire::End { lease: lease.clone() };
        let answer: Result<wire::Done, _> = self.role.call("/v1/leases/revoke", &body, LIMIT).await;
        answer.map(|_| ()).map_err(|err| issue_error(&err))
    }
}

fn issue_error(err: &CallError) -> IssueError {
    match err {
        CallError::Refused { .. } | CallError::Behind { .. } | CallError::Ahead { .. } => {
            IssueError::Refused(err.to_string())
        }
        CallError::NotSent(_) | CallError::Unknown(_) | CallError::Answer(_) | CallError::Ours(_) => {
            IssueError::Backend(err.to_string())
        }
    }
}
