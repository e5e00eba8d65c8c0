//! Who is let in: what every request to the console passes, and what every answer of it carries.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use holdpoint_app::gate::Gate;
use holdpoint_domain::{Id, actor::Identity, agent::Person, decision::Verdict, id::kind};

use super::{Console, csrf, pages, session::Session};
use crate::http::{FORM, JSON, Place, Problem, check_host, named, receive_as, within};

/// Largest body that a page sends: a signed statement, or a few fields of a form.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// Who may open a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// Everybody: there is nothing of anybody's on it.
    Anyone,
    /// Whoever signed in and is in the registry, whatever policy says: to sign out, and to halt.
    SignedIn,
    /// Whom policy lets use the console.
    User,
    /// And lets read the ledger as well.
    Reader,
}

/// Who looks. Only [`admit`] puts one into a request.
#[derive(Debug, Clone)]
pub(super) struct Visitor {
    pub(super) session: Session,
    /// The page that they look at, to come back to.
    pub(super) page: String,
}

/// A route's row, as its guard needs it.
#[derive(Clone)]
pub(super) struct Guard {
    pub(super) console: Arc<Console>,
    pub(super) who: Who,
}

/// Headers of every answer of the console: it runs its own scripts and styles, talks to itself, and is framed by nobody.
const HARDENING: [(HeaderName, HeaderValue); 7] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
             form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        ),
    ),
    // Not `no-referrer`: a form of ours would then say that it comes from `null` (Fetch, section 3.2).
    (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(), geolocation=(), microphone=(), payment=()"),
    ),
];

