//! A gate over fakes behind the real router, and a client that calls it without a network.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use async_trait::async_trait;
use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use holdpoint_adapters::cosign::Kept;
use holdpoint_app::{
    fake::{
        FakeClock, FakeJudge, FakeLatch, FakeWorld, MemStore, Setup, Stage,
        controls::{agent, id},
        statement,
    },
    gate::Gate,
    port::Prober,
    start,
    strangers::Strangers,
};
use holdpoint_domain::{
    actor::{Identity, Phase},
    approval::Choice,
    change::ChangeTerms,
    flow::State,
    trigger::{Condition, Reading, Subject},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tower::ServiceExt as _;

use super::conform;

use crate::{
    http::{Limits, Settings, router, wire},
    service::{GateCell, Identified, Identify, Runner, Service},
};

/// The name that the gate answers to in these tests.
pub(super) const HOST: &str = "gate.test";

/// A gate and its door.
pub(super) struct Bench {
    pub(super) gate: Arc<Gate>,
    pub(super) service: Arc<Service>,
    pub(super) store: Arc<MemStore>,
    pub(super) clock: Arc<FakeClock>,
    pub(super) judge: Arc<FakeJudge>,
    pub(super) latch: Arc<FakeLatch>,
    pub(super) world: Arc<FakeWorld>,
    pub(super) router: Router,
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// Tokens of these tests say whom they name: `agent.<name>.<phase>` or `person.<name>`.
struct Tokens;

impl Identify for Tokens {
    fn identify(&self, bearer: &str) -> Result<Identified, String> {
        let mut parts = bearer.split('.');
        let identity = match (parts.next(), parts.next(), parts.next()) {
            (Some("agent"), Some(name), Some(word)) => {
                let phase =
                    Phase::ALL.into_iter().find(|phase| phase.as_str() == word).ok_or("no such phase")?;
                Identity::Agent { agent: id(name), phase }
            }
            (Some("person"), Some(name), None) => Identity::Person { person: id(name) },
            _ => return Err("no token of ours \u{202e}".to_owned()),
        };
        Ok(Identified { identity, selectors: Arc::default() })
    }

    fn workload(&self, _: &str) -> Result<Identified, String> {
        Err("no certificates here".to_owned())
    }
}

/// Probes that answer only once they are told to.
struct SlowProber {
    go: Arc<Notify>,
    world: Arc<FakeWorld>,
}

#[async_trait]
impl Prober for SlowProber {
    async fn measure(&self, condition: &Condition, subject: Subject<'_>) -> Vec<Reading> {
        self.go.notified().await;
        self.world.measure(condition, subject).await
    }
}

impl Bench {
    /// A gate with agents `own` and `other`, who may have all phases, and the agents of the stage.
    pub(super) async fn new() -> Self {
        Self::with(Limits::default(), &[]).await
    }

    /// As [`Self::new`], with these limits and more agents.
    pub(super) async fn with(limits: Limits, agents: &[String]) -> Self {
        Self::build(limits, agents, None).await
    }

    /// As [`Self::new`], with these limits and probes that answer only once they are told to.
    pub(super) async fn slow(limits: Limits, go: Arc<Notify>) -> Self {
        Self::build(limits, &[], Some(go)).await
    }

    async fn build(limits: Limits, agents: &[String], go: Option<Arc<Notify>>) -> Self {
        let mut setup = Setup::default();
        for name in ["own", "other"].into_iter().chain(agents.iter().map(String::as_str)) {
            let mut agent = agent(name, "alice", true);
            agent.phases = BTreeSet::from(Phase::ALL);
            setup.parts.agents.push(agent);
        }
        let Stage { mut gate, store, clock, judge, latch, world, .. } = Stage::new(setup);
        if let Some(go) = go {
            gate.ports.prober = Arc::new(SlowProber { go, world: Arc::clone(&world) });
        }
        start::start(&gate).await.unwrap();
        let gate = Arc::new(gate);
        let cell = Arc::new(GateCell::new(Arc::clone(&gate)));
        let runner = Runner::new(Arc::clone(&cell));
        let cosigned = Arc::new(Kept::open(Path::new(""), &gate.ports.log_key));
        let strangers = Strangers::default();
        let service = Service {
            cell,
            identify: Arc::new(Tokens),
            runner,
            strangers,
            links: crate::links::SignInLinks::default(),
            cosigned,
        };
        let service = Arc::new(service);
        let settings = Settings {
            hosts: BTreeSet::from([HOST.to_owned()]),
            agents_need_certificates: false,
            console: None,
            limits,
        };
        let router = router(Arc::clone(&service), settings, Router::new());
        Self { gate, service, store, clock, judge, latch, world, router }
    }

    /// Sends a request as it is.
    pub(super) async fn send(&self, request: Request<Body>) -> axum::response::Response {
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// Sends a request and reads the answer to its end, which must be one that the documentation knows.
    pub(super) async fn answer(&self, request: Request<Body>) -> Answer {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let response = self.send(request).await;
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec();
        let answer = Answer { status: parts.status.as_u16(), headers: parts.headers, body };
        // Whatever a test asks for is an example of what the documentation says.
        conform::check(&method, &path, &answer);
        answer
    }

    /// A GET.
    pub(super) async fn get(&self, path: &str, token: &str) -> Answer {
        self.answer(request(Method::GET, path, token, None)).await
    }

    /// A POST of JSON.
    pub(super) async fn post(&self, path: &str, token: &str, body: &Value) -> Answer {
        self.answer(request(Method::POST, path, token, Some(body))).await
    }

    /// Has an agent propose, and expects it to be taken.
    pub(super) async fn propose(&self, agent: &str, action: &str, target: &str) -> wire::Proposed {
        let answer = self.post("/v1/plans", &format!("agent.{agent}.decide"), &plan(action, target)).await;
        assert!(matches!(answer.status, 201 | 202), "{}: {}", answer.status, answer.text());
        answer.json()
    }

    /// Has `own` propose an action and waits until its plan is in this state.
    pub(super) async fn ended(&self, action: &str, target: &str, state: State) -> wire::PlanDetail {
        let proposed = self.propose("own", action, target).await;
        for _ in 0..10_000 {
            let plan = self.plan(&proposed).await;
            if plan.state == state {
                return plan;
            }
            tokio::task::yield_now().await;
        }
        panic!("plan {} is not {state}: {}", proposed.id, self.plan(&proposed).await.state);
    }

    /// A change of the policy, proposed by Alice, who is no administrator.
    pub(super) async fn change(&self) -> ChangeTerms {
        let body = json!({"control": "policy", "files": {"policy": "second"}});
        let answer = self.post("/v1/changes", "person.alice", &body).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json::<wire::ProposedChange>().terms
    }

    /// A plan as a person sees it.
    pub(super) async fn plan(&self, proposed: &wire::Proposed) -> wire::PlanDetail {
        self.get(&format!("/v1/plans/{}", proposed.id), "person.alice").await.json()
    }

    /// A person's signed statement on a plan's hold, as the body of a request.
    pub(super) async fn statement(&self, name: &str, proposed: &wire::Proposed, choice: Choice) -> Value {
        let terms = self.plan(proposed).await.hold.unwrap().terms;
        serde_json::to_value(statement(name, &terms, choice)).unwrap()
    }

    /// How many records say something of this kind.
    pub(super) fn count(&self, word: &str) -> usize {
        self.store.records().iter().filter(|record| record.body.word() == word).count()
    }
}

impl Answer {
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    #[track_caller]
    pub(super) fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).unwrap_or_else(|err| panic!("{err}: {}", self.text()))
    }

    /// The problem, after checking what every problem has.
    #[track_caller]
    pub(super) fn problem(&self) -> wire::Problem {
        let problem: wire::Problem = self.json();
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(problem.status, self.status);
        assert_eq!(problem.r#type, format!("urn:holdpoint:problem:{}", problem.rule));
        assert!(!problem.detail.is_empty() && !problem.next.is_empty(), "{problem:?}");
        assert_eq!(self.headers.contains_key(header::WWW_AUTHENTICATE), self.status == 401);
        problem
    }
}

/// A request with the right host, a token if there is one, and a JSON body if there is one.
pub(super) fn request(method: Method, path: &str, token: &str, body: Option<&Value>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, HOST);
    if !token.is_empty() {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    match body {
        Some(body) => {
            let request = request.header(header::CONTENT_TYPE, "application/json");
            request.body(Body::from(body.to_string())).unwrap()
        }
        None => request.body(Body::empty()).unwrap(),
    }
}

/// The body of a proposal.
pub(super) fn plan(action: &str, target: &str) -> Value {
    json!({
        "action": action, "target": target, "trigger": "process.hung",
        "summary": "it hangs", "reason": "a restart \u{202e}helps", "confidence": "very",
    })
}

#[tokio::test]
async fn every_answer_is_hardened() {
    let bench = Bench::new().await;
    let long = format!("/{}", "x".repeat(5_000));
    for (path, token) in [("/healthz", ""), ("/v1/plans", "person.alice"), ("/v1/plans", ""), (&long, "")] {
        let answer = bench.get(path, token).await;
        let header = |name: &str| answer.headers.get(name).unwrap().to_str().unwrap();
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header("cache-control"), "no-store", "{path}");
        assert!(header("content-security-policy").starts_with("default-src 'none'"), "{path}");
        assert!(answer.body.len() < 4_000, "{path}");
    }
    assert_eq!(bench.get("/healthz", "").await.status, StatusCode::OK);
}
