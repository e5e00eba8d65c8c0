//! A tiny blocking HTTP/1.1 over std: enough for the parts of the stage, and for nothing else.

use std::{
    io::{self, BufReader, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// Longest request line with its headers, and longest answer that a part reads from another.
const MAX_BYTES: u64 = 64 * 1024;
/// How long a caller may take to say what it wants.
const READ_LIMIT: Duration = Duration::from_secs(5);
/// Most connections at once. A worker that hangs keeps every one of them; when it has them all it stops accepting, and the
/// kernel still takes connections for it.
const MAX_CONNECTIONS: usize = 256;
/// Threads of the parts do next to nothing.
const STACK_BYTES: usize = 256 * 1024;

/// An answer of a part, as plain text.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn ok(body: impl Into<String>) -> Self {
        Self { status: 200, body: body.into() }
    }

    pub(super) fn unavailable(body: impl Into<String>) -> Self {
        Self { status: 503, body: body.into() }
    }

    pub(super) fn not_found() -> Self {
        Self { status: 404, body: "there is no such page\n".to_owned() }
    }
}

/// What is asked of a part.
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    /// What stands after the question mark, as it came.
    pub(super) query: String,
    /// The token of `Authorization: Bearer`.
    pub(super) bearer: Option<String>,
    /// Who asks.
    pub(super) from: IpAddr,
}

impl Request {
    /// Method and path, to match on.
    pub(super) fn what(&self) -> (&str, &str) {
        (&self.method, &self.path)
    }
}

/// What a part answers to a request.
pub(super) type Handler = Arc<dyn Fn(&Request) -> Answer + Send + Sync>;

/// Answers every connection in a thread of its own, until the process ends.
pub(super) fn serve(listener: &TcpListener, handler: &Handler) {
    let busy = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        // A connection that broke before we took it is nobody's loss.
        let Ok(stream) = stream else { continue };
        while busy.load(Ordering::SeqCst) >= MAX_CONNECTIONS {
            thread::sleep(Duration::from_millis(50));
        }
        busy.fetch_add(1, Ordering::SeqCst);
        let (handler, counted) = (Arc::clone(handler), Arc::clone(&busy));
        let spawned = thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
            // The caller sees a broken connection; the part goes on.
            let _ = answer(&stream, &handler);
            counted.fetch_sub(1, Ordering::SeqCst);
        });
        if spawned.is_err() {
            busy.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

fn answer(mut stream: &TcpStream, handler: &Handler) -> io::Result<()> {
    stream.set_read_timeout(Some(READ_LIMIT))?;
    stream.set_write_timeout(Some(READ_LIMIT))?;
    let from = stream.peer_addr()?.ip();
    let answer = match read_request(&mut BufReader::new(stream).take(MAX_BYTES), from)? {
        Some(request) => handler(&request),
        None => Answer { status: 400, body: "not a request of HTTP/1.1\n".to_owned() },
    };
    let reason = match answer.status {
        200 => "OK",
        202 => "Accepted",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        _ => "Service Unavailable",
    };
    write!(
        stream,
        "HTTP/1.1 {} {reason}\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{}",
        answer.status,
        answer.body.len(),
        answer.body
    )
}

/// A request; none for what is no request. Of its headers the bearer token is kept, and the parts take no bodies.
fn read_request(reader: &mut impl io::BufRead, from: IpAddr) -> io::Result<Option<Request>> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_ascii_whitespace();
    let (method, target, version) = (words.next(), words.next(), words.next());
    let (Some(method), Some(target), Some(version), None) = (method, target, version, words.next()) else {
        return Ok(None);
    };
    if !version.starts_with("HTTP/1.") || !target.starts_with('/') {
        return Ok(None);
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (method, path, query) = (method.to_owned(), path.to_owned(), query.to_owned());
    let mut request = Request { method, path, query, bearer: None, from };
    loop {
        let mut header = String::new();
        match reader.read_line(&mut header)? {
            0 => return Ok(None),
            _ if header.trim_end().is_empty() => return Ok(Some(request)),
            _ => {
                let named =
                    header.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("authorization"));
                let token = named.and_then(|(_, value)| value.trim().strip_prefix("Bearer "));
                request.bearer = token.map(str::to_owned).or(request.bearer);
            }
        }
    }
}

/// Asks another part. Connecting and each read may take as long as `limit`.
pub(super) fn get(address: SocketAddr, path: &str, limit: Duration) -> io::Result<(u16, String)> {
    ask(address, path, "", limit)
}

/// Asks another part with a bearer token.
pub(super) fn get_as(
    address: SocketAddr,
    path: &str,
    token: &str,
    limit: Duration,
) -> io::Result<(u16, String)> {
    ask(address, path, &format!("authorization: Bearer {token}\r\n"), limit)
}

fn ask(address: SocketAddr, path: &str, header: &str, limit: Duration) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\n{header}connection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.take(MAX_BYTES).read_to_string(&mut text)?;
    parse_answer(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not an answer of HTTP/1.1"))
}

fn parse_answer(text: &str) -> Option<(u16, String)> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_line_is_three_words_and_its_headers_end() {
        let read = |text: &str| read_request(&mut text.as_bytes(), IpAddr::from([127, 0, 0, 1])).unwrap();
        let request =
            read("GET /work?x=1 HTTP/1.1\r\nhost: a\r\nAuthorization: Bearer abc\r\nx: y\r\n\r\n").unwrap();
        assert_eq!(request.what(), ("GET", "/work"));
        assert_eq!((request.query.as_str(), request.bearer.as_deref()), ("x=1", Some("abc")));
        for bad in [
            "",
            "\r\n",
            "GET /\r\n\r\n",
            "GET / HTTP/2\r\n\r\n",
            "GET x HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\na: b\r\n",
        ] {
            assert!(read(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn what_serve_answers_get_reads() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let handler: Handler = Arc::new(|request| match (request.what(), request.bearer.as_deref()) {
            (("GET", "/here"), None | Some("me")) => Answer::ok("yes\n"),
            _ => Answer::not_found(),
        });
        thread::spawn(move || serve(&listener, &handler));
        let limit = Duration::from_secs(5);
        assert_eq!(get(address, "/here", limit).unwrap(), (200, "yes\n".to_owned()));
        assert_eq!(get_as(address, "/here", "me", limit).unwrap().0, 200);
        assert_eq!(get_as(address, "/here", "you", limit).unwrap().0, 404);
        assert_eq!(get(address, "/there", limit).unwrap().0, 404);
    }
}
