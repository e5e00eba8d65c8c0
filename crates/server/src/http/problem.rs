//! Problems: every answer that is not the one asked for, as RFC 9457 says.

use axum::{
    Json,
    http::{HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use holdpoint_app::refusal::{Blame, Refusal};
use holdpoint_domain::text::{is_hidden, quoted};

use super::wire;

/// Longest text of somebody else in a problem: enough to recognise it.
const MAX_ECHO_CHARS: usize = 200;
/// Longest detail.
const MAX_DETAIL_CHARS: usize = 2_000;

/// An answer other than the one asked for.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    status: StatusCode,
    rule: &'static str,
    detail: String,
    next: String,
    challenge: Option<&'static str>,
    denied: Option<Box<Denied>>,
}

/// A denial by guardrail or policy: the decision, beside the problem.
#[derive(Debug, Clone)]
pub(crate) struct Denied {
    /// The rule that denied.
    pub(crate) rule: String,
    /// The decision.
    pub(crate) decision: wire::Denial,
}

/// The rule of a problem, beside its answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refused(pub(super) &'static str);

impl Problem {
    /// The rule that refused.
    pub(crate) const fn rule(&self) -> &'static str {
        self.rule
    }

    /// The status of the answer.
    pub(crate) const fn status(&self) -> StatusCode {
        self.status
    }

    /// The fact that set it off.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// What to do next.
    pub(crate) fn next(&self) -> &str {
        &self.next
    }

    /// A problem. `detail` must hold no text of a caller that [`echo`] did not make visible.
    pub(crate) fn new(
        status: StatusCode,
        rule: &'static str,
        detail: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        Self { status, rule, detail: detail.into(), next: next.into(), challenge: None, denied: None }
    }

    /// The request is not well-formed.
    pub(crate) fn malformed(rule: &'static str, detail: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, rule, detail, next)
    }

    /// Nobody, or somebody we do not know; `challenge` goes into `WWW-Authenticate` (RFC 6750 section 3).
    pub(crate) fn unauthenticated(challenge: &'static str, rule: &'static str, detail: String) -> Self {
        let next = "send one header `Authorization: Bearer <token>` with a valid token";
        Self { challenge: Some(challenge), ..Self::new(StatusCode::UNAUTHORIZED, rule, detail, next) }
    }

    /// The gate itself failed. What failed goes into the log, not to the caller.
    pub(crate) fn internal(what: &dyn std::fmt::Display) -> Self {
        tracing::error!("a request failed inside the gate: {what}");
        let detail = "the gate failed at this request";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail, "report this to the operator")
    }

    /// The decision was no.
    pub(crate) fn denied(denied: Denied, detail: String, next: String) -> Self {
        let base = Self::new(StatusCode::FORBIDDEN, "denied", detail, next);
        Self { denied: Some(Box::new(denied)), ..base }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal.blame {
            Blame::Caller => StatusCode::BAD_REQUEST,
            Blame::NotFound => StatusCode::NOT_FOUND,
            Blame::Forbidden => StatusCode::FORBIDDEN,
            Blame::Conflict => StatusCode::CONFLICT,
            Blame::Peer => StatusCode::BAD_GATEWAY,
            Blame::Us => {
                // Paths and messages of the disk are the operator's business.
                tracing::error!(rule = refusal.rule, "the gate stays closed: {}", refusal.fact);
                let detail = "the gate cannot do this now, so nothing was done";
                return Self::new(StatusCode::SERVICE_UNAVAILABLE, refusal.rule, detail, refusal.next);
            }
        };
        Self::new(status, refusal.rule, refusal.fact, refusal.next)
    }
}

impl From<holdpoint_app::port::StoreError> for Problem {
    fn from(err: holdpoint_app::port::StoreError) -> Self {
        Refusal::from(err).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // For whoever shows it to a person instead.
        let whole = self.clone();
        let Self { status, rule, detail, next, challenge, denied } = self;
        let refused = Refused(rule);
        let (rule, decision) = match denied {
            Some(denied) => (denied.rule, Some(denied.decision)),
            None => (rule.to_owned(), None),
        };
        let problem = wire::Problem {
            r#type: format!("urn:holdpoint:problem:{rule}"),
            title: rule.replace('-', " "),
            status: status.as_u16(),
            detail: tame(&detail),
            next: tame(&next),
            rule,
            decision,
        };
        let mut response = (status, Json(problem)).into_response();
        response.extensions_mut().insert(refused);
        response.extensions_mut().insert(whole);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(challenge) = challenge {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

/// Text of a caller, between backticks, visible and cut.
pub(crate) fn echo(text: &str) -> String {
    quoted(text, MAX_ECHO_CHARS)
}

/// Makes hidden characters visible and cuts; unlike [`echo`] it leaves what is visible already as it is. The last line of
/// defence for facts that carry what a peer said.
fn tame(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(MAX_DETAIL_CHARS)
        .map(|c| if is_hidden(c) { format!("\\u{{{:04X}}}", u32::from(c)) } else { c.to_string() })
        .collect();
    if text.chars().nth(MAX_DETAIL_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

/// The answer where no endpoint is.
pub(crate) async fn no_such_path(uri: Uri) -> Problem {
    let detail = format!("there is nothing at {}", echo(uri.path()));
    Problem::new(StatusCode::NOT_FOUND, "no-such-path", detail, "see the documentation of the API")
}

/// The answer where an endpoint takes another method.
pub(crate) async fn no_such_method(method: Method, uri: Uri) -> Problem {
    let detail = format!("{} does not take {}", echo(uri.path()), echo(method.as_str()));
    let next = "use a method out of the `Allow` header";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "no-such-method", detail, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t15_a_problem_hides_no_character() {
        assert_eq!(tame("a\u{202e}b `\\u{202E}`\n"), "a\\u{202E}b `\\u{202E}`\\u{000A}");
        assert_eq!(tame(&"x".repeat(3_000)).chars().count(), MAX_DETAIL_CHARS + 1);
    }

    #[test]
    fn the_status_tells_whose_fault_it_is() {
        let cases = [
            (Blame::Caller, 400),
            (Blame::NotFound, 404),
            (Blame::Forbidden, 403),
            (Blame::Conflict, 409),
            (Blame::Peer, 502),
            (Blame::Us, 503),
        ];
        for (blame, status) in cases {
            let problem = Problem::from(Refusal::new(blame, "some-rule", "/secret/path", "wait"));
            assert_eq!(problem.status.as_u16(), status);
            assert_eq!(problem.detail.contains("/secret/path"), blame != Blame::Us);
        }
    }
}
