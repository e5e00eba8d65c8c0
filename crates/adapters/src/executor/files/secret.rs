//! The executor for secrets in files: `secret.rotate`, with overlap.
//!
//! A new token is made here, and nobody ever sees it: not the agent, not the gate, not a log. It is made valid beside the
//! old one at the verifier; then the consumer is moved; then the old one ends.
//!
//! | written | then | if we stop here |
//! | --- | --- | --- |
//! | the new token, beside the token file | | nothing has happened |
//! | `begun`, the digests of both tokens | the new one is accepted, the token file is exchanged, the consumer is told | both are valid; the same permit takes it all back |
//! | `moved` | the old one is no longer accepted | there is only forward: the same permit goes on |
//! | `applied` | | the rotation is complete, and nothing undoes it |

mod accepted;
mod rotate;

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use holdpoint_app::port::{Clock, ExecuteError, Executor, Observation, ObserveError, Observer, Work};
use holdpoint_domain::{Digest, Id, Millis, action::Action, id::kind, target::Target};
use reqwest::Url;

use super::{Command, FileReader, FileTarget, Files, FilesError, Held, check_path, state::FileState};
use crate::{
    executor::{
        authority::{Authority, Use},
        chain,
        memory::{ActedBy, Fence, Mandate, blocking, not_done, refused},
    },
    lease::LeaseTable,
};
use rotate::{Bench, Pair};

/// Longest time that a consumer may take to move: a lease must outlive the way there and the way back.
pub const MAX_MOVE: Millis = Millis::secs(120);

/// The one operation.
const ROTATE: &str = "secret.rotate";

/// One token, who accepts it and who uses it, as the operator wrote it down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretTarget {
    // INVARIANT: both paths passed `check_path` and differ; the limit is within MAX_MOVE.
    id: Id<kind::Target>,
    token: PathBuf,
    accepted: PathBuf,
    consumer: Consumer,
    move_limit: Millis,
}

/// How a consumer is moved to the token in its file, and how it shows that it has moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumer {
    // INVARIANT: at least one of the two; the URL is http or https.
    reload: Option<Command>,
    shows: Option<Url>,
}

impl Consumer {
    /// `reload` is run after the token file was replaced. `shows` is a URL that answers 200 with the id of the token in use:
    /// the first 16 hex digits of its SHA-256. Without it, a reload that exits with 0 counts as moved.
    pub fn new(reload: Option<Command>, shows: Option<&str>) -> Result<Self, FilesError> {
        let shows =
            shows.map(|text| Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https")));
        match (&reload, shows) {
            (_, Some(None)) => Err(FilesError::Command("expected an http or https address".to_owned())),
            (None, None) => {
                Err(FilesError::Command("expected a reload or an address that shows the token".to_owned()))
            }
            (_, shows) => Ok(Self { reload, shows: shows.flatten() }),
        }
    }
}

impl SecretTarget {
    /// Checks what the operator wrote. `token` is the consumer's file, with the token on one line; `accepted` is the
    /// verifier's: `{"accepted": [{"id": "...", "sha256": "<hex>"}]}`, which the verifier reads again when it changes.
    pub fn new(
        id: Id<kind::Target>,
        token: PathBuf,
        accepted: PathBuf,
        consumer: Consumer,
        move_limit: Millis,
    ) -> Result<Self, FilesError> {
        check_path(&id, &token)?;
        check_path(&id, &accepted)?;
        if token == accepted {
            let why = "expected two files, got one for both".to_owned();
            return Err(FilesError::Target { target: id, why });
        }
        if move_limit.ms() == 0 || move_limit > MAX_MOVE {
            let why = format!("expected a limit of 1 ms to {MAX_MOVE} to move, got {move_limit}");
            return Err(FilesError::Target { target: id, why });
        }
        Ok(Self { id, token, accepted, consumer, move_limit })
    }

    /// The relevant version: which tokens are accepted, and which one is in the file. Digests only.
    fn version(&self, pair: &Pair) -> Result<Digest, ExecuteError> {
        let entries = pair.list.entries();
        let accepted: Vec<_> = entries.iter().map(|entry| (&entry.id, &entry.sha256)).collect();
        let version = serde_json::json!({
            "type": "holdpoint/secret-version/v1", "target": self.id, "accepted": accepted,
            "token": pair.token.digest(),
        });
        Digest::of(&version).map_err(|err| refused("document", err))
    }
}

impl FileTarget for SecretTarget {
    fn id(&self) -> &Id<kind::Target> {
        &self.id
    }

