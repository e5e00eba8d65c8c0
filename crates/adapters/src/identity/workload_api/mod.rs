//! The Workload API of the local development issuer: agents that were written for a SPIFFE implementation work against a
//! first day's gate as they are.
//!
//! For development. Processes are told apart by their user and the digest of their program, as far as that goes: see
//! [`attest`]. Where a program cannot tell the phase, for instance an interpreter, each phase has a socket of its own, and
//! whoever may reach the socket is the boundary.

mod attest;
mod authority;
mod connection;
mod messages;
mod service;

use std::{
    collections::BTreeMap,
    fs::{File, Permissions},
    io,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use futures_util::stream;
use holdpoint_app::port::Clock;
use holdpoint_domain::{
    Digest,
    actor::{Identity, TrustDomain},
};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinHandle,
};
use tonic::transport::Server;

use self::{
    attest::Peer,
    authority::Authority,
    connection::Connection,
    service::{Api, Shared},
};
use super::{issuer::DevIssuer, jwks::Jwks};
use crate::system::KeyFileError;

/// Most connections to one socket at a time.
const MAX_CONNECTIONS: usize = 256;
/// Most calls at once on one connection.
const MAX_CALLS: usize = 8;
/// Most sockets.
const MAX_SOCKETS: usize = 256;

/// What one process on one socket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The socket that it asks on.
    pub socket: PathBuf,
    /// Its user.
    pub uid: u32,
    /// SHA-256 of its program.
    pub program: Digest,
    /// Whom it is.
    pub identity: Identity,
}

/// Why the Workload API is not spoken.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadApiError {
    /// The key.
    #[error("the key of the development authority cannot be used")]
    Key(#[from] KeyFileError),
    /// No certificate came of it.
    #[error("no certificate can be made")]
    Certificate(#[source] rcgen::Error),
    /// A time that certificates cannot say.
    #[error("no certificate can say this time")]
    Time,
    /// The issuer's own keys cannot be read back.
    #[error("the issuer's keys cannot be used")]
    Keys(#[from] super::JwksError),
    /// A process with two identities, or too many sockets.
    #[error(
        "socket {0}: one user with one program is registered twice: one process is one identity in one phase"
    )]
    Twice(PathBuf),
    /// Too many.
    #[error("expected at most {MAX_SOCKETS} sockets, got {0}")]
    Sockets(usize),
    /// The socket.
    #[error("socket {path} cannot be made")]
    Socket {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something else lies where the socket should be, or somebody serves it.
    #[error("socket {0}: there is something else, or another server, at this path")]
    Taken(PathBuf),
}

/// The sockets that are served until this is dropped.
#[derive(Debug)]
pub struct WorkloadApi {
    listening: Vec<JoinHandle<()>>,
    // Connections end when this is gone.
    _served: watch::Sender<()>,
}

impl Drop for WorkloadApi {
    fn drop(&mut self) {
        self.listening.iter().for_each(JoinHandle::abort);
    }
}

/// The digest that a program is registered with.
pub fn program_digest(path: &Path) -> io::Result<Digest> {
    attest::digest(File::open(path)?).map_err(io::Error::other)
}

impl WorkloadApi {
    /// Checks that no process would be two identities. Touches nothing.
    pub fn check(registered: &[Registration]) -> Result<(), WorkloadApiError> {
        let mut known = BTreeMap::new();
        for entry in registered {
            let process = (&entry.socket, entry.uid, entry.program.as_bytes());
            if known.insert(process, &entry.identity).is_some() {
                return Err(WorkloadApiError::Twice(entry.socket.clone()));
            }
        }
        let sockets = by_socket(registered).len();
        if sockets > MAX_SOCKETS { Err(WorkloadApiError::Sockets(sockets)) } else { Ok(()) }
    }

    /// Serves the sockets of these registrations. The authority's key is made at `authority_key` where there is none.
    pub fn serve(
        registered: &[Registration],
        issuer: DevIssuer,
        domain: TrustDomain,
        authority_key: &Path,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, WorkloadApiError> {
        Self::check(registered)?;
        let authority = Authority::load_or_create(authority_key, domain.clone())?;
        let keys = Jwks::parse(&issuer.jwks())?;
        let shared = Arc::new(Shared { issuer, authority, keys, domain, clock });
        let mut sockets = Vec::new();
        for (path, registered) in by_socket(registered) {
            let listener = bind(path)?;
            let api = Api { shared: Arc::clone(&shared), registered: Arc::new(registered) };
            sockets.push((path.to_owned(), listener, api));
        }
        // Only when all of them are there: half of an API would be found out one agent at a time.
        let (sender, served) = watch::channel(());
        let serve = |(path, listener, api)| tokio::spawn(serve(path, listener, api, served.clone()));
        Ok(Self { listening: sockets.into_iter().map(serve).collect(), _served: sender })
    }
}

fn by_socket(registered: &[Registration]) -> BTreeMap<&Path, Vec<Registration>> {
    let mut sockets = BTreeMap::<&Path, Vec<Registration>>::new();
    for entry in registered {
        sockets.entry(&entry.socket).or_default().push(entry.clone());
    }
    sockets
}

/// Listens at a path where nothing is, or a socket that nobody serves any more: ours of a start before.
fn bind(path: &Path) -> Result<UnixListener, WorkloadApiError> {
    let failed = |source| WorkloadApiError::Socket { path: path.to_owned(), source };
    match std::fs::symlink_metadata(path) {
        Ok(found) => {
            let refused = std::os::unix::net::UnixStream::connect(path)
                .is_err_and(|err| err.kind() == io::ErrorKind::ConnectionRefused);
            if !found.file_type().is_socket() || !refused {
                return Err(WorkloadApiError::Taken(path.to_owned()));
            }
            std::fs::remove_file(path).map_err(failed)?;
        }
        Err(err) if err.kind() == io::ErrorKind::NotFound => {}
        Err(err) => return Err(failed(err)),
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    // Who may reach it is said by its folder; who is served, by what is registered.
    std::fs::set_permissions(path, Permissions::from_mode(0o666)).map_err(failed)?;
    Ok(listener)
}

async fn serve(path: PathBuf, listener: UnixListener, api: Api, served: watch::Receiver<()>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let incoming = stream::unfold((listener, places, served), |(listener, places, served)| async move {
        let (stream, peer, place) = accept(&listener, &places).await;
        let connection = Connection::new(stream, peer, place, served.clone());
        Some((Ok::<_, io::Error>(connection), (listener, places, served)))
    });
    let incoming = Box::pin(incoming);
    let server = Server::builder().concurrency_limit_per_connection(MAX_CALLS);
    if let Err(err) = server.serve_with_incoming(api, incoming).await {
        tracing::error!("workload API: {} is not served any more: {err}", path.display());
    }
}

/// The next connection whose other end can be told.
async fn accept(
    listener: &UnixListener,
    places: &Arc<Semaphore>,
) -> (UnixStream, Peer, OwnedSemaphorePermit) {
    loop {
        // Never closed, so there is always a next place.
        let Ok(place) = Arc::clone(places).acquire_owned().await else { return std::future::pending().await };
        let stream: UnixStream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(err) => {
                // No descriptors left, for instance: they come back, and trying at once would only burn time.
                tracing::warn!("workload API: a connection was not taken: {err}");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        match Peer::of(&stream) {
            Ok(peer) => return (stream, peer, place),
            Err(err) => tracing::warn!("workload API: a connection is refused: {err}"),
        }
    }
}
