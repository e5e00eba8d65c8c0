//! Permits and leases for executors, enforcement points and targets that are not ours: the keys, and whether one is good now.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use holdpoint_app::introspect;
use holdpoint_domain::{permit::PERMIT_TYP, signature::PublicKey};

use super::{body, door::Door, problem::Problem, wire};

/// The content type of RFC 7517, section 8.5.
const JWK_SET: &str = "application/jwk-set+json";

/// `GET /.well-known/jwks.json`: the keys that permits, delegations and bearer leases are checked with (RFC 7517, RFC 8037).
pub(super) async fn jwks(State(door): State<Arc<Door>>) -> Result<Response, Problem> {
    let gate = door.service.gate();
    let permits = gate.permit_keys();
    let set = wire::JwkSet {
        keys: std::iter::once(permits.current())
            .chain(permits.retired().iter().map(|retired| &retired.key))
            .map(|key| jwk(key, "holdpoint:permits"))
            .chain([jwk(&gate.ports.delegation_key.public_key(), "holdpoint:delegations")])
            .chain(gate.settings.lease_key.iter().map(|key| jwk(key, "holdpoint:leases")))
            .collect(),
    };
    let text = serde_json::to_string(&set).map_err(|err| Problem::internal(&err))?;
    Ok(([(header::CONTENT_TYPE, JWK_SET)], text).into_response())
}

fn jwk(key: &PublicKey, purpose: &str) -> wire::Jwk {
    wire::Jwk {
        kty: "OKP".to_owned(),
        crv: "Ed25519".to_owned(),
        alg: "EdDSA".to_owned(),
        r#use: "sig".to_owned(),
        kid: key.thumbprint().to_string(),
        x: key.x(),
        purpose: purpose.to_owned(),
    }
}

/// `POST /v1/introspection` (RFC 7662, with a JSON body): whether a permit, what was passed on of it, or a bearer lease is good now.
pub(super) async fn introspect(
    State(door): State<Arc<Door>>,
    body::Json(asked): body::Json<wire::NewIntrospection>,
) -> Result<Json<wire::Introspection>, Problem> {
    let gate = door.service.gate();
    let active = introspect::introspect(&gate, &asked.token, asked.executor.as_ref()).await?;
    let Some(active) = active else {
        let lease = introspect::lease(&gate, &asked.token).await?.map(wire::ActiveLease::of);
        return Ok(Json(wire::Introspection { active: lease.is_some(), lease, permit: None }));
    };
    let seconds = |ms: u64| ms.div_euclid(1000);
    Ok(Json(wire::Introspection {
        active: true,
        lease: None,
        permit: Some(wire::ActivePermit {
            token_type: PERMIT_TYP.to_owned(),
            iss: gate.settings.naming.issuer.clone(),
            jti: active.permit,
            iat: seconds(active.granted_at.ms()),
            exp: seconds(active.undo_until.ms()),
            cnf: wire::Confirmation { jkt: active.key.to_string() },
            executor: active.executor,
            plan_id: active.plan_id,
            plan: active.plan,
            state: active.state,
            epoch: active.epoch,
            steps: active.steps,
            good_for: match active.good_for {
                introspect::GoodFor::Apply => wire::GoodFor::Apply,
                introspect::GoodFor::Undo => wire::GoodFor::Undo,
            },
            start_before_ms: active.start_before,
            undo_until_ms: active.undo_until,
        }),
    }))
}