    fn thing(&self) -> String {
        format!("{:?}", self.token)
    }
}

/// Rotates secrets. Each call runs to its end even if nobody waits for it any more.
pub struct SecretExecutor {
    authority: Authority,
    leases: Arc<LeaseTable>,
    files: Arc<Files<SecretTarget>>,
    clock: Arc<dyn Clock>,
}

impl SecretExecutor {
    /// An executor over these secrets. `leases` is the table that the issuer of its leases writes.
    #[must_use]
    pub fn new(
        authority: Authority,
        leases: Arc<LeaseTable>,
        files: Arc<Files<SecretTarget>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { authority, leases, files, clock }
    }

    async fn under_lock(
        &self,
        work: &Work<'_>,
        effect: impl FnOnce(Bench<'_>) -> Result<(), ExecuteError> + Send + 'static,
    ) -> Result<(), ExecuteError> {
        let asked_at = self.clock.now();
        let warrant = self.authority.check(work, Use::Apply, asked_at)?;
        let action = &warrant.step().action;
        if action.as_str() != ROTATE {
            return Err(refused("operation", format!("there is no operation for action `{action}`")));
        }
        if !warrant.step().params.is_empty() {
            return Err(refused("parameters", format!("action `{action}` takes none here")));
        }
        let (lease, leases, clock) = (work.lease.clone(), Arc::clone(&self.leases), Arc::clone(&self.clock));
        let mandate = Mandate { warrant, lease, leases: leases.into(), clock, asked_at };
        let files = Arc::clone(&self.files);
        blocking(move || {
            let target = &mandate.warrant.step().target;
            let held: Held<'_, SecretTarget> = files
                .hold(target)
                .ok_or_else(|| refused("target", format!("there is no secret for target `{target}` here")))?;
            let state = FileState::load(held.dir, target);
            let state = state.map_err(|err| not_done("the state cannot be read", &err))?;
            match mandate.ready(state.memory())? {
                Fence::Done => Ok(()),
                Fence::Open => effect(Bench::new(&mandate, &held, state)),
            }
        })
        .await
    }
}

#[async_trait]
impl Executor for SecretExecutor {
    async fn rehearse(&self, work: Work<'_>) -> Result<(), ExecuteError> {
        self.under_lock(&work, |bench| bench.rehearse()).await
    }

    async fn apply(&self, work: Work<'_>) -> Result<(), ExecuteError> {
        self.under_lock(&work, |bench| bench.apply()).await
    }

    /// Nothing undoes a rotation: the old secret is gone, and that was the point.
    async fn undo(&self, work: Work<'_>, _: &Digest) -> Result<(), ExecuteError> {
        self.authority.check(&work, Use::Undo, self.clock.now())?;
        Err(refused("operation", "nothing undoes a rotation"))
    }
}

/// Observes secrets, as far as digests show them.
pub struct SecretObserver {
    reader: FileReader<SecretTarget>,
}

impl SecretObserver {
    /// An observer over a reader.
    #[must_use]
    pub const fn new(reader: FileReader<SecretTarget>) -> Self {
        Self { reader }
    }
}

#[async_trait]
impl Observer for SecretObserver {
    async fn observe(&self, _: &Action, target: &Target) -> Result<Observation, ObserveError> {
        let (reader, id) = (self.reader.clone(), target.id.clone());
        let failed = |why: String| ObserveError::Failed { target: target.id.clone(), why };
        let look = move || {
            let Some(target) = reader.inner.targets.get(&id) else { return Ok(None) };
            let state = FileState::load(&reader.inner.dir, &id).map_err(|err| chain(&err))?;
            let pair = Pair::read(target).map_err(|err| err.to_string())?;
            let version = target.version(&pair).map_err(|err| err.to_string())?;
            let accepted = pair.list.entries().len();
            let parts = [("accepted", format!("{accepted} tokens"))].into_iter().collect();
            let acted = state.acted.as_ref().map(ActedBy::acted);
            // Nothing undoes a rotation.
            Ok(Some(Observation { version, parts, down: false, undo_computed: false, acted }))
        };
        let looked: Result<Result<Option<Observation>, String>, _> = tokio::task::spawn_blocking(look).await;
        let seen = looked.map_err(|err| failed(err.to_string()))?.map_err(failed)?;
        seen.ok_or_else(|| ObserveError::Unknown(target.id.clone()))
    }
}
