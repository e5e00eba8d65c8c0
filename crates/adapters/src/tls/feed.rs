//! An X.509-SVID from a Workload API, such as a SPIRE agent's: streamed, and taken as it is renewed.

use std::{sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt as _};
use rustls::{
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};
use spiffe::{WorkloadApiClient, WorkloadApiError, X509Context, cert::Certificate, transport::Endpoint};

use super::live::{Fault, Loaded};

/// How long the first answer may take: an agent may have to attest us first.
const FIRST: Duration = Duration::from_secs(30);
/// The pause before a stream that ended is asked for again.
const PAUSE: Duration = Duration::from_secs(5);

/// Why a Workload API brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// Not an endpoint of this machine.
    #[error("expected an endpoint as `unix:///path/of/a/socket`")]
    Endpoint,
    /// It does not answer, or knows us not.
    #[error("it does not answer, or does not know this process")]
    Api(#[source] Box<WorkloadApiError>),
    /// No answer in time, or an answer without an identity.
    #[error("no identity within {} s", FIRST.as_secs())]
    Nothing,
    /// An answer that does not go together.
    #[error("what it brought is refused: {0}")]
    Unsound(String),
}

/// A Workload API that is followed.
pub(super) struct Feed {
    endpoint: String,
    provider: Arc<CryptoProvider>,
}

impl Feed {
    /// The first certificate of an endpoint, and whoever follows the next ones.
    pub(super) async fn open(
        endpoint: &str,
        provider: Arc<CryptoProvider>,
    ) -> Result<(Loaded, Self), FeedError> {
        match Endpoint::parse(endpoint) {
            Ok(Endpoint::Unix(path)) if path.is_absolute() => {}
            Ok(_) | Err(_) => return Err(FeedError::Endpoint),
        }
        let feed = Self { endpoint: endpoint.to_owned(), provider };
        let first = async { Box::pin(feed.stream().await?).next().await.ok_or(FeedError::Nothing)? };
        let first = tokio::time::timeout(FIRST, first).await.map_err(|_| FeedError::Nothing)??;
        Ok((first, feed))
    }

    /// Hands over every certificate that comes, for ever. What cannot be had leaves what came last, and is said.
    pub(super) async fn follow(self, taken: impl Fn(Loaded) + Send) {
        loop {
            let err = match self.stream().await {
                Ok(stream) => self.take(stream, &taken).await,
                Err(err) => err,
            };
            tracing::error!(
                "no certificates from {}, the last one goes on: {}",
                self.endpoint,
                crate::executor::chain(&err)
            );
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn take(
        &self,
        stream: impl Stream<Item = Result<Loaded, FeedError>> + Send,
        taken: &(impl Fn(Loaded) + Send),
    ) -> FeedError {
        let mut stream = Box::pin(stream);
        while let Some(next) = stream.next().await {
            match next {
                Ok(fresh) => taken(fresh),
                Err(err) => return err,
            }
        }
        FeedError::Nothing
    }

    async fn stream(
        &self,
    ) -> Result<impl Stream<Item = Result<Loaded, FeedError>> + Send + use<>, FeedError> {
        let failed = |err| FeedError::Api(Box::new(err));
        let client = WorkloadApiClient::connect_to(&self.endpoint).await.map_err(failed)?;
        let contexts = client.stream_x509_contexts().await.map_err(failed)?;
        let provider = Arc::clone(&self.provider);
        Ok(contexts.map(move |context| loaded(&context.map_err(failed)?, &provider)))
    }
}

/// The first identity of an answer, with the bundle of its own trust domain.
fn loaded(context: &X509Context, provider: &CryptoProvider) -> Result<Loaded, FeedError> {
    let svid = context.default_svid().ok_or(FeedError::Nothing)?;
    let bundle = context.bundle_set().get(svid.spiffe_id().trust_domain()).ok_or(FeedError::Nothing)?;
    let der = |certificate: &Certificate| CertificateDer::from(certificate.as_bytes().to_vec());
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(svid.private_key().as_bytes().to_vec()));
    let (chain, roots) = (svid.cert_chain().iter().map(der), bundle.authorities().iter().map(der));
    Loaded::new(chain.collect(), roots.collect(), key, provider)
        .map_err(|fault: Fault| FeedError::Unsound(crate::executor::chain(&fault)))
}
