//! The executor for sessions of PostgreSQL databases, and its observer.
//!
//! It cancels what a session is doing, or ends the session: one that is named by process id *and* start time, since a process
//! id is used again. It does so as the task's own role, through the functions of `deploy/postgres/holdpoint.sql`, which the
//! operator installed: they know the task's warrant and the operator's list of roles whose sessions may be ended at all. There is
//! no free SQL anywhere: a plan has two whole numbers.
//!
//! The database remembers nothing, so the highest epoch is remembered here:
//!
//! | written | then | if we stop here |
//! | --- | --- | --- |
//! | `begun`, epoch, the session | call the function, look what became of the session | the observer looks: a session that is gone, or that does nothing after a cancel, is as it was to be; anything else is in doubt |
//! | `applied` | | the effect is complete |

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use holdpoint_app::port::{
    Acted, ActedPhase, Clock, ExecuteError, Executor, Observation, ObserveError, Observer, Work,
};
use holdpoint_domain::{
    Digest, Id, action::Action, digest::DigestError, id::kind, parts::Parts, target::Target,
};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use super::{
    authority::{Authority, Use},
    chain,
    memory::{Fence, LeaseCheck, Mandate, PhaseWord, blocking, expects, not_done, refused, unknown},
    notebook::{Locked, Notebook, Page},
};
use crate::{
    postgres::{Login, LoginError, Server, Session, SessionError, Verb, Warrant},
    step::Step,
};

/// How often it is looked whether a signal has come to its end.
const LOOKS: u32 = 50;
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// A database whose sessions may be ended.
#[derive(Debug, Clone)]
pub struct Database {
    /// The target.
    pub id: Id<kind::Target>,
    /// Where it is.
    pub server: Server,
    /// Who looks: `holdpoint_observer`, or whoever may call `holdpoint.look`.
    pub observer: String,
    /// The file of the observer's password.
    pub observer_password_file: PathBuf,
}

/// The databases, and the memory of what was done to them. One at a time: its directory is locked while it lives.
#[derive(Debug)]
pub struct Databases {
    databases: BTreeMap<Id<kind::Target>, Database>,
    notebook: Notebook,
    dir: PathBuf,
}

/// What is remembered about the run that acted last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    session: Warrant,
    /// The version of the database, which no session changes.
    leaves: Digest,
}

/// What a version is a digest of: the database, and the functions that do what is done.
#[derive(Serialize)]
struct Version<'a> {
    r#type: &'static str,
    target: &'a Id<kind::Target>,
    server: String,
    functions: String,
}

/// The database's own number, and a digest of the functions in it.
const FUNCTIONS: &str = "SELECT (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())::text || ':' || \
     coalesce(md5(string_agg(p.proname || p.prosrc, '' ORDER BY p.proname)), 'none') \
     FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'holdpoint'";

/// Why there is no answer about a database.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Login(#[from] LoginError),
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl Databases {
    /// Takes up databases whose memory is in `dir`, and makes the directory where there is none. Asks no server.
    pub fn open(dir: &Path, databases: Vec<Database>) -> io::Result<Self> {
        let databases = by_id(databases);
        let notebook = Notebook::open(dir, databases.keys())?;
        Ok(Self { databases, notebook, dir: dir.to_owned() })
    }

    /// The same databases for whoever only looks at them, beside an executor in another process that holds their memory.
    #[must_use]
    pub fn to_look(dir: &Path, databases: Vec<Database>) -> Self {
        let databases = by_id(databases);
        Self { databases, notebook: Notebook::to_look(dir), dir: dir.to_owned() }
    }
}

fn by_id(databases: Vec<Database>) -> BTreeMap<Id<kind::Target>, Database> {
    databases.into_iter().map(|database| (database.id.clone(), database)).collect()
}

impl Database {
    /// The relevant version, and what it is made of.
    async fn version(&self, session: &Session) -> Result<(Digest, Parts), Failed> {
        let functions = session.word(FUNCTIONS).await?;
        let parts = [("database and functions", Digest::of_bytes(functions.as_bytes()).short())];
        let parts = parts.into_iter().collect();
        let version = Version {
            r#type: "holdpoint/postgres-version/v1",
            target: &self.id,
            server: format!("{:?}", self.server),
            functions,
        };
        Ok((Digest::of(&version)?, parts))
    }
}

