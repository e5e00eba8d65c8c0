//! One bounded HTTP GET: in time, in bytes, and without following anybody anywhere.

use std::{
    error::Error as _,
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use holdpoint_domain::Digest;
use reqwest::{Client, ClientBuilder, RequestBuilder, Response, StatusCode, Url, header, redirect, retry};
use tokio::{net::TcpStream, time::timeout};

use crate::tls;

/// How long the question may take whether a port still takes connections, after an answer did not come.
const SECOND_LOOK: Duration = Duration::from_millis(400);
/// A limit that is noticed so much later was noticed by a process that stood still.
const PAUSE: Duration = Duration::from_millis(200);

/// What came of a GET.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fetched {
    /// A whole answer.
    Answer {
        status: StatusCode,
        body: Vec<u8>,
        open_metrics: bool,
        /// The answer's own clock, to the second.
        date_ms: Option<i64>,
    },
    /// The port takes connections, and no whole answer came within the limit.
    Unanswered,
    /// Not even a connection within the limit, though nobody refused it.
    Unreachable,
    /// The connection was refused.
    Refused,
    /// The connection broke before the answer was whole.
    Broken,
    /// Not HTTP, or more than the limit of bytes.
    Garbage,
    /// We could not ask: bad address, no sockets left, no name service.
    OurFault,
}

/// A client that neither follows redirects nor asks proxies nor keeps connections nor tries twice: each probe is one
/// measurement of its own.
pub(super) fn client() -> reqwest::Result<Client> {
    builder().build()
}

/// As [`client`], for whoever has this key.
pub(super) fn client_of(pin: Digest) -> Option<Client> {
    builder().tls_backend_preconfigured(tls::by_key(pin).ok()?).https_only(true).build().ok()
}

fn builder() -> ClientBuilder {
    Client::builder()
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .no_proxy()
        .http1_only()
        .pool_max_idle_per_host(0)
        .referer(false)
        .user_agent(concat!("holdpoint-observer/", env!("CARGO_PKG_VERSION")))
}

/// GETs `url`, with a body of at most `max_body` bytes, within `limit`.
pub(super) async fn get(client: &Client, url: &str, limit: Duration, max_body: usize) -> Fetched {
    let Some(url) = parse(url) else { return Fetched::OurFault };
    // Version 0.0.4 of the text format: others have other units of time.
    let request = client.get(url.clone()).header(header::ACCEPT, "text/plain;version=0.0.4, */*;q=0.1");
    let begun = Instant::now();
    match timeout(limit, whole_answer(request, max_body)).await {
        Ok(fetched) => fetched,
        // We stood still ourselves: the answer may have been there all the time.
        Err(_) if begun.elapsed() > limit.saturating_add(PAUSE) => Fetched::OurFault,
        Err(_) => after_timeout(&url).await,
    }
}

/// An address that may be asked. One with a user or a password in it is not: it would stand in the inventory for all to read.
pub(super) fn parse(url: &str) -> Option<Url> {
    let is_plain = |url: &Url| {
        matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none()
    };
    Url::parse(url).ok().filter(is_plain)
}

/// Sends a request and reads its answer whole, with a body of at most `max_body` bytes. The time limit is the caller's.
pub(super) async fn whole_answer(request: RequestBuilder, max_body: usize) -> Fetched {
    let response = match request.send().await {
        Ok(response) => response,
        Err(err) => return failure(&err),
    };
    let status = response.status();
    let content_type = response.headers().get(header::CONTENT_TYPE).map(|value| value.as_bytes().to_vec());
    let open_metrics = content_type.is_some_and(|value| {
        String::from_utf8_lossy(&value).to_ascii_lowercase().contains("application/openmetrics-text")
    });
    let date = response.headers().get(header::DATE).and_then(|value| value.to_str().ok());
    let date = date.and_then(|date| jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date).ok());
    let date_ms = date.map(jiff::Timestamp::as_millisecond);
    match whole_body(response, max_body).await {
        Ok(body) => Fetched::Answer { status, body, open_metrics, date_ms },
        Err(fetched) => fetched,
    }
}

async fn whole_body(mut response: Response, max_body: usize) -> Result<Vec<u8>, Fetched> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|err| failure(&err))? {
        if chunk.len() > max_body.saturating_sub(body.len()) {
            return Err(Fetched::Garbage);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// No answer within the limit. Whether the target hangs or cannot be reached, a second look at its port says.
///
/// On this machine there is no network to lose a connection: the kernel drops one only because the queue of a program
/// that takes none from it is full, which is what a program that hangs for long looks like.
async fn after_timeout(url: &Url) -> Fetched {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = url.port_or_known_default().unwrap_or_default();
    let look = async {
        let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await.ok()?.collect();
        let is_local = !addresses.is_empty() && addresses.iter().all(|address| address.ip().is_loopback());
        Some((is_local, timeout(SECOND_LOOK, TcpStream::connect(addresses.as_slice())).await))
    };
    match timeout(SECOND_LOOK.saturating_mul(2), look).await {
        Ok(Some((_, Ok(Ok(_))))) => Fetched::Unanswered,
        Ok(Some((_, Ok(Err(err))))) => connect_failure(&err),
        Ok(Some((true, Err(_)))) => Fetched::Unanswered,
        Ok(Some((false, Err(_))) | None) | Err(_) => Fetched::Unreachable,
    }
}

fn failure(err: &reqwest::Error) -> Fetched {
    if err.is_builder() || err.is_dns() {
        return Fetched::OurFault;
    }
    let mut source = err.source();
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>()
            // Broken TLS is wrapped in one of these, too; only what the operating system says has a number.
            && io.raw_os_error().is_some()
        {
            return connect_failure(io);
        }
        // The HTTP library says only in words that an answer did not parse.
        let words = cause.to_string();
        if !err.is_connect() && ["parse", "invalid", "too large"].iter().any(|word| words.contains(word)) {
            return Fetched::Garbage;
        }
        source = cause.source();
    }
    Fetched::Broken
}

/// What an error of the operating system says about the target, or about us.
pub(super) fn connect_failure(err: &io::Error) -> Fetched {
    use rustix::io::Errno;
    if err.kind() == io::ErrorKind::ConnectionRefused {
        return Fetched::Refused;
    }
    let ours = [
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOBUFS,
        Errno::NOMEM,
        Errno::ADDRNOTAVAIL,
        Errno::ACCESS,
        Errno::PERM,
    ];
    match err.raw_os_error() {
        Some(number) if ours.iter().any(|errno| errno.raw_os_error() == number) => Fetched::OurFault,
        _ => Fetched::Broken,
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn what_we_lack_is_our_fault_and_not_the_targets() {
        let cases = [
            (Errno::MFILE, Fetched::OurFault),
            (Errno::NFILE, Fetched::OurFault),
            (Errno::NOBUFS, Fetched::OurFault),
            (Errno::ADDRNOTAVAIL, Fetched::OurFault),
            (Errno::ACCESS, Fetched::OurFault),
            (Errno::CONNREFUSED, Fetched::Refused),
            (Errno::CONNRESET, Fetched::Broken),
            (Errno::HOSTUNREACH, Fetched::Broken),
            (Errno::TIMEDOUT, Fetched::Broken),
        ];
        for (errno, fetched) in cases {
            assert_eq!(connect_failure(&errno.into()), fetched, "{errno:?}");
        }
    }
}
