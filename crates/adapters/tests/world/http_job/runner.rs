//! A job runner with a table of keys, as the protocol asks for, that breaks where it is told to.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::world::server::Server;

/// What goes wrong with a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection ends before the run is entered.
    BreakBefore,
    /// The run is entered, and the connection ends without an answer.
    BreakAfter,
    /// The request lies there: no run, no answer.
    HangBefore,
    /// The run is entered, and nobody says so.
    HangAfter,
    /// An answer of this status, before or after the run is entered.
    StatusBefore(u16),
    StatusAfter(u16),
    /// The run is entered; the answer is not the protocol's, or does not end.
    GarbageAfter,
    FloodAfter,
}

/// How runs go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Course {
    /// How often it is asked for before it is over.
    pub(crate) polls: usize,
    pub(crate) end: (&'static str, Option<bool>),
    /// What a cancellation makes of it; without one it goes on.
    pub(crate) cancelled: Option<(&'static str, Option<bool>)>,
}

pub(crate) const WELL: Course = Course { polls: 2, end: ("succeeded", None), cancelled: None };
pub(crate) const NEVER: Course = Course { polls: usize::MAX, end: ("succeeded", None), cancelled: None };

#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) key: String,
    pub(crate) job: String,
    pub(crate) params: Value,
    pub(crate) course: Course,
}

/// A job runner with a table of keys, as the protocol asks for.
pub(crate) struct Runner {
    pub(crate) server: Server,
    pub(crate) table: Arc<Table>,
}

pub(crate) struct Table {
    pub(crate) runs: Mutex<Vec<Run>>,
    /// Requests as they came: method, path, and the token.
    pub(crate) asked: Mutex<Vec<String>>,
    fault: Mutex<Option<Fault>>,
    /// Lookups by key break.
    pub(crate) blind: Mutex<bool>,
    /// Lookups by key tell of all runs, as from a runner that does not know the question.
    pub(crate) deaf: Mutex<bool>,
    course: Mutex<Course>,
    revisions: Mutex<[&'static str; 2]>,
    guard: Mutex<Option<Guard>>,
}

/// A request, for whoever checks who asks.
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a str,
    /// Below the base.
    pub(crate) path: &'a str,
    pub(crate) url: String,
    pub(crate) body: &'a [u8],
    head: &'a str,
}

impl Asked<'_> {
    pub(crate) fn header(&self, name: &str) -> String {
        let line = self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(|value| value.trim().to_owned()).unwrap_or_default()
    }
}

