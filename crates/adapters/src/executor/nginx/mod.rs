//! The executor that isolates one server behind nginx, and its observer: `nginx.isolate` and `nginx.restore`.
//!
//! A target is one `server` line in one `upstream` block of one file. Isolating adds the word `down` to exactly that line,
//! restoring takes it away, and every other byte of the file stays. Requests that the old workers still carry run to their
//! end. The commands are the operator's [`NginxServer`]s', run without a shell. nginx runs on this machine: that it took
//! the configuration is seen by its new workers.
//!
//! | step | if we stop after it |
//! | --- | --- |
//! | the configuration as it is passes its test | nothing happened |
//! | `begun`, epoch and the bytes of the line written | the version says that nothing happened |
//! | file replaced | the version says so; nginx runs the old configuration, or the new one after somebody's reload: in doubt |
//! | configuration tested, nginx reloaded, new workers seen | in doubt, as before |
//! | `applied` or `undone` written | the effect is complete |
//!
//! What fails on the way is put back, and is `NotDone` only where the file and the workers prove it.

mod bench;
mod control;
mod file;
mod server;
mod upstream;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use holdpoint_app::port::{
    Clock, ExecuteError, Executor, Field, Observation, ObserveError, Observer, Preview, Work,
};
use holdpoint_domain::{
    Digest, Id,
    action::{Action, UndoKind},
    digest::DigestError,
    id::kind,
    plan::Step,
    target::Target,
};
use serde::{Deserialize, Serialize};

pub use server::{MAX_COMMAND, NginxError, NginxServer, NginxSpec};

use super::{
    authority::{Authority, Use},
    chain,
    memory::{Mandate, blocking, refused},
    notebook::{Notebook, Page},
};
use crate::lease::LeaseTable;
use bench::Bench;
use upstream::UpstreamError;

/// What this executor can do. Everything else is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Isolate,
    Restore,
}

impl Operation {
    fn of(action: &Id<kind::Action>) -> Option<Self> {
        match action.as_str() {
            "nginx.isolate" => Some(Self::Isolate),
            "nginx.restore" => Some(Self::Restore),
            _ => None,
        }
    }
}

/// The servers that may be isolated, and the memory of what was done to them. One at a time: its directory is locked while
/// it lives.
#[derive(Debug)]
pub struct Servers {
    servers: BTreeMap<Id<kind::Target>, NginxServer>,
    notebook: Notebook,
    dir: PathBuf,
    /// One change at a time: servers share a file, and a reload takes them all.
    changing: Mutex<()>,
}

/// Why servers cannot be isolated.
#[derive(Debug, thiserror::Error)]
pub enum ServersError {
    /// Faulty servers.
    #[error("the servers cannot be isolated")]
    Servers(#[from] NginxError),
    /// The directory of their memory.
    #[error("state directory `{dir}` cannot be used, or somebody else uses it")]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Servers {
    /// Takes up the servers whose memory is in `dir`, and makes the directory where there is none. Touches no nginx.
    pub fn open(dir: &Path, servers: Vec<NginxServer>) -> Result<Self, ServersError> {
        let servers = server::by_id(servers)?;
        let notebook = Notebook::open(dir, servers.keys())
            .map_err(|source| ServersError::Directory { dir: dir.to_owned(), source })?;
        Ok(Self { servers, notebook, dir: dir.to_owned(), changing: Mutex::new(()) })
    }

    /// The same servers for whoever only looks at them, beside an executor in another process that holds their memory.
    pub fn to_look(dir: &Path, servers: Vec<NginxServer>) -> Result<Self, ServersError> {
        let notebook = Notebook::to_look(dir);
        Ok(Self { servers: server::by_id(servers)?, notebook, dir: dir.to_owned(), changing: Mutex::new(()) })
    }
}

/// What is remembered about the run that acted last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    /// The bytes of the server's line before the run.
    line: String,
    /// The run is being undone.
    undoing: bool,
}

