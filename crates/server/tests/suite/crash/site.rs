//! The site that the gate works on: it answers probes by what is really in the files, shows which token it uses, and runs
//! jobs. It lives in the test's own process, so its list of what it was asked to do is no word of the gate's.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
};

use holdpoint_domain::Digest;
use serde_json::{Value, json};

/// A site over the files of a folder. Its thread ends with the test's process.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    dir: PathBuf,
    /// Runs in the order of their starts.
    runs: Mutex<Vec<Run>>,
    /// How often a start was asked for, by key.
    posts: Mutex<BTreeMap<String, usize>>,
}

/// A run of a job.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) key: String,
    pub(crate) job: String,
    cancelled: bool,
}

impl Site {
    pub(crate) fn start(dir: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Shared { dir: dir.to_owned(), runs: Mutex::default(), posts: Mutex::default() };
        let shared = Arc::new(shared);
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&serving);
                thread::spawn(move || shared.serve(stream));
            }
        });
        Self { port, shared }
    }

    /// The runs that were really started.
    pub(crate) fn runs(&self) -> Vec<Run> {
        self.shared.runs.lock().unwrap().clone()
    }

    /// How often a start was asked for, by key.
    pub(crate) fn posts(&self) -> BTreeMap<String, usize> {
        self.shared.posts.lock().unwrap().clone()
    }
}

/// The hex digits of a text's SHA-256.
pub(crate) fn sha256(text: &str) -> String {
    let digest = Digest::of_bytes(text.as_bytes()).to_string();
    digest.strip_prefix("sha256:").unwrap().to_owned()
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) {
        // A gate that is killed breaks off in the middle; then there is nobody to answer.
        let Some((head, _)) = read_request(&mut stream) else { return };
        let mut words = head.split(' ');
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let path = target.trim_start_matches('/');
        let (status, body) = match path.strip_prefix("api/") {
            Some(rest) => self.job(method, rest, &head),
            None => self.look(path),
        };
        let text = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let _ = stream.write_all(text.as_bytes());
    }

    fn look(&self, path: &str) -> (u16, String) {
        let is = |holds: bool| (if holds { 200 } else { 500 }, String::new());
        let read = |name: &str| fs::read_to_string(self.dir.join(name)).unwrap_or_default();
        let token = || read("site.token").trim_end().to_owned();
        match path {
            "always" => is(true),
            "flag-on" => is(read("flags.json").contains("\"state\": \"ENABLED\"")),
            "flag-off" => is(read("flags.json").contains("\"state\": \"DISABLED\"")),
            "pay" => is(read("accepted.json").contains(&sha256(&token()))),
            "token-id" => (200, sha256(&token()).chars().take(16).collect()),
            _ => is(false),
        }
    }

    fn job(&self, method: &str, path: &str, head: &str) -> (u16, String) {
        let segments: Vec<&str> = path.split('/').collect();
        let answer = match (method, segments.as_slice()) {
            ("GET", ["jobs", job]) => (200, json!({"revision": format!("{job}-1")})),
            ("POST", ["jobs", job, "runs"]) => self.enter(job, head),
            ("GET", ["runs", id]) => (200, self.shown(number(id))),
            ("POST", ["runs", id, "cancel"]) => {
                self.runs.lock().unwrap()[number(id)].cancelled = true;
                (202, json!({}))
            }
            ("GET", [lookup]) => {
                let key = lookup.strip_prefix("runs?key=").unwrap();
                let at = self.runs.lock().unwrap().iter().position(|run| run.key == key);
                (200, json!({"runs": at.map(|at| self.shown(at)).into_iter().collect::<Vec<_>>()}))
            }
            _ => (404, json!({})),
        };
        (answer.0, answer.1.to_string())
    }

    fn enter(&self, job: &str, head: &str) -> (u16, Value) {
        let key = head.lines().find_map(|line| line.strip_prefix("idempotency-key:")).unwrap();
        let key = key.trim().to_owned();
        *self.posts.lock().unwrap().entry(key.clone()).or_default() += 1;
        let mut runs = self.runs.lock().unwrap();
        let known = runs.iter().position(|run| run.key == key);
        let at = known.unwrap_or_else(|| {
            runs.push(Run { key, job: job.to_owned(), cancelled: false });
            runs.len() - 1
        });
        (if known.is_some() { 200 } else { 201 }, json!({"id": format!("run-{at}"), "state": "queued"}))
    }

    /// A job is over as soon as somebody asks; `stall` only when it is cancelled, and then it changed nothing.
    fn shown(&self, at: usize) -> Value {
        let run = self.runs.lock().unwrap()[at].clone();
        let (state, touched) = match (run.job.as_str(), run.cancelled) {
            ("stall", false) => ("running", None),
            ("stall", true) => ("cancelled", Some(false)),
            _ => ("succeeded", None),
        };
        json!({"id": format!("run-{at}"), "key": run.key, "state": state, "touched": touched})
    }
}

fn number(id: &str) -> usize {
    id.strip_prefix("run-").unwrap().parse().unwrap()
}

fn read_request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let mut body = vec![0; length.map_or(0, |length| length.trim().parse().unwrap())];
    stream.read_exact(&mut body).ok()?;
    Some((head, body))
}
