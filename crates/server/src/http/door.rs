//! The door: what every request passes before its endpoint, and what every answer carries.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};
use holdpoint_domain::actor::Identity;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::{Problem, echo};
use crate::service::Service;

/// Headers of every answer. Nothing here is for a browser to run, frame, guess at or keep.
const HARDENING: [(HeaderName, HeaderValue); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; base-uri 'none'"),
    ),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
];

/// Only browsers send it (Fetch Metadata), and always when they send anything across origins.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What the API is told when it is put together.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Names that the API answers to, as in `Host` without the port: lower case, IPv6 addresses in brackets. A page of
    /// somebody else whose name was pointed at us (DNS rebinding) sends another one.
    pub(crate) hosts: BTreeSet<String>,
    /// Whether an agent's token counts only beside the certificate of its workload.
    pub(crate) agents_need_certificates: bool,
    /// Limits.
    pub(crate) limits: Limits,
}

/// Limits on requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Requests at work at once, of agents and of whoever needs no token. More are turned away at once, so that those
    /// inside are answered in time.
    pub(crate) requests: usize,
    /// Requests of people at work at once. Places of their own: whatever agents do, a person can still look and decide.
    pub(crate) people: usize,
    /// Followers of the event stream at once.
    pub(crate) followers: usize,
    /// Measurements at once that somebody asks for without proposing anything. Few: each one asks a target.
    pub(crate) probes: usize,
    /// How long a request may take until its answer begins.
    pub(crate) timeout: Duration,
    /// How long a body may take to come. Far longer than 256 KiB need, and short, as nobody works meanwhile.
    pub(crate) body: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests: 384,
            people: 64,
            followers: 64,
            probes: 8,
            timeout: Duration::from_secs(30),
            body: Duration::from_secs(5),
        }
    }
}

/// What handlers share.
pub(crate) struct Door {
    pub(crate) service: Arc<Service>,
    pub(crate) followers: Arc<Semaphore>,
    pub(crate) probes: Arc<Semaphore>,
    settings: Settings,
    requests: Arc<Semaphore>,
    people: Arc<Semaphore>,
}

/// A place among the requests at work. Work that outlives its request keeps it.
#[derive(Clone)]
pub(crate) struct Place {
    _permit: Arc<OwnedSemaphorePermit>,
}

impl Door {
    pub(crate) const fn agents_need_certificates(&self) -> bool {
        self.settings.agents_need_certificates
    }

    pub(crate) fn new(service: Arc<Service>, settings: Settings) -> Self {
        let semaphore = |places: usize| Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS)));
        let Limits { requests, people, followers, probes, .. } = settings.limits;
        Self {
            service,
            followers: semaphore(followers),
            probes: semaphore(probes),
            settings,
            requests: semaphore(requests),
            people: semaphore(people),
        }
    }

    /// Limits.
    pub(crate) fn limits(&self) -> &Limits {
        &self.settings.limits
    }

    /// The names that the door answers to.
    pub(crate) fn hosts(&self) -> &BTreeSet<String> {
        &self.settings.hosts
    }

    /// A place for a request that is ready to be worked on: whose it is is known, and all of it has come. Before that it
    /// has none, so that nobody keeps places by waiting (T30).
    pub(crate) fn place(&self, caller: Option<&Identity>) -> Result<Place, Problem> {
        let places = match caller {
            Some(Identity::Person { .. }) => &self.people,
            Some(Identity::Agent { .. }) | None => &self.requests,
        };
        let permit = Arc::clone(places).try_acquire_owned().map_err(|_| {
            let detail = "too many requests are under way";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too-busy", detail, "try again in a moment")
        })?;
        Ok(Place { _permit: Arc::new(permit) })
    }

    /// Does something that must not stop half-way when the client goes away or its time is up: it goes on in a task of its
    /// own, and keeps its place among the requests until it is done.
    pub(crate) async fn to_the_end<T: Send + 'static>(
        place: Place,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Problem> {
        let task = tokio::spawn(async move {
            let done = work.await;
            drop(place);
            done
        });
        task.await.map_err(|err| Problem::internal(&err))
    }
}

