//! A console over fakes, and a browser that does nothing but keep its cookie.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, header},
};
use holdpoint_adapters::cosign::Kept;
use holdpoint_app::{
    fake::{
        FakeClock, FakeJudge, FakeWorld, MemStore, Setup, Stage,
        controls::{Parts, id},
        statement,
    },
    gate::Gate,
    propose::{self, Proposal, Proposed},
    start,
    strangers::Strangers,
};
use holdpoint_domain::{
    action::ParamSpec,
    actor::{Identity, Party, Phase},
    approval::{Choice, HoldTerms},
    change::Control,
    plan::{Narrative, ParamValue},
    target::{Criticality, Service},
};
use tower::ServiceExt as _;

use crate::{
    config::ConsoleConfig,
    console::{Console, How, router},
    http::{self, Limits, Settings},
    links::SignInLinks,
    service::{GateCell, Identified, Identify, Runner, Service as Shared},
};

/// The name that the gate answers to in these tests, and the origin of its console.
pub(super) const HOST: &str = "gate.test";
pub(super) const ORIGIN: &str = "https://gate.test";

/// A gate and its console.
pub(super) struct Bench {
    pub(super) gate: Arc<Gate>,
    pub(super) console: Arc<Console>,
    pub(super) store: Arc<MemStore>,
    pub(super) clock: Arc<FakeClock>,
    pub(super) judge: Arc<FakeJudge>,
    pub(super) world: Arc<FakeWorld>,
    pub(super) cell: Arc<GateCell>,
    router: Router,
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

/// Tokens of these tests name an agent for deciding.
struct Tokens;

impl Identify for Tokens {
    fn identify(&self, bearer: &str) -> Result<Identified, String> {
        let identity = Identity::Agent { agent: id(bearer), phase: Phase::Decide };
        Ok(Identified { identity, selectors: Arc::default() })
    }

    fn workload(&self, _: &str) -> Result<Identified, String> {
        Err("no certificates here".to_owned())
    }
}

/// A service that others need.
fn service(name: &str, criticality: Criticality, needs: &[&str], dependents: &[&str]) -> Service {
    Service {
        id: id(name),
        environment: id("production"),
        owner: id("shop-team"),
        criticality,
        data_classes: BTreeSet::new(),
        data_domain: None,
        backup_of: BTreeSet::new(),
        stateless: true,
        depends_on: needs.iter().map(|name| id(name)).collect(),
        dependents: dependents.iter().map(|name| id(name)).collect(),
    }
}

/// The fakes' parts, with something to see: `web` and `checkout` need `shop`, a service that nobody knows does too.
pub(super) fn parts() -> Parts {
    let mut parts = Parts::default();
    for (service, dependents) in [("shop", vec!["legacy-billing"]), ("orders", vec![])] {
        let found = parts.services.iter_mut().find(|found| found.id.as_str() == service).unwrap();
        found.dependents = dependents.into_iter().map(id).collect();
    }
    parts.services.push(service("checkout", Criticality::High, &["shop", "orders"], &[]));
    parts.services.push(service("web", Criticality::Critical, &["checkout", "shop"], &[]));
    parts.services.push(service("mail", Criticality::Low, &["shop"], &[]));
    for action in &mut parts.actions {
        action.cap.services = 10;
        action.cap.critical = 4;
    }
    parts.action("cache.drop").title = "Drop the cache of a process".to_owned();
    parts.action("flag.switch").title = "Switch a feature flag".to_owned();
    parts.action("flag.switch").params = [(id("enabled"), ParamSpec::Bool)].into();
    parts
}

impl Bench {
    pub(super) async fn new() -> Self {
        Self::with(parts()).await
    }

    /// A gate with these control inputs.
    pub(super) async fn with(parts: Parts) -> Self {
        let setup = Setup { parts, ..Setup::default() };
        let Stage { gate, store, clock, judge, world, .. } = Stage::new(setup);
        start::start(&gate).await.unwrap();
        let gate = Arc::new(gate);
        let cell = Arc::new(GateCell::new(Arc::clone(&gate)));
        let shared = Arc::new(Shared {
            cell: Arc::clone(&cell),
            identify: Arc::new(Tokens),
            runner: Runner::new(Arc::clone(&cell)),
            strangers: Strangers::default(),
            links: SignInLinks::default(),
            cosigned: Arc::new(Kept::open(Path::new(""), &gate.ports.log_key)),
        });
        let settings = Settings {
            hosts: BTreeSet::from([HOST.to_owned()]),
            agents_need_certificates: false,
            limits: Limits::default(),
            console: None,
        };
        let sitting =
            ConsoleConfig { origin: ORIGIN.to_owned(), idle_ms: None, absolute_ms: None, oidc: None }
                .parsed()
                .unwrap();
        let console = Console::new(Arc::clone(&shared), settings.clone(), sitting, None).unwrap();
        let router = router(&console, http::router(shared, settings, axum::Router::new()));
        Self { gate, console, store, clock, judge, world, cell, router }
    }

