//! Telling people, by the program itself: a real gate, and a real receiver that checks signatures.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use holdpoint_adapters::{
    notify::SigningSecret,
    step::{Moment, Step},
};
use serde_json::Value;

use super::{
    crash::drill,
    stage::{PATIENCE, Stage},
};

const SECRET: &str = "whsec_Y2FuYXJ5LW9mLXRoZS1zaWduYXR1cmVzLWhlcmU=";

/// What came in: the message's id, and its body.
type Heard = Vec<(String, String)>;

/// A receiver of webhooks.
#[derive(Clone, Default)]
struct Receiver {
    heard: Arc<Mutex<Heard>>,
}

async fn hear(State(receiver): State<Receiver>, headers: HeaderMap, body: String) -> StatusCode {
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    let seconds: u64 = header("webhook-timestamp").parse().unwrap();
    let signed = SigningSecret::parse(SECRET).unwrap().sign(&header("webhook-id"), seconds, &body);
    if header("webhook-signature") != signed {
        return StatusCode::UNAUTHORIZED;
    }
    receiver.heard.lock().unwrap().push((header("webhook-id"), body));
    StatusCode::NO_CONTENT
}

impl Receiver {
    /// Listens on a port of this machine; returns its address.
    async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/canary-path", listener.local_addr().unwrap());
        let router = Router::new().route("/canary-path", post(hear)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    fn heard(&self) -> Heard {
        self.heard.lock().unwrap().clone()
    }

    /// Bodies of an event, by the id of their messages; one id has one body, however often it came.
    fn of(&self, event: &str) -> BTreeMap<String, Value> {
        let mut bodies: BTreeMap<String, String> = BTreeMap::new();
        for (id, body) in self.heard() {
            let before = bodies.insert(id.clone(), body.clone());
            assert!(before.is_none_or(|before| before == body), "{id} came with two bodies");
        }
        let parsed = bodies.into_iter().map(|(id, body)| (id, serde_json::from_str::<Value>(&body).unwrap()));
        parsed.filter(|(_, body)| body["type"] == format!("holdpoint.{event}")).collect()
    }

    async fn until(&self, stage: &Stage, what: &str, done: impl Fn(&Self) -> bool) {
        let since = Instant::now();
        while !done(self) {
            assert!(since.elapsed() < PATIENCE, "{what}: {:?}\n{}", self.heard(), stage.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn secret(stage: &Stage, name: &str, text: &str) {
    stage.write(name, text);
    fs::set_permissions(stage.path(name), fs::Permissions::from_mode(0o600)).unwrap();
}

/// A stage whose gate tells a receiver of everything about plans.
fn told(url: &str) -> Stage {
    let stage = Stage::new();
    secret(&stage, "hook.secret", SECRET);
    stage.write("notify.yaml", &NOTIFY.replace("URL", url));
    let config = fs::read_to_string(stage.path("holdpoint.yaml")).unwrap();
    stage.write("holdpoint.yaml", &format!("{config}\ndevelopment: true\nnotify: notify.yaml\n"));
    stage
}

const NOTIFY: &str = "
link_base: http://localhost:7070
channels:
  hook: {webhook: {url: 'URL', secret_file: hook.secret}}
people:
  ada: {email: ada@example.org}
rota:
  primary:
    zone: Europe/Berlin
    shifts: [{start: 2020-01-06, handover: '09:00', people: [ada, ben]}]
routes:
  - {events: [held, expired, succeeded, review_owed], channels: [hook], tell: [{rota: primary}]}
";

/// The holds that wait in the ledger.
async fn waiting(stage: &Stage) -> Vec<String> {
    let found = stage.get("/v1/holds", &stage.person("ada")).await;
    let holds = found["holds"].as_array().unwrap();
    holds.iter().map(|hold| hold["hold"].as_str().or(hold["id"].as_str()).unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_hold_reaches_a_receiver_once_signed_and_with_a_link() {
    let receiver = Receiver::default();
    let url = receiver.start().await;
    let mut stage = told(&url);
    stage.start();
    let (status, plan) = stage.propose("sleeper").await;
    assert_eq!((status, plan["tier"].as_str()), (202, Some("T3")), "{plan}");
    receiver.until(&stage, "a hold is told", |receiver| !receiver.of("held").is_empty()).await;
    let held = receiver.of("held").into_values().next().unwrap();
    let data = &held["data"];
    assert_eq!(data["plan"]["id"], plan["id"]);
    assert_eq!(data["plan"]["steps"][0]["target"], "sleeper");
    assert_eq!(data["plan"]["steps"][0]["environment"], "production");
    let link = format!("http://localhost:7070/holds/{}", data["plan"]["hold"].as_str().unwrap());
    assert_eq!(data["link"], link.as_str());
    assert_eq!(data["to"].as_array().unwrap().len(), 1, "whoever is on call");
    // Nothing is said twice after a restart, and what happens next is said.
    stage.signal(rustix::process::Signal::TERM);
    stage.start();
    stage.propose("worker").await;
    receiver.until(&stage, "a run is told", |receiver| !receiver.of("succeeded").is_empty()).await;
    assert_eq!(receiver.of("held").len(), 1);
    let again = receiver.heard().iter().filter(|(_, body)| body.contains("holdpoint.held")).count();
    assert_eq!(again, 1, "an orderly stop forgets nothing");
}

#[tokio::test]
async fn a_gate_that_is_killed_around_a_message_loses_none_and_repeats_one_with_its_id() {
    for step in [Step::NotifySend, Step::NotifyKeep] {
        for moment in Moment::ALL {
            let receiver = Receiver::default();
            let url = receiver.start().await;
            let mut stage = told(&url);
            stage.set_environment(vec![("HOLDPOINT_DRILL".to_owned(), drill(step, moment, 1))]);
            stage.start_to_die().await;
            let before = receiver.heard();
            stage.set_environment(Vec::new());
            stage.start();
            let holds = waiting(&stage).await;
            let is_told = |receiver: &Receiver| {
                let told = receiver.of("held");
                holds
                    .iter()
                    .all(|hold| told.values().any(|body| body["data"]["plan"]["hold"] == hold.as_str()))
            };
            receiver.until(&stage, "every hold is told", is_told).await;
            // One id a hold, also where the receiver had heard of it before the gate died.
            let mut told: Vec<_> =
                receiver.of("held").values().map(|body| body["data"]["plan"]["hold"].to_string()).collect();
            let count = told.len();
            told.sort_unstable();
            told.dedup();
            assert_eq!(told.len(), count, "{step:?} {moment:?}: one hold under two ids");
            if step == Step::NotifySend && moment == Moment::Unreported {
                let id = &before.first().expect("it was sent before the gate died").0;
                let times = || receiver.heard().iter().filter(|(heard, _)| heard == id).count();
                receiver.until(&stage, "the same message again", |_| times() == 2).await;
            }
        }
    }
}

#[tokio::test]
async fn a_dead_receiver_delays_no_decision() {
    let mut stage = told("http://127.0.0.1:1/nobody");
    stage.start();
    let (_, plan) = stage.propose("worker").await;
    assert_eq!(stage.ended(plan["id"].as_str().unwrap()).await, "succeeded");
    let since = Instant::now();
    while !stage.log().contains("not told of") {
        assert!(since.elapsed() < PATIENCE, "{}", stage.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn inv12_t29_no_secret_of_a_channel_is_logged_at_any_level() {
    let receiver = Receiver::default();
    let url = receiver.start().await;
    let mut stage = told(&url);
    secret(&stage, "chat.url", &format!("{url}\n"));
    secret(&stage, "mail.password", "canary-of-the-mail-server");
    let more = NOTIFY
        .replace("URL", &url)
        .replacen("people:", "  chat: {slack: {url_file: chat.url}}
  mail: {smtp: {server: localhost, port: 1, tls: none, from: h@example.org, user: u, password_file: mail.password}}
people:
  ben: {email: ben@example.org}", 1)
        .replace("channels: [hook]", "channels: [hook, chat, mail]");
    stage.write("notify.yaml", &more);
    stage.set_environment(vec![("RUST_LOG".to_owned(), "trace".to_owned())]);
    stage.start();
    stage.propose("sleeper").await;
    receiver.until(&stage, "a hold is told", |receiver| !receiver.of("held").is_empty()).await;
    let since = Instant::now();
    while !stage.log().contains("over mail") || !stage.log().contains("over chat") {
        assert!(since.elapsed() < PATIENCE, "{}", stage.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (log, kept) = (stage.log(), fs::read_to_string(stage.path("data/notified")).unwrap());
    assert!(log.contains("TRACE"), "nothing was traced");
    for canary in [
        SECRET,
        "Y2FuYXJ5LW9mLXRoZS1zaWduYXR1cmVz",
        "canary-of-the-signatures",
        "canary-path",
        "canary-of-the-mail-server",
    ] {
        let line = log.lines().find(|line| line.contains(canary));
        assert!(line.is_none(), "{canary}: {line:?}");
        assert!(!kept.contains(canary), "{canary} is in what is kept");
    }
}

#[tokio::test]
async fn t40_a_gate_with_a_channel_without_its_secret_does_not_start() {
    let stage = told("https://hooks.example.org/x");
    fs::remove_file(stage.path("hook.secret")).unwrap();
    assert!(stage.refused().contains("`channels.hook`"));
    for (text, mode) in [("", 0o600), ("whsec_", 0o600), (SECRET, 0o644)] {
        stage.write("hook.secret", text);
        fs::set_permissions(stage.path("hook.secret"), fs::Permissions::from_mode(mode)).unwrap();
        let said = stage.refused();
        assert!(said.contains("`channels.hook`") && !said.contains(SECRET), "{said}");
    }
    secret(&stage, "hook.secret", SECRET);
    stage.write("notify.yaml", &NOTIFY.replace("URL", "http://hooks.example.org/x"));
    assert!(stage.refused().contains("https"));
    stage.write("notify.yaml", &format!("{NOTIFY}approvals: chat\n"));
    assert!(stage.refused().contains("approvals"));
}

#[tokio::test]
async fn a_channel_is_tried_and_who_is_on_call_is_said_without_a_gate() {
    let receiver = Receiver::default();
    let url = receiver.start().await;
    let stage = told(&url);
    let config = stage.path("holdpoint.yaml");
    let run = |args: &[&str]| {
        let args: Vec<String> = ["notify"].iter().chain(args).map(|&word| word.to_owned()).collect();
        let config = config.clone();
        let mut command = tokio::process::Command::new(super::stage::BINARY);
        command.args(&args).args(["--config", &config]).kill_on_drop(true);
        async move { command.output().await.unwrap() }
    };
    let output = run(&["test", "--channel", "hook"]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(receiver.of("test").len(), 1);
    let none = run(&["test", "--channel", "pager"]).await;
    assert_eq!(none.status.code(), Some(1));
    let said = |output: std::process::Output| String::from_utf8(output.stdout).unwrap();
    let who = said(run(&["who", "--at", "2020-01-06T08:00:00Z"]).await);
    assert_eq!(who, "primary\tada\tuntil 2020-01-13 09:00 CET\n");
    let who = said(run(&["who", "--at", "2020-01-13T08:00:00Z"]).await);
    assert_eq!(who, "primary\tben\tuntil 2020-01-20 09:00 CET\n");
    assert_eq!(run(&["who", "--at", "soon"]).await.status.code(), Some(2));
}
