//! The load: so many connections, each with one request after the other, over plain sockets so that the measuring takes little
//! of the machine that it shares with what is measured.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{folder::Folder, process::Server};

/// Requests to send in turn, to one server.
pub(crate) struct Load<'s> {
    server: &'s Server,
    requests: Arc<Vec<Vec<u8>>>,
}

/// What was measured.
pub(crate) struct Run {
    waits_us: Vec<u32>,
    allowed: usize,
    /// An answer that did not allow, to be shown.
    other: String,
    took: Duration,
    cpu: Duration,
}

impl<'s> Load<'s> {
    pub(crate) fn hello(server: &'s Server) -> Self {
        let request = format!("GET /hello HTTP/1.1\r\nhost: {}\r\n\r\n", server.address());
        Self { server, requests: Arc::new(vec![request.into_bytes()]) }
    }

    pub(crate) fn echo(server: &'s Server) -> Self {
        let body = r#"{"action":"process.inspect","target":"target-1"}"#;
        Self { server, requests: Arc::new(vec![post(server, "/echo", "", body)]) }
    }

    /// So many questions of all agents about targets from all over the inventory.
    pub(crate) fn gate(server: &'s Server, folder: &Folder, count: usize) -> Self {
        let questions = folder.questions(count);
        let requests = questions.iter().map(|(token, body)| {
            post(server, "/v1/evaluations", &format!("authorization: Bearer {token}\r\n"), body)
        });
        Self { server, requests: Arc::new(requests.collect()) }
    }

    pub(crate) async fn run(&self, connections: usize, time: Duration) -> Run {
        let (before, began) = (self.server.cpu(), Instant::now());
        let until = began + time;
        let tasks: Vec<_> = (0..connections)
            .map(|number| {
                tokio::spawn(client(self.server.address(), Arc::clone(&self.requests), number, until))
            })
            .collect();
        let (mut waits_us, mut allowed, mut other) = (Vec::new(), 0, String::new());
        for task in tasks {
            let (waits, yes, no) = task.await.unwrap();
            waits_us.extend(waits);
            allowed += yes;
            other = no;
        }
        let (took, cpu) = (began.elapsed(), self.server.cpu() - before);
        waits_us.sort_unstable();
        Run { waits_us, allowed, other, took, cpu }
    }
}

impl Run {
    pub(crate) fn per_second(&self) -> f64 {
        self.waits_us.len() as f64 / self.took.as_secs_f64()
    }

    pub(crate) fn wait(&self, quantile: f64) -> u32 {
        self.waits_us[((self.waits_us.len() - 1) as f64 * quantile) as usize]
    }

    pub(crate) fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.waits_us.len() as f64
    }

    pub(crate) fn allow_percent(&self) -> f64 {
        self.allowed as f64 * 100.0 / self.waits_us.len() as f64
    }

    /// A run in which most answers are denials looks two or three times faster.
    pub(crate) fn expect_allows(&self) {
        assert!(
            self.allow_percent() >= 90.0,
            "only {:.1} % of the answers allow: {}",
            self.allow_percent(),
            self.other
        );
    }
}

fn post(server: &Server, path: &str, headers: &str, body: &str) -> Vec<u8> {
    let (host, length) = (server.address(), body.len());
    format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\n{headers}content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

async fn client(
    address: SocketAddr,
    requests: Arc<Vec<Vec<u8>>>,
    number: usize,
    until: Instant,
) -> (Vec<u32>, usize, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut waits, mut allowed, mut answer) = (Vec::new(), 0, Vec::with_capacity(16 * 1024));
    let mut other = String::new();
    // Each begins elsewhere, and goes on in steps that meet every request.
    let mut next = number * 7_919;
    while Instant::now() < until {
        let began = Instant::now();
        stream.write_all(&requests[next % requests.len()]).await.unwrap();
        next += 1;
        read_answer(&mut stream, &mut answer).await;
        waits.push(began.elapsed().as_micros().try_into().unwrap());
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
        match find(&answer, br#""allowed":true"#) {
            Some(_) => allowed += 1,
            None => other = String::from_utf8_lossy(&answer).into_owned(),
        }
    }
    (waits, allowed, other)
}

/// One answer with a `content-length`, whole.
async fn read_answer(stream: &mut TcpStream, answer: &mut Vec<u8>) {
    answer.clear();
    loop {
        assert!(stream.read_buf(answer).await.unwrap() > 0, "the server hung up");
        let Some(head) = find(answer, b"\r\n\r\n") else { continue };
        let name = b"content-length: ";
        let at = find(&answer[..head], name).expect("an answer has its length") + name.len();
        let digits = answer[at..head].iter().take_while(|c| c.is_ascii_digit());
        let length = digits.fold(0, |length, c| length * 10 + usize::from(c - b'0'));
        if answer.len() >= head + 4 + length {
            return;
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