/// What a session is, in the words of `holdpoint.look`.
async fn look(session: &Session, warrant: &Warrant) -> Result<String, SessionError> {
    session.word(&format!("SELECT holdpoint.look{}", warrant.arguments())).await
}

/// Whether a session is as the verb was to leave it.
fn is_after(verb: Verb, seen: &str) -> bool {
    match verb {
        Verb::Cancel => matches!(seen, "idle" | "gone"),
        Verb::Terminate => seen == "gone",
    }
}

/// Ends sessions and cancels what they do. Each call runs to its end even if nobody waits for it any more.
pub struct DatabaseExecutor {
    authority: Authority,
    databases: Arc<Databases>,
    clock: Arc<dyn Clock>,
}

/// A step that the authority let through, on its way to the database's lock.
struct Order {
    mandate: Mandate,
    databases: Arc<Databases>,
    warrant: Warrant,
    login: Login,
    requests: Handle,
}

impl DatabaseExecutor {
    /// An executor over databases. Their servers check its leases themselves, at each login.
    #[must_use]
    pub const fn new(authority: Authority, databases: Arc<Databases>, clock: Arc<dyn Clock>) -> Self {
        Self { authority, databases, clock }
    }

    fn order(&self, work: &Work<'_>, for_use: Use) -> Result<Order, ExecuteError> {
        let asked_at = self.clock.now();
        let warrant = self.authority.check(work, for_use, asked_at)?;
        let session = Warrant::of(warrant.step()).map_err(|why| refused("parameters", why))?;
        let login = Login::of(&work.lease.secret).map_err(|err| refused("lease", err))?;
        let (lease, clock) = (work.lease.clone(), Arc::clone(&self.clock));
        let mandate = Mandate { warrant, lease, leases: LeaseCheck::ByTarget, clock, asked_at };
        let databases = Arc::clone(&self.databases);
        Ok(Order { mandate, databases, warrant: session, login, requests: Handle::current() })
    }
}

#[async_trait]
impl Executor for DatabaseExecutor {
    async fn rehearse(&self, work: Work<'_>) -> Result<(), ExecuteError> {
        let order = self.order(&work, Use::Apply)?;
        blocking(move || {
            let (locked, database) = order.locked()?;
            if order.mandate.ready(locked.page().memory())? == Fence::Done {
                return Ok(());
            }
            order.requests.block_on(order.ready(database)).map(|_| ())
        })
        .await
    }

    async fn apply(&self, work: Work<'_>) -> Result<(), ExecuteError> {
        let order = self.order(&work, Use::Apply)?;
        blocking(move || order.apply()).await
    }

    async fn undo(&self, work: Work<'_>, _: &Digest) -> Result<(), ExecuteError> {
        self.order(&work, Use::Undo)?;
        Err(refused("undo", "nothing brings a session back: its client connects again"))
    }
}

impl Order {
    fn locked(&self) -> Result<(Locked<'_, Note>, &Database), ExecuteError> {
        let target = &self.mandate.warrant.step().target;
        let unknown = || refused("database", format!("there is no database `{target}` here"));
        let database = self.databases.databases.get(target).ok_or_else(unknown)?;
        Ok((self.databases.notebook.lock(target).ok_or_else(unknown)??, database))
    }

    /// A session of the task in which the other one is there, may be ended, and has something to end.
    async fn ready(&self, database: &Database) -> Result<Session, ExecuteError> {
        let session = database.server.connect(&self.login).await;
        let session = session.map_err(|err| not_done("the task's login", &err))?;
        let (version, _) = database.version(&session).await.map_err(|err| not_done("the database", &err))?;
        expects(&self.mandate.warrant.step().expected_version, &version)?;
        let seen = look(&session, &self.warrant).await.map_err(|err| not_done("the session", &err))?;
        let pid = self.warrant.pid;
        match (seen.as_str(), self.warrant.verb) {
            ("busy", _) | ("idle", Verb::Terminate) => Ok(session),
            ("idle", Verb::Cancel) => {
                Err(refused("session", format!("{pid} does nothing that could be cancelled")))
            }
            ("gone", _) => {
                Err(refused("session", format!("there is no session {pid} of that start any more")))
            }
            ("kept", _) => {
                Err(refused("session", format!("{pid} is none that the operator lets anybody end")))
            }
            _ => Err(ExecuteError::NotDone("the session: an answer that is none".to_owned())),
        }
    }

