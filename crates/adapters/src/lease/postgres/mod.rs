//! Leases of a PostgreSQL server: a role for each task.
//!
//! | done | if we stop here |
//! | --- | --- |
//! | the role is made, with its end, its limits and its grants, in one transaction | its name is the lease's id, which the ledger announced: it is found and ended |
//! | NOLOGIN | nobody logs in any more; the sweep goes on |
//! | its sessions are ended | as above |
//! | what it owns is dropped, in each database that has any of it | as above |
//! | it is dropped, with its warrants | the sweep finds nothing, and proves it once more |
//!
//! The proof is a login with the real password that the server refuses. The password is derived from the lease's id with a key
//! that only the issuer has, so a restart can prove it too; the server gets a SCRAM verifier in its place.

mod sql;

use std::{
    fmt,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use holdpoint_app::port::IssueError;
use holdpoint_domain::{
    Digest, Id,
    id::kind,
    lease::{LeaseSecret, Terms, Ttl},
};
use tokio::sync::Semaphore;

use super::backends::{Backend, Order};
use crate::{
    postgres::{Login, Server, Session, SessionError, Warrant, verifier},
    step::Step,
    system::{Seed, random},
};

/// Most connections of the issuer at one time.
const CONNECTIONS: usize = 8;
/// Longest prefix of our roles: with the rest of the name it stays below the 63 bytes of an identifier.
const MAX_PREFIX: usize = 16;
/// How lease ids begin that the gate makes.
const LEASE: &str = "lease-";

/// What the operator says of a server that leases.
#[derive(Debug, Clone)]
pub struct PostgresSpec {
    /// The backend's name.
    pub name: Id<kind::Backend>,
    /// The database in which `holdpoint.sql` was run.
    pub server: Server,
    /// The issuer's role: CREATEROLE, and no superuser.
    pub user: String,
    /// The file of its password.
    pub password_file: PathBuf,
    /// How the roles of tasks begin.
    pub prefix: String,
    /// The longest life.
    pub max: Ttl,
}

/// Why a server cannot lease.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PostgresSpecError {
    /// A prefix that is none.
    #[error(
        "lease backend `{backend}`: expected a prefix of 1 to {MAX_PREFIX} lower-case letters and digits, got `{got}`"
    )]
    Prefix {
        /// The backend.
        backend: Id<kind::Backend>,
        /// The prefix.
        got: String,
    },
}

/// A PostgreSQL server that leases a role a task.
pub struct PostgresRoles {
    spec: PostgresSpec,
    /// With the ledger's origin in it, so that two gates at one server never take each other's roles for orphans.
    prefix: String,
    key: Seed,
    turns: Semaphore,
    asks_for_passwords: AtomicBool,
}

impl PostgresRoles {
    /// A backend over a server. `origin` is the ledger's; `key` is for the passwords of tasks, and for nothing else.
    pub fn new(spec: PostgresSpec, origin: &str, key: Seed) -> Result<Self, PostgresSpecError> {
        let prefix = &spec.prefix;
        let plain = prefix.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let starts = prefix.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
        if !plain || !starts || prefix.len() > MAX_PREFIX {
            return Err(PostgresSpecError::Prefix { backend: spec.name.clone(), got: prefix.clone() });
        }
        let gate: String = hex(Digest::of_bytes(origin.as_bytes()).as_bytes()).chars().take(8).collect();
        let prefix = format!("{prefix}_{gate}_");
        let asks_for_passwords = AtomicBool::new(false);
        Ok(Self { spec, prefix, key, turns: Semaphore::new(CONNECTIONS), asks_for_passwords })
    }

    /// The role of a lease; none for an id that no gate makes.
    fn role(&self, lease: &Id<kind::Lease>) -> Option<String> {
        let unique = lease.as_str().strip_prefix(LEASE)?;
        is_unique(unique).then(|| format!("{}{unique}", self.prefix))
    }

    /// The lease of a role; none for a role that is not exactly one of ours.
    fn lease(&self, role: &str) -> Option<Id<kind::Lease>> {
        let unique = role.strip_prefix(&self.prefix)?;
        is_unique(unique).then(|| Id::parse(&format!("{LEASE}{unique}")).ok()).flatten()
    }

    fn login(&self, role: &str) -> Login {
        let password = self.key.derive("holdpoint/postgres-password/v1", role.as_bytes());
        Login::new(role.to_owned(), URL_SAFE_NO_PAD.encode(password))
    }

    async fn session(&self, server: &Server) -> Result<Session, IssueError> {
        let login = Login::read(&self.spec.user, &self.spec.password_file);
        let login = login.map_err(|err| IssueError::Backend(err.to_string()))?;
        let session = server.connect(&login).await.map_err(|err| failed(&err))?;
        session
            .run("SET statement_timeout = '6s'; SET lock_timeout = '3s'")
            .await
            .map_err(|err| failed(&err))?;
        Ok(session)
    }

