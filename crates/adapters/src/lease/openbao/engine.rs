//! OpenBao's database engine: role definitions, credentials and leases, all below one mount and of one role each.

use holdpoint_app::port::IssueError;
use serde::Deserialize;
use serde_json::json;

use super::{
    api::{ApiError, Caller, Data, Shown},
    definition::{Definition, PLAIN},
};
use crate::{postgres::Login, step::Step};

/// Longest name that OpenBao gives a lease below its path.
const MAX_LEASE_NAME: usize = 64;

/// The engine of one backend, for the requests of one call.
pub(super) struct Engine<'a> {
    pub(super) caller: Caller,
    pub(super) mount: &'a str,
    /// Names of leases end with the namespace then.
    pub(super) has_namespace: bool,
}

/// A lease of OpenBao, and the login that it is for.
#[derive(Debug, Clone)]
pub(super) struct Credentials {
    pub(super) lease: BaoLease,
    /// Seconds of life.
    pub(super) life_secs: u64,
    pub(super) login: Login,
}

/// The whole name of a lease of OpenBao, below the path of one role. INVARIANT: made by [`Engine::lease_of`] alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BaoLease(String);

#[derive(Deserialize)]
struct Made {
    lease_id: String,
    lease_duration: u64,
    data: MadeLogin,
}

#[derive(Deserialize)]
struct MadeLogin {
    username: String,
    password: String,
}

#[derive(Deserialize)]
struct Found {
    id: String,
    ttl: u64,
}

impl Engine<'_> {
    fn role_path(&self, role: &str) -> String {
        format!("{}/roles/{role}", self.mount)
    }

    fn creds_path(&self, role: &str) -> String {
        format!("{}/creds/{role}", self.mount)
    }

    /// A lease's name, if it is one of this role in this namespace (T27).
    fn lease_of(&self, role: &str, name: &str) -> Option<BaoLease> {
        let unique = name.strip_prefix(&self.creds_path(role))?.strip_prefix('/')?;
        let word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let fits = match unique.split_once('.') {
            Some((unique, namespace)) => self.has_namespace && word(unique) && word(namespace),
            None => !self.has_namespace && word(unique),
        };
        (fits && unique.len() <= MAX_LEASE_NAME).then(|| BaoLease(name.to_owned()))
    }

    /// Whether there is a definition of this role.
    pub(super) async fn is_defined(&self, role: &str) -> Result<bool, ApiError> {
        let answer = self.caller.look("a role definition", &self.role_path(role)).await?;
        if answer.is_nothing() {
            return Ok(false);
        }
        self.caller.good(answer, Shown::Text).map(|_| true)
    }

    /// Writes a role definition.
    pub(super) async fn define(&self, role: &str, definition: &Definition<'_>) -> Result<(), ApiError> {
        let path = self.role_path(role);
        let answer = Step::BaoDefine
            .take_async(async |taken| self.caller.put("a role definition", &path, definition, &taken).await);
        self.caller.good(answer.await?, Shown::Text).map(|_| ())
    }

    /// Has credentials made by the definition of a role.
    pub(super) async fn credentials(&self, role: &str) -> Result<Credentials, IssueError> {
        let (what, path) = ("new credentials", self.creds_path(role));
        let answer =
            Step::BaoCreds.take_async(async |taken| self.caller.make(what, &path, &taken).await).await?;
        if answer.says(PLAIN) {
            return Err(IssueError::Refused(
                "OpenBao's connection hands over passwords in plain text: write it with password_authentication=scram-sha-256"
                    .to_owned(),
            ));
        }
        let answer = self.caller.good(answer, Shown::SqlState)?;
        let Made { lease_id, lease_duration, data } = self.caller.read(answer)?;
        let foreign = || ApiError::Answer { what, why: "a lease that is not the role's".to_owned() };
        let lease = self.lease_of(role, &lease_id).ok_or_else(foreign)?;
        let login = Login::new(data.username, data.password);
        Ok(Credentials { lease, life_secs: lease_duration, login })
    }

    /// The seconds that a lease has left; none where OpenBao knows no such lease.
    pub(super) async fn lookup(&self, lease: &BaoLease) -> Result<Option<u64>, ApiError> {
        let (what, BaoLease(name)) = ("a lookup of a lease", lease);
        let answer = self.caller.question(what, "sys/leases/lookup", &json!({"lease_id": name})).await?;
        if answer.is_no_lease() {
            return Ok(None);
        }
        let Data { data: Found { id, ttl } } = self.caller.read(answer)?;
        if id != *name {
            return Err(ApiError::Answer { what, why: "another lease".to_owned() });
        }
        Ok(Some(ttl))
    }

    /// How many leases a role has.
    pub(super) async fn leases(&self, role: &str) -> Result<usize, ApiError> {
        let path = format!("sys/leases/lookup/{}", self.creds_path(role));
        Ok(self.caller.list("a list of a role's leases", &path).await?.len())
    }

    /// Ends every lease of a role, and waits for it.
    pub(super) async fn revoke(&self, role: &str) -> Result<(), ApiError> {
        let path = format!("sys/leases/revoke-prefix/{}", self.creds_path(role));
        let answer = Step::BaoRevoke.take_async(async |taken| {
            self.caller.put("a revocation", &path, &json!({"sync": true}), &taken).await
        });
        self.caller.good(answer.await?, Shown::Text).map(|_| ())
    }

    /// Removes the definition of a role.
    pub(super) async fn forget(&self, role: &str) -> Result<(), ApiError> {
        let path = self.role_path(role);
        let answer = Step::BaoForget
            .take_async(async |taken| self.caller.delete("an end of a role definition", &path, &taken).await);
        self.caller.good(answer.await?, Shown::Text).map(|_| ())
    }

    /// The roles that have a definition or a lease.
    pub(super) async fn roles(&self) -> Result<Vec<String>, ApiError> {
        let mount = self.mount;
        let mut roles = self.caller.list("a list of role definitions", &format!("{mount}/roles")).await?;
        let leased =
            self.caller.list("a list of leases", &format!("sys/leases/lookup/{mount}/creds")).await?;
        roles.extend(leased.into_iter().map(|name| name.trim_end_matches('/').to_owned()));
        Ok(roles)
    }
}