/// Passes a request on to its page, in this order: a name that is ours, a page of ours where something changes, the time limit.
pub(super) async fn pass(State(console): State<Arc<Console>>, request: Request, next: Next) -> Response {
    let (headers, uri) = (request.headers().clone(), request.uri().clone());
    let checked = check_host(console.door.hosts(), &request)
        .and_then(|()| csrf::check(&console.sitting.origin, &request));
    let mut response = match checked {
        Ok(()) => within(console.door.limits().timeout, request, next).await,
        Err(problem) => problem.into_response(),
    };
    if reads_html(&headers)
        && let Some(problem) = response.extensions_mut().remove::<Problem>()
    {
        let visitor = visitor(&console, &headers);
        let cookies: Vec<_> = response.headers().get_all(header::SET_COOKIE).iter().cloned().collect();
        response = pages::problem::page_of(&console, visitor.as_ref(), &problem, uri.path()).await;
        // The page says the same in other words: what the answer takes from the browser, it takes as well.
        for cookie in cookies {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }
    for (name, value) in HARDENING {
        response.headers_mut().insert(name, value);
    }
    // An asset says itself how long it may be kept.
    let kept = response.headers_mut().entry(header::CACHE_CONTROL);
    kept.or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Whether a person reads the answer.
fn reads_html(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

/// Lets a request through to its page, or not.
pub(super) async fn admit(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    let Guard { console, who } = &guard;
    if *who != Who::Anyone {
        let Some(visitor) = visitor(console, request.headers()) else {
            return if request.method().is_safe() && !by_itself(&request) {
                to_sign_in(request.uri())
            } else {
                not_signed_in().into_response()
            };
        };
        if let Err(problem) = may(&console.door.service.gate(), *who, &visitor.session.person) {
            return problem.into_response();
        }
        // What a page asks for by itself does not keep a session alive.
        if !by_itself(&request) {
            console.sessions.touch(request.headers(), console.now());
        }
        let page = if request.method().is_safe() { request.uri().path() } else { "/" };
        let page = local(Some(page)).to_owned();
        request.extensions_mut().insert(Visitor { page, ..visitor });
    }
    match prepare(console, request).await {
        // The place is kept until there is an answer, whatever its handler does with it.
        Ok((request, _place)) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// Whether a page asks by itself, without anybody who did something: to show what has changed meanwhile.
fn by_itself(request: &Request) -> bool {
    let headers = request.headers();
    let streams = headers.get(header::ACCEPT).is_some_and(|accept| accept == "text/event-stream");
    let fetches = headers.get("sec-fetch-dest").is_some_and(|dest| dest == "empty");
    request.method().is_safe() && (streams || fetches)
}

/// All of the body, then a place: nobody keeps one by waiting (T30).
async fn prepare(console: &Console, request: Request) -> Result<(Request, Place), Problem> {
    let mut request = if request.method().is_safe() {
        request
    } else {
        receive_as(request, console.door.limits().body, MAX_BODY_BYTES, &[JSON, FORM]).await?
    };
    let identity = request.extensions().get::<Visitor>().map(Visitor::identity);
    let place = console.door.place(identity.as_ref())?;
    request.extensions_mut().insert::<Place>(place.clone());
    Ok((request, place))
}

/// Whoever the request's session belongs to, if they are still in the registry.
fn visitor(console: &Console, headers: &HeaderMap) -> Option<Visitor> {
    let gate = console.door.service.gate();
    let session = console.sessions.find(headers, console.now(), &gate.controls.registry)?;
    Some(Visitor { session, page: "/".to_owned() })
}

/// Whether a person may open pages of this kind. An error of the policy is a no.
pub(super) fn may(gate: &Gate, who: Who, person: &Id<kind::Person>) -> Result<(), Problem> {
    let registered = gate.controls.registry.person(person);
    let asked = |verdict: &dyn Fn(&Person) -> Verdict, rule, action: &str| match registered.map(verdict) {
        Some(Verdict::Allow { .. }) => Ok(()),
        Some(Verdict::Deny { rules }) if !rules.is_empty() => {
            refused(rule, action, format!("the policy forbids it to `{person}`: {}", named(&rules)))
        }
        Some(Verdict::Deny { .. }) | None => {
            refused(rule, action, format!("no rule of the policy lets `{person}` do that"))
        }
        Some(Verdict::Error { rules }) => {
            refused(rule, action, format!("the policy could not be evaluated: {}", named(&rules)))
        }
    };
    let judge = &gate.ports.judge;
    let use_console =
        || asked(&|person| judge.may_use_console(person), "may-not-use-the-console", "use-console");
    match who {
        Who::Anyone | Who::SignedIn => Ok(()),
        Who::User => use_console(),
        Who::Reader => use_console()
            .and_then(|()| asked(&|person| judge.may_read(person), "may-not-read-the-ledger", "read-ledger")),
    }
}

fn refused(rule: &'static str, action: &str, fact: String) -> Result<(), Problem> {
    let next = format!("ask an administrator for a rule that permits `Action::\"{action}\"`");
    Err(Problem::new(StatusCode::FORBIDDEN, rule, fact, next))
}

fn not_signed_in() -> Problem {
    let detail = "nobody is signed in, or the session has ended";
    Problem::new(StatusCode::UNAUTHORIZED, "not-signed-in", detail, "sign in, and do it again")
}

/// To the page where people sign in, and back afterwards.
fn to_sign_in(uri: &Uri) -> Response {
    let asked = uri.path_and_query().map_or("/", |asked| asked.as_str());
    let next = if asked == "/" { String::new() } else { format!("?next={}", encoded(asked)) };
    Redirect::to(&format!("/sign-in{next}")).into_response()
}

/// Percent-encoded for a query (RFC 3986 section 2.3 keeps the rest).
pub(super) fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    };
    text.bytes().map(one).collect()
}

/// Where somebody wants to go after they signed in: a path of ours, or the inbox. What a browser could read as another site
/// (`//evil.example`, `/\evil.example`, a scheme) is none.
pub(super) fn local(next: Option<&str>) -> &str {
    let is_local = |path: &&str| {
        let mut rest = path.chars();
        rest.next() == Some('/')
            && !path.starts_with("//")
            && path.len() <= 1_024
            && rest.all(|c| c.is_ascii_graphic() && c != '\\')
    };
    next.filter(is_local).unwrap_or("/")
}

impl Visitor {
    /// Their identity, as use cases know it. It lets them look; consent is a signature.
    pub(super) fn identity(&self) -> Identity {
        Identity::Person { person: self.session.person.clone() }
    }
}

impl<S: Sync> FromRequestParts<S> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let visitor = parts.extensions.get::<Self>().cloned();
        visitor.ok_or_else(|| Problem::internal(&"a page wants a visitor that its row does not ask for"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t16_nobody_is_sent_to_another_site() {
        for good in ["/", "/holds/hold-1", "/ledger?page=2&x=%20", "/a//b"] {
            assert_eq!(local(Some(good)), good);
        }
        let long = format!("/{}", "x".repeat(2_000));
        for bad in [
            "",
            "//evil.example",
            "/\\evil.example",
            "\\/evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            "evil",
            "/a\\b",
            "/\t/evil.example",
            "/\n",
            "/ü",
            "///evil.example",
            " /",
            &long,
        ] {
            assert_eq!(local(Some(bad)), "/", "{bad:?}");
        }
        assert_eq!(local(None), "/");
        assert_eq!(encoded("/plans?x=a&b=\"<"), "/plans%3Fx%3Da%26b%3D%22%3C");
    }
}
