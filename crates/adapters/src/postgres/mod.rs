//! Sessions with PostgreSQL servers that are not trusted: what they send is bounded in bytes and time, what they say is shown
//! cut and escaped, and what they name is quoted.

mod bounded;
mod login;
mod measure;
mod scram;
mod text;
mod warrant;

use std::{fmt, net::IpAddr, path::PathBuf, time::Duration};

use tokio::{net::TcpStream, task::JoinHandle, time::timeout};
use tokio_postgres::{
    Client, Config, NoTls, SimpleQueryMessage,
    config::{ChannelBinding, SslMode},
    error::SqlState,
    tls::MakeTlsConnect,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use bounded::Bounded;
pub(crate) use login::read_secret;
pub use login::{Login, LoginError};
pub(crate) use measure::{Cell, Unread};
pub(crate) use scram::verifier;
pub use text::{quote_identifier, quote_literal};
pub use warrant::{CANCEL, TERMINATE};
pub(crate) use warrant::{Verb, Warrant};

use crate::tls;

/// How long a connection may take to be there.
const CONNECT_LIMIT: Duration = Duration::from_secs(4);
/// How long one statement may take.
const STATEMENT_LIMIT: Duration = Duration::from_secs(8);
/// Most rows that are looked at.
const MAX_ROWS: usize = 10_000;
/// Most of a server's text that is shown.
const SHOWN: usize = 160;

/// Where a database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    host: String,
    port: u16,
    database: String,
    /// The file of certificates that the server's is checked with; none only on this machine.
    ca_file: Option<PathBuf>,
}

/// Why a database cannot be named.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    /// No TLS on a way that others can listen on.
    #[error(
        "database on `{0}`: expected `ca_file`, since only an address of this machine is spoken to without TLS"
    )]
    Plain(String),
    /// An empty or overlong name.
    #[error("expected a name of the database of 1 to 63 bytes")]
    Database,
}

/// Why a server did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// It cannot be reached, or speaks nonsense.
    #[error("the database server cannot be reached: {0}")]
    Unreachable(String),
    /// It does not let this login in.
    #[error("the database server refuses the login ({0})")]
    NoLogin(String),
    /// It refused a statement.
    #[error("the database server refused: {0}")]
    Refused(String),
    /// Nobody knows whether it did it: the connection broke, or it took too long.
    #[error("the database server gave no whole answer: {0}")]
    Broken(String),
}

impl Server {
    /// A database. Without `ca_file` only an address of this machine will do.
    pub fn new(
        host: String,
        port: u16,
        database: String,
        ca_file: Option<PathBuf>,
    ) -> Result<Self, ServerError> {
        let here = host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if ca_file.is_none() && !here {
            return Err(ServerError::Plain(host));
        }
        if database.is_empty() || database.len() > 63 || database.contains('\0') {
            return Err(ServerError::Database);
        }
        Ok(Self { host, port, database, ca_file })
    }

    /// The database's name.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Another database of the same server.
    #[must_use]
    pub(crate) fn other(&self, database: String) -> Self {
        Self { database, ..self.clone() }
    }

    /// Logs in. The password is in no error.
    pub async fn connect(&self, login: &Login) -> Result<Session, SessionError> {
        let connecting = timeout(CONNECT_LIMIT, self.connecting(login)).await;
        let late = |_| SessionError::Unreachable(format!("nothing within {} s", CONNECT_LIMIT.as_secs()));
        connecting.map_err(late)?
    }

