//! The five calls of the Workload API. Each asks anew who is calling.

use std::{collections::HashMap, convert::Infallible, future::Future, pin::Pin, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::{Stream, stream};
use holdpoint_app::port::Clock;
use holdpoint_domain::{
    Millis,
    actor::{Identity, TrustDomain},
};
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::{Context, Poll, Service, http},
    metadata::MetadataMap,
    server::{Grpc, ServerStreamingService, UnaryService},
};
use tonic_prost::ProstCodec;

use super::{
    Registration,
    attest::Peer,
    authority::{Authority, SVID_LIFE},
    messages::{
        Empty, JwtBundlesResponse, JwtSvid, JwtSvidRequest, JwtSvidResponse, Struct, ValidateJwtSvidRequest,
        ValidateJwtSvidResponse, X509BundlesResponse, X509Svid, X509SvidResponse,
    },
};
use crate::identity::{issuer::DevIssuer, json::object, jwks::Jwks, verifier::Verifier};

/// How long a JWT-SVID is good.
const JWT_LIFE: Millis = Millis::secs(300);
/// The metadata that every call must have, so that no page in a browser can be made to call.
const HEADER: &str = "workload.spiffe.io";

/// What all sockets share.
pub(super) struct Shared {
    pub(super) issuer: DevIssuer,
    pub(super) authority: Authority,
    pub(super) keys: Jwks,
    pub(super) domain: TrustDomain,
    pub(super) clock: Arc<dyn Clock>,
}

/// The service behind one socket.
#[derive(Clone)]
pub(super) struct Api {
    pub(super) shared: Arc<Shared>,
    pub(super) registered: Arc<Vec<Registration>>,
}

/// A caller whose identity is known.
struct Caller {
    identity: Identity,
    spiffe_id: String,
}

type Streamed<M> = Pin<Box<dyn Stream<Item = Result<M, Status>> + Send>>;

impl Api {
    /// Who is calling: the process at the other end, its program as it is now, and what is registered for both.
    async fn caller(&self, metadata: &MetadataMap, peer: Option<Peer>) -> Result<Caller, Status> {
        let mut values = metadata.get_all(HEADER).iter();
        if values.next().map(|value| value.as_bytes()) != Some(b"true") || values.next().is_some() {
            return Err(Status::invalid_argument("expected the metadata `workload.spiffe.io: true`"));
        }
        let nobody =
            || Status::permission_denied("no identity is registered for this process on this socket");
        let peer = peer.ok_or_else(nobody)?;
        let uid = peer.uid;
        let program = tokio::task::spawn_blocking(move || peer.program()).await.map_err(|_| nobody())?;
        let program = program.map_err(|err| {
            tracing::warn!(uid, "workload API: a process of user {uid} is refused: {err}");
            nobody()
        })?;
        let found = self.registered.iter().find(|entry| entry.uid == uid && entry.program == program);
        let identity = found.map(|entry| entry.identity.clone()).ok_or_else(|| {
            tracing::warn!(uid, %program, "workload API: user {uid} with program {program} is not registered");
            nobody()
        })?;
        let spiffe_id = identity.spiffe_id(&self.shared.domain);
        Ok(Caller { identity, spiffe_id })
    }

    async fn called<R>(&self, request: &Request<R>) -> Result<Caller, Status> {
        self.caller(request.metadata(), request.extensions().get::<Peer>().cloned()).await
    }

    fn domain_id(&self) -> String {
        format!("spiffe://{}", self.shared.domain.as_str())
    }

    async fn fetch_jwt_svid(
        self,
        request: Request<JwtSvidRequest>,
    ) -> Result<Response<JwtSvidResponse>, Status> {
        let Caller { identity, spiffe_id } = self.called(&request).await?;
        let asked = request.into_inner();
        let [audience] = asked.audience.as_slice() else {
            return Err(Status::invalid_argument(
                "expected exactly one audience: two could use each other's token",
            ));
        };
        if !asked.spiffe_id.is_empty() && asked.spiffe_id != spiffe_id {
            return Err(Status::permission_denied("this process is not registered for that SPIFFE id"));
        }
        let svid = self.shared.issuer.issue(&identity, audience, JWT_LIFE, self.shared.clock.now());
        let svid = svid.map_err(|err| Status::invalid_argument(err.to_string()))?;
        Ok(Response::new(JwtSvidResponse { svids: vec![JwtSvid { spiffe_id, svid }] }))
    }

    async fn validate_jwt_svid(
        self,
        request: Request<ValidateJwtSvidRequest>,
    ) -> Result<Response<ValidateJwtSvidResponse>, Status> {
        self.called(&request).await?;
        let ValidateJwtSvidRequest { audience, svid } = request.into_inner();
        let Shared { keys, domain, clock, .. } = &*self.shared;
        let refused = |why: String| Status::invalid_argument(why);
        if audience.is_empty() {
            return Err(refused("expected an audience".to_owned()));
        }
        let verifier = Verifier::new(keys.clone(), domain.clone(), audience);
        let verified = verifier.verify(&svid, clock.now()).map_err(|err| refused(err.to_string()))?;
        // Verified a line ago; the claims are read once more because nobody else wants all of them.
        let claims = svid.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
        let claims = claims.and_then(|bytes| object(&bytes));
        Ok(Response::new(ValidateJwtSvidResponse {
            spiffe_id: verified.identity().spiffe_id(domain),
            claims: claims.as_ref().map(Struct::from),
        }))
    }

