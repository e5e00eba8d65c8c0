//! What a certificate of SPIFFE must look like (X.509-SVID specification, sections 2 to 5), beside its chain and its dates.

use holdpoint_domain::Timestamp;
use spiffe::{SpiffeId, SpiffeIdError};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

/// Why a certificate is none of SPIFFE's, or not for this use. Whoever issued it is at fault, or whoever shows it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SvidError {
    /// Not a certificate.
    #[error("it is no certificate, or an extension of it does not parse or comes twice")]
    Malformed,
    /// Without exactly one URI in its subject alternative name.
    #[error("expected exactly one URI in its subject alternative name, got {got}")]
    Uris {
        /// How many.
        got: usize,
    },
    /// A URI that is no SPIFFE id.
    #[error("its URI is no SPIFFE id")]
    Id(#[from] SpiffeIdError),
    /// The SPIFFE id of a leaf names nobody.
    #[error("the SPIFFE id of a leaf has no path")]
    NoPath,
    /// The SPIFFE id of a signing certificate names somebody.
    #[error("the SPIFFE id of a signing certificate has a path")]
    Path,
    /// Basic constraints that are not those of its place.
    #[error("expected a certificate that is {}a CA", if *.0 { "" } else { "not " })]
    Ca(bool),
    /// No key usage, or one that is not marked critical.
    #[error("expected a key usage that is marked critical")]
    NoKeyUsage,
    /// A leaf whose key does not sign.
    #[error("the key of a leaf must be for digital signatures")]
    NoDigitalSignature,
    /// A leaf whose key signs certificates or revocation lists.
    #[error("the key of a leaf must not be for signing certificates or revocation lists")]
    LeafSigns,
    /// A signing certificate whose key does not sign certificates.
    #[error("the key of a signing certificate must be for signing certificates")]
    NoCertSign,
    /// An extended key usage that does not name both ends.
    #[error("its extended key usage does not name both client and server")]
    ExtendedKeyUsage,
}

/// The SPIFFE id of a leaf, if it is one: of whom, says its chain.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn leaf_id(der: &[u8]) -> Result<SpiffeId, SvidError> {
    let certificate = parse(der)?;
    if is_ca(&certificate)? {
        return Err(SvidError::Ca(false));
    }
    let usage = key_usage(&certificate)?;
    if !usage.digital_signature() {
        return Err(SvidError::NoDigitalSignature);
    }
    if usage.key_cert_sign() || usage.crl_sign() {
        return Err(SvidError::LeafSigns);
    }
    let extended = certificate.extended_key_usage().map_err(|_| SvidError::Malformed)?;
    if extended.is_some_and(|usage| !usage.value.server_auth || !usage.value.client_auth) {
        return Err(SvidError::ExtendedKeyUsage);
    }
    let uris = uris(&certificate)?;
    let [uri] = uris.as_slice() else { return Err(SvidError::Uris { got: uris.len() }) };
    let id = SpiffeId::new(uri)?;
    if id.path().is_empty() { Err(SvidError::NoPath) } else { Ok(id) }
}

/// When a certificate ends: that millisecond is too late.
///
/// # Errors
/// No certificate, or an end before 1970.
pub(super) fn ends_at(der: &[u8]) -> Result<Timestamp, SvidError> {
    let seconds = u64::try_from(parse(der)?.validity().not_after.timestamp()).ok();
    // The last second of its validity is still in it (RFC 5280 section 4.1.2.5).
    let ms = seconds.and_then(|seconds| seconds.checked_add(1)?.checked_mul(1000));
    ms.and_then(|ms| Timestamp::from_ms(ms).ok()).ok_or(SvidError::Malformed)
}

/// Whether a certificate may sign others.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn check_signing(der: &[u8]) -> Result<(), SvidError> {
    let certificate = parse(der)?;
    if !is_ca(&certificate)? {
        return Err(SvidError::Ca(true));
    }
    if !key_usage(&certificate)?.key_cert_sign() {
        return Err(SvidError::NoCertSign);
    }
    match uris(&certificate)?.as_slice() {
        [] => Ok(()),
        [uri] if SpiffeId::new(uri)?.path().is_empty() => Ok(()),
        [_] => Err(SvidError::Path),
        more => Err(SvidError::Uris { got: more.len() }),
    }
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, SvidError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) | Err(_) => Err(SvidError::Malformed),
    }
}

fn is_ca(certificate: &X509Certificate<'_>) -> Result<bool, SvidError> {
    let constraints = certificate.basic_constraints().map_err(|_| SvidError::Malformed)?;
    Ok(constraints.is_some_and(|constraints| constraints.value.ca))
}

fn key_usage(certificate: &X509Certificate<'_>) -> Result<x509_parser::extensions::KeyUsage, SvidError> {
    let usage = certificate.key_usage().map_err(|_| SvidError::Malformed)?;
    usage.filter(|usage| usage.critical).map(|usage| *usage.value).ok_or(SvidError::NoKeyUsage)
}

fn uris<'c>(certificate: &'c X509Certificate<'_>) -> Result<Vec<&'c str>, SvidError> {
    let names = certificate.subject_alternative_name().map_err(|_| SvidError::Malformed)?;
    let uri = |name: &GeneralName<'c>| if let GeneralName::URI(uri) = name { Some(*uri) } else { None };
    Ok(names.map_or_else(Vec::new, |names| names.value.general_names.iter().filter_map(uri).collect()))
}
