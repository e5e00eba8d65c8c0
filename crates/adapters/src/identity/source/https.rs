//! Documents of keys over HTTPS: from authorities that are pinned (`https_web`), or from whoever shows an X.509-SVID
//! (`https_spiffe`, <https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE_Federation.md>).

use std::sync::Arc;

use holdpoint_domain::actor::SpiffeId;
use reqwest::{StatusCode, Url};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
    },
    pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime, pem::PemObject as _},
};

use super::SourceError;
use crate::{
    identity::{
        jwks::{Bundle, JwksError, MAX_JWKS_LEN, Uses},
        keyring::Keyring,
        web,
    },
    tls::svid_of,
};

/// Most certificates that are pinned for one endpoint.
const MAX_AUTHORITIES: usize = 64;

/// Why an endpoint brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum HttpsError {
    /// Not a URL of such an endpoint.
    #[error("expected an https URL with a host, without user, password and fragment")]
    Url,
    /// No authorities.
    #[error("expected 1 to {MAX_AUTHORITIES} certificates of authorities")]
    Authorities,
    /// The TLS library takes no such settings.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
    /// No answer, or not from whom we asked.
    #[error("the endpoint does not answer")]
    Ask(#[source] reqwest::Error),
    /// Another status, a redirection for instance: it is not followed.
    #[error("expected status 200, got {0}")]
    Status(StatusCode),
}

/// Whether an endpoint could be asked.
pub(super) fn check_web(url: &str, authorities_pem: &str) -> Result<(), HttpsError> {
    endpoint(url)?;
    web_config(authorities_pem).map(|_| ())
}

/// Whether an endpoint could be asked, with the bundle to begin with.
pub(super) fn check_spiffe(url: &str, id: &SpiffeId, bootstrap: &Bundle) -> Result<(), HttpsError> {
    endpoint(url)?;
    spiffe_config(id, &bootstrap.x509_authorities).map(|_| ())
}

/// Asks an endpoint whose certificate one of the pinned authorities issued for the host of the URL.
pub(super) async fn pinned(url: &str, authorities_pem: &str, uses: Uses) -> Result<Bundle, SourceError> {
    fetch(endpoint(url)?, web_config(authorities_pem)?, uses).await
}

/// Asks an endpoint that shows the X.509-SVID of `id`, issued by an authority of the bundle that came last.
pub(super) async fn spiffe(
    url: &str,
    id: &SpiffeId,
    bootstrap: &str,
    keys: &Keyring,
) -> Result<Bundle, SourceError> {
    let latest = keys.x509_authorities();
    let config = match latest.as_deref() {
        Some(authorities) => spiffe_config(id, authorities)?,
        None => spiffe_config(id, &Bundle::parse(bootstrap, Uses::Spiffe)?.x509_authorities)?,
    };
    fetch(endpoint(url)?, config, Uses::Spiffe).await
}

fn endpoint(url: &str) -> Result<Url, HttpsError> {
    let url = Url::parse(url).map_err(|_| HttpsError::Url)?;
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    if url.scheme() == "https" && url.has_host() && plain { Ok(url) } else { Err(HttpsError::Url) }
}

/// One GET.
async fn fetch(url: Url, tls: ClientConfig, uses: Uses) -> Result<Bundle, SourceError> {
    let client = web::builder().tls_backend_preconfigured(tls).https_only(true).build();
    let response = client.map_err(HttpsError::Ask)?.get(url).send().await.map_err(HttpsError::Ask)?;
    if response.status() != StatusCode::OK {
        return Err(HttpsError::Status(response.status()).into());
    }
    let max_len = usize::try_from(MAX_JWKS_LEN).unwrap_or(usize::MAX);
    let text = web::text(response, max_len).await.map_err(HttpsError::Ask)?;
    Ok(Bundle::parse(&text.ok_or(JwksError::Malformed)?, uses)?)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn web_config(authorities_pem: &str) -> Result<ClientConfig, HttpsError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authorities_pem.as_bytes()).take(MAX_AUTHORITIES) {
        let certificate = certificate.map_err(|_| HttpsError::Authorities)?;
        roots.add(certificate).map_err(HttpsError::Tls)?;
    }
    if roots.is_empty() {
        return Err(HttpsError::Authorities);
    }
    let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    Ok(config.map_err(HttpsError::Tls)?.with_root_certificates(roots).with_no_client_auth())
}

fn spiffe_config(id: &SpiffeId, authorities: &[Vec<u8>]) -> Result<ClientConfig, HttpsError> {
    let anchor = |der: &Vec<u8>| {
        webpki::anchor_from_trusted_cert(&CertificateDer::from_slice(der))
            .map(|anchor| anchor.to_owned())
            .ok()
    };
    let anchors: Vec<_> = authorities.iter().take(MAX_AUTHORITIES).filter_map(anchor).collect();
    if anchors.is_empty() {
        return Err(HttpsError::Authorities);
    }
    let provider = provider();
    let algorithms = provider.signature_verification_algorithms;
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let shown = Shown { id: id.clone(), anchors, algorithms };
    Ok(config
        .map_err(HttpsError::Tls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(shown))
        .with_no_client_auth())
}

/// Believes a server that shows the X.509-SVID of one SPIFFE id. The name of its host says nothing here.
#[derive(Debug)]
struct Shown {
    id: SpiffeId,
    anchors: Vec<TrustAnchor<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Shown {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let refused = |err: CertificateError| rustls::Error::InvalidCertificate(err);
        let shown = svid_of(end_entity, intermediates, &self.anchors, self.algorithms, now)
            .map_err(|err| refused(CertificateError::Other(OtherError(Arc::new(err)))))?;
        if shown.to_string() == self.id.as_str() {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(refused(CertificateError::NotValidForName))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
