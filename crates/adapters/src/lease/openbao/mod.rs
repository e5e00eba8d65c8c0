//! Leases of an OpenBao: a role for each task, as with [`PostgresRoles`](super::PostgresRoles), made by OpenBao's database engine,
//! so that the database's root is OpenBao's and the issuer has no more than a token.
//!
//! Each lease has a role definition of its own, with exactly the grants and warrants of its plan. Definition, role of the database and
//! lease have one name, that of the lease in the ledger.
//!
//! | done | if we stop here |
//! | --- | --- |
//! | the definition is written | found by its name; nothing was made by it |
//! | credentials are made | found by the same name; nobody has the password, and OpenBao ends them at the end of their life |
//! | the leases below the name are revoked: no login, sessions ended, dropped | the sweep does it again, and finds less |
//! | the definition is removed | the sweep finds nothing, and proves it once more |
//!
//! The proof: OpenBao has no lease and no definition of the name; the database, asked with a login of ours, has no such role and no
//! session of it; and the real password is refused, as long as we know it. It is kept in memory alone: after a restart the
//! role's absence is the proof, which says as much.

mod api;
mod definition;
mod engine;
mod spec;
mod token;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use holdpoint_app::port::IssueError;
use holdpoint_domain::{
    Id,
    id::kind,
    lease::{LeaseSecret, Terms, Ttl},
};
use tokio::sync::Semaphore;

use self::{
    api::Api,
    definition::{Definition, seconds},
    engine::{BaoLease, Credentials, Engine},
};
use super::{
    backends::{Backend, Order},
    door::{Door, failed},
    names::RoleNames,
    sql,
    table::MAX_LEASES,
};
use crate::postgres::{Login, Session};

pub use spec::{OpenBaoSpec, OpenBaoSpecError};

/// Most calls at one time.
const CALLS: usize = 8;

/// An OpenBao that leases a role a task.
pub struct OpenBaoRoles {
    spec: OpenBaoSpec,
    names: RoleNames,
    api: Api,
    door: Door,
    turns: Semaphore,
    /// What was leased and is not proven dead: for the proof alone.
    known: Mutex<BTreeMap<Id<kind::Lease>, (BaoLease, Login)>>,
}

impl OpenBaoRoles {
    /// A backend over an OpenBao. `origin` is the ledger's.
    pub fn new(spec: OpenBaoSpec, origin: &str) -> Result<Self, OpenBaoSpecError> {
        let names = RoleNames::new(&spec.name, &spec.prefix, origin)?;
        let api = Api::new(spec.checked()?, spec.ca_file.clone(), spec.token_file.clone());
        let door = Door::new(spec.server.clone());
        Ok(Self { spec, names, api, door, turns: Semaphore::new(CALLS), known: Mutex::default() })
    }

