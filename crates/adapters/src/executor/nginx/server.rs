//! Servers behind nginx: what the operator lets us isolate, and with which commands. No plan sets any of it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use holdpoint_domain::{Digest, Id, Millis, digest::DigestError, id::kind};
use serde::Serialize;

use super::upstream::{Upstream, UpstreamError};

/// Most servers of one executor.
const MAX_SERVERS: usize = 1024;
/// Most arguments of a command, and longest argument or path.
const MAX_ARGS: usize = 64;
const MAX_ARG_LEN: usize = 4 * 1024;
/// Longest name of an upstream, and longest address.
const MAX_WORD: usize = 256;
/// Longest time of one command, and for the new workers: a lease must outlive all of them together.
pub const MAX_COMMAND: Millis = Millis::secs(60);

/// What the operator writes about a server behind nginx.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NginxSpec {
    /// The target that the server is.
    pub id: Id<kind::Target>,
    /// The file that has the upstream: the real one, not a link to it.
    pub include: PathBuf,
    /// The name of the upstream.
    pub upstream: String,
    /// The server's address, exactly as its line writes it.
    pub server: String,
    /// Whether the last server that takes traffic may be isolated.
    pub may_empty: bool,
    /// Tests the configuration: program with an absolute path, and its arguments.
    pub test: Vec<String>,
    /// Has nginx load the configuration.
    pub reload: Vec<String>,
    /// The file in which nginx writes the number of its master process.
    pub pid_file: PathBuf,
    /// How long each command, and the start of the new workers, may take.
    pub limit: Millis,
}

/// A server behind nginx, as the operator wrote it: one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NginxServer {
    // INVARIANT: paths and programs are absolute; upstream and server are plain words; all within the limits above.
    spec: NginxSpec,
}

/// What is wrong with a server. The fault is with whoever configured it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NginxError {
    /// A path that would depend on where we run.
    #[error("server `{0}`: expected absolute paths of the include file and the pid file")]
    Path(Id<kind::Target>),
    /// Not one plain word.
    #[error(
        "server `{0}`: expected an upstream and an address of 1 to {MAX_WORD} printable characters without space, quote or `; {{ }} # $ \\`"
    )]
    Word(Id<kind::Target>),
    /// A program that would be looked up, or too many arguments.
    #[error(
        "server `{0}`: expected commands of a program with an absolute path and at most {MAX_ARGS} arguments of at most {MAX_ARG_LEN} bytes, without NUL"
    )]
    Command(Id<kind::Target>),
    /// No time, or too much.
    #[error("server `{0}`: expected a limit of 1 ms to {MAX_COMMAND}, got {1}")]
    Limit(Id<kind::Target>, Millis),
    /// Two servers with one id, or two targets that are one line.
    #[error("server `{0}` stands twice, or is the same line as another one")]
    Duplicate(Id<kind::Target>),
    /// Too many.
    #[error("expected at most {MAX_SERVERS} servers, got {0}")]
    Size(usize),
}

/// What a version is a digest of.
#[derive(Serialize)]
struct Version<'a> {
    r#type: &'static str,
    target: &'a Id<kind::Target>,
    include: &'a Path,
    upstream: &'a str,
    server: &'a str,
    block: Digest,
}

impl NginxServer {
    /// Checks what the operator wrote.
    pub fn new(spec: NginxSpec) -> Result<Self, NginxError> {
        if !spec.include.is_absolute() || !spec.pid_file.is_absolute() {
            return Err(NginxError::Path(spec.id));
        }
        if !is_word(&spec.upstream) || !is_word(&spec.server) {
            return Err(NginxError::Word(spec.id));
        }
        if !is_command(&spec.test) || !is_command(&spec.reload) {
            return Err(NginxError::Command(spec.id));
        }
        if spec.limit.ms() == 0 || spec.limit > MAX_COMMAND {
            return Err(NginxError::Limit(spec.id, spec.limit));
        }
        Ok(Self { spec })
    }

    /// Its id, which is the id of the target that it is.
    #[must_use]
    pub const fn id(&self) -> &Id<kind::Target> {
        &self.spec.id
    }

    pub(super) const fn spec(&self) -> &NginxSpec {
        &self.spec
    }

