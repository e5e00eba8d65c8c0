//! A user name and its password.

use std::{fmt, fs::File, io::Read as _, os::unix::fs::MetadataExt as _, path::Path};

use holdpoint_domain::lease::LeaseSecret;
use serde::{Deserialize, Serialize};

/// Largest file with a password or token.
const MAX_SECRET: u64 = 4096;

/// A login. Shows without its password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    user: String,
    password: String,
}

/// Why there is no login.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// The secret is not one of a login.
    #[error("the lease's secret is not a login")]
    NotALogin,
    /// The file cannot be read, or others can.
    #[error("secret file `{path}`: {why}")]
    File {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
}

impl Login {
    /// A login.
    #[must_use]
    pub const fn new(user: String, password: String) -> Self {
        Self { user, password }
    }

    /// A login whose password is in a file of its owner's.
    pub fn read(user: &str, password_file: &Path) -> Result<Self, LoginError> {
        Ok(Self::new(user.to_owned(), read_secret(password_file)?))
    }

    /// The user's name.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    pub(crate) fn expose(&self) -> &str {
        &self.password
    }

    /// As a lease's secret.
    pub(crate) fn to_secret(&self) -> Result<LeaseSecret, LoginError> {
        serde_json::to_string(self).map(LeaseSecret::new).map_err(|_| LoginError::NotALogin)
    }

    /// From a lease's secret.
    pub fn of(secret: &LeaseSecret) -> Result<Self, LoginError> {
        // The error of the parser would show a piece of what it read.
        serde_json::from_str(secret.expose()).map_err(|_| LoginError::NotALogin)
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).field("password", &"***").finish()
    }
}

/// Reads a secret of one line from a file that nobody but its owner may read.
pub(crate) fn read_secret(path: &Path) -> Result<String, LoginError> {
    let failed = |why: String| LoginError::File { path: path.display().to_string(), why };
    let file = File::open(path).map_err(|err| failed(err.to_string()))?;
    let meta = file.metadata().map_err(|err| failed(err.to_string()))?;
    if !meta.is_file() || meta.mode() & 0o077 != 0 {
        return Err(failed("expected a regular file of mode 0600".to_owned()));
    }
    let mut text = String::new();
    file.take(MAX_SECRET).read_to_string(&mut text).map_err(|err| failed(err.to_string()))?;
    let secret = text.trim_end_matches(['\n', '\r']);
    if secret.is_empty() || secret.contains(['\n', '\r', '\0']) {
        return Err(failed("expected one line that is not empty".to_owned()));
    }
    Ok(secret.to_owned())
}