    fn engine(&self) -> Result<Engine<'_>, IssueError> {
        let has_namespace = self.api.has_namespace();
        Ok(Engine { caller: self.api.caller()?, mount: &self.spec.mount, has_namespace })
    }

    /// A session that looks, and may do nothing.
    async fn prover(&self) -> Result<Session, IssueError> {
        let login = Login::read(&self.spec.prover, &self.spec.prover_password_file);
        let login = login.map_err(|err| IssueError::Backend(err.to_string()))?;
        self.door.server().connect(&login).await.map_err(|err| failed(&err))
    }

    /// Whether the credentials are what was asked for: this role, and no longer life.
    async fn check(
        &self,
        engine: &Engine<'_>,
        made: &Credentials,
        order: Asked<'_>,
    ) -> Result<(), IssueError> {
        if made.login.user() != order.role {
            return Err(IssueError::Refused(
                "OpenBao's connection names its users itself: write it with username_template={{.RoleName}}"
                    .to_owned(),
            ));
        }
        let ttl_secs = engine.lookup(&made.lease).await?;
        let ttl_secs =
            ttl_secs.ok_or_else(|| IssueError::Backend("OpenBao knows no lease that it made".to_owned()))?;
        for life_secs in [made.life_secs, ttl_secs] {
            // One that has a second left looks like none: it may have none by now.
            if life_secs == 0 || life_secs > order.life_secs {
                return Err(IssueError::Refused(format!(
                    "life: OpenBao leases for {life_secs} s, and {} s are allowed",
                    order.life_secs
                )));
            }
        }
        self.door.asks_for_a_password(order.role).await
    }

    /// Ends what goes by this name at OpenBao and in the database. The session that looked there.
    async fn take_down(&self, engine: &Engine<'_>, role: &str) -> Result<Session, IssueError> {
        // First, and without a look at the database: it may be full.
        engine.revoke(role).await?;
        let session = self.prover().await?;
        if is_there(&session, role).await? {
            // OpenBao made the role and forgot it, or never knew that it was made. Nobody else can drop it.
            engine.define(role, &Definition::to_end(&self.spec.connection, role)).await?;
            let ended = engine.credentials(role).await.map(|_| ());
            engine.revoke(role).await?;
            ended?;
        }
        let left = engine.leases(role).await?;
        if left != 0 {
            return Err(IssueError::Backend(format!("OpenBao still has {left} leases of role `{role}`")));
        }
        // Only now: it says how a lease is ended.
        engine.forget(role).await?;
        Ok(session)
    }

    /// Whether nothing is left of a lease.
    async fn prove(
        &self,
        engine: &Engine<'_>,
        session: &Session,
        lease: &Id<kind::Lease>,
        role: &str,
    ) -> Result<(), IssueError> {
        let left = |what: &str| Err(IssueError::Backend(format!("the end is not proven: {what}")));
        if engine.is_defined(role).await? {
            return left("OpenBao still has the role definition");
        }
        let known = self.known().get(lease).cloned();
        if let Some((bao, _)) = &known
            && engine.lookup(bao).await?.is_some()
        {
            return left("OpenBao still has the lease");
        }
        let sessions = session.word(&sql::sessions(role)).await.map_err(|err| failed(&err))?;
        if sessions != "0" || is_there(session, role).await? {
            return left("the database still has the role, or a session of it");
        }
        if let Some((_, login)) = &known {
            self.door.refuses(login).await?;
        }
        self.known().remove(lease);
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Id<kind::Lease>, (BaoLease, Login)>> {
        // Every change is one insert or one removal: a panic leaves nothing half-made.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was asked for.
#[derive(Debug, Clone, Copy)]
struct Asked<'a> {
    role: &'a str,
    life_secs: u64,
}

#[async_trait]
impl Backend for OpenBaoRoles {
    fn terms(&self) -> Terms {
        let (backend, max) = (Some(self.spec.name.clone()), self.spec.max);
        Terms { backend, max, min: Ttl::SHORTEST, ends_early: true }
    }

    fn outlives(&self) -> bool {
        true
    }

    async fn mint(&self, order: Order<'_>) -> Result<LeaseSecret, IssueError> {
        let lease = &order.info.id;
        let refused = |why: &str| IssueError::Refused(format!("lease: `{lease}` {why}"));
        let role = self.names.role(lease).ok_or_else(|| refused("is no id of ours"))?;
        let warrants = order.warrants().map_err(IssueError::Refused)?;
        let _turn = self.turns.acquire().await.map_err(|err| IssueError::Backend(err.to_string()))?;
        let engine = self.engine()?;
        let life_ms = order.info.expires_at_ms.since(order.now).ms();
        let asked = Asked { role: &role, life_secs: seconds(life_ms) };
        engine.caller.keep_token(asked.life_secs).await?;
        if engine.is_defined(&role).await? || self.known().len() >= MAX_LEASES {
            return Err(refused("was used before, or too many are live"));
        }
        let definition = Definition::of(&self.spec.connection, &role, life_ms, &warrants);
        // If we stop after this, the definition is found by its lease's id.
        engine.define(&role, &definition).await?;
        // If we stop after this, so are its credentials, and nobody has the password.
        let made = engine.credentials(&role).await?;
        self.known().insert(lease.clone(), (made.lease.clone(), made.login.clone()));
        if let Err(err) = self.check(&engine, &made, asked).await {
            // Not left for the sweep: it may be longer than anybody allowed. Should this fail, the lease is announced.
            if let Err(left) = self.take_down(&engine, &role).await {
                tracing::warn!(%lease, "lease {lease} was refused, and is still there: {left}");
            }
            return Err(err);
        }
        made.login.to_secret().map_err(|err| IssueError::Backend(err.to_string()))
    }

    async fn end(&self, lease: &Id<kind::Lease>) -> Result<(), IssueError> {
        // What we cannot have made is not there.
        let Some(role) = self.names.role(lease) else { return Ok(()) };
        let _turn = self.turns.acquire().await.map_err(|err| IssueError::Backend(err.to_string()))?;
        let engine = self.engine()?;
        let session = self.take_down(&engine, &role).await?;
        self.prove(&engine, &session, lease, &role).await
    }

    async fn held(&self) -> Result<Vec<Id<kind::Lease>>, IssueError> {
        let engine = self.engine()?;
        // This is asked every half minute, so it keeps the token alive too. What it holds is told whatever comes of that.
        if let Err(err) = engine.caller.keep_token(0).await {
            tracing::error!("backend {}: {err}", self.spec.name);
        }
        let mut roles = engine.roles().await?;
        let at_database = self.prover().await?.run(&sql::all(self.names.prefix())).await;
        roles.extend(at_database.map_err(|err| failed(&err))?.into_iter().flatten());
        let leases: BTreeSet<_> = roles.iter().filter_map(|role| self.names.lease(role)).collect();
        Ok(leases.into_iter().collect())
    }
}

impl fmt::Debug for OpenBaoRoles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenBaoRoles").field("spec", &self.spec).finish_non_exhaustive()
    }
}

async fn is_there(session: &Session, role: &str) -> Result<bool, IssueError> {
    let there = session.word(&sql::is_there(role)).await.map_err(|err| failed(&err))?;
    Ok(there != "0")
}