/// Passes a request on to its endpoint, in this order: a name that is ours, no browser where something changes, the
/// time limit.
pub(crate) async fn pass(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    let asked = (request.method().clone(), request.uri().clone());
    let mut response = match check(&door, &request) {
        Ok(()) => within(door.settings.limits.timeout, request, next).await,
        Err(problem) => problem.into_response(),
    };
    for (name, value) in HARDENING {
        response.headers_mut().insert(name, value);
    }
    // Made visible only where somebody reads it.
    let (method, uri) = (&asked.0, &asked.1);
    tracing::debug!(
        status = response.status().as_u16(),
        "{} {} was answered",
        echo(method.as_str()),
        echo(uri.path())
    );
    response
}

fn check(door: &Door, request: &Request) -> Result<(), Problem> {
    check_host(&door.settings.hosts, request)?;
    check_not_a_browser(request)
}

/// The answer, or a problem when none has begun within the limit.
pub(crate) async fn within(limit: Duration, request: Request, next: Next) -> Response {
    let changes = !request.method().is_safe();
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => too_slow(limit, changes).into_response(),
    }
}

fn too_slow(limit: Duration, changes: bool) -> Problem {
    let detail = format!("no answer within {} ms", limit.as_millis());
    let next = if changes {
        "it may still happen: look at the list of plans before you try again"
    } else {
        "try again"
    };
    Problem::new(StatusCode::GATEWAY_TIMEOUT, "too-slow", detail, next)
}

/// `Host`, and the authority of an absolute request target, must name us (RFC 9112 section 3.2).
pub(crate) fn check_host(hosts: &BTreeSet<String>, request: &Request) -> Result<(), Problem> {
    let misdirected = |detail: String| {
        let next = "use a name that this gate was configured to answer to";
        Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, "misdirected", detail, next))
    };
    let Some(host) = single(request.headers(), &header::HOST) else {
        return misdirected("expected one `Host` header".to_owned());
    };
    let target = request.uri().authority().map(Authority::as_str);
    for name in std::iter::once(host).chain(target) {
        if !is_ours(hosts, name) {
            return misdirected(format!("{} is not a name of this gate", echo(name)));
        }
    }
    Ok(())
}

fn is_ours(hosts: &BTreeSet<String>, name: &str) -> bool {
    let authority = name.parse::<Authority>().ok().filter(|_| !name.contains('@'));
    authority.is_some_and(|authority| hosts.contains(&authority.host().to_ascii_lowercase()))
}

/// The API is no door for browsers: what a browser sends here to change something comes from a page that is not ours. The console
/// has paths, and a check, of its own.
fn check_not_a_browser(request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    let browser = headers.contains_key(header::ORIGIN) || headers.contains_key(SEC_FETCH_SITE);
    if request.method().is_safe() || !browser {
        return Ok(());
    }
    let detail = "the request comes from a web page, and no page may change anything here";
    Err(Problem::new(StatusCode::FORBIDDEN, "browser", detail, "use the command line or a client of the API"))
}

/// The value of a header that must come exactly once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

impl<S: Sync> axum::extract::FromRequestParts<S> for Place {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, _: &S) -> Result<Self, Problem> {
        let place = parts.extensions.get::<Self>().cloned();
        place.ok_or_else(|| Problem::internal(&"a request without a place"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t34_only_our_names_are_ours() {
        let hosts = ["localhost", "127.0.0.1", "[::1]", "gate.example.org"].map(str::to_owned).into();
        for good in
            ["localhost", "localhost:7117", "LOCALHOST:1", "127.0.0.1:7117", "[::1]:7117", "gate.example.org"]
        {
            assert!(is_ours(&hosts, good), "{good}");
        }
        for bad in [
            "",
            "evil.example",
            "evil.example:7117",
            "localhost.evil.example",
            "localhost@evil.example",
            "evil.example@localhost",
            "localhost:7117:1",
            "localhost/",
            "local host",
            "127.0.0.2",
            "0.0.0.0",
            "::1",
            "gate.example.org.",
        ] {
            assert!(!is_ours(&hosts, bad), "{bad}");
        }
    }
}
