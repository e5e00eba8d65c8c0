//! The executor in a process of its own.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use holdpoint_app::port::{ExecuteError, Executor, Store, Work};
use holdpoint_domain::{
    Digest,
    lease::MAX_LEASE_MS,
    permit::PermitKeys,
    record::{Body, Record},
};

use super::{
    call::{CallError, RoleClient},
    intent::Known,
    wire,
};

/// How long a step may take: no longer than any lease lives.
const LIMIT: Duration = Duration::from_millis(MAX_LEASE_MS);

/// Asks the executor. Nothing that has an effect is sent twice.
pub struct RemoteExecutor {
    role: RoleClient,
    store: Arc<dyn Store>,
    permit_keys: PermitKeys,
    known: Known,
}

impl RemoteExecutor {
    /// The executor behind this client, for permits of these keys whose intents are in this store.
    #[must_use]
    pub fn new(role: RoleClient, store: Arc<dyn Store>, permit_keys: PermitKeys) -> Self {
        Self { role, store, permit_keys, known: Known::default() }
    }

    async fn ask(&self, path: &str, work: Work<'_>, from: Option<Digest>) -> Result<(), ExecuteError> {
        let index = self.intent_of(work.jws).await.map_err(ExecuteError::NotDone)?;
        let ask = |intent| {
            let body = wire::Work {
                jws: work.jws.to_owned(),
                plan: work.plan.clone(),
                step: work.step,
                lease: work.lease.info.clone(),
                sealed: work.lease.secret.expose().to_owned(),
                from,
                intent,
            };
            async move { self.role.call::<wire::Outcome>(path, &body, LIMIT).await }
        };
        match self.known.ask(self.store.as_ref(), index, ask).await {
            Ok(outcome) => outcome.into(),
            Err(err @ (CallError::Refused { .. } | CallError::Behind { .. } | CallError::Ahead { .. })) => {
                Err(ExecuteError::Refused(format!("executor: {err}")))
            }
            Err(err @ (CallError::NotSent(_) | CallError::Ours(_))) => {
                Err(ExecuteError::NotDone(err.to_string()))
            }
            Err(err @ (CallError::Unknown(_) | CallError::Answer(_))) => {
                Err(ExecuteError::Unknown(err.to_string()))
            }
        }
    }

    /// Where the intent of a permit's run is.
    async fn intent_of(&self, jws: &str) -> Result<u64, String> {
        let permit = self.permit_keys.open(jws).map_err(|err| err.to_string())?;
        let grant = permit.grant();
        let entries = self.store.history(&grant.plan_id).await.map_err(|err| err.to_string())?;
        let is_intent = |bytes: &[u8]| {
            let body = Record::parse(bytes).ok().map(|record| record.body);
            matches!(body, Some(Body::Claimed { permit, .. }) if permit == grant.id)
        };
        let entry = entries.iter().find(|entry| is_intent(&entry.bytes));
        entry
            .map(|entry| entry.index)
            .ok_or_else(|| format!("the run of permit `{}` is not on record", grant.id))
    }
}

#[async_trait]
impl Executor for RemoteExecutor {
    async fn rehearse(&self, work: Work<'_>) -> Result<(), ExecuteError> {
        self.ask("/v1/steps/rehearse", work, None).await
    }

    async fn apply(&self, work: Work<'_>) -> Result<(), ExecuteError> {
        self.ask("/v1/steps/apply", work, None).await
    }

    async fn undo(&self, work: Work<'_>, from: &Digest) -> Result<(), ExecuteError> {
        self.ask("/v1/steps/undo", work, Some(*from)).await
    }
}
