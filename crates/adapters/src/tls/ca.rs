//! An authority of X.509-SVIDs for development: one key in a file. In production SPIRE is that, with keys that nobody holds.

use std::{io, path::Path, time::Duration};

use holdpoint_domain::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, date_time_ymd,
};
use spiffe::{SpiffeId, TrustDomain};

use crate::{
    step::Step,
    system::{durable, key_file},
};

/// How far back a certificate is valid: clocks differ.
const BACK: Duration = Duration::from_secs(60);
/// How long the authority itself is valid.
const AUTHORITY: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// The latest date of a certificate, from 1970 on.
const LATEST: Duration = Duration::from_secs(7_030 * 365 * 24 * 60 * 60);

/// An authority.
pub struct DevCa {
    domain: TrustDomain,
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate, and its key. The key shows as `***`.
pub struct Made {
    /// The certificate as PEM.
    pub certificate: String,
    key: String,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The authority's key file.
    #[error(transparent)]
    Key(#[from] key_file::KeyFileError),
    /// A file cannot be written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A key or certificate cannot be made.
    #[error("the certificate cannot be made")]
    Make(#[from] rcgen::Error),
    /// A name that is none.
    #[error("the trust domain is none")]
    Domain(#[from] spiffe::SpiffeIdError),
}

impl DevCa {
    /// The authority of a trust domain, with the key in `folder`, made where there is none. Its certificate is made anew, with
    /// the same name and key, so that what it issued before stays valid.
    ///
    /// # Errors
    /// A key file that cannot be used.
    pub fn load_or_create(folder: &Path, domain: &str, now: Timestamp) -> Result<Self, CaError> {
        let domain = TrustDomain::new(domain)?;
        let fresh = || {
            let made = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256);
            made.map(|key| key.serialize_der()).map_err(|_| key_file::KeyFileError::NotAKey)
        };
        let der = key_file::load_or_create(&folder.join("authority.key"), fresh)?;
        let key = KeyPair::try_from(der.as_slice())?;
        let mut params = params(&domain.id_string(), now, AUTHORITY)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(DnType::CommonName, format!("development authority of {}", domain.as_str()));
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { domain, issuer: Issuer::new(params, key), pem })
    }

    /// The certificates that others trust, as PEM.
    #[must_use]
    pub fn bundle(&self) -> &str {
        &self.pem
    }

    /// Issues a certificate for `spiffe://<trust domain><path>`.
    ///
    /// # Errors
    /// A path that is none.
    pub fn issue(&self, path: &str, now: Timestamp, life: Duration) -> Result<Made, CaError> {
        let id = SpiffeId::new(format!("{}{path}", self.domain.id_string()))?;
        let mut params = params(&id.to_string(), now, life)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Made { certificate, key: key.serialize_pem() })
    }
}

impl Made {
    /// Writes the certificate, its key and the authority's bundle as the files of an end.
    ///
    /// # Errors
    /// What the disk says.
    pub fn write(&self, files: &super::SvidFiles, bundle: &str) -> Result<(), CaError> {
        // If we stop between two of them, whoever reads them keeps the old ones, and the next call writes all.
        durable::replace(Step::InitFile, &files.bundle, bundle.as_bytes(), 0o644)?;
        durable::replace(Step::InitFile, &files.key, self.key.as_bytes(), 0o600)?;
        durable::replace(Step::InitFile, &files.certificate, self.certificate.as_bytes(), 0o644)?;
        Ok(())
    }
}

impl std::fmt::Debug for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl std::fmt::Debug for DevCa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DevCa").field("domain", &self.domain).finish_non_exhaustive()
    }
}

fn params(uri: &str, now: Timestamp, life: Duration) -> Result<CertificateParams, CaError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(uri.try_into()?)];
    // Capped at the year 9000: the library counts to 9999, and a sum beyond it would be no date.
    #[allow(clippy::arithmetic_side_effects, reason = "the sum is below the cap")]
    let at = |span: Duration| date_time_ymd(1970, 1, 1) + span.min(LATEST);
    let now = Duration::from_millis(now.ms());
    params.not_before = at(now.saturating_sub(BACK));
    params.not_after = at(now.saturating_add(life));
    Ok(params)
}
