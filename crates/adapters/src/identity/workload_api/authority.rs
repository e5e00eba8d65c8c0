//! The certificate authority of the local development issuer: X.509-SVIDs, of a key that signs nothing else.

use std::{
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use holdpoint_domain::{
    Millis, Timestamp,
    actor::{Identity, TrustDomain},
};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};

use super::WorkloadApiError;
use crate::system::{KeyFileError, key_file};

/// How long an X.509-SVID is good.
pub(super) const SVID_LIFE: Millis = Millis::secs(60 * 60);
/// How far a verifier's clock may be behind ours.
const SKEW: Duration = Duration::from_secs(60);

/// Issues X.509-SVIDs of one trust domain.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
    domain: TrustDomain,
}

/// An X.509-SVID with its private key, both DER.
pub(super) struct X509 {
    pub(super) certificate: Vec<u8>,
    pub(super) key: Vec<u8>,
}

impl Authority {
    /// The authority with the key of this file, which is made where there is none.
    pub(super) fn load_or_create(path: &Path, domain: TrustDomain) -> Result<Self, WorkloadApiError> {
        let fresh = || KeyPair::generate().map(|key| key.serialize_der()).map_err(|_| KeyFileError::NotAKey);
        let der = key_file::load_or_create(path, fresh)?;
        let key = KeyPair::try_from(der).map_err(|_| KeyFileError::NotAKey)?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name = name("holdpoint development authority");
        params.subject_alt_names = vec![uri(&format!("spiffe://{}", domain.as_str()))?];
        let certificate = params.self_signed(&key).map_err(WorkloadApiError::Certificate)?;
        Ok(Self { issuer: Issuer::new(params, key), certificate, domain })
    }

    /// The authority's certificate, DER.
    pub(super) fn certificate(&self) -> Vec<u8> {
        self.certificate.der().to_vec()
    }

    /// A certificate of a fresh key for one identity, from now on.
    pub(super) fn issue(&self, identity: &Identity, now: Timestamp) -> Result<X509, WorkloadApiError> {
        let mut params = CertificateParams::default();
        let begin = UNIX_EPOCH.checked_add(Duration::from_millis(now.ms()));
        let end = begin.and_then(|begin| begin.checked_add(Duration::from_millis(SVID_LIFE.ms())));
        let begin = begin.and_then(|begin| begin.checked_sub(SKEW));
        let (begin, end) = begin.zip(end).ok_or(WorkloadApiError::Time)?;
        (params.not_before, params.not_after) = (begin.into(), end.into());
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.distinguished_name = name("holdpoint development workload");
        params.subject_alt_names = vec![uri(&identity.spiffe_id(&self.domain))?];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(WorkloadApiError::Certificate)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(WorkloadApiError::Certificate)?;
        Ok(X509 { certificate: certificate.der().to_vec(), key: key.serialize_der() })
    }
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

fn uri(text: &str) -> Result<SanType, WorkloadApiError> {
    Ok(SanType::URI(text.try_into().map_err(WorkloadApiError::Certificate)?))
}
