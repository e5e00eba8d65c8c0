//! Values of PostgreSQL databases, with logins that only the observer has.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use holdpoint_domain::{
    Id,
    id::kind,
    target::DatabaseAddress,
    trigger::{Scalar, SqlCheck, Subject, Truth, Why},
};

use super::Finding;
use crate::postgres::{Cell, Login, Server, Unread};

/// A login of the observer.
#[derive(Debug, Clone)]
pub struct ProbeLogin {
    /// The role's name.
    pub user: String,
    /// The file of its password.
    pub password_file: PathBuf,
    /// The file of certificates that servers' are checked with; none only for databases on this machine.
    pub ca_file: Option<PathBuf>,
}

/// The logins by the names that the inventory has for them.
pub type ProbeLogins = BTreeMap<Id<kind::Login>, ProbeLogin>;

/// Asks for the value. The time limit is the caller's; this one is the server's.
pub(super) async fn value(
    logins: &ProbeLogins,
    check: &SqlCheck,
    subject: Subject<'_>,
    at: &DatabaseAddress,
    limit: Duration,
) -> Finding {
    measure(logins, check, subject, at, limit).await.unwrap_or_else(Finding::unknown)
}

async fn measure(
    logins: &ProbeLogins,
    check: &SqlCheck,
    subject: Subject<'_>,
    at: &DatabaseAddress,
    limit: Duration,
) -> Result<Finding, Why> {
    let params: Option<Vec<String>> =
        check.params.iter().map(|param| param.value(subject).map(str::to_owned)).collect();
    let params = params.ok_or(Why::NoEndpoint)?;
    let ours = |err: &dyn std::error::Error| {
        tracing::warn!("login `{}` of the probes cannot be used: {err}", at.login);
        Why::OurFault
    };
    let Some(ProbeLogin { user, password_file, ca_file }) = logins.get(&at.login) else {
        tracing::warn!("there is no login `{}` for probes", at.login);
        return Err(Why::OurFault);
    };
    // Read each time: a password that was rotated counts from then on.
    let login = Login::read(user, password_file).map_err(|err| ours(&err))?;
    let server = Server::new(at.host.clone(), at.port, at.database.clone(), ca_file.clone());
    let server = server.map_err(|err| ours(&err))?;
    let statement = check.statement.clone();
    let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(1).max(1);
    // In a task of its own: a server that makes the client library panic is one that answers garbage. It ends when nobody waits for it.
    let mut task = tokio::task::JoinSet::new();
    task.spawn(async move { server.value(&login, &statement, &params, limit_ms).await });
    let cell = match task.join_next().await {
        Some(Ok(read)) => read.map_err(why)?,
        Some(Err(_)) | None => return Err(Why::Garbage),
    };
    let (scalar, value) = match cell {
        Cell::Number(number) => (Scalar::Number(number), Some(number)),
        Cell::Bool(yes) => (Scalar::Bool(yes), None),
        Cell::Null => return Err(Why::NotANumber),
    };
    let truth = if check.is.holds(scalar)? { Truth::Holds } else { Truth::DoesNotHold };
    Ok(Finding { value, ..Finding::new(truth, Why::Measured) })
}

const fn why(unread: Unread) -> Why {
    match unread {
        Unread::Broken => Why::Broken,
        Unread::Rejected => Why::Rejected,
        Unread::TimedOut => Why::TimedOut,
        Unread::MayWrite => Why::MayWrite,
        Unread::NoRow => Why::NoData,
        Unread::Rows => Why::Ambiguous,
        Unread::Type => Why::WrongType,
    }
}
