//! The caller: who a request comes from, and whether the endpoint's row lets them in.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use holdpoint_adapters::tls::Peer;
use holdpoint_app::{delegate, gate::Gate};
use holdpoint_domain::{
    Id, Timestamp,
    actor::{Identity, Party, Phase},
    agent::Registry,
    decision::Verdict,
    id::kind,
};

use super::{
    body,
    door::{Door, Place},
    idempotency,
    problem::{Problem, Refused, echo},
};
use crate::service::Identified;

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
    /// An agent in phase `decide`, or a person. As with [`Self::Proposer`], the use case refuses others, on record.
    Delegator,
    /// A person. As with [`Self::Proposer`], the use case refuses others, on record.
    Approver,
    /// A person whom policy lets read the whole ledger.
    Auditor,
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

/// Who asks for something to be done: the caller, and whom it acts for. Only [`admit`] puts one into a request.
#[derive(Debug, Clone)]
pub(super) struct Asker(pub(super) Party);

/// The header with the token that says whom an agent acts for.
pub(crate) const DELEGATION: &str = "holdpoint-delegation";

/// An endpoint's row, as its guard needs it.
#[derive(Clone)]
pub(super) struct Guard {
    pub(super) door: Arc<Door>,
    pub(super) who: Who,
    pub(super) max_body: usize,
}

/// Lets a request through to its handler, or not. It has its place until the answer begins.
///
/// What answers a repeated request without doing it again ([`idempotency`]) stands between [`prepare`] and the handler: the
/// caller and the whole body are known there, and nothing has happened yet.
pub(super) async fn admit(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let door = &guard.door;
    let (request, place) = match prepare(&guard, request).await {
        Ok(prepared) => prepared,
        Err(problem) => {
            if STRANGE.contains(&problem.rule()) {
                count(door, problem.rule());
            }
            return problem.into_response();
        }
    };
    let caller = request.extensions().get::<Caller>().cloned();
    let Some(caller) = caller.filter(|_| !request.method().is_safe()) else {
        return next.run(request).await;
    };
    if !is_known(&door.service.gate().controls.registry, &caller.0) {
        // A stranger with a good token: nothing of theirs is written down but that there was one.
        let response = next.run(request).await;
        if let Some(Refused(rule)) = response.extensions().get::<Refused>() {
            count(door, rule);
        }
        return response;
    }
    idempotency::once(door, &caller.0, request, place, next).await
}

/// Rules that turn away whoever the gate does not know, before any handler.
const STRANGE: [&str; 5] =
    ["unauthenticated", "invalid-token", "invalid-certificate", "certificate-required", "not-registered"];

/// Counts a request of nobody that the gate knows; the clockwork writes the counts down.
fn count(door: &Door, rule: &'static str) {
    match Id::parse(rule) {
        Ok(rule) => door.service.strangers.count(&rule),
        Err(err) => tracing::error!("a refusal was not counted: {err}"),
    }
}

/// Whether the registry has them at all, in whatever role.
fn is_known(registry: &Registry, identity: &Identity) -> bool {
    match identity {
        Identity::Agent { agent, .. } => registry.agent(agent).is_some(),
        Identity::Person { person } => registry.person(person).is_some(),
    }
}

/// In this order: whose it is (nobody's body is looked at before), all of its body, a place.
async fn prepare(guard: &Guard, mut request: Request) -> Result<(Request, Place), Problem> {
    let Guard { door, who, max_body } = guard;
    let (mut caller, mut asker) = (None, None);
    if *who != Who::Anyone {
        let identified = identify(door, &request)?;
        caller = Some(permit(door, *who, identified.identity.clone())?);
        if matches!(who, Who::Proposer | Who::Delegator) {
            asker = Some(acting(door, identified, request.headers()).await?);
        }
    }
    if !request.method().is_safe() {
        request = body::receive(request, door.limits().body, *max_body).await?;
    }
    let place = door.place(caller.as_ref().map(|caller| &caller.0))?;
    let extensions = request.extensions_mut();
    extensions.insert(place.clone());
    if let Some(caller) = caller {
        extensions.insert(caller);
    }
    if let Some(asker) = asker {
        extensions.insert(asker);
    }
    Ok((request, place))
}

/// Who is calling: by the certificate of its connection, by its token, or by both, which must then name the same.
fn identify(door: &Door, request: &Request) -> Result<Identified, Problem> {
    let Some(peer) = request.extensions().get::<Peer>() else {
        let identified = by_token(door, request.headers())?;
        if door.agents_need_certificates() && matches!(identified.identity, Identity::Agent { .. }) {
            let detail = "agents are known by their certificates here: ask at the door for workloads";
            return Err(Problem::unauthenticated(INVALID, "certificate-required", detail.to_owned()));
        }
        return Ok(identified);
    };
    let refused = |detail: String| Problem::unauthenticated(INVALID, "invalid-certificate", detail);
    if door.service.gate().ports.clock.now() >= peer.until {
        return Err(refused(
            "the certificate of this connection has ended: connect with the new one".to_owned(),
        ));
    }
    let known = door.service.identify.workload(&peer.id.to_string());
    let known = known.map_err(|why| refused(format!("the certificate names nobody here: {}", echo(&why))))?;
    // Whoever issues certificates to workloads must not make people of them.
    if matches!(known.identity, Identity::Person { .. }) {
        return Err(refused("the certificate names a person: this door is for workloads".to_owned()));
    }
    if !request.headers().contains_key(header::AUTHORIZATION) {
        return Ok(known);
    }
    let token = by_token(door, request.headers())?;
    let other_id = token
        .selectors
        .iter()
        .any(|selector| selector.strip_prefix("spiffe_id:").is_some_and(|id| id != peer.id.to_string()));
    // What is known of the workload is what its certificate says: a token brings nothing along.
    if token.identity == known.identity && !other_id {
        return Ok(known);
    }
    // A token that somebody else's workload shows was stolen, or is in the wrong hands.
    let detail = format!(
        "the token names somebody else than `{}`, whom the certificate of this connection proves",
        peer.id
    );
    Err(Problem::unauthenticated(INVALID, "invalid-token", detail))
}

