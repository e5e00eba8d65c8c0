//! Connections: so many at once, none whose header does not come, and none that stands still.

use std::{
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{Router, serve::Listener};
use holdpoint_adapters::tls::peer_of;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{Instant, Sleep, sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

/// Connections at once: at least one for every request and follower, below the usual limit on open files.
const MAX_CONNECTIONS: usize = 512;
/// How long a whole header may take, from the connection or the last answer on: whoever sends one byte at a time never
/// stands still, and would keep a place for ever (T30). So it is also how long a connection may wait for its next request.
const HEADER: Duration = Duration::from_secs(10);
/// How long open requests may take to end after the shutdown began. Followers of events never end by themselves.
const GRACE: Duration = Duration::from_secs(5);
/// How long a connection may pass no byte in either direction. Longer than a request may take and than the event stream
/// is silent, so only what waits for nothing is cut off.
const IDLE: Duration = Duration::from_secs(60);

/// Limits on connections.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Connections at once.
    pub(super) connections: usize,
    /// How long a whole header may take.
    pub(super) header: Duration,
    /// How long a connection may pass no byte in either direction.
    pub(super) idle: Duration,
    /// Whether a connection takes more than one request. Where a peer's certificate may be withdrawn, it does not.
    pub(super) keep_alive: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: MAX_CONNECTIONS, header: HEADER, idle: IDLE, keep_alive: true }
    }
}

/// A connection with its place, cut off when it stands still.
struct Watched {
    stream: TcpStream,
    /// How long it may stand still.
    span: Duration,
    /// Rings when it may have stood still for too long. Set anew only when it rings: setting it at every byte takes a lock that
    /// all connections share.
    idle: Pin<Box<Sleep>>,
    /// Until when it may stand still.
    until: Instant,
    _place: Option<OwnedSemaphorePermit>,
}

/// Serves until `shutdown` comes, then lets open requests end within [`GRACE`], and drops those that did not.
pub(super) async fn serve(
    mut listener: TcpListener,
    router: Router,
    limits: Limits,
    tls: Option<TlsAcceptor>,
    shutdown: impl Future<Output = ()>,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.header).keep_alive(limits.keep_alive);
    let places = Arc::new(Semaphore::new(limits.connections));
    let closing = GracefulShutdown::new();
    let mut open = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let stream = tokio::select! {
            () = shutdown.as_mut() => break,
            stream = accept(&mut listener, &places, limits.idle) => stream,
        };
        // Those that ended: what is kept of them is bounded by the places.
        while open.try_join_next().is_some() {}
        let (http, router, watcher, tls) = (http.clone(), router.clone(), closing.watcher(), tls.clone());
        open.spawn(async move {
            let served = match tls {
                None => {
                    let service = TowerToHyperService::new(router);
                    watcher.watch(http.serve_connection(TokioIo::new(stream), service)).await
                }
                // Whoever does not finish the handshake in time would keep a place for ever, as with headers.
                Some(tls) => match timeout(limits.header, tls.accept(stream)).await {
                    Ok(Ok(stream)) => {
                        // Without a peer it would be a door for anybody.
                        let Some(peer) = peer_of(stream.get_ref().1.peer_certificates()) else { return };
                        let service = TowerToHyperService::new(router.layer(axum::Extension(peer)));
                        watcher.watch(http.serve_connection(TokioIo::new(stream), service)).await
                    }
                    Ok(Err(err)) => return tracing::debug!("a handshake failed: {err}"),
                    Err(_) => return,
                },
            };
            if let Err(err) = served {
                tracing::debug!("a connection broke off: {err}");
            }
        });
    }
    drop(listener);
    if timeout(GRACE, closing.shutdown()).await.is_err() {
        tracing::debug!("connections are still open, and are dropped");
    }
}

async fn accept(listener: &mut TcpListener, places: &Arc<Semaphore>, span: Duration) -> Watched {
    // The semaphore is never closed. Whoever comes beyond the limit waits in the backlog of the operating system.
    let place = Arc::clone(places).acquire_owned().await.ok();
    // axum's, which goes on after an error: one client's does not matter, and one of ours (no file left) may pass.
    let (stream, _) = Listener::accept(listener).await;
    Watched { stream, span, idle: Box::pin(sleep(span)), until: sleep(span).deadline(), _place: place }
}

impl Watched {
    /// Passes on what the stream did; cuts the connection off when it did nothing for too long.
    fn watch<T>(&mut self, ctx: &mut Context<'_>, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.until = sleep(self.span).deadline();
            return done;
        }
        loop {
            ready!(self.idle.as_mut().poll(ctx));
            let until = self.until;
            if self.idle.deadline() >= until {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.idle.as_mut().reset(until);
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.stream).poll_read(ctx, buf);
        self.watch(ctx, done)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, ctx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write(ctx, buf);
        self.watch(ctx, done)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write_vectored(ctx, bufs);
        self.watch(ctx, done)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Always ready on a TCP stream, also when nothing moves: no sign of life.
        Pin::new(&mut self.stream).poll_flush(ctx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(ctx)
    }
}