    async fn fetch_jwt_bundles(
        self,
        request: Request<Empty>,
    ) -> Result<Response<Streamed<JwtBundlesResponse>>, Status> {
        self.called(&request).await?;
        let bundles = HashMap::from([(self.domain_id(), self.shared.issuer.jwks().into_bytes())]);
        Ok(Response::new(once_and_wait(JwtBundlesResponse { bundles })))
    }

    async fn fetch_x509_bundles(
        self,
        request: Request<Empty>,
    ) -> Result<Response<Streamed<X509BundlesResponse>>, Status> {
        self.called(&request).await?;
        let bundles = HashMap::from([(self.domain_id(), self.shared.authority.certificate())]);
        Ok(Response::new(once_and_wait(X509BundlesResponse { bundles })))
    }

    /// A certificate now, and another one whenever half of its life is over, as long as the process is who it was.
    async fn fetch_x509_svid(
        self,
        request: Request<Empty>,
    ) -> Result<Response<Streamed<X509SvidResponse>>, Status> {
        let first = self.called(&request).await?;
        let half = Duration::from_millis(SVID_LIFE.ms().div_euclid(2));
        let (metadata, peer, _) = request.into_parts();
        let peer = peer.get::<Peer>().cloned();
        let svids = stream::unfold(Some((self, first, Duration::ZERO)), move |state| {
            let (metadata, peer) = (metadata.clone(), peer.clone());
            async move {
                let (api, caller, pause) = state?;
                tokio::time::sleep(pause).await;
                let again = if pause.is_zero() { Ok(caller) } else { api.caller(&metadata, peer).await };
                match again.and_then(|caller| Ok((api.x509_svid(&caller)?, caller))) {
                    Ok((svid, caller)) => Some((Ok(svid), Some((api, caller, half)))),
                    Err(status) => Some((Err(status), None)),
                }
            }
        });
        Ok(Response::new(Box::pin(svids)))
    }

    fn x509_svid(&self, caller: &Caller) -> Result<X509SvidResponse, Status> {
        let Shared { authority, clock, .. } = &*self.shared;
        let issued = authority.issue(&caller.identity, clock.now());
        let issued = issued.map_err(|err| Status::internal(err.to_string()))?;
        let svid = X509Svid {
            spiffe_id: caller.spiffe_id.clone(),
            x509_svid: issued.certificate,
            x509_svid_key: issued.key,
            bundle: authority.certificate(),
        };
        Ok(X509SvidResponse { svids: vec![svid] })
    }
}

/// What does not change as long as we run; the stream stays open, as clients expect it.
fn once_and_wait<M: Send + 'static>(message: M) -> Streamed<M> {
    use futures_util::StreamExt as _;
    Box::pin(stream::once(async { Ok(message) }).chain(stream::pending()))
}

impl Service<http::Request<Body>> for Api {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let api = self.clone();
        Box::pin(async move {
            let method =
                request.uri().path().strip_prefix("/SpiffeWorkloadAPI/").unwrap_or_default().to_owned();
            Ok(match method.as_str() {
                "FetchJWTSVID" => unary(|it| api.clone().fetch_jwt_svid(it), request).await,
                "ValidateJWTSVID" => unary(|it| api.clone().validate_jwt_svid(it), request).await,
                "FetchJWTBundles" => streaming(|it| api.clone().fetch_jwt_bundles(it), request).await,
                "FetchX509SVID" => streaming(|it| api.clone().fetch_x509_svid(it), request).await,
                "FetchX509Bundles" => streaming(|it| api.clone().fetch_x509_bundles(it), request).await,
                _ => Status::unimplemented("no such call").into_http(),
            })
        })
    }
}

/// A function as a call of gRPC.
struct Call<F>(F);

impl<R, M, F, Fut> UnaryService<R> for Call<F>
where
    F: FnMut(Request<R>) -> Fut,
    Fut: Future<Output = Result<Response<M>, Status>>,
{
    type Response = M;
    type Future = Fut;

    fn call(&mut self, request: Request<R>) -> Fut {
        (self.0)(request)
    }
}

impl<R, M, F, Fut> ServerStreamingService<R> for Call<F>
where
    F: FnMut(Request<R>) -> Fut,
    Fut: Future<Output = Result<Response<Streamed<M>>, Status>>,
{
    type Response = M;
    type ResponseStream = Streamed<M>;
    type Future = Fut;

    fn call(&mut self, request: Request<R>) -> Fut {
        (self.0)(request)
    }
}

async fn unary<R, M, F, Fut>(call: F, request: http::Request<Body>) -> http::Response<Body>
where
    R: prost::Message + Default + 'static,
    M: prost::Message + 'static,
    F: FnMut(Request<R>) -> Fut,
    Fut: Future<Output = Result<Response<M>, Status>>,
{
    Grpc::new(ProstCodec::<M, R>::default()).unary(Call(call), request).await
}

async fn streaming<R, M, F, Fut>(call: F, request: http::Request<Body>) -> http::Response<Body>
where
    R: prost::Message + Default + 'static,
    M: prost::Message + 'static,
    F: FnMut(Request<R>) -> Fut,
    Fut: Future<Output = Result<Response<Streamed<M>>, Status>>,
{
    Grpc::new(ProstCodec::<M, R>::default()).server_streaming(Call(call), request).await
}