/// The challenge to whoever showed something that does not hold.
const INVALID: &str = "Bearer realm=\"holdpoint\", error=\"invalid_token\"";

fn by_token(door: &Door, headers: &HeaderMap) -> Result<Identified, Problem> {
    let missing = |detail: &str| {
        Problem::unauthenticated("Bearer realm=\"holdpoint\"", "unauthenticated", detail.to_owned())
    };
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or_else(|| missing("no `Authorization` header"))?;
    // Two of them are two readers' two answers (T19).
    if values.next().is_some() {
        return Err(missing("more than one `Authorization` header"));
    }
    let token = value.to_str().ok().and_then(bearer).ok_or_else(|| missing("not a bearer token"))?;
    let refused = |why: String| {
        Problem::unauthenticated(INVALID, "invalid-token", format!("the token is refused: {}", echo(&why)))
    };
    door.service.identify.identify(token).map_err(refused)
}

/// Whom the caller acts for, by the token that it brought beside its identity.
async fn acting(door: &Door, identified: Identified, headers: &HeaderMap) -> Result<Asker, Problem> {
    let Identified { identity, selectors } = identified;
    let mut party = Party { selectors: selectors.as_ref().clone(), ..Party::from(identity) };
    let mut values = headers.get_all(DELEGATION).iter();
    if let Some(value) = values.next() {
        let next = "send the token of one delegation, in one header, beside the agent's identity";
        let malformed = |detail: &str| Problem::malformed("bad-delegation", detail.to_owned(), next);
        if values.next().is_some() {
            return Err(malformed("expected one `Holdpoint-Delegation` header, got more"));
        }
        let token = value.to_str().map_err(|_| malformed("expected a token of visible ASCII characters"))?;
        party.delegation = Some(delegate::brought(&door.service.gate(), &party.identity, token).await?);
    }
    Ok(Asker(party))
}

/// The token of `Bearer <b64token>` (RFC 6750 section 2.1); the scheme's case does not matter.
pub(crate) fn bearer(value: &str) -> Option<&str> {
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
    let gate = door.service.gate();
    let registry = &gate.controls.registry;
    let forbidden = |rule, detail: String, next| Err(Problem::new(StatusCode::FORBIDDEN, rule, detail, next));
    match who {
        Who::Proposer | Who::Delegator | Who::Approver => Ok(Caller(identity)),
        Who::Anyone | Who::Reader | Who::Person | Who::Auditor
            if !registered(registry, &identity, gate.ports.clock.now()) =>
        {
            forbidden(
                "not-registered",
                "the token is good, but the registry does not have its owner in this role".to_owned(),
                "be registered first",
            )
        }
        Who::Anyone | Who::Reader => Ok(Caller(identity)),
        Who::Person | Who::Auditor => match identity {
            Identity::Agent { phase, .. } => forbidden("people-only", people_only(phase), "ask a person"),
            Identity::Person { ref person } => {
                if who == Who::Auditor {
                    may_read(&gate, person)?;
                }
                Ok(Caller(identity))
            }
        },
    }
}

/// Whether policy lets a person read the ledger. An error of the policy is a no.
fn may_read(gate: &Gate, person: &Id<kind::Person>) -> Result<(), Problem> {
    let answer = gate.controls.registry.person(person).map(|person| gate.ports.judge.may_read(person));
    let fact = match answer {
        Some(Verdict::Allow { .. }) => return Ok(()),
        Some(Verdict::Deny { rules }) if !rules.is_empty() => {
            format!("the policy forbids `{person}` to read the ledger: {}", named(&rules))
        }
        Some(Verdict::Deny { .. }) | None => format!("no rule of the policy lets `{person}` read the ledger"),
        Some(Verdict::Error { rules }) => format!("the policy could not be evaluated: {}", named(&rules)),
    };
    let next = "ask an administrator for a rule that permits `Action::\"read-ledger\"`";
    Err(Problem::new(StatusCode::FORBIDDEN, "may-not-read-the-ledger", fact, next))
}

/// Rules, as a fact names them.
pub(crate) fn named(rules: &[Id<kind::Rule>]) -> String {
    let rules: Vec<_> = rules.iter().map(|rule| format!("rule `{rule}`")).collect();
    rules.join(", ")
}

fn people_only(phase: Phase) -> String {
    format!("this is for people, the token is an agent's for phase `{phase}`")
}

/// Whether the registry still knows whom the token names: a token lives longer than a role may.
fn registered(registry: &Registry, identity: &Identity, now: Timestamp) -> bool {
    match identity {
        Identity::Agent { agent, phase } => {
            registry.agent_at(agent, now).is_some_and(|agent| agent.phases.contains(phase))
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

impl<S: Sync> FromRequestParts<S> for Asker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let asker = parts.extensions.get::<Self>().cloned();
        asker.ok_or_else(|| Problem::internal(&"a handler wants an asker that its row does not ask for"))
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
