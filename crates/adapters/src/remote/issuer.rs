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
    lease::{Lease, LeaseInfo, LeaseSecret, Scope, Terms},
    permit::Permit,
    plan::Plan,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    call::{CallError, RoleClient},
    intent::Known,
    wire,
};

/// How long the issuer may take: it gives a backend ten seconds.
const LIMIT: Duration = Duration::from_secs(15);

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

    async fn ask<A: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<A, IssueError> {
        self.role.call(path, body, LIMIT).await.map_err(|err| issue_error(&err))
    }
}

#[async_trait]
impl Issuer for RemoteIssuer {
    async fn terms(&self, scope: &Scope) -> Result<Terms, IssueError> {
        self.ask("/v1/leases/terms", &wire::AskTerms { scope: scope.clone() }).await
    }

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

    async fn revoke(
        &self,
        backend: Option<&Id<kind::Backend>>,
        lease: &Id<kind::Lease>,
    ) -> Result<(), IssueError> {
        let body = wire::Revoke { backend: backend.cloned(), lease: lease.clone() };
        let wire::Done {} = self.ask("/v1/leases/revoke", &body).await?;
        Ok(())
    }

    async fn backends(&self) -> Result<Vec<Id<kind::Backend>>, IssueError> {
        let answer: wire::Outliving = self.ask("/v1/leases/backends", &wire::AskBackends {}).await?;
        Ok(answer.backends)
    }

    async fn held(&self, backend: &Id<kind::Backend>) -> Result<Vec<Id<kind::Lease>>, IssueError> {
        let answer: wire::Held =
            self.ask("/v1/leases/held", &wire::AskHeld { backend: backend.clone() }).await?;
        Ok(answer.leases)
    }
}

fn issue_error(err: &CallError) -> IssueError {
    match err {
        CallError::Refused { rule, detail } if rule.trim_matches('`') == wire::LASTS => {
            IssueError::Lasts(detail.clone())
        }
        CallError::Refused { .. } | CallError::Behind { .. } | CallError::Ahead { .. } => {
            IssueError::Refused(err.to_string())
        }
        CallError::NotSent(_) | CallError::Unknown(_) | CallError::Answer(_) | CallError::Ours(_) => {
            IssueError::Backend(err.to_string())
        }
    }
}
