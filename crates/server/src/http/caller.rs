//! The caller: who a request comes from, and whether the endpoint's row lets them in.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use holdpoint_domain::{
    Id,
    actor::{Identity, Phase},
    agent::Registry,
    id::kind,
};

use super::{
    body,
    door::{Door, Place},
    problem::{Problem, echo},
};

/// Longest bearer token: a JWT with a long chain of delegation, and far below the limit on headers.
const MAX_TOKEN_LEN: usize = 8 * 1024;

/// Who may call an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// Everybody, without a token.
    Anyone,
    /// Agents, who see what is theirs, and people, who see everything.
    Reader,
    /// People.
    Person,
    /// An agent in phase `decide`. The use case checks it and records the refusal of anybody else; here it is enough to be
    /// known.
    Proposer,
    /// A person. As with [`Self::Proposer`], the use case refuses others, on record.
    Approver,
}

/// Who is calling. Only [`admit`] puts one into a request.
#[derive(Debug, Clone)]
pub(super) struct Caller(pub(super) Identity);

impl Caller {
    /// Whether the caller may see what this agent did: its own identities, and people.
    pub(super) fn sees(&self, agent: &Id<kind::Agent>) -> bool {
        match &self.0 {
            Identity::Agent { agent: own, .. } => own == agent,
            Identity::Person { .. } => true,
        }
    }
}

/// An endpoint's row, as its guard needs it.
#[derive(Clone)]
pub(super) struct Guard {
    pub(super) door: Arc<Door>,
    pub(super) who: Who,
}

/// Lets a request through to its handler, or not. It has its place until the answer begins.
///
/// Whatever answers a repeated request without doing it again (an `Idempotency-Key`) stands between [`prepare`] and the
/// handler: the caller and the whole body are known there, and nothing has happened yet.
pub(super) async fn admit(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match prepare(&guard, request).await {
        Ok((request, _place)) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// In this order: whose it is (nobody's body is looked at before), all of its body, a place.
async fn prepare(guard: &Guard, mut request: Request) -> Result<(Request, Place), Problem> {
    let Guard { door, who } = guard;
    let caller = if *who == Who::Anyone {
        None
    } else {
        Some(permit(door, *who, identify(door, request.headers())?)?)
    };
    if !request.method().is_safe() {
        request = body::receive(request, door.limits().body).await?;
    }
    let place = door.place(caller.as_ref().map(|caller| &caller.0))?;
    let extensions = request.extensions_mut();
    extensions.insert(place.clone());
    if let Some(caller) = caller {
        extensions.insert(caller);
    }
    Ok((request, place))
}

fn identify(door: &Door, headers: &HeaderMap) -> Result<Identity, Problem> {
    let missing = |detail: &str| {
        Problem::unauthenticated("Bearer realm=\"holdpoint\"", "unauthenticated", detail.to_owned())
    };
    let invalid = |detail: String| {
        let challenge = "Bearer realm=\"holdpoint\", error=\"invalid_token\"";
        Problem::unauthenticated(challenge, "invalid-token", detail)
    };
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or_else(|| missing("no `Authorization` header"))?;
    // Two of them are two readers' two answers (T19).
    if values.next().is_some() {
        return Err(missing("more than one `Authorization` header"));
    }
    let token = value.to_str().ok().and_then(bearer).ok_or_else(|| missing("not a bearer token"))?;
    door.service
        .identify
        .identify(token)
        .map_err(|why| invalid(format!("the token is refused: {}", echo(&why))))
}

/// The token of `Bearer <b64token>` (RFC 6750 section 2.1); the scheme's case does not matter.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let fits =
        |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=');
    let ok = scheme.eq_ignore_ascii_case("bearer")
        && !token.is_empty()
        && token.len() <= MAX_TOKEN_LEN
        && token.bytes().all(fits);
    ok.then_some(token)
}

fn permit(door: &Door, who: Who, identity: Identity) -> Result<Caller, Problem> {
    let registry = &door.service.gate.controls.registry;
    let forbidden = |rule, detail: String, next| Err(Problem::new(StatusCode::FORBIDDEN, rule, detail, next));
    match who {
        Who::Proposer | Who::Approver => Ok(Caller(identity)),
        Who::Anyone | Who::Reader | Who::Person if !registered(registry, &identity) => forbidden(
            "not-registered",
            "the token is good, but the registry does not have its owner in this role".to_owned(),
            "be registered first",
        ),
        Who::Anyone | Who::Reader => Ok(Caller(identity)),
        Who::Person => match identity {
            Identity::Person { .. } => Ok(Caller(identity)),
            Identity::Agent { phase, .. } => forbidden("people-only", people_only(phase), "ask a person"),
        },
    }
}

fn people_only(phase: Phase) -> String {
    format!("this is for people, the token is an agent's for phase `{phase}`")
}

/// Whether the registry still knows whom the token names: a token lives longer than a role may.
fn registered(registry: &Registry, identity: &Identity) -> bool {
    match identity {
        Identity::Agent { agent, phase } => {
            registry.agent(agent).is_some_and(|agent| agent.phases.contains(phase))
        }
        Identity::Person { person } => registry.person(person).is_some(),
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Problem::internal(&"a handler wants a caller that its row does not ask for"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t19_a_bearer_token_has_one_spelling() {
        assert_eq!(bearer("Bearer a.b-c_~+/="), Some("a.b-c_~+/="));
        assert_eq!(bearer("bearer abc"), Some("abc"));
        let long = format!("Bearer {}", "a".repeat(MAX_TOKEN_LEN + 1));
        for bad in
            ["", "Bearer", "Bearer ", "Bearer  a", "Bearer a b", "Bearer a,b", "Basic YTpi", "a", &long]
        {
            assert_eq!(bearer(bad), None, "{bad}");
        }
    }
}