    /// The cookie of somebody who signed in.
    pub(super) fn signed_in(&self, name: &str) -> String {
        let cookie = self.console.sessions().open(id(name), How::Sso, self.console.now());
        cookie.split(';').next().unwrap().to_owned()
    }

    /// Sends a request, and reads no more than the head of its answer: a stream of events has no end.
    pub(super) async fn head(&self, request: Request<Body>) -> Answer {
        let (parts, _) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        Answer { status: parts.status.as_u16(), headers: parts.headers, text: String::new() }
    }

    /// Sends a request, and returns its answer as it comes.
    pub(super) async fn stream(&self, request: Request<Body>) -> axum::body::BodyDataStream {
        self.router.clone().oneshot(request).await.unwrap().into_body().into_data_stream()
    }

    /// Sends a request as it is.
    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        Answer { status: parts.status.as_u16(), headers: parts.headers, text }
    }

    /// A page, as a browser asks for it.
    pub(super) async fn page(&self, path: &str, cookie: &str) -> Answer {
        self.send(asked(Method::GET, path, cookie).body(Body::empty()).unwrap()).await
    }

    /// A form of a page of ours.
    pub(super) async fn form(&self, path: &str, cookie: &str, fields: &str) -> Answer {
        let request = asked(Method::POST, path, cookie)
            .header(header::ORIGIN, ORIGIN)
            .header("sec-fetch-site", "same-origin")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(request.body(Body::from(fields.to_owned())).unwrap()).await
    }

    /// What `healer` asks for, with these words.
    pub(super) async fn proposed(&self, action: &str, target: &str, words: Narrative) -> Proposed {
        let party = Party::from(Identity::Agent { agent: id("healer"), phase: Phase::Decide });
        let mut proposal = Proposal {
            steps: vec![holdpoint_app::gather::Wish {
                action: id(action),
                target: id(target),
                params: std::collections::BTreeMap::new(),
            }],
            trigger: id("process.hung"),
            incident: Some(id("inc-1")),
            narrative: words,
            prompt: None,
            model: None,
            transcript: None,
        };
        if action == "flag.switch" {
            proposal.steps[0].params = [(id("enabled"), ParamValue::Bool(false))].into();
        }
        propose::propose(&self.gate, &party, proposal).await.unwrap()
    }

    /// The terms of a plan of `healer` that waits.
    pub(super) async fn held(&self) -> HoldTerms {
        let words = Narrative { summary: "it hangs".to_owned(), ..Narrative::default() };
        self.proposed("cache.drop", "worker-1", words).await.terms.unwrap()
    }

    /// The plan that waits under these terms.
    pub(super) async fn plan_of(&self, terms: &HoldTerms) -> String {
        holdpoint_app::approve::find(&self.gate, &terms.hold).await.unwrap().id.to_string()
    }

    /// A change of the policy, proposed by Alice, who is no administrator.
    pub(super) async fn change(&self) -> String {
        self.change_to("second").await
    }

    /// A change of the policy to this text.
    pub(super) async fn change_to(&self, text: &str) -> String {
        let files = [("policy".to_owned(), text.to_owned())].into();
        let alice = Identity::Person { person: id("alice") };
        let terms = holdpoint_app::change::propose(&self.gate, &alice, Control::Policy, files).await;
        terms.unwrap().id.to_string()
    }

    /// Has a plan of `healer` run to its end.
    pub(super) async fn ran(&self, action: &str, target: &str) -> String {
        let proposed = self.proposed(action, target, Narrative::default()).await;
        holdpoint_app::run::run(&self.gate, &proposed.id).await.unwrap();
        proposed.id.to_string()
    }

    /// Somebody decides.
    pub(super) async fn decide(&self, name: &str, terms: &HoldTerms, choice: Choice) {
        let identity = Identity::Person { person: id(name) };
        let signed = statement(name, terms, choice);
        holdpoint_app::approve::decide_hold(&self.gate, &identity, &terms.hold, signed).await.unwrap();
    }
}

/// A request as a browser sends it.
pub(super) fn asked(method: Method, path: &str, cookie: &str) -> axum::http::request::Builder {
    let request = Request::builder().method(method).uri(path).header(header::HOST, HOST);
    let request = request.header(header::ACCEPT, "text/html,application/xhtml+xml,*/*;q=0.8");
    if cookie.is_empty() { request } else { request.header(header::COOKIE, cookie) }
}

impl Answer {
    /// A header's text.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}
