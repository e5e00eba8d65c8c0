//! Where sources outside tell of incidents: the webhook of an Alertmanager, version 4.
//!
//! It stands beside the API's table, for the sender is no caller of the API: it has one token for one path, sends a format that is not
//! ours, and is answered nothing but the incident's id. Everything in its body is text of whoever can write an alert. Requests pass the
//! same door as all others (names, browsers, time), then the token, and only then is a body read.

mod alertmanager;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode, header},
    routing::post,
};
use holdpoint_app::incidents::{self, Notice};
use holdpoint_domain::{Id, id::kind};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::{
    config::Source,
    http::{JSON, Problem, bearer, receive_as, received},
    service::Service,
};

/// Largest body: a group of a thousand alerts with annotations.
const MAX_BODY: usize = 1024 * 1024;
/// How long a body may take to come.
const BODY: Duration = Duration::from_secs(5);
/// Requests of one source at work at once: bounds the memory, and none takes the places of another.
const PLACES: usize = 2;

/// What handlers share.
struct Inlet {
    service: Arc<Service>,
    sources: BTreeMap<Id<kind::Source>, Teller>,
}

/// A source, and its places.
struct Teller {
    source: Source,
    places: Semaphore,
}

/// The routes of these sources; none where there are none.
pub(crate) fn routes(service: &Arc<Service>, sources: BTreeMap<Id<kind::Source>, Source>) -> Router {
    if sources.is_empty() {
        return Router::new();
    }
    let teller = |(id, source)| (id, Teller { source, places: Semaphore::new(PLACES) });
    let sources = sources.into_iter().map(teller).collect();
    let inlet = Inlet { service: Arc::clone(service), sources };
    Router::new().route("/incidents/alertmanager/{source}", post(take)).with_state(Arc::new(inlet))
}

async fn take(
    State(inlet): State<Arc<Inlet>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let (id, teller) = known(&inlet, &name, request.headers()).inspect_err(|problem| {
        // Strangers are counted, and written down once a minute.
        if let Ok(rule) = Id::parse(problem.rule()) {
            inlet.service.strangers.count(&rule);
        }
    })?;
    let _place = teller.places.try_acquire().map_err(|_| {
        let detail = "too many requests are under way";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too-busy", detail, "try again in a moment")
    })?;
    let notice = read(request, &teller.source).await;
    let gate = inlet.service.gate();
    let notice = match notice {
        Ok(notice) => notice,
        // What got lost on its way is sent again after an answer of this kind.
        Err(problem) if matches!(problem.rule(), "body-too-slow" | "body-broken") => {
            let (detail, next) = ("the body did not come whole", "send it again");
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "body-lost", detail, next));
        }
        Err(problem) => {
            // An Alertmanager does not repeat what was refused. Where this cannot be recorded, that is the answer: then it does.
            incidents::hear_unread(&gate, id, problem.rule()).await?;
            return Err(problem);
        }
    };
    let heard = incidents::hear(&gate, id, &notice).await?;
    Ok(Json(json!({"incident": heard.incident, "recorded": heard.index.is_some()})))
}

/// What a request says.
async fn read(request: Request, source: &Source) -> Result<Notice, Problem> {
    let request = receive_as(request, BODY, MAX_BODY, &[JSON]).await?;
    let (mut parts, _) = request.into_parts();
    let body = received(&mut parts).unwrap_or_default();
    alertmanager::read(&body, &source.service_labels)
}

/// The source that shows its token. Whether there is a source of this name, only its token tells.
fn known<'a>(
    inlet: &'a Inlet,
    name: &str,
    headers: &HeaderMap,
) -> Result<(&'a Id<kind::Source>, &'a Teller), Problem> {
    let refused = |rule, detail: &str| {
        Problem::unauthenticated("Bearer realm=\"holdpoint-incidents\"", rule, detail.to_owned())
    };
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(refused("unauthenticated", "expected one `Authorization` header"));
    };
    let token = value.to_str().ok().and_then(bearer);
    let token = token.ok_or_else(|| refused("unauthenticated", "not a bearer token"))?;
    let source = Id::parse(name).ok().and_then(|id| inlet.sources.get_key_value(&id));
    let source = source.filter(|(_, teller)| teller.source.token.is(token));
    source.ok_or_else(|| refused("invalid-token", "the token is not that of a source of this name"))
}