/// Lets a request through, or answers it with this status.
pub(crate) type Guard = Box<dyn Fn(&Asked<'_>) -> Result<(), u16> + Send>;

impl Runner {
    pub(crate) fn start() -> Self {
        let table = Arc::new(Table {
            runs: Mutex::default(),
            asked: Mutex::default(),
            fault: Mutex::default(),
            blind: Mutex::default(),
            deaf: Mutex::default(),
            course: Mutex::new(WELL),
            revisions: Mutex::new(["r1", "u1"]),
            guard: Mutex::default(),
        });
        let shared = Arc::clone(&table);
        Self { server: Server::start(move |stream| shared.serve(stream)), table }
    }

    pub(crate) fn base(&self) -> String {
        format!("http://{}/api", self.server.address)
    }

    /// From now on `guard` checks who asks.
    pub(crate) fn guarded(&self, guard: Guard) {
        *self.table.guard.lock().unwrap() = Some(guard);
    }

    pub(crate) fn runs(&self) -> Vec<Run> {
        self.table.runs.lock().unwrap().clone()
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        self.runs().into_iter().map(|run| run.key).collect()
    }

    pub(crate) fn posts(&self) -> usize {
        self.table.asked.lock().unwrap().iter().filter(|line| line.starts_with("POST /api/jobs")).count()
    }

    pub(crate) fn fails(&self, fault: impl Into<Option<Fault>>) {
        *self.table.fault.lock().unwrap() = fault.into();
    }

    pub(crate) fn goes(&self, course: Course) {
        *self.table.course.lock().unwrap() = course;
    }

    pub(crate) fn revisions(&self, revisions: [&'static str; 2]) {
        *self.table.revisions.lock().unwrap() = revisions;
    }
}

impl Table {
    fn serve(&self, mut stream: TcpStream) {
        let Some((head, body)) = read_request(&mut stream) else { return };
        let mut words = head.split(' ');
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let header = |name: &str| {
            let line = head.lines().find_map(|line| line.strip_prefix(name));
            line.map(|value| value.trim().to_owned()).unwrap_or_default()
        };
        self.asked.lock().unwrap().push(format!("{method} {target} {}", header("authorization:")));
        let path = target.trim_start_matches("/api/");
        let url = format!("http://{}{target}", header("host:"));
        let asked = Asked { method, path, url, body: &body, head: &head };
        let guarded = self.guard.lock().unwrap().as_ref().map_or(Ok(()), |guard| guard(&asked));
        let path: Vec<&str> = path.split('/').collect();
        let answer = match (method, path.as_slice()) {
            _ if guarded.is_err() => (guarded.unwrap_err(), json!({})),
            ("GET", ["check"]) => (200, json!({})),
            ("GET", ["jobs", "clear"]) => (200, json!({"revision": self.revisions.lock().unwrap()[0]})),
            ("GET", ["jobs", "refill"]) => (200, json!({"revision": self.revisions.lock().unwrap()[1]})),
            ("POST", ["jobs", job, "runs"]) => {
                let params = serde_json::from_slice(&body).unwrap();
                match self.enter(job, &header("idempotency-key:"), params) {
                    Started::Answer(status, body) => (status, body),
                    Started::Raw(text) => return drop(stream.write_all(text.as_bytes())),
                    Started::Broken => return,
                    // Longer than any limit of a request here.
                    Started::Silent => return thread::sleep(Duration::from_secs(3)),
                }
            }
            ("GET", ["runs", found]) => (200, self.look(found)),
            ("POST", ["runs", found, "cancel"]) => (202, self.cancel(found)),
            ("GET", [lookup]) if *self.blind.lock().unwrap() && lookup.starts_with("runs?") => return,
            ("GET", [lookup]) => (200, self.lookup(lookup.strip_prefix("runs?key=").unwrap())),
            _ => (404, json!({})),
        };
        let (status, body) = (answer.0, answer.1.to_string());
        let text = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let _ = stream.write_all(text.as_bytes());
    }

    fn enter(&self, job: &str, key: &str, params: Value) -> Started {
        let fault = *self.fault.lock().unwrap();
        match fault {
            Some(Fault::BreakBefore) => return Started::Broken,
            Some(Fault::HangBefore) => return Started::Silent,
            Some(Fault::StatusBefore(status)) => return Started::Answer(status, json!("\u{1b}[31mgone")),
            _ => {}
        }
        let mut runs = self.runs.lock().unwrap();
        let known = runs.iter().position(|run| run.key == key);
        let at = known.unwrap_or_else(|| {
            let course = *self.course.lock().unwrap();
            runs.push(Run { key: key.to_owned(), job: job.to_owned(), params, course });
            runs.len() - 1
        });
        match fault {
            Some(Fault::BreakAfter) => Started::Broken,
            Some(Fault::HangAfter) => Started::Silent,
            Some(Fault::StatusAfter(status)) => Started::Answer(status, json!("\u{1b}[31moops")),
            Some(Fault::GarbageAfter) => Started::Answer(201, json!({"id": "../x", "state": "fine\u{1b}"})),
            Some(Fault::FloodAfter) => {
                let body = "x".repeat(80 * 1024);
                Started::Raw(format!("HTTP/1.1 201 x\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
            }
            _ => {
                let status = if known.is_some() { 200 } else { 201 };
                Started::Answer(status, json!({"id": format!("Run-{at}"), "state": "queued"}))
            }
        }
    }

    fn look(&self, found: &str) -> Value {
        let mut runs = self.runs.lock().unwrap();
        let at: usize = found.strip_prefix("Run-").unwrap().parse().unwrap();
        let course = &mut runs[at].course;
        course.polls = course.polls.saturating_sub(usize::from(course.polls != usize::MAX));
        shown(at, &runs[at])
    }

    fn cancel(&self, found: &str) -> Value {
        let mut runs = self.runs.lock().unwrap();
        let at: usize = found.strip_prefix("Run-").unwrap().parse().unwrap();
        let course = &mut runs[at].course;
        if let Some(end) = course.cancelled {
            (course.polls, course.end) = (0, end);
        }
        json!({})
    }

    fn lookup(&self, key: &str) -> Value {
        let (runs, deaf) = (self.runs.lock().unwrap(), *self.deaf.lock().unwrap());
        let found = runs.iter().enumerate().filter(|(_, run)| deaf || run.key == key);
        json!({"runs": found.map(|(at, run)| shown(at, run)).collect::<Vec<_>>()})
    }
}

enum Started {
    Answer(u16, Value),
    Raw(String),
    Broken,
    Silent,
}

fn shown(at: usize, run: &Run) -> Value {
    let (state, touched) = if run.course.polls == 0 { run.course.end } else { ("running", None) };
    json!({"id": format!("Run-{at}"), "key": run.key, "state": state, "touched": touched})
}

fn read_request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let mut body = vec![0; length.map_or(0, |length| length.trim().parse().unwrap())];
    stream.read_exact(&mut body).ok()?;
    Some((head, body))
}
