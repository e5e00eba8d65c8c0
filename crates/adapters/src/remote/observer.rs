//! The observer in a process of its own: it measures, observes, and signs what it measured.

use std::time::Duration;

use async_trait::async_trait;
use holdpoint_app::port::{MeasureError, Observation, ObserveError, Observer, Prober, Signer};
use holdpoint_domain::{
    Digest,
    action::Action,
    signature::{PublicKey, Purpose, Signature},
    target::Target,
    trigger::{Condition, Reading, SignedEvidence, Subject, agree},
};

use serde::{Serialize, de::DeserializeOwned};

use super::{call::RoleClient, wire};
use crate::system::random;

/// How long the observer may take: the longest time limit of a probe, and some.
const LIMIT: Duration = Duration::from_secs(75);

/// Asks the observer.
#[derive(Debug, Clone)]
pub struct RemoteObserver {
    role: RoleClient,
    key: PublicKey,
}

impl RemoteObserver {
    /// The observer behind this client, whose evidence is signed with `key`.
    #[must_use]
    pub const fn new(role: RoleClient, key: PublicKey) -> Self {
        Self { role, key }
    }

    /// The answer to a question, if the observer's own key signed it for this very question.
    async fn asked<A, T>(&self, path: &str, ask: &A) -> Result<T, String>
    where
        A: Serialize + Sync,
        T: Serialize + DeserializeOwned,
    {
        let answered: wire::Answered<T> =
            self.role.call(path, ask, LIMIT).await.map_err(|err| err.to_string())?;
        let wire::Answered { answer, signature } = answered;
        let bytes = wire::answer_bytes(ask, &answer).map_err(|err| err.to_string())?;
        let signed = signature.verify(&self.key, Purpose::Observation, &bytes);
        signed.map_err(|_| {
            "its answer is not signed for this question with the key that is configured for it".to_owned()
        })?;
        Ok(answer)
    }

    async fn evidence(&self, condition: &Condition, target: &Target) -> Result<SignedEvidence, String> {
        let body = wire::Measure {
            condition: condition.id.clone(),
            entry: Digest::of(condition).map_err(|err| err.to_string())?,
            target: target.id.clone(),
            place: Digest::of(target).map_err(|err| err.to_string())?,
            nonce: Digest::from_bytes(random()),
        };
        let signed: SignedEvidence = self.asked("/v1/measure", &body).await?;
        let evidence = &signed.evidence;
        let bytes = evidence.bytes().map_err(|err| err.to_string())?;
        let is_signed = signed.signature.verify(&self.key, Purpose::Evidence, &bytes);
        is_signed
            .map_err(|_| "its evidence is not signed with the key that is configured for it".to_owned())?;
        let is_asked = evidence.condition == condition.id && evidence.target == target.id;
        let fits = evidence.agreement == agree(condition.needs, &evidence.readings);
        if is_asked && fits { Ok(signed) } else { Err("its evidence is not of what was asked".to_owned()) }
    }
}

#[async_trait]
impl Prober for RemoteObserver {
    async fn measure(&self, condition: &Condition, subject: Subject<'_>) -> Vec<Reading> {
        match self.evidence(condition, subject.target).await {
            Ok(signed) => signed.evidence.readings,
            Err(err) => {
                tracing::warn!("the observer did not measure: {err}");
                Vec::new()
            }
        }
    }

    async fn signed(
        &self,
        condition: &Condition,
        target: &Target,
    ) -> Option<Result<SignedEvidence, MeasureError>> {
        Some(self.evidence(condition, target).await.map_err(MeasureError))
    }
}

#[async_trait]
impl Observer for RemoteObserver {
    async fn observe(&self, action: &Action, target: &Target) -> Result<Observation, ObserveError> {
        let failed = |why: String| ObserveError::Failed { target: target.id.clone(), why };
        let body = wire::Observe {
            action: action.id.clone(),
            entry: action.digest().map_err(|err| failed(err.to_string()))?,
            target: target.id.clone(),
            place: Digest::of(target).map_err(|err| failed(err.to_string()))?,
            nonce: Digest::from_bytes(random()),
        };
        let seen: wire::Seen = self.asked("/v1/observe", &body).await.map_err(failed)?;
        Ok(seen.into())
    }
}

/// A key that is elsewhere: its public half is known here, and it signs nothing.
#[derive(Debug, Clone)]
pub struct PublicOnly(pub PublicKey);

impl Signer for PublicOnly {
    fn public_key(&self) -> PublicKey {
        self.0.clone()
    }

    fn sign(&self, _: &[u8]) -> Signature {
        // Bytes of zero are no signature of any key.
        Signature::from_bytes([0; 64])
    }
}