    /// Refuses a server that lets the role in with any password: there a revocation would prove nothing.
    async fn is_asked_for_its_password(&self, role: &str) -> Result<(), IssueError> {
        if self.asks_for_passwords.load(Ordering::Relaxed) {
            return Ok(());
        }
        let wrong = Login::new(role.to_owned(), URL_SAFE_NO_PAD.encode(random::<32>()));
        match self.spec.server.connect(&wrong).await {
            Err(SessionError::NoLogin(_)) => {
                self.asks_for_passwords.store(true, Ordering::Relaxed);
                Ok(())
            }
            Err(err) => Err(failed(&err)),
            Ok(_) => Err(IssueError::Refused(
                "the server lets a task's role in with any password: have pg_hba.conf ask for scram-sha-256"
                    .to_owned(),
            )),
        }
    }

    /// Whether the real password is refused, as a password: a server that cannot be reached proves nothing.
    async fn is_proven_dead(&self, role: &str) -> Result<(), IssueError> {
        match self.spec.server.connect(&self.login(role)).await {
            Err(SessionError::NoLogin(_)) => Ok(()),
            Err(err) => Err(IssueError::Backend(format!("the end is not proven: {err}"))),
            Ok(_) => Err(IssueError::Backend(format!("role `{role}` still logs in"))),
        }
    }

    async fn take_down(&self, session: &Session, role: &str) -> Result<(), IssueError> {
        let run = async |sql: String| session.run(&sql).await.map_err(|err| failed(&err));
        Step::RoleBar.take_async(async |_| run(sql::bar(role)).await).await?;
        Step::RoleSessions.take_async(async |_| run(sql::end_sessions(role)).await).await?;
        let left = session.word(&sql::sessions(role)).await.map_err(|err| failed(&err))?;
        if left != "0" {
            return Err(IssueError::Backend(format!("{left} sessions of role `{role}` do not end")));
        }
        for database in run(sql::databases(role)).await?.into_iter().flatten() {
            let is_ours = database == self.spec.server.database();
            let drop = if is_ours { sql::drop_owned(role) } else { sql::drop_owned_elsewhere(role) };
            let there = self.session(&self.spec.server.other(database)).await?;
            let dropped = Step::RoleDropOwned.take_async(async |_| there.run(&drop).await).await;
            dropped.map_err(|err| failed(&err))?;
        }
        Step::RoleDrop.take_async(async |_| run(sql::drop_role(role)).await).await?;
        Ok(())
    }
}

#[async_trait]
impl Backend for PostgresRoles {
    fn terms(&self) -> Terms {
        let (backend, max) = (Some(self.spec.name.clone()), self.spec.max);
        Terms { backend, max, min: Ttl::SHORTEST, ends_early: true }
    }

    fn outlives(&self) -> bool {
        true
    }

    async fn mint(&self, order: Order<'_>) -> Result<LeaseSecret, IssueError> {
        let role = self.role(&order.info.id);
        let role =
            role.ok_or_else(|| IssueError::Refused(format!("lease: `{}` is no id of ours", order.info.id)))?;
        let warrants = order.warrants().map_err(IssueError::Refused)?;
        let _turn = self.turns.acquire().await.map_err(|err| IssueError::Backend(err.to_string()))?;
        let (session, login) = (self.session(&self.spec.server).await?, self.login(&role));
        let life_ms = order.info.expires_at_ms.since(order.now).ms();
        let create = sql::create(&role, &verifier(login.expose(), random()), life_ms, &warrants);
        // If we stop after this, the role is found by its lease's id, and nobody has its password.
        let made = Step::RoleMint.take_async(async |_| session.run(&create).await).await;
        made.map_err(|err| failed(&err))?;
        self.is_asked_for_its_password(&role).await?;
        login.to_secret().map_err(|err| IssueError::Backend(err.to_string()))
    }

    async fn end(&self, lease: &Id<kind::Lease>) -> Result<(), IssueError> {
        // What we cannot have made is not there.
        let Some(role) = self.role(lease) else { return Ok(()) };
        let _turn = self.turns.acquire().await.map_err(|err| IssueError::Backend(err.to_string()))?;
        let session = self.session(&self.spec.server).await?;
        let is_there = async || {
            let there = session.word(&sql::is_there(&role)).await.map_err(|err| failed(&err))?;
            Ok::<_, IssueError>(there != "0")
        };
        if is_there().await? {
            self.take_down(&session, &role).await?;
        }
        if is_there().await? {
            return Err(IssueError::Backend(format!("role `{role}` is still there")));
        }
        self.is_proven_dead(&role).await
    }

    async fn held(&self) -> Result<Vec<Id<kind::Lease>>, IssueError> {
        let session = self.session(&self.spec.server).await?;
        let roles = session.run(&sql::all(&self.prefix)).await.map_err(|err| failed(&err))?;
        Ok(roles.iter().flatten().filter_map(|role| self.lease(role)).collect())
    }
}

impl fmt::Debug for PostgresRoles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresRoles").field("spec", &self.spec).finish_non_exhaustive()
    }
}

impl Order<'_> {
    /// Exactly what the leased steps of the plan do to sessions.
    pub(super) fn warrants(&self) -> Result<Vec<Warrant>, String> {
        let leased = self.plan.steps().iter();
        let leased =
            leased.filter(|step| self.info.scopes.contains(&holdpoint_domain::lease::Scope::of(step)));
        leased.map(|step| Warrant::of(step).map_err(|why| format!("scope: {why}"))).collect()
    }
}

fn is_unique(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn failed(err: &SessionError) -> IssueError {
    IssueError::Backend(err.to_string())
}