    async fn connecting(&self, login: &Login) -> Result<Session, SessionError> {
        let unreachable = |err: &dyn std::error::Error| {
            SessionError::Unreachable(shown(&crate::executor::chain(err), login))
        };
        let tcp =
            TcpStream::connect((self.host.as_str(), self.port)).await.map_err(|err| unreachable(&err))?;
        tcp.set_nodelay(true).map_err(|err| unreachable(&err))?;
        let stream = Bounded::new(tcp);
        let mut config = Config::new();
        config
            .user(login.user())
            .password(login.expose())
            .dbname(&self.database)
            .application_name("holdpoint");
        match &self.ca_file {
            None => {
                config.ssl_mode(SslMode::Disable);
                let opened = config.connect_raw(stream, NoTls).await;
                let (client, connection) = opened.map_err(|err| login_failed(&err, login))?;
                Ok(Session { client, task: tokio::spawn(async move { drop(connection.await) }) })
            }
            Some(ca_file) => {
                // With the binding required the password goes by SCRAM alone: a server that asks for it in plain text gets none.
                config.ssl_mode(SslMode::Require).channel_binding(ChannelBinding::Require);
                let tls = tls::pinned(ca_file).map_err(SessionError::Unreachable)?;
                let mut maker = MakeRustlsConnect::new(tls);
                let tls = MakeTlsConnect::<Bounded<TcpStream>>::make_tls_connect(&mut maker, &self.host);
                let tls = tls.map_err(|err| unreachable(&err))?;
                let opened = config.connect_raw(stream, tls).await;
                let (client, connection) = opened.map_err(|err| login_failed(&err, login))?;
                Ok(Session { client, task: tokio::spawn(async move { drop(connection.await) }) })
            }
        }
    }
}

/// A session. It ends with this.
pub struct Session {
    client: Client,
    task: JoinHandle<()>,
}

impl Session {
    /// Runs statements, in one transaction unless they say otherwise, and returns the first column of each row.
    pub async fn run(&self, sql: &str) -> Result<Vec<Option<String>>, SessionError> {
        let late = |_| SessionError::Broken(format!("nothing within {} s", STATEMENT_LIMIT.as_secs()));
        let messages = timeout(STATEMENT_LIMIT, self.client.simple_query(sql)).await.map_err(late)?;
        let messages = messages.map_err(|err| match err.as_db_error() {
            Some(_) => SessionError::Refused(database_error(&err)),
            None => SessionError::Broken(bounded_text(&crate::executor::chain(&err))),
        })?;
        let mut firsts = Vec::new();
        for message in messages {
            if let SimpleQueryMessage::Row(row) = message {
                if firsts.len() >= MAX_ROWS {
                    return Err(SessionError::Broken(format!("more than {MAX_ROWS} rows")));
                }
                let first =
                    row.try_get(0).map_err(|err| SessionError::Broken(bounded_text(&err.to_string())))?;
                firsts.push(first.map(str::to_owned));
            }
        }
        Ok(firsts)
    }

    /// Runs a statement that answers one word.
    pub async fn word(&self, sql: &str) -> Result<String, SessionError> {
        match self.run(sql).await?.as_slice() {
            [Some(word)] => Ok(word.clone()),
            other => Err(SessionError::Broken(format!("expected one word, got {} rows", other.len()))),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

/// Why a login failed: only the two codes of authentication mean that it was refused for what it is.
fn login_failed(err: &tokio_postgres::Error, login: &Login) -> SessionError {
    match err.code() {
        Some(code)
            if *code == SqlState::INVALID_PASSWORD
                || *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION =>
        {
            SessionError::NoLogin(code.code().to_owned())
        }
        Some(_) => SessionError::Unreachable(shown(&database_error(err), login)),
        None => SessionError::Unreachable(shown(&crate::executor::chain(err), login)),
    }
}

/// Code and message, and nothing of the fields that repeat what we sent.
fn database_error(err: &tokio_postgres::Error) -> String {
    let Some(err) = err.as_db_error() else { return String::new() };
    format!("{} {}", bounded_text(err.code().code()), bounded_text(err.message()))
}

/// Text of a server, cut and escaped, without the password that it was told.
fn shown(text: &str, login: &Login) -> String {
    bounded_text(&text.replace(login.expose(), "***"))
}

fn bounded_text(text: &str) -> String {
    holdpoint_domain::text::quoted(text, SHOWN)
}
