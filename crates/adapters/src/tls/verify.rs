//! Whom the other end may be: the chain to the bundle of the trust domain, the certificate's own properties, and its id.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerIncompatible,
    SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use spiffe::SpiffeId;
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter};

use super::{
    live::LiveSvid,
    svid::{self, SvidError},
};

/// Longest chain below an authority: SPIRE nests a few.
const MAX_INTERMEDIATES: usize = 8;

/// Whom an end talks with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peers {
    /// These, and nobody else.
    These(Vec<SpiffeId>),
    /// Every workload of its own trust domain: who may do what is decided afterwards, by the id.
    OwnDomain,
}

/// Checks the other end's certificate, at either end.
#[derive(Debug)]
pub(super) struct PeerVerifier {
    own: Arc<LiveSvid>,
    expected: Peers,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Why the other end is not let in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    #[error("the certificate is no leaf of SPIFFE: {0}")]
    Leaf(#[source] SvidError),
    #[error("a certificate of the chain may not sign: {0}")]
    Signing(#[source] SvidError),
    #[error("expected trust domain `{expected}`, got `{got}`")]
    TrustDomain { expected: String, got: String },
    #[error("the chain has more than {MAX_INTERMEDIATES} certificates")]
    Long,
    #[error("the certificate's chain does not stand: {0}")]
    Chain(#[from] webpki::Error),
    #[error("`{0}` is not whom this end talks with")]
    Other(SpiffeId),
}

/// Whatever the extended key usage is: [`svid::leaf_id`] has looked at it, by the rules of SPIFFE.
struct LookedAt;

impl ExtendedKeyUsageValidator for LookedAt {
    fn validate(&self, mut iter: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        iter.try_for_each(|purpose| purpose.map(|_| ()))
    }
}

/// Whose X.509-SVID this is: a leaf of SPIFFE, below one of these authorities, valid now. The authorities vouch for one trust
/// domain; whether the id is of that one says the caller.
pub(crate) fn svid_of(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    authorities: &[TrustAnchor<'_>],
    algorithms: WebPkiSupportedAlgorithms,
    now: UnixTime,
) -> Result<SpiffeId, PeerError> {
    let id = svid::leaf_id(leaf).map_err(PeerError::Leaf)?;
    if intermediates.len() > MAX_INTERMEDIATES {
        return Err(PeerError::Long);
    }
    for certificate in intermediates {
        svid::check_signing(certificate).map_err(PeerError::Signing)?;
    }
    let end = EndEntityCert::try_from(leaf)?;
    end.verify_for_usage(algorithms.all, authorities, intermediates, now, LookedAt, None, None)?;
    Ok(id)
}

impl PeerVerifier {
    pub(super) fn new(own: Arc<LiveSvid>, expected: Peers) -> Self {
        let algorithms = own.provider().signature_verification_algorithms;
        Self { own, expected, algorithms }
    }

    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let own = self.own.current();
        let anchors = own.roots.iter().map(webpki::anchor_from_trusted_cert);
        let anchors = anchors.collect::<Result<Vec<_>, _>>().map_err(|err| refused(err.into()))?;
        let id = svid_of(leaf, intermediates, &anchors, self.algorithms, now).map_err(refused)?;
        // The bundle is of one trust domain: it vouches for nobody else, whatever a certificate below it says.
        if id.trust_domain() != own.id.trust_domain() {
            let (expected, got) = (own.id.trust_domain().to_string(), id.trust_domain().to_string());
            return Err(refused(PeerError::TrustDomain { expected, got }));
        }
        // Last of all: whoever is nobody learns nothing about who may come.
        match &self.expected {
            Peers::OwnDomain => Ok(()),
            Peers::These(ids) if ids.contains(&id) => Ok(()),
            Peers::These(_) => Err(refused(PeerError::Other(id))),
        }
    }

    fn verify_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }
}

fn refused(err: PeerError) -> Error {
    tracing::warn!("a connection is refused: {err}");
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(err))))
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(leaf, intermediates, now).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verify(leaf, intermediates, now).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
