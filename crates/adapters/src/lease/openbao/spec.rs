//! What the operator says of an OpenBao that leases.

use std::{net::IpAddr, path::PathBuf};

use holdpoint_domain::{Id, id::kind, lease::Ttl};
use reqwest::{Url, header::HeaderValue};

use crate::{lease::names::PrefixError, postgres::Server};

/// Longest name of a mount, a connection or a namespace.
const MAX_NAME: usize = 128;

/// What the operator says of an OpenBao that leases.
#[derive(Debug, Clone)]
pub struct OpenBaoSpec {
    /// The backend's name.
    pub name: Id<kind::Backend>,
    /// Where its API is: `https://` with `ca_file`, or `http://` at an address of this machine.
    pub url: String,
    /// The certificates that the server's is checked with.
    pub ca_file: Option<PathBuf>,
    /// The namespace, where it is not the root's.
    pub namespace: Option<String>,
    /// The file of the issuer's token.
    pub token_file: PathBuf,
    /// Where its database engine is mounted.
    pub mount: String,
    /// The engine's connection to the database.
    pub connection: String,
    /// The same database, for the proof by a login that fails.
    pub server: Server,
    /// A login there without any grant, which looks whether a role is gone.
    pub prover: String,
    /// The file of its password.
    pub prover_password_file: PathBuf,
    /// How the roles of tasks begin.
    pub prefix: String,
    /// The longest life.
    pub max: Ttl,
}

/// Why an OpenBao cannot lease.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenBaoSpecError {
    /// A prefix that is none.
    #[error(transparent)]
    Prefix(#[from] PrefixError),
    /// No address to speak to, or one that others can listen to.
    #[error(
        "lease backend `{0}`: expected `url` to be `https://host:port` with `ca_file`, or `http://` at an address of this machine without it"
    )]
    Url(Id<kind::Backend>),
    /// A name that is no path.
    #[error(
        "lease backend `{backend}`: expected `{key}` to be 1 to {MAX_NAME} letters, digits and `. _ -`{also}, got `{got}`"
    )]
    Name {
        /// The backend.
        backend: Id<kind::Backend>,
        /// What is named.
        key: &'static str,
        /// What may stand in it beside.
        also: &'static str,
        /// The name.
        got: String,
    },
}

/// The address and the names of a spec, checked.
#[derive(Debug, Clone)]
pub(super) struct Checked {
    pub(super) base: Url,
    pub(super) namespace: Option<HeaderValue>,
}

impl OpenBaoSpec {
    pub(super) fn checked(&self) -> Result<Checked, OpenBaoSpecError> {
        let base = Url::parse(&self.url).ok().filter(|url| is_base(url, self.ca_file.is_some()));
        let base = base.ok_or_else(|| OpenBaoSpecError::Url(self.name.clone()))?;
        let (path, word) = (", with `/` between", "");
        let wrong = |key: &'static str, also: &'static str, got: &str| {
            let (backend, got) = (self.name.clone(), holdpoint_domain::text::quoted(got, MAX_NAME));
            OpenBaoSpecError::Name { backend, key, also, got }
        };
        if !is_path(&self.mount) {
            return Err(wrong("mount", path, &self.mount));
        }
        if !is_path(&self.connection) || self.connection.contains('/') {
            return Err(wrong("connection", word, &self.connection));
        }
        let namespace = match &self.namespace {
            Some(name) if is_path(name) => {
                Some(HeaderValue::from_str(name).map_err(|_| wrong("namespace", path, name))?)
            }
            Some(name) => return Err(wrong("namespace", path, name)),
            None => None,
        };
        Ok(Checked { base, namespace })
    }
}

/// Whether a URL is nothing but a server's, and nobody can listen on the way to it.
fn is_base(url: &Url, has_ca: bool) -> bool {
    let bare = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
        && url.path() == "/";
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let is_here = host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    bare && match url.scheme() {
        "https" => has_ca && !host.is_empty(),
        "http" => !has_ca && is_here,
        _ => false,
    }
}

/// Whether a name is a path of plain words: nothing in it is escaped, and nothing leads elsewhere.
fn is_path(name: &str) -> bool {
    let word = |word: &str| {
        let plain = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        plain && !word.is_empty() && !word.bytes().all(|byte| byte == b'.')
    };
    name.len() <= MAX_NAME && name.split('/').all(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_that_nobody_overhears_is_one() {
        let cases = [
            ("http://127.0.0.1:8200", false, true),
            ("http://[::1]:8200/", false, true),
            ("https://bao.example:8200", true, true),
            ("https://127.0.0.1:8200", true, true),
            ("https://bao.example:8200", false, false),
            ("http://127.0.0.1:8200", true, false),
            ("http://bao.example:8200", false, false),
            ("http://localhost:8200", false, false),
            ("http://127.0.0.1.example:8200", false, false),
            ("http://user@127.0.0.1:8200", false, false),
            ("http://127.0.0.1:8200/v1", false, false),
            ("http://127.0.0.1:8200/?a=b", false, false),
            ("http://127.0.0.1:8200/#a", false, false),
            ("unix:/run/bao.sock", false, false),
        ];
        for (url, has_ca, fine) in cases {
            assert_eq!(is_base(&Url::parse(url).unwrap(), has_ca), fine, "{url} {has_ca}");
        }
    }

    #[test]
    fn t20_a_name_leads_nowhere_else() {
        let long = "n".repeat(MAX_NAME + 1);
        for name in
            ["", "/", "a/", "/a", "a//b", "..", "a/../b", ".", "a?b", "a#b", "a%2fb", "a b", "ä", &long]
        {
            assert!(!is_path(name), "{name:?}");
        }
        for name in ["database", "team/database", "a.b-c_d", "1"] {
            assert!(is_path(name), "{name:?}");
        }
    }
}
