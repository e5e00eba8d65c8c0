//! A real HTTP server that hears one request a connection, and answers as it is told.

use std::{
    io::{Read, Write},
    sync::{Arc, Mutex},
};

use holdpoint_adapters::notify::Secret;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

use crate::world::server::Server;

/// What came in.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    pub(super) head: String,
    pub(super) body: String,
}

impl Heard {
    /// The value of a header.
    pub(super) fn header(&self, name: &str) -> String {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let found = lines.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.unwrap_or_else(|| panic!("no `{name}` in {}", self.head)).1.to_owned()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

pub(super) struct Receiver {
    server: Server,
    scheme: &'static str,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Receiver {
    /// Answers everything with these bytes.
    pub(super) fn start(answer: impl Into<Vec<u8>>, tls: Option<Arc<ServerConfig>>) -> Self {
        let (answer, heard) = (answer.into(), Arc::<Mutex<Vec<Heard>>>::default());
        let (kept, scheme) = (Arc::clone(&heard), if tls.is_some() { "https" } else { "http" });
        let server = Server::start(move |stream| match &tls {
            None => hear(stream, &kept, &answer),
            Some(config) => {
                let connection = ServerConnection::new(Arc::clone(config)).unwrap();
                hear(StreamOwned::new(connection, stream), &kept, &answer);
            }
        });
        Self { server, scheme, heard }
    }

    /// Takes everything.
    pub(super) fn fine() -> Self {
        Self::start("HTTP/1.1 204 No Content\r\n\r\n", None)
    }

    pub(super) fn url(&self) -> Secret {
        Secret::new(format!("{}://127.0.0.1:{}/canary-path", self.scheme, self.server.address.port()))
    }

    pub(super) fn port(&self) -> u16 {
        self.server.address.port()
    }

    pub(super) fn connections(&self) -> usize {
        self.server.taken()
    }

    pub(super) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    pub(super) fn one(&self) -> Heard {
        let heard = self.heard();
        assert_eq!(heard.len(), 1, "{heard:?}");
        heard.into_iter().next().unwrap()
    }
}

fn hear(mut stream: impl Read + Write, kept: &Mutex<Vec<Heard>>, answer: &[u8]) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if !stream.read(&mut byte).is_ok_and(|read| read == 1) {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then(|| value.parse().unwrap())
    });
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).unwrap();
    kept.lock().unwrap().push(Heard { head, body: String::from_utf8(body).unwrap() });
    let _ = stream.write_all(answer);
    let _ = stream.flush();
}