    /// The server's line in a text of the include file.
    pub(super) fn find<'a>(&self, text: &'a [u8]) -> Result<Upstream<'a>, UpstreamError> {
        Upstream::find(text, &self.spec.upstream, &self.spec.server)
    }

    /// The relevant version: the whole block, for isolating one server leaves its work to the others.
    pub(super) fn version(&self, found: &Upstream<'_>) -> Result<Digest, DigestError> {
        Digest::of(&Version {
            r#type: "holdpoint/nginx-upstream-version/v1",
            target: &self.spec.id,
            include: &self.spec.include,
            upstream: &self.spec.upstream,
            server: &self.spec.server,
            block: found.digest(),
        })
    }
}

fn is_word(text: &str) -> bool {
    let special = |byte: u8| matches!(byte, b';' | b'{' | b'}' | b'#' | b'$' | b'\\' | b'"' | b'\'');
    (1..=MAX_WORD).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic() && !special(byte))
}

fn is_command(argv: &[String]) -> bool {
    let fits = |text: &String| text.len() <= MAX_ARG_LEN && !text.contains('\0');
    argv.first().is_some_and(|program| Path::new(program).is_absolute())
        && argv.len() <= MAX_ARGS
        && argv.iter().all(fits)
}

/// Puts servers in order by id; refuses two of one name, and two that are one line.
pub(super) fn by_id(
    servers: Vec<NginxServer>,
) -> Result<BTreeMap<Id<kind::Target>, NginxServer>, NginxError> {
    if servers.len() > MAX_SERVERS {
        return Err(NginxError::Size(servers.len()));
    }
    let mut map: BTreeMap<_, NginxServer> = BTreeMap::new();
    for server in servers {
        let place = |server: &NginxServer| {
            let NginxSpec { include, upstream, server, .. } = &server.spec;
            (include.clone(), upstream.clone(), server.clone())
        };
        if map.contains_key(server.id()) || map.values().any(|other| place(other) == place(&server)) {
            return Err(NginxError::Duplicate(server.spec.id));
        }
        map.insert(server.spec.id.clone(), server);
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> NginxSpec {
        NginxSpec {
            id: Id::parse("reports-1").unwrap(),
            include: "/etc/nginx/conf.d/reports.conf".into(),
            upstream: "reports".to_owned(),
            server: "127.0.0.1:9001".to_owned(),
            may_empty: false,
            test: ["/usr/sbin/nginx", "-t"].map(str::to_owned).to_vec(),
            reload: ["/usr/sbin/nginx", "-s", "reload"].map(str::to_owned).to_vec(),
            pid_file: "/run/nginx.pid".into(),
            limit: Millis::secs(5),
        }
    }

    #[test]
    fn what_the_operator_wrote_is_checked() {
        let id = || Id::parse("reports-1").unwrap();
        let word = |server: &str| NginxSpec { server: server.to_owned(), ..spec() };
        let cases = [
            (NginxSpec { include: "reports.conf".into(), ..spec() }, NginxError::Path(id())),
            (NginxSpec { pid_file: "nginx.pid".into(), ..spec() }, NginxError::Path(id())),
            (word(""), NginxError::Word(id())),
            (word("a b"), NginxError::Word(id())),
            (word("a;"), NginxError::Word(id())),
            (word("$host"), NginxError::Word(id())),
            (NginxSpec { upstream: "\"x\"".to_owned(), ..spec() }, NginxError::Word(id())),
            (NginxSpec { test: Vec::new(), ..spec() }, NginxError::Command(id())),
            (NginxSpec { reload: vec!["nginx".to_owned()], ..spec() }, NginxError::Command(id())),
            (NginxSpec { limit: Millis::secs(0), ..spec() }, NginxError::Limit(id(), Millis::secs(0))),
        ];
        for (spec, fault) in cases {
            assert_eq!(NginxServer::new(spec), Err(fault));
        }
        for server in ["127.0.0.1:9001", "[::1]:80", "unix:/run/app.sock", "app.example"] {
            assert!(NginxServer::new(word(server)).is_ok(), "{server}");
        }
        let one = || NginxServer::new(spec()).unwrap();
        let twin = NginxSpec { id: Id::parse("reports-2").unwrap(), ..spec() };
        let twin = NginxServer::new(twin).unwrap();
        assert!(by_id(vec![one(), one()]).is_err() && by_id(vec![one(), twin]).is_err());
    }
}
