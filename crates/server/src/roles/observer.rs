//! The observer: measures and looks, by its own copy of catalogue and inventory, and signs what it measured.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    routing::post,
};
use holdpoint_adapters::{
    executor::Dispatch,
    probe::WorldProber,
    remote::wire,
    system::{Ed25519Key, KeyUse, Seed, SystemClock},
    tls::SpiffeId,
};
use holdpoint_app::port::{Clock, Observer as _, Prober as _};
use holdpoint_domain::{
    Digest, Id,
    action::Catalogue,
    id::kind,
    signature::Purpose,
    target::Inventory,
    trigger::{Evidence, SignedEvidence, Subject},
};

use serde::Serialize;

use super::door::{Body, Problem};
use crate::{
    cli::{CliError, failed},
    config::{RoleConfig, read_inventory, without_login},
    wiring,
};

struct Observer {
    catalogue: Arc<Catalogue>,
    inventory: Inventory,
    dispatch: Dispatch,
    prober: WorldProber,
    key: Ed25519Key,
    clock: Arc<dyn Clock>,
}

/// The door of an observer.
pub(super) fn router(config: &RoleConfig, gate: &SpiffeId) -> Result<Router, CliError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let seed = Seed::load(&KeyUse::Evidence.path(&config.keys_dir())).map_err(failed)?;
    let catalogue = super::catalogue(config)?;
    let inventory = config.inventory.as_ref().map(|path| read_inventory(&config.base.join(path)));
    let inventory =
        inventory.transpose()?.ok_or_else(|| CliError::Failed("there is no inventory".to_owned()))?;
    let eyes = wiring::Eyes::open(config)?;
    let prober = WorldProber::new(Arc::clone(&clock), Some(eyes.units.clone())).map_err(failed)?;
    let prober = prober.with_logins(eyes.logins.clone());
    for gap in without_login(&inventory, &eyes.logins) {
        tracing::warn!("{gap}");
    }
    let observer = Observer {
        dispatch: eyes.dispatch(&catalogue),
        catalogue,
        inventory,
        prober,
        key: Ed25519Key::from_seed("evidence", &seed).map_err(failed)?,
        clock,
    };
    let router = Router::new()
        .route("/v1/measure", post(measure))
        .route("/v1/observe", post(observe))
        .layer(DefaultBodyLimit::max(wire::MAX_BODY))
        .with_state(Arc::new(observer));
    Ok(super::only(router, gate))
}

impl Observer {
    /// An answer, signed for the question that it is to.
    fn answered<A: Serialize, T: Serialize>(
        &self,
        ask: &A,
        answer: T,
    ) -> Result<Json<wire::Answered<T>>, Problem> {
        let bytes = wire::answer_bytes(ask, &answer).map_err(|err| Problem::failed(err.to_string()))?;
        let signature = self.key.sign(&Purpose::Observation.signing_bytes(&bytes));
        Ok(Json(wire::Answered { answer, signature }))
    }

    /// The target of one's own inventory: an address that only the gate names is not asked.
    fn subject(&self, id: &Id<kind::Target>, place: &Digest) -> Result<Subject<'_>, Problem> {
        let (target, service) = self
            .inventory
            .target(id)
            .ok_or_else(|| other(format!("target `{id}` is not in the inventory here")))?;
        let own = Digest::of(target).map_err(|err| Problem::failed(err.to_string()))?;
        if own == *place {
            Ok(Subject { target, service })
        } else {
            Err(other(format!("target `{id}` has another entry in the inventory here")))
        }
    }
}

fn other(detail: String) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "other-inputs", detail)
}

async fn measure(
    State(observer): State<Arc<Observer>>,
    Body(ask): Body<wire::Measure>,
) -> Result<Json<wire::Answered<SignedEvidence>>, Problem> {
    let subject = observer.subject(&ask.target, &ask.place)?;
    let condition = observer.catalogue.condition(&ask.condition);
    let condition = condition
        .ok_or_else(|| other(format!("condition `{}` is not in the catalogue here", ask.condition)))?;
    if Digest::of(condition).map_err(|err| Problem::failed(err.to_string()))? != ask.entry {
        return Err(other(format!("condition `{}` has another entry in the catalogue here", ask.condition)));
    }
    let readings = observer.prober.measure(condition, subject).await;
    let evidence = Evidence::new(condition, subject.target.id.clone(), readings, observer.clock.now());
    let bytes = evidence.bytes().map_err(|err| Problem::failed(err.to_string()))?;
    let signature = observer.key.sign(&Purpose::Evidence.signing_bytes(&bytes));
    observer.answered(&ask, SignedEvidence { evidence, signature })
}

async fn observe(
    State(observer): State<Arc<Observer>>,
    Body(ask): Body<wire::Observe>,
) -> Result<Json<wire::Answered<wire::Seen>>, Problem> {
    let target = observer.subject(&ask.target, &ask.place)?.target;
    let action = observer.catalogue.action(&ask.action);
    let action =
        action.ok_or_else(|| other(format!("action `{}` is not in the catalogue here", ask.action)))?;
    if action.digest().map_err(|err| Problem::failed(err.to_string()))? != ask.entry {
        return Err(other(format!("action `{}` has another entry in the catalogue here", ask.action)));
    }
    match observer.dispatch.observe(action, target).await {
        Ok(seen) => observer.answered(&ask, wire::Seen::from(seen)),
        Err(err) => Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "unobservable", err.to_string())),
    }
}
