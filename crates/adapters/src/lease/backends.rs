//! Backends: what mints and ends credentials of one kind, and the issuer over all of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use holdpoint_app::{
    port::{Clock, IssueError, Issuer},
    receipt::Receipt,
};
use holdpoint_domain::{
    Id, Timestamp,
    id::kind,
    lease::{Lease, LeaseInfo, LeaseSecret, Scope, Terms},
    permit::Permit,
    plan::Plan,
};
use holdpoint_ledger::key::VerifierKey;
use tokio::time::Instant;

use super::{book::LeaseBook, desk::Desk, local::Local};
use crate::executor::Pins;

/// How long a backend may take for one call, whatever the server behind it does.
const LIMIT: Duration = Duration::from_secs(10);

/// A lease that passed the desk.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// The lease.
    pub(super) info: &'a LeaseInfo,
    /// The permit, for whom it is and how often it is good.
    pub(super) permit: &'a Permit,
    /// The plan, for the exact parameters of its steps.
    pub(super) plan: &'a Plan,
    /// When it passed.
    pub(super) now: Timestamp,
    /// The same instant, for what has gone by since.
    pub(super) since: Instant,
}

impl Order<'_> {
    /// How much of its life is left: a backend may have waited for its turn and for its server.
    pub(super) fn left_ms(&self) -> u64 {
        let gone = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.info.expires_at_ms.since(self.now).ms().saturating_sub(gone)
    }
}

/// Mints and ends credentials of one kind. The desk has checked everything that is about permits; a backend knows its own
/// server. Errors never carry a secret.
#[async_trait]
pub trait Backend: fmt::Debug + Send + Sync {
    /// Its terms.
    fn terms(&self) -> Terms;

    /// Whether its leases outlive this process.
    fn outlives(&self) -> bool;

    /// Mints a lease.
    async fn mint(&self, order: Order<'_>) -> Result<LeaseSecret, IssueError>;

    /// Ends a lease, and proves it by a use that fails. One that is not there is a success.
    async fn end(&self, lease: &Id<kind::Lease>) -> Result<(), IssueError>;

    /// Leases of ours that its server holds.
    async fn held(&self) -> Result<Vec<Id<kind::Lease>>, IssueError>;
}

/// The issuer: one desk, and behind it the book of bearer leases and the operator's backends.
pub struct Backends {
    desk: Desk,
    local: Arc<dyn Backend>,
    named: BTreeMap<Id<kind::Backend>, Arc<dyn Backend>>,
    /// Which backend leases for a target; the book for those that are not here.
    targets: BTreeMap<Id<kind::Target>, Id<kind::Backend>>,
}

impl Backends {
    /// Bearer leases in `book` alone.
    #[must_use]
    pub fn local(book: Arc<dyn LeaseBook>, pins: Pins, log: VerifierKey, clock: Arc<dyn Clock>) -> Self {
        let desk = Desk::new(pins, log, Arc::clone(&clock));
        let local = Arc::new(Local::new(book, clock));
        Self { desk, local, named: BTreeMap::new(), targets: BTreeMap::new() }
    }

    /// Adds a backend that leases for these targets. One without a name, or of a name that is there, replaces nothing.
    #[must_use]
    pub fn with(mut self, backend: Arc<dyn Backend>, targets: &BTreeSet<Id<kind::Target>>) -> Self {
        let Some(name) = backend.terms().backend else { return self };
        self.targets.extend(targets.iter().map(|target| (target.clone(), name.clone())));
        self.named.entry(name).or_insert(backend);
        self
    }

    fn backend(&self, name: Option<&Id<kind::Backend>>) -> Result<&Arc<dyn Backend>, IssueError> {
        let Some(name) = name else { return Ok(&self.local) };
        let unknown = || IssueError::Backend(format!("there is no lease backend `{name}` here"));
        self.named.get(name).ok_or_else(unknown)
    }

    /// The lease is of the backend that its targets have, and not longer than that allows.
    fn check_terms(&self, info: &LeaseInfo, now: Timestamp) -> Result<(), String> {
        for scope in &info.scopes {
            if self.targets.get(&scope.target) != info.backend.as_ref() {
                return Err(format!("backend: another one leases for target `{}`", scope.target));
            }
        }
        let terms = self.backend(info.backend.as_ref()).map_err(|err| err.to_string())?.terms();
        let (life, max) = (info.expires_at_ms.since(now), terms.max.span());
        if life > max {
            return Err(format!("life: the operator allows {max}, got {life}"));
        }
        Ok(())
    }
}

/// Waits for a backend, and not for ever.
async fn in_time<T>(what: &str, call: impl Future<Output = Result<T, IssueError>>) -> Result<T, IssueError> {
    let late = |_| IssueError::Backend(format!("{what}: no answer within {} s", LIMIT.as_secs()));
    tokio::time::timeout(LIMIT, call).await.map_err(late)?
}

#[async_trait]
impl Issuer for Backends {
    async fn terms(&self, scope: &Scope) -> Result<Terms, IssueError> {
        Ok(self.backend(self.targets.get(&scope.target))?.terms())
    }

    async fn issue(
        &self,
        info: LeaseInfo,
        permit: &Permit,
        receipt: &Receipt,
        plan: &Plan,
    ) -> Result<Lease, IssueError> {
        let now = self.desk.check(&info, permit, receipt, plan).map_err(IssueError::Refused)?;
        self.check_terms(&info, now).map_err(IssueError::Refused)?;
        let order = Order { info: &info, permit, plan, now, since: Instant::now() };
        let backend = self.backend(info.backend.as_ref())?;
        let secret = in_time("mint", backend.mint(order)).await?;
        Ok(Lease { info, secret })
    }

    async fn revoke(
        &self,
        backend: Option<&Id<kind::Backend>>,
        lease: &Id<kind::Lease>,
    ) -> Result<(), IssueError> {
        in_time("revoke", self.backend(backend)?.end(lease)).await
    }

    async fn backends(&self) -> Result<Vec<Id<kind::Backend>>, IssueError> {
        let outliving = self.named.iter().filter(|(_, backend)| backend.outlives());
        Ok(outliving.map(|(name, _)| name.clone()).collect())
    }

    async fn held(&self, backend: &Id<kind::Backend>) -> Result<Vec<Id<kind::Lease>>, IssueError> {
        in_time("list", self.backend(Some(backend))?.held()).await
    }
}

impl fmt::Debug for Backends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backends")
            .field("local", &self.local)
            .field("named", &self.named)
            .finish_non_exhaustive()
    }
}