/// Why a server cannot be looked at.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error("the file cannot be read")]
    File(#[from] io::Error),
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    #[error(transparent)]
    Digest(#[from] DigestError),
}

/// Runs permitted steps on servers behind nginx. Each call runs to its end even if nobody waits for it any more.
pub struct NginxExecutor {
    authority: Authority,
    leases: Arc<LeaseTable>,
    servers: Arc<Servers>,
    clock: Arc<dyn Clock>,
}

/// A step that the authority let through, on its way to the server's lock.
struct Order {
    mandate: Mandate,
    operation: Operation,
    servers: Arc<Servers>,
}

impl NginxExecutor {
    /// An executor over servers. `leases` is the table that the issuer of its leases writes.
    #[must_use]
    pub fn new(
        authority: Authority,
        leases: Arc<LeaseTable>,
        servers: Arc<Servers>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { authority, leases, servers, clock }
    }

    fn order(&self, work: &Work<'_>, for_use: Use) -> Result<Order, ExecuteError> {
        let asked_at = self.clock.now();
        let warrant = self.authority.check(work, for_use, asked_at)?;
        let action = &warrant.step().action;
        let operation = Operation::of(action)
            .ok_or_else(|| refused("operation", format!("there is no operation for action `{action}`")))?;
        if !warrant.step().params.is_empty() {
            return Err(refused("parameters", format!("action `{action}` takes none here")));
        }
        let (lease, leases, clock) = (work.lease.clone(), Arc::clone(&self.leases), Arc::clone(&self.clock));
        let mandate = Mandate { warrant, lease, leases: leases.into(), clock, asked_at };
        Ok(Order { mandate, operation, servers: Arc::clone(&self.servers) })
    }
}

#[async_trait]
impl Executor for NginxExecutor {
    async fn rehearse(&self, work: Work<'_>) -> Result<(), ExecuteError> {
        let order = self.order(&work, Use::Apply)?;
        blocking(move || order.at_the_lock(|bench| bench.rehearse())).await
    }

    async fn apply(&self, work: Work<'_>) -> Result<(), ExecuteError> {
        let order = self.order(&work, Use::Apply)?;
        blocking(move || order.at_the_lock(|bench| bench.apply())).await
    }

    async fn undo(&self, work: Work<'_>, from: &Digest) -> Result<(), ExecuteError> {
        let order = self.order(&work, Use::Undo)?;
        let from = *from;
        blocking(move || order.at_the_lock(|bench| bench.undo(&from))).await
    }
}

impl Order {
    fn at_the_lock(
        &self,
        work: impl FnOnce(&mut Bench<'_>) -> Result<(), ExecuteError>,
    ) -> Result<(), ExecuteError> {
        let target = &self.mandate.warrant.step().target;
        let absent = || refused("server", format!("there is no server `{target}` here"));
        let server = self.servers.servers.get(target).ok_or_else(absent)?;
        let page = self.servers.notebook.lock(target).ok_or_else(absent)??;
        let _changing = self.servers.changing.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut Bench { mandate: &self.mandate, operation: self.operation, server, page })
    }
}

/// Observes servers behind nginx.
#[derive(Debug, Clone)]
pub struct NginxObserver {
    servers: Arc<Servers>,
}

impl NginxObserver {
    /// An observer of the same servers.
    #[must_use]
    pub const fn new(servers: Arc<Servers>) -> Self {
        Self { servers }
    }
}

#[async_trait]
impl Observer for NginxObserver {
    async fn observe(&self, action: &Action, target: &Target) -> Result<Observation, ObserveError> {
        let (servers, id, action) = (Arc::clone(&self.servers), target.id.clone(), action.clone());
        let failed = |why: String| ObserveError::Failed { target: target.id.clone(), why };
        let looked = tokio::task::spawn_blocking(move || servers.look(&id, &action)).await;
        let seen = looked.map_err(|err| failed(err.to_string()))?.map_err(|err| failed(chain(&err)))?;
        seen.ok_or_else(|| ObserveError::Unknown(target.id.clone()))
    }

    async fn preview(
        &self,
        action: &Action,
        target: &Target,
        _: &Step,
    ) -> Result<Option<Preview>, ObserveError> {
        let (servers, id, action) = (Arc::clone(&self.servers), target.id.clone(), action.clone());
        let failed = |why: String| ObserveError::Failed { target: target.id.clone(), why };
        let looked = tokio::task::spawn_blocking(move || servers.preview(&id, &action)).await;
        looked.map_err(|err| failed(err.to_string()))?.map_err(|err| failed(chain(&err)))
    }
}

impl Servers {
    /// What an action would change of a server as it is now.
    fn preview(&self, id: &Id<kind::Target>, action: &Action) -> Result<Option<Preview>, LookError> {
        let (Some(server), Some(operation)) = (self.servers.get(id), Operation::of(&action.id)) else {
            return Ok(None);
        };
        let text = file::read(&server.spec().include)?;
        let found = server.find(&text.bytes)?;
        let traffic = |down: bool| if down { "none: marked `down`" } else { "its share" }.to_owned();
        let (before, after) = (found.is_down(), operation == Operation::Isolate);
        let fields =
            vec![Field { name: "Traffic".to_owned(), before: traffic(before), after: traffic(after) }];
        let refused = (before == after).then(|| "it is so already: nothing would change".to_owned());
        Ok(Some(Preview { version: server.version(&found)?, fields, refused }))
    }

    /// A server as it is now; none where the operator configured no such server.
    fn look(&self, id: &Id<kind::Target>, action: &Action) -> Result<Option<Observation>, LookError> {
        let Some(server) = self.servers.get(id) else { return Ok(None) };
        let page: Page<Note> = Page::load(&self.dir, id)?;
        let text = file::read(&server.spec().include)?;
        let found = server.find(&text.bytes)?;
        let down = found.is_down();
        // The line is there to be remembered, and the operation changes it.
        let captured = match Operation::of(&action.id) {
            Some(Operation::Isolate) => !down,
            Some(Operation::Restore) => down,
            None => false,
        };
        let undo_computed = captured && matches!(action.undo, UndoKind::Inverse | UndoKind::Snapshot);
        // An isolated server is no replica that serves.
        let version = server.version(&found)?;
        let line = if down { "marked `down`" } else { "takes its share" };
        let parts =
            [("server", line.to_owned()), ("upstream block", found.digest().short())].into_iter().collect();
        Ok(Some(Observation { version, parts, down, undo_computed, acted: page.acted() }))
    }
}
