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

use std::{fmt, path::PathBuf};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use holdpoint_app::port::IssueError;
use holdpoint_domain::{
    Id,
    id::kind,
    lease::{LeaseSecret, Terms, Ttl},
};
use tokio::sync::Semaphore;

use super::{
    backends::{Backend, Order},
    door::{Door, failed},
    names::{PrefixError, RoleNames},
    sql,
};
use crate::{
    postgres::{Login, Server, Session, Warrant, verifier},
    step::Step,
    system::{Seed, random},
};

/// Most connections of the issuer at one time.
const CONNECTIONS: usize = 8;

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

/// A PostgreSQL server that leases a role a task.
pub struct PostgresRoles {
    spec: PostgresSpec,
    names: RoleNames,
    door: Door,
    key: Seed,
    turns: Semaphore,
}

impl PostgresRoles {
    /// A backend over a server. `origin` is the ledger's; `key` is for the passwords of tasks, and for nothing else.
    pub fn new(spec: PostgresSpec, origin: &str, key: Seed) -> Result<Self, PrefixError> {
        let names = RoleNames::new(&spec.name, &spec.prefix, origin)?;
        let door = Door::new(spec.server.clone());
        Ok(Self { spec, names, door, key, turns: Semaphore::new(CONNECTIONS) })
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
        let role = self.names.role(&order.info.id);
        let role =
            role.ok_or_else(|| IssueError::Refused(format!("lease: `{}` is no id of ours", order.info.id)))?;
        let warrants = order.warrants().map_err(IssueError::Refused)?;
        let _turn = self.turns.acquire().await.map_err(|err| IssueError::Backend(err.to_string()))?;
        let (session, login) = (self.session(&self.spec.server).await?, self.login(&role));
        let life_ms = order.left_ms();
        if life_ms == 0 {
            return Err(IssueError::Refused("life: it was over before the server was asked".to_owned()));
        }
        let create = sql::create(&role, &verifier(login.expose(), random()), life_ms, &warrants);
        // If we stop after this, the role is found by its lease's id, and nobody has its password.
        let made = Step::RoleMint.take_async(async |_| session.run(&create).await).await;
        made.map_err(|err| failed(&err))?;
        self.door.asks_for_a_password(&role).await?;
        login.to_secret().map_err(|err| IssueError::Backend(err.to_string()))
    }

    async fn end(&self, lease: &Id<kind::Lease>) -> Result<(), IssueError> {
        // What we cannot have made is not there.
        let Some(role) = self.names.role(lease) else { return Ok(()) };
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
        self.door.refuses(&self.login(&role)).await
    }

    async fn held(&self) -> Result<Vec<Id<kind::Lease>>, IssueError> {
        let session = self.session(&self.spec.server).await?;
        let roles = session.run(&sql::all(self.names.prefix())).await.map_err(|err| failed(&err))?;
        Ok(roles.iter().flatten().filter_map(|role| self.names.lease(role)).collect())
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
