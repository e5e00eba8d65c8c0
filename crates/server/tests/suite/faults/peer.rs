//! A measured system of the tests: it answers as it is told, hangs, or talks nonsense.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
};

use super::super::stage::Stage;
use super::edit;

/// How a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// With this status.
    Status(u16),
    /// Not at all, until the manner changes; then as that says.
    Hang,
    /// With 200, and the next one hangs.
    Once,
    /// With bytes that are no answer of HTTP.
    Garbage,
    /// The connection ends.
    Drop,
}

struct Shared {
    manner: Mutex<(Manner, usize)>,
    changed: Condvar,
}

pub(super) struct Peer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Peer {
    /// A peer that answers 200.
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared =
            Arc::new(Shared { manner: Mutex::new((Manner::Status(200), 0)), changed: Condvar::new() });
        let serving = Arc::clone(&shared);
        // Ends with the process of the test.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&serving);
                thread::spawn(move || shared.serve(stream));
            }
        });
        Self { address, shared }
    }

    pub(super) fn answers(&self, manner: Manner) {
        self.shared.manner.lock().unwrap().0 = manner;
        self.shared.changed.notify_all();
    }

    /// How often it was asked.
    pub(super) fn asked(&self) -> usize {
        self.shared.manner.lock().unwrap().1
    }

    /// Gives the units of a stage an endpoint here, and the condition `peer.answers` over it; `role` is what the restart
    /// asks it for: `triggers` or `guards`.
    pub(super) fn is_measured(&self, stage: &Stage, role: &str) {
        let roles = match role {
            "triggers" => "triggers: [process.running, peer.answers]",
            _ => "triggers: [process.running]\n    guards: [peer.answers]",
        };
        edit(stage, "catalogue.yaml", "triggers: [process.running]", roles);
        edit(stage, "catalogue.yaml", "conditions:\n", CONDITION);
        let (from, url) = (
            "endpoints: {",
            format!("endpoints: {{peer: {{source: peer, at: {{url: \"http://{}/\"}}}}, ", self.address),
        );
        edit(stage, "inventory.yaml", from, &url);
    }
}

const CONDITION: &str = "conditions:
  - id: peer.answers
    title: Its peer answers
    needs: 1
    probes:
      - endpoint: peer
        timeout_ms: 1000
        check: {kind: http, expect: ok}
";

impl Shared {
    fn serve(&self, mut stream: TcpStream) {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_exact(&mut byte).is_err() {
                return;
            }
            head.push(byte[0]);
        }
        let mut manner = self.manner.lock().unwrap();
        manner.1 += 1;
        while manner.0 == Manner::Hang {
            manner = self.changed.wait(manner).unwrap();
        }
        let now = manner.0;
        if now == Manner::Once {
            manner.0 = Manner::Hang;
        }
        drop(manner);
        // Whoever asked may be gone.
        let _ = match now {
            Manner::Status(status) => stream.write_all(answer(status).as_bytes()),
            Manner::Once => stream.write_all(answer(200).as_bytes()),
            Manner::Garbage => stream.write_all(b"\x1b[31m200 OK, I swear\r\n\r\n"),
            Manner::Drop | Manner::Hang => Ok(()),
        };
    }
}

fn answer(status: u16) -> String {
    format!("HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
}
