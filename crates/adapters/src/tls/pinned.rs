//! Servers that are no role of ours: checked by their host's name against certificates that the operator named.

use std::{fmt, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

/// A client that believes what these certificates issued, and nothing else. The file is read at each call.
pub(crate) fn pinned(ca_file: &Path) -> Result<ClientConfig, String> {
    let why = |err: &dyn fmt::Display| format!("`{}`: {err}", ca_file.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca_file).map_err(|err| why(&err))? {
        roots.add(certificate.map_err(|err| why(&err))?).map_err(|err| why(&err))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(builder.map_err(|err| why(&err))?.with_root_certificates(roots).with_no_client_auth())
}
