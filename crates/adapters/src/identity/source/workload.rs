//! The Workload API of a SPIFFE implementation, as a source of keys.

use futures_util::StreamExt as _;
use holdpoint_domain::actor::TrustDomain;
use serde_json::value::RawValue;
use spiffe::{JwtBundle, JwtBundleSet, WorkloadApiClient, WorkloadApiError, transport::Endpoint};

use super::SourceError;
use crate::identity::jwks::{Bundle, Uses};

/// Why a Workload API brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// Not an endpoint.
    #[error("expected an endpoint as `unix:///path/of/a/socket`")]
    Endpoint,
    /// It does not answer, or refuses us.
    #[error("the Workload API does not answer")]
    Api(#[source] Box<WorkloadApiError>),
    /// It ended the stream.
    #[error("the Workload API ended the stream of bundles")]
    Ended,
    /// Its answer has no canonical form.
    #[error("the Workload API sent a key that is no JSON")]
    Garbage,
}

/// Whether this is an endpoint on this machine: over a network nobody would know who answers.
pub(super) fn check(endpoint: &str) -> Result<(), WorkloadError> {
    match Endpoint::parse(endpoint) {
        Ok(Endpoint::Unix(path)) if path.is_absolute() => Ok(()),
        Ok(_) | Err(_) => Err(WorkloadError::Endpoint),
    }
}

/// A JWT-SVID of the process that asks, for one audience: what an agent shows at the gate's door.
pub async fn fetch_token(endpoint: &str, audience: &str) -> Result<String, WorkloadError> {
    check(endpoint)?;
    let failed = |err| WorkloadError::Api(Box::new(err));
    let client = WorkloadApiClient::connect_to(endpoint).await.map_err(failed)?;
    let svid = client.fetch_jwt_svid([audience], None).await.map_err(failed)?;
    Ok(svid.token().to_owned())
}

/// Hands over every bundle of `domain` that is streamed, until the stream ends.
pub(super) async fn follow(
    endpoint: &str,
    domain: &TrustDomain,
    heard: &mut (dyn FnMut(Result<Bundle, SourceError>) + Send),
) -> WorkloadError {
    let failed = |err| WorkloadError::Api(Box::new(err));
    if let Err(err) = check(endpoint) {
        return err;
    }
    let client = match WorkloadApiClient::connect_to(endpoint).await {
        Ok(client) => client,
        Err(err) => return failed(err),
    };
    let mut bundles = match client.stream_jwt_bundles().await {
        Ok(bundles) => bundles,
        Err(err) => return failed(err),
    };
    while let Some(set) = bundles.next().await {
        match set {
            Ok(set) => heard(of_domain(&set, domain)),
            Err(err) => return failed(err),
        }
    }
    WorkloadError::Ended
}

/// The bundle of one domain. A domain that is not there any more has no keys any more: what is streamed is the whole state.
fn of_domain(set: &JwtBundleSet, domain: &TrustDomain) -> Result<Bundle, SourceError> {
    let name = spiffe::TrustDomain::new(domain.as_str()).map_err(|_| WorkloadError::Endpoint)?;
    let keys = match set.get_ref(&name) {
        Some(bundle) => raw_keys(bundle)?,
        None => Vec::new(),
    };
    let text = serde_json::json!({ "keys": keys }).to_string();
    Ok(Bundle::parse(&text, Uses::Any)?)
}

fn raw_keys(bundle: &JwtBundle) -> Result<Vec<&RawValue>, WorkloadError> {
    let mut authorities: Vec<_> = bundle.jwt_authorities().collect();
    // In the order of their ids: the same keys have the same digest.
    authorities.sort_by(|one, other| one.key_id().cmp(other.key_id()));
    let raw = authorities.into_iter().map(|authority| serde_json::from_slice(authority.jwk_json()));
    raw.collect::<Result<_, _>>().map_err(|_| WorkloadError::Garbage)
}