    fn apply(&self) -> Result<(), ExecuteError> {
        let (mut locked, database) = self.locked()?;
        if self.mandate.ready(locked.page().memory())? == Fence::Done {
            return Ok(());
        }
        let session = self.requests.block_on(self.ready(database))?;
        // The server was asked since, which takes its time.
        self.mandate.current()?;
        let leaves = self.mandate.warrant.step().expected_version;
        // If we stop after this write, the session itself shows whether it came to its end.
        let before = locked.begin(&self.mandate, Note { session: self.warrant, leaves })?;
        let ended = self.requests.block_on(self.end(&session));
        match &ended {
            Ok(()) => locked.finish(&self.mandate, PhaseWord::Applied, leaves)?,
            Err(ExecuteError::NotDone(_) | ExecuteError::Refused(_)) => locked.retract(&self.mandate, before),
            Err(ExecuteError::Unknown(_)) => {}
        }
        ended
    }

    /// Calls the function, and waits until the session is as it was to be.
    async fn end(&self, session: &Session) -> Result<(), ExecuteError> {
        let call = format!("SELECT {}{}", self.warrant.verb.function(), self.warrant.arguments());
        let answer = Step::BackendSignal.take_async(async |_| session.word(&call).await).await;
        match answer.map_err(|err| unknown("the signal", &err))?.as_str() {
            "done" | "sent" => {}
            "gone" => return Err(refused("session", "it ended by itself")),
            "kept" => return Err(refused("session", "the operator lets nobody end it")),
            "no_warrant" => return Err(refused("warrant", "the task's role has none for this session")),
            _ => return Err(ExecuteError::Unknown("the signal: an answer that is none".to_owned())),
        }
        for _ in 0..LOOKS {
            let seen = look(session, &self.warrant).await.map_err(|err| unknown("the session", &err))?;
            if is_after(self.warrant.verb, &seen) {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(ExecuteError::Unknown("the signal was sent, and the session goes on".to_owned()))
    }
}

/// Observes databases. What a crash left open, it looks at the session for.
#[derive(Debug, Clone)]
pub struct DatabaseObserver {
    databases: Arc<Databases>,
}

impl DatabaseObserver {
    /// An observer of the same databases.
    #[must_use]
    pub const fn new(databases: Arc<Databases>) -> Self {
        Self { databases }
    }

    async fn seen(
        &self,
        database: &Database,
        page: &Page<Note>,
    ) -> Result<(Digest, Parts, Option<Acted>), Failed> {
        let login = Login::read(&database.observer, &database.observer_password_file)?;
        let session = database.server.connect(&login).await?;
        let (version, parts) = database.version(&session).await?;
        let Some(acted) = page.acted() else { return Ok((version, parts, None)) };
        let Some(note) = page.note().filter(|_| acted.phase == ActedPhase::Begun) else {
            return Ok((version, parts, Some(acted)));
        };
        let is_complete = is_after(note.session.verb, &look(&session, &note.session).await?);
        let complete = Acted { phase: ActedPhase::Applied, left: Some(note.leaves), ..acted };
        Ok((version, parts, Some(if is_complete { complete } else { acted })))
    }
}

#[async_trait]
impl Observer for DatabaseObserver {
    async fn observe(&self, _: &Action, target: &Target) -> Result<Observation, ObserveError> {
        let failed =
            |err: &dyn std::error::Error| ObserveError::Failed { target: target.id.clone(), why: chain(err) };
        let database = self.databases.databases.get(&target.id);
        let database = database.ok_or_else(|| ObserveError::Unknown(target.id.clone()))?;
        let page: Page<Note> = Page::load(&self.databases.dir, &target.id).map_err(|err| failed(&err))?;
        let (version, parts, acted) = self.seen(database, &page).await.map_err(|err| failed(&err))?;
        // A database is nothing that could be down here: without an answer of it there is no observation.
        Ok(Observation { version, parts, down: false, undo_computed: false, acted })
    }
}
