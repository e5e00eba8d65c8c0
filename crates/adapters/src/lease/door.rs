//! The door of a database server: whether it asks for passwords at all, and whether it refuses the one of an ended lease.

use std::sync::atomic::{AtomicBool, Ordering};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use holdpoint_app::port::IssueError;

use crate::{
    postgres::{Login, Server, SessionError},
    system::random,
};

/// Where the roles of tasks log in.
#[derive(Debug)]
pub(super) struct Door {
    server: Server,
    asks_for_passwords: AtomicBool,
}

impl Door {
    pub(super) const fn new(server: Server) -> Self {
        Self { server, asks_for_passwords: AtomicBool::new(false) }
    }

    pub(super) const fn server(&self) -> &Server {
        &self.server
    }

    /// Refuses a server that lets the role in with any password: there a revocation would prove nothing.
    pub(super) async fn asks_for_a_password(&self, role: &str) -> Result<(), IssueError> {
        if self.asks_for_passwords.load(Ordering::Relaxed) {
            return Ok(());
        }
        let wrong = Login::new(role.to_owned(), URL_SAFE_NO_PAD.encode(random::<32>()));
        match self.server.connect(&wrong).await {
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
    pub(super) async fn refuses(&self, login: &Login) -> Result<(), IssueError> {
        match self.server.connect(login).await {
            Err(SessionError::NoLogin(_)) => Ok(()),
            Err(err) => Err(IssueError::Backend(format!("the end is not proven: {err}"))),
            Ok(_) => Err(IssueError::Backend(format!("role `{}` still logs in", login.user()))),
        }
    }
}

/// A database server that did not do it.
pub(super) fn failed(err: &SessionError) -> IssueError {
    IssueError::Backend(err.to_string())
}
